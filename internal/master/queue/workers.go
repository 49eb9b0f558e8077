package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/fleet"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
	"albs/internal/master/queue/store"
)

// Worker is what is known of a worker, with what it holds.
type Worker struct {
	fleet.Worker
	Alive bool   // it was seen a short while ago
	Runs  []Task // what it holds, without specs
	Taken Room   // what these need of its machine
}

// Fleet returns the workers' side: who is drained, quarantined, kept from what.
func (q *Queue) Fleet() *fleet.Fleet { return q.fleet }

// Workers returns every worker that has asked for work, by name.
func (q *Queue) Workers(ctx context.Context) ([]Worker, error) {
	q.fleet.Forget()
	if err := q.fleet.Read(ctx); err != nil {
		return nil, err
	}
	held, err := store.HeldTasks(ctx, q.db)
	if err != nil {
		return nil, fmt.Errorf("read running tasks: %w", err)
	}
	since := q.since(q.clock.now())
	var ws []Worker
	for _, known := range q.fleet.Known() {
		w := Worker{Worker: known, Alive: !known.Seen.Before(since.Time)}
		for _, h := range held {
			if h.WorkerID != w.ID {
				continue
			}
			t, err := taskOf(h)
			if err != nil {
				return nil, err
			}
			w.Runs, w.Taken = append(w.Runs, t), w.Taken.Plus(t.Room)
		}
		ws = append(ws, w)
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

// since is the time after which a worker that was seen counts as alive: who waits asks
// each half minute, who works renews.
func (q *Queue) since(now db.Time) db.Time {
	return db.At(now.Add(-max(90*time.Second, q.config.Lease+30*time.Second)))
}

// alive returns, by name, the workers that were seen a short while ago or hold something.
func (q *Queue) alive(held holdings, now db.Time) []schedule.Worker {
	since := q.since(now)
	var ws []schedule.Worker
	for _, w := range q.fleet.Known() {
		if !w.Seen.Before(since.Time) || held.runs[w.ID] > 0 {
			ws = append(ws, held.on(w.Plan()))
		}
	}
	return ws
}

// holdings is what workers hold at a moment.
type holdings struct {
	runs  map[albs.WorkerID]int
	taken map[albs.WorkerID]Room
	rows  []store.Running
}

func readRunning(ctx context.Context, d db.Q) (holdings, error) {
	rows, err := store.SelectRunning(ctx, d)
	if err != nil {
		return holdings{}, fmt.Errorf("read running tasks: %w", err)
	}
	h := holdings{runs: make(map[albs.WorkerID]int), taken: make(map[albs.WorkerID]Room), rows: rows}
	for _, r := range rows {
		h.runs[r.WorkerID] += r.Count
		room := schedule.LaneOf(r.Class).Room
		for range r.Count {
			h.taken[r.WorkerID] = h.taken[r.WorkerID].Plus(room)
		}
	}
	return h, nil
}

// on adds to w what it holds.
func (h holdings) on(w schedule.Worker) schedule.Worker {
	w.Runs, w.Taken = h.runs[w.ID], h.taken[w.ID]
	return w
}

// used is what each owner's use counts, with what is running.
func (q *Queue) used(held holdings) map[string]float64 {
	all := q.usage.Owners()
	for _, r := range held.rows {
		all[schedule.LaneOf(r.Class).Owner] += float64(r.Count) * schedule.Charge(measure.Seconds(r.Expected), q.config.HalfLife)
	}
	return all
}

// weigh has the worker of an attempt that was just lost quarantined, if that is too much.
func (q *Queue) weigh(ctx context.Context, tx db.Tx, a store.Attempt) error {
	return q.fleet.Weigh(ctx, tx, a.WorkerID, a.Worker, a.TaskID, func(since db.Time) ([]schedule.Loss, error) {
		return measure.Losses(ctx, tx, a.WorkerID, since)
	})
}
