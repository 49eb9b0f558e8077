// Package buildroottest is the conformance suite of buildroot engines.
package buildroottest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/rpm/rpmtest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// Fixture is an engine under test.
type Fixture struct {
	Engine buildroot.Engine
	// Small is the same engine as one that allows little: 300 processes, 256 MiB of disk,
	// 16 MiB of output, 2 GiB of memory, and three rounds of dynamic BuildRequires.
	Small buildroot.Engine
	// Root and Repos are Seed Linux, or another platform that has the specs' packages.
	Root  albs.Root
	Repos []sandbox.Repo
	// Says is what this engine says, as a regular expression, where it can't say what the
	// suite wants to hear: by the name of a case of "faults of a package", "hostile" or
	// "choice".
	Says map[string]string
}

type suite struct{ Fixture }

// says reports whether err says what is to be said in the case name.
func (b *suite) says(name, want string, err error) bool {
	if own, ok := b.Says[name]; ok {
		want = own
	}
	return regexp.MustCompile("(?s)" + want).MatchString(err.Error())
}

// TestEngine asks an engine for what buildroot.Engine says, a subtest for each claim.
func TestEngine(t *testing.T, f Fixture) {
	s := &suite{f}
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"chain", s.chain},
		{"faults of a package", s.faults},
		{"faults of a source", s.sourceFaults},
		{"faults of a job", s.jobFaults},
		{"faults of a platform", s.platformFaults},
		{"excluded", s.excluded},
		{"choice", s.choice},
		{"rich requirements", s.rich},
		{"layouts", s.layouts},
		{"facts", s.facts},
		{"hostile", s.hostile},
		{"cancel", s.cancel},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t)
		})
	}
}

// Tree writes a tar of files and returns its path.
func Tree(t testing.TB, files map[string]string) string {
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

// ShippedSpec returns a spec of testdata/specs.
func ShippedSpec(t testing.TB, name string) string {
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
func (b *suite) source(t *testing.T, root albs.Root, spec string, s *streams) (buildroot.Output, error) {
	t.Helper()
	return b.Engine.Source(t.Context(), buildroot.SourceJob{
		Root: root, Repos: b.Repos, Tree: Tree(t, map[string]string{"x.spec": spec}), Spec: "x.spec", Out: t.TempDir(), Logs: s.logs(),
	})
}

// build makes the packages of one spec in root, by way of an SRPM that the platform's
// own root makes.
func (b *suite) build(t *testing.T, root albs.Root, spec string, s *streams) (buildroot.Output, error) {
	t.Helper()
	src, err := b.source(t, b.Root, spec, s)
	if err != nil {
		t.Fatalf("make the source package: %v\n%s", err, s.build.String())
	}
	out, err := b.Engine.Build(t.Context(), buildroot.BuildJob{
		Root: root, Repos: b.Repos, SRPM: src.Files[0], Arch: root.Arch, Out: t.TempDir(), Logs: s.logs(),
	})
	// A build that was refused before it began has no record. ALBS makes another source
	// package for each arch, and builds from that.
	if err == nil && (out.Record.Format != "" || out.Excluded == "") {
		given, err := os.ReadFile(src.Files[0])
		if err != nil || out.Record.Input.Digest != albs.DigestOf(given) {
			t.Errorf("the record has %+v as what was built from, %v; want the source package that was given", out.Record.Input, err)
		}
	}
	return out, err
}

// base returns the base names, sorted.
func base(files []string) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(f))
	}
	slices.Sort(out)
	return out
}

