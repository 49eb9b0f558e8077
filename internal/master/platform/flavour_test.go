package platform_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/platform"
)

const epel = `
name: epel-9
platforms: [el]
repositories: [{id: epel, url: "https://epel.example/$arch/"}]
macros: {vendor: EPEL, centos: "0"}
packages: [epel-rpm-macros, bash]
`

func flavour(t *testing.T, yaml string) platform.FlavourSpec {
	t.Helper()
	s, err := platform.ParseFlavour(strings.NewReader(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFlavours applies a flavour and a root that has it: behind the platform's
// repositories, with macros in place of the platform's and packages beside them.
func TestFlavours(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		if _, err := f.platforms.Apply(f.ctx, spec()); err != nil {
			t.Fatal(err)
		}
		first, err := f.platforms.Flavours.Apply(f.ctx, flavour(t, epel))
		if err != nil || first.Revision != 1 || first.Actor != "user:olga" {
			t.Fatalf("Apply = %+v, %v", first, err)
		}
		changed := flavour(t, epel)
		changed.Macros["centos"] = "9"
		if second, err := f.platforms.Flavours.Apply(f.ctx, changed); err != nil || second.Revision != 2 {
			t.Fatalf("a change gave %+v, %v", second, err)
		}
		const mirror = "https://epel.example/x86_64"
		for url, revision := range map[string]int{base: 1, extra: 2, mirror: 3} {
			f.outside.set(url+"/repodata/repomd.xml", repomd(revision))
		}
		kept, err := f.platforms.Flavours.GetRevision(t.Context(), "epel-9", 1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build, kept)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"bash", "rpm-build", "epel-rpm-macros"}, got.Packages); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"dist": ".el9", "vendor": "EPEL", "centos": "0"}, got.Macros); diff != "" {
			t.Errorf("macros (-want +got):\n%s", diff)
		}
		if want := (albs.Repo{ID: "epel", Mirror: mirror, Repomd: albs.DigestOf([]byte(repomd(3)))}); len(got.Repos) != 3 || !cmp.Equal(got.Repos[2], want) {
			t.Errorf("repositories = %+v, want %+v last", got.Repos, want)
		}
		// The packages under test see what the build saw, and are not built.
		test, err := f.platforms.Root(t.Context(), "el", albs.X8664, platform.Test, kept)
		if err != nil || len(test.Repos) != 3 || len(test.Macros) != 0 || len(test.Packages) != 1 {
			t.Errorf("Root for a test = %+v, %v", test, err)
		}
		plain, err := f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build)
		if err != nil || len(plain.Repos) != 2 || plain.Macros["vendor"] != "Example" || len(plain.Packages) != 2 {
			t.Errorf("Root without the flavour = %+v, %v", plain, err)
		}
	})
}

func TestFlavourRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	_, err := f.platforms.Flavours.Apply(as(t, "mia", auth.Grant{Role: auth.ProductMaintainer, Team: "core"}), flavour(t, epel))
	wantKind(t, "a maintainer", err, albs.Forbidden)
	f.outside.closed = "https://epel.example/"
	_, err = f.platforms.Flavours.Apply(f.ctx, flavour(t, epel))
	wantKind(t, "a closed URL", err, albs.Invalid)
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":        {"macros:", "colour: red\nmacros:", "there is no key colour"},
		"name":               {"epel-9", "EPEL", "a flavour's name"},
		"repository's arch":  {"{id: epel,", "{id: epel, arch: mips,", "is not one of"},
		"repository's URL":   {"https://epel.example/$arch/", "ftp://epel.example/", "neither https"},
		"repository twice":   {`"https://epel.example/$arch/"}`, `"https://epel.example/$arch/"}, {id: epel, url: "https://x.example/os/"}`, "there twice"},
		"macro dist":         {"centos:", "dist:", "say it once"},
		"macro of a command": {`"0"`, `"%(id)"`, "runs no command"},
		"package":            {"bash]", "--nogpgcheck]", "not the name of a package"},
		"platform twice":     {"[el]", "[el, el]", "there twice"},
	} {
		_, err := platform.ParseFlavour(strings.NewReader(strings.Replace(epel, c.old, c.new, 1)))
		if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want Invalid with %q", name, err, c.want)
		}
	}
	_, err = platform.ParseFlavour(strings.NewReader("name: x\n"))
	wantKind(t, "one that changes nothing", err, albs.Invalid)
}

