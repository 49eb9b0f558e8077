package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
)

// Bounds on what operators say of a worker; more is TooLarge.
const (
	MaxExclude = 100 // patterns
	maxReason  = 500 // bytes
)

// A worker that has lost quarantineAfter tasks within quarantineWithin gets nothing
// until an operator lifts it.
const (
	quarantineAfter  = 3
	quarantineWithin = time.Hour
)

// Worker is what the queue knows of a worker that has asked for work.
type Worker struct {
	ID      albs.WorkerID
	Name    string
	Version string // of its albs
	Labels  []string
	Room    Room    // what it offered last: cores, memory and free disk; 0 is unknown
	Taken   Room    // what the tasks that it holds need of that
	Seen    db.Time // the last contact, some seconds old at most where that was with another master
	Alive   bool    // it was seen a short while ago
	Runs    []Task  // what it holds, without specs
	Exclude []string

	Drained          db.Time // since when it gets nothing by a person's word; zero if it does
	DrainReason      string
	DrainedBy        string
	Quarantined      db.Time // since when it gets nothing for what it lost; zero if it does
	QuarantineReason string
}

// Workers returns every worker that has asked for work, by name.
func (q *Queue) Workers(ctx context.Context) ([]Worker, error) {
	rows, err := q.fleetRows(ctx)
	if err != nil {
		return nil, err
	}
	held, err := selectTasks(ctx, q.db, `state IN ('leased', 'stopping') ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read running tasks: %w", err)
	}
	since := q.since(q.clock.now())
	ws := make([]Worker, len(rows))
	for i, r := range rows {
		w := Worker{
			ID: r.WorkerID, Name: r.Name, Version: r.Version, Labels: strings.Fields(r.Labels),
			Room: Room{Cores: r.Cores, Memory: r.Memory, Disk: r.Disk}, Seen: r.SeenAt, Exclude: strings.Fields(r.Exclude),
			Drained: r.DrainedAt, DrainReason: r.DrainReason, DrainedBy: r.DrainedBy,
			Quarantined: r.QuarantinedAt, QuarantineReason: r.QuarantineReason,
		}
		for _, h := range held {
			if h.WorkerID != r.WorkerID {
				continue
			}
			t, err := h.task()
			if err != nil {
				return nil, err
			}
			w.Runs, w.Taken = append(w.Runs, t), w.Taken.Plus(t.Room)
		}
		w.Alive = !r.SeenAt.Before(since.Time)
		ws[i] = w
	}
	return ws, nil
}

// Worker returns one of Workers by its name, or NotFound.
func (q *Queue) Worker(ctx context.Context, name string) (Worker, error) {
	ws, err := q.Workers(ctx)
	if err != nil {
		return Worker{}, err
	}
	slices.Reverse(ws) // of one name the newest identity
	i := slices.IndexFunc(ws, func(w Worker) bool { return w.Name == name })
	if i < 0 {
		return Worker{}, albs.Errorf(albs.NotFound, "no worker %.80q has asked for work", name)
	}
	return ws[i], nil
}

// fleetRows is the table as it is, with what this process knows better, by name.
func (q *Queue) fleetRows(ctx context.Context) ([]workerRow, error) {
	q.fleet.forget()
	if err := q.fleet.read(ctx, q.db, q.clock.now()); err != nil {
		return nil, err
	}
	q.fleet.mu.Lock()
	defer q.fleet.mu.Unlock()
	return q.fleet.merged(), nil
}

// Drain gives the worker nothing more; what it holds it finishes. On return no claim of
// its gets anything until Undrain. Draining it again changes the reason. It asks for
// worker.manage; NotFound if no worker of that name has asked for work.
func (q *Queue) Drain(ctx context.Context, worker, reason string) error {
	reason, err := said(reason)
	if err != nil {
		return err
	}
	return q.decide(ctx, worker, "worker.drained", func(w *workerRow) any {
		if w.DrainedAt.IsZero() {
			w.DrainedAt = q.clock.now()
		}
		w.DrainReason, w.DrainedBy = reason, auth.From(ctx).String()
		return workerEvent{Reason: reason}
	})
}

// Undrain lets a drained worker have work again; it does nothing to another. It asks
// for worker.manage; NotFound as Drain.
func (q *Queue) Undrain(ctx context.Context, worker string) error {
	return q.decide(ctx, worker, "worker.undrained", func(w *workerRow) any {
		if w.DrainedAt.IsZero() {
			return nil
		}
		w.DrainedAt, w.DrainReason, w.DrainedBy = db.Time{}, "", ""
		return workerEvent{}
	})
}

// Lift ends a worker's quarantine; what it lost before counts no more. It does nothing
// to another. It asks for worker.manage; NotFound as Drain.
func (q *Queue) Lift(ctx context.Context, worker string) error {
	return q.decide(ctx, worker, "worker.lifted", func(w *workerRow) any {
		if w.QuarantinedAt.IsZero() {
			return nil
		}
		w.QuarantinedAt, w.QuarantineReason, w.LiftedAt = db.Time{}, "", q.clock.now()
		return workerEvent{}
	})
}

// Exclude keeps tasks from a worker whose key, or the key's first part, a pattern
// matches (path.Match: "kernel*", "*/*/s390x"), in place of the patterns before; none
// lets it have all. It asks for worker.manage; NotFound as Drain, Invalid for what is
// no pattern.
func (q *Queue) Exclude(ctx context.Context, worker string, patterns []string) error {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	if len(patterns) > MaxExclude {
		return albs.Errorf(albs.TooLarge, "%d patterns, a worker has at most %d", len(patterns), MaxExclude)
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || !validLabel(p) {
			return albs.Errorf(albs.Invalid, "%.80q is no pattern of a package or a key: use *, ? and [a-z], without spaces", p)
		}
	}
	return q.decide(ctx, worker, "worker.excludes", func(w *workerRow) any {
		w.Exclude = strings.Join(patterns, " ")
		return workerEvent{Patterns: patterns}
	})
}

// workerEvent is the data of the events about workers; their topic is "worker:" and
// the name.
type workerEvent struct {
	Reason   string   `json:"reason,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
}

// WorkerTopic returns the topic of a worker's events.
func WorkerTopic(name string) string { return "worker:" + name }

func said(reason string) (string, error) {
	if len(reason) > maxReason {
		return "", albs.Errorf(albs.TooLarge, "a reason of %d bytes, at most %d go", len(reason), maxReason)
	}
	return oneLine(reason), nil
}

// decide changes what is decided about a worker, and tells of it unless change returns
// nil: then nothing has changed.
func (q *Queue) decide(ctx context.Context, worker, kind string, change func(*workerRow) any) error {
	if err := auth.Can(ctx, auth.WorkerManage, auth.Object{}); err != nil {
		return err
	}
	// It may have come a moment ago.
	if err := q.flush(ctx); err != nil {
		return err
	}
	return q.db.InTx(ctx, func(tx db.Tx) error {
		w, err := getWorker(ctx, tx, worker)
		if err != nil {
			return err
		}
		data := change(&w)
		if data == nil {
			return nil
		}
		if err := updateWorker(ctx, tx, w); err != nil {
			return err
		}
		q.redecide(tx)
		return q.events.Add(ctx, tx, kind, WorkerTopic(w.Name), auth.From(ctx).String(), data)
	})
}

// redecide has all masters look again once tx is committed.
func (q *Queue) redecide(tx db.Tx) {
	tx.AfterCommit(func() {
		q.fleet.forget()
		q.events.Nudge(fleetTopic)
	})
}

// weigh quarantines the worker of an attempt that was just lost, in tx, if it has now
// lost too much. A task that kills whoever takes it counts once, and so does all that
// a worker held when it fell silent.
func (q *Queue) weigh(ctx context.Context, tx db.Tx, a attemptRow, now db.Time) error {
	w, err := getWorkerByID(ctx, tx, a.WorkerID)
	if errors.Is(err, sql.ErrNoRows) { // it claimed and died before it was written down
		w = workerRow{WorkerID: a.WorkerID, Name: a.Worker, SeenAt: a.ClaimedAt}
		if err := putOffer(ctx, tx, w); err != nil {
			return fmt.Errorf("write worker: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("read worker: %w", err)
	}
	if !w.QuarantinedAt.IsZero() {
		return nil
	}
	since := db.At(now.Add(-quarantineWithin))
	if since.Before(w.LiftedAt.Time) {
		since = w.LiftedAt
	}
	rows, err := selectLosses(ctx, tx, a.WorkerID, since)
	if err != nil {
		return fmt.Errorf("read losses: %w", err)
	}
	losses := make([]schedule.Loss, len(rows))
	for i, r := range rows {
		losses[i] = schedule.Loss{Task: r.TaskID, Claimed: r.ClaimedAt.Time, Ended: r.EndedAt.Time}
	}
	n := schedule.Losses(losses)
	if n < quarantineAfter {
		return nil
	}
	w.QuarantinedAt = now
	w.QuarantineReason = fmt.Sprintf("it fell silent with %d different tasks within %s, the last was task %d", n, schedule.Span(quarantineWithin), a.TaskID)
	if err := updateWorker(ctx, tx, w); err != nil {
		return err
	}
	q.redecide(tx)
	q.log.Warn().Str("worker", w.Name).Str("reason", w.QuarantineReason).Msg("worker quarantined")
	return q.events.Add(ctx, tx, "worker.quarantined", WorkerTopic(w.Name), auth.From(ctx).String(), workerEvent{Reason: w.QuarantineReason})
}
