package api

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/report"
	"albs/internal/rpm"
)

type buildTaskInput struct {
	Task albs.TaskID `path:"build_task_id" minimum:"1"`
}

type revisionInput struct {
	Task     albs.TaskID `path:"build_task_id" minimum:"1"`
	Revision int         `path:"revision" minimum:"1"`
}

func (s *Server) routeTests() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/build/{build_id}/", "List all test runs of a build"), s.listRuns)
	rest.Handle(s.Server, rest.Operation(put, "/api/v1/tests/build/{build_id}/restart", "Test again what did not pass or was never tested"), s.restartTests)
	rest.Handle(s.Server, rest.Operation(put, "/api/v1/tests/build/{build_id}/cancel", "End the tests of a build that are under way"), s.cancelTests)
	rest.Handle(s.Server, rest.Operation(put, "/api/v1/tests/build_task/{build_task_id}/restart", "Test again what did not pass of what a build task left"), s.restartTask)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/{build_task_id}/latest", "Show the latest test run of a build task"), s.latestRun)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/{build_task_id}/logs", "List the logs of a build task's latest test run"), s.runLogs)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/{build_task_id}/{revision}", "Show one test run of a build task"), s.oneRun)
}

// ALBS's numbers of a test task.
const (
	testCreated   = 1
	testStarted   = 2
	testCompleted = 3
	testFailed    = 4
	testCancelled = 5
)

// runStatus spells where a run stands as ALBS does, which calls one with bad
// cases failed.
func runStatus(r testrun.Run) (int, string) {
	switch {
	case r.Task.State == albs.TaskLeased || r.Task.State == albs.TaskStopping:
		return testStarted, "started"
	case r.Passed():
		return testCompleted, "completed"
	case r.Task.State == albs.TaskCancelled:
		return testCancelled, "cancelled"
	case r.Task.State.Final():
		return testFailed, "failed"
	default:
		return testCreated, "created"
	}
}

type runView struct {
	ID        int64       `json:"id" doc:"Of the run; the packages that it tested have it in common"`
	Name      string      `json:"package_name,omitempty" doc:"ALBS's, where one package is told of"`
	Version   string      `json:"package_version,omitempty"`
	Release   string      `json:"package_release,omitempty"`
	BuildTask albs.TaskID `json:"build_task_id"`
	Status    int         `json:"status" enum:"1,2,3,4,5" doc:"ALBS's: 1 created, 2 started, 3 completed, 4 failed, 5 cancelled"`
	Revision  int         `json:"revision"`
	Part      int         `json:"part" doc:"Of the revision, from 1: a run tests so many packages and no more"`
	Arch      albs.Arch   `json:"env_arch"`
	CreatedAt time.Time   `json:"scheduled_at"`
	StartedAt *time.Time  `json:"started_at"`
	Finished  *time.Time  `json:"finished_at"`

	StatusText string         `json:"status_text"`
	State      albs.TaskState `json:"state"`
	Reason     string         `json:"reason"`
	Platform   string         `json:"platform"`
	Task       albs.TaskID    `json:"task_id" doc:"Whose logs can be followed below the build"`
	Packages   []testedView   `json:"packages"`
	Logs       []testLogView  `json:"artifacts"`

	Failure *delivery.FailureView `json:"failure,omitempty" doc:"Of a run that failed: why, by its first case that did"`
}

type testedView struct {
	NEVRA  string        `json:"nevra"`
	SHA256 albs.Digest   `json:"sha256"`
	State  testrun.State `json:"state" enum:"passed,failed,pending,missing"`
	Reason string        `json:"reason,omitempty"`
	Stages []stageView   `json:"stages" doc:"In the order in which they were carried out"`
	Cases  []caseView    `json:"cases" doc:"The single checks of stages that have such"`

	Waivers []waiverView `json:"waivers,omitempty" doc:"In force, by which it may go though its tests did not pass"`

	SignedBy string `json:"signed_by,omitempty" doc:"Of a signed copy: the fingerprint of the key"`
}

type stageView struct {
	Stage   albs.TestStage  `json:"stage"`
	Status  albs.TestStatus `json:"status" enum:"passed,failed,skipped,not_run"`
	Reason  string          `json:"reason,omitempty" doc:"One sentence, unless it passed"`
	Started *time.Time      `json:"started_at" doc:"By the tester's clock"`
	Seconds float64         `json:"seconds"`
	Log     string          `json:"log,omitempty" doc:"Where its own log can be read"`
}

