package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine/vm/agent"
)

// played returns a machine whose guest says what say says, as soon as it is asked for
// something, and then nothing more; down tells that it ends then.
func played(t *testing.T, down bool, say ...agent.Frame) *machine {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &machine{frames: make(chan agent.Frame), cancel: cancel, ended: make(chan struct{}), said: sandbox.NewTail(100)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	m.stdin, m.to = w, agent.NewWriter(w)
	go func() {
		defer close(m.ended)
		defer close(m.frames)
		defer context.AfterFunc(ctx, func() { r.Close() })()
		defer r.Close()
		if _, err := agent.NewReader(r).Next(); err != nil {
			m.why = err
			return
		}
		for _, f := range say {
			select {
			case m.frames <- f:
			case <-ctx.Done():
				m.why = ctx.Err()
				return
			}
		}
		if down {
			_, _ = io.WriteString(m.said, "Kernel panic - not syncing")
			return
		}
		<-ctx.Done()
		m.why = ctx.Err()
	}()
	t.Cleanup(func() { _ = m.kill() })
	return m
}

func TestDo(t *testing.T) {
	t.Parallel()
	frame := func(kind byte, body string) agent.Frame { return agent.Frame{Type: kind, Body: []byte(body)} }
	short := sandbox.Limits{Time: 300 * time.Millisecond}
	for _, tt := range []struct {
		name  string
		say   []agent.Frame
		down  bool
		lim   sandbox.Limits
		kind  albs.Kind // of the error; "" for none
		text  string    // in it
		out   string
		alive bool
	}{
		{"done", []agent.Frame{frame('o', "a"), frame('x', "b"), frame('o', "c"), frame('d', `{"exit":3}`)}, false, sandbox.Limits{}, "", "", "abc", true},
		{"time", []agent.Frame{frame('o', "a")}, false, short, albs.Invalid, "longer than", "a", false},
		{"silence", []agent.Frame{frame('o', "a")}, false, sandbox.Limits{Silence: 300 * time.Millisecond}, albs.Invalid, "silent", "a", false},
		{"just enough output", []agent.Frame{frame('o', "abc"), frame('d', `{"exit":3}`)}, false, sandbox.Limits{Output: 3}, "", "", "abc", true},
		{"too much output", []agent.Frame{frame('o', "abc"), frame('x', "d"), frame('d', `{"exit":3}`)}, false, sandbox.Limits{Output: 3}, albs.Invalid, "more than 3 bytes of log", "abc", false},
		{"it goes down", []agent.Frame{frame('o', "a")}, true, sandbox.Limits{}, albs.Invalid, "went down: Kernel panic", "a", false},
		{"a second hello", []agent.Frame{frame('h', "{}")}, false, sandbox.Limits{}, albs.Invalid, "nobody asked for", "", false},
		{"what only hosts say", []agent.Frame{frame('q', "{}")}, false, sandbox.Limits{}, albs.Invalid, "nobody asked for", "", false},
		{"no JSON", []agent.Frame{frame('d', "{")}, false, sandbox.Limits{}, albs.Invalid, "frame", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := played(t, tt.down, tt.say...)
			var out bytes.Buffer
			d, alive, err := m.do(t.Context(), agent.Request{Op: agent.OpRun}, nil, &out, &out, tt.lim)
			if alive != tt.alive || out.String() != tt.out || albs.KindOf(err) != tt.kind || err != nil && !strings.Contains(err.Error(), tt.text) || err == nil && d.Exit != 3 {
				t.Errorf("%+v, alive %v, %v, said %q", d, alive, err, out.String())
			}
			if !alive {
				<-m.ended
			}
		})
	}
	t.Run("the end of the context", func(t *testing.T) {
		t.Parallel()
		m := played(t, false)
		cause := albs.Errorf(albs.Conflict, "enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, cause)
		defer cancel()
		if _, alive, err := m.do(ctx, agent.Request{Op: agent.OpRun}, nil, nil, nil, sandbox.Limits{}); alive || !errors.Is(err, albs.Conflict) {
			t.Errorf("alive %v, %v", alive, err)
		}
	})
	t.Run("a request that is too long", func(t *testing.T) {
		t.Parallel()
		m := played(t, false)
		q := agent.Request{Op: agent.OpRun, Argv: []string{strings.Repeat("x", 2<<20)}}
		if _, alive, err := m.do(t.Context(), q, nil, nil, nil, sandbox.Limits{}); !alive || !errors.Is(err, albs.Invalid) {
			t.Errorf("alive %v, %v", alive, err)
		}
	})
}

func TestEnd(t *testing.T) {
	t.Parallel()
	full := albs.Errorf(albs.Invalid, "it wrote too much")
	for _, tt := range []struct {
		m    machine
		want albs.Kind
	}{
		{machine{}, ""},
		{machine{code: 137}, albs.Unavailable}, // the host killed qemu
		{machine{why: full}, albs.Invalid},
	} {
		tt.m.said = sandbox.NewTail(10)
		if err := tt.m.end("it was at work"); albs.KindOf(err) != tt.want {
			t.Errorf("%+v: %v", tt.m, err)
		}
	}
}

// Whatever else changes: no network, no disk, no folder of the host comes by itself.
func TestArguments(t *testing.T) {
	t.Parallel()
	h := host{qemu: "/q", machine: "q35", console: "ttyS0", kernel: "/k", accel: "kvm", cpu: "host"}
	args := h.arguments(1<<30, 3, "/i", false)
	all := " " + strings.Join(args, " ") + " "
	for _, want := range []string{" -nodefaults ", " -no-user-config ", " -no-reboot ", " -sandbox on,", " -m 1024M ", " -smp 3 ", " -accel kvm ", " -kernel /k -initrd /i "} {
		if !strings.Contains(all, want) {
			t.Errorf("there is no %q in %q", want, args)
		}
	}
	for _, never := range []string{"netdev", "virtio-net", "-drive", "-fsdev", "-monitor", "-vnc", "-qmp", agent.NetParam} {
		if strings.Contains(all, never) {
			t.Errorf("there is %q in %q", never, args)
		}
	}
	args = h.arguments(1<<30, 3, "/i", true)
	if !slices.Contains(args, "virtio-net-pci,netdev=net,romfile=") || !strings.HasSuffix(args[len(args)-1], " "+agent.NetParam) {
		t.Errorf("there is no network in %q", args)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{Memory: 1 << 20}, {Memory: -1}, {Memory: 1 << 50}, {CPUs: -1}, {CPUs: 1000}, {Kernel: "vmlinuz-1"}, {Kernel: "/boot/linux"}, {Kernel: "/boot/vmlinuz-"}} {
		if err := c.Check(); !errors.Is(err, albs.Invalid) {
			t.Errorf("%+v: %v, want Invalid", c, err)
		}
	}
	for _, c := range []Config{{}, {Memory: 1 << 30, CPUs: 4, Kernel: "/boot/vmlinuz-6.1.0-1-amd64"}} {
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := newest(dir); got != "" {
		t.Errorf("of nothing the newest is %q", got)
	}
	began := time.Now()
	for i, name := range []string{"vmlinuz-6.9", "vmlinuz-6.10", "initrd.img-6.11"} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := began.Add(time.Duration(i) * time.Hour)
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := kernelVersion(newest(dir)); got != "6.10" {
		t.Errorf("the newest is %q", got)
	}
}

func TestVirtualizes(t *testing.T) {
	t.Parallel()
	for cpuinfo, want := range map[string]bool{
		"": false,
		"processor\t: 0\nflags\t\t: fpu vme hypervisor\n": false,
		"flags\t\t: fpu vmx\nvmx flags\t: x\n":            true,
		"flags\t\t: fpu svm lm\n":                         true,
		"vmx flags\t: vnmi\nflags\t\t: fpu\n":             false,
	} {
		if got := virtualizes(cpuinfo); got != want {
			t.Errorf("%q: %v", cpuinfo, got)
		}
	}
}
