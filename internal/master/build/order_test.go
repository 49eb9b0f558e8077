package build

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build/schedule"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/worker"
)

// says are the facts of a package of that name, for each of the arches.
func says(name string, arches []albs.Arch, requires ...string) []albs.SpecFacts {
	var out []albs.SpecFacts
	for _, a := range arches {
		out = append(out, albs.SpecFacts{Arch: a, Requires: requires, Packages: []albs.SpecPackage{{Name: name}}})
	}
	return out
}

const el9SRPM = "-1-2.el9.src.rpm"

// nameOf is the package that a lease is about.
func nameOf(l *worker.Lease) string {
	switch {
	case l.Spec.Build != nil:
		return strings.TrimSuffix(l.Spec.Build.SRPM.Name, el9SRPM)
	case l.Spec.Source.SRPM != nil:
		return strings.TrimSuffix(l.Spec.Source.SRPM.Name, el9SRPM)
	}
	return strings.TrimSuffix(filepath.Base(l.Spec.Source.Spec), ".spec")
}

// tell completes a source task with facts.
func (f *fixture) tell(l *worker.Lease, facts []albs.SpecFacts) error {
	f.t.Helper()
	r := albs.SourceResult{Facts: facts, Record: f.upload(l, "buildroot.json", []byte("{}"))}
	if l.Spec.Source.SRPM == nil {
		srpm, _ := rpms(f.t, nameOf(l))
		r.SRPM = f.upload(l, filepath.Base(srpm), read(f.t, srpm))
	}
	return f.complete(l, albs.Result{Source: &r})
}

// rebuild completes the next task, which has to be the rebuild of that package.
func (f *fixture) rebuild(name string) *worker.Lease {
	f.t.Helper()
	l := f.claim()
	if l.Spec.Build == nil || nameOf(l) != name {
		f.t.Fatalf("task %d is about %s (%+v), want the rebuild of %s", l.Token.Task, nameOf(l), l.Kind, name)
	}
	_, rpm := rpms(f.t, name)
	must(f.t, f.rebuilt(l, rpm))
	return l
}

// given makes a build of SRPMs of these packages.
func (f *fixture) given(n NewBuild, names ...string) Build {
	f.t.Helper()
	for _, name := range names {
		srpm, _ := rpms(f.t, name)
		n.Packages = append(n.Packages, Package{SRPM: f.srpm(srpm)})
	}
	return f.create(n)
}

// sources completes n source tasks with what needs says of each package.
func (f *fixture) sources(n int, needs map[string][]string) {
	f.t.Helper()
	for range n {
		l := f.claim()
		if l.Spec.Source == nil {
			f.t.Fatalf("task %d is no source task", l.Token.Task)
		}
		must(f.t, f.tell(l, says(nameOf(l), l.Spec.Source.Arches, needs[nameOf(l)]...)))
	}
}

// task returns the newest task of a package, of a kind.
func taskNamed(b Build, name string, kind albs.TaskKind, arch albs.Arch) Task {
	for _, it := range b.Items {
		for _, t := range it.Tasks {
			if it.Package == name && t.Kind == kind && t.Arch == arch {
				return t
			}
		}
	}
	return Task{}
}

func (f *fixture) now(id albs.BuildID) Build {
	f.t.Helper()
	b, err := f.Get(f.t.Context(), id)
	must(f.t, err)
	return b
}

func (f *fixture) fail(l *worker.Lease, reason string) {
	f.t.Helper()
	must(f.t, f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, albs.Result{Reason: reason}))
}

