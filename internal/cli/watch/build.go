package watch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// step is a task of a build, or a test of what it left, as it is shown while a
// build is watched.
type step struct {
	task   albs.TaskID
	label  string
	state  albs.TaskState
	detail string
	stream string // its chief log

	attempts int // as far as is known; 1 for a test that has begun
}

// words says what became of a step.
func (s step) words() string {
	switch s.state {
	case albs.TaskLeased:
		return "running" + s.detail
	case albs.TaskSucceeded:
		return "done" + s.detail
	default:
		return string(s.state) + s.detail
	}
}

// State is a task's state, with the number of its attempts if there were several.
func State(s albs.TaskState, attempts int) string {
	word := string(s)
	if s == albs.TaskLeased {
		word = "running"
	}
	if attempts > 1 {
		word += " (attempt " + terminal.Decimal(attempts) + ")"
	}
	return word
}

// TestRun is a run with what it means.
type TestRun struct{ client.TestRun }

// Passed reports whether every package passed.
func (r TestRun) Passed() bool { return r.Status == "completed" }

// Verdict is where the run stands, in a word.
func (r TestRun) Verdict() string {
	switch {
	case r.Passed():
		return "passed"
	case r.State == albs.TaskSucceeded:
		return "failed" // the run came to its end, and a case was bad
	default:
		return State(r.State, 0)
	}
}

// Why is the reason of a run that didn't pass.
func (r TestRun) Why() string {
	if r.Passed() || !r.State.Final() {
		return ""
	}
	for _, p := range r.Packages {
		if p.State != "passed" && p.Reason != "" {
			return p.Name() + ": " + p.Reason
		}
	}
	return r.Reason
}

// Latest returns where the tests of each build task stand, in the order of the first runs:
// each package as the newest run of it left it, and else what is of the run to look at
// first, which is one under way, else one that didn't pass, else the newest.
func Latest(runs []client.TestRun) []TestRun {
	var out []TestRun
	place := map[albs.TaskID]int{}
	for _, r := range runs {
		i, seen := place[r.BuildTask]
		if !seen {
			place[r.BuildTask] = len(out)
			out = append(out, TestRun{r})
			continue
		}
		out[i] = TestRun{merge(out[i].TestRun, r)}
	}
	return out
}

// merge returns what stands when a newer run joins what stood before.
func merge(before, newer client.TestRun) client.TestRun {
	old := slices.Clone(before.Packages)
	for _, p := range newer.Packages {
		i := slices.IndexFunc(old, func(o client.Tested) bool { return o.NEVRA == p.NEVRA && o.SignedBy == p.SignedBy })
		if i < 0 {
			old = append(old, p)
		} else {
			old[i] = p
		}
	}
	open := func(r client.TestRun, packages []client.Tested) int {
		switch {
		case !r.State.Final():
			return 2
		case slices.ContainsFunc(packages, func(p client.Tested) bool {
			return p.State != "passed" && slices.ContainsFunc(r.Packages, func(o client.Tested) bool { return reflect.DeepEqual(o, p) })
		}):
			return 1
		}
		return 0
	}
	out := newer
	if open(before, old) > open(newer, old) {
		out = before
	}
	out.Packages = old
	return out
}

// steps lists what there is to do for a build, and whether its tests are over: one
// run is made, soon after, for each rebuild that left packages.
func (w *Watch) steps(b client.Build, runs []TestRun) (list []step, tested bool) {
	tested = true
	byTask := map[albs.TaskID]TestRun{}
	for _, r := range runs {
		byTask[r.BuildTask] = r
	}
	for _, t := range b.Tasks {
		label := t.Package + " " + string(t.Arch) + " " + string(t.Kind)
		if t.Kind != albs.KindBuild {
			label = t.Package + " " + string(t.Kind)
		}
		if len(b.Tasks) > 0 && t.Platform.Name != b.Tasks[0].Platform.Name {
			label += " (" + t.Platform.Name + ")"
		}
		s := step{task: t.ID, label: label, state: t.State, stream: "build", attempts: t.Attempts}
		if t.Kind == albs.KindImport {
			s.stream = "import"
		}
		switch {
		case t.State == albs.TaskLeased && t.Worker != "":
			s.detail = " on " + t.Worker
		case t.State == albs.TaskSucceeded:
			s.detail = within(w.Took(t.Started, t.Finished))
		case t.State.Final() && t.Reason != "":
			s.detail = ": " + t.Reason
		}
		list = append(list, s)
		if t.Kind != albs.KindBuild || t.State != albs.TaskSucceeded || !hasRPM(t) {
			continue
		}
		r, begun := byTask[t.ID]
		if !begun {
			tested = false
			continue
		}
		tested = tested && r.State.Final()
		test := step{task: r.Task, label: t.Package + " " + string(t.Arch) + " test", state: r.State, stream: "test", attempts: 1}
		switch {
		case r.Passed():
			test.detail = within(w.Took(r.Started, r.Finished))
		case r.State.Final():
			test.state, test.detail = albs.TaskFailed, ": "+r.Why()
		}
		list = append(list, test)
	}
	return list, tested
}

