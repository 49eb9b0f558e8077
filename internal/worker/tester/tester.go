// Package tester is the role that finds out whether packages work: each one is
// installed, from the repositories of its task, into a fresh root, by the real dnf;
// then what came of it is checked, and so is whether an earlier release can be upgraded
// to it, and whether it can be removed again. What is done of that, and in which order,
// the task says (albs.TestStages); how, one function for each stage.
//
// A failed stage is a finding and not a failed attempt: the attempt is done when every
// package has been looked at, and what can still be carried out behind a failed stage
// is. The package decides nothing; what a verdict means is the master's.
package tester

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/worker"
	"albs/internal/worker/depot"
	"albs/internal/worker/guard"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/native"
	"albs/internal/worker/tester/engine/podman"
	"albs/internal/worker/tester/engine/vm"
	"albs/internal/worker/tester/engine/vm/agent"
)

// Config holds what an operator may set.
type Config struct {
	// Sandbox says where roots are made.
	Sandbox sandbox.Config `yaml:"sandbox"`
	// Spool keeps what could not be reported yet.
	Spool string `yaml:"-"`
	// Arch is the arch that is tested.
	Arch albs.Arch `yaml:"-"`
	// Parallel is how many tasks run at once; 0 is 1.
	Parallel int `yaml:"parallel"`
	// Emulate lists further arches, which are tested as far as the host runs their
	// programs by an emulator.
	Emulate []albs.Arch `yaml:"emulate"`
	// Engines make the roots of tests that ask for them: names of albs.TestEngines.
	// EngineNative is always there, named or not; no other is unless it is named.
	Engines []string `yaml:"engines"`
	// VM says how the machines of EngineVM are made.
	VM vm.Config `yaml:"vm"`
	// MinFree is the free disk in bytes below which no task is taken, as of guard.New.
	MinFree int64 `yaml:"min_free"`

	limits map[albs.TestStage]time.Duration // other than stageLimits
}

// Check refuses, as Invalid, engines that there aren't.
func (c Config) Check() error {
	for i, e := range c.Engines {
		if err := albs.CheckTestEngine(e); err != nil {
			return albs.Errorf(albs.Invalid, "tester.engines: %w", err)
		}
		if slices.Contains(c.Engines[:i], e) {
			return albs.Errorf(albs.Invalid, "tester.engines: %s is there twice", e)
		}
	}
	if err := c.VM.Check(); err != nil {
		return albs.Errorf(albs.Invalid, "tester.vm: %w", err)
	}
	return nil
}

// MaybeInit turns the process into a machine's agent if it was started as one, and then
// never returns: main calls it before anything else, as it does node.MaybeInit.
func MaybeInit() { agent.MaybeInit() }

// Labels returns those that the tester offers for its engines.
func (c Config) Labels() []string {
	var out []string
	for _, e := range c.Engines {
		if e != albs.EngineNative {
			out = append(out, albs.EngineLabel(e))
		}
	}
	return out
}

// engines returns the engines by name, each of which works here, or an Unavailable error.
func (c Config) engines(ctx context.Context, made *sandbox.Engine) (map[string]engine.Engine, error) {
	out := map[string]engine.Engine{albs.EngineNative: native.New(made)}
	if slices.Contains(c.Engines, albs.EnginePodman) {
		e, err := podman.New(ctx, made)
		if err != nil {
			return nil, err
		}
		out[albs.EnginePodman] = e
	}
	if slices.Contains(c.Engines, albs.EngineVM) {
		if c.VM.Dir == "" {
			c.VM.Dir = filepath.Join(c.Sandbox.Dir, "vm")
		}
		e, err := vm.New(ctx, made, c.VM)
		if err != nil {
			return nil, err
		}
		out[albs.EngineVM] = e
	}
	return out, nil
}

