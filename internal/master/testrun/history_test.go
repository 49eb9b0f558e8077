package testrun

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

func TestFlaky(t *testing.T) {
	t.Parallel()
	p := Point{"el", albs.X8664, "hello", albs.StageIntegrity, "files"}
	arm, stage, other := p, p, p
	arm.Arch, stage.Case, other.Package = albs.AArch64, "", "bye"
	one, two := albs.DigestOf([]byte("1")), albs.DigestOf([]byte("2"))
	at := func(p Point, in albs.Digest, s albs.TestStatus) Observation {
		return Observation{Point: p, Inputs: in, Status: s}
	}
	for _, tt := range []struct {
		name string
		seen []Observation
		want []Point
	}{
		{"nothing", nil, nil},
		{"once", []Observation{at(p, one, albs.TestFailed)}, nil},
		{"twice the same", []Observation{at(p, one, albs.TestFailed), at(p, one, albs.TestFailed)}, nil},
		{"mended by other inputs", []Observation{at(p, one, albs.TestFailed), at(p, two, albs.TestPassed)}, nil},
		{"changed", []Observation{at(p, one, albs.TestFailed), at(p, one, albs.TestPassed)}, []Point{p}},
		{"changed the other way", []Observation{at(p, one, albs.TestPassed), at(p, two, albs.TestPassed), at(p, one, albs.TestFailed)}, []Point{p}},
		{"changed and back", []Observation{at(p, one, albs.TestFailed), at(p, one, albs.TestPassed), at(p, one, albs.TestFailed)}, []Point{p}},
		{"failed as expected, and didn't", []Observation{at(p, one, albs.TestTodo), at(p, one, albs.TestPassed)}, []Point{p}},
		{"skipped is no answer", []Observation{at(p, one, albs.TestPassed), at(p, one, albs.TestSkipped)}, nil},
		{"not run is no answer", []Observation{at(p, one, albs.TestNotRun), at(p, one, albs.TestPassed)}, nil},
		{"an answer before and behind none", []Observation{at(p, one, albs.TestFailed), at(p, one, albs.TestNotRun), at(p, one, albs.TestPassed)}, []Point{p}},
		{"inputs that aren't known", []Observation{at(p, "", albs.TestPassed), at(p, "", albs.TestFailed)}, nil},
		{"another arch", []Observation{at(p, one, albs.TestPassed), at(arm, one, albs.TestFailed)}, nil},
		{"its stage", []Observation{at(p, one, albs.TestPassed), at(stage, one, albs.TestFailed)}, nil},
		{"another package", []Observation{at(p, one, albs.TestPassed), at(other, one, albs.TestFailed)}, nil},
		{"one of two", []Observation{at(p, one, albs.TestPassed), at(other, one, albs.TestFailed), at(other, one, albs.TestPassed)}, []Point{other}},
	} {
		want := map[Point]bool{}
		for _, p := range tt.want {
			want[p] = true
		}
		if d := cmp.Diff(want, Flaky(tt.seen)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

// TestInputs: what a test of a package rests on changes its inputs, and what another's
// rests on doesn't.
func TestInputs(t *testing.T) {
	t.Parallel()
	spec := func() albs.TestSpec {
		return albs.TestSpec{
			Root:     albs.Root{Platform: "el", Arch: albs.X8664, Repos: []albs.Repo{{ID: "base", Snapshot: albs.DigestOf([]byte("base"))}}},
			Packages: []albs.TestPackage{{NEVRA: "a-1-1.x86_64", Digest: albs.DigestOf([]byte("a")), Suites: []int{1}}, {NEVRA: "b-1-1.x86_64", Suites: []int{0}}},
			Stages:   []albs.TestStage{albs.StageInstall},
			Suites:   []albs.TestSuite{{Repository: "one", Commit: "1"}, {Repository: "two", Commit: "2"}},
		}
	}
	inputs := func(s albs.TestSpec) albs.Digest {
		d, err := inputsOf(s, s.Packages[0])
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	was := inputs(spec())
	for name, tt := range map[string]struct {
		change func(*albs.TestSpec)
		same   bool
	}{
		"nothing":          {func(*albs.TestSpec) {}, true},
		"another package":  {func(s *albs.TestSpec) { s.Packages[1].Digest = was }, true},
		"one package less": {func(s *albs.TestSpec) { s.Packages = s.Packages[:1] }, true},
		"another's suite":  {func(s *albs.TestSpec) { s.Suites[0].Commit = "3" }, true},
		"suites in other order": {func(s *albs.TestSpec) {
			s.Suites[0], s.Suites[1] = s.Suites[1], s.Suites[0]
			s.Packages[0].Suites = []int{0}
		}, true},
		"the package":          {func(s *albs.TestSpec) { s.Packages[0].Digest = was }, false},
		"its suite":            {func(s *albs.TestSpec) { s.Suites[1].Commit = "3" }, false},
		"no suite":             {func(s *albs.TestSpec) { s.Packages[0].Suites = nil }, false},
		"a snapshot":           {func(s *albs.TestSpec) { s.Root.Repos[0].Snapshot = was }, false},
		"the released version": {func(s *albs.TestSpec) { s.Packages[0].From = "a-0-1.x86_64" }, false},
		"what is skipped":      {func(s *albs.TestSpec) { s.Packages[0].Skip = []albs.TestSkip{{Stage: albs.StageInstall}} }, false},
		"the stages":           {func(s *albs.TestSpec) { s.Stages = albs.TestStages }, false},
		"the engine":           {func(s *albs.TestSpec) { s.Engine = "vm" }, false},
		"a variable":           {func(s *albs.TestSpec) { s.Env = map[string]string{"A": "b"} }, false},
	} {
		s := spec()
		tt.change(&s)
		if same := inputs(s) == was; same != tt.same {
			t.Errorf("%s: the inputs are the same is %t, want %t", name, same, tt.same)
		}
	}
}

// TestHistory: a package that failed and passes on the same inputs is flaky, in its own
// build, and its history tells of both runs.
func TestHistory(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		flaky := func() map[Point]bool {
			t.Helper()
			got, err := f.Flaky(t.Context(), f.build)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		end := func(ok bool) {
			t.Helper()
			l := f.claim(t)
			r := f.result(l, ok)
			r.Cases = append(r.Cases, albs.TestCase{Package: "hello-debuginfo-1-1.x86_64", Stage: albs.StageInstall, Name: "scriptlets", Status: map[bool]albs.TestStatus{true: albs.TestPassed, false: albs.TestFailed}[ok]})
			if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: r}); err != nil {
				t.Fatal(err)
			}
		}
		end(false)
		if got := flaky(); len(got) != 0 {
			t.Errorf("after one run %v is flaky", got)
		}
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		end(true)
		install := Point{"el", albs.X8664, "hello-debuginfo", albs.StageInstall, ""}
		scriptlets := install
		scriptlets.Case = "scriptlets"
		if d := cmp.Diff(map[Point]bool{install: true, scriptlets: true}, flaky()); d != "" {
			t.Errorf("flaky (-want +got):\n%s", d)
		}
		for _, tt := range []struct {
			of   Point
			want []albs.TestStatus
		}{
			{install, []albs.TestStatus{albs.TestPassed, albs.TestFailed}},
			{scriptlets, []albs.TestStatus{albs.TestPassed, albs.TestFailed}},
			{Point{Package: "hello", Stage: albs.StageInstall}, []albs.TestStatus{albs.TestPassed}},
			{Point{Package: "hello", Platform: "el10"}, nil},
			{Point{Package: "hell"}, nil},
		} {
			seen, before, err := f.History(t.Context(), tt.of, 0)
			if err != nil || before != 0 {
				t.Fatalf("History of %+v = %d, %v", tt.of, before, err)
			}
			var got []albs.TestStatus
			for _, o := range seen {
				got = append(got, o.Status)
				if o.Build != f.build || o.Inputs == "" || o.Package != tt.of.Package || o.CreatedAt.IsZero() {
					t.Errorf("observation %+v", o)
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("History of %+v (-want +got):\n%s", tt.of, d)
			}
		}
		all, _, err := f.History(t.Context(), Point{Package: "hello-debuginfo"}, 0)
		if err != nil || len(all) < 10 || all[0].Run <= all[len(all)-1].Run {
			t.Fatalf("the whole history is %+v, %v", all, err)
		}
		older, _, err := f.History(t.Context(), Point{Package: "hello-debuginfo"}, all[0].Run)
		if err != nil || len(older) == 0 || older[0].Run != all[len(all)-1].Run {
			t.Errorf("the older history is %+v, %v", older, err)
		}
		if _, _, err := f.History(t.Context(), Point{}, 0); albs.KindOf(err) != albs.Invalid {
			t.Errorf("History of nothing = %v", err)
		}
	})
}
