package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/examine"
)

// Sandbox is what the suite asks of an engine: the methods of sandbox.Engine.
type Sandbox interface {
	Isolation() sandbox.Isolation
	Base(ctx context.Context, root albs.Root, repos []sandbox.Repo, log io.Writer) (Base, error)
}

// Base is what it asks of a base: the methods of sandbox.Base.
type Base interface {
	Digest() albs.Digest
	Packages() []sandbox.Package
	Overlay(ctx context.Context) (Overlay, error)
	Close()
}

// Overlay is what it asks of a root: the methods of sandbox.Root.
type Overlay interface {
	Install(ctx context.Context, requirements []string, repos []sandbox.Repo, log io.Writer) error
	Remove(ctx context.Context, names, protected []string, repos []sandbox.Repo, log io.Writer) error
	Installed(ctx context.Context) ([]sandbox.Package, error)
	Run(ctx context.Context, c sandbox.Cmd) (int, error)
	CopyIn(ctx context.Context, files ...sandbox.Copy) error
	CopyOut(ctx context.Context, dir, suffix, to string) ([]string, error)
	ReadFile(ctx context.Context, name string, limit int64) ([]byte, error)
	Examine(ctx context.Context, asks []examine.Ask) ([]examine.Entry, error)
	Close() error
}

// suite is one engine under test with a base that all of its claims share: to fill
// one takes longer than everything else.
type suite struct {
	open  func(t testing.TB, limits sandbox.Limits) Sandbox
	e     Sandbox
	b     Base
	root  albs.Root
	repos []sandbox.Repo
}

// TestSandbox asks an engine for what package sandbox says of it: a subtest for each
// claim. open returns an engine with these limits, or skips the test; what it returns
// shares its bases.
func TestSandbox(t *testing.T, open func(t testing.TB, limits sandbox.Limits) Sandbox) {
	root, repos := SmallRoot(t)
	// A service may keep all it writes to itself; the build user still gets in.
	umask := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(umask) })
	s := &suite{open: open, e: open(t, sandbox.Limits{}), root: root, repos: repos}
	s.b = s.base(t, s.root, s.repos)
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"isolation", s.isolation},
		{"no new privileges", s.privileges},
		{"network", s.network},
		{"packages", s.packages},
		{"files", s.files},
		{"what lies there", s.examine},
		{"files that the host lacks", s.hostFiles},
		{"limits", s.limits},
		{"limits below zero", s.badLimits},
		{"limits of dnf", s.dnfLimits},
		{"output up to its limit", s.output},
		{"a program that isn't there", s.noProgram},
		{"cancel", s.cancel},
		{"closed", s.closed},
		{"concurrent calls", s.concurrent},
		{"bases", s.bases},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

// SmallRoot returns a small root of Seed Linux and its repository: a base of seconds.
func SmallRoot(t testing.TB) (albs.Root, []sandbox.Repo) {
	t.Helper()
	root, repos := Root(t, Seed(t))
	root.Packages = []string{"system-release", "bash", "coreutils", "grep", "rpm", "glibc-common", "util-linux"}
	return root, repos
}

func (s *suite) base(t *testing.T, root albs.Root, repos []sandbox.Repo) Base {
	t.Helper()
	var log bytes.Buffer
	b, err := s.e.Base(t.Context(), root, repos, &log)
	if err != nil {
		t.Fatalf("Base: %v\n%s", err, log.String())
	}
	t.Cleanup(b.Close)
	return b
}

// overlay returns a root on the shared base.
func (s *suite) overlay(t *testing.T) Overlay {
	t.Helper()
	r, err := s.b.Overlay(t.Context())
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
func sh(t *testing.T, r Overlay, u sandbox.User, script string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: u, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("Run %q: %v\n%s", script, err, out.String())
	}
	return code, strings.TrimSpace(out.String())
}

