package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// wantEvents checks the topic's events since the beginning, by their kinds.
func (f *fixture) wantEvents(topic string, want ...string) {
	f.t.Helper()
	wake, stop := f.events.Wake(topic)
	defer stop()
	es, err := f.events.Since(f.t.Context(), 0, topic, 100)
	for err == nil && len(es) < len(want) { // held back by other tests' transactions
		select {
		case <-wake:
		case <-time.After(time.Minute):
			f.t.Errorf("no more than %d events came", len(es))
			want = nil
		}
		es, err = f.events.Since(f.t.Context(), 0, topic, 100)
	}
	var kinds []string
	for _, e := range es {
		kinds = append(kinds, e.Kind)
	}
	if err != nil || !slices.Equal(kinds, want) {
		f.t.Errorf("events = %v, %v; want %v", kinds, err, want)
	}
}

func TestOneTask(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		if l.Token != (worker.Token{Task: id, Fence: 1}) || l.Attempt != 1 || l.Term != term || l.Spec.Build == nil ||
			string(l.Evidence) != `{"why":"trust"}` || !l.Until.Equal(f.clock_.now().Add(term)) {
			t.Errorf("lease = %+v", l)
		}
		f.noTask("b")
		f.clock_.add(time.Second)
		until, err := f.Renew(f.as("a"), l.Token)
		if err != nil || !until.Equal(f.clock_.now().Add(term)) {
			t.Errorf("Renew = %v, %v", until, err)
		}
		f.complete("a", l, albs.OutcomeOK, "")
		f.want(id, albs.TaskSucceeded, "")
		if !slices.Equal(f.handler.applied, []albs.TaskID{id}) || f.handler.ended != nil {
			t.Errorf("applied %v, ended %v", f.handler.applied, f.handler.ended)
		}
		as, err := f.Attempts(t.Context(), id)
		if err != nil || len(as) != 1 || as[0].Outcome != albs.OutcomeOK || as[0].Worker != "a" || as[0].Ended.IsZero() ||
			as[0].Lost || as[0].Spec.Build == nil {
			t.Errorf("Attempts = %+v, %v", as, err)
		}
		f.wantEvents("build:1", "task.queued", "task.leased", "task.succeeded")
	})
}

