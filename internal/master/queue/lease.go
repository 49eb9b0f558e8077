package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/spec"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// identify returns the worker that calls, which thereby is seen.
func (q *Queue) identify(ctx context.Context) (auth.Actor, error) {
	me := auth.From(ctx)
	switch {
	case me.Kind == auth.KindAnonymous:
		return me, albs.Errorf(albs.Unauthenticated, "a worker must show its token")
	case me.Kind != auth.KindWorker || me.Worker == 0:
		return me, albs.Errorf(albs.Forbidden, "%s is no worker", me)
	}
	q.fleet.Seen(me)
	return me, nil
}

// until is the end of a lease that begins or is renewed now.
func (q *Queue) until(now db.Time) db.Time { return db.At(now.Add(q.config.Lease)) }

// held is a token's task and attempt, as its holder finds them.
type held struct {
	task    store.Task
	attempt store.Attempt
}

// holder returns what token is for: NotFound, Forbidden or StaleLease as
// worker.Master says. The attempt may have ended: see live.
func (q *Queue) holder(ctx context.Context, from db.Q, me auth.Actor, token worker.Token) (held, error) {
	t, err := store.GetTask(ctx, from, token.Task)
	if err != nil {
		return held{}, err
	}
	a, err := store.GetAttempt(ctx, from, token.Task, token.Fence)
	unknown := errors.Is(err, sql.ErrNoRows)
	if err != nil && !unknown {
		return held{}, fmt.Errorf("read attempt: %w", err)
	}
	// A made-up token counts as one for whoever holds the task.
	if owner := a.WorkerID; !unknown && owner != me.Worker || unknown && t.WorkerID != 0 && t.WorkerID != me.Worker {
		q.log.Warn().Str("worker", me.Name).Int64("task_id", int64(t.ID)).Int64("fence", token.Fence).
			Msg("worker used a lease of another")
		return held{}, albs.Errorf(albs.Forbidden, "task %d is leased to another worker", t.ID)
	}
	if unknown {
		return held{}, albs.Errorf(albs.StaleLease, "task %d was never leased under token %d", t.ID, token.Fence)
	}
	return held{t, a}, nil
}

// live returns nil if the attempt goes on, or would if its expired lease is
// revived; else StaleLease.
func (h held) live() error {
	if h.attempt.Fence != h.task.Fence {
		return albs.Errorf(albs.StaleLease, "task %d was leased again after attempt %d", h.task.ID, h.attempt.Number)
	}
	if h.attempt.EndedAt.IsZero() || h.expired() {
		return nil
	}
	return albs.Errorf(albs.StaleLease, "attempt %d of task %d has ended", h.attempt.Number, h.task.ID)
}

// expired reports whether the lease ran out and nobody has claimed the task since.
func (h held) expired() bool {
	return h.attempt.Ended == life.Expire && h.task.State == albs.TaskQueued && h.attempt.Fence == h.task.Fence
}

// revive makes h's expired lease one that never expired, in memory.
func (q *Queue) revive(h *held) error {
	if !h.expired() {
		return nil
	}
	to, err := life.Next(h.task.ID, h.task.State, life.Revive)
	if err != nil {
		return err
	}
	h.task.State, h.task.Reason, h.task.NotBeforeAt = to, "", db.Time{}
	h.task.Lost--
	h.attempt.Ended, h.attempt.EndedAt, h.attempt.Reason = "", db.Time{}, ""
	return nil
}

// keep extends h's lease by a full term in tx, reviving it if need be.
func (q *Queue) keep(ctx context.Context, tx db.Tx, h *held) error {
	revived := h.expired()
	if revived {
		if err := q.revive(h); err != nil {
			return err
		}
		if err := store.UpdateAttempt(ctx, tx, h.attempt); err != nil {
			return err
		}
	} else if _, err := life.Next(h.task.ID, h.task.State, life.Renew); err != nil {
		return err
	}
	h.task.LeaseUntil = q.until(q.clock.now())
	if revived {
		return q.settle(ctx, tx, &h.task)
	}
	return store.UpdateTask(ctx, tx, h.task)
}

