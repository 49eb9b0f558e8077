// Package node is the role that builds: an exported source into an SRPM, an SRPM
// into the RPMs of one arch, each in a fresh buildroot. On the way to the former it
// asks what the spec file says, or it only asks, if the SRPM is given.
//
// A node holds no secret but its own identity. It fetches nothing but by the
// task's lease and by the depot's mirrors, decides nothing, and proposes files;
// what they are worth is the master's decision. Every end of a package, good or
// bad, comes with its logs and the record of the buildroot.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/disk"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/worker"
	"albs/internal/worker/depot"
	"albs/internal/worker/guard"
)

// Config holds what an operator may set.
type Config struct {
	// Engine makes the packages: EngineNative, which is the default, or EngineMock.
	Engine string `yaml:"engine"`
	// Sandbox says where roots are made.
	Sandbox sandbox.Config `yaml:"sandbox"`
	// Spool keeps what could not be reported yet.
	Spool string `yaml:"-"`
	// Work is where a task's files lie while it runs.
	Work string `yaml:"-"`
	// Arch is the arch that is built for.
	Arch albs.Arch `yaml:"-"`
	// SecureBoot says that the node is kept for builds for secure boot, which it takes
	// beside all others. The master has to have enrolled it so.
	SecureBoot bool `yaml:"secure_boot"`
	// Parallel is how many tasks run at once; 0 is 1.
	Parallel int `yaml:"parallel"`
	// Emulate lists further arches, which are built for as far as the host runs their
	// programs by an emulator.
	Emulate []albs.Arch `yaml:"emulate"`
	// MinFree is the free disk in bytes below which no task is taken, as of guard.New.
	MinFree int64 `yaml:"min_free"`
}

// The engines of Config.Engine.
const (
	EngineNative = "native"
	EngineMock   = "mock"
)

// Check returns an Invalid error if there is no such engine.
func (c Config) Check() error {
	if c.Engine != "" && c.Engine != EngineNative && c.Engine != EngineMock {
		return albs.Errorf(albs.Invalid, "node.engine is %q; there are %s and %s", c.Engine, EngineNative, EngineMock)
	}
	return nil
}

// MaybeInit is sandbox.MaybeInit, for the program that holds the role.
func MaybeInit() { sandbox.MaybeInit() }

// Run builds what m has to be built until ctx is done. It fails with Unavailable
// if no buildroot can be made here: a node that can't isolate, or lacks the engine that
// it is told to use, claims nothing; with Invalid if there is no such engine, and with
// Conflict if another process works in c.Work.
func Run(ctx context.Context, c Config, version string, m worker.Master, d *depot.Depot, log zerolog.Logger) error {
	if err := c.Check(); err != nil {
		return err
	}
	lock, err := lockWork(c.Work)
	if err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	defer disk.Unlock(lock)
	c.Sandbox.Emulators = emulator.InForce(ctx, c.Emulate, log)
	sb, err := sandbox.New(ctx, c.Sandbox)
	if err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	var engine buildroot.Engine = buildroot.NewNative(sb)
	isolation := sb.Isolation()
	if c.Engine == EngineMock {
		mock, err := buildroot.NewMock(ctx, sb, buildroot.MockTool{})
		if err != nil {
			return fmt.Errorf("start node: %w", err)
		}
		engine, isolation = mock, mock.Isolation()
	}
	log.Info().Str("isolation", isolation.String()).Str("arch", string(c.Arch)).Msg("node ready")
	return work(ctx, c, version, engine, m, d, guard.New(c.MinFree, log, c.Work, c.Sandbox.Dir), log)
}

// work builds by engine, and under g, until ctx is done.
func work(ctx context.Context, c Config, version string, engine buildroot.Engine, m worker.Master, d *depot.Depot, g *guard.Guard, log zerolog.Logger) error {
	// What lies there belonged to tasks of an earlier process.
	if err := os.RemoveAll(c.Work); err != nil {
		return fmt.Errorf("clear work directory: %w", err)
	}
	if err := os.MkdirAll(c.Work, 0o700); err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	b := builder{engine: engine, depot: d, work: c.Work}
	l := worker.Loop{
		Master: m, Parallel: max(c.Parallel, 1), Spool: c.Spool, Log: log, Job: g.Job(b.do),
		Offer: func() worker.Offer { return c.offer(version, g) },
	}
	return l.Run(ctx)
}

