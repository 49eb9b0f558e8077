package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// Run gives every lease one term from now, for while no master ran no worker could
// renew, then answers claims and takes back leases that have run out, until ctx is
// done, whose error it returns. Several masters may run over one database.
func (q *Queue) Run(ctx context.Context) error {
	ctx = auth.System(ctx, "queue")
	_, err := q.clock.sync(ctx)
	if err == nil {
		err = q.extendAll(ctx)
	}
	if err == nil {
		err = q.usage.Recount(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("start queue: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return q.dispatch(ctx) })
	g.Go(func() error { return q.fleet.Run(ctx) })
	g.Go(func() error {
		return q.db.Leader(ctx, "queue.rank", func(ctx context.Context) error {
			return q.every(ctx, 15*time.Second, "measure chains", q.chains)
		})
	})
	g.Go(func() error {
		return q.every(ctx, max(q.config.HalfLife/240, 5*time.Second), "count what owners used", q.usage.Recount)
	})
	g.Go(func() error { return q.every(ctx, min(q.config.Lease/4, 5*time.Second), "take back leases", q.reap) })
	g.Go(func() error { return q.every(ctx, 10*time.Minute, "sweep uploads", q.sweep) })
	return g.Wait()
}

func (q *Queue) chains(ctx context.Context) error { return measure.Chains(ctx, q.db) }

// every runs f now and then. What fails is tried again next time.
func (q *Queue) every(ctx context.Context, d time.Duration, what string, f func(context.Context) error) error {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			q.log.Error().Err(err).Msg(what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

func (q *Queue) extendAll(ctx context.Context) error {
	return q.db.InTx(ctx, func(tx db.Tx) error {
		return store.ExtendLeases(ctx, tx, q.until(q.clock.now()))
	})
}

// reap takes back the leases that have run out. One that can't be, for its handler
// fails, keeps no other. When the clock has jumped, nobody knows which have run out:
// then all get another term.
func (q *Queue) reap(ctx context.Context) error {
	jump, err := q.clock.sync(ctx)
	if err != nil {
		return err
	}
	if jump.Abs() > q.config.Lease/4 {
		q.log.Warn().Dur("jump", jump).Msg("the clock jumped; all leases get another term")
		return q.extendAll(ctx)
	}
	for {
		const batch = 100
		ids, err := store.ExpiredLeases(ctx, q.db, q.clock.now(), batch)
		if err != nil {
			return fmt.Errorf("read expired leases: %w", err)
		}
		var failed error
		for _, id := range ids {
			if err := q.expire(ctx, id); err != nil {
				failed = errors.Join(failed, fmt.Errorf("expire lease of task %d: %w", id, err))
			}
		}
		if failed != nil || len(ids) < batch {
			return failed
		}
	}
}

func (q *Queue) expire(ctx context.Context, id albs.TaskID) error {
	return q.db.InTx(ctx, func(tx db.Tx) error {
		t, err := store.GetTask(ctx, tx, id)
		if err != nil {
			return err
		}
		if t.State != albs.TaskLeased && t.State != albs.TaskStopping || !t.LeaseUntil.Before(q.clock.now().Time) {
			return nil // renewed or ended meanwhile
		}
		a, err := store.GetAttempt(ctx, tx, id, t.Fence)
		if err != nil {
			return fmt.Errorf("read attempt: %w", err)
		}
		h := held{t, a}
		reason := fmt.Sprintf("worker %s was not heard of for %v", t.Worker, q.config.Lease)
		if err := q.end(ctx, tx, &h, ending{how: life.Expire, reason: reason}); err != nil {
			return err
		}
		return q.settle(ctx, tx, &h.task)
	})
}

// sweep drops uploads whose attempts have ended; the dropping after the end is
// lost when the process dies.
func (q *Queue) sweep(ctx context.Context) error {
	names, err := q.uploads.StagedLeases(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		var token worker.Token
		if n, err := fmt.Sscanf(name, "%d.%d", &token.Task, &token.Fence); n != 2 || err != nil || name != Upload(token) {
			continue // not a lease's
		}
		t, err := store.GetTask(ctx, q.db, token.Task)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return err
		}
		if err == nil && t.Fence == token.Fence && !t.State.Final() {
			continue // it goes on, or may be revived
		}
		q.drop(ctx, token)
	}
	return nil
}

// clock is the time by which leases are kept: the database's, which all masters
// share, carried on between looks by this process's monotonic clock, so that
// neither a wrong clock here nor a change of it ends a lease.
type clock struct {
	db   *db.DB
	wall func() time.Time // nil: the database's

	mu   sync.Mutex
	base time.Time     // the wall clock at the last look
	at   time.Duration // the monotonic clock then
	mono func() time.Duration
}

func newClock(d *db.DB, wall func() time.Time) *clock {
	start := time.Now()
	c := &clock{db: d, wall: wall, base: start, mono: func() time.Duration { return time.Since(start) }}
	if wall != nil {
		first := wall()
		c.base = first
		c.mono = func() time.Duration { return wall().Sub(first) }
	}
	return c
}

// now returns the time.
func (c *clock) now() db.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return db.At(c.base.Add(c.mono() - c.at))
}

// sync looks at the wall clock and returns how far it has jumped since the last
// look, against the monotonic clock.
func (c *clock) sync(ctx context.Context) (time.Duration, error) {
	wall := time.Time{}
	if c.wall != nil {
		wall = c.wall()
	} else {
		var err error
		if wall, err = c.db.Clock(ctx); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.mono()
	jump := wall.Round(0).Sub(c.base.Round(0)) - (at - c.at)
	c.base, c.at = wall.Round(0), at
	return jump, nil
}
