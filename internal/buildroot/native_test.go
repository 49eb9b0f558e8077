package buildroot_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/buildroottest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	maybeFakeMock()
	sandboxtest.Main(m)
}

// bench is an engine with the roots of Seed Linux, shared by all tests: a base takes
// seconds.
type bench struct {
	engine *buildroot.Native
	dir    string
	root   albs.Root
	repos  []sandbox.Repo
}

// sharedDir lies in the temporary folder of Main, which removes it.
var sharedDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "buildroot-") })

func setup(t testing.TB) bench {
	t.Helper()
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	b := bench{engine: buildroot.NewNative(sandboxtest.Engine(t, sandbox.Config{Dir: dir})), dir: dir}
	b.root, b.repos = sandboxtest.Root(t, sandboxtest.Seed(t))
	return b
}

func TestNative(t *testing.T) {
	t.Parallel()
	b := setup(t)
	small := sandboxtest.Engine(t, sandbox.Config{
		Dir:    b.dir,
		Limits: sandbox.Limits{Processes: 300, Disk: 256 << 20, Output: 16 << 20, Memory: 2 << 30},
	})
	// The others share a base that the small one couldn't fill.
	shared, err := sandboxtest.Engine(t, sandbox.Config{Dir: b.dir}).Base(t.Context(), b.root, b.repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shared.Close)
	buildroottest.TestEngine(t, buildroottest.Fixture{
		Engine: b.engine, Small: buildroot.NewNative(small).WithRounds(3), Root: b.root, Repos: b.repos,
	})
	t.Cleanup(func() {
		if left, err := os.ReadDir(filepath.Join(b.dir, "root")); err != nil || len(left) > 1 { // TestHostileScriptlet has one
			t.Errorf("left of roots: %v, %v", left, err)
		}
	})
}

// TestHostileScriptlet installs a package whose scriptlets, run as root by dnf, leave
// their chroot and look around: they find neither the host's files nor its network.
func TestHostileScriptlet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	secret, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	reached := make(chan struct{})
	go func() {
		if c, err := secret.Accept(); err == nil {
			c.Close()
			close(reached)
		}
	}()
	canary := t.TempDir()
	spec := `Name: x
Version: 1
Release: 1
Summary: x
License: MIT
BuildArch: noarch
Requires: perl-interpreter
%description
x
%pre
(exec 3<>/dev/tcp/127.0.0.1/` + strconv.Itoa(secret.Addr().(*net.TCPAddr).Port) + `) 2>/dev/null
exit 0
%post -p /usr/bin/perl
mkdir "/esc"; chroot "/esc" or die; chdir ".." for 1..50; chroot "." or die;
open(F, ">", "/installroot/var/log/escape") or die; opendir(D, "/") or die; print F join(" ", sort readdir D); close F;
open(F, ">", "` + canary + `/here"); open(F, ">", "/usr/canary"); system("/usr/bin/mount", "-o", "remount,rw", "/usr");
%files
`
	var said bytes.Buffer
	src, err := b.engine.Source(t.Context(), buildroot.SourceJob{
		Root: b.root, Repos: b.repos, Tree: buildroottest.Tree(t, map[string]string{"x.spec": spec}), Spec: "x.spec", Out: t.TempDir(), Logs: buildroot.Logs{Build: &said},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	evil, err := b.engine.Build(t.Context(), buildroot.BuildJob{
		Root: b.root, Repos: b.repos, SRPM: src.Files[0], Arch: b.root.Arch, Out: t.TempDir(), Logs: buildroot.Logs{Build: &said},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	dir := filepath.Dir(evil.Files[0])
	if out, err := exec.Command("createrepo_c", "--quiet", "--no-database", dir).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	// Served as a depot serves: by HTTP on the host's loopback.
	depot := httptest.NewServer(http.StripPrefix("/secret/", http.FileServer(http.Dir(dir))))
	defer depot.Close()
	sb, err := sandbox.New(t.Context(), sandbox.Config{Dir: b.dir})
	if err != nil {
		t.Fatal(err)
	}
	base, err := sb.Base(t.Context(), b.root, b.repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	r, err := base.Overlay(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	repos := append(slices.Clone(b.repos), sandbox.Repo{ID: "evil", BaseURL: depot.URL + "/secret/"})
	var log bytes.Buffer
	if err := r.Install(t.Context(), []string{"x"}, repos, &log); err != nil {
		t.Fatalf("Install: %v\n%s", err, log.String())
	}
	seen, err := r.ReadFile(t.Context(), "/var/log/escape", 10_000)
	if err != nil {
		t.Fatalf("the scriptlet did not get out of its chroot, so that this test tests nothing: %v\n%s", err, log.String())
	}
	allowed := strings.Fields(". .. albs bin dev etc installroot lib lib32 lib64 libx32 proc run sbin tmp usr var")
	for _, name := range strings.Fields(string(seen)) {
		if !slices.Contains(allowed, name) {
			t.Errorf("outside of its chroot the scriptlet sees /%s", name)
		}
	}
	for _, trace := range []string{canary + "/here", "/usr/canary"} {
		if _, err := os.Lstat(trace); err == nil {
			t.Errorf("%s is on the host", trace)
		}
	}
	select {
	case <-reached:
		t.Error("a scriptlet reached the host's loopback")
	default:
	}
}

// BenchmarkWarm builds a small package on a base that is there: the overhead over bare
// rpmbuild is what the engine costs.
func BenchmarkWarm(b *testing.B) {
	be := setup(b)
	spec := map[string]string{"x.spec": buildroottest.ShippedSpec(b, "libfoo.spec")}
	src, err := be.engine.Source(b.Context(), buildroot.SourceJob{Root: be.root, Repos: be.repos, Tree: buildroottest.Tree(b, spec), Spec: "x.spec", Out: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, err := be.engine.Build(b.Context(), buildroot.BuildJob{Root: be.root, Repos: be.repos, SRPM: src.Files[0], Arch: be.root.Arch, Out: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
	}
}
