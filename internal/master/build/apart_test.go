package build

import (
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

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/status"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/repodata"
	"albs/internal/worker"
)

// apply makes a platform like el9, with changes of its spec.
func (f *fixture) apply(name string, change func(*platform.Spec)) {
	f.t.Helper()
	p, err := f.platforms.Get(f.t.Context(), "el9")
	must(f.t, err)
	s := p.Spec
	s.Name = name
	change(&s)
	_, err = f.platforms.Apply(auth.System(f.t.Context(), "test"), s)
	must(f.t, err)
}

// of waits for a task of a platform and arch; others that come before it are kept.
func (f *fixture) of(kept *[]*worker.Lease, platform string, arch albs.Arch) *worker.Lease {
	f.t.Helper()
	for i := 0; ; i++ {
		if i == len(*kept) {
			*kept = append(*kept, f.claim())
		}
		l := (*kept)[i]
		if l.Spec.Root().Platform == platform && (l.Spec.Build == nil && arch == albs.Src || l.Spec.Build != nil && l.Spec.Build.Arch == arch) {
			*kept = slices.Delete(*kept, i, i+1)
			return l
		}
	}
}

// TestPlatformsApart: of two platforms in one build neither sees anything of the other,
// in its roots' repositories (ALBS chooses those by arch alone) or in its macros (ALBS
// keeps one set of them, and the last platform's dist wins).
func TestPlatformsApart(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el8", func(s *platform.Spec) {
			s.Dist, s.Releasever, s.Macros = ".el8", "8", map[string]string{"only_eight": "1"}
		})
		const tag = "imports/c9/foo-1-1.el9_2.1"
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec}, tag)
		f.forge.AddRepo("bar", map[string]string{"bar.spec": strings.ReplaceAll(spec, "foo", "bar")})
		b := f.create(NewBuild{
			Platforms: []Target{{Platform: "el9"}, {Platform: "el8"}},
			Packages:  []Package{{URL: f.forge.URL("foo"), Ref: tag}, {URL: f.forge.URL("bar"), Ref: "main"}},
		})
		built := map[string]albs.Digest{} // of foo, by platform
		var kept []*worker.Lease
		for _, name := range []string{"el9", "el8"} {
			for range 2 {
				l := f.of(&kept, name, albs.Src)
				if dist := l.Spec.Source.Define["dist"]; l.Spec.Source.Commit == b.Items[0].Commit && dist != map[string]string{"el9": ".el9_2", "el8": ""}[name] {
					t.Errorf("%s: the SRPM of %s has dist %q", name, tag, dist)
				}
				pkg := strings.TrimSuffix(l.Spec.Source.Spec, ".spec")
				srpm, _ := rpms(t, pkg)
				must(t, f.source(l, srpm))
			}
		}
		for _, name := range []string{"el9", "el8"} {
			foo := f.of(&kept, name, albs.X8664)
			root := foo.Spec.Build.Root
			if dist := foo.Spec.Build.Define["dist"]; root.Macros["dist"] != "."+name || dist != map[string]string{"el9": ".el9_2", "el8": ""}[name] {
				t.Errorf("%s: foo is built with dist %q over %v", name, dist, root.Macros)
			}
			if _, eight := root.Macros["only_eight"]; eight != (name == "el8") {
				t.Errorf("%s: the root's macros are %v", name, root.Macros)
			}
			_, rpm := rpms(t, "foo", "Summary: foo", fmt.Sprintf("Summary: foo for %s", name))
			built[name] = albs.DigestOf(read(t, rpm))
			must(t, f.rebuilt(foo, rpm))

			bar := f.of(&kept, name, albs.X8664)
			for other, d := range built {
				seen, err := f.repos.Contain(t.Context(), bar.Spec.Build.Root.Repos, d)
				if err != nil || seen != (other == name) {
					t.Errorf("%s: the root of bar sees the foo of %s: %v, %v", name, other, seen, err)
				}
			}
			if n := len(bar.Spec.Build.Root.Repos); n != 2 {
				t.Errorf("%s: bar's root has %d repositories, want the build's own of %s and the platform's", name, n, name)
			}
			if bar.Spec.Build.Define["dist"] != "" {
				t.Errorf("%s: bar, whose ref is no minor release's, has dist %q", name, bar.Spec.Build.Define["dist"])
			}
			root, err := f.TestRoot(t.Context(), b.ID, name, albs.X8664)
			must(t, err)
			for other, d := range built {
				if seen, err := f.repos.Contain(t.Context(), root.Repos, d); err != nil || seen != (other == name) {
					t.Errorf("%s: the root of tests sees the foo of %s: %v, %v", name, other, seen, err)
				}
			}
			_, rpm = rpms(t, "bar")
			must(t, f.rebuilt(bar, rpm))
		}
		f.wait(b.ID, status.Succeeded)
	})
}

