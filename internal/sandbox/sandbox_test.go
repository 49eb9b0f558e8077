package sandbox_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// sharedDir is the folder of the engines whose bases tests share. It lies in the
// temporary folder of Main, which removes it.
var sharedDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "shared-") })

// shared returns an engine on the shared folder.
func shared(t testing.TB, limits sandbox.Limits) *sandbox.Engine {
	t.Helper()
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	return sandboxtest.Engine(t, sandbox.Config{Dir: dir, Limits: limits})
}

// The native engine as the suite wants it.
type (
	native     struct{ *sandbox.Engine }
	nativeBase struct{ *sandbox.Base }
)

func (n native) Base(ctx context.Context, root albs.Root, repos []sandbox.Repo, log io.Writer) (sandboxtest.Base, error) {
	b, err := n.Engine.Base(ctx, root, repos, log)
	return nativeBase{b}, err
}

func (b nativeBase) Overlay(ctx context.Context) (sandboxtest.Overlay, error) {
	return b.Base.Overlay(ctx)
}

func TestNative(t *testing.T) {
	sandboxtest.TestSandbox(t, func(t testing.TB, limits sandbox.Limits) sandboxtest.Sandbox {
		return native{shared(t, limits)}
	})
}

func base(t *testing.T, e *sandbox.Engine, root albs.Root, repos []sandbox.Repo) *sandbox.Base {
	t.Helper()
	var log bytes.Buffer
	b, err := e.Base(t.Context(), root, repos, &log)
	if err != nil {
		t.Fatalf("Base: %v\n%s", err, log.String())
	}
	t.Cleanup(b.Close)
	return b
}

func overlay(t *testing.T, b *sandbox.Base) *sandbox.Root {
	t.Helper()
	r, err := b.Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// sh runs a script of the shell in the root and returns its code and output.
func sh(t *testing.T, r *sandbox.Root, u sandbox.User, script string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: u, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("Run %q: %v\n%s", script, err, out.String())
	}
	return code, strings.TrimSpace(out.String())
}

// TestLeftovers: what a crash left half-made or half-removed is made anew or removed at
// the next start, a base in use is not evicted, and nothing stays after the last root
// is closed.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release"}
	gone := []string{
		filepath.Join(dir, "base", "new-"+string(albs.DigestOf([]byte("x")))),
		filepath.Join(dir, "base", string(albs.DigestOf([]byte("y")))),
		filepath.Join(dir, "root", "left"),
		filepath.Join(dir, "root", "probe-left"),
	}
	for _, d := range gone {
		if err := os.MkdirAll(filepath.Join(d, "root"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir, Bases: 1})
	for _, d := range gone {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("%s is still there", d)
		}
	}
	// The facts come last and go first: without them, or with a part of them after a
	// loss of power, a base is the rest of one.
	b := base(t, e, root, repos)
	first := filepath.Join(dir, "base", string(b.Digest()))
	facts := filepath.Join(first, "facts.json")
	for _, spoil := range []func() error{func() error { return os.Truncate(facts, 0) }, func() error { return os.Remove(facts) }} {
		mark := filepath.Join(first, "rest")
		b.Close()
		if err := errors.Join(spoil(), os.WriteFile(mark, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		b = base(t, e, root, repos)
		if _, err := os.Stat(mark); err == nil {
			t.Error("the rest of a base serves as one")
		}
	}
	// One more, and the first goes, but not while it is in use.
	r, err := b.Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, keep := range []bool{true, true, false} {
		switch i {
		case 1:
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		case 2:
			b.Close()
		}
		root.Macros = map[string]string{"dist": strings.Repeat(".x", i+1)}
		base(t, e, root, repos).Close()
		if _, err := os.Stat(first); (err == nil) != keep {
			t.Errorf("first base kept: %v, want %v", err == nil, keep)
		}
	}
	if _, err := b.Overlay(t.Context()); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Overlay of an evicted base = %v, want Unavailable", err)
	}
	if roots, err := os.ReadDir(filepath.Join(dir, "root")); err != nil || len(roots) > 0 {
		t.Errorf("left of roots: %v, %v", roots, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts of the sandbox are in the host's namespace (%v)", err)
	}
}

// TestGate: while one makes the folder of a root nobody sweeps, and the other way round,
// for a folder that isn't held yet looks like one that was left.
func TestGate(t *testing.T) {
	t.Parallel()
	e := sandboxtest.Engine(t, sandbox.Config{})
	for _, tt := range []struct {
		how             int
		sweeps, another bool
	}{{unix.LOCK_SH, false, true}, {unix.LOCK_EX, false, false}} {
		open, err := e.Gate(tt.how)
		if err != nil {
			t.Fatal(err)
		}
		// What has to wait waits for this long, and what hasn't may take its time.
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		patient := map[bool]context.Context{true: t.Context(), false: short}
		_, undo, err := e.Hold(patient[tt.another])
		if (err == nil) != tt.another {
			t.Errorf("making a root beside the lock %d = %v", tt.how, err)
		}
		if err == nil {
			if err := undo(); err != nil {
				t.Error(err)
			}
		}
		if err := e.Sweep(patient[tt.sweeps]); (err == nil) != tt.sweeps {
			t.Errorf("a sweep beside the lock %d = %v", tt.how, err)
		}
		cancel()
		open()
	}
	// A root that is held stays, also while it is being removed.
	dir, undo, err := e.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.ReadDir(dir)
	for _, d := range held {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, d.Name())))
	}
	if err := errors.Join(err, e.Sweep(t.Context()), undo()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("left beside the roots: %v, %v", left, err)
	}
}