// isolation: what a program in a root finds, and what it may.
func (s *suite) isolation(t *testing.T) {
	r := s.overlay(t)
	for _, tt := range []struct {
		name   string
		user   sandbox.User
		script string
		want   string
	}{
		{"build user", "build", "id -u; pwd; echo $HOME", "1000\n/builddir\n/builddir"},
		{"root", "root", "id -u; pwd", "0\n/"},
		{"packages are not the build user's", "build", "touch /usr/x /etc/x 2>/dev/null; ls /usr/x /etc/x 2>/dev/null; true", ""},
		{"root may install", "root", "touch /usr/x && chown 5:5 /usr/x && stat -c %u /usr/x", "5"},
		{"root may not mount", "root", "type mount >/dev/null 2>&1 && mount -t tmpfs x /mnt && echo mounted; true", ""},
		{"no network", "build", "wc -l < /proc/net/route", "1"},
		{"no network as root", "root", "wc -l < /proc/net/route", "1"},
		{"processes", "build", "ls -d /proc/[0-9]* | wc -l | tr -d ' ' | grep -c '^[23456]$'", "1"},
		{"process 1", "build", "tr '\\0' '\\n' < /proc/1/cmdline | grep -q bwrap && echo own", "own"},
		{"process 1 of root", "root", "tr '\\0' '\\n' < /proc/1/cmdline | grep -q bwrap && echo own", "own"},
		{"host paths", "root", "ls /albs /work /installroot /home 2>/dev/null; true", "/home:"},
		{"environment", "build", "export -p | grep -c -E 'TMPDIR|GOCACHE|USER='; true", "0"},
		{"devices", "build", "echo x > /dev/null && ls /dev | grep -E '^(sd|vd|mem|kmsg|fuse)'; true", ""},
		{"macros", "build", "rpm --eval %dist", ".seed9"},
		{"sticky tmp", "build", "touch /tmp/x && rm /tmp/x && touch /dev/shm/y && echo ok", "ok"},
	} {
		if _, out := sh(t, r, tt.user, tt.script); out != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, out, tt.want)
		}
	}
	if code, _ := sh(t, r, "build", "exit 7"); code != 7 {
		t.Errorf("code = %d, want 7", code)
	}
	if code, _ := sh(t, r, "build", "kill -9 $$"); code != 137 {
		t.Errorf("code of a killed program = %d, want 137", code)
	}
}

// packages: what dnf installs and removes, and how it fails.
func (s *suite) packages(t *testing.T) {
	r := s.overlay(t)
	var log bytes.Buffer
	if err := r.Install(t.Context(), []string{"bash", "(m4 or nosuch)", "(hostname and zlib-devel >= 1:1.2)"}, s.repos, &log); err != nil {
		t.Fatalf("Install: %v\n%s", err, log.String())
	}
	pkgs, err := r.Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bash", "m4", "hostname", "zlib1g-dev"} {
		i := slices.IndexFunc(pkgs, func(p sandbox.Package) bool { return p.Name == name })
		if i < 0 || !pkgs[i].File.Valid() || !pkgs[i].Header.Valid() {
			t.Errorf("%s is not among the installed with its digests", name)
		}
	}
	err = r.Install(t.Context(), []string{"nosuch", "alsonot >= 3"}, s.repos, &log)
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(err.Error(), "alsonot >= 3") {
		t.Errorf("Install of what isn't there = %v", err)
	}
	if err := r.Install(t.Context(), []string{"(--nogpgcheck and m4)"}, s.repos, &log); !errors.Is(err, albs.Invalid) {
		t.Errorf("Install of an option as a part of a requirement = %v, want Invalid", err)
	}
	err = r.Install(t.Context(), []string{"make"}, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:9/"}}, &log)
	if !errors.Is(err, albs.Invalid) {
		t.Errorf("Install from port 9 = %v", err)
	}
	err = r.Install(t.Context(), []string{"make"}, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:2999/"}}, &log)
	if !errors.Is(err, albs.Unavailable) {
		t.Errorf("Install from a repository that is away = %v, want Unavailable", err)
	}
	if err := r.Remove(t.Context(), []string{"m4"}, []string{"bash", "m4"}, s.repos, &log); !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "m4") {
		t.Errorf("Remove of what is protected = %v, want a Conflict that names it", err)
	}
	if err := r.Remove(t.Context(), []string{"m4"}, []string{"bash"}, s.repos, &log); err != nil {
		t.Fatalf("Remove: %v\n%s", err, log.String())
	}
	if code, out := sh(t, r, "root", "rpm -q m4; rpm -V zlib1g-dev"); !strings.Contains(out, "m4 is not installed") || code != 0 {
		t.Errorf("after Remove: %d %s", code, out)
	}
}