// T05: many claim at once, over two masters; every task goes once.
func TestClaimsAreExclusive(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		const tasks, claimers = 200, 16
		err := f.tx(func(tx db.Tx) error {
			for range tasks {
				n := NewTask{Kind: albs.KindBuild, Lane: "team:core", Topic: "build:1"}
				if _, err := f.Enqueue(t.Context(), tx, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		masters := []*Queue{f.Queue, f.Queue}
		if d.Postgres() {
			masters[1] = f.start()
		}
		var g errgroup.Group
		got := make([][]albs.TaskID, claimers)
		for i := range claimers {
			g.Go(func() error {
				for {
					l, err := masters[i%2].Claim(f.as(string(rune('a'+i))), offer)
					if err != nil {
						return err
					}
					if l == nil {
						// Another may hold rows that we skipped: done only if none is left.
						ts, err := f.List(t.Context(), Filter{States: []albs.TaskState{albs.TaskQueued}, Limit: 1})
						if err != nil || len(ts) == 0 {
							return err
						}
						continue
					}
					got[i] = append(got[i], l.Token.Task)
					if l.Token.Fence != 1 {
						t.Errorf("task %d has fence %d at its first claim", l.Token.Task, l.Token.Fence)
					}
				}
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		all := slices.Sorted(slices.Values(slices.Concat(got...)))
		if once := slices.Compact(slices.Clone(all)); len(all) != tasks || len(once) != tasks {
			t.Errorf("%d claims of %d tasks, want %d", len(all), len(once), tasks)
		}
	})
}

// As many workers as there are tasks take and end them all at once, while others are
// enqueued: nobody hears that the database is busy.
func TestCrowd(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const crowd = 64
		var g errgroup.Group
		for i := range crowd {
			me := f.as(string(rune('a' + i)))
			g.Go(func() error {
				return f.tx(func(tx db.Tx) error {
					_, err := f.Enqueue(t.Context(), tx, NewTask{Kind: albs.KindBuild, Lane: "team:core", Topic: "build:1"})
					return err
				})
			})
			g.Go(func() error {
				waits := offer
				waits.Wait = worker.MaxClaimWait
				l, err := f.Claim(me, waits)
				if err != nil || l == nil {
					return fmt.Errorf("worker %d: Claim = %v, %w", i, l, err)
				}
				return f.Complete(me, l.Token, albs.OutcomeOK, albs.Result{})
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if ts, err := f.List(t.Context(), Filter{States: []albs.TaskState{albs.TaskSucceeded}}); err != nil || len(ts) != crowd {
			t.Errorf("%d tasks succeeded, %v; want %d", len(ts), err, crowd)
		}
	})
}

// Who enqueues doesn't lose to another who does, though PostgreSQL keeps both tasks on
// one page of its indexes.
func TestEnqueueBesideAnother(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	f, other := setup(t, dbtest.Open(t, c)), dbtest.Open(t, c)
	f.enqueue()
	enqueue := func(tx db.Tx) error {
		_, err := f.Enqueue(t.Context(), tx, NewTask{Kind: albs.KindBuild, Lane: "team:core", Topic: "build:1"})
		return err
	}
	tries := 0
	err := f.tx(func(tx db.Tx) error {
		tries++
		if err := enqueue(tx); err != nil {
			return err
		}
		if err := other.InTx(t.Context(), enqueue); err != nil { // which is first to end
			return err
		}
		return enqueue(tx)
	})
	if err != nil || tries != 1 {
		t.Errorf("Enqueue beside another = %v after %d tries, want nil after one", err, tries)
	}
}

// T02: a worker that slept through its lease finds the task in other hands.
func TestStaleLease(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		old := f.claim("a")
		d := albs.DigestOf([]byte("x"))
		if _, err := f.Put(f.as("a"), old.Token, d, 0, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		f.passTime(term + time.Second)
		f.want(id, albs.TaskQueued, "worker a was not heard of for 2s")
		l := f.claim("b")
		if l.Token.Fence <= old.Token.Fence || l.Attempt != 2 {
			t.Errorf("second lease = %+v", l)
		}
		f.refused("a", old.Token, albs.StaleLease)
		if n, err := f.Stat(f.as("b"), l.Token, d); n != 0 || err != nil {
			t.Errorf("Stat = %d, %v: the second attempt sees the first one's upload", n, err)
		}
		if names, _ := f.uploads.StagedLeases(t.Context()); len(names) != 0 {
			t.Errorf("uploads of a superseded attempt stay: %v", names)
		}
		f.complete("b", l, albs.OutcomeOK, "")
		f.refused("a", old.Token, albs.StaleLease)
		if len(f.handler.applied) != 1 {
			t.Errorf("applied %v, want once", f.handler.applied)
		}
	})
}

// An expired lease that nobody re-claimed is revived by any call of its holder.
func TestRevive(t *testing.T) {
	calls := map[string]func(f *fixture, l *worker.Lease) error{
		"renew": func(f *fixture, l *worker.Lease) error { _, err := f.Renew(f.as("a"), l.Token); return err },
		"log": func(f *fixture, l *worker.Lease) error {
			_, err := f.Log(f.as("a"), l.Token, "build", 0, []byte("x"))
			return err
		},
		"stat": func(f *fixture, l *worker.Lease) error {
			_, err := f.Stat(f.as("a"), l.Token, albs.DigestOf(nil))
			return err
		},
	}
	each(t, func(t *testing.T, f *fixture) {
		for name, call := range calls {
			id := f.enqueue()
			l := f.claim("a")
			f.passTime(term + time.Second)
			f.want(id, albs.TaskQueued, "worker a was not heard of for 2s")
			if err := call(f, l); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if task := f.want(id, albs.TaskLeased, ""); task.Lost != 0 || !task.Until.Equal(f.clock_.now().Add(term)) {
				t.Errorf("%s: revived task = %+v", name, task)
			}
			f.noTask("b")
			f.complete("a", l, albs.OutcomeOK, "")
			f.want(id, albs.TaskSucceeded, "")
		}
		// A result that comes late is as good.
		id := f.enqueue()
		l := f.claim("a")
		f.passTime(term + time.Second)
		f.complete("a", l, albs.OutcomeOK, "")
		if task := f.want(id, albs.TaskSucceeded, ""); task.Lost != 0 {
			t.Errorf("lost = %d, want 0", task.Lost)
		}
		as, err := f.Attempts(t.Context(), id)
		if err != nil || len(as) != 1 || as[0].Lost || as[0].Reason != "" {
			t.Errorf("Attempts = %+v, %v", as, err)
		}
	})
}

// T03: a report that is repeated has one effect and the first one's answer.
func TestCompleteRepeated(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		for range 5 {
			f.complete("a", l, albs.OutcomeOK, "fine")
		}
		err := f.Complete(f.as("a"), l.Token, albs.OutcomeFailed, albs.Result{Reason: "fine"})
		wantKind(t, "another outcome", err, albs.StaleLease)
		err = f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{Reason: "better"})
		wantKind(t, "another result", err, albs.StaleLease)
		if !slices.Equal(f.handler.applied, []albs.TaskID{id}) {
			t.Errorf("applied %v, want once", f.handler.applied)
		}
		// Another master, or the same after a restart, says the same.
		f.Queue = f.start()
		f.complete("a", l, albs.OutcomeOK, "fine")
		// And so it is at once.
		id = f.enqueue()
		l = f.claim("a")
		var g errgroup.Group
		for range 8 {
			g.Go(func() error { return f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{}) })
		}
		if err := g.Wait(); err != nil {
			t.Errorf("reports at once: %v", err)
		}
		if n := len(f.handler.applied); n != 2 {
			t.Errorf("applied %d times, want 2", n)
		}
		f.want(id, albs.TaskSucceeded, "")

		// Also after the task went on: an infra attempt was followed by another.
		id = f.enqueue()
		l = f.claim("a")
		f.complete("a", l, albs.OutcomeInfra, "disk")
		f.clock_.add(time.Minute)
		second := f.claim("b")
		f.complete("a", l, albs.OutcomeInfra, "disk")
		f.want(id, albs.TaskLeased, "")
		f.complete("b", second, albs.OutcomeOK, "")
	})
}

// T09: whoever has another's token can do nothing with it.
func TestForeignWorker(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		f.refused("b", l.Token, albs.Forbidden)
		f.refused("b", worker.Token{Task: id, Fence: 99}, albs.Forbidden)
		f.refused("a", worker.Token{Task: id, Fence: 99}, albs.StaleLease)
		f.refused("a", worker.Token{Task: 1 << 40, Fence: 1}, albs.NotFound)
		f.complete("a", l, albs.OutcomeOK, "")
		f.refused("b", l.Token, albs.Forbidden)

		for name, ctx := range map[string]context.Context{
			"nobody": t.Context(),
			"person": auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "alice"}),
			"system": auth.System(t.Context(), "test"),
		} {
			want := albs.Forbidden
			if name == "nobody" {
				want = albs.Unauthenticated
			}
			_, err := f.Claim(ctx, offer)
			wantKind(t, "Claim by "+name, err, want)
			_, err = f.Renew(ctx, l.Token)
			wantKind(t, "Renew by "+name, err, want)
			wantKind(t, "Complete by "+name, f.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{}), want)
		}
		for label, want := range map[string]albs.Kind{"kind:sign": albs.Forbidden, "a b": albs.Invalid, "arch:s390x": ""} {
			_, err := f.Claim(f.as("a"), worker.Offer{Labels: []string{"kind:build", label}})
			wantKind(t, "offer of "+label, err, want)
		}
	})
}

