package artifact_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// world is a module that names blobs, over a real store and a clock of its own.
type world struct {
	t     *testing.T
	s     *artifact.Artifacts // of the master that acts
	blobs blob.Store
	now   time.Time
	named map[albs.Digest]artifact.Form // what the module names
	gone  []formerly                    // and no more
	held  map[albs.Digest][]byte        // what was ever stored
	cut   func()                        // runs between the steps of a collection
}

// formerly is a name until a time.
type formerly struct {
	ref artifact.Ref
	at  time.Time
}

// name adds a name. One of a snapshot is not made one of a mere file.
func (w *world) name(d albs.Digest, f artifact.Form) {
	w.named[d] = max(f, w.named[d])
}

// unname drops a name.
func (w *world) unname(d albs.Digest) {
	w.gone = append(w.gone, formerly{artifact.Ref{Digest: d, Form: w.named[d]}, w.now})
	delete(w.named, d)
}

const grace = time.Hour

func newWorld(t *testing.T, d *db.DB) *world {
	t.Helper()
	return newWorldIn(t, d, t.TempDir())
}

func newWorldIn(t *testing.T, d *db.DB, dir string) *world {
	t.Helper()
	s, blobs := setupIn(t, d, dir)
	w := &world{t: t, s: s, blobs: blobs, now: time.Now().Truncate(time.Microsecond), named: map[albs.Digest]artifact.Form{}, held: map[albs.Digest][]byte{}}
	w.register(s)
	return w
}

// second returns another master over the database and the blobs.
func (w *world) second(c db.Config) *artifact.Artifacts {
	w.t.Helper()
	s := artifact.New(dbtest.Open(w.t, c), w.blobs, nil)
	w.register(s)
	return s
}

