package builds

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/statement"
	"albs/internal/master/queue"
	"albs/internal/master/rebuild"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// taskView is one task with all attempts at it.
type taskView struct {
	Build    albs.BuildID
	Task     queue.Task
	Item     build.Item
	Arch     albs.Arch
	Label    string
	Wait     string      // why it doesn't run yet; "" if it did
	Cause    *page.Cause // why it failed; nil where nothing is known
	Attempts []attempt
	Builder  statement.Builder // that the statement of what it built names
	Run      *testrun.Run
	Tests    *testsView        // what Run came to
	Waivers  []testrun.Waiver  // in force, of the packages of Run
	Rebuilds []rebuild.Rebuild // of what it built, or it is the task of the one
	Actions  []page.Action
}

type attempt struct {
	queue.Attempt
	Cause *page.Cause
	Logs  []queue.LogInfo
	Files []build.Artifact
}

// State is how the attempt stands, for lookOf.
func (a attempt) State() string {
	switch {
	case a.Ended.IsZero():
		return string(albs.TaskLeased)
	case a.Lost && a.Outcome == "":
		return "lost"
	}
	return string(a.Outcome)
}

// taskOf returns the task that a path names. The build's topic on the task tells
// that they belong together, so that this works for every kind of task.
func (u *Pages) taskOf(r *http.Request) (albs.BuildID, queue.Task, error) {
	id, err := page.Number(r, "build")
	if err != nil {
		return 0, queue.Task{}, err
	}
	n, err := page.Number(r, "task")
	if err != nil {
		return 0, queue.Task{}, err
	}
	t, err := u.Queue.Task(r.Context(), albs.TaskID(n))
	if err == nil && t.Topic != build.Topic(albs.BuildID(id)) || albs.KindOf(err) == albs.NotFound {
		return 0, t, albs.Errorf(albs.NotFound, "build %d has no task %d", id, n)
	}
	return albs.BuildID(id), t, err
}

func (u *Pages) taskPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, t, err := u.taskOf(r)
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Section: "builds"}, followTask(t.ID))
	if err != nil {
		return err
	}
	if t, err = u.Queue.Task(ctx, t.ID); err != nil {
		return err
	}
	v := taskView{Build: id, Task: t}
	f, err := u.factsOf(ctx, id)
	if err != nil {
		return err
	}
	v.locate(f)
	if v.Run != nil {
		flaky, err := u.Tests.Flaky(ctx, id)
		if err != nil {
			return err
		}
		if v.Tests, err = runView(r, id, *v.Run, flaky); err != nil {
			return err
		}
	}
	if v.Attempts, err = u.attempts(ctx, f.build, t.ID); err != nil {
		return err
	}
	if v.Builder, err = u.builtBy(ctx, f.build, t.ID); err != nil {
		return err
	}
	whys, err := u.Queue.Whys(ctx, []albs.TaskID{t.ID})
	if err != nil {
		return err
	}
	v.Wait = whys[t.ID].Sentence
	may := auth.Can(ctx, auth.BuildRetry, auth.Object{Team: f.build.Team, Owner: f.build.OwnerID})
	if v.Item.ID != 0 && v.Run == nil {
		v.Actions = append(v.Actions, page.ActionOf(fmt.Sprintf("/build/%d/task/%d/retry", id, t.ID), "Retry this task", may,
			t.State == albs.TaskFailed || t.State == albs.TaskCancelled, "it has neither failed nor been cancelled"))
		if t.Kind != albs.KindImport {
			fresh := page.ActionOf(fmt.Sprintf("/build/%d/item/%d/fresh", id, v.Item.ID), "Retry with a fresh SRPM", u.unkept(ctx, auth.BuildRetry, f.build), v.Item.URL != "", "its SRPM was given")
			fresh.Sure = "The SRPM of " + words.Inert(v.Item.Package) + " for " + v.Item.Platform + " is made again from its commit, and then all of its rebuilds. Its packages leave the build's repositories at once; what was done before stays with its logs."
			v.Actions = append(v.Actions, fresh)
		}
	}
	if v.Run != nil {
		if v.Waivers, _, err = u.Tests.Waivers(ctx, testrun.WaiverFilter{Build: id, State: testrun.WaiverInForce}); err != nil {
			return err
		}
		v.Waivers = slices.DeleteFunc(v.Waivers, func(w testrun.Waiver) bool {
			return !slices.ContainsFunc(v.Run.Packages, func(p testrun.Package) bool { return p.Digest == w.Digest })
		})
		if v.Run.Task.State.Final() && !v.Run.Passed() {
			v.Actions = append(v.Actions, waiveAction(ctx, f.build))
		}
	}
	if err := u.addRebuilds(ctx, &v, f.build); err != nil {
		return err
	}
	p.Title, p.Body = fmt.Sprintf("Task %d of build %d", t.ID, id), v
	return u.Render(w, r, http.StatusOK, "builds/task", p)
}

// builtBy returns the builder that the statement of a task's package names, the zero Builder
// if there is none. Rows that contradict the ledger are for the trace to show.
func (u *Pages) builtBy(ctx context.Context, b build.Build, id albs.TaskID) (statement.Builder, error) {
	i := slices.IndexFunc(b.Artifacts, func(a build.Artifact) bool { return a.Task == id && a.Kind == "rpm" })
	if i < 0 {
		return statement.Builder{}, nil
	}
	by, err := u.Builds.BuiltBy(ctx, b.Artifacts[i].Digest)
	switch albs.KindOf(err) {
	case albs.Conflict, albs.Unavailable:
		return statement.Builder{}, nil
	}
	return by, err
}

