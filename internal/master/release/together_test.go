package release

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
)

// planned keeps a release that has a sound plan which nobody has approved. Its
// content is note: plans of different notes have different digests.
func (f *fixture) planned(kind Kind, note string) releaseRow {
	f.t.Helper()
	now := db.Now()
	row := releaseRow{
		Kind: kind, Product: "demo", Team: "core", PlannerID: auth.From(f.planner).User, Planner: "pam", Status: Scheduled,
		Files: "[]", CreatedAt: now, ChangedAt: now,
	}
	f.must(row.setPlan(planOf(note)))
	f.must(f.d.InTx(f.t.Context(), func(tx db.Tx) error { return f.store.add(f.t.Context(), tx, &row, nil) }))
	return row
}

func planOf(note string) plan.Plan {
	return plan.Plan{
		Product: "demo", Key: "KEY", Gate: product.Advisory, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
		Repositories: []plan.Repository{{Path: demoOS, Packages: []plan.Change{{Action: plan.Add, File: note + ".rpm", Digest: digest(note)}}}},
	}
}

// together runs the calls at the same moment and counts those that succeeded. All
// others have to be refused with a Conflict.
func (f *fixture) together(what string, calls ...func() error) (succeeded int) {
	f.t.Helper()
	errs := make([]error, len(calls))
	var ready, done sync.WaitGroup
	ready.Add(len(calls))
	for i, call := range calls {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			errs[i] = call()
		})
	}
	done.Wait()
	for _, err := range errs {
		switch {
		case err == nil:
			succeeded++
		case albs.KindOf(err) != albs.Conflict:
			f.t.Errorf("%s = %v, want no error or a Conflict", what, err)
		}
	}
	return succeeded
}

func times(n int, call func(i int) error) []func() error {
	out := make([]func() error, n)
	for i := range out {
		out[i] = func() error { return call(i) }
	}
	return out
}

// TestTogether: what people do with one plan or one product at the same moment is
// decided by the database, and who comes too late is told so.
func TestTogether(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		ctx := t.Context()
		get := func(id albs.ReleaseID) releaseRow {
			t.Helper()
			row, err := f.store.get(ctx, d, id)
			f.must(err)
			return row
		}
		// start is the transaction in which a publication or a rollback begins.
		start := func(id albs.ReleaseID) error {
			return d.InTx(f.planner, func(tx db.Tx) error {
				row, err := f.store.get(ctx, tx, id)
				if err != nil {
					return err
				}
				return f.start(f.planner, tx, row, next{}, nil)
			})
		}
		const rounds = 5
		for i := range rounds {
			one := f.planned(Publication, fmt.Sprint("one", i))
			if n := f.together("Approve twice", times(4, func(int) error {
				_, err := f.Approve(f.approver, one.ID, one.Digest, "")
				return err
			})...); n != 1 {
				t.Errorf("one person approved one plan %d times", n)
			}

			// The plan changes while it is approved: what was approved holds, or who
			// approves is told to look again.
			before := f.planned(Publication, fmt.Sprint("before", i))
			f.together("Approve beside Replan", func() error {
				_, err := f.Approve(f.approver, before.ID, before.Digest, "")
				return err
			}, func() error { return f.replace(f.planner, before, planOf(fmt.Sprint("after", i)), "") })
			now, err := f.Get(ctx, before.ID)
			f.must(err)
			if now.Digest == before.Digest || len(now.Approvals) != 0 {
				t.Errorf("the new plan has the approvals %+v", now.Approvals)
			}

			// Of two plans made of the same one, the later is refused.
			twice := f.planned(Publication, fmt.Sprint("twice", i))
			if n := f.together("Replan twice", times(2, func(k int) error {
				return f.replace(f.planner, twice, planOf(fmt.Sprint("plan", k, i)), "")
			})...); n != 1 {
				t.Errorf("%d plans took the place of one", n)
			}

			// One product, several releases, one of them a rollback.
			ids := []albs.ReleaseID{f.planned(Publication, "a").ID, f.planned(Publication, "b").ID, f.planned(Rollback, "c").ID}
			if n := f.together("Publish of three", times(6, func(k int) error { return start(ids[k%3]) })...); n != 1 {
				t.Errorf("%d releases of one product are in progress", n)
			}
			for _, id := range ids {
				row := get(id)
				if row.Status != InProgress {
					continue
				}
				err := start(id)
				f.wantKind("Publish of what is in progress", err, albs.Conflict, "it is in progress")
				// Its end comes once, whoever brings it.
				f.together("Cancel beside Publish", append(times(3, func(int) error {
					_, err := f.Cancel(f.planner, id)
					return err
				}), func() error { return start(ids[0]) })...)
			}
			for _, id := range ids {
				if get(id).Status == InProgress {
					_, err := f.Cancel(f.planner, id)
					f.must(err)
				}
				if s := get(id).Status; s != Failed && s != Scheduled {
					t.Errorf("release %d is %s", id, s)
				}
			}

			// Who approves what begins at that moment is in time or is told so.
			late := f.planned(Publication, fmt.Sprint("late", i))
			f.together("Approve beside Publish", func() error {
				_, err := f.Approve(f.approver, late.ID, late.Digest, "")
				return err
			}, func() error { return start(late.ID) })
			if s := get(late.ID).Status; s != InProgress {
				t.Errorf("the release that was approved beside is %s", s)
			}
			_, err = f.Cancel(f.planner, late.ID)
			f.must(err)
		}
	})
}

// TestReleasedNeverChanges: the table of what was released refuses other bytes under
// a name, whatever plan let them through (I8).
func TestReleasedNeverChanges(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		id := f.planned(Publication, "a").ID
		add := func(path, content string) error {
			return d.InTx(t.Context(), func(tx db.Tx) error {
				return f.store.addReleased(t.Context(), tx, "demo", id, []releasedRow{{path, "a.rpm", digest(content)}})
			})
		}
		f.must(add("el/os", "a"))
		f.must(add("el/os", "a")) // rolled back and released again
		f.must(add("el/debug", "b"))
		f.wantKind("addReleased of other bytes", add("el/os", "b"), albs.Conflict, "with other content")
		got, err := f.store.released(t.Context(), d, "demo", "el/os", "a.rpm")
		if got != digest("a") || err != nil {
			t.Errorf("released = %s, %v", got, err)
		}
	})
}

// TestDeletedBuild: a build that is gone is in no plan, also if it was deleted while that
// was made; a plan that has it is published never.
func TestDeletedBuild(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		id := f.addBuild(rpmbuild(t, "1", "one"))
		r, err := f.Plan(f.planner, "demo", []albs.BuildID{id}) // which refuses what isn't signed
		f.must(err)
		f.must(f.builds.Delete(f.admin, id))
		const why = "was deleted by"
		_, err = f.Plan(f.planner, "demo", []albs.BuildID{id})
		f.wantKind("Plan of a deleted build", err, albs.NotFound, why)
		_, err = f.Replan(f.planner, r.ID)
		f.wantKind("Replan of a deleted build", err, albs.NotFound, why)
		row, err := f.store.get(t.Context(), f.d, r.ID)
		f.must(err)
		f.wantKind("keep of a plan whose build was deleted meanwhile", f.keep(f.planner, &row, []albs.BuildID{id}), albs.NotFound, why)
		if all, _, err := f.List(t.Context(), Filter{}); err != nil || len(all) != 1 {
			t.Errorf("%d releases, %v; want the one that was planned before", len(all), err)
		}
		f.wantKind("publish of a deleted build", f.publish(f.planner, r.ID), albs.NotFound, why)
	})
}