// TestOptionsReachTheTask: the build's and the package's own are in what nodes are given,
// and in what is stated of the packages.
func TestOptionsReachTheTask(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-modular", func(s *platform.Spec) { s.ModuleID = "platform:el9" })
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		n := NewBuild{
			Platforms: []Target{{Platform: "el9-modular"}},
			Packages:  []Package{{URL: f.forge.URL("foo"), Ref: "main", Options: Options{Without: []string{"docs"}, Define: map[string]string{"own": "2"}, Excludes: []string{"gcc*"}}}},
			Options:   Options{With: []string{"tests"}, Define: map[string]string{"vendor": "V", "own": "1"}, Modules: []string{"perl:5.32"}},
		}
		b := f.create(n)
		want := albs.Switches{With: []string{"tests"}, Without: []string{"docs"}, Define: map[string]string{"vendor": "V", "own": "2"}}
		l := f.claim()
		if diff := cmp.Diff(want, l.Spec.Source.Switches); diff != "" {
			t.Errorf("switches of the SRPM (-want +got):\n%s", diff)
		}
		srpm, rpm := rpms(t, "foo")
		must(t, f.source(l, srpm))
		l = f.claim()
		if diff := cmp.Diff(want, l.Spec.Build.Switches); diff != "" {
			t.Errorf("switches of the rebuild (-want +got):\n%s", diff)
		}
		root := l.Spec.Build.Root
		if !slices.Equal(root.Excludes, []string{"gcc*"}) || !slices.Equal(root.Modules, []string{"perl:5.32"}) {
			t.Errorf("the root excludes %v and enables %v", root.Excludes, root.Modules)
		}
		must(t, f.rebuilt(l, rpm))
		got := stated[attest.BuildBody](t, f, albs.DigestOf(read(t, rpm)), attest.Build).BuildDefinition.ExternalParameters
		if got.Define["own"] != "2" || !slices.Equal(got.Excludes, root.Excludes) || !slices.Equal(got.Modules, root.Modules) {
			t.Errorf("stated is %+v", got)
		}
		if b, err := f.Get(t.Context(), b.ID); err != nil || b.Options.Define["own"] != "1" || b.Items[0].Options.Define["own"] != "2" {
			t.Errorf("build %+v, %v", b, err)
		}
		n.Platforms = []Target{{Platform: "el9"}}
		if _, err := f.Create(f.person, n); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "no modules") {
			t.Errorf("Create with a module on a platform without = %v", err)
		}
	})
}

// TestFlavoursOfABuild: a build keeps the revision that it was made with.
func TestFlavoursOfABuild(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		system := auth.System(t.Context(), "test")
		_, err := f.platforms.Flavours.Apply(system, platform.FlavourSpec{Name: "vend", Macros: map[string]string{"vendor": "V"}, Packages: []string{"vend-macros"}})
		must(t, err)
		srpm, rpm := rpms(t, "foo")
		n := NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}, Flavours: []string{"vend"}}
		b := f.create(n)
		_, err = f.platforms.Flavours.Apply(system, platform.FlavourSpec{Name: "vend", Macros: map[string]string{"vendor": "W"}})
		must(t, err)
		l := f.claim()
		if root := l.Spec.Build.Root; root.Macros["vendor"] != "V" || !slices.Contains(root.Packages, "vend-macros") {
			t.Errorf("the root has macros %v and packages %v, want the first revision's", root.Macros, root.Packages)
		}
		must(t, f.rebuilt(l, rpm))
		if got := stated[attest.BuildBody](t, f, albs.DigestOf(read(t, rpm)), attest.Build).BuildDefinition.ExternalParameters.Flavours; !slices.Equal(got, []string{"vend@1"}) {
			t.Errorf("stated are the flavours %v", got)
		}
		if diff := cmp.Diff([]repository.UsedFlavour{{Name: "vend", Revision: 1}}, b.Flavours); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for name, flavours := range map[string][]string{"unknown": {"nope"}, "twice": {"vend", "vend"}} {
			n.Flavours = flavours
			n.Platforms = []Target{{Platform: "el9"}}
			if _, err := f.Create(f.person, n); !errors.Is(err, albs.NotFound) && !errors.Is(err, albs.Invalid) {
				t.Errorf("Create with a flavour that is %s = %v", name, err)
			}
		}
	})
}