// files: what crosses the border of a root.
func (s *suite) files(t *testing.T) {
	r := s.overlay(t)
	ctx := t.Context()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.CopyIn(ctx, sandbox.Copy{Data: []byte("a"), To: "/builddir/d/e/a.txt"}, sandbox.Copy{From: secret, To: "/builddir/d/b.txt", User: sandbox.UserRoot}); err != nil {
		t.Fatal(err)
	}
	// Seen from inside, all that isn't the build user's is nobody's.
	if _, out := sh(t, r, "root", "stat -c '%u %n' /builddir/d /builddir/d/e /builddir/d/e/a.txt /builddir/d/b.txt; cat /builddir/d/b.txt"); out != "1000 /builddir/d\n1000 /builddir/d/e\n1000 /builddir/d/e/a.txt\n0 /builddir/d/b.txt\nsecret" &&
		out != "0 /builddir/d\n0 /builddir/d/e\n0 /builddir/d/e/a.txt\n0 /builddir/d/b.txt\nsecret" {
		t.Errorf("copied in: %s", out)
	}
	sh(t, r, "build", "mkdir -p out/sub && echo 1 > out/a.rpm && echo 2 > out/sub/b.rpm && echo 3 > out/c.txt && ln -s "+secret+" out/link.rpm && ln -s /etc out/dir.rpm && mkfifo out/fifo.rpm; chmod 0 out/sub/b.rpm; ln -s "+secret+" secret; ln -s /usr into; mkfifo pipe")
	to := t.TempDir()
	got, err := r.CopyOut(ctx, "/builddir/out", ".rpm", to)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{to + "/a.rpm", to + "/b.rpm"}) {
		t.Errorf("CopyOut = %v, %v", got, err)
	}
	if got, err := r.CopyOut(ctx, "/builddir/nothing", ".rpm", to); err != nil || len(got) > 0 {
		t.Errorf("CopyOut of nothing = %v, %v", got, err)
	}
	sh(t, r, "build", "echo 4 > out/sub/a.rpm")
	if _, err := r.CopyOut(ctx, "/builddir/out", ".rpm", t.TempDir()); !errors.Is(err, albs.Invalid) {
		t.Errorf("CopyOut of two files of one name = %v, want Invalid", err)
	}
	for _, name := range []string{"/builddir/secret", "/builddir/pipe", "/builddir/out", "/nosuch"} {
		if b, err := r.ReadFile(ctx, name, 100); !errors.Is(err, albs.Invalid) {
			t.Errorf("ReadFile(%s) = %q, %v, want Invalid", name, b, err)
		}
	}
	if b, err := r.ReadFile(ctx, "/builddir/out/c.txt", 100); err != nil || string(b) != "3\n" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
	if err := r.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: "/builddir/into/bin/sh"}); !errors.Is(err, albs.Invalid) {
		t.Errorf("CopyIn through a link = %v, want Invalid", err)
	}
	if err := r.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: "/builddir/../etc/x"}); !errors.Is(err, albs.Invalid) {
		t.Errorf("CopyIn by .. = %v, want Invalid", err)
	}
	if err := r.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: "/builddir/secret"}); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the host's file is now %q, %v", b, err)
	}
}

