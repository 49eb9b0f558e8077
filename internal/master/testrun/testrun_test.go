package testrun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/repository"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/rpm"
	"albs/internal/worker"
)

// fixture is a master with one build whose rebuild for x86_64 has succeeded.
type fixture struct {
	*Tests
	d      *db.DB
	person context.Context
	tester context.Context
	build  albs.BuildID
	built  event.Event
	rpms   []artifact.Artifact
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m := mastertest.Open(t, d, mastertest.Config{})
	builds := build.New(build.Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, Repos: m.Repos, Log: zerolog.Nop(),
	}, build.Config{})
	f := &fixture{d: d, Tests: New(Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, References: m.References, Products: m.Products, Repos: m.Repos, Builds: builds, Log: zerolog.Nop(),
	})}
	f.person = auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: auth.Operator}}})
	f.tester = auth.With(t.Context(), auth.Actor{Kind: auth.KindWorker, Worker: 1, Name: "t1", Role: albs.RoleTester, Labels: []string{"kind:test", "arch:x86_64"}})
	_, err := m.Platforms.Apply(f.person, mastertest.Platform("el", albs.X8664))
	must(err)

	for _, name := range []string{"hello", "hello-debuginfo"} {
		n := rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "x86_64"}
		d := func(s string) albs.Digest { return albs.DigestOf([]byte(name + s)) }
		f.rpms = append(f.rpms, artifact.Artifact{
			Digest: d(""), Size: 10, Kind: artifact.RPM, Name: n.Filename(), NEVRA: n, SourceRPM: "hello-1-1.src.rpm",
			HeaderSHA256: d("h"), PayloadSHA256: d("p"),
		})
	}
	now := db.Now()
	err = d.InTx(t.Context(), func(tx db.Tx) error {
		if err := m.Artifacts.Add(t.Context(), tx, f.rpms...); err != nil {
			return err
		}
		if err := tx.GetContext(t.Context(), &f.build, `INSERT INTO build (owner_id, owner, team, product, options, created_at)
			VALUES (1, 'olga', '', '', '{}', $1) RETURNING id`, now); err != nil {
			return err
		}
		var item albs.ItemID
		if err := tx.GetContext(t.Context(), &item, `INSERT INTO build_item (build_id, place, platform, arches, url, ref, ref_type, commit_id, package, target)
			VALUES ($1, 0, 'el', '["x86_64"]', '', '', '', '', 'hello', '{"rooms":{"test":{"cores":3}}}') RETURNING id`, f.build); err != nil {
			return err
		}
		task, err := m.Queue.Enqueue(t.Context(), tx, queue.NewTask{Kind: albs.KindBuild, Lane: "user:olga", Topic: build.Topic(f.build)})
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), `UPDATE task SET state = 'succeeded' WHERE id = $1`, task); err != nil {
			return err
		}
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO build_task (task_id, build_id, item_id, kind, arch, told) VALUES ($1, $2, $3, 'build', 'x86_64', TRUE)`,
			task, f.build, item); err != nil {
			return err
		}
		for _, a := range f.rpms {
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
				VALUES ($1, $2, $3, 1, $4, 'rpm', $5, 'x86_64')`, f.build, item, task, a.Digest, a.Name); err != nil {
				return err
			}
		}
		data, err := json.Marshal(build.Built{Task: task, Build: f.build, Item: item, Platform: "el", Arch: albs.X8664})
		f.built = event.Event{Kind: build.EventBuilt, Topic: build.Topic(f.build), Data: data}
		if err != nil {
			return err
		}
		return m.Repos.Ensure(t.Context(), tx, repository.Name(f.build, "el", albs.X8664))
	})
	must(err)

	mastertest.Run(t, m.Queue.Run, m.Events.Run)
	return f
}

func (f *fixture) claim(t *testing.T) *worker.Lease {
	t.Helper()
	l, err := f.queue.Claim(f.tester, worker.Offer{Labels: []string{"kind:test", "arch:x86_64"}, Wait: 20})
	if err != nil || l == nil {
		t.Fatalf("Claim = %v, %v", l, err)
	}
	return l
}