// TestFlavoursThatDontFit: what a build gets must not depend on the order of flavours.
func TestFlavoursThatDontFit(t *testing.T) {
	t.Parallel()
	pl := platform.Platform{Spec: spec()}
	one := platform.Flavour{FlavourSpec: flavour(t, epel)}
	for name, c := range map[string]struct {
		other string
		want  []string
	}{
		"one macro":              {"name: b\nmacros: {centos: \"1\"}\n", []string{"epel-9", "b", "centos"}},
		"one repository":         {"name: b\nrepositories: [{id: epel, url: \"https://b.example/os/\"}]\n", []string{"epel-9", "b", "repository epel"}},
		"the platform's own":     {"name: b\nrepositories: [{id: base, url: \"https://b.example/os/\"}]\n", []string{"platform el", "b", "repository base"}},
		"for another platform":   {"name: b\nplatforms: [el8]\npackages: [x]\n", []string{"b", "el8"}},
		"the same flavour twice": {epel, []string{"epel-9", "twice"}},
	} {
		for _, with := range [][]platform.Flavour{{one, {FlavourSpec: flavour(t, c.other)}}, {{FlavourSpec: flavour(t, c.other)}, one}} {
			_, err := pl.Compose(albs.X8664, platform.Build, with...)
			wantKind(t, name, err, albs.Invalid)
			for _, w := range c.want {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %v doesn't name %q", name, err, w)
				}
			}
		}
	}
}

// TestRootArch: the root, its repositories and so its nodes are of the arch that the
// platform says, whatever is built in it.
func TestRootArch(t *testing.T) {
	t.Parallel()
	s := spec()
	s.Arches = []albs.Arch{albs.X8664, albs.I686, albs.X8664v2}
	s.RootArches = map[albs.Arch]albs.Arch{albs.I686: albs.X8664}
	pl := platform.Platform{Spec: s}
	for arch, want := range map[albs.Arch]string{albs.I686: "https://mirror.example/x86_64/os", albs.X8664v2: "https://mirror.example/x86_64_v2/os"} {
		root, err := pl.Compose(arch, platform.Build)
		if err != nil || root.Arch != s.Root(arch) || root.Repos[0].Mirror != want {
			t.Errorf("%s: %+v, %v; want the repository %s", arch, root, err, want)
		}
	}
}

// TestRootCCache: a platform that asks for a compiler cache has it in roots of builds,
// once, and in no others.
func TestRootCCache(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		asks    bool
		brings  []string // beside the platform's packages
		purpose platform.Purpose
		want    int // times that ccache is among the packages
	}{
		{"builds", true, nil, platform.Build, 1},
		{"builds of a platform that names it", true, []string{"ccache"}, platform.Build, 1},
		{"builds for secure boot", true, nil, platform.SecureBoot, 0},
		{"tests", true, nil, platform.Test, 0},
		{"builds of others", false, nil, platform.Build, 0},
	} {
		s := spec()
		s.CCache, s.Packages = tt.asks, append(s.Packages, tt.brings...)
		root, err := platform.Platform{Spec: s}.Compose(albs.X8664, tt.purpose)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range root.Packages {
			if p == "ccache" {
				n++
			}
		}
		if n != tt.want || root.CCache != (tt.want > 0) {
			t.Errorf("%s: %q, cache %t", tt.name, root.Packages, root.CCache)
		}
	}
}

// FuzzParseFlavour holds what is accepted to the rule that nothing in it can end a line
// or begin an option in a configuration made of it.
func FuzzParseFlavour(f *testing.F) {
	f.Add(epel)
	f.Add("name: a\n<<: {name: b}\n")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := platform.ParseFlavour(strings.NewReader(in))
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		lines := append([]string{s.Name}, s.Packages...)
		for _, r := range s.Repositories {
			lines = append(lines, r.ID, strings.ReplaceAll(r.URL, "$arch", ""))
		}
		for name, body := range s.Macros {
			lines = append(lines, name)
			if strings.ContainsAny(body, "\r\n") {
				t.Fatalf("macro %s has the body %q", name, body)
			}
		}
		for _, l := range lines {
			if strings.HasPrefix(l, "-") || strings.ContainsAny(l, "\r\n\x00\"'`$\\") {
				t.Fatalf("%q was accepted", l)
			}
		}
	})
}
