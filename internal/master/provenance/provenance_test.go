package provenance

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/blob"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/rpm"
)

// flaky is a ledger that can be away, or lose its answer after the work.
type flaky struct {
	ledger.Ledger
	mu      sync.Mutex
	before  int // Appends that fail and write nothing
	after   int // Appends that write and then fail
	batches []int
}

var errAway = albs.Errorf(albs.Unavailable, "the ledger is away")

func (f *flaky) Append(ctx context.Context, es []ledger.Entry) (ledger.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before > 0 {
		f.before--
		return ledger.Receipt{}, errAway
	}
	r, err := f.Ledger.Append(ctx, es)
	if err == nil {
		f.batches = append(f.batches, len(es))
	}
	if f.after > 0 {
		f.after--
		return ledger.Receipt{}, errAway
	}
	return r, err
}

func (f *flaky) set(before, after int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

type fixture struct {
	*Provenance
	d         *db.DB
	events    *event.Log
	artifacts *artifact.Artifacts
	flaky     *flaky
	dir       string // of the ledger
	key       ed25519.PrivateKey
}

func each(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { f(t, setup(t, d)) })
}

func setup(t testing.TB, d *db.DB) *fixture {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{d: d, events: event.New(d, zerolog.Nop()), artifacts: artifact.New(d, blobs, staging), dir: t.TempDir(), key: key}
	f.restart(t, f.dir)
	return f
}

// restart opens the ledger in dir and makes a new Provenance over it, as a new
// process would.
func (f *fixture) restart(t testing.TB, dir string) {
	t.Helper()
	f.stop(t)
	l, err := ledger.OpenEmbedded(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.flaky = &flaky{Ledger: l}
	f.Provenance = New(f.d, f.events, f.artifacts, f.flaky, attest.NewSigner(f.key), zerolog.Nop())
}

func (f *fixture) stop(t testing.TB) {
	t.Helper()
	if f.flaky != nil {
		if err := f.flaky.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs the loop until the test ends or stop is called.
func (f *fixture) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	once := sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(once)
	return once
}

// drain runs the loop until the outbox is empty.
func (f *fixture) drain(t *testing.T) {
	t.Helper()
	stop := f.run(t)
	defer stop()
	f.until(t, "the outbox is empty", func() bool {
		n, err := f.Pending(t.Context())
		return err == nil && n == 0
	})
}

// until looks at ok until it holds.
func (f *fixture) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end, tick := time.After(time.Minute), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

func file(i int) artifact.Artifact {
	d := func(s string) albs.Digest { return albs.DigestOf(fmt.Append(nil, s, i)) }
	n := rpm.NEVRA{Name: "hello", Epoch: 1, Version: fmt.Sprint(i), Release: "2", Arch: "noarch"}
	return artifact.Artifact{Digest: d("file"), Size: 1741 << 10, Kind: artifact.RPM, Name: n.Filename(), NEVRA: n,
		SourceRPM: "hello.src.rpm", HeaderSHA256: d("header"), PayloadSHA256: d("payload")}
}

func (f *fixture) state(t testing.TB, predicate string, as ...artifact.Artifact) {
	t.Helper()
	fact := Fact{Predicate: predicate, Body: body(predicate, as[0]), Files: as, Metadata: map[string]string{"build_id": "7"}}
	for _, a := range as {
		fact.Subjects = append(fact.Subjects, SubjectOf(a))
	}
	if err := f.d.InTx(t.Context(), func(tx db.Tx) error { return f.State(t.Context(), tx, fact) }); err != nil {
		t.Fatal(err)
	}
}

var srpm = file(1000)

// body returns some content of the predicate; another size of a gives another one.
func body(predicate string, a artifact.Artifact) any {
	switch predicate {
	case attest.Test:
		return attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}}
	case attest.Source:
		return attest.SourceBody{Uploader: "alice"}
	}
	return attest.BuildBody{
		BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildType, ResolvedDependencies: []attest.Descriptor{
			{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}}},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "test"}, Metadata: attest.RunMetadata{InvocationID: fmt.Sprint(a.Size)}},
	}
}