// chain builds a library and then, against it, a program with dynamic
// BuildRequires, as a build with two packages does.
func (b *suite) chain(t *testing.T) {
	arch := string(b.Root.Arch)
	var s streams
	lib, err := b.build(t, b.Root, ShippedSpec(t, "libfoo.spec"), &s)
	if err != nil {
		t.Fatalf("build libfoo: %v\n%s%s", err, s.root.String(), s.build.String())
	}
	want := []string{
		"libfoo-1.2-1.seed9." + arch + ".rpm", "libfoo-debuginfo-1.2-1.seed9." + arch + ".rpm",
		"libfoo-debugsource-1.2-1.seed9." + arch + ".rpm", "libfoo-devel-1.2-1.seed9." + arch + ".rpm",
	}
	if diff := cmp.Diff(want, base(lib.Files)); diff != "" {
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
	c := b.beside(t, repo, "")
	s = streams{}
	use, err := c.build(t, c.Root, ShippedSpec(t, "usefoo.spec"), &s)
	if err != nil {
		t.Fatalf("build usefoo: %v\n%s%s%s", err, s.state.String(), s.root.String(), s.build.String())
	}
	t.Logf("state log of usefoo:\n%s", s.state.String())
	if got := base(use.Files); !slices.Contains(got, "usefoo-0.3-2.seed9."+arch+".rpm") {
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

// beside makes a repository of the packages in the folder, with documents of modules if
// there are any, and returns b with it behind the platform's.
func (b *suite) beside(t *testing.T, folder, modules string) *suite {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	run("createrepo_c", "--quiet", "--no-database", folder)
	if modules != "" {
		file := filepath.Join(t.TempDir(), "modules.yaml")
		if err := os.WriteFile(file, []byte(modules), 0o644); err != nil {
			t.Fatal(err)
		}
		run("modifyrepo_c", "--mdtype=modules", file, filepath.Join(folder, "repodata"))
	}
	md, err := os.ReadFile(filepath.Join(folder, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	c := *b
	c.Root.Repos = append(slices.Clone(b.Root.Repos), albs.Repo{ID: "build", Snapshot: albs.DigestOf(md)})
	c.Repos = append(slices.Clone(b.Repos), sandbox.Repo{ID: "build", BaseURL: "file://" + folder, Priority: 10})
	return &c
}

// packages writes what the host's rpmbuild makes of each spec into a folder.
func packages(t *testing.T, specs ...string) string {
	t.Helper()
	folder := t.TempDir()
	for _, spec := range specs {
		made, err := rpmtest.Build(spec)
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range made {
			if strings.HasSuffix(name, ".src.rpm") {
				continue
			}
			if err := os.WriteFile(filepath.Join(folder, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return folder
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

// faults gives packages that are themselves to blame.
func (b *suite) faults(t *testing.T) {
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
			root := b.Root
			if tt.change != nil {
				tt.change(&root)
			}
			var s streams
			c := *b
			c.Engine = b.Small // it gives up sooner, too
			out, err := c.build(t, root, tt.spec, &s)
			if !errors.Is(err, albs.Invalid) || !b.says(tt.name, tt.say, err) {
				t.Errorf("Build = %v, %v; want Invalid saying %q\n%s\n%s", out.Files, err, tt.say, s.root.String(), s.build.String())
			}
			if out.Record.Format != buildroot.RecordFormat || !out.Record.Base.Valid() {
				t.Errorf("the record of a failed build is %+v", out.Record)
			}
			// What it had said when its time was over tells why.
			if tt.name == "endless" && strings.Count(s.build.String(), "\non\n") < 2 {
				t.Errorf("the log of a build that took too long lacks its words:\n%s", s.build.String())
			}
		})
	}
}

// sourceFaults gives trees that make no source package.
func (b *suite) sourceFaults(t *testing.T) {
	for _, tt := range []struct{ name, spec, say string }{
		{"no spec at all", "this is\nno spec", "Unknown tag|Name field"},
		{"missing source", head + "Source0: absent.tar.gz" + tailOf, "absent.tar.gz"},
		{"parses for ever", "%{lua: while true do end}\n" + head + tailOf, "longer than"},
		{"a million requirements", head + "%{lua: for i = 1, 1000000 do print('BuildRequires: nosuch' .. i .. '\\n') end}" + tailOf, "longer than"},
		{"release by rpmautospec", strings.Replace(head, "Release: 1", "Release: %autorelease", 1) + tailOf, "rpmautospec"},
		{"expands for ever", "%global a() %{a}%{a}\n%a\n" + head + tailOf, "[Rr]ecursi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.Root
			if tt.say == "longer than" {
				root.Timeout = 5 * time.Second
			}
			var s streams
			if out, err := b.source(t, root, tt.spec, &s); !errors.Is(err, albs.Invalid) || !regexp.MustCompile(tt.say).MatchString(err.Error()) {
				t.Errorf("Source = %v, %v; want Invalid saying %q\n%s", out.Files, err, tt.say, s.build.String())
			}
		})
	}
}

// jobFaults gives jobs that no engine may begin.
func (b *suite) jobFaults(t *testing.T) {
	srpm := filepath.Join(t.TempDir(), "x-1-1.src.rpm")
	if err := os.WriteFile(srpm, []byte("no package"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := buildroot.SourceJob{Root: b.Root, Repos: b.Repos, Tree: srpm, Spec: "x.spec", Out: t.TempDir()}
	build := buildroot.BuildJob{Root: b.Root, Repos: b.Repos, SRPM: srpm, Arch: b.Root.Arch, Out: t.TempDir()}
	for _, tt := range []struct {
		name string
		run  func() (buildroot.Output, error)
	}{
		{"spec outside the tree", func() (buildroot.Output, error) {
			j := source
			j.Spec = "../x.spec"
			return b.Engine.Source(t.Context(), j)
		}},
		{"source outside the tree", func() (buildroot.Output, error) {
			j := source
			j.Sources = []buildroot.File{{Name: "../x", Path: srpm}}
			return b.Engine.Source(t.Context(), j)
		}},
		{"tree that is no tar", func() (buildroot.Output, error) { return b.Engine.Source(t.Context(), source) }},
		{"SRPM that is none", func() (buildroot.Output, error) { return b.Engine.Build(t.Context(), build) }},
		{"option as a build option", func() (buildroot.Output, error) {
			j := build
			j.With = []string{"x --eval %(id)"}
			return b.Engine.Build(t.Context(), j)
		}},
		{"unknown architecture", func() (buildroot.Output, error) {
			j := build
			j.Arch = "--nodeps"
			return b.Engine.Build(t.Context(), j)
		}},
		{"macro that is two", func() (buildroot.Output, error) {
			j := build
			j.Root.Macros = map[string]string{"dist": ".x\n%evil 1"}
			return b.Engine.Build(t.Context(), j)
		}},
		{"time below zero", func() (buildroot.Output, error) {
			j := build
			j.Root.Timeout = -1
			return b.Engine.Build(t.Context(), j)
		}},
	} {
		if out, err := tt.run(); !errors.Is(err, albs.Invalid) || len(out.Files) > 0 {
			t.Errorf("%s: %v, %v; want Invalid", tt.name, out.Files, err)
		}
	}
}

// platformFaults gives platforms that can't build. No package is at fault then.
func (b *suite) platformFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*albs.Root)
		say    string
	}{
		{"a package that isn't there", func(r *albs.Root) { r.Packages = append(slices.Clone(r.Packages), "nosuch-package") }, "nosuch-package"},
		{"no tar", func(r *albs.Root) { r.Packages = []string{"system-release", "bash"} }, "no program "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.Root
			tt.change(&root)
			var s streams
			_, err := b.source(t, root, head+tailOf, &s)
			if err == nil || errors.Is(err, albs.Invalid) || albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Source = %v, want Unavailable, and no Invalid in it, saying %q", err, tt.say)
			}
		})
	}
}

// excluded gives packages that are not for the architecture.
func (b *suite) excluded(t *testing.T) {
	plain := strings.Replace(head, "BuildArch: noarch\n", "", 1)
	for _, tt := range []struct {
		name, spec string
		macros     map[string]string // that the platform has when the package is built
	}{
		{"exclusive", plain + "ExclusiveArch: s390x\nBuildRequires: nosuch" + tailOf, nil},
		{"exclude", plain + "ExcludeArch: " + string(b.Root.Arch) + tailOf, nil},
		// The tags are those of another buildroot; here the spec says otherwise.
		{"by rpmbuild", plain + "%{?elsewhere:ExclusiveArch: s390x}" + tailOf, map[string]string{"elsewhere": "1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s streams
			root := b.Root
			root.Macros = maps.Clone(root.Macros)
			maps.Copy(root.Macros, tt.macros)
			out, err := b.build(t, root, tt.spec, &s)
			if err != nil || out.Excluded == "" || len(out.Files) > 0 {
				t.Errorf("Build = %+v, %v; want it excluded", out, err)
			}
			t.Log(out.Excluded)
		})
	}
}

// choice gives roots that take a stream of a module, or that do without a package. What
// can't be chosen is the fault of the build that chose.
func (b *suite) choice(t *testing.T) {
	const tool = `Name: tool
Version: STREAM
Release: 1
Summary: x
License: MIT
BuildArch: noarch
ModularityLabel: tool:STREAM:1:c0ffee00
%description
x
%files
`
	const module = `---
document: modulemd
version: 2
data: {name: tool, stream: "STREAM", version: 1, context: c0ffee00, arch: ARCH, summary: x, description: x,
  license: {module: [MIT]}, profiles: {}, artifacts: {rpms: [tool-0:STREAM-1.noarch]}}
...
`
	var specs []string
	documents := ""
	for _, stream := range []string{"1", "2"} {
		r := strings.NewReplacer("STREAM", stream, "ARCH", string(b.Root.Arch))
		specs, documents = append(specs, r.Replace(tool)), documents+r.Replace(module)
	}
	c := b.beside(t, packages(t, specs...), documents)
	var s streams
	src, err := c.source(t, c.Root, head+"BuildRequires: tool"+tailOf, &s)
	if err != nil {
		t.Fatalf("make the source package: %v\n%s", err, s.build.String())
	}
	for _, tt := range []struct {
		name    string
		modules []string
		without []string
		tool    string // the installed tool's version
		say     string // of the Invalid error, if there is none
	}{
		{"newer stream", []string{"tool:2"}, nil, "2", ""},
		{"older stream", []string{"tool:1"}, nil, "1", ""},
		{"no stream", nil, nil, "", "tool"},
		{"absent stream", []string{"tool:3"}, nil, "", "tool:3"},
		{"without a requirement", []string{"tool:1"}, []string{"too*"}, "", "tool is excluded"},
		{"without the platform's", nil, []string{"bash"}, "", `without \["bash"\].*bash`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s streams
			root := c.Root
			root.Modules, root.Excludes = tt.modules, tt.without
			out, err := c.Engine.Build(t.Context(), buildroot.BuildJob{
				Root: root, Repos: c.Repos, SRPM: src.Files[0], Arch: root.Arch, Out: t.TempDir(), Logs: s.logs(),
			})
			if tt.say != "" {
				if !errors.Is(err, albs.Invalid) || !c.says(tt.name, tt.say, err) {
					t.Errorf("Build = %v, %v; want Invalid saying %q\n%s", out.Files, err, tt.say, s.root.String())
				}
				return
			}
			i := slices.IndexFunc(out.Record.Packages, func(p sandbox.Package) bool { return p.Name == "tool" })
			if err != nil || i < 0 || out.Record.Packages[i].Version != tt.tool {
				t.Errorf("Build = %v; want it with tool %s\n%s", err, tt.tool, s.root.String())
			}
		})
	}
}

// rich builds a package whose requirements are of several parts.
func (b *suite) rich(t *testing.T) {
	var specs []string
	for _, name := range []string{"a-devel", "b", "c", "d", "e"} {
		specs = append(specs, strings.Replace(head, "Name: x", "Name: "+name, 1)+tailOf)
	}
	c := b.beside(t, packages(t, specs...), "")
	var s streams
	out, err := c.build(t, c.Root, head+`BuildRequires: (a-devel >= 1 and b)
BuildRequires: (nosuch or (c and d))
BuildRequires: (bash or nosuch)
BuildRequires: (e if bash)
`+tailOf, &s)
	if err != nil {
		t.Fatalf("Build: %v\n%s%s", err, s.root.String(), s.build.String())
	}
	for _, name := range []string{"a-devel", "b", "c", "d", "e"} {
		if !slices.ContainsFunc(out.Record.Packages, func(p sandbox.Package) bool { return p.Name == name }) {
			t.Errorf("%s is not in the root", name)
		}
	}
	s = streams{}
	if out, err := c.build(t, c.Root, head+"BuildRequires: (a-devel and nosuch)"+tailOf, &s); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("Build = %v, %v; want Invalid saying that there is no nosuch\n%s", out.Files, err, s.root.String())
	}
}

// facts asks specs what they say, on the way to a source package and of one that is
// there, for the root's arch and for another. An engine that can't ask has no facts.
func (b *suite) facts(t *testing.T) {
	spec := strings.Replace(head, "BuildArch: noarch\n", "", 1) + `BuildRequires: foo-devel >= 2
BuildRequires: (bar or pkgconfig(baz))
ExcludeArch: s390x
%bcond_with extra
%if %{with extra}
BuildRequires: extra-devel
%endif
%package devel
Summary: x
Provides: ecks-devel = 2
%description devel
x
%package data
Summary: x
BuildArch: noarch
%description data
x
%files devel
%{_libdir}/pkgconfig/x.pc
%files data
` + tailOf
	ask := func(arch albs.Arch) albs.SpecFacts {
		return albs.SpecFacts{Arch: arch, Requires: []string{"(bar or pkgconfig(baz))", "extra-devel", "foo-devel >= 2"}, Exclude: []string{"s390x"}}
	}
	job := buildroot.SourceJob{
		Root: b.Root, Repos: b.Repos, Tree: Tree(t, map[string]string{"x.spec": spec}), Spec: "x.spec", Out: t.TempDir(),
		Arches: []albs.Arch{b.Root.Arch, albs.S390X}, Switches: albs.Switches{With: []string{"extra"}},
	}
	made, err := b.Engine.Source(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Facts) == 0 {
		t.Skip("the engine asks no specs")
	}
	var s streams
	job.SRPM, job.Tree, job.Spec, job.Logs = made.Files[0], "", "", s.logs()
	given, err := b.Engine.Source(t.Context(), job)
	if err != nil || len(given.Files) > 0 || given.Record.Input.Name != "x-1-1.src.rpm" {
		t.Fatalf("Source of an SRPM = %v of %+v, %v\n%s", given.Files, given.Record.Input, err, s.root.String())
	}
	for way, facts := range map[string][]albs.SpecFacts{"made": made.Facts, "given": given.Facts} {
		if len(facts) != 2 || facts[0].Excluded() != "" || facts[1].Excluded() != "ExcludeArch names s390x" {
			t.Fatalf("facts of the SRPM that was %s: %+v", way, facts)
		}
		for i, arch := range job.Arches {
			got := facts[i]
			names := make(map[string]albs.SpecPackage)
			for _, p := range got.Packages {
				names[p.Name] = p
			}
			devel := names["x-devel"].Provides
			if len(names) != 3 || !names["x-data"].Noarch || names["x"].Noarch || !slices.Contains(devel, "ecks-devel") || !slices.Contains(devel, "pkgconfig(x)") {
				t.Errorf("%s, %s: packages %+v", way, arch, got.Packages)
			}
			got.Packages = nil
			if diff := cmp.Diff(ask(arch), got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", way, arch, diff)
			}
		}
	}

	// What rpm can't tell is no fault of the source package.
	job = buildroot.SourceJob{Root: b.Root, Repos: b.Repos, Spec: "x.spec", Out: t.TempDir(), Arches: []albs.Arch{b.Root.Arch, albs.S390X},
		Tree: Tree(t, map[string]string{"x.spec": "%ifarch s390x\n%{error:not for mainframes}\n%endif\n" + head + tailOf})}
	out, err := b.Engine.Source(t.Context(), job)
	if err != nil || len(out.Facts) != 2 || out.Facts[0].Unknown != "" || !strings.Contains(out.Facts[1].Unknown, "not for mainframes") {
		t.Errorf("Source of a spec that is none for s390x: %+v, %v", out.Facts, err)
	}
}

// layouts makes source packages of the two shapes that source repositories have,
// with look-aside files and build options.
func (b *suite) layouts(t *testing.T) {
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
			out, err := b.Engine.Source(t.Context(), buildroot.SourceJob{
				Root: b.Root, Repos: b.Repos, Spec: tt.spec, Tree: Tree(t, map[string]string{tt.spec: spec, tt.src: "a"}),
				Sources: []buildroot.File{{Name: "b.tar", Path: aside}}, Out: t.TempDir(), Logs: s.logs(),
			})
			if err != nil {
				t.Fatalf("Source: %v\n%s", err, s.build.String())
			}
			if got := out.Record.Sources; len(got) != 1 || got[0] != (albs.File{Name: "b.tar", Digest: albs.DigestOf([]byte("aside")), Size: 5}) {
				t.Errorf("record's sources = %+v", got)
			}
			built, err := b.Engine.Build(t.Context(), buildroot.BuildJob{
				Root: b.Root, Repos: b.Repos, SRPM: out.Files[0], Arch: b.Root.Arch, Switches: albs.Switches{Without: []string{"extra"}}, Out: t.TempDir(), Logs: s.logs(),
			})
			if diff := cmp.Diff([]string{"x-1-1.noarch.rpm"}, base(built.Files)); err != nil || diff != "" {
				t.Errorf("packages without extra (-want +got), %v:\n%s", err, diff)
			}
		})
	}
}