// TestLinkedBuilds: a linked build's packages are in the root behind the build's own, as
// they were when that was made.
func TestLinkedBuilds(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el8", func(s *platform.Spec) { s.Dist = ".el8" })
		foo, fooRPM := rpms(t, "foo")
		bar, barRPM := rpms(t, "bar")
		fooD, barD := f.srpm(foo), f.srpm(bar)
		first := f.create(NewBuild{Packages: []Package{{SRPM: fooD}}})
		n := NewBuild{Platforms: []Target{{Platform: "el9"}}, Packages: []Package{{SRPM: barD}}, Linked: []albs.BuildID{first.ID}}
		if _, err := f.Create(f.person, n); !errors.Is(err, albs.Conflict) {
			t.Errorf("Create with a linked build that runs = %v, want Conflict", err)
		}
		must(t, f.rebuilt(f.claim(), fooRPM))
		second := f.create(n)
		l := f.claim()
		r := l.Spec.Build.Root.Repos
		if len(r) != 2 || r[0].ID != "build-"+first.ID.String() || r[0].Snapshot != second.Linked[0].Repositories[0].Snapshot || r[0].Priority != 2 || !r[0].Own {
			t.Errorf("repositories %+v, linked %+v; want the snapshot on record in front of the platform's", r, second.Linked)
		}
		if seen, err := f.repos.Contain(t.Context(), r, albs.DigestOf(read(t, fooRPM))); err != nil || !seen {
			t.Errorf("the root sees foo: %v, %v", seen, err)
		}
		must(t, f.rebuilt(l, barRPM))
		root, err := f.TestRoot(t.Context(), second.ID, "el9", albs.X8664)
		if err != nil || len(root.Repos) != 3 || root.Repos[0].Priority != 1 || root.Repos[1].ID != r[0].ID {
			t.Errorf("the root of tests has %+v, %v; want the build's own, the linked and the platform's", root.Repos, err)
		}
		for name, c := range map[string]struct {
			linked   []albs.BuildID
			platform string
			kind     albs.Kind
		}{
			"unknown":             {[]albs.BuildID{999}, "el9", albs.NotFound},
			"twice":               {[]albs.BuildID{first.ID, first.ID}, "el9", albs.Invalid},
			"of another platform": {[]albs.BuildID{first.ID}, "el8", albs.Invalid},
		} {
			n.Linked, n.Platforms = c.linked, []Target{{Platform: c.platform}}
			if _, err := f.Create(f.person, n); albs.KindOf(err) != c.kind {
				t.Errorf("Create with a linked build %s = %v, want %s", name, err, c.kind)
			}
		}
	})
}

// TestLinkedBuildDeleted: what was built against a build has its packages for good; nobody
// begins with them once it is deleted, not even at that moment.
func TestLinkedBuildDeleted(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo, fooRPM := rpms(t, "foo")
		bar, barRPM := rpms(t, "bar")
		first := f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(foo)}}})
		must(t, f.rebuilt(f.claim(), fooRPM))
		n := NewBuild{Platforms: []Target{{Platform: "el9"}}, Packages: []Package{{SRPM: f.srpm(bar)}}, Linked: []albs.BuildID{first.ID}}
		second := f.create(n)
		must(t, f.Delete(f.person, first.ID))
		const why = "was deleted by alice at 2"
		if _, err := f.Create(f.person, n); !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), why) {
			t.Errorf("Create with a deleted build linked = %v, want NotFound that says by whom", err)
		}
		if _, err := f.Clone(f.person, second.ID, false, ""); !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), why) {
			t.Errorf("Clone of a build that a deleted one is linked to = %v, want NotFound that says by whom", err)
		}
		err := f.db.InTx(t.Context(), func(tx db.Tx) error {
			row := store.Build{CreatedAt: db.Now()}
			row.Linked.V = second.Linked // as when it was still there
			return f.insert(t.Context(), tx, &row, "", n, nil, auth.From(f.person))
		})
		if !errors.Is(err, albs.NotFound) || !strings.Contains(err.Error(), why) {
			t.Errorf("insert after the linked build was deleted = %v, want NotFound that says by whom", err)
		}
		if _, more, err := f.List(t.Context(), Filter{Limit: 1}); err != nil || more {
			t.Errorf("there are more builds than the one that was made before: %v, %v", more, err)
		}

		l := f.claim()
		if seen, err := f.repos.Contain(t.Context(), l.Spec.Build.Root.Repos, albs.DigestOf(read(t, fooRPM))); err != nil || !seen {
			t.Errorf("the root sees foo: %v, %v", seen, err)
		}
		if ok, err := (buildHandler{f.Builds}).Reads(t.Context(), *l, albs.DigestOf(read(t, fooRPM))); err != nil || !ok {
			t.Errorf("the node may read foo: %v, %v", ok, err)
		}
		must(t, f.rebuilt(l, barRPM))
		f.wait(second.ID, status.Succeeded)
		if root, err := f.TestRoot(t.Context(), second.ID, "el9", albs.X8664); err != nil || len(root.Repos) != 3 {
			t.Errorf("the root of tests has %+v, %v; want the build's own, the linked and the platform's", root.Repos, err)
		}
	})
}

