package releaser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
	"albs/internal/worker"
	"albs/internal/worker/releaser/laid"
)

// rpms builds small RPMs with the real rpmbuild, once, and returns them by file name.
var rpms = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Noarch("alpha", "beta", "gamma")
})

const (
	alpha = "alpha-1-1.noarch.rpm"
	beta  = "beta-1-1.noarch.rpm"
	gamma = "gamma-1-1.noarch.rpm"

	product = "seed"
	repo    = "el9/BaseOS/x86_64/os"
	empty   = "el9/BaseOS/debug"
)

// world is a blob store with snapshots and trees, and a public place.
type world struct {
	t      *testing.T
	blobs  blobs
	public string
	url    string
	made   map[string][]byte // packages by file name; nil is rpms
	v      *verifier         // of what is proven
}

// rpms are the packages of the world.
func (w *world) rpms() map[string][]byte {
	w.t.Helper()
	if w.made != nil {
		return w.made
	}
	made, err := rpms()
	if err != nil {
		w.t.Fatal(err)
	}
	return made
}

type blobs struct{ *blob.Dir }

func (b blobs) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return b.Dir.Open(ctx, d)
}

func (b blobs) Fetch(ctx context.Context, d albs.Digest, _ int64, w io.Writer) error {
	r, err := b.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// liar gives the bytes of one blob for every digest.
type liar struct {
	blobs
	d albs.Digest
}

func (l liar) Fetch(ctx context.Context, _ albs.Digest, most int64, w io.Writer) error {
	return l.blobs.Fetch(ctx, l.d, most, w)
}

func setup(t *testing.T) *world {
	t.Helper()
	if _, err := rpms(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	} else if err != nil {
		t.Fatal(err)
	}
	d, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, blobs: blobs{d}, public: t.TempDir()}
}

