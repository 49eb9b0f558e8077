package buildroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/sandbox/ccache"
	"albs/internal/sandbox/dnf"
)

// MockTool says how mock is run; the zero value is the one that the host has installed.
type MockTool struct {
	Argv    []string // the program, and what comes before its arguments
	Folders []string // of the host, beside /usr, that it is read from
	Env     []string
}

// mockProgram is mock itself. What is in the search path leads to it by consolehelper,
// which makes the caller root: the workshop does that without.
const mockProgram = "/usr/libexec/mock/mock"

// mockSetUp is the time that mock has beside that of rpmbuild: installing, and copying
// of sources and results.
const mockSetUp = time.Hour

// never is longer than a program may run.
const never = 365 * 24 * time.Hour

// Mock makes packages by mock, in a workshop of the sandbox: mock fills the root and
// has the order of steps, the sandbox keeps it from all else and ends it whole.
type Mock struct {
	sandbox *sandbox.Engine
	tool    MockTool
	version string
	manager string
	rounds  int                            // maxRounds but in tests
	ended   func(args []string, e mockEnd) // nil but in tests: called with the end of each run
}

// NewMock returns an engine that works in workshops of sb. What keeps mock from running
// here is an Unavailable error that says what to do.
func NewMock(ctx context.Context, sb *sandbox.Engine, tool MockTool) (*Mock, error) {
	if len(tool.Argv) == 0 {
		tool.Argv = []string{mockProgram}
	}
	m := &Mock{sandbox: sb, tool: tool, manager: "dnf4", rounds: maxRounds}
	dnf, err := exec.LookPath("dnf")
	if err == nil {
		dnf, err = filepath.EvalSymlinks(dnf)
	}
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "mock can't be run here: dnf is not installed: %w", err)
	}
	if strings.Contains(filepath.Base(dnf), "dnf5") {
		m.manager = "dnf5"
	}
	bench, err := sb.Bench(ctx)
	if err != nil {
		return nil, err
	}
	defer bench.Close()
	var out, errs bytes.Buffer
	exit, err := bench.Run(ctx, sandbox.HostCmd{
		Argv: slices.Concat(tool.Argv, []string{"--version"}), Env: m.env(), Folders: tool.Folders, Stdout: &out, Stderr: &errs,
		User: sandbox.UserRoot, Limits: sandbox.Limits{Time: time.Minute, Output: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("look for mock: %w", err)
	}
	if exit != 0 {
		return nil, albs.Errorf(albs.Unavailable, "mock can't be run here: install the package mock (%s ended with code %d: %s)", tool.Argv[0], exit, mockCause(errs.Bytes()))
	}
	m.version = strings.TrimSpace(out.String())
	return m, nil
}

// Isolation returns what is in force: the sandbox's, in which mock makes the root.
func (m *Mock) Isolation() sandbox.Isolation {
	i := m.sandbox.Isolation()
	i.Engine = "mock"
	return i
}

// env returns the variables that mock is run with: it wants to know for whom it works.
func (m *Mock) env() []string {
	return append([]string{"SUDO_UID=1000", "SUDO_GID=1000"}, m.tool.Env...)
}

// mockWork is one job under way.
type mockWork struct {
	*Mock
	root   albs.Root
	target albs.Arch
	logs   Logs
	shop   *sandbox.Workshop
	record Record
	cache  *ccache.Cache // nil for none
	// filled: rpmautospec fills in the spec. The base, which is made before, has none.
	filled bool
}

// begin checks what both kinds of job have in common and opens a workshop for it, which
// is to be closed also after an error.
func (m *Mock) begin(ctx context.Context, root albs.Root, repos []sandbox.Repo, target albs.Arch, switches albs.Switches, input albs.File, logs Logs) (*mockWork, error) {
	if _, err := arguments(switches); err != nil {
		return nil, err
	}
	if err := (sandbox.Limits{Time: root.Timeout, Silence: root.MaxSilence}).Check(); err != nil {
		return nil, err
	}
	macros, err := mockMacroFile(root, switches)
	if err != nil {
		return nil, err
	}
	logs = logs.whole()
	logs.Root = &sharedWriter{w: logs.Root} // mock's own words and its root log
	w := &mockWork{Mock: m, root: root, target: target, logs: logs, record: Record{
		Format: RecordFormat, Platform: root.Platform, Releasever: root.Releasever, Arch: root.Arch, Target: target, Input: input,
		Environment: append(sandbox.Environment(), "HOME="+home),
		Network:     root.Network, Isolation: m.Isolation(), Kernel: kernel(), Emulated: m.sandbox.Emulator(root.Arch),
		Repos: root.Repos, Macros: root.Macros, MacroFile: albs.DigestOf(macros),
	}}
	err = logs.Step("base", func() error {
		w.shop, err = m.sandbox.Workshop(ctx, root, repos, "mock/2 "+m.version, mockRoot, func(shop *sandbox.Workshop) error {
			return w.fill(ctx, shop)
		})
		if err != nil {
			return noBuildroot(root, err)
		}
		w.record.Base = w.shop.Base()
		return w.shop.CopyIn(ctx, sandbox.Copy{Data: macros, To: "/" + mockMacros, User: sandbox.UserRoot})
	})
	return w, err
}

// fill lets mock make the root that work begins with.
func (w *mockWork) fill(ctx context.Context, shop *sandbox.Workshop) error {
	base := *w
	base.shop, base.target = shop, w.root.Arch
	base.root.Network, base.root.Timeout, base.root.MaxSilence = false, 0, 0
	// The base is the platform's, as large as it is.
	end, err := base.mock(ctx, mockInit, sandbox.Limits{Disk: 64 << 30, Output: 1 << 30}, "--init")
	w.record.Commands = base.record.Commands
	if errors.Is(err, albs.Invalid) {
		return albs.Errorf(albs.Unavailable, "mock --init: %v", err)
	}
	if err != nil {
		return err
	}
	if why := unmet(end.root); end.exit == mockDNF && len(why) > 0 {
		return albs.Errorf(albs.Invalid, "dnf can't resolve: %s", strings.Join(why, "; "))
	}
	if end.exit != 0 {
		return end.fault()
	}
	for _, program := range []string{"bash", "rpm", "rpmbuild"} {
		if !shop.Exists(mockRoot + "/usr/bin/" + program) {
			return albs.Errorf(albs.Unavailable, "the root has no program %s", program)
		}
	}
	return nil
}

// end completes what the job gives back and closes the workshop.
func (w *mockWork) end(ctx context.Context, out *Output, err *error) {
	if w == nil {
		return
	}
	if w.shop != nil {
		// The end of the job must not keep us from saying in what it was done.
		listing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		pkgs, lerr := w.shop.Installed(listing, mockRoot)
		cancel()
		if lerr != nil {
			fmt.Fprintf(w.logs.State, "the record lacks the root's packages: %v\n", lerr)
			if *err == nil {
				*err = lerr
			}
		}
		w.record.Packages = pkgs
		if cerr := w.shop.Close(); cerr != nil {
			fmt.Fprintf(w.logs.State, "the root is left behind: %v\n", cerr)
			if *err == nil {
				*err = cerr
			}
		}
	}
	closeCache(w.cache, w.logs)
	out.Record = w.record
}

// mock runs mock once and follows its logs in the folder result. Limits that root sets
// for the work are kept beside those given.
func (w *mockWork) mock(ctx context.Context, result string, limits sandbox.Limits, args ...string) (mockEnd, error) {
	config, err := mockConfig{root: w.root, target: w.target, dnf: w.shop.DNF(), manager: w.manager, rounds: w.rounds, cache: w.cache, autospec: w.filled}.text()
	if err != nil {
		return mockEnd{}, err
	}
	argv := slices.Concat(w.tool.Argv, []string{
		"--configdir=" + sandbox.WorkshopConf, "--root=" + sandbox.WorkshopConf + "/" + mockConf,
		"--resultdir=" + path.Join(sandbox.WorkshopDir, result), "--no-clean",
	}, args)
	w.record.Commands = append(w.record.Commands, argv)
	fmt.Fprintf(w.logs.Root, "+ %s\n", strings.Join(argv, " "))

	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f := newFollower(w.shop, result, w.logs, w.sandbox.Limits(), limits, w.root)
	done := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { f.follow(done, stop) })
	own := sandbox.NewTail(64 << 10)
	said := io.MultiWriter(w.logs.Root, own)
	if w.root.Timeout > 0 {
		limits.Time = w.root.Timeout + mockSetUp
	}
	limits.Silence = never // mock itself has nothing to say while rpmbuild works
	exit, err := w.shop.Run(running, sandbox.HostCmd{
		Argv: argv, Env: w.env(), Folders: w.tool.Folders, Files: map[string]string{mockConf: config, mockLogging: mockLog},
		Stdout: said, Stderr: said, Network: w.root.Network, User: sandbox.UserRoot, Limits: limits, Cache: w.cache,
	})
	close(done)
	following.Wait()
	f.rest()
	if err == nil && f.err != nil {
		err = f.err
	}
	end := mockEnd{exit: exit, state: f.streams[0].said.Bytes(), root: f.streams[1].said.Bytes(), build: f.streams[2].said.Bytes(), own: own.Bytes()}
	if w.ended != nil {
		w.ended(args, end)
	}
	return end, err
}

