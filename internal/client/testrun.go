package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"albs/internal/albs"
)

// TestRun is one run of the tests of what one build task left.
type TestRun struct {
	BuildTask albs.TaskID    `json:"build_task_id"`
	Task      albs.TaskID    `json:"task_id"` // whose logs lie below the build
	Revision  int            `json:"revision"`
	Status    string         `json:"status_text"` // created, started, completed, failed or cancelled
	State     albs.TaskState `json:"state"`
	Reason    string         `json:"reason"`
	Platform  string         `json:"platform"`
	Arch      albs.Arch      `json:"env_arch"`
	Started   time.Time      `json:"started_at"`
	Finished  time.Time      `json:"finished_at"`
	Packages  []Tested       `json:"packages"`
}

// Tested is what a run says of one package.
type Tested struct {
	NEVRA  string      `json:"nevra"`
	SHA256 albs.Digest `json:"sha256"`
	State  string      `json:"state"` // passed, failed, pending or missing
	Reason string      `json:"reason"`

	SignedBy string `json:"signed_by"` // the fingerprint of the key of a signed copy
	// Waivers are those in force, by which it may go though its tests didn't pass.
	Waivers []Waiver `json:"waivers"`
}

// Name returns the NEVRA of the package, with the key of a signed copy.
func (t Tested) Name() string {
	if t.SignedBy == "" {
		return t.NEVRA
	}
	return t.NEVRA + " as signed with " + t.SignedBy
}

// Tests lists all test runs of a build in the order of their making.
func (c *Client) Tests(ctx context.Context, id albs.BuildID) (Doc[[]TestRun], error) {
	return get[[]TestRun](ctx, c, fmt.Sprintf("/tests/build/%d/", id))
}

// Skip is a stage that isn't carried out for the packages of one name on a platform.
type Skip struct {
	ID       int64          `json:"id"`
	Platform string         `json:"platform"`
	Package  string         `json:"package"`
	Stage    albs.TestStage `json:"stage"`
	Reason   string         `json:"reason"`
	Actor    string         `json:"added_by"`
	At       time.Time      `json:"added_at"`
}

// NewSkip asks for one.
type NewSkip struct {
	Platform string         `json:"platform"`
	Package  string         `json:"package"`
	Stage    albs.TestStage `json:"stage"`
	Reason   string         `json:"reason"`
}

// Skips returns the skip list of a platform, or of all with "".
func (c *Client) Skips(ctx context.Context, platform string) (Doc[[]Skip], error) {
	path := "/tests/skips/"
	if platform != "" {
		path += "?platform=" + url.QueryEscape(platform)
	}
	return get[[]Skip](ctx, c, path)
}

// AddSkip puts a stage on the skip list.
func (c *Client) AddSkip(ctx context.Context, n NewSkip) (Doc[Skip], error) {
	return send[Skip](ctx, c, http.MethodPost, "/tests/skips/", n)
}

// RemoveSkip takes an entry off the skip list.
func (c *Client) RemoveSkip(ctx context.Context, id int64) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/tests/skips/%d/", id), nil, nil)
}

// Waiver is a person's word that a package of a build may go though its tests didn't pass.
type Waiver struct {
	ID       int64          `json:"id"`
	Build    albs.BuildID   `json:"build_id"`
	NEVRA    string         `json:"nevra"`
	SHA256   albs.Digest    `json:"sha256"`
	Stage    albs.TestStage `json:"stage"` // "" is every one
	Untested bool           `json:"untested"`
	Person   string         `json:"person"`
	Reason   string         `json:"reason"`
	Expires  time.Time      `json:"expires_at"`
	Ended    time.Time      `json:"ended_at"`
	EndedBy  string         `json:"ended_by"`
	EndedFor string         `json:"ended_reason"`
	InForce  bool           `json:"in_force"`
	Soon     bool           `json:"expires_soon"` // in force, but not for long
}

// NewWaiver asks for one.
type NewWaiver struct {
	Build    albs.BuildID   `json:"build_id"`
	Package  string         `json:"package"`
	Stage    albs.TestStage `json:"stage,omitempty"`
	Untested bool           `json:"untested,omitempty"`
	Reason   string         `json:"reason"`
	Days     int            `json:"days"`
}

// WaiverFilter says which waivers are asked for; the zero one is all.
type WaiverFilter struct {
	Build   albs.BuildID
	State   string // "in force", "taken back" or "expired"
	Package string // a part of the NEVRA
}

// Waivers returns the newest waivers that a filter lets through.
func (c *Client) Waivers(ctx context.Context, f WaiverFilter) (Doc[[]Waiver], error) {
	q := url.Values{}
	if f.Build != 0 {
		q.Set("build", f.Build.String())
	}
	if f.State != "" {
		q.Set("state", f.State)
	}
	if f.Package != "" {
		q.Set("package", f.Package)
	}
	path := "/tests/waivers/"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return get[[]Waiver](ctx, c, path)
}

// Waive lets a package go though its tests didn't pass.
func (c *Client) Waive(ctx context.Context, n NewWaiver) (Doc[Waiver], error) {
	return send[Waiver](ctx, c, http.MethodPost, "/tests/waivers/", n)
}

// EndWaiver takes a waiver back for a reason.
func (c *Client) EndWaiver(ctx context.Context, id int64, reason string) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/tests/waivers/%d/?reason=%s", id, url.QueryEscape(reason)), nil, nil)
}
