package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/egress"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

const (
	fixtureRPM = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"
	rpmPath    = "Packages/albs-rich-1.0~rc1-3.el9.noarch.rpm"
)

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// snapshot makes a sealed repository of the fixture whose blobs f holds.
func snapshot(t *testing.T, f *workertest.Fake) *repodata.Snapshot {
	t.Helper()
	content := readFile(t, fixtureRPM)
	pkg, err := rpm.Read(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := storeBlobs{blobs}
	s, err := repodata.Extend(t.Context(), store, nil, repodata.Change{Add: []repodata.Package{{
		RPM: pkg, Digest: albs.DigestOf(content), Size: int64(len(content)), Path: rpmPath, Time: 1_700_000_000,
	}}}, 1_700_000_000)
	if err != nil {
		t.Fatal(err)
	}
	f.AddBlob(content)
	err = blobs.Walk(t.Context(), func(d albs.Digest, _ int64) error {
		r, err := blobs.Open(t.Context(), d)
		if err != nil {
			return err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		f.AddBlob(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type storeBlobs struct{ *blob.Dir }

func (s storeBlobs) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return s.Dir.Open(ctx, d)
}

// counting counts the blobs that are got from the master.
type counting struct {
	worker.Master
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, t worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	c.gets.Add(1)
	return c.Master.Get(ctx, t, d, offset, length)
}

// lease claims a task that names repos; its snapshots' blobs may be read.
func lease(t *testing.T, f *workertest.Fake, repos ...albs.Repo) (*counting, worker.Lease) {
	t.Helper()
	m := f.As(f.AddWorker("kind:build"))
	f.Add(workertest.Task{Spec: albs.Spec{Build: &albs.BuildSpec{Root: albs.Root{Repos: repos}}}}, nil)
	l, err := m.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || l == nil {
		t.Fatalf("Claim = %v, %v", l, err)
	}
	return &counting{Master: m}, *l
}

func newDepot(t *testing.T, c Config, p egress.Policy) *Depot {
	t.Helper()
	e, err := egress.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	d, err := New(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func serve(t *testing.T, d *Depot, m worker.Master, l worker.Lease) *Served {
	t.Helper()
	s, err := d.Serve(t.Context(), m, l, l.Spec.Build.Root.Repos)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string, header ...string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// allowAll lets workers read every blob, as the master does under a snapshot.
func allowAll(f *workertest.Fake) { f.Reads = func(albs.Spec, albs.Digest) bool { return true } }

func TestSnapshot(t *testing.T) {
	t.Parallel()
	f := workertest.NewFake()
	allowAll(f)
	snap := snapshot(t, f)
	m, l := lease(t, f, albs.Repo{ID: "base", Snapshot: snap.Digest(), Priority: 7})
	d := newDepot(t, Config{}, egress.Policy{})
	s := serve(t, d, m, l)
	repos := s.Repos()
	if len(repos) != 1 || repos[0].ID != "base" || repos[0].Priority != 7 || !strings.HasPrefix(repos[0].BaseURL, "http://127.0.0.1:") {
		t.Fatalf("Repos = %+v", repos)
	}
	base, content := repos[0].BaseURL, readFile(t, fixtureRPM)
	if code, b := get(t, base+rpmPath); code != 200 || !bytes.Equal(b, content) {
		t.Errorf("package: %d, %d bytes; want 200, %d", code, len(b), len(content))
	}
	if code, b := get(t, base+rpmPath, "Range", "bytes=10-19"); code != 206 || !bytes.Equal(b, content[10:20]) {
		t.Errorf("range: %d, %q; want 206, %q", code, b, content[10:20])
	}
	if code, b := get(t, base+repomdPath); code != 200 || albs.DigestOf(b) != snap.Repomd() {
		t.Errorf("repomd.xml: %d, %s; want 200, %s", code, albs.DigestOf(b), snap.Repomd())
	}
	root, _, _ := strings.Cut(strings.TrimPrefix(base, "http://"), "/")
	for _, c := range []struct {
		url  string
		code int
	}{
		{base + "Packages/absent.rpm", 404},
		{base + "repodata/absent.xml", 404},
		{base, 404},
		{base + "Packages/../" + rpmPath, 404},
		{base + "Packages/%2e%2e/" + rpmPath, 404},
		{strings.TrimSuffix(base, "0/") + "1/" + repomdPath, 404},
		{strings.TrimSuffix(base, "0/") + "-1/" + repomdPath, 404},
		{"http://" + root + "/", 404},
		{"http://" + root + "/0/" + repomdPath, 404},
		{"http://" + root + "/wrongsecret/0/" + repomdPath, 404},
	} {
		if code, _ := get(t, c.url); code != c.code {
			t.Errorf("GET %s = %d, want %d", c.url, code, c.code)
		}
	}
	if resp, err := http.Post(base+repomdPath, "text/plain", strings.NewReader("x")); err != nil || resp.StatusCode != 405 {
		t.Errorf("POST = %v, %v; want 405", resp, err)
	}
	repomdSize := int64(0)
	for _, file := range snap.Files() {
		if file.Path == repomdPath {
			repomdSize = file.Size
		}
	}
	want := []UsedFile{
		{"base", rpmPath, albs.DigestOf(content), int64(len(content))},
		{"base", repomdPath, snap.Repomd(), repomdSize},
	}
	if diff := cmp.Diff(want, s.Used()); diff != "" {
		t.Errorf("Used (-want +got):\n%s", diff)
	}
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("Problems = %q", p)
	}
	body, err := s.Open(t.Context(), "base", rpmPath)
	if err != nil {
		t.Fatal(err)
	}
	if d, _, err := albs.DigestReader(body); err != nil || d != albs.DigestOf(content) || body.Close() != nil {
		t.Errorf("Open of the package = %s, %v", d, err)
	}
	for repo, name := range map[string]string{"base": "Packages/absent.rpm", "other": rpmPath} {
		if _, err := s.Open(t.Context(), repo, name); !errors.Is(err, albs.NotFound) {
			t.Errorf("Open(%s, %s) = %v, want NotFound", repo, name, err)
		}
	}

	// A second task finds everything in the cache, after a restart too.
	m2, l2 := lease(t, f, l.Spec.Build.Root.Repos...)
	s2 := serve(t, newDepot(t, Config{Dir: cacheDir(t, d)}, egress.Policy{}), m2, l2)
	if code, b := get(t, s2.Repos()[0].BaseURL+rpmPath); code != 200 || !bytes.Equal(b, content) || m2.gets.Load() != 0 {
		t.Errorf("second task: %d, %d bytes, %d gets; want none", code, len(b), m2.gets.Load())
	}
	if s2.Repos()[0].BaseURL == base {
		t.Error("two tasks have one URL")
	}
}

// cacheDir returns a copy of d's cache.
func cacheDir(t *testing.T, d *Depot) string {
	t.Helper()
	dir := t.TempDir()
	to, err := blob.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.blobs.Walk(t.Context(), func(name albs.Digest, _ int64) error {
		r, err := d.blobs.Open(t.Context(), name)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = to.Put(t.Context(), name, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// mirror makes a repository of the fixture with createrepo_c.
func mirror(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("createrepo_c")
	if err != nil {
		t.Skip("createrepo_c is not installed")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "Packages"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, rpmPath), readFile(t, fixtureRPM), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "--quiet", "--no-database", dir).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v: %s", err, out)
	}
	return dir
}

func TestMirror(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "file"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			dir := mirror(t)
			var asked sync.Map
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Store(r.URL.Path, true)
				http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
			}))
			t.Cleanup(srv.Close)
			f := workertest.NewFake()
			base := map[string]string{"http": srv.URL + "/", "file": "file://" + dir}[scheme]
			pin := f.AddBlob(readFile(t, filepath.Join(dir, repomdPath)))
			m, l := lease(t, f, albs.Repo{ID: "mirror", Mirror: base, Repomd: pin})
			d := newDepot(t, Config{}, egress.Policy{Allow: []string{strings.TrimPrefix(srv.URL, "http://"), "file://" + dir}})
			s := serve(t, d, m, l)
			url, content := s.Repos()[0].BaseURL, readFile(t, fixtureRPM)

			// A mirror that has moved on still serves what is pinned, or says so.
			if err := os.WriteFile(filepath.Join(dir, repomdPath), []byte("newer"), 0o644); err != nil {
				t.Fatal(err)
			}
			if code, b := get(t, url+repomdPath); code != 200 || albs.DigestOf(b) != pin {
				t.Errorf("repomd.xml: %d, %s; want the pinned one", code, albs.DigestOf(b))
			}
			if code, b := get(t, url+rpmPath); code != 200 || !bytes.Equal(b, content) {
				t.Errorf("package: %d, %d bytes; want 200, %d", code, len(b), len(content))
			}
			for _, path := range []string{"Packages/absent.rpm", "repodata/repomd.xml.asc", "../secret"} {
				if code, _ := get(t, url+path); code != 404 {
					t.Errorf("%s: %d, want 404", path, code)
				}
			}
			if used := s.Used(); len(used) != 2 || used[0] != (UsedFile{"mirror", rpmPath, albs.DigestOf(content), int64(len(content))}) {
				t.Errorf("Used = %+v", used)
			}
			if _, ok := asked.Load("/" + repomdPath); ok {
				t.Error("the mirror's own repomd.xml was asked for")
			}

			// Bytes that aren't the pinned ones are never served.
			bad := bytes.Clone(content)
			bad[len(bad)-1] ^= 1
			if err := os.WriteFile(filepath.Join(dir, rpmPath), bad, 0o644); err != nil {
				t.Fatal(err)
			}
			fresh := newDepot(t, Config{}, egress.Policy{Allow: []string{"127.0.0.1", "file://" + dir}})
			s2 := serve(t, fresh, m, l)
			if code, _ := get(t, s2.Repos()[0].BaseURL+rpmPath); code != 502 {
				t.Errorf("changed package: %d, want 502", code)
			}
			if err := os.Remove(filepath.Join(dir, rpmPath)); err != nil {
				t.Fatal(err)
			}
			if code, _ := get(t, s2.Repos()[0].BaseURL+rpmPath); code != 503 {
				t.Errorf("vanished package: %d, want 503", code)
			}
			if p := s2.Problems(); len(p) != 2 || !strings.Contains(p[1], "pin it anew") {
				t.Errorf("Problems = %q", p)
			}
			if code, _ := get(t, url+rpmPath); code != 200 {
				t.Errorf("cached package: %d, want 200", code)
			}
		})
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	f := workertest.NewFake()
	page := f.AddBlob([]byte("<html>no repomd</html>"))
	foreign := f.AddBlob([]byte("not named by the task"))
	m, l := lease(t, f, albs.Repo{ID: "x", Mirror: "https://example.org/", Repomd: page})
	d := newDepot(t, Config{}, egress.Policy{})
	for name, c := range map[string]struct {
		repo albs.Repo
		want albs.Kind
	}{
		"neither":         {albs.Repo{ID: "x"}, albs.Invalid},
		"both":            {albs.Repo{ID: "x", Snapshot: page, Mirror: "https://example.org/", Repomd: page}, albs.Invalid},
		"floating mirror": {albs.Repo{ID: "x", Mirror: "https://example.org/"}, albs.Invalid},
		"private mirror":  {albs.Repo{ID: "x", Mirror: "http://127.0.0.1/", Repomd: page}, albs.Forbidden},
		"local files":     {albs.Repo{ID: "x", Mirror: "file:///etc", Repomd: page}, albs.Forbidden},
		"no repomd":       {albs.Repo{ID: "x", Mirror: "https://example.org/", Repomd: page}, albs.Invalid},
		"foreign repomd":  {albs.Repo{ID: "x", Mirror: "https://example.org/", Repomd: foreign}, albs.Forbidden},
		"no snapshot":     {albs.Repo{ID: "x", Snapshot: page}, albs.Invalid},
	} {
		s, err := d.Serve(t.Context(), m, l, []albs.Repo{c.repo})
		if albs.KindOf(err) != c.want {
			t.Errorf("%s: Serve = %v, want kind %q", name, err, c.want)
		}
		if s != nil {
			s.Close()
		}
	}
}

func blobOf(b []byte) (albs.Digest, source) {
	return albs.DigestOf(b), func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func TestCacheSize(t *testing.T) {
	t.Parallel()
	d := newDepot(t, Config{MaxBytes: 1000}, egress.Policy{})
	var names []albs.Digest
	open := func(i int) {
		t.Helper()
		name, src := blobOf(bytes.Repeat([]byte{byte(i)}, 300))
		r, err := d.open(t.Context(), name, src)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
		if i == len(names) {
			names = append(names, name)
		}
	}
	for _, i := range []int{0, 1, 2, 0, 3} {
		open(i)
	}
	var held []bool
	for _, name := range names {
		_, err := d.blobs.Stat(t.Context(), name)
		held = append(held, err == nil)
	}
	if diff := cmp.Diff([]bool{true, false, true, true}, held); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	big, src := blobOf(make([]byte, 5000))
	r, err := d.open(t.Context(), big, src)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); len(b) != 5000 || err != nil {
		t.Errorf("a blob beyond the cache: %d bytes, %v", len(b), err)
	}
}

// A cached blob that rots is fetched again, never served.
func TestCacheRot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newDepot(t, Config{Dir: dir}, egress.Policy{})
	name, src := blobOf([]byte("content"))
	r, err := d.open(t.Context(), name, src)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, string(name)[4:]) && !e.IsDir() {
			err = errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("rotten!"), 0o600))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err = d.open(t.Context(), name, src)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); string(b) != "content" || err != nil {
		t.Errorf("after rot: %q, %v", b, err)
	}
}

