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

// The statuses of a Release.
const (
	ReleaseScheduled  = 1
	ReleaseInProgress = 2
	ReleaseCompleted  = 3
	ReleaseFailed     = 4
	ReleaseReverted   = 5
)

// Release is a release as the API shows it.
type Release struct {
	ID        albs.ReleaseID `json:"id"`
	Kind      string         `json:"kind"` // publish or rollback
	Status    int            `json:"status"`
	State     string         `json:"status_text"`
	Reason    string         `json:"reason"`
	Builds    []albs.BuildID `json:"build_ids"`
	Product   Named          `json:"product"`
	Owner     Owner          `json:"owner"`
	Created   time.Time      `json:"created_at"`
	Changed   time.Time      `json:"changed_at"`
	Digest    albs.Digest    `json:"digest"` // over the plan's effects; what is approved
	Expires   time.Time      `json:"expires_at"`
	Approved  bool           `json:"approved"`
	Needed    int            `json:"approvals_needed"`
	Serial    int64          `json:"serial"`      // of the tree that it shows; 0 before
	From      int64          `json:"from_serial"` // what was shown before
	BackTo    int64          `json:"back_to"`     // of a rollback: the serial brought back
	Approvals []struct {
		Name string    `json:"username"`
		At   time.Time `json:"at"`
	} `json:"approvals"`
	Plan *Plan `json:"plan"` // nil in lists
}

// Owner is the person who made something.
type Owner struct {
	Name string `json:"username"`
}

// Plan is what a release comes to.
type Plan struct {
	Key          string `json:"key"` // fingerprint
	Gate         string `json:"gate"`
	Repositories []struct {
		Path     string       `json:"path"`
		Before   int          `json:"before"`
		After    int          `json:"after"`
		Bytes    int64        `json:"bytes"` // of what it adds
		Packages []PlanChange `json:"packages"`
		Records  []struct {
			Action string      `json:"action"` // add or remove
			Type   string      `json:"type"`
			Digest albs.Digest `json:"digest"`
		} `json:"records"`
		Modules []struct {
			Action   string `json:"action"` // add, remove, or "" for one that stays
			Name     string `json:"name"`
			Stream   string `json:"stream"`
			Version  string `json:"version"`
			Context  string `json:"context"`
			Packages int    `json:"packages"` // of the plan's
		} `json:"modules"`
		Metadata string `json:"metadata"` // the compression, where it becomes another
	} `json:"repositories"`
	Copy *struct {
		Product string `json:"product"`
		Serial  int64  `json:"serial"`
	} `json:"copy"` // nil for a plan of builds
	Left []struct {
		Package    string `json:"package"`
		Repository string `json:"repository"`
		Reason     string `json:"reason"`
	} `json:"left"` // of the product copied from
	Closure *struct {
		Policy  string  `json:"policy"`
		Broken  []Unmet `json:"broken"`
		Unknown []Unmet `json:"unknown"`
		More    int     `json:"more"`
	} `json:"closure"` // nil where nobody looked
	Items []struct {
		Name      string      `json:"name"` // of an advisory, ID/PLATFORM
		Title     string      `json:"title"`
		Version   int         `json:"version"`
		Digest    albs.Digest `json:"digest"`
		Withdraws bool        `json:"withdraws"`
		Force     string      `json:"force"`
		Missing   []string    `json:"missing"`
	} `json:"items"`
	Skipped []struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	} `json:"skipped"` // advisories that nobody insisted on
	Files []struct {
		Action string      `json:"action"` // add or remove
		Path   string      `json:"path"`
		Digest albs.Digest `json:"digest"`
		Sign   bool        `json:"sign"`
	} `json:"files"` // of the tree
	Decisions []Decision `json:"decisions"`
	Excluded  []string   `json:"excluded"`
	Missing   []struct {
		Build    albs.BuildID `json:"build"`
		Platform string       `json:"platform"`
		Arches   []albs.Arch  `json:"arches"`
	} `json:"missing"`
	Dropped  []string `json:"dropped"`
	Refusals []struct {
		Package string `json:"package"`
		Reason  string `json:"reason"`
		Pending bool   `json:"pending"` // it waits for tests that are still to end
	} `json:"refusals"`
	Notes []string `json:"notes"`
	// Why is the reason of a rollback, as its person gave it; it may be empty.
	Why string `json:"why"`
}

// Unmet is a package that would lack something after a release and doesn't now.
type Unmet struct {
	Repository string   `json:"repository"`
	Package    string   `json:"package"`
	Needs      []string `json:"needs"`
	Shown      bool     `json:"shown"` // it is shown now, and loses that
}

// PlanChange is one package in one repository of a plan.
type PlanChange struct {
	Action string      `json:"action"` // add, keep or remove
	NEVRA  string      `json:"nevra"`
	Digest albs.Digest `json:"digest"`
	Tests  string      `json:"tests"`
	// Place is where references have it, Match how well what they have fits; "" where
	// nobody was asked.
	Place   string       `json:"place"`
	Match   string       `json:"match"`
	Updates string       `json:"updates"` // the shown package that it comes after
	Build   albs.BuildID `json:"build"`
}

