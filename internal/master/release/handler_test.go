package release

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest/effect"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/repodata"
	"albs/internal/worker"
)

// TestOffer: a releaser gets the tree of the release that its task is for, as long
// as that is to follow what the product shows.
func TestOffer(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	h, ctx := handler{f.Releases}, f.planner
	begun := func(n next) releaseRow {
		t.Helper()
		row := f.planned(Publication, "a")
		what, err := row.plan()
		f.must(err)
		effects, err := f.artifacts.Save(ctx, bytes.NewReader(what.Effects().Encode()), effect.Max, "effects.json", artifact.Document)
		f.must(err)
		f.must(f.d.InTx(ctx, func(tx db.Tx) error {
			if err := f.artifacts.Add(ctx, tx, effects); err != nil {
				return err
			}
			return f.start(ctx, tx, row, n, nil)
		}))
		row, err = f.store.get(ctx, f.d, row.ID)
		f.must(err)
		return row
	}
	row := begun(next{})
	task, err := f.queue.Task(ctx, row.TaskID)
	f.must(err)
	other := row
	other.TaskID++
	_, err = h.compose(ctx, other)
	f.wantKind("compose for a task that isn't the release's", err, albs.Invalid, "published by another task")

	spec, _, err := h.Offer(ctx, task, worker.Offer{})
	f.must(err)
	if spec.Publish == nil || spec.Publish.Serial != 1 || spec.Publish.Product != "demo" {
		t.Fatalf("Offer = %+v", spec)
	}
	again, _, err := h.Offer(ctx, task, worker.Offer{})
	if err != nil || !cmp.Equal(again.Publish, spec.Publish) {
		t.Errorf("the next attempt is to show %+v, %v, want %+v", again.Publish, err, spec.Publish)
	}

	// A serial that was offered once is never another tree's.
	_, err = f.Cancel(ctx, row.ID)
	f.must(err)
	_, _, err = h.Offer(ctx, task, worker.Offer{})
	f.wantKind("Offer of what was cancelled", err, albs.Invalid, "is failed")
	row = begun(next{})
	if row.Serial != 2 {
		t.Errorf("the next release has serial %d, want 2", row.Serial)
	}

	shown := repodata.Tree{Product: "demo", Serial: 1}
	d, err := f.repos.SaveTree(ctx, shown)
	f.must(err)
	f.must(f.d.InTx(ctx, func(tx db.Tx) error { return f.repos.AdvanceTree(ctx, tx, "demo", 0, shown, d) }))
	task, err = f.queue.Task(ctx, row.TaskID)
	f.must(err)
	_, _, err = h.Offer(ctx, task, worker.Offer{})
	f.wantKind("Offer of a tree that follows another one than is shown", err, albs.Invalid, "shows serial 1 and not 0 any more")
}
