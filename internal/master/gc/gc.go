// Package gc decides what is kept and for how long, and has the rest removed: builds
// that are old enough and of no use are deleted, and what products have shown and don't
// keep is given up, then the blobs that nothing reaches,
// the streamed logs of what was deleted, and the git mirrors that nobody uses.
//
// It owns the policy and the order of these steps, and no table: which blobs are reached
// the modules say, each for itself, and artifact removes what none of them does. Records
// of the ledger, statements and the rows that tell what was done stay for good.
package gc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/master/queue/keep"
	"albs/internal/master/retention"
)

// Config is what an operator may set.
type Config struct {
	// Every is how often the master collects by itself; 24 h if 0, never if below.
	Every time.Duration `yaml:"every"`
	// Grace is how long blobs, logs and mirrors stay that are of no use; 7 days if 0.
	Grace time.Duration `yaml:"grace"`
	// Failed is after how long builds are deleted that failed or were cancelled;
	// 90 days if 0, never if below.
	Failed time.Duration `yaml:"failed"`
	// Unreleased is after how long builds are deleted that succeeded, and are neither
	// signed nor released; never if 0.
	Unreleased time.Duration `yaml:"unreleased"`
}

const day = 24 * time.Hour

// minGrace is longer than anything takes from the storing of a blob to the commit that
// names it, with a lease and the limits of a request on top.
const minGrace = time.Hour

// withDefaults returns c with what it leaves out, or Invalid.
func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		p    *time.Duration
		dflt time.Duration
	}{{&c.Every, day}, {&c.Grace, 7 * day}, {&c.Failed, 90 * day}} {
		if *d.p == 0 {
			*d.p = d.dflt
		}
	}
	switch {
	case c.Every > 0 && c.Every < time.Minute:
		return c, albs.Errorf(albs.Invalid, "collect.every is %v: choose a minute or more, or -1s for never", c.Every)
	case c.Grace < minGrace:
		return c, albs.Errorf(albs.Invalid, "collect.grace is %v: what is being stored has to be safe meanwhile; choose %v or more", c.Grace, minGrace)
	case c.Failed >= 0 && c.Failed < c.Grace, c.Unreleased > 0 && c.Unreleased < c.Grace, c.Unreleased < 0:
		return c, albs.Errorf(albs.Invalid, "collect.failed is %v and collect.unreleased %v: neither may be below collect.grace, %v", c.Failed, c.Unreleased, c.Grace)
	}
	return c, nil
}

// due reports whether a build of that status is deleted now.
func (c Config) due(s status.Status, now time.Time) bool {
	over := func(after time.Duration) bool {
		return after > 0 && !s.Finished.IsZero() && now.Sub(s.Finished) >= after
	}
	switch s.State {
	case status.Failed, status.Cancelled:
		return over(c.Failed)
	case status.Succeeded:
		return over(c.Unreleased)
	}
	return false
}

// Builds are the builds that are looked through; build.Builds is one.
type Builds interface {
	List(ctx context.Context, f build.Filter) ([]build.Summary, bool, error)
	Kept(ctx context.Context, id albs.BuildID) error
	Expire(ctx context.Context, id albs.BuildID) error
}

// Logs cleans the streamed logs of what was deleted; queue.Queue does.
type Logs interface {
	CleanLogs(ctx context.Context, before time.Time, dryRun bool) (keep.Logs, error)
}

// Retention gives up what products don't keep of their past; retention.Retention does.
type Retention interface {
	Apply(ctx context.Context, now time.Time, dryRun bool) ([]retention.Retired, error)
}

// Mirrors removes what nobody used since a time; git.Mirrors does.
type Mirrors interface {
	Clean(ctx context.Context, before time.Time, dryRun bool) (int, error)
}

// Parts are what a collector rests on.
type Parts struct {
	DB        *db.DB
	Artifacts *artifact.Artifacts
	Retention Retention
	Builds    Builds
	Logs      Logs
	Mirrors   Mirrors
	Log       zerolog.Logger
}

// Collector collects, now and then and when it is asked to. It may be used concurrently;
// one collection runs at a time.
type Collector struct {
	Parts
	config Config
	asked  chan bool // a run, by whether it is dry

	mu      sync.Mutex
	state   State
	metrics metrics
}

// New returns the collector of a master. It does no I/O. Invalid if c makes no sense.
func New(p Parts, c Config) (*Collector, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Collector{Parts: p, config: c, asked: make(chan bool, 1), metrics: newMetrics()}, nil
}

