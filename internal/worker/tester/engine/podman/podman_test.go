package podman

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox"
)

// TestArgv: what is the program's comes behind the root, where podman reads no option any
// more, and nothing of it is podman's.
func TestArgv(t *testing.T) {
	t.Parallel()
	c := containers{podman: "/usr/bin/podman", init: "/usr/bin/catatonit"}
	e := sandbox.Entry{
		Root: "/tmp/root", Began: "/tmp/began", Argv: []string{"--privileged", "-v", "/:/host"}, UID: 1000, Dir: "/builddir",
		Env: []string{"A=--privileged"}, Hostname: "albs", Rlimits: []string{"nproc=5:5"},
	}
	way := c.way("--more")
	argv := way.Argv(e)
	at := slices.Index(argv, "--rootfs")
	if at < 0 || !slices.Equal(argv[at:], []string{"--rootfs", "/tmp/root", "--privileged", "-v", "/:/host"}) {
		t.Fatalf("argv = %q", argv)
	}
	options := strings.Join(argv[:at], " ")
	for _, want := range []string{"--network=none ", "--user=1000:1000 ", "--workdir=/builddir ", "--ulimit=nproc=5:5 ", "--env=A=--privileged ", "--pull=never ", "--more"} {
		if !strings.Contains(options, want) {
			t.Errorf("%q is not in %q", want, options)
		}
	}
	if slices.Contains(argv[:at], "--privileged") || slices.Contains(argv[:at], "--interactive") {
		t.Errorf("options = %q", options)
	}
	e.Network, e.Stdin = true, true
	if argv = way.Argv(e); !slices.Contains(argv, "--network=host") || !slices.Contains(argv, "--interactive") {
		t.Errorf("with network and input: %q", argv)
	}
	for _, v := range way.Env {
		if strings.HasPrefix(v, "A=") {
			t.Errorf("podman's own environment has %q", v)
		}
	}
}

// TestRefusal: whose fault it is that a program didn't begin, by the words of podman 4.3
// and crun 1.8.
func TestRefusal(t *testing.T) {
	t.Parallel()
	began := albs.Errorf(albs.Unavailable, "podman ended with code 127 before the program began")
	for _, tt := range []struct {
		words string
		kind  albs.Kind
	}{
		{"Error: crun: executable file `nosuch` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found", albs.NotFound},
		{"Error: crun: open executable: Permission denied: OCI permission denied", albs.Invalid},
		{`Error: workdir "/nosuch" does not exist on container ccf433bed203b6ee`, albs.Invalid},
		{"Error: crun: create directory `/run/crun`: No such file or directory: OCI runtime attempted to invoke a command that was not found", albs.Unavailable},
		{"Error: OCI runtime error: crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2", albs.Unavailable},
		{"", albs.Unavailable},
	} {
		err := refusal(began, sandbox.Cmd{Argv: []string{"nosuch"}}, tt.words)
		if got := albs.KindOf(err); got != tt.kind || tt.kind == albs.Unavailable && !strings.Contains(err.Error(), "before the program began") {
			t.Errorf("%q: %v, want %s", tt.words, err, tt.kind)
		}
	}
}

// TestVariables: one without a value would be podman's own.
func TestVariables(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"HOME", "", "=x", "*"} {
		if _, err := (containers{}).run(nil, t.Context(), sandbox.Cmd{Argv: []string{"true"}, Env: []string{v}}); !errors.Is(err, albs.Invalid) {
			t.Errorf("Run with %q = %v, want Invalid", v, err)
		}
	}
}
