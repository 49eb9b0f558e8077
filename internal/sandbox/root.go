package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/ccache"
	"albs/internal/sandbox/dnf"
	"albs/internal/sandbox/rpmdb"
)

// User is as whom something happens in a root.
type User string

// The users of a root.
const (
	// UserBuild is uid 1000, with no rights over the root's packages.
	UserBuild User = "build"
	// UserRoot is uid 0 of the root, for tests that install and remove.
	UserRoot User = "root"
)

// Root is a base under an overlay: what one piece of work may change. Its methods may
// be called concurrently and run one after the other; after Close they are refused.
type Root struct {
	e     *Engine
	place place
	base  *Base
	dir   string
	free  []func() // locks

	mu      sync.Mutex
	changed bool // dnf has been at work here
	closed  bool
}

// Cmd is a program to run inside a root.
type Cmd struct {
	Argv    []string
	Dir     string   // absolute, inside; "" is /builddir, or / for root
	Env     []string // beside PATH, HOME, LANG …, which every program gets
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer     // may be Stdout
	Network bool          // true: the host's network; the caller answers for it
	User    User          // "" is UserBuild
	Cache   *ccache.Cache // that compilers are to use; nil for none
	Limits  Limits
}

// Package is one installed package.
type Package = rpmdb.Package

// Overlay returns a fresh root on the base, which is kept as long. It must be closed. A
// base that was closed and evicted is Unavailable: ask for it again.
func (b *Base) Overlay(ctx context.Context) (*Root, error) {
	dir, unlock, err := b.e.newRoot(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("make an overlay: %w", err)
	}
	r := &Root{e: b.e, base: b, dir: dir, free: []func(){unlock}}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make an overlay: %w", err), r.Close())
	}
	return r, nil
}

func (r *Root) open(ctx context.Context) error {
	shared, err := lockFile(r.e.path("base", string(r.base.digest)+".lock"), unix.LOCK_SH|unix.LOCK_NB)
	if err != nil {
		return albs.Errorf(albs.Unavailable, "the base is being removed: %w", err)
	}
	r.free = append(r.free, shared)
	if _, err := os.Stat(factsOf(r.base.dir)); err != nil {
		return albs.Errorf(albs.Unavailable, "the base has been removed: %w", err)
	}
	for _, d := range []string{"upper", "work", "cache-upper", "cache-work", "conf"} {
		if err := mkdirOpen(filepath.Join(r.dir, d)); err != nil {
			return err
		}
	}
	r.place = place{
		root:  r.base.root,
		mount: mount{Name: rootName, Source: filepath.Join(r.base.dir, "root"), Upper: filepath.Join(r.dir, "upper"), Work: filepath.Join(r.dir, "work")},
		cache: mount{Name: "cache", Source: filepath.Join(r.base.dir, "cache"), Upper: filepath.Join(r.dir, "cache-upper"), Work: filepath.Join(r.dir, "cache-work")},
		conf:  filepath.Join(r.dir, "conf"),
	}
	if warm := r.base.warm.Load(); warm.hold() {
		r.free = append(r.free, warm.release)
		r.place.cache.Middle = warm.root.place.cache.Upper
	}
	if !r.base.root.Network {
		return nil
	}
	// A network without names is of no use: the host's resolver comes along.
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	return r.CopyIn(ctx, Copy{Data: resolv, To: "/etc/resolv.conf", User: UserRoot})
}

// Close removes the overlay with all that was written to it; it waits for the call that
// runs. It may be called twice. What it can't remove the next New removes.
func (r *Root) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.e.remove(context.Background(), r.dir)
	for _, free := range r.free {
		free()
	}
	return err
}

func (r *Root) owner(u User) int { return r.e.owner(u) }

// helper runs a file operation on the root.
func (r *Root) helper(ctx context.Context, j *job, in io.Reader, out io.Writer) error {
	return r.helperWithin(ctx, j, in, out, r.e.ownLimits())
}

// helperWithin is helper under limits that the operation brings.
func (r *Root) helperWithin(ctx context.Context, j *job, in io.Reader, out io.Writer, lim Limits) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return albs.Errorf(albs.Internal, "the root is closed")
	}
	j.Mounts = []mount{r.place.mount}
	_, err := r.e.step(ctx, j, stdio{in: in, out: out}, lim, false)
	return err
}

