package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Build is a build as the API shows it, as far as commands use it; Doc.JSON has
// the whole.
type Build struct {
	ID        albs.BuildID `json:"id"`
	CreatedAt time.Time    `json:"created_at"`
	Started   time.Time    `json:"started_at"`
	Finished  time.Time    `json:"finished_at"` // zero while anything may still happen
	Owner     Owner        `json:"owner"`
	Products  []Named      `json:"products"`
	State     string       `json:"state"` // queued, running, succeeded, failed or cancelled
	Reason    string       `json:"reason"`
	Done      int          `json:"tasks_done"`
	Total     int          `json:"tasks_total"`
	Packages  []string     `json:"packages"`
	Order     string       `json:"order"`
	Items     []BuildItem  `json:"items"`
	Tasks     []Task       `json:"tasks"`
	Options   BuildOptions `json:"mock_options"`
	Flavours  []struct {
		Name     string `json:"name"`
		Revision int64  `json:"revision"`
	} `json:"platform_flavors"`
	LinkedBuilds []albs.BuildID `json:"linked_builds"`
	SecureBoot   bool           `json:"is_secure_boot"`
	Warnings     []string       `json:"warnings"`
	Noarch       []struct {
		Package string `json:"package"`
		Second  struct {
			Arch albs.Arch `json:"arch"`
		} `json:"second"`
		Differs []string `json:"differs"`
	} `json:"noarch_differences"`
}

// BuildOptions are what a build asks for beside its sources.
type BuildOptions struct {
	With       []string          `json:"with,omitempty"` // names of rpmbuild's conditionals
	Without    []string          `json:"without,omitempty"`
	Define     map[string]string `json:"definitions,omitempty"`   // macros
	Excludes   []string          `json:"yum_exclude,omitempty"`   // packages that dnf may not take
	Modules    []string          `json:"module_enable,omitempty"` // streams, name:stream
	TargetArch albs.Arch         `json:"target_arch,omitempty"`
}

// Final reports whether nothing more will happen to the build unless a person
// retries.
func (b Build) Final() bool {
	return b.State == "succeeded" || b.State == "failed" || b.State == "cancelled"
}

// Named is a reference by name.
type Named struct {
	Name string `json:"name"`
}

// Task is one step of a build.
type Task struct {
	ID       albs.TaskID    `json:"id"`
	Kind     albs.TaskKind  `json:"kind"`
	Package  string         `json:"package"`
	Arch     albs.Arch      `json:"arch"`
	Platform Named          `json:"platform"`
	State    albs.TaskState `json:"state"`
	Reason   string         `json:"reason"`
	Cause    albs.TaskID    `json:"cause"` // of a task that waits in vain: the one to retry
	Attempts int            `json:"attempts"`
	Worker   string         `json:"worker"`
	Started  time.Time      `json:"started_at"`
	Finished time.Time      `json:"finished_at"`
	Ref      struct {
		URL    string `json:"url"`
		Ref    string `json:"git_ref"`
		Commit string `json:"git_commit_hash"`
	} `json:"ref"`
	Files   []BuildFile `json:"artifacts"`
	Failure *Failure    `json:"failure"` // of a failed task; nil where nothing is known
	// AttemptList has the attempts in an answer about this one task.
	AttemptList []Attempt `json:"attempt_list"`
	// Why is what it waits for, in an answer about this one task; nil if it doesn't.
	Why *Why `json:"why"`
}

// Failure is why a task failed, as the server found it in the logs.
type Failure struct {
	Kind    string   `json:"kind"`
	Text    string   `json:"text"`
	Hint    string   `json:"hint"`
	Attempt int      `json:"attempt"`
	Log     string   `json:"log"`  // the log that tells it; "" if none does
	Line    int      `json:"line"` // the line's number there, from 1
	Quote   string   `json:"quote"`
	Before  []string `json:"before"` // the lines above
	After   []string `json:"after"`  // and below
}

// BuildFile is a file that a task left.
type BuildFile struct {
	Name   string      `json:"name"`
	Kind   string      `json:"kind"` // rpm, srpm, log or record
	Digest albs.Digest `json:"cas_hash"`
}

// BuildPage is a page of builds, the newest first.
type BuildPage struct {
	Builds []Build `json:"builds"`
	Total  int     `json:"total_builds"`
	Page   int     `json:"current_page"`
}

// BuildQuery says which builds to list; empty fields don't filter.
type BuildQuery struct {
	Page                              int // from 1
	Owner, Package, Platform, Product string
}

// NewBuild asks for a build.
type NewBuild struct {
	Platforms []BuildTarget  `json:"platforms"`
	Packages  []BuildSource  `json:"tasks"`
	Product   string         `json:"product,omitempty"`
	Order     string         `json:"order,omitempty"` // auto, listed or independent; auto if ""
	Break     []string       `json:"break,omitempty"` // "a→b": where cycles are broken first
	Options   *BuildOptions  `json:"mock_options,omitempty"`
	Flavours  []string       `json:"platform_flavors,omitempty"` // by name
	Linked    []albs.BuildID `json:"linked_builds,omitempty"`

	SecureBoot bool `json:"is_secure_boot,omitempty"`

	Tests *TestConfiguration `json:"test_configuration,omitempty"`
}

// TestConfiguration is what a build asks for of the tests that packages' maintainers wrote.
type TestConfiguration struct {
	Tests []albs.AskedSuite `json:"tests,omitempty"` // beside what test repositories map
	Env   struct {
		Variables []string `json:"extra_env_vars,omitempty"` // NAME=VALUE
	} `json:"test_env,omitzero"`
}

// BuildTarget is a platform with the arches wanted; none means all.
type BuildTarget struct {
	Platform string      `json:"name"`
	Arches   []albs.Arch `json:"arch_list,omitempty"`
}

