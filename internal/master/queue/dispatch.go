package queue

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/fleet"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// Claim puts its worker among the waiting; the dispatcher, one a process, looks
// at all of them and all that is ready together, decides by schedule.Assign, and
// claims for everybody in one transaction. Then the claimer asks the kind's handler
// for the spec and hands the lease over.

// Bounds on dispatch.
const (
	maxWaiting = 20_000 // workers that wait in this process
	maxBatch   = 100    // claims in one transaction
	maxLabels  = 200    // in one offer

	// lookEvery is how long a task can lie ready unseen when the wake-up from
	// another master is lost, or when its pause is over.
	lookEvery = time.Second

	// maxPassedOver is how many tasks of a class are read at most to find those that
	// no pattern and no refusal keeps from everybody who waits.
	maxPassedOver = 2000
)

type waiter struct {
	worker  schedule.Worker  // as it offers itself: the fleet knows the rest
	once    bool             // it leaves after one look
	leaving bool             // it has left while the dispatcher was looking
	got     chan *store.Task // receives once: a claim, or nil if it leaves
}

// Claim implements worker.Master. Forbidden if a label is beyond the identity, or the key
// is another's.
func (q *Queue) Claim(ctx context.Context, offer worker.Offer) (*worker.Lease, error) {
	me, err := q.identify(ctx)
	if err != nil {
		return nil, err
	}
	if len(offer.Labels) > maxLabels {
		return nil, albs.Errorf(albs.TooLarge, "an offer of %d labels, at most %d go", len(offer.Labels), maxLabels)
	}
	for _, l := range offer.Labels {
		if !schedule.ValidLabel(l) {
			return nil, albs.Errorf(albs.Invalid, "%.60q is no label", l)
		}
		if !me.Allows(l) {
			q.log.Warn().Str("worker", me.Name).Str("label", l).Msg("offer beyond the worker's identity refused")
			return nil, albs.Errorf(albs.Forbidden, "the identity of worker %s doesn't allow it to offer %s", me.Name, l)
		}
	}
	if q.meet != nil {
		if err := q.meet(ctx, me, offer.Key); err != nil {
			q.log.Warn().Err(err).Str("worker", me.Name).Msg("offer refused for its statement key")
			return nil, err
		}
	}
	if offer.Cores < 0 || offer.Memory < 0 || offer.Disk < 0 {
		return nil, albs.Errorf(albs.Invalid, "an offer of less than nothing")
	}
	w := schedule.Worker{
		ID: me.Worker, Name: me.Name, Labels: slices.Compact(slices.Sorted(slices.Values(offer.Labels))),
		Room: Room{Cores: offer.Cores, Memory: offer.Memory, Disk: offer.Disk},
	}
	q.fleet.Offered(w, offer.Version, offer.Pause)
	wait := min(max(offer.Wait, 0), worker.MaxClaimWait)
	// One look takes no longer than 5 s.
	long, cancel := context.WithTimeout(ctx, cmp.Or(time.Duration(wait)*time.Second, 5*time.Second))
	defer cancel()
	for {
		t, err := q.await(ctx, long, &waiter{worker: w, once: wait == 0, got: make(chan *store.Task, 1)})
		if t == nil {
			return nil, err
		}
		lease, err := q.handOver(ctx, *t, offer)
		if lease != nil || err != nil {
			return lease, err
		}
		// That task couldn't be had after all; there may be another.
	}
}

// await returns a claimed task, or nil when long, a child of ctx, ends; with ctx's
// error if it was that.
func (q *Queue) await(ctx, long context.Context, w *waiter) (*store.Task, error) {
	if err := q.enter(w); err != nil {
		return nil, err
	}
	select {
	case t := <-w.got:
		return t, nil
	case <-long.Done():
	}
	if q.leave(w) {
		return nil, ctx.Err()
	}
	t := <-w.got // the dispatcher has it in hand and will say
	if t != nil && ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), q.undo(ctx, *t, 0, ""))
	}
	return t, ctx.Err()
}

