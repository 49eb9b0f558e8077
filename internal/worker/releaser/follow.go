package releaser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/bucket"
)

// How a follower goes on trying.
const (
	lookEvery  = 10 * time.Minute // whether the place still shows what the directory does
	retryFirst = 5 * time.Second  // after a failure; then twice as long each time,
	retryMost  = 5 * time.Minute  // up to this
	pruneEvery = time.Hour
)

// remote is a target that keeps to what the directory has.
type remote interface {
	target
	// prove brings what the directory has beside packages to those that the place shows.
	// It is called only while the place shows what the directory does, and may be
	// repeated.
	prove(ctx context.Context) error
	// prune removes what the directory has no more. It is called only while the place shows
	// what the directory does, and long after that was switched to.
	prune(ctx context.Context) error
}

// follower brings one further place to what the directory shows: within each release, and
// by itself after a failure. It is never further than the directory, so an outage of
// the place ends with the release that is shown by then.
type follower struct {
	place  Place
	public string
	open   func(from *laid, log io.Writer) remote
	log    zerolog.Logger

	busy  chan struct{} // held while something is brought to the place
	wake  chan struct{}
	first time.Duration // retryFirst
	prune func(shownFor time.Duration) bool

	mu     sync.Mutex
	behind map[string]string // why, by product
	pruned map[string]time.Time
}

// followers are those of all further places.
type followers []*follower

func newFollowers(c Config, log zerolog.Logger) (followers, error) {
	var out followers
	for _, p := range c.Places {
		f := &follower{
			place: p, public: c.Public, log: log.With().Str("place", p.Name).Logger(),
			busy: make(chan struct{}, 1), wake: make(chan struct{}, 1), first: retryFirst,
			prune:  func(shownFor time.Duration) bool { return shownFor > carryFor },
			behind: map[string]string{}, pruned: map[string]time.Time{},
		}
		if p.S3 != (bucket.Config{}) {
			b, err := bucket.New(p.S3, bucket.Usual)
			if err != nil {
				return nil, fmt.Errorf("place %s: %w", p.Name, err)
			}
			f.open = func(from *laid, log io.Writer) remote { return newInBucket(b, p, from, log) }
		} else {
			f.open = func(from *laid, log io.Writer) remote { return newOnHost(p, c.Spool, from, log) }
		}
		out = append(out, f)
	}
	return out, nil
}

// follow brings every place that has the product to what the directory shows of it, all at
// once, and says, for people, which of them don't show it yet and why; "" is none.
func (fs followers) follow(ctx context.Context, product string, log io.Writer) string {
	said := make([]string, len(fs))
	out := &shared{w: log}
	var wg sync.WaitGroup
	for i, f := range fs {
		if !f.place.has(product) {
			continue
		}
		wg.Go(func() {
			if err := f.bring(ctx, product, &prefixed{out, "place " + f.place.Name + ": "}); err != nil {
				said[i] = fmt.Sprintf("place %s doesn't show it yet: %v", f.place.Name, err)
				fmt.Fprintf(out, "%s; the releaser goes on trying\n", said[i])
				f.again()
			}
		})
	}
	wg.Wait()
	return strings.Join(drop(said), "; ")
}

func drop(said []string) (out []string) {
	for _, s := range said {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// again has the follower try soon.
func (f *follower) again() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// bring brings the place to what the directory shows of the product, and then removes
// what the directory has no more if it is time. A product that the directory doesn't
// show is none.
func (f *follower) bring(ctx context.Context, product string, log io.Writer) (err error) {
	select {
	case f.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.busy }()
	from, err := openLaid(f.public, product)
	if errors.Is(err, albs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	t := f.open(from, log)
	err = bring(ctx, t, from.t.Serial, from.t.digest(), func(ctx context.Context) error { return ctx.Err() }, log)
	if err == nil {
		err = t.prove(ctx)
	}
	f.note(product, err)
	if err != nil {
		return err
	}
	shownFor, err := from.shownFor()
	if err != nil {
		return err
	}
	if !f.prune(shownFor) || time.Since(f.pruned[product]) < pruneEvery {
		return nil
	}
	if err := t.prune(ctx); err != nil {
		// Readers have what they need: what is left goes another time.
		f.log.Warn().Err(err).Str("product", product).Msg("the place couldn't be rid of what the directory has no more; it is tried again")
		return nil
	}
	f.pruned[product] = time.Now()
	return nil
}

// note says when a place falls behind, for another reason than before, or comes up again.
func (f *follower) note(product string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.behind[product]
	switch {
	case err == nil && was != "":
		delete(f.behind, product)
		f.log.Info().Str("product", product).Msg("the place shows what the directory does again")
	case err != nil && was != err.Error():
		f.behind[product] = err.Error()
		f.log.Error().Err(err).Str("product", product).Msg("the place is behind the directory; the releaser goes on trying")
	}
}

// run brings the place along by itself until ctx is done: at the start, after a failure
// and every so often, for it may have lost what it had.
func (f *follower) run(ctx context.Context) error {
	wait := f.first
	for {
		ok := f.all(ctx)
		pause := lookEvery
		if ok {
			wait = f.first
		} else {
			pause = wait/2 + rand.N(wait)
			wait = min(2*wait, retryMost)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-f.wake:
			// Not at once: it has just failed.
			timer.Reset(min(pause, wait/2+rand.N(wait)))
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
		}
	}
}

// all brings every product to the place and reports whether all are there.
func (f *follower) all(ctx context.Context) bool {
	entries, err := os.ReadDir(f.public)
	if err != nil {
		f.log.Error().Err(err).Msg("the public place can't be read")
		return false
	}
	ok := true
	for _, e := range entries {
		if !e.IsDir() || !f.place.has(e.Name()) || !fs.ValidPath(e.Name()) {
			continue
		}
		if err := f.bring(ctx, e.Name(), io.Discard); err != nil {
			ok = false
		}
	}
	return ok
}

// shared is a writer for several at once.
type shared struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// prefixed begins each write, which is a line, with some words.
type prefixed struct {
	w     io.Writer
	words string
}

func (p *prefixed) Write(b []byte) (int, error) {
	_, err := p.w.Write(append([]byte(p.words), b...))
	return len(b), err
}

// progress says now and then how far long work is.
type progress struct {
	log  io.Writer
	mu   sync.Mutex
	next time.Time
}

const sayEvery = 10 * time.Second

func newProgress(log io.Writer) *progress {
	return &progress{log: log, next: time.Now().Add(sayEvery)}
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(sayEvery)
		fmt.Fprintf(p.log, format+"\n", args...)
	}
}
