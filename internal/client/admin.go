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

// User is an account.
type User struct {
	ID       albs.UserID `json:"id"`
	Name     string      `json:"username"`
	Active   bool        `json:"is_active"`
	Created  time.Time   `json:"created_at"`
	Disabled time.Time   `json:"disabled_at"`
	Roles    []struct {
		Role string `json:"role"`
		Team string `json:"team"` // "" for a role held everywhere
	} `json:"roles"`
}

// Users lists all accounts by name.
func (c *Client) Users(ctx context.Context) (Doc[[]User], error) {
	return get[[]User](ctx, c, "/users/")
}

// User returns the account of that name, or NotFound.
func (c *Client) User(ctx context.Context, name string) (User, error) {
	all, err := c.Users(ctx)
	if err != nil {
		return User{}, err
	}
	for _, u := range all.Value {
		if u.Name == name {
			return u, nil
		}
	}
	return User{}, albs.Errorf(albs.NotFound, "there is no user %q", name)
}

// CreateUser adds an account without roles and tokens.
func (c *Client) CreateUser(ctx context.Context, name string) (Doc[User], error) {
	return send[User](ctx, c, http.MethodPost, "/users/", map[string]string{"username": name})
}

// DisableUser closes an account for good.
func (c *Client) DisableUser(ctx context.Context, id albs.UserID) (Doc[User], error) {
	return send[User](ctx, c, http.MethodPatch, fmt.Sprintf("/users/%d/disable", id), nil)
}

// Grant gives a role, for one team or with team "" everywhere.
func (c *Client) Grant(ctx context.Context, id albs.UserID, role, team string) (Doc[User], error) {
	return c.role(ctx, id, "add", role, team)
}

// Revoke takes a role away.
func (c *Client) Revoke(ctx context.Context, id albs.UserID, role, team string) (Doc[User], error) {
	return c.role(ctx, id, "remove", role, team)
}

func (c *Client) role(ctx context.Context, id albs.UserID, change, role, team string) (Doc[User], error) {
	in := map[string]string{"role": role}
	if team != "" {
		in["team"] = team
	}
	return send[User](ctx, c, http.MethodPatch, fmt.Sprintf("/users/%d/roles/%s", id, change), in)
}

// Token is what is known of a person's token; Secret only of one just made.
type Token struct {
	ID      int64     `json:"id"`
	Prefix  string    `json:"prefix"`
	Note    string    `json:"note"`
	Created time.Time `json:"created_at"`
	Expires time.Time `json:"expires_at"`
	Used    time.Time `json:"used_at"`
	Revoked time.Time `json:"revoked_at"`
	Secret  string    `json:"secret"`
}

// NewToken asks for a token.
type NewToken struct {
	User albs.UserID `json:"user_id,omitempty"` // 0 is who asks
	Note string      `json:"note,omitempty"`
	Days int         `json:"days,omitempty"` // 0 is the server's default
}

// Tokens lists a person's tokens, one's own for user 0.
func (c *Client) Tokens(ctx context.Context, user albs.UserID) (Doc[[]Token], error) {
	path := "/tokens/"
	if user != 0 {
		path += "?user_id=" + strconv.FormatInt(int64(user), 10)
	}
	return get[[]Token](ctx, c, path)
}

// CreateToken makes a token; this answer alone has its secret.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (Doc[Token], error) {
	return send[Token](ctx, c, http.MethodPost, "/tokens/", n)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id int64) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/tokens/%d/", id), nil, nil)
}