// result is that of a run: hello passes, and its debuginfo if ok, else its install fails.
func (f *fixture) result(l *worker.Lease, ok bool) *albs.TestResult {
	return mastertest.Tested(l.Spec.Test, func(nevra string, stage albs.TestStage) string {
		if ok || nevra != "hello-debuginfo-1-1.x86_64" || stage != albs.StageInstall {
			return ""
		}
		return "details"
	})
}

func (f *fixture) want(t *testing.T, what string, hello, debug State) {
	t.Helper()
	ds := []albs.Digest{f.rpms[0].Digest, f.rpms[1].Digest, albs.DigestOf(nil)}
	got, err := f.Verdict(t.Context(), f.build, ds, product.Gate{Tests: product.Required})
	if err != nil {
		t.Fatal(err)
	}
	states := []State{got[ds[0]].State, got[ds[1]].State, got[ds[2]].State}
	if diff := cmp.Diff([]State{hello, debug, Missing}, states); diff != "" {
		t.Errorf("%s: verdicts (-want +got):\n%s%+v", what, diff, got)
	}
}

func (f *fixture) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := f.d.GetContext(t.Context(), &n, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRuns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.want(t, "before", Missing, Missing)
		for range 2 { // at least once is what followers get
			if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.follow(t.Context(), event.Event{Kind: build.EventBuilt, Data: json.RawMessage(`"x"`)}); err != nil {
			t.Errorf("an event that can't be read holds up the follower: %v", err)
		}
		f.want(t, "queued", Pending, Pending)
		if err := f.Restart(f.person, f.build); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Restart under way = %v", err)
		}

		l := f.claim(t)
		f.want(t, "running", Pending, Pending)
		if task, err := f.queue.Task(t.Context(), l.Token.Task); err != nil || task.Room != (queue.Room{Cores: 3}) {
			t.Errorf("the test needs %+v, %v; want what its item's platform said", task.Room, err)
		}
		root := l.Spec.Test.Root
		if len(root.Repos) != 2 || root.Repos[0].Snapshot == "" || root.Repos[1].Repomd == "" || !cmp.Equal(root.Packages, []string{"bash"}) {
			t.Errorf("the root is %+v", root)
		}
		want := []albs.TestPackage{{NEVRA: "hello-1-1.x86_64", Digest: f.rpms[0].Digest}, {NEVRA: "hello-debuginfo-1-1.x86_64", Digest: f.rpms[1].Digest}}
		if diff := cmp.Diff(want, l.Spec.Test.Packages); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		if ok, err := (handler{f.Tests}).Reads(t.Context(), *l, albs.DigestOf([]byte("foreign"))); ok || err != nil {
			t.Errorf("the tester may read what lies in no repository of its root: %v, %v", ok, err)
		}
		suites := *l
		with := *l.Spec.Test
		with.Suites = []albs.TestSuite{{Tree: albs.DigestOf([]byte("tree"))}}
		suites.Spec.Test = &with
		if ok, err := (handler{f.Tests}).Reads(t.Context(), suites, albs.DigestOf([]byte("tree"))); !ok || err != nil {
			t.Errorf("the tester may not read the tests that its task names: %v, %v", ok, err)
		}
		log := []byte("installing\n")
		file := albs.File{Name: "test.log", Digest: albs.DigestOf(log), Size: int64(len(log))}
		if _, err := f.queue.Put(f.tester, l.Token, file.Digest, 0, bytes.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		// A finished run with a failed stage: the task has succeeded.
		r := albs.Result{Test: f.result(l, false), Logs: []albs.File{file}}
		for range 2 {
			if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, r); err != nil {
				t.Fatal(err)
			}
		}
		f.want(t, "one failed", Passed, Failed)
		runs, err := f.Of(t.Context(), f.build)
		if err != nil || len(runs) != 1 || runs[0].Task.State != albs.TaskSucceeded || runs[0].Passed() || len(runs[0].Logs) != 1 || runs[0].Logs[0].File != file {
			t.Errorf("Of = %+v, %v", runs, err)
		}
		if c := runs[0].Cause(); c == nil || c.Kind != failure.Test || c.Text != "install of hello-debuginfo-1-1.x86_64: details" {
			t.Errorf("the run failed for %+v", c)
		}
		if n := f.count(t, `SELECT count(*) FROM statement WHERE predicate = 'test'`); n != 2 {
			t.Errorf("%d statements, want one for each package", n)
		}
		if n := f.count(t, `SELECT count(*) FROM file_record WHERE digest = $1`, file.Digest); n != 1 {
			t.Errorf("%d records of the log", n)
		}
		if n := f.count(t, `SELECT count(*) FROM event WHERE kind = $1`, EventFinished); n != 1 {
			t.Errorf("%d events of the end", n)
		}

		// Again: the latest run is the one that counts.
		stranger := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 9, Name: "eve"})
		if err := f.Restart(stranger, f.build); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("Restart by a stranger = %v", err)
		}
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		f.want(t, "restarted", Passed, Pending)
		if l = f.claim(t); len(l.Spec.Test.Packages) != 1 || l.Spec.Test.Packages[0].NEVRA != "hello-debuginfo-1-1.x86_64" {
			t.Errorf("again are tested %+v, want what didn't pass", l.Spec.Test.Packages)
		}
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: f.result(l, true)}); err != nil {
			t.Fatal(err)
		}
		f.want(t, "second run", Passed, Passed)
		if err := f.Restart(f.person, f.build); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Restart of what passed = %v", err)
		}
		if runs, err := f.Of(t.Context(), f.build); err != nil || len(runs) != 2 || runs[1].Revision != 2 || !runs[1].Passed() || runs[1].Cause() != nil {
			t.Errorf("Of = %+v, %v", runs, err)
		}
	})
}