// TestAutoOrder: three packages that need each other, listed the wrong way round, are
// rebuilt the right way round, each with those before in its repository.
func TestAutoOrder(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{}, "top", "mid", "low")
		if b.Order != Auto || len(b.Gates) != 1 || b.Items[0].Tasks[1].Reason != "waits for the source packages of el9, which tell the order" {
			t.Errorf("build of order %s with gates %+v; the first rebuild %q", b.Order, b.Gates, b.Items[0].Tasks[1].Reason)
		}
		g, err := f.Graph(t.Context(), b.ID)
		if err != nil || len(g) != 1 || g[0].Waits == "" || len(g[0].Nodes) != 3 || len(g[0].Edges) > 0 {
			t.Errorf("before the sources are there the graph is %+v, %v", g, err)
		}
		f.sources(3, map[string][]string{"top": {"mid >= 1", "low"}, "mid": {"low"}})
		f.rebuild("low")
		f.rebuild("mid")
		last := f.rebuild("top")
		own := last.Spec.Build.Root.Repos[0]
		if s, err := f.repos.Open(t.Context(), own.Snapshot); err != nil || !own.Own || s.Len() != 2 {
			t.Errorf("the last was built against %+v, %v", own, err)
		}
		b = f.now(b.ID)
		if b.Status.State != status.Succeeded || b.Status.Total != 6 || b.Items[2].Status.State != status.Succeeded {
			t.Errorf("status %+v", b.Status)
		}
		if g, err = f.Graph(t.Context(), b.ID); err != nil || g[0].Waits != "" || len(g[0].Edges) != 3 {
			t.Errorf("the graph is %+v, %v", g, err)
		}
		f.checkSchedule(b.ID)
	})
}

// checkSchedule asks that no task of a build was begun before what it came after was done.
func (f *fixture) checkSchedule(id albs.BuildID) {
	f.t.Helper()
	list, err := f.Schedule(f.t.Context(), id)
	must(f.t, err)
	byID := make(map[albs.TaskID]schedule.Entry)
	for _, s := range list {
		byID[s.Task] = s
	}
	for _, s := range list {
		if s.State == albs.TaskExcluded && s.Attempt == 0 {
			continue // nobody was asked
		}
		for _, before := range s.After {
			if b := byID[before]; s.Started.Before(b.Finished) {
				f.t.Errorf("%s was begun at %v, before %s was done at %v", s.Label, s.Started, b.Label, b.Finished)
			}
		}
		if s.Started.Before(s.Ready) || s.Ready.IsZero() {
			f.t.Errorf("%s was ready at %v and begun at %v", s.Label, s.Ready, s.Started)
		}
	}
}

// TestFailures: what depends on a failure says on which, and goes on when it is mended.
func TestFailures(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{}, "top", "low", "free")
		// A source that fails: nobody knows what it provides.
		f.fail(f.claim(), "bad spec")
		f.sources(2, nil)
		if b = f.now(b.ID); b.Gates[0].Task.Cause == 0 {
			t.Fatalf("the gate waits in hope: %+v", b.Gates[0])
		}
		failed := taskNamed(b, "top", albs.KindSource, "")
		for _, name := range []string{"top", "low", "free"} {
			if task := taskNamed(b, name, albs.KindBuild, albs.X8664); task.Cause != failed.ID || !strings.HasPrefix(task.Reason, "waits for top source (task") || !strings.HasSuffix(task.Reason, "which failed: bad spec") {
				t.Errorf("the rebuild of %s: %q, cause %d", name, task.Reason, task.Cause)
			}
		}
		if b.Status.State != status.Failed || b.Items[1].Status.State != status.Blocked {
			t.Errorf("build %+v, item %+v", b.Status, b.Items[1].Status)
		}
		must(t, f.RetryTask(f.person, b.ID, failed.ID))
		f.sources(1, map[string][]string{"top": {"low"}})
		// A rebuild that fails keeps what needs it, and nothing else.
		l := f.claim()
		for nameOf(l) != "low" {
			_, rpm := rpms(t, nameOf(l))
			must(t, f.rebuilt(l, rpm))
			l = f.claim()
		}
		f.fail(l, "compiler error")
		b = f.now(b.ID)
		top := taskNamed(b, "top", albs.KindBuild, albs.X8664)
		if want := "waits for low x86_64 build (task " + l.Token.Task.String() + "), which failed: compiler error"; top.Reason != want || top.Cause != l.Token.Task {
			t.Errorf("the rebuild of top: %q, want %q", top.Reason, want)
		}
		if taskNamed(b, "free", albs.KindBuild, albs.X8664).State == albs.TaskBlocked {
			t.Error("what needs nothing waits")
		}
		must(t, f.RetryFailed(f.person, b.ID))
		for range 3 {
			if b = f.now(b.ID); b.Status.State == status.Succeeded {
				break
			}
			l = f.claim()
			_, rpm := rpms(t, nameOf(l))
			must(t, f.rebuilt(l, rpm))
		}
		if b = f.now(b.ID); b.Status.State != status.Succeeded {
			t.Errorf("build %+v", b.Status)
		}
		f.checkSchedule(b.ID)
	})
}

