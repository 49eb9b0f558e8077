package releaser

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob/s3test"
	"albs/internal/bucket"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/further"
	"albs/internal/worker/releaser/laid"
)

// venue is a place of some kind as its tests see it: how it is brought along, and what
// readers find there.
type venue struct {
	*world
	kind string
	f    *follower // nil is the directory
	// left bounds the steps that the next attempt gets before it is as if killed; nil is
	// no bound.
	left *int
	url  string // where a web server shows the place

	// behind the back of the place
	get func(name string) ([]byte, error) // of its products' folder
	set func(name string, b []byte) error // b nil removes
	own func() ([]string, error)          // names, all
}

// venues runs a test on a place of each kind.
func venues(t *testing.T, test func(t *testing.T, v *venue)) {
	for kind, open := range map[string]func(*testing.T, *world) *venue{
		"directory": inDirectory, "s3": inS3, "rsync": onMirror,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, setup(t)))
		})
	}
}

func folderVenue(w *world, kind, dir string) *venue {
	v := &venue{world: w, kind: kind}
	v.get = func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }
	v.set = func(name string, b []byte) error {
		file := filepath.Join(dir, name)
		if err := os.Remove(file); err != nil || b == nil {
			return err
		}
		return os.WriteFile(file, b, 0o644)
	}
	v.own = func() (out []string, err error) {
		err = filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, strings.TrimPrefix(file, dir+"/"))
			}
			return err
		})
		return out, err
	}
	v.serve(http.FileServer(http.Dir(dir)))
	return v
}

func (v *venue) serve(h http.Handler) {
	srv := httptest.NewServer(h)
	v.t.Cleanup(srv.Close)
	v.url = srv.URL
}

func inDirectory(t *testing.T, w *world) *venue {
	w.public = inMemory(t)
	v := folderVenue(w, "directory", w.public)
	w.url = v.url
	return v
}

// follow gives the venue the follower of a place.
func (v *venue) follow(p further.Place) {
	v.t.Helper()
	p.Name, p.URL = v.kind, v.url
	c := Config{Public: v.public, URL: "https://elsewhere.example.org", Spool: v.t.TempDir(), Places: []further.Place{p}}
	if err := c.Check(); err != nil {
		v.t.Fatal(err)
	}
	fs, err := newFollowers(c, zerolog.Nop())
	if err != nil {
		v.t.Fatal(err)
	}
	v.world.url, v.f = c.URL, fs[0]
	v.f.prune = func(time.Duration) bool { return false }
	open := v.f.open
	v.f.open = func(from *laid.Product, log io.Writer) further.Remote {
		r := open(from, log)
		if v.left == nil {
			return r
		}
		switch r := r.(type) {
		case *further.InBucket:
			r.Objects = mortalObjects{r.Objects, v.left}
		case *further.OnHost:
			run := r.Run
			r.Run = func(ctx context.Context, dir, input string, args ...string) (string, error) {
				if *v.left--; *v.left < 0 {
					return "", errKilled
				}
				return run(ctx, dir, input, args...)
			}
		}
		return r
	}
}

func inS3(t *testing.T, w *world) *venue {
	c := s3test.Config(t)
	b, err := bucket.New(c.Config, bucket.Usual)
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) string { return c.Prefix + "/" + name }
	v := &venue{world: w, kind: "s3"}
	v.get = func(name string) (body []byte, err error) {
		_, err = b.Get(t.Context(), key(name), name, func(r io.Reader) (err error) { body, err = io.ReadAll(r); return err })
		return body, err
	}
	v.set = func(name string, body []byte) error {
		if body == nil {
			return b.Remove(t.Context(), key(name))
		}
		o, err := b.Head(t.Context(), key(name), name)
		if err != nil {
			return err
		}
		_, err = b.Put(t.Context(), bucket.Put{Key: key(name), What: name, Body: bytes.NewReader(body), Size: int64(len(body)), Hash: albs.DigestOf(body), Meta: o.Meta})
		return err
	}
	v.own = func() (out []string, err error) {
		for after := ""; ; after = c.Prefix + "/" + out[len(out)-1] {
			page, err := b.List(t.Context(), c.Prefix+"/", after)
			if err != nil || len(page) == 0 {
				return out, err
			}
			for _, o := range page {
				out = append(out, strings.TrimPrefix(o.Key, c.Prefix+"/"))
			}
		}
	}
	// A bucket that the public may read, as a web server shows it.
	v.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := v.get(strings.TrimPrefix(path.Clean(r.URL.Path), "/"))
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		http.ServeContent(rw, r, r.URL.Path, time.Time{}, bytes.NewReader(body))
	}))
	v.follow(further.Place{S3: c.Config})
	return v
}