func (f *fixture) notarized(t *testing.T, a artifact.Artifact, want bool, kind albs.Kind) {
	t.Helper()
	ok, err := f.Notarized(t.Context(), a.Digest)
	if ok != want || albs.KindOf(err) != kind {
		t.Errorf("Notarized(%s) = %v, %v, want %v and kind %q", a.Name, ok, err, want, kind)
	}
}

func (f *fixture) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	r, err := f.d.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s touched %d rows, %v", query, n, err)
	}
}

func TestDeliver(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, b := file(1), file(2)
		log := artifact.Artifact{Digest: albs.DigestOf([]byte("log")), Size: 100, Kind: artifact.Log, Name: "build.log"}
		f.notarized(t, a, false, "")
		f.state(t, attest.Build, a, b)
		if err := f.d.InTx(t.Context(), func(tx db.Tx) error {
			return f.State(t.Context(), tx, Fact{Files: []artifact.Artifact{log, a}})
		}); err != nil {
			t.Fatal(err)
		}
		f.notarized(t, a, false, "")
		if n, err := f.Pending(t.Context()); err != nil || n != 3 {
			t.Errorf("Pending = %d, %v, want 3", n, err)
		}
		stop := f.run(t)
		if err := f.WaitNotarized(t.Context(), a.Digest, b.Digest); err != nil {
			t.Fatal(err)
		}
		f.state(t, attest.Test, a)
		if err := f.WaitNotarized(t.Context(), a.Digest); err != nil {
			t.Fatal(err)
		}
		f.until(t, "the outbox is empty", func() bool { n, err := f.Pending(t.Context()); return err == nil && n == 0 })
		if err := f.Healthy(); err != nil {
			t.Errorf("Healthy = %v", err)
		}
		stop()
		f.notarized(t, log, false, "") // recorded, but nothing is stated of it

		value, r, err := f.flaky.Get(t.Context(), []byte(a.Digest))
		if err != nil {
			t.Fatal(err)
		}
		want := `{"Name":"hello-1-2.noarch.rpm","Kind":"file","Size":"1.70 MB","Hash":"` + string(a.Digest) +
			`","Signer":"` + f.signer.KeyID() + `","Metadata":{"arch":"noarch","build_id":"7","epoch":"1","name":"hello",` +
			`"release":"2","sbom_api_ver":"0.2","sourcerpm":"hello.src.rpm","version":"1"}}`
		if diff := cmp.Diff(want, string(value)); diff != "" {
			t.Error(diff)
		}
		if _, r2, err := f.flaky.Get(t.Context(), statementKey(a.Digest, attest.Build, 1)); err != nil || r2 != r {
			t.Errorf("the statement is in %+v, %v, the record in %+v", r2, err, r)
		}
		history, err := f.History(t.Context(), a.Digest)
		if err != nil || len(history) != 2 || history[0].Predicate != attest.Build || history[1].Predicate != attest.Test ||
			history[0].Receipt == nil || *history[0].Receipt != r {
			t.Errorf("History = %+v, %v", history, err)
		}
	})
}

// TestNotarizedWantsARecordAndAStatement delivers the one without the other.
func TestNotarizedWantsARecordAndAStatement(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	stated, recorded := file(1), file(2)
	for _, fact := range []Fact{
		{Predicate: attest.Build, Body: body(attest.Build, stated), Subjects: []attest.Subject{SubjectOf(stated)}},
		{Files: []artifact.Artifact{recorded}},
	} {
		if err := f.d.InTx(t.Context(), func(tx db.Tx) error { return f.State(t.Context(), tx, fact) }); err != nil {
			t.Fatal(err)
		}
	}
	f.drain(t)
	f.notarized(t, stated, false, "")
	f.notarized(t, recorded, false, "")
}

func TestRollback(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, gone := file(1), errors.New("the change failed")
		err := f.d.InTx(t.Context(), func(tx db.Tx) error {
			fact := Fact{Predicate: attest.Build, Body: body(attest.Build, a), Subjects: []attest.Subject{SubjectOf(a)}, Files: []artifact.Artifact{a}}
			return errors.Join(f.State(t.Context(), tx, fact), gone)
		})
		if n, perr := f.Pending(t.Context()); !errors.Is(err, gone) || perr != nil || n != 0 {
			t.Errorf("Pending = %d, %v after %v", n, perr, err)
		}
	})
}

func TestStateRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := file(1)
	large := body(attest.Build, a).(attest.BuildBody)
	large.BuildDefinition.ExternalParameters.Source.URI = strings.Repeat("x", ledger.MaxValue)
	about := []attest.Subject{SubjectOf(a)}
	for name, c := range map[string]struct {
		fact Fact
		want albs.Kind
	}{
		"no digest":            {Fact{Predicate: attest.Build, Subjects: []attest.Subject{{Name: "x"}}, Body: body(attest.Build, a)}, albs.Invalid},
		"no predicate":         {Fact{Subjects: about}, albs.Invalid},
		"an unknown predicate": {Fact{Predicate: "../../x", Subjects: about, Body: body(attest.Build, a)}, albs.Invalid},
		"too large":            {Fact{Predicate: attest.Build, Subjects: about, Body: large}, albs.TooLarge},
		"a record too large":   {Fact{Files: []artifact.Artifact{a}, Metadata: map[string]string{"x": strings.Repeat("x", ledger.MaxValue)}}, albs.TooLarge},
	} {
		err := f.d.InTx(t.Context(), func(tx db.Tx) error { return f.State(t.Context(), tx, c.fact) })
		if albs.KindOf(err) != c.want {
			t.Errorf("State with %s = %v, want %q", name, err, c.want)
		}
	}
}

// TestLedgerAway is T27 and T33 of the acceptance suite: nothing is notarized
// while the ledger is away, everything afterwards, in order and once.
func TestLedgerAway(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.flaky.set(1_000_000, 0)
		stop := f.run(t)
		var all []artifact.Artifact
		for i := range 5 {
			all = append(all, file(i))
			f.state(t, attest.Build, all[i])
		}
		f.until(t, "Healthy says so", func() bool { return errors.Is(f.Healthy(), albs.Unavailable) })
		f.notarized(t, all[0], false, "")
		stop()
		if n, err := f.Pending(t.Context()); err != nil || n != 5 {
			t.Errorf("Pending = %d, %v, want 5", n, err)
		}

		f.flaky.set(1, 1) // away once more, then an answer is lost
		f.drain(t)
		last := uint64(0)
		for i, a := range all {
			f.notarized(t, a, true, "")
			_, r, err := f.flaky.Get(t.Context(), statementKey(a.Digest, attest.Build, 1))
			if err != nil || r.TxID < last {
				t.Errorf("statement %d is in transaction %d, %v", i, r.TxID, err)
			}
			last = r.TxID
		}
		if diff := cmp.Diff([]int{10}, f.flaky.batches); diff != "" {
			t.Errorf("the ledger took the entries more than once: %s", diff)
		}
		f.run(t) // the one above may have ended before it noted that it could write
		f.until(t, "Healthy", func() bool { return f.Healthy() == nil })
	})
}

// TestHealthyAfterALook: nobody is told that the ledger is well before somebody
// looked, and a master beside one that delivers looks for itself.
func TestHealthyAfterALook(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		led, done := make(chan struct{}), make(chan error, 1)
		go func() {
			done <- f.d.Leader(ctx, "provenance", func(ctx context.Context) error {
				close(led)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Leader = %v", err)
			}
		}()
		<-led
		if err := f.Healthy(); !errors.Is(err, albs.Unavailable) {
			t.Errorf("Healthy before a look = %v, want Unavailable", err)
		}
		f.run(t)
		f.until(t, "Healthy", func() bool { return f.Healthy() == nil })
	})
}

// TestLostReceipt ends a process between the ledger's commit and the database's,
// and lets more arrive before the next.
func TestLostReceipt(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, b := file(1), file(2)
		f.state(t, attest.Build, a)
		f.flaky.set(0, 1)
		if _, err := f.deliver(t.Context(), false); !errors.Is(err, albs.Unavailable) {
			t.Fatalf("deliver = %v", err)
		}
		f.notarized(t, a, true, "") // the ledger decides, and has it
		f.state(t, attest.Build, b)
		f.restart(t, f.dir)
		f.drain(t)
		f.notarized(t, a, true, "")
		f.notarized(t, b, true, "")
	})
}

