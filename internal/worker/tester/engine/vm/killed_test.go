package vm

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/sandbox"
)

// childDir tells TestChild where to work.
const childDir = "ALBS_VM_CHILD"

// TestChild is the process that TestKilled kills: it says that a machine runs, and waits.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("TestKilled starts it")
	}
	e := environmentOf(t, machinesIn(t, dir, sandbox.Limits{}))
	_, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "echo; echo it runs; exec sleep 100000"}, User: sandbox.UserRoot, Stdout: os.Stdout})
	t.Errorf("the machine ended: %v", err)
}

// Of a worker that is killed no machine stays, and the next one finds its folder as new.
func TestKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starting machines takes long")
	}
	dir, err := os.MkdirTemp("", "killed-")
	if err != nil {
		t.Fatal(err)
	}
	machinesIn(t, dir, sandbox.Limits{}) // skips where there can be none
	child := exec.Command("/proc/self/exe", "-test.run=^TestChild$", "-test.v")
	child.Env = append(os.Environ(), childDir+"="+dir)
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
		t.Fatalf("no machine ran: %v\n%s", child.Wait(), strings.Join(said, "\n"))
	}
	if len(processesOf(t, dir)) == 0 {
		t.Fatal("of the machine that runs no process is seen")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	for deadline := time.Now().Add(2 * time.Minute); len(processesOf(t, dir)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after the worker's end there is %q", processesOf(t, dir))
		}
	}
	machinesIn(t, dir, sandbox.Limits{})
	left, err := filepath.Glob(filepath.Join(dir, "root", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the next worker leaves %q, %v", left, err)
	}
}

// processesOf returns the command lines of machines that are made in dir.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "qemu") && strings.Contains(string(b), dir+"/vm/") {
			found = append(found, string(b))
		}
	}
	return found
}
