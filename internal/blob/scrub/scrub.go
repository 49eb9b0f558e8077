// Package scrub reads all blobs of a store again and again, slowly, so that bytes that
// rot where nobody looks are found while there may still be a copy of them. Where it
// knows of one that hashes to the blob's name it puts those bytes back; else it says
// what is lost.
package scrub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/disk"
)

// Every is the time from the start of one cycle to that of the next where none is
// configured.
const Every = 7 * 24 * time.Hour

const (
	// slowest is the pace in bytes/s below which a cycle doesn't go: what is little is
	// read within minutes, and not spread over a week.
	slowest = 4 << 20
	// keepEach is how many blobs are read before the place is noted.
	keepEach = 1000
	// maxCorrupt bounds the names that are remembered of what was found.
	maxCorrupt = 10_000
	// trouble is the pause after the store or the disk couldn't be read.
	trouble = time.Minute
	maxFile = 2 << 20 // bytes
)

// state is where the scrubber is, as it is kept in its file.
type state struct {
	Begun   time.Time     `json:"begun"`             // when the present cycle was
	After   albs.Digest   `json:"after,omitempty"`   // the last blob that was read in it
	Ended   time.Time     `json:"ended,omitzero"`    // when the last whole cycle did
	Corrupt []albs.Digest `json:"corrupt,omitempty"` // as they were when last read
}

// Scrubber reads the blobs of a store. Its place is kept in a file, so that a restart
// goes on and doesn't begin again; another cycle over the same blobs does no harm.
type Scrubber struct {
	store  blob.Store
	file   string
	every  time.Duration
	copies []Copy
	what   func(ctx context.Context, d albs.Digest) (string, error)
	log    zerolog.Logger

	pause    func(ctx context.Context, d time.Duration) error // tests don't wait
	read     prometheus.Counter
	repaired prometheus.Counter
	corrupt  prometheus.Gauge
	ended    prometheus.Gauge

	state state // of whoever runs Run
}

// Options is what a scrubber may be given beside its store.
type Options struct {
	// Every is the time from one cycle to the next; 0 is Every.
	Every time.Duration
	// Copies are where the bytes of blobs may lie too, the nearest first.
	Copies []Copy
	// What says, for people, what a blob is and what needs it; nil says nothing.
	What func(ctx context.Context, d albs.Digest) (string, error)
}

// New returns the scrubber of store that keeps its place in file. A file that can't be
// read, or isn't the scrubber's, is Internal.
func New(store blob.Store, file string, o Options, log zerolog.Logger) (*Scrubber, error) {
	if o.Every == 0 {
		o.Every = Every
	}
	if o.What == nil {
		o.What = func(context.Context, albs.Digest) (string, error) { return "", nil }
	}
	s := &Scrubber{
		store: store, file: file, every: o.Every, copies: o.Copies, what: o.What, log: log, pause: pause,
		read: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "albs_blobs_scrubbed_total", Help: "Blobs that the scrubber has read, since the start.",
		}),
		repaired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "albs_blobs_repaired_total", Help: "Blobs that were corrupt and were put back from a copy, since the start.",
		}),
		corrupt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "albs_blobs_corrupt", Help: "Blobs whose stored bytes didn't hash to their name when the scrubber last read them.",
		}),
		ended: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "albs_blobs_scrub_ended_seconds", Help: "When the scrubber last had read all blobs, in seconds since 1970; 0 if never.",
		}),
	}
	b, err := disk.ReadFile(file, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, albs.Errorf(albs.Internal, "read the scrubber's place: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &s.state); err != nil {
			return nil, albs.Errorf(albs.Internal, "%s isn't the scrubber's place (%w): remove it, and it begins anew", file, err)
		}
	}
	s.tell()
	return s, nil
}

// Metrics returns what operators watch of it.
func (s *Scrubber) Metrics() []prometheus.Collector {
	return []prometheus.Collector{s.read, s.repaired, s.corrupt, s.ended}
}