// T01, T08: a task that its workers die of, or give up on, fails in the end.
func TestMaxLost(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		after := f.enqueue(id)
		f.claim("a")
		f.passTime(term + time.Second)
		l := f.claim("b")
		f.complete("b", l, albs.OutcomeInfra, "no space left on device\nreally")
		f.want(id, albs.TaskQueued, "no space left on device really")
		f.noTask("b") // not at once
		f.clock_.add(time.Minute)
		f.claim("c")
		f.passTime(term + time.Second)
		f.want(id, albs.TaskQueued, "worker c was not heard of for 2s")
		f.claim("d")
		f.passTime(term + time.Second)
		const reason = "infra: 3 attempts were lost, the last: worker d was not heard of for 2s"
		if task := f.want(id, albs.TaskFailed, reason); task.Lost != 4 || task.Attempts != 4 {
			t.Errorf("task = %+v", task)
		}
		as, err := f.Attempts(t.Context(), id)
		if err != nil || len(as) != 4 || !as[0].Lost || as[1].Lost || as[1].Outcome != albs.OutcomeInfra || !as[3].Lost {
			t.Errorf("Attempts = %+v, %v", as, err)
		}
		f.want(after, albs.TaskBlocked, "waits for build task 1, which failed: "+reason)
		if want := []string{"1 failed"}; !slices.Equal(f.handler.ended, want) || f.handler.applied != nil {
			t.Errorf("ended %v, applied %v; want %v, none", f.handler.ended, f.handler.applied, want)
		}
		f.noTask("d")
		if err := f.tx(func(tx db.Tx) error { return f.Retry(t.Context(), tx, id) }); err != nil {
			t.Fatal(err)
		}
		if task := f.want(id, albs.TaskQueued, ""); task.Lost != 0 {
			t.Errorf("lost = %d after a retry", task.Lost)
		}
		f.want(after, albs.TaskBlocked, "")
		l = f.claim("a")
		if l.Attempt != 5 {
			t.Errorf("attempt %d, want 5", l.Attempt)
		}
		as, err = f.Attempts(t.Context(), id)
		var lost []bool
		for _, a := range as {
			lost = append(lost, a.Lost)
		}
		if err != nil || !slices.Equal(lost, []bool{true, false, true, true, false}) {
			t.Errorf("attempts lost: %v, %v", lost, err)
		}
	})
}

