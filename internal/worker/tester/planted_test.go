package tester

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
	var ids []albs.TaskID
	for part := range slices.Chunk(packages, albs.MaxTested) {
		spec := &albs.TestSpec{Root: w.root, Stages: all}
		for _, p := range part {
			spec.Packages = append(spec.Packages, p.TestPackage)
		}
		ids = append(ids, w.add(spec))
	}
	var got albs.TestResult
	for _, id := range ids {
		outcome, r := w.endWithin(t, id, 15*time.Minute)
		if outcome != albs.OutcomeOK || r.Test == nil {
			t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, w.fake.LogOf(id, 1, "test"))
		}
		got.Stages = append(got.Stages, r.Test.Stages...)
		got.Cases = append(got.Cases, r.Test.Cases...)
	}
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