// snapshot makes a sealed snapshot out of from, which may be nil.
func (w *world) snapshot(from *repodata.Snapshot, revision int64, names ...string) *repodata.Snapshot {
	w.t.Helper()
	ctx := w.t.Context()
	made := w.rpms()
	var c repodata.Change
	for _, n := range names {
		p, err := rpm.Read(bytes.NewReader(made[n]))
		if err != nil {
			w.t.Fatal(err)
		}
		d := albs.DigestOf(made[n])
		if _, err := w.blobs.Put(ctx, d, bytes.NewReader(made[n])); err != nil {
			w.t.Fatal(err)
		}
		c.Add = append(c.Add, repodata.Package{RPM: p, Digest: d, Size: int64(len(made[n])), Path: "Packages/" + n[:1] + "/" + n, Time: 1})
	}
	s, err := repodata.Extend(ctx, w.blobs, from, c, revision)
	if err == nil {
		s, err = repodata.Seal(ctx, w.blobs, s, fmt.Appendf(nil, "-----BEGIN PGP SIGNATURE-----\n\n%d\n-----END PGP SIGNATURE-----\n", revision))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// tree saves a tree with the snapshot, an empty repository and a key, and returns
// what a task to publish it says.
func (w *world) tree(serial int64, s *repodata.Snapshot) albs.PublishSpec {
	w.t.Helper()
	key, size, err := w.blobs.Write(w.t.Context(), strings.NewReader("a key"), 100)
	if err != nil {
		w.t.Fatal(err)
	}
	t := repodata.Tree{
		Product: product, Serial: serial,
		Repositories: []repodata.TreeRepo{{Path: repo, Snapshot: s.Digest()}, {Path: empty, Snapshot: w.snapshot(nil, 1).Digest()}},
		Files:        []repodata.TreeFile{{Path: "RPM-GPG-KEY-seed", Digest: key, Size: size}},
	}
	return w.save(t)
}

func (w *world) save(t repodata.Tree) albs.PublishSpec {
	w.t.Helper()
	d, _, err := w.blobs.Write(w.t.Context(), bytes.NewReader(t.Encode()), repodata.MaxTreeBytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return albs.PublishSpec{Product: t.Product, Tree: d, Serial: t.Serial}
}

// publish does what a task does; wrap may stand between it and the folder.
func (w *world) publish(spec albs.PublishSpec, wrap func(folder) folder) (string, error) {
	w.t.Helper()
	tree, err := fetchTree(w.t.Context(), spec, w.blobs)
	if err != nil {
		return "", err
	}
	p, err := openPlace(w.public, spec.Product)
	if err != nil {
		return "", err
	}
	defer p.Close()
	p.url = w.url
	if wrap != nil {
		p.root = wrap(p.root)
	}
	var log strings.Builder
	got, err := p.publish(w.t.Context(), tree, w.blobs, func(context.Context) error { return nil }, &log)
	if want := (albs.PublishResult{Serial: spec.Serial, Tree: spec.Tree, Location: "seed/current"}); err == nil && got != want {
		w.t.Errorf("publish = %+v, want %+v", got, want)
	}
	return log.String(), err
}

func (w *world) mustPublish(spec albs.PublishSpec) string {
	w.t.Helper()
	log, err := w.publish(spec, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return log
}

// shows checks that readers find the tree: everything of the snapshot, byte by byte.
func (w *world) shows(serial int64, s *repodata.Snapshot) {
	w.t.Helper()
	if err := w.check(serial, s); err != nil {
		w.t.Error(err)
	}
}

func (w *world) check(serial int64, s *repodata.Snapshot) error {
	current := filepath.Join(w.public, product, "current")
	if got, err := os.Readlink(current); err != nil || got != fmt.Sprintf("trees/%d", serial) {
		return fmt.Errorf("current = %q, %v, want serial %d", got, err, serial)
	}
	want := map[string]albs.Digest{}
	for _, f := range s.Files() {
		want[f.Path] = f.Digest
	}
	err := s.Packages(w.t.Context(), w.blobs, func(e repodata.Entry) error {
		want[e.Path] = e.Digest
		return nil
	})
	if err != nil {
		return err
	}
	for name, d := range want {
		b, err := os.ReadFile(filepath.Join(current, repo, name))
		if err != nil {
			return err
		}
		if got := albs.DigestOf(b); got != d {
			return fmt.Errorf("%s is %s, want %s", name, got, d)
		}
	}
	if b, err := os.ReadFile(filepath.Join(current, "RPM-GPG-KEY-seed")); err != nil || string(b) != "a key" {
		return fmt.Errorf("the key is %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(current, empty, "repodata/repomd.xml.asc")); err != nil {
		return err
	}
	return nil
}

func TestPublish(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha, beta)
	first := w.tree(1, one)
	if log := w.mustPublish(first); !strings.Contains(log, "2 packages, 2 of them new") || !strings.Contains(log, "serial 1 is shown in place of 0") {
		t.Errorf("log = %s", log)
	}
	w.shows(1, one)

	// Again: nothing to do.
	if log := w.mustPublish(first); log != "serial 1 is shown already\n" {
		t.Errorf("log of a repeated task = %s", log)
	}
	w.shows(1, one)

	two := w.snapshot(one, 2, gamma)
	if log := w.mustPublish(w.tree(2, two)); !strings.Contains(log, "3 packages, 1 of them new") {
		t.Errorf("log = %s", log)
	}
	w.shows(2, two)
	// Who is in the middle of reading serial 1 finds all that its repomd.xml named.
	for _, f := range one.Files() {
		if byDigest(f.Path) {
			if _, err := os.Stat(filepath.Join(w.public, product, "current", repo, f.Path)); err != nil {
				t.Errorf("old metadata: %v", err)
			}
		}
	}

	// Back to the old content: a new serial, the same bytes.
	w.mustPublish(w.tree(3, one))
	w.shows(3, one)

	// A serial may be left out: what was to have it was never shown.
	w.mustPublish(w.tree(7, two))
	w.shows(7, two)
}

// TestTreeFiles: a file that the tree before has is the same file, unless it isn't what it
// was any more: then it is laid anew.
func TestTreeFiles(t *testing.T) {
	t.Parallel()
	w := setup(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one := w.snapshot(nil, 1, alpha)
	file := func(name, text string) repodata.TreeFile {
		d := albs.DigestOf([]byte(text))
		_, err := w.blobs.Put(t.Context(), d, strings.NewReader(text))
		must(err)
		return repodata.TreeFile{Path: "errata/" + name, Digest: d, Size: int64(len(text))}
	}
	publish := func(serial int64, files ...repodata.TreeFile) {
		t.Helper()
		w.mustPublish(w.save(repodata.Tree{Product: product, Serial: serial, Repositories: []repodata.TreeRepo{{Path: repo, Snapshot: one.Digest()}}, Files: files}))
	}
	in := func(serial int64, name string) string {
		return filepath.Join(w.public, product, "trees", fmt.Sprint(serial), "errata", name)
	}
	publish(1, file("same", "all the same"), file("changes", "as it was"), file("damaged", "whole"), file("replaced", "a file"), file("goes", "for good"))
	must(replace(in(1, "damaged"), []byte("hole!")))
	must(os.Remove(in(1, "replaced")))
	must(os.Mkdir(in(1, "replaced"), 0o755))
	publish(2, file("same", "all the same"), file("changes", "as it is!"), file("damaged", "whole"), file("replaced", "a file"), file("new", "all the same"))
	for name, want := range map[string]string{"same": "all the same", "changes": "as it is!", "damaged": "whole", "replaced": "a file", "new": "all the same"} {
		b, err := os.ReadFile(in(2, name))
		if err != nil || string(b) != want {
			t.Errorf("%s is %q, %v", name, b, err)
		}
		was, err := os.Stat(in(1, name))
		is, err2 := os.Stat(in(2, name))
		if same := err == nil && err2 == nil && os.SameFile(was, is); same != (name == "same") {
			t.Errorf("%s is the file of the tree before: %v", name, same)
		}
	}
	if _, err := os.Stat(in(2, "goes")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what the tree doesn't name is there: %v", err)
	}
	if b, err := os.ReadFile(in(1, "changes")); err != nil || string(b) != "as it was" {
		t.Errorf("the tree before has become %q, %v", b, err)
	}
}

// TestUmask: what is published can be read by a web server's user, also if the
// service keeps to itself what it writes elsewhere. It is not parallel: a umask is
// the whole process's.
func TestUmask(t *testing.T) {
	w := setup(t)
	spec := w.tree(1, w.snapshot(nil, 1, alpha))
	umask := syscall.Umask(0o077)
	defer syscall.Umask(umask)
	w.mustPublish(spec)
	err := filepath.WalkDir(filepath.Join(w.public, product), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 || e.Name() == ".lock" {
			return err
		}
		info, err := e.Info()
		want := fs.FileMode(0o644)
		if e.IsDir() {
			want = 0o755
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	two := w.snapshot(one, 2, beta)
	w.mustPublish(w.tree(5, one))

	unsigned, err := repodata.Extend(t.Context(), w.blobs, one, repodata.Change{Remove: []string{"Packages/a/" + alpha}}, 3)
	if err != nil {
		t.Fatal(err)
	}
	own := repodata.Tree{Product: product, Serial: 6, Files: []repodata.TreeFile{{Path: "tree.json", Digest: one.Digest()}}}
	below := repodata.Tree{Product: product, Serial: 6, Repositories: []repodata.TreeRepo{{Path: "pooled.json/os", Snapshot: one.Digest()}}}
	list := repodata.Tree{Product: product, Serial: 6, Files: []repodata.TreeFile{{Path: repo + "/mirrorlist", Digest: one.Digest()}}}
	list.Repositories = []repodata.TreeRepo{{Path: repo, Snapshot: one.Digest()}}
	invitation := list
	invitation.Files = []repodata.TreeFile{{Path: repo + "/seed.repo/x", Digest: one.Digest()}}
	other := w.tree(6, two)
	other.Product = "other"
	later := w.tree(6, two)
	later.Serial = 7
	for name, spec := range map[string]albs.PublishSpec{
		"a lower serial":            w.tree(4, two),
		"another tree, same serial": w.tree(5, two),
		"an unsigned snapshot":      w.tree(6, unsigned),
		"a file of the place":       w.save(own),
		"a folder at its name":      w.save(below),
		"a list of mirrors":         w.save(list),
		"a folder at a .repo file":  w.save(invitation),
		"another product's tree":    other,
		"another serial's tree":     later,
		"no tree":                   {Product: product, Tree: one.Repomd(), Serial: 6},
	} {
		if _, err := w.publish(spec, nil); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s = %v, want Invalid", name, err)
		}
		w.shows(5, one)
	}
	if _, err := fetchTree(t.Context(), w.tree(6, two), liar{w.blobs, w.tree(6, one).Tree}); err == nil || !strings.Contains(err.Error(), "the bytes hash to") {
		t.Errorf("fetchTree of another tree's bytes = %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "/"} {
		if p, err := openPlace(w.public, name); albs.KindOf(err) != albs.Invalid {
			t.Errorf("openPlace(%q) = %v, %v, want Invalid", name, p, err)
		}
	}
}

// TestCheckBeforeShow: a lease that may have ended switches nothing.
func TestCheckBeforeShow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	w.mustPublish(w.tree(1, one))
	spec := w.tree(2, w.snapshot(one, 2, beta))
	tree, err := fetchTree(t.Context(), spec, w.blobs)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPlace(w.public, product)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openPlace(w.public, product); albs.KindOf(err) != albs.Unavailable {
		t.Errorf("a second releaser = %v, want Unavailable", err)
	}
	gone := albs.Errorf(albs.StaleLease, "gone")
	if _, err := p.publish(t.Context(), tree, w.blobs, func(context.Context) error { return gone }, io.Discard); !errors.Is(err, albs.StaleLease) {
		t.Errorf("publish = %v, want the check's error", err)
	}
	p.Close()
	w.shows(1, one)
	if log := w.mustPublish(spec); !strings.Contains(log, "serial 2 is complete already") {
		t.Errorf("log = %s", log)
	}
}

// TestChangedPool: a name in the pool never gets other content, and what was put
// there by others is not taken for the package.
func TestChangedPool(t *testing.T) {
	t.Parallel()
	name := "pool/" + repo + "/Packages/a/" + alpha
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, file string, d albs.Digest) error
		want   albs.Kind
	}{
		{"other content", func(t *testing.T, file string, _ albs.Digest) error {
			return replace(file, []byte("other"))
		}, albs.Invalid},
		{"other content of the same size", func(t *testing.T, file string, _ albs.Digest) error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			return replace(file, make([]byte, info.Size()))
		}, albs.Invalid},
		{"cut off in place", func(t *testing.T, file string, _ albs.Digest) error {
			return os.Truncate(file, 10)
		}, albs.Invalid},
		{"the same content, copied", func(t *testing.T, file string, _ albs.Digest) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			return replace(file, b)
		}, ""},
		{"cut off where it lies by digest", func(t *testing.T, file string, d albs.Digest) error {
			return errors.Join(os.Remove(file), os.Truncate(byContent(file, name, d), 10))
		}, albs.Invalid},
		{"gone from the names", func(t *testing.T, file string, _ albs.Digest) error { return os.Remove(file) }, ""},
		{"gone from the digests", func(t *testing.T, file string, d albs.Digest) error {
			return os.Remove(byContent(file, name, d))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			one := w.snapshot(nil, 1, alpha)
			w.mustPublish(w.tree(1, one))
			d, _, _, err := one.Lookup(t.Context(), w.blobs, "Packages/a/"+alpha)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(t, filepath.Join(w.public, product, name), d); err != nil {
				t.Fatal(err)
			}
			// Without it the second tree would rest on what the first one knows.
			if err := os.Remove(filepath.Join(w.public, product, "trees/1/pooled.json")); err != nil {
				t.Fatal(err)
			}
			two := w.snapshot(one, 2, beta)
			_, err = w.publish(w.tree(2, two), nil)
			if albs.KindOf(err) != tt.want {
				t.Fatalf("publish = %v, want kind %q", err, tt.want)
			}
			if tt.want == "" {
				w.shows(2, two)
			} else if got, _ := os.Readlink(filepath.Join(w.public, product, "current")); got != "trees/1" {
				t.Errorf("current = %q, want serial 1", got)
			}
		})
	}
}

// byContent is where the pool has the package of digest d that it has at file too,
// which name is the end of.
func byContent(file, name string, d albs.Digest) string {
	return filepath.Join(strings.TrimSuffix(file, name), "pool/.digest", string(d[:2]), string(d))
}

// TestMetadata: what the tree shown before has of the metadata is taken over if it
// can be, and carried along for those who are reading it, but not for ever.
func TestMetadata(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	w.mustPublish(w.tree(1, one))
	for _, f := range one.Files() {
		file := filepath.Join(w.public, product, "trees/1", repo, f.Path)
		if f.Digest == one.Files()[0].Digest {
			if err := replace(file, []byte("cut off")); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.mustPublish(w.tree(2, one))
	w.shows(2, one)

	// Written long ago, but shown until now.
	long := time.Now().Add(-2 * carryFor)
	for _, f := range one.Files() {
		if err := os.Chtimes(filepath.Join(w.public, product, "trees/2", repo, f.Path), long, long); err != nil {
			t.Fatal(err)
		}
	}
	two := w.snapshot(one, 2, beta)
	three := w.snapshot(two, 3, gamma)
	for _, tt := range []struct {
		serial    int64
		of        *repodata.Snapshot
		one, two  bool // whose metadata is carried
		leftSince time.Duration
	}{
		{3, two, true, true, 0},
		{4, three, true, true, carryFor - time.Minute},
		{5, three, true, true, carryFor + time.Minute},
		{6, three, false, false, 0},
		{7, one, true, false, 0}, // brought back, it is in use
		{8, three, true, false, 0},
	} {
		w.mustPublish(w.tree(tt.serial, tt.of))
		w.shows(tt.serial, tt.of)
		for s, want := range map[*repodata.Snapshot]bool{one: tt.one, two: tt.two} {
			for _, f := range s.Files() {
				_, err := os.Stat(filepath.Join(w.public, product, "current", repo, f.Path))
				if byDigest(f.Path) && (err == nil) != want {
					t.Errorf("serial %d has the metadata of revision %d: %v, want %v", tt.serial, s.Revision(), err == nil, want)
				}
			}
		}
		if tt.leftSince == 0 {
			continue
		}
		// Time passes.
		file := filepath.Join(w.public, product, "current", laid.LeftFile)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var l left
		if err := json.Unmarshal(b, &l); err != nil {
			t.Fatal(err)
		}
		for name := range l[repo] {
			l[repo][name] = time.Now().Add(-tt.leftSince)
		}
		if b, err = json.Marshal(l); err != nil {
			t.Fatal(err)
		}
		if err := replace(file, b); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlowReader: a dnf that has read repomd.xml when the tree is switched, and switched
// again, finds the files that its repomd.xml names.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skipf("dnf is not installed here: %v", err)
	}
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	two := w.snapshot(one, 2, beta)
	three := w.snapshot(two, 3, gamma)
	w.mustPublish(w.tree(1, one))
	var begun sync.Once
	files := http.FileServer(http.Dir(filepath.Join(w.public, product, "current")))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/repomd.xml") {
			begun.Do(func() {
				for serial, s := range []*repodata.Snapshot{two, three} {
					if _, err := w.publish(w.tree(int64(serial)+2, s), nil); err != nil {
						t.Errorf("switch: %v", err)
					}
				}
			})
		}
		files.ServeHTTP(rw, r)
	}))
	defer server.Close()

	home := t.TempDir()
	list := func() string {
		conf := "[main]\nreposdir=/dev/null\nplugins=0\ngpgcheck=0\nzchunk=0\n"
		for _, d := range []string{"cachedir", "logdir", "persistdir"} {
			conf += d + "=" + filepath.Join(home, d) + "\n"
		}
		file := filepath.Join(home, "dnf.conf")
		if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "dnf", "-q", "-c", file, "--refresh", "--installroot", filepath.Join(home, "root"), "--releasever", "9", "--forcearch", "x86_64",
			"--repofrompath=x,"+server.URL+"/"+repo, "--repo=x", "repoquery", "-a", "--qf", "%{name}")
		cmd.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "http_proxy=", "no_proxy=127.0.0.1")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dnf: %v\n%s", err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	if got := list(); got != "alpha" {
		t.Errorf("dnf that began with serial 1 sees %q, want alpha", got)
	}
	w.shows(3, three)
	if got := list(); got != "alpha beta gamma" {
		t.Errorf("dnf sees %q afterwards, want alpha beta gamma", got)
	}
}

