// Package vm is the engine of tests whose environments are machines of their own, made by
// qemu and KVM: for packages that need a kernel, or a start of it, to be tested.
//
// The root of an environment is one of package sandbox, and its packages are installed as
// there, from outside, while the machine is off. The machine has that very folder as its
// root (virtiofs), so what is written inside is there afterwards, and it starts when
// something is to be run. qemu and the server of the files run within the sandbox's
// namespaces, by an ordinary user: whoever breaks out of the machine is where a program of
// engine native begins. Package agent is the inner side.
package vm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/cargo"
	"albs/internal/sandbox/examine"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/native"
	"albs/internal/worker/tester/engine/vm/agent"
)

// Config says how machines are made.
type Config struct {
	// Dir holds what they begin with; several processes may share it.
	Dir string `yaml:"-"`
	// Memory is what each has, in bytes; 0 is 2 GiB.
	Memory int64 `yaml:"memory"`
	// CPUs is how many processors each has; 0 is 2.
	CPUs int `yaml:"cpus"`
	// Kernel is the file of the kernel that they run, as a distribution packs it:
	// /boot/vmlinuz-VERSION, with its modules in /lib/modules/VERSION. "" is the newest
	// that the host has.
	Kernel string `yaml:"kernel"`
	// Emulate has qemu itself carry out what machines do, on hosts without KVM. That takes
	// about ten times as long.
	Emulate bool `yaml:"emulate"`
}

// Check refuses, as Invalid, what no machine can be made with.
func (c Config) Check() error {
	if c.Memory != 0 && (c.Memory < 2*aside || c.Memory > 1<<40) {
		return albs.Errorf(albs.Invalid, "a machine of %d bytes of memory can't be made: it needs %d at least", c.Memory, 2*aside)
	}
	if c.CPUs < 0 || c.CPUs > 255 {
		return albs.Errorf(albs.Invalid, "a machine of %d processors can't be made", c.CPUs)
	}
	if c.Kernel != "" && (!filepath.IsAbs(c.Kernel) || kernelVersion(c.Kernel) == "") {
		return albs.Errorf(albs.Invalid, "the kernel %q isn't the path of a file called vmlinuz-VERSION", c.Kernel)
	}
	return nil
}

const kvm = "/dev/kvm"

// host is what machines need of the host.
type host struct {
	qemu, virtiofsd string
	machine         string // what qemu is to be
	console         string // what its kernel calls the serial port
	kernel          string
	modules         string // the folder of the kernel's
	accel, cpu      string
	devices         []string // that qemu uses
}

// find looks for all that is needed, and returns what is missing, each with what to do.
func find(c Config) (h host, problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var names []string
	switch runtime.GOARCH {
	case "amd64":
		h.machine, h.console, names = "q35", "ttyS0", []string{"qemu-system-x86_64", "/usr/libexec/qemu-kvm"}
	case "arm64":
		h.machine, h.console, names = "virt", "ttyAMA0", []string{"qemu-system-aarch64", "/usr/libexec/qemu-kvm"}
	default:
		return h, []string{"no machine of " + runtime.GOARCH + " is known to be made"}
	}
	if h.qemu = first(names); h.qemu == "" {
		problem("%s is not installed: install the package qemu-system-x86 or qemu-system-arm (Debian) or qemu-kvm (EL, Fedora)", names[0])
	}
	if h.virtiofsd = first([]string{"virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}); h.virtiofsd == "" {
		problem("virtiofsd is not installed: install the package qemu-system-common (Debian 12) or virtiofsd")
	}
	// By one thread: with one for each processor qemu 7.2 dies now and then when they start.
	if h.accel, h.cpu = "tcg,thread=single", "max"; !c.Emulate {
		h.accel, h.cpu, h.devices = "kvm", "host", []string{kvm}
		if f, err := os.OpenFile(kvm, os.O_RDWR, 0); err != nil {
			problem("%v: machines need KVM, and this user the right to use it, as members of the group kvm mostly have, or to be emulated", err)
		} else {
			f.Close()
		}
		if runtime.GOARCH == "amd64" {
			if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && !virtualizes(string(b)) {
				problem("the processor has no virtualization: a KVM without it doesn't run a distribution's kernel, and machines have to be emulated")
			}
		}
	}
	if h.kernel = cmp.Or(c.Kernel, newest("/boot")); h.kernel == "" {
		problem("there is no kernel in /boot: install the package linux-image-cloud-amd64 or linux-image-arm64 (Debian) or kernel-core (EL, Fedora)")
		return h, problems
	}
	if f, err := os.Open(h.kernel); err != nil {
		problem("the kernel can't be read: %v", err)
	} else {
		f.Close()
	}
	h.modules = filepath.Join("/lib/modules", kernelVersion(h.kernel))
	return h, problems
}

// virtualizes reports whether a processor runs machines, as Intel's or as AMD's do, by what
// /proc/cpuinfo says of it.
func virtualizes(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		if name, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			has := strings.Fields(flags)
			return slices.Contains(has, "vmx") || slices.Contains(has, "svm")
		}
	}
	return false
}

