package queue

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
)

// What is known of workers is in a table, so that each master knows all of them: what
// they offered and when they were seen is written there now and then, what is decided
// about them at once.

const (
	// flushEvery is how old the table's word on a worker may be, while its master lives.
	flushEvery = 10 * time.Second

	// readEvery is how old the dispatcher's copy of the table may be. What keeps a
	// worker from work is looked at in the claim itself, too.
	readEvery = 5 * time.Second

	// fleetTopic is woken, without an event, when something is decided about a worker.
	fleetTopic = "queue.workers"
)

// fleet is what this process knows of workers.
type fleet struct {
	unknown  chan struct{} // holds one when a worker has come that the table may not have
	flushing sync.Mutex    // held while the table is written, so that who waits for it finds it whole

	mu    sync.Mutex
	met   map[albs.WorkerID]*met
	rows  map[albs.WorkerID]workerRow // the table, as it was at
	at    db.Time
	known bool // rows are good until they are old
}

// met is a worker that has called this process.
type met struct {
	row   workerRow // what it offered, if it did, and when it was seen
	asked bool      // it has offered something
	dirty bool      // the table doesn't have it yet
}

func newFleet() *fleet {
	return &fleet{unknown: make(chan struct{}, 1), met: make(map[albs.WorkerID]*met)}
}

// seen notes that a worker has called.
func (f *fleet) seen(me auth.Actor, now db.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.met[me.Worker]
	if m == nil {
		m = &met{row: workerRow{WorkerID: me.Worker, Name: me.Name}}
		f.met[me.Worker] = m
	}
	m.row.SeenAt, m.dirty = now, true
}

// offered notes what a worker can do.
func (f *fleet) offered(w schedule.Worker, version string, now db.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.met[w.ID]
	if m == nil || !m.asked {
		m = &met{asked: true}
		f.met[w.ID] = m
		select {
		case f.unknown <- struct{}{}:
		default:
		}
	}
	m.row = workerRow{
		WorkerID: w.ID, Name: w.Name, Version: oneLine(version), Labels: strings.Join(w.Labels, " "),
		Cores: w.Room.Cores, Memory: w.Room.Memory, Disk: w.Room.Disk, SeenAt: now,
	}
	m.dirty = true
}

// forget has the table be read before the next decision.
func (f *fleet) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
}

// read reads the table unless that was done a moment ago.
func (f *fleet) read(ctx context.Context, d *db.DB, now db.Time) error {
	f.mu.Lock()
	fresh := f.known && now.Sub(f.at.Time).Abs() < readEvery
	f.known = true // a change that comes while it is read has it read again
	f.mu.Unlock()
	if fresh {
		return nil
	}
	rows, err := selectWorkers(ctx, d)
	if err != nil {
		f.forget()
		return fmt.Errorf("read workers: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows, f.at = make(map[albs.WorkerID]workerRow, len(rows)), now
	for _, r := range rows {
		f.rows[r.WorkerID] = r
	}
	return nil
}

// complete adds to what a worker offers what is known of it beside.
func (f *fleet) complete(w schedule.Worker, held holdings) schedule.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return held.on(f.rows[w.ID].decided(w))
}

// alive returns, by name, the workers that were seen after since or hold something.
func (f *fleet) alive(held holdings, since db.Time) []schedule.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ws []schedule.Worker
	for _, r := range f.merged() {
		if r.SeenAt.Before(since.Time) && held.runs[r.WorkerID] == 0 {
			continue
		}
		ws = append(ws, held.on(r.worker()))
	}
	return ws
}

