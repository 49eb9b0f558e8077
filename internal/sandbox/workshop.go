package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/ccache"
	"albs/internal/sandbox/dnf"
	"albs/internal/sandbox/rpmdb"
)

// WorkshopDir is where a Workshop's folder lies for the programs that work in it,
// WorkshopConf where the files lie that a call gives them, and WorkshopCache where the
// compiler cache.
const (
	WorkshopDir   = "/work"
	WorkshopConf  = viewConf
	WorkshopCache = "/ccache"
)

// Workshop is a folder in which a program of the host makes and enters roots by its own
// lights, as mock does, instead of those that this package makes. The program has all
// rights over the folder and none over anything else: it is root of a user namespace,
// sees of the host only /usr and what it is shown, and its network has nothing but the
// repositories. Files cross the border as those of a Root do; so do limits.
type Workshop struct {
	e      *Engine
	root   *Root
	around *dnf.Surroundings
}

// HostCmd is a program of the host to run in a Workshop.
type HostCmd struct {
	Argv           []string
	Env            []string          // beside PATH, HOME and LANG
	Folders        []string          // of the host, and files, shown beside /usr at the same place, read-only
	Devices        []string          // of the host, shown at the same place; the caller answers for them
	Files          map[string]string // base name → content, shown in WorkshopConf
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Network        bool          // true: the host's network; the caller answers for it
	User           User          // UserBuild has no rights but those of the folder's files
	Cache          *ccache.Cache // shown in WorkshopCache; nil for none
	Limits         Limits
	// File is how many bytes one file may hold, also in memory; 0: as many as Limits.Disk
	// allows all of them.
	File int64
}

// Workshop returns a workshop that begins with what fill has laid into its folder, once
// for all that ask by the same root, without its own repositories, and the same kind,
// which stands for what fill does; a changed fill needs another kind. dir is where fill
// makes a root, relative to the folder. It must be closed.
//
// Base tells what the workshop began with, and so has the digest of the packages that
// fill's dnf left in the root's or the workshop's cache. Errors are as those of
// Engine.Base, and those of fill.
func (e *Engine) Workshop(ctx context.Context, root albs.Root, repos []Repo, kind, dir string, fill func(*Workshop) error) (*Workshop, error) {
	if e.ids.Count == 0 {
		return nil, albs.Errorf(albs.Unavailable, "the engine %s needs a subuid range and this worker has none", kind)
	}
	root.RPMDB = "" // the host's rpm writes its own form here; the program deals with it
	around, err := dnf.Surround(root, repos)
	if err != nil {
		return nil, err
	}
	if err := e.checkArch(root.Arch); err != nil {
		return nil, err
	}
	if err := dnf.CheckRequirements(trimGroups(dnf.Apart(root.Packages))); err != nil {
		return nil, err
	}
	b, err := e.workshopBase(ctx, root.Base(), servedOf(root.Base(), repos), kind, dir, fill)
	if err != nil {
		return nil, err
	}
	defer b.Close() // the root on it holds it from then on
	b.root = root
	b.root.Network = false // the host's resolver comes with the view, not with the folder
	r, err := b.Overlay(ctx)
	if err != nil {
		return nil, err
	}
	return &Workshop{e: e, root: r, around: around}, nil
}

// Bench returns an empty workshop without repositories, for a look at what programs the
// host has. It must be closed.
func (e *Engine) Bench(ctx context.Context) (*Workshop, error) {
	dir, unlock, err := e.newRoot(ctx, "bench-")
	if err != nil {
		return nil, fmt.Errorf("make a workshop: %w", err)
	}
	r := &Root{e: e, dir: dir, free: []func(){unlock}}
	if r.place, err = newPlace(albs.Root{}, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("make a workshop: %w", err), r.Close())
	}
	return &Workshop{e: e, root: r, around: &dnf.Surroundings{}}, nil
}

// Workshop returns the root as a workshop without repositories: what is in its folder is
// the root. It lives no longer than the root, and what it does and what the root's own
// methods do comes one after the other.
func (r *Root) Workshop() *Workshop { return &Workshop{e: r.e, root: r, around: &dnf.Surroundings{}} }