func onMirror(t *testing.T, w *world) *venue {
	m := newMirrorMaster(t)
	v := folderVenue(w, "rsync", m.dir)
	v.follow(further.Place{Rsync: m.c})
	return v
}

// mortalObjects lets only some changes of a bucket happen.
type mortalObjects struct {
	further.Objects
	left *int
}

var mortalMu sync.Mutex

func (m mortalObjects) alive() error {
	mortalMu.Lock()
	defer mortalMu.Unlock()
	if *m.left--; *m.left < 0 {
		return errKilled
	}
	return nil
}

func (m mortalObjects) Put(ctx context.Context, p bucket.Put) (bucket.Object, error) {
	if err := m.alive(); err != nil {
		return bucket.Object{}, err
	}
	return m.Objects.Put(ctx, p)
}

func (m mortalObjects) Copy(ctx context.Context, from bucket.Object, key, what string) (bucket.Object, error) {
	if err := m.alive(); err != nil {
		return bucket.Object{}, err
	}
	return m.Objects.Copy(ctx, from, key, what)
}

func (m mortalObjects) Remove(ctx context.Context, key string) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Objects.Remove(ctx, key)
}

// bringTo brings the place to a tree, by the directory unless it is that.
func (v *venue) bringTo(spec albs.PublishSpec) (string, error) {
	v.t.Helper()
	if v.f == nil {
		return v.publish(spec, nil)
	}
	if _, err := v.publish(spec, nil); err != nil {
		return "", err
	}
	return v.along()
}

// along brings a further place to what the directory shows.
func (v *venue) along() (string, error) {
	var log strings.Builder
	err := v.f.bring(v.t.Context(), product, &shared{w: &log})
	return log.String(), err
}

func (v *venue) mustBring(spec albs.PublishSpec) string {
	v.t.Helper()
	log, err := v.bringTo(spec)
	if err != nil {
		v.t.Fatal(err)
	}
	return log
}

// ask is what a reader does: by http, and only what the mirrorlist of a repository leads to.
func (v *venue) ask(address string) ([]byte, error) {
	resp, err := http.Get(address)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", address, resp.Status)
	}
	return b, err
}

// leads returns where the mirrorlist of a repository leads to.
func (v *venue) leads(repo string) (string, error) {
	list, err := v.ask(v.url + "/" + product + "/current/" + repo + "/mirrorlist")
	at := strings.TrimSpace(string(list))
	if err == nil && !strings.HasPrefix(at, v.url+"/"+product+"/trees/") {
		err = fmt.Errorf("the mirrorlist of %s is %q", repo, list)
	}
	return at, err
}

// holds checks that readers find a snapshot in the repository, byte by byte.
func (v *venue) holds(repo string, s *repodata.Snapshot) error {
	at, err := v.leads(repo)
	if err != nil {
		return err
	}
	want := map[string]albs.Digest{}
	for _, f := range s.Files() {
		want[f.Path] = f.Digest
	}
	err = s.Packages(v.t.Context(), v.blobs, func(e repodata.Entry) error {
		want[e.Path] = e.Digest
		return nil
	})
	if err != nil {
		return err
	}
	for name, d := range want {
		b, err := v.ask(at + name)
		if err != nil {
			return err
		}
		if got := albs.DigestOf(b); got != d {
			return fmt.Errorf("%s is %s, want %s", name, got, d)
		}
	}
	return nil
}

// serial is what the place says of itself.
func (v *venue) serial() int64 {
	v.t.Helper()
	var got int64
	var err error
	if v.f == nil {
		var p *place
		if p, err = openPlace(v.public, product); err == nil {
			got, _, err = p.shown()
			err = errors.Join(err, p.Close())
		}
	} else {
		var from *laid.Product
		if from, err = laid.Open(v.public, product); err == nil {
			got, _, err = v.f.open(from, io.Discard).Shown(v.t.Context())
			err = errors.Join(err, from.Close())
		}
	}
	if err != nil {
		v.t.Error(err)
	}
	return got
}

