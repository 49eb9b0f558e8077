package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
)

// machines returns the engine, or skips the test with the reason why there can be none.
func machines(t *testing.T, limits sandbox.Limits) engine.Engine {
	t.Helper()
	if testing.Short() {
		t.Skip("starting machines takes long")
	}
	dir, err := os.MkdirTemp("", "vm-")
	if err != nil {
		t.Fatal(err)
	}
	return machinesIn(t, dir, limits)
}

// machinesIn is machines in a folder, which Main removes.
func machinesIn(t *testing.T, dir string, limits sandbox.Limits) engine.Engine {
	t.Helper()
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir, Limits: limits})
	c := Config{Dir: filepath.Join(dir, "vm"), Memory: 1 << 30}
	v, err := New(t.Context(), e, c)
	if errors.Is(err, albs.Unavailable) {
		t.Logf("machines are emulated: %v", err)
		c.Emulate = true
		v, err = New(t.Context(), e, c)
	}
	if errors.Is(err, albs.Unavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A whole life of a machine: it has a kernel of its own, whose state lasts from one program
// to the next and ends with a start; what is on disk lasts.
func TestLife(t *testing.T) {
	t.Parallel()
	v := machines(t, sandbox.Limits{})
	e := environmentOf(t, v)
	host, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	const kernel = "cat /proc/sys/kernel/random/boot_id /proc/sys/kernel/osrelease"
	first := sh(t, e, kernel+"; echo kept > /usr/share/kept; echo 7 > /proc/sys/kernel/sysrq; touch /dev/shm/there")
	if strings.Contains(first, strings.TrimSpace(string(host))) || !strings.Contains(first, kernelVersion(v.(*vm).host.kernel)) {
		t.Errorf("the kernel is %q", first)
	}
	if out := sh(t, e, kernel+"; cat /proc/sys/kernel/sysrq; ls /dev/shm; cat /usr/share/kept"); out != first+"\n7\nthere\nkept" {
		t.Errorf("in the same boot there is %q", out)
	}
	var log bytes.Buffer
	if err := e.Reboot(t.Context(), &log); err != nil {
		t.Fatal(err)
	}
	second := sh(t, e, kernel)
	if id, _, _ := strings.Cut(second, "\n"); id == "" || strings.Contains(first, id) || !strings.Contains(log.String(), id) {
		t.Errorf("boot %q comes after %q, and the log says %q", second, first, log.String())
	}
	if out := sh(t, e, "cat /proc/sys/kernel/sysrq; ls /dev/shm; cat /usr/share/kept"); strings.HasPrefix(out, "7") || strings.Contains(out, "there") || !strings.HasSuffix(out, "kept") {
		t.Errorf("after a start there is %q", out)
	}

	// What goes down by itself was brought down by what ran, and starts again.
	for name, script := range map[string]string{
		"a panic":       "echo c > /proc/sysrq-trigger; sleep 1000",
		"switching off": "echo o > /proc/sysrq-trigger; sleep 1000",
		"a start":       "echo b > /proc/sysrq-trigger; sleep 1000",
	} {
		_, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: sandbox.UserRoot})
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "went down") {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if out := sh(t, e, "cat /usr/share/kept"); out != "kept" {
		t.Errorf("after all that there is %q", out)
	}
	// More memory than the machine has is the program's own fault.
	_, err = e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "x=x; while :; do x=$x$x; done"}, User: sandbox.UserRoot})
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "bytes of memory") {
		t.Errorf("without end: %v, want Invalid", err)
	}
	// So is a root that isn't one any more.
	if err := e.(*environment).off(); err != nil {
		t.Error(err)
	}
	if out := sh(t, e.(*environment).outside, "rmdir /sys && ln -s /etc /sys"); out != "" {
		t.Error(out)
	}
	_, err = e.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}})
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "/sys is no folder") {
		t.Errorf("on a root without /sys: %v, want Invalid", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}}); err == nil {
		t.Error("a closed environment runs programs")
	}
}

// With a network there is one way out, and it is gone with the next program that has none.
func TestNetwork(t *testing.T) {
	t.Parallel()
	e := environmentOf(t, machines(t, sandbox.Limits{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reach := []string{"bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/10.0.2.2/%d", l.Addr().(*net.TCPAddr).Port)} // the host, as qemu shows it
	for _, network := range []bool{false, true, false} {
		var out bytes.Buffer
		code, err := e.Run(t.Context(), sandbox.Cmd{Argv: reach, Network: network, Stderr: &out})
		if err != nil || (code == 0) != network {
			t.Errorf("with network %v: %d, %v: %s", network, code, err, out.String())
		}
	}
}

func environmentOf(t *testing.T, v engine.Engine) engine.Environment {
	t.Helper()
	root, repos := sandboxtest.SmallRoot(t)
	b, err := v.Base(t.Context(), root, repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	e, err := b.Environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func sh(t *testing.T, e engine.Environment, script string) string {
	t.Helper()
	var out bytes.Buffer
	code, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: sandbox.UserRoot, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("%s: %d, %v: %s", script, code, err, out.String())
	}
	return strings.TrimSpace(out.String())
}
