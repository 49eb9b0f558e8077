package tester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/depot"
	"albs/internal/worker/workertest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestIdentity(t *testing.T) {
	t.Parallel()
	mine, other := albs.DigestOf([]byte("mine")), albs.DigestOf([]byte("other"))
	pkg := func(file albs.Digest) sandbox.Package {
		return sandbox.Package{Name: "x", Epoch: 2, Version: "1", Release: "1", Arch: "noarch", File: file}
	}
	for _, tt := range []struct {
		name string
		have []sandbox.Package
		want string // part of the answer; "" for none
	}{
		{"the file", []sandbox.Package{{Name: "y"}, pkg(mine)}, ""},
		{"another file", []sandbox.Package{pkg(other)}, "another file"},
		{"a file that can't be told", []sandbox.Package{pkg("")}, "can't be told"},
		{"nothing", nil, "not installed"},
		{"another epoch", []sandbox.Package{{Name: "x", Version: "1", Release: "1", Arch: "noarch", File: mine}}, "not installed"},
	} {
		got := identity(tt.have, albs.TestPackage{NEVRA: "x-2:1-1.noarch", Digest: mine})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{" a\n": "a", "\xff": "?", strings.Repeat("é", 1500): strings.Repeat("é", 1000) + " …"} {
		if got := shorten(in); got != want {
			t.Errorf("shorten(%.10q) = %.20q of %d bytes, want %d", in, got, len(got), len(want))
		}
	}
}

// recipe makes the packages under test. Each has one fault that one case finds.
const recipe = `%global debug_package %{nil}
%global __os_install_post %{nil}
Name: x
Version: 1
Release: 1
Summary: x
License: MIT
%description
x
%package good
Summary: x
%description good
x
%package needs
Summary: x
Requires: nosuch-thing
%description needs
x
%package refuses
Summary: x
%description refuses
x
%package changes
Summary: x
%description changes
x
%package links
Summary: x
AutoReqProv: no
%description links
x
%package stays
Summary: x
%description stays
x
%package hangs
Summary: x
%description hangs
x
%package modular
Summary: x
ModularityLabel: x:1:1:c0ffee00
%description modular
x
%package eats
Summary: x
%description eats
x
%package odd
Summary: x
%description odd
x
%install
for p in good needs refuses changes stays hangs modular eats odd; do mkdir -p %{buildroot}/usr/share/x-$p; echo $p > %{buildroot}/usr/share/x-$p/file; done
install -D %{_sourcedir}/links %{buildroot}/usr/bin/x-links
%pre refuses
exit 1
%post changes
echo changed > /usr/share/x-changes/file
%preun stays
exit 1
%preun eats
rm -f /bin/sh /usr/bin/sh
%post hangs
setsid sleep NAP &
sleep NAP
%files good
/usr/share/x-good
%files needs
/usr/share/x-needs
%files refuses
/usr/share/x-refuses
%files changes
/usr/share/x-changes
%files links
/usr/bin/x-links
%files stays
/usr/share/x-stays
%files hangs
/usr/share/x-hangs
%files modular
/usr/share/x-modular
%files eats
/usr/share/x-eats
%files odd
/usr/share/x-odd
`

// host runs a program of the host in dir.
func host(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

// made is the repository of the packages under test, made once.
var made struct {
	sync.Mutex
	dir string
}

// packages returns the repository of the packages under test.
func packages(t *testing.T) string {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.dir != "" {
		return made.dir
	}
	for _, tool := range []string{"rpmbuild", "createrepo_c", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the packages under test can't be made: %s is not installed", tool)
		}
	}
	top, err := os.MkdirTemp("", "packages-") // in Main's folder, which it removes
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"x.spec": strings.ReplaceAll(recipe, "NAP", sandboxtest.Nap), "lib.c": "int f(void) { return 0; }\n", "main.c": "int f(void);\nint main(void) { return f(); }\n"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host(t, top, "gcc", "-shared", "-o", "libnosuch.so", "lib.c")
	host(t, top, "gcc", "-o", "links", "main.c", "-L.", "-lnosuch")
	host(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_sourcedir "+top, "x.spec")
	dir := filepath.Join(top, "RPMS", "x86_64")
	if err := os.Rename(filepath.Join(dir, "x-odd-1-1.x86_64.rpm"), filepath.Join(dir, "odd.rpm")); err != nil {
		t.Fatal(err)
	}
	host(t, dir, "createrepo_c", "--quiet", "--no-database", ".")
	made.dir = dir
	return dir
}

// bases is where the testers of all tests keep theirs. It lies in Main's folder.
var bases = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "bases-") })

// world is a master with one tester, for a small root and the packages under test.
type world struct {
	fake *workertest.Fake
	root albs.Root
	dir  string // of the packages under test
}

