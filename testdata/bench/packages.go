package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/worker/depot"
	"albs/internal/worker/tester"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/native"
	"albs/internal/worker/tester/engine/podman"
	"albs/internal/worker/tester/integrity"
	"albs/internal/worker/workertest"
)

// Of the rows of test-packages: each of the runs is over as many packages as a task has.
const (
	testedAtOnce = albs.MaxTested
	tested       = runs * testedAtOnce
)

// testEngines make the environments; the first is measured against the others.
var testEngines = []struct {
	name string
	make func(ctx context.Context, e *sandbox.Engine) (engine.Engine, error)
}{
	{albs.EngineNative, func(_ context.Context, e *sandbox.Engine) (engine.Engine, error) { return native.New(e), nil }},
	{albs.EnginePodman, podman.New},
}

// asUser, as the first argument, has this program measure engines, which refuse root, in a
// process of an ordinary user's.
const asUser = "test-packages-as-user"

// testPackages: seconds that one of a hundred small packages takes to be installed, held to
// its header and removed, in a fresh environment, beside dnf alone, which installs and
// removes it in one root that stays.
func testPackages(ctx context.Context, b *bench) ([]row, error) {
	if _, _, err := b.seed(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "tested")
	if err := smallPackages(ctx, dir); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", asUser, filepath.Join(b.dir, "seed"), dir, filepath.Join(b.dir, "testing"))
	if err := os.Mkdir(cmd.Args[len(cmd.Args)-1], 0o755); err != nil {
		return nil, err
	}
	if c := b.cred; c != nil {
		if err := os.Chown(cmd.Args[len(cmd.Args)-1], int(c.Uid), int(c.Gid)); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	cmd.Env = append(os.Environ(), "HOME="+b.home, "TMPDIR="+cmd.Args[len(cmd.Args)-1])
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.cred, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("measure engines: %w", err)
	}
	var rows []row
	return rows, json.Unmarshal(out.Bytes(), &rows)
}

// smallPackages makes the repository of the packages under test: ten files each.
func smallPackages(ctx context.Context, dir string) error {
	var head, install, files strings.Builder
	head.WriteString("Name: small\nVersion: 1\nRelease: 1\nSummary: small\nLicense: MIT\nBuildArch: noarch\n%description\nsmall\n")
	install.WriteString("%install\n")
	for i := range tested {
		name := smallName(i)
		fmt.Fprintf(&head, "%%package -n %s\nSummary: small\n%%description -n %[1]s\nsmall\n", name)
		fmt.Fprintf(&install, "mkdir -p %%{buildroot}/usr/share/%s && for i in 0 1 2 3 4 5 6 7 8 9; do echo %[1]s $i > %%{buildroot}/usr/share/%[1]s/$i; done\n", name)
		fmt.Fprintf(&files, "%%files -n %s\n/usr/share/%[1]s\n", name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	spec := filepath.Join(dir, "small.spec")
	if err := os.WriteFile(spec, []byte(head.String()+install.String()+files.String()), 0o644); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"rpmbuild", "--quiet", "-bb", "--define", "_topdir " + dir + "/top", "--define", "_rpmdir " + dir, spec},
		{"createrepo_c", "--quiet", "--no-database", dir + "/noarch"},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, out)
		}
	}
	return nil
}

func smallName(i int) string { return fmt.Sprintf("small-%03d", i) }

