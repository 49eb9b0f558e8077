package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// cell is one task, which alone needs its arch, before something happens to it.
type cell struct {
	*fixture
	arch   string
	before albs.TaskID // what it comes after; succeeded but where it is blocked
	id     albs.TaskID
	token  worker.Token
}

func (c *cell) offer(arch string) worker.Offer {
	return worker.Offer{Labels: []string{"kind:build", "arch:" + arch}}
}

// run claims the task of arch as a and, if o isn't empty, ends it.
func (c *cell) run(arch string, o albs.Outcome) {
	c.t.Helper()
	l, err := c.Claim(c.as("a"), c.offer(arch))
	if err != nil || l == nil {
		c.t.Fatalf("Claim of %s = %v, %v", arch, l, err)
	}
	c.token = l.Token
	if o != "" {
		c.complete("a", l, o, "word")
	}
}

// The table once more, by what really happens to rows: every state × every trigger,
// through the queue's own ways in. What a cell doesn't allow changes nothing.
func TestTransitionsOnTheDatabase(t *testing.T) {
	const expired = "expired" // queued, and its last holder could revive it
	states := []struct {
		name  string
		state albs.TaskState
		reach func(c *cell)
	}{
		{"blocked", albs.TaskBlocked, nil},
		{"queued", albs.TaskQueued, func(*cell) {}},
		{expired, albs.TaskQueued, func(c *cell) { c.run(c.arch, ""); c.passTime(term + time.Second) }},
		{"leased", albs.TaskLeased, func(c *cell) { c.run(c.arch, "") }},
		{"stopping", albs.TaskStopping, func(c *cell) { c.run(c.arch, ""); c.cancel(c.id) }},
		{"succeeded", albs.TaskSucceeded, func(c *cell) { c.run(c.arch, albs.OutcomeOK) }},
		{"failed", albs.TaskFailed, func(c *cell) { c.run(c.arch, albs.OutcomeFailed) }},
		{"excluded", albs.TaskExcluded, func(c *cell) { c.run(c.arch, albs.OutcomeExcluded) }},
		{"cancelled", albs.TaskCancelled, func(c *cell) {
			c.run(c.arch, "")
			c.cancel(c.id)
			c.complete("a", &worker.Lease{Token: c.token}, albs.OutcomeStopped, "")
		}},
	}
	report := func(o albs.Outcome) func(*cell) error {
		return func(c *cell) error {
			return c.Complete(c.as("a"), c.token, o, albs.Result{Reason: "another word"})
		}
	}
	end := func(how life.Trigger) func(*cell) error {
		return func(c *cell) error { return c.endClaim(c.as("a"), c.token, how, "no") }
	}
	expire := func(c *cell) error {
		c.clock_.add(term + time.Second)
		return c.reap(auth.System(c.t.Context(), "queue"))
	}
	events := []struct {
		name    string
		trigger life.Trigger
		holder  bool // it comes from who holds the newest token, and revives an expired lease
		happen  func(c *cell) error
	}{
		{"claim", life.Claim, false, func(c *cell) error { _, err := c.Claim(c.as("b"), c.offer(c.arch)); return err }},
		{"undo", life.Undo, true, func(c *cell) error {
			return c.undo(c.as("a"), store.Task{ID: c.token.Task, Fence: c.token.Fence}, 0, "")
		}},
		{"refuse", life.Refuse, true, end(life.Refuse)},
		{"renew", life.Renew, true, func(c *cell) error { _, err := c.Renew(c.as("a"), c.token); return err }},
		{"revive", life.Revive, true, func(c *cell) error { _, err := c.Log(c.as("a"), c.token, "build", 0, nil); return err }},
		{"ok", life.OK, true, report(albs.OutcomeOK)},
		{"failed", life.Failed, true, report(albs.OutcomeFailed)},
		{"excluded", life.Exclude, true, report(albs.OutcomeExcluded)},
		{"infra", life.Infra, true, report(albs.OutcomeInfra)},
		{"infra of an offer", life.Infra, true, end(life.Infra)},
		{"lost", life.Lost, true, report(albs.OutcomeLost)},
		{"stopped", life.Stopped, true, report(albs.OutcomeStopped)},
		{"expire", life.Expire, false, expire},
		{"exhaust", life.Exhaust, false, func(c *cell) error {
			if _, err := c.d.ExecContext(c.t.Context(), `UPDATE task SET lost = 2 WHERE id = $1`, c.id); err != nil {
				return err
			}
			return expire(c)
		}},
		{"cancel", life.Cancel, false, func(c *cell) error {
			return c.tx(func(tx db.Tx) error { return c.Cancel(c.t.Context(), tx, c.id, "cancelled") })
		}},
		{"retry", life.Retry, false, func(c *cell) error {
			return c.tx(func(tx db.Tx) error { return c.Retry(c.t.Context(), tx, c.id) })
		}},
		{"spare", life.Spare, false, func(c *cell) error {
			return c.tx(func(tx db.Tx) error { return c.Exclude(c.t.Context(), tx, c.id, "ExcludeArch") })
		}},
		{"unblock", life.Unblock, false, func(c *cell) error {
			if task, err := c.Task(c.t.Context(), c.before); err != nil || !task.State.Final() {
				c.run(c.arch+"-before", albs.OutcomeOK)
				return err
			}
			return c.tx(func(tx db.Tx) error { return c.release(c.t.Context(), tx, c.before) })
		}},
		{"hinder", life.Hinder, false, func(c *cell) error {
			if task, err := c.Task(c.t.Context(), c.before); err != nil || !task.State.Final() {
				c.run(c.arch+"-before", albs.OutcomeFailed)
				return err
			}
			return c.tx(func(tx db.Tx) error { return c.hinder(c.t.Context(), tx, c.before, []albs.TaskID{c.before}) })
		}},
	}
	asked := make(map[life.Trigger]bool)
	for _, e := range events {
		asked[e.trigger] = true
	}
	for s, row := range life.Transitions {
		for trigger := range row {
			if !asked[trigger] {
				t.Errorf("%s on %s isn't asked for", trigger, s)
			}
		}
	}
	each(t, func(t *testing.T, f *fixture) {
		for i, s := range states {
			for j, e := range events {
				// What is lost here again and again would end a's work.
				if err := f.Fleet().Lift(f.operator(), "a"); err != nil && !errors.Is(err, albs.NotFound) {
					t.Fatal(err)
				}
				c := &cell{fixture: f, arch: fmt.Sprintf("c%d-%d", i, j)}
				c.before = c.add(NewTask{Needs: []string{"arch:" + c.arch + "-before"}})
				if s.reach != nil {
					c.run(c.arch+"-before", albs.OutcomeOK)
				}
				c.id = c.add(NewTask{Needs: []string{"arch:" + c.arch}, After: []albs.TaskID{c.before}})
				c.token = worker.Token{Task: c.id, Fence: 1}
				if s.reach != nil {
					s.reach(c)
				}
				was, err := store.GetTask(t.Context(), f.d, c.id)
				if err != nil || was.State != s.state {
					t.Fatalf("task is %s, want %s; %v", was.State, s.state, err)
				}
				from := s.state
				if s.name == expired && e.holder {
					from = life.Transitions[from][life.Revive]
				}
				want, allowed := life.Transitions[from][e.trigger]
				switch {
				case s.name == expired && (e.trigger == life.Revive || e.trigger == life.Renew):
					want, allowed = albs.TaskLeased, true
				case s.name == "queued" && e.trigger == life.Revive: // nobody holds a token of it
					allowed = false
				case s.name == "stopping" && e.name == "infra": // a worker has one word then, and that is stopped
					allowed = false
				case e.trigger == life.Retry && allowed: // nothing keeps it waiting
					want = life.Transitions[want][life.Unblock]
				}
				err = e.happen(c)
				is, err2 := store.GetTask(t.Context(), f.d, c.id)
				if err2 != nil {
					t.Fatal(err2)
				}
				if allowed && (err != nil || is.State != want) {
					t.Errorf("%s on %s leads to %s, want %s; %v", e.name, s.name, is.State, want, err)
				}
				if allowed {
					continue
				}
				was.LeaseUntil, is.LeaseUntil, was.Lost, is.Lost = db.Time{}, db.Time{}, 0, 0
				if diff := cmp.Diff(was, is); diff != "" {
					t.Errorf("%s on %s isn't allowed and changes (-was +is):\n%s", e.name, s.name, diff)
				}
			}
		}
	})
}