// Worker is a worker, as far as commands use it; Token only of one just enrolled.
type Worker struct {
	ID       albs.WorkerID `json:"id"`
	Name     string        `json:"name"`
	Role     albs.Role     `json:"role"`
	Labels   []string      `json:"labels"` // all that it may offer
	Prefix   string        `json:"prefix"` // "" for one in the master's process
	Created  time.Time     `json:"created_at"`
	Used     time.Time     `json:"used_at"`
	Disabled time.Time     `json:"disabled_at"`
	Token    string        `json:"token"`

	State       string      `json:"state"` // one of WorkerStates
	Version     string      `json:"version"`
	Offers      []string    `json:"offers"`
	Seen        time.Time   `json:"last_contact"` // zero if it never asked for work
	Capacity    Room        `json:"capacity"`
	Taken       Room        `json:"taken"`
	Runs        []WorkerRun `json:"runs"`
	Exclude     []string    `json:"exclude"`
	Pause       string      `json:"pause"`         // why it takes nothing now, or less than it could; "" if it does
	Key         string      `json:"statement_key"` // of what it states by itself; "" of others, and until it has told
	Drained     *Barred     `json:"drained"`
	Quarantined *Barred     `json:"quarantined"`
}

// WorkerStates are the words for how a worker stands.
var WorkerStates = []string{"busy", "idle", "draining", "drained", "quarantined", "away", "unseen", "disabled"}

// Room is a size of a machine; 0 is not known.
type Room struct {
	Cores  int   `json:"cores"`
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
}

// WorkerRun is a task that a worker holds.
type WorkerRun struct {
	ID    albs.TaskID    `json:"id"`
	Kind  albs.TaskKind  `json:"kind"`
	Key   string         `json:"key"`
	State albs.TaskState `json:"state"`
	Since time.Time      `json:"since"`
	Build albs.BuildID   `json:"build_id"` // 0 if it is no build's
}

// Barred is why a worker gets nothing.
type Barred struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
}

// NewWorker asks for an identity.
type NewWorker struct {
	Name   string      `json:"name"`
	Role   albs.Role   `json:"role"`
	Arches []albs.Arch `json:"arches,omitempty"`
	Keys   []string    `json:"keys,omitempty"`
	Labels []string    `json:"labels,omitempty"`
}

// MaxWorkers is how many workers a list has at most.
const MaxWorkers = 500

// WorkerQuery says which workers to list; empty fields don't filter.
type WorkerQuery struct{ State, Name, After string }

// Workers lists workers by name, at most MaxWorkers of them.
func (c *Client) Workers(ctx context.Context, q WorkerQuery) (Doc[[]Worker], error) {
	v := url.Values{}
	for name, value := range map[string]string{"state": q.State, "name": q.Name, "after": q.After} {
		if value != "" {
			v.Set(name, value)
		}
	}
	path := "/workers/"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return get[[]Worker](ctx, c, path)
}

// Worker shows one worker.
func (c *Client) Worker(ctx context.Context, id albs.WorkerID) (Doc[Worker], error) {
	return get[Worker](ctx, c, fmt.Sprintf("/workers/%d/", id))
}

// DrainWorker gives a worker nothing more.
func (c *Client) DrainWorker(ctx context.Context, id albs.WorkerID, reason string) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPatch, fmt.Sprintf("/workers/%d/drain", id), map[string]string{"reason": reason})
}

// UndrainWorker lets a drained worker have work again.
func (c *Client) UndrainWorker(ctx context.Context, id albs.WorkerID) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPatch, fmt.Sprintf("/workers/%d/undrain", id), nil)
}

// LiftWorker ends a worker's quarantine.
func (c *Client) LiftWorker(ctx context.Context, id albs.WorkerID) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPatch, fmt.Sprintf("/workers/%d/lift", id), nil)
}

// RekeyWorker has the key of a worker's statements be forgotten.
func (c *Client) RekeyWorker(ctx context.Context, id albs.WorkerID) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPatch, fmt.Sprintf("/workers/%d/rekey", id), nil)
}

// ExcludeFromWorker keeps packages and keys like the patterns from a worker, in place of
// those before.
func (c *Client) ExcludeFromWorker(ctx context.Context, id albs.WorkerID, patterns []string) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPut, fmt.Sprintf("/workers/%d/exclude", id), map[string][]string{"patterns": append([]string{}, patterns...)})
}