// lockWork keeps a second node from clearing the folder in which this one works,
// until the file returned is closed.
func lockWork(work string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(work), 0o700); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	f, err := disk.Lock(work + ".lock")
	if errors.Is(err, albs.Conflict) {
		return nil, albs.Errorf(albs.Conflict, "another node works in %s", work)
	}
	if err != nil {
		return nil, fmt.Errorf("lock work directory: %w", err)
	}
	return f, nil
}

// offer returns what the node can do now.
func (c Config) offer(version string, g *guard.Guard) worker.Offer {
	o := worker.Machine()
	o.Version, o.Disk, o.Pause = version, g.Free(), g.Pause()
	if o.Pause != "" {
		return o
	}
	o.Labels = []string{"kind:" + string(albs.KindSource), "kind:" + string(albs.KindBuild), "kind:" + string(albs.KindRebuild), "arch:" + string(c.Arch)}
	if c.SecureBoot {
		o.Labels = append(o.Labels, "secureboot")
	}
	for _, e := range c.Sandbox.Emulators {
		o.Labels = append(o.Labels, "arch:"+string(e.Arch), albs.EmulatedLabel(e.Arch))
	}
	return o
}

type builder struct {
	engine buildroot.Engine
	depot  *depot.Depot
	work   string
}

// do does one source or build task in a folder of its own.
func (b builder) do(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
	if s.Lease.Spec.Source == nil && s.Lease.Spec.Build == nil {
		return "", albs.Result{}, albs.Errorf(albs.Invalid, "the task names nothing to build")
	}
	dir, err := os.MkdirTemp(b.work, s.Lease.Token.Task.String()+"-")
	if err != nil {
		return "", albs.Result{}, fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return "", albs.Result{}, fmt.Errorf("make work directory: %w", err)
	}
	root := s.Lease.Spec.Root()
	served, err := b.depot.Serve(ctx, s.Master(), s.Lease, root.Repos)
	if err != nil {
		return "", albs.Result{}, err
	}
	defer served.Close()
	var repos []sandbox.Repo
	for _, r := range served.Repos() {
		repos = append(repos, sandbox.Repo{ID: r.ID, BaseURL: r.BaseURL, Priority: r.Priority, Own: r.Own, Modular: r.Modular, Keys: r.Keys})
	}
	logs := buildroot.Logs{State: s.Log("state"), Root: s.Log("root"), Build: s.Log("build")}

	var done buildroot.Output
	if spec := s.Lease.Spec.Source; spec != nil {
		done, err = b.source(ctx, s, *spec, repos, dir, out, logs)
	} else {
		done, err = b.build(ctx, s, *s.Lease.Spec.Build, repos, dir, out, logs)
	}
	for _, p := range served.Problems() {
		fmt.Fprintf(logs.Root, "depot: %s\n", p)
	}
	if errors.Is(err, albs.Invalid) || done.Excluded != "" {
		// The package's own fault, or nothing to do: a finding, told with its logs.
		return b.finding(ctx, s, done, dir, err)
	}
	if err != nil {
		return "", albs.Result{}, err
	}
	return b.deliver(ctx, s, done, dir, logs)
}

func (b builder) source(ctx context.Context, s *worker.Session, spec albs.SourceSpec, repos []sandbox.Repo, dir, out string, logs buildroot.Logs) (buildroot.Output, error) {
	j := buildroot.SourceJob{Root: spec.Root, Repos: repos, Arches: spec.Arches, Spec: spec.Spec, Switches: spec.Switches, Out: out, Logs: logs}
	if spec.SRPM != nil {
		j.SRPM = filepath.Join(dir, filepath.Base(spec.SRPM.Name))
		if err := fetch(ctx, s, spec.SRPM.Digest, j.SRPM); err != nil {
			return buildroot.Output{}, err
		}
		return b.engine.Source(ctx, j)
	}
	j.Tree = filepath.Join(dir, "tree.tar")
	if err := fetch(ctx, s, spec.Tree, j.Tree); err != nil {
		return buildroot.Output{}, err
	}
	if spec.History != "" {
		j.History = filepath.Join(dir, "history.tar")
		if err := fetch(ctx, s, spec.History, j.History); err != nil {
			return buildroot.Output{}, err
		}
	}
	for i, f := range spec.Sources {
		p := filepath.Join(dir, fmt.Sprintf("source-%d", i))
		if err := fetch(ctx, s, f.Digest, p); err != nil {
			return buildroot.Output{}, err
		}
		j.Sources = append(j.Sources, buildroot.File{Name: f.Name, Path: p})
	}
	return b.engine.Source(ctx, j)
}