// BuildSource is one package: a git ref, or the digest of an uploaded SRPM.
type BuildSource struct {
	URL  string      `json:"url,omitempty"`
	Ref  string      `json:"git_ref,omitempty"`
	SRPM albs.Digest `json:"srpm,omitempty"`
}

// Builds lists builds.
func (c *Client) Builds(ctx context.Context, q BuildQuery) (Doc[BuildPage], error) {
	v := url.Values{"pageNumber": {strconv.Itoa(max(q.Page, 1))}}
	set(v, "created_by", q.Owner)
	set(v, "project", q.Package)
	set(v, "platform", q.Platform)
	set(v, "product", q.Product)
	return get[BuildPage](ctx, c, "/builds/?"+v.Encode())
}

// Build returns a build with its tasks and their files, or NotFound.
func (c *Client) Build(ctx context.Context, id albs.BuildID) (Doc[Build], error) {
	return get[Build](ctx, c, fmt.Sprintf("/builds/%d/", id))
}

// CreateBuild starts a build. key, of the caller's choice, makes a repeated
// request return the first one's build, so the request is repeated like a
// question while the server is Unavailable.
func (c *Client) CreateBuild(ctx context.Context, n NewBuild, key string) (Doc[Build], error) {
	body, err := json.Marshal(n)
	if err != nil {
		return Doc[Build]{}, fmt.Errorf("encode request: %w", err)
	}
	return c.CreateBuildOf(ctx, body, key)
}

// CreateBuildOf is CreateBuild of a request that is the API's own, in JSON.
func (c *Client) CreateBuildOf(ctx context.Context, request []byte, key string) (Doc[Build], error) {
	var out Doc[Build]
	a := call{method: http.MethodPost, path: "/builds/", media: jsonType, body: request, key: key}
	err := c.again(ctx, func() error { return c.exchange(ctx, a, &out) })
	return out, err
}

// CancelBuild ends everything of a build that has not ended.
func (c *Client) CancelBuild(ctx context.Context, id albs.BuildID) (Doc[Build], error) {
	return send[Build](ctx, c, http.MethodPatch, fmt.Sprintf("/builds/%d/cancel", id), nil)
}

// RetryBuild queues a build's failed and cancelled tasks again.
func (c *Client) RetryBuild(ctx context.Context, id albs.BuildID) (Doc[Build], error) {
	return send[Build](ctx, c, http.MethodPatch, fmt.Sprintf("/builds/%d/restart-failed", id), nil)
}

// RetryTask queues one failed or cancelled task again.
func (c *Client) RetryTask(ctx context.Context, id albs.BuildID, task albs.TaskID) (Doc[Task], error) {
	return send[Task](ctx, c, http.MethodPost, fmt.Sprintf("/builds/%d/tasks/%d/retry", id, task), nil)
}

// SRPM is an uploaded source package.
type SRPM struct {
	Digest albs.Digest `json:"digest"`
	Name   string      `json:"name"`
	Size   int64       `json:"size"`
	NEVRA  string      `json:"nevra"`
}

// UploadSRPM stores size bytes of r, an SRPM with that file name, for later builds.
func (c *Client) UploadSRPM(ctx context.Context, name string, r io.Reader, size int64) (SRPM, error) {
	var out SRPM
	err := c.Upload(ctx, "/uploads/srpm?"+url.Values{"name": {name}}.Encode(), r, size, &out)
	return out, err
}

// Log is one log of one attempt at a task.
type Log struct {
	Attempt int    `json:"attempt"`
	Stream  string `json:"stream"`
	Size    int64  `json:"size"`
	Final   bool   `json:"final"` // it grows no more
}

func logPath(id albs.BuildID, task albs.TaskID) string {
	return fmt.Sprintf("/builds/%d/tasks/%d/logs/", id, task)
}

// Logs lists the logs of all attempts at a task, the first attempt's first.
func (c *Client) Logs(ctx context.Context, id albs.BuildID, task albs.TaskID) (Doc[[]Log], error) {
	return get[[]Log](ctx, c, logPath(id, task))
}

// OpenLog downloads a log as it is now.
func (c *Client) OpenLog(ctx context.Context, id albs.BuildID, task albs.TaskID, l Log) (io.ReadCloser, error) {
	return c.Open(ctx, logPath(id, task)+url.PathEscape(l.Stream)+"?attempt="+strconv.Itoa(l.Attempt))
}

// FollowLog writes a log to w from its beginning and goes on while it grows, over
// broken connections too, until its attempt is over. attempt 0 is the newest, which
// is waited for if there is none yet.
func (c *Client) FollowLog(ctx context.Context, id albs.BuildID, task albs.TaskID, stream string, attempt int, w io.Writer) error {
	path := logPath(id, task) + url.PathEscape(stream) + "/events"
	if attempt > 0 {
		path += "?attempt=" + strconv.Itoa(attempt)
	}
	ended := false
	err := c.Follow(ctx, path, "", func(e Event) error {
		switch e.Name {
		case "end":
			ended = true
			return io.EOF
		case "log":
			var m struct {
				Text string `json:"text"`
			}
			if err := json.Unmarshal(e.Data, &m); err != nil {
				return fmt.Errorf("read the server's log: %w", err)
			}
			_, err := io.WriteString(w, m.Text)
			return err
		}
		return nil
	})
	if err == nil && !ended {
		return errors.New("the server ended the log without saying that it was whole")
	}
	return err
}

// Events gives each event under topic ("" for any) from now on to f, as Follow does.
func (c *Client) Events(ctx context.Context, topic string, f func(Event) error) error {
	v := url.Values{}
	set(v, "topic", topic)
	path := "/events"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return c.Follow(ctx, path, "", f)
}