// TestExcludedArch: a rebuild that is excluded by its spec ends with the tag named, and
// no node is asked; what would have needed it goes on.
func TestExcludedArch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		both := []albs.Arch{albs.X8664, albs.AArch64}
		b := f.given(NewBuild{Platforms: []Target{{Platform: "el9-open"}}}, "top", "low")
		for range 2 {
			l := f.claim()
			facts := says(nameOf(l), both, map[string]string{"top": "low", "low": "gcc"}[nameOf(l)])
			if nameOf(l) == "low" {
				for i := range facts {
					facts[i].Exclusive = []string{"x86_64"}
				}
			}
			must(t, f.tell(l, facts))
		}
		b = f.now(b.ID)
		if task := taskNamed(b, "low", albs.KindBuild, albs.AArch64); task.State != albs.TaskExcluded || task.Attempts != 0 || task.Reason != "ExclusiveArch names x86_64, not aarch64" {
			t.Errorf("the excluded rebuild: %+v", task.Task)
		}
		for range 3 {
			l := f.claim()
			_, rpm := rpms(t, nameOf(l))
			must(t, f.rebuilt(l, rpm))
		}
		if b = f.now(b.ID); b.Status.State != status.Succeeded {
			t.Errorf("build %+v", b.Status)
		}
		f.checkSchedule(b.ID)
	})
}

// TestCycleBroken: packages that need each other are built where the request says first.
func TestCycleBroken(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{Break: []Break{{Package: "two", Needs: "one"}}}, "one", "two")
		f.sources(2, map[string][]string{"one": {"two"}, "two": {"one"}})
		f.rebuild("two")
		f.rebuild("one")
		g, err := f.Graph(t.Context(), b.ID)
		must(t, err)
		if len(g[0].Cycles) != 1 || g[0].Names(g[0].Cycles[0]) != "one x86_64 → two x86_64 → one x86_64" || g[0].Edges[1].Broken != "as asked" {
			t.Errorf("graph %+v", g[0])
		}
	})
}

// TestCancelItem: an item that is cancelled is out of the order, before it is known and
// after; taken in again it is waited for again.
func TestCancelItem(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		// Before: its source was never made.
		b := f.given(NewBuild{}, "low", "top")
		low := f.claim()
		if nameOf(low) != "low" {
			t.Fatalf("first comes %s", nameOf(low))
		}
		must(t, f.CancelItem(f.person, b.ID, b.Items[0].ID))
		if _, err := f.queue.Renew(f.node, low.Token); !errors.Is(err, albs.Stopped) {
			t.Errorf("Renew of what was cancelled = %v, want Stopped", err)
		}
		must(t, f.queue.Complete(f.node, low.Token, albs.OutcomeStopped, albs.Result{}))
		f.sources(1, map[string][]string{"top": {"low"}})
		f.rebuild("top")
		b = f.now(b.ID)
		if b.Status.State != status.Cancelled || !b.Items[0].Dropped || b.Items[0].Status.State != status.Cancelled || b.Items[1].Status.State != status.Succeeded {
			t.Errorf("build %+v, items %+v and %+v", b.Status, b.Items[0].Status, b.Items[1].Status)
		}
		// Taken in again, by itself.
		must(t, f.RetryFailed(f.person, b.ID))
		f.sources(1, nil)
		f.rebuild("low")
		if b = f.now(b.ID); b.Status.State != status.Succeeded || b.Items[0].Dropped {
			t.Errorf("build %+v", b.Status)
		}

		// After: what waited for its rebuild goes on.
		b = f.given(NewBuild{}, "low", "top")
		f.sources(2, map[string][]string{"top": {"low"}})
		low = f.claim()
		must(t, f.CancelItem(f.person, b.ID, b.Items[0].ID))
		must(t, f.queue.Complete(f.node, low.Token, albs.OutcomeStopped, albs.Result{}))
		f.rebuild("top")
		if g, err := f.Graph(t.Context(), b.ID); err != nil || len(g[0].Nodes) != 1 {
			t.Errorf("the graph has %+v, %v", g, err)
		}

		// In a build as listed too.
		b = f.given(NewBuild{Order: Listed}, "low", "mid", "top")
		must(t, f.CancelItem(f.person, b.ID, b.Items[1].ID))
		f.rebuild("low")
		f.rebuild("top")
		if err := f.CancelItem(f.person, b.ID, b.Items[0].ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("CancelItem of one that is done = %v, want Conflict", err)
		}
		if err := f.CancelItem(f.person, b.ID, b.Items[0].ID+999); !errors.Is(err, albs.NotFound) {
			t.Errorf("CancelItem of none = %v, want NotFound", err)
		}
		if err := f.CancelItem(f.other, b.ID, b.Items[2].ID); !errors.Is(err, albs.Forbidden) {
			t.Errorf("CancelItem by another = %v, want Forbidden", err)
		}
	})
}

