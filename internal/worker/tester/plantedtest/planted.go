// Package plantedtest makes packages with one defect each, planted on purpose, and for
// each a healthy twin that is as like to it as can be. They are made by the real rpmbuild
// for Seed Linux, and what finds each defect is written beside it.
package plantedtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"albs/internal/albs"
)

// Defect is one thing that can be wrong with a package, and who finds it.
type Defect struct {
	Name string // in names of packages
	What string // for people
	// Stage must fail, and of its cases Case ("" where the stage itself tells), with Say in
	// what is told. No other case may fail, and no other stage but by this one.
	Stage     albs.TestStage
	Case, Say string

	bad, good half
	// released is the version that both were released in before; nil for none.
	released *half
	// neighbour is what a released package NAME-neighbour of each has; nil for none.
	neighbour *half
}

// Tests is what lies beside in git: tests of those packages that a defect of the stage
// package is planted in, by the names of files.
var Tests = map[string]string{"answer.sh": "[ $(cat /usr/share/$PACKAGE_NAME/answer) = 42 ]\n"}

// half is what one of the twins has beside a folder with a file and a link. NAME
// stands for the name of the package.
type half struct {
	preamble string // lines of its part of the preamble
	install  string // shell
	scripts  string // sections of the spec file; %post and the like without a name
	files    string // lines of %files
}

// post is a half with a script behind its installation.
func post(script string) half { return half{scripts: "%post\n" + script} }

// program is a half with a program of Sources that requires nothing by itself.
func program(source string) half {
	return half{preamble: "AutoReqProv: no", install: "install -D %{_sourcedir}/" + source + " %{buildroot}/usr/bin/NAME", files: "/usr/bin/NAME"}
}

