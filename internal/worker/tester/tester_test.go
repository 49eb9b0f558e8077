package tester

import (
	"bytes"
	"cmp"
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

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/depot"
	"albs/internal/worker/workertest"
)

func TestMain(m *testing.M) {
	MaybeInit()
	sandboxtest.Main(m)
}

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

// recipes make the packages under test: a subpackage x-NAME each, with a file of its own,
// in two versions. Each has one fault that one stage finds, or none.
var recipes = []struct {
	name, tags, scripts string
}{
	{name: "good"},
	{name: "needs", tags: "Requires: nosuch-thing"},
	{name: "refuses", scripts: "%pre refuses\nexit 1"},
	{name: "changes", scripts: "%post changes\necho changed > /usr/share/x-changes/file"},
	{name: "links", tags: "AutoReqProv: no"},
	{name: "clashes", tags: "AutoReqProv: no"},
	{name: "stays", scripts: "%preun stays\nexit 1"},
	{name: "eats", scripts: "%preun eats\nrm -f /bin/sh /usr/bin/sh"},
	{name: "odd"},
	{name: "modular", tags: "ModularityLabel: x:1:1:c0ffee00"},
	{name: "base", tags: "Requires: x-good\nConflicts: x-refuses"},
	{name: "guards", scripts: "%post guards\nmkdir -p /etc/dnf/protected.d\necho x-guards > /etc/dnf/protected.d/x.conf"},
	{name: "noup", scripts: "%pre noup\n[ $1 = 1 ]"},
	{name: "nodown", scripts: "%preun nodown\n[ $1 = 0 ] || [ %{version} = 1 ]"},
	{name: "once", scripts: "%pre once\n! [ -e /var/tmp/x-once ] || exit 1\ntouch /var/tmp/x-once"},
	{name: "hangs", scripts: "%post hangs\nsetsid sleep 86399 &\nsleep 86399"},
	{name: "naps", scripts: "%post naps\nsetsid sleep NAP &\nsleep NAP"},
	{name: "forks", scripts: "%post forks\nf() { f | f & }\nf\nsleep 86399"},
	{name: "fills", scripts: "%post fills\nhead -c 1G /dev/zero > /var/tmp/fill\nsleep 86399"},
	{name: "talks", scripts: "%post talks\nyes 0123456789012345678901234567890123456789"},
	{name: "kills", scripts: "%post kills\nkill -9 $PPID\nsleep 86399"},
}

// spec is the recipe of the version %{v} of all packages under test.
func spec() string {
	var b strings.Builder
	b.WriteString("%global debug_package %{nil}\n%global __os_install_post %{nil}\nName: x\nVersion: %{v}\nRelease: 1\nSummary: x\nLicense: MIT\n%description\nx\n")
	for _, r := range recipes {
		fmt.Fprintf(&b, "%%package %s\nSummary: x\n%s\n%%description %[1]s\nx\n", r.name, r.tags)
	}
	b.WriteString("%install\nmkdir -p %{buildroot}/usr/bin\ninstall %{_sourcedir}/links %{buildroot}/usr/bin/x-links\necho x > %{buildroot}/usr/bin/sed\n")
	for _, r := range recipes {
		fmt.Fprintf(&b, "mkdir -p %%{buildroot}/usr/share/x-%s\necho %%{v} > %%{buildroot}/usr/share/x-%[1]s/file\n", r.name)
	}
	for _, r := range recipes {
		own := map[string]string{"links": "/usr/bin/x-links", "clashes": "/usr/bin/sed"}[r.name]
		fmt.Fprintf(&b, "%s\n%%files %s\n/usr/share/x-%[2]s\n%s\n", r.scripts, r.name, own)
	}
	return strings.ReplaceAll(b.String(), "NAP", sandboxtest.Nap)
}

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

// released is the folder, beside that of the packages under test, with the repository of
// what readers have.
func released(dir string) string { return filepath.Join(filepath.Dir(dir), "released") }

