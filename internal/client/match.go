package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"albs/internal/albs"
)

// Standing is what an advisory waits for.
type Standing struct {
	ID       string `json:"errata_id"`
	Platform string `json:"platform"`
	Stage    string `json:"stage"`
	Wanted   int    `json:"wanted"`
	Lacking  int    `json:"lacking"`
	Open     int    `json:"open"`
	Settled  int    `json:"settled"`
}

// WantedPackage is a package that an advisory wants.
type WantedPackage struct {
	Package  string `json:"package"`
	Module   string `json:"module"`
	Lack     string `json:"lack"`
	Excluded bool   `json:"excluded"`
	By       string `json:"decided_by"`
	Why      string `json:"reason"`
}

// Match is a package that answers one that is wanted, or that was added.
type Match struct {
	Wanted   string       `json:"wanted"`
	Package  string       `json:"package"`
	Build    albs.BuildID `json:"build_id"`
	Source   string       `json:"source"`
	SHA256   albs.Digest  `json:"sha256"`
	Status   string       `json:"status"`
	Strength string       `json:"strength"`
	Because  string       `json:"because"`
	Proposed bool         `json:"proposed"`
	By       string       `json:"decided_by"`
	Why      string       `json:"reason"`
	At       *time.Time   `json:"decided_at"`
}

// Matches is what an advisory wants and what answers it.
type Matches struct {
	Standing
	Revision int64           `json:"revision"`
	Packages []WantedPackage `json:"packages"`
	Matches  []Match         `json:"matches"`
}

// Matches shows which packages answer an advisory, and why.
func (c *Client) Matches(ctx context.Context, id, platform string) (Doc[Matches], error) {
	return get[Matches](ctx, c, advisoryPath(id, platform, "matches/"))
}

// MatchDecision is a person's decision on matches.
type MatchDecision struct {
	Action  string       `json:"action"`
	Wanted  string       `json:"wanted,omitempty"`
	Package string       `json:"package,omitempty"`
	Build   albs.BuildID `json:"build_id,omitempty"`
	Source  string       `json:"source,omitempty"`
	Reason  string       `json:"reason,omitempty"`
}

// DecideMatches makes decisions on an advisory that has the revision, 0 for any.
func (c *Client) DecideMatches(ctx context.Context, id, platform string, revision int64, ds []MatchDecision) (Doc[Matches], error) {
	body := struct {
		Revision  int64           `json:"revision"`
		Decisions []MatchDecision `json:"decisions"`
	}{revision, ds}
	return send[Matches](ctx, c, http.MethodPost, advisoryPath(id, platform, "decisions/"), body)
}

// MatchOutcome is what became of one advisory among several.
type MatchOutcome struct {
	ID       string `json:"errata_record_id"`
	Platform string `json:"platform"`
	OK       bool   `json:"ok"`
	Revision int64  `json:"revision"`
	Error    string `json:"error"`
}

// DecideEach makes the same decisions on several advisories of a platform, each by itself.
func (c *Client) DecideEach(ctx context.Context, ids []string, platform string, ds []MatchDecision) (Doc[[]MatchOutcome], error) {
	type request struct {
		ID        string          `json:"errata_record_id"`
		Platform  string          `json:"platform"`
		Decisions []MatchDecision `json:"decisions"`
	}
	var body []request
	for _, id := range ids {
		body = append(body, request{id, platform, ds})
	}
	return send[[]MatchOutcome](ctx, c, http.MethodPost, "/errata/decisions/", body)
}

// MatchReset is what became of a reset.
type MatchReset struct {
	Message string         `json:"message"`
	Results []MatchOutcome `json:"results"`
}

// ResetMatches takes back what was decided on an advisory, and matches it anew.
func (c *Client) ResetMatches(ctx context.Context, id, platform string) (Doc[MatchReset], error) {
	return send[MatchReset](ctx, c, http.MethodPost, "/errata/reset-matched-packages/?"+url.Values{"record_id": {id}, "platform_id": {platform}}.Encode(), nil)
}

// Candidates are packages of builds that a person may choose to answer an advisory.
type Candidates struct {
	Packages []struct {
		Package  string       `json:"package"`
		Build    albs.BuildID `json:"build_id"`
		Source   string       `json:"source"`
		Label    string       `json:"module_label"`
		Released bool         `json:"released"`
	} `json:"packages"`
	More bool `json:"more"`
}

// Candidates lists packages of builds for a platform: those that have a name, or are of a
// build (0 is any), or both; the newest builds first.
func (c *Client) Candidates(ctx context.Context, platform, name string, build albs.BuildID) (Doc[Candidates], error) {
	v := url.Values{"platform": {platform}}
	set(v, "name", name)
	if build != 0 {
		v.Set("build_id", build.String())
	}
	return get[Candidates](ctx, c, "/errata/candidates/?"+v.Encode())
}

// ErrataQueue is a page of the advisories that wait for a release.
type ErrataQueue struct {
	Counts struct {
		NeedsBuild int `json:"needs build"`
		NeedsMatch int `json:"needs match"`
		Ready      int `json:"ready"`
	} `json:"counts"`
	Advisories []Standing `json:"advisories"`
	More       bool       `json:"more"`
}

// ErrataQueue lists the advisories that wait for a release, of a platform ("" is all) and
// in a stage ("" is all), from the one after an id and its platform on.
func (c *Client) ErrataQueue(ctx context.Context, platform, stage, afterID, afterPlatform string) (Doc[ErrataQueue], error) {
	v := url.Values{}
	set(v, "platform", platform)
	set(v, "stage", stage)
	set(v, "after_id", afterID)
	set(v, "after_platform", afterPlatform)
	return get[ErrataQueue](ctx, c, "/errata/queue/?"+v.Encode())
}