// Install installs what meets the requirements, out of repos, together with what that
// needs; dnf's words go to log. What is there already stays as it is. A requirement
// that nothing meets is an Invalid error that names it; trouble with the repositories
// is Unavailable.
func (r *Root) Install(ctx context.Context, requirements []string, repos []Repo, log io.Writer) error {
	requirements = dnf.Apart(requirements)
	if err := dnf.CheckRequirements(requirements); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		// A bare name that the base provides needs no dnf to be found met.
		requirements = slices.DeleteFunc(requirements, func(req string) bool {
			_, found := slices.BinarySearch(r.base.facts.Provides, req)
			return found
		})
	}
	return r.transact(ctx, []string{"install"}, requirements, repos, log)
}

// Remove removes the named packages and what needs them; dnf's words go to log. If that
// would remove a package that has a protected name, nothing is removed and the error is a
// Conflict that names it.
func (r *Root) Remove(ctx context.Context, names, protected []string, repos []Repo, log io.Writer) error {
	return r.named(ctx, []string{"remove", dnf.Protecting(protected)}, names, repos, log)
}

// Upgrade installs the named packages, given with their versions, in the place of earlier
// ones. Its errors are those of Install.
func (r *Root) Upgrade(ctx context.Context, names []string, repos []Repo, log io.Writer) error {
	return r.named(ctx, []string{"upgrade"}, names, repos, log)
}

// Downgrade is Upgrade to earlier versions.
func (r *Root) Downgrade(ctx context.Context, names []string, repos []Repo, log io.Writer) error {
	return r.named(ctx, []string{"downgrade"}, names, repos, log)
}

// Reinstall installs the named packages, which are installed, once more. Its errors are
// those of Install.
func (r *Root) Reinstall(ctx context.Context, names []string, repos []Repo, log io.Writer) error {
	return r.named(ctx, []string{"reinstall"}, names, repos, log)
}

// Enable enables streams of modules, name:stream, for all that dnf does in the root from
// then on. A stream that no repository has is Invalid.
func (r *Root) Enable(ctx context.Context, streams []string, repos []Repo, log io.Writer) error {
	for _, s := range streams {
		if err := albs.CheckModule(s); err != nil {
			return err
		}
	}
	return r.named(ctx, []string{"module", "enable"}, streams, repos, log)
}

// named has dnf do command with names.
func (r *Root) named(ctx context.Context, command, names []string, repos []Repo, log io.Writer) error {
	if err := dnf.CheckRequirements(names); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.transact(ctx, command, names, repos, log)
}

func (r *Root) transact(ctx context.Context, command, args []string, repos []Repo, log io.Writer) error {
	if r.closed {
		return albs.Errorf(albs.Internal, "the root is closed")
	}
	if len(args) == 0 {
		return nil
	}
	r.changed = true
	return r.e.dnf(ctx, r.place, repos, slices.Concat(command, args), log)
}

// Installed returns the packages in the root, sorted, as its rpmdb has them now. Called
// before foreign code runs as root inside, it can be relied on.
func (r *Root) Installed(ctx context.Context) ([]Package, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.changed {
		return r.base.Packages(), nil
	}
	files, err := packageFiles(r.place.cache.Upper)
	if err != nil {
		return nil, err
	}
	for name, d := range r.base.facts.Files {
		if files[name] == "" {
			files[name] = d
		}
	}
	return r.e.installed(ctx, r.place, files)
}

// installed asks the host's rpm for the packages of a root.
func (e *Engine) installed(ctx context.Context, p place, files map[string]albs.Digest) ([]Package, error) {
	out, err := e.query(ctx, p, rpmdb.Installed)
	if err != nil {
		return nil, err
	}
	return rpmdb.Packages(out, files)
}

// provided lists the names that the root's packages provide.
func (e *Engine) provided(ctx context.Context, p place) ([]string, error) {
	out, err := e.query(ctx, p, rpmdb.Provides)
	if err != nil {
		return nil, err
	}
	return rpmdb.Names(out), nil
}

// maxAnswer bounds in bytes what rpm may say of a root: scriptlets may have written its
// database.
const maxAnswer = 64 << 20

