package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"

	"albs/internal/albs"
	"albs/internal/sandbox/dnf"
)

// Repo is one repository as dnf is told of it.
type Repo = dnf.Repo

// Where dnf finds things in its view of the host.
const (
	viewRoot  = "/installroot"
	viewConf  = dnf.ConfDir
	viewCache = dnf.CacheDir
)

// place is what dnf works on: folders of the host, or overlays of them.
type place struct {
	root  albs.Root
	mount mount // of the root
	cache mount // of dnf's cache
	conf  string
}

// program runs a program of the host on a root that it sees as viewRoot, as root of
// the namespace and under limits: scriptlets of packages run below dnf.
func (e *Engine) program(ctx context.Context, p place, s *dnf.Surroundings, lim Limits, argv []string, streams stdio) (int, error) {
	files := map[string]string{
		"dnf.conf": s.Conf, ".rpmmacros": s.Macros,
		"passwd": "root:x:0:0:root:/albs:/bin/sh\n", "group": "root:x:0:\n", "hosts": "127.0.0.1 localhost\n", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	}
	maps.Copy(files, s.Keys)
	for name, text := range files {
		if err := os.MkdirAll(p.conf, 0o755); err != nil {
			return 0, fmt.Errorf("write dnf's configuration: %w", err)
		}
		if err := os.WriteFile(filepath.Join(p.conf, name), []byte(text), 0o644); err != nil {
			return 0, fmt.Errorf("write dnf's configuration: %w", err)
		}
	}
	tmp := filepath.Join(p.conf, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return 0, fmt.Errorf("make dnf's temporary folder: %w", err)
	}
	at := func(name string) string { return filepath.Join(stage, name) }
	args := append([]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "albs"}, rootCaps...)
	args = append(args, e.view...)
	for _, name := range []string{"passwd", "group", "hosts", "nsswitch.conf"} {
		args = append(args, "--ro-bind", at("conf")+"/"+name, "/etc/"+name)
	}
	args = append(args, "--proc", "/proc", "--dev", "/dev",
		"--bind", at(rootName), viewRoot, "--proc", viewRoot+"/proc", "--dev", viewRoot+"/dev",
		"--bind", at("cache"), viewRoot+viewCache, "--bind", at("cache"), viewCache,
		"--ro-bind", at("conf"), viewConf, "--bind", at("tmp"), "/tmp") // where dnf collects what scriptlets say
	args = append(args, "--chdir", "/", "--")
	j := &job{
		Op:      opExec,
		Mounts:  []mount{p.mount, p.cache, {Name: "conf", Source: p.conf}, {Name: "tmp", Source: tmp}},
		Ports:   s.Ports,
		folders: s.Folders,
		Limits:  lim.rlimits(),
		Disk:    lim.Disk,
		Watch:   []string{p.mount.written(), p.cache.written(), tmp},
		Env:     []string{"PATH=" + hostPath, "HOME=" + viewConf, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb", "COLUMNS=200", "PYTHONDONTWRITEBYTECODE=1"},
	}
	j.Argv = bubblewrap(append(args, argv...))
	return e.step(ctx, j, streams, lim, false)
}

// rootCaps are what root of the namespace keeps: enough for rpm to lay files out and
// run scriptlets, and no mount, so that leaving a chroot leads nowhere.
var rootCaps = func() []string {
	args := []string{"--cap-drop", "ALL"}
	for _, c := range []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "SETFCAP", "SYS_CHROOT"} {
		args = append(args, "--cap-add", "CAP_"+c)
	}
	return args
}()

// dnf runs one dnf command on p, its output going to log, without the secrets in the
// addresses of repos. What dnf can't resolve, and a package whose scriptlet stops the
// transaction, is an Invalid error that names it, and what would remove a protected package
// a Conflict; else a failure is Unavailable, for then it is the repositories or this host,
// or as ErrTransaction says.
func (e *Engine) dnf(ctx context.Context, p place, repos []Repo, args []string, log io.Writer) error {
	s, err := dnf.Surround(p.root, repos)
	if err != nil {
		return err
	}
	argv := []string{"dnf", "--config=" + viewConf + "/dnf.conf", "--installroot=" + viewRoot, "--releasever=" + p.root.Releasever}
	if p.root.Arch != albs.HostArch(runtime.GOARCH) {
		argv = append(argv, "--forcearch="+string(p.root.Arch))
	}
	said := dnf.NewListener(256 << 10)
	veil := dnf.NewVeil(io.MultiWriter(log, said), repos)
	exit, err := e.program(ctx, p, s, e.cfg.Limits, append(argv, args...), stdio{out: veil, err: veil})
	if ferr := veil.Flush(); err == nil {
		err = ferr
	}
	if errors.Is(err, albs.Invalid) { // a limit, passed by dnf or by a scriptlet: without its kind
		return failed(said, "dnf %s: %v", args[0], err)
	}
	if err != nil {
		return fmt.Errorf("dnf %s: %w", args[0], err)
	}
	if exit == 0 {
		return nil
	}
	if err := dnf.Refusal(said.Bytes()); err != nil {
		return err
	}
	return failed(said, "dnf %s ended with code %d: %s", args[0], exit, lastLine(said.Bytes()))
}

// ErrTransaction is in the chain of an Unavailable error that came when packages were
// being laid out or removed: of those, a scriptlet may have brought it about, by taking
// longer than it may or by killing dnf. Who asks about the package blames it.
var ErrTransaction = errors.New("the transaction had begun")

// failed returns an Unavailable error that says whether dnf had come to the packages.
func failed(said *dnf.Listener, format string, args ...any) error {
	e := &albs.Error{Kind: albs.Unavailable, Msg: fmt.Sprintf(format, args...)}
	if said.Began() {
		e.Err = ErrTransaction
		if at := said.Scriptlet(); at != "" {
			e.Msg += " (the last scriptlet that ran is of " + at + ")"
		}
	}
	return e
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// Tail is an io.Writer that keeps the last bytes written to it: a program says at its
// end why it failed.
type Tail struct {
	b     bytes.Buffer
	limit int
}

// NewTail returns a Tail that keeps limit bytes.
func NewTail(limit int) *Tail { return &Tail{limit: limit} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - t.limit; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

// Bytes returns what is kept, valid until the next Write.
func (t *Tail) Bytes() []byte { return t.b.Bytes() }