// merged is the table with what this process knows better, by name.
func (f *fleet) merged() []workerRow {
	all := maps.Clone(f.rows)
	if all == nil {
		all = make(map[albs.WorkerID]workerRow)
	}
	for id, m := range f.met {
		r, ok := all[id]
		switch {
		case m.asked && (!ok || !m.row.SeenAt.Before(r.SeenAt.Time)):
			r.WorkerID, r.Name, r.Version, r.Labels = id, m.row.Name, m.row.Version, m.row.Labels
			r.Cores, r.Memory, r.Disk, r.SeenAt = m.row.Cores, m.row.Memory, m.row.Disk, m.row.SeenAt
		case ok && r.SeenAt.Before(m.row.SeenAt.Time):
			r.SeenAt = m.row.SeenAt
		case !ok:
			continue // it holds a lease of before, and says nothing of itself
		}
		all[id] = r
	}
	return slices.SortedFunc(maps.Values(all), func(a, b workerRow) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.WorkerID, b.WorkerID))
	})
}

func (r workerRow) worker() schedule.Worker {
	return r.decided(schedule.Worker{
		ID: r.WorkerID, Name: r.Name, Labels: strings.Fields(r.Labels), Room: Room{Cores: r.Cores, Memory: r.Memory, Disk: r.Disk},
	})
}

// decided adds to w what was decided about it.
func (r workerRow) decided(w schedule.Worker) schedule.Worker {
	w.Exclude = strings.Fields(r.Exclude)
	if !r.DrainedAt.IsZero() {
		w.Drained = cmp.Or(r.DrainReason, "no reason given")
	}
	if !r.QuarantinedAt.IsZero() {
		w.Quarantined = r.QuarantineReason
	}
	return w
}

// keepFleet writes what this process knows of workers until ctx is done.
func (q *Queue) keepFleet(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-q.fleet.unknown:
		}
		if err := q.flush(ctx); err != nil && ctx.Err() == nil {
			q.log.Error().Err(err).Msg("write what workers offer")
		}
	}
}

// flush writes what the table doesn't have yet, some at a time so that it holds up
// nobody for long.
func (q *Queue) flush(ctx context.Context) error {
	q.fleet.flushing.Lock()
	defer q.fleet.flushing.Unlock()
	q.fleet.mu.Lock()
	var dirty []met
	for _, m := range q.fleet.met {
		if m.dirty {
			dirty = append(dirty, *m)
			m.dirty = false
		}
	}
	q.fleet.mu.Unlock()
	// In one order, or two masters would wait for each other.
	slices.SortFunc(dirty, func(a, b met) int { return cmp.Compare(a.row.WorkerID, b.row.WorkerID) })
	for chunk := range slices.Chunk(dirty, 100) {
		err := q.db.InReadCommitted(ctx, func(tx db.Tx) error {
			for _, m := range chunk {
				var err error
				if m.asked {
					err = putOffer(ctx, tx, m.row)
				} else {
					err = touchWorker(ctx, tx, m.row.WorkerID, m.row.SeenAt)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			q.fleet.mu.Lock()
			for _, m := range dirty {
				q.fleet.met[m.row.WorkerID].dirty = true
			}
			q.fleet.mu.Unlock()
			return fmt.Errorf("write workers: %w", err)
		}
	}
	return nil
}

// since is the time after which a worker that was seen counts as alive: who waits asks
// each half minute, who works renews.
func (q *Queue) since(now db.Time) db.Time {
	return db.At(now.Add(-max(90*time.Second, q.config.Lease+30*time.Second)))
}

// holdings is what workers hold at a moment.
type holdings struct {
	runs  map[albs.WorkerID]int
	taken map[albs.WorkerID]Room
	rows  []runningRow
}

func readRunning(ctx context.Context, d db.Q) (holdings, error) {
	rows, err := selectRunning(ctx, d)
	if err != nil {
		return holdings{}, fmt.Errorf("read running tasks: %w", err)
	}
	h := holdings{runs: make(map[albs.WorkerID]int), taken: make(map[albs.WorkerID]Room), rows: rows}
	for _, r := range rows {
		h.runs[r.WorkerID] += r.Count
		room := laneOf(r.Class).Room
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
