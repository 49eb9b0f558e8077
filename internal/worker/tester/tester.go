// Package tester is the role that finds out whether packages install: each one,
// from the repositories of its task, into a fresh root, by the real dnf; then what
// it installed is checked, and it is removed again.
//
// A failed case is a finding and not a failed attempt: the attempt is done when
// every package has been looked at. The package decides nothing; what a verdict
// means is the master's.
package tester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/worker"
	"albs/internal/worker/depot"
	"albs/internal/worker/guard"
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
	// MinFree is the free disk in bytes below which no task is taken, as of guard.New.
	MinFree int64 `yaml:"min_free"`
}

// Run tests what m has to be tested until ctx is done. It fails with Unavailable
// if no root can be made here.
func Run(ctx context.Context, c Config, version string, m worker.Master, d *depot.Depot, log zerolog.Logger) error {
	c.Sandbox.Emulators = emulator.InForce(ctx, c.Emulate, log)
	engine, err := sandbox.New(ctx, c.Sandbox)
	if err != nil {
		return fmt.Errorf("start tester: %w", err)
	}
	log.Info().Str("isolation", engine.Isolation().String()).Msg("tester ready")
	return work(ctx, c, version, m, guard.New(c.MinFree, log, c.Sandbox.Dir), log,
		func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			return job(ctx, s, engine, d)
		})
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
	for _, e := range c.Sandbox.Emulators {
		o.Labels = append(o.Labels, "arch:"+string(e.Arch), albs.EmulatedLabel(e.Arch))
	}
	return o
}

func job(ctx context.Context, s *worker.Session, engine *sandbox.Engine, d *depot.Depot) (albs.Outcome, albs.Result, error) {
	spec := s.Lease.Spec.Test
	if spec == nil || len(spec.Packages) == 0 {
		return "", albs.Result{}, albs.Errorf(albs.Invalid, "the task names nothing to test")
	}
	served, err := d.Serve(ctx, s.Master(), s.Lease, spec.Root.Repos)
	if err != nil {
		return "", albs.Result{}, err
	}
	defer served.Close()
	var repos []sandbox.Repo
	for _, r := range served.Repos() {
		repos = append(repos, sandbox.Repo{ID: r.ID, BaseURL: r.BaseURL, Priority: r.Priority, Own: r.Own})
	}
	log := s.Log("test")
	fmt.Fprintf(log, "making the base of %s %s\n", spec.Root.Platform, spec.Root.Arch)
	base, err := engine.Base(ctx, spec.Root, repos, log)
	if errors.Is(err, albs.Invalid) { // the platform's fault, no package's, and so without its kind
		err = albs.Errorf(albs.Unavailable, "platform %s gives no root: %v", spec.Root.Platform, err)
	}
	if err != nil {
		return "", albs.Result{}, withProblems(err, served)
	}
	defer base.Close()
	result := albs.TestResult{}
	for _, p := range spec.Packages {
		cases, err := test(ctx, base, repos, p, log)
		if err != nil {
			return "", albs.Result{}, withProblems(fmt.Errorf("test %s: %w", p.NEVRA, err), served)
		}
		result.Cases = append(result.Cases, cases...)
	}
	logs, err := s.UploadLogs(ctx)
	if err != nil {
		return "", albs.Result{}, err
	}
	return albs.OutcomeOK, albs.Result{Logs: logs, Test: &result}, nil
}

// withProblems adds what the depot could not serve, which dnf's own words hide.
func withProblems(err error, served *depot.Served) error {
	if p := served.Problems(); len(p) > 0 {
		return fmt.Errorf("%w (%s)", err, strings.Join(p, "; "))
	}
	return err
}

// Names of the cases, in the order in which they run; a failed one ends a
// package's test, and the rest are not reported.
const (
	caseInstall   = "install"
	caseFiles     = "files"
	caseLibraries = "libraries"
	caseRemove    = "remove"
)

const (
	checkTime = 10 * time.Minute
	maxDetail = 2000
)