// TestRenewed: the tests of packages that are made again end, and no others.
func TestEngine(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		if _, err := d.ExecContext(t.Context(), `UPDATE build_item SET target = '{"test_engine":"podman"}'`); err != nil {
			t.Fatal(err)
		}
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		runs, err := f.Of(t.Context(), f.build)
		if want := []string{"arch:x86_64", "engine:podman", "kind:test"}; err != nil || len(runs) != 1 || !slices.Equal(runs[0].Task.Needs, want) {
			t.Fatalf("runs = %+v, %v; want one that needs %q", runs, err, want)
		}
		// Whose identity has no such engine can't say that it had.
		labels := []string{"kind:test", "arch:x86_64", "engine:podman"}
		if _, err := f.queue.Claim(f.tester, worker.Offer{Labels: labels}); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("Claim beyond the tester's identity = %v", err)
		}
		labels = append(labels, "emulated:x86_64")
		able := auth.With(t.Context(), auth.Actor{Kind: auth.KindWorker, Worker: 1, Name: "t1", Role: albs.RoleTester, Labels: labels})
		l, err := f.queue.Claim(able, worker.Offer{Labels: labels, Wait: 20})
		if err != nil || l == nil || l.Spec.Test.Engine != albs.EnginePodman {
			t.Fatalf("Claim = %+v, %v; want a test by podman", l, err)
		}
		if err := f.queue.Complete(able, l.Token, albs.OutcomeOK, albs.Result{Test: f.result(l, true)}); err != nil {
			t.Fatal(err)
		}
		sts, err := f.provenance.Stated(t.Context(), f.rpms[0].Digest, attest.Test)
		if err != nil || len(sts) != 1 {
			t.Fatalf("Stated = %d, %v", len(sts), err)
		}
		var body attest.TestBody
		if err := sts[0].Body(&body); err != nil || len(body.Configuration) < 3 ||
			!cmp.Equal(body.Configuration[1:3], []attest.Descriptor{attest.TestEngine("podman"), attest.TestEmulated(albs.X8664)}) {
			t.Errorf("the statement is %+v, %v; want one that names the engine and that programs were emulated", body, err)
		}
	})
}

