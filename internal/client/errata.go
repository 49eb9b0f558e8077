package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Advisory is an advisory as commands show it.
type Advisory struct {
	ID         string         `json:"id"`
	Platform   string         `json:"platform"`
	Revision   int64          `json:"revision"`
	Title      string         `json:"title"` // with its severity
	Type       string         `json:"type"`
	Severity   string         `json:"severity"`
	Status     string         `json:"release_status"`
	Reason     string         `json:"last_release_log"`
	Published  int            `json:"published_version"`
	Pending    bool           `json:"pending"`
	Release    albs.ReleaseID `json:"release_id"`
	Frozen     bool           `json:"freezed"`
	Own        bool           `json:"is_issued_by_almalinux"`
	Issued     time.Time      `json:"issued_date"`
	Updated    time.Time      `json:"updated_date"`
	Summary    string         `json:"summary"`
	Text       string         `json:"description"`
	Solution   string         `json:"solution"`
	Builds     []albs.BuildID `json:"builds"`
	References []struct {
		Kind string `json:"ref_type"`
		ID   string `json:"ref_id"`
		URL  string `json:"href"`
	} `json:"references"`
	Packages []struct {
		Name    string `json:"name"`
		Epoch   int    `json:"epoch"`
		Version string `json:"version"`
		Release string `json:"release"`
		Arch    string `json:"arch"`
		Module  string `json:"module"`
		Reboot  bool   `json:"reboot_suggested"`
	} `json:"packages"`
	Whole struct {
		VEX []VEX `json:"vex"`
	} `json:"advisory"`
}

// VEX is what is stated of a package and a CVE.
type VEX struct {
	CVE           string    `json:"cve"`
	Package       string    `json:"package"`
	Stream        string    `json:"stream,omitempty"`
	Status        string    `json:"status,omitempty"`
	Justification string    `json:"justification,omitempty"`
	Detail        string    `json:"detail,omitempty"`
	At            time.Time `json:"at,omitzero"`
}

// AdvisoryQuery says which advisories to list; empty members don't matter.
type AdvisoryQuery struct {
	Page                                             int
	Title, Platform, CVE, Status, Type, Severity, ID string
	Pending                                          bool
}

// AdvisoryPage is a page of advisories.
type AdvisoryPage struct {
	Records []Advisory `json:"records"`
	Total   int        `json:"total_records"`
}

// Advisories lists advisories, those issued last first.
func (c *Client) Advisories(ctx context.Context, q AdvisoryQuery) (Doc[AdvisoryPage], error) {
	v := url.Values{"pageNumber": {strconv.Itoa(q.Page)}}
	for name, value := range map[string]string{"title": q.Title, "platformId": q.Platform, "cveId": q.CVE, "status": q.Status, "type": q.Type, "severity": q.Severity, "id": q.ID} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Pending {
		v.Set("pending", "true")
	}
	return get[AdvisoryPage](ctx, c, "/errata/query/?"+v.Encode())
}

// Advisory shows an advisory of a platform, or is NotFound.
func (c *Client) Advisory(ctx context.Context, id, platform string) (Doc[Advisory], error) {
	return get[Advisory](ctx, c, "/errata/?"+url.Values{"errata_id": {id}, "errata_platform_id": {platform}}.Encode())
}

func advisoryPath(id, platform, what string) string {
	return "/errata/" + url.PathEscape(id) + "/" + what + "?" + url.Values{"platform": {platform}}.Encode()
}

// AdvisoryChange is one change of an advisory.
type AdvisoryChange struct {
	Revision    int64     `json:"revision"`
	Kind        string    `json:"kind"`
	Actor       string    `json:"actor"`
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
	Differences []struct {
		Field string `json:"field"`
		Was   string `json:"was"`
		Is    string `json:"is"`
	} `json:"differences"`
}

// AdvisoryHistory lists the changes of an advisory, the newest first.
func (c *Client) AdvisoryHistory(ctx context.Context, id, platform string) (Doc[[]AdvisoryChange], error) {
	return get[[]AdvisoryChange](ctx, c, advisoryPath(id, platform, "history/"))
}

// Taken is what became of an advisory that was imported.
type Taken struct {
	ID      string `json:"id"`
	From    string `json:"from"`
	Outcome string `json:"outcome"`
	Error   string `json:"error"`
	Note    string `json:"note"`
}

// Import is what became of a file of advisories.
type Import struct {
	Advisories []Taken  `json:"advisories"`
	Dropped    []string `json:"dropped"`
}

// ImportAdvisories gives a platform the advisories in a file of a form.
func (c *Client) ImportAdvisories(ctx context.Context, platform, format, reason string, r io.Reader, size int64) (Doc[Import], error) {
	var out Doc[Import]
	err := c.Upload(ctx, "/errata/import/?"+url.Values{"platform": {platform}, "format": {format}, "reason": {reason}}.Encode(), r, size, &out)
	return out, err
}

// CreateAdvisory makes the advisory that a document says, JSON as the API has it.
func (c *Client) CreateAdvisory(ctx context.Context, document []byte) (Doc[Advisory], error) {
	return c.advisory(ctx, http.MethodPost, "/errata/create/", json.RawMessage(document))
}

// EditAdvisory changes an advisory as a document says, JSON as the API has it.
func (c *Client) EditAdvisory(ctx context.Context, id, platform string, document any) (Doc[Advisory], error) {
	return c.advisory(ctx, http.MethodPatch, advisoryPath(id, platform, ""), document)
}

// SetVEX states how a package is touched by a CVE, upon a revision of the advisory.
func (c *Client) SetVEX(ctx context.Context, id, platform string, revision int64, v VEX, reason string) (Doc[Advisory], error) {
	return c.advisory(ctx, http.MethodPut, advisoryPath(id, platform, "vex/"), struct {
		Revision int64  `json:"revision"`
		Reason   string `json:"reason,omitempty"`
		VEX
	}{revision, reason, v})
}

// WithdrawAdvisory takes an advisory back, or undoes that.
func (c *Client) WithdrawAdvisory(ctx context.Context, id, platform, reason string, undo bool) (Doc[Advisory], error) {
	what := "withdraw/"
	if undo {
		what = "restore/"
	}
	return c.advisory(ctx, http.MethodPost, advisoryPath(id, platform, what), map[string]string{"reason": reason})
}

func (c *Client) advisory(ctx context.Context, method, path string, in any) (Doc[Advisory], error) {
	var out Doc[Advisory]
	err := c.Send(ctx, method, path, in, &out)
	return out, err
}

// Proposal is what an advisory for a build might say.
type Proposal struct {
	Advisory json.RawMessage `json:"advisory"` // as CreateAdvisory takes it
	Notes    []string        `json:"notes"`
}

// DraftAdvisory proposes an advisory for what a build made for a platform.
func (c *Client) DraftAdvisory(ctx context.Context, build albs.BuildID, platform string) (Doc[Proposal], error) {
	return get[Proposal](ctx, c, "/errata/draft/?"+url.Values{"build_id": {build.String()}, "platform": {platform}}.Encode())
}
