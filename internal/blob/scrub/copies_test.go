package scrub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"albs/internal/albs"
	"albs/internal/blob"
)

// TestRepair: corrupt bytes are replaced by a copy's if those hash to the blob's name,
// wherever they lie; else what is lost is told (T13).
func TestRepair(t *testing.T) {
	t.Parallel()
	content := []byte("the right bytes")
	d := albs.DigestOf(content)
	lies := func(name string, b []byte) func(t *testing.T) Copy {
		return func(t *testing.T) Copy {
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, b, 0o644)); err != nil {
				t.Fatal(err)
			}
			return Folder(dir)
		}
	}
	inStore := filepath.Join("sha256", string(d[:2]), string(d[2:]))
	inPool := filepath.Join("demo/pool/.digest", string(d[:2]), string(d))
	away := func(*testing.T) Copy {
		return Copy{Name: "away", Open: func(context.Context, albs.Digest) (io.ReadCloser, error) {
			return nil, albs.Errorf(albs.Unavailable, "the other store is away")
		}}
	}
	for name, tt := range map[string]struct {
		copies []func(*testing.T) Copy
		mended bool
	}{
		"no copy":                      {nil, false},
		"a store or a worker's cache":  {[]func(*testing.T) Copy{lies(inStore, content)}, true},
		"a public place":               {[]func(*testing.T) Copy{lies(inPool, content)}, true},
		"other bytes":                  {[]func(*testing.T) Copy{lies(inPool, content[1:])}, false},
		"cut off, then the right ones": {[]func(*testing.T) Copy{lies(inStore, content[:3]), lies(inPool, content)}, true},
		"nothing":                      {[]func(*testing.T) Copy{lies("else", content)}, false},
		"no such folder":               {[]func(*testing.T) Copy{func(*testing.T) Copy { return Folder("/nowhere") }}, false},
		"away, then the right ones":    {[]func(*testing.T) Copy{away, lies(inStore, content)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			places(t, func(t *testing.T, p place) {
				if _, err := p.store.Put(t.Context(), d, bytes.NewReader(content)); err != nil {
					t.Fatal(err)
				}
				p.damage(t, d)
				p.forget(t, d)
				var log bytes.Buffer
				s := scrubber(t, p.store, filepath.Join(t.TempDir(), "scrub.json"), &log)
				for _, c := range tt.copies {
					s.copies = append(s.copies, c(t))
				}
				s.what = func(_ context.Context, lost albs.Digest) (string, error) {
					return "bash-5.1-1.el9.x86_64.rpm of release 7, " + lost.Short(), nil
				}
				if err := s.cycle(t.Context()); err != nil {
					t.Fatal(err)
				}
				err := p.store.Verify(t.Context(), d)
				lost := strings.Contains(log.String(), `"lost":"bash-5.1-1.el9.x86_64.rpm of release 7`)
				if tt.mended {
					if err != nil || lost || len(s.state.Corrupt) > 0 || testutil.ToFloat64(s.repaired) != 1 {
						t.Errorf("it wasn't mended: %v, corrupt %v\n%s", err, s.state.Corrupt, &log)
					}
				} else if !errors.Is(err, blob.ErrCorrupt) || !lost || len(s.state.Corrupt) != 1 {
					t.Errorf("nothing could mend it: %v, corrupt %v\n%s", err, s.state.Corrupt, &log)
				}
			})
		})
	}
}

// TestRepairFromCache: a bucket's blob is put back from what the store has of it on this
// host.
func TestRepairFromCache(t *testing.T) {
	t.Parallel()
	places(t, func(t *testing.T, p place) {
		if _, ok := p.store.(*blob.S3); !ok {
			t.Skip("a store in a directory has no cache")
		}
		d, _, err := p.store.Write(t.Context(), strings.NewReader("bytes"), 10)
		if err != nil {
			t.Fatal(err)
		}
		p.damage(t, d)
		s := scrubber(t, p.store, filepath.Join(t.TempDir(), "scrub.json"), &bytes.Buffer{})
		s.copies = []Copy{Cache(p.store)}
		if err := s.cycle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.store.Verify(t.Context(), d); err != nil || testutil.ToFloat64(s.repaired) != 1 {
			t.Errorf("Verify = %v after %v repairs", err, testutil.ToFloat64(s.repaired))
		}
	})
}