// lease returns h as its worker has it; StaleLease if it has none yet: a token that
// was guessed while its offer is made must reach no handler, for it has no spec.
func (q *Queue) lease(h held) (worker.Lease, error) {
	if h.attempt.Spec == "" {
		return worker.Lease{}, albs.Errorf(albs.StaleLease, "token %d of task %d was not handed out", h.attempt.Fence, h.task.ID)
	}
	l := worker.Lease{
		Token: worker.Token{Task: h.task.ID, Fence: h.attempt.Fence}, Kind: h.task.Kind, Attempt: h.attempt.Number,
		Until: h.task.LeaseUntil.Time, Term: q.config.Lease,
	}
	if h.attempt.Evidence != "" {
		l.Evidence = json.RawMessage(h.attempt.Evidence)
	}
	if err := json.Unmarshal([]byte(h.attempt.Spec), &l.Spec); err != nil {
		return l, fmt.Errorf("read spec of task %d, attempt %d: %w", h.task.ID, h.attempt.Number, err)
	}
	return l, nil
}

// call begins every call but Claim and Complete: it checks the token and keeps
// the lease alive if it has run out. Stopped, unless stopping is fine.
func (q *Queue) call(ctx context.Context, token worker.Token, stoppingToo bool) (held, error) {
	me, err := q.identify(ctx)
	if err != nil {
		return held{}, err
	}
	h, err := q.holder(ctx, q.db, me, token)
	if err == nil {
		err = h.live()
	}
	if err != nil {
		return held{}, err
	}
	if h.task.State == albs.TaskStopping {
		if stoppingToo {
			return h, nil
		}
		return held{}, stopped(h.task)
	}
	if !h.expired() && q.clock.now().Before(h.task.LeaseUntil.Time) {
		return h, nil
	}
	return q.renew(ctx, me, token, stoppingToo)
}

func stopped(t store.Task) error {
	return albs.Errorf(albs.Stopped, "task %d is to stop: %s", t.ID, t.Reason)
}

// renew extends the lease whatever state it is found in, if it can be.
func (q *Queue) renew(ctx context.Context, me auth.Actor, token worker.Token, stoppingToo bool) (h held, err error) {
	err = q.db.InTx(ctx, func(tx db.Tx) error {
		if h, err = q.holder(ctx, tx, me, token); err != nil {
			return err
		}
		if err := h.live(); err != nil {
			return err
		}
		if h.task.State == albs.TaskStopping {
			if stoppingToo {
				return nil
			}
			return stopped(h.task)
		}
		return q.keep(ctx, tx, &h)
	})
	return h, err
}

// Renew implements worker.Master.
func (q *Queue) Renew(ctx context.Context, token worker.Token) (time.Time, error) {
	me, err := q.identify(ctx)
	if err != nil {
		return time.Time{}, err
	}
	until := q.until(q.clock.now())
	ok, err := store.RenewLease(ctx, q.db, token.Task, token.Fence, me.Worker, until)
	if err != nil {
		return time.Time{}, fmt.Errorf("renew lease: %w", err)
	}
	if ok {
		return until.Time, nil
	}
	h, err := q.renew(ctx, me, token, false)
	return h.task.LeaseUntil.Time, err
}

// Log implements worker.Master.
func (q *Queue) Log(ctx context.Context, token worker.Token, stream string, offset int64, p []byte) (int64, error) {
	if len(p) > worker.MaxLogChunk {
		return 0, albs.Errorf(albs.TooLarge, "%d bytes of log at once, at most %d go", len(p), worker.MaxLogChunk)
	}
	if offset < 0 {
		return 0, albs.Errorf(albs.Invalid, "a log has no offset %d", offset)
	}
	h, err := q.call(ctx, token, true)
	if err != nil {
		return 0, err
	}
	length, err := q.logs.Append(h.task.ID, h.attempt.Number, stream, offset, p)
	if err == nil && len(p) > 0 {
		q.events.Nudge(LogTopic(h.task.ID))
	}
	return length, err
}

// Stat implements worker.Master.
func (q *Queue) Stat(ctx context.Context, token worker.Token, d albs.Digest) (int64, error) {
	if _, err := q.call(ctx, token, false); err != nil {
		return 0, err
	}
	return q.uploads.Staged(ctx, Upload(token), d)
}

// Put implements worker.Master.
func (q *Queue) Put(ctx context.Context, token worker.Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	if _, err := q.call(ctx, token, false); err != nil {
		return 0, err
	}
	return q.uploads.Stage(ctx, Upload(token), d, offset, r, worker.MaxUpload)
}

