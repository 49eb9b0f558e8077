// Package sandbox makes roots out of RPM repositories and runs untrusted programs in
// them, as an ordinary user: a base is filled by dnf and cached, each piece of work
// gets an overlay on it, and every step in the overlay is a process of its own in
// fresh namespaces (bubblewrap), under limits, without network unless allowed.
//
// A program that makes roots itself works in the same way in a Workshop.
//
// It owns bases, overlays, namespaces, cgroups and limits; it knows nothing of SRPMs,
// tests or tasks. Invariants: real root is refused; a base is never changed once it
// has its name; dnf and the scriptlets that it runs see of the host only /usr and of
// the network only the given repositories; what ran in a root is dead when the call
// that ran it returns; no path that a program inside could have made is followed from
// outside: where one is read at all, it is a regular file below a folder held open.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/ccache"
	"albs/internal/sandbox/cgroup"
	"albs/internal/sandbox/emulator"
	"albs/internal/sandbox/lent"
)

// Config says where an Engine keeps its folders and what it allows.
type Config struct {
	// Dir holds bases and overlays: several GiB, on a file system that takes extended
	// attributes (ext4, xfs, btrfs). Several processes may share it.
	Dir string `yaml:"dir"`
	// Limits bound each program in a root that doesn't bring its own; a zero member is
	// the default.
	Limits Limits `yaml:"limits"`
	// Bases is how many bases are kept when they are out of use; 0 is 8.
	Bases int `yaml:"bases"`
	// BasesSize is how many bytes the bases that are kept may hold together; 0 is 20 GiB.
	BasesSize int64 `yaml:"bases_size"`
	// CCaches is how many compiler caches are kept; 0 is 8. Builds use one where their
	// platform asks for it.
	CCaches int `yaml:"ccaches"`
	// CCacheSize is how many bytes each of them may hold; 0 is 5 GiB.
	CCacheSize int64 `yaml:"ccache_size"`
	// SingleUID lets the engine work without a subuid range. It then makes roots of
	// platforms marked so, and no others.
	SingleUID bool `yaml:"single_uid"`
	// Emulators run the programs of roots whose arch isn't the host's; roots of an arch
	// without one are refused.
	Emulators []emulator.Emulator `yaml:"-"`
}

// Check refuses, as Invalid, what is below zero.
func (c Config) Check() error {
	if c.Bases < 0 || c.BasesSize < 0 {
		return albs.Errorf(albs.Invalid, "%d bases of %d bytes together can't be kept", c.Bases, c.BasesSize)
	}
	if c.CCaches < 0 || c.CCacheSize < 0 {
		return albs.Errorf(albs.Invalid, "%d compiler caches of %d bytes each can't be kept", c.CCaches, c.CCacheSize)
	}
	return c.Limits.Check()
}

// Isolation is what stands between the host and a program in a root. It is printed
// when a worker starts and goes into every buildroot record.
type Isolation struct {
	Engine   string   `json:"engine"`    // "native"
	UserNS   bool     `json:"user_ns"`   // a user namespace of its own
	UIDRange int      `json:"uid_range"` // host ids that roots have to themselves; 0: all files are the worker's own
	Mount    bool     `json:"mount_ns"`
	PID      bool     `json:"pid_ns"`
	Net      bool     `json:"net_ns"`
	Cgroup   string   `json:"cgroup"`             // "v2", "v1" or "none"; with none, memory is not limited
	Problems []string `json:"problems,omitempty"` // why no root can be made here, each with what to do
}

// String returns the isolation on one line.
func (i Isolation) String() string {
	if len(i.Problems) > 0 {
		return "no sandbox: " + strings.Join(i.Problems, "; ")
	}
	return fmt.Sprintf("%s sandbox: user, mount, pid and net namespaces, %d lent uids, cgroups %s", i.Engine, i.UIDRange, i.Cgroup)
}