// TestWeakArch: the failure of a weak arch is told, and holds up neither the build nor
// the packages behind it.
func TestWeakArch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-weak", func(s *platform.Spec) {
			s.Arches = []albs.Arch{albs.X8664, albs.AArch64}
			s.WeakArches = []platform.WeakArch{{Name: albs.AArch64, DependsOn: albs.X8664}}
		})
		foo, fooRPM := rpms(t, "foo")
		bar, barRPM := rpms(t, "bar")
		b := f.create(NewBuild{Order: Listed, Platforms: []Target{{Platform: "el9-weak"}}, Packages: []Package{{SRPM: f.srpm(foo)}, {SRPM: f.srpm(bar)}}})
		var kept []*worker.Lease
		weak := f.of(&kept, "el9-weak", albs.AArch64)
		must(t, f.queue.Complete(f.node, weak.Token, albs.OutcomeFailed, albs.Result{Reason: "no such instruction"}))
		for _, rpm := range []string{fooRPM, barRPM} {
			must(t, f.rebuilt(f.of(&kept, "el9-weak", albs.X8664), rpm))
		}
		b = f.wait(b.ID, status.Succeeded)
		if !strings.Contains(b.Status.Reason, "1 of weak arches failed: foo aarch64 build: no such instruction") {
			t.Errorf("the reason is %q", b.Status.Reason)
		}
		// Alone it isn't weak.
		b = f.create(NewBuild{Platforms: []Target{{"el9-weak", []albs.Arch{albs.AArch64}}}, Packages: []Package{{SRPM: f.srpm(foo)}}})
		l := f.of(&kept, "el9-weak", albs.AArch64)
		must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, albs.Result{Reason: "no such instruction"}))
		f.wait(b.ID, status.Failed)
	})
}

// TestRootArches: what is built in the root of another arch goes to the nodes of that.
func TestRootArches(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-32", func(s *platform.Spec) {
			s.Arches = []albs.Arch{albs.I686, albs.X8664v2}
			s.RootArches = map[albs.Arch]albs.Arch{albs.X8664v2: albs.X8664}
		})
		foo, rpm := rpms(t, "foo")
		f.create(NewBuild{Platforms: []Target{{Platform: "el9-32"}}, Packages: []Package{{SRPM: f.srpm(foo)}}})
		var kept []*worker.Lease
		for arch, root := range map[albs.Arch]albs.Arch{albs.I686: albs.I686, albs.X8664v2: albs.X8664} {
			l := f.of(&kept, "el9-32", arch) // the node offers x86_64 and aarch64
			if l.Spec.Build.Root.Arch != root {
				t.Errorf("%s is built in a root of %s, want %s", arch, l.Spec.Build.Root.Arch, root)
			}
			must(t, f.rebuilt(l, rpm))
		}
	})
}

const shared = `Name: lib
Version: 1
Release: 1
Summary: lib
License: MIT
%description
lib
%package devel
Summary: devel
%description devel
devel
%package debuginfo
Summary: debug data
%description debuginfo
debug data
%package doc
Summary: doc
BuildArch: noarch
%description doc
doc
%install
mkdir -p %{buildroot}/usr/share/doc %{buildroot}/usr/lib
echo lib > %{buildroot}/usr/lib/lib; echo devel > %{buildroot}/usr/lib/devel; echo debug > %{buildroot}/usr/lib/debug; echo DOC > %{buildroot}/usr/share/doc/lib
%files
/usr/lib/lib
%files devel
/usr/lib/devel
%files debuginfo
/usr/lib/debug
%files doc
/usr/share/doc/lib
`

// madeFor has what library made, by the text of its spec file and the arch.
var madeFor sync.Map