func (v *venue) mustHold(serial int64, s *repodata.Snapshot) {
	v.t.Helper()
	if got := v.serial(); got != serial {
		v.t.Errorf("serial %d is shown, want %d", got, serial)
	}
	if err := v.holds(repo, s); err != nil {
		v.t.Errorf("serial %d: %v", serial, err)
	}
	if _, err := v.leads(empty); err != nil {
		v.t.Error(err)
	}
	if b, err := v.ask(v.url + "/" + product + "/current/RPM-GPG-KEY-seed"); err != nil || string(b) != "a key" {
		v.t.Errorf("the key is %q, %v", b, err)
	}
}

// TestPlaces is what every kind of place promises.
func TestPlaces(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		one := v.snapshot(nil, 1, alpha, beta)
		two := v.snapshot(one, 2, gamma)
		first := v.tree(1, one)
		if got := v.mustBring(first); !strings.Contains(got, "serial 1 is shown in place of 0") {
			t.Errorf("log = %s", got)
		}
		v.mustHold(1, one)
		if got := v.mustBring(first); !strings.HasSuffix(got, "serial 1 is shown already\n") {
			t.Errorf("log of a repeated task = %s", got)
		}
		v.mustHold(1, one)
		former, err := v.leads(repo)
		if err != nil {
			t.Fatal(err)
		}
		v.mustBring(v.tree(2, two))
		v.mustHold(2, two)
		// Who is in the middle of reading the one before finds all of it.
		for _, f := range one.Files() {
			if _, err := v.ask(former + f.Path); err != nil {
				t.Errorf("a reader of serial 1: %v", err)
			}
		}
		// Back: a new serial with the old content. A serial may be left out.
		v.mustBring(v.tree(4, one))
		v.mustHold(4, one)
		invitation, err := v.ask(v.url + "/" + product + "/current/" + repo + "/seed.repo")
		if want := "mirrorlist=" + v.url + "/seed/current/" + repo + "/mirrorlist\n"; err != nil || !strings.Contains(string(invitation), want) {
			t.Errorf("the .repo file is %q, %v, want %q in it", invitation, err, want)
		}
		// What only the releaser needs isn't for further places.
		if _, err := v.get(product + "/trees/4/" + laid.PooledFile); v.f != nil && err == nil {
			t.Errorf("the place has %s", laid.PooledFile)
		}
	})
}

// TestRollbackMovesPointers: a rollback in a bucket copies and puts no package.
func TestRollbackMovesPointers(t *testing.T) {
	t.Parallel()
	v := inS3(t, setup(t))
	one := v.snapshot(nil, 1, alpha, beta)
	v.mustBring(v.tree(1, one))
	v.mustBring(v.tree(2, v.snapshot(one, 2, gamma)))
	before, err := v.own()
	if err != nil {
		t.Fatal(err)
	}
	if got := v.mustBring(v.tree(3, one)); !strings.Contains(got, repo+": as in serial 1") {
		t.Errorf("log = %s", got)
	}
	v.mustHold(3, one)
	after, err := v.own()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]string{"seed/trees/3/tree.json"}, before...), after, cmp.Transformer("sorted", func(in []string) []string { return slices.Sorted(slices.Values(in)) })); diff != "" {
		t.Errorf("the rollback changed which objects there are:\n%s", diff)
	}
}

// T19 at every kind of place: killed before whatever step, readers have each repository
// whole, old or new, and the next attempt completes it.
func TestPlacesKilled(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		if v.f == nil {
			t.Skip("TestKillBetweenSteps does it, to the last sync")
		}
		one := v.snapshot(nil, 1, alpha)
		snapshots := []*repodata.Snapshot{one}
		v.mustBring(v.tree(1, one))
		step := 1
		if testing.Short() {
			step = 3
		}
		names := []string{beta, gamma}
		switched, rounds := 0, 0
		for n, serial := 0, int64(2); ; n, serial = n+step, serial+1 {
			old := snapshots[len(snapshots)-1]
			// A package comes, or it goes again: each round has metadata that is new.
			var next *repodata.Snapshot
			if len(snapshots)%2 == 1 {
				next = v.snapshot(one, serial, names[len(snapshots)/2%2])
			} else {
				next = v.snapshot(nil, serial, alpha)
			}
			snapshots = append(snapshots, next)
			left := n
			v.left = &left
			_, err := v.bringTo(v.tree(serial, next))
			v.left = nil
			if err == nil {
				v.mustHold(serial, next)
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("killed after %d steps: %v", n, err)
			}
			was, now := v.holds(repo, old), v.holds(repo, next)
			if was != nil && now != nil {
				t.Fatalf("killed after %d steps, readers have neither whole: %v; %v", n, was, now)
			}
			if now == nil {
				switched++
			}
			rounds++
			if _, err := v.along(); err != nil {
				t.Fatalf("after it was killed after %d steps: %v", n, err)
			}
			v.mustHold(serial, next)
		}
		if rounds < 3 || switched == rounds {
			t.Errorf("of %d rounds %d had switched", rounds, switched)
		}
	})
}