func TestRenewed(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		system := auth.System(t.Context(), "test")
		if err := f.follow(system, f.built); err != nil {
			t.Fatal(err)
		}
		runs, err := f.Of(t.Context(), f.build)
		if err != nil || len(runs) != 1 {
			t.Fatalf("Of = %+v, %v", runs, err)
		}
		for _, c := range []struct {
			task albs.TaskID
			want albs.TaskState
		}{{runs[0].BuildTask + 1000, albs.TaskQueued}, {runs[0].BuildTask, albs.TaskCancelled}} {
			data, err := json.Marshal(build.Renewed{Item: 1, Tasks: []albs.TaskID{c.task}})
			if err != nil {
				t.Fatal(err)
			}
			if err := f.follow(system, event.Event{Kind: build.EventRenewed, Topic: build.Topic(f.build), Data: data, At: db.Now(), Actor: "user:alice"}); err != nil {
				t.Fatal(err)
			}
			if runs, err := f.Of(t.Context(), f.build); err != nil || runs[0].Task.State != c.want {
				t.Errorf("after task %d was made again the run is %s, %v; want %s", c.task, runs[0].Task.State, err, c.want)
			}
		}
	})
}

// TestCancelledBuild: tests end with their build, waiting ones and running ones,
// though the build's own tasks have all ended before.
func TestCancelledBuild(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		system := auth.System(t.Context(), "test")
		if err := f.follow(system, f.built); err != nil {
			t.Fatal(err)
		}
		var last int64
		cancelled := func() event.Event {
			wake, stop := f.events.Wake(build.Topic(f.build))
			defer stop()
			if err := f.builds.Cancel(f.person, f.build); err != nil {
				t.Fatal(err)
			}
			// On PostgreSQL an event shows once no older transaction is in flight.
			for deadline := time.After(2 * time.Minute); ; {
				es, err := f.events.Since(t.Context(), 0, build.Topic(f.build), 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range es {
					if e.Kind == build.EventCancelled && e.ID > last {
						last = e.ID
						return e
					}
				}
				select {
				case <-wake:
				case <-deadline:
					t.Fatalf("the cancelling stays unseen: %d events", len(es))
				}
			}
		}
		e := cancelled()
		for range 2 {
			if err := f.follow(system, e); err != nil {
				t.Fatal(err)
			}
		}
		f.want(t, "cancelled while it waited", Missing, Missing)
		if err := f.builds.Cancel(f.person, f.build); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Cancel of what has ended = %v", err)
		}

		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		if err := f.follow(system, e); err != nil { // told again, late
			t.Fatal(err)
		}
		l := f.claim(t)
		if err := f.follow(system, cancelled()); err != nil {
			t.Fatal(err)
		}
		if _, err := f.queue.Renew(f.tester, l.Token); !errors.Is(err, albs.Stopped) {
			t.Errorf("Renew = %v, want Stopped", err)
		}
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeStopped, albs.Result{}); err != nil {
			t.Fatal(err)
		}
		f.want(t, "cancelled while it ran", Missing, Missing)
		runs, err := f.Of(t.Context(), f.build)
		if err != nil || len(runs) != 2 || !strings.Contains(runs[1].Task.Reason, "cancelled by user:") {
			t.Errorf("Of = %+v, %v", runs, err)
		}
	})
}

