package repo

import (
	"context"
	"sync"
	"time"

	"albs/internal/albs"
)

// keepTurn is how long an extension may take from the end of Extend to the commit
// of Advance before another may overtake it. Overtaking costs the slower one a
// Conflict, no more.
const keepTurn = 5 * time.Second

// turns lets the extensions of one repository go one after the other, from Extend
// to the commit of Advance. It saves work and decides nothing: the compare and
// set of Advance does, for other masters know nothing of these turns.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn // by repository
	keep time.Duration
}

// turn is one extension on its way.
type turn struct {
	over    chan struct{} // closed at its end
	to      albs.Digest   // what it will advance to, once known
	expires *time.Timer
}

// take waits until nobody has the repository's turn and takes it.
func (ts *turns) take(ctx context.Context, name string) (*turn, error) {
	for {
		ts.mu.Lock()
		other, busy := ts.held[name]
		if !busy {
			t := &turn{over: make(chan struct{})}
			ts.held[name] = t
			ts.mu.Unlock()
			return t, nil
		}
		ts.mu.Unlock()
		select {
		case <-other.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// await keeps the turn until advanced is told of to, but not for long.
func (ts *turns) await(name string, t *turn, to albs.Digest) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t.to = to
	t.expires = time.AfterFunc(ts.keep, func() { ts.end(name, t) })
}

// advanced ends the turn that was to advance the repository to a snapshot.
func (ts *turns) advanced(name string, to albs.Digest) {
	ts.mu.Lock()
	t, ok := ts.held[name]
	mine := ok && t.to == to
	ts.mu.Unlock()
	if mine {
		ts.end(name, t)
	}
}

// end ends the turn, unless it has ended before.
func (ts *turns) end(name string, t *turn) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.held[name] != t {
		return
	}
	delete(ts.held, name)
	close(t.over)
	if t.expires != nil {
		t.expires.Stop()
	}
}