// Limits returns those that hold where a call brings none of its own.
func (e *Engine) Limits() Limits { return e.cfg.Limits }

// workshopBase finds the base of a workshop, or makes it.
func (e *Engine) workshopBase(ctx context.Context, root albs.Root, repos []Repo, kind, dir string, fill func(*Workshop) error) (*Base, error) {
	if len(repos) != len(root.Repos) {
		return nil, albs.Errorf(albs.Invalid, "%d of the %d repositories of platform %s are served", len(repos), len(root.Repos), root.Platform)
	}
	asked, err := key(root, false)
	if err != nil {
		return nil, err
	}
	k := albs.DigestOf([]byte(kind + "\n" + string(asked)))
	return e.findOrMake(ctx, root, k, func() error { return e.makeWorkshop(ctx, root, repos, k, kind, dir, fill) })
}

// makeWorkshop makes the base for k under a temporary name and renames it when it is
// whole, as make does. The caller holds k's lock.
func (e *Engine) makeWorkshop(ctx context.Context, root albs.Root, repos []Repo, k albs.Digest, kind, dir string, fill func(*Workshop) error) error {
	at := e.path("base", "new-"+string(k))
	if err := e.remove(ctx, at); err != nil {
		return err
	}
	defer e.remove(ctx, at)
	if err := os.Mkdir(at, 0o700); err != nil {
		return err
	}
	p, err := newPlace(root, at)
	if err != nil {
		return err
	}
	around, err := dnf.Surround(root, repos)
	if err != nil {
		return err
	}
	w := &Workshop{e: e, around: around, root: &Root{e: e, place: p}}
	if err := fill(w); err != nil {
		return err
	}
	f := facts{}
	if f.Files, err = w.packageFiles(dir); err != nil {
		return err
	}
	if f.Installed, err = w.list(ctx, dir, f.Files); err != nil {
		return err
	}
	if len(f.Installed) == 0 {
		return albs.Errorf(albs.Unavailable, "%s left a root without packages", kind)
	}
	if err := e.complete(ctx, at, f); err != nil {
		return err
	}
	d := workshopContent(root, kind, f)
	if err := e.adopt(ctx, at, d); err != nil {
		return err
	}
	return e.lead(k, d)
}

// workshopContent names a workshop's base by what is in it.
func workshopContent(root albs.Root, kind string, f facts) albs.Digest {
	var b strings.Builder
	fmt.Fprintf(&b, "workshop %d %s %s %s %s %s\n", version, kind, root.Releasever, root.Arch, root.RPMDBPath, root.ModuleID)
	if len(root.Modules) > 0 { // they lie in the root, beside its packages
		fmt.Fprintf(&b, "modules %q\n", root.Modules)
	}
	for _, p := range f.Installed {
		fmt.Fprintf(&b, "%s %s %s\n", p.NEVRA(), p.Header, p.File)
	}
	return albs.DigestOf([]byte(b.String()))
}

// Base returns the digest of what the workshop began with.
func (w *Workshop) Base() albs.Digest { return w.root.base.digest }

// DNF returns dnf's configuration for the workshop's repositories, at the addresses at
// which its programs reach them.
func (w *Workshop) DNF() string { return w.around.Conf }

// Close removes the workshop with all that was written to it.
func (w *Workshop) Close() error { return w.root.Close() }

// CopyIn is Root.CopyIn; paths are those below WorkshopDir.
func (w *Workshop) CopyIn(ctx context.Context, files ...Copy) error {
	return w.root.CopyIn(ctx, files...)
}

// CopyOut is Root.CopyOut; dir is below WorkshopDir.
func (w *Workshop) CopyOut(ctx context.Context, dir, suffix, to string) ([]string, error) {
	return w.root.CopyOut(ctx, dir, suffix, to)
}

// ReadFile is Root.ReadFile; name is below WorkshopDir.
func (w *Workshop) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	return w.root.ReadFile(ctx, name, limit)
}