// TestDeletedMeanwhile: a build that is deleted before its tests begin gets none, and
// holds up nothing.
func TestDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		b, err := f.builds.Get(t.Context(), f.build)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.builds.Delete(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		if err := f.begin(f.person, plan(b)[0], b, 1, search{}); albs.KindOf(err) != albs.NotFound || !strings.Contains(err.Error(), "was deleted by olga") {
			t.Errorf("begin of a build that was deleted meanwhile = %v, want NotFound that says by whom", err)
		}
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Errorf("a deleted build holds up the follower: %v", err)
		}
		if n := f.count(t, `SELECT count(*) FROM test_run`); n != 0 {
			t.Errorf("%d runs", n)
		}
	})
}

// TestCancelledItem: of an item of which an arch was cancelled nothing new is tested;
// once that is built after all, everything that is settled is.
func TestCancelledItem(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		var built build.Built
		if err := json.Unmarshal(f.built.Data, &built); err != nil {
			t.Fatal(err)
		}
		exec := func(query string, args ...any) {
			t.Helper()
			if _, err := d.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		var other albs.TaskID
		err := d.InTx(t.Context(), func(tx db.Tx) (err error) {
			other, err = f.queue.Enqueue(t.Context(), tx, queue.NewTask{Kind: albs.KindBuild, Lane: "user:olga", Topic: build.Topic(f.build)})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		exec(`INSERT INTO build_task (task_id, build_id, item_id, kind, arch) VALUES ($1, $2, $3, 'build', 'aarch64')`, other, f.build, built.Item)
		exec(`INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
			VALUES ($1, $2, $3, 1, $4, 'rpm', 'hello.rpm', 'aarch64')`, f.build, built.Item, other, f.rpms[0].Digest)
		for _, c := range []struct {
			state albs.TaskState
			told  bool
			want  []albs.TaskID
		}{
			{albs.TaskCancelled, false, nil},
			{albs.TaskSucceeded, false, []albs.TaskID{built.Task}}, // what waits for others isn't settled
			{albs.TaskSucceeded, true, []albs.TaskID{built.Task, other}},
		} {
			exec(`UPDATE task SET state = $2 WHERE id = $1`, other, c.state)
			exec(`UPDATE build_task SET told = $2 WHERE task_id = $1`, other, c.told)
			if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
				t.Fatal(err)
			}
			runs, err := f.Of(t.Context(), f.build)
			var got []albs.TaskID
			for _, r := range runs {
				got = append(got, r.BuildTask)
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("with the other %s, told %v: tested rebuilds (-want +got):\n%s%v", c.state, c.told, diff, err)
			}
		}
	})
}

// TestFlippedCase changes what a case came to in the database: the gate believes
// what the master stated, whatever the rows say.
func TestFlippedCase(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
		t.Fatal(err)
	}
	l := f.claim(t)
	if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: f.result(l, false)}); err != nil {
		t.Fatal(err)
	}
	f.want(t, "as reported", Passed, Failed)
	for _, change := range []string{
		`UPDATE test_stage SET status = 'passed'`,
		`DELETE FROM outbox`, // which holds the statements' rows
		`DELETE FROM statement WHERE predicate = 'test'`,
	} {
		if _, err := f.d.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		got, err := f.Verdict(t.Context(), f.build, []albs.Digest{f.rpms[1].Digest}, product.Gate{Tests: product.Required})
		if v := got[f.rpms[1].Digest]; err != nil || v.State != Failed || !strings.Contains(v.Reason, "database was changed") {
			t.Errorf("after %s: the verdict is %+v, %v", change, v, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		ends := []struct {
			name    string
			outcome albs.Outcome
			result  albs.Result
			err     albs.Kind
			state   albs.TaskState
		}{
			{"no stage", albs.OutcomeOK, albs.Result{}, albs.Invalid, albs.TaskFailed},
			{"a foreign package", albs.OutcomeOK, albs.Result{Test: &albs.TestResult{Stages: []albs.StageResult{{Package: "bash-5-1.x86_64", Stage: albs.StageInstall, Status: albs.TestPassed}}}}, albs.Invalid, albs.TaskFailed},
			{"excluded", albs.OutcomeExcluded, albs.Result{}, albs.Invalid, albs.TaskFailed},
			{"could not be carried out", albs.OutcomeFailed, albs.Result{Reason: "nothing provides libfoo"}, "", albs.TaskFailed},
		}
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		for i, e := range ends {
			l := f.claim(t)
			if err := f.queue.Complete(f.tester, l.Token, e.outcome, e.result); albs.KindOf(err) != e.err {
				t.Errorf("%s: Complete = %v, want kind %q", e.name, err, e.err)
			}
			runs, err := f.Of(t.Context(), f.build)
			if err != nil || len(runs) != i+1 || runs[i].Task.State != e.state {
				t.Fatalf("%s: Of = %+v, %v", e.name, runs, err)
			}
			f.want(t, e.name, Failed, Failed)
			if n := f.count(t, `SELECT count(*) FROM event WHERE kind = $1`, EventFinished); n != i+1 {
				t.Errorf("%s: %d events of ends, want %d", e.name, n, i+1)
			}
			if err := f.Restart(f.person, f.build); err != nil {
				t.Fatal(err)
			}
		}
		if n := f.count(t, `SELECT count(*) FROM statement`); n != 0 {
			t.Errorf("%d statements of tests that nobody carried out", n)
		}
		// A package without a stage counts as failed.
		l := f.claim(t)
		only := &albs.TestResult{Stages: f.result(l, true).Stages[:len(stages)]}
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: only}); err != nil {
			t.Fatal(err)
		}
		f.want(t, "no stage about one", Passed, Failed)
	})
}