// One fill serves all who wait, and one whose task ends doesn't fail the others.
func TestSharedFill(t *testing.T) {
	t.Parallel()
	d := newDepot(t, Config{}, egress.Policy{})
	content := []byte("shared")
	name, _ := blobOf(content)
	begun, first := make(chan struct{}), make(chan struct{})
	dying, kill := context.WithCancel(t.Context())
	go func() {
		defer close(first)
		_, err := d.open(dying, name, func(ctx context.Context) (io.ReadCloser, error) {
			close(begun)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if err == nil {
			t.Error("the dead task's fill = nil, want an error")
		}
	}()
	<-begun
	var fills atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := d.open(t.Context(), name, func(context.Context) (io.ReadCloser, error) {
				fills.Add(1)
				return io.NopCloser(bytes.NewReader(content)), nil
			})
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			h := sha256.New()
			if _, err := io.Copy(h, r); err != nil || albs.DigestFrom(h) != name {
				t.Errorf("read %s, %v", albs.DigestFrom(h), err)
			}
		})
	}
	kill()
	<-first
	wg.Wait()
	if fills.Load() != 1 {
		t.Errorf("%d fills, want 1", fills.Load())
	}
}

// The real dnf resolves and downloads from both kinds of repository.
func TestDNF(t *testing.T) {
	t.Parallel()
	dnf, err := exec.LookPath("dnf")
	if err != nil {
		t.Skip("dnf is not installed")
	}
	dir := mirror(t)
	f := workertest.NewFake()
	allowAll(f)
	pin := f.AddBlob(readFile(t, filepath.Join(dir, repomdPath)))
	m, l := lease(t, f,
		albs.Repo{ID: "snapshot", Snapshot: snapshot(t, f).Digest()},
		albs.Repo{ID: "mirror", Mirror: "file://" + dir, Repomd: pin})
	d := newDepot(t, Config{}, egress.Policy{Allow: []string{"file://" + dir}})
	s := serve(t, d, m, l)
	for _, repo := range s.Repos() {
		work, conf := t.TempDir(), filepath.Join(t.TempDir(), "dnf.conf")
		if err := os.WriteFile(conf, []byte("[main]\nplugins=0\ngpgcheck=0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(work, "log"), 0o755); err != nil { // dnf repoquery doesn't make it
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), dnf, "-y", "--config="+conf, "--installroot="+work, "--releasever=9", "--forcearch=x86_64",
			"--setopt=reposdir=/dev/null", "--setopt=cachedir="+work+"/cache", "--setopt=logdir="+work+"/log", "--setopt=persistdir="+work+"/persist",
			"--repofrompath="+repo.ID+","+repo.BaseURL, "--repo="+repo.ID, "repoquery", "--qf=%{name}-%{version}", "albs-rich")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "albs-rich-1.0~rc1") {
			t.Errorf("dnf repoquery on %s: %v\n%s", repo.ID, err, out)
		}
	}
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("Problems = %q", p)
	}
}
