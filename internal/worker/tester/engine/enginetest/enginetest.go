// Package enginetest is the conformance suite of the engines in which packages are tested:
// it asks each of them for what package engine says of all.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/examine"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
)

// Traits are what engines may differ in.
type Traits struct {
	// Kernel says that each environment has a kernel of its own, which can boot.
	Kernel bool
	// Network says that a program can be given the network of the host.
	Network bool
}

// suite is one engine under test, with a base that all claims share: to fill one takes
// longer than most of them.
type suite struct {
	Traits
	e       engine.Engine
	b       engine.Base
	root    albs.Root
	repos   []sandbox.Repo
	digests map[string]albs.Digest // NEVRA → file, of the suite's packages
}

// Limits are what the engine under test is to be opened with: enough for dnf, and little
// enough for a claim to pass them. Memory may be left out where nothing can bound it.
var Limits = sandbox.Limits{Disk: 512 << 20, Processes: 400, Output: 8 << 20}

// TestEngine asks the engine that open returns for what package engine says: a subtest
// for each claim. open is called once, with Limits for all programs that bring none of
// their own, and skips the test, with the reason, where there can be no such engine.
// What traits doesn't have isn't asked for, which a line of the test's log says. The
// program's TestMain is sandboxtest.Main.
func TestEngine(t *testing.T, traits Traits, open func(t *testing.T, limits sandbox.Limits) engine.Engine) {
	s := &suite{Traits: traits, e: open(t, Limits)}
	s.root, s.repos = sandboxtest.SmallRoot(t)
	var dir string
	dir, s.digests = packages(t)
	repomd, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	s.root.Repos = append(s.root.Repos, albs.Repo{ID: "own", Mirror: "file://" + dir, Repomd: albs.DigestOf(repomd), Own: true})
	s.repos = append(s.repos, sandbox.Repo{ID: "own", BaseURL: "file://" + dir, Own: true})
	var log bytes.Buffer
	if s.b, err = s.e.Base(t.Context(), s.root, s.repos, &log); err != nil {
		t.Fatalf("Base: %v\n%s", err, log.String())
	}
	t.Cleanup(s.b.Close)
	for _, c := range []struct {
		name string
		test func(t *testing.T)
		long string // why not in -short
	}{
		{"bases", s.bases, "dnf runs often"},
		{"packages", s.packages, "dnf runs often"},
		{"removal", s.removal, "dnf runs often"},
		{"packages that misbehave", s.misbehave, "dnf runs often"},
		{"programs", s.programs, ""},
		{"limits", s.limits, "limits of time have to pass"},
		{"the end of the context", s.ends, ""},
		{"files", s.files, ""},
		{"what lies there", s.examine, ""},
		{"isolation", s.isolation, ""},
		{"network", s.network, ""},
		{"reboot", s.reboot, ""},
		{"closed", s.closed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.long != "" && testing.Short() {
				t.Skipf("%s: not in -short", c.long)
			}
			c.test(t)
		})
	}
}

