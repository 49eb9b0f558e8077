package sandbox_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// setup returns a small root of Seed Linux: a base of a few seconds.
func setup(t *testing.T) (albs.Root, []sandbox.Repo) {
	t.Helper()
	root, repos := sandboxtest.Root(t, sandboxtest.Seed(t))
	root.Packages = []string{"system-release", "bash", "coreutils", "grep", "rpm", "glibc-common"}
	return root, repos
}

func base(t *testing.T, e *sandbox.Engine, root albs.Root, repos []sandbox.Repo) *sandbox.Base {
	t.Helper()
	var log bytes.Buffer
	b, err := e.Base(t.Context(), root, repos, &log)
	if err != nil {
		t.Fatalf("Base: %v\n%s", err, log.String())
	}
	return b
}

func overlay(t *testing.T, b *sandbox.Base) *sandbox.Root {
	t.Helper()
	r, err := b.Overlay(t.Context())
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
func sh(t *testing.T, r *sandbox.Root, u sandbox.User, script string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", script}, User: u, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("Run %q: %v\n%s", script, err, out.String())
	}
	return code, strings.TrimSpace(out.String())
}

// TestRoot walks one root through everything, on one base.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root, repos := setup(t)
	// A service may keep all it writes to itself; the build user still gets in.
	umask := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(umask) })
	b := base(t, e, root, repos)

	t.Run("isolation", func(t *testing.T) {
		t.Parallel()
		r := overlay(t, b)
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
	})

	t.Run("packages", func(t *testing.T) {
		t.Parallel()
		r := overlay(t, b)
		var log bytes.Buffer
		if err := r.Install(t.Context(), []string{"bash", "(m4 or nosuch)", "zlib-devel >= 1:1.2"}, repos, &log); err != nil {
			t.Fatalf("Install: %v\n%s", err, log.String())
		}
		pkgs, err := r.Installed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"bash", "m4", "zlib1g-dev"} {
			i := slices.IndexFunc(pkgs, func(p sandbox.Package) bool { return p.Name == name })
			if i < 0 || !pkgs[i].File.Valid() || !pkgs[i].Header.Valid() {
				t.Errorf("%s is not among the installed with its digests", name)
			}
		}
		err = r.Install(t.Context(), []string{"nosuch", "alsonot >= 3"}, repos, &log)
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(err.Error(), "alsonot >= 3") {
			t.Errorf("Install of what isn't there = %v", err)
		}
		err = r.Install(t.Context(), []string{"make"}, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:9/"}}, &log)
		if !errors.Is(err, albs.Invalid) {
			t.Errorf("Install from port 9 = %v", err)
		}
		err = r.Install(t.Context(), []string{"make"}, []sandbox.Repo{{ID: "seed", BaseURL: "http://127.0.0.1:2999/"}}, &log)
		if !errors.Is(err, albs.Unavailable) {
			t.Errorf("Install from a repository that is away = %v, want Unavailable", err)
		}
		if err := r.Remove(t.Context(), []string{"m4"}, repos, &log); err != nil {
			t.Fatalf("Remove: %v\n%s", err, log.String())
		}
		if code, out := sh(t, r, "root", "rpm -q m4; rpm -V zlib1g-dev"); !strings.Contains(out, "m4 is not installed") || code != 0 {
			t.Errorf("after Remove: %d %s", code, out)
		}
	})

	t.Run("files", func(t *testing.T) {
		t.Parallel()
		r := overlay(t, b)
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
	})

	t.Run("limits", func(t *testing.T) {
		t.Parallel()
		r := overlay(t, b)
		limits := []struct {
			name, script, say string
			lim               sandbox.Limits
		}{
			{"time", "while :; do echo; sleep 0.1; done", "longer", sandbox.Limits{Time: time.Second}},
			{"silence", "sleep 100", "silent", sandbox.Limits{Silence: time.Second}},
			{"output", "yes", "log", sandbox.Limits{Output: 1 << 20}},
			{"disk", "i=0; while :; do i=$((i+1)); head -c 10000000 /dev/zero > f$i; done", "disk", sandbox.Limits{Disk: 50 << 20}},
		}
		if e.Isolation().Cgroup != "none" {
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
		}
		// As root of the root too: the helper outlives what the work takes.
		for _, u := range []sandbox.User{sandbox.UserBuild, sandbox.UserRoot} {
			code, err := r.Run(t.Context(), sandbox.Cmd{User: u, Limits: sandbox.Limits{Processes: 60, Time: 3 * time.Second},
				Argv: []string{"sh", "-c", "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done 2>/dev/null; exit 3"}})
			if err != nil && !errors.Is(err, albs.Invalid) || code == 0 && err == nil {
				t.Errorf("too many processes as %s: %d, %v", u, code, err)
			}
		}
	})

	t.Run("cancel", func(t *testing.T) {
		t.Parallel()
		r := overlay(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		// The first output is the sign that it runs.
		_, err := r.Run(ctx, sandbox.Cmd{Argv: []string{"sh", "-c", "(setsid sleep 77777 &) ; echo runs; exec sleep 77777"}, Stdout: writer(func() { cancel() })})
		if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
			t.Errorf("Run = %v after %v", err, time.Since(began))
		}
		if found := processes(t, "77777"); len(found) > 0 {
			t.Errorf("alive after Run: %v", found)
		}
	})

	t.Run("cache", func(t *testing.T) {
		t.Parallel()
		again := base(t, e, root, repos)
		if again.Digest() != b.Digest() {
			t.Errorf("the same root has another base")
		}
		other := root
		other.Macros = map[string]string{"dist": ".other"}
		if d := base(t, e, other, repos); d.Digest() == b.Digest() {
			t.Errorf("other macros have the same base")
		}
		// More repositories that change nothing lead to the same base.
		other = root
		other.Repos = append(slices.Clone(root.Repos), albs.Repo{ID: "more", Snapshot: albs.DigestOf([]byte("more"))})
		more := append(slices.Clone(repos), sandbox.Repo{ID: "more", BaseURL: repos[0].BaseURL, Priority: 100})
		if d := base(t, e, other, more); d.Digest() != b.Digest() {
			t.Errorf("a repository that adds nothing makes another base")
		}
		bad := root
		bad.Packages = []string{"nosuch"}
		if _, err := e.Base(t.Context(), bad, repos, &bytes.Buffer{}); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("Base of what isn't there = %v", err)
		}
		bad = root
		bad.Repos = []albs.Repo{{ID: "seed", Mirror: "file:///x"}}
		if _, err := e.Base(t.Context(), bad, repos, &bytes.Buffer{}); !errors.Is(err, albs.Invalid) {
			t.Errorf("Base with a floating repository = %v", err)
		}
	})
}