// TestKilled kills a process of albs in the middle of its work. What it ran dies with
// it, and the next one removes the rest.
func TestKilled(t *testing.T) {
	const variable, napVariable = "ALBS_TEST_SANDBOX_DIR", "ALBS_TEST_SANDBOX_NAP"
	nap := cmp.Or(os.Getenv(napVariable), sandboxtest.Nap)
	root, repos := sandboxtest.SmallRoot(t)
	if dir := os.Getenv(variable); dir != "" { // the process to be killed
		e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
		r := overlay(t, base(t, e, root, repos))
		_, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "(setsid sleep " + nap + " &); echo runs; exec sleep " + nap}, Stdout: os.Stdout})
		t.Fatalf("Run ended: %v", err)
	}
	base(t, shared(t, sandbox.Limits{}), root, repos)
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(dir, "root")
	if left, err := os.ReadDir(roots); err != nil || len(left) != 0 {
		t.Fatalf("before the test there are %v, %v", left, err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), variable+"="+dir, napVariable+"="+nap, "ALBS_SEED="+sandboxtest.Seed(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	for sc.Scan() && sc.Text() != "runs" {
		t.Log(sc.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for deadline := time.Now().Add(time.Minute); len(sandboxtest.Processes(t, nap)) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("still alive: %v", sandboxtest.Processes(t, nap))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if left, err := os.ReadDir(roots); err != nil || len(left) != 2 {
		t.Fatalf("the killed process left %v, %v; the test expects its root and the lock", left, err)
	}
	shared(t, sandbox.Limits{})
	if left, err := os.ReadDir(roots); err != nil || len(left) > 0 {
		t.Errorf("the next engine left %v, %v", left, err)
	}
}

// TestSingleUID works without lent ids, for platforms marked so.
func TestSingleUID(t *testing.T) {
	t.Parallel()
	e := sandboxtest.Engine(t, sandbox.Config{})
	e.WithoutRange()
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release", "bash", "coreutils", "rpm"}
	b := base(t, e, root, repos)
	r := overlay(t, b)
	if _, out := sh(t, r, "build", "id -u; touch /builddir/x && echo ok; rpm -q bash >/dev/null && echo rpm"); out != "1000\nok\nrpm" {
		t.Errorf("as the build user: %q", out)
	}
	if _, out := sh(t, r, "root", "id -u"); out != "0" {
		t.Errorf("as root: %q", out)
	}
	var log bytes.Buffer
	if err := r.Install(t.Context(), []string{"m4"}, repos, &log); err != nil {
		t.Errorf("Install: %v\n%s", err, log.String())
	}
	root.SingleUID = false
	if _, err := e.Base(t.Context(), root, repos, &log); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Base of a platform that needs a range = %v, want Unavailable", err)
	}
}