// TestRsyncKilled: the programs are killed wherever they are.
func TestRsyncKilled(t *testing.T) {
	t.Parallel()
	v := onMirror(t, setup(t))
	one := v.snapshot(nil, 1, alpha)
	two := v.snapshot(one, 2, beta, gamma)
	v.mustBring(v.tree(1, one))
	if _, err := v.publish(v.tree(2, two), nil); err != nil {
		t.Fatal(err)
	}
	// Later each time, for how long it takes depends on the machine.
	more := 1.1
	if testing.Short() {
		more = 2
	}
	cut := 0
	for within := 20 * time.Millisecond; ; within = time.Duration(float64(within) * more) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		err := v.f.bring(ctx, product, io.Discard)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("killed after %v: %v", within, err)
		}
		cut++
		if was, now := v.holds(repo, one), v.holds(repo, two); was != nil && now != nil {
			t.Fatalf("killed after %v, readers have neither whole: %v; %v", within, was, now)
		}
	}
	v.mustHold(2, two)
	if cut == 0 {
		t.Error("nothing was killed")
	}
}

// TestStale: a releaser whose directory is behind moves nothing back, whenever it comes.
func TestStale(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		one := v.snapshot(nil, 1, alpha)
		two := v.snapshot(one, 2, beta)
		v.mustBring(v.tree(5, one))
		if v.f == nil {
			if _, err := v.bringTo(v.tree(4, two)); albs.KindOf(err) != albs.Invalid {
				t.Errorf("a lower serial = %v, want Invalid", err)
			}
			v.mustHold(5, one)
			return
		}
		// It has laid serial 6 when it is halted; another one shows 7 meanwhile.
		stale := *v
		stale.world = &world{t: t, blobs: v.blobs, public: t.TempDir(), url: v.world.url}
		if _, err := stale.publish(v.tree(6, two), nil); err != nil {
			t.Fatal(err)
		}
		from, err := laid.Open(stale.public, product)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		halted := v.f.open(from, io.Discard)
		late := further.Bring(t.Context(), halted, 6, from.Tree.Digest(), func(context.Context) error {
			v.mustBring(v.tree(7, one))
			return nil
		}, io.Discard)
		if albs.KindOf(late) != albs.Invalid || !strings.Contains(late.Error(), "step back") {
			t.Errorf("the one that was halted = %v, want Invalid", late)
		}
		v.mustHold(7, one)
		// And one that had moved the pointer of a bucket, but not what follows.
		if err := halted.Settle(t.Context()); v.kind == "s3" && err == nil {
			t.Error("what leads to repositories could be moved back")
		}
		v.mustHold(7, one)
		// Another tree of the same serial.
		other := &world{t: t, blobs: v.blobs, public: t.TempDir(), url: v.world.url}
		if _, err := other.publish(v.tree(7, two), nil); err != nil {
			t.Fatal(err)
		}
		mine := v.f.public
		v.f.public = other.public
		defer func() { v.f.public = mine }()
		if err := v.f.bring(t.Context(), product, io.Discard); albs.KindOf(err) != albs.Invalid {
			t.Errorf("another tree of the serial = %v, want Invalid", err)
		}
		v.mustHold(7, one)
	})
}