// TestParts: many packages are tested by several tasks, and again only those that didn't
// pass, or of which nothing is known.
func TestParts(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		var built build.Built
		if err := json.Unmarshal(f.built.Data, &built); err != nil {
			t.Fatal(err)
		}
		for i := range 2*albs.MaxTested - 1 { // beside hello and its debuginfo
			n := rpm.NEVRA{Name: fmt.Sprintf("more%02d", i), Version: "1", Release: "1", Arch: "x86_64"}
			h := func(s string) albs.Digest { return albs.DigestOf([]byte(n.Name + s)) }
			a := artifact.Artifact{Digest: h(""), Size: 10, Kind: artifact.RPM, Name: n.Filename(), NEVRA: n, SourceRPM: "hello-1-1.src.rpm", HeaderSHA256: h("h"), PayloadSHA256: h("p")}
			err := d.InTx(t.Context(), func(tx db.Tx) error {
				if err := f.artifacts.Add(t.Context(), tx, a); err != nil {
					return err
				}
				_, err := tx.ExecContext(t.Context(), `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
					VALUES ($1, $2, $3, 1, $4, 'rpm', $5, 'x86_64')`, f.build, built.Item, built.Task, a.Digest, a.Name)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
				t.Fatal(err)
			}
		}
		sizes := func(revision int) (out []int) {
			runs, err := f.Of(t.Context(), f.build)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range runs {
				if r.Revision == revision {
					out = append(out, len(r.Packages))
				}
			}
			return out
		}
		if diff := cmp.Diff([]int{albs.MaxTested, albs.MaxTested, 1}, sizes(1)); diff != "" {
			t.Fatalf("packages of the runs (-want +got):\n%s", diff)
		}
		// The first part can't be carried out, the second has a bad package, the third waits.
		l := f.claim(t)
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeFailed, albs.Result{Reason: "no root"}); err != nil {
			t.Fatal(err)
		}
		l = f.claim(t)
		bad := l.Spec.Test.Packages[7].NEVRA
		r := mastertest.Tested(l.Spec.Test, func(nevra string, stage albs.TestStage) string {
			if nevra == bad && stage == albs.StageRemove {
				return "it stays"
			}
			return ""
		})
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: r}); err != nil {
			t.Fatal(err)
		}
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{albs.MaxTested, 1}, sizes(2)); diff != "" {
			t.Errorf("packages of the runs of the restart (-want +got):\n%s", diff)
		}
		if err := f.Restart(f.person, f.build); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Restart of what is under way = %v", err)
		}
		for range 3 {
			l := f.claim(t)
			if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(l.Spec.Test, nil)}); err != nil {
				t.Fatal(err)
			}
		}
		f.want(t, "all passed", Passed, Passed)
		runs, err := f.Of(t.Context(), f.build)
		if latest := Latest(runs); err != nil || len(latest) != 1 || len(latest[0].Packages) != 2*albs.MaxTested+1 || !latest[0].Passed() {
			t.Errorf("Latest = %d runs, %v", len(latest), err)
		}
	})
}

