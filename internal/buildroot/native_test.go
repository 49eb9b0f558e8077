package buildroot_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// bench is an engine with the roots of Seed Linux, shared by all tests: a base takes
// seconds.
type bench struct {
	engine *buildroot.Native
	dir    string
	root   albs.Root
	repos  []sandbox.Repo
}

var (
	once   sync.Once
	shared bench
)

func setup(t testing.TB) bench {
	t.Helper()
	if problems := sandbox.Detect(t.Context()).Problems; len(problems) > 0 {
		t.Skipf("no sandbox can be made here: %v", problems)
	}
	once.Do(func() {
		seed := sandboxtest.Seed(t)
		dir, err := os.MkdirTemp("", "buildroot-")
		if err != nil {
			t.Fatal(err)
		}
		sb, err := sandbox.New(t.Context(), sandbox.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		shared.engine, shared.dir = buildroot.NewNative(sb), dir
		shared.root, shared.repos = sandboxtest.Root(t, seed)
	})
	if shared.engine == nil {
		t.Skip("an earlier test could not set the bench up")
	}
	return shared
}

// tree writes a tar of files and returns its path.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for name, text := range files {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if link, ok := strings.CutPrefix(text, "-> "); ok {
			h = &tar.Header{Name: name, Linkname: link, Typeflag: tar.TypeSymlink}
			text = ""
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "tree.tar")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func shippedSpec(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../testdata/specs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// streams collects a job's logs.
type streams struct{ state, root, build bytes.Buffer }

func (s *streams) logs() buildroot.Logs {
	return buildroot.Logs{State: &s.state, Root: &s.root, Build: &s.build}
}

// source makes an SRPM of one spec.
func (b bench) source(t testing.TB, root albs.Root, spec string, s *streams) (buildroot.Output, error) {
	t.Helper()
	return b.engine.Source(t.Context(), buildroot.SourceJob{
		Root: root, Repos: b.repos, Tree: tree(t, map[string]string{"x.spec": spec}), Spec: "x.spec", Out: t.TempDir(), Logs: s.logs(),
	})
}

// build makes the packages of one spec, by way of its SRPM.
func (b bench) build(t *testing.T, root albs.Root, spec string, s *streams) (buildroot.Output, error) {
	t.Helper()
	src, err := b.source(t, root, spec, s)
	if err != nil {
		t.Fatalf("make the source package: %v\n%s", err, s.build.String())
	}
	return b.engine.Build(t.Context(), buildroot.BuildJob{
		Root: root, Repos: b.repos, SRPM: src.Files[0], Arch: root.Arch, Out: t.TempDir(), Logs: s.logs(),
	})
}

func names(files []string) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(f))
	}
	slices.Sort(out)
	return out
}

