package report

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/testrun"
)

// run is one of a rebuild, with a package for each of the names: "-" before one says that
// it fails to install, "?" that its tests are still to end.
func run(task albs.TaskID, revision int, names ...string) testrun.Run {
	r := testrun.Run{ID: int64(task)*10 + int64(revision), Build: 7, BuildTask: task, Revision: revision, Part: 1, Platform: "el", Arch: albs.X8664}
	r.Task.ID, r.Task.State = albs.TaskID(100+r.ID), albs.TaskSucceeded
	for _, n := range names {
		sort := n[0]
		if sort == '-' || sort == '?' {
			n = n[1:]
		}
		p := testrun.Package{Digest: albs.DigestOf([]byte(n)), NEVRA: n + "-1-1.x86_64", Name: n, Verdict: testrun.Verdict{State: testrun.Passed}}
		stage := func(s albs.TestStage, status albs.TestStatus, reason string) {
			p.Stages = append(p.Stages, testrun.Stage{Package: p.Digest, Stage: s, Status: status, Reason: reason, Took: time.Second, Log: n + "." + string(s) + ".log"})
		}
		switch sort {
		case '?':
			p.Verdict = testrun.Verdict{State: testrun.Pending, Reason: "its tests are running"}
		case '-':
			p.Verdict = testrun.Verdict{State: testrun.Failed, Reason: "stage install failed"}
			stage(albs.StageEnvironment, albs.TestPassed, "")
			stage(albs.StageInstall, albs.TestFailed, "Nothing provides libfoo")
			stage(albs.StageIntegrity, albs.TestNotRun, "install failed")
		default:
			stage(albs.StageEnvironment, albs.TestPassed, "")
			stage(albs.StageInstall, albs.TestPassed, "")
			stage(albs.StageIntegrity, albs.TestPassed, "")
			p.Cases = []testrun.Case{{Package: p.Digest, Stage: albs.StageIntegrity, Name: "files", Status: albs.TestPassed}, {Package: p.Digest, Stage: albs.StageIntegrity, Name: "links", Status: albs.TestTodo, Detail: "known"}}
		}
		r.Packages = append(r.Packages, p)
		r.Logs = append(r.Logs, testrun.Log{Attempt: 1, File: albs.File{Name: n + ".install.log", Digest: albs.DigestOf([]byte(n + "log"))}})
	}
	return r
}

// brief writes down results, with the revision that counts.
func brief(results []Result) (out []string) {
	for _, r := range results {
		out = append(out, fmt.Sprintf("%s %s %d", r.NEVRA, r.Verdict.State, r.Run.Revision))
	}
	return out
}

func checks(cs []Check) (out []string) {
	for _, c := range cs {
		out = append(out, fmt.Sprintf("%s %s/%s %s", c.Result.NEVRA, c.Stage, c.Case, c.Status))
	}
	return out
}