// Result says what a collection did; of a dry run, what a real one would have done.
type Result struct {
	DryRun   bool      `json:"dry_run"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Error    string    `json:"error" doc:"Why it ended early; empty if it didn't"`
	// Builds are those that were deleted. What they alone kept is counted by the
	// collection after the next time of grace, of a dry run too.
	Builds []albs.BuildID `json:"builds"`
	// Retired are the serials that products don't keep, and that were given up.
	Retired []retention.Retired `json:"retired"`
	Blobs   artifact.Collected  `json:"blobs"`
	Logs    keep.Logs           `json:"logs"`
	Mirrors int                 `json:"mirrors"`
}

// State is where the collector stands.
type State struct {
	Runs   int     `json:"runs" doc:"How many collections have ended since the master started"`
	Step   string  `json:"step" doc:"What is being done; empty if nothing is"`
	Done   int     `json:"done" doc:"How much of that step"`
	Last   *Result `json:"last" doc:"The last collection since the master started, dry or not"`
	Queued bool    `json:"queued" doc:"One is asked for and hasn't begun"`
}

// State returns where the collector stands. Forbidden without store.collect.
func (c *Collector) State(ctx context.Context) (State, error) {
	if err := auth.Can(ctx, auth.StoreCollect, auth.Object{}); err != nil {
		return State{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, nil
}

// Ask has a collection begin, and returns how many have ended: when State tells of
// more, it is done. Forbidden without store.collect, Conflict while one runs or is
// asked for.
func (c *Collector) Ask(ctx context.Context, dryRun bool) (runs int, err error) {
	if err := auth.Can(ctx, auth.StoreCollect, auth.Object{}); err != nil {
		return 0, err
	}
	return c.ask(dryRun)
}

func (c *Collector) ask(dryRun bool) (runs int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Queued || c.state.Step != "" {
		return 0, albs.Errorf(albs.Conflict, "a collection runs: wait until it has ended")
	}
	c.state.Queued = true
	c.asked <- dryRun // it holds one, and nobody else asks before that is taken
	return c.state.Runs, nil
}

// Run collects until ctx is done, whose error it returns. What fails is tried again
// next time. Of several masters one collects by itself, each when it is asked to, and one
// at a time.
func (c *Collector) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if c.config.Every > 0 {
		g.Go(func() error { return c.DB.Leader(ctx, "gc", c.remind) })
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case dryRun := <-c.asked:
				err := c.DB.Leader(ctx, "gc.collection", func(ctx context.Context) error {
					c.now(ctx, dryRun)
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

// remind asks for a collection whenever it is time for one.
func (c *Collector) remind(ctx context.Context) error {
	t := time.NewTicker(c.config.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			// Where it is refused one runs already.
			_, _ = c.ask(false)
		}
	}
}

// now collects and says so in the log.
func (c *Collector) now(ctx context.Context, dryRun bool) {
	r := c.Collect(auth.System(ctx, "retention"), dryRun, time.Now())
	if r.Error != "" && ctx.Err() == nil {
		c.Log.Error().Str("error", r.Error).Msg("collect garbage")
	}
	c.Log.Info().Bool("dry_run", dryRun).Int("builds", len(r.Builds)).Int("blobs", r.Blobs.Removed).Int64("bytes", r.Blobs.RemovedBytes).
		Int("logs", r.Logs.Tasks).Int("mirrors", r.Mirrors).Msg("garbage collected")
}

// Collect collects once, as of now. One at a time.
func (c *Collector) Collect(ctx context.Context, dryRun bool, now time.Time) Result {
	r := Result{DryRun: dryRun, Started: time.Now().UTC(), Builds: []albs.BuildID{}, Retired: []retention.Retired{}}
	if err := c.collect(ctx, &r, now); err != nil {
		r.Error = err.Error()
	}
	r.Finished = time.Now().UTC()
	c.metrics.observe(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Runs++
	c.state.Step, c.state.Done, c.state.Queued, c.state.Last = "", 0, len(c.asked) > 0, &r
	return r
}

func (c *Collector) step(name string, done int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Step, c.state.Done, c.state.Queued = name, done, len(c.asked) > 0
}

func (c *Collector) collect(ctx context.Context, r *Result, now time.Time) (err error) {
	if err := c.builds(ctx, r, now); err != nil {
		return fmt.Errorf("delete builds: %w", err)
	}
	c.step("give up serials", 0)
	if r.Retired, err = c.Retention.Apply(ctx, now, r.DryRun); err != nil {
		return fmt.Errorf("give up what products don't keep: %w", err)
	}
	r.Blobs, err = c.Artifacts.Collect(ctx, artifact.Collection{
		Grace: c.config.Grace, DryRun: r.DryRun, Step: c.step, Now: func() time.Time { return now.Add(time.Since(r.Started)) },
	})
	if err != nil {
		return fmt.Errorf("collect blobs: %w", err)
	}
	before := now.Add(-c.config.Grace)
	c.step("clean logs", 0)
	if r.Logs, err = c.Logs.CleanLogs(ctx, before, r.DryRun); err != nil {
		return fmt.Errorf("clean logs: %w", err)
	}
	c.step("clean git mirrors", 0)
	if r.Mirrors, err = c.Mirrors.Clean(ctx, before, r.DryRun); err != nil {
		return fmt.Errorf("clean git mirrors: %w", err)
	}
	return nil
}

// builds deletes those whose time is over. What is signed, released or about to be keeps
// its build, and so does whoever retries it meanwhile.
func (c *Collector) builds(ctx context.Context, r *Result, now time.Time) error {
	if c.config.Failed < 0 && c.config.Unreleased == 0 {
		return nil
	}
	seen := 0
	for f := (build.Filter{Limit: 100}); ; {
		page, more, err := c.Builds.List(ctx, f)
		if err != nil {
			return err
		}
		for _, b := range page {
			f.Before = b.ID
			seen++
			c.step("look at builds", seen)
			if !c.config.due(b.Status, now) {
				continue
			}
			gone, err := c.delete(ctx, b.ID, r.DryRun)
			if err != nil {
				return fmt.Errorf("build %d: %w", b.ID, err)
			}
			if gone {
				r.Builds = append(r.Builds, b.ID)
			}
		}
		if !more {
			return nil
		}
	}
}

// delete reports whether the build could be deleted.
func (c *Collector) delete(ctx context.Context, id albs.BuildID, dryRun bool) (bool, error) {
	err := c.Builds.Kept(ctx, id)
	if err == nil && !dryRun {
		err = c.Builds.Expire(ctx, id)
	}
	if errors.Is(err, albs.Conflict) || errors.Is(err, albs.NotFound) {
		return false, nil // somebody rests on it, or was faster
	}
	return err == nil, err
}