// examine: what is found at paths of a root, and never at the host's.
func (s *suite) examine(t *testing.T) {
	r := s.overlay(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := sh(t, r, "root", "cd /usr/share && echo a > x && chmod 4711 x && ln -s x y && ln -s "+secret+" z && ln -s z zz && mkfifo p && mkdir -m 1700 d && chown 5:6 d 2>/dev/null; true"); code != 0 {
		t.Fatal(out)
	}
	bash := "/bin/bash"
	asks := []examine.Ask{{Path: "/usr/share/x", Digest: true, Size: 2}, {Path: "/usr/share/y"}, {Path: "/usr/share/z"}, {Path: "/usr/share/zz"}, {Path: "/usr/share/p", Digest: true, ELF: true},
		{Path: "/usr/share/d"}, {Path: secret}, {Path: bash, ELF: true}, {Path: "/proc/self/root/usr"}}
	e, err := r.Examine(t.Context(), asks)
	if err != nil || len(e) != len(asks) {
		t.Fatalf("Examine = %d entries, %v", len(e), err)
	}
	if x := e[0]; x.Kind != examine.File || x.Mode != 0o4711 || x.UID != 0 || x.Size != 2 || x.Digest != albs.DigestOf([]byte("a\n")) {
		t.Errorf("a file: %+v", x)
	}
	if y := e[1]; y.Kind != examine.Link || y.Link != "x" || y.Leads != examine.File {
		t.Errorf("a link: %+v", y)
	}
	for _, z := range e[2:4] {
		if z.Kind != examine.Link || z.Leads != examine.Absent {
			t.Errorf("a link to a file of the host: %+v", z)
		}
	}
	if p := e[4]; p.Kind != examine.FIFO || p.Digest != "" {
		t.Errorf("a FIFO: %+v", p)
	}
	// Without lent ids there is no other owner than root.
	if d := e[5]; d.Kind != examine.Dir || d.Mode != 0o1700 || d.UID != 5 && d.UID != 0 {
		t.Errorf("a folder: %+v", d)
	}
	if e[6].Kind != examine.Absent || e[8].Kind != examine.Absent {
		t.Errorf("what isn't the root's: %+v, %+v", e[6], e[8])
	}
	if b := e[7].ELF; b == nil || b.Fault != "" || !b.Dynamic || len(b.Needed) == 0 {
		t.Errorf("a program: %+v", b)
	}
	if _, err := r.Examine(t.Context(), []examine.Ask{{Path: "usr"}}); !errors.Is(err, albs.Invalid) {
		t.Errorf("Examine of a relative path = %v, want Invalid", err)
	}
}

// limits: each limit ends the work with an Invalid error that names it.
func (s *suite) limits(t *testing.T) {
	r := s.overlay(t)
	nap := "5" + Nap // beside other tests'
	limits := []struct {
		name, script, say string
		lim               sandbox.Limits
	}{
		{"time", "(setsid sleep " + nap + " &); while :; do echo; sleep 0.1; done", "longer", sandbox.Limits{Time: time.Second}},
		{"silence", "sleep 100", "silent", sandbox.Limits{Silence: time.Second}},
		{"output", "yes", "log", sandbox.Limits{Output: 1 << 20}},
		{"disk", "i=0; while :; do i=$((i+1)); head -c 10000000 /dev/zero > f$i; done", "disk", sandbox.Limits{Disk: 50 << 20}},
	}
	if s.e.Isolation().Cgroup != "none" {
		limits = append(limits, struct {
			name, script, say string
			lim               sandbox.Limits
		}{"memory", "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}", "memory", sandbox.Limits{Memory: 100 << 20}})
	}
	for _, tt := range limits {
		var out bytes.Buffer
		_, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", tt.script}, Stdout: &out, Stderr: &out, Limits: tt.lim})
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: %v, want Invalid saying %q", tt.name, err, tt.say)
		}
		if found := Processes(t, nap); len(found) > 0 {
			t.Errorf("%s: alive after Run: %v", tt.name, found)
		}
	}
	// What the kernel bounds holds without cgroups too. The root above may hold any
	// amount by now, for its disk is only looked at now and then.
	r = s.overlay(t)
	for _, u := range []sandbox.User{sandbox.UserBuild, sandbox.UserRoot} {
		var out bytes.Buffer
		_, err := r.Run(t.Context(), sandbox.Cmd{
			User: u, Argv: []string{"bash", "-c", "ulimit -c; ulimit -u; ulimit -f; ulimit -t"}, Stdout: &out, Stderr: &out,
			Limits: sandbox.Limits{Processes: 60, Disk: 1 << 30, Time: 10 * time.Second, CPUs: 1},
		})
		if want := "0\n60\n1048576\n11\n"; err != nil || out.String() != want {
			t.Errorf("limits of processes as %s: %q, %v; want %q", u, out.String(), err, want)
		}
	}
	// The script comes to its end only without the limit. As root of the root too: the
	// helper outlives what the work takes.
	for _, u := range []sandbox.User{sandbox.UserBuild, sandbox.UserRoot} {
		code, err := r.Run(t.Context(), sandbox.Cmd{User: u, Limits: sandbox.Limits{Processes: 60, Time: 3 * time.Second},
			Argv: []string{"sh", "-c", "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done 2>/dev/null; exit 3"}})
		if err != nil && !errors.Is(err, albs.Invalid) || err == nil && (code == 0 || code == 3) {
			t.Errorf("too many processes as %s: %d, %v", u, code, err)
		}
	}
}

