package tester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
)

// environment makes the root in which the package is tested.
func (s *subject) environment(ctx context.Context, _ io.Writer) (err error) {
	if s.crowd != nil {
		s.env = s.crowd
	} else if s.env, err = s.base.Environment(ctx); err != nil {
		return unblamed(err)
	}
	if how := s.unusual(); how != "" {
		return end{albs.TestPassed, how}
	}
	return nil
}

// unusual says how programs are run in the environments, where that isn't as on most
// machines: who reads what came of them has to know.
func (s *subject) unusual() string {
	var how []string
	if e := engineOf(s.spec); e != albs.EngineNative {
		how = append(how, "programs were run by the engine "+e)
	}
	if arch := s.spec.Root.Arch; slices.Contains(s.emulated, arch) {
		how = append(how, "those of "+string(arch)+" were emulated")
	}
	return strings.Join(how, "; ")
}

// unblamed takes its kind from an error that came before anything of a package ran.
func unblamed(err error) error {
	if errors.Is(err, albs.Invalid) {
		return albs.Errorf(albs.Unavailable, "%v", err)
	}
	return err
}

// system says what the root is, for people who read the log. It has no opinion.
func (s *subject) system(ctx context.Context, log io.Writer) error {
	_, err := s.env.Run(ctx, sandbox.Cmd{
		Argv: []string{"/bin/sh", "-c", systemScript}, User: sandbox.UserRoot, Stdout: log, Stderr: log, Limits: sandbox.Limits{Output: 1 << 20},
	})
	switch albs.KindOf(err) {
	case albs.NotFound:
		return skipped("the root has no shell that could tell")
	case albs.Invalid:
		return skipped("what the root said was cut short: %v", err)
	}
	return err
}

// install enables the package's module, installs the package, and holds what dnf
// installed to be the very file under test.
func (s *subject) install(ctx context.Context, log io.Writer) error {
	var said clip
	err := s.put(ctx, s.env, s.pkg.NEVRA, io.MultiWriter(log, &said))
	s.said = said.Bytes()
	if err != nil {
		return err
	}
	return s.identical(ctx, s.env)
}

// put installs a version of the package. A stream that no repository has can't be enabled,
// and needn't be: what is built of it is seen anyway.
func (s *subject) put(ctx context.Context, env engine.Environment, nevra string, log io.Writer) error {
	if s.pkg.Module != "" {
		err := env.Enable(ctx, []string{s.pkg.Module}, log)
		if errors.Is(err, albs.Invalid) && ctx.Err() == nil {
			fmt.Fprintf(log, "the stream %s is not enabled: %v\n", s.pkg.Module, err)
		} else if err != nil {
			return err
		}
	}
	return env.Install(ctx, []string{nevra}, log)
}

// identical fails unless the package that env has is the very file under test.
func (s *subject) identical(ctx context.Context, env engine.Environment) error {
	packages, err := env.Installed(ctx)
	if err != nil {
		return err
	}
	if why := identity(packages, s.pkg); why != "" {
		return failed("%s", why)
	}
	return nil
}

// identity returns what keeps p from being among the packages, "" if it is: it must be
// the very file under test, not another one that has its name. A file that can't be told
// is none that was tested.
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

// has reports whether env has a package of that NEVRA.
func has(ctx context.Context, env engine.Environment, nevra string) (bool, error) {
	packages, err := env.Installed(ctx)
	if err != nil {
		return false, err
	}
	for _, p := range packages {
		if p.NEVRA() == nevra {
			return true, nil
		}
	}
	return false, nil
}

// upgrade installs the released version, in an environment of its own, and upgrades it to
// the package under test.
func (s *subject) upgrade(ctx context.Context, log io.Writer) (err error) {
	if s.pkg.From == "" {
		return skipped("no released version is older")
	}
	if s.other, err = s.base.Environment(ctx); err != nil {
		return unblamed(err)
	}
	err = s.put(ctx, s.other, s.pkg.From, log)
	if err == nil {
		var there bool
		if there, err = has(ctx, s.other, s.pkg.From); err == nil && !there {
			err = albs.Errorf(albs.Invalid, "dnf reported success and it is not installed")
		}
	}
	if errors.Is(err, albs.Invalid) { // of another package, which isn't under test
		return notRun("the released %s can't be installed: %v", s.pkg.From, err)
	}
	if err != nil {
		return err
	}
	var said clip
	if err := s.other.Upgrade(ctx, []string{s.pkg.NEVRA}, io.MultiWriter(log, &said)); err != nil {
		return err
	}
	if err := s.identical(ctx, s.other); err != nil {
		return err
	}
	// What the scriptlets of both versions have left may be another thing than after a
	// fresh installation.
	if err := s.verify(ctx, albs.StageUpgrade, s.other, said.Bytes(), s.pkg.From, log); err != nil {
		return err
	}
	return s.tell(albs.StageUpgrade, log)
}

