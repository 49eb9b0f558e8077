package podman_test

import (
	"bytes"
	"io"
	"testing"

	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/enginetest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("each program is a container, which takes podman a quarter of a second: not in -short")
	}
	enginetest.TestEngine(t, enginetest.Traits{Network: true}, func(t *testing.T, limits sandbox.Limits) engine.Engine {
		return openIn(t, "", limits)
	})
}

// TestContainer: what a program finds in a container and nowhere else.
func TestContainer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a base for one container: not in -short")
	}
	root, repos := sandboxtest.SmallRoot(t)
	b, err := openIn(t, "", sandbox.Limits{}).Base(t.Context(), root, repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	e, err := b.Environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, tt := range []struct {
		name   string
		user   sandbox.User
		script string
		want   string
	}{
		{"it can tell", sandbox.UserRoot, "ls /run/.containerenv", "/run/.containerenv\n"},
		{"system calls are filtered", sandbox.UserRoot, "grep -c 'Seccomp:.2' /proc/self/status", "1\n"},
		{"a setuid program", sandbox.UserRoot, "cp /usr/bin/id /usr/bin/rootid && chmod 4755 /usr/bin/rootid", ""},
		{"gives its rights", sandbox.UserBuild, "rootid -u", "0\n"},
		{"it can't mount", sandbox.UserRoot, "mount -t tmpfs x /mnt 2>/dev/null || echo refused", "refused\n"},
		{"/sys is to be read", sandbox.UserRoot, "ls -d /sys/class && ! touch /sys/x 2>/dev/null", "/sys/class\n"},
	} {
		var out bytes.Buffer
		code, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", tt.script}, User: tt.user, Stdout: &out, Stderr: &out})
		if code != 0 || err != nil || out.String() != tt.want {
			t.Errorf("%s: %d, %v, %q, want %q", tt.name, code, err, out.String(), tt.want)
		}
	}
}