func TestLatest(t *testing.T) {
	t.Parallel()
	runs := []testrun.Run{run(1, 1, "b", "-a"), run(2, 1, "c"), run(1, 2, "?a")}
	for _, tt := range []struct {
		revision int
		want     []string
	}{
		{0, []string{"a-1-1.x86_64 pending 2", "b-1-1.x86_64 passed 1", "c-1-1.x86_64 passed 1"}},
		{1, []string{"a-1-1.x86_64 failed 1", "b-1-1.x86_64 passed 1", "c-1-1.x86_64 passed 1"}},
		{2, []string{"a-1-1.x86_64 pending 2", "b-1-1.x86_64 passed 1", "c-1-1.x86_64 passed 1"}},
	} {
		if d := cmp.Diff(tt.want, brief(Latest(runs, tt.revision))); d != "" {
			t.Errorf("Latest(%d) (-want +got):\n%s", tt.revision, d)
		}
	}
	if d := cmp.Diff(Count{Packages: 3, Passed: 2, Pending: 1}, CountOf(Latest(runs, 0))); d != "" {
		t.Errorf("CountOf (-want +got):\n%s", d)
	}
	if n := Revisions(runs); n != 2 || Revisions(nil) != 0 {
		t.Errorf("Revisions = %d", n)
	}
	got := brief(FailedFirst(Latest([]testrun.Run{run(1, 1, "a", "-b", "?c", "-d")}, 0)))
	if d := cmp.Diff([]string{"b-1-1.x86_64 failed 1", "d-1-1.x86_64 failed 1", "c-1-1.x86_64 pending 1", "a-1-1.x86_64 passed 1"}, got); d != "" {
		t.Errorf("FailedFirst (-want +got):\n%s", d)
	}
	// What a fresh SRPM took the place of isn't the build's any more.
	b := build.Build{Items: []build.Item{{Earlier: []build.Task{{}}}}}
	b.Items[0].Earlier[0].ID = 1
	if d := cmp.Diff([]string{"c-1-1.x86_64 passed 1"}, brief(Latest(Current(b, runs), 0))); d != "" {
		t.Errorf("Current (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]albs.TestStage{albs.StageEnvironment, albs.StageInstall, albs.StageIntegrity}, Stages(Latest(runs, 0))); d != "" {
		t.Errorf("Stages (-want +got):\n%s", d)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	results := Latest([]testrun.Run{run(1, 1, "Good", "-poor", "?late")}, 0)
	for _, tt := range []struct {
		name     string
		filter   Filter
		checks   []string
		packages []string
	}{
		{"all of one", Filter{Package: "good"}, []string{
			"Good-1-1.x86_64 environment/ passed", "Good-1-1.x86_64 install/ passed", "Good-1-1.x86_64 integrity/ passed", "Good-1-1.x86_64 integrity/files passed", "Good-1-1.x86_64 integrity/links todo",
		}, []string{"Good-1-1.x86_64 passed 1"}},
		{"bad", Filter{Status: Bad}, []string{"poor-1-1.x86_64 install/ failed", "poor-1-1.x86_64 integrity/ not_run"}, []string{"poor-1-1.x86_64 failed 1"}},
		{"failed", Filter{Status: albs.TestFailed}, []string{"poor-1-1.x86_64 install/ failed"}, []string{"poor-1-1.x86_64 failed 1"}},
		{"still to end", Filter{Status: "pending"}, []string{"late-1-1.x86_64 / pending"}, []string{"late-1-1.x86_64 pending 1"}},
		{"stage", Filter{Stage: albs.StageInstall, Status: albs.TestPassed}, []string{"Good-1-1.x86_64 install/ passed"}, []string{"Good-1-1.x86_64 passed 1"}},
		{"text of a reason", Filter{Text: "LIBFOO"}, []string{"poor-1-1.x86_64 install/ failed"}, []string{"poor-1-1.x86_64 failed 1"}},
		{"text of a name", Filter{Text: "links"}, []string{"Good-1-1.x86_64 integrity/links todo"}, []string{"Good-1-1.x86_64 passed 1"}},
		{"digest", Filter{Package: string(results[1].Digest)}, checks(ChecksOf(&results[1])), []string{brief(results)[1]}},
		{"another arch", Filter{Arch: albs.S390X}, nil, nil},
		{"another platform", Filter{Platform: "el10"}, nil, nil},
	} {
		if d := cmp.Diff(tt.checks, checks(tt.filter.Checks(results))); d != "" {
			t.Errorf("%s: checks (-want +got):\n%s", tt.name, d)
		}
		if d := cmp.Diff(tt.packages, brief(tt.filter.Results(results))); d != "" {
			t.Errorf("%s: packages (-want +got):\n%s", tt.name, d)
		}
		if err := tt.filter.Check(); err != nil || !tt.filter.Filled() {
			t.Errorf("%s: Check = %v, Filled = %t", tt.name, err, tt.filter.Filled())
		}
	}
	Mark(results, map[testrun.Point]bool{{Platform: "el", Arch: albs.X8664, Package: "poor", Stage: albs.StageInstall}: true, {Platform: "el", Arch: albs.X8664, Package: "Good", Stage: albs.StageIntegrity, Case: "files"}: true, {Platform: "el", Arch: albs.AArch64, Package: "late"}: true})
	if d := cmp.Diff([]string{"Good-1-1.x86_64 integrity/files passed", "poor-1-1.x86_64 install/ failed"}, checks(Filter{Flaky: true}.Checks(results))); d != "" {
		t.Errorf("flaky checks (-want +got):\n%s", d)
	}
	if n := CountOf(results).Flaky; n != 2 || len(Filter{Flaky: true}.Results(results)) != 2 {
		t.Errorf("%d packages are counted as flaky", n)
	}
	for _, f := range []Filter{{Status: "good"}, {Stage: "prayer"}} {
		if err := f.Check(); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Check of %+v = %v", f, err)
		}
	}
	if l := (Filter{Stage: albs.StageInstall, Package: "poor"}).Checks(results)[0].Log; l == nil || l.Name != "poor.install.log" {
		t.Errorf("the stage's log is %+v", l)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	twice := run(1, 1, "twice")
	twice.Packages[0].Cases[1].Name = "files"
	again := run(1, 2, "twice")
	again.Packages[0].Cases[1].Name, again.Packages[0].Cases[1].Status = "files", albs.TestPassed
	for _, tt := range []struct {
		name     string
		from, to []testrun.Run
		want     []string
		same     int
	}{
		{"nothing", nil, nil, nil, 0},
		{"the same", []testrun.Run{run(1, 1, "a")}, []testrun.Run{run(1, 1, "a")}, nil, 5},
		{"mended", []testrun.Run{run(1, 1, "-a")}, []testrun.Run{run(1, 2, "a")},
			[]string{"fixed install/ failed→passed Nothing provides libfoo", "fixed integrity/ not_run→passed install failed", "added integrity/files →passed ", "added integrity/links →todo "}, 1},
		{"broken", []testrun.Run{run(1, 1, "a")}, []testrun.Run{run(1, 2, "-a")},
			[]string{"broken install/ passed→failed ", "broken integrity/ passed→not_run ", "removed integrity/files passed→ ", "removed integrity/links todo→ known"}, 1},
		{"under way", []testrun.Run{run(1, 1, "?a")}, []testrun.Run{run(1, 1, "a")},
			[]string{"added environment/ →passed ", "added install/ →passed ", "added integrity/ →passed ", "added integrity/files →passed ", "added integrity/links →todo ", "removed / pending→ its tests are running"}, 0},
		{"cases of one name", []testrun.Run{twice}, []testrun.Run{again}, []string{"changed integrity/files todo→passed known"}, 4},
	} {
		c := Compare(Latest(tt.from, 0), Latest(tt.to, 0))
		var got []string
		kinds := 0
		for _, x := range c.Changes {
			got = append(got, fmt.Sprintf("%s %s/%s %s→%s %s", x.Kind(), x.Stage, x.Case, x.From, x.To, x.Before))
		}
		for _, k := range Kinds {
			kinds += c.CountOf(k)
		}
		if d := cmp.Diff(tt.want, got); d != "" || c.Same != tt.same || kinds != len(got) {
			t.Errorf("%s: %d the same, %d counted (-want +got):\n%s", tt.name, c.Same, kinds, d)
		}
	}
}