// Get implements worker.Master.
func (q *Queue) Get(ctx context.Context, token worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	h, err := q.call(ctx, token, false)
	if err != nil {
		return nil, err
	}
	if !d.Valid() {
		return nil, albs.Errorf(albs.Invalid, "%.80q is not a sha256", string(d))
	}
	l, err := q.lease(h)
	if err != nil {
		return nil, err
	}
	if spec.Digests(l.Spec)[d] {
		return q.blobs.OpenRange(ctx, d, offset, length)
	}
	held, err := q.uploads.Staged(ctx, Upload(token), d)
	if err != nil {
		return nil, err
	}
	if held > 0 {
		return q.uploads.OpenStaged(ctx, Upload(token), d, offset, length)
	}
	handler, err := q.handler(h.task.Kind)
	if err != nil {
		return nil, err
	}
	ok, err := handler.Reads(ctx, l, d)
	if err != nil {
		return nil, fmt.Errorf("decide on reading %s for task %d: %w", d.Short(), h.task.ID, err)
	}
	if !ok {
		q.log.Warn().Str("worker", h.task.Worker).Int64("task_id", int64(h.task.ID)).Str("digest", string(d)).
			Msg("worker asked for what its task doesn't name")
		return nil, albs.Errorf(albs.Forbidden, "task %d doesn't name %s", h.task.ID, d.Short())
	}
	return q.blobs.OpenRange(ctx, d, offset, length)
}

// ending is how an attempt ends.
type ending struct {
	how     life.Trigger
	outcome albs.Outcome
	result  albs.Digest
	reason  string
}

// maxInfra is how many reported failures of workers' means end a task: it is tried
// once more, for another worker's may be better.
const maxInfra = 2

// end ends h's attempt in tx and moves the task in memory, which settle writes.
// An attempt that is lost, or whose worker's means failed, is followed by another,
// after a pause, until there were too many.
func (q *Queue) end(ctx context.Context, tx db.Tx, h *held, e ending) error {
	e.reason = life.OneLine(e.reason)
	how, reason := e.how, e.reason
	switch {
	case how == life.Infra && e.outcome != "":
		h.task.Infra++
		if h.task.Infra >= maxInfra {
			how, reason = life.Exhaust, life.OneLine(fmt.Sprintf("infra: reported %d times, the last: %s", h.task.Infra, e.reason))
		}
	case how == life.Infra, how == life.Lost, how == life.Expire:
		h.task.Lost++
		if h.task.Lost >= q.config.MaxLost {
			how, reason = life.Exhaust, life.OneLine(fmt.Sprintf("infra: %d attempts were lost, the last: %s", h.task.Lost, e.reason))
		}
	}
	to, err := life.Next(h.task.ID, h.task.State, how)
	if err != nil {
		return err
	}
	if h.task.State != albs.TaskStopping { // there the reason is why it was cancelled
		h.task.Reason = reason
	}
	now := q.clock.now()
	if to == albs.TaskQueued && how != life.Expire {
		// Not at once to the same worker again.
		h.task.NotBeforeAt = db.At(now.Add(q.config.Backoff * time.Duration(max(h.task.Lost, 1))))
	}
	h.task.State = to
	h.attempt.EndedAt, h.attempt.Ended = now, e.how
	h.attempt.Outcome, h.attempt.Result, h.attempt.Reason = e.outcome, e.result, e.reason
	if err := store.UpdateAttempt(ctx, tx, h.attempt); err != nil {
		return err
	}
	used := measure.Attempt{TaskID: h.task.ID, Fence: h.attempt.Fence, Lane: h.task.Lane, ClaimedAt: h.attempt.ClaimedAt, EndedAt: now}
	kind, key := h.task.Kind, h.task.Key
	tx.AfterCommit(func() {
		q.usage.Add(used)
		if how == life.OK && key != "" {
			q.remember(ctx, kind, key, now.Sub(used.ClaimedAt.Time))
		}
	})
	if e.how == life.Expire || e.how == life.Lost {
		if err := q.weigh(ctx, tx, h.attempt); err != nil {
			return err
		}
	}
	if !h.expired() {
		token := worker.Token{Task: h.task.ID, Fence: h.attempt.Fence}
		tx.AfterCommit(func() { q.drop(ctx, token) })
	}
	return nil
}

// remember adds a run to the history of its key, apart from the transaction that ended
// it: all who end tasks of one key would wait for each other there, and a run that is
// forgotten does no harm.
func (q *Queue) remember(ctx context.Context, kind albs.TaskKind, key string, took time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := q.db.InReadCommitted(ctx, func(tx db.Tx) error { return measure.Remember(ctx, tx, kind, key, took) })
	if err != nil {
		q.log.Warn().Err(err).Str("key", key).Msg("how long a task took is not remembered")
	}
}

// drop forgets an ended attempt's uploads; what a crash leaves the sweep takes.
func (q *Queue) drop(ctx context.Context, token worker.Token) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := q.uploads.DropStaged(ctx, Upload(token)); err != nil {
		q.log.Warn().Err(err).Int64("task_id", int64(token.Task)).Msg("uploads not dropped")
	}
}
