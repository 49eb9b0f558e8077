package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
)

// Check is a stage of the test of a package, or a case of it.
type Check struct {
	NEVRA    string          `json:"nevra"`
	SHA256   albs.Digest     `json:"sha256"`
	Platform string          `json:"platform"`
	Arch     albs.Arch       `json:"env_arch"`
	Stage    albs.TestStage  `json:"stage"` // "" of a package of which no stage is known
	Case     string          `json:"case"`  // "" of the stage itself
	Status   albs.TestStatus `json:"status"`
	OK       bool            `json:"ok"`
	Detail   string          `json:"detail"`
	Seconds  float64         `json:"seconds"`
	Flaky    bool            `json:"flaky"`
	Log      string          `json:"log"` // the path of the stage's own; "" if it has none
	Revision int             `json:"revision"`
	Task     albs.TaskID     `json:"task_id"`
}

// TestResults is a page of what the tests of a build found out.
type TestResults struct {
	Results   []Check `json:"results"`
	Total     int     `json:"total_results"`
	Revisions int     `json:"revisions"`
	Packages  struct {
		All, Passed, Failed, Pending, Missing, Flaky int
	} `json:"packages"`
}

// TestQuery chooses results; what is empty chooses nothing.
type TestQuery struct {
	Status   albs.TestStatus // or "bad"
	Stage    albs.TestStage
	Package  string
	Platform string
	Arch     albs.Arch
	Text     string
	Flaky    bool
	Revision int
	Page     int // from 1; 0 is the first
	Size     int // entries a page; 0 is the server's
}

// TestResults returns a page of what the tests of a build found out.
func (c *Client) TestResults(ctx context.Context, id albs.BuildID, q TestQuery) (Doc[TestResults], error) {
	v := url.Values{}
	set(v, "status", string(q.Status))
	set(v, "stage", string(q.Stage))
	set(v, "package", q.Package)
	set(v, "platform", q.Platform)
	set(v, "arch", string(q.Arch))
	set(v, "text", q.Text)
	if q.Flaky {
		v.Set("flaky", "true")
	}
	setNumber(v, "revision", q.Revision)
	setNumber(v, "pageNumber", q.Page)
	setNumber(v, "pageSize", q.Size)
	return get[TestResults](ctx, c, testsPath(id)+"results/"+queried(v))
}

func testsPath(id albs.BuildID) string { return fmt.Sprintf("/tests/build/%d/", id) }

func setNumber(v url.Values, name string, n int) {
	if n != 0 {
		v.Set(name, strconv.Itoa(n))
	}
}

func queried(v url.Values) string {
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// TestsCompared is how two revisions of a build's tests differ.
type TestsCompared struct {
	From    int `json:"from"`
	To      int `json:"to"`
	Total   int `json:"total_changes"`
	Same    int `json:"same"`
	Changes []struct {
		Change string          `json:"change"` // broken, fixed, added, removed or changed
		Before albs.TestStatus `json:"status_before"`
		After  albs.TestStatus `json:"status_after"`
		Check  Check           `json:"check"`
	} `json:"changes"`
}

// CompareTests says how two revisions of a build's tests differ, a page of it; 0 is the last
// two.
func (c *Client) CompareTests(ctx context.Context, id albs.BuildID, from, to, page int) (Doc[TestsCompared], error) {
	v := url.Values{}
	setNumber(v, "from", from)
	setNumber(v, "to", to)
	setNumber(v, "pageNumber", page)
	return get[TestsCompared](ctx, c, testsPath(id)+"compare"+queried(v))
}

// TestSeen is what a stage or case of a package's tests came to in one run.
type TestSeen struct {
	NEVRA    string          `json:"nevra"`
	Platform string          `json:"platform"`
	Arch     albs.Arch       `json:"env_arch"`
	Stage    albs.TestStage  `json:"stage"`
	Case     string          `json:"case"`
	Status   albs.TestStatus `json:"status"`
	Detail   string          `json:"detail"`
	Inputs   albs.Digest     `json:"inputs"`
	Flaky    bool            `json:"flaky"`
	Build    albs.BuildID    `json:"build_id"`
	Revision int             `json:"revision"`
	At       time.Time       `json:"scheduled_at"`
}

// TestHistory is what came of a point of a package's tests, the newest first.
type TestHistory struct {
	Seen   []TestSeen `json:"results"`
	Before int64      `json:"next_before"` // where older ones begin; 0 at the end
}

// TestHistory returns what the tests of a package, by its name, came to over time; q's
// Platform, Arch and Stage choose among them, and name a case of that stage.
func (c *Client) TestHistory(ctx context.Context, q TestQuery, name string, before int64) (Doc[TestHistory], error) {
	v := url.Values{"package": {q.Package}}
	set(v, "platform", q.Platform)
	set(v, "arch", string(q.Arch))
	set(v, "stage", string(q.Stage))
	set(v, "case", name)
	if before != 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	return get[TestHistory](ctx, c, "/tests/history/"+queried(v))
}

// RetryTests tests again what didn't pass of a build, by the packages' own tests as their
// repositories have them now if newest is set.
func (c *Client) RetryTests(ctx context.Context, id albs.BuildID, newest bool) (Doc[[]TestRun], error) {
	path := testsPath(id) + "restart"
	if newest {
		path += "?newest=true"
	}
	return send[[]TestRun](ctx, c, http.MethodPut, path, nil)
}

// RetryTestsOf tests again what didn't pass of what one task of a build left.
func (c *Client) RetryTestsOf(ctx context.Context, task albs.TaskID) (Doc[[]TestRun], error) {
	return send[[]TestRun](ctx, c, http.MethodPut, fmt.Sprintf("/tests/build_task/%d/restart", task), nil)
}

// CancelTests ends the tests of a build that are under way.
func (c *Client) CancelTests(ctx context.Context, id albs.BuildID) (Doc[[]TestRun], error) {
	return send[[]TestRun](ctx, c, http.MethodPut, testsPath(id)+"cancel", nil)
}

// JUnit downloads the results of a build's tests, of at most limit bytes, as of a revision or
// the latest with 0, as a report in JUnit's form.
func (c *Client) JUnit(ctx context.Context, id albs.BuildID, revision int, limit int64) ([]byte, error) {
	v := url.Values{}
	setNumber(v, "revision", revision)
	return c.Document(ctx, testsPath(id)+"junit.xml"+queried(v), "application/xml", limit)
}

// OpenCheckLog downloads the log of the stage that k is of. It is Conflict if it has none.
func (c *Client) OpenCheckLog(ctx context.Context, k Check) (io.ReadCloser, error) {
	path, ok := strings.CutPrefix(k.Log, Prefix+"/")
	if !ok {
		return nil, albs.Errorf(albs.Conflict, "the stage %s of %s has no log", k.Stage, k.NEVRA)
	}
	return c.Open(ctx, "/"+path)
}