func TestCancel(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		cancel := func(id albs.TaskID) error {
			return f.tx(func(tx db.Tx) error { return f.Cancel(t.Context(), tx, id, "not wanted") })
		}
		// Leased: its worker is told, and has the last word, which is stopped.
		id := f.enqueue()
		l := f.claim("a")
		for range 2 {
			if err := cancel(id); err != nil {
				t.Fatal(err)
			}
		}
		f.want(id, albs.TaskStopping, "not wanted")
		_, err := f.Renew(f.as("a"), l.Token)
		wantKind(t, "Renew", err, albs.Stopped)
		_, err = f.Put(f.as("a"), l.Token, albs.DigestOf(nil), 0, strings.NewReader(""))
		wantKind(t, "Put", err, albs.Stopped)
		_, err = f.Stat(f.as("a"), l.Token, albs.DigestOf(nil))
		wantKind(t, "Stat", err, albs.Stopped)
		_, err = f.Get(f.as("a"), l.Token, albs.DigestOf([]byte("blob of the spec")), 0, -1)
		wantKind(t, "Get", err, albs.Stopped)
		wantKind(t, "Complete(ok)", f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{}), albs.Stopped)
		if _, err := f.Log(f.as("a"), l.Token, "build", 0, []byte("killed")); err != nil {
			t.Errorf("Log = %v", err)
		}
		f.complete("a", l, albs.OutcomeStopped, "killed")
		f.complete("a", l, albs.OutcomeStopped, "killed")
		f.want(id, albs.TaskCancelled, "not wanted")
		wantKind(t, "Cancel of a cancelled one", cancel(id), albs.Conflict)

		// Leased, and its worker is lost.
		lost := f.enqueue()
		l = f.claim("a")
		if err := cancel(lost); err != nil {
			t.Fatal(err)
		}
		f.passTime(term + time.Second)
		f.want(lost, albs.TaskCancelled, "not wanted")
		f.refused("a", l.Token, albs.StaleLease)

		// Not leased.
		queued := f.enqueue()
		blocked := f.enqueue(queued)
		for _, id := range []albs.TaskID{blocked, queued} {
			if err := cancel(id); err != nil {
				t.Fatal(err)
			}
			f.want(id, albs.TaskCancelled, "not wanted")
		}
		f.noTask("a")
		if want := []string{"1 cancelled", "2 cancelled", "4 cancelled", "3 cancelled"}; !slices.Equal(f.handler.ended, want) {
			t.Errorf("ended %v, want %v", f.handler.ended, want)
		}
		wantKind(t, "Cancel of nothing", cancel(1<<40), albs.NotFound)
	})
}

// A worker that shuts down gives its task back; that is nobody's loss.
func TestGiveBack(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		f.complete("a", f.claim("a"), albs.OutcomeStopped, "shutting down")
		if task := f.want(id, albs.TaskQueued, "shutting down"); task.Lost != 0 {
			t.Errorf("lost = %d", task.Lost)
		}
		f.clock_.add(time.Minute)
		f.complete("b", f.claim("b"), albs.OutcomeOK, "")
	})
}

func TestRefusedResult(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		invalid := albs.Errorf(albs.Invalid, "a.rpm is foreign")
		for _, where := range []struct {
			name string
			set  func(h *handler)
		}{
			{"Admit", func(h *handler) { h.admit = func(worker.Lease, albs.Result) error { return invalid } }},
			{"apply", func(h *handler) { h.apply = func(context.Context, db.Tx) error { return invalid } }},
		} {
			f.handler.set(func(h *handler) { h.applied, h.ended, h.admit, h.apply = nil, nil, nil, nil; where.set(h) })
			id := f.enqueue()
			l := f.claim("a")
			for range 2 { // the answer may have been lost
				err := f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{})
				if wantKind(t, where.name, err, albs.Invalid); err == nil || err.Error() != "result refused: a.rpm is foreign" {
					t.Errorf("%s: Complete = %v", where.name, err)
				}
			}
			f.want(id, albs.TaskFailed, "result refused: a.rpm is foreign")
			if len(f.handler.ended) != 1 || f.handler.applied != nil {
				t.Errorf("%s: ended %v, applied %v", where.name, f.handler.ended, f.handler.applied)
			}
		}
	})
}