// cancel: the end of ctx ends all that runs.
func (s *suite) cancel(t *testing.T) {
	r := s.overlay(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	// The first output is the sign that it runs.
	_, err := r.Run(ctx, sandbox.Cmd{Argv: []string{"sh", "-c", "(setsid sleep 77777 &) ; echo runs; exec sleep 77777"}, Stdout: writer(func() { cancel() })})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("Run = %v after %v", err, time.Since(began))
	}
	if found := Processes(t, "77777"); len(found) > 0 {
		t.Errorf("alive after Run: %v", found)
	}
}

// bases: what leads to the same base, what to another, and what to none.
func (s *suite) bases(t *testing.T) {
	ctx := t.Context()
	if d := s.base(t, s.root, s.repos).Digest(); d != s.b.Digest() {
		t.Errorf("the same root has another base")
	}
	packages := s.b.Packages()
	if !slices.IsSortedFunc(packages, func(a, b sandbox.Package) int { return strings.Compare(a.NEVRA(), b.NEVRA()) }) ||
		!slices.ContainsFunc(packages, func(p sandbox.Package) bool { return p.Name == "bash" && p.File.Valid() && p.Header.Valid() }) {
		t.Errorf("packages of the base: %v", packages)
	}
	// More repositories that change nothing lead to the same base, as does the task's own.
	for _, repo := range []albs.Repo{{ID: "more", Snapshot: albs.DigestOf([]byte("more"))}, {ID: "own", Snapshot: albs.DigestOf([]byte("own")), Own: true}} {
		other := s.root
		other.Repos = append(slices.Clone(s.root.Repos), repo)
		more := append(slices.Clone(s.repos), sandbox.Repo{ID: repo.ID, BaseURL: s.repos[0].BaseURL, Priority: 100})
		if d := s.base(t, other, more); d.Digest() != s.b.Digest() {
			t.Errorf("the repository %s, which adds nothing, makes another base", repo.ID)
		}
	}
	// A base of one package, made by four at once.
	small := s.root
	small.Packages = []string{"system-release"}
	var wg sync.WaitGroup
	digests := make([]albs.Digest, 4)
	for i := range digests {
		wg.Go(func() {
			b, err := s.e.Base(ctx, small, s.repos, io.Discard)
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			digests[i] = b.Digest()
		})
	}
	wg.Wait()
	if slices.ContainsFunc(digests, func(d albs.Digest) bool { return d != digests[0] || d == s.b.Digest() }) {
		t.Errorf("bases = %v, the larger one %s", digests, s.b.Digest())
	}
	small.Macros = map[string]string{"dist": ".other"}
	if d := s.base(t, small, s.repos).Digest(); d == digests[0] {
		t.Errorf("other macros have the same base")
	}
	for _, tt := range []struct {
		name   string
		change func(*albs.Root)
		kind   albs.Kind
		say    string
	}{
		{"a package that isn't there", func(r *albs.Root) { r.Packages = []string{"nosuch"} }, albs.Invalid, "nosuch"},
		{"an option as a package", func(r *albs.Root) { r.Packages = []string{"--installroot=/"} }, albs.Invalid, "--installroot=/"},
		{"a floating repository", func(r *albs.Root) { r.Repos = []albs.Repo{{ID: "seed", Mirror: "file:///x"}} }, albs.Invalid, "seed"},
		{"a repository that isn't served", func(r *albs.Root) {
			r.Repos = append(slices.Clone(r.Repos), albs.Repo{ID: "more", Snapshot: albs.DigestOf([]byte("more"))})
		}, albs.Invalid, "1 of the 2"},
	} {
		bad := s.root
		tt.change(&bad)
		if _, err := s.e.Base(ctx, bad, s.repos, io.Discard); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("Base with %s = %v, want %s saying %q", tt.name, err, tt.kind, tt.say)
		}
	}
	away := s.root
	away.Macros = map[string]string{"dist": ".away"}
	if _, err := s.e.Base(ctx, away, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:2999/"}}, io.Discard); !errors.Is(err, albs.Unavailable) || errors.Is(err, albs.Invalid) {
		t.Errorf("Base out of a repository that is away = %v, want Unavailable", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := s.e.Base(ended, away, s.repos, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Base after the end of its context = %v", err)
	}
}

// privileges: no program in a root gains any by what it executes, and root there has
// only what rpm needs.
func (s *suite) privileges(t *testing.T) {
	r := s.overlay(t)
	sh(t, r, "root", "cp /usr/bin/id /usr/bin/rootid && chmod 4755 /usr/bin/rootid")
	status := "while read k v; do case $k in NoNewPrivs:|CapEff:|CapBnd:) echo $k $v;; esac; done < /proc/self/status"
	if _, out := sh(t, r, "build", "rootid -u; "+status); out != "1000\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1" {
		t.Errorf("as the build user: %q", out)
	}
	// CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP SYS_CHROOT SETFCAP
	// With the last of it, none comes back at the next execve.
	if _, out := sh(t, r, "root", "grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr -s '\\t' ' '"); out != "CapEff: 00000000800401ff\nNoNewPrivs: 1" {
		t.Errorf("as root: %q", out)
	}
}

// network: the host's only if it is asked for, and never for dnf and what it runs.
func (s *suite) network(t *testing.T) {
	r := s.overlay(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		user    sandbox.User
		network bool
	}{{"build", false}, {"build", true}, {"root", false}, {"root", true}} {
		code, err := r.Run(t.Context(), sandbox.Cmd{
			Argv: []string{"bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d", port)}, User: tt.user, Network: tt.network,
		})
		if err != nil || (code == 0) != tt.network {
			t.Errorf("as %s with network %v: code %d, %v", tt.user, tt.network, code, err)
		}
	}
}