func within(took string) string {
	if took == "" {
		return ""
	}
	return " in " + took
}

func hasRPM(t client.Task) bool {
	for _, f := range t.Files {
		if f.Kind == "rpm" {
			return true
		}
	}
	return false
}

// Build shows how a build goes until it and its tests are over, prints what
// came of it and returns an error if that isn't success.
func (w *Watch) Build(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	m := w.NewMeter()
	var doc client.Doc[client.Build]
	var runs []TestRun
	seen := map[albs.TaskID]step{}
	err := w.Until(c.Context, cl, fmt.Sprintf("build:%d", id), m, goesOn(id), func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Build(ctx, id); err != nil {
			return false, err
		}
		tests, err := cl.Tests(ctx, id)
		if err != nil {
			return false, err
		}
		runs = Latest(tests.Value)
		b := doc.Value
		list, tested := w.steps(b, runs)
		change(m, seen, list)
		m.Now(fmt.Sprintf("build %d: %s, %d of %d steps done%s%s", id, b.State, b.Done, b.Total, within(w.Took(b.Started, b.Finished)), working(list)))
		return b.Final() && (tested || b.State != "succeeded"), nil
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := w.PrintJSON(doc.JSON); err != nil {
			return err
		}
	}
	b := doc.Value
	if b.State != "succeeded" {
		return failure(b)
	}
	for _, r := range runs {
		if !r.Passed() {
			return fmt.Errorf("build %d succeeded, but its tests failed: %s; the log: albs build logs %d %d", id, r.Why(), id, r.Task)
		}
	}
	if c.Bool("json") {
		return nil
	}
	return w.Say("build %d succeeded%s, and its tests passed", id, within(w.Took(b.Started, b.Finished)))
}

func goesOn(id albs.BuildID) string {
	return fmt.Sprintf("build %d goes on: albs build watch %d", id, id)
}

// failure says why a build didn't succeed, and where to read on.
func failure(b client.Build) error {
	what := fmt.Sprintf("build %d %s", b.ID, b.State)
	if b.State == "cancelled" {
		what = fmt.Sprintf("build %d was cancelled", b.ID)
	}
	if b.Reason != "" {
		what += ": " + b.Reason
	}
	failed := func(t client.Task) bool { return t.State == albs.TaskFailed }
	told := func(t client.Task) bool { return failed(t) && t.Failure != nil && t.Failure.Log != "" }
	if i := slices.IndexFunc(b.Tasks, told); i >= 0 {
		t, f := b.Tasks[i], b.Tasks[i].Failure
		return fmt.Errorf("%s; %s: %s (line %d); the log: albs build logs %d %d --stream %s", what, f.Kind, f.Text, f.Line, b.ID, t.ID, f.Log)
	}
	if i := slices.IndexFunc(b.Tasks, failed); i >= 0 {
		return fmt.Errorf("%s; the log: albs build logs %d %d", what, b.ID, b.Tasks[i].ID)
	}
	return errors.New(what)
}

// working names a few of the steps that go on now.
func working(list []step) string {
	out := ""
	n := 0
	for _, s := range list {
		if s.state != albs.TaskLeased {
			continue
		}
		if n++; n > 3 {
			return out + " …"
		}
		out += "; " + s.label
	}
	return out
}

// change adds a line to m for each step whose state is another than seen has it, and
// brings seen up to date. What has yet to begin is no news.
func change(m *terminal.Meter, seen map[albs.TaskID]step, list []step) {
	for _, s := range list {
		before, known := seen[s.task]
		seen[s.task] = s
		waits := s.state == albs.TaskBlocked || s.state == albs.TaskQueued
		if before.state == s.state || waits && (!known || before.state == albs.TaskBlocked || before.state == albs.TaskQueued) {
			continue
		}
		if waits {
			m.Line("%s: %s again", s.label, s.words())
			continue
		}
		m.Line("%s: %s", s.label, s.words())
	}
}