// TestLeftovers: what a killed process left half-made is removed at the next start,
// and nothing stays after the last root is closed.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir, Bases: 1})
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root, repos := setup(t)
	root.Packages = []string{"system-release"}
	half := filepath.Join(dir, "base", "new-"+string(albs.DigestOf([]byte("x"))))
	left := filepath.Join(dir, "root", "left")
	for _, d := range []string{half, left} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e = sandboxtest.Engine(t, sandbox.Config{Dir: dir, Bases: 1})
	for _, d := range []string{half, left} {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("%s is still there", d)
		}
	}
	// Four at once make one base.
	var wg sync.WaitGroup
	digests := make([]albs.Digest, 4)
	for i := range digests {
		wg.Go(func() {
			b, err := e.Base(t.Context(), root, repos, &bytes.Buffer{})
			if err != nil {
				t.Error(err)
				return
			}
			digests[i] = b.Digest()
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if slices.ContainsFunc(digests, func(d albs.Digest) bool { return d != digests[0] }) {
		t.Errorf("bases = %v", digests)
	}
	// One more, and the first goes, but not while it is in use.
	r, err := base(t, e, root, repos).Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, keep := range []bool{true, false} {
		if !keep {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		root.Macros = map[string]string{"dist": strings.Repeat(".x", i+1)}
		base(t, e, root, repos)
		if _, err := os.Stat(filepath.Join(dir, "base", string(digests[0]))); (err == nil) != keep {
			t.Errorf("first base kept: %v, want %v", err == nil, keep)
		}
	}
	if roots, err := os.ReadDir(filepath.Join(dir, "root")); err != nil || len(roots) > 0 {
		t.Errorf("left of roots: %v, %v", roots, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("mounts of the sandbox are in the host's namespace (%v)", err)
	}
}

// TestKilled kills a process of albs in the middle of its work. What it ran dies with
// it, and the next one removes the rest.
func TestKilled(t *testing.T) {
	const variable = "ALBS_TEST_SANDBOX_DIR"
	if dir := os.Getenv(variable); dir != "" { // the process to be killed
		e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
		root, repos := setup(t)
		r := overlay(t, base(t, e, root, repos))
		_, err := r.Run(t.Context(), sandbox.Cmd{Argv: []string{"sh", "-c", "(setsid sleep 88888 &); echo runs; exec sleep 88888"}, Stdout: os.Stdout})
		t.Fatalf("Run ended: %v", err)
	}
	dir := t.TempDir()
	sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), variable+"="+dir, "ALBS_SEED="+sandboxtest.Seed(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	for sc.Scan() && sc.Text() != "runs" {
		t.Log(sc.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); len(processes(t, "88888")) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("still alive: %v", processes(t, "88888"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	roots := filepath.Join(dir, "root")
	if left, err := os.ReadDir(roots); err != nil || len(left) != 1 {
		t.Fatalf("the killed process left %v, %v; the test expects its root", left, err)
	}
	sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	if left, err := os.ReadDir(roots); err != nil || len(left) > 0 {
		t.Errorf("the next engine left %v, %v", left, err)
	}
}

// TestSingleUID works without lent ids, for platforms marked so.
func TestSingleUID(t *testing.T) {
	dir := t.TempDir()
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	e.WithoutRange()
	root, repos := setup(t)
	b := base(t, e, root, repos)
	r := overlay(t, b)
	if _, out := sh(t, r, "build", "id -u; touch /builddir/x && echo ok; rpm -q bash >/dev/null && echo rpm"); out != "1000\nok\nrpm" {
		t.Errorf("as the build user: %q", out)
	}
	if _, out := sh(t, r, "root", "id -u"); out != "0" {
		t.Errorf("as root: %q", out)
	}
	var log bytes.Buffer
	if err := r.Install(t.Context(), []string{"m4"}, repos, &log); err != nil {
		t.Errorf("Install: %v\n%s", err, log.String())
	}
	root.SingleUID = false
	if _, err := e.Base(t.Context(), root, repos, &log); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Base of a platform that needs a range = %v, want Unavailable", err)
	}
}

// writer calls f at each write.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// processes lists those whose command line has word in it.
func processes(t *testing.T, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "sleep\x00"+word) {
			found = append(found, f)
		}
	}
	return found
}