func (q *Queue) enter(w *waiter) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxWaiting {
		return albs.Errorf(albs.Unavailable, "too many workers wait already, try again")
	}
	q.waiting = append(q.waiting, w)
	q.look()
	return nil
}

// leave reports whether w has left; otherwise the dispatcher will answer it.
func (q *Queue) leave(w *waiter) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, w); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return true
	}
	w.leaving = true
	return false
}

// readyTopic is woken, without an event, when a task has become queued.
const readyTopic = "queue"

// ready has the dispatchers of all masters look.
func (q *Queue) ready() { q.events.Nudge(readyTopic) }

// look has this process's dispatcher look at once.
func (q *Queue) look() {
	select {
	case q.work <- struct{}{}:
	default:
	}
}

// dispatch runs until ctx is done.
func (q *Queue) dispatch(ctx context.Context) error {
	wake, stop := q.events.Wake(readyTopic)
	defer stop()
	changed, stopChanged := q.events.Wake(fleet.Changed)
	defer stopChanged()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-q.work:
		case <-wake:
		case <-changed:
			q.fleet.Forget()
		case <-tick.C:
		}
		q.pass(ctx)
	}
}

// pass looks once for all who wait now and answers whom it can.
func (q *Queue) pass(ctx context.Context) {
	q.mu.Lock()
	ws := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	if len(ws) == 0 {
		return
	}
	claimed, more, err := q.claimFor(ctx, ws)
	if err != nil && ctx.Err() == nil {
		q.log.Error().Err(err).Msg("claim tasks")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var still []*waiter
	for i, w := range ws {
		switch {
		case claimed[i] != nil:
			w.got <- claimed[i]
		case w.leaving, w.once:
			w.got <- nil
		default:
			still = append(still, w)
		}
	}
	// Before those who came meanwhile: who waits longest goes first.
	q.waiting = append(still, q.waiting...)
	if more {
		q.look()
	}
}

// claimFor leases tasks for some of the waiting and returns them by index; more says
// that there may be others for them.
func (q *Queue) claimFor(ctx context.Context, ws []*waiter) (claimed map[int]*store.Task, more bool, err error) {
	v, err := q.view(ctx, ws)
	if err != nil {
		return nil, false, err
	}
	as := schedule.Assign(v)
	if len(as) == 0 {
		return nil, false, nil
	}
	missed := false
	err = q.db.InReadCommitted(ctx, func(tx db.Tx) error {
		claimed, missed = make(map[int]*store.Task), false
		for _, a := range as {
			w := v.Waiting[a.Waiting]
			now := q.clock.now()
			t, err := store.ClaimTask(ctx, tx, q.db.SkipLocked(), v.Lanes[a.Lane].Ready[a.Ready].ID, w.ID, w.Name, now, q.until(now))
			if errors.Is(err, sql.ErrNoRows) {
				missed = true // another master was faster, or the worker was drained just now
				continue
			}
			if err != nil {
				return err
			}
			err = store.InsertAttempt(ctx, tx, store.Attempt{
				TaskID: t.ID, Fence: t.Fence, Number: t.Attempts, WorkerID: t.WorkerID, Worker: t.Worker, ClaimedAt: now,
			})
			if err != nil {
				return err
			}
			claimed[a.Waiting] = &t
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("claim tasks: %w", err)
	}
	if missed {
		q.fleet.Forget()
	}
	return claimed, missed || len(as) == maxBatch, nil
}

// view reads what is ready for anyone of the waiting, and what is known of them.
func (q *Queue) view(ctx context.Context, ws []*waiter) (schedule.View, error) {
	now := q.clock.now()
	if err := q.fleet.Read(ctx); err != nil {
		return schedule.View{}, err
	}
	running, err := readRunning(ctx, q.db)
	if err != nil {
		return schedule.View{}, err
	}
	v := schedule.View{HalfLife: q.config.HalfLife, Most: maxBatch, Usage: q.used(running)}
	for _, w := range ws {
		v.Waiting = append(v.Waiting, running.on(q.fleet.Decided(w.worker)))
	}
	refused := false
	if v.Lanes, refused, err = q.lanes(ctx, v.Waiting, now); err != nil {
		return schedule.View{}, err
	}
	if refused { // only these ask who else there is
		v.Others = q.alive(running, now)
	}
	return v, nil
}

// lanes reads what is ready for anyone of the waiting, and whether any of it was given
// back of late.
func (q *Queue) lanes(ctx context.Context, waiting []schedule.Worker, now db.Time) (lanes []schedule.Lane, refused bool, err error) {
	classes, err := store.ReadyClasses(ctx, q.db)
	if err != nil {
		return nil, false, fmt.Errorf("read ready classes: %w", err)
	}
	crowd := schedule.NewCrowd(waiting)
	for _, c := range classes {
		l := schedule.LaneOf(c)
		able := min(crowd.Able(l.Needs), maxBatch)
		if able == 0 {
			continue
		}
		back, err := q.fill(ctx, &l, c, waiting, able, now)
		if err != nil {
			return nil, false, fmt.Errorf("read ready tasks: %w", err)
		}
		if len(l.Ready) > 0 {
			lanes, refused = append(lanes, l), refused || back
		}
	}
	return lanes, refused, nil
}

// fill reads the lane's ready tasks until there are as many that somebody of the
// waiting may have as there are of these, and reports whether any was given back.
func (q *Queue) fill(ctx context.Context, l *schedule.Lane, class string, waiting []schedule.Worker, able int, now db.Time) (back bool, err error) {
	for limit := able; ; limit = min(4*limit, maxPassedOver) {
		rows, err := store.ReadyOf(ctx, q.db, class, now, limit)
		if err != nil {
			return false, err
		}
		l.Ready, back = l.Ready[:0], false
		var retried []albs.TaskID
		for _, r := range rows {
			l.Ready = append(l.Ready, r.Ready())
			if r.Attempts > 0 {
				retried = append(retried, r.ID)
			}
		}
		if len(retried) > 0 {
			refusals, err := measure.Refusals(ctx, q.db, retried, now)
			if err != nil {
				return false, err
			}
			for i := range l.Ready {
				for _, r := range refusals[l.Ready[i].ID] {
					l.Ready[i].Refused, back = append(l.Ready[i].Refused, r.Worker), true
				}
			}
		}
		if len(rows) < limit || limit == maxPassedOver || schedule.Enough(l, waiting, able) {
			return back, nil
		}
	}
}

// handOver asks the handler of a claimed task for its spec and returns the lease;
// nil, nil if the task can't be had.
func (q *Queue) handOver(ctx context.Context, t store.Task, offer worker.Offer) (*worker.Lease, error) {
	token := worker.Token{Task: t.ID, Fence: t.Fence}
	// The token below this one, if it was a worker's, can do nothing any more.
	if t.Fence > 1 {
		q.drop(ctx, worker.Token{Task: t.ID, Fence: t.Fence - 1})
	}
	whole, err := taskOf(t)
	if err != nil {
		return nil, err
	}
	handler, err := q.handler(t.Kind)
	if err != nil {
		return nil, errors.Join(err, q.undo(ctx, t, q.config.Backoff, ""))
	}
	spec, evidence, err := handler.Offer(ctx, whole, offer)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, errors.Join(ctx.Err(), q.undo(ctx, t, 0, ""))
	case errors.Is(err, albs.Unavailable), errors.Is(err, albs.NoSpace):
		q.log.Warn().Err(err).Int64("task_id", int64(t.ID)).Msg("task can't be offered now")
		return nil, q.undo(ctx, t, q.config.Backoff, "can't be given out now, and is tried again: "+albs.UserMessage(err))
	default:
		why, how := albs.UserMessage(err), life.Refuse
		if !refuses(err) {
			how = life.Infra
			q.log.Error().Err(err).Int64("task_id", int64(t.ID)).Msg("offer task")
		}
		return nil, q.endClaim(ctx, token, how, why)
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("hand over task %d: %w", t.ID, err)
	}
	if len(raw) > MaxSpec || len(evidence) > MaxSpec {
		return nil, q.endClaim(ctx, token, life.Refuse, fmt.Sprintf("spec of %d and evidence of %d bytes are too large", len(raw), len(evidence)))
	}
	var lease *worker.Lease
	err = q.db.InTx(ctx, func(tx db.Tx) error {
		lease = nil
		h, err := q.holder(ctx, tx, auth.From(ctx), token)
		if err != nil {
			return err
		}
		if err := h.live(); err != nil {
			return err
		}
		if h.task.State == albs.TaskStopping { // cancelled since the claim
			return q.giveBack(ctx, tx, h, 0, "")
		}
		h.task.Reason = "" // why it waited
		if err := q.keep(ctx, tx, &h); err != nil {
			return err
		}
		h.attempt.Spec, h.attempt.Evidence = string(raw), string(evidence)
		if err := store.UpdateAttempt(ctx, tx, h.attempt); err != nil {
			return err
		}
		lease = &worker.Lease{
			Token: token, Kind: t.Kind, Attempt: t.Attempts, Until: h.task.LeaseUntil.Time, Term: q.config.Lease,
			Spec: spec, Evidence: evidence,
		}
		// Not with the claim: one that is undone leaves nothing to tell.
		return q.tell(ctx, tx, &h.task)
	})
	if errors.Is(err, albs.StaleLease) {
		return nil, nil // the offer took so long that another has it
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hand over task %d: %w", t.ID, err), q.undo(ctx, t, 0, ""))
	}
	return lease, nil
}

// undo gives a claim back that no worker has heard of, whatever became of ctx; why,
// if it isn't empty, is what people see of the waiting task.
func (q *Queue) undo(ctx context.Context, t store.Task, pause time.Duration, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := q.db.InTx(ctx, func(tx db.Tx) error {
		h, err := q.holder(ctx, tx, auth.From(ctx), worker.Token{Task: t.ID, Fence: t.Fence})
		if err != nil {
			return err
		}
		if err := h.live(); err != nil {
			return err
		}
		return q.giveBack(ctx, tx, h, pause, why)
	})
	if errors.Is(err, albs.StaleLease) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("undo claim of task %d: %w", t.ID, err) // it will expire
	}
	return nil
}

// giveBack undoes a claim as if it had never been, but for the fence. The task waits
// for why then, or if that is empty for what it waited before; only what is new of
// that is told.
func (q *Queue) giveBack(ctx context.Context, tx db.Tx, h held, pause time.Duration, why string) error {
	if err := q.revive(&h); err != nil {
		return err
	}
	to, err := life.Next(h.task.ID, h.task.State, life.Undo)
	if err != nil {
		return err
	}
	if err := store.DeleteAttempt(ctx, tx, h.task.ID, h.attempt.Fence); err != nil {
		return err
	}
	h.task.State = to
	h.task.Attempts--
	if pause > 0 {
		h.task.NotBeforeAt = db.At(q.clock.now().Add(pause))
	}
	if to != albs.TaskQueued {
		return q.settle(ctx, tx, &h.task)
	}
	why = life.OneLine(cmp.Or(why, h.task.Reason))
	if why == h.task.Reason {
		tx.AfterCommit(q.ready)
		return q.write(ctx, tx, &h.task)
	}
	h.task.Reason = why
	return q.settle(ctx, tx, &h.task)
}

// endClaim ends an attempt before its worker heard of it.
func (q *Queue) endClaim(ctx context.Context, token worker.Token, how life.Trigger, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := q.db.InTx(ctx, func(tx db.Tx) error {
		h, err := q.holder(ctx, tx, auth.From(ctx), token)
		if err != nil {
			return err
		}
		if err := h.live(); err != nil {
			return err
		}
		if err := q.revive(&h); err != nil {
			return err
		}
		if err := q.end(ctx, tx, &h, ending{how: how, reason: why}); err != nil {
			return err
		}
		return q.settle(ctx, tx, &h.task)
	})
	if errors.Is(err, albs.StaleLease) {
		return nil
	}
	return err
}
