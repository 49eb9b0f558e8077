package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Rebuild is a build that was done once more to be compared.
type Rebuild struct {
	ID       int64          `json:"id"`
	Build    albs.BuildID   `json:"build_id"`
	Of       albs.TaskID    `json:"of_task_id"` // the task that built
	Platform string         `json:"platform"`
	Arch     albs.Arch      `json:"arch"`
	Task     albs.TaskID    `json:"task_id"` // whose logs lie below the build
	State    albs.TaskState `json:"state"`   // of that task
	BuiltOn  string         `json:"built_on"`
	Node     string         `json:"node"` // "" until it has ended
	SameNode bool           `json:"same_node"`
	Verdict  string         `json:"verdict"` // one of the Rebuilt constants; "" while there is none
	Reason   string         `json:"reason"`
	Created  time.Time      `json:"created_at"`
	Ended    time.Time      `json:"ended_at"`
	// Packages are what came of each, in an answer about this one.
	Packages []struct {
		Name      string      `json:"name"`
		SHA256    albs.Digest `json:"sha256"`
		Verdict   string      `json:"verdict"`
		Rebuilt   albs.Digest `json:"rebuilt_sha256"`
		Differing []string    `json:"differing"`
		Ignored   []string    `json:"ignored"`
	} `json:"packages"`
	// Why is what it waits for, in an answer about this one; nil if it doesn't.
	Why *Why `json:"why"`
}

// The verdicts of a Rebuild, the best first.
const (
	RebuiltBits    = "bit-identical"
	RebuiltPayload = "payload-identical"
	RebuiltInputs  = "inputs-differ"
	RebuiltDiffers = "differs"
)

// NewRebuild asks for a rebuild.
type NewRebuild struct {
	Of      string `json:"of"` // the sha256 of a package, signed or not, or its NEVRA
	Node    string `json:"node,omitempty"`
	NotNode string `json:"not_node,omitempty"`
}

// CreateRebuild has the build that made a package done once more.
func (c *Client) CreateRebuild(ctx context.Context, n NewRebuild) (Doc[Rebuild], error) {
	return send[Rebuild](ctx, c, http.MethodPost, "/rebuilds/", n)
}

// Rebuild returns a rebuild, or NotFound.
func (c *Client) Rebuild(ctx context.Context, id int64) (Doc[Rebuild], error) {
	return get[Rebuild](ctx, c, fmt.Sprintf("/rebuilds/%d/", id))
}

// CancelRebuild ends a rebuild that is under way; Conflict if it has ended.
func (c *Client) CancelRebuild(ctx context.Context, id int64) (Doc[Rebuild], error) {
	return send[Rebuild](ctx, c, http.MethodPatch, fmt.Sprintf("/rebuilds/%d/cancel", id), nil)
}

// Rebuilds is a page of rebuilds, the newest first; Next is 0 on the last.
type Rebuilds struct {
	Rebuilds []Rebuild `json:"rebuilds"`
	Next     int64     `json:"next"`
}

// Rebuilds lists rebuilds with lower ids than before (0 is the newest), of a build or
// about a package if these are given.
func (c *Client) Rebuilds(ctx context.Context, before int64, build albs.BuildID, of albs.Digest) (Doc[Rebuilds], error) {
	q := url.Values{}
	for name, n := range map[string]int64{"before": before, "build": int64(build)} {
		if n > 0 {
			q.Set(name, strconv.FormatInt(n, 10))
		}
	}
	if of != "" {
		q.Set("sha256", string(of))
	}
	path := "/rebuilds/"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return get[Rebuilds](ctx, c, path)
}
