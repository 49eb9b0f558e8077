// Package fleet owns what is known of the workers that ask for work: what they offered
// and when they were seen, and what was decided about them, which is that they are
// drained, quarantined, or kept from some tasks. Who a worker is belongs to auth, what
// it holds to queue.
//
// What holds: what is decided is there at its commit, for every master; a claim that
// carries Allowed in its SQL gives a drained or quarantined worker nothing. What was
// offered and seen is written now and then, and lost with a master for so long.
package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/queue/schedule"
)

const (
	// flushEvery is how old the table's word on a worker may be, while its master lives.
	flushEvery = 10 * time.Second

	// readEvery is how old this process's copy of the table may be.
	readEvery = 5 * time.Second
)

// Changed is woken, without an event, when something is decided about a worker: then
// Forget what was read.
const Changed = "fleet"

// Fleet is the workers of one database. It may be used concurrently.
type Fleet struct {
	db     *db.DB
	events *event.Log
	now    func() db.Time
	log    zerolog.Logger

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
	fresh bool      // the table doesn't know when it was seen
	dirty bool      // the table doesn't have what it offered
}

// New returns the fleet in d, by the clock now. It does no I/O.
func New(d *db.DB, events *event.Log, now func() db.Time, log zerolog.Logger) *Fleet {
	return &Fleet{db: d, events: events, now: now, log: log, unknown: make(chan struct{}, 1), met: make(map[albs.WorkerID]*met)}
}

// Seen notes that a worker has called.
func (f *Fleet) Seen(me auth.Actor) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.met[me.Worker]
	if m == nil {
		m = &met{row: workerRow{WorkerID: me.Worker, Name: me.Name}}
		f.met[me.Worker] = m
	}
	m.row.SeenAt, m.fresh = now, true
}

// Offered notes what a worker can do, or, where pause says why, that it takes nothing
// now: then it can do what it could before.
func (f *Fleet) Offered(w schedule.Worker, version, pause string) {
	now := f.now()
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
	row := workerRow{
		WorkerID: w.ID, Name: w.Name, Version: oneLine(version), Labels: strings.Join(w.Labels, " "),
		Cores: w.Room.Cores, Memory: w.Room.Memory, Disk: w.Room.Disk, Pause: oneLine(pause), SeenAt: now,
	}
	if pause != "" {
		row.Labels = cmp.Or(m.row.Labels, f.rows[w.ID].Labels)
	}
	m.dirty = m.dirty || differs(m.row, row)
	m.row, m.fresh = row, true
}

// diskStep is by how much a worker's free disk must change to be written anew: it
// changes all the time.
const diskStep = 1 << 30

func differs(a, b workerRow) bool {
	if d := a.Disk - b.Disk; max(d, -d) >= diskStep {
		return true
	}
	a.Disk, a.SeenAt = b.Disk, b.SeenAt
	return a != b
}

// Forget has the table be read before the next answer.
func (f *Fleet) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = false
}

// Read reads the table unless that was done a moment ago.
func (f *Fleet) Read(ctx context.Context) error {
	now := f.now()
	f.mu.Lock()
	fresh := f.known && now.Sub(f.at.Time).Abs() < readEvery
	f.known = true // a change that comes while it is read has it read again
	f.mu.Unlock()
	if fresh {
		return nil
	}
	rows, err := selectWorkers(ctx, f.db)
	if err != nil {
		f.Forget()
		return fmt.Errorf("read workers: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows, f.at = make(map[albs.WorkerID]workerRow, len(rows)), now
	for _, r := range rows {
		if r.SeenAt.Ahead(now) { // that doesn't say that a worker is there
			r.SeenAt = db.Time{}
		}
		f.rows[r.WorkerID] = r
	}
	return nil
}

// Decided adds to what a worker offers what is decided about it, as it was read last.
func (f *Fleet) Decided(w schedule.Worker) schedule.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rows[w.ID].decided(w)
}

// Known returns every worker that has asked for work, by name, as the table was read
// last and as this process knows better.
func (f *Fleet) Known() []Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := f.merged()
	ws := make([]Worker, len(rows))
	for i, r := range rows {
		ws[i] = Worker{
			ID: r.WorkerID, Name: r.Name, Version: r.Version, Labels: strings.Fields(r.Labels),
			Room: schedule.Room{Cores: r.Cores, Memory: r.Memory, Disk: r.Disk}, Seen: r.SeenAt, Pause: r.Pause, Exclude: strings.Fields(r.Exclude),
			Drained: r.DrainedAt, DrainReason: r.DrainReason, DrainedBy: r.DrainedBy,
			Quarantined: r.QuarantinedAt, QuarantineReason: r.QuarantineReason,
		}
	}
	return ws
}

// merged is the table with what this process knows better, by name.
func (f *Fleet) merged() []workerRow {
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
			r.Pause = m.row.Pause
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

// Run writes what this process knows of workers until ctx is done, whose error it
// returns. What it can't write it tries again.
func (f *Fleet) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-f.unknown:
		}
		if err := f.Flush(ctx); err != nil && ctx.Err() == nil {
			f.log.Error().Err(err).Msg("write what workers offer")
		}
	}
}

// Flush writes what the table doesn't have yet, some at a time so that it holds up
// nobody for long.
func (f *Fleet) Flush(ctx context.Context) error {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	f.mu.Lock()
	var dirty, fresh []met
	for _, m := range f.met {
		switch {
		case m.dirty:
			dirty = append(dirty, *m)
		case m.fresh:
			fresh = append(fresh, *m)
		}
		m.dirty, m.fresh = false, false
	}
	f.mu.Unlock()
	err := f.write(ctx, dirty, fresh)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range dirty {
			f.met[m.row.WorkerID].dirty = true
		}
		for _, m := range fresh {
			f.met[m.row.WorkerID].fresh = true
		}
		return fmt.Errorf("write workers: %w", err)
	}
	return nil
}

// write writes what was offered, and of the others that they were seen: not before the
// first of them, which is exact enough and one statement for many.
func (f *Fleet) write(ctx context.Context, dirty, fresh []met) error {
	// In one order, or two masters would wait for each other.
	byID := func(a, b met) int { return cmp.Compare(a.row.WorkerID, b.row.WorkerID) }
	slices.SortFunc(dirty, byID)
	slices.SortFunc(fresh, byID)
	for chunk := range slices.Chunk(dirty, 25) {
		err := f.db.InReadCommitted(ctx, func(tx db.Tx) error {
			for _, m := range chunk {
				if err := putOffer(ctx, tx, m.row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(fresh, 500) {
		first := chunk[0].row.SeenAt
		ids := make([]albs.WorkerID, len(chunk))
		for i, m := range chunk {
			ids[i] = m.row.WorkerID
			if m.row.SeenAt.Before(first.Time) {
				first = m.row.SeenAt
			}
		}
		if err := f.db.InReadCommitted(ctx, func(tx db.Tx) error { return touchWorkers(ctx, tx, ids, first, db.At(f.now().Add(db.MaxAhead))) }); err != nil {
			return err
		}
	}
	return nil
}
