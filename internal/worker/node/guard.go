package node

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// guard watches over the free disk of the folders in which a node works: below one
// bound it takes no task, below a smaller one it gives back what it has.
type guard struct {
	dirs  []string
	min   int64 // bytes, as configured; 0 is the default
	every time.Duration
	stat  func(dir string) (free, size int64, err error)
	log   zerolog.Logger

	mu   sync.Mutex
	said bool // that nothing is taken
}

func newGuard(min int64, log zerolog.Logger, dirs ...string) *guard {
	return &guard{dirs: dirs, min: min, every: time.Second, stat: statfs, log: log}
}

// bounds returns from which free space on a disk of size bytes takes a task, and the
// least at which one goes on. By default that's 10 GiB, and on a small disk a
// twentieth of it: a build wants some GiB, and a laptop isn't to be filled.
func bounds(min, size int64) (take, goOn int64) {
	if min == 0 {
		min = 10 << 30
		if part := size / 20; part > 0 && part < min {
			min = part
		}
	}
	return min, min / 4
}

func statfs(dir string) (free, size int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, 0, fmt.Errorf("ask for the free disk of %s: %w", dir, err)
	}
	block := int64(s.Bsize) // of another type on each arch
	return int64(s.Bavail) * block, int64(s.Blocks) * block, nil
}

// free returns the least that is free in any of the folders, 0 if it can't be told.
func (g *guard) free() int64 {
	least := int64(-1)
	for _, dir := range g.dirs {
		free, _, err := g.stat(dir)
		if err == nil && (least < 0 || free < least) {
			least = free
		}
	}
	return max(least, 0)
}

const mib = 1 << 20

// pause returns why no task is taken now, "" if one is. When that changes the log says so.
// A disk that can't be looked at stops nothing: what is written to it will tell.
func (g *guard) pause() string {
	why := ""
	for _, dir := range g.dirs {
		free, size, err := g.stat(dir)
		if take, _ := bounds(g.min, size); err == nil && free < take {
			why = fmt.Sprintf("%d MiB of disk are free in %s, and tasks are taken from %d MiB on: make room, or lower min_free", free/mib, dir, take/mib)
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if why != "" && !g.said {
		g.log.Warn().Str("reason", why).Msg("no task is taken")
	}
	if why == "" && g.said {
		g.log.Info().Msg("tasks are taken again")
	}
	g.said = why != ""
	return why
}

// watch returns a context that ends, with an Unavailable cause, when a disk gets so full
// that its tasks can't go on; the caller ends it with stop, which waits.
func (g *guard) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(g.every)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
				if err := g.full(); err != nil {
					g.log.Error().Err(err).Msg("a task is given back")
					cancel(err)
					return
				}
			}
		}
	})
	return watched, func() {
		cancel(nil)
		wg.Wait()
	}
}

// full returns, as Unavailable, that a disk is too full for tasks to go on.
func (g *guard) full() error {
	for _, dir := range g.dirs {
		free, size, err := g.stat(dir)
		if _, goOn := bounds(g.min, size); err == nil && free < goOn {
			return albs.Errorf(albs.Unavailable, "the node's disk is full: %d MiB are free in %s, less than %d MiB", free/mib, dir, goOn/mib)
		}
	}
	return nil
}
