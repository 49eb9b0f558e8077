package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
	"albs/internal/worker"
)

// usage is what owners used of late. It is computed from the attempts, which every
// master can read, so that no row is written by all who end a task; what ends here is
// added at once, what ends at another master comes with the next look.
type usage struct {
	half time.Duration

	mu   sync.Mutex
	at   db.Time
	used map[string]float64 // by owner, slot-seconds, as they count at

	// While it is counted anew: what ended here meanwhile, which the count may lack.
	late map[worker.Token]usedRow
}

// usedHalves is how many half-lives back attempts are read: what is older counts less
// than a sixtieth.
const usedHalves = 6

func newUsage(half time.Duration) *usage { return &usage{half: half, used: make(map[string]float64)} }

// add counts an attempt that has ended.
func (u *usage) add(r usedRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.addLocked(r)
	if u.late != nil {
		u.late[r.token()] = r
	}
}

func (u *usage) addLocked(r usedRow) {
	// As it would count at the time of the others.
	u.used[r.Lane] += schedule.Spent(r.EndedAt.Sub(r.ClaimedAt.Time), u.half) / schedule.Left(1, r.EndedAt.Sub(u.at.Time), u.half)
}

// with returns what each owner's share counts now, with what is running.
func (u *usage) with(held holdings, now db.Time) map[string]float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make(map[string]float64, len(u.used))
	for owner, used := range u.used {
		all[owner] = schedule.Left(used, now.Sub(u.at.Time), u.half)
	}
	for _, r := range held.rows {
		_, owner, _, _ := splitClass(r.Class)
		all[owner] += float64(r.Count) * schedule.Charge(seconds(r.Expected), u.half)
	}
	return all
}

// recount reads what was used anew: the past, and what running tasks have used beyond
// what they were expected to.
func (q *Queue) recount(ctx context.Context) error {
	u := q.usage
	u.mu.Lock()
	u.late = make(map[worker.Token]usedRow)
	u.mu.Unlock()
	now := q.clock.now()
	past, err := selectUsed(ctx, q.db, db.At(now.Add(-usedHalves*u.half)))
	if err != nil {
		return fmt.Errorf("read what was used: %w", err)
	}
	using, err := selectUsing(ctx, q.db)
	if err != nil {
		return fmt.Errorf("read what is used: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at, u.used = now, make(map[string]float64)
	for _, r := range past {
		u.addLocked(r)
		delete(u.late, r.token())
	}
	for _, r := range u.late {
		u.addLocked(r)
	}
	u.late = nil
	for _, r := range using {
		u.used[r.Lane] += max(schedule.Spent(now.Sub(r.ClaimedAt.Time), u.half)-schedule.Charge(seconds(r.Expected), u.half), 0)
	}
	return nil
}

// rank computes how long the chains are that wait for each task, and writes what has
// changed. It is done now and then and by one master, for edges come from several
// sides, and nothing but the order of what is ready hangs on it.
func (q *Queue) rank(ctx context.Context) error {
	rows, err := selectEdges(ctx, q.db)
	if err != nil {
		return fmt.Errorf("read what waits for what: %w", err)
	}
	have := make(map[albs.TaskID]int)
	edges := make(map[albs.TaskID][]albs.TaskID)
	var links []schedule.Link
	know := func(id albs.TaskID, expected, chain int) {
		if _, ok := have[id]; !ok {
			have[id] = chain
			links = append(links, schedule.Link{ID: id, Expected: seconds(expected)})
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
		err := q.db.InReadCommitted(ctx, func(tx db.Tx) error {
			for _, id := range chunk {
				if err := updateChain(ctx, tx, id, min(int(chains[id]/time.Second), unknown-1)); err != nil {
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