// Export writes the file name, which may still grow, to out as it lies there when the
// call begins, from the byte offset on, and returns how many bytes it had. A file that
// isn't there has none. It may be called while Run runs.
func (w *Workshop) Export(name string, offset int64, out io.Writer) (int64, error) {
	folder, err := os.OpenRoot(w.root.place.mount.written())
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer folder.Close()
	name = strings.TrimPrefix(name, "/")
	info, err := folder.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return 0, albs.Errorf(albs.Invalid, "%s is no regular file", name)
	}
	// What was a file a moment ago may be a FIFO now, which would wait for a writer.
	f, err := folder.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	n, err := io.Copy(out, io.NewSectionReader(f, offset, max(0, info.Size()-offset)))
	if err != nil {
		return n, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

// Exists reports whether there is something at name, below WorkshopDir.
func (w *Workshop) Exists(name string) bool {
	for _, dir := range []string{w.root.place.mount.Upper, w.root.place.mount.Source} {
		if dir == "" {
			continue
		}
		folder, err := os.OpenRoot(dir)
		if err != nil {
			continue
		}
		_, err = folder.Lstat(strings.TrimPrefix(name, "/"))
		folder.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// Run runs a program of the host in the workshop and returns its exit code, 128 and the
// signal's number if a signal ended it. Limits, ends and errors are as those of
// Root.Run.
func (w *Workshop) Run(ctx context.Context, c HostCmd) (int, error) {
	if len(c.Argv) == 0 {
		return 0, albs.Errorf(albs.Invalid, "there is no program to run")
	}
	if err := c.Limits.Check(); err != nil {
		return 0, err
	}
	w.root.mu.Lock()
	defer w.root.mu.Unlock()
	if w.root.closed {
		return 0, albs.Errorf(albs.Internal, "the workshop is closed")
	}
	return w.run(ctx, c, nil)
}

func (w *Workshop) run(ctx context.Context, c HostCmd, caps []string) (int, error) {
	p := w.root.place
	if err := w.writeConf(c.Files); err != nil {
		return 0, fmt.Errorf("write the workshop's configuration: %w", err)
	}
	at := func(name string) string { return filepath.Join(stage, name) }
	args := append([]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"}, caps...)
	uid := 0
	if c.User != UserRoot {
		uid = w.e.owner(UserBuild)
		args = []string{"--unshare-all", "--uid", "1000", "--gid", "1000"}
	}
	args = append(args, "--hostname", "albs")
	// The folders that bubblewrap makes on its way to a file are for root alone.
	for _, dir := range []string{"/etc", "/etc/ssl", "/etc/pki", "/etc/pki/tls"} {
		args = append(args, "--dir", dir)
	}
	args = append(args, w.e.view...)
	for _, name := range []string{"passwd", "group", "hosts", "nsswitch.conf"} {
		args = append(args, "--ro-bind", at("conf")+"/"+name, "/etc/"+name)
	}
	args = append(args, "--ro-bind", at("conf")+"/rpm", "/etc/rpm", "--ro-bind", at("conf")+"/shown", viewConf,
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/sys",
		"--bind", at(rootName), WorkshopDir, "--bind", at("cache"), viewCache)
	j := &job{
		Op:      opExec,
		Mounts:  []mount{p.mount, p.cache, {Name: "conf", Source: p.conf}},
		Watch:   []string{p.mount.written(), p.cache.written()},
		Env:     slices.Concat([]string{"PATH=" + hostPath, "HOME=" + viewConf, "LANG=C.UTF-8", "TERM=dumb", "COLUMNS=200", "PYTHONDONTWRITEBYTECODE=1"}, c.Env),
		UID:     uid,
		Ports:   w.around.Ports,
		folders: w.around.Folders,
	}
	for i, f := range c.Folders {
		name := fmt.Sprintf("shown-%d", i)
		j.Mounts = append(j.Mounts, mount{Name: name, Source: f})
		args = append(args, "--ro-bind", at(name), f)
	}
	for _, d := range c.Devices {
		args = append(args, "--dev-bind", d, d)
	}
	if c.Network {
		if len(w.around.Folders) > 0 {
			return 0, albs.Errorf(albs.Invalid, "a platform with network needs its repositories served by HTTP")
		}
		j.Ports = nil
		for _, f := range []string{"/etc/resolv.conf", "/etc/pki", "/etc/ssl"} {
			args = append(args, "--ro-bind-try", f, f)
		}
	}
	lim := c.Limits.or(w.e.cfg.Limits)
	j.Limits, j.Disk = lim.rlimits(), lim.Disk
	j.Limits.File = cmp.Or(c.File, j.Limits.File)
	if c.Cache != nil {
		args = append(args, j.give(c.Cache, WorkshopCache)...)
	}
	j.Argv = bubblewrap(slices.Concat(args, []string{"--chdir", "/", "--"}, c.Argv))
	return w.e.step(ctx, j, stdio{in: c.Stdin, out: c.Stdout, err: c.Stderr}, lim, c.Network)
}

// writeConf writes what the view has of /etc, and the files of a call.
func (w *Workshop) writeConf(files map[string]string) error {
	conf := w.root.place.conf
	if err := os.RemoveAll(filepath.Join(conf, "shown")); err != nil {
		return err
	}
	all := map[string]string{
		"passwd": "root:x:0:0:root:/:/bin/sh\nmockbuild:x:1000:1000::/:/bin/sh\n", "group": "root:x:0:\ntty:x:5:\nmock:x:1000:\n",
		"hosts": "127.0.0.1 localhost\n", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"rpm/macros": w.around.Macros, "shown/.rpmmacros": w.around.Macros,
	}
	for name, text := range files {
		if name != filepath.Base(name) || name == "." || name == ".." {
			return albs.Errorf(albs.Internal, "%.100q is no base name", name)
		}
		all["shown/"+name] = text
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := filepath.Join(conf, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(all[name]), 0o644); err != nil {
			return err
		}
		// Modes must not depend on how this process was started.
		if err := errors.Join(os.Chmod(p, 0o644), os.Chmod(filepath.Dir(p), 0o755)); err != nil {
			return err
		}
	}
	return nil
}

// Installed returns the packages of the root at dir, sorted, as its rpmdb has them now:
// the package file's digest is had where dnf has kept the file. Called before foreign
// code runs as root inside, it can be relied on.
func (w *Workshop) Installed(ctx context.Context, dir string) ([]Package, error) {
	w.root.mu.Lock()
	defer w.root.mu.Unlock()
	if w.root.closed {
		return nil, albs.Errorf(albs.Internal, "the workshop is closed")
	}
	files, err := w.packageFiles(dir)
	if err != nil {
		return nil, err
	}
	for name, d := range w.root.base.facts.Files {
		if files[name] == "" {
			files[name] = d
		}
	}
	return w.list(ctx, dir, files)
}

// packageFiles digests the package files that dnf has kept: dnf 4 in the root at dir,
// dnf 5 in the view.
func (w *Workshop) packageFiles(dir string) (map[string]albs.Digest, error) {
	files, err := packageFilesIn(w.root.place.mount.written(), filepath.Join(strings.TrimPrefix(dir, "/"), viewCache))
	if err != nil {
		return nil, err
	}
	more, err := packageFilesIn(w.root.place.cache.written(), ".")
	if err != nil {
		return nil, err
	}
	maps.Copy(files, more)
	return files, nil
}

// list asks the host's rpm for the packages of the root at dir.
func (w *Workshop) list(ctx context.Context, dir string, files map[string]albs.Digest) ([]Package, error) {
	var out, errs bytes.Buffer
	exit, err := w.run(ctx, HostCmd{
		Argv:   []string{"rpm", "--root", filepath.Join(WorkshopDir, dir), "-qa", "--qf", rpmdb.Installed},
		Stdout: &out, Stderr: &errs, User: UserRoot, Limits: Limits{Output: maxAnswer},
	}, rootCaps)
	if err == nil && exit != 0 {
		err = fmt.Errorf("rpm ended with code %d: %s", exit, lastLine(errs.Bytes()))
	}
	if err != nil {
		return nil, fmt.Errorf("list the root's packages: %w", err)
	}
	return rpmdb.Packages(out.String(), files)
}
