package podman_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/podman"
)

// openIn returns the engine on the folder dir, or skips the test with the reason why there
// can be none.
func openIn(t *testing.T, dir string, limits sandbox.Limits) engine.Engine {
	t.Helper()
	e, err := podman.New(t.Context(), sandboxtest.Engine(t, sandbox.Config{Dir: dir, Limits: limits}))
	if errors.Is(err, albs.Unavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What TestKilled tells the process that it kills: where to work, and how long a program
// in a container is to sleep.
const childDir, childNap = "ALBS_PODMAN_CHILD", "ALBS_PODMAN_NAP"

// TestChild is that process: it says that a container runs, and waits.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("TestKilled starts it")
	}
	root, repos := sandboxtest.SmallRoot(t)
	b, err := openIn(t, dir, sandbox.Limits{}).Base(t.Context(), root, repos, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nap := os.Getenv(childNap)
	_, err = e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "setsid sleep " + nap + " & echo; echo it runs; exec sleep " + nap}, User: sandbox.UserRoot, Stdout: os.Stdout})
	t.Errorf("the container ended: %v", err)
}

// TestKilled: of a worker that is killed nothing stays, neither what ran in its container
// nor podman around it; and the next one finds the folder as new.
func TestKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a base and a container for one kill: not in -short")
	}
	dir, err := os.MkdirTemp("", "killed-") // in Main's folder, which it removes
	if err != nil {
		t.Fatal(err)
	}
	openIn(t, dir, sandbox.Limits{})
	nap := "7" + sandboxtest.Nap
	child := exec.Command("/proc/self/exe", "-test.run=^TestChild$", "-test.v")
	child.Env = append(os.Environ(), childDir+"="+dir, childNap+"="+nap)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stderr = child.Stdout
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill() })
	var said []string
	runs := false
	for lines := bufio.NewScanner(out); !runs && lines.Scan(); said = append(said, lines.Text()) {
		runs = lines.Text() == "it runs"
	}
	if !runs {
		t.Fatalf("no container ran: %v\n%s", child.Wait(), strings.Join(said, "\n"))
	}
	if len(named(t, nap)) < 3 { // both sleepers, and podman with the words of its program
		t.Fatalf("of a container that runs there is only %q", named(t, nap))
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	for deadline := time.Now().Add(2 * time.Minute); len(named(t, nap)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after the worker's end there is %q", named(t, nap))
		}
	}
	openIn(t, dir, sandbox.Limits{})
	left, err := filepath.Glob(filepath.Join(dir, "root", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the next worker leaves %q, %v", left, err)
	}
}

// named returns the command lines of processes, podman's among them, that have the word.
func named(t *testing.T, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), word) {
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}