// measureEngines is the process of asUser: args are the folders of Seed Linux, of the
// packages under test, and one to work in. It prints the rows.
func measureEngines(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("want three folders")
	}
	m, err := newTesting(args[0], args[1], args[2])
	if err != nil {
		return err
	}
	roots, err := sandbox.New(ctx, sandbox.Config{Dir: filepath.Join(m.dir, "roots")})
	if err != nil {
		return err
	}
	var names []string
	var bases []engine.Base
	for _, e := range testEngines {
		made, err := e.make(ctx, roots)
		if errors.Is(err, albs.Unavailable) && e.name != albs.EngineNative {
			fmt.Fprintf(os.Stderr, "bench: the engine %s is left out: %v\n", e.name, err)
			continue
		}
		if err != nil {
			return err
		}
		base, err := made.Base(ctx, m.root, m.repos, io.Discard)
		if err != nil {
			return err
		}
		defer base.Close()
		names, bases = append(names, e.name), append(bases, base)
	}
	if err := m.alone(ctx, append([]string{"install"}, m.root.Packages...)...); err != nil {
		return err
	}
	took := make([][]float64, len(bases))  // seconds for each package, of each run
	share := make([][]float64, len(bases)) // of that, of the making and the end of environments
	var dnf []float64
	for run := range runs + 1 {
		first := max(run-1, 0) * testedAtOnce
		n := testedAtOnce
		if run == 0 { // fills the caches
			n = 2
		}
		whole, setUp, bare := make([]float64, len(bases)), make([]float64, len(bases)), 0.0
		for x := first; x < first+n; x++ { // in turns: other work on the host is the same for all
			for i, base := range bases {
				began := time.Now()
				part, err := m.test(ctx, base, x)
				if err != nil {
					return fmt.Errorf("the engine %s: %s: %w", names[i], smallName(x), err)
				}
				whole[i] += time.Since(began).Seconds()
				setUp[i] += part.Seconds()
			}
			began := time.Now()
			if err := errors.Join(m.alone(ctx, "install", smallName(x)), m.alone(ctx, "remove", smallName(x))); err != nil {
				return err
			}
			bare += time.Since(began).Seconds()
		}
		if run == 0 {
			continue
		}
		for i := range bases {
			took[i], share[i] = append(took[i], whole[i]/float64(n)), append(share[i], 100*setUp[i]/whole[i])
		}
		dnf = append(dnf, bare/float64(n))
	}
	ours, alone := median(took[0]), median(dnf)
	rows := []row{{
		Name: "test-packages", Unit: "s", Ours: ours, Peer: alone, PeerName: "dnf install and remove alone", Ratio: ours / alone,
		Goal: "environment, install, integrity, remove ≤ 4× dnf", Met: ours <= 4*alone,
	}, {
		Name: "test-packages-set-up", Unit: "%", Ours: median(share[0]), Goal: "environments ≤ 20 % of it", Met: median(share[0]) <= 20,
	}}
	for i := 1; i < len(names); i++ {
		peer := median(took[i])
		rows = append(rows, row{
			Name: "test-packages-" + names[i], Unit: "s", Ours: ours, Peer: peer, PeerName: "the engine " + names[i], Ratio: peer / ours,
			Goal: "≤ 1.2× of it", Met: ours <= 1.2*peer,
		})
		rows[1].Peer, rows[1].PeerName = median(share[i]), "the engine "+names[i]
	}
	together, err := m.inCompany(ctx)
	if err != nil {
		return err
	}
	rows = append(rows, together)
	return json.NewEncoder(os.Stdout).Encode(rows)
}

// testing is what all engines test with, and the root of dnf alone.
type testing struct {
	root     albs.Root
	repos    []sandbox.Repo
	dir      string
	conf     string         // of dnf alone
	packages string         // the folder of the packages under test
	files    []*rpm.Package // and their headers
}