func (b builder) build(ctx context.Context, s *worker.Session, spec albs.BuildSpec, repos []sandbox.Repo, dir, out string, logs buildroot.Logs) (buildroot.Output, error) {
	j := buildroot.BuildJob{
		Root: spec.Root, Repos: repos, SRPM: filepath.Join(dir, filepath.Base(spec.SRPM.Name)), Arch: spec.Arch, Owner: spec.Owner,
		Switches: spec.Switches, Out: out, Logs: logs,
	}
	if err := logs.Step("fetch", func() error { return fetch(ctx, s, spec.SRPM.Digest, j.SRPM) }); err != nil {
		return buildroot.Output{}, err
	}
	return b.engine.Build(ctx, j)
}

// fetch brings a blob of the task into a file.
func fetch(ctx context.Context, s *worker.Session, d albs.Digest, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", d.Short(), err)
	}
	err = s.Fetch(ctx, d, worker.MaxUpload, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("fetch %s: %w", d.Short(), err)
	}
	return nil
}

// finding reports a package that didn't build, or isn't built for the arch. A result
// without files has no place for the record, which goes as one more log then.
func (b builder) finding(ctx context.Context, s *worker.Session, done buildroot.Output, dir string, cause error) (albs.Outcome, albs.Result, error) {
	logs, err := s.UploadLogs(ctx)
	if err != nil {
		return "", albs.Result{}, err
	}
	if done.Record.Format != "" {
		record, err := upload(ctx, s, done.Record, dir)
		if err != nil {
			return "", albs.Result{}, err
		}
		logs = append(logs, record)
	}
	if done.Excluded != "" {
		return albs.OutcomeExcluded, albs.Result{Reason: done.Excluded, Logs: logs}, nil
	}
	return albs.OutcomeFailed, albs.Result{Reason: cause.Error(), Logs: logs}, nil
}

// upload brings the buildroot record to the master.
func upload(ctx context.Context, s *worker.Session, r buildroot.Record, dir string) (albs.File, error) {
	const name = "buildroot.json"
	b, err := r.Encode()
	if err != nil {
		return albs.File{}, err
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return albs.File{}, fmt.Errorf("write buildroot record: %w", err)
	}
	return s.Upload(ctx, path, name)
}

// deliver uploads what was built, the record and the logs.
func (b builder) deliver(ctx context.Context, s *worker.Session, done buildroot.Output, dir string, streams buildroot.Logs) (albs.Outcome, albs.Result, error) {
	var files []albs.File
	var record albs.File
	err := streams.Step("upload", func() (err error) {
		for _, p := range done.Files {
			f, err := s.Upload(ctx, p, filepath.Base(p))
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		record, err = upload(ctx, s, done.Record, dir)
		return err
	})
	if err != nil {
		return "", albs.Result{}, err
	}
	logs, err := s.UploadLogs(ctx)
	if err != nil {
		return "", albs.Result{}, err
	}
	if spec := s.Lease.Spec.Source; spec != nil {
		r := albs.SourceResult{Record: record, Facts: done.Facts}
		if spec.SRPM == nil {
			if len(files) != 1 {
				return "", albs.Result{}, fmt.Errorf("rpmbuild -bs left %d files", len(files))
			}
			r.SRPM = files[0]
		}
		return albs.OutcomeOK, albs.Result{Logs: logs, Source: &r}, nil
	}
	return albs.OutcomeOK, albs.Result{Logs: logs, Build: &albs.BuildResult{Packages: files, Record: record}}, nil
}