// begin starts a tester that may reach the mirrors of the root and no others.
func begin(t *testing.T) *world {
	t.Helper()
	sandboxtest.Engine(t, sandbox.Config{}) // skips where there can be none
	w := &world{fake: workertest.NewFake(), dir: packages(t)}
	w.fake.Term = 3 * time.Second // a stop is heard within a third of it
	w.root, _ = sandboxtest.SmallRoot(t)
	w.root.Packages = append(w.root.Packages, "sed")
	seed := strings.TrimPrefix(w.root.Repos[0].Mirror, "file://")
	w.root.Repos = append(slices.Clone(w.root.Repos), albs.Repo{ID: "own", Mirror: "file://" + w.dir, Repomd: w.repomd(t, w.dir), Own: true})
	w.repomd(t, seed)
	e, err := egress.New(egress.Policy{Allow: []string{"file://" + seed, "file://" + w.dir}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := depot.New(depot.Config{Dir: t.TempDir()}, e)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := bases()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Sandbox: sandbox.Config{Dir: dir}, Spool: filepath.Join(t.TempDir(), "spool"), Arch: albs.X8664, MinFree: 1}
	master := w.fake.As(w.fake.AddWorker("kind:test", "arch:x86_64"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c, "test", master, d, zerolog.Nop()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the tester ended with %v", err)
		}
	})
	return w
}

// repomd gives the master the metadata of a repository and returns its digest.
func (w *world) repomd(t *testing.T, dir string) albs.Digest {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	return w.fake.AddBlob(b)
}

// pkg names a package under test by its file.
func (w *world) pkg(t *testing.T, name, file string) albs.TestPackage {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return albs.TestPackage{NEVRA: name + "-1-1.x86_64", Digest: albs.DigestOf(b)}
}

// add queues a test.
func (w *world) add(spec *albs.TestSpec) albs.TaskID {
	return w.fake.Add(workertest.Task{Needs: []string{"kind:test", "arch:x86_64"}, Spec: albs.Spec{Test: spec}}, nil)
}

// end waits until the task's first attempt has ended.
func (w *world) end(t *testing.T, id albs.TaskID) (albs.Outcome, albs.Result) {
	t.Helper()
	for late := time.After(3 * time.Minute); ; {
		changed := w.fake.Changed()
		if outcome, r := w.fake.Result(id, 1); outcome != "" {
			return outcome, r
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the task doesn't end; its log:\n%s", w.fake.LogOf(id, 1, "test"))
		}
	}
}

// TestCases: one attempt looks at every package, and each case finds its fault. A
// package ends with its first failed case, and the task is done all the same.
func TestCases(t *testing.T) {
	t.Parallel()
	w := begin(t)
	spec := &albs.TestSpec{Root: w.root}
	for _, name := range []string{"good", "needs", "refuses", "changes", "links", "stays", "modular", "eats"} {
		spec.Packages = append(spec.Packages, w.pkg(t, "x-"+name, "x-"+name+"-1-1.x86_64.rpm"))
	}
	spec.Packages = append(spec.Packages, w.pkg(t, "x-odd", "odd.rpm"), albs.TestPackage{NEVRA: "x-good-1-1.x86_64", Digest: albs.DigestOf([]byte("another"))})
	id := w.add(spec)
	outcome, r := w.end(t, id)
	log := string(w.fake.LogOf(id, 1, "test"))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
	}
	var got []string
	for _, c := range r.Test.Cases {
		verdict := "ok"
		if !c.OK {
			verdict = "failed"
		}
		got = append(got, fmt.Sprintf("%s %s %s", c.Package, c.Name, verdict))
		if c.OK != (c.Detail == "") {
			t.Errorf("%s %s: ok %v with the detail %q", c.Package, c.Name, c.OK, c.Detail)
		}
	}
	want := []string{
		"x-good-1-1.x86_64 install ok", "x-good-1-1.x86_64 files ok", "x-good-1-1.x86_64 libraries ok", "x-good-1-1.x86_64 remove ok",
		"x-needs-1-1.x86_64 install failed",
		"x-refuses-1-1.x86_64 install failed",
		"x-changes-1-1.x86_64 install ok", "x-changes-1-1.x86_64 files failed",
		"x-links-1-1.x86_64 install ok", "x-links-1-1.x86_64 files ok", "x-links-1-1.x86_64 libraries failed",
		"x-stays-1-1.x86_64 install ok", "x-stays-1-1.x86_64 files ok", "x-stays-1-1.x86_64 libraries ok", "x-stays-1-1.x86_64 remove failed",
		"x-modular-1-1.x86_64 install ok", "x-modular-1-1.x86_64 files ok", "x-modular-1-1.x86_64 libraries ok", "x-modular-1-1.x86_64 remove ok",
		"x-eats-1-1.x86_64 install ok", "x-eats-1-1.x86_64 files ok", "x-eats-1-1.x86_64 libraries ok", "x-eats-1-1.x86_64 remove failed",
		"x-odd-1-1.x86_64 install failed",
		"x-good-1-1.x86_64 install failed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cases (-want +got):\n%s\n%s", diff, log)
	}
	var details []string
	for _, c := range r.Test.Cases {
		if !c.OK {
			details = append(details, c.Detail)
		}
	}
	for i, say := range []string{"nosuch-thing", "scriptlet failed", "/usr/share/x-changes/file", "libnosuch.so", "scriptlet failed", "no program /bin/sh", "can't be told", "another file"} {
		if i >= len(details) || !strings.Contains(details[i], say) {
			t.Errorf("details = %q, the one at %d should say %q", details, i, say)
		}
	}
	if len(r.Logs) != 1 || r.Logs[0].Name != "test" || !bytes.Contains(w.fake.Content(r.Logs[0].Digest), []byte("-- libraries: FAILED")) {
		t.Errorf("logs = %+v", r.Logs)
	}
}