// test runs the cases of one package in an overlay of its own.
func test(ctx context.Context, base *sandbox.Base, repos []sandbox.Repo, p albs.TestPackage, log io.Writer) ([]albs.TestCase, error) {
	nevra, err := rpm.ParseNEVRA(p.NEVRA)
	if err != nil {
		return nil, err
	}
	root, err := base.Overlay(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := root.Close(); cerr != nil {
			fmt.Fprintf(log, "the root is left behind: %v\n", cerr)
		}
	}()
	fmt.Fprintf(log, "\n== %s\n", p.NEVRA)
	var cases []albs.TestCase
	add := func(name string, detail string) bool {
		ok := detail == ""
		cases = append(cases, albs.TestCase{Package: p.NEVRA, Name: name, OK: ok, Detail: shorten(detail)})
		fmt.Fprintf(log, "-- %s: %s\n", name, map[bool]string{true: "ok", false: "FAILED: " + shorten(detail)}[ok])
		return ok
	}

	if err := root.Install(ctx, []string{p.NEVRA}, repos, log); err != nil {
		if !errors.Is(err, albs.Invalid) {
			return nil, err
		}
		add(caseInstall, err.Error())
		return cases, nil
	}
	detail, err := installed(ctx, root, p)
	if err != nil || !add(caseInstall, detail) {
		return cases, err
	}
	for _, check := range []struct {
		name   string
		script string
	}{{caseFiles, filesScript}, {caseLibraries, librariesScript}} {
		detail, err := run(ctx, root, check.script, nevra, log)
		if err != nil || !add(check.name, detail) {
			return cases, err
		}
	}
	if err := root.Remove(ctx, []string{p.NEVRA}, repos, log); err != nil {
		if !errors.Is(err, albs.Invalid) {
			return nil, err
		}
		add(caseRemove, err.Error())
		return cases, nil
	}
	detail, err = run(ctx, root, removedScript, nevra, log)
	if err != nil {
		return cases, err
	}
	add(caseRemove, detail)
	return cases, nil
}

// installed says what is wrong with what dnf installed: it must be the very file
// under test, not another one that has its name. A file that can't be told is none
// that was tested.
func installed(ctx context.Context, root *sandbox.Root, p albs.TestPackage) (string, error) {
	packages, err := root.Installed(ctx)
	if err != nil {
		return "", err
	}
	return identity(packages, p), nil
}

// identity returns what keeps p from being among the packages, "" if it is.
func identity(packages []sandbox.Package, p albs.TestPackage) string {
	for _, have := range packages {
		switch {
		case have.NEVRA() != p.NEVRA:
		case have.File == "":
			return "which file dnf installed can't be told: its repository gives it a name that isn't the package's own"
		case have.File != p.Digest:
			return fmt.Sprintf("dnf installed another file of that name, %s", have.File.Short())
		default:
			return ""
		}
	}
	return "dnf reported success and the package is not installed"
}

// The scripts run inside the root, as root, without network. $1 is the package.
// rpm -V leaves out what a package may change itself: times and configuration.
const (
	filesScript = `rpm -V --nomtime --noconfig -- "$1"`

	librariesScript = `rpm -ql -- "$1" | while IFS= read -r f; do
	case $f in /usr/lib/debug/*|/usr/src/debug/*) continue;; esac
	[ -f "$f" ] && [ ! -L "$f" ] || continue
	[ "$(head -c 4 -- "$f" 2>/dev/null | tr -d '\0')" = "$(printf '\177ELF')" ] || continue
	ldd -- "$f" 2>/dev/null | grep 'not found' | sed "s|^|$f:|"
done`

	removedScript = `if rpm -q -- "$1" >/dev/null; then echo "the package is still installed"; fi`
)

// run returns what a check had to say: nothing if all is well.
func run(ctx context.Context, root *sandbox.Root, script string, n rpm.NEVRA, log io.Writer) (string, error) {
	var out bytes.Buffer
	name := fmt.Sprintf("%s-%s-%s.%s", n.Name, n.Version, n.Release, n.Arch)
	code, err := root.Run(ctx, sandbox.Cmd{
		Argv: []string{"/bin/sh", "-c", script, "sh", name}, User: sandbox.UserRoot,
		Stdout: io.MultiWriter(&out, log), Stderr: log, Limits: sandbox.Limits{Time: checkTime, Output: 1 << 20},
	})
	if errors.Is(err, albs.Invalid) || errors.Is(err, albs.NotFound) {
		return err.Error(), nil // it passed a limit, or took the shell along: the package's own doing
	}
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(out.String()); text != "" {
		return text, nil
	}
	if code != 0 {
		return fmt.Sprintf("the check ended with code %d", code), nil
	}
	return "", nil
}

func shorten(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + " …"
	}
	return s
}