// first returns the path of the first program that is there.
func first(names []string) string {
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	return ""
}

// newest returns the kernel in dir that was laid there last, "" if there is none.
func newest(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "vmlinuz-*"))
	if err != nil {
		return ""
	}
	age := func(p string) int64 {
		info, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(age(b), age(a)), cmp.Compare(a, b)) })
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// kernelVersion returns what a kernel's file is called after.
func kernelVersion(file string) string {
	v, ok := strings.CutPrefix(filepath.Base(file), "vmlinuz-")
	if !ok {
		return ""
	}
	return v
}

// vm implements engine.Engine.
type vm struct {
	sandbox *sandbox.Engine
	cfg     Config
	host    host
	initrd  string
}

// New returns the engine whose machines run on roots of e. Unavailable says what the host
// lacks for it, and what to do. What a killed process left in the folder is removed.
func New(ctx context.Context, e *sandbox.Engine, c Config) (engine.Engine, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.Memory, c.CPUs = cmp.Or(c.Memory, 2<<30), cmp.Or(c.CPUs, 2)
	v := &vm{sandbox: e, cfg: c}
	var problems []string
	if v.host, problems = find(c); e.Isolation().UIDRange == 0 {
		problems = append(problems, "a machine has users, and this worker has no range of ids for them")
	}
	if !agent.Ready() {
		problems = append(problems, "main does not call agent.MaybeInit")
	}
	if len(problems) > 0 {
		return nil, albs.Errorf(albs.Unavailable, "no machine can be made here: %s", strings.Join(problems, "; "))
	}
	own, err := program("/proc/self/exe")
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "no machine can be made here: this program can't be given to it: %v", err)
	}
	modules, err := modules(ctx, v.host.modules)
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "no machine can be made here: the kernel %s has no modules: %v", v.host.kernel, err)
	}
	// Held as long as this process lives: its machines may be started at any time.
	if v.initrd, _, err = (initrds{c.Dir}).keep(append(own, modules...)); err != nil {
		return nil, fmt.Errorf("write what machines begin with: %w", err)
	}
	return v, nil
}

// Name implements engine.Engine.
func (*vm) Name() string { return albs.EngineVM }

// Base implements engine.Engine.
func (e *vm) Base(ctx context.Context, root albs.Root, repos []sandbox.Repo, log io.Writer) (engine.Base, error) {
	if own := albs.HostArch(runtime.GOARCH); root.Arch.Host() != own {
		return nil, albs.Errorf(albs.Unavailable, "a machine of this worker runs programs of %s, and not of %.40s", own, root.Arch)
	}
	b, err := native.New(e.sandbox).Base(ctx, root, repos, log)
	if err != nil {
		return nil, err
	}
	return base{b, e, root.Arch}, nil
}

type base struct {
	engine.Base
	vm   *vm
	arch albs.Arch
}

// Environment implements engine.Base.
func (b base) Environment(ctx context.Context) (engine.Environment, error) {
	e, err := b.Base.Environment(ctx)
	if err != nil {
		return nil, err
	}
	return &environment{outside: e, root: native.RootOf(e), vm: b.vm, arch: b.arch}, nil
}