// register has a master know what there is to be kept.
func (w *world) register(s *artifact.Artifacts) {
	s.Root("world", func(_ context.Context, since db.Time, yield func(artifact.Ref) error) error {
		for d, f := range w.named {
			if err := yield(artifact.Ref{Digest: d, Form: f}); err != nil {
				return err
			}
		}
		for _, g := range w.gone {
			if !g.at.After(since.Time) {
				continue
			}
			if err := yield(g.ref); err != nil {
				return err
			}
		}
		return nil
	})
	// A snapshot here is a list of files.
	s.Follow(artifact.Snapshot, func() artifact.Follower {
		return func(ctx context.Context, d albs.Digest, yield func(artifact.Ref) error) error {
			r, err := w.blobs.Open(ctx, d)
			if err != nil {
				return err
			}
			defer r.Close()
			var files []albs.Digest
			if err := json.NewDecoder(r).Decode(&files); err != nil {
				return err
			}
			for _, f := range append(files, d) {
				if err := yield(artifact.Ref{Digest: f}); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func (w *world) collect(dryRun bool) artifact.Collected {
	w.t.Helper()
	c, err := w.s.Collect(w.t.Context(), artifact.Collection{
		Grace: grace, DryRun: dryRun, Now: func() time.Time { return w.now },
		Step: func(string, int) {
			if w.cut != nil {
				w.cut()
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) put(b []byte) albs.Digest {
	w.t.Helper()
	d := albs.DigestOf(b)
	if _, err := w.s.Blobs().Put(w.t.Context(), d, bytes.NewReader(b)); err != nil {
		w.t.Fatal(err)
	}
	w.held[d] = b
	return d
}

// list puts a snapshot of files that are there.
func (w *world) list(files ...albs.Digest) albs.Digest {
	b, err := json.Marshal(files)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.put(b)
}

func (w *world) there(d albs.Digest) bool {
	w.t.Helper()
	_, err := w.blobs.Stat(w.t.Context(), d)
	if err != nil && albs.KindOf(err) != albs.NotFound {
		w.t.Fatal(err)
	}
	return err == nil
}

// whole is I4: all that a root reaches can be read, byte for byte.
func (w *world) whole() {
	w.t.Helper()
	err := w.s.Reach(w.t.Context(), w.now, func(d albs.Digest) error {
		r, err := w.blobs.Open(w.t.Context(), d)
		if err != nil {
			return err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(b, w.held[d]) {
			err = fmt.Errorf("%s has other bytes", d)
		}
		return err
	})
	if err != nil {
		w.t.Fatalf("I4: %v", err)
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		file, orphan, inside := w.put([]byte("file")), w.put([]byte("orphan")), w.put([]byte("inside"))
		list := w.list(inside)
		w.named[file], w.named[list] = artifact.File, artifact.Snapshot
		a, err := w.s.Save(t.Context(), bytes.NewReader([]byte("with a row")), 100, "a.log", artifact.Log)
		if err != nil {
			t.Fatal(err)
		}
		add(t, d, w.s, a)

		if c := w.collect(false); c.Blobs != 5 || c.Marked != 2 || c.Waiting != 2 || c.Removed != 0 {
			t.Errorf("the first collection found %+v, want two of five marked", c)
		}
		w.now = w.now.Add(grace - time.Second)
		if c := w.collect(false); c.Marked+c.Removed != 0 || c.Waiting != 2 {
			t.Errorf("within the time of grace a collection did %+v", c)
		}
		w.now = w.now.Add(2 * time.Second)
		dry := w.collect(true)
		if !w.there(orphan) {
			t.Fatal("a dry run removed a blob")
		}
		real := w.collect(false)
		if dry != real {
			t.Errorf("a dry run told %+v, the real one %+v", dry, real)
		}
		if real.Removed != 2 || real.RemovedBytes != int64(len("orphan")+len("with a row")) || w.there(orphan) || w.there(a.Digest) {
			t.Errorf("the collection after the time of grace did %+v", real)
		}
		_, err = w.s.Get(t.Context(), d, a.Digest)
		wantKind(t, "Get of what was collected", err, albs.NotFound)
		w.whole()

		w.unname(list)
		for range 2 { // it counts for the time of grace, and then the blobs have theirs
			if c := w.collect(false); c.Removed != 0 || !w.there(list) || !w.there(inside) {
				t.Errorf("too soon after a snapshot is named no more, a collection did %+v", c)
			}
			w.now = w.now.Add(grace)
		}
		if c := w.collect(false); c.Removed != 2 || w.there(list) || w.there(inside) || !w.there(file) {
			t.Errorf("when a snapshot is named no more, a collection did %+v", c)
		}
	})
}

// TestRevived stores, or asks for, what is about to be removed.
func TestRevived(t *testing.T) {
	t.Parallel()
	revive := map[string]func(*world, albs.Digest) error{
		"Put": func(w *world, d albs.Digest) error { w.put(w.held[d]); return nil },
		"Write": func(w *world, d albs.Digest) error {
			_, _, err := w.s.Blobs().Write(w.t.Context(), bytes.NewReader(w.held[d]), 100)
			return err
		},
		"Save": func(w *world, d albs.Digest) error {
			_, err := w.s.Save(w.t.Context(), bytes.NewReader(w.held[d]), 100, "a.log", artifact.Log)
			return err
		},
		"Admit": func(w *world, d albs.Digest) error {
			stage(w.t, w.s, d, w.held[d])
			_, err := w.s.Admit(w.t.Context(), lease, albs.File{Name: "a.log", Digest: d, Size: int64(len(w.held[d]))}, artifact.Log)
			return err
		},
		"Renew": func(w *world, d albs.Digest) error { _, err := w.s.Renew(w.t.Context(), d); return err },
	}
	for name, do := range revive {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				w := newWorld(t, d)
				a, err := w.s.Save(t.Context(), bytes.NewReader([]byte("bytes")), 100, "a.log", artifact.Log)
				if err != nil {
					t.Fatal(err)
				}
				w.held[a.Digest] = []byte("bytes")
				add(t, d, w.s, a)
				w.collect(false)
				w.now = w.now.Add(grace)
				// In the middle of the collection that is to remove it.
				once := false
				w.cut = func() {
					if !once {
						once = true
						if err := do(w, a.Digest); err != nil {
							t.Errorf("%s during a collection = %v", name, err)
						}
					}
				}
				if c := w.collect(false); c.Removed != 0 || !w.there(a.Digest) || !once {
					t.Fatalf("the collection did %+v to what was revived", c)
				}
				w.cut = nil
				w.collect(false)
				w.now = w.now.Add(grace)
				if c := w.collect(false); c.Removed != 1 || w.there(a.Digest) {
					t.Errorf("and after another time of grace %+v", c)
				}
				if name == "Renew" {
					wantKind(t, "Renew of what was removed", do(w, a.Digest), albs.NotFound)
				}
			})
		})
	}
}

// TestCollectRefuses sees that nothing is removed when it isn't known what is reached.
func TestCollectRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dbtest.Open(t, dbtest.SQLite(t)))
	orphan := w.put([]byte("orphan"))
	w.collect(false)
	w.now = w.now.Add(grace)
	for what, r := range map[string]artifact.Ref{
		"a snapshot that isn't there":         {Digest: albs.DigestOf([]byte("gone")), Form: artifact.Snapshot},
		"a form that nobody knows":            {Digest: orphan, Form: artifact.TreeDocument},
		"what is no digest":                   {Digest: "no digest", Form: artifact.File},
		"a snapshot that is something else's": {Digest: w.put([]byte("{")), Form: artifact.Snapshot},
	} {
		w.named = map[albs.Digest]artifact.Form{r.Digest: r.Form}
		if _, err := w.s.Collect(t.Context(), artifact.Collection{Grace: grace, Now: func() time.Time { return w.now }}); err == nil {
			t.Errorf("a collection with %s for a root is no error", what)
		}
		if !w.there(orphan) {
			t.Fatalf("a collection with %s for a root removed a blob", what)
		}
	}
}

// TestInterleaved is T16: whatever is stored, named, copied from name to name and named
// no more, at whatever moment of a collection, all that is named can be read. An act is
// in two steps, between which less than the time of grace goes by, as it does between
// the storing of a blob and the commit that names it. On PostgreSQL two masters act, and
// one collects also in the middle of the other's collection.
func TestInterleaved(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(testing.TB) db.Config{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interleave(t, config(t))
		})
	}
}

func interleave(t *testing.T, c db.Config) {
	steps := 10_000
	if testing.Short() {
		steps = 2_000
	}
	memory, err := os.MkdirTemp("/dev/shm", "albs-t16-") // thousands of syncs of a disk say nothing more
	if err != nil {
		memory = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(memory) })
	if c.DSN == "" {
		c.File = filepath.Join(memory, "albs.db")
	} else if testing.Short() {
		steps /= 10
	}
	w := newWorldIn(t, dbtest.Open(t, c), memory)
	masters := []*artifact.Artifacts{w.s}
	if c.DSN != "" {
		masters = append(masters, w.second(c))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 16))
	content := func() []byte { return fmt.Append(nil, "content ", rng.IntN(40)) }
	var pending []func() // commits that are still to come
	pick := func() (albs.Digest, artifact.Form, bool) {
		names := make([]albs.Digest, 0, len(w.named))
		for d := range w.named {
			names = append(names, d)
		}
		if len(names) == 0 {
			return "", 0, false
		}
		slices.Sort(names)
		d := names[rng.IntN(len(names))]
		return d, w.named[d], true
	}
	acts, removed, inside, commits, collections, nested := 0, 0, 0, 0, 0, 0
	act := func() {
		acts++
		w.s = masters[rng.IntN(len(masters))]
		switch rng.IntN(8) {
		case 0, 1: // an upload, a tombstoned digest among them, is stored and named later
			d := w.put(content())
			pending = append(pending, func() { w.name(d, artifact.File) })
		case 2: // a release: a snapshot of what is stored for it
			a, b := w.put(content()), w.put(content())
			s := w.list(a, b)
			pending = append(pending, func() { w.name(s, artifact.Snapshot) })
		case 3: // a signature, or a link: another name for what is named now
			if d, f, ok := pick(); ok {
				pending = append(pending, func() { w.name(d, f) })
			}
		case 4: // a cache that nothing else names any more
			all := make([]albs.Digest, 0, len(w.held))
			for d := range w.held {
				all = append(all, d)
			}
			if len(all) == 0 {
				return
			}
			slices.Sort(all)
			d := all[rng.IntN(len(all))]
			_, err := w.s.Renew(t.Context(), d)
			if err == nil {
				pending = append(pending, func() { w.name(d, artifact.File) })
			} else if albs.KindOf(err) != albs.NotFound {
				t.Fatal(err)
			}
		case 5: // a build that failed or was cancelled is deleted
			if d, _, ok := pick(); ok {
				w.unname(d)
			}
		default:
			if len(pending) > 0 {
				i := rng.IntN(len(pending))
				pending[i]()
				pending = slices.Delete(pending, i, i+1)
				commits++
			}
		}
	}
	depth, seldom := 0, 0
	collect := func() {
		depth++
		defer func() { depth-- }()
		seldom = 3 + rng.IntN(1+len(w.held)/4) // or a large store would see few collections
		w.s = masters[rng.IntN(len(masters))]
		collections++
		removed += w.collect(false).Removed
	}
	w.cut = func() {
		switch n := rng.IntN(20 * seldom); {
		case n < 20:
			inside++
			act()
		case n == 20 && len(masters) > 1 && depth == 1:
			nested++
			collect()
		}
	}
	for acts < steps {
		switch rng.IntN(12) {
		case 0:
			collect()
			w.whole()
		case 1:
			// Nothing is under way for as long as the time of grace.
			for _, commit := range pending {
				commit()
				commits++
			}
			pending = nil
			w.now = w.now.Add(grace)
		default:
			act()
		}
	}
	w.whole()
	t.Logf("%d acts, %d within collections, %d collections, %d of them within others, %d commits, %d blobs removed", acts, inside, collections, nested, commits, removed)
	if removed == 0 || inside == 0 || commits == 0 || nested == 0 && len(masters) > 1 {
		t.Errorf("nothing was put to the test")
	}
}
