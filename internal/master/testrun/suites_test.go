package testrun

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/git/gittest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue"
	"albs/internal/master/source"
	"albs/internal/master/testrun/suite"
)

// suitesOf gives f test repositories on a git server.
func suitesOf(t *testing.T, f *fixture) (*gittest.Server, context.Context) {
	t.Helper()
	forge := gittest.NewServer(t)
	out, err := egress.New(egress.Policy{Allow: []string{forge.Addr()}, CAFiles: []string{forge.CAFile()}})
	if err != nil {
		t.Fatal(err)
	}
	mirrors, err := git.New(t.TempDir(), out)
	if err != nil {
		t.Fatal(err)
	}
	f.suites = suite.New(suite.Parts{
		DB: f.d, Events: f.events, Queue: f.queue, Artifacts: f.artifacts, Sources: source.New(f.d, f.artifacts, mirrors, out, source.Limits{}), Builds: f.builds, Log: zerolog.Nop(),
	})
	return forge, auth.With(t.Context(), auth.Actor{Kind: auth.KindWorker, Worker: 2, Name: "master", Role: albs.RoleMaster, Labels: []string{"kind:suites"}})
}

// TestOwnTests: a tester gets the folders, by the same commit each time, with the build's
// variables; and what can't be had.
func TestOwnTests(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		forge, me := suitesOf(t, f)
		first := forge.AddRepo("tests", map[string]string{"hello/a.sh": "one"})
		r, err := f.suites.Add(f.person, suite.NewRepository{Name: "tests", URL: forge.URL("tests"), Ref: "main"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ExecContext(t.Context(), `UPDATE build_item SET options = '{"test_configuration":{"env":{"LEVEL":"full"}}}'`); err != nil {
			t.Fatal(err)
		}
		mastertest.Run(t, func(ctx context.Context) error { return f.suites.Run(ctx, auth.From(me)) })
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		l := f.claim(t)
		spec := l.Spec.Test
		if len(spec.Suites) != 1 || spec.Suites[0].Commit != first || spec.Suites[0].Dir != "hello" || spec.Suites[0].Tree == "" || spec.Env["LEVEL"] != "full" || spec.Network {
			t.Fatalf("the tester gets %+v, %v", spec.Suites, spec.Env)
		}
		if diff := cmp.Diff([][]int{{0}, nil}, [][]int{spec.Packages[0].Suites, spec.Packages[1].Suites}); diff != "" {
			t.Errorf("of the packages (-want +got):\n%s", diff)
		}
		if ok, err := (handler{f.Tests}).Reads(t.Context(), *l, spec.Suites[0].Tree); !ok || err != nil {
			t.Errorf("the tester may not read the tree: %v, %v", ok, err)
		}
		fail := func(l queue.Lease) {
			t.Helper()
			if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(l.Spec.Test, func(string, albs.TestStage) string { return "no" })}); err != nil {
				t.Fatal(err)
			}
		}

		// Again, by the same; then by the newest, whose folder is another's.
		fail(*l)
		second := forge.Commit("tests", "main", map[string]string{"hello-debuginfo/a.sh": "two"})
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		l = f.claim(t)
		if s := l.Spec.Test.Suites; len(s) != 1 || s[0].Commit != first {
			t.Errorf("tested again by %+v, want commit %s", s, first)
		}
		fail(*l)
		if err := f.RestartNewest(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		l = f.claim(t)
		if s := l.Spec.Test.Suites; len(s) != 1 || s[0].Commit != second || s[0].Dir != "hello-debuginfo" {
			t.Errorf("tested by the newest by %+v, want commit %s", s, second)
		}
		fail(*l)

		// What is gone is told, and doesn't pass for nothing.
		forge.RemoveRepo("tests")
		if err := f.RestartNewest(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		l = f.claim(t)
		if s := l.Spec.Test.Suites; len(s) != 1 || s[0].Tree != "" || !strings.Contains(s[0].Missing, "there is no public git repository") {
			t.Errorf("after the repository went: %+v", s)
		}
		fail(*l)
		if err := f.suites.Remove(f.person, r.ID); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOwnTestsInVain: where nobody can find the tests, the runs end, and can be made anew.
func TestOwnTestsInVain(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	_, me := suitesOf(t, f)
	if _, err := f.d.ExecContext(t.Context(), `INSERT INTO test_repository (name, url, ref, tests_dir, tests_prefix, team, actor, created_at, commit_id, scanned_at, failure)
		VALUES ('t', 'https://127.0.0.1:9/t.git', 'main', '', '', '', '', $1, '', $1, '')`, db.Now()); err != nil {
		t.Fatal(err)
	}
	if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
		t.Fatal(err)
	}
	l, err := f.queue.Claim(me, queue.Offer{Version: "test", Labels: []string{"kind:suites"}, Wait: 20})
	if err != nil || l == nil {
		t.Fatalf("Claim = %+v, %v", l, err)
	}
	if err := f.queue.Complete(me, l.Token, albs.OutcomeFailed, albs.Result{Reason: "the master is in trouble"}); err != nil {
		t.Fatal(err)
	}
	runs, err := f.Of(t.Context(), f.build)
	if err != nil || len(runs) != 1 || runs[0].Task.State != albs.TaskCancelled {
		t.Fatalf("the run is %+v, %v; want it cancelled", runs, err)
	}
	if err := f.Restart(f.person, f.build); err != nil {
		t.Errorf("Restart = %v", err)
	}
}