// hostile gives specs that try to get out or to take all. None may leave a trace
// on the host, and each ends as the package's fault.
func (b *suite) hostile(t *testing.T) {
	canary := filepath.Join(os.TempDir(), "canary")
	if err := os.MkdirAll(canary, 0o777); err != nil {
		t.Fatal(err)
	}
	touch := fmt.Sprintf("mkdir -p %s; touch %[1]s/here /canary /usr/canary", canary)
	for _, tt := range []struct {
		name, spec string
		say        string
		soon       bool // by time, if by nothing else; the others take as long as a busy host does
	}{
		{"shell in a macro", "%(" + touch + ")\n" + head + "%build\nexit 1\n" + tailOf, "", false},
		{"lua", `%{lua: posix.mkdir("` + canary + `/lua"); rpm.execute("sh", "-c", "` + touch + `")}` + "\n" + head + "%build\nexit 1\n" + tailOf, "", false},
		{"fork bomb", head + "%build\nbomb() { bomb | bomb & }\nbomb\nwait; sleep 600\n" + tailOf, "longer than|Bad exit|silent", true},
		{"left behind", head + "%build\nsetsid sh -c 'while :; do touch " + canary + "/late; sleep 0.1; done' &\nexit 1\n" + tailOf, "", false},
		// dd tells of each piece: however slow the disk is, this is not silence.
		{"giant file", head + "%build\nwhile dd if=/dev/zero bs=1M count=8 >>big; do :; done\nexit 1\n" + tailOf, "wrote more|Bad exit", false},
		{"many files", head + "%build\ni=0; while :; do i=$((i+1)); echo $i; dd if=/dev/zero of=big$i bs=1M count=20 2>/dev/null; done\n" + tailOf, "wrote more", false},
		{"much output", head + "%build\nyes\n" + tailOf, "of log", true},
		{"a line of 1 GiB", head + "%build\nhead -c 1073741824 /dev/zero | tr '\\0' x\n" + tailOf, "of log", true},
		{"many requirements", "%{lua: for i = 1, 30000 do print('BuildRequires: nosuch' .. i .. '\\n') end}\n" + head + tailOf, "30000 requirements are more than 20000", false},
		{"network", head + "%build\n(exec 3<>/dev/tcp/127.0.0.1/22) && exit 0\nexec 3<>/dev/tcp/1.1.1.1/53 || exit 9\n" + tailOf, "Bad exit", false},
		{"no root", head + "%build\nid -u | grep -qx 1000 || exit 0\nchown 0 . && exit 0; mount -t tmpfs x /mnt && exit 0; : > /usr/lib/x && exit 0; exit 1\n" + tailOf, "Bad exit", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := b.Root
			root.Timeout, root.MaxSilence = 5*time.Minute, time.Minute
			if tt.soon {
				root.Timeout, root.MaxSilence = 20*time.Second, 5*time.Second
			}
			var s streams
			c := *b
			c.Engine = b.Small
			out, err := c.build(t, root, tt.spec, &s)
			if !errors.Is(err, albs.Invalid) || !b.says(tt.name, tt.say, err) {
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

// cancel ends a build that has begun: its error is the cause, and what it ran is dead.
func (b *suite) cancel(t *testing.T) {
	var s streams
	src, err := b.source(t, b.Root, head+"%build\n(setsid sleep 66666 &)\necho it runs\nsleep 66666\n"+tailOf, &s)
	if err != nil {
		t.Fatalf("make the source package: %v\n%s", err, s.build.String())
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("enough")
	logs := s.logs()
	logs.Build = writer(func(p []byte) {
		if bytes.Contains(p, []byte("it runs\n")) {
			cancel(why)
		}
	})
	out, err := b.Engine.Build(ctx, buildroot.BuildJob{Root: b.Root, Repos: b.Repos, SRPM: src.Files[0], Arch: b.Root.Arch, Out: t.TempDir(), Logs: logs})
	if !errors.Is(err, why) || errors.Is(err, albs.Invalid) {
		t.Errorf("Build = %v, want the cause of the end", err)
	}
	if alive := sandboxtest.Processes(t, "66666"); len(alive) > 0 {
		t.Errorf("alive after Build: %v", alive)
	}
	if out.Record.Format == "" {
		t.Error("there is no record of it")
	}
}

// writer passes each write to f.
type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
