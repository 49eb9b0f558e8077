package transparency

import (
	"testing"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue/queuetest"
)

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	f := setup(t, d)
	tr := f.open(Config{})
	mastertest.Run(t, f.Queue.Run, f.Events.Run, f.Provenance.Run)
	stop := mastertest.Run(t, tr.Run)
	f.release(1, false, []string{"el/os"}, alpha)
	l := f.claim()
	stop()
	f.release(2, false, []string{"el/os"}, beta)
	queuetest.Run(t, queuetest.Case{
		DB: d, Queue: f.Queue, Handler: handler{tr}, Worker: auth.With(t.Context(), f.releaser), Lease: *l,
		Good: albs.Result{Prove: &albs.ProveResult{Packages: 1}},
		Garbage: map[string]albs.Result{
			"nothing":              {},
			"another's":            {Prove: &albs.ProveResult{Wrong: []albs.Digest{albs.DigestOf(nil)}}},
			"what wasn't uploaded": {Prove: &albs.ProveResult{Summaries: albs.File{Name: "summaries.jsonl", Size: 2, Digest: albs.DigestOf(nil)}}},
			"too much":             {Prove: &albs.ProveResult{Summaries: albs.File{Name: "summaries.jsonl", Size: 1 << 40, Digest: albs.DigestOf(nil)}}},
			"another kind's":       {Prune: &albs.PruneResult{}},
		},
		Foreign: []albs.Digest{f.added[1].Digest},
	})
}
