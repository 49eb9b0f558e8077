package signer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
)

// engines are what looks at signatures a second time: rpm's and GnuPG's own programs, each
// run in a sandbox of its own that sees /usr and one folder of work, and no network.
type engines struct {
	bwrap, rpmkeys, gpgv string
}

// findEngines returns them, or Unavailable with what to install.
func findEngines() (engines, error) {
	var e engines
	for _, tool := range []struct {
		path         *string
		name, does   string
		packageNames string
	}{
		{&e.rpmkeys, "rpmkeys", "checks packages that it signed with", "rpm"},
		{&e.gpgv, "gpgv", "checks other signatures with", "gpgv (on EL gnupg2)"},
		{&e.bwrap, "bwrap", "runs them in a sandbox by", "bubblewrap"},
	} {
		var err error
		if *tool.path, err = exec.LookPath(tool.name); err != nil {
			return engines{}, albs.Errorf(albs.Unavailable, "the signer %s %s, which isn't here: install the package %s (%w)", tool.does, tool.name, tool.packageNames, err)
		}
	}
	return e, nil
}

// engineTime bounds one call; what it reads was written a moment ago.
const engineTime = 10 * time.Minute

// packages has rpm verify the packages, files in dir by base name, with the one public
// key: signature and digests of each, all of them required. Invalid if rpm takes
// one of them for bad, Unavailable if the sandbox can't be made.
func (e engines) packages(ctx context.Context, dir string, public []byte, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	if err := os.WriteFile(filepath.Join(dir, "key.asc"), public, 0o600); err != nil {
		return fmt.Errorf("lay out key for rpmkeys: %w", err)
	}
	if out, err := e.run(ctx, dir, e.rpmkeys, "--dbpath", "/work/db", "--import", "key.asc"); err != nil {
		return albs.Errorf(albs.Unavailable, "rpmkeys in its sandbox doesn't take the key: %.300q (%w)", out, err)
	}
	args := append([]string{"--dbpath", "/work/db", "--define", "_pkgverify_level all", "--checksig", "--"}, names...)
	return judged(ctx, "rpmkeys")(e.run(ctx, dir, e.rpmkeys, args...))
}

// documents has gpgv verify the signatures of the first n documents in dir, or clear-signed
// copies, likewise.
func (e engines) documents(ctx context.Context, dir string, public []byte, n int, clear bool) error {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	ring, err := pgp.Dearmor(public)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "key.gpg"), ring, 0o600)
	}
	if err != nil {
		return fmt.Errorf("lay out key for gpgv: %w", err)
	}
	for i := range n {
		args := []string{"--homedir", "/tmp", "--keyring", "/work/key.gpg", signatureName(i)}
		if !clear {
			args = append(args, unsignedName(i))
		}
		if err := judged(ctx, "gpgv")(e.run(ctx, dir, e.gpgv, args...)); err != nil {
			return err
		}
	}
	return nil
}

// judged tells an engine's verdict from an engine that can't be run.
func judged(ctx context.Context, name string) func(out []byte, err error) error {
	return func(out []byte, err error) error {
		if _, exited := errors.AsType[*exec.ExitError](err); exited && ctx.Err() == nil {
			return albs.Errorf(albs.Invalid, "%s refuses what was just signed: %.1000q", name, out)
		}
		if err != nil {
			return albs.Errorf(albs.Unavailable, "%s can't be run: %w", name, err)
		}
		return nil
	}
}

// run runs a program with dir as /work, which is all that it sees beside
// /usr and the host's policy on cryptography.
func (e engines) run(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	argv := []string{
		"--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
		"--ro-bind", "/usr", "/usr",
	}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		target, err := os.Readlink(d)
		switch {
		case err == nil:
			argv = append(argv, "--symlink", target, d)
		case !errors.Is(err, os.ErrNotExist):
			argv = append(argv, "--ro-bind", d, d) // a system whose /usr isn't merged
		}
	}
	argv = append(argv,
		"--ro-bind-try", "/etc/crypto-policies", "/etc/crypto-policies",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--bind", dir, "/work", "--chdir", "/work",
		"--setenv", "PATH", "/usr/bin:/usr/sbin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C",
		"--", program,
	)
	cmd := exec.CommandContext(ctx, e.bwrap, append(argv, args...)...)
	cmd.Env = []string{}
	cmd.WaitDelay = 5 * time.Second
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	return out.b, err
}

// head keeps the first part of what a program says.
type head struct{ b []byte }

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	if room := 4096 - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}