// Run tests what m has to be tested until ctx is done. It fails with Unavailable
// if no root can be made here, by whichever engine of c.
func Run(ctx context.Context, c Config, version string, m worker.Master, d *depot.Depot, log zerolog.Logger) error {
	c.Sandbox.Emulators = emulator.InForce(ctx, c.Emulate, log)
	c.Sandbox.Limits = bounded(c.Sandbox.Limits)
	made, err := sandbox.New(ctx, c.Sandbox)
	if err != nil {
		return fmt.Errorf("start tester: %w", err)
	}
	engines, err := c.engines(ctx, made)
	if err != nil {
		return fmt.Errorf("start tester: %w", err)
	}
	log.Info().Str("isolation", made.Isolation().String()).Strs("engines", slices.Sorted(maps.Keys(engines))).Msg("tester ready")
	j := jobs{engines: engines, depot: d, limits: stageLimits, machines: c.VM.Emulate}
	if c.limits != nil {
		j.limits = c.limits
	}
	for _, e := range c.Sandbox.Emulators {
		j.emulated = append(j.emulated, e.Arch)
	}
	return work(ctx, c, version, m, guard.New(c.MinFree, log, c.Sandbox.Dir), log,
		j.do)
}

// bounded returns l with what an operator left open bounded for tests, which are
// smaller than builds: of a package that fills the disk or talks without end there is
// no more to know than that.
func bounded(l sandbox.Limits) sandbox.Limits {
	l.Disk = cmp.Or(l.Disk, 16<<30)
	l.Output = cmp.Or(l.Output, 128<<20)
	return l
}

// work does the tasks by job, and under g, until ctx is done.
func work(ctx context.Context, c Config, version string, m worker.Master, g *guard.Guard, log zerolog.Logger, job worker.Job) error {
	l := worker.Loop{
		Master: m, Parallel: max(c.Parallel, 1), Spool: c.Spool, Log: log, Job: g.Job(job),
		Offer: func() worker.Offer { return c.offer(version, g) },
	}
	return l.Run(ctx)
}

// offer returns what the tester can do now.
func (c Config) offer(version string, g *guard.Guard) worker.Offer {
	o := worker.Machine()
	o.Version, o.Disk, o.Pause = version, g.Free(), g.Pause()
	if o.Pause != "" {
		return o
	}
	o.Labels = []string{"kind:" + string(albs.KindTest), "arch:" + string(c.Arch)}
	o.Labels = append(o.Labels, c.Labels()...)
	for _, e := range c.Sandbox.Emulators {
		o.Labels = append(o.Labels, "arch:"+string(e.Arch), albs.EmulatedLabel(e.Arch))
	}
	return o
}

// jobs does tests with an engine.
type jobs struct {
	engines  map[string]engine.Engine
	depot    *depot.Depot
	limits   map[albs.TestStage]time.Duration
	emulated []albs.Arch // whose programs take longer
	machines bool        // those of EngineVM are emulated
}

// slower is by how much the limits of emulated arches are longer.
const slower = 10

// limit returns how long a stage may take in roots of arch.
func (j jobs) limit(stage albs.TestStage, arch albs.Arch) time.Duration {
	return j.stretch(cmp.Or(j.limits[stage], defaultLimit), arch)
}

// stretch returns how long takes in roots of arch what usually takes t.
func (j jobs) stretch(t time.Duration, arch albs.Arch) time.Duration {
	if slices.Contains(j.emulated, arch) {
		t *= slower
	}
	return t
}