// TestBatches delivers more than one ledger transaction holds.
func TestBatches(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var all []artifact.Artifact
		for i := range batchParcels + 10 {
			all = append(all, file(i))
		}
		f.state(t, attest.Build, all...)
		f.drain(t)
		f.notarized(t, all[0], true, "")
		f.notarized(t, all[len(all)-1], true, "")
		if diff := cmp.Diff([]int{2 * batchParcels, 20}, f.flaky.batches); diff != "" {
			t.Error(diff)
		}
		_, first, err := f.flaky.Get(t.Context(), []byte(all[0].Digest))
		if err != nil {
			t.Fatal(err)
		}
		if _, last, err := f.flaky.Get(t.Context(), []byte(all[len(all)-1].Digest)); err != nil || last.TxID <= first.TxID {
			t.Errorf("what was stated last is in transaction %d, %v, the first in %d", last.TxID, err, first.TxID)
		}
	})
}

// TestTwoDeliver settles a batch that another master has delivered meanwhile.
func TestTwoDeliver(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.state(t, attest.Build, file(1), file(2))
		batch, err := parcels(t.Context(), f.d, batchParcels)
		if err != nil || len(batch) != 2 {
			t.Fatalf("parcels = %v, %v", batch, err)
		}
		f.exec(t, `DELETE FROM outbox WHERE id = $1`, batch[1].ID)
		state, err := f.advance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = f.settle(t.Context(), delivery{ids: []int64{batch[0].ID, batch[1].ID}}, state)
		if n, perr := f.Pending(t.Context()); !errors.Is(err, albs.Conflict) || perr != nil || n != 1 {
			t.Errorf("settle = %v, want conflict; %d pending, %v", err, n, perr)
		}
	})
}

