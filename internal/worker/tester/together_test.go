package tester

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
)

// header is that of a package with one file in a folder, changed.
func header(t *testing.T, name string, change func(*rpm.Package)) *rpm.Package {
	t.Helper()
	n, err := rpm.ParseNEVRA(name + "-1-1.noarch")
	if err != nil {
		t.Fatal(err)
	}
	own := rpm.Dependency{Name: name, Flags: rpm.Equal, EVR: n.EVR()}
	h := &rpm.Package{
		NEVRA: n, Provides: []rpm.Dependency{own},
		Requires: []rpm.Dependency{{Name: "rpmlib(CompressedFileNames)"}, {Name: "bash"}, own},
		Files: []rpm.FileInfo{
			{Path: "/usr/share/" + name, Mode: 0o040755, User: "root", Group: "root"},
			{Path: "/usr/share/" + name + "/file", Mode: 0o100644, User: "root", Group: "root"},
		},
	}
	if change != nil {
		change(h)
	}
	return h
}

func TestTogether(t *testing.T) {
	t.Parallel()
	file := func(path, link string) rpm.FileInfo {
		f := rpm.FileInfo{Path: path, Mode: 0o100644, User: "root", Group: "root", Link: link}
		if link != "" {
			f.Mode = 0o120777
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		change func(*rpm.Package)
		task   func(*albs.TestPackage)
		want   bool
	}{
		{name: "nothing but files", want: true},
		{name: "a scriptlet", change: func(h *rpm.Package) { h.Scripts = map[string]albs.Digest{"%post": "x"} }},
		{name: "a trigger", change: func(h *rpm.Package) { h.Scripts = map[string]albs.Digest{"%transfiletrigger": "x"} }},
		{name: "a conflict", change: func(h *rpm.Package) { h.Conflicts = []rpm.Dependency{{Name: "nobody"}} }},
		{name: "what it obsoletes", change: func(h *rpm.Package) { h.Obsoletes = []rpm.Dependency{{Name: "old"}} }},
		{name: "a need that the platform's root hasn't", change: func(h *rpm.Package) { h.Requires = append(h.Requires, rpm.Dependency{Name: "python3"}) }},
		{name: "a rich need", change: func(h *rpm.Package) { h.Requires = append(h.Requires, rpm.Dependency{Name: "(bash if zsh)"}) }},
		{name: "a need of its own in another version", change: func(h *rpm.Package) {
			h.Requires = append(h.Requires, rpm.Dependency{Name: "x", Flags: rpm.Equal, EVR: rpm.EVR{Version: "2", Release: "1"}})
		}},
		{name: "a need of its own in any version", change: func(h *rpm.Package) { h.Requires = append(h.Requires, rpm.Dependency{Name: "x"}) }, want: true},
		{name: "a need of another one", change: func(h *rpm.Package) { h.Requires = append(h.Requires, rpm.Dependency{Name: "a"}) }},
		{name: "what another one needs", change: func(h *rpm.Package) { h.Provides = append(h.Provides, rpm.Dependency{Name: "bash"}) }},
		{name: "the name of one of the platform's", change: func(h *rpm.Package) { h.Name = "bash" }},
		{name: "the name of another one", change: func(h *rpm.Package) { h.Name = "a"; h.Arch = "x86_64" }},
		{name: "a file of another one", change: func(h *rpm.Package) { h.Files = append(h.Files, file("/usr/share/a/file", "")) }},
		{name: "a folder of another one", change: func(h *rpm.Package) {
			h.Files = append(h.Files, rpm.FileInfo{Path: "/usr/share/a", Mode: 0o040755, User: "root", Group: "root"})
		}, want: true},
		{name: "a folder of another one with another mode", change: func(h *rpm.Package) {
			h.Files = append(h.Files, rpm.FileInfo{Path: "/usr/share/a", Mode: 0o040700, User: "root", Group: "root"})
		}},
		{name: "a link to its own", change: func(h *rpm.Package) { h.Files = append(h.Files, file("/usr/share/x/link", "file")) }, want: true},
		{name: "a link to its own from the top", change: func(h *rpm.Package) { h.Files = append(h.Files, file("/usr/share/x/link", "/usr/share/x/file")) }, want: true},
		{name: "a link to another one's", change: func(h *rpm.Package) { h.Files = append(h.Files, file("/usr/share/x/link", "../a/file")) }},
		{name: "a link to nothing", change: func(h *rpm.Package) { h.Files = append(h.Files, file("/usr/share/x/link", "nothing")) }},
		{name: "a link to a link", change: func(h *rpm.Package) {
			h.Files = append(h.Files, file("/usr/share/x/link", "other"), file("/usr/share/x/other", "../a/file"))
		}},
		{name: "a file of a user", change: func(h *rpm.Package) { h.Files[1].User = "games" }},
		{name: "a file of a group", change: func(h *rpm.Package) { h.Files[1].Group = "games" }},
		{name: "a released version", task: func(p *albs.TestPackage) { p.From = "x-0-1.noarch" }},
		{name: "tests of its own", task: func(p *albs.TestPackage) { p.Suites = []int{0} }},
		{name: "a stage that is skipped", task: func(p *albs.TestPackage) { p.Skip = []albs.TestSkip{{Stage: albs.StageRemove}} }},
		{name: "a stream", task: func(p *albs.TestPackage) { p.Module = "x:1" }},
		{name: "another file than is named", task: func(p *albs.TestPackage) { p.NEVRA = "x-2-1.noarch" }},
		{name: "a file that no repository has", task: func(p *albs.TestPackage) { p.Digest = albs.DigestOf([]byte("other")) }},
	} {
		headers := map[albs.Digest]*rpm.Package{}
		var packages []albs.TestPackage
		for _, name := range []string{"a", "b", "c", "x"} {
			var change func(*rpm.Package)
			if name == "x" {
				change = tt.change
			}
			h := header(t, name, change)
			p := albs.TestPackage{NEVRA: h.NEVRA.String(), Digest: albs.DigestOf([]byte(name))}
			if name == "x" && tt.task != nil {
				tt.task(&p)
			}
			headers[albs.DigestOf([]byte(name))] = h
			packages = append(packages, p)
		}
		want := packages[:3]
		if tt.want {
			want = packages
		}
		got := together(packages, headers, []sandbox.Package{{Name: "bash"}, {Name: "glibc"}})
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// companions are packages of which each could be tested in the company of others, by all
// that its header says; what is wrong with some of them the company finds out or hides.
var companions = []struct{ name, install, files string }{
	{name: "linked", install: "ln -s data %{buildroot}/usr/share/NAME/link"},
	{name: "library", install: "install -D %{_sourcedir}/libcompanion.so %{buildroot}/usr/lib/companions/libcompanion.so", files: "/usr/lib/companions"},
	{name: "program", install: "install -D %{_sourcedir}/program %{buildroot}/usr/bin/NAME", files: "/usr/bin/NAME"}, // lacks the library, which it doesn't require
	{name: "folder", install: "mkdir -p %{buildroot}/usr/share/companions && touch %{buildroot}/usr/share/companions/NAME", files: "%dir /usr/share/companions\n/usr/share/companions/NAME"},
	{name: "folder-too", install: "mkdir -p %{buildroot}/usr/share/companions && touch %{buildroot}/usr/share/companions/NAME", files: "%dir /usr/share/companions\n/usr/share/companions/NAME"},
	{name: "ghost", files: "%ghost /usr/share/NAME/state"},
	{name: "plain"},
	{name: "plain-too"},
	{name: "clash", install: "echo other > %{buildroot}/usr/bin/sed", files: "/usr/bin/sed"}, // which the platform has, so that the first company can't be installed
}

// companionsIn makes the repository of companions.
func companionsIn(t *testing.T) (dir string) {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "createrepo_c", "gcc"} {
		if _, err := os.Stat(filepath.Join("/usr/bin", tool)); err != nil {
			t.Skipf("the packages under test can't be made: %s is not installed", tool)
		}
	}
	top, err := os.MkdirTemp("", "companions-")
	if err != nil {
		t.Fatal(err)
	}
	var head, install, files strings.Builder
	head.WriteString("%global debug_package %{nil}\n%global __os_install_post %{nil}\n%global _build_id_links none\nName: companion\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nAutoReqProv: no\n%description\nx\n")
	install.WriteString("%install\n")
	for _, c := range companions {
		in := func(s string) string { return strings.ReplaceAll(s, "NAME", "companion-"+c.name) }
		head.WriteString(in("%package -n NAME\nSummary: x\nAutoReqProv: no\n%description -n NAME\nx\n"))
		install.WriteString(in("mkdir -p %{buildroot}/usr/share/NAME && echo data > %{buildroot}/usr/share/NAME/data\n" + c.install + "\n"))
		files.WriteString(in("%files -n NAME\n%dir /usr/share/NAME\n/usr/share/NAME/data\n" + map[bool]string{true: "/usr/share/NAME/link\n"}[c.name == "linked"] + c.files + "\n"))
	}
	for name, text := range map[string]string{
		"companion.spec": head.String() + install.String() + files.String(),
		"lib.c":          "int f(void) { return 0; }\n", "main.c": "int f(void);\nint main(void) { return f(); }\n",
	} {
		if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	host(t, top, "gcc", "-shared", "-Wl,-soname,libcompanion.so", "-o", "libcompanion.so", "lib.c")
	host(t, top, "gcc", "-o", "program", "main.c", "libcompanion.so", "-Wl,-rpath,/usr/lib/companions")
	host(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "_sourcedir "+top, "companion.spec")
	dir = filepath.Join(top, "RPMS", "x86_64")
	host(t, dir, "createrepo_c", "--quiet", "--no-database", ".")
	return dir
}

// noCompany is why a stage is skipped, so that a package is tested alone.
const noCompany = "no company"

// sameResult compares results by all but their times, and what noCompany brings about.
var sameResult = []gocmp.Option{
	cmpopts.IgnoreFields(albs.StageResult{}, "Started", "Millis"), cmpopts.IgnoreFields(albs.TestCase{}, "Millis"),
	gocmp.FilterPath(func(p gocmp.Path) bool { return p.Last().String() == ".Reason" }, gocmp.Comparer(func(a, b string) bool {
		return a == b || slices.Contains([]string{a, b}, "it is on the skip list: "+noCompany)
	})),
}

// TestInCompany: what is tested in the company of others comes to the same as what is tested
// alone, also where one lacks what another one has.
func TestInCompany(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("all stages of some packages in three ways take half a minute: not in -short")
	}
	dir := companionsIn(t)
	w := beginWith(t, Config{}, dir)
	both := [2]albs.TestSpec{}
	for i := range both {
		both[i] = albs.TestSpec{Root: w.root, Stages: all}
		for _, c := range companions {
			nevra := fmt.Sprintf("companion-%s-1-1.x86_64", c.name)
			b, err := os.ReadFile(filepath.Join(dir, nevra+".rpm"))
			if err != nil {
				t.Fatal(err)
			}
			p := albs.TestPackage{NEVRA: nevra, Digest: albs.DigestOf(b)}
			if i == 1 { // which has it tested alone, and is skipped anyway
				p.Skip = []albs.TestSkip{{Stage: albs.StageDowngrade, Reason: noCompany}}
			}
			both[i].Packages = append(both[i].Packages, p)
		}
	}
	var results [2]*albs.TestResult
	for i := range both {
		id := w.add(&both[i])
		outcome, r := w.end(t, id)
		log := string(w.fake.LogOf(id, 1, "test"))
		if outcome != albs.OutcomeOK || r.Test == nil {
			t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
		}
		results[i] = r.Test
		alone := i == 1
		if strings.Contains(log, "\n== in one environment: companion-linked-1-1.x86_64 ") == alone {
			t.Errorf("alone %v: it says\n%s", alone, log)
		}
		for i, c := range companions {
			// The first half can be installed without the one that can't, and two of it are none
			// of which others may have what they lack.
			elf := c.name == "library" || c.name == "program"
			if strings.Contains(log, "\n== companion-"+c.name+"-1-1.x86_64\n") != (alone || elf || i >= 5) {
				t.Errorf("alone %v: %s is tested alone, or isn't:\n%s", alone, c.name, log)
			}
		}
		names := map[string]bool{}
		for _, f := range r.Logs {
			if names[f.Name] {
				t.Errorf("there are two logs %s", f.Name)
			}
			names[f.Name] = true
		}
		for _, s := range r.Test.Stages {
			if s.Log != "" && !names[s.Log] {
				t.Errorf("%s of %s has the log %q, which didn't come", s.Stage, s.Package, s.Log)
			}
		}
	}
	for _, s := range results[1].Stages {
		if s.Status.Bad() != (s.Package == "companion-program-1-1.x86_64" && s.Stage == albs.StageIntegrity || s.Package == "companion-clash-1-1.x86_64" && s.Stage != albs.StageEnvironment && s.Stage != albs.StageSystem && s.Stage != albs.StageUpgrade && s.Stage != albs.StageDowngrade) {
			t.Errorf("%s of %s is %s: %s", s.Stage, s.Package, s.Status, s.Reason)
		}
	}
	if diff := gocmp.Diff(results[1], results[0], sameResult...); diff != "" {
		t.Errorf("in company it came to something else (-alone +in company):\n%s", diff)
	}
}