// hostFiles: a file that can't be read is an error and no empty copy.
func (s *suite) hostFiles(t *testing.T) {
	r := s.overlay(t)
	full := filepath.Join(t.TempDir(), "full")
	if err := os.WriteFile(full, make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := sandbox.Copy{From: filepath.Join(t.TempDir(), "absent"), To: "/builddir/absent"}
	for _, files := range [][]sandbox.Copy{{absent}, {{From: full, To: "/builddir/full"}, absent}} {
		if err := r.CopyIn(t.Context(), files...); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("CopyIn of %d files, the last of which isn't there = %v", len(files), err)
		}
	}
}

func (s *suite) badLimits(t *testing.T) {
	r := s.overlay(t)
	for _, l := range []sandbox.Limits{{Time: -1}, {Silence: -1}, {Memory: -1}, {Processes: -1}, {Disk: -1}, {Output: -1}, {CPUs: -1}} {
		if _, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}, Limits: l}); !errors.Is(err, albs.Invalid) {
			t.Errorf("Run with %+v = %v, want Invalid", l, err)
		}
	}
}

// dnfLimits: what dnf and scriptlets write is bounded too, and no package's fault.
func (s *suite) dnfLimits(t *testing.T) {
	e := s.open(t, sandbox.Limits{Disk: 2 << 20})
	b, err := e.Base(t.Context(), s.root, s.repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// More than dnf may write is there before it begins: no need to race with it.
	script := "for i in 1 2 3 4; do head -c 1000000 /dev/zero > f$i; done"
	if code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, Limits: sandbox.Limits{Disk: 64 << 20}}); code != 0 || err != nil {
		t.Fatalf("Run = %d, %v", code, err)
	}
	err = r.Install(t.Context(), []string{"m4"}, s.repos, io.Discard)
	if !errors.Is(err, albs.Unavailable) || errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "bytes to disk") {
		t.Errorf("Install of much = %v, want Unavailable", err)
	}
}

