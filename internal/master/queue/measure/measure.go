// Package measure counts what the rules of dispatch rest on: what owners used of late,
// who gave tasks back or lost them, how long tasks take, what goes before one, and how
// long the chains are that wait for it. It is the part of queue that looks back and
// ahead: it reads queue's tables, writes the lengths of chains there, and owns the
// history of past runs. It decides nothing.
package measure

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
)

// Unknown is how long a task is expected to take that has no history, in the seconds of
// the tables: in the order of its class it goes first.
const Unknown = 1<<31 - 1

// Seconds makes a duration of a number of seconds as the tables have it; 0 of Unknown.
func Seconds(n int) time.Duration {
	if n == Unknown {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Expected returns what a task of the kind and key is expected to take, in seconds: the
// median of past runs, or Unknown.
func Expected(ctx context.Context, q db.Q, kind albs.TaskKind, key string) (int, error) {
	if key == "" {
		return Unknown, nil
	}
	ms, err := medians(ctx, q, kind, key)
	if err != nil || len(ms) == 0 {
		return Unknown, err
	}
	return ms[0], nil
}

// maxRuns is how many runs a median is taken of.
const maxRuns = 9

// Remember adds a successful run to its key's history, in tx; of two at once one may be
// forgotten.
func Remember(ctx context.Context, tx db.Tx, kind albs.TaskKind, key string, took time.Duration) error {
	olds, err := runsOf(ctx, tx, kind, key)
	if err != nil {
		return fmt.Errorf("read past runs: %w", err)
	}
	runs := strings.Fields(strings.Join(olds, " "))
	runs = append(runs, strconv.Itoa(min(max(int(took.Round(time.Second)/time.Second), 1), Unknown-1)))
	runs = runs[max(len(runs)-maxRuns, 0):]
	var ds []time.Duration
	for _, r := range runs {
		n, err := strconv.Atoi(r)
		if err != nil {
			return fmt.Errorf("read past runs of %s: %w", key, err)
		}
		ds = append(ds, time.Duration(n))
	}
	if err := putRuns(ctx, tx, kind, key, strings.Join(runs, " "), int(schedule.Median(ds))); err != nil {
		return fmt.Errorf("write past runs: %w", err)
	}
	return nil
}

// Usage is what owners used of late. It is computed from the attempts, which every
// master can read, so that no row is written by all who end a task; what ends here is
// added at once, what ends at another master comes with the next look.
type Usage struct {
	db   *db.DB
	now  func() db.Time
	half time.Duration

	mu   sync.Mutex
	at   db.Time
	used map[string]float64 // by owner, slot-seconds, as they count at

	// While it is counted anew: what ended here meanwhile, which the count may lack.
	late map[attemptID]Attempt
}

// usedHalves is how many half-lives back attempts are read: what is older counts less
// than a sixtieth.
const usedHalves = 6

type attemptID struct {
	task  albs.TaskID
	fence int64
}

func (a Attempt) id() attemptID { return attemptID{a.TaskID, a.Fence} }

// NewUsage returns the usage of the queue in d, by the clock now, which counts half
// after each half. It does no I/O.
func NewUsage(d *db.DB, now func() db.Time, half time.Duration) *Usage {
	return &Usage{db: d, now: now, half: half, used: make(map[string]float64)}
}

// Add counts an attempt that has ended.
func (u *Usage) Add(r Attempt) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.at.IsZero() { // else the first count will find it
		u.addLocked(r)
	}
	if u.late != nil {
		u.late[r.id()] = r
	}
}

func (u *Usage) addLocked(r Attempt) {
	// As it would count at the time of the others.
	u.used[r.Lane] += schedule.Spent(r.EndedAt.Sub(r.ClaimedAt.Time), u.half) / schedule.Left(1, r.EndedAt.Sub(u.at.Time), u.half)
}

// Owners returns what each owner's past use counts now. What is running counts beside
// that, by schedule.Charge.
func (u *Usage) Owners() map[string]float64 {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[string]float64, len(u.used))
	for owner, used := range u.used {
		all[owner] = schedule.Left(used, now.Sub(u.at.Time), u.half)
	}
	return all
}

// Recount reads what was used anew: the past, and what running tasks have used beyond
// what they were expected to.
func (u *Usage) Recount(ctx context.Context) error {
	u.mu.Lock()
	u.late = make(map[attemptID]Attempt)
	u.mu.Unlock()
	now := u.now()
	past, err := selectUsed(ctx, u.db, db.At(now.Add(-usedHalves*u.half)))
	if err != nil {
		return fmt.Errorf("read what was used: %w", err)
	}
	using, err := selectUsing(ctx, u.db)
	if err != nil {
		return fmt.Errorf("read what is used: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at, u.used = now, make(map[string]float64)
	for _, r := range past {
		u.addLocked(r)
		delete(u.late, r.id())
	}
	for _, r := range u.late {
		u.addLocked(r)
	}
	u.late = nil
	for _, r := range using {
		u.used[r.Lane] += max(schedule.Spent(now.Sub(r.ClaimedAt.Time), u.half)-schedule.Charge(Seconds(r.Expected), u.half), 0)
	}
	return nil
}

// Chains computes how long the chains are that wait for each task, and writes what has
// changed. It is done now and then and by one master, for edges come from several
// sides, and nothing but the order of what is ready hangs on it.
func Chains(ctx context.Context, d *db.DB) error {
	rows, err := selectEdges(ctx, d)
	if err != nil {
		return fmt.Errorf("read what waits for what: %w", err)
	}
	have := make(map[albs.TaskID]int)
	edges := make(map[albs.TaskID][]albs.TaskID)
	var links []schedule.Link
	know := func(id albs.TaskID, expected, chain int) {
		if _, ok := have[id]; !ok {
			have[id] = chain
			links = append(links, schedule.Link{ID: id, Expected: Seconds(expected)})
		}
	}
	for _, r := range rows {
		know(r.AfterID, r.AfterExpected, r.AfterChain)
		know(r.TaskID, r.TaskExpected, r.TaskChain)
		edges[r.AfterID] = append(edges[r.AfterID], r.TaskID)
	}
	chains := schedule.Chains(links, edges)
	var changed []albs.TaskID
	for _, l := range links {
		// One without history goes first, whatever waits for it.
		if n := int(chains[l.ID] / time.Second); l.Expected > 0 && have[l.ID] != n {
			changed = append(changed, l.ID)
		}
	}
	slices.Sort(changed)
	for chunk := range slices.Chunk(changed, 200) {
		err := d.InReadCommitted(ctx, func(tx db.Tx) error {
			for _, id := range chunk {
				if err := updateChain(ctx, tx, id, min(int(chains[id]/time.Second), Unknown-1)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write chains: %w", err)
		}
	}
	return nil
}