// What isn't the result's fault leaves the attempt as it was.
func TestAdmitTrouble(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		for _, kind := range []albs.Kind{albs.Unavailable, albs.NoSpace, albs.Internal} {
			f.handler.set(func(h *handler) {
				h.admit = func(worker.Lease, albs.Result) error { return albs.Errorf(kind, "trouble") }
			})
			wantKind(t, "Complete", f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{}), kind)
			f.want(id, albs.TaskLeased, "")
		}
		// A Conflict has Admit asked again, with what moved in view.
		tries := 0
		f.handler.set(func(h *handler) {
			h.admit = nil
			h.apply = func(context.Context, db.Tx) error {
				if tries++; tries < 3 {
					return albs.Errorf(albs.Conflict, "the repository moved")
				}
				return nil
			}
		})
		f.complete("a", l, albs.OutcomeOK, "")
		if f.want(id, albs.TaskSucceeded, ""); tries != 3 || len(f.handler.applied) != 1 {
			t.Errorf("%d tries, applied %v", tries, f.handler.applied)
		}
		f.handler.set(func(h *handler) {
			h.apply = func(context.Context, db.Tx) error { return albs.Errorf(albs.Conflict, "it moves on") }
		})
		id = f.enqueue()
		l = f.claim("a")
		wantKind(t, "Complete", f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{}), albs.Unavailable)
		f.want(id, albs.TaskLeased, "")
	})
}

func TestOfferTrouble(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		fail := func(kind albs.Kind) {
			f.handler.set(func(h *handler) {
				h.offer = func(Task) error { return albs.Errorf(kind, "mirror is %s", kind) }
			})
		}
		id := f.enqueue()
		for _, kind := range []albs.Kind{albs.Unavailable, albs.NoSpace} { // people see why it waits
			fail(kind)
			f.noTask("a")
			if task := f.want(id, albs.TaskQueued, "can't be given out now, and is tried again: mirror is "+string(kind)); task.Attempts != 0 || task.Lost != 0 {
				t.Errorf("an undone claim counts: %+v", task)
			}
			f.handler.set(func(h *handler) { h.offer = nil })
			f.noTask("a") // not before a pause
			f.clock_.add(time.Minute)
		}
		l := f.claim("a")
		f.want(id, albs.TaskLeased, "")
		if l.Attempt != 1 || l.Token.Fence != 3 {
			t.Errorf("lease = %+v, want the first attempt with a new fence", l)
		}
		f.complete("a", l, albs.OutcomeOK, "")

		id = f.enqueue()
		fail(albs.Invalid)
		f.noTask("a")
		f.want(id, albs.TaskFailed, "mirror is invalid")

		id = f.enqueue()
		fail(albs.Internal)
		for range 3 {
			f.noTask("a")
			f.clock_.add(time.Minute)
		}
		f.want(id, albs.TaskFailed, "infra: 3 attempts were lost, the last: an internal error happened; the server's log has it")
	})
}

// A claim whose caller has gone, or whose task is cancelled, while the offer is
// made, is as if it had never been.
func TestClaimInterrupted(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		ctx, cancel := context.WithCancel(f.as("a"))
		f.handler.set(func(h *handler) { h.offer = func(Task) error { cancel(); return ctx.Err() } })
		if l, err := f.Claim(ctx, offer); l != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("Claim = %v, %v", l, err)
		}
		if task := f.want(id, albs.TaskQueued, ""); task.Attempts != 0 {
			t.Errorf("task = %+v", task)
		}
		f.handler.set(func(h *handler) {
			h.offer = func(Task) error {
				return f.tx(func(tx db.Tx) error { return f.Cancel(t.Context(), tx, id, "no more") })
			}
		})
		f.noTask("a")
		f.want(id, albs.TaskCancelled, "no more")
		for _, kind := range []albs.Kind{albs.Unavailable, albs.Invalid, albs.Internal} {
			id := f.enqueue()
			f.handler.set(func(h *handler) {
				h.offer = func(Task) error {
					f.cancel(id)
					return albs.Errorf(kind, "trouble")
				}
			})
			f.noTask("a")
			f.want(id, albs.TaskCancelled, "")
		}
		if as, err := f.Attempts(t.Context(), id); err != nil || len(as) != 0 {
			t.Errorf("Attempts = %v, %v; want none", as, err)
		}
	})
}

