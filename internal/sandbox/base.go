package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/dnf"
)

// A base has two names. The key is the digest of what was asked for: the Root, with
// its repositories by content. The digest is that of what dnf made of it: the packages
// by their files' digests, and the macros. Many keys lead to one base: the repository
// of a running build changes with each of its packages, the base under them hardly
// ever does, and finding that out costs a resolution but no installation.

// Base is the filled root that work of one kind starts from. It is held, and so not
// evicted, until it is closed and the last Root on it is.
type Base struct {
	e      *Engine
	root   albs.Root
	digest albs.Digest
	dir    string
	facts  facts
	free   func() // its lock; may be called twice
	warm   atomic.Pointer[layer]
}

// Close lets the base go: it may be evicted when no Root lies on it any more.
func (b *Base) Close() {
	b.warm.Swap(nil).release()
	b.free()
}

// facts are what is known of a base, in its facts.json.
type facts struct {
	Files     map[string]albs.Digest `json:"files"`     // package file name → its sha256
	Installed []Package              `json:"installed"` // as its rpmdb has it
	Provides  []string               `json:"provides"`  // names that are provided, sorted
	Size      int64                  `json:"size"`      // bytes on disk
}

// version is part of every key: raise it when bases come to be made otherwise.
const version = 2

// Digest returns the name of what the base holds. Equal digests, equal packages.
func (b *Base) Digest() albs.Digest { return b.digest }

// Packages returns what is installed in the base, sorted.
func (b *Base) Packages() []Package { return slices.Clone(b.facts.Installed) }

// Size returns the bytes that the base holds on disk.
func (b *Base) Size() int64 { return b.facts.Size }

// key digests what was asked for.
func key(root albs.Root, single bool) (albs.Digest, error) {
	root.Network, root.CCache, root.Timeout, root.MaxSilence = false, false, 0, 0
	root.Repos = slices.Clone(root.Repos)
	for i, r := range root.Repos {
		if r.Repomd != "" {
			root.Repos[i].Mirror = "" // the content counts, not where it comes from
		} else if r.Snapshot == "" {
			return "", albs.Errorf(albs.Invalid, "repository %.40q has neither a snapshot nor a pinned repomd", r.ID)
		}
	}
	b, err := json.Marshal(struct {
		Version int
		Single  bool
		Root    albs.Root
	}{version, single, root})
	if err != nil {
		return "", fmt.Errorf("digest the root: %w", err)
	}
	return albs.DigestOf(b), nil
}

// Base returns the base for root, made of the packages that root names, out of repos;
// dnf's words go to log. repos are root.Repos in an order of their own, with the
// addresses under which they are served now. It is found by content if there is one,
// and else made; who asks for one that another makes, in this process or another,
// waits for it. The root's own repositories are no part of its base.
//
// On return the base is on disk, whole: a crash of the machine leaves either all of it
// or a rest that nobody takes for a base and the next maker or start removes. It is to
// be closed, and stays until then.
//
// A root that can't be (a requirement that no repository meets, which is named; a word
// that dnf or rpm would take for more; a repository that floats or isn't served) is an
// Invalid error. Trouble with the repositories or with this host, and a platform that
// needs lent ids where there are none, is Unavailable.
func (e *Engine) Base(ctx context.Context, root albs.Root, repos []Repo, log io.Writer) (*Base, error) {
	root = root.Base()
	repos = servedOf(root, repos)
	// The key speaks for all of them: a base made out of fewer must not get its name.
	if len(repos) != len(root.Repos) {
		return nil, albs.Errorf(albs.Invalid, "%d of the %d repositories of platform %s are served", len(repos), len(root.Repos), root.Platform)
	}
	if e.ids.Count == 0 && !root.SingleUID {
		return nil, albs.Errorf(albs.Unavailable, "platform %s needs a subuid range and this worker has none", root.Platform)
	}
	if _, err := dnf.Surround(root, repos); err != nil {
		return nil, err
	}
	if err := e.checkArch(root.Arch); err != nil {
		return nil, err
	}
	macros, err := albs.MacroFile(root.Macros)
	if err != nil {
		return nil, err
	}
	// Groups may be asked for here: the list is the platform's, not a package's.
	if err := dnf.CheckRequirements(trimGroups(dnf.Apart(root.Packages))); err != nil {
		return nil, err
	}
	k, err := key(root, e.ids.Count == 0)
	if err != nil {
		return nil, err
	}
	return e.findOrMake(ctx, root, k, func() error { return e.make(ctx, root, repos, k, macros, log) })
}

