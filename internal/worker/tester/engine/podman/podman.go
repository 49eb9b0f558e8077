// Package podman is the engine of tests whose programs run in containers of podman: with
// the capabilities, devices, system calls and folders that such containers have.
//
// It owns what podman is told and the meaning of its end; roots, dnf and limits are package
// sandbox's, as with the engine native. Each program is a container of its own, made of the
// root as it lies there. Nothing is pulled and no store is kept: what podman writes down
// lies in folders that end with it, in a process namespace that ends with it, so that no
// container, image or mount can be left behind, and none of anybody else's is ever seen.
package podman

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/native"
)

// state is where podman writes what it knows: the helper's own, and gone with it.
const state = "/run"

// New returns the engine that makes its roots with e. It runs a program in a container
// first: where none can be made, an Unavailable error says what is missing.
func New(ctx context.Context, e *sandbox.Engine) (engine.Engine, error) {
	c, err := find()
	if err != nil {
		return nil, err
	}
	if err := c.try(ctx, e); err != nil {
		return nil, err
	}
	return native.With(albs.EnginePodman, e, c.run), nil
}

// containers are made by podman.
type containers struct {
	podman string // its path
	init   string // of the small process 1 of each container
}

// find looks for the programs.
func find() (containers, error) {
	podman, err := exec.LookPath("podman")
	if err != nil {
		return containers{}, albs.Errorf(albs.Unavailable, "podman is not installed: install the packages podman and catatonit")
	}
	for _, name := range []string{"/usr/libexec/podman/catatonit", "/usr/bin/catatonit"} {
		if _, err := os.Stat(name); err == nil {
			return containers{podman, name}, nil
		}
	}
	return containers{}, albs.Errorf(albs.Unavailable, "podman's process 1 of containers is not installed: install the package catatonit, or podman-catatonit")
}

// try runs a program of the host in a container that has nothing but the host's programs.
func (c containers) try(ctx context.Context, e *sandbox.Engine) error {
	var shown []string
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			shown = append(shown, "--volume="+dir+":"+dir+":ro")
		}
	}
	said := sandbox.NewTail(maxSaid)
	code, err := e.Try(ctx, sandbox.Cmd{Argv: []string{"/usr/bin/true"}, User: sandbox.UserRoot, Stderr: said}, c.way(shown...))
	if err == nil && code != 0 {
		err = albs.Errorf(albs.Unavailable, "a trial ended with code %d", code)
	}
	if errors.Is(err, albs.Unavailable) {
		return albs.Errorf(albs.Unavailable, "podman can make no container here: %v: %s", err, last(said.Bytes()))
	}
	return err
}

// maxSaid is how much of podman's last words is kept.
const maxSaid = 4 << 10

// run runs a program in a container.
func (c containers) run(r *sandbox.Root, ctx context.Context, cmd sandbox.Cmd) (int, error) {
	for _, v := range cmd.Env {
		if i := strings.IndexByte(v, '='); i < 1 { // podman would take its own variable for it
			return 0, albs.Errorf(albs.Invalid, "%.40q sets no variable", v)
		}
	}
	said := sandbox.NewTail(maxSaid)
	both := io.Writer(said)
	if cmd.Stderr != nil {
		both = io.MultiWriter(cmd.Stderr, said)
	}
	if cmd.Stdout != nil && cmd.Stdout == cmd.Stderr {
		cmd.Stdout = both // one stream, in the order in which it was written
	}
	cmd.Stderr = both
	code, err := r.RunBy(ctx, cmd, c.way())
	if errors.Is(err, albs.Unavailable) {
		return 0, refusal(err, cmd, last(said.Bytes()))
	}
	return code, err
}

// refusal says whose fault it is that podman ended before the program began, by its words.
func refusal(err error, cmd sandbox.Cmd, words string) error {
	switch {
	case strings.Contains(words, "executable file") && strings.Contains(words, "not found"):
		return albs.Errorf(albs.NotFound, "the root has no program %.200q", cmd.Argv[0])
	case strings.Contains(words, "open executable") || strings.Contains(words, "workdir "):
		return albs.Errorf(albs.Invalid, "%.200q can't be run: %s", cmd.Argv[0], words)
	}
	return albs.Errorf(albs.Unavailable, "%v: %s", err, words)
}

// last returns the last line.
func last(said []byte) string {
	s := strings.TrimSpace(string(said))
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// way is how podman enters a root, with further options.
func (c containers) way(more ...string) sandbox.Way {
	return sandbox.Way{
		Argv: func(e sandbox.Entry) []string { return c.argv(e, more) },
		// What an operator or a distribution configured for podman is for other containers.
		Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + state, "LANG=C.UTF-8", "CONTAINERS_CONF=/dev/null"},
		// crun takes a host whose cgroups have both versions for an error, and needs none:
		// the limits are those of the cgroup that podman is in.
		Hide: []string{state, "/sys/fs/cgroup", "/etc/containers"},
	}
}

// argv returns podman's command line, after podman-run(1) of version 4.3.
func (c containers) argv(e sandbox.Entry, more []string) []string {
	id := strconv.Itoa(e.UID)
	network := "none"
	if e.Network {
		network = "host"
	}
	argv := []string{
		c.podman, "--log-level=error", "--root=" + state + "/storage", "--runroot=" + state + "/runroot", "--tmpdir=" + state + "/libpod",
		"--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=none",
		"run", "--cgroups=disabled", "--log-driver=passthrough", "--pidfile=" + e.Began, "--pull=never",
		// Neither confines anything by itself here, and each would have to be set up by the host's root.
		"--security-opt=apparmor=unconfined", "--security-opt=label=disable",
		"--init", "--init-path=" + c.init, "--no-hosts", "--passwd=false", "--hostname=" + e.Hostname, "--network=" + network,
		"--user=" + id + ":" + id, "--workdir=" + e.Dir,
	}
	for _, l := range e.Rlimits {
		argv = append(argv, "--ulimit="+l)
	}
	for _, v := range e.Env {
		argv = append(argv, "--env="+v)
	}
	if e.Stdin {
		argv = append(argv, "--interactive")
	}
	argv = append(argv, more...)
	return append(append(argv, "--rootfs", e.Root), e.Argv...)
}