// TestChain builds a library and then, against it, a program with dynamic
// BuildRequires, as a build with two packages does.
func TestChain(t *testing.T) {
	b := setup(t)
	arch := string(b.root.Arch)
	var s streams
	lib, err := b.build(t, b.root, shippedSpec(t, "libfoo.spec"), &s)
	if err != nil {
		t.Fatalf("build libfoo: %v\n%s%s", err, s.root.String(), s.build.String())
	}
	want := []string{
		"libfoo-1.2-1.seed9." + arch + ".rpm", "libfoo-debuginfo-1.2-1.seed9." + arch + ".rpm",
		"libfoo-debugsource-1.2-1.seed9." + arch + ".rpm", "libfoo-devel-1.2-1.seed9." + arch + ".rpm",
	}
	if diff := cmp.Diff(want, names(lib.Files)); diff != "" {
		t.Errorf("libfoo's packages (-want +got):\n%s", diff)
	}
	t.Logf("state log of libfoo:\n%s", s.state.String())

	// The packages become a repository beside the seed's.
	repo := t.TempDir()
	for _, f := range lib.Files {
		if err := os.Rename(f, filepath.Join(repo, filepath.Base(f))); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("createrepo_c", "--quiet", "--no-database", repo).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	md, err := os.ReadFile(filepath.Join(repo, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	c := b
	c.root.Repos = append(slices.Clone(b.root.Repos), albs.Repo{ID: "build", Snapshot: albs.DigestOf(md)})
	c.repos = append(slices.Clone(b.repos), sandbox.Repo{ID: "build", BaseURL: "file://" + repo, Priority: 10})
	s = streams{}
	use, err := c.build(t, c.root, shippedSpec(t, "usefoo.spec"), &s)
	if err != nil {
		t.Fatalf("build usefoo: %v\n%s%s%s", err, s.state.String(), s.root.String(), s.build.String())
	}
	t.Logf("state log of usefoo:\n%s", s.state.String())
	if got := names(use.Files); !slices.Contains(got, "usefoo-0.3-2.seed9."+arch+".rpm") {
		t.Errorf("usefoo's packages = %v", got)
	}
	if use.Record.Base != lib.Record.Base {
		t.Errorf("a build repository that touches no base package made another base")
	}
	installed := map[string]sandbox.Package{}
	for _, p := range use.Record.Packages {
		installed[p.Name] = p
	}
	for _, name := range []string{"libfoo", "libfoo-devel", "procps", "gcc"} {
		p := installed[name]
		if p.Name == "" || !p.Header.Valid() || !p.File.Valid() {
			t.Errorf("buildroot record has %s as %+v", name, p)
		}
	}
	b1, err := os.ReadFile(filepath.Join(repo, installed["libfoo"].NEVRA()+".rpm"))
	if err != nil || albs.DigestOf(b1) != installed["libfoo"].File {
		t.Errorf("record's digest of libfoo is not its file's (%v)", err)
	}
	out, err := exec.Command("rpm", "-qp", "--requires", use.Files[slices.IndexFunc(use.Files, func(f string) bool {
		return strings.HasPrefix(filepath.Base(f), "usefoo-0")
	})]).Output()
	if err != nil || !strings.Contains(string(out), "libfoo.so.1()(64bit)") {
		t.Errorf("usefoo requires %q (%v), want libfoo.so.1", out, err)
	}
	if text, err := use.Record.Encode(); err != nil || !bytes.Contains(text, []byte(`"albs-buildroot/v1"`)) {
		t.Errorf("record = %s, %v", text, err)
	}
}

const head = `Name: x
Version: 1
Release: 1
Summary: x
License: MIT
BuildArch: noarch
`

const tailOf = `
%description
x
%files
`

// TestFaults gives packages that are themselves to blame.
func TestFaults(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct {
		name, spec string
		change     func(*albs.Root)
		say        string // regular expression over the message
	}{
		{"missing BuildRequires", head + "BuildRequires: nosuch-devel >= 3\nBuildRequires: pkgconfig(absent)" + tailOf, nil, `nosuch-devel >= 3.*pkgconfig\(absent\)`},
		{"missing dynamic BuildRequires", head + "%generate_buildrequires\necho late-devel\n" + tailOf, nil, `late-devel`},
		{"endless dynamic BuildRequires", head + "%generate_buildrequires\nfor p in m4 autotools-dev autoconf automake zlib1g-dev libncursesw6 libproc2-0 procps hostname mount libnumber-compare-perl libtext-glob-perl; do rpm -q $p >/dev/null || { echo $p; break; }; done\n" + tailOf, nil, `more and more`},
		{"option as BuildRequires", head + "BuildRequires: /usr/bin/*" + tailOf, nil, `not a requirement`},
		{"file as BuildRequires", head + "BuildRequires: /builddir/package.src.rpm" + tailOf, nil, `not a requirement`},
		{"failing section", strings.Replace(head, "BuildArch: noarch\n", "", 1) + "%build\nexit 7\n" + tailOf, nil, `Bad exit status .*%build`},
		{"no packages", head + "%description\nx\n", nil, `made no package`},
		{"silence", head + "%build\nsleep 600\n" + tailOf, func(r *albs.Root) { r.MaxSilence = 2 * time.Second }, `silent`},
		{"endless", head + "%build\nwhile :; do echo on; sleep 0.1; done\n" + tailOf, func(r *albs.Root) { r.Timeout = 4 * time.Second }, `longer than 4s`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.root
			if tt.change != nil {
				tt.change(&root)
			}
			var s streams
			out, err := b.build(t, root, tt.spec, &s)
			if !errors.Is(err, albs.Invalid) || !regexp.MustCompile(`(?s)`+tt.say).MatchString(err.Error()) {
				t.Errorf("Build = %v, %v; want Invalid saying %q\n%s\n%s", out.Files, err, tt.say, s.root.String(), s.build.String())
			}
		})
	}
}

// TestSourceFaults gives trees that make no source package.
func TestSourceFaults(t *testing.T) {
	b := setup(t)
	for _, tt := range []struct{ name, spec, say string }{
		{"no spec at all", "this is\nno spec", "Unknown tag|Name field"},
		{"missing source", head + "Source0: absent.tar.gz" + tailOf, "absent.tar.gz"},
		{"parses for ever", "%{lua: while true do end}\n" + head + tailOf, "longer than"},
		{"expands for ever", "%global a() %{a}%{a}\n%a\n" + head + tailOf, "[Rr]ecursi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.root
			root.Timeout = 5 * time.Second
			var s streams
			if out, err := b.source(t, root, tt.spec, &s); !errors.Is(err, albs.Invalid) || !regexp.MustCompile(tt.say).MatchString(err.Error()) {
				t.Errorf("Source = %v, %v; want Invalid saying %q\n%s", out.Files, err, tt.say, s.build.String())
			}
		})
	}
}

func TestExcluded(t *testing.T) {
	b := setup(t)
	plain := strings.Replace(head, "BuildArch: noarch\n", "", 1)
	for _, tt := range []struct{ name, spec string }{
		{"exclusive", plain + "ExclusiveArch: s390x\nBuildRequires: nosuch" + tailOf},
		{"exclude", plain + "ExcludeArch: " + string(b.root.Arch) + tailOf},
		// The tags are those of another buildroot; here the spec says otherwise.
		{"by rpmbuild", plain + "%{!?_srpm:%{expand:%(test -e /builddir/package.src.rpm && echo 'ExclusiveArch: s390x')}}" + tailOf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s streams
			out, err := b.build(t, b.root, tt.spec, &s)
			if err != nil || out.Excluded == "" || len(out.Files) > 0 {
				t.Errorf("Build = %+v, %v; want it excluded", out, err)
			}
			t.Log(out.Excluded)
		})
	}
}