// TestFresh: an item is made again from a fresh SRPM. What was before stays with its
// logs and is in no repository; what waits for the item waits for the new one.
func TestFresh(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for _, name := range []string{"low", "top"} {
			f.forge.AddRepo(name, map[string]string{name + ".spec": strings.ReplaceAll(spec, "foo", name)})
		}
		n := NewBuild{}
		for _, name := range []string{"top", "low"} {
			n.Packages = append(n.Packages, Package{URL: f.forge.URL(name), Ref: "main"})
		}
		b := f.create(n)
		f.sources(2, map[string][]string{"top": {"low"}})
		first := f.rebuild("low")
		b = f.now(b.ID)
		low := b.Items[1]
		old, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664)
		must(t, err)

		if err := f.RetryFresh(f.other, b.ID, low.ID); !errors.Is(err, albs.Forbidden) {
			t.Errorf("RetryFresh by another = %v, want Forbidden", err)
		}
		top := f.claim() // it goes on against what was there
		must(t, f.Unchanged(t.Context(), f.db, b))
		must(t, f.RetryFresh(f.person, b.ID, low.ID))
		if err := f.Unchanged(t.Context(), f.db, b); !errors.Is(err, albs.Conflict) {
			t.Errorf("Unchanged of the build as it was before = %v, want Conflict", err)
		}
		now, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664)
		must(t, err)
		if s, err := f.repos.Open(t.Context(), now.Snapshot); err != nil || s.Len() != 0 || now.Snapshot == old.Snapshot {
			t.Errorf("the repository still has packages, %v", err)
		}
		b = f.now(b.ID)
		low = b.Items[1]
		if len(low.Earlier) != 2 || len(low.Tasks) != 3 || low.SRPM.Digest != "" || low.Earlier[1].ID != first.Token.Task {
			t.Errorf("item %+v with %d earlier tasks", low, len(low.Earlier))
		}
		var kinds []string
		for _, a := range b.Artifacts {
			if a.Item == low.ID && a.Kind != "log" && a.Kind != "record" {
				kinds = append(kinds, a.Kind+" "+string(a.Arch))
			}
		}
		if diff := cmp.Diff([]string{"replaced ", "replaced "}, kinds); diff != "" {
			t.Errorf("files of the item (-want +got):\n%s", diff)
		}
		_, rpm := rpms(t, "top")
		must(t, f.rebuilt(top, rpm))
		f.sources(1, nil)
		f.rebuild("low")
		b = f.now(b.ID)
		packages, err := f.Packages(t.Context(), b.ID)
		if err != nil || len(packages) != 4 || b.Status.State != status.Succeeded {
			t.Errorf("build %+v with packages %+v, %v", b.Status, packages, err)
		}
		s, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664)
		must(t, err)
		if s, err := f.repos.Open(t.Context(), s.Snapshot); err != nil || s.Len() != 2 {
			t.Errorf("the repository has not both packages, %v", err)
		}

		// The logs of before are there.
		if logs := slices.ContainsFunc(b.Artifacts, func(a Artifact) bool { return a.Task == first.Token.Task && a.Kind == "log" }); !logs {
			t.Error("the log of the first rebuild is gone")
		}
		// While the order is unknown again, what was blocked waits for the new gate.
		must(t, f.RetryFresh(f.person, b.ID, low.ID))
		must(t, f.RetryFresh(f.person, b.ID, b.Items[0].ID))
		f.sources(2, map[string][]string{"top": {"low"}})
		f.rebuild("low")
		f.rebuild("top")
		if b = f.now(b.ID); b.Status.State != status.Succeeded {
			t.Errorf("build %+v", b.Status)
		}
		f.checkSchedule(b.ID)

		// What somebody rests on stays.
		f.Guard(func(context.Context, db.Q, albs.BuildID) error { return albs.Errorf(albs.Conflict, "it is released") })
		if err := f.RetryFresh(f.person, b.ID, low.ID); !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "released") {
			t.Errorf("RetryFresh of a released build = %v, want Conflict", err)
		}
		given := f.given(NewBuild{}, "mid")
		if err := f.RetryFresh(f.person, given.ID, given.Items[0].ID); !errors.Is(err, albs.Invalid) {
			t.Errorf("RetryFresh of a given SRPM = %v, want Invalid", err)
		}
	})
}

