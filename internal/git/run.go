package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"albs/internal/albs"
)

const maxStderr = 16 << 10

// command is one git process.
type command struct {
	args   []string // the subcommand and its arguments
	dir    string   // the mirror, or "" for none
	proxy  string   // the proxy's URL, or "" for no way out
	stdin  io.Reader
	stdout io.Writer
	limit  int64 // bytes of stdout
}

// exitError is a git that ran and ended with a code other than 0.
type exitError struct {
	verb string
	code int
	said string // the end of its stderr, for people only
}

// Error returns the code and git's own words.
func (e *exitError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("git %s ended with code %d", e.verb, e.code)
	}
	return fmt.Sprintf("git %s ended with code %d: %s", e.verb, e.code, e.said)
}

// local runs c in the mirror dir without a way out.
func (m *Mirrors) local(ctx context.Context, dir string, c command) error {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	c.dir = dir
	return m.run(ctx, c)
}

// run executes c to its end. The end of ctx kills git and its children; the death of
// this process kills git, whose pipes' end then ends its children. It returns an *exitError if git failed, TooLarge if it said more than c.limit,
// Unavailable if ctx ended or git could not be started.
func (m *Mirrors) run(ctx context.Context, c command) error {
	args := []string{"-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=never"}
	cmd := exec.CommandContext(ctx, "git", append(args, c.args...)...)
	cmd.Env = m.environment(c)
	cmd.Dir = m.home
	// An orphan would go on to write in the mirror while the next process, which gets
	// the dead one's lock, clears debris. The signal comes when the thread that forked
	// ends, hence the lock on it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	stderr := &tail{max: maxStderr}
	cmd.Stderr = stderr
	out := &cappedWriter{w: io.Discard, left: c.limit}
	if c.stdout != nil {
		out.w = c.stdout
	}
	cmd.Stdout = out
	cmd.Stdin = c.stdin

	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case out.err != nil:
		return out.err
	case ctx.Err() != nil:
		return albs.Errorf(albs.Unavailable, "git %s was ended: %w", c.args[0], context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return &exitError{verb: c.args[0], code: exit.ExitCode(), said: redact(stderr.String(), c.proxy)}
	}
	return albs.Errorf(albs.Unavailable, "run git %s: %w", c.args[0], err)
}

// environment is all that git knows of the world. Settings that hold the proxy's
// secret go by the environment because command lines are public.
func (m *Mirrors) environment(c command) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + m.home,
		"LC_ALL=C",
		"TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=true",
		"GIT_ALLOW_PROTOCOL=https",
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_CEILING_DIRECTORIES=" + m.dir, // no repository around the data directory is ever found
	}
	if c.dir != "" {
		env = append(env, "GIT_DIR="+c.dir)
	}
	settings := [][2]string{
		{"safe.bareRepository", "all"}, // the directory is named by GIT_DIR, never found
		{"gc.auto", "0"},
		// Packs are indexed and then appear as a whole; loose objects of a broken
		// fetch would look like a commit without its files.
		{"fetch.unpackLimit", "1"},
		{"core.fsync", "all"}, // refs too: one that a power cut emptied is in every later fetch's way
		// Larger blobs are streamed to disk and out of it, and not held in memory, of
		// which git's default takes half a GiB for each thread.
		{"core.bigFileThreshold", "32m"},
		{"tar.umask", "0022"},
		{"core.quotePath", "false"},
		{"credential.helper", ""},
	}
	if c.proxy != "" {
		settings = append(settings,
			[2]string{"http.proxy", c.proxy},
			[2]string{"http.proxyAuthMethod", "basic"},
			[2]string{"http.lowSpeedLimit", "100"},
			[2]string{"http.lowSpeedTime", "60"})
		if m.caFile != "" {
			settings = append(settings, [2]string{"http.sslCAInfo", m.caFile})
		}
	}
	env = append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(settings)))
	for i, s := range settings {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+s[0], "GIT_CONFIG_VALUE_"+n+"="+s[1])
	}
	return env
}

// redact makes git's words fit for a person: one line, and no proxy in it.
func redact(said, proxy string) string {
	if proxy != "" {
		said = strings.ReplaceAll(said, proxy, "the proxy")
	}
	said = strings.Join(strings.Fields(strings.ToValidUTF8(said, "?")), " ")
	if len(said) > 500 {
		said = "…" + strings.ToValidUTF8(said[len(said)-500:], "")
	}
	return said
}

// cappedWriter refuses what goes beyond left.
type cappedWriter struct {
	w    io.Writer
	left int64
	err  error
}

// Write implements io.Writer.
func (c *cappedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		c.err = albs.Errorf(albs.TooLarge, "git gives more than is taken")
		return 0, c.err
	}
	c.left -= int64(len(p))
	n, err := c.w.Write(p)
	if err != nil {
		c.err = err
	}
	return n, err
}

// tail keeps the last max bytes written.
type tail struct {
	max int
	buf bytes.Buffer
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - t.max; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string { return t.buf.String() }