// TestGate: what a build's product leaves out isn't carried out, what it only advises bars
// nothing and is stated so, and a product that asks for more than was tested isn't
// content.
func TestGate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		spec, err := product.Parse(strings.NewReader(`name: p
team: core
platforms: [el]
repositories: [{path: os, platform: el, arch: x86_64, kind: rpm}]
gate: {tests: required, stages: {integrity: advisory, upgrade: off, downgrade: off}}`))
		if err != nil {
			t.Fatal(err)
		}
		apply := func(g product.Gate) {
			t.Helper()
			spec.Gate = g
			if _, err := f.products.Apply(f.person, spec); err != nil {
				t.Fatal(err)
			}
		}
		gate := spec.Gate
		apply(product.Gate{Tests: product.Off})
		if _, err := d.ExecContext(t.Context(), `UPDATE build SET product = 'p' WHERE id = $1`, f.build); err != nil {
			t.Fatal(err)
		}
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		if n := f.count(t, `SELECT count(*) FROM test_run`); n != 0 {
			t.Errorf("%d runs for a product that leaves all tests out", n)
		}
		if err := f.Restart(f.person, f.build); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "product p leaves all of them out") {
			t.Errorf("Restart of what is left out = %v", err)
		}
		apply(gate)
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
		l := f.claim(t)
		var got []string
		for _, s := range l.Spec.Test.Stages {
			got = append(got, string(s))
		}
		if diff := cmp.Diff("environment system install integrity package remove reinstall", strings.Join(got, " ")); diff != "" {
			t.Errorf("stages (-want +got):\n%s", diff)
		}
		r := mastertest.Tested(l.Spec.Test, func(_ string, stage albs.TestStage) string {
			return map[albs.TestStage]string{albs.StageIntegrity: "odd"}[stage]
		})
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: r}); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			gate  product.Gate
			state State
			say   string
		}{
			{gate, Passed, "6 stages passed; stage integrity failed: odd, which need not pass"},
			{policy("required integrity=off upgrade=off downgrade=off"), Passed, "6 stages passed"},
			{policy("required"), Failed, "stage integrity failed: odd"},
			{policy("required integrity=advisory"), Missing, "the stage upgrade was left out"},
			{policy("advisory"), Failed, "stage integrity failed: odd"},
		} {
			got, err := f.Verdict(t.Context(), f.build, []albs.Digest{f.rpms[0].Digest}, tt.gate)
			if v := got[f.rpms[0].Digest]; err != nil || v.State != tt.state || !strings.HasPrefix(v.Reason, tt.say) {
				t.Errorf("to %v it is %+v, %v; want %s, %q", tt.gate, v, err, tt.state, tt.say)
			}
		}
		sts, err := f.provenance.Stated(t.Context(), f.rpms[0].Digest, attest.Test)
		if err != nil || len(sts) != 1 {
			t.Fatalf("Stated = %d, %v", len(sts), err)
		}
		var body attest.TestBody
		if err := sts[0].Body(&body); err != nil || body.Result != attest.Warned || !cmp.Equal(body.WarnedTests, []string{"integrity"}) || body.FailedTests != nil {
			t.Errorf("the statement is %+v, %v", body, err)
		}
		// Once the product asks for more, what was left out is tested.
		if err := f.Restart(f.person, f.build); err != nil {
			t.Fatal(err)
		}
	})
}