// environment is a root, and the machine that runs on it, if one does. While one does, the
// root's files are the machine's: it caches them, and so nobody else looks at them.
type environment struct {
	outside engine.Environment // the root, from outside; only while no machine runs
	root    *sandbox.Root
	vm      *vm
	arch    albs.Arch
	machine *machine
}

// on has a machine run, such as s says.
func (e *environment) on(ctx context.Context, s setup) error {
	if e.machine != nil && e.machine.setup != s {
		if err := e.off(); err != nil {
			return err
		}
	}
	if e.machine != nil {
		return nil
	}
	m, err := e.vm.start(ctx, e.root, s)
	if err != nil {
		return err
	}
	e.machine = m
	return nil
}

// off has no machine run.
func (e *environment) off() error {
	m := e.machine
	if e.machine = nil; m == nil {
		return nil
	}
	return m.off()
}

// alone does f on the root while no machine runs.
func (e *environment) alone(f func(engine.Environment) error) error {
	if err := e.off(); err != nil {
		return err
	}
	return f(e.outside)
}

// Enable implements engine.Environment.
func (e *environment) Enable(ctx context.Context, streams []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Enable(ctx, streams, log) })
}

// Install implements engine.Environment.
func (e *environment) Install(ctx context.Context, requirements []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Install(ctx, requirements, log) })
}

// Remove implements engine.Environment.
func (e *environment) Remove(ctx context.Context, names, protected []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Remove(ctx, names, protected, log) })
}

// Reinstall implements engine.Environment.
func (e *environment) Reinstall(ctx context.Context, names []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Reinstall(ctx, names, log) })
}

// Upgrade implements engine.Environment.
func (e *environment) Upgrade(ctx context.Context, names []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Upgrade(ctx, names, log) })
}

// Downgrade implements engine.Environment.
func (e *environment) Downgrade(ctx context.Context, names []string, log io.Writer) error {
	return e.alone(func(o engine.Environment) error { return o.Downgrade(ctx, names, log) })
}

// Installed implements engine.Environment.
func (e *environment) Installed(ctx context.Context) (all []sandbox.Package, err error) {
	err = e.alone(func(o engine.Environment) error {
		all, err = o.Installed(ctx)
		return err
	})
	return all, err
}

// Run implements engine.Environment.
func (e *environment) Run(ctx context.Context, c sandbox.Cmd) (int, error) {
	if len(c.Argv) == 0 {
		return 0, albs.Errorf(albs.Invalid, "there is no program to run")
	}
	if err := c.Limits.Check(); err != nil {
		return 0, err
	}
	own := e.vm.sandbox.Limits()
	lim := sandbox.Limits{
		Time: cmp.Or(c.Limits.Time, own.Time), Silence: cmp.Or(c.Limits.Silence, own.Silence), Output: cmp.Or(c.Limits.Output, own.Output),
		Memory: cmp.Or(c.Limits.Memory, own.Memory), Processes: cmp.Or(c.Limits.Processes, own.Processes),
	}
	q := agent.Request{
		Op: agent.OpRun, Argv: c.Argv, Dir: c.Dir, I686: e.arch == albs.I686, Processes: lim.Processes,
		Memory: min(lim.Memory, e.vm.cfg.Memory-aside),
	}
	home := "/builddir"
	switch c.User {
	case sandbox.UserRoot:
		home, q.Dir = "/root", cmp.Or(q.Dir, "/")
	case sandbox.UserBuild, "":
		q.UID, q.Dir = buildID, cmp.Or(q.Dir, home)
	default:
		return 0, albs.Errorf(albs.Invalid, "no user %q in a root", c.User)
	}
	q.Env = slices.Concat(sandbox.Environment(), []string{"HOME=" + home}, c.Env)
	if err := e.on(ctx, setup{c.Network, cmp.Or(c.Limits.Disk, own.Disk)}); err != nil {
		return 0, err
	}
	d, err := e.do(ctx, q, c.Stdin, c.Stdout, c.Stderr, lim)
	return d.Exit, err
}