// library makes the SRPM and the packages of shared for an arch, of whose doc the
// content is doc.
func library(t *testing.T, arch albs.Arch, doc string) (srpm string, packages []string) {
	t.Helper()
	text := strings.ReplaceAll(shared, "DOC", doc)
	made, _ := madeFor.LoadOrStore(text+string(arch), sync.OnceValues(func() (map[string][]byte, error) {
		dir, err := os.MkdirTemp("", "rpmbuild-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "lib.spec")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
		cmd := exec.Command("rpmbuild", "-ba", "--target", string(arch), "--define", "debug_package %{nil}", "--define", "_topdir "+dir, file)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("rpmbuild: %w: %s", err, out)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*RPMS", "*", "*.rpm"))
		if err != nil {
			return nil, err
		}
		sources, err := filepath.Glob(filepath.Join(dir, "SRPMS", "*.rpm"))
		out := map[string][]byte{}
		for _, f := range append(files, sources...) {
			if out[filepath.Base(f)], err = os.ReadFile(f); err != nil {
				return nil, err
			}
		}
		return out, err
	}))
	files, err := made.(func() (map[string][]byte, error))()
	must(t, err)
	dir := t.TempDir()
	for name, b := range files {
		p := filepath.Join(dir, name)
		must(t, os.WriteFile(p, b, 0o644))
		if strings.HasSuffix(name, ".src.rpm") {
			srpm = p
		} else {
			packages = append(packages, p)
		}
	}
	return srpm, packages
}

// left completes a rebuild with several packages.
func (f *fixture) left(l *worker.Lease, packages ...string) error {
	f.t.Helper()
	r := albs.Result{Build: &albs.BuildResult{Record: f.upload(l, "buildroot.json", []byte("{}"))}}
	for _, p := range packages {
		r.Build.Packages = append(r.Build.Packages, f.upload(l, filepath.Base(p), read(f.t, p)))
	}
	return f.complete(l, r)
}

// in lists the packages of a repository of the build, by name.
func (f *fixture) in(name string) map[string]albs.Digest {
	f.t.Helper()
	snapshot, err := f.repos.Current(f.t.Context(), name)
	must(f.t, err)
	s, err := f.repos.Open(f.t.Context(), snapshot)
	must(f.t, err)
	out := map[string]albs.Digest{}
	must(f.t, s.Packages(f.t.Context(), f.repos.Blobs(), func(e repodata.Entry) error {
		out[filepath.Base(e.Path)] = e.Digest
		return nil
	}))
	return out
}

// built lists the arches that are ready to be tested.
func (f *fixture) built(id albs.BuildID) []string {
	f.t.Helper()
	var data []string
	must(f.t, f.db.SelectContext(f.t.Context(), &data, `SELECT data FROM event WHERE kind = $1 AND topic = $2 ORDER BY id`, EventBuilt, Topic(id)))
	for i, d := range data {
		for _, a := range albs.BuildArches {
			if strings.Contains(d, `"`+string(a)+`"`) {
				data[i] = string(a)
			}
		}
	}
	slices.Sort(data)
	return data
}

// TestMultilib: the i686 packages that the platform's rule names come into the x86_64
// repository when both arches are made, whichever is made first. ALBS looks when x86_64
// ends and never again, so that an i686 that ends later is lost.
func TestMultilib(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-multi", func(s *platform.Spec) {
			s.Arches = []albs.Arch{albs.X8664, albs.I686}
			s.WeakArches = []platform.WeakArch{{Name: albs.I686, DependsOn: albs.X8664}}
			s.Multilib = []platform.Multilib{{From: albs.I686, Into: albs.X8664, Packages: []string{"lib", "*-devel"}}}
		})
		srpm, _ := library(t, albs.X8664, "doc")
		d := f.srpm(srpm)
		for _, order := range [][]albs.Arch{{albs.X8664, albs.I686}, {albs.I686, albs.X8664}} {
			b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-multi"}}, Packages: []Package{{SRPM: d}}})
			var kept []*worker.Lease
			for _, a := range order {
				_, packages := library(t, a, "doc")
				must(t, f.left(f.of(&kept, "el9-multi", a), packages...))
			}
			f.wait(b.ID, status.Succeeded)
			got := f.in(repository.Name(b.ID, "el9-multi", albs.X8664))
			for _, name := range []string{"lib-1-1.x86_64.rpm", "lib-devel-1-1.x86_64.rpm", "lib-doc-1-1.noarch.rpm", "lib-1-1.i686.rpm", "lib-devel-1-1.i686.rpm"} {
				if got[name] == "" {
					t.Errorf("%v: the x86_64 repository has %v and no %s", order, got, name)
				}
			}
			if len(got) != 5 {
				t.Errorf("%v: the x86_64 repository has %v", order, got)
			}
			if got := f.in(repository.Name(b.ID, "el9-multi", albs.I686)); len(got) != 3 {
				t.Errorf("%v: the i686 repository has %v, want nothing of x86_64's", order, got)
			}
			if got := f.in(repository.Name(b.ID, "el9-multi", albs.X8664) + "/debug"); len(got) != 1 || got["lib-debuginfo-1-1.x86_64.rpm"] == "" {
				t.Errorf("%v: the debug repository has %v", order, got)
			}
			// What the release will find is what the repositories have.
			files, err := f.Packages(t.Context(), b.ID)
			must(t, err)
			n := 0
			for _, a := range files {
				if a.Arch == albs.X8664 && strings.HasSuffix(a.Name, ".i686.rpm") {
					n++
				}
			}
			if n != 2 {
				t.Errorf("%v: the build lists %d i686 packages for x86_64, want 2", order, n)
			}
		}
	})
}

// TestNoarch: all arches get one copy of a noarch package, the first arch's, whichever
// ended first; a difference is told with what differs. Tests wait until it is settled.
func TestNoarch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-two", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64} })
		f.apply("el9-equal", func(s *platform.Spec) { s.Arches, s.NoarchEqual = []albs.Arch{albs.X8664, albs.AArch64}, true })
		srpm, xs := library(t, albs.X8664, "of x86_64")
		_, as := library(t, albs.AArch64, "of aarch64")
		d := f.srpm(srpm)
		const doc = "lib-doc-1-1.noarch.rpm"
		var want albs.Digest
		for _, p := range xs {
			if filepath.Base(p) == doc {
				want = albs.DigestOf(read(t, p))
			}
		}
		files := map[albs.Arch][]string{albs.X8664: xs, albs.AArch64: as}
		for _, order := range [][]albs.Arch{{albs.X8664, albs.AArch64}, {albs.AArch64, albs.X8664}} {
			b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-two"}}, Packages: []Package{{SRPM: d}}})
			var kept []*worker.Lease
			for i, a := range order {
				must(t, f.left(f.of(&kept, "el9-two", a), files[a]...))
				if got := f.built(b.ID); i == 0 && len(got) > 0 {
					t.Errorf("%v: %v are tested before it is settled which packages they get", order, got)
				}
			}
			b = f.wait(b.ID, status.Succeeded)
			for _, a := range order {
				if got := f.in(repository.Name(b.ID, "el9-two", a)); got[doc] != want || len(got) != 3 {
					t.Errorf("%v: %s has %v, want x86_64's copy %s of the doc", order, a, got, want.Short())
				}
			}
			if diff := cmp.Diff([]string{"aarch64", "x86_64"}, f.built(b.ID)); diff != "" {
				t.Errorf("%v: ready for tests (-want +got):\n%s", order, diff)
			}
			for _, a := range b.Artifacts {
				if a.Name == doc && a.Digest != want {
					t.Errorf("%v: the build lists %+v", order, a)
				}
			}
			if n := b.Items[0].Noarch; len(n) != 1 || n[0].First.Arch != albs.X8664 || n[0].Second.Arch != albs.AArch64 || !slices.Contains(n[0].Differs, "file /usr/share/doc/lib differs") {
				t.Errorf("%v: differences %+v", order, n)
			}
		}
		// A platform may want them equal.
		b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-equal"}}, Packages: []Package{{SRPM: d}}})
		var kept []*worker.Lease
		must(t, f.left(f.of(&kept, "el9-equal", albs.X8664), xs...))
		if err := f.left(f.of(&kept, "el9-equal", albs.AArch64), as...); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "/usr/share/doc/lib differs") {
			t.Errorf("Complete with another doc = %v, want Invalid", err)
		}
		f.wait(b.ID, status.Failed)
	})
}