// packages returns the repository of the packages under test. Beside it is one of what
// readers have: the earlier versions, and other files of the same names, as if those had
// been signed.
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
	for name, text := range map[string]string{"x.spec": spec(), "lib.c": "int f(void) { return 0; }\n", "main.c": "int f(void);\nint main(void) { return f(); }\n"} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host(t, top, "gcc", "-shared", "-o", "libnosuch.so", "lib.c")
	host(t, top, "gcc", "-o", "links", "main.c", "-L.", "-lnosuch")
	dir := filepath.Join(top, "RPMS", "x86_64")
	for _, v := range []string{"1", "2"} {
		host(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_sourcedir "+top, "--define", "v "+v, "--define", "vendor readers", "x.spec")
	}
	if err := os.Rename(dir, released(dir)); err != nil {
		t.Fatal(err)
	}
	host(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_sourcedir "+top, "--define", "v 2", "x.spec")
	host(t, released(dir), "createrepo_c", "--quiet", "--no-database", ".")
	if err := os.Rename(filepath.Join(dir, "x-odd-2-1.x86_64.rpm"), filepath.Join(dir, "odd.rpm")); err != nil {
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

// begin starts a tester that may reach the mirrors of the root and no others, as c says
// what it allows.
func begin(t *testing.T, c Config) *world {
	t.Helper()
	return beginWith(t, c, packages(t))
}

// beginWith is begin with other packages under test, and further repositories of the
// platform.
func beginWith(t *testing.T, c Config, dir string, platform ...string) *world {
	t.Helper()
	sandboxtest.Engine(t, sandbox.Config{}) // skips where there can be none
	w := &world{fake: workertest.NewFake(), dir: dir}
	w.fake.Term = 3 * time.Second // a stop is heard within a third of it
	w.root, _ = sandboxtest.SmallRoot(t)
	w.root.Packages = append(w.root.Packages, "sed")
	seed := strings.TrimPrefix(w.root.Repos[0].Mirror, "file://")
	w.root.Repos = append(slices.Clone(w.root.Repos), albs.Repo{ID: "own", Mirror: "file://" + w.dir, Repomd: w.repomd(t, w.dir), Own: true})
	w.repomd(t, seed)
	allow := []string{"file://" + seed, "file://" + w.dir}
	if _, err := os.Stat(released(dir)); err == nil { // as the master names what a product shows
		w.root.Repos = append(w.root.Repos, albs.Repo{ID: "released-0", Mirror: "file://" + released(dir), Repomd: w.repomd(t, released(dir)), Priority: 200, Own: true})
		allow = append(allow, "file://"+released(dir))
	}
	for i, more := range platform {
		w.root.Repos = append(w.root.Repos, albs.Repo{ID: fmt.Sprintf("more%d", i), Mirror: "file://" + more, Repomd: w.repomd(t, more)})
		allow = append(allow, "file://"+more)
	}
	e, err := egress.New(egress.Policy{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	d, err := depot.New(depot.Config{Dir: t.TempDir()}, e)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := bases()
	if err != nil {
		t.Fatal(err)
	}
	c.Sandbox.Dir, c.Spool, c.Arch, c.MinFree = roots, filepath.Join(t.TempDir(), "spool"), albs.X8664, 1
	master := w.fake.As(w.fake.AddWorker(append(c.Labels(), "kind:test", "arch:x86_64")...))
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

// pkg names the second version of a package under test, with what it upgrades from.
func (w *world) pkg(t *testing.T, name string) albs.TestPackage {
	t.Helper()
	nevra := "x-" + name + "-2-1.x86_64"
	file := nevra + ".rpm"
	if name == "odd" {
		file = "odd.rpm"
	}
	b, err := os.ReadFile(filepath.Join(w.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return albs.TestPackage{NEVRA: nevra, Digest: albs.DigestOf(b), From: "x-" + name + "-1-1.x86_64"}
}

// all are the stages that the tester knows.
var all = albs.TestStages[:len(albs.TestStages)-1]

// add queues a test.
func (w *world) add(spec *albs.TestSpec) albs.TaskID {
	return w.fake.Add(workertest.Task{Needs: []string{"kind:test", "arch:x86_64"}, Spec: albs.Spec{Test: spec}}, nil)
}

// end waits until the task's first attempt has ended.
func (w *world) end(t *testing.T, id albs.TaskID) (albs.Outcome, albs.Result) {
	t.Helper()
	return w.endWithin(t, id, 15*time.Minute)
}

// endWithin is end with another patience.
func (w *world) endWithin(t *testing.T, id albs.TaskID, patience time.Duration) (albs.Outcome, albs.Result) {
	t.Helper()
	for late := time.After(patience); ; {
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

// told returns what the stages of a package came to, in their order, and the reasons of
// those that didn't pass.
func told(r *albs.TestResult, nevra string) (got string, reasons []string) {
	var words []string
	for _, s := range r.Stages {
		if s.Package != nevra {
			continue
		}
		words = append(words, string(s.Stage)+" "+string(s.Status))
		if s.Status != albs.TestPassed {
			reasons = append(reasons, s.Reason)
		}
	}
	return strings.Join(words, ", "), reasons
}

// TestStages: one attempt looks at every package, and the stage whose business it is finds
// each fault; what can still be carried out behind it is.
func TestStages(t *testing.T) {
	t.Parallel()
	w := begin(t, Config{})
	fresh := func(p *albs.TestPackage) { p.From = "" } // nothing was released: an upgrade takes as long as all the rest
	tests := []struct {
		name   string
		change func(*albs.TestPackage)
		want   string // what isn't passed: stage status, …
		say    string // in the first reason
	}{
		{name: "good"},
		{name: "modular", change: func(p *albs.TestPackage) { p.From, p.Module = "", "x:1" }, want: "upgrade skipped, downgrade skipped"}, // no repository has the stream
		{name: "needs", change: fresh, want: "install failed, integrity not_run, upgrade skipped, downgrade skipped, remove not_run, reinstall not_run", say: "nothing provides nosuch-thing"},
		{name: "refuses", want: "install failed, integrity not_run, upgrade not_run, downgrade not_run, remove not_run, reinstall not_run", say: "scriptlet failed"},
		{name: "clashes", change: fresh, want: "install failed, integrity not_run, upgrade skipped, downgrade skipped, remove not_run, reinstall not_run", say: "packages conflict: file /usr/bin/sed"},
		{name: "changes", change: fresh, want: "integrity failed, upgrade skipped, downgrade skipped", say: "1 of 11 cases failed: contents: /usr/share/x-changes/file has "},
		{name: "links", change: fresh, want: "integrity failed, upgrade skipped, downgrade skipped", say: "libnosuch.so"},
		{name: "stays", change: fresh, want: "upgrade skipped, downgrade skipped, remove failed, reinstall not_run", say: "scriptlet failed"},
		{name: "eats", change: fresh, want: "upgrade skipped, downgrade skipped, remove failed, reinstall not_run", say: "no program /bin/sh"},
		{name: "guards", change: fresh, want: "upgrade skipped, downgrade skipped, remove skipped", say: "protected packages would be removed with it: x-guards"},
		{name: "once", change: fresh, want: "upgrade skipped, downgrade skipped, reinstall failed", say: "scriptlet failed"},
		{name: "odd", change: fresh, want: "install failed, integrity not_run, upgrade skipped, downgrade skipped, remove not_run, reinstall not_run", say: "can't be told"},
		{name: "good", change: func(p *albs.TestPackage) {
			p.Digest = albs.DigestOf([]byte("another"))
			p.NEVRA, p.From = "x-base-2-1.x86_64", ""
		},
			want: "install failed, integrity not_run, upgrade skipped, downgrade skipped, remove not_run, reinstall not_run", say: "another file"},
	}
	spec := &albs.TestSpec{Root: w.root, Stages: all}
	for i, tt := range tests {
		p := w.pkg(t, tt.name)
		if tt.change != nil {
			tt.change(&p)
		}
		if i == 0 {
			p.Skip = []albs.TestSkip{{Stage: albs.StageDowngrade, Reason: "its data can't go back"}}
		}
		spec.Packages = append(spec.Packages, p)
	}
	id := w.add(spec)
	outcome, r := w.end(t, id)
	log := string(w.fake.LogOf(id, 1, "test"))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
	}
	for i, tt := range tests {
		nevra := spec.Packages[i].NEVRA
		if i == 0 {
			tt.want, tt.say = "downgrade skipped", "it is on the skip list: its data can't go back"
		}
		got, reasons := told(r.Test, nevra)
		other := map[string]string{"package": "skipped"} // it has no tests of its own
		for w := range strings.SplitSeq(tt.want, ", ") {
			if stage, status, ok := strings.Cut(w, " "); ok {
				other[stage] = status
			}
		}
		if other["install"] == "failed" {
			other["package"] = "not_run"
		}
		var want []string
		for _, s := range all {
			want = append(want, string(s)+" "+cmp.Or(other[string(s)], "passed"))
		}
		if diff := gocmp.Diff(strings.Join(want, ", "), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%q", nevra, diff, reasons)
		}
		if tt.say != "" && !slices.ContainsFunc(reasons, func(s string) bool { return strings.Contains(s, tt.say) }) {
			t.Errorf("%s: the reasons are %q, want one that says %q", nevra, reasons, tt.say)
		}
		for _, s := range reasons {
			if s == "" || strings.Contains(s, "\n") {
				t.Errorf("%s: the reason %q is no sentence", nevra, s)
			}
		}
	}
	logs := map[string]albs.File{}
	for _, f := range r.Logs {
		logs[f.Name] = f
	}
	for _, s := range r.Test.Stages {
		if s.Started.IsZero() || s.Millis < 0 || s.Status == albs.TestPassed && s.Stage == albs.StageInstall && s.Millis == 0 {
			t.Errorf("%s of %s began %v and took %d ms", s.Stage, s.Package, s.Started, s.Millis)
		}
		if _, ok := logs[s.Log]; !ok && s.Log != "" {
			t.Errorf("%s of %s has the log %q, which didn't come", s.Stage, s.Package, s.Log)
		}
	}
	for name, say := range map[string]string{"test": "-- remove: failed", "x-good-2-1.x86_64.install.log": "Installing", "x-good-2-1.x86_64.system.log": "PRETTY_NAME", "x-changes-2-1.x86_64.integrity.log": "not ok 4 - contents\n"} {
		if f, ok := logs[name]; !ok || !bytes.Contains(w.fake.Content(f.Digest), []byte(say)) {
			t.Errorf("the log %s doesn't say %q", name, say)
		}
	}
}

// TestUpgrades: a package that can't be upgraded to, or not be left again, is found by the
// stage whose business it is, and needs none of the others.
func TestUpgrades(t *testing.T) {
	t.Parallel()
	w := begin(t, Config{})
	spec := &albs.TestSpec{Root: w.root, Stages: []albs.TestStage{albs.StageUpgrade, albs.StageDowngrade, albs.StageRemove}, Packages: []albs.TestPackage{w.pkg(t, "noup"), w.pkg(t, "nodown"), w.pkg(t, "good")}}
	spec.Packages[2].From = "x-good-0-1.x86_64"
	outcome, r := w.end(t, w.add(spec))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q", outcome, r.Reason)
	}
	for i, tt := range []struct{ want, say string }{
		{"upgrade failed, downgrade not_run, remove not_run", "scriptlet failed"},
		{"upgrade passed, downgrade failed, remove not_run", "scriptlet failed"},
		{"upgrade not_run, downgrade not_run, remove not_run", "the released x-good-0-1.x86_64 can't be installed: dnf can't resolve"},
	} {
		got, reasons := told(r.Test, spec.Packages[i].NEVRA)
		if got != tt.want || !strings.Contains(reasons[0], tt.say) || reasons[len(reasons)-1] != "the stage install is left out" {
			t.Errorf("%s: %s; %q, want %s, saying %q", spec.Packages[i].NEVRA, got, reasons, tt.want, tt.say)
		}
	}
}

// TestHostile: what a scriptlet does to get out of hand is the package's fault, told in one
// sentence, and nothing of it is alive afterwards.
func TestHostile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("scriptlets that hang take as long as they may: not in -short")
	}
	const limit = 40 * time.Second
	w := begin(t, Config{
		Parallel: 5, limits: map[albs.TestStage]time.Duration{albs.StageInstall: limit},
		Sandbox: sandbox.Config{Limits: sandbox.Limits{Disk: 256 << 20, Output: 4 << 20, Processes: 300}},
	})
	tests := []struct{ name, say string }{
		{"hangs", "it took longer than 40s (the last scriptlet that ran is of x-hangs-2-1.x86_64)"},
		{"forks", "it took longer than 40s (the last scriptlet that ran is of x-forks-2-1.x86_64)"},
		{"fills", "it wrote more than 268435456 bytes to disk"},
		{"talks", "it wrote more than 268435456 bytes to disk"},
		{"kills", "ended with code 137"},
	}
	var ids []albs.TaskID
	for _, tt := range tests {
		ids = append(ids, w.add(&albs.TestSpec{Root: w.root, Stages: []albs.TestStage{albs.StageEnvironment, albs.StageInstall, albs.StageIntegrity}, Packages: []albs.TestPackage{w.pkg(t, tt.name)}}))
	}
	for i, tt := range tests {
		outcome, r := w.end(t, ids[i])
		if outcome != albs.OutcomeOK || r.Test == nil {
			t.Errorf("%s: the task ended %s, %q\n%s", tt.name, outcome, r.Reason, w.fake.LogOf(ids[i], 1, "test"))
			continue
		}
		got, reasons := told(r.Test, "x-"+tt.name+"-2-1.x86_64")
		if got != "environment passed, install failed, integrity not_run" || !strings.Contains(reasons[0], tt.say) || strings.Contains(reasons[0], "\n") {
			t.Errorf("%s: %s; %q, want one that says %q", tt.name, got, reasons, tt.say)
		}
		for _, f := range r.Logs {
			if f.Size > 6<<20 {
				t.Errorf("%s: the log %s has %d bytes", tt.name, f.Name, f.Size)
			}
		}
	}
}

// TestEnds: whose fault it is that a test can't be made.
func TestEnds(t *testing.T) {
	t.Parallel()
	w := begin(t, Config{})
	good := []albs.TestPackage{w.pkg(t, "good")}
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
		{"no package", &albs.TestSpec{Root: w.root, Stages: all}, albs.OutcomeFailed, "nothing to test"},
		{"no stage", &albs.TestSpec{Root: w.root, Packages: good}, albs.OutcomeFailed, "nothing to test"},
		{"a stage twice", &albs.TestSpec{Root: w.root, Packages: good, Stages: []albs.TestStage{"install", "install"}}, albs.OutcomeFailed, `the stage "install" twice`},
		{"too many", &albs.TestSpec{Root: w.root, Packages: slices.Repeat(good, albs.MaxTested+1), Stages: all}, albs.OutcomeFailed, "21 packages"},
		{"another engine", &albs.TestSpec{Root: w.root, Packages: good, Stages: all, Engine: "vm"}, albs.OutcomeInfra, "this tester has native"},
		{"bad name", &albs.TestSpec{Root: w.root, Packages: []albs.TestPackage{{NEVRA: "x"}}, Stages: all}, albs.OutcomeFailed, "name-[epoch:]version"},
		{"floating repository", &albs.TestSpec{Root: floating, Packages: good, Stages: all}, albs.OutcomeFailed, "far"},
		{"mirror that isn't allowed", &albs.TestSpec{Root: foreign, Packages: good, Stages: all}, albs.OutcomeInfra, "far"},
		{"platform without its packages", &albs.TestSpec{Root: missing, Packages: good, Stages: all}, albs.OutcomeInfra, "nosuch-package"},
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
	w := begin(t, Config{})
	id := w.add(&albs.TestSpec{Root: w.root, Stages: all, Packages: []albs.TestPackage{w.pkg(t, "naps")}})
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
