package api

import (
	"context"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/api/suites"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/queue"
)

type taskInput struct {
	Build albs.BuildID `path:"build_id" minimum:"1"`
	Task  albs.TaskID  `path:"task_id" minimum:"1"`
}

func (s *Server) routeTasks() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/builds/{build_id}/tasks/{task_id}/", "Show a task of a build with its attempts"), s.getTask)
	rest.Handle(s.Server, rest.Operation(post, "/api/v1/builds/{build_id}/tasks/{task_id}/retry", "Queue a failed or cancelled task again"), s.retryTask)
}

// ALBS's numbers of a build task.
const (
	taskIdle      = 0
	taskStarted   = 1
	taskCompleted = 2
	taskFailed    = 3
	taskExcluded  = 4
	taskCancelled = 5
)

// taskStatus spells a state as ALBS does, by number and name.
func taskStatus(s albs.TaskState) (int, string) {
	switch s {
	case albs.TaskLeased, albs.TaskStopping:
		return taskStarted, "started"
	case albs.TaskSucceeded:
		return taskCompleted, "completed"
	case albs.TaskFailed:
		return taskFailed, "failed"
	case albs.TaskExcluded:
		return taskExcluded, "excluded"
	case albs.TaskCancelled:
		return taskCancelled, "cancelled"
	default:
		return taskIdle, "idle"
	}
}

// refTypes are ALBS's numbers of its names.
var refTypes = map[string]int{"git_branch": 1, "git_tag": 2, "git_ref": 4}

type taskView struct {
	ID           albs.TaskID    `json:"id"`
	TS           *time.Time     `json:"ts" doc:"When the state became what it is"`
	Status       int            `json:"status" enum:"0,1,2,3,4,5" doc:"ALBS's: 0 idle, 1 started, 2 completed, 3 failed, 4 excluded, 5 cancelled"`
	Index        int            `json:"index" doc:"The package's place in the build"`
	Arch         albs.Arch      `json:"arch" doc:"src for the steps that lead to the SRPM"`
	Error        *string        `json:"error" doc:"Why it failed"`
	Platform     rest.NameView  `json:"platform"`
	Ref          refView        `json:"ref"`
	Artifacts    []artifactView `json:"artifacts"`
	RPMModules   []string       `json:"rpm_modules"`
	IsSecureBoot bool           `json:"is_secure_boot"`
	StartedAt    *time.Time     `json:"started_at"`
	FinishedAt   *time.Time     `json:"finished_at"`
	BuiltSRPM    *string        `json:"built_srpm_url"`
	CASVerified  bool           `json:"is_cas_authenticated" doc:"The source is verified: the ledger proves that its commit is notarized, as of this answer"`
	CommitHash   *string        `json:"alma_commit_cas_hash" doc:"The sha256 of a verified commit's object, under which its statements stand in the ledger"`
	TestTasks    []runView      `json:"test_tasks"`

	Kind       albs.TaskKind         `json:"kind" doc:"import, source or build"`
	Package    string                `json:"package"`
	StatusText string                `json:"status_text"`
	State      albs.TaskState        `json:"state" doc:"More exact than status"`
	Reason     string                `json:"reason"`
	Cause      albs.TaskID           `json:"cause,omitempty" doc:"Of a task that waits in vain: the task to retry"`
	Attempts   int                   `json:"attempts"`
	Worker     string                `json:"worker,omitempty"`
	Failure    *delivery.FailureView `json:"failure,omitempty" doc:"Of a failed task: why, as its logs tell. In the answer about a build only the first 20 have quote, before and after"`
	Weak       bool                  `json:"weak,omitempty" doc:"Of a weak arch: its failure is not the build's"`
	Options    *build.Options        `json:"mock_options,omitempty" doc:"The package's own, beside the build's"`
	Tests      *suites.Configuration `json:"test_configuration,omitempty" doc:"Likewise"`

	Why         *whyView      `json:"why,omitempty" doc:"Of a task that waits, in the answer about this one task: what for"`
	AttemptList []attemptView `json:"attempt_list,omitempty" doc:"In the answer about this one task"`
	Logs        string        `json:"logs" doc:"Where the logs are listed"`
}

type refView struct {
	URL     string `json:"url"`
	Ref     string `json:"git_ref"`
	RefType *int   `json:"ref_type" doc:"ALBS's: 1 branch, 2 tag, 3 SRPM by URL, 4 commit; null for an uploaded SRPM"`
	Commit  string `json:"git_commit_hash"`
	SRPM    string `json:"srpm,omitempty" doc:"Digest of the SRPM, once there is one"`
}

// artifactView is a file of a build as ALBS lists it.
type artifactView struct {
	Type    string      `json:"type" enum:"rpm,build_log"`
	Name    string      `json:"name"`
	Href    string      `json:"href"`
	CASHash albs.Digest `json:"cas_hash" doc:"The file's sha256, its key in the ledger"`

	Kind    string    `json:"kind"`
	Arch    albs.Arch `json:"arch,omitempty"`
	Attempt int       `json:"attempt"`
}

