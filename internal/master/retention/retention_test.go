package retention

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/repodata"
)

// trees gives up trees and knows no releases.
type trees struct{ *repo.Repos }

// TestApply has a product show serials and applies one retention after another.
func TestApply(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		m := mastertest.Open(t, d, mastertest.Config{})
		r := New(Parts{DB: d, Queue: m.Queue, Products: m.Products, Repos: m.Repos, Releases: trees{m.Repos}})
		ctx := auth.System(t.Context(), "retention")
		token, err := m.Auth.Bootstrap(t.Context())
		must(err)
		actor, err := m.Auth.Authenticate(t.Context(), token)
		must(err)
		admin := auth.With(t.Context(), actor)
		_, err = m.Platforms.Apply(admin, mastertest.Platform("el", albs.X8664))
		must(err)
		policy := func(name string, kept product.Retention) {
			t.Helper()
			_, err := m.Products.Apply(admin, product.Spec{
				Name: name, Team: "core", Platforms: []string{"el"}, Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1},
				Repositories: []product.Repository{{Path: "el", Platform: "el", Arch: albs.X8664, Kind: product.RPM}}, Retention: kept,
			})
			must(err)
		}
		show := func(name string, from, serial int64) {
			t.Helper()
			tree := repodata.Tree{Product: name, Serial: serial, Repositories: []repodata.TreeRepo{{Path: "el", Snapshot: albs.DigestOf([]byte("a snapshot"))}}}
			doc, err := m.Repos.SaveTree(ctx, tree)
			must(err)
			must(d.InTx(ctx, func(tx db.Tx) error { return m.Repos.AdvanceTree(ctx, tx, name, from, tree, doc) }))
		}
		for _, name := range []string{"all", "few"} {
			policy(name, product.Retention{})
			for i := range int64(4) {
				show(name, i, i+1)
			}
		}
		apply := func(when time.Time, want ...Retired) {
			t.Helper()
			dry, err := r.Apply(ctx, when, true)
			must(err)
			real, err := r.Apply(ctx, when, false)
			must(err)
			want = append([]Retired{}, want...)
			if diff := cmp.Diff([][]Retired{want, want}, [][]Retired{dry, real}); diff != "" {
				t.Errorf("Apply, dry and then (-want +got):\n%s", diff)
			}
		}
		tasks := func(want ...albs.PruneSpec) {
			t.Helper()
			list, err := m.Queue.List(ctx, queue.Filter{Kind: albs.KindPrune})
			must(err)
			var got []albs.PruneSpec
			for _, task := range list {
				full, err := m.Queue.Task(ctx, task.ID)
				must(err)
				got = append(got, *full.Spec.Prune)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("tasks, newest first (-want +got):\n%s", diff)
			}
		}
		now := time.Now()
		apply(now)
		policy("few", product.Retention{Trees: 10})
		apply(now)
		tasks() // nothing was ever given up
		policy("few", product.Retention{Trees: 3, Packages: product.KeptPackages})
		apply(now, Retired{Product: "few", Serials: []int64{1}, Oldest: 2})
		first := albs.PruneSpec{Product: "few", Oldest: 2, Packages: true}
		tasks(first)
		_, err = m.Repos.TreeAt(ctx, "few", 1)
		if albs.KindOf(err) != albs.Conflict {
			t.Errorf("TreeAt of what was given up = %v, want Conflict", err)
		}
		if _, err := m.Repos.TreeAt(ctx, "few", 2); err != nil {
			t.Errorf("TreeAt of the oldest = %v", err)
		}
		show("few", 4, 6)
		apply(now, Retired{Product: "few", Serials: []int64{2}, Oldest: 3})
		tasks(first) // it waits still
		must(d.InTx(ctx, func(tx db.Tx) error {
			list, err := m.Queue.List(ctx, queue.Filter{Kind: albs.KindPrune})
			if err != nil {
				return err
			}
			return m.Queue.Cancel(ctx, tx, list[0].ID, "for the test")
		}))
		apply(now)
		tasks(albs.PruneSpec{Product: "few", Oldest: 3, Packages: true}, first) // for what the other one left

		// Time alone; what was given up doesn't come back with a milder policy.
		policy("few", product.Retention{Days: 1})
		apply(now)
		apply(now.Add(25*time.Hour), Retired{Product: "few", Serials: []int64{3}, Oldest: 4})
		policy("few", product.Retention{Trees: 100})
		apply(now)
		if kept, err := r.shown(ctx, "few"); err != nil || len(kept) != 2 {
			t.Errorf("kept are %v, %v", kept, err)
		}
	})
}

// TestAdmit holds a releaser to its word.
func TestAdmit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		outcome albs.Outcome
		result  albs.Result
		good    bool
	}{
		{albs.OutcomeOK, albs.Result{Prune: &albs.PruneResult{}}, true},
		{albs.OutcomeFailed, albs.Result{}, true},
		{albs.OutcomeOK, albs.Result{}, false},
		{albs.OutcomeExcluded, albs.Result{}, false},
	} {
		apply, err := handler{}.Admit(t.Context(), queue.Lease{}, tt.outcome, tt.result)
		if apply != nil || (err == nil) != tt.good || err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("Admit of %s with %+v = %v", tt.outcome, tt.result.Prune, err)
		}
	}
}