// Source implements Engine.
func (m *Mock) Source(ctx context.Context, job SourceJob) (out Output, err error) {
	if job.SRPM != "" { // mock asks no spec: there is nothing to do, and no root is made
		srpm, err := input(filepath.Base(job.SRPM), job.SRPM)
		return Output{Record: Record{
			Format: RecordFormat, Platform: job.Root.Platform, Releasever: job.Root.Releasever, Arch: job.Root.Arch, Target: job.Root.Arch, Input: srpm,
		}}, err
	}
	_, sources, err := checkSpecPath(job.Spec)
	if err != nil {
		return Output{}, err
	}
	for _, s := range job.Sources {
		if err := checkSource(s.Name); err != nil {
			return Output{}, err
		}
	}
	tree, history, err := job.inputs()
	if err != nil {
		return Output{}, err
	}
	w, err := m.begin(ctx, job.Root, job.Repos, job.Root.Arch, job.Switches, tree, job.Logs)
	defer func() { w.end(ctx, &out, &err) }()
	if err != nil {
		return Output{}, err
	}
	w.record.History, w.filled = history, history != nil
	if err := w.logs.Step("tree", func() error { return w.unpack(ctx, job, sources) }); err != nil {
		return Output{}, err
	}
	args := []string{"--buildsrpm", "--spec=" + path.Join(sandbox.WorkshopDir, mockTree, job.Spec)}
	if w.shop.Exists(path.Join(mockTree, sources)) {
		args = append(args, "--sources="+path.Join(sandbox.WorkshopDir, mockTree, sources))
	}
	err = w.logs.Step("mock --buildsrpm", func() error {
		end, err := w.mock(ctx, mockResult, sandbox.Limits{}, args...)
		if err == nil && w.filled {
			err = end.lacksAutospec(job.Root.Platform)
		}
		if err != nil {
			return err
		}
		excluded, err := end.verdict(job.Root.Timeout)
		if excluded != "" {
			return albs.Errorf(albs.Invalid, "%s", excluded)
		}
		if err != nil || !w.filled {
			return err
		}
		// mock's plugin has reasons of its own to leave a spec as it is.
		return w.checkSpec(ctx, path.Join("/", mockRoot, topDir, "SPECS", path.Base(job.Spec)), job.Define)
	})
	if err != nil {
		return Output{}, err
	}
	err = w.logs.Step("collect", func() error {
		out.Files, err = w.shop.CopyOut(ctx, "/"+mockResult, ".src.rpm", job.Out)
		if err == nil && len(out.Files) != 1 {
			err = albs.Errorf(albs.Invalid, "the spec gives %d source packages instead of one", len(out.Files))
		}
		return err
	})
	return out, err
}