// TestStrangeLink: where the link that readers follow leads to no tree of a
// releaser's, nothing is known of what is shown, and nothing is changed.
func TestStrangeLink(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	w.mustPublish(w.tree(1, one))
	current := filepath.Join(w.public, product, "current")
	for _, target := range []string{"elsewhere/1", "trees/01", "trees/new", "."} {
		if err := errors.Join(os.Remove(current), os.Symlink(target, current)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.publish(w.tree(2, one), nil); err == nil || !strings.Contains(err.Error(), "which no releaser made") {
			t.Errorf("publish over a link to %s = %v", target, err)
		}
		if got, err := os.Readlink(current); got != target {
			t.Errorf("the link leads to %q now, %v, want %q", got, err, target)
		}
	}
}

func replace(file string, b []byte) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

// TestHalfMadeTree: what an attempt left that died, of this tree or another one of
// its serial, is replaced.
func TestHalfMadeTree(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	w.mustPublish(w.tree(1, one))
	for _, dir := range []string{"trees/new/" + repo + "/repodata", "trees/2/" + repo + "/repodata", "trees/2/x"} {
		if err := os.MkdirAll(filepath.Join(w.public, product, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"trees/new/" + repo + "/repodata/repomd.xml", "trees/2/tree.json", "current.new", "pool/.digest/old.part"} {
		if err := os.WriteFile(filepath.Join(w.public, product, file), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	two := w.snapshot(one, 2, beta)
	w.mustPublish(w.tree(2, two))
	w.shows(2, two)
	if _, err := os.Stat(filepath.Join(w.public, product, "trees/2/x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the half-made tree is still there: %v", err)
	}
}

// errKilled is the end of a process.
var errKilled = errors.New("killed")

// volatile knows which names a power cut would take: those that were made and whose
// folder, or whose content, was not synced since. It outlives the process that made
// them.
type volatile struct {
	folder
	unsynced map[string]bool
	mu       *sync.Mutex // things are synced together
}

func (d volatile) made(name string, err error) error {
	if err == nil {
		d.unsynced[name] = true
	}
	return err
}

func (d volatile) gone(name string, err error) error {
	for n := range d.unsynced {
		if err == nil && (n == name || n == name+content || strings.HasPrefix(n, name+"/")) {
			delete(d.unsynced, n)
		}
	}
	return err
}

func (d volatile) Link(a, b string) error    { return d.made(b, d.folder.Link(a, b)) }
func (d volatile) Symlink(a, b string) error { return d.made(b, d.folder.Symlink(a, b)) }
func (d volatile) Remove(a string) error     { return d.gone(a, d.folder.Remove(a)) }
func (d volatile) RemoveAll(a string) error  { return d.gone(a, d.folder.RemoveAll(a)) }
func (d volatile) Mkdir(a string, mode os.FileMode) error {
	return d.made(a, d.folder.Mkdir(a, mode))
}

func (d volatile) Create(a string) (file, error) {
	f, err := d.folder.Create(a)
	d.unsynced[a+content] = true
	return tracked{f, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.unsynced, a+content)
	}}, d.made(a, err)
}

// content is what stands behind a file's name when its bytes are meant.
const content = ": its content"

type tracked struct {
	file
	synced func()
}

func (w tracked) Sync() error { w.synced(); return w.file.Sync() }

func (d volatile) Rename(a, b string) error {
	if err := d.folder.Rename(a, b); err != nil {
		return err
	}
	for n := range d.unsynced {
		if rest, ok := strings.CutPrefix(n, a); ok && (rest == content || strings.HasPrefix(rest, "/")) {
			d.unsynced[b+rest] = true
		}
	}
	return d.made(b, d.gone(a, nil))
}

func (d volatile) Sync(a string) error {
	err := d.folder.Sync(a)
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := range d.unsynced {
		if err == nil && path.Dir(n) == a && !strings.HasSuffix(n, content) {
			delete(d.unsynced, n)
		}
	}
	return err
}

// mortal lets only the first n changes happen, as if the process was killed then.
type mortal struct {
	folder
	left *atomic.Int64
}

func (m mortal) do(f func() error) error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return f()
}

func (m mortal) Link(a, b string) error   { return m.do(func() error { return m.folder.Link(a, b) }) }
func (m mortal) Rename(a, b string) error { return m.do(func() error { return m.folder.Rename(a, b) }) }
func (m mortal) Symlink(a, b string) error {
	return m.do(func() error { return m.folder.Symlink(a, b) })
}
func (m mortal) Remove(a string) error    { return m.do(func() error { return m.folder.Remove(a) }) }
func (m mortal) RemoveAll(a string) error { return m.do(func() error { return m.folder.RemoveAll(a) }) }
func (m mortal) Sync(a string) error      { return m.do(func() error { return m.folder.Sync(a) }) }
func (m mortal) Chmod(a string, mode os.FileMode) error {
	return m.do(func() error { return m.folder.Chmod(a, mode) })
}
func (m mortal) Mkdir(a string, mode os.FileMode) error {
	return m.do(func() error { return m.folder.Mkdir(a, mode) })
}

func (m mortal) Create(a string) (f file, err error) {
	err = m.do(func() error { f, err = m.folder.Create(a); return err })
	return f, err
}

// T19: a releaser that is killed before any of its steps has shown the old tree or
// the new one, whole; the next attempt completes it. What that one calls done is on
// disk, also what the one that was killed has made of it.
func TestKillBetweenSteps(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	two := w.snapshot(one, 2, beta, gamma)
	first, second := w.tree(1, one), w.tree(2, two)
	var switched []bool
	for n := 0; ; n++ {
		// From a fresh pool every time, so that each round has all steps.
		w.public = inMemory(t)
		w.mustPublish(first)
		var left atomic.Int64
		left.Store(int64(n))
		var mu sync.Mutex
		unsynced := map[string]bool{}
		_, err := w.publish(second, func(f folder) folder { return mortal{volatile{f, unsynced, &mu}, &left} })
		if err == nil {
			w.shows(2, two)
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed after %d steps: %v", n, err)
		}
		old, new := w.check(1, one), w.check(2, two)
		if old != nil && new != nil {
			t.Fatalf("killed after %d steps, neither tree is shown whole: %v; %v", n, old, new)
		}
		switched = append(switched, new == nil)
		if _, err := w.publish(second, func(f folder) folder { return volatile{f, unsynced, &mu} }); err != nil {
			t.Fatalf("after it was killed after %d steps: %v", n, err)
		}
		w.shows(2, two)
		if len(unsynced) > 0 {
			t.Errorf("killed after %d steps, then completed: a power cut would take %v", n, slices.Sorted(maps.Keys(unsynced)))
		}
		for _, left := range []string{"trees/new", "current.new"} {
			if _, err := os.Lstat(filepath.Join(w.public, product, left)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("killed after %d steps, then completed: %s is still there", n, left)
			}
		}
	}
	// Only the sync of the link comes after it was moved.
	if last := len(switched) - 1; last < 50 || slices.Index(switched, true) != last {
		t.Errorf("of %d rounds, those in which the link had moved are %v", len(switched), switched)
	}
}

// inMemory returns a folder where syncing costs nothing, if there is one: the test
// kills a process, not a machine.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "albs-releaser-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestRun publishes through a worker's loop, as the role does.
func TestRun(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	m := &master{world: w, spec: w.tree(1, one), done: make(chan completion, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() {
		ran <- Run(ctx, Config{Public: filepath.Join(w.public), Dir: t.TempDir(), Spool: t.TempDir()}, "test", m, zerolog.Nop())
	}()
	got := <-m.done
	cancel()
	if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	want := &albs.PublishResult{Serial: 1, Tree: m.spec.Tree, Location: "seed/current"}
	if diff := cmp.Diff(want, got.result.Publish); diff != "" || got.outcome != albs.OutcomeOK {
		t.Errorf("outcome %s, result (-want +got):\n%s", got.outcome, diff)
	}
	w.shows(1, one)
	if err := Run(t.Context(), Config{}, "test", m, zerolog.Nop()); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Run without directories = %v, want Invalid", err)
	}
}

type completion struct {
	outcome albs.Outcome
	result  albs.Result
}

// master has one task to give.
type master struct {
	worker.Master
	*world
	spec    albs.PublishSpec
	done    chan completion
	claimed sync.Once
}

func (m *master) Claim(ctx context.Context, _ worker.Offer) (l *worker.Lease, err error) {
	m.claimed.Do(func() {
		l = &worker.Lease{Token: worker.Token{Task: 1, Fence: 1}, Kind: albs.KindPublish, Attempt: 1, Term: time.Minute, Spec: albs.Spec{Publish: &m.spec}}
	})
	if l == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return l, nil
}

func (m *master) Renew(context.Context, worker.Token) (time.Time, error) {
	return time.Now().Add(time.Minute), nil
}

func (m *master) Log(_ context.Context, _ worker.Token, _ string, off int64, p []byte) (int64, error) {
	return off + int64(len(p)), nil
}

func (m *master) Get(ctx context.Context, _ worker.Token, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	return m.blobs.OpenRange(ctx, d, off, length)
}

func (m *master) Complete(_ context.Context, _ worker.Token, o albs.Outcome, r albs.Result) error {
	m.done <- completion{o, r}
	return nil
}