// environment returns a fresh one, which the end of the test closes.
func (s *suite) environment(t *testing.T) engine.Environment {
	t.Helper()
	e, err := s.b.Environment(t.Context())
	if err != nil {
		t.Fatalf("Environment: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// sh runs a script of the shell as root and returns its code and what it said.
func sh(t *testing.T, e engine.Environment, script string) (int, string) {
	t.Helper()
	return shAs(t, e, sandbox.UserRoot, script)
}

func shAs(t *testing.T, e engine.Environment, u sandbox.User, script string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: u, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("Run %q: %v\n%s", script, err, out.String())
	}
	return code, strings.TrimSpace(out.String())
}

// asleep fails the test if a process of the suite's packages or scripts is alive on the
// host or in the environment.
func asleep(t *testing.T, e engine.Environment, nap string) {
	t.Helper()
	if found := sandboxtest.Processes(t, nap); len(found) > 0 {
		t.Errorf("alive on the host: %v", found)
	}
	// What greps would find itself, were the word whole.
	script := fmt.Sprintf("grep -l -a -E '^sleep.[%c]%s' /proc/[0-9]*/cmdline 2>/dev/null; true", nap[0], nap[1:])
	if _, out := sh(t, e, script); out != "" {
		t.Errorf("alive in the environment: %s", out)
	}
}

// have says which of the suite's packages are installed, and that each is the file that
// the repository has.
func (s *suite) have(t *testing.T, e engine.Environment, want ...string) {
	t.Helper()
	all, err := e.Installed(t.Context())
	if err != nil {
		t.Fatalf("Installed: %v", err)
	}
	if !slices.IsSortedFunc(all, func(a, b sandbox.Package) int { return strings.Compare(a.NEVRA(), b.NEVRA()) }) {
		t.Error("what is installed isn't sorted")
	}
	var got []string
	for _, p := range all {
		if !strings.HasPrefix(p.Name, "et-") {
			continue
		}
		got = append(got, p.NEVRA())
		if p.File != s.digests[p.NEVRA()] {
			t.Errorf("%s came from %s, its file is %s", p.NEVRA(), p.File, s.digests[p.NEVRA()])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("installed: %q, want %q", got, want)
	}
	if len(all) <= len(got) {
		t.Error("nothing of the base is installed")
	}
}

// refused fails the test unless err is of the kind and says something.
func refused(t *testing.T, what string, err error, kind albs.Kind, say string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), say) {
		t.Errorf("%s = %v, want %s that says %q", what, err, kind, say)
	}
}

// bases: what is in one, and whose fault it is that there is none.
func (s *suite) bases(t *testing.T) {
	if s.e.Name() == "" {
		t.Error("the engine has no name")
	}
	all := s.b.Packages()
	if !slices.ContainsFunc(all, func(p sandbox.Package) bool { return p.Name == "bash" && p.File.Valid() && p.Header.Valid() }) {
		t.Errorf("bash isn't among the %d packages of the base with its digests", len(all))
	}
	s.have(t, s.environment(t))
	bad := s.root
	bad.Packages = []string{"nosuch-package"}
	_, err := s.e.Base(t.Context(), bad, s.repos, io.Discard)
	refused(t, "Base of a package that isn't there", err, albs.Invalid, "nosuch-package")
	bad.Packages = []string{"--installroot=/"}
	_, err = s.e.Base(t.Context(), bad, s.repos, io.Discard)
	refused(t, "Base of an option", err, albs.Invalid, "--installroot=/")
	away := s.root
	away.Macros = map[string]string{"dist": ".away"}
	_, err = s.e.Base(t.Context(), away, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:2999/"}}, io.Discard)
	if !errors.Is(err, albs.Unavailable) || errors.Is(err, albs.Invalid) {
		t.Errorf("Base out of a repository that is away = %v, want Unavailable", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := s.e.Base(ended, away, s.repos, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Base after the end of its context = %v", err)
	}
}

// packages: installed, upgraded and downgraded, with what they need.
func (s *suite) packages(t *testing.T) {
	e, ctx := s.environment(t), t.Context()
	var log bytes.Buffer
	do := func(what string, f func(context.Context, []string, io.Writer) error, names ...string) {
		t.Helper()
		if err := f(ctx, names, &log); err != nil {
			t.Fatalf("%s %q: %v\n%s", what, names, err, log.String())
		}
	}
	do("Install", e.Install, "et-tool-1-1.noarch")
	if !strings.Contains(log.String(), "et-lib") {
		t.Errorf("what dnf said of et-lib isn't in the log:\n%s", log.String())
	}
	s.have(t, e, "et-lib-1-1.noarch", "et-tool-1-1.noarch")
	if code, out := sh(t, e, "et"); code != 0 || out != "et 1" {
		t.Errorf("et = %d, %q", code, out)
	}
	do("Upgrade", e.Upgrade, "et-tool-2-1.noarch")
	s.have(t, e, "et-lib-2-1.noarch", "et-tool-2-1.noarch")
	if _, out := sh(t, e, "et"); out != "et 2" {
		t.Errorf("et, upgraded = %q", out)
	}
	do("Downgrade", e.Downgrade, "et-tool-1-1.noarch", "et-lib-1-1.noarch")
	s.have(t, e, "et-lib-1-1.noarch", "et-tool-1-1.noarch")
	if _, out := sh(t, e, "et"); out != "et 1" {
		t.Errorf("et, downgraded = %q", out)
	}
	refused(t, "Install of what isn't there", e.Install(ctx, []string{"nosuch-thing >= 3"}, io.Discard), albs.Invalid, "nosuch-thing >= 3")
	for what, f := range map[string]func(context.Context, []string, io.Writer) error{"Install": e.Install, "Upgrade": e.Upgrade, "Downgrade": e.Downgrade, "Reinstall": e.Reinstall, "Enable": e.Enable} {
		refused(t, what+" of an option", f(ctx, []string{"--nogpgcheck"}, io.Discard), albs.Invalid, "--nogpgcheck")
	}
	refused(t, "Remove of an option", e.Remove(ctx, []string{"--all"}, nil, io.Discard), albs.Invalid, "--all")
	s.have(t, e, "et-lib-1-1.noarch", "et-tool-1-1.noarch")
}

// removal: what is protected stays, what is broken comes whole by a reinstallation.
func (s *suite) removal(t *testing.T) {
	e, ctx := s.environment(t), t.Context()
	var log bytes.Buffer
	if err := e.Install(ctx, []string{"et-tool"}, &log); err != nil {
		t.Fatalf("Install: %v\n%s", err, log.String())
	}
	both := []string{"et-lib-2-1.noarch", "et-tool-2-1.noarch"}
	s.have(t, e, both...)
	refused(t, "Remove of what something protected needs", e.Remove(ctx, []string{"et-lib"}, []string{"bash", "et-tool"}, &log), albs.Conflict, "et-tool")
	s.have(t, e, both...)
	if code, out := sh(t, e, "et && rm /usr/bin/et"); code != 0 || out != "et 2" {
		t.Errorf("et after a removal that was refused = %d, %q", code, out)
	}
	if err := e.Reinstall(ctx, []string{"et-tool-2-1.noarch"}, &log); err != nil {
		t.Fatalf("Reinstall: %v\n%s", err, log.String())
	}
	if code, out := sh(t, e, "et"); code != 0 || out != "et 2" {
		t.Errorf("et after a reinstallation = %d, %q", code, out)
	}
	if err := e.Remove(ctx, []string{"et-lib"}, []string{"bash"}, &log); err != nil {
		t.Fatalf("Remove: %v\n%s", err, log.String())
	}
	s.have(t, e)
	if _, out := sh(t, e, "ls -d /usr/bin/et /usr/share/et 2>/dev/null; true"); out != "" {
		t.Errorf("after the removal there is %q", out)
	}
}

// misbehave: what scriptlets do is the packages' own fault, and nothing of it lives on.
func (s *suite) misbehave(t *testing.T) {
	e := s.environment(t)
	refused(t, "Install of what refuses", e.Install(t.Context(), []string{"et-refuses"}, io.Discard), albs.Invalid, "et-refuses")
	s.have(t, e)
	refused(t, "Install of what ends dnf", e.Install(t.Context(), []string{"et-kills"}, io.Discard), albs.Invalid, "")
	asleep(t, e, sandboxtest.Nap)

	// Until then it hangs: the deadline is the work's own fault, and says so.
	e = s.environment(t)
	late := albs.Errorf(albs.Invalid, "it took too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	err := e.Install(ctx, []string{"et-hangs"}, onWord("Running scriptlet: et-hangs", func() { cancel(late) }))
	refused(t, "Install past its deadline", err, albs.Invalid, late.Error())
	asleep(t, e, sandboxtest.Nap)
}

// programs: how they are started, and how they end.
func (s *suite) programs(t *testing.T) {
	e, ctx := s.environment(t), t.Context()
	for _, tt := range []struct {
		name   string
		user   sandbox.User
		script string
		code   int
		out    string
	}{
		{"root", "root", "id -u; id -g; pwd; echo $HOME", 0, "0\n0\n/\n/root"},
		{"the build user", "build", "id -u; id -g; pwd; echo $HOME", 0, "1000\n1000\n/builddir\n/builddir"},
		{"nobody named", "", "id -u", 0, "1000"},
		{"packages aren't the build user's", "build", "touch /usr/x /etc/x 2>/dev/null; ls /usr/x /etc/x 2>/dev/null; true", 0, ""},
		{"root may install", "root", "touch /usr/x && chown 5:5 /usr/x && stat -c %u /usr/x", 0, "5"},
		{"a code", "root", "exit 7", 7, ""},
		{"a signal", "root", "kill -9 $$", 137, ""},
		{"another signal", "build", "kill -TERM $$", 143, ""},
		{"devices", "build", "echo x > /dev/null && head -c 4 /dev/zero | wc -c && echo x > /dev/full 2>/dev/null || echo full", 0, "4\nfull"},
		{"temporary folders", "build", "for d in /tmp /var/tmp /dev/shm; do touch $d/x && rm $d/x || echo $d; done", 0, ""},
		{"macros", "build", "rpm --eval %dist", 0, ".seed9"},
	} {
		if code, out := shAs(t, e, tt.user, tt.script); code != tt.code || out != tt.out {
			t.Errorf("%s: %d, %q, want %d, %q", tt.name, code, out, tt.code, tt.out)
		}
	}
	var out, errs bytes.Buffer
	code, err := e.Run(ctx, sandbox.Cmd{
		Argv: []string{"sh", "-c", `cat; printf '%s|' "$@"; echo "$GREETING"; pwd; echo wrong >&2; exit 3`, "sh", "a b", "$(x)", "", "--all"},
		Dir:  "/usr", Env: []string{"GREETING=hel lo"}, Stdin: strings.NewReader("given "), Stdout: &out, Stderr: &errs,
	})
	if want := "given a b|$(x)||--all|hel lo\n/usr\n"; code != 3 || err != nil || out.String() != want || errs.String() != "wrong\n" {
		t.Errorf("Run = %d, %v, said %q and %q, want %q and wrong", code, err, out.String(), errs.String(), want)
	}
	for _, name := range []string{"nosuch", "/usr/bin/nosuch"} {
		_, err := e.Run(ctx, sandbox.Cmd{Argv: []string{name}})
		refused(t, "Run of what isn't there", err, albs.NotFound, name)
	}
	_, err = e.Run(ctx, sandbox.Cmd{})
	refused(t, "Run of nothing", err, albs.Invalid, "")
	_, err = e.Run(ctx, sandbox.Cmd{Argv: []string{"true"}, User: "somebody"})
	refused(t, "Run as somebody", err, albs.Invalid, "somebody")
	_, err = e.Run(ctx, sandbox.Cmd{Argv: []string{"true"}, Limits: sandbox.Limits{Time: -1}})
	refused(t, "Run with a limit below zero", err, albs.Invalid, "")
	// What one call wrote the next one finds; what it left running is dead.
	nap := "1" + sandboxtest.Nap
	sh(t, e, "echo 1 > /usr/share/kept; setsid sleep "+nap+" >/dev/null 2>&1 & echo started")
	if _, out := sh(t, e, "cat /usr/share/kept"); out != "1" {
		t.Errorf("of what was written there is %q", out)
	}
	asleep(t, e, nap)
}

// limits: each ends the program with an Invalid error, and no more than it; the
// environment serves on.
func (s *suite) limits(t *testing.T) {
	e := s.environment(t)
	for _, tt := range []struct {
		name, script, say string
		lim               sandbox.Limits
	}{
		{"time", "exec sleep 2" + sandboxtest.Nap, "longer than", sandbox.Limits{Time: 3 * time.Second}},
		{"silence", "echo x; exec sleep 2" + sandboxtest.Nap, "silent for", sandbox.Limits{Silence: 3 * time.Second}},
		{"disk", "head -c 200M /dev/zero > /usr/share/fill; exec sleep 2" + sandboxtest.Nap, "to disk", sandbox.Limits{Disk: 50 << 20}},
		{"forks without end", "f() { f | f & }; f; exec sleep 2" + sandboxtest.Nap, "longer than", sandbox.Limits{Processes: 100, Time: 5 * time.Second}},
	} {
		_, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", tt.script}, User: sandbox.UserRoot, Limits: tt.lim, Stdout: io.Discard, Stderr: io.Discard})
		refused(t, tt.name, err, albs.Invalid, tt.say)
	}
	asleep(t, e, "2"+sandboxtest.Nap)
	for _, tt := range []struct {
		bytes string
		kind  albs.Kind
	}{{"100000", ""}, {"100001", albs.Invalid}, {"300000000", albs.Invalid}} {
		var out bytes.Buffer
		_, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"head", "-c", tt.bytes, "/dev/zero"}, Stdout: &out, Limits: sandbox.Limits{Output: 100_000}})
		if albs.KindOf(err) != tt.kind || out.Len() > 100_000 || tt.kind == "" && out.Len() != 100_000 {
			t.Errorf("%s bytes of output: got %d, %v", tt.bytes, out.Len(), err)
		}
	}
	if code, out := sh(t, e, "rm -f /usr/share/fill; echo still"); code != 0 || out != "still" {
		t.Errorf("after the limits: %d, %q", code, out)
	}
}

// ends: what ctx ends gives its cause, and is dead when the call returns.
func (s *suite) ends(t *testing.T) {
	e := s.environment(t)
	nap := "3" + sandboxtest.Nap
	cause := albs.Errorf(albs.Invalid, "it took too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := e.Run(ctx, sandbox.Cmd{
		Argv: []string{"sh", "-c", "(setsid sleep " + nap + " &) ; echo runs; exec sleep " + nap}, User: sandbox.UserRoot, Stdout: onWord("runs", func() { cancel(cause) }),
	})
	refused(t, "Run past its deadline", err, albs.Invalid, cause.Error())
	asleep(t, e, nap)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := e.Run(ended, sandbox.Cmd{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run after the end of its context = %v", err)
	}
	if err := e.Install(ended, []string{"et-lib"}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("Install after the end of its context = %v", err)
	}
}

// files: what crosses the border, and what doesn't.
func (s *suite) files(t *testing.T) {
	e, ctx := s.environment(t), t.Context()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := e.CopyIn(ctx, sandbox.Copy{Data: []byte("#!/bin/sh\necho run\n"), To: "/builddir/d/e/run", Exec: true, User: sandbox.UserBuild},
		sandbox.Copy{From: secret, To: "/srv/t/b.txt", User: sandbox.UserRoot})
	if err != nil {
		t.Fatalf("CopyIn: %v", err)
	}
	if _, out := sh(t, e, "/builddir/d/e/run; cat /srv/t/b.txt; echo; stat -c '%u %a %n' /srv/t /srv/t/b.txt"); out != "run\nsecret\n0 755 /srv/t\n0 644 /srv/t/b.txt" {
		t.Errorf("copied in: %s", out)
	}
	if code, out := shAs(t, e, sandbox.UserBuild, "echo more >> /builddir/d/e/run && touch /builddir/d/new"); code != 0 {
		t.Errorf("the build user's own files: %s", out)
	}
	sh(t, e, "cd /srv && ln -s "+secret+" secret && ln -s /usr into && ln -s ../../../../../../etc out && mkfifo pipe && echo 12345 > five")
	for _, to := range []string{"/srv/into/bin/sh", "/srv/out/passwd"} {
		refused(t, "CopyIn to "+to, e.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: to}), albs.Invalid, "")
	}
	for _, to := range []string{"srv/x", "/srv/../etc/x", "/", ""} {
		refused(t, "CopyIn to "+to, e.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: to}), albs.Invalid, "absolute path")
	}
	if err := e.CopyIn(ctx, sandbox.Copy{From: secret + "-absent", To: "/srv/absent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("CopyIn of nothing = %v", err)
	}
	// What stands in the way is replaced, and never followed.
	if err := e.CopyIn(ctx, sandbox.Copy{Data: []byte("x"), To: "/srv/secret"}); err != nil {
		t.Errorf("CopyIn in the place of a link: %v", err)
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the host's file is now %q, %v", b, err)
	}
	sh(t, e, "rm /srv/secret; ln -s "+secret+" /srv/secret")
	for _, name := range []string{"/srv/secret", "/srv/pipe", "/srv", "/nosuch", secret} {
		b, err := e.ReadFile(ctx, name, 100)
		if !errors.Is(err, albs.Invalid) {
			t.Errorf("ReadFile(%s) = %q, %v, want Invalid", name, b, err)
		}
	}
	if b, err := e.ReadFile(ctx, "/srv/five", 6); err != nil || string(b) != "12345\n" {
		t.Errorf("ReadFile = %q, %v", b, err)
	}
	_, err = e.ReadFile(ctx, "/srv/five", 5)
	refused(t, "ReadFile of more than its limit", err, albs.Invalid, "")
}

