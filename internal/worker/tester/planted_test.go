package tester

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/worker/tester/plantedtest"
)

// TestPlanted: each planted defect is found by the stage, and the case of it, whose
// business it is, and by no other; its twin passes all of them.
func TestPlanted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("all stages of some fifty packages take minutes: not in -short")
	}
	released, dir, packages := plantedtest.Make(t)
	w := beginWith(t, Config{Parallel: 2, limits: map[albs.TestStage]time.Duration{albs.StageInstall: 90 * time.Second}}, dir, released)
	// Who shares an environment with whom is left to chance.
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(packages), func(i, j int) { packages[i], packages[j] = packages[j], packages[i] })
	tests := w.tree(t, plantedtest.Tests)
	var ids []albs.TaskID
	for part := range slices.Chunk(packages, albs.MaxTested) {
		spec := &albs.TestSpec{Root: w.root, Stages: all, Suites: []albs.TestSuite{{Repository: "https://git.example/tests.git", Tree: tests}}}
		for _, p := range part {
			if p.Defect.Stage == albs.StagePackage {
				p.Suites = []int{0}
			}
			spec.Packages = append(spec.Packages, p.TestPackage)
		}
		ids = append(ids, w.add(spec))
	}
	var got albs.TestResult
	var shared []albs.TestPackage // of which some were tested in one environment
	for _, id := range ids {
		outcome, r := w.endWithin(t, id, 15*time.Minute)
		if outcome != albs.OutcomeOK || r.Test == nil {
			t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, w.fake.LogOf(id, 1, "test"))
		}
		got.Stages = append(got.Stages, r.Test.Stages...)
		got.Cases = append(got.Cases, r.Test.Cases...)
		log := string(w.fake.LogOf(id, 1, "test"))
		for _, p := range packages {
			if strings.Contains(log, p.NEVRA) && !strings.Contains(log, "\n== "+p.NEVRA+"\n") {
				shared = append(shared, p.TestPackage)
			}
		}
	}
	sameAlone(t, w, shared, &got)
	for _, p := range packages {
		t.Run(strings.TrimSuffix(p.NEVRA, "-2-1.x86_64"), func(t *testing.T) {
			var bad []string // stages and cases that failed
			told := ""
			for _, s := range got.Stages {
				if s.Package == p.NEVRA && s.Status == albs.TestFailed {
					bad = append(bad, string(s.Stage))
					told += s.Reason
				}
			}
			for _, c := range got.Cases {
				if c.Package == p.NEVRA && c.Status.Bad() {
					bad = append(bad, fmt.Sprintf("%s/%s", c.Stage, c.Name))
					told += c.Detail
				}
			}
			var want []string
			if p.Bad {
				want = append(want, string(p.Defect.Stage))
				if p.Defect.Case != "" {
					want = append(want, string(p.Defect.Stage)+"/"+p.Defect.Case)
				}
			}
			if !slices.Equal(bad, want) {
				t.Errorf("%s: %q failed, want %q; told: %s", p.Defect.What, bad, want, told)
			}
			if p.Bad && !strings.Contains(told, p.Defect.Say) {
				t.Errorf("%s: told %q, want %q", p.Defect.What, told, p.Defect.Say)
			}
		})
	}
}

// sameAlone wants packages that were tested in one environment to come to the same when each
// has one of its own.
func sameAlone(t *testing.T, w *world, shared []albs.TestPackage, got *albs.TestResult) {
	t.Helper()
	t.Logf("%d packages shared an environment with others", len(shared))
	if len(shared) == 0 {
		return
	}
	spec := &albs.TestSpec{Root: w.root, Stages: all}
	for _, p := range shared {
		p.Skip = []albs.TestSkip{{Stage: albs.StageDowngrade, Reason: noCompany}} // which is skipped anyway
		spec.Packages = append(spec.Packages, p)
	}
	outcome, r := w.end(t, w.add(spec))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q", outcome, r.Reason)
	}
	others := &albs.TestResult{}
	for _, p := range shared {
		for _, s := range got.Stages {
			if s.Package == p.NEVRA {
				others.Stages = append(others.Stages, s)
			}
		}
		for _, c := range got.Cases {
			if c.Package == p.NEVRA {
				others.Cases = append(others.Cases, c)
			}
		}
	}
	if diff := gocmp.Diff(r.Test, others, sameResult...); diff != "" {
		t.Errorf("in company it came to something else (-alone +in company):\n%s", diff)
	}
}