// maxRebuilds is how many rebuilds of a task's packages are shown, the newest.
const maxRebuilds = 10

// addRebuilds adds what rebuilds of the task's packages came to, and the way to one more;
// of a task that is a rebuild, that one with what came of each package.
func (u *Pages) addRebuilds(ctx context.Context, v *taskView, b build.Build) error {
	var err error
	switch v.Task.Kind {
	case albs.KindRebuild:
		r, err := u.Rebuilds.ByTask(ctx, v.Task.ID)
		if err != nil {
			return err
		}
		v.Rebuilds = []rebuild.Rebuild{r}
		v.Label = fmt.Sprintf("rebuild of task %d · %s · %s", r.Of, r.Arch, r.Platform)
	case albs.KindBuild:
		if v.Rebuilds, err = u.Rebuilds.List(ctx, rebuild.Filter{Task: v.Task.ID, Limit: maxRebuilds}); err != nil {
			return err
		}
		v.Rebuilds = v.Rebuilds[:min(len(v.Rebuilds), maxRebuilds)]
		again := page.ActionOf(fmt.Sprintf("/build/%d/task/%d/rebuild", v.Build, v.Task.ID), "Rebuild and compare",
			auth.Can(ctx, auth.BuildCreate, auth.Object{Team: b.Team}), v.Task.State == albs.TaskSucceeded, "there is nothing to compare with")
		if again.Why == "" && slices.ContainsFunc(v.Rebuilds, func(r rebuild.Rebuild) bool { return !r.Ended() }) {
			again.Why = "a rebuild of it is under way"
		}
		v.Actions = append(v.Actions, again)
	}
	return nil
}

// rebuildTask has what a task built be built once more.
func (u *Pages) rebuildTask(w http.ResponseWriter, r *http.Request) error {
	id, t, err := u.taskOf(r)
	if err != nil {
		return err
	}
	b, err := u.Builds.Get(r.Context(), id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(b.Artifacts, func(a build.Artifact) bool { return a.Task == t.ID && a.Kind == "rpm" })
	if i < 0 {
		return albs.Errorf(albs.Conflict, "task %d has no package that could be compared", t.ID)
	}
	if _, err := u.Rebuilds.Create(r.Context(), rebuild.Request{Of: string(b.Artifacts[i].Digest)}); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/build/%d/task/%d", id, t.ID))
}

// locate finds the task's place in the build.
func (v *taskView) locate(f facts) {
	find := func(task albs.TaskID) bool {
		for _, it := range f.build.Items {
			for _, bt := range it.Tasks {
				if bt.ID == task {
					v.Item, v.Arch = it, bt.Arch
					if task == v.Task.ID {
						v.Cause = page.CauseOf(bt.Failure, f.build.ID, task, bt.FailedAttempt)
					}
					return true
				}
			}
		}
		return false
	}
	found := find(v.Task.ID)
	for i, run := range f.runs {
		if run.Task.ID == v.Task.ID {
			v.Run, found = &f.runs[i], find(run.BuildTask)
			v.Cause = page.CauseOf(run.Cause(), f.build.ID, run.Task.ID, run.Task.Attempts)
		}
	}
	for _, r := range f.requests {
		if slices.ContainsFunc(r.Tasks, func(t queue.Task) bool { return t.ID == v.Task.ID }) && v.Task.State == albs.TaskFailed {
			v.Cause = page.CauseOf(r.Cause(), f.build.ID, v.Task.ID, v.Task.Attempts)
		}
	}
	v.Label = string(v.Task.Kind)
	if found {
		v.Label = taskLabel(v.Item.Package, v.Item.Platform, v.Task.Kind, v.Arch)
	}
}

// attempts returns all attempts at a task, the newest first, with what they left.
func (u *Pages) attempts(ctx context.Context, b build.Build, id albs.TaskID) ([]attempt, error) {
	as, err := u.Queue.Attempts(ctx, id)
	if err != nil {
		return nil, err
	}
	infos, err := u.Queue.Logs(ctx, id)
	if err != nil {
		return nil, err
	}
	causes, err := u.Builds.Causes(ctx, id, as)
	if err != nil {
		return nil, err
	}
	var out []attempt
	for _, a := range slices.Backward(as) {
		x := attempt{Attempt: a}
		if c, ok := causes[a.Number]; ok {
			x.Cause = page.CauseOf(&c, b.ID, id, a.Number)
		}
		for _, l := range infos {
			if l.Attempt == a.Number {
				x.Logs = append(x.Logs, l)
			}
		}
		for _, f := range b.Artifacts {
			if f.Task == id && f.Attempt == a.Number {
				x.Files = append(x.Files, f)
			}
		}
		out = append(out, x)
	}
	return out, nil
}

func (u *Pages) retryTask(w http.ResponseWriter, r *http.Request) error {
	_, t, err := u.taskOf(r)
	if err != nil {
		return err
	}
	return u.change(w, r, func(ctx context.Context, id albs.BuildID) error { return u.Builds.RetryTask(ctx, id, t.ID) })
}

// freshItem has the SRPM of a package made again.
func (u *Pages) freshItem(w http.ResponseWriter, r *http.Request) error {
	item, err := page.Number(r, "item")
	if err != nil {
		return err
	}
	return u.change(w, r, func(ctx context.Context, id albs.BuildID) error {
		return u.Builds.RetryFresh(ctx, id, albs.ItemID(item))
	})
}