// examine: what is found at paths of an environment, and never at the host's.
func (s *suite) examine(t *testing.T) {
	e := s.environment(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := sh(t, e, "cd /usr/share && echo a > x && chown 5:6 x && chmod 4711 x && ln -s x y && ln -s "+secret+" z && ln -s ../../../../../../../.. up && ln -s round round && mkfifo p && mkdir -m 1700 d"); code != 0 {
		t.Fatal(out)
	}
	digest := albs.DigestOf([]byte("a\n"))
	for _, tt := range []struct {
		ask  examine.Ask
		want examine.Entry // but for Size
	}{
		{examine.Ask{Path: "/usr/share/x", Digest: true, Size: 2}, examine.Entry{Kind: examine.File, Mode: 0o4711, UID: 5, GID: 6, Digest: digest}},
		{examine.Ask{Path: "/usr/share/y"}, examine.Entry{Kind: examine.Link, Mode: 0o777, Link: "x", Leads: examine.File}},
		{examine.Ask{Path: "/usr/share/z"}, examine.Entry{Kind: examine.Link, Mode: 0o777, Link: secret}},
		{examine.Ask{Path: "/usr/share/up"}, examine.Entry{Kind: examine.Link, Mode: 0o777, Link: "../../../../../../../..", Leads: examine.Dir}},
		{examine.Ask{Path: "/usr/share/up" + secret}, examine.Entry{}},
		{examine.Ask{Path: "/usr/share/round"}, examine.Entry{Kind: examine.Link, Mode: 0o777, Link: "round"}},
		{examine.Ask{Path: "/usr/share/p", Digest: true, ELF: true}, examine.Entry{Kind: examine.FIFO, Mode: 0o644}},
		{examine.Ask{Path: "/usr/share/d"}, examine.Entry{Kind: examine.Dir, Mode: 0o1700}},
		{examine.Ask{Path: secret}, examine.Entry{}},
		{examine.Ask{Path: "/proc/self/root/usr"}, examine.Entry{}},
	} {
		got, err := e.Examine(t.Context(), []examine.Ask{tt.ask})
		if err != nil || len(got) != 1 {
			t.Errorf("Examine(%s) = %v, %v", tt.ask.Path, got, err)
			continue
		}
		got[0].Size, tt.want.Path = 0, tt.ask.Path
		if got[0] != tt.want {
			t.Errorf("Examine(%s) = %+v, want %+v", tt.ask.Path, got[0], tt.want)
		}
	}
	asks := []examine.Ask{{Path: "/bin/bash", ELF: true}, {Path: "/usr"}}
	got, err := e.Examine(t.Context(), asks)
	if err != nil || len(got) != 2 || got[0].ELF == nil || !got[0].ELF.Dynamic || len(got[0].ELF.Needed) == 0 || got[1].Path != "/usr" {
		t.Errorf("Examine of a program and a folder = %+v, %v", got, err)
	}
	_, err = e.Examine(t.Context(), []examine.Ask{{Path: "usr"}})
	refused(t, "Examine of a relative path", err, albs.Invalid, "usr")
	if got, err := e.Examine(t.Context(), nil); err != nil || len(got) > 0 {
		t.Errorf("Examine of nothing = %v, %v", got, err)
	}
}

// isolation: environments see nothing of each other, and nothing of the host.
func (s *suite) isolation(t *testing.T) {
	a, b := s.environment(t), s.environment(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	sh(t, a, "echo mine > /usr/share/mine; echo mine > /tmp/mine; echo mine > /dev/shm/mine; rm /etc/passwd")
	for name, e := range map[string]engine.Environment{"another environment": b, "a later one": s.environment(t)} {
		if _, out := sh(t, e, "ls /usr/share/mine /tmp/mine /dev/shm/mine 2>/dev/null; ls /etc/passwd"); out != "/etc/passwd" {
			t.Errorf("%s has %q", name, out)
		}
	}
	pid := strconv.Itoa(os.Getpid())
	for _, u := range []sandbox.User{sandbox.UserRoot, sandbox.UserBuild} {
		if _, out := shAs(t, b, u, "cat "+secret+" 2>/dev/null; grep -a -l test /proc/"+pid+"/cmdline 2>/dev/null; export -p | grep -E 'TMPDIR|GOCACHE|USER='; true"); out != "" {
			t.Errorf("as %s the host shows %q", u, out)
		}
	}
	if _, out := sh(t, b, "mknod /tmp/sda b 8 0 2>/dev/null && head -c 1 /tmp/sda 2>/dev/null | wc -c | grep 1; ls /dev | grep -E '^(kmsg|mem|fuse)$'; true"); out != "" && !s.Kernel {
		t.Errorf("devices of the host: %q", out)
	}
}

// network: none unless it is asked for.
func (s *suite) network(t *testing.T) {
	e := s.environment(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	reach := func(u sandbox.User, network bool) bool {
		code, err := e.Run(t.Context(), sandbox.Cmd{
			Argv: []string{"bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d", port)}, User: u, Network: network, Stderr: io.Discard,
		})
		if err != nil {
			t.Errorf("as %s with network %v: %v", u, network, err)
		}
		return code == 0
	}
	for _, u := range []sandbox.User{sandbox.UserRoot, sandbox.UserBuild} {
		if reach(u, false) {
			t.Errorf("as %s the host is reached without a network", u)
		}
		if _, out := shAs(t, e, u, "tail -n +2 /proc/net/route"); out != "" {
			t.Errorf("as %s there are routes without a network: %s", u, out)
		}
		if s.Network && !reach(u, true) {
			t.Errorf("as %s the host isn't reached with its network", u)
		}
	}
	if !s.Network {
		t.Logf("the engine %s gives no program the host's network: that isn't asked for", s.e.Name())
	}
}

// reboot: what was written is there afterwards, and what ran isn't; or there is no kernel.
func (s *suite) reboot(t *testing.T) {
	e := s.environment(t)
	if !s.Kernel {
		refused(t, "Reboot", e.Reboot(t.Context(), io.Discard), albs.NotFound, s.e.Name())
		return
	}
	boot := "cat /proc/sys/kernel/random/boot_id"
	_, before := sh(t, e, "echo kept > /usr/share/kept; "+boot)
	if err := e.Reboot(t.Context(), io.Discard); err != nil {
		t.Fatalf("Reboot: %v", err)
	}
	_, after := sh(t, e, boot)
	if before == after || after == "" {
		t.Errorf("the boot was %q before and is %q now", before, after)
	}
	if _, out := sh(t, e, "cat /usr/share/kept"); out != "kept" {
		t.Errorf("of what was written there is %q", out)
	}
}

// closed: after Close nothing is done any more.
func (s *suite) closed(t *testing.T) {
	e := s.environment(t)
	for range 2 {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := e.Run(t.Context(), sandbox.Cmd{Argv: []string{"true"}}); err == nil {
		t.Error("Run after Close succeeds")
	}
	if err := e.CopyIn(t.Context(), sandbox.Copy{To: "/builddir/x"}); err == nil {
		t.Error("CopyIn after Close succeeds")
	}
	if _, err := e.ReadFile(t.Context(), "/etc/passwd", 1<<20); err == nil {
		t.Error("ReadFile after Close succeeds")
	}
	if _, err := e.Examine(t.Context(), []examine.Ask{{Path: "/usr"}}); err == nil {
		t.Error("Examine after Close succeeds")
	}
	if err := e.Install(t.Context(), []string{"et-lib"}, io.Discard); err == nil {
		t.Error("Install after Close succeeds")
	}
}

// onWord calls f when the word has been written to it.
func onWord(word string, f func()) io.Writer { return &listener{word: word, f: f} }

type listener struct {
	said []byte
	word string
	f    func()
}

// Write implements io.Writer; it never fails.
func (l *listener) Write(p []byte) (int, error) {
	if l.f != nil {
		if l.said = append(l.said, p...); bytes.Contains(l.said, []byte(l.word)) {
			l.f()
			l.f = nil
		}
	}
	return len(p), nil
}