// TestTampered changes the database behind albs: no row is believed that the
// ledger doesn't prove.
func TestTampered(t *testing.T) {
	t.Parallel()
	forge := func(t *testing.T, f *fixture, a artifact.Artifact) string {
		_, other, _ := ed25519.GenerateKey(nil)
		forger := New(f.d, f.events, f.artifacts, f.flaky, attest.NewSigner(other), zerolog.Nop())
		e, err := forger.sign(SubjectOf(a), Fact{Predicate: attest.Build, Body: body(attest.Build, a)})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, c := range map[string]struct {
		pending bool
		change  func(t *testing.T, f *fixture, a artifact.Artifact)
		want    albs.Kind
	}{
		"envelope": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE statement SET envelope = replace(envelope, 'a', 'b')`)
		}, albs.Conflict},
		"envelope of another key": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE statement SET envelope = $1`, forge(t, f, a))
		}, albs.Conflict},
		"transaction": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE statement SET tx_id = tx_id + 1`)
		}, albs.Conflict},
		"transaction of what is on its way": {true, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE statement SET tx_id = 1`)
			f.exec(t, `UPDATE file_record SET tx_id = 1`)
			f.exec(t, `DELETE FROM outbox`)
		}, albs.Conflict},
		"outbox emptied": {true, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `DELETE FROM outbox`)
		}, ""},
		"predicate": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE statement SET predicate = $1`, attest.Test)
		}, albs.Conflict},
		"subject": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.state(t, attest.Build, file(2))
			f.drain(t)
			f.exec(t, `UPDATE statement SET n = 9 WHERE subject = $1`, a.Digest)
			f.exec(t, `UPDATE statement SET subject = $1 WHERE subject = $2`, a.Digest, file(2).Digest)
		}, albs.Conflict},
		"record": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `UPDATE file_record SET value = replace(value, 'noarch', 'x86_64')`)
		}, albs.Conflict},
		"statement deleted": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `DELETE FROM statement`)
		}, ""},
		"a statement that was never made": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `INSERT INTO statement (subject, predicate, n, envelope, created_at, tx_id) VALUES ($1, $2, 1, $3, $4, 2)`,
				a.Digest, attest.Test, forge(t, f, a), db.Now())
		}, albs.Conflict},
		"a forged statement on its way": {false, func(t *testing.T, f *fixture, a artifact.Artifact) {
			f.exec(t, `INSERT INTO statement (subject, predicate, n, envelope, created_at) VALUES ($1, $2, 1, $3, $4)`,
				a.Digest, attest.Test, forge(t, f, a), db.Now())
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
			a := file(1)
			f.state(t, attest.Build, a)
			if !c.pending {
				f.drain(t)
				f.notarized(t, a, true, "")
			}
			c.change(t, f, a)
			f.notarized(t, a, false, c.want)
		})
	}
}

// TestStated asks for the statements of a predicate: on their way, delivered, changed
// and taken away.
func TestStated(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := file(1)
	want := func(what string, kind albs.Kind, results ...string) {
		t.Helper()
		sts, err := f.Stated(t.Context(), a.Digest, attest.Test)
		if albs.KindOf(err) != kind {
			t.Errorf("%s: Stated = %v, want kind %q", what, err, kind)
		}
		var got []string
		for _, st := range sts {
			var body attest.TestBody
			if err := st.Body(&body); err != nil || st.Short() != attest.Test || st.Subject[0].File() != a.Digest {
				t.Errorf("%s: the statement is %s about %v, %v", what, st.Short(), st.Subject, err)
			}
			got = append(got, body.Result)
		}
		if diff := cmp.Diff(results, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	say := func(result string) {
		t.Helper()
		err := f.d.InTx(t.Context(), func(tx db.Tx) error {
			return f.State(t.Context(), tx, Fact{Subjects: []attest.Subject{SubjectOf(a)}, Predicate: attest.Test, Body: attest.TestBody{Result: result}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	f.state(t, attest.Build, a)
	want("another predicate", "")
	say(attest.Failed)
	want("on its way", "", attest.Failed)
	f.drain(t)
	want("delivered", "", attest.Failed)
	say(attest.Passed)
	want("a second on its way", "", attest.Failed, attest.Passed)
	f.exec(t, `UPDATE statement SET n = 3 WHERE predicate = 'test' AND n = 2`)
	want("the second as the third", albs.Conflict)
	f.exec(t, `UPDATE statement SET n = 2 WHERE predicate = 'test' AND n = 3`)
	f.drain(t)
	want("both delivered", "", attest.Failed, attest.Passed)
	f.exec(t, `DELETE FROM statement WHERE predicate = 'test' AND n = 1`)
	want("the first taken away", "", attest.Failed, attest.Passed)
	f.exec(t, `UPDATE statement SET n = 1 WHERE predicate = 'test'`)
	want("the second in its place", albs.Conflict)
	f.exec(t, `UPDATE statement SET n = 2, envelope = replace(envelope, '"sig":"', '"sig":"AA') WHERE predicate = 'test'`)
	want("the second changed", albs.Conflict)
	f.exec(t, `DELETE FROM statement WHERE predicate = 'test'`)
	want("all taken away", albs.Conflict)
}

// TestStatedForgery puts what another key signed where a statement is on its way.
func TestStatedForgery(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := file(1)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	forger := New(f.d, f.events, f.artifacts, f.flaky, attest.NewSigner(other), zerolog.Nop())
	e, err := forger.sign(SubjectOf(a), Fact{Predicate: attest.Test, Body: attest.TestBody{Result: attest.Passed}})
	if err != nil {
		t.Fatal(err)
	}
	f.exec(t, `INSERT INTO statement (subject, predicate, n, envelope, created_at) VALUES ($1, $2, 1, $3, $4)`, a.Digest, attest.Test, e, db.Now())
	if sts, err := f.Stated(t.Context(), a.Digest, attest.Test); !errors.Is(err, albs.Conflict) {
		t.Errorf("Stated = %v, %v, want a conflict", sts, err)
	}
	f.exec(t, `UPDATE statement SET predicate = 'sign'`)
	if sts, err := f.Stated(t.Context(), a.Digest, attest.Sign); !errors.Is(err, albs.Conflict) {
		t.Errorf("Stated of another predicate's envelope = %v, %v, want a conflict", sts, err)
	}
}

// TestForgedParcel puts a foreign statement into the outbox: it may reach the
// ledger, but the master's key didn't sign it.
func TestForgedParcel(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := file(1)
	f.state(t, attest.Build, a)
	f.exec(t, `UPDATE statement SET envelope = replace(envelope, 'payload":"', 'payload":"AA')`)
	f.drain(t)
	f.notarized(t, a, false, albs.Conflict)
}

// TestMisfiledParcel changes what a statement on its way is filed under: it reaches
// the ledger under another key, where what the master signed says nothing.
func TestMisfiledParcel(t *testing.T) {
	t.Parallel()
	a, b := file(1), file(2)
	for name, c := range map[string]struct {
		change string
		about  artifact.Artifact // after it
	}{
		"another package":   {`UPDATE statement SET subject = $1 WHERE subject = $2 AND predicate = 'source'`, b},
		"another predicate": {`UPDATE statement SET subject = $2, predicate = 'test' WHERE subject <> $1 AND predicate = 'source'`, a},
		"another of both":   {`UPDATE statement SET subject = $1, predicate = 'test' WHERE subject = $2 AND predicate = 'source'`, b},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
			f.state(t, attest.Source, a)
			f.state(t, attest.Build, b)
			f.exec(t, c.change, b.Digest, a.Digest)
			f.drain(t)
			f.notarized(t, c.about, false, albs.Conflict)
			for _, predicate := range []string{attest.Source, attest.Test} {
				sts, err := f.Stated(t.Context(), c.about.Digest, predicate)
				if !errors.Is(err, albs.Conflict) && (err != nil || len(sts) > 0) {
					t.Errorf("Stated(%s) = %v, %v", predicate, sts, err)
				}
			}
		})
	}
}

// TestRememberedNeverGoesBack has a master that was slow note an older state.
func TestRememberedNeverGoesBack(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		newer := ledger.State{Ledger: "l", TxID: 7, Alh: albs.DigestOf([]byte("7"))}
		older := ledger.State{Ledger: "l", TxID: 6, Alh: albs.DigestOf([]byte("6"))}
		for _, s := range []ledger.State{older, newer, older} {
			if err := f.d.InTx(t.Context(), func(tx db.Tx) error { return remember(t.Context(), tx, s, db.Now()) }); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := remembered(t.Context(), f.d); err != nil || got != newer {
			t.Errorf("remembered = %+v, %v, want %+v", got, err, newer)
		}
	})
}

// TestBrokenStaysBroken shows another ledger for a moment: nothing is believed of
// any until a person has looked.
func TestBrokenStaysBroken(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := file(1)
	f.state(t, attest.Build, a)
	f.drain(t)
	f.notarized(t, a, true, "")
	other, err := ledger.OpenEmbedded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	right := f.flaky.Ledger
	f.flaky.Ledger = other
	f.notarized(t, a, false, albs.Conflict)
	f.flaky.Ledger = right
	f.notarized(t, a, false, albs.Conflict)
	if err := f.Healthy(); !errors.Is(err, albs.Conflict) {
		t.Errorf("Healthy = %v, want conflict", err)
	}
	f.state(t, attest.Test, a)
	if n, err := f.deliver(t.Context(), true); n != 0 || !errors.Is(err, albs.Conflict) {
		t.Errorf("deliver = %d, %v, want conflict", n, err)
	}
}

// TestForkedLedger: a copy that has since gone further, another way, is no
// continuation of what is remembered, however long it is.
func TestForkedLedger(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	a, b := file(1), file(2)
	f.state(t, attest.Build, a)
	f.drain(t)
	f.stop(t)
	f.flaky = nil
	fork := filepath.Join(t.TempDir(), "fork")
	if err := os.CopyFS(fork, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	f.restart(t, f.dir)
	f.state(t, attest.Build, b)
	f.drain(t)

	f.restart(t, fork)
	for i := range 5 {
		if _, err := f.flaky.Append(t.Context(), []ledger.Entry{{Key: fmt.Appendf(nil, "other/%d", i), Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := f.advance(t.Context()); albs.KindOf(err) != albs.Conflict {
		t.Errorf("advance on a fork = %+v, %v, want conflict", s, err)
	}
	f.notarized(t, a, false, albs.Conflict)
	if err := f.Healthy(); !errors.Is(err, albs.Conflict) {
		t.Errorf("Healthy = %v, want conflict", err)
	}
}

// TestOlderLedger is T30: a ledger put back to an older copy is noticed, and not
// written to.
func TestOlderLedger(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, b, c := file(1), file(2), file(3)
		f.state(t, attest.Build, a)
		f.drain(t)
		f.stop(t)
		f.flaky = nil
		old := filepath.Join(t.TempDir(), "old")
		if err := os.CopyFS(old, os.DirFS(f.dir)); err != nil {
			t.Fatal(err)
		}
		f.restart(t, f.dir)
		f.state(t, attest.Build, b)
		f.drain(t)

		for name, dir := range map[string]string{"an older copy": old, "a new ledger": t.TempDir()} {
			f.restart(t, dir)
			before, err := f.flaky.State(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			f.state(t, attest.Test, c)
			stop := f.run(t)
			f.until(t, "Healthy tells of "+name, func() bool { return errors.Is(f.Healthy(), albs.Conflict) })
			stop()
			if after, err := f.flaky.State(t.Context()); err != nil || after != before {
				t.Errorf("%s was written to: %+v, %v", name, after, err)
			}
			f.notarized(t, a, false, albs.Conflict)
			f.notarized(t, c, false, albs.Conflict)
		}

		f.restart(t, f.dir) // the right one again: all is well
		f.drain(t)
		for _, x := range []artifact.Artifact{a, b, c} {
			f.notarized(t, x, true, "")
		}
	})
}

// TestOlderDatabase puts the database back to before some statements: the ledger
// is ahead, its entries stay, and what is stated anew goes behind them.
func TestOlderDatabase(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a := file(1)
		f.state(t, attest.Build, a)
		f.drain(t)
		f.exec(t, `DELETE FROM statement`)
		f.exec(t, `DELETE FROM file_record`)
		again := a
		again.Size *= 2 // another record of the same file
		f.state(t, attest.Build, again)
		f.state(t, attest.Build, again)
		f.restart(t, f.dir)
		f.drain(t)
		f.notarized(t, a, true, "")
		if _, _, err := f.flaky.Get(t.Context(), statementKey(a.Digest, attest.Build, 3)); err != nil {
			t.Error(err)
		}
		value, _, err := f.flaky.Get(t.Context(), []byte(a.Digest))
		var r struct{ Size string }
		if err := errors.Join(err, json.Unmarshal(value, &r)); err != nil || r.Size != "1.70 MB" {
			t.Errorf("the record became %s, %v", value, err)
		}
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	sized := func(sizes ...int) (batch []parcel) {
		for _, n := range sizes {
			batch = append(batch, parcel{Envelope: strings.Repeat("e", n/2), Record: strings.Repeat("r", n-n/2)})
		}
		return batch
	}
	const third = batchBytes / 3
	for _, c := range []struct {
		name  string
		sizes []int
		want  int
	}{
		{"nothing", nil, 0}, {"what fits", []int{third, third, third}, 3}, {"one byte too many", []int{third, third, third, 1}, 3},
		{"one that is too large", []int{batchBytes + 1, 1}, 1}, {"a large one later", []int{1, batchBytes}, 1},
	} {
		if got := len(cut(sized(c.sizes...))); got != c.want {
			t.Errorf("%s: %d parcels, want %d", c.name, got, c.want)
		}
	}
}

func TestSizeText(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0.00 KB", 512: "0.50 KB", 1024: "1.00 KB", 1 << 20: "1.00 MB", 1_740_636: "1.66 MB", 3 << 30: "3.00 GB", 5 << 50: "5120.00 TB"} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", n, got, want)
		}
	}
}