// output: what comes up to the limit comes whole, and nothing beyond it, however fast.
func (s *suite) output(t *testing.T) {
	r := s.overlay(t)
	for _, tt := range []struct {
		bytes string
		kind  albs.Kind
	}{{"100000", ""}, {"100001", albs.Invalid}, {"300000000", albs.Invalid}} {
		var out bytes.Buffer
		_, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"head", "-c", tt.bytes, "/dev/zero"}, Stdout: &out, Limits: sandbox.Limits{Output: 100_000}})
		if albs.KindOf(err) != tt.kind || out.Len() > 100_000 || tt.kind == "" && out.Len() != 100_000 {
			t.Errorf("%s bytes: got %d, %v", tt.bytes, out.Len(), err)
		}
	}
}

func (s *suite) noProgram(t *testing.T) {
	r := s.overlay(t)
	for _, name := range []string{"nosuch", "/usr/bin/nosuch"} {
		if _, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{name}}); !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), name) {
			t.Errorf("Run of %s = %v, want NotFound", name, err)
		}
	}
	if code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"/bin/true"}}); code != 0 || err != nil {
		t.Errorf("Run through a link = %d, %v", code, err)
	}
	if _, err := r.Run(t.Context(), sandbox.Cmd{}); !errors.Is(err, albs.Invalid) {
		t.Errorf("Run of nothing = %v, want Invalid", err)
	}
	if _, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}, User: "somebody"}); !errors.Is(err, albs.Invalid) {
		t.Errorf("Run as nobody known = %v, want Invalid", err)
	}
}

// closed: after Close nothing runs, and what was written is in no other root.
func (s *suite) closed(t *testing.T) {
	r := s.overlay(t)
	sh(t, r, "build", "echo 1 > kept")
	if b, err := r.ReadFile(t.Context(), "/builddir/kept", 10); err != nil || string(b) != "1\n" {
		t.Errorf("ReadFile = %q, %v: what one call wrote the next one finds", b, err)
	}
	if b, err := s.overlay(t).ReadFile(t.Context(), "/builddir/kept", 10); !errors.Is(err, albs.Invalid) {
		t.Errorf("another root has the file: %q, %v", b, err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}}); err == nil {
		t.Error("Run after Close succeeds")
	}
	if err := r.CopyIn(t.Context(), sandbox.Copy{To: "/builddir/x"}); err == nil {
		t.Error("CopyIn after Close succeeds")
	}
	if err := r.Install(t.Context(), []string{"m4"}, s.repos, io.Discard); err == nil {
		t.Error("Install after Close succeeds")
	}
}

// concurrent: calls on one root run one after the other.
func (s *suite) concurrent(t *testing.T) {
	r := s.overlay(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "mkdir lock && sleep 0.05 && rmdir lock"}})
			if code != 0 || err != nil {
				t.Errorf("Run beside others = %d, %v", code, err)
			}
		})
	}
	wg.Wait()
}

// writer calls f at each write.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
