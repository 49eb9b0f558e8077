package scrub

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/blob/s3test"
)

// place is a store, and the way behind its back.
type place struct {
	store  blob.Store
	damage func(t *testing.T, d albs.Digest)
	forget func(t *testing.T, d albs.Digest) // what the store has of a blob elsewhere
}

func flip(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

func places(t *testing.T, f func(t *testing.T, p place)) {
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s, err := blob.NewDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		f(t, place{s, func(t *testing.T, d albs.Digest) {
			file := filepath.Join(dir, "sha256", string(d[:2]), string(d[2:]))
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, flip(b), 0o600)); err != nil {
				t.Fatal(err)
			}
		}, func(*testing.T, albs.Digest) {}})
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		c := s3test.Config(t)
		cache := t.TempDir()
		s, err := blob.NewS3(t.Context(), c, cache)
		if err != nil {
			t.Fatal(err)
		}
		f(t, place{s, func(t *testing.T, d albs.Digest) { s3test.Change(t, c, d, flip) }, func(t *testing.T, d albs.Digest) {
			if err := os.Remove(filepath.Join(cache, "sha256", string(d[:2]), string(d[2:]))); err != nil {
				t.Fatal(err)
			}
		}})
	})
}

func scrubber(t *testing.T, s blob.Store, file string, log *bytes.Buffer) *Scrubber {
	t.Helper()
	x, err := New(s, file, Options{}, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	x.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return x
}

// TestCycle: a flipped byte is told of within a cycle, and no more once the right bytes
// were put back, or the blob was removed (T13).
func TestCycle(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, p place) {
		var all []albs.Digest
		for i := range 20 {
			d, _, err := p.store.Write(t.Context(), strings.NewReader(strings.Repeat("blob", i+1)), 1000)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		var log bytes.Buffer
		file := filepath.Join(t.TempDir(), "scrub.json")
		s := scrubber(t, p.store, file, &log)
		cycle := func(corrupt ...albs.Digest) {
			t.Helper()
			log.Reset()
			if err := s.cycle(t.Context()); err != nil {
				t.Fatal(err)
			}
			slices.Sort(corrupt)
			if !slices.Equal(s.state.Corrupt, corrupt) {
				t.Errorf("corrupt are %v, want %v", s.state.Corrupt, corrupt)
			}
			if n := testutil.ToFloat64(s.corrupt); n != float64(len(corrupt)) {
				t.Errorf("albs_blobs_corrupt is %v, want %d", n, len(corrupt))
			}
			for _, d := range all {
				if told := strings.Contains(log.String(), `"level":"error","blob":"`+string(d)); told != slices.Contains(corrupt, d) {
					t.Errorf("the log tells of %s: %v", d.Short(), told)
				}
			}
		}
		cycle()
		if n := testutil.ToFloat64(s.read); n != 20 {
			t.Errorf("%v blobs were read, want 20", n)
		}
		if testutil.ToFloat64(s.ended) == 0 {
			t.Error("the end of the cycle isn't told")
		}
		p.damage(t, all[3])
		p.damage(t, all[12])
		cycle(all[3], all[12])
		s = scrubber(t, p.store, file, &log)
		if n := testutil.ToFloat64(s.corrupt); n != 2 {
			t.Errorf("after a restart albs_blobs_corrupt is %v, want 2", n)
		}
		if _, err := p.store.Put(t.Context(), all[3], strings.NewReader(strings.Repeat("blob", 4))); err != nil {
			t.Fatal(err)
		}
		cycle(all[12])
		if err := p.store.Remove(t.Context(), all[12]); err != nil {
			t.Fatal(err)
		}
		cycle()
	})
}

// counted notes what is verified, and fails at one.
type counted struct {
	blob.Store
	seen []albs.Digest
	fail int
}

func (c *counted) Verify(ctx context.Context, d albs.Digest) error {
	if len(c.seen) == c.fail {
		c.fail = -1
		return errors.New("the disk is away")
	}
	c.seen = append(c.seen, d)
	return c.Store.Verify(ctx, d)
}

// TestGoesOn: after a failure, also after a restart, the cycle goes on where it was.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	dir, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var all []albs.Digest
	for i := range 10 {
		d, _, err := dir.Write(t.Context(), strings.NewReader(strings.Repeat("x", i)), 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	slices.Sort(all)
	var log bytes.Buffer
	file := filepath.Join(t.TempDir(), "scrub.json")
	c := &counted{Store: dir, fail: 4}
	if err := scrubber(t, c, file, &log).cycle(t.Context()); err == nil {
		t.Fatal("a store that fails ended a cycle")
	}
	s := scrubber(t, c, file, &log)
	begun := s.state.Begun
	if err := s.cycle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.seen, all) {
		t.Errorf("read %v, want each once: %v", c.seen, all)
	}
	if begun.IsZero() || !s.state.Begun.Equal(begun) {
		t.Errorf("the cycle began at %v and again at %v", begun, s.state.Begun)
	}
}

// TestRun: a cycle is followed by a pause to the next one's time, a failure by a short
// one, and the end of the context ends it.
func TestRun(t *testing.T) {
	t.Parallel()
	dir, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dir.Write(t.Context(), strings.NewReader("x"), 100); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := scrubber(t, &counted{Store: dir}, filepath.Join(t.TempDir(), "scrub.json"), &log)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var long []time.Duration
	s.pause = func(ctx context.Context, d time.Duration) error {
		if d >= trouble {
			if long = append(long, d); len(long) == 2 {
				cancel()
			}
		}
		return ctx.Err()
	}
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if len(long) != 2 || long[0] != trouble || long[1] < Every-time.Minute || long[1] > Every {
		t.Errorf("paused for %v, want %v and almost %v", long, trouble, Every)
	}
	if !strings.Contains(log.String(), "the disk is away") {
		t.Errorf("the log doesn't tell why: %s", &log)
	}
}

// TestBadPlace: what isn't the scrubber's file is refused, and the way out is told.
func TestBadPlace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "scrub.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(nil, file, Options{}, zerolog.Nop()); !errors.Is(err, albs.Internal) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("New = %v", err)
	}
}
