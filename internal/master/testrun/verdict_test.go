package testrun

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/product"
	"albs/internal/master/queue"
)

func TestVerdictOf(t *testing.T) {
	t.Parallel()
	good := []Stage{{Stage: "install", Status: "passed"}, {Stage: "remove", Status: "passed"}}
	bad := []Stage{{Stage: "install", Status: "passed"}, {Stage: "remove", Status: "not_run"}, {Stage: "integrity", Status: "failed", Reason: "/usr/bin/a is missing\nand more"}}
	skipped := []Stage{{Stage: "install", Status: "passed"}, {Stage: "upgrade", Status: "skipped", Reason: "no released version"}}
	tests := []struct {
		name  string
		runs  []view
		state State
		say   string
	}{
		{"never", nil, Missing, "it was never tested"},
		{"waits", []view{{State: albs.TaskQueued}}, Pending, "its tests wait for a tester"},
		{"blocked", []view{{State: albs.TaskBlocked}}, Pending, "its tests wait for a tester"},
		{"runs", []view{{State: albs.TaskLeased}}, Pending, "its tests are running"},
		{"stops", []view{{State: albs.TaskStopping}}, Pending, "its tests are running"},
		{"passed", []view{{State: albs.TaskSucceeded, Stages: good}}, Passed, "2 stages passed"},
		{"failed stages of a finished run", []view{{State: albs.TaskSucceeded, Stages: bad}}, Failed, "stage integrity failed: /usr/bin/a is missing (and 1 more)"},
		{"no reason", []view{{State: albs.TaskSucceeded, Stages: bad[1:2]}}, Failed, "stage remove was not run"},
		{"skipped", []view{{State: albs.TaskSucceeded, Stages: skipped}}, Passed, "1 stages passed, 1 were skipped"},
		{"an unknown status", []view{{State: albs.TaskSucceeded, Stages: []Stage{{Stage: "install", Status: "odd"}}}}, Failed, "stage install was not run"},
		{"without stages", []view{{State: albs.TaskSucceeded}}, Failed, "no stage of a test was about it"},
		{"not carried out", []view{{State: albs.TaskFailed, Reason: "no root"}}, Failed, "its tests could not be carried out: no root"},
		{"cancelled", []view{{State: albs.TaskCancelled, Reason: "by olga"}}, Missing, "its tests were cancelled: by olga"},
		{"passed in one place, pending in another", []view{{State: albs.TaskSucceeded, Stages: good}, {State: albs.TaskQueued}}, Pending, "its tests wait for a tester"},
		{"failed comes before all", []view{{State: albs.TaskQueued}, {State: albs.TaskSucceeded, Stages: bad}, {State: albs.TaskSucceeded, Stages: good}}, Failed, "stage integrity failed: /usr/bin/a is missing (and 1 more)"},
		{"passed twice", []view{{State: albs.TaskSucceeded, Stages: good}, {State: albs.TaskSucceeded, Stages: good[:1]}}, Passed, "2 stages passed"},
	}
	for _, tt := range tests {
		if got := verdictOf(tt.runs, product.Gate{Tests: product.Advisory}); got.State != tt.state || got.Reason != tt.say {
			t.Errorf("%s: verdictOf = %+v, want %s, %q", tt.name, got, tt.state, tt.say)
		}
	}
}