// TestDelete: a deleted build is nowhere, and says who did it; what ran is told to stop.
func TestDelete(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{}, "low")
		kept := f.given(NewBuild{}, "mid")
		l := f.claim()
		if err := f.Delete(f.other, b.ID); !errors.Is(err, albs.Forbidden) {
			t.Errorf("Delete by another = %v, want Forbidden", err)
		}
		must(t, f.Delete(f.person, b.ID))
		if _, err := f.queue.Renew(f.node, l.Token); !errors.Is(err, albs.Stopped) {
			t.Errorf("Renew = %v, want Stopped", err)
		}
		// The late word of a node that wasn't told in time changes nothing.
		_, rpm := rpms(t, "low")
		stage := albs.DigestOf(read(t, rpm))
		if err := f.queue.Complete(f.node, l.Token, albs.OutcomeOK, albs.Result{Build: &albs.BuildResult{Packages: []albs.File{{Name: filepath.Base(rpm), Digest: stage}}}}); !errors.Is(err, albs.Stopped) {
			t.Errorf("the late word = %v, want Stopped", err)
		}
		must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeStopped, albs.Result{}))
		for name, err := range map[string]error{
			"Get":         func() error { _, err := f.Get(t.Context(), b.ID); return err }(),
			"Graph":       func() error { _, err := f.Graph(t.Context(), b.ID); return err }(),
			"Schedule":    func() error { _, err := f.Schedule(t.Context(), b.ID); return err }(),
			"Packages":    func() error { _, err := f.Packages(t.Context(), b.ID); return err }(),
			"RetryFailed": f.RetryFailed(f.person, b.ID),
			"Delete":      f.Delete(f.person, b.ID),
			"Clone":       func() error { _, err := f.Clone(f.person, b.ID, false, ""); return err }(),
		} {
			if !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), "was deleted by alice at 2") {
				t.Errorf("%s of a deleted build = %v, want NotFound that says by whom", name, err)
			}
		}
		list, _, err := f.List(t.Context(), Filter{})
		n, err2 := f.CountOf(t.Context(), Filter{})
		if err != nil || err2 != nil || len(list) != 1 || list[0].ID != kept.ID || n != 1 {
			t.Errorf("List = %+v of %d, %v, %v", list, n, err, err2)
		}
		f.Guard(func(context.Context, db.Q, albs.BuildID) error { return albs.Errorf(albs.Conflict, "it is signed") })
		if err := f.Delete(f.person, kept.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("Delete of a signed build = %v, want Conflict", err)
		}
		if b := f.now(kept.ID); b.Status.State != status.Queued {
			t.Errorf("what couldn't be deleted is %+v", b.Status)
		}
	})
}