// A waiting worker is woken at once by whatever makes a task ready.
func TestLongPoll(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		wait := func(name string) <-chan *worker.Lease {
			c := make(chan *worker.Lease, 1)
			o := offer
			o.Wait = worker.MaxClaimWait
			go func() {
				l, err := f.Claim(f.as(name), o)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				c <- l
			}()
			return c
		}
		began := time.Now()
		c := wait("a")
		first := f.enqueue()
		second := f.enqueue(first)
		l := <-c
		if l == nil || l.Token.Task != first {
			t.Fatalf("lease = %+v, want task %d", l, first)
		}
		c = wait("b")
		f.complete("a", l, albs.OutcomeOK, "")
		if l = <-c; l == nil || l.Token.Task != second {
			t.Fatalf("lease = %+v, want task %d", l, second)
		}
		c = wait("c")
		f.passTime(term + time.Second)
		if l = <-c; l == nil || l.Token.Task != second || l.Attempt != 2 {
			t.Fatalf("lease = %+v, want attempt 2 at task %d", l, second)
		}
		f.complete("c", l, albs.OutcomeFailed, "broken")
		c = wait("d")
		if err := f.tx(func(tx db.Tx) error { return f.Retry(t.Context(), tx, second) }); err != nil {
			t.Fatal(err)
		}
		if l = <-c; l == nil || l.Token.Task != second {
			t.Fatalf("lease = %+v, want task %d", l, second)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v: nobody was woken", took)
		}
	})
}

// A restart gives every lease another term: no worker could renew meanwhile.
func TestRestartExtendsLeases(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		f.stop()
		f.clock_.add(time.Hour)
		until := f.clock_.now().Add(term)
		f.Queue = f.start()
		f.noTask("b") // answered only after the beginning of Run
		if task := f.want(id, albs.TaskLeased, ""); !task.Until.Equal(until) {
			t.Errorf("the lease goes to %v, want %v", task.Until, until)
		}
		f.complete("a", l, albs.OutcomeOK, "")
	})
}

// T06: when the master's clock jumps, no lease ends early.
func TestClockJumps(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		for _, jump := range []time.Duration{time.Hour, -2 * time.Hour} {
			l := f.claim("a")
			// Only the wall clock moves.
			mono := f.clock.mono()
			f.clock.mu.Lock()
			real := f.clock.mono
			f.clock.mono = func() time.Duration { return mono }
			f.clock.mu.Unlock()
			f.passTime(jump)
			if task := f.want(id, albs.TaskLeased, ""); task.Until.Sub(f.clock_.now()).Abs() > term {
				t.Errorf("after %v the lease goes to %v, it is %v", jump, task.Until, f.clock_.now())
			}
			f.clock.mu.Lock()
			f.clock.mono = func() time.Duration { return real() - jump }
			f.clock.mu.Unlock()
			f.complete("a", l, albs.OutcomeOK, "")
			id = f.enqueue()
		}
	})
}

func TestGet(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.enqueue()
		l := f.claim("a")
		own := albs.DigestOf([]byte("own upload"))
		if n, err := f.Put(f.as("a"), l.Token, own, 0, strings.NewReader("own up")); n != 6 || err != nil {
			t.Fatalf("Put = %d, %v", n, err)
		}
		if n, err := f.Put(f.as("a"), l.Token, own, 6, strings.NewReader("load")); n != 10 || err != nil {
			t.Fatalf("Put = %d, %v", n, err)
		}
		for _, content := range []string{"blob of the spec", "blob of a snapshot", "own upload"} {
			r, err := f.Get(f.as("a"), l.Token, albs.DigestOf([]byte(content)), 0, -1)
			if err != nil {
				t.Errorf("Get(%s): %v", content, err)
				continue
			}
			if got, err := io.ReadAll(r); string(got) != content || err != nil {
				t.Errorf("Get(%s) = %q, %v", content, got, err)
			}
			r.Close()
		}
		_, err := f.Get(f.as("a"), l.Token, albs.DigestOf([]byte("another's")), 0, -1)
		wantKind(t, "Get of what nobody named", err, albs.Forbidden)
		_, err = f.Get(f.as("a"), l.Token, "../etc/passwd", 0, -1)
		wantKind(t, "Get of a path", err, albs.Invalid)
		f.complete("a", l, albs.OutcomeOK, "")
		if names, _ := f.uploads.StagedLeases(t.Context()); len(names) != 0 {
			t.Errorf("uploads stay after the end: %v", names)
		}
	})
}