// TestDamaged: what an attempt that died left in a further place, and what somebody
// changed there before it was shown, isn't shown.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		open func(*testing.T, *world) *venue
		is   func(name string) bool // what is changed before the tree is shown
		want bool                   // it is mended by itself
	}{
		"a package in the pool of a bucket": {inS3, func(n string) bool { return strings.Contains(n, "/pool/") }, false},
		"metadata in a bucket":              {inS3, func(n string) bool { return strings.Contains(n, "/trees/2/") && strings.Contains(n, "primary") }, true},
		"a package on a mirror master":      {onMirror, func(n string) bool { return strings.HasSuffix(n, "/b/"+beta) }, false},
		"metadata on a mirror master":       {onMirror, func(n string) bool { return strings.Contains(n, "/trees/2/") && strings.Contains(n, "primary") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := tt.open(t, setup(t))
			one := v.snapshot(nil, 1, alpha)
			two := v.snapshot(one, 2, beta)
			v.mustBring(v.tree(1, one))
			before, err := v.own()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.publish(v.tree(2, two), nil); err != nil {
				t.Fatal(err)
			}
			from, err := laid.Open(v.public, product)
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			// All is there but the word that it is.
			err = further.Bring(t.Context(), v.f.open(from, io.Discard), 2, from.Tree.Digest(), func(context.Context) error { return errKilled }, io.Discard)
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			after, err := v.own()
			if err != nil {
				t.Fatal(err)
			}
			changed := 0
			for _, n := range after {
				if slices.Contains(before, n) {
					continue
				}
				switch {
				case tt.is(n):
					b, err := v.get(n)
					if err != nil {
						t.Fatal(err)
					}
					info, statErr := os.Stat(filepath.Join(v.f.place.Rsync.Path, n))
					b[len(b)/2] ^= 1
					if err := v.set(n, b); err != nil {
						t.Fatal(err)
					}
					if v.kind == "rsync" { // nothing but the content tells it
						if err := errors.Join(statErr, os.Chtimes(filepath.Join(v.f.place.Rsync.Path, n), info.ModTime(), info.ModTime())); err != nil {
							t.Fatal(err)
						}
					}
					changed++
				case v.kind == "s3" && strings.Contains(n, "/laid/"): // it hadn't come to that
					if err := v.set(n, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if changed < 1 || changed > 3 { // with what is carried
				t.Fatalf("%d names were changed of %q", changed, after)
			}
			_, err = v.along()
			if tt.want != (err == nil) {
				t.Errorf("brought along = %v, want that it is mended: %v", err, tt.want)
			}
			if tt.want {
				v.mustHold(2, two)
			} else {
				v.mustHold(1, one)
			}
		})
	}
}

// TestOutage: a place that is away is said and holds up neither the directory nor the
// others, and it catches up by itself.
func TestOutage(t *testing.T) {
	t.Parallel()
	w := setup(t)
	m := newMirrorMaster(t)
	v := folderVenue(w, "rsync", m.dir)
	v.follow(further.Place{Rsync: m.c})
	other := inS3(t, w)
	v.f.first = time.Millisecond
	all := followers{v.f, other.f}
	one := v.snapshot(nil, 1, alpha)
	two := v.snapshot(one, 2, beta)
	m.away.Store(true)
	var log bytes.Buffer
	for serial, s := range []*repodata.Snapshot{one, two} {
		if _, err := v.publish(v.tree(int64(serial+1), s), nil); err != nil {
			t.Fatal(err)
		}
		behind := all.follow(t.Context(), product, &log)
		if !strings.Contains(behind, "place rsync doesn't show it yet: ") || strings.Contains(behind, "place s3") {
			t.Errorf("behind = %q", behind)
		}
		if !strings.Contains(log.String(), "the releaser goes on trying") {
			t.Errorf("log = %s", &log)
		}
	}
	other.mustHold(2, two)
	m.away.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- v.f.run(ctx) }()
	for v.holds(repo, two) != nil {
		select {
		case <-t.Context().Done():
			t.Fatal("the place never caught up")
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run = %v", err)
	}
	v.mustHold(2, two)
	// A place that hasn't the product is left alone.
	v.f.place.Products = []string{"another"}
	m.away.Store(true)
	if behind := all.follow(t.Context(), product, io.Discard); behind != "" {
		t.Errorf("behind = %q", behind)
	}
}

// TestPlacesPruned: what retention removed from the directory goes from further places, once the
// directory has shown the same for a day; what is shown stays whole, and a kill
// at any step does no harm.
func TestPlacesPruned(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		if v.f == nil {
			t.Skip("the directory is what others go by")
		}
		one := v.snapshot(nil, 1, alpha)
		two := v.snapshot(nil, 2, beta)
		three := v.snapshot(two, 3, gamma)
		for serial, s := range []*repodata.Snapshot{one, two, three} {
			v.mustBring(v.tree(int64(serial+1), s))
		}
		v.mustBring(v.tree(4, two)) // in a bucket it lies in tree 2
		d, _, _, err := one.Lookup(t.Context(), v.blobs, "Packages/a/"+alpha)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(v.public, product, "pool", repo, "Packages/a", alpha)
		err = errors.Join(os.RemoveAll(filepath.Join(v.public, product, "trees/1")), os.RemoveAll(filepath.Join(v.public, product, "trees/2")),
			os.Remove(file), os.Remove(byContent(file, "pool/"+repo+"/Packages/a/"+alpha, d)))
		if err != nil {
			t.Fatal(err)
		}
		has := func(part string) bool {
			names, err := v.own()
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, part) })
		}
		package1 := alpha
		if v.kind == "s3" {
			package1 = string(d)
		}
		if _, err := v.along(); err != nil || !has("seed/trees/1/") || !has(package1) {
			t.Errorf("before it was time something went, or %v", err)
		}
		asked := false
		v.f.prune = func(shownFor time.Duration) bool { asked = shownFor >= 0 && shownFor < time.Hour; return true }
		for n := range 3 {
			left := n
			v.left = &left
			_, err := v.along() // shown already; pruning is tried another time
			v.left = nil
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			v.mustHold(4, two)
		}
		if _, err := v.along(); err != nil || !asked {
			t.Fatal(err, asked)
		}
		if has("seed/trees/1/"+repo) || has(package1) {
			t.Error("what the directory has no more is still there")
		}
		if !has("seed/trees/3/"+repo) || v.kind == "rsync" && has("seed/trees/2/") {
			t.Error("the place isn't as the directory is")
		}
		v.mustHold(4, two)
		v.mustBring(v.tree(5, v.snapshot(three, 5, alpha)))
	})
}