// Defects are all that are planted.
var Defects = []Defect{
	{Name: "missing", What: "a file that %post removes", Stage: "integrity", Case: "files", Say: "/data is missing",
		bad: post("rm /usr/share/NAME/data"), good: post("rm -f /usr/share/NAME/nothing")},
	{Name: "kind", What: "a file that %post makes a link", Stage: "integrity", Case: "files", Say: "/data is a link and no file",
		bad: post("mv /usr/share/NAME/data /var/tmp && ln -s /var/tmp/data /usr/share/NAME/data"), good: post("mv /usr/share/NAME/data /var/tmp && mv /var/tmp/data /usr/share/NAME")},
	{Name: "mode", What: "permissions that %post widens", Stage: "integrity", Case: "modes", Say: "/data has mode 0666, the package says 0644",
		bad: post("chmod 666 /usr/share/NAME/data"), good: post("chmod 644 /usr/share/NAME/data")},
	{Name: "owner", What: "a file that %post gives away", Stage: "integrity", Case: "owners", Say: "/data has the user",
		bad: post("chown 4711:4711 /usr/share/NAME/data"), good: post("chown 0:0 /usr/share/NAME/data")},
	{Name: "content", What: "content that %post changes", Stage: "integrity", Case: "contents", Say: "/data has another content",
		bad: post("echo atad > /usr/share/NAME/data"), good: post("echo data > /usr/share/NAME/data")},
	{Name: "target", What: "a link that %post turns", Stage: "integrity", Case: "links", Say: "/link leads to /etc/passwd, the package says ../planted-target-bad",
		bad: post("ln -sfn /etc/passwd /usr/share/NAME/link"), good: post("ln -sfn ../NAME /usr/share/NAME/link")},
	{Name: "dangling", What: "a link to nothing", Stage: "integrity", Case: "dangling", Say: "/way leads to ../nothing, where nothing is",
		bad: half{install: "ln -s ../nothing %{buildroot}/usr/share/NAME/way"}, good: half{install: "ln -s ../NAME/data %{buildroot}/usr/share/NAME/way"}},
	{Name: "library", What: "a library that no package has", Stage: "integrity", Case: "libraries", Say: "needs libplanted.so.1, which isn't found",
		bad: program("unresolved"),
		good: func() half {
			h := program("private")
			h.install += "\ninstall -D %{_sourcedir}/libplanted.so.1 %{buildroot}/usr/lib/planted/libplanted.so.1"
			h.files += "\n/usr/lib/planted"
			return h
		}()},
	{Name: "rpath-build", What: "libraries looked for where it was built", Stage: "integrity", Case: "rpath", Say: "/builddir/build/BUILD/x/.libs, which was a folder of the build",
		bad: program("rpath-build"), good: program("rpath-fine")},
	{Name: "rpath-here", What: "libraries looked for in the folder in which it is started", Stage: "integrity", Case: "rpath", Say: "ends in a colon",
		bad: program("rpath-here"), good: program("rpath-fine")},
	{Name: "post", What: "a %post that fails", Stage: "integrity", Case: "scriptlets", Say: "%post of planted-post-bad-2-1.x86_64 failed with exit status 3",
		bad: post("exit 3"), good: post("exit 0")},
	{Name: "pre", What: "a %pre that fails", Stage: "install", Say: "scriptlet failed",
		bad: half{scripts: "%pre\nexit 1"}, good: half{scripts: "%pre\nexit 0"}},
	{Name: "hang", What: "a %post that never ends", Stage: "install", Say: "longer than",
		bad: post("sleep 100000000"), good: post("sleep 0")},
	{Name: "dependency", What: "a dependency that nothing provides", Stage: "install", Say: "nothing provides nosuch-planted",
		bad: half{preamble: "Requires: nosuch-planted"}, good: half{preamble: "Requires: bash"}},
	{Name: "quarrel", What: "a conflict with a package of the platform", Stage: "install", Say: "problem with installed package bash",
		bad: half{preamble: "Conflicts: bash"}, good: half{preamble: "Conflicts: nosuch-planted"}},
	{Name: "conflict", What: "a file that the platform has otherwise", Stage: "install", Say: "packages conflict: file /usr/bin/grep",
		bad:  half{install: "mkdir -p %{buildroot}/usr/bin && echo other > %{buildroot}/usr/bin/grep", files: "/usr/bin/grep"},
		good: half{install: "mkdir -p %{buildroot}/usr/bin && echo other > %{buildroot}/usr/bin/NAME-grep", files: "/usr/bin/NAME-grep"}},
	{Name: "rival", What: "a file that a package of the repositories has otherwise, which isn't installed", Stage: "integrity", Case: "conflicts", Say: "/usr/bin/m4 is in m4-",
		bad:  half{install: "mkdir -p %{buildroot}/usr/bin && echo other > %{buildroot}/usr/bin/m4", files: "/usr/bin/m4"},
		good: half{install: "mkdir -p %{buildroot}/usr/bin && echo other > %{buildroot}/usr/bin/NAME-m4", files: "/usr/bin/NAME-m4"}},
	{Name: "requirement", What: "a capability that goes though a package of the repositories needs it", Stage: "integrity", Case: "requirements",
		Say: "planted-requirement-bad-neighbour-1-1.x86_64 needs planted-requirement-bad(api) = 1, which planted-requirement-bad-1-1.x86_64 provides and nothing any more",
		bad: half{preamble: "Provides: NAME(api) = 2"}, good: half{preamble: "Provides: NAME(api) = 1, NAME(api) = 2"},
		released: &half{preamble: "Provides: NAME(api) = 1"}, neighbour: &half{preamble: "Requires: NAME(api) = 1"}},
	{Name: "upgrade", What: "a %pre that fails when it upgrades", Stage: "upgrade", Say: "scriptlet failed",
		bad: half{scripts: "%pre\n[ $1 -lt 2 ]"}, good: half{scripts: "%pre\n[ $1 -lt 3 ]"}, released: &half{}},
	{Name: "folder", What: "a folder that becomes a file, which rpm can't do", Stage: "upgrade", Say: "packages conflict: file /usr/share/planted-folder-bad/sub",
		bad:      half{install: "echo x > %{buildroot}/usr/share/NAME/sub"},
		good:     half{install: "mkdir %{buildroot}/usr/share/NAME/sub && echo x > %{buildroot}/usr/share/NAME/sub/x"},
		released: &half{install: "mkdir %{buildroot}/usr/share/NAME/sub && echo x > %{buildroot}/usr/share/NAME/sub/x"}},
	{Name: "postun", What: "a %postun of the released version that removes a file of the next one", Stage: "upgrade", Case: "files", Say: "/data is missing",
		released: &half{scripts: "%postun\n[ NAME = planted-postun-good ] || rm -f /usr/share/NAME/data"}},
	{Name: "downgrade", What: "a %preun that fails unless it is removed", Stage: "downgrade", Say: "scriptlet failed",
		bad: half{scripts: "%preun\n[ $1 -eq 0 ]"}, good: half{scripts: "%preun\n[ $1 -le 1 ]"}, released: &half{}},
	{Name: "answer", What: "an answer that its own test knows to be wrong", Stage: "package", Case: "answer.sh", Say: "it ended with code 1",
		bad: half{install: "echo 41 > answer"}, good: half{install: "echo 42 > answer"}},
	{Name: "unremovable", What: "a %preun that fails", Stage: "remove", Say: "scriptlet failed",
		bad: half{scripts: "%preun\nexit 1"}, good: half{scripts: "%preun\nexit 0"}},
	{Name: "goodbye", What: "a %postun that fails", Stage: "remove", Case: "scriptlets", Say: "%postun of planted-goodbye-bad-2-1.x86_64 failed",
		bad: half{scripts: "%postun\nexit 1"}, good: half{scripts: "%postun\nexit 0"}},
	{Name: "leftover", What: "a file that %post makes and nobody removes", Stage: "remove", Case: "leftovers", Say: "/usr/share/planted-leftover-bad is left behind",
		bad: post("touch /usr/share/NAME/state"), good: func() half {
			h := post("touch /usr/share/NAME/state")
			h.files = "%ghost /usr/share/NAME/state"
			return h
		}()},
	{Name: "again", What: "a %pre that fails when it was there before", Stage: "reinstall", Say: "scriptlet failed",
		bad:  half{scripts: "%pre\n[ ! -e /var/tmp/NAME ]\n%post\ntouch /var/tmp/NAME"},
		good: half{scripts: "%pre\n[ ! -e /var/tmp/NAME ]\n%post\ntouch /var/tmp/NAME\n%postun\nrm -f /var/tmp/NAME"}},
}

