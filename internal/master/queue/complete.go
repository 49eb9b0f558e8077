package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/failpoint"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// outcomes says what each outcome is to the task.
var outcomes = map[albs.Outcome]life.Trigger{
	albs.OutcomeOK:       life.OK,
	albs.OutcomeFailed:   life.Failed,
	albs.OutcomeExcluded: life.Exclude,
	albs.OutcomeInfra:    life.Infra,
	albs.OutcomeLost:     life.Lost,
	albs.OutcomeStopped:  life.Stopped,
}

// completeTries bounds how often Admit is asked again because something moved
// between it and its apply.
const completeTries = 5

// Complete implements worker.Master. Stopped by a holder that wasn't told to stop
// gives the task back.
func (q *Queue) Complete(ctx context.Context, token worker.Token, outcome albs.Outcome, result albs.Result) error {
	me, err := q.identify(ctx)
	if err != nil {
		return err
	}
	if outcomes[outcome] == "" {
		return albs.Errorf(albs.Invalid, "%.40q is no outcome", outcome)
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("complete task %d: %w", token.Task, err)
	}
	if len(raw) > worker.MaxResult {
		return albs.Errorf(albs.TooLarge, "a result of %d bytes, at most %d go", len(raw), worker.MaxResult)
	}
	e := ending{
		how: outcomes[outcome], outcome: outcome, reason: result.Reason,
		result: albs.DigestOf(append([]byte(outcome+"\n"), raw...)),
	}
	for try := 1; ; try++ {
		err := q.complete(ctx, me, token, e, result)
		if err == nil {
			failpoint.Here(failpoint.Unanswered)
		}
		if !errors.Is(err, albs.Conflict) {
			return err
		}
		if try == completeTries {
			return albs.Errorf(albs.Unavailable, "what task %d changes is busy, report again: %w", token.Task, err)
		}
	}
}

func (q *Queue) complete(ctx context.Context, me auth.Actor, token worker.Token, e ending, result albs.Result) error {
	h, err := q.holder(ctx, q.db, me, token)
	if err != nil {
		return err
	}
	if done, err := answer(h, e); done {
		return err
	}
	var apply func(context.Context, db.Tx) error
	if e.how == life.OK || e.how == life.Failed || e.how == life.Exclude {
		l, err := q.lease(h)
		if err != nil {
			return err
		}
		handler, err := q.handler(h.task.Kind)
		if err != nil {
			return err
		}
		apply, err = handler.Admit(ctx, l, e.outcome, result)
		if refuses(err) {
			return q.refuse(ctx, me, token, e, err)
		}
		if err != nil {
			return fmt.Errorf("admit result of task %d: %w", token.Task, err)
		}
	}
	err = q.conclude(ctx, me, token, e, apply)
	if r, ok := errors.AsType[*refusal](err); ok {
		return q.refuse(ctx, me, token, e, r.err)
	}
	return err
}

// conclude ends the attempt and applies its result, unless that was done before.
func (q *Queue) conclude(ctx context.Context, me auth.Actor, token worker.Token, e ending, apply func(context.Context, db.Tx) error) error {
	return q.db.InTx(ctx, func(tx db.Tx) error {
		h, err := q.holder(ctx, tx, me, token)
		if err != nil {
			return err
		}
		if done, err := answer(h, e); done {
			return err
		}
		tx.AfterCommit(func() { failpoint.Here(failpoint.Committed) })
		if err := q.revive(&h); err != nil {
			return err
		}
		if err := q.end(ctx, tx, &h, e); err != nil {
			return err
		}
		// The handler shall find the task in its new state, which settle writes
		// again with what follows from it.
		if apply != nil {
			if err := store.UpdateTask(ctx, tx, h.task); err != nil {
				return err
			}
			if err := apply(ctx, tx); refuses(err) {
				return &refusal{err}
			} else if err != nil {
				return fmt.Errorf("apply result of task %d: %w", token.Task, err)
			}
		}
		return q.settle(ctx, tx, &h.task)
	})
}

// refuse ends the attempt for why, and returns how the report is to be answered:
// with that, unless the same report, made twice, was taken by another call meanwhile.
func (q *Queue) refuse(ctx context.Context, me auth.Actor, token worker.Token, e ending, why error) error {
	e.how, e.reason = life.Refuse, "result refused: "+why.Error()
	if err := q.conclude(ctx, me, token, e, nil); err != nil {
		return err
	}
	h, err := q.holder(ctx, q.db, me, token)
	if err != nil {
		return err
	}
	_, err = answer(h, e)
	return err
}

func refused(reason string) error { return albs.Errorf(albs.Invalid, "%s", life.OneLine(reason)) }

// refusal carries an apply's Invalid out of the transaction that it undoes.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }

// refuses reports whether a handler's error is a word on the task, not on the day.
func refuses(err error) bool {
	return errors.Is(err, albs.Invalid) || errors.Is(err, albs.NotFound) || errors.Is(err, albs.TooLarge)
}

// answer reports whether the report e needs nothing done, and then what it is
// answered with: a repeated report with the answer of the first.
func answer(h held, e ending) (bool, error) {
	if h.attempt.Outcome != "" && h.attempt.Outcome == e.outcome && h.attempt.Result == e.result {
		if h.attempt.Ended == life.Refuse {
			return true, refused(h.attempt.Reason)
		}
		return true, nil
	}
	if err := h.live(); err != nil {
		return true, err
	}
	if h.task.State == albs.TaskStopping && e.how != life.Stopped {
		return true, stopped(h.task)
	}
	return false, nil
}