// TestRefusing: a place that has no room, or refuses, says so and shows what it did.
func TestRefusing(t *testing.T) {
	t.Parallel()
	v := inS3(t, setup(t))
	one := v.snapshot(nil, 1, alpha)
	v.mustBring(v.tree(1, one))
	if _, err := v.publish(v.tree(2, v.snapshot(one, 2, beta)), nil); err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(v.f.place.S3.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	for code, kind := range map[int]albs.Kind{http.StatusInsufficientStorage: albs.NoSpace, http.StatusForbidden: albs.Unavailable} {
		srv := httptest.NewServer(refusing(to, code))
		c := v.f.place
		c.S3.Endpoint = srv.URL
		fs, err := newFollowers(Config{Public: v.public, Spool: t.TempDir(), Places: []further.Place{c}}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		err = fs[0].bring(t.Context(), product, io.Discard)
		if albs.KindOf(err) != kind {
			t.Errorf("with %d: %v, want kind %s", code, err, kind)
		}
		if err != nil && strings.Contains(err.Error(), v.f.place.S3.SecretKey) {
			t.Error("the error tells the secret")
		}
		srv.Close()
		v.mustHold(1, one)
	}
	if _, err := v.along(); err != nil {
		t.Error(err)
	}
}

// refusing is a server that answers puts with a code, and lets all else through.
func refusing(to *url.URL, code int) http.Handler {
	on := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(code)
			return
		}
		on.ServeHTTP(w, r)
	})
}

