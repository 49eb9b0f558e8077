package builds

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/status"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/order"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// maxShownFiles is how many files a build's page lists itself; more have a page of
// their own.
const maxShownFiles = 100

// maxListed is how many requests for signatures, and releases, a build's page tells of.
const maxListed = 20

// maxFailures is how many failed tasks a build's page tells of, one by one.
const maxFailures = 20

type buildView struct {
	build.Build
	Steps     []page.Step
	Matrices  []matrix
	Failures  []taskFailure
	MoreFails int // failures that aren't listed
	Actions   []page.Action
	Files     []file
	AllFiles  int  // files that there are
	Bill      bool // there is a bill of materials, or soon will be
	Repos     []repoLink
	Requests  []sign.Request
	Releases  []release.Release
	Answered  []answered // advisories that its packages answer, or could
	Advise    string     // where one is written for it; "" while it has no packages
	Warnings  []string
	Noarch    []settle.Difference
	// Unverified are the sources of which the ledger doesn't prove where they are from.
	Unverified unverified
	Tests      testSummary
	Waivers    []testrun.Waiver // in force, of its packages
	Graphs     []order.Graph
	Ordered    []string // platforms on which packages may need each other
}

// answered is an advisory for which a build has packages.
type answered struct {
	errata.Key
	Stage matching.Stage
}

type taskFailure struct {
	Task    queue.Task
	Label   string
	Log     queue.LogInfo // the last attempt's longest; Stream is "" if there is none
	Waiting int           // tasks that wait for it in vain
	Cause   *page.Cause
}

type repoLink struct{ Platform, Arch, Path string }

// facts is what the modules know of a build, read once for a page.
type facts struct {
	build    build.Build
	runs     []testrun.Run
	latest   map[albs.TaskID]testrun.Run // by the rebuild that it tests
	requests []sign.Request              // the newest first
	releases []release.Release           // the newest first
	sources  map[albs.ItemID]build.Source
}

func (u *Pages) factsOf(ctx context.Context, id albs.BuildID) (facts, error) {
	f := facts{latest: make(map[albs.TaskID]testrun.Run)}
	var err error
	if f.build, err = u.Builds.Get(ctx, id); err != nil {
		return f, err
	}
	if f.sources, err = u.Builds.Sources(ctx, f.build); err != nil {
		return f, err
	}
	if f.runs, err = u.Tests.Of(ctx, id); err != nil {
		return f, err
	}
	for _, r := range testrun.Latest(f.runs) {
		f.latest[r.BuildTask] = r
	}
	for _, it := range f.build.Items { // a fresh SRPM took their place
		for _, t := range it.Earlier {
			delete(f.latest, t.ID)
		}
	}
	if f.requests, _, err = u.Signs.Requests(ctx, sign.Filter{Build: id, Limit: maxListed}); err != nil {
		return f, err
	}
	f.releases, _, err = u.Releases.List(ctx, release.Filter{Build: id, Limit: maxListed})
	return f, err
}

func (u *Pages) buildPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx, id := r.Context(), albs.BuildID(n)
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Build %d", id), Section: "builds"}, followBuild(id))
	if err != nil {
		return err
	}
	f, err := u.factsOf(ctx, id)
	if err != nil {
		return err
	}
	v := buildView{Build: f.build, Steps: stepsOf(f), Matrices: matricesOf(f), Requests: f.requests, Releases: f.releases, Actions: u.actions(ctx, f), Tests: summaryOf(f)}
	if v.Failures, v.MoreFails, err = u.failures(ctx, f); err != nil {
		return err
	}
	if v.Answered, err = u.answered(ctx, id); err != nil {
		return err
	}
	if v.Waivers, _, err = u.Tests.Waivers(ctx, testrun.WaiverFilter{Build: id, State: testrun.WaiverInForce}); err != nil {
		return err
	}
	v.Files = filesOf(f)
	v.AllFiles = len(v.Files)
	v.Bill = !f.build.Status.Finished.IsZero() && slices.ContainsFunc(f.build.Artifacts, func(a build.Artifact) bool { return a.Kind == string(artifact.RPM) || a.Kind == string(artifact.SRPM) })
	if v.Bill && len(f.build.Items) > 0 {
		v.Advise = "/errata/create?" + url.Values{"build": {id.String()}, "platform": {f.build.Items[0].Platform}}.Encode()
	}
	if v.AllFiles > maxShownFiles {
		v.Files = nil
	}
	v.Repos = reposOf(f)
	v.Warnings, v.Noarch = warningsOf(f.build)
	v.Unverified = unverifiedOf(f)
	v.Ordered = ordered(f.build)
	if v.Graphs, err = u.graphs(ctx, f.build); err != nil {
		return err
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/build", p)
}