func TestSweep(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ended := f.enqueue()
		l := f.claim("a")
		f.complete("a", l, albs.OutcomeOK, "")
		live := f.enqueue()
		f.claim("a")
		f.passTime(term + time.Second)
		f.claim("b")
		for _, name := range []string{Upload(worker.Token{Task: ended, Fence: 1}), Upload(worker.Token{Task: live, Fence: 1}), Upload(worker.Token{Task: live, Fence: 2}),
			Upload(worker.Token{Task: 1 << 40, Fence: 1}), "somebody.else"} {
			if _, err := f.uploads.Stage(t.Context(), name, "", 0, bytes.NewReader([]byte("x")), 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		names, _ := f.uploads.StagedLeases(t.Context())
		if want := []string{Upload(worker.Token{Task: live, Fence: 2}), "somebody.else"}; !slices.Equal(names, want) {
			t.Errorf("uploads after a sweep: %v, want %v", names, want)
		}
	})
}

// A report that is repeated while the first is being admitted has the first one's
// answer, even if the end of the first took its files away meanwhile.
func TestCompleteRepeatedMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		first := true
		f.handler.set(func(h *handler) {
			h.admit = func(worker.Lease, albs.Result) error {
				if !first {
					return nil
				}
				first = false
				f.complete("a", l, albs.OutcomeOK, "fine") // the repetition overtakes
				return albs.Errorf(albs.NotFound, "the upload is gone")
			}
		})
		f.complete("a", l, albs.OutcomeOK, "fine")
		f.want(id, albs.TaskSucceeded, "fine")
		if !slices.Equal(f.handler.applied, []albs.TaskID{id}) {
			t.Errorf("applied %v, want once", f.handler.applied)
		}
	})
}

// A token counts once it has been handed over with its spec: a worker that guesses
// it while the offer is made reaches no handler with an empty one.
func TestGuessedToken(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		token := worker.Token{Task: id, Fence: 1}
		f.handler.set(func(h *handler) {
			h.admit = func(l worker.Lease, _ albs.Result) error {
				if l.Spec.Build == nil {
					t.Error("a lease without a spec is admitted")
				}
				return nil
			}
		})
		guess := func() {
			for _, outcome := range []albs.Outcome{albs.OutcomeOK, albs.OutcomeFailed, albs.OutcomeExcluded} {
				err := f.Complete(f.as("a"), token, outcome, albs.Result{})
				wantKind(t, "Complete("+string(outcome)+")", err, albs.StaleLease)
			}
			_, err := f.Get(f.as("a"), token, albs.DigestOf([]byte("blob of a snapshot")), 0, -1)
			wantKind(t, "Get", err, albs.StaleLease)
		}
		f.handler.set(func(h *handler) {
			h.offer = func(Task) error { h.mu.Unlock(); defer h.mu.Lock(); guess(); return nil }
		})
		f.complete("a", f.claim("a"), albs.OutcomeOK, "")
		f.want(id, albs.TaskSucceeded, "")
	})
}

// A task that cannot be ended keeps no other from being taken back.
func TestReapGoesOn(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		stuck, fine := f.enqueue(), f.enqueue()
		f.claim("a")
		f.clock_.add(time.Millisecond) // so that its lease ends last
		f.claim("b")
		f.cancel(stuck)
		f.handler.set(func(h *handler) {
			h.failEnded = func(t Task) error {
				if t.ID == stuck {
					return errors.New("a row is missing")
				}
				return nil
			}
		})
		f.clock_.add(term + time.Second)
		if err := f.reap(auth.System(t.Context(), "queue")); err == nil {
			t.Error("reap says nothing of the one that it could not end")
		}
		f.want(fine, albs.TaskQueued, "worker b was not heard of for 2s")
		f.want(stuck, albs.TaskStopping, "")
		f.handler.set(func(h *handler) { h.failEnded = nil })
		f.passTime(time.Second)
		f.want(stuck, albs.TaskCancelled, "")
	})
}