// unpack lays out the tree, its history and its look-aside sources.
func (w *mockWork) unpack(ctx context.Context, job SourceJob, sources string) error {
	for _, tar := range job.tars() {
		if err := w.untar(ctx, tar); err != nil {
			return err
		}
	}
	var copies []sandbox.Copy
	for _, s := range job.Sources {
		f, err := input(s.Name, s.Path)
		if err != nil {
			return err
		}
		w.record.Sources = append(w.record.Sources, f)
		copies = append(copies, sandbox.Copy{From: s.Path, To: path.Join("/", mockTree, sources, s.Name), User: sandbox.UserBuild})
	}
	if len(copies) > 0 {
		if err := w.shop.CopyIn(ctx, copies...); err != nil {
			return err
		}
	}
	if w.filled { // or will be
		return nil
	}
	return w.checkSpec(ctx, path.Join("/", mockTree, job.Spec), job.Define)
}

func (w *mockWork) untar(ctx context.Context, tar string) error {
	packed := path.Join("/", mockIn, filepath.Base(tar))
	if err := w.shop.CopyIn(ctx, sandbox.Copy{From: tar, To: packed, User: sandbox.UserBuild}); err != nil {
		return err
	}
	said := sandbox.NewTail(64 << 10)
	both := io.MultiWriter(w.logs.Root, said)
	exit, err := w.shop.Run(ctx, sandbox.HostCmd{
		Argv: []string{"tar", "--extract", "--file=" + sandbox.WorkshopDir + packed,
			"--directory=" + path.Join(sandbox.WorkshopDir, mockIn), "--one-top-level=" + path.Base(mockTree)},
		Stdout: both, Stderr: both, User: sandbox.UserBuild, Limits: sandbox.Limits{Time: w.root.Timeout, Silence: never},
	})
	if err == nil && exit != 0 {
		err = albs.Errorf(albs.Invalid, "the source tree can't be unpacked: %s", cause(said.Bytes()))
	}
	return err
}

