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
)

// rpmkeys is the second engine that looks at what was signed: rpm's own, in a
// sandbox of its own that sees /usr and one folder of work, and no network.
type rpmkeys struct {
	bwrap, program string
}

// findRPMKeys returns the engine, or Unavailable with what to install.
func findRPMKeys() (rpmkeys, error) {
	program, err := exec.LookPath("rpmkeys")
	if err != nil {
		return rpmkeys{}, albs.Errorf(albs.Unavailable, "the signer checks its work with rpmkeys, which isn't here: install the package rpm (%w)", err)
	}
	bwrap, err := exec.LookPath("bwrap")
	if err != nil {
		return rpmkeys{}, albs.Errorf(albs.Unavailable, "the signer runs rpmkeys in a sandbox, and bwrap isn't here: install the package bubblewrap (%w)", err)
	}
	return rpmkeys{bwrap, program}, nil
}

// rpmkeysTime bounds one call; what it reads was written a moment ago.
const rpmkeysTime = 10 * time.Minute

// check has rpm verify the packages, files in dir by base name, with the one public
// key: signature and digests of each, all of them required. Invalid if rpm takes
// one of them for bad, Unavailable if the sandbox can't be made.
func (r rpmkeys) check(ctx context.Context, dir string, public []byte, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, rpmkeysTime)
	defer cancel()
	if err := os.WriteFile(filepath.Join(dir, "key.asc"), public, 0o600); err != nil {
		return fmt.Errorf("lay out key for rpmkeys: %w", err)
	}
	if out, err := r.run(ctx, dir, "--import", "key.asc"); err != nil {
		return albs.Errorf(albs.Unavailable, "rpmkeys in its sandbox doesn't take the key: %.300q (%w)", out, err)
	}
	args := []string{"--define", "_pkgverify_level all", "--checksig", "--"}
	out, err := r.run(ctx, dir, append(args, names...)...)
	if _, exited := errors.AsType[*exec.ExitError](err); exited && ctx.Err() == nil {
		return albs.Errorf(albs.Invalid, "rpmkeys refuses a package that was just signed: %.1000q", out)
	}
	if err != nil {
		return albs.Errorf(albs.Unavailable, "rpmkeys can't be run: %w", err)
	}
	return nil
}

// run runs rpmkeys with its database below dir, which is all that it sees beside
// /usr and the host's policy on cryptography.
func (r rpmkeys) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
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
		"--", r.program, "--dbpath", "/work/db",
	)
	cmd := exec.CommandContext(ctx, r.bwrap, append(argv, args...)...)
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
