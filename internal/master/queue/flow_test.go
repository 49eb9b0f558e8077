package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/db"
)

func (f *fixture) retry(id albs.TaskID) {
	f.t.Helper()
	if err := f.tx(func(tx db.Tx) error { return f.Retry(f.t.Context(), tx, id) }); err != nil {
		f.t.Fatalf("Retry(%d): %v", id, err)
	}
}

func (f *fixture) cancel(id albs.TaskID) {
	f.t.Helper()
	if err := f.tx(func(tx db.Tx) error { return f.Cancel(f.t.Context(), tx, id, "") }); err != nil {
		f.t.Fatalf("Cancel(%d): %v", id, err)
	}
}

// do claims the only ready task, which must be id, and ends it.
func (f *fixture) do(id albs.TaskID, o albs.Outcome, reason string) {
	f.t.Helper()
	l := f.claim("a")
	if l.Token.Task != id {
		f.t.Fatalf("claimed task %d, want %d", l.Token.Task, id)
	}
	f.complete("a", l, o, reason)
}

// a → b → c, and c after x too.
func TestChain(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a := f.enqueue()
		b := f.enqueue(a)
		x := f.enqueue()
		c := f.enqueue(b, x, b)
		f.want(b, albs.TaskBlocked, "")
		f.want(c, albs.TaskBlocked, "")

		f.do(a, albs.OutcomeFailed, "does not compile")
		f.want(a, albs.TaskFailed, "does not compile")
		why := fmt.Sprintf("waits for build task %d, which failed: does not compile", a)
		if task := f.want(b, albs.TaskBlocked, why); task.Cause != a {
			t.Errorf("cause of b = %d, want %d", task.Cause, a)
		}
		if task := f.want(c, albs.TaskBlocked, why); task.Cause != a {
			t.Errorf("cause of c = %d, want %d", task.Cause, a)
		}
		late := f.enqueue(c)
		f.want(late, albs.TaskBlocked, why)

		f.cancel(x)
		f.want(c, albs.TaskBlocked, why)
		f.retry(a)
		f.want(a, albs.TaskQueued, "")
		f.want(b, albs.TaskBlocked, "")
		other := fmt.Sprintf("waits for build task %d, which was cancelled", x)
		f.want(c, albs.TaskBlocked, other)
		f.want(late, albs.TaskBlocked, other)

		f.retry(x)
		f.want(c, albs.TaskBlocked, "")
		f.want(late, albs.TaskBlocked, "")
		f.do(a, albs.OutcomeOK, "")
		f.want(b, albs.TaskQueued, "")
		f.do(b, albs.OutcomeExcluded, "ExclusiveArch: s390x") // made nothing, and hinders nothing
		f.want(b, albs.TaskExcluded, "ExclusiveArch: s390x")
		f.want(c, albs.TaskBlocked, "")
		f.do(x, albs.OutcomeOK, "")
		f.do(c, albs.OutcomeOK, "")
		f.do(late, albs.OutcomeOK, "")
		f.noTask("a")

		err := f.tx(func(tx db.Tx) error { return f.Retry(t.Context(), tx, a) })
		wantKind(t, "Retry of a succeeded task", err, albs.Conflict)
		f.want(f.enqueue(a, b), albs.TaskQueued, "")
	})
}

// A task that is retried while what it waits for has failed waits in vain itself.
func TestRetryBehindAFailure(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a := f.enqueue()
		b := f.enqueue(a)
		c := f.enqueue(b)
		f.cancel(b)
		f.want(c, albs.TaskBlocked, fmt.Sprintf("waits for build task %d, which was cancelled", b))
		f.do(a, albs.OutcomeFailed, "no")
		f.retry(b)
		why := fmt.Sprintf("waits for build task %d, which failed: no", a)
		f.want(b, albs.TaskBlocked, why)
		f.want(c, albs.TaskBlocked, why)
		f.retry(a)
		f.do(a, albs.OutcomeOK, "")
		f.do(b, albs.OutcomeOK, "")
		f.do(c, albs.OutcomeOK, "")
	})
}

// What several wait for last is released once, whoever of them ends last: at
// READ COMMITTED each would see the other unfinished.
func TestLastOnesTogether(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const rounds, width = 5, 4
		for range rounds {
			var before []albs.TaskID
			for range width {
				before = append(before, f.enqueue())
			}
			last := f.enqueue(before...)
			var g errgroup.Group
			for range width {
				l := f.claim("a")
				g.Go(func() error { return f.Complete(f.as("a"), l.Token, albs.OutcomeOK, albs.Result{}) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			f.do(last, albs.OutcomeOK, "")
		}
	})
}

// Two owners share a worker evenly, whatever one of them has queued before; within
// one, the higher priority goes first.
func TestLanesTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for range 10 {
			f.add(NewTask{Lane: "team:many"})
		}
		few := []albs.TaskID{f.add(NewTask{Lane: "team:few"}), f.add(NewTask{Lane: "team:few", Priority: 5})}
		var got []albs.TaskID
		for range 4 {
			l := f.claim("a")
			task := f.want(l.Token.Task, albs.TaskLeased, "")
			if task.Lane == "team:few" {
				got = append(got, task.ID)
			}
		}
		if len(got) != 2 || got[0] != few[1] || got[1] != few[0] {
			t.Errorf("of four claims %v went to the few, want %v and %v", got, few[1], few[0])
		}
		f.clock_.add(time.Millisecond)
	})
}

// A handler hears of what waits in vain, in the transaction that ends the cause, and
// may end it there.
func TestInVain(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var told []string
		f.handler.set(func(h *handler) {
			h.inVain = func(_ context.Context, tx db.Tx, task Task) error {
				tx.AfterCommit(func() { told = append(told, fmt.Sprintf("%d %s for %d", task.ID, task.State, task.Cause)) })
				return nil
			}
		})
		a := f.enqueue()
		b := f.enqueue(a)
		c := f.enqueue(b)
		f.do(a, albs.OutcomeFailed, "no")
		want := []string{fmt.Sprintf("%d blocked for %d", b, a), fmt.Sprintf("%d blocked for %d", c, a)}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}

		f.retry(a)
		f.handler.set(func(h *handler) {
			h.inVain = func(ctx context.Context, tx db.Tx, task Task) error {
				if task.ID != b {
					return nil
				}
				return f.Cancel(ctx, tx, task.ID, task.Reason)
			}
		})
		f.do(a, albs.OutcomeFailed, "no again")
		why := fmt.Sprintf("waits for build task %d, which failed: no again", a)
		f.want(b, albs.TaskCancelled, why)
		if task := f.want(c, albs.TaskBlocked, fmt.Sprintf("waits for build task %d, which was cancelled: %s", b, why)); task.Cause != b {
			t.Errorf("cause of c = %d, want %d", task.Cause, b)
		}

		f.retry(a)
		f.retry(b)
		f.handler.set(func(h *handler) {
			h.inVain = func(context.Context, db.Tx, Task) error { return errors.New("not now") }
		})
		l := f.claim("a")
		if err := f.Complete(f.as("a"), l.Token, albs.OutcomeFailed, albs.Result{Reason: "no"}); err == nil {
			t.Error("a failure was taken although what waits for it could not be told")
		}
		f.want(a, albs.TaskLeased, "")
		f.want(b, albs.TaskBlocked, "")
	})
}
