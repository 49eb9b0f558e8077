package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// SourceRepository is a git repository of which commits are notarized.
type SourceRepository struct {
	URL     string    `json:"url"`
	Commits int       `json:"commits"`
	Last    time.Time `json:"last_notarized_at"`
}

// SourceCommit is a notarized commit.
type SourceCommit struct {
	ID          int64       `json:"id"`
	Repository  string      `json:"repository"`
	Commit      string      `json:"commit"`
	SHA256      albs.Digest `json:"sha256"`
	Ref         string      `json:"ref"`
	Author      string      `json:"author"`
	Title       string      `json:"title"`
	CommittedAt time.Time   `json:"committed_at"`
	NotarizedAt time.Time   `json:"notarized_at"`
	Standing    string      `json:"standing"`
	Statements  []struct {
		N        int64     `json:"n"`
		At       time.Time `json:"at"`
		Standing string    `json:"standing"`
		Trouble  string    `json:"trouble"`
		Receipt  *struct {
			TxID uint64 `json:"tx"`
		} `json:"receipt"`
		Statement struct {
			Predicate struct {
				Repository string `json:"repository"`
				Ref        string `json:"ref"`
				Requester  string `json:"requester"`
				Previous   string `json:"previous"`
				Rewritten  bool   `json:"rewritten"`
				Upstream   *struct {
					Ref    string `json:"ref"`
					Commit string `json:"commit"`
				} `json:"upstream"`
				WithoutUpstream string      `json:"without_upstream"`
				Record          albs.Digest `json:"record"`
			} `json:"predicate"`
		} `json:"statement"`
	} `json:"statements"`
}

// SourceRef is what a ref named when it was notarized.
type SourceRef struct {
	ID        int64     `json:"id"`
	Ref       string    `json:"ref"`
	Commit    string    `json:"commit"`
	Previous  string    `json:"previous"`
	Rewritten bool      `json:"rewritten"`
	Actor     string    `json:"actor"`
	At        time.Time `json:"at"`
}

// NewNotarization asks for commits to be notarized.
type NewNotarization struct {
	Repository      string   `json:"repository"`
	Refs            []string `json:"refs,omitempty"`
	All             bool     `json:"all,omitempty"`
	WithoutUpstream bool     `json:"without_upstream,omitempty"`
}

// Notarization is such a request, and how far it is.
type Notarization struct {
	Task     albs.TaskID     `json:"task_id"`
	State    albs.TaskState  `json:"state"`
	Reason   string          `json:"reason"`
	Progress string          `json:"progress"`
	Refs     []albs.NamedRef `json:"refs"`
}

// Notarize has the commits of branches and tags notarized.
func (c *Client) Notarize(ctx context.Context, n NewNotarization) (Doc[Notarization], error) {
	return send[Notarization](ctx, c, http.MethodPost, "/sources/notarize/", n)
}

// Notarization returns how far a request to notarize is, or NotFound.
func (c *Client) Notarization(ctx context.Context, task albs.TaskID) (Doc[Notarization], error) {
	return get[Notarization](ctx, c, "/sources/notarize/"+task.String()+"/")
}

// SourceRepositories returns a page of the repositories of which commits are notarized,
// behind a URL.
func (c *Client) SourceRepositories(ctx context.Context, after string) (Doc[[]SourceRepository], error) {
	q := url.Values{}
	set(q, "after", after)
	return get[[]SourceRepository](ctx, c, "/sources/?"+q.Encode())
}

// SourceCommits returns a page of the notarized commits of a repository, the newest
// first, those with an id lower than before, unless that is 0.
func (c *Client) SourceCommits(ctx context.Context, repository string, before int64) (Doc[[]SourceCommit], error) {
	return get[[]SourceCommit](ctx, c, "/sources/commits/?"+beforeOf(repository, before).Encode())
}

// SourceCommit returns a notarized commit with all that is stated of it, or NotFound.
func (c *Client) SourceCommit(ctx context.Context, repository, commit string) (Doc[SourceCommit], error) {
	return get[SourceCommit](ctx, c, "/sources/commits/"+url.PathEscape(commit)+"/?"+url.Values{"repository": {repository}}.Encode())
}

// SourceRefs is SourceCommits of what the refs of a repository named.
func (c *Client) SourceRefs(ctx context.Context, repository string, before int64) (Doc[[]SourceRef], error) {
	return get[[]SourceRef](ctx, c, "/sources/refs/?"+beforeOf(repository, before).Encode())
}

func beforeOf(repository string, before int64) url.Values {
	q := url.Values{"repository": {repository}}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	return q
}