// buildID is the build user of a root.
const buildID = 1000

// do has the running machine do q; if it ended over that, there is none any more.
func (e *environment) do(ctx context.Context, q agent.Request, in io.Reader, out, errs io.Writer, lim sandbox.Limits) (agent.Done, error) {
	d, alive, err := e.machine.do(ctx, q, in, out, errs, lim)
	if !alive {
		e.machine = nil
	}
	switch {
	case err != nil:
		return agent.Done{}, err
	case d.Kind == albs.Invalid || d.Kind == albs.NotFound:
		return agent.Done{}, albs.Errorf(d.Kind, "%.4000s", d.Error)
	case d.Error != "":
		return agent.Done{}, fmt.Errorf("agent of the machine: %.4000s", d.Error)
	}
	return d, nil
}

// CopyIn implements engine.Environment.
func (e *environment) CopyIn(ctx context.Context, files ...sandbox.Copy) error {
	if e.machine == nil {
		return e.outside.CopyIn(ctx, files...)
	}
	load, err := sandbox.Load(files, func(u sandbox.User) int {
		if u == sandbox.UserRoot {
			return 0
		}
		return buildID
	})
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := cargo.Pack(w, load)
		w.CloseWithError(err)
		packed <- err
	}()
	_, err = e.do(ctx, agent.Request{Op: agent.OpImport}, r, nil, nil, e.own())
	r.CloseWithError(io.ErrClosedPipe)
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		err = perr
	}
	if err != nil {
		return fmt.Errorf("copy %d files into the machine: %w", len(files), err)
	}
	return nil
}

// own are the limits of what the agent does itself.
func (e *environment) own() sandbox.Limits {
	l := e.vm.sandbox.Limits()
	return sandbox.Limits{Time: l.Time, Output: examine.MaxAnswer}
}

// ReadFile implements engine.Environment.
func (e *environment) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if e.machine == nil {
		return e.outside.ReadFile(ctx, name, limit)
	}
	var b bytes.Buffer
	lim := e.own()
	lim.Output = limit
	if _, err := e.do(ctx, agent.Request{Op: agent.OpRead, Path: name, Limit: limit}, nil, &b, nil, lim); err != nil {
		return nil, fmt.Errorf("read %s of the machine: %w", name, err)
	}
	return b.Bytes(), nil
}

// Examine implements engine.Environment.
func (e *environment) Examine(ctx context.Context, asks []examine.Ask) ([]examine.Entry, error) {
	if e.machine == nil || len(asks) == 0 {
		return e.outside.Examine(ctx, asks)
	}
	b, err := examine.Encode(asks)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	if _, err := e.do(ctx, agent.Request{Op: agent.OpExamine}, bytes.NewReader(b), &said, nil, e.own()); err != nil {
		return nil, fmt.Errorf("look at %d paths of the machine: %w", len(asks), err)
	}
	entries, err := examine.Decode(&said, asks)
	if err != nil {
		return nil, fmt.Errorf("look at %d paths of the machine: %w", len(asks), err)
	}
	return entries, nil
}

// Reboot implements engine.Environment: the machine is shut down, if one runs, and started
// again as it was.
func (e *environment) Reboot(ctx context.Context, log io.Writer) error {
	s := setup{disk: e.vm.sandbox.Limits().Disk}
	before := "nothing"
	if e.machine != nil {
		s, before = e.machine.setup, "boot "+e.machine.hello.Boot
	}
	if err := e.off(); err != nil {
		return err
	}
	if err := e.on(ctx, s); err != nil {
		return err
	}
	_, err := fmt.Fprintf(log, "the system was started again: after %s, boot %.100s of Linux %.100s\n", before, e.machine.hello.Boot, e.machine.hello.Kernel)
	return err
}

// Close implements engine.Environment.
func (e *environment) Close() error {
	if m := e.machine; m != nil {
		e.machine = nil
		_ = m.kill() // nothing of it is kept
	}
	return e.outside.Close()
}