// Engine makes bases. Its methods may be called concurrently, also by several engines
// of one process or of several on the same folder.
//
// Whatever ran in a root is dead when the call that ran it returns, also when it
// returns because ctx ended; when a process is killed, the kernel kills all that it ran.
// Mounts exist only in the namespaces of what runs, so none is ever left. A crash
// leaves folders: half-made bases, overlays, and empty cgroups; the next New on the
// folder removes those that no living process holds. Whole bases stay.
//
// Errors are Invalid where what was asked for can never be done, or foreign code went
// beyond its limits; Unavailable where another host, or this one later, can do it; the
// cause of ctx where that ended first. Everything else is a fault of albs or the host.
type Engine struct {
	cfg       Config
	isolation Isolation
	ids       lent.IDs
	cgroups   *cgroup.Groups
	view      []string // bubblewrap's arguments that show the host's programs read-only
}

// buildID is the uid and gid of the build user inside a root.
const buildID = 1000

// New prepares the folder of cfg, removes what killed processes left there, and makes
// sure that roots can be made here: an Unavailable error says what is missing and what
// to do about it. A folder that isn't absolute and a limit below zero are Invalid.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if !filepath.IsAbs(cfg.Dir) {
		return nil, albs.Errorf(albs.Invalid, "sandbox dir %q is not an absolute path", cfg.Dir)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Bases == 0 {
		cfg.Bases = 8
	}
	if cfg.BasesSize == 0 {
		cfg.BasesSize = 20 << 30
	}
	cfg.CCaches, cfg.CCacheSize = cmp.Or(cfg.CCaches, 8), cmp.Or(cfg.CCacheSize, 5<<30)
	cfg.Limits = cfg.Limits.or(defaults)
	e, problems := assemble(cfg)
	if len(problems) == 0 {
		for _, dir := range []string{"base", "root"} {
			if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o700); err != nil {
				return nil, fmt.Errorf("prepare the sandbox folder: %w", err)
			}
		}
		dir, unlock, err := e.newRoot(ctx, "probe-")
		if err != nil {
			return nil, fmt.Errorf("prepare the sandbox folder: %w", err)
		}
		problems = e.probe(ctx, dir)
		unlock()
	}
	if len(problems) > 0 {
		return nil, albs.Errorf(albs.Unavailable, "no sandbox can be made here: %s", strings.Join(problems, "; "))
	}
	if err := e.sweep(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Isolation returns what is in force.
func (e *Engine) Isolation() Isolation { return e.isolation }

// CCache opens the compiler cache that owner's builds in roots as root have here. It is
// to be closed when what uses it has ended.
func (e *Engine) CCache(ctx context.Context, owner string, root albs.Root) (*ccache.Cache, error) {
	s := &ccache.Store{Dir: e.path("ccache"), Size: e.cfg.CCacheSize, Keep: e.cfg.CCaches, Lock: lockFile, Remove: e.remove, Measure: e.measure}
	return s.Open(ctx, owner, root.Platform, root.Arch)
}

// Emulator returns what runs the programs of arch in the engine's roots, or nil where the
// processor does.
func (e *Engine) Emulator(arch albs.Arch) *emulator.Emulator {
	for _, em := range e.cfg.Emulators {
		if em.Arch == arch {
			return &em
		}
	}
	return nil
}

// checkArch refuses, as Unavailable, a root whose programs nothing here can run.
func (e *Engine) checkArch(arch albs.Arch) error {
	host := albs.HostArch(runtime.GOARCH)
	if arch.Host() == host || e.Emulator(arch) != nil {
		return nil
	}
	return albs.Errorf(albs.Unavailable, "this worker is %s and has no emulator for roots of %.40s", host, arch)
}

// Detect finds out what a sandbox of this process would have in force, by making one
// in the temporary folder.
func Detect(ctx context.Context) Isolation {
	e, problems := assemble(Config{Limits: defaults})
	if len(problems) == 0 {
		if dir, err := os.MkdirTemp("", "albs-probe-"); err != nil {
			problems = []string{fmt.Sprintf("the temporary folder cannot be written: %v", err)}
		} else {
			problems = e.probe(ctx, dir)
		}
	}
	e.isolation.Problems = problems
	return e.isolation
}

// assemble looks at the host without starting anything.
func assemble(cfg Config) (*Engine, []string) {
	e := &Engine{cfg: cfg, isolation: Isolation{Engine: "native", Cgroup: "none"}}
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if !initialised.Load() {
		problem("main does not call sandbox.MaybeInit")
	}
	if os.Getuid() == 0 {
		problem("albs runs as root: start the node or tester as an ordinary user with a subuid range")
		return e, problems
	}
	for tool, pkg := range map[string]string{"bwrap": "bubblewrap", "dnf": "dnf", "rpm": "rpm", "prlimit": "util-linux"} {
		if _, err := exec.LookPath(tool); err != nil {
			problem("%s is not installed: install the package %s", tool, pkg)
		}
	}
	ids, err := lent.Find()
	switch {
	case err == nil:
		e.ids = ids
	case cfg.SingleUID:
		e.ids = lent.Own()
	default:
		problem("%v", err)
	}
	e.isolation.UIDRange = e.ids.Count
	e.cgroups = cgroup.Find()
	if v := e.cgroups.Version(); v > 0 {
		e.isolation.Cgroup = "v" + strconv.Itoa(v)
	}
	e.view = hostView()
	return e, problems
}

// hostView shows programs and libraries of the host and nothing that is anybody's.
func hostView() []string {
	args := []string{"--ro-bind", "/usr", "/usr"}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32"} {
		info, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if target, err := os.Readlink(dir); err == nil {
			args = append(args, "--symlink", target, dir)
		} else if info.IsDir() {
			args = append(args, "--ro-bind", dir, dir)
		}
	}
	for _, path := range []string{"/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/crypto-policies", "/etc/pki/tls/openssl.cnf", "/etc/ssl/openssl.cnf"} {
		args = append(args, "--ro-bind-try", path, path)
	}
	return append(args, "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/var", "--dir", "/var/tmp", "--dir", "/var/lib", "--dir", "/var/log")
}