// answered returns the advisories that packages of a build answer, or could.
func (u *Pages) answered(ctx context.Context, id albs.BuildID) ([]answered, error) {
	keys, err := u.Matching.OfBuild(ctx, id)
	if err != nil {
		return nil, err
	}
	standings, err := u.Matching.Standings(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make([]answered, len(keys))
	for i, k := range keys {
		out[i] = answered{k, standings[k].Stage}
	}
	return out, nil
}

func (u *Pages) filesPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx, id := r.Context(), albs.BuildID(n)
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Files of build %d", id), Section: "builds"}, followBuild(id))
	if err != nil {
		return err
	}
	f, err := u.factsOf(ctx, id)
	if err != nil {
		return err
	}
	v := buildView{Build: f.build, Files: filesOf(f), Repos: reposOf(f)}
	v.AllFiles = len(v.Files)
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/files", p)
}

// warningsOf returns what the platforms would have otherwise, each thing once, and which
// noarch packages arches made differently.
func warningsOf(b build.Build) (warnings []string, noarch []settle.Difference) {
	for _, it := range b.Items {
		noarch = append(noarch, it.Noarch...)
		if it.Warning != "" && !slices.Contains(warnings, it.Warning) {
			warnings = append(warnings, it.Warning)
		}
	}
	return warnings, noarch
}

// unverified are sources that aren't verified.
type unverified struct {
	N   int
	Why []string // of the first ones, each thing once
}

// maxUnverified is how many reasons a build's page tells one by one.
const maxUnverified = 3

func unverifiedOf(f facts) unverified {
	var v unverified
	for _, it := range f.build.Items {
		s := f.sources[it.ID]
		if s.Verified {
			continue
		}
		v.N++
		if len(v.Why) < maxUnverified && !slices.Contains(v.Why, s.Why) {
			v.Why = append(v.Why, s.Why)
		}
	}
	return v
}

// actions says what the person who asks may do with a build.
func (u *Pages) actions(ctx context.Context, f facts) []page.Action {
	var open, ended, untested int
	for _, it := range f.build.Items {
		for _, t := range it.Tasks {
			switch t.State {
			case albs.TaskFailed, albs.TaskCancelled:
				ended++
			case albs.TaskSucceeded:
				if run, tested := f.latest[t.ID]; t.Kind == albs.KindBuild && (!tested || run.Task.State.Final() && !run.Passed()) {
					untested++
				}
			}
			if !t.State.Final() {
				open++
			}
		}
	}
	object := auth.Object{Team: f.build.Team, Owner: f.build.OwnerID}
	base := "/build/" + f.build.ID.String()
	retry := auth.Can(ctx, auth.BuildRetry, object)
	clone := page.ActionOf(base+"/clone", "Clone…", mayClone(ctx, f.build), true, "")
	clone.Leads = true
	cancel := page.ActionOf(base+"/cancel", "Cancel build", auth.Can(ctx, auth.BuildCancel, object), open > 0, "everything of it has ended")
	cancel.Sure = fmt.Sprintf("This ends %s that %s not ended. What runs stops within a minute; what is done stays.",
		words.Plural(open, "task"), map[bool]string{true: "has", false: "have"}[open == 1])
	out := []page.Action{page.ActionOf(base+"/retry", "Retry failed", retry, ended > 0, "no task of it has failed or was cancelled")}
	if untested > 0 {
		out = append(out, page.ActionOf(base+"/restart-tests", "Restart tests", retry, true, ""))
	}
	if untested > 0 {
		out = append(out, waiveAction(ctx, f.build))
	}
	done := f.build.Status.State == status.Succeeded
	object.Owner = 0 // who made a build neither signs nor releases it for that
	sign := page.ActionOf(base+"/sign", "Sign…", auth.Can(ctx, auth.SignRequest, object), done, "it has not succeeded")
	ship := page.ActionOf("/release/create?build="+f.build.ID.String(), "Release…", auth.Can(ctx, auth.ReleasePlan, object), done, "it has not succeeded")
	sign.Leads, ship.Leads = true, true
	remove := page.ActionOf(base+"/delete", "Delete build", u.unkept(ctx, auth.BuildDelete, f.build), true, "")
	remove.Leads = true
	remove.Sure = "The build is in no list and found no more, and what runs of it is cancelled. What was stated about its files stays. Nobody can take this back."
	return append(out, sign, ship, clone, cancel, remove)
}