type caseView struct {
	Stage   albs.TestStage  `json:"stage"`
	Name    string          `json:"name"`
	Status  albs.TestStatus `json:"status" enum:"passed,failed,skipped,todo,not_run"`
	OK      bool            `json:"ok" doc:"Whether it counts as good"`
	Detail  string          `json:"detail,omitempty"`
	Seconds float64         `json:"seconds"`
}

// testLogView is a log; of one that is a stage's own, ALBS's members tell what that came to.
type testLogView struct {
	Name    string    `json:"name"`
	Href    string    `json:"href"`
	Attempt int       `json:"attempt"`
	Success *bool     `json:"success,omitempty"`
	Format  string    `json:"logs_format,omitempty" enum:"tap,text"`
	Results []tapView `json:"tap_results,omitempty"`
}

type tapView struct {
	Name       string `json:"test_name"`
	Status     int    `json:"status" enum:"1,2,3,4" doc:"ALBS's: 1 failed, 2 done, 3 to do, 4 skipped"`
	Diagnostic string `json:"diagnostic"`
}

// tapStatus are ALBS's numbers of what a case came to.
var tapStatus = map[albs.TestStatus]int{albs.TestFailed: 1, albs.TestNotRun: 1, albs.TestPassed: 2, albs.TestTodo: 3, albs.TestSkipped: 4}

func viewRun(r testrun.Run) runView {
	out := runView{
		ID: r.ID, BuildTask: r.BuildTask, Revision: r.Revision, Part: r.Part, Arch: r.Arch, CreatedAt: r.CreatedAt, StartedAt: rest.TimeOf(r.Task.Started.Time),
		Finished: finished(r.Task), State: r.Task.State, Reason: r.Task.Reason, Platform: r.Platform, Task: r.Task.ID,
		Packages: []testedView{}, Logs: []testLogView{}, Failure: delivery.ViewFailure(r.Cause(), r.Task.Attempts),
	}
	out.Status, out.StatusText = runStatus(r)
	for _, p := range r.Packages {
		v := testedView{NEVRA: p.NEVRA, SHA256: p.Digest, State: p.Verdict.State, Reason: p.Verdict.Reason, Stages: []stageView{}, Cases: []caseView{}, SignedBy: p.SignedBy}
		for _, x := range p.Stages {
			sv := stageView{Stage: x.Stage, Status: x.Status, Reason: x.Reason, Started: rest.TimeOf(x.Started), Seconds: x.Took.Seconds()}
			if l, ok := r.LogOf(x); ok {
				sv.Log = delivery.DownloadPath(l.Digest)
			}
			v.Stages = append(v.Stages, sv)
		}
		for _, c := range p.Cases {
			v.Cases = append(v.Cases, caseView{c.Stage, c.Name, c.Status, !c.Status.Bad(), c.Detail, c.Took.Seconds()})
		}
		for _, w := range p.Waivers {
			v.Waivers = append(v.Waivers, viewWaiver(w))
		}
		out.Packages = append(out.Packages, v)
	}
	for _, l := range r.Logs {
		out.Logs = append(out.Logs, testLogView{Name: l.Name, Href: delivery.DownloadPath(l.Digest), Attempt: l.Attempt})
	}
	return out
}