// TestLayouts makes source packages of the two shapes that source repositories have,
// with look-aside files and build options.
func TestLayouts(t *testing.T) {
	b := setup(t)
	spec := head + "Source0: a.txt\nSource1: b.tar\n%bcond_without extra" + tailOf + "%if %{with extra}\n%package extra\nSummary: x\n%description extra\nx\n%files extra\n%endif\n"
	aside := filepath.Join(t.TempDir(), "whatever")
	if err := os.WriteFile(aside, []byte("aside"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, spec, src string }{
		{"flat", "x.spec", "a.txt"},
		{"SPECS", "SPECS/x.spec", "SOURCES/a.txt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s streams
			out, err := b.engine.Source(t.Context(), buildroot.SourceJob{
				Root: b.root, Repos: b.repos, Spec: tt.spec, Tree: tree(t, map[string]string{tt.spec: spec, tt.src: "a"}),
				Sources: []buildroot.File{{Name: "b.tar", Path: aside}}, Out: t.TempDir(), Logs: s.logs(),
			})
			if err != nil {
				t.Fatalf("Source: %v\n%s", err, s.build.String())
			}
			if got := out.Record.Sources; len(got) != 1 || got[0] != (albs.File{Name: "b.tar", Digest: albs.DigestOf([]byte("aside")), Size: 5}) {
				t.Errorf("record's sources = %+v", got)
			}
			built, err := b.engine.Build(t.Context(), buildroot.BuildJob{
				Root: b.root, Repos: b.repos, SRPM: out.Files[0], Arch: b.root.Arch, Without: []string{"extra"}, Out: t.TempDir(), Logs: s.logs(),
			})
			if diff := cmp.Diff([]string{"x-1-1.noarch.rpm"}, names(built.Files)); err != nil || diff != "" {
				t.Errorf("packages without extra (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

// TestHostile gives specs that try to get out or to take all. None may leave a trace
// on the host, and each ends as the package's fault.
func TestHostile(t *testing.T) {
	b := setup(t)
	canary := filepath.Join(os.TempDir(), "canary")
	if err := os.MkdirAll(canary, 0o777); err != nil {
		t.Fatal(err)
	}
	touch := fmt.Sprintf("mkdir -p %s; touch %[1]s/here /canary /usr/canary", canary)
	for _, tt := range []struct {
		name, spec string
		say        string
	}{
		{"shell in a macro", "%(" + touch + ")\n" + head + "%build\nexit 1\n" + tailOf, ""},
		{"lua", `%{lua: posix.mkdir("` + canary + `/lua"); rpm.execute("sh", "-c", "` + touch + `")}` + "\n" + head + "%build\nexit 1\n" + tailOf, ""},
		{"fork bomb", head + "%build\nbomb() { bomb | bomb & }\nbomb\nwait; sleep 600\n" + tailOf, "longer than|Bad exit|silent"},
		{"left behind", head + "%build\nsetsid sh -c 'while :; do touch " + canary + "/late; sleep 0.1; done' &\nexit 1\n" + tailOf, ""},
		{"giant file", head + "%build\ndd if=/dev/zero of=big bs=1M count=4000\n" + tailOf, "wrote more|Bad exit"},
		{"many files", head + "%build\ni=0; while :; do i=$((i+1)); dd if=/dev/zero of=big$i bs=1M count=20 2>/dev/null; done\n" + tailOf, "wrote more"},
		{"much output", head + "%build\nyes\n" + tailOf, "of log"},
		{"network", head + "%build\n(exec 3<>/dev/tcp/127.0.0.1/22) && exit 0\nexec 3<>/dev/tcp/1.1.1.1/53 || exit 9\n" + tailOf, "Bad exit"},
		{"no root", head + "%build\nid -u | grep -qx 1000 || exit 0\nchown 0 . && exit 0; mount -t tmpfs x /mnt && exit 0; : > /usr/lib/x && exit 0; exit 1\n" + tailOf, "Bad exit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.root
			root.Timeout, root.MaxSilence = 20*time.Second, 5*time.Second
			var s streams
			c := b
			c.engine = smallEngine(t)
			out, err := c.build(t, root, tt.spec, &s)
			if !errors.Is(err, albs.Invalid) || !regexp.MustCompile(tt.say).MatchString(err.Error()) {
				t.Errorf("Build = %v, %v; want Invalid saying %q\n%.3000s", out.Files, err, tt.say, s.build.String())
			}
			t.Log(err)
			for _, trace := range []string{canary + "/here", canary + "/lua", canary + "/late", "/canary", "/usr/canary"} {
				if _, err := os.Lstat(trace); err == nil {
					t.Errorf("%s is on the host", trace)
				}
			}
		})
	}
}

// TestHostileScriptlet installs a package whose scriptlets, run as root by dnf, leave
// their chroot and look around: they find neither the host's files nor its network.
func TestHostileScriptlet(t *testing.T) {
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
	spec := head + `Requires: perl-interpreter
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
	var s streams
	evil, err := b.build(t, b.root, spec, &s)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.build.String())
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

var (
	smallOnce sync.Once
	small     *buildroot.Native
)

// smallEngine shares the bench's bases and allows little.
func smallEngine(t *testing.T) *buildroot.Native {
	smallOnce.Do(func() {
		sb, err := sandbox.New(t.Context(), sandbox.Config{
			Dir:    shared.dir,
			Limits: sandbox.Limits{Processes: 300, Disk: 256 << 20, Output: 16 << 20, Memory: 2 << 30},
		})
		if err != nil {
			t.Error(err)
			return
		}
		small = buildroot.NewNative(sb)
	})
	if small == nil {
		t.Skip("no second engine")
	}
	return small
}

// BenchmarkWarm builds a small package on a base that is there: the overhead over bare
// rpmbuild is what the engine costs.
func BenchmarkWarm(b *testing.B) {
	be := setup(b)
	var s streams
	src, err := be.source(b, be.root, shippedSpec(b, "libfoo.spec"), &s)
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