// TestNoarchOfAFailedArch: an arch that fails is no reason not to test the others, and
// takes what was settled without it when it is tried again, though its copy would have
// been the first.
func TestNoarchOfAFailedArch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-two", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64} })
		srpm, xs := library(t, albs.X8664, "of x86_64")
		_, as := library(t, albs.AArch64, "of aarch64")
		b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-two"}}, Packages: []Package{{SRPM: f.srpm(srpm)}}})
		var kept []*worker.Lease
		must(t, f.left(f.of(&kept, "el9-two", albs.AArch64), as...))
		l := f.of(&kept, "el9-two", albs.X8664)
		must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, albs.Result{Reason: "no"}))
		if diff := cmp.Diff([]string{"aarch64"}, f.built(b.ID)); diff != "" {
			t.Errorf("ready for tests (-want +got):\n%s", diff)
		}
		const doc = "lib-doc-1-1.noarch.rpm"
		want := f.in(repository.Name(b.ID, "el9-two", albs.AArch64))[doc]
		must(t, f.RetryFailed(f.person, b.ID))
		must(t, f.left(f.of(&kept, "el9-two", albs.X8664), xs...))
		b = f.wait(b.ID, status.Succeeded)
		for _, a := range []albs.Arch{albs.X8664, albs.AArch64} {
			if got := f.in(repository.Name(b.ID, "el9-two", a))[doc]; got != want {
				t.Errorf("%s has the doc %s, want %s, which was tested", a, got.Short(), want.Short())
			}
		}
		if diff := cmp.Diff([]string{"aarch64", "x86_64"}, f.built(b.ID)); diff != "" || len(b.Items[0].Noarch) != 1 {
			t.Errorf("ready for tests, and differences %+v (-want +got):\n%s", b.Items[0].Noarch, diff)
		}
	})
}

// TestNoarchOfALostArch: an arch that ends without a word of a node's, being lost or
// cancelled, is an end like any other: the others get their one copy and are tested.
func TestNoarchOfALostArch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-three", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64, albs.I686} })
		srpm, xs := library(t, albs.X8664, "of x86_64")
		_, as := library(t, albs.AArch64, "of aarch64")
		_, is := library(t, albs.I686, "of i686")
		d := f.srpm(srpm)
		const doc = "lib-doc-1-1.noarch.rpm"
		for name, end := range map[string]func(b Build, l *worker.Lease){
			"lost": func(b Build, l *worker.Lease) {
				for range 3 {
					must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeInfra, albs.Result{Reason: "no disk"}))
					if task, err := f.queue.Task(t.Context(), l.Token.Task); err != nil || task.State.Final() {
						must(t, err)
						return
					}
					l = f.claim()
				}
				t.Error("the task isn't given up")
			},
			"cancelled with its item": func(b Build, l *worker.Lease) {
				must(t, f.CancelItem(f.person, b.ID, b.Items[0].ID))
				must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeStopped, albs.Result{}))
			},
			"given back and cancelled with its build": func(b Build, l *worker.Lease) {
				must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeStopped, albs.Result{}))
				must(t, f.Cancel(f.person, b.ID))
			},
		} {
			b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-three"}}, Packages: []Package{{SRPM: d}}})
			var kept []*worker.Lease
			i, a, x := f.of(&kept, "el9-three", albs.I686), f.of(&kept, "el9-three", albs.AArch64), f.of(&kept, "el9-three", albs.X8664)
			must(t, f.left(i, is...))
			must(t, f.left(a, as...))
			if got := f.built(b.ID); len(got) > 0 {
				t.Errorf("%s: %v are tested before it is settled which packages they get", name, got)
			}
			end(b, x)
			f.settled(b.ID, albs.AArch64, albs.I686)
			want := f.in(repository.Name(b.ID, "el9-three", albs.AArch64))[doc]
			if got := f.in(repository.Name(b.ID, "el9-three", albs.I686))[doc]; got != want || want == "" {
				t.Errorf("%s: i686 has the doc %s, aarch64 %s", name, got, want)
			}
			// What is tried again takes what was settled, though its copy would have been the first.
			must(t, f.RetryFailed(f.person, b.ID))
			must(t, f.left(f.of(&kept, "el9-three", albs.X8664), xs...))
			b = f.wait(b.ID, status.Succeeded)
			f.settled(b.ID, albs.AArch64, albs.I686, albs.X8664)
			if got := f.in(repository.Name(b.ID, "el9-three", albs.X8664))[doc]; got != want || len(b.Items[0].Noarch) != 2 {
				t.Errorf("%s: x86_64 has the doc %s, want %s; differences %+v", name, got, want, b.Items[0].Noarch)
			}
		}
	})
}

