// Package guard keeps a worker from filling the disk on which it makes roots: below one
// bound of free space it takes no task, below a smaller one it gives back what it has.
// Nodes and testers have it.
package guard

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker"
)

// Guard watches over the free disk of the folders in which a worker works. It may be
// used concurrently.
type Guard struct {
	// Stat tells what is free on the disk of a folder, and its size; tests have their own.
	Stat func(dir string) (free, size int64, err error)
	// Every is how often it looks while a task runs.
	Every time.Duration

	dirs []string
	min  int64 // bytes, as configured; 0 is the default
	log  zerolog.Logger

	mu   sync.Mutex
	said bool // that nothing is taken
}

// New returns a guard over folders that takes tasks while at least min bytes are free in
// each; 0 is 10 GiB or a twentieth of the disk, whichever is less. At a quarter of it,
// running tasks are given back.
func New(min int64, log zerolog.Logger, dirs ...string) *Guard {
	return &Guard{dirs: dirs, min: min, Every: time.Second, Stat: statfs, log: log}
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

// Free returns the least that is free in any of the folders, 0 if it can't be told.
func (g *Guard) Free() int64 {
	least := int64(-1)
	for _, dir := range g.dirs {
		free, _, err := g.Stat(dir)
		if err == nil && (least < 0 || free < least) {
			least = free
		}
	}
	return max(least, 0)
}

const mib = 1 << 20

// Pause returns why no task is taken now, "" if one is. When that changes the log says so.
// A disk that can't be looked at stops nothing: what is written to it will tell.
func (g *Guard) Pause() string {
	why := ""
	for _, dir := range g.dirs {
		free, size, err := g.Stat(dir)
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

// Job returns job with a watch over the disk. When that gets so full that tasks can't go
// on, job's context ends, and the attempt with the Unavailable cause of it, unless it was
// done.
func (g *Guard) Job(job worker.Job) worker.Job {
	return func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		watched, stop := g.watch(ctx)
		defer stop()
		outcome, result, err := job(watched, s)
		// What fails on a full disk fails in many ways; the cause is the disk.
		if watched.Err() != nil && ctx.Err() == nil && outcome != albs.OutcomeOK {
			return "", albs.Result{}, context.Cause(watched)
		}
		return outcome, result, err
	}
}

// watch returns a context that ends, with an Unavailable cause, when a disk gets so full
// that its tasks can't go on; the caller ends it with stop, which waits.
func (g *Guard) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(g.Every)
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
func (g *Guard) full() error {
	for _, dir := range g.dirs {
		free, size, err := g.Stat(dir)
		if _, goOn := bounds(g.min, size); err == nil && free < goOn {
			return albs.Errorf(albs.Unavailable, "the disk is full: %d MiB are free in %s, less than %d MiB", free/mib, dir, goOn/mib)
		}
	}
	return nil
}
