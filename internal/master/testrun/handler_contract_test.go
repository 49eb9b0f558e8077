package testrun

import (
	"testing"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/queuetest"
)

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		l := f.claim(t)
		queuetest.Run(t, queuetest.Case{
			DB: d, Queue: f.queue, Handler: handler{f.Tests}, Worker: f.tester, Lease: *l,
			Good: albs.Result{Test: f.result(l, true)},
			Garbage: map[string]albs.Result{
				"no stage":          {Test: &albs.TestResult{}},
				"a foreign package": {Test: &albs.TestResult{Stages: []albs.StageResult{{Package: "bash-5-1.x86_64", Stage: albs.StageInstall, Status: albs.TestPassed}}}},
				"another kind's":    {Build: &albs.BuildResult{}},
			},
			Foreign: []albs.Digest{f.rpms[0].Digest},
		})
	})
}