// checkSpec refuses a spec, by its place in the workshop, that rpmautospec has not filled
// in and that needs it.
func (w *mockWork) checkSpec(ctx context.Context, at string, define map[string]string) error {
	spec, err := w.shop.ReadFile(ctx, at, maxSpec)
	if err != nil {
		return err
	}
	return checkAutospec(w.root.Platform, w.filled, spec, w.root.Macros, define)
}

// Build implements Engine.
func (m *Mock) Build(ctx context.Context, job BuildJob) (out Output, err error) {
	if _, err := albs.ParseArch(string(job.Arch)); err != nil {
		return Output{}, err
	}
	srpm, err := input(filepath.Base(job.SRPM), job.SRPM)
	if err != nil {
		return Output{}, err
	}
	pkg, err := rpm.ReadFile(job.SRPM)
	if err == nil && !pkg.Source {
		err = albs.Errorf(albs.Invalid, "%s is no source package", srpm.Name)
	}
	if err != nil {
		return Output{}, err
	}
	h := sourceHeader(pkg)
	if why := h.excluded(job.Arch); why != "" {
		return Output{Excluded: why}, nil
	}
	w, err := m.begin(ctx, job.Root, job.Repos, job.Arch, job.Switches, srpm, job.Logs)
	defer func() { w.end(ctx, &out, &err) }()
	if err != nil {
		return Output{}, err
	}
	if err := dnf.CheckRequirements(h.requires); err != nil {
		return Output{}, albs.Errorf(albs.Invalid, "BuildRequires can't be installed: %w", err)
	}
	const to = "/" + mockIn + "/package.src.rpm"
	if err := w.shop.CopyIn(ctx, sandbox.Copy{From: job.SRPM, To: to, User: sandbox.UserBuild}); err != nil {
		return Output{}, err
	}
	if job.Root.CCache {
		if w.cache, err = m.sandbox.CCache(ctx, job.Owner, job.Root); err != nil {
			return Output{}, err
		}
		w.record.CCache = &CCache{Owner: w.cache.Owner, Size: w.cache.Size}
		w.record.Environment = append(w.record.Environment, mockCCache...)
	}
	err = w.logs.Step("mock --rebuild", func() error {
		end, err := w.mock(ctx, mockResult, sandbox.Limits{}, "--rebuild", sandbox.WorkshopDir+to)
		if err != nil {
			return err
		}
		if out.Excluded, err = end.verdict(job.Root.Timeout); err == nil && end.exit == 0 && exhausted(end.root, w.rounds) {
			err = albs.Errorf(albs.Invalid, "%%generate_buildrequires asks for more and more packages, %d times by now", w.rounds)
		}
		return err
	})
	if err != nil || out.Excluded != "" {
		return out, err
	}
	err = w.logs.Step("collect", func() error {
		out.Files, err = w.collect(ctx, job)
		return err
	})
	return out, err
}

// sourceHeader returns what an SRPM says of itself, as far as it matters here.
func sourceHeader(p *rpm.Package) header {
	h := header{exclusive: p.ExclusiveArch, exclude: p.ExcludeArch}
	for _, r := range p.Requires {
		if !strings.HasPrefix(r.Name, "rpmlib(") {
			h.requires = append(h.requires, r.String())
		}
	}
	slices.Sort(h.requires)
	h.requires = slices.Compact(h.requires)
	return h
}

// collect copies the packages out. mock wraps the source package anew each time; the
// one that was built from is the one that counts.
func (w *mockWork) collect(ctx context.Context, job BuildJob) ([]string, error) {
	all, err := w.shop.CopyOut(ctx, "/"+mockResult, ".rpm", job.Out)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, f := range all {
		if !strings.HasSuffix(f, ".src.rpm") && !strings.HasSuffix(f, ".nosrc.rpm") {
			files = append(files, f)
		} else if err := os.Remove(f); err != nil {
			return nil, fmt.Errorf("remove mock's own source package: %w", err)
		}
	}
	if len(files) == 0 {
		return nil, albs.Errorf(albs.Invalid, "rpmbuild made no package: no %%files section has anything for %s", job.Arch)
	}
	return files, nil
}