func (e *Engine) query(ctx context.Context, p place, format string) (string, error) {
	s, err := dnf.Surround(p.root, nil)
	if err != nil {
		return "", err
	}
	lim := e.cfg.Limits
	lim.Output = maxAnswer
	var out, errs bytes.Buffer
	exit, err := e.program(ctx, p, s, lim, []string{"rpm", "--root", viewRoot, "-qa", "--qf", format}, stdio{out: &out, err: &errs})
	if err == nil && exit != 0 {
		err = fmt.Errorf("rpm ended with code %d: %s", exit, lastLine(errs.Bytes()))
	}
	if err != nil {
		return "", fmt.Errorf("list the root's packages: %w", err)
	}
	return out.String(), nil
}

// searchPath is where programs of a root are looked for.
const searchPath = "/usr/bin:/usr/sbin:/bin:/sbin"

// environment is what every program in a root gets.
var environment = []string{"PATH=" + searchPath, "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/bash"}

// Environment returns the variables that every program in a root gets beside HOME.
func Environment() []string { return slices.Clone(environment) }

// give has j see a compiler cache, and returns the arguments that show it to the program
// at the path to.
func (j *job) give(c *ccache.Cache, to string) []string {
	m := mount{Name: "ccache", Source: c.Host}
	j.Mounts, j.Watch = append(j.Mounts, m), append(j.Watch, m.written())
	j.Disk += c.Most() // so much may lie there when the work begins
	return []string{"--bind", filepath.Join(stage, m.Name), to}
}

// Run runs a program inside the root and returns its exit code, 128 and the signal's
// number if a signal ended it. When it returns, nothing that the program started is
// alive, and what was written to the root stays there for the next call. A passed limit
// is an Invalid error, a program that the root doesn't have NotFound, the end of ctx its
// cause.
func (r *Root) Run(ctx context.Context, c Cmd) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, err := r.inside(c)
	if err != nil {
		return 0, err
	}
	args := []string{"--unshare-all", "--uid", strconv.Itoa(buildID), "--gid", strconv.Itoa(buildID)}
	if c.User == UserRoot {
		args = append([]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"}, rootCaps...)
		if !c.Network {
			args = append(args, "--unshare-net")
		}
	} else if c.Network {
		args = append(args, "--share-net")
	}
	j := r.job(c, in.lim)
	j.Env, j.UID, j.Limits = in.env, in.uid, in.lim.rlimits()
	args = append(args, "--hostname", hostname, "--bind", filepath.Join(stage, rootName), "/")
	if c.Cache != nil {
		args = append(args, j.give(c.Cache, ccache.Dir)...)
		j.Env = c.Cache.Environment(j.Env)
	}
	args = append(args, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/dev/shm", "--chdir", in.dir, "--")
	j.Argv = r.personality(bubblewrap(append(args, c.Argv...)))
	return r.e.step(ctx, j, stdio{in: c.Stdin, out: c.Stdout, err: c.Stderr}, in.lim, true)
}

// hostname is that of every root.
const hostname = "albs"

// inside is what a Cmd says of the program that it runs.
type inside struct {
	uid int // in the namespace
	dir string
	env []string
	lim Limits
}

// inside reads c, and refuses what can't be run here.
func (r *Root) inside(c Cmd) (inside, error) {
	if len(c.Argv) == 0 {
		return inside{}, albs.Errorf(albs.Invalid, "there is no program to run")
	}
	if r.closed {
		return inside{}, albs.Errorf(albs.Internal, "the root is closed")
	}
	if err := c.Limits.Check(); err != nil {
		return inside{}, err
	}
	in := inside{uid: r.owner(UserBuild), lim: c.Limits.or(r.e.cfg.Limits)}
	home, dir := "/builddir", "/builddir"
	switch c.User {
	case UserBuild, "":
	case UserRoot:
		in.uid, home, dir = 0, "/root", "/"
	default:
		return inside{}, albs.Errorf(albs.Invalid, "no user %q in a root", c.User)
	}
	in.dir = cmp.Or(c.Dir, dir)
	in.env = slices.Concat(environment, []string{"HOME=" + home}, c.Env)
	return in, nil
}

// job returns the job of running c's program in the root, without what runs it.
func (r *Root) job(c Cmd, lim Limits) *job {
	return &job{
		Op:      opExec,
		Mounts:  []mount{r.place.mount},
		Program: c.Argv[0],
		Disk:    lim.Disk,
		Watch:   []string{r.place.mount.written()},
	}
}

// personality has the program at argv believe that it runs on the root's arch.
func (r *Root) personality(argv []string) []string {
	if r.place.root.Arch == albs.I686 {
		return append([]string{"/usr/bin/setarch", "i686", "--"}, argv...)
	}
	return argv
}
