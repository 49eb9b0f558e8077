package release

import (
	"context"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/repository"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/historytest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/testrun"
	"albs/internal/worker"
)

// rebuilt makes the packages of a build those that a rebuild for x86_64 left.
func (f *fixture) rebuilt(id albs.BuildID) {
	f.t.Helper()
	ctx := f.t.Context()
	f.must(f.d.InTx(ctx, func(tx db.Tx) error {
		task, err := f.queue.Enqueue(ctx, tx, queue.NewTask{Kind: albs.KindBuild, Lane: "user:olga", Topic: build.Topic(id)})
		if err != nil {
			return err
		}
		for _, q := range []string{
			`UPDATE task SET state = 'succeeded' WHERE id = $1 AND $2 > 0`,
			`INSERT INTO build_task (task_id, build_id, item_id, kind, arch, told) SELECT $1, $2, id, 'build', 'x86_64', TRUE FROM build_item WHERE build_id = $2`,
			`UPDATE build_artifact SET task_id = $1 WHERE build_id = $2`,
		} {
			if _, err := tx.ExecContext(ctx, q, task, id); err != nil {
				return err
			}
		}
		return f.repos.Ensure(ctx, tx, repository.Name(id, "el", albs.X8664))
	}))
}

// carry claims the test that waits, and ends it: badly for the package that bad names.
func (f *fixture) carry(bad string) *albs.TestSpec {
	f.t.Helper()
	ctx := auth.With(f.t.Context(), auth.Actor{Kind: auth.KindWorker, Worker: 3, Name: "t1", Role: albs.RoleTester, Labels: []string{"kind:test", "arch:x86_64"}})
	l, err := f.queue.Claim(ctx, worker.Offer{Labels: []string{"kind:test", "arch:x86_64"}, Wait: 20})
	if err != nil || l == nil {
		f.t.Fatalf("Claim = %v, %v", l, err)
	}
	r := mastertest.Tested(l.Spec.Test, func(nevra string, s albs.TestStage) string {
		if nevra == bad && s == albs.StageSigned {
			return "it is signed with another key"
		}
		return ""
	})
	f.must(f.queue.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{Test: r}))
	for _, p := range l.Spec.Test.Packages {
		f.must(f.provenance.WaitNotarized(f.t.Context(), p.Digest))
	}
	return l.Spec.Test
}

// TestCopiesAreTested: what was signed before its product asked for tests of signed copies is
// tested when its release is planned, and goes once that passed, or is waived by name.
func TestCopiesAreTested(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		id := f.addBuild(rpmbuild(t, "1", "one"))
		f.rebuilt(id)
		spec := demoSpec()
		spec.Gate = product.Gate{Tests: product.Off, Stages: map[albs.TestStage]product.Tests{albs.StageSigned: product.Required}}
		_, err := f.products.Apply(f.admin, spec)
		f.must(err)
		unsigned, err := f.Plan(f.planner, "demo", []albs.BuildID{id})
		f.must(err)
		for _, r := range unsigned.Plan.Refusals {
			if strings.Contains(r.Reason, "tests") {
				t.Errorf("of what isn't signed: %s", r)
			}
		}
		f.signBuild(id, "demo key")
		refusals := func(r Release) (out []string) {
			for _, x := range r.Plan.Refusals {
				out = append(out, x.Package+": "+x.Reason)
			}
			return out
		}
		r, err := f.Plan(f.planner, "demo", []albs.BuildID{id})
		f.must(err)
		const waits = "product demo requires passed tests, and its tests are pending: its signed copy: its tests wait for a tester; wait until they have ended"
		if got := refusals(r); len(got) != 3 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasSuffix(s, waits) }) {
			t.Fatalf("refused for %q, want %q of each of three packages", got, waits)
		}
		if r, err = f.Replan(f.planner, r.ID); err != nil || len(r.Plan.Refusals) != 3 {
			t.Errorf("again: %q, %v", refusals(r), err)
		}
		test := f.carry("hello-doc-1.0-1.noarch")
		if len(test.Packages) != 3 || test.Root.Repos[0].Keys == "" || !strings.HasPrefix(test.Root.Repos[0].Keys, "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
			t.Errorf("the test is of %+v in %+v", test.Packages, test.Root.Repos)
		}
		r, err = f.Replan(f.planner, r.ID)
		f.must(err)
		if got := refusals(r); len(got) != 1 || !strings.HasPrefix(got[0], "hello-doc-1.0-1.noarch: ") || !strings.Contains(got[0], "tests are failed: its signed copy: stage signed failed: it is signed with another key") {
			t.Errorf("refused for %q", got)
		}
		_, err = f.tests.Waive(f.planner, testrun.NewWaiver{Build: id, Package: "hello-doc-1.0-1.noarch", Stage: albs.StageSigned, Reason: "it is known", Days: 3})
		f.must(err)
		r, err = f.Replan(f.planner, r.ID)
		f.must(err)
		if got := refusals(r); len(got) != 0 {
			t.Fatalf("refused for %q, though that is waived", got)
		}
		b, err := f.Effects(t.Context(), r.ID)
		f.must(err)
		effects, err := effect.Parse(b)
		f.must(err)
		tests := map[string]string{}
		for _, in := range effects.Repositories {
			for _, c := range in.Changes {
				if c.Tests != "" {
					tests[c.File] = c.Tests
				}
			}
		}
		if tests["hello-1.0-1.x86_64.rpm"] != "passed" || tests["hello-doc-1.0-1.noarch.rpm"] != "waived" {
			t.Errorf("the effects have %v", tests)
		}
		r = f.publishPlanned(r)
		f.shown(r.Serial)

		// A stranger takes both, and hears what tests said of the copies.
		f.verify(r)
		for _, p := range test.Packages {
			sts, err := f.provenance.Stated(t.Context(), p.Digest, attest.Test)
			f.must(err)
			if len(sts) != 1 {
				t.Errorf("%s has %d statements of its tests", p.NEVRA, len(sts))
			}
		}
		found, err := historytest.NewWatch(f.left).Check(t.Context())
		f.must(err)
		for _, v := range found {
			t.Error(v)
		}
	})
}

// TestSigningBeginsTests: the end of a request is what the tests of signed copies follow.
func TestSigningBeginsTests(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		id := f.addBuild(rpmbuild(t, "1", "one"))
		f.rebuilt(id)
		f.signBuild(id, "demo key")
		mastertest.Run(t, func(ctx context.Context) error { return f.tests.Run(ctx) })
		f.until("the copies are under test", func() bool {
			runs, err := f.tests.Of(t.Context(), id)
			f.must(err)
			return len(runs) == 1 && runs[0].SignedBy == f.key && len(runs[0].Packages) == 3
		})
	})
}