func newTesting(seed, packages, dir string) (*testing, error) {
	packages = filepath.Join(packages, "noarch")
	m := &testing{
		dir: dir, conf: filepath.Join(dir, "dnf.conf"), packages: packages,
		root: albs.Root{
			Platform: "seed", Releasever: "9", Arch: albs.HostArch(runtime.GOARCH), RPMDBPath: "/usr/lib/sysimage/rpm", ModuleID: "platform:el9", SingleUID: true,
			Packages: []string{"bash", "coreutils", "filesystem", "findutils", "glibc-common", "grep", "rpm", "sed", "system-release"},
		},
	}
	conf := "[main]\nreposdir=/dev/null\nplugins=0\nassumeyes=1\ngpgcheck=0\ninstall_weak_deps=0\nprotected_packages=\nmetadata_expire=-1\nmodule_platform_id=platform:el9\n"
	for _, v := range []string{"cachedir", "logdir", "persistdir"} {
		conf += v + "=" + filepath.Join(dir, "alone", v) + "\n"
	}
	for i, folder := range []string{seed, packages} {
		id := fmt.Sprintf("repo%d", i)
		b, err := os.ReadFile(filepath.Join(folder, "repodata/repomd.xml"))
		if err != nil {
			return nil, err
		}
		m.root.Repos = append(m.root.Repos, albs.Repo{ID: id, Mirror: "file://" + folder, Repomd: albs.DigestOf(b), Own: i == 1})
		m.repos = append(m.repos, sandbox.Repo{ID: id, BaseURL: "file://" + folder, Own: i == 1})
		conf += fmt.Sprintf("[%s]\nname=%[1]s\nbaseurl=file://%s\n", id, folder)
	}
	for i := range tested {
		p, err := rpm.ReadFile(filepath.Join(packages, smallName(i)+"-1-1.noarch.rpm"))
		if err != nil {
			return nil, err
		}
		m.files = append(m.files, p)
	}
	return m, os.WriteFile(m.conf, []byte(conf), 0o644)
}

// test does with a package what the stages environment, install, integrity and remove do,
// and returns what the making and the end of its environment took.
func (m *testing) test(ctx context.Context, base engine.Base, x int) (setUp time.Duration, err error) {
	began := time.Now()
	env, err := base.Environment(ctx)
	if err != nil {
		return 0, err
	}
	setUp = time.Since(began)
	defer func() {
		began := time.Now()
		err = errors.Join(err, env.Close())
		setUp += time.Since(began)
	}()
	p := m.files[x]
	var said bytes.Buffer
	if err := env.Install(ctx, []string{p.NEVRA.String()}, &said); err != nil {
		return setUp, err
	}
	if err := m.have(ctx, env, len(base.Packages())+1); err != nil {
		return setUp, err
	}
	verdicts, err := integrity.Check(ctx, integrity.Subject{Package: p, Arch: m.root.Arch, Said: said.Bytes()}, env)
	if err != nil {
		return setUp, err
	}
	for _, v := range verdicts {
		if len(v.Found) > 0 {
			return setUp, fmt.Errorf("%s: %q", v.Rule, v.Found)
		}
	}
	if err := m.run(ctx, env, "cat /etc/dnf/protected.d/*.conf 2>/dev/null; exit 0"); err != nil {
		return setUp, err
	}
	if err := env.Remove(ctx, []string{p.NEVRA.String()}, []string{"bash"}, io.Discard); err != nil {
		return setUp, err
	}
	if err := m.have(ctx, env, len(base.Packages())); err != nil {
		return setUp, err
	}
	if left, err := integrity.Left(ctx, p, env); err != nil || len(left) > 0 {
		return setUp, errors.Join(err, fmt.Errorf("left: %q", left))
	}
	return setUp, m.run(ctx, env, "exit 0")
}

// have fails unless so many packages are installed.
func (m *testing) have(ctx context.Context, env engine.Environment, n int) error {
	packages, err := env.Installed(ctx)
	if err == nil && len(packages) != n {
		err = fmt.Errorf("%d packages are installed, want %d", len(packages), n)
	}
	return err
}

func (m *testing) run(ctx context.Context, env engine.Environment, script string) error {
	code, err := env.Run(ctx, sandbox.Cmd{Argv: []string{"/bin/sh", "-c", script}, User: sandbox.UserRoot})
	if err == nil && code != 0 {
		err = fmt.Errorf("the shell ended with code %d", code)
	}
	return err
}