// Decision is a person's word on a package of a plan.
type Decision struct {
	Action  string    `json:"action"`       // move, add or exclude
	Package string    `json:"package"`      // NEVRA
	To      string    `json:"to,omitempty"` // path of a repository, or a place
	Reason  string    `json:"reason"`
	By      string    `json:"by,omitempty"` // the server says who and when
	At      time.Time `json:"at,omitzero"`
}

// ReleasePage is a page of releases, the newest first.
type ReleasePage struct {
	Releases []Release `json:"releases"`
	Total    int       `json:"total_releases"`
	Page     int       `json:"current_page"`
}

// ReleaseQuery says which releases to list; zero fields don't filter.
type ReleaseQuery struct {
	Page    int // from 1
	Product string
	Status  int
}

// Releases lists releases.
func (c *Client) Releases(ctx context.Context, q ReleaseQuery) (Doc[ReleasePage], error) {
	v := url.Values{"pageNumber": {strconv.Itoa(max(q.Page, 1))}}
	set(v, "product", q.Product)
	if q.Status != 0 {
		v.Set("status", strconv.Itoa(q.Status))
	}
	return get[ReleasePage](ctx, c, "/releases/?"+v.Encode())
}

// Release returns a release with its plan and approvals, or NotFound.
func (c *Client) Release(ctx context.Context, id albs.ReleaseID) (Doc[Release], error) {
	return get[Release](ctx, c, fmt.Sprintf("/releases/%d/", id))
}

// PlanRelease has the server compute what the release of builds into a product
// comes to, together with advisories; of neither, what that of the metadata files does
// which its repositories were given.
func (c *Client) PlanRelease(ctx context.Context, product string, builds []albs.BuildID, advisories ...Advised) (Doc[Release], error) {
	what := map[string]any{"product": product, "builds": append([]albs.BuildID{}, builds...)}
	if len(advisories) > 0 {
		what["advisories"] = advisories
	}
	return send[Release](ctx, c, http.MethodPost, "/releases/new/", what)
}

// PlanWaiting is PlanRelease with all advisories of a platform that wait, of which those are
// left out against which something speaks.
func (c *Client) PlanWaiting(ctx context.Context, product, platform string, builds []albs.BuildID) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, "/releases/new/", map[string]any{"product": product, "builds": append([]albs.BuildID{}, builds...), "advisories_of": platform})
}

// Advised names an advisory that is to be released.
type Advised struct {
	ID       string `json:"id"`
	Platform string `json:"platform"`
	Force    string `json:"force,omitempty"` // why it is released without packages that it wants
	// Optional is to leave it out where something speaks against it.
	Optional bool `json:"optional,omitempty"`
}

// CopyRelease has the server compute what the release of the packages comes to that the
// product from shows, or showed at a serial that isn't 0: those that the words name, or all.
func (c *Client) CopyRelease(ctx context.Context, from, to string, serial int64, packages []string) (Doc[Release], error) {
	what := map[string]any{"product": from}
	if serial != 0 {
		what["serial"] = serial
	}
	if len(packages) > 0 {
		what["packages"] = packages
	}
	return send[Release](ctx, c, http.MethodPost, "/releases/new/", map[string]any{"product": to, "builds": []albs.BuildID{}, "copy": what})
}

// DecideRelease makes decisions those of a release, in place of the ones it had; digest is
// that of the plan that was looked at.
func (c *Client) DecideRelease(ctx context.Context, id albs.ReleaseID, digest albs.Digest, decisions []Decision) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, fmt.Sprintf("/releases/%d/decide/", id), map[string]any{"digest": digest, "decisions": decisions})
}

// Replan computes the plan of a release anew; approvals of the one before are void.
func (c *Client) Replan(ctx context.Context, id albs.ReleaseID) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPut, fmt.Sprintf("/releases/%d/", id), struct{}{})
}

// ApproveRelease approves the plan with that digest, and no other.
func (c *Client) ApproveRelease(ctx context.Context, id albs.ReleaseID, d albs.Digest) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, fmt.Sprintf("/releases/%d/approve/", id), map[string]albs.Digest{"digest": d})
}

// PublishRelease begins to make an approved release public.
func (c *Client) PublishRelease(ctx context.Context, id albs.ReleaseID) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, fmt.Sprintf("/releases/%d/commit/", id), nil)
}

// CancelRelease ends a publication or rollback that is in progress.
func (c *Client) CancelRelease(ctx context.Context, id albs.ReleaseID) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, fmt.Sprintf("/releases/%d/cancel/", id), nil)
}

// RollbackProduct begins to bring back what a product showed at serial to, while it shows
// from, and returns the rollback, a release of its own. reason is one line; it may be
// empty.
func (c *Client) RollbackProduct(ctx context.Context, product string, from, to int64, reason string) (Doc[Release], error) {
	body := struct {
		From   int64  `json:"from"`
		To     int64  `json:"to"`
		Reason string `json:"reason,omitempty"`
	}{from, to, reason}
	return send[Release](ctx, c, http.MethodPost, "/products/"+url.PathEscape(product)+"/rollback", body)
}

// RevertRelease begins to bring back what the release's product showed before, and
// returns the rollback, a release of its own.
func (c *Client) RevertRelease(ctx context.Context, id albs.ReleaseID) (Doc[Release], error) {
	return send[Release](ctx, c, http.MethodPost, fmt.Sprintf("/releases/%d/revert/", id), nil)
}