// A claim ends when its time is over, also if that came while the dispatcher had it
// in hand and the task could then not be had.
func TestLongPollEnds(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.handler.set(func(h *handler) { h.offer = func(Task) error { return albs.Errorf(albs.Unavailable, "away") } })
	f.enqueue()
	// The one writer is taken, so that the dispatcher stands in its claim for longer
	// than the poll lasts.
	writing, over := make(chan struct{}), time.After(1500*time.Millisecond)
	var g errgroup.Group
	g.Go(func() error { return f.tx(func(db.Tx) error { close(writing); <-over; return nil }) })
	<-writing
	ctx, cancel := context.WithTimeout(f.as("a"), time.Minute)
	defer cancel()
	o := offer
	o.Wait = 1
	if l, err := f.Claim(ctx, o); l != nil || err != nil {
		t.Errorf("Claim = %+v, %v; want none when its second was over", l, err)
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// So does one whose time was over while the dispatcher was busy with another's.
func TestLongPollEndsBesideAnother(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.enqueue()
	writing, over := make(chan struct{}), time.After(1500*time.Millisecond)
	var g errgroup.Group
	g.Go(func() error { return f.tx(func(db.Tx) error { close(writing); <-over; return nil }) })
	<-writing
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l, err := f.Claim(f.as("a"), worker.Offer{Labels: []string{"kind:build", "arch:s390x"}, Wait: 1})
		if l != nil || err != nil {
			t.Errorf("Claim = %+v, %v; want none when its second was over", l, err)
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	// So that the dispatcher has both in hand. On a machine that is busy a's second may
	// be over before this looks.
	for waits, over := 0, false; waits == 0 && !over; {
		select {
		case <-ended:
			over = true
		case <-tick.C:
			f.mu.Lock()
			waits = len(f.waiting)
			f.mu.Unlock()
		}
	}
	f.claim("b")
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("a claim of one second still waits after a minute")
	}
}

// A report whose lease passes to another while it is admitted ends nothing.
func TestOvertakenReport(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		old := f.claim("a")
		var l *worker.Lease
		f.handler.set(func(h *handler) {
			h.admit = func(worker.Lease, albs.Result) error {
				if l == nil {
					f.passTime(term + time.Second)
					l = f.claim("b")
				}
				return nil
			}
		})
		err := f.Complete(f.as("a"), old.Token, albs.OutcomeOK, albs.Result{})
		wantKind(t, "Complete", err, albs.StaleLease)
		if task := f.want(id, albs.TaskLeased, ""); task.Worker != "b" || f.handler.applied != nil {
			t.Errorf("task = %+v, applied %v", task, f.handler.applied)
		}
		f.complete("b", l, albs.OutcomeOK, "")
	})
}

// apply finds the task as it will be.
func TestApplySeesTheEnd(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for outcome, want := range map[albs.Outcome]albs.TaskState{
			albs.OutcomeOK: albs.TaskSucceeded, albs.OutcomeFailed: albs.TaskFailed, albs.OutcomeExcluded: albs.TaskExcluded,
		} {
			id := f.enqueue()
			f.handler.set(func(h *handler) {
				h.apply = func(ctx context.Context, tx db.Tx) error {
					if task, err := store.GetTask(ctx, tx, id); err != nil || task.State != want {
						t.Errorf("apply of %s finds the task %s, %v", outcome, task.State, err)
					}
					return nil
				}
			})
			f.do(id, outcome, "")
		}
	})
}

// A task that pauses holds up neither its class nor another lane, and a retry ends
// the pause.
func TestPause(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		paused := f.add(NewTask{Lane: "team:a"})
		f.do(paused, albs.OutcomeInfra, "disk")
		f.noTask("a")
		same := f.add(NewTask{Lane: "team:a"})
		f.do(same, albs.OutcomeOK, "")
		other := f.add(NewTask{Lane: "team:b"})
		f.do(other, albs.OutcomeOK, "")
		f.cancel(paused)
		f.retry(paused)
		f.do(paused, albs.OutcomeOK, "")
	})
}

// Whatever makes a task ready has the dispatchers of all masters look at once.
func TestReadyWakes(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	wake, stop := f.events.Wake(readyTopic)
	defer stop()
	woken := func(what string) {
		t.Helper()
		select {
		case <-wake:
		default:
			t.Errorf("%s woke nobody", what)
		}
	}
	first := f.enqueue()
	woken("Enqueue")
	second := f.enqueue(first)
	select {
	case <-wake:
		t.Error("a blocked task woke the dispatchers")
	default:
	}
	f.do(first, albs.OutcomeOK, "")
	woken("the end of what it waited for")
	f.do(second, albs.OutcomeInfra, "disk")
	woken("a lost attempt")
	f.cancel(second)
	f.retry(second)
	woken("Retry")
	f.claim("a")
	f.passTime(term + time.Second)
	woken("an expired lease")
}

// What people and followers see of a task that can't be given out for a while is
// one event, however often it is tried.
func TestUndoneClaimsAreSilent(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.handler.set(func(h *handler) { h.offer = func(Task) error { return albs.Errorf(albs.Unavailable, "no mirror") } })
		id := f.enqueue()
		for range 5 {
			f.noTask("a")
			f.clock_.add(time.Minute)
		}
		f.want(id, albs.TaskQueued, "can't be given out now, and is tried again: no mirror")
		f.handler.set(func(h *handler) { h.offer = nil })
		f.complete("a", f.claim("a"), albs.OutcomeOK, "")
		f.wantEvents("build:1", "task.queued", "task.queued", "task.leased", "task.succeeded")
	})
}
