// Package tests is the part of the interface for programs that tells what tests found
// out: their results check by check, how two revisions differ, what a check came to over
// time, and reports in JUnit's form.
//
// Like all of the interface it owns no rule and no row. ALBS has none of it; what ALBS has
// of tests is beside it in package api.
package tests

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/report"
)

// Parts are the modules that the resources speak for. All are required.
type Parts struct {
	Builds *build.Builds
	Tests  *testrun.Tests
	// RunsOf returns the runs that tested what a task of a build left; NotFound if there are none.
	RunsOf func(ctx context.Context, task albs.TaskID) ([]testrun.Run, error)
}

// Resources answer their operations.
type Resources struct {
	*rest.Server
	Parts
}

const (
	root = "/api/v1/tests/"
	of   = root + "build/{build_id}/"
)

// Register registers the resources with s.
func Register(s *rest.Server, p Parts) *Resources {
	r := &Resources{Server: s, Parts: p}
	rest.Handle(s, rest.Operation(rest.Get, of+"results/", "List what the tests of a build found out, check by check"), r.results)
	rest.Handle(s, rest.Operation(rest.Get, of+"compare", "List what differs between two revisions of a build's tests"), r.compare)
	rest.Handle(s, rest.Operation(rest.Get, root+"history/", "List what a stage or case of a package's tests came to, the newest first"), r.history)
	for path, h := range map[string]http.HandlerFunc{of + "junit.xml": r.junitBuild, root + "{build_task_id}/junit.xml": r.junitTask, root + "{build_task_id}/{revision}/junit.xml": r.junitTask} {
		op := rest.Operation(rest.Get, path, "Read the results of tests as a report in JUnit's form")
		op.Parameters = rest.PathParams(path)
		if path == of+"junit.xml" {
			op.Parameters = append(op.Parameters, rest.QueryParam("revision", huma.TypeInteger, "As of this revision; the latest if it isn't given"))
		}
		op.Responses = rest.Answers(http.StatusOK, "The report", junitType)
		s.Raw(op, h)
	}
	return r
}