// TestHostKey: a host with another key than the one that is known isn't spoken to.
func TestHostKey(t *testing.T) {
	t.Parallel()
	v := onMirror(t, setup(t))
	v.mustBring(v.tree(1, v.snapshot(nil, 1, alpha)))
	other := newMirrorMaster(t)
	known, err := os.ReadFile(other.c.KnownHostsFile)
	if err == nil {
		_, key, _ := strings.Cut(string(known), " ")
		err = os.WriteFile(v.f.place.Rsync.KnownHostsFile, fmt.Appendf(nil, "[127.0.0.1]:%d %s", v.f.place.Rsync.Port, key), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.along(); albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("brought along = %v, want that the host's key is refused", err)
	}
}

// TestInstalls: a real dnf installs from every kind of place with the signatures of
// packages and metadata checked, after a release and after a rollback.
func TestInstalls(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skip("dnf is not installed here")
	}
	f := newFarm(t, 3)
	one := f.with(nil, 0, 1)
	two := f.with(one, 1, 2)
	for kind, open := range map[string]func(*testing.T, *world) *venue{"directory": inDirectory, "s3": inS3, "rsync": onMirror} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			v := open(t, &world{t: t, blobs: f.blobs, public: t.TempDir()})
			f := &farm{world: v.world, key: f.key, made: f.made}
			f.invitation = func() ([]byte, error) {
				return v.ask(v.url + "/" + product + "/current/" + repo + "/seed.repo")
			}
			for serial, s := range []*repodata.Snapshot{one, two, one} {
				if err := f.show(int64(serial+1), s); err != nil {
					t.Fatal(err)
				}
				if v.f != nil {
					if _, err := v.along(); err != nil {
						t.Fatal(err)
					}
				}
				dir := t.TempDir()
				if out, err := f.dnf(dir, "install", "p*"); err != nil {
					t.Fatalf("dnf install of serial %d: %v\n%s", serial+1, err, out)
				}
				out, err := exec.CommandContext(t.Context(), "rpm", "--root", filepath.Join(dir, "root"), "-qa", "--qf", "%{name} ").CombinedOutput()
				if want := map[int]string{0: "p000", 1: "p000 p001", 2: "p000"}[serial]; err != nil || installed(string(out)) != want {
					t.Errorf("of serial %d dnf has installed %q, %v, want %s", serial+1, out, err, want)
				}
			}
		})
	}
}

// installed sorts what rpm lists, without keys.
func installed(out string) string {
	var names []string
	for _, n := range strings.Fields(out) {
		if n != "gpg-pubkey" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestConfigCheck is the rule about what an operator may write of places.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	s3 := further.Place{Name: "s3", URL: "https://cdn.example.org", S3: bucket.Config{Endpoint: "https://s3.example.org", Bucket: "b", AccessKeyFile: "/a", SecretKeyFile: "/s"}}
	host := further.Place{Name: "eu", Rsync: further.Rsync{Host: "mirror.example.org", User: "albs", Path: "/srv/albs", KeyFile: "/etc/albs/key", KnownHostsFile: "/etc/albs/known"}}
	for name, tt := range map[string]struct {
		places func() []further.Place
		ok     bool
	}{
		"none":          {func() []further.Place { return nil }, true},
		"two":           {func() []further.Place { return []further.Place{s3, host} }, true},
		"twice":         {func() []further.Place { return []further.Place{host, host} }, false},
		"no name":       {func() []further.Place { p := host; p.Name = ""; return []further.Place{p} }, false},
		"a strange one": {func() []further.Place { p := host; p.Name = "a b"; return []further.Place{p} }, false},
		"neither":       {func() []further.Place { return []further.Place{{Name: "x"}} }, false},
		"both":          {func() []further.Place { p := s3; p.Rsync = host.Rsync; return []further.Place{p} }, false},
		"no address":    {func() []further.Place { p := s3; p.URL = ""; return []further.Place{p} }, false},
		"a wrong one":   {func() []further.Place { p := s3; p.URL = "ftp://x"; return []further.Place{p} }, false},
		"no bucket":     {func() []further.Place { p := s3; p.S3.Bucket = ""; return []further.Place{p} }, false},
		"an option":     {func() []further.Place { p := host; p.Rsync.Host = "-oProxyCommand=x"; return []further.Place{p} }, false},
		"a command":     {func() []further.Place { p := host; p.Rsync.Path = "/srv/$(id)"; return []further.Place{p} }, false},
		"a space":       {func() []further.Place { p := host; p.Rsync.KeyFile = "/etc/my key"; return []further.Place{p} }, false},
		"a user's host": {func() []further.Place { p := host; p.Rsync.User = "a@b"; return []further.Place{p} }, false},
		"a port":        {func() []further.Place { p := host; p.Rsync.Port = 70000; return []further.Place{p} }, false},
		"no known host": {func() []further.Place { p := host; p.Rsync.KnownHostsFile = ""; return []further.Place{p} }, false},
		"relative":      {func() []further.Place { p := host; p.Rsync.KeyFile = "key"; return []further.Place{p} }, false},
	} {
		err := Config{Places: tt.places()}.Check()
		if (err == nil) != tt.ok || err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v, want that it is right: %v", name, err, tt.ok)
		}
	}
}