// TestEnds: whose fault it is that a test can't be made.
func TestEnds(t *testing.T) {
	t.Parallel()
	w := begin(t)
	good := []albs.TestPackage{w.pkg(t, "x-good", "x-good-1-1.x86_64.rpm")}
	missing := w.root
	missing.Packages = append(slices.Clone(w.root.Packages), "nosuch-package")
	foreign := w.root
	foreign.Repos = []albs.Repo{{ID: "far", Mirror: "https://127.0.0.1/", Repomd: w.root.Repos[0].Repomd}}
	floating := w.root
	floating.Repos = []albs.Repo{{ID: "far", Mirror: "https://example.org/"}}
	for _, tt := range []struct {
		name    string
		spec    *albs.TestSpec
		outcome albs.Outcome
		say     string
	}{
		{"no package", &albs.TestSpec{Root: w.root}, albs.OutcomeFailed, "nothing to test"},
		{"bad name", &albs.TestSpec{Root: w.root, Packages: []albs.TestPackage{{NEVRA: "x"}}}, albs.OutcomeFailed, "name-[epoch:]version"},
		{"floating repository", &albs.TestSpec{Root: floating, Packages: good}, albs.OutcomeFailed, "far"},
		{"mirror that isn't allowed", &albs.TestSpec{Root: foreign, Packages: good}, albs.OutcomeInfra, "far"},
		{"platform without its packages", &albs.TestSpec{Root: missing, Packages: good}, albs.OutcomeInfra, "nosuch-package"},
	} {
		id := w.add(tt.spec)
		if outcome, r := w.end(t, id); outcome != tt.outcome || !strings.Contains(r.Reason, tt.say) || r.Test != nil {
			t.Errorf("%s: ended %s, %q; want %s saying %q", tt.name, outcome, r.Reason, tt.outcome, tt.say)
		}
		w.fake.StopTask(id) // it isn't to be tried again here
	}
	id := w.fake.Add(workertest.Task{Spec: albs.Spec{Keygen: &albs.KeygenSpec{}}}, nil)
	if outcome, r := w.end(t, id); outcome != albs.OutcomeFailed {
		t.Errorf("a task of another kind ended %s, %q", outcome, r.Reason)
	}
}

// TestStop: the master's stop reaches a scriptlet that dnf runs, and nothing of it is
// alive when that is reported.
func TestStop(t *testing.T) {
	t.Parallel()
	w := begin(t)
	id := w.add(&albs.TestSpec{Root: w.root, Packages: []albs.TestPackage{w.pkg(t, "x-hangs", "x-hangs-1-1.x86_64.rpm")}})
	for late := time.After(3 * time.Minute); len(sandboxtest.Processes(t, sandboxtest.Nap)) < 2; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("the package isn't installed; log:\n%s", w.fake.LogOf(id, 1, "test"))
		}
	}
	w.fake.StopTask(id)
	if outcome, r := w.end(t, id); outcome != albs.OutcomeStopped || w.fake.StateOf(id) != albs.TaskCancelled {
		t.Errorf("the task ended %s, %q", outcome, r.Reason)
	}
	if alive := sandboxtest.Processes(t, sandboxtest.Nap); len(alive) > 0 {
		t.Errorf("alive after the stop was reported: %v", alive)
	}
}

// TestNoRoot: a tester that can make no root claims nothing.
func TestNoRoot(t *testing.T) {
	t.Parallel()
	c := Config{Sandbox: sandbox.Config{Dir: "relative"}, Spool: t.TempDir()}
	if err := Run(t.Context(), c, "test", workertest.NewFake().As("1"), nil, zerolog.Nop()); !errors.Is(err, albs.Invalid) {
		t.Errorf("Run = %v, want Invalid", err)
	}
}