func (s *Server) listRuns(ctx context.Context, in *buildInput) (*rest.Body[[]runView], error) {
	if _, err := s.Builds.Get(ctx, in.Build); err != nil {
		return nil, err
	}
	runs, err := s.Tests.Of(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	out := make([]runView, len(runs))
	for i, r := range runs {
		out[i] = viewRun(r)
	}
	return rest.Answer(out), nil
}

type restartInput struct {
	Build  albs.BuildID `path:"build_id" minimum:"1"`
	Newest bool         `query:"newest" doc:"By the tests of the packages' own as they are now, and not by those of the commits that the build was tested by before"`
}

func (s *Server) restartTests(ctx context.Context, in *restartInput) (*rest.Body[[]runView], error) {
	restart := s.Tests.Restart
	if in.Newest {
		restart = s.Tests.RestartNewest
	}
	if err := restart(ctx, in.Build); err != nil {
		return nil, err
	}
	return s.listRuns(ctx, &buildInput{in.Build})
}

func (s *Server) cancelTests(ctx context.Context, in *buildInput) (*rest.Body[[]runView], error) {
	if err := s.Tests.Cancel(ctx, in.Build); err != nil {
		return nil, err
	}
	return s.listRuns(ctx, in)
}

func (s *Server) restartTask(ctx context.Context, in *buildTaskInput) (*rest.Body[[]runView], error) {
	id, err := s.buildOf(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	if err := s.Tests.RestartTask(ctx, id, in.Task); err != nil {
		return nil, err
	}
	return s.latestRun(ctx, in)
}

// topicOfBuilds is how the topic of every build begins.
var topicOfBuilds = strings.TrimSuffix(build.Topic(0), "0")

// buildOf returns the build of a task, NotFound for one that is of none.
func (s *Server) buildOf(ctx context.Context, task albs.TaskID) (albs.BuildID, error) {
	t, err := s.Queue.Task(ctx, task)
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(strings.TrimPrefix(t.Topic, topicOfBuilds), 10, 64)
	if err != nil {
		return 0, albs.Errorf(albs.NotFound, "task %d is of no build", task)
	}
	return albs.BuildID(id), nil
}

// runsOf returns the runs that tested what a task of a build left; there is at
// least one.
func (s *Server) runsOf(ctx context.Context, task albs.TaskID) ([]testrun.Run, error) {
	id, err := s.buildOf(ctx, task)
	if err != nil {
		return nil, err
	}
	runs, err := s.Tests.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	runs = slices.DeleteFunc(runs, func(r testrun.Run) bool { return r.BuildTask != task })
	if len(runs) == 0 {
		return nil, albs.Errorf(albs.NotFound, "task %d was never tested", task)
	}
	return runs, nil
}

// latestRun answers with an entry for each package, as ALBS does, which has a test task for
// each.
func (s *Server) latestRun(ctx context.Context, in *buildTaskInput) (*rest.Body[[]runView], error) {
	runs, err := s.runsOf(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewResults(report.Latest(runs, 0))), nil
}

// viewResults shows each package as if it alone was tested.
func viewResults(results []report.Result) []runView {
	out := []runView{}
	for _, x := range results {
		run := x.Run
		run.Packages = []testrun.Package{x.Package}
		run.Logs = slices.DeleteFunc(slices.Clone(run.Logs), func(l testrun.Log) bool { return othersLog(x, l) })
		v := viewRun(run)
		if n, err := rpm.ParseNEVRA(x.NEVRA); err == nil {
			v.Name, v.Version, v.Release = n.Name, n.Version, n.Release
		}
		out = append(out, v)
	}
	return out
}

// othersLog reports whether a log is of a stage, and of another package than x.
func othersLog(x report.Result, l testrun.Log) bool {
	if !slices.ContainsFunc(albs.TestStages, func(s albs.TestStage) bool { return strings.HasSuffix(l.Name, "."+string(s)+".log") }) {
		return false
	}
	return !slices.ContainsFunc(x.Stages, func(s testrun.Stage) bool { return s.Log == l.Name })
}

func (s *Server) oneRun(ctx context.Context, in *revisionInput) (*rest.Body[[]runView], error) {
	runs, err := s.runsOf(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	var results []report.Result
	for _, r := range runs {
		if r.Revision == in.Revision {
			results = append(results, report.Of(r)...)
		}
	}
	if len(results) == 0 {
		return nil, albs.Errorf(albs.NotFound, "task %d has no test run with revision %d", in.Task, in.Revision)
	}
	return rest.Answer(viewResults(results)), nil
}

// runLogs lists the logs of the runs that count: first those of stages, with what each found
// out, as ALBS reads it out of them.
func (s *Server) runLogs(ctx context.Context, in *buildTaskInput) (*rest.Body[[]testLogView], error) {
	runs, err := s.runsOf(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	results := report.Latest(runs, 0)
	out, whole := []testLogView{}, []testLogView{}
	seen := map[albs.Digest]bool{}
	for i := range results {
		for _, c := range report.ChecksOf(&results[i]) {
			switch {
			case c.Case == "" && c.Log != nil:
				good := !c.Status.Bad()
				seen[c.Log.Digest] = true
				out = append(out, testLogView{Name: c.Log.Name, Href: delivery.DownloadPath(c.Log.Digest), Attempt: c.Log.Attempt, Success: &good, Format: "text"})
			case c.Case != "" && c.Log != nil:
				v := &out[len(out)-1]
				v.Format = "tap"
				v.Results = append(v.Results, tapView{c.Case, tapStatus[c.Status], c.Detail})
			}
		}
		for _, l := range results[i].Run.Logs {
			if !seen[l.Digest] && !othersLog(results[i], l) {
				seen[l.Digest] = true
				whole = append(whole, testLogView{Name: l.Name, Href: delivery.DownloadPath(l.Digest), Attempt: l.Attempt})
			}
		}
	}
	return rest.Answer(append(out, whole...)), nil
}