// Package is one of the twins.
type Package struct {
	Defect *Defect
	Bad    bool
	albs.TestPackage
}

// Make builds all packages in a new folder below the temporary one, which the caller
// removes. It returns two repositories, of what was released before and of the packages
// under test, and these in the order of Defects. It skips the test where the tools are
// missing.
func Make(t testing.TB) (released, dir string, packages []Package) {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "createrepo_c", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("packages with defects can't be made: %s is not installed", tool)
		}
	}
	top, err := os.MkdirTemp("", "planted-")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"lib.c": "int f(void) { return 0; }\n", "main.c": "int f(void);\nint main(void) { return f(); }\n", "alone.c": "int main(void) { return 0; }\n"} {
		write(t, filepath.Join(top, name), text)
	}
	run(t, top, "gcc", "-shared", "-Wl,-soname,libplanted.so.1", "-o", "libplanted.so.1", "lib.c")
	run(t, top, "gcc", "-o", "unresolved", "main.c", "libplanted.so.1")
	run(t, top, "gcc", "-o", "private", "main.c", "libplanted.so.1", "-Wl,-rpath,$ORIGIN/../lib/planted")
	for name, rpath := range map[string]string{"rpath-build": "/builddir/build/BUILD/x/.libs", "rpath-here": "/usr/lib/planted:", "rpath-fine": "/usr/lib/planted"} {
		run(t, top, "gcc", "-o", name, "alone.c", "-Wl,-rpath,"+rpath)
	}
	var repos [2]string
	for i := range repos {
		spec := fmt.Sprintf("planted-%d.spec", i+1)
		write(t, filepath.Join(top, spec), recipe(i+1))
		run(t, top, "rpmbuild", "--quiet", "-bb", "--define", fmt.Sprintf("_topdir %s/%d", top, i+1), "--define", "_sourcedir "+top, spec)
		built, err := filepath.Glob(filepath.Join(top, strconv.Itoa(i+1), "RPMS", "*"))
		if err != nil || len(built) != 1 {
			t.Fatalf("rpmbuild left %q, %v", built, err)
		}
		repos[i] = built[0]
		run(t, repos[i], "createrepo_c", "--quiet", "--no-database", ".")
	}
	released, dir = repos[0], repos[1]
	arch := filepath.Base(dir)
	for i := range Defects {
		d := &Defects[i]
		for _, bad := range []bool{true, false} {
			name := d.name(bad)
			b, err := os.ReadFile(filepath.Join(dir, name+"-2-1."+arch+".rpm"))
			if err != nil {
				t.Fatal(err)
			}
			p := Package{d, bad, albs.TestPackage{NEVRA: name + "-2-1." + arch, Digest: albs.DigestOf(b)}}
			if d.released != nil {
				p.From = name + "-1-1." + arch
			}
			packages = append(packages, p)
		}
	}
	return released, dir, packages
}

func (d *Defect) name(bad bool) string {
	return "planted-" + d.Name + map[bool]string{true: "-bad", false: "-good"}[bad]
}

// recipe returns the spec file of all packages of one version: 1 is what was released.
func recipe(version int) string {
	var head, install, tail strings.Builder
	fmt.Fprintf(&head, `%%global debug_package %%{nil}
%%global __os_install_post %%{nil}
%%global _build_id_links none
Name: planted
Version: %d
Release: 1
Summary: Packages with one defect each
License: MIT
%%description
%%{summary}
`, version)
	install.WriteString("%install\n")
	for i := range Defects {
		d := &Defects[i]
		for _, bad := range []bool{true, false} {
			h := map[bool]half{true: d.bad, false: d.good}[bad]
			if version == 1 {
				if d.released == nil {
					continue
				}
				h = *d.released
			}
			name := d.name(bad)
			put := func(as string, h half) {
				in := func(s string) string { return strings.ReplaceAll(s, "NAME", name) }
				fmt.Fprintf(&head, "%%package -n %s\nSummary: %s\n%s\n%%description -n %[1]s\n%%{summary}\n", as, strings.ReplaceAll(d.What, "%", "%%"), in(h.preamble))
				fmt.Fprintf(&install, "mkdir -p %%{buildroot}/usr/share/%s && cd %%{buildroot}/usr/share/%[1]s && echo data > data && ln -s ../%[1]s link\n%s\n", as, in(h.install))
				for line := range strings.Lines(in(h.scripts)) {
					if strings.HasPrefix(line, "%") {
						line = strings.TrimSuffix(line, "\n") + " -n " + as + "\n"
					}
					tail.WriteString(line)
				}
				fmt.Fprintf(&tail, "\n%%files -n %s\n/usr/share/%[1]s\n%s\n", as, in(h.files))
			}
			put(name, h)
			if version == 1 && d.neighbour != nil {
				put(name+"-neighbour", *d.neighbour)
			}
		}
	}
	return head.String() + install.String() + tail.String()
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a program of the host in dir.
func run(t testing.TB, dir string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