// findOrMake returns the base that k leads to, held, and has it made where there is
// none, by one at a time.
func (e *Engine) findOrMake(ctx context.Context, root albs.Root, k albs.Digest, make func() error) (*Base, error) {
	if b := e.find(ctx, root, k); b != nil {
		return b, nil
	}
	unlock, err := waitLock(ctx, e.path("base", string(k)+".making"), unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("wait for the base: %w", err)
	}
	defer unlock()
	if b := e.find(ctx, root, k); b != nil {
		return b, nil
	}
	if err := make(); err != nil {
		return nil, fmt.Errorf("make a base for %s %s: %w", root.Platform, root.Arch, err)
	}
	b := e.find(ctx, root, k)
	if b == nil {
		return nil, albs.Errorf(albs.Unavailable, "the base for %s %s was removed while it was made", root.Platform, root.Arch)
	}
	if err := e.evict(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// servedOf returns those of the repositories that root names.
func servedOf(root albs.Root, repos []Repo) []Repo {
	return slices.DeleteFunc(slices.Clone(repos), func(r Repo) bool {
		return !slices.ContainsFunc(root.Repos, func(x albs.Repo) bool { return x.ID == r.ID })
	})
}

func trimGroups(reqs []string) []string {
	out := make([]string, len(reqs))
	for i, r := range reqs {
		out[i] = strings.TrimPrefix(r, "@")
	}
	return out
}

func (e *Engine) path(elem ...string) string {
	return filepath.Join(append([]string{e.cfg.Dir}, elem...)...)
}

// find returns the base that k leads to, held, or nil.
func (e *Engine) find(ctx context.Context, root albs.Root, k albs.Digest) *Base {
	text, err := os.ReadFile(e.path("base", string(k)+".key"))
	if err != nil {
		return nil
	}
	d, err := albs.ParseDigest(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	b := &Base{e: e, root: root, digest: d, dir: e.path("base", string(d))}
	// Where it is just being removed, that comes to its end first.
	if b.free, err = waitLock(ctx, e.path("base", string(d)+".lock"), unix.LOCK_SH); err != nil {
		return nil
	}
	var whole bool
	if b.facts, whole = readFacts(b.dir); !whole {
		b.Close()
		return nil
	}
	now := time.Now()
	// The least recently used goes first; one that is just going needs no time any more.
	_ = os.Chtimes(factsOf(b.dir), now, now)
	return b
}

// factsOf returns the path of a base's facts: the last that is written of a new base
// and the first that is removed of an old one, so that what has them is whole.
func factsOf(dir string) string { return filepath.Join(dir, "facts.json") }

// readFacts returns the facts of the base in dir, and whether it is whole.
func readFacts(dir string) (f facts, whole bool) {
	text, err := os.ReadFile(factsOf(dir))
	return f, err == nil && json.Unmarshal(text, &f) == nil
}

// mkdirOpen makes a folder that the users of a root may enter, whatever the umask
// of this process is; a folder above it keeps the host's users out.
func mkdirOpen(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// make makes the base for k under a temporary name and renames it when it is whole. The
// caller holds k's lock.
func (e *Engine) make(ctx context.Context, root albs.Root, repos []Repo, k albs.Digest, macros []byte, log io.Writer) error {
	dir := e.path("base", "new-"+string(k))
	if err := e.remove(ctx, dir); err != nil {
		return err
	}
	// Where this fails the folder has no base's name; the next maker or start removes it.
	defer e.remove(ctx, dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	p, err := newPlace(root, dir)
	if err != nil {
		return err
	}
	// What is enabled is written into the root: every later dnf on it goes by that.
	if len(root.Modules) > 0 {
		if err := e.dnf(ctx, p, repos, append([]string{"module", "enable"}, root.Modules...), log); err != nil {
			return err
		}
	}
	install := append([]string{"install"}, dnf.Apart(root.Packages)...)
	if err := e.dnf(ctx, p, repos, append([]string{"--downloadonly"}, install...), log); err != nil {
		return err
	}
	files, err := packageFiles(p.cache.Source)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return albs.Errorf(albs.Invalid, "there is nothing to install in %q", root.Packages)
	}
	d := content(root, files, macros, e.ids.Count == 0)
	if _, whole := readFacts(e.path("base", string(d))); !whole {
		if err := e.fill(ctx, p, repos, install, macros, files, log); err != nil {
			return err
		}
		if err := e.adopt(ctx, dir, d); err != nil {
			return err
		}
	}
	return e.lead(k, d)
}

// newPlace makes the folders of a new base in dir.
func newPlace(root albs.Root, dir string) (place, error) {
	for _, d := range []string{"root", "cache", "conf"} {
		if err := mkdirOpen(filepath.Join(dir, d)); err != nil {
			return place{}, err
		}
	}
	return place{
		root:  root,
		mount: mount{Name: rootName, Source: filepath.Join(dir, "root")},
		cache: mount{Name: "cache", Source: filepath.Join(dir, "cache")},
		conf:  filepath.Join(dir, "conf"),
	}, nil
}

// adopt gives the whole base in dir its name.
func (e *Engine) adopt(ctx context.Context, dir string, d albs.Digest) error {
	// What lies there without its facts is the rest of a base whose removal was cut
	// short, and never gets whole.
	if err := e.removeRest(ctx, d); err != nil {
		return err
	}
	// Two keys may lead to one new base at once; the first to be whole stays.
	if err := os.Rename(dir, e.path("base", string(d))); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// lead makes k lead to the base d.
func (e *Engine) lead(k, d albs.Digest) error {
	link := e.path("base", string(k)+".key")
	if err := os.WriteFile(link+".new", []byte(d), 0o600); err != nil {
		return err
	}
	return os.Rename(link+".new", link)
}

// fill installs into the new base what dnf has downloaded, and completes it.
func (e *Engine) fill(ctx context.Context, p place, repos []Repo, install []string, macros []byte, files map[string]albs.Digest, log io.Writer) error {
	if err := e.dnf(ctx, p, repos, install, log); err != nil {
		return err
	}
	f := facts{Files: files}
	var err error
	if f.Installed, err = e.installed(ctx, p, files); err != nil {
		return err
	}
	if f.Provides, err = e.provided(ctx, p); err != nil {
		return err
	}
	j := &job{Op: opPrepare, Mounts: []mount{p.mount}, Owner: e.owner(UserBuild)}
	if _, err := e.step(ctx, j, stdio{}, e.cfg.Limits, false); err != nil {
		return err
	}
	r := &Root{e: e, place: p}
	if err := r.CopyIn(ctx, Copy{Data: macros, To: "/builddir/.rpmmacros", User: UserBuild}); err != nil {
		return err
	}
	// The packages have done their service; the metadata stay, for the overlays' dnf.
	for name := range files {
		matches, _ := filepath.Glob(filepath.Join(p.cache.Source, "*", "packages", name))
		for _, m := range matches {
			if err := os.Remove(m); err != nil {
				return err
			}
		}
	}
	return e.complete(ctx, filepath.Dir(p.cache.Source), f)
}

// complete brings the base in dir, and f of it, to the disk: it is whole then.
func (e *Engine) complete(ctx context.Context, dir string, f facts) (err error) {
	if f.Size, err = e.measure(ctx, dir); err != nil {
		return err
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	// dnf syncs nothing. A base serves for months: a file of it that lost its content
	// with the machine's power would be in every root made of it.
	if err := syncFS(dir); err != nil {
		return err
	}
	return writeSynced(factsOf(dir), b)
}

// syncFS brings all that was written to the file system of dir to the disk.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", dir, err)
	}
	return nil
}

// writeSynced writes a new file and brings it to the disk.
func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// removeRest removes what is left of the base d unless it is whole or in use.
func (e *Engine) removeRest(ctx context.Context, d albs.Digest) error {
	unlock, err := tryLock(e.path("base", string(d)+".lock"))
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // it is whole by now, or another removes it
	}
	if err != nil {
		return err
	}
	defer unlock()
	if _, whole := readFacts(e.path("base", string(d))); whole {
		return nil
	}
	return e.remove(ctx, e.path("base", string(d)))
}

// content names a base by what is in it.
func content(root albs.Root, files map[string]albs.Digest, macros []byte, single bool) albs.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "base %d %v %s %s %s %s\n%d %s\n", version, single, root.Releasever, root.Arch, root.RPMDBPath, root.ModuleID, len(macros), macros)
	if len(root.Modules) > 0 { // they lie in the root, beside its packages
		fmt.Fprintf(h, "modules %q\n", root.Modules)
	}
	lines := make([]string, 0, len(files))
	for name, d := range files {
		lines = append(lines, name+" "+string(d)+"\n")
	}
	slices.Sort(lines)
	for _, l := range lines {
		io.WriteString(h, l)
	}
	return albs.DigestFrom(h)
}

// packageFiles digests the package files in dnf's cache. Scriptlets may have been at
// work there, so links are passed over and nothing outside dir is opened.
func packageFiles(dir string) (map[string]albs.Digest, error) { return packageFilesIn(dir, ".") }

// packageFilesIn is packageFiles for what lies at or below the folder sub of dir; no such
// folder has none.
func packageFilesIn(dir, sub string) (map[string]albs.Digest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string]albs.Digest{}
	err = fs.WalkDir(root.FS(), sub, func(name string, d fs.DirEntry, err error) error {
		if name == sub && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(name, ".rpm") {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		files[d.Name()], _, err = albs.DigestReader(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("digest dnf's packages: %w", err)
	}
	return files, nil
}

// measure returns the bytes that lie below dir, whoever inside owns them.
func (e *Engine) measure(ctx context.Context, dir string) (int64, error) {
	var said bytes.Buffer
	if _, err := e.step(ctx, &job{Op: opMeasure, Path: dir}, stdio{out: &said}, e.ownLimits(), true); err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return strconv.ParseInt(said.String(), 10, 64)
}

// used is a base on disk with when it was last asked for and the bytes that it holds.
type used struct {
	d    albs.Digest
	at   time.Time
	size int64
}

// beyond returns those of all that are more than count bases or, from the one used last
// on, more than size bytes together.
func beyond(all []used, count int, size int64) []used {
	all = slices.SortedFunc(slices.Values(all), func(a, b used) int { return b.at.Compare(a.at) })
	for i, u := range all {
		if size -= u.size; i >= count || size < 0 {
			return all[i:]
		}
	}
	return nil
}

// evict removes the bases beyond those that are kept, but none in use.
func (e *Engine) evict(ctx context.Context) error {
	found, err := filepath.Glob(factsOf(e.path("base", "*")))
	if err != nil {
		return err
	}
	var all []used
	for _, f := range found {
		d, err := albs.ParseDigest(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		facts, _ := readFacts(filepath.Dir(f))
		if info, err := os.Stat(f); err == nil {
			all = append(all, used{d, info.ModTime(), facts.Size})
		}
	}
	for _, u := range beyond(all, e.cfg.Bases, e.cfg.BasesSize) {
		if err := e.discard(ctx, u); err != nil {
			return fmt.Errorf("remove an old base: %w", err)
		}
	}
	return nil
}

// discard removes a base as it was found, unless it is in use, was asked for since, or is
// gone: what shares the folder looks for old ones too.
func (e *Engine) discard(ctx context.Context, u used) error {
	unlock, err := tryLock(e.path("base", string(u.d)+".lock"))
	if err != nil {
		return nil
	}
	defer unlock()
	dir := e.path("base", string(u.d))
	if info, err := os.Stat(factsOf(dir)); err != nil || info.ModTime().After(u.at) {
		return nil
	}
	// Without its facts nobody finds it, also when removing is cut short.
	return errors.Join(os.Remove(factsOf(dir)), e.remove(ctx, dir))
}

// waitLock waits for a lock of path: unix.LOCK_EX or unix.LOCK_SH.
func waitLock(ctx context.Context, path string, how int) (func(), error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		unlock, err := lockFile(path, how|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}