// inCompany: the seconds that a package takes the whole tester, from claim to result, where
// those of a task share an environment, and where each has one of its own.
func (m *testing) inCompany(ctx context.Context) (r row, err error) {
	var allow []string
	fake := workertest.NewFake()
	for i, repo := range m.root.Repos {
		allow = append(allow, repo.Mirror)
		b, err := os.ReadFile(filepath.Join(strings.TrimPrefix(m.root.Repos[i].Mirror, "file://"), "repodata/repomd.xml"))
		if err != nil {
			return row{}, err
		}
		fake.AddBlob(b)
	}
	e, err := egress.New(egress.Policy{Allow: allow})
	if err != nil {
		return row{}, err
	}
	d, err := depot.New(depot.Config{Dir: filepath.Join(m.dir, "depot")}, e)
	if err != nil {
		return row{}, err
	}
	c := tester.Config{Sandbox: sandbox.Config{Dir: filepath.Join(m.dir, "roots")}, Spool: filepath.Join(m.dir, "spool"), Arch: m.root.Arch, MinFree: 1}
	within, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		master := fake.As(fake.AddWorker("kind:test", "arch:"+string(m.root.Arch)))
		ended <- tester.Run(within, c, "bench", master, d, zerolog.Nop())
	}()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	var took [2][]float64 // seconds for each package
	for run := range runs + 1 {
		for alone := range took {
			began := time.Now()
			if err := m.task(ctx, fake, max(run-1, 0)*testedAtOnce, alone == 1); err != nil {
				return row{}, err
			}
			if run > 0 { // the first fills the caches
				took[alone] = append(took[alone], time.Since(began).Seconds()/testedAtOnce)
			}
		}
	}
	ours, alone := median(took[0]), median(took[1])
	return row{
		Name: "test-packages-together", Unit: "s", Ours: ours, Peer: alone, PeerName: "an environment for each", Ratio: alone / ours,
		Goal: "≥ 2× over 100 packages", Met: alone >= 2*ours,
	}, nil
}

// task has the tester test as many packages as a task has, from the first on.
func (m *testing) task(ctx context.Context, fake *workertest.Fake, first int, alone bool) error {
	spec := &albs.TestSpec{Root: m.root, Stages: []albs.TestStage{albs.StageEnvironment, albs.StageInstall, albs.StageIntegrity, albs.StageRemove}}
	for x := first; x < first+testedAtOnce; x++ {
		b, err := os.ReadFile(filepath.Join(m.packages, smallName(x)+"-1-1.noarch.rpm"))
		if err != nil {
			return err
		}
		p := albs.TestPackage{NEVRA: m.files[x].NEVRA.String(), Digest: albs.DigestOf(b)}
		if alone { // who has a stage that is skipped gets no company
			p.Skip = []albs.TestSkip{{Stage: albs.StageReinstall, Reason: "the bench's"}}
		}
		spec.Packages = append(spec.Packages, p)
	}
	id := fake.Add(workertest.Task{Needs: []string{"kind:test"}, Spec: albs.Spec{Test: spec}}, nil)
	select {
	case <-fake.Ended(id):
	case <-ctx.Done():
		return ctx.Err()
	}
	outcome, r := fake.Result(id, 1)
	if outcome != albs.OutcomeOK || r.Test == nil {
		return fmt.Errorf("the task ended %s: %s", outcome, r.Reason)
	}
	for _, s := range r.Test.Stages {
		if s.Status != albs.TestPassed {
			return fmt.Errorf("%s of %s is %s: %s", s.Stage, s.Package, s.Status, s.Reason)
		}
	}
	return nil
}

// alone runs the host's dnf on a root of its own, as root of a user namespace.
func (m *testing) alone(ctx context.Context, args ...string) error {
	argv := append([]string{"unshare", "--map-root-user", "--map-auto", "dnf", "--config=" + m.conf, "--installroot=" + filepath.Join(m.dir, "alone/root"), "--releasever=9"}, args...)
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("dnf %s: %w: %s", args[0], err, out)
	}
	return nil
}