// TestExpire: a build of which something is under way is not one that nobody wants.
func TestExpire(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{}, "low")
		system := auth.System(t.Context(), "retention")
		if err := f.Expire(f.other, b.ID); !errors.Is(err, albs.Forbidden) {
			t.Errorf("Expire by another = %v, want Forbidden", err)
		}
		if err := f.Expire(system, b.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("Expire of a build that waits = %v, want Conflict", err)
		}
		must(t, f.Cancel(f.person, b.ID))
		must(t, f.RetryFailed(f.person, b.ID))
		if err := f.Expire(system, b.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("Expire of a build that was retried = %v, want Conflict", err)
		}
		must(t, f.Cancel(f.person, b.ID))
		must(t, f.Expire(system, b.ID))
		if _, err := f.Get(t.Context(), b.ID); !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), "was deleted by retention") {
			t.Errorf("Get = %v, want NotFound that says by whom", err)
		}
	})
}

// TestClone: a build once more, from the same commits or from what the refs name by now.
func TestClone(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		commit := f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		srpm, _ := rpms(t, "low")
		b := f.create(NewBuild{
			Platforms: []Target{{Platform: "el9"}, {Platform: "el9-open", Arches: []albs.Arch{albs.X8664}}}, Options: Options{With: []string{"tests"}}, Order: Listed,
			Packages: []Package{{URL: f.forge.URL("foo"), Ref: "main"}, {SRPM: f.srpm(srpm)}},
		})
		moved := f.forge.AddRepo("foo", map[string]string{"foo.spec": spec, "more": "x"})
		if moved == commit {
			t.Fatal("the branch did not move")
		}
		for fresh, want := range map[bool]string{false: commit, true: moved} {
			c, err := f.Clone(f.other, b.ID, fresh, "")
			must(t, err)
			if c.Owner != "bob" || c.Order != Listed || len(c.Items) != 4 || c.Items[0].Commit != want || c.Items[0].RefType != "git_branch" || !slices.Equal(c.Options.With, []string{"tests"}) {
				t.Errorf("fresh %t: %+v", fresh, c)
			}
			for i := range c.Items {
				if c.Items[i].Platform != b.Items[i].Platform || !slices.Equal(c.Items[i].Arches, b.Items[i].Arches) || c.Items[i].SRPM != b.Items[i].SRPM {
					t.Errorf("fresh %t: item %+v, of %+v", fresh, c.Items[i], b.Items[i])
				}
			}
		}
		one, err := f.Clone(f.person, b.ID, false, "k")
		must(t, err)
		if two, err := f.Clone(f.person, b.ID, false, "k"); err != nil || two.ID != one.ID {
			t.Errorf("one key made builds %d and %d, %v", one.ID, two.ID, err)
		}
		if _, err := f.Clone(t.Context(), b.ID, false, ""); !errors.Is(err, albs.Unauthenticated) {
			t.Errorf("Clone by nobody = %v, want Unauthenticated", err)
		}
		if _, err := f.Clone(f.person, 4711, false, ""); !errors.Is(err, albs.NotFound) {
			t.Errorf("Clone of none = %v, want NotFound", err)
		}
	})
}

