package mastertest

import "albs/internal/albs"

// Tested returns a result by which every stage of spec passed for every package, but for
// what bad says of one: "" if it passed too, else why it failed. Nil is all passed.
func Tested(spec *albs.TestSpec, bad func(nevra string, stage albs.TestStage) string) *albs.TestResult {
	r := &albs.TestResult{}
	for _, p := range spec.Packages {
		for _, stage := range spec.Stages {
			s := albs.StageResult{Package: p.NEVRA, Stage: stage, Status: albs.TestPassed}
			if bad != nil {
				s.Reason = bad(p.NEVRA, stage)
			}
			if s.Reason != "" {
				s.Status = albs.TestFailed
			}
			r.Stages = append(r.Stages, s)
		}
	}
	return r
}