func viewFile(a build.Artifact) artifactView {
	out := artifactView{Type: "build_log", Name: a.Name, Href: delivery.DownloadPath(a.Digest), CASHash: a.Digest, Kind: a.Kind, Arch: a.Arch, Attempt: a.Attempt}
	if a.Kind == "rpm" || a.Kind == "srpm" {
		out.Type = "rpm"
	}
	return out
}

// finished is when a task became final; nil while it isn't.
func finished(t queue.Task) *time.Time {
	if !t.State.Final() {
		return nil
	}
	return rest.TimeOf(t.Changed.Time)
}

// logsOf is the path of a task's logs.
func logsOf(id albs.BuildID, task albs.TaskID) string {
	return "/api/v1/builds/" + id.String() + "/tasks/" + task.String() + "/logs/"
}

func viewTask(id albs.BuildID, it build.Item, source build.Source, t build.Task, files []artifactView) taskView {
	out := taskView{
		ID: t.ID, TS: rest.TimeOf(t.Changed.Time), Index: it.Place, Arch: t.Arch, Platform: rest.NameView{Name: it.Platform},
		Ref:       refView{URL: it.URL, Ref: unqualified(it.Ref), Commit: it.Commit, SRPM: string(it.SRPM.Digest)},
		Artifacts: files, RPMModules: []string{}, TestTasks: []runView{}, StartedAt: rest.TimeOf(t.Started.Time), FinishedAt: finished(t.Task),
		Kind: t.Kind, Package: it.Package, State: t.State, Reason: t.Reason, Cause: t.Cause, Attempts: t.Attempts, Worker: t.Worker,
		Logs: logsOf(id, t.ID),
	}
	if out.CASVerified = source.Verified; source.Verified {
		hash := string(source.SHA256)
		out.CommitHash = &hash
	}
	if it.SRPMURL != "" {
		n := 3
		out.Ref.URL, out.Ref.RefType = it.SRPMURL, &n
	}
	out.Weak = slices.Contains(it.Weak, t.Arch)
	out.Tests = suites.Show(it.Options.Tests)
	own := it.Options
	own.Tests = build.Tests{}
	if !own.Empty() {
		out.Options = &own
	}
	out.Status, out.StatusText = taskStatus(t.State)
	if out.Arch == "" {
		out.Arch = albs.Src
	}
	if out.Artifacts == nil {
		out.Artifacts = []artifactView{}
	}
	if t.State == albs.TaskFailed {
		out.Error = &t.Reason
	}
	if t.Failure != nil {
		out.Failure = delivery.ViewFailure(t.Failure, t.FailedAttempt)
	}
	if n, ok := refTypes[it.RefType]; ok {
		out.Ref.RefType = &n
	}
	if it.SRPM.Digest != "" {
		href := delivery.DownloadPath(it.SRPM.Digest)
		out.BuiltSRPM = &href
	}
	return out
}

type attemptView struct {
	Attempt    int                   `json:"attempt"`
	State      status.State          `json:"state" enum:"running,succeeded,failed,excluded,lost,stopped"`
	Worker     string                `json:"worker"`
	StartedAt  *time.Time            `json:"started_at"`
	FinishedAt *time.Time            `json:"finished_at"`
	Outcome    albs.Outcome          `json:"outcome,omitempty"`
	Lost       bool                  `json:"lost" doc:"Nothing was heard of its end; what its worker reported of its own means is the outcome infra"`
	Reason     string                `json:"reason"`
	Failure    *delivery.FailureView `json:"failure,omitempty" doc:"Why it came to nothing, as its logs or, if it was lost, the queue tell"`
	Spec       albs.Spec             `json:"spec" doc:"What the worker was asked to do"`
}

func (s *Server) getTask(ctx context.Context, in *taskInput) (*rest.Body[taskView], error) {
	b, err := s.showBuild(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Concat(b.Tasks, b.EarlierTasks) {
		if v.ID != in.Task {
			continue
		}
		attempts, err := s.Queue.Attempts(ctx, in.Task)
		if err != nil {
			return nil, err
		}
		causes, err := s.Builds.Causes(ctx, in.Task, attempts)
		if err != nil {
			return nil, err
		}
		for _, a := range attempts {
			st := status.OfAttempt(a)
			view := attemptView{
				Attempt: a.Number, Worker: a.Worker, State: st.State, StartedAt: rest.TimeOf(st.Started), FinishedAt: rest.TimeOf(st.Finished),
				Outcome: a.Outcome, Lost: a.Lost, Reason: st.Reason, Spec: a.Spec,
			}
			if c, ok := causes[a.Number]; ok {
				view.Failure = delivery.ViewFailure(&c, a.Number)
				if v.Failure != nil && v.Failure.Attempt == a.Number {
					v.Failure = view.Failure // the build's may be without its lines
				}
			}
			v.AttemptList = append(v.AttemptList, view)
		}
		if v.Why, err = s.why(ctx, in.Task); err != nil {
			return nil, err
		}
		return rest.Answer(v), nil
	}
	return nil, albs.Errorf(albs.NotFound, "build %d has no task %d", in.Build, in.Task)
}

func (s *Server) retryTask(ctx context.Context, in *taskInput) (*rest.Body[taskView], error) {
	if err := s.Builds.RetryTask(ctx, in.Build, in.Task); err != nil {
		return nil, err
	}
	return s.getTask(ctx, in)
}