// TestAssemble reads a run's rows while another run of the build is made.
func TestAssemble(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf([]byte("a"))
	file := albs.File{Name: "test.log", Digest: albs.DigestOf([]byte("log")), Size: 3}
	got := assemble(
		[]runRow{{ID: 1, BuildTaskID: 7, TaskID: 10}},
		[]queue.Task{{ID: 10, State: albs.TaskSucceeded}},
		[]packageRow{{RunID: 1, Digest: d, NEVRA: "a"}, {RunID: 2, Digest: d, NEVRA: "a"}},
		[]stageRow{{RunID: 1, Digest: d, Stage: "integrity", Status: "passed"}, {RunID: 2, Digest: d, Stage: "install", Status: "failed"}},
		[]caseRow{{RunID: 1, Digest: d, Stage: "integrity", Name: "files", Status: "passed", Millis: 7}, {RunID: 2, Digest: d, Stage: "integrity", Name: "files"}},
		[]logRow{{RunID: 1, Attempt: 1, Name: file.Name, Digest: file.Digest, Size: file.Size}, {RunID: 2, Attempt: 1, Name: "late.log"}},
	)
	stages := []Stage{{Package: d, Stage: "integrity", Status: "passed"}}
	cases := []Case{{Package: d, Stage: "integrity", Name: "files", Status: "passed", Took: 7 * time.Millisecond}}
	want := []Run{{
		ID: 1, BuildTask: 7, Task: queue.Task{ID: 10, State: albs.TaskSucceeded},
		Packages: []Package{{Digest: d, NEVRA: "a", Verdict: Verdict{State: Passed, Reason: "1 stages passed"}, Stages: stages, Cases: cases, view: view{State: albs.TaskSucceeded, Stages: stages}}},
		Logs:     []Log{{1, file}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Package{}, view{})); diff != "" {
		t.Errorf("assemble (-want +got):\n%s", diff)
	}
}

// TestLatest: of each package its latest run counts, and the rest is said of the run to look
// at first.
func TestLatest(t *testing.T) {
	t.Parallel()
	pkg := func(name string, s State) Package {
		return Package{Digest: albs.DigestOf([]byte(name)), NEVRA: name, Verdict: Verdict{State: s}}
	}
	run := func(id int64, task albs.TaskID, state albs.TaskState, ps ...Package) Run {
		return Run{ID: id, BuildTask: task, Task: queue.Task{State: state}, Packages: ps}
	}
	for _, tt := range []struct {
		name string
		runs []Run
		want string // of each rebuild: run: package state …
	}{
		{"none", nil, ""},
		{"two rebuilds", []Run{run(1, 7, "succeeded", pkg("a", Passed)), run(2, 8, "queued", pkg("b", Pending))}, "1: a passed; 2: b pending; "},
		{"parts", []Run{run(1, 7, "succeeded", pkg("a", Passed)), run(2, 7, "succeeded", pkg("b", Failed)), run(3, 7, "succeeded", pkg("c", Passed))}, "2: a passed b failed c passed; "},
		{"one again", []Run{run(1, 7, "succeeded", pkg("a", Passed), pkg("b", Failed)), run(2, 7, "succeeded", pkg("b", Passed))}, "2: a passed b passed; "},
		{"one again, another failed before", []Run{run(1, 7, "succeeded", pkg("a", Failed), pkg("b", Failed)), run(2, 7, "succeeded", pkg("b", Passed))}, "1: a failed b passed; "},
		{"one under way", []Run{run(1, 7, "leased", pkg("a", Pending)), run(2, 7, "failed", pkg("b", Failed))}, "1: a pending b failed; "},
	} {
		got := ""
		for _, r := range Latest(tt.runs) {
			got += fmt.Sprintf("%d:", r.ID)
			for _, p := range r.Packages {
				got += " " + p.NEVRA + " " + string(p.Verdict.State)
			}
			got += "; "
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestCheckResult(t *testing.T) {
	t.Parallel()
	a, b := albs.DigestOf([]byte("a")), albs.DigestOf([]byte("b"))
	spec := &albs.TestSpec{
		Packages: []albs.TestPackage{{NEVRA: "a-1-1.noarch", Digest: a}, {NEVRA: "b-1-1.x86_64", Digest: b}},
		Stages:   []albs.TestStage{albs.StageInstall, albs.StageIntegrity},
	}
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	logs := []artifact.Artifact{{Name: "b.install.log"}}
	ok := func() *albs.TestResult {
		return &albs.TestResult{
			Stages: []albs.StageResult{
				{Package: "b-1-1.x86_64", Stage: "install", Status: "passed", Started: now, Millis: 5, Log: "b.install.log"},
				{Package: "b-1-1.x86_64", Stage: "integrity", Status: "failed", Reason: "x\x00y\xff", Millis: -1, Started: time.Unix(-1<<40, 0)},
				{Package: "a-1-1.noarch", Stage: "install", Status: "skipped", Millis: 1 << 60},
			},
			Cases: []albs.TestCase{{Package: "b-1-1.x86_64", Stage: "integrity", Name: "files of / are odd", Status: "failed", Detail: "z\x00"}},
		}
	}
	got, err := checkResult(spec, ok(), logs)
	want := result{
		stages: []Stage{
			{Package: a, Stage: "install", Status: "skipped", Took: maxTook},
			{Package: a, Stage: "integrity", Status: "not_run", Reason: "the tester said nothing of it"},
			{Package: b, Stage: "install", Status: "passed", Started: now, Took: 5 * time.Millisecond, Log: "b.install.log"},
			{Package: b, Stage: "integrity", Status: "failed", Reason: "x\uFFFDy\uFFFD"},
		},
		cases: []Case{{Package: b, Stage: "integrity", Name: "files of / are odd", Status: "failed", Detail: "z\uFFFD"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); err != nil || diff != "" {
		t.Errorf("checkResult: %v (-want +got):\n%s", err, diff)
	}
	long := ok()
	long.Cases[0].Detail = strings.Repeat("ä", maxDetail)
	if got, err := checkResult(spec, long, logs); err != nil || len(got.cases[0].Detail) > maxDetail+8 {
		t.Errorf("a long detail: %v", err)
	}
	for name, tt := range map[string]struct {
		change func(*albs.TestResult)
		kind   albs.Kind
	}{
		"no stage":             {func(r *albs.TestResult) { r.Stages = nil }, albs.Invalid},
		"another package":      {func(r *albs.TestResult) { r.Stages[0].Package = "c-1-1.noarch" }, albs.Invalid},
		"no package":           {func(r *albs.TestResult) { r.Stages[0].Package = "" }, albs.Invalid},
		"another stage":        {func(r *albs.TestResult) { r.Stages[0].Stage = "remove" }, albs.Invalid},
		"a stage twice":        {func(r *albs.TestResult) { r.Stages[1].Stage = "install" }, albs.Invalid},
		"no status":            {func(r *albs.TestResult) { r.Stages[0].Status = "" }, albs.Invalid},
		"a stage to do":        {func(r *albs.TestResult) { r.Stages[0].Status = "todo" }, albs.Invalid},
		"a log that isn't":     {func(r *albs.TestResult) { r.Stages[0].Log = "other.log" }, albs.Invalid},
		"another's case":       {func(r *albs.TestResult) { r.Cases[0].Package = "c-1-1.noarch" }, albs.Invalid},
		"of another stage":     {func(r *albs.TestResult) { r.Cases[0].Stage = "remove" }, albs.Invalid},
		"of no result":         {func(r *albs.TestResult) { r.Cases[0].Package = "a-1-1.noarch" }, albs.Invalid},
		"a name with newlines": {func(r *albs.TestResult) { r.Cases[0].Name = "in\nstall" }, albs.Invalid},
		"no name":              {func(r *albs.TestResult) { r.Cases[0].Name = "" }, albs.Invalid},
		"a case of no status":  {func(r *albs.TestResult) { r.Cases[0].Status = "odd" }, albs.Invalid},
		"bad and passed":       {func(r *albs.TestResult) { r.Stages[1].Status = "passed" }, albs.Invalid},
		"too many of one":      {func(r *albs.TestResult) { r.Cases = slices.Repeat(r.Cases, maxOf+1) }, albs.TooLarge},
		"too many":             {func(r *albs.TestResult) { r.Cases = make([]albs.TestCase, maxCases+1) }, albs.TooLarge},
	} {
		r := ok()
		tt.change(r)
		if _, err := checkResult(spec, r, logs); albs.KindOf(err) != tt.kind {
			t.Errorf("%s: checkResult = %v, want kind %q", name, err, tt.kind)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\xff" + strings.Repeat("ä", maxDetail))
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s, maxDetail)
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) || len(got) > 3*maxDetail+8 {
			t.Errorf("text(%q) = %q", s, got)
		}
	})
}

// TestRemedy: whoever is refused is told what can be done, by a waiver that would help.
func TestRemedy(t *testing.T) {
	t.Parallel()
	const waive = "test it again, or have a maintainer waive that for a reason and at most 90 days: albs test waive 7 a-1-1.x86_64 --reason TEXT"
	for _, tt := range []struct {
		v    Verdict
		want string
	}{
		{Verdict{State: Passed}, ""},
		{Verdict{State: Waived}, ""},
		{Verdict{State: Pending}, "wait until they have ended"},
		{verdictOf([]view{{State: albs.TaskSucceeded, Stages: had("install:failed")}}, policy("required")), waive},
		{verdictOf([]view{{State: albs.TaskSucceeded}}, policy("required")), waive + " --untested"},
		{verdictOf([]view{{State: albs.TaskFailed}}, policy("required")), waive + " --untested"},
		{verdictOf([]view{{State: albs.TaskCancelled}}, policy("required")), waive + " --untested"},
		{verdictOf([]view{{State: albs.TaskSucceeded, Stages: had("install")}}, policy("required")), waive + " --untested"},
		{verdictOf(nil, policy("required")), waive + " --untested"},
		{Verdict{State: Passed}.WithSigned(Verdict{State: Missing, Untested: true}, policy("required")), waive + " --stage signed"},
	} {
		if got := tt.v.Remedy(7, "a-1-1.x86_64.rpm"); got != tt.want {
			t.Errorf("of %+v: %q, want %q", tt.v, got, tt.want)
		}
	}
	if got := (Verdict{State: Failed}).Remedy(0, "a"); got != "test it again" {
		t.Errorf("of no build: %q", got)
	}
}