// Run reads until ctx is done, whose error it returns. A store that can't be read, or a
// full disk, is logged and tried again.
func (s *Scrubber) Run(ctx context.Context) error {
	for {
		err := s.cycle(ctx)
		wait := trouble
		if err == nil {
			wait = time.Until(s.state.Begun.Add(s.every))
		} else if ctx.Err() == nil {
			s.log.Error().Err(err).Msg("the scrubber can't read the blobs; it goes on in a minute")
		}
		if err := s.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// cycle reads what was corrupt, which may be mended or gone, and the blobs after the
// last one that was read, or all.
func (s *Scrubber) cycle(ctx context.Context) error {
	for _, name := range slices.Clone(s.state.Corrupt) {
		if err := s.look(ctx, name); err != nil {
			return err
		}
	}
	if s.state.After == "" {
		s.state.Begun = time.Now().UTC()
	}
	var total int64
	err := s.store.Walk(ctx, func(_ albs.Digest, size int64) error { total += size; return nil })
	if err != nil {
		return err
	}
	pace := max(float64(total)/s.every.Seconds(), slowest)
	n := 0
	err = s.store.Walk(ctx, func(name albs.Digest, size int64) error {
		if name <= s.state.After {
			return nil
		}
		if err := s.look(ctx, name); err != nil {
			return err
		}
		s.state.After = name
		if n++; n%keepEach == 0 {
			if err := s.keep(); err != nil {
				return err
			}
		}
		return s.pause(ctx, time.Duration(float64(size)/pace*float64(time.Second)))
	})
	if err != nil {
		return errors.Join(err, s.keep())
	}
	s.state.After, s.state.Ended = "", time.Now().UTC()
	s.tell()
	s.log.Info().Int("read", n).Int("corrupt", len(s.state.Corrupt)).Msg("all blobs have been read")
	return s.keep()
}

// look reads one blob, puts it back if it is corrupt and can be, and notes what it found;
// an error is that it couldn't.
func (s *Scrubber) look(ctx context.Context, name albs.Digest) error {
	err := s.store.Verify(ctx, name)
	bad := errors.Is(err, blob.ErrCorrupt)
	if err != nil && !bad && !errors.Is(err, albs.NotFound) {
		return err
	}
	s.read.Inc()
	if bad {
		from, err := s.repair(ctx, name)
		if err != nil {
			return err
		}
		if from != "" {
			s.repaired.Inc()
			s.log.Warn().Str("blob", string(name)).Str("from", from).Msg("the stored bytes of a blob were not those of its name: the right ones were put back from a copy")
			bad = false
		}
	}
	at, known := slices.BinarySearch(s.state.Corrupt, name)
	switch {
	case bad:
		what, err := s.what(ctx, name)
		if err != nil {
			what = "unknown: " + err.Error()
		}
		s.log.Error().Str("blob", string(name)).Str("lost", what).Msg("the stored bytes of a blob are not those of its name, and no copy is known: it is read no more until the right ones are put back")
		if !known && len(s.state.Corrupt) < maxCorrupt {
			s.state.Corrupt = slices.Insert(s.state.Corrupt, at, name)
		}
	case known:
		s.log.Info().Str("blob", string(name)).Msg("a blob that was corrupt is intact, or gone")
		s.state.Corrupt = slices.Delete(s.state.Corrupt, at, at+1)
	}
	s.tell()
	return nil
}

// repair puts the bytes of a copy in the place of corrupt ones and returns where they
// came from, "" if no copy has the right ones. The store hashes what it is given, and
// what it holds then is read again.
func (s *Scrubber) repair(ctx context.Context, name albs.Digest) (from string, err error) {
	for _, c := range s.copies {
		r, err := c.Open(ctx, name)
		if err == nil {
			_, err = s.store.Put(ctx, name, r)
			err = errors.Join(err, r.Close())
		}
		if err == nil {
			err = s.store.Verify(ctx, name)
		}
		switch {
		case err == nil:
			return c.Name, nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.Is(err, albs.NotFound), errors.Is(err, blob.ErrCorrupt), errors.Is(err, albs.Invalid):
			// It hasn't the right ones: the next may.
		default:
			s.log.Warn().Err(err).Str("blob", string(name)).Str("from", c.Name).Msg("a corrupt blob can't be put back from a copy; the next is tried")
		}
	}
	return "", nil
}

// keep writes down the place.
func (s *Scrubber) keep() error {
	b, err := json.Marshal(s.state)
	if err != nil {
		return fmt.Errorf("keep the scrubber's place: %w", err)
	}
	return disk.WriteFile(s.file, b, 0o600)
}

func (s *Scrubber) tell() {
	s.corrupt.Set(float64(len(s.state.Corrupt)))
	if !s.state.Ended.IsZero() {
		s.ended.Set(float64(s.state.Ended.Unix()))
	}
}

// pause waits, unless ctx is done first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