// probe makes the whole sandwich once, in dir, which it removes: namespaces, ids,
// overlay, bubblewrap in it.
func (e *Engine) probe(ctx context.Context, dir string) []string {
	// If no helper can be had nothing in dir is anybody else's.
	defer os.RemoveAll(dir)
	m := mount{Name: rootName, Source: dir + "/lower", Upper: dir + "/upper", Work: dir + "/work"}
	for _, d := range []string{m.Source, m.Upper, m.Work} {
		if err := mkdirOpen(d); err != nil {
			return []string{fmt.Sprintf("the sandbox folder cannot be written: %v", err)}
		}
	}
	args := append([]string{"--unshare-all", "--uid", "1000", "--gid", "1000"}, e.view...)
	args = append(args, "--proc", "/proc", "--dev", "/dev", "--bind", filepath.Join(stage, rootName), "/mnt", "--", "/usr/bin/true")
	j := &job{Op: opExec, Mounts: []mount{m}, Env: []string{"PATH=" + hostPath}, UID: e.owner(UserBuild)}
	j.Argv = bubblewrap(args)
	said := &limitedBuffer{left: 1000}
	exit, err := e.step(ctx, j, stdio{out: said, err: said}, Limits{}.or(e.cfg.Limits), true)
	// The overlay's work folder is the kernel's, and not ours to enter.
	rmErr := e.remove(ctx, dir)
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		return []string{fmt.Sprintf("the kernel refuses namespaces (%v): allow unprivileged user namespaces "+
			"(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)", err)}
	case err != nil:
		return []string{fmt.Sprintf("a trial sandbox failed: %v", err)}
	case exit != 0:
		return []string{fmt.Sprintf("a trial of bubblewrap ended with %d: %s", exit, strings.TrimSpace(said.b.String()))}
	case rmErr != nil:
		return []string{fmt.Sprintf("a trial sandbox could not be removed: %v", rmErr)}
	}
	i := &e.isolation
	i.UserNS, i.Mount, i.PID, i.Net = true, true, true, true
	return nil
}

// hostPath is PATH where programs of the host run.
const hostPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// bubblewrap returns the argv of bwrap. Its environment is what the program gets: the
// callers pass a whole one, for --clearenv is missing before 0.5.
func bubblewrap(args []string) []string {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		path = "/usr/bin/bwrap"
	}
	return append([]string{path, "--die-with-parent", "--new-session"}, args...)
}

// owner returns the id inside the namespace that stands for u.
func (e *Engine) owner(u User) int {
	if u == UserBuild && e.ids.Count > 0 {
		return buildID
	}
	return 0
}

// ownLimits bound what the helper does itself, with no foreign program in it: it says
// nothing while it works.
func (e *Engine) ownLimits() Limits {
	l := e.cfg.Limits
	l.Time, l.Silence, l.Output = defaults.Time, 0, 0
	return l
}