// do tests the packages of one task.
func (j jobs) do(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
	spec := s.Lease.Spec.Test
	if err := j.check(spec); err != nil {
		return "", albs.Result{}, err
	}
	served, err := j.depot.Serve(ctx, s.Master(), s.Lease, spec.Root.Repos)
	if err != nil {
		return "", albs.Result{}, err
	}
	defer served.Close()
	var repos []sandbox.Repo
	for _, r := range served.Repos() {
		repos = append(repos, sandbox.Repo{ID: r.ID, BaseURL: r.BaseURL, Priority: r.Priority, Own: r.Own, Modular: r.Modular, Keys: r.Keys})
	}
	if j.machines && engineOf(spec) == albs.EngineVM {
		j.emulated = append(slices.Clone(j.emulated), spec.Root.Arch)
	}
	b := bench{jobs: j, spec: spec, log: s.Log("test"), began: time.Now(), tree: trees(s)}
	b.keep = func(ctx context.Context, name string, content []byte) error {
		f, err := keep(ctx, s, name, content)
		b.logs = append(b.logs, f)
		return err
	}
	fmt.Fprintf(b.log, "making the base of %s %s for the engine %s\n", spec.Root.Platform, spec.Root.Arch, engineOf(spec))
	b.base, err = j.engines[engineOf(spec)].Base(ctx, spec.Root, repos, b.log)
	if errors.Is(err, albs.Invalid) { // the platform's fault, no package's, and so without its kind
		err = albs.Errorf(albs.Unavailable, "platform %s gives no root: %v", spec.Root.Platform, err)
	}
	if err != nil {
		return "", albs.Result{}, withProblems(err, served)
	}
	defer b.base.Close()
	if b.facts, err = gather(ctx, spec, served); err != nil {
		return "", albs.Result{}, withProblems(err, served)
	}
	defer b.facts.end()
	result := albs.TestResult{}
	done, err := b.inCompany(ctx)
	if err != nil {
		return "", albs.Result{}, withProblems(fmt.Errorf("test several packages: %w", err), served)
	}
	for _, p := range spec.Packages {
		t, ok := done[p.NEVRA]
		stages, cases := t.stages, t.cases
		if !ok {
			stages, cases, err = b.test(ctx, p)
		}
		if err != nil {
			return "", albs.Result{}, withProblems(fmt.Errorf("test %s: %w", p.NEVRA, err), served)
		}
		result.Stages = append(result.Stages, stages...)
		result.Cases = append(result.Cases, cases...)
	}
	logs, err := s.UploadLogs(ctx)
	if err != nil {
		return "", albs.Result{}, err
	}
	return albs.OutcomeOK, albs.Result{Logs: slices.Concat(logs, b.logs), Test: &result}, nil
}

// check refuses a task that can't be carried out as it stands.
func (j jobs) check(spec *albs.TestSpec) error {
	if spec == nil || len(spec.Packages) == 0 || len(spec.Stages) == 0 {
		return albs.Errorf(albs.Invalid, "the task names nothing to test")
	}
	if len(spec.Packages) > albs.MaxTested {
		return albs.Errorf(albs.Invalid, "the task names %d packages, and one tests at most %d", len(spec.Packages), albs.MaxTested)
	}
	for i, stage := range spec.Stages {
		if slices.Contains(spec.Stages[:i], stage) {
			return albs.Errorf(albs.Invalid, "the task names the stage %.40q twice", stage)
		}
	}
	if want := engineOf(spec); j.engines[want] == nil {
		return albs.Errorf(albs.Unavailable, "the task asks for the engine %.40q, and this tester has %s", want, strings.Join(slices.Sorted(maps.Keys(j.engines)), ", "))
	}
	return checkSuites(spec)
}

// engineOf returns the name of the engine that spec asks for.
func engineOf(spec *albs.TestSpec) string { return cmp.Or(spec.Engine, albs.EngineNative) }

// keep uploads the log of a stage.
func keep(ctx context.Context, s *worker.Session, name string, content []byte) (albs.File, error) {
	f, err := os.CreateTemp(s.TempDir(), "stage-*.log")
	if err != nil {
		return albs.File{}, fmt.Errorf("keep %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return albs.File{}, fmt.Errorf("keep %s: %w", name, err)
	}
	return s.Upload(ctx, f.Name(), name)
}

// withProblems adds what the depot could not serve, which dnf's own words hide.
func withProblems(err error, served *depot.Served) error {
	if p := served.Problems(); len(p) > 0 {
		return fmt.Errorf("%w (%s)", err, strings.Join(p, "; "))
	}
	return err
}