// downgrade goes back to the released version.
func (s *subject) downgrade(ctx context.Context, log io.Writer) error {
	var said clip
	if err := s.other.Downgrade(ctx, []string{s.pkg.From}, io.MultiWriter(log, &said)); err != nil {
		return err
	}
	s.scriptlets(albs.StageDowngrade, said.Bytes(), s.pkg.From)
	if there, err := has(ctx, s.other, s.pkg.From); err != nil || !there {
		return orFailed(err, "dnf reported success and %s is not installed", s.pkg.From)
	}
	if there, err := has(ctx, s.other, s.pkg.NEVRA); err != nil || there {
		return orFailed(err, "dnf reported success and the package is still installed")
	}
	return nil
}

// orFailed returns err, or what failed if there is none.
func orFailed(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return failed(format, args...)
}

// remove removes the package, unless the platform or what was installed with it protects
// what would go.
func (s *subject) remove(ctx context.Context, log io.Writer) error {
	protected, err := s.protected(ctx)
	if err != nil {
		return err
	}
	var said clip
	err = s.env.Remove(ctx, []string{s.pkg.NEVRA}, protected, io.MultiWriter(log, &said))
	if errors.Is(err, albs.Conflict) {
		return skipped("%v", err)
	}
	if err != nil {
		return err
	}
	if there, err := has(ctx, s.env, s.pkg.NEVRA); err != nil || there {
		return orFailed(err, "dnf reported success and the package is still installed")
	}
	s.scriptlets(albs.StageRemove, said.Bytes(), "")
	if err := s.leftovers(ctx); err != nil {
		return err
	}
	if err := s.tell(albs.StageRemove, log); err != nil {
		return err
	}
	// What the root has left may be too little to say anything.
	return s.alive(ctx, log)
}

// alive fails if the root can't run a program any more.
func (s *subject) alive(ctx context.Context, log io.Writer) error {
	code, err := s.env.Run(ctx, sandbox.Cmd{Argv: []string{"/bin/sh", "-c", "exit 0"}, User: sandbox.UserRoot, Stdout: log, Stderr: log, Limits: sandbox.Limits{Output: 64 << 10}})
	if err == nil && code != 0 {
		return failed("the root's shell ends with code %d", code)
	}
	return err
}

// protected returns the names of packages that must stay: those of the platform's root,
// and those that packages in it protect from dnf.
func (s *subject) protected(ctx context.Context) ([]string, error) {
	var names []string
	for _, p := range s.base.Packages() {
		names = append(names, p.Name)
	}
	var out bytes.Buffer
	_, err := s.env.Run(ctx, sandbox.Cmd{Argv: []string{"/bin/sh", "-c", protectedScript}, User: sandbox.UserRoot, Stdout: &out, Limits: sandbox.Limits{Output: 64 << 10}})
	if err != nil && albs.KindOf(err) != albs.NotFound && albs.KindOf(err) != albs.Invalid {
		return nil, err
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names, nil
}

// reinstall installs the package again: after it was removed, or in its own place.
func (s *subject) reinstall(ctx context.Context, log io.Writer) error {
	there, err := has(ctx, s.env, s.pkg.NEVRA)
	if err != nil {
		return err
	}
	var said clip
	both := io.MultiWriter(log, &said)
	if there {
		err = s.env.Reinstall(ctx, []string{s.pkg.NEVRA}, both)
	} else {
		err = s.env.Install(ctx, []string{s.pkg.NEVRA}, both)
	}
	if err != nil {
		return err
	}
	if err := s.identical(ctx, s.env); err != nil {
		return err
	}
	if err := s.verify(ctx, albs.StageReinstall, s.env, said.Bytes(), "", log); err != nil {
		return err
	}
	return s.tell(albs.StageReinstall, log)
}

// The scripts run inside the root, as root, without network.
const (
	systemScript = `cat /etc/os-release
uname -a; id; date -u; df -h /; ulimit -a
cat /proc/meminfo | head -n 3
rpm -qa --qf '%{NEVRA} %{SHA256HEADER}\n' | sort
exit 0`

	protectedScript = `cat /etc/dnf/protected.d/*.conf /etc/yum/protected.d/*.conf 2>/dev/null`
)