// remove deletes a folder of the engine, whoever inside owns what is in it.
func (e *Engine) remove(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := e.step(context.WithoutCancel(ctx), &job{Op: opRemove, Path: path}, stdio{}, e.ownLimits(), true); err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}

// sweep removes what no living process holds: half-made and half-removed bases, and
// the overlays of processes that were killed.
func (e *Engine) sweep(ctx context.Context) error {
	bases := e.path("base")
	entries, err := os.ReadDir(bases)
	if err != nil {
		return fmt.Errorf("sweep the sandbox folder: %w", err)
	}
	for _, d := range entries {
		if digest, err := albs.ParseDigest(d.Name()); err == nil {
			if _, whole := readFacts(e.path("base", d.Name())); !whole {
				if err := e.removeRest(ctx, digest); err != nil {
					return err
				}
			}
			continue
		}
		key, ok := strings.CutPrefix(d.Name(), "new-")
		if !ok {
			continue
		}
		unlock, err := tryLock(filepath.Join(bases, key+".making"))
		if err != nil {
			continue // it is being made
		}
		err = e.remove(ctx, filepath.Join(bases, d.Name()))
		unlock()
		if err != nil {
			return err
		}
	}
	left, err := e.leftRoots(ctx)
	for _, l := range left {
		err = errors.Join(err, e.remove(ctx, l.dir))
		l.unlock()
	}
	return err
}

// leftRoot is an overlay of a process that is gone, whose lock is now ours.
type leftRoot struct {
	dir    string
	unlock func()
}

// leftRoots takes over the overlays, and the locks of such, that nobody holds. The gate
// keeps away those that are being made, and so not held yet.
func (e *Engine) leftRoots(ctx context.Context) ([]leftRoot, error) {
	open, err := waitLock(ctx, e.path("root.gate"), unix.LOCK_EX)
	if err != nil {
		return nil, fmt.Errorf("sweep the sandbox folder: %w", err)
	}
	defer open()
	entries, err := os.ReadDir(e.path("root"))
	if err != nil {
		return nil, fmt.Errorf("sweep the sandbox folder: %w", err)
	}
	names := make(map[string]bool, len(entries))
	for _, d := range entries {
		names[strings.TrimSuffix(d.Name(), rootLock)] = true
	}
	var left []leftRoot
	for name := range names {
		dir := e.path("root", name)
		if unlock, err := lockRoot(dir); err == nil {
			left = append(left, leftRoot{dir, unlock})
		}
	}
	return left, nil
}

// newRoot makes a folder among the overlays, held by this process until the lock is
// undone. The name begins with prefix.
func (e *Engine) newRoot(ctx context.Context, prefix string) (dir string, unlock func(), err error) {
	open, err := waitLock(ctx, e.path("root.gate"), unix.LOCK_SH)
	if err != nil {
		return "", nil, err
	}
	defer open()
	if dir, err = os.MkdirTemp(e.path("root"), prefix); err != nil {
		return "", nil, err
	}
	if unlock, err = lockRoot(dir); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, unlock, nil
}

// rootLock ends the name of an overlay's lock, which lies beside its folder: one within
// would be gone while the rest is still being removed.
const rootLock = ".lock"

// lockRoot holds an overlay's folder until it is undone, which comes after its removal.
func lockRoot(dir string) (unlock func(), err error) {
	free, err := tryLock(dir + rootLock)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = os.Remove(dir + rootLock) // what stays is swept
		free()
	}, nil
}

// tryLock takes the exclusive lock of a file or says that another has it.
func tryLock(path string) (func(), error) { return lockFile(path, unix.LOCK_EX|unix.LOCK_NB) }

func lockFile(path string, how int) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		// A child that was just forked has the file too: closing alone would leave it the
		// lock until it runs its program.
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		f.Close()
	}, nil
}

// RemoveAll deletes the folder of an engine that is no longer in use. Files in it
// belong to lent uids, so that nobody but real root could delete them otherwise.
func RemoveAll(dir string) error {
	e, problems := assemble(Config{Dir: dir, Limits: defaults})
	if len(problems) > 0 {
		return albs.Errorf(albs.Unavailable, "%s", strings.Join(problems, "; "))
	}
	return e.remove(context.Background(), dir)
}