// AddWorker enrolls a worker; this answer alone has its token.
func (c *Client) AddWorker(ctx context.Context, n NewWorker) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPost, "/workers/", n)
}

// DisableWorker closes an identity for good.
func (c *Client) DisableWorker(ctx context.Context, id albs.WorkerID) (Doc[Worker], error) {
	return send[Worker](ctx, c, http.MethodPatch, fmt.Sprintf("/workers/%d/disable", id), nil)
}

// Artifact is a file that the server holds.
type Artifact struct {
	SHA256   albs.Digest `json:"sha256"`
	Size     int64       `json:"size"`
	Kind     string      `json:"kind"`
	Name     string      `json:"name"`
	At       time.Time   `json:"created_at"`
	NEVRA    string      `json:"nevra"`
	Source   string      `json:"source_rpm"`
	Header   albs.Digest `json:"header_sha256"`
	Payload  albs.Digest `json:"payload_sha256"`
	Unsigned albs.Digest `json:"unsigned"`
	SignedBy string      `json:"signed_by"`
	Signed   []struct {
		SHA256 albs.Digest `json:"sha256"`
		Key    string      `json:"key"`
	} `json:"signed"`
	Notarized bool   `json:"notarized"`
	Trouble   string `json:"trouble"`
}

// Artifact returns what is known of a file, or NotFound.
func (c *Client) Artifact(ctx context.Context, d albs.Digest) (Doc[Artifact], error) {
	return get[Artifact](ctx, c, artifactPath(d, ""))
}

// Fact is one statement about a file or what it was made from.
type Fact struct {
	Subject   albs.Digest `json:"subject"`
	Predicate string      `json:"predicate"` // source, build, test, sign, release …
	At        time.Time   `json:"at"`
	Receipt   *struct {
		TxID uint64 `json:"tx"`
	} `json:"receipt"` // nil while the ledger has yet to take it
	Statement struct {
		Subject []struct {
			Name   string `json:"name"`
			Digest struct {
				SHA256 albs.Digest `json:"sha256"`
			} `json:"digest"`
		} `json:"subject"`
	} `json:"statement"`
}

// History lists what was stated about a file and what it was made from, in the
// order of the statements.
func (c *Client) History(ctx context.Context, d albs.Digest) (Doc[[]Fact], error) {
	return get[[]Fact](ctx, c, artifactPath(d, "history"))
}

// Trace is a package, SRPM or commit with all that was said of it.
type Trace struct {
	Nodes []TraceNode `json:"nodes"` // from the sources to the public repositories
	Links []TraceLink `json:"links"`
	Whole bool        `json:"whole"` // every link is verified
	Cut   bool        `json:"cut"`   // more is related than is shown
}

// TraceNode is a thing that a trace comes by.
type TraceNode struct {
	ID      string      `json:"id"`
	Kind    string      `json:"kind"`
	Name    string      `json:"name"`
	SHA256  albs.Digest `json:"sha256"`
	Record  string      `json:"record"` // verified, pending, missing or failed; "" of what is no file
	Trouble string      `json:"trouble"`
	Asked   bool        `json:"asked"`
}

// TraceLink is a statement that leads to a node, or the lack of one.
type TraceLink struct {
	From     string    `json:"from"`
	To       string    `json:"to"`
	Says     string    `json:"says"`
	Standing string    `json:"standing"` // verified, pending, missing or failed
	Trouble  string    `json:"trouble"`
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
	Receipt  *struct {
		TxID uint64 `json:"tx"`
	} `json:"receipt"`
}

// Trace follows what: the sha256 of a file, a git commit, or a NEVRA. Invalid if it is no
// such name, NotFound if nothing is known of it.
func (c *Client) Trace(ctx context.Context, what string) (Doc[Trace], error) {
	return get[Trace](ctx, c, "/trace?"+url.Values{"of": {what}}.Encode())
}

func artifactPath(d albs.Digest, part string) string {
	return "/artifacts/" + url.PathEscape(string(d)) + "/" + part
}
