package releaser

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// farm is a world whose packages and metadata are signed by a key that readers trust,
// and of which a web server tells the public.
type farm struct {
	*world
	key  *pgp.Key
	made map[string][]byte // signed packages by file name
	// invitation returns the .repo file that clients take; nil is the directory's.
	invitation func() ([]byte, error)

	mu       sync.Mutex
	missing  []string       // what was asked for and isn't there
	answered int            // requests
	asked    int            // of them since the last begin
	at       map[int]func() // what happens before the request of that number is answered
}

// newFarm makes n packages, which are called p000 and on.
func newFarm(t *testing.T, n int) *farm {
	t.Helper()
	w := setup(t)
	key, err := pgp.Generate("Seed <seed@example.org>", pgp.RSA4096, time.Now().Add(-time.Hour)) // what every dnf verifies
	if err != nil {
		t.Fatal(err)
	}
	var spec strings.Builder
	spec.WriteString("Name: many\nVersion: 1\nRelease: 1\nSummary: A\nLicense: MIT\nBuildArch: noarch\n%description\nA.\n")
	for i := range n {
		fmt.Fprintf(&spec, "%%package -n p%03[1]d\nSummary: B\n%%description -n p%03[1]d\nB.\n%%files -n p%03[1]d\n", i)
	}
	made, err := rpmtest.Build(spec.String())
	if err != nil {
		t.Fatal(err)
	}
	f := &farm{world: w, key: key, made: map[string][]byte{}}
	for name, b := range made {
		header, err := rpm.Header(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		sig, isRSA, err := key.Sign(header)
		if err != nil {
			t.Fatal(err)
		}
		var signed bytes.Buffer
		if err := rpm.Splice(&signed, bytes.NewReader(b), sig, isRSA); err != nil {
			t.Fatal(err)
		}
		f.made[name] = signed.Bytes()
	}
	files := http.FileServer(http.Dir(w.public))
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if do := f.at[f.asked]; do != nil {
			do()
		}
		f.asked++
		f.answered++
		if _, err := os.Stat(filepath.Join(w.public, filepath.FromSlash(path.Clean(r.URL.Path)))); err != nil {
			f.missing = append(f.missing, r.URL.Path)
		}
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL // of the world, so that clients are told
	return f
}

// begin has things happen in the middle of what a reader asks next.
func (f *farm) begin(at map[int]func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.at = 0, at
}

// with returns the sealed snapshot that has package i besides those of from.
func (f *farm) with(from *repodata.Snapshot, i int, revision int64) *repodata.Snapshot {
	f.t.Helper()
	ctx := f.t.Context()
	name := fmt.Sprintf("p%03d-1-1.noarch.rpm", i)
	b := f.made[name]
	p, err := rpm.Read(bytes.NewReader(b))
	if err != nil {
		f.t.Fatal(err)
	}
	d := albs.DigestOf(b)
	if _, err := f.blobs.Put(ctx, d, bytes.NewReader(b)); err != nil {
		f.t.Fatal(err)
	}
	s, err := repodata.Extend(ctx, f.blobs, from, repodata.Change{
		Add: []repodata.Package{{RPM: p, Digest: d, Size: int64(len(b)), Path: "Packages/p/" + name, Time: 1}},
	}, revision)
	if err != nil {
		f.t.Fatal(err)
	}
	md, err := f.blobs.Open(ctx, s.Repomd())
	if err != nil {
		f.t.Fatal(err)
	}
	defer md.Close()
	asc, err := f.key.SignArmored(md)
	if err == nil {
		s, err = repodata.Seal(ctx, f.blobs, s, asc)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// show publishes a snapshot with the key that its readers need.
func (f *farm) show(serial int64, s *repodata.Snapshot) error {
	public, err := f.key.Public()
	if err != nil {
		return err
	}
	key, size, err := f.blobs.Write(f.t.Context(), bytes.NewReader(public), 1<<20)
	if err != nil {
		return err
	}
	_, err = f.publish(f.save(repodata.Tree{
		Product: product, Serial: serial,
		Repositories: []repodata.TreeRepo{{Path: repo, Snapshot: s.Digest()}},
		Files:        []repodata.TreeFile{{Path: "RPM-GPG-KEY-seed", Digest: key, Size: size}},
	}), nil)
	return err
}

// dnf runs the real one as a client that keeps its cache in dir and has taken the .repo
// file of the repository, by which the signatures of packages and metadata are checked.
func (f *farm) dnf(dir string, args ...string) (string, error) {
	f.t.Helper()
	repos := filepath.Join(dir, "repos")
	take := f.invitation
	if take == nil {
		take = func() ([]byte, error) {
			return os.ReadFile(filepath.Join(f.public, product, "current", repo, "seed.repo"))
		}
	}
	invitation, err := take()
	if err == nil {
		err = os.MkdirAll(repos, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(repos, "seed.repo"), invitation, 0o644)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	argv := []string{"dnf"}
	if os.Getuid() != 0 { // who installs has to be root, at least of what is theirs
		argv = []string{"unshare", "--map-root-user", "--", "dnf"}
	}
	argv = append(argv,
		"-y", "-q", "--installroot="+filepath.Join(dir, "root"), "--releasever=9", "--forcearch=x86_64", "--setopt=reposdir="+repos,
		"--setopt=skip_if_unavailable=0", "--setopt=retries=1", "--disableplugin=local", // which Debian adds a repository by
		"--setopt=cachedir="+filepath.Join(dir, "cache"))
	cmd := exec.CommandContext(f.t.Context(), argv[0], append(argv[1:], args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// T20: a real dnf reads while releases and rollbacks go on, at the worst moments: right
// before any of its requests is answered. It never fails, asks for nothing that isn't
// there, and sees a state that was shown, whole.
func TestReaders(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skip("dnf is not installed here")
	}
	releases := 100
	if testing.Short() {
		releases = 8
	}
	f := newFarm(t, releases+1)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	snapshots := []*repodata.Snapshot{f.with(nil, 0, 1)} // of the packages up to that one
	for i := 1; i <= releases; i++ {
		snapshots = append(snapshots, f.with(snapshots[i-1], i, int64(i+1)))
	}
	var serial int64
	var now int
	var seen []int // the states shown since the reader began, each by its last package
	release := func() {
		if now > 0 && random.IntN(4) == 0 {
			now = random.IntN(now)
		} else if serial > 0 {
			now++
		}
		serial++
		if err := f.show(serial, snapshots[now]); err != nil {
			t.Error(err)
		}
		seen = append(seen, now)
	}
	release()
	kept := t.TempDir()
	round := 0
	for ; int(serial)+3 <= releases && !t.Failed(); round++ {
		dir := kept // of a client that has been here before
		if round%2 == 1 {
			dir = t.TempDir()
		}
		release()
		seen = []int{now}
		at := random.IntN(9)
		f.begin(map[int]func(){at: release})
		out, err := f.dnf(dir, "--refresh", "repoquery", "--available", "--qf", "%{name}")
		if err != nil {
			t.Errorf("dnf repoquery, with a release before its request %d: %v\n%s", at, err, out)
		}
		last := strings.Count("\n"+out, "\np") - 1
		if !slices.Contains(seen, last) || !strings.Contains(out, fmt.Sprintf("p%03d\n", last)) {
			t.Errorf("dnf lists %d packages, and the last ones of what was shown since it began are %v:\n%s", last+1, seen, out)
		}
		// What it has read of goes on being there.
		f.begin(map[int]func(){random.IntN(2): release})
		if out, err := f.dnf(dir, "install", "--downloadonly", "p*"); err != nil {
			t.Errorf("dnf install: %v\n%s", err, out)
		}
		f.begin(nil)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.missing) > 0 {
		t.Errorf("dnf asked for what isn't there: %q", f.missing)
	}
	if f.answered < 2*round {
		t.Errorf("in %d rounds dnf asked only %d times", round, f.answered)
	}
}

// TestTools: what others have to read a repository with works on a published one.
func TestTools(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"dnf", "createrepo_c", "mergerepo_c", "rpmkeys"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed here", tool)
		}
	}
	f := newFarm(t, 3)
	one := f.with(nil, 0, 1)
	two := f.with(f.with(one, 1, 2), 2, 3)
	for serial, s := range []*repodata.Snapshot{one, two} {
		if err := f.show(int64(serial+1), s); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	packages := []string{"p000-1-1.noarch.rpm", "p001-1-1.noarch.rpm", "p002-1-1.noarch.rpm"}

	// What a web server hands out, copied as a mirror does that knows nothing of us.
	current := filepath.Join(f.public, product, "current")
	run("cp", "-rL", filepath.Join(current, repo), "copy")
	run("rpmkeys", "--dbpath", filepath.Join(dir, "keys"), "--import", filepath.Join(current, "RPM-GPG-KEY-seed"))
	for _, p := range packages {
		out := run("rpmkeys", "--dbpath", filepath.Join(dir, "keys"), "--define", "_pkgverify_level all", "-K", "copy/Packages/p/"+p)
		if !strings.Contains(out, "digests signatures OK") {
			t.Errorf("rpmkeys -K: %s", out)
		}
	}
	names := func(of string) []string {
		t.Helper()
		md, err := os.Open(filepath.Join(dir, of, "repodata/repomd.xml"))
		if err != nil {
			t.Fatal(err)
		}
		defer md.Close()
		parsed, err := repodata.ParseRepomd(md)
		if err != nil {
			t.Fatal(err)
		}
		data, ok := parsed.Find("primary")
		if !ok {
			t.Fatalf("%s has no primary", of)
		}
		primary, err := os.Open(filepath.Join(dir, of, data.Path))
		if err != nil {
			t.Fatal(err)
		}
		defer primary.Close()
		var out []string
		err = repodata.ReadPrimary(primary, func(l repodata.Listed) error {
			out = append(out, l.NEVRA.Filename())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return out
	}
	run("createrepo_c", "--update", "--quiet", "copy")
	run("mergerepo_c", "--omit-baseurl", "-r", "file://"+filepath.Join(f.public, product, "trees/1", repo), "-r", "file://"+filepath.Join(f.public, product, "trees/2", repo), "-o", "merged")
	for _, of := range []string{"copy", "merged"} {
		if got := names(of); !slices.Equal(got, packages) {
			t.Errorf("%s has %q, want %q", of, got, packages)
		}
	}

	if _, err := exec.CommandContext(t.Context(), "dnf", "reposync", "--releasever=9", "--help").Output(); err != nil {
		t.Skip("the rest needs dnf's plugins, which are not installed here")
	}
	if out, err := f.dnf(dir, "install", "--downloadonly", "p000"); err != nil { // reposync takes no key by itself
		t.Errorf("dnf install: %v\n%s", err, out)
	}
	if out, err := f.dnf(dir, "repoclosure"); err != nil {
		t.Errorf("dnf repoclosure: %v\n%s", err, out)
	}
	if out, err := f.dnf(dir, "reposync", "--gpgcheck", "--download-metadata", "--norepopath", "--download-path="+filepath.Join(dir, "synced")); err != nil {
		t.Errorf("dnf reposync: %v\n%s", err, out)
	}
	for _, p := range packages {
		b, err := os.ReadFile(filepath.Join(dir, "synced/Packages/p", p))
		if err != nil || !bytes.Equal(b, f.made[p]) {
			t.Errorf("reposync has %s with %d bytes of %d, %v", p, len(b), len(f.made[p]), err)
		}
	}
}

// TestInvitation: what readers are given of a place that has an address, and that one
// without tells nobody anything.
func TestInvitation(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	at := func(name string) string { return filepath.Join(w.public, product, "current", repo, name) }
	w.mustPublish(w.tree(1, one))
	for _, name := range []string{"mirrorlist", "seed.repo"} {
		if _, err := os.Stat(at(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a place without an address has %s: %v", name, err)
		}
	}
	w.url = "https://repo.example.org/albs/"
	w.mustPublish(w.tree(2, one))
	for name, want := range map[string]string{
		"mirrorlist": "https://repo.example.org/albs/seed/trees/2/el9/BaseOS/x86_64/os/\n",
		"seed.repo": `[seed-el9-BaseOS-x86_64-os]
name=seed-el9-BaseOS-x86_64-os
mirrorlist=https://repo.example.org/albs/seed/current/el9/BaseOS/x86_64/os/mirrorlist
gpgkey=https://repo.example.org/albs/seed/current/RPM-GPG-KEY-seed
gpgcheck=1
repo_gpgcheck=1
enabled=1
`,
	} {
		if b, err := os.ReadFile(at(name)); err != nil || string(b) != want {
			t.Errorf("%s is %q (%v), want %q", name, b, err, want)
		}
	}
}
