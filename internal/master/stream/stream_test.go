package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue"
	"albs/internal/worker"
)

// handler takes any result but one without a test, which it refuses.
type handler struct{}

func (handler) Offer(_ context.Context, t queue.Task, _ worker.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (handler) Admit(_ context.Context, _ worker.Lease, _ albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if r.Test == nil {
		return nil, albs.Errorf(albs.Invalid, "nothing was tested")
	}
	return nil, nil
}

func (handler) Ended(context.Context, db.Tx, queue.Task) error                 { return nil }
func (handler) InVain(context.Context, db.Tx, queue.Task) error                { return nil }
func (handler) Reads(context.Context, worker.Lease, albs.Digest) (bool, error) { return false, nil }

// TestRecord: whatever way an attempt ends, what it streamed has a record then, and not
// while it may grow still.
func TestRecord(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		m := mastertest.Open(t, d, mastertest.Config{Queue: queue.Config{Backoff: time.Millisecond}})
		m.Queue.Register(albs.KindTest, handler{})
		s := New(Parts{DB: d, Events: m.Events, Queue: m.Queue, Provenance: m.Provenance, Log: zerolog.Nop()})
		mastertest.Run(t, m.Events.Run, m.Queue.Run, m.Provenance.Run, s.Run)
		me, err := m.Auth.LocalWorker(t.Context(), auth.NewWorker{Name: "tester", Role: albs.RoleTester, Arches: []albs.Arch{albs.X8664}})
		must(err)
		ctx := auth.With(t.Context(), me)

		enqueue := func() (id albs.TaskID) {
			t.Helper()
			must(d.InTx(ctx, func(tx db.Tx) (err error) {
				id, err = m.Queue.Enqueue(ctx, tx, queue.NewTask{Kind: albs.KindTest, Lane: "a", Topic: "build:7", Needs: []string{"arch:x86_64"}, Spec: albs.Spec{Test: &albs.TestSpec{}}})
				return err
			}))
			return id
		}
		claim := func() *worker.Lease {
			t.Helper()
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
				l, err := m.Queue.Claim(ctx, worker.Offer{Version: "test", Labels: []string{"kind:test", "arch:x86_64"}, Wait: 5})
				must(err)
				if l != nil {
					return l
				}
			}
			t.Fatal("nothing can be claimed")
			return nil
		}
		// streams has an attempt say something, and returns that.
		streams := func(l *worker.Lease, text string) string {
			t.Helper()
			_, err := m.Queue.Log(ctx, l.Token, "build", 0, []byte(text))
			must(err)
			return text
		}
		recorded := func(text string) (attest.Record, bool) {
			t.Helper()
			d := albs.DigestOf([]byte(text))
			value, _, err := m.Ledger.Get(t.Context(), []byte(d))
			if errors.Is(err, albs.NotFound) {
				return attest.Record{}, false
			}
			must(err)
			r, err := attest.ParseRecord(value)
			must(err)
			return r, true
		}
		until := func(text string) {
			t.Helper()
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if r, ok := recorded(text); ok {
					if r.Name != "build.log" || r.Hash != albs.DigestOf([]byte(text)) {
						t.Errorf("of %q is recorded %+v", text, r)
					}
					return
				}
			}
			t.Fatalf("there is no record of %q", text)
		}

		enqueue()
		l := claim()
		lost := streams(l, "a worker that died\n")
		must(m.Queue.Complete(ctx, l.Token, albs.OutcomeLost, albs.Result{Reason: "it died"}))
		l = claim()
		until(lost)
		stopped := streams(l, "a worker that was shut down\n")
		must(m.Queue.Complete(ctx, l.Token, albs.OutcomeStopped, albs.Result{Reason: "shut down"}))
		l = claim()
		until(stopped)
		infra := streams(l, "a worker without a disk\n")
		must(m.Queue.Complete(ctx, l.Token, albs.OutcomeInfra, albs.Result{Reason: "no disk"}))
		l = claim()
		until(infra)
		refused := streams(l, "a result that nobody takes\n")
		if err := m.Queue.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{}); !errors.Is(err, albs.Invalid) {
			t.Fatalf("a wrong result: %v, want Invalid", err)
		}
		until(refused)

		id := enqueue()
		l = claim()
		cancelled := streams(l, "a test that nobody wants\n")
		must(d.InTx(ctx, func(tx db.Tx) error { return m.Queue.Cancel(ctx, tx, id, "not wanted") }))
		// What is said until the end counts, and what was there before has no record of its own.
		more := cancelled + "stopping\n"
		_, err = m.Queue.Log(ctx, l.Token, "build", int64(len(cancelled)), []byte("stopping\n"))
		must(err)
		must(m.Queue.Complete(ctx, l.Token, albs.OutcomeStopped, albs.Result{}))
		until(more)
		if _, ok := recorded(cancelled); ok {
			t.Error("there is a record of a part of a log")
		}

		// One that ended well, as often as it is told.
		id = enqueue()
		l = claim()
		ok := streams(l, "all is well\n")
		must(m.Queue.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{Test: &albs.TestResult{}}))
		until(ok)
		must(s.record(ctx, id, 1))
		must(s.record(ctx, id, 2))

		// What is served is what was recorded.
		r, _, err := m.Queue.ReadLog(t.Context(), id, 1, "build", 0, -1)
		must(err)
		defer r.Close()
		served, err := io.ReadAll(r)
		must(err)
		if !bytes.Equal(served, []byte(ok)) {
			t.Errorf("served is %q", served)
		}
	})
}
