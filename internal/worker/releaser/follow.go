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
	"albs/internal/worker/releaser/further"
	"albs/internal/worker/releaser/laid"
)

// How a follower goes on trying.
const (
	lookEvery  = 10 * time.Minute // whether the place still shows what the directory does
	retryFirst = 5 * time.Second  // after a failure; then twice as long each time,
	retryMost  = 5 * time.Minute  // up to this
	pruneEvery = time.Hour
)

// follower brings one further place to what the directory shows: within each release, and
// by itself after a failure. It is never further than the directory, so an outage of
// the place ends with the release that is shown by then.
type follower struct {
	place  further.Place
	public string
	open   further.Opener
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
		open, err := p.Opener(c.Spool)
		if err != nil {
			return nil, err
		}
		f := &follower{
			place: p, open: open, public: c.Public, log: log.With().Str("place", p.Name).Logger(),
			busy: make(chan struct{}, 1), wake: make(chan struct{}, 1), first: retryFirst,
			prune:  func(shownFor time.Duration) bool { return shownFor > carryFor },
			behind: map[string]string{}, pruned: map[string]time.Time{},
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
		if !f.place.Has(product) {
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
	from, err := laid.Open(f.public, product)
	if errors.Is(err, albs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	t := f.open(from, log)
	err = further.Bring(ctx, t, from.Tree.Serial, from.Tree.Digest(), func(ctx context.Context) error { return ctx.Err() }, log)
	if err == nil {
		err = t.Prove(ctx)
	}
	f.note(product, err)
	if err != nil {
		return err
	}
	shownFor, err := from.ShownFor()
	if err != nil {
		return err
	}
	if !f.prune(shownFor) || time.Since(f.pruned[product]) < pruneEvery {
		return nil
	}
	if err := t.Prune(ctx); err != nil {
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
		if !e.IsDir() || !f.place.Has(e.Name()) || !fs.ValidPath(e.Name()) {
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