// settled waits until these arches of a build are ready to be tested, each once.
func (f *fixture) settled(id albs.BuildID, want ...albs.Arch) {
	f.t.Helper()
	wake, stop := f.events.Wake("")
	defer stop()
	deadline := time.After(2 * time.Minute)
	for {
		got := f.built(id)
		if len(got) >= len(want) {
			if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
				f.t.Errorf("ready for tests (-want +got):\n%s", diff)
			}
			return
		}
		select {
		case <-wake:
		case <-deadline:
			f.t.Fatalf("ready for tests are %v, want %v", got, want)
		}
	}
}

// TestLastTwoAtOnce: two arches that end at the same moment don't each take the other
// for unfinished.
func TestLastTwoAtOnce(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-two", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64} })
		srpm, xs := library(t, albs.X8664, "of x86_64")
		_, as := library(t, albs.AArch64, "of aarch64")
		d := f.srpm(srpm)
		for range 5 {
			b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-two"}}, Packages: []Package{{SRPM: d}}})
			var kept []*worker.Lease
			x, a := f.of(&kept, "el9-two", albs.X8664), f.of(&kept, "el9-two", albs.AArch64)
			var wg sync.WaitGroup
			for l, files := range map[*worker.Lease][]string{x: xs, a: as} {
				wg.Go(func() {
					if err := f.left(l, files...); err != nil {
						t.Errorf("Complete = %v", err)
					}
				})
			}
			wg.Wait()
			b = f.wait(b.ID, status.Succeeded)
			if got := f.built(b.ID); len(got) != 2 || len(b.Items[0].Noarch) != 1 {
				t.Errorf("ready for tests are %v, differences %+v", got, b.Items[0].Noarch)
			}
		}
	})
}

// TestSecureBoot: it is a permission of its own, goes to nodes of its own, and has the
// platform's macros for it; who doesn't ask for it where the platform wants it is warned.
func TestSecureBoot(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-boot", func(s *platform.Spec) {
			s.Macros = map[string]string{"vendor": "V"}
			s.SecureBootMacros, s.SecureBootPackages = map[string]string{"vendor": "B", "booted": "1"}, []string{"fo*"}
		})
		srpm, _ := rpms(t, "foo")
		n := NewBuild{Platforms: []Target{{Platform: "el9-boot"}}, Packages: []Package{{SRPM: f.srpm(srpm)}}, SecureBoot: true}
		if _, err := f.Create(f.person, n); !errors.Is(err, albs.Forbidden) {
			t.Errorf("Create by a contributor = %v, want Forbidden", err)
		}
		admin := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 9, Name: "root", Grants: []auth.Grant{{Role: auth.Admin}}})
		b, err := f.Create(admin, n)
		must(t, err)
		task, err := f.queue.Task(t.Context(), b.Items[0].Tasks[0].ID)
		must(t, err)
		if !b.SecureBoot || b.Items[0].Warning != "" || !slices.Contains(task.Needs, LabelSecureBoot) {
			t.Errorf("the rebuild needs %v, the warning is %q", task.Needs, b.Items[0].Warning)
		}
		spec, _, err := buildHandler{f.Builds}.Offer(t.Context(), task, worker.Offer{})
		if err != nil || spec.Build.Root.Macros["vendor"] != "B" || spec.Build.Root.Macros["booted"] != "1" {
			t.Errorf("the root is %+v, %v", spec.Build, err)
		}
		n.SecureBoot = false
		if b = f.create(n); !strings.Contains(b.Items[0].Warning, "wants foo to be built for secure boot") {
			t.Errorf("the warning is %q", b.Items[0].Warning)
		}
		if l := f.claim(); l.Spec.Build.Root.Macros["vendor"] != "V" {
			t.Errorf("another build has the macros %v", l.Spec.Build.Root.Macros)
		}
		n.SecureBoot, n.Platforms = true, []Target{{Platform: "el9"}}
		if _, err := f.Create(admin, n); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "secure_boot_macros") {
			t.Errorf("Create for a platform without macros for it = %v", err)
		}
	})
}