// TestFactsRefused: what a node says of a spec has bounds, and of a given SRPM it makes
// none.
func TestFactsRefused(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for name, c := range map[string]struct {
			change func(l *worker.Lease, r *albs.SourceResult)
			say    string
		}{
			"another arch":  {func(_ *worker.Lease, r *albs.SourceResult) { r.Facts[0].Arch = albs.S390X }, "s390x"},
			"twice":         {func(_ *worker.Lease, r *albs.SourceResult) { r.Facts = append(r.Facts, r.Facts...) }, "twice"},
			"no name":       {func(_ *worker.Lease, r *albs.SourceResult) { r.Facts[0].Requires = []string{"a\nb"} }, "no name"},
			"too many":      {func(_ *worker.Lease, r *albs.SourceResult) { r.Facts[0].Requires = make([]string, albs.MaxSpecNames+1) }, "at most"},
			"another SRPM":  {func(l *worker.Lease, r *albs.SourceResult) { r.SRPM = f.upload(l, "x.src.rpm", []byte("x")) }, "was given"},
			"record absent": {func(_ *worker.Lease, r *albs.SourceResult) { r.Record = albs.File{} }, ""},
		} {
			f.given(NewBuild{}, "low", "top")
			for range 2 {
				l := f.claim()
				r := albs.SourceResult{Facts: says(nameOf(l), l.Spec.Source.Arches), Record: f.upload(l, "buildroot.json", []byte("{}"))}
				c.change(l, &r)
				if err := f.complete(l, albs.Result{Source: &r}); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.say) {
					t.Errorf("%s: Complete = %v, want Invalid that says %q", name, err, c.say)
				}
			}
		}
	})
}

// TestGivenExcluded: a given SRPM's own header tells what it isn't built for, without a
// word of a node.
func TestGivenExcluded(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "low", "BuildArch: noarch", "ExcludeArch: aarch64\nBuildArch: noarch")
		b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-open"}}, Packages: []Package{{SRPM: f.srpm(srpm)}}})
		l := f.claim()
		if l.Spec.Build == nil || l.Spec.Build.Arch != albs.X8664 {
			t.Fatalf("claimed %+v", l.Spec)
		}
		must(t, f.rebuilt(l, rpm))
		b = f.now(b.ID)
		if task := taskNamed(b, "low", albs.KindBuild, albs.AArch64); b.Status.State != status.Succeeded || task.State != albs.TaskExcluded || task.Reason != "ExcludeArch names aarch64" {
			t.Errorf("build %+v, excluded %+v", b.Status, task.Task)
		}
	})
}

// TestCancelAndRetry: a build that was cancelled while its order was unknown is taken up
// as a whole.
func TestCancelAndRetry(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		b := f.given(NewBuild{}, "top", "low")
		f.sources(1, map[string][]string{"top": {"low"}})
		must(t, f.Cancel(f.person, b.ID))
		if b = f.now(b.ID); b.Status.State != status.Cancelled || b.Gates[0].Task.State != albs.TaskCancelled {
			t.Errorf("build %+v with gate %s", b.Status, b.Gates[0].Task.State)
		}
		must(t, f.RetryFailed(f.person, b.ID))
		f.sources(1, nil)
		f.rebuild("low")
		f.rebuild("top")
		if b = f.now(b.ID); b.Status.State != status.Succeeded {
			t.Errorf("build %+v", b.Status)
		}
		f.checkSchedule(b.ID)
	})
}

// TestLastTwoSources: whichever of the last sources is taken in last frees the order,
// also when both are at one moment, and it is found once.
func TestLastTwoSources(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for range 5 {
			b := f.given(NewBuild{}, "top", "low")
			one, two := f.claim(), f.claim()
			results := make(map[*worker.Lease]albs.Result)
			for _, l := range []*worker.Lease{one, two} {
				needs := map[string][]string{"top": {"low"}}[nameOf(l)]
				results[l] = albs.Result{Source: &albs.SourceResult{Facts: says(nameOf(l), l.Spec.Source.Arches, needs...), Record: f.upload(l, "buildroot.json", []byte("{}"))}}
			}
			var both errgroup.Group
			for l, r := range results {
				both.Go(func() error { return f.queue.Complete(f.node, l.Token, albs.OutcomeOK, r) })
			}
			must(t, both.Wait())
			f.rebuild("low")
			f.rebuild("top")
			if b = f.now(b.ID); b.Status.State != status.Succeeded || b.Gates[0].Task.Attempts != 1 {
				t.Errorf("build %+v, gate %+v", b.Status, b.Gates[0].Task)
			}
		}
	})
}