// resultsOf returns the results of a build as of a revision, or the latest with 0, with
// what is flaky marked, and how many revisions there are.
func (r *Resources) resultsOf(ctx context.Context, id albs.BuildID, revision int) ([]report.Result, int, error) {
	runs, most, err := r.runs(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	if revision > most {
		return nil, 0, noRevision(id, revision)
	}
	flaky, err := r.Tests.Flaky(ctx, id)
	return report.Mark(report.Latest(runs, revision), flaky), most, err
}

func (r *Resources) runs(ctx context.Context, id albs.BuildID) ([]testrun.Run, int, error) {
	b, err := r.Builds.Get(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	runs, err := r.Tests.Of(ctx, id)
	runs = report.Current(b, runs)
	return runs, report.Revisions(runs), err
}

func noRevision(id albs.BuildID, revision int) error {
	return albs.Errorf(albs.NotFound, "the tests of build %d have no revision %d", id, revision)
}

// PageInput is which part of a list is asked for.
type PageInput struct {
	Page int `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1"`
	Size int `query:"pageSize" minimum:"1" maximum:"1000" default:"100" doc:"Entries a page"`
}

// part returns the part of all that is asked for, never null.
func part[T any](in PageInput, all []T) []T {
	from := min((in.Page-1)*in.Size, len(all))
	return append([]T{}, all[from:min(from+in.Size, len(all))]...)
}

type resultsInput struct {
	Build    albs.BuildID    `path:"build_id" minimum:"1"`
	Status   albs.TestStatus `query:"status" maxLength:"20" doc:"bad (whatever isn't good), failed, not_run, passed, skipped, todo, pending or missing"`
	Stage    albs.TestStage  `query:"stage" maxLength:"20"`
	Package  string          `query:"package" maxLength:"200" doc:"A part of the NEVRA, or the whole sha256"`
	Platform string          `query:"platform" maxLength:"64"`
	Arch     albs.Arch       `query:"arch" maxLength:"20"`
	Text     string          `query:"text" maxLength:"200" doc:"A part of the case's name, or of what was said"`
	Flaky    bool            `query:"flaky" doc:"Only what changed its answer on the same inputs"`
	Revision int             `query:"revision" minimum:"0" doc:"As of this revision; 0 is the latest"`
	PageInput
}

// ResultsView is a page of what tests found out.
type ResultsView struct {
	Results   []CheckView `json:"results" doc:"Each stage before its cases, by platform, package and arch"`
	Total     int         `json:"total_results" doc:"That are chosen, on all pages"`
	Page      int         `json:"current_page"`
	Packages  CountView   `json:"packages" doc:"Of the whole build, whatever is chosen"`
	Revisions int         `json:"revisions"`
}

// CountView is how many packages stand in which way.
type CountView struct {
	All     int `json:"all"`
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Pending int `json:"pending"`
	Missing int `json:"missing"`
	Flaky   int `json:"flaky"`
}

// CheckView is a stage of the test of a package, or a case of it.
type CheckView struct {
	NEVRA     string          `json:"nevra"`
	Package   string          `json:"package_name"`
	SHA256    albs.Digest     `json:"sha256"`
	SignedBy  string          `json:"signed_by,omitempty" doc:"The fingerprint of the key, of a signed copy"`
	Platform  string          `json:"platform"`
	Arch      albs.Arch       `json:"env_arch"`
	Stage     albs.TestStage  `json:"stage" doc:"Empty of a package of which no stage is known"`
	Case      string          `json:"case" doc:"Empty of the stage itself"`
	Status    albs.TestStatus `json:"status"`
	OK        bool            `json:"ok" doc:"Whether it counts as good"`
	Detail    string          `json:"detail,omitempty"`
	Seconds   float64         `json:"seconds"`
	Flaky     bool            `json:"flaky" doc:"It changed its answer on the same inputs; it bars nothing less for that"`
	Log       string          `json:"log,omitempty" doc:"Where the stage's own log can be read"`
	Revision  int             `json:"revision" doc:"That counts for the package"`
	BuildTask albs.TaskID     `json:"build_task_id"`
	Task      albs.TaskID     `json:"task_id"`
}

func viewCheck(c report.Check) CheckView {
	r := c.Result
	v := CheckView{
		NEVRA: r.NEVRA, Package: r.Name, SHA256: r.Digest, SignedBy: r.SignedBy, Platform: r.Run.Platform, Arch: r.Run.Arch, Stage: c.Stage, Case: c.Case, Status: c.Status, OK: !c.Status.Bad(),
		Detail: c.Detail, Seconds: c.Took.Seconds(), Flaky: c.Flaky, Revision: r.Run.Revision, BuildTask: r.Run.BuildTask, Task: r.Run.Task.ID,
	}
	if c.Log != nil {
		v.Log = delivery.DownloadPath(c.Log.Digest)
	}
	return v
}

func (r *Resources) results(ctx context.Context, in *resultsInput) (*rest.Body[ResultsView], error) {
	f := report.Filter{Status: in.Status, Stage: in.Stage, Package: in.Package, Platform: in.Platform, Arch: in.Arch, Text: in.Text, Flaky: in.Flaky}
	if err := f.Check(); err != nil {
		return nil, err
	}
	results, most, err := r.resultsOf(ctx, in.Build, in.Revision)
	if err != nil {
		return nil, err
	}
	checks := f.Checks(results)
	n := report.CountOf(results)
	v := ResultsView{Results: []CheckView{}, Total: len(checks), Page: in.Page, Packages: CountView{n.Packages, n.Passed, n.Failed, n.Pending, n.Missing, n.Flaky}, Revisions: most}
	for _, c := range part(in.PageInput, checks) {
		v.Results = append(v.Results, viewCheck(c))
	}
	return rest.Answer(v), nil
}

type compareInput struct {
	Build albs.BuildID `path:"build_id" minimum:"1"`
	From  int          `query:"from" minimum:"0" doc:"A revision; 0 is the one before to"`
	To    int          `query:"to" minimum:"0" doc:"A revision; 0 is the latest"`
	PageInput
}

// ComparedView is how two revisions of a build's tests differ.
type ComparedView struct {
	From    int          `json:"from"`
	To      int          `json:"to"`
	Changes []ChangeView `json:"changes"`
	Total   int          `json:"total_changes"`
	Page    int          `json:"current_page"`
	Same    int          `json:"same" doc:"Checks that came to the same in both"`
}

// ChangeView is one check that two revisions tell differently: as it is in the later one.
type ChangeView struct {
	Change string          `json:"change" enum:"broken,fixed,added,removed,changed"`
	Before albs.TestStatus `json:"status_before" doc:"Empty if it wasn't there"`
	After  albs.TestStatus `json:"status_after" doc:"Empty if it is there no more"`
	Said   string          `json:"detail_before,omitempty"`
	Check  CheckView       `json:"check"`
}

func (r *Resources) compare(ctx context.Context, in *compareInput) (*rest.Body[ComparedView], error) {
	runs, most, err := r.runs(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	v := ComparedView{From: in.From, To: in.To, Changes: []ChangeView{}, Page: in.Page}
	if v.To == 0 {
		v.To = max(most, 1)
	}
	if v.From == 0 {
		v.From = max(v.To-1, 1)
	}
	if n := max(v.From, v.To); n > most {
		return nil, noRevision(in.Build, n)
	}
	flaky, err := r.Tests.Flaky(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	c := report.Compare(report.Mark(report.Latest(runs, v.From), flaky), report.Mark(report.Latest(runs, v.To), flaky))
	v.Total, v.Same = len(c.Changes), c.Same
	for _, x := range part(in.PageInput, c.Changes) {
		v.Changes = append(v.Changes, ChangeView{x.Kind(), x.From, x.To, x.Before, viewCheck(x.Check)})
	}
	return rest.Answer(v), nil
}

type historyInput struct {
	Package  string         `query:"package" required:"true" minLength:"1" maxLength:"200" doc:"A name, without version"`
	Platform string         `query:"platform" maxLength:"64"`
	Arch     albs.Arch      `query:"arch" maxLength:"20"`
	Stage    albs.TestStage `query:"stage" maxLength:"20"`
	Case     string         `query:"case" maxLength:"200" doc:"Empty for the stage itself"`
	Before   int64          `query:"before" minimum:"0" doc:"Only runs below this one, as the page before told"`
}

// HistoryView is a page of what a point of a package's tests came to.
type HistoryView struct {
	Seen   []SeenView `json:"results"`
	Before int64      `json:"next_before,omitempty" doc:"Where older ones begin; absent at the end"`
}

// SeenView is what a stage or case came to in one run.
type SeenView struct {
	NEVRA    string          `json:"nevra"`
	SHA256   albs.Digest     `json:"sha256"`
	Platform string          `json:"platform"`
	Arch     albs.Arch       `json:"env_arch"`
	Stage    albs.TestStage  `json:"stage"`
	Case     string          `json:"case"`
	Status   albs.TestStatus `json:"status"`
	Detail   string          `json:"detail,omitempty"`
	Inputs   albs.Digest     `json:"inputs,omitempty" doc:"A digest over the package, the root's snapshots and all else that its test rested on"`
	Flaky    bool            `json:"flaky" doc:"On this page it gave different answers on the same inputs"`
	Build    albs.BuildID    `json:"build_id"`
	Task     albs.TaskID     `json:"task_id"`
	Revision int             `json:"revision"`
	At       time.Time       `json:"scheduled_at"`
}

func (r *Resources) history(ctx context.Context, in *historyInput) (*rest.Body[HistoryView], error) {
	seen, before, err := r.Tests.History(ctx, testrun.Point{Package: in.Package, Platform: in.Platform, Arch: in.Arch, Stage: in.Stage, Case: in.Case}, in.Before)
	if err != nil {
		return nil, err
	}
	flaky := testrun.Flaky(seen)
	v := HistoryView{Seen: []SeenView{}, Before: before}
	for _, o := range seen {
		v.Seen = append(v.Seen, SeenView{o.NEVRA, o.Digest, o.Platform, o.Arch, o.Stage, o.Case, o.Status, o.Detail, o.Inputs, flaky[o.Point], o.Build, o.Task, o.Revision, o.CreatedAt})
	}
	return rest.Answer(v), nil
}

const junitType = "application/xml"

func (r *Resources) junitBuild(w http.ResponseWriter, req *http.Request) {
	id, err := number(req, "build_id")
	if err != nil {
		r.Fail(w, req, err)
		return
	}
	revision := 0
	if s := req.URL.Query().Get("revision"); s != "" {
		if revision, err = strconv.Atoi(s); err != nil || revision < 0 {
			r.Fail(w, req, albs.Errorf(albs.Invalid, "%.20q is no revision", s))
			return
		}
	}
	results, _, err := r.resultsOf(req.Context(), albs.BuildID(id), revision)
	r.junit(w, req, fmt.Sprintf("build %d", id), results, err)
}

func (r *Resources) junitTask(w http.ResponseWriter, req *http.Request) {
	task, err := number(req, "build_task_id")
	if err != nil {
		r.Fail(w, req, err)
		return
	}
	runs, err := r.RunsOf(req.Context(), albs.TaskID(task))
	if err != nil {
		r.Fail(w, req, err)
		return
	}
	name, results := fmt.Sprintf("build task %d", task), report.Latest(runs, 0)
	if chi.URLParam(req, "revision") != "" {
		revision, err := number(req, "revision")
		if err != nil {
			r.Fail(w, req, err)
			return
		}
		name, results = fmt.Sprintf("%s, revision %d", name, revision), nil
		for _, run := range runs {
			if int64(run.Revision) == revision {
				results = append(results, report.Of(run)...)
			}
		}
		if results == nil {
			err = albs.Errorf(albs.NotFound, "task %d has no test run with revision %d", task, revision)
		}
		r.junit(w, req, name, results, err)
		return
	}
	r.junit(w, req, name, results, nil)
}

func (r *Resources) junit(w http.ResponseWriter, req *http.Request, name string, results []report.Result, err error) {
	var b bytes.Buffer
	if err == nil {
		err = report.WriteJUnit(&b, name, results)
	}
	if err != nil {
		r.Fail(w, req, err)
		return
	}
	w.Header().Set("Content-Type", junitType)
	_, _ = w.Write(b.Bytes()) // the client is gone
}

// number reads a number out of a request's path.
func number(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(chi.URLParam(r, name), 10, 64)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "%s is not a number from 1", name)
	}
	return n, nil
}