// waiveAction leads to the form by which tests of a build's packages are waived.
func waiveAction(ctx context.Context, b build.Build) page.Action {
	a := page.ActionOf(page.WaiveURL(b.ID, ""), "Waive tests…", auth.Can(ctx, auth.TestWaive, auth.Object{Team: b.Team}), true, "")
	a.Leads = true
	return a
}

// unkept says why the person who asks may not do something to a build that takes
// packages away: for want of a right, or for what rests on them. nil if nothing is
// against it.
func (u *Pages) unkept(ctx context.Context, verb auth.Verb, b build.Build) error {
	if err := auth.Can(ctx, verb, auth.Object{Team: b.Team, Owner: b.OwnerID}); err != nil {
		return err
	}
	return u.Builds.Kept(ctx, b.ID)
}

// failures tells of the tasks that failed, and of tests whose cases did: why, where to read on, and what waits
// for them in vain.
func (u *Pages) failures(ctx context.Context, f facts) (out []taskFailure, more int, err error) {
	waiting := make(map[albs.TaskID]int)
	for _, it := range f.build.Items {
		for _, t := range it.Tasks {
			if t.Cause != 0 {
				waiting[t.Cause]++
			}
		}
	}
	add := func(t queue.Task, label string, cause *page.Cause) error {
		if len(out) == maxFailures {
			more++
			return nil
		}
		infos, err := u.Queue.Logs(ctx, t.ID)
		if err != nil {
			return err
		}
		out = append(out, taskFailure{Task: t, Label: label, Log: longest(infos), Waiting: waiting[t.ID], Cause: cause})
		return nil
	}
	for _, it := range f.build.Items {
		for _, t := range it.Tasks {
			if t.State == albs.TaskFailed {
				if err := add(t.Task, taskLabel(it.Package, it.Platform, t.Kind, t.Arch), page.CauseOf(t.Failure, f.build.ID, t.ID, t.FailedAttempt)); err != nil {
					return nil, 0, err
				}
			}
			run := f.latest[t.ID]
			if cause := run.Cause(); cause != nil {
				if err := add(run.Task, taskLabel(it.Package, it.Platform, albs.KindTest, t.Arch), page.CauseOf(cause, f.build.ID, run.Task.ID, run.Task.Attempts)); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	return out, more, nil
}

// longest returns the longest log of the last attempt that has any.
func longest(infos []queue.LogInfo) (best queue.LogInfo) {
	for _, l := range infos {
		if l.Attempt > best.Attempt || l.Attempt == best.Attempt && l.Size > best.Size {
			best = l
		}
	}
	return best
}

func taskLabel(pkg, platform string, kind albs.TaskKind, arch albs.Arch) string {
	s := pkg + " · " + string(kind)
	if arch != "" {
		s += " " + string(arch)
	}
	return s + " · " + platform
}

// change does something to a build for a person and shows the build again.
func (u *Pages) change(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, id albs.BuildID) error) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	if err := do(r.Context(), albs.BuildID(n)); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/build/%d", n))
}

func (u *Pages) cancelBuild(w http.ResponseWriter, r *http.Request) error {
	return u.change(w, r, u.Builds.Cancel)
}

func (u *Pages) retryBuild(w http.ResponseWriter, r *http.Request) error {
	return u.change(w, r, u.Builds.RetryFailed)
}

func (u *Pages) restartTests(w http.ResponseWriter, r *http.Request) error {
	return u.change(w, r, u.Tests.Restart)
}

// deleteBuild hides a build and shows those that are left.
func (u *Pages) deleteBuild(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	if err := u.Builds.Delete(r.Context(), albs.BuildID(n)); err != nil {
		return err
	}
	http.Redirect(w, r, "/builds", http.StatusSeeOther)
	return nil
}