// TestOneSRPM: an SRPM is made of a commit once, and every arch is built from those bytes.
// ALBS makes it anew for each arch, so that what is built from isn't what is published.
func TestOneSRPM(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-two", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64} })
		f.forge.AddRepo("lib", map[string]string{"lib.spec": shared})
		b := f.create(NewBuild{Platforms: []Target{{Platform: "el9-two"}}, Packages: []Package{{URL: f.forge.URL("lib"), Ref: "main"}}})
		srpm, xs := library(t, albs.X8664, "doc")
		_, as := library(t, albs.AArch64, "doc")
		var kept []*worker.Lease
		must(t, f.source(f.of(&kept, "el9-two", albs.Src), srpm))
		want := albs.DigestOf(read(t, srpm))
		for a, files := range map[albs.Arch][]string{albs.X8664: xs, albs.AArch64: as} {
			l := f.of(&kept, "el9-two", a)
			if got := albs.DigestOf(f.get(l, l.Spec.Build.SRPM.Digest)); got != want {
				t.Errorf("%s builds %s, want %s", a, got.Short(), want.Short())
			}
			must(t, f.left(l, files...))
		}
		b = f.wait(b.ID, status.Succeeded)
		sources := 0
		for _, task := range b.Items[0].Tasks {
			if task.Kind == albs.KindSource {
				sources++
			}
		}
		if sources != 1 || b.Items[0].SRPM.Digest != want {
			t.Errorf("%d tasks made an SRPM, and the item's is %s; want one, and %s", sources, b.Items[0].SRPM.Digest.Short(), want.Short())
		}
		for _, a := range b.Artifacts {
			if a.Kind == "srpm" && a.Digest != want {
				t.Errorf("the build has the SRPM %s too", a.Digest.Short())
			}
		}
	})
}

// TestSRPMByURL: it is fetched once, by the master, and every arch gets those bytes.
// ALBS fetches it again for each arch, from wherever it says by then.
func TestSRPMByURL(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.apply("el9-two", func(s *platform.Spec) { s.Arches = []albs.Arch{albs.X8664, albs.AArch64} })
		srpm, xs := library(t, albs.X8664, "doc")
		_, as := library(t, albs.AArch64, "doc")
		url := f.forge.Serve("/srpms/lib-1-1.src.rpm", read(t, srpm))
		n := NewBuild{Platforms: []Target{{Platform: "el9-two"}}, Packages: []Package{{SRPMURL: url}}}
		b := f.create(n)
		f.forge.Serve("/srpms/lib-1-1.src.rpm", []byte("something else by now"))
		d := albs.DigestOf(read(t, srpm))
		var kept []*worker.Lease
		for a, files := range map[albs.Arch][]string{albs.X8664: xs, albs.AArch64: as} {
			l := f.of(&kept, "el9-two", a)
			if got := albs.DigestOf(f.get(l, l.Spec.Build.SRPM.Digest)); got != d {
				t.Errorf("%s builds %s, want %s", a, got.Short(), d.Short())
			}
			must(t, f.left(l, files...))
		}
		b = f.wait(b.ID, status.Succeeded)
		if b.Items[0].SRPMURL != url || b.Items[0].SRPM.Digest != d || f.forge.Asked("/srpms/lib-1-1.src.rpm") != 1 {
			t.Errorf("item %+v, asked %d times", b.Items[0], f.forge.Asked("/srpms/lib-1-1.src.rpm"))
		}
		for _, a := range b.Artifacts {
			if a.Kind != "rpm" || a.Arch != albs.X8664 {
				continue
			}
			src := stated[attest.BuildBody](t, f, a.Digest, attest.Build).BuildDefinition.ExternalParameters.Source
			if src.URI != url || src.Digest[attest.SHA256] != string(d) {
				t.Errorf("%s is stated to come from %+v", a.Name, src)
			}
			break
		}
		if got := stated[attest.SourceBody](t, f, d, attest.Source); got.URL != url || got.Uploader != "alice" {
			t.Errorf("the SRPM is stated to come from %+v", got)
		}
		for name, c := range map[string]struct {
			url  string
			kind albs.Kind
		}{
			"plain http":          {strings.Replace(url, "https", "http", 1), albs.Invalid},
			"no SRPM's name":      {strings.TrimSuffix(url, ".src.rpm"), albs.Invalid},
			"a file":              {"file:///etc/x.src.rpm", albs.Invalid},
			"a password":          {strings.Replace(url, "https://", "https://u:p@", 1), albs.Invalid},
			"a private address":   {"https://10.0.0.1/x.src.rpm", albs.Forbidden},
			"the master's own":    {"https://127.0.0.1:1/x.src.rpm", albs.Forbidden},
			"nothing there":       {url[:len(url)-len("lib-1-1.src.rpm")] + "none-1-1.src.rpm", albs.NotFound},
			"bytes that are none": {url, albs.Invalid},
			"beside a ref":        {url, albs.Invalid},
		} {
			n.Packages = []Package{{SRPMURL: c.url}}
			if name == "beside a ref" {
				n.Packages[0].Ref = "main"
			}
			if _, err := f.Create(f.person, n); albs.KindOf(err) != c.kind {
				t.Errorf("%s: Create = %v, want %s", name, err, c.kind)
			}
		}
	})
}
