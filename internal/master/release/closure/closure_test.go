package closure

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/rpm"
)

// pkg reads "NEVRA [modular] provides … requires … files …", of which the capabilities are
// separated by commas. A package provides itself.
func pkg(t testing.TB, s string) Package {
	t.Helper()
	words := strings.SplitN(s, " ", 2)
	n, err := rpm.ParseNEVRA(words[0])
	if err != nil {
		t.Fatal(err)
	}
	p := Package{NEVRA: n, Provides: []Capability{{Name: n.Name, Op: rpm.Equal, EVR: n.EVR()}}}
	rest := ""
	if len(words) > 1 {
		rest = words[1]
	}
	if after, ok := strings.CutPrefix(rest, "modular"); ok {
		p.Modular, rest = true, strings.TrimSpace(after)
	}
	for _, part := range []string{"files ", "requires ", "provides "} {
		before, after, ok := strings.Cut(rest, part)
		if !ok {
			continue
		}
		rest = before
		for _, one := range strings.Split(after, ",") {
			one = strings.TrimSpace(one)
			switch part {
			case "files ":
				p.Files = append(p.Files, one)
			case "requires ":
				p.Requires = append(p.Requires, capability(t, one))
			default:
				p.Provides = append(p.Provides, capability(t, one))
			}
		}
	}
	return p
}

func capability(t testing.TB, s string) Capability {
	t.Helper()
	if strings.HasPrefix(s, "(") {
		return Capability{Name: s}
	}
	name, rest, _ := strings.Cut(s, " ")
	if rest == "" {
		return Capability{Name: name}
	}
	op, version, _ := strings.Cut(rest, " ")
	sense, ok := map[string]uint8{"<": rpm.Less, "<=": rpm.Less | rpm.Equal, "=": rpm.Equal, ">=": rpm.Greater | rpm.Equal, ">": rpm.Greater}[op]
	evr, err := rpm.ParseEVR(version)
	if !ok || err != nil || evr.Version == "" {
		t.Fatalf("%q is no capability: %v", s, err)
	}
	return Capability{Name: name, Op: sense, EVR: evr}
}

func pkgs(t testing.TB, list ...string) []Package {
	t.Helper()
	var out []Package
	for _, s := range list {
		out = append(out, pkg(t, s))
	}
	return out
}

// text is what is broken as "repository package: needs", with a star where the package is
// shown now.
func text(all []Broken) []string {
	var out []string
	for _, b := range all {
		star := ""
		if b.Shown {
			star = "*"
		}
		out = append(out, fmt.Sprintf("%s %s%s: %s", b.Repository, b.Package, star, strings.Join(b.Needs, ", ")))
	}
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		shown, added []string
		other        []string // shown in another repository
		beneath      []string
		want         []string
		unknown      []string
	}{
		{name: "nothing is added", shown: []string{"a-1-1.x86_64 requires gone"}},
		{name: "it is there", shown: []string{"lib-1-1.x86_64 provides lib.so.1"}, added: []string{"a-1-1.x86_64 requires lib.so.1, lib >= 1, lib < 2"}},
		{name: "it comes along", added: []string{"a-1-1.x86_64 requires b = 1-1", "b-1-1.noarch"}},
		{name: "it lies in another repository", other: []string{"lib-1-1.x86_64"}, added: []string{"a-1-1.x86_64 requires lib"}},
		{name: "it lies beneath", beneath: []string{"libc.so.6(GLIBC_2.4)(64bit)", "bash = 5.1-2"}, added: []string{"a-1-1.x86_64 requires libc.so.6(GLIBC_2.4)(64bit), bash >= 5"}},
		{name: "it is nowhere", added: []string{"a-1-1.x86_64 requires lib, other = 2", "b-1-1.x86_64 requires a > 1"}, want: []string{"os a-1-1.x86_64: lib, other = 2", "os b-1-1.x86_64: a > 1"}},
		{name: "another version is", shown: []string{"lib-1-1.x86_64"}, added: []string{"a-1-1.x86_64 requires lib >= 1:0"}, want: []string{"os a-1-1.x86_64: lib >= 1:0"}},
		{name: "its own file", added: []string{"a-1-1.x86_64 requires /usr/bin/a, /usr/share/a files /usr/bin/a, /usr/share/a"}},
		{name: "a file that metadata lists", added: []string{"a-1-1.x86_64 requires /usr/bin/none"}, want: []string{"os a-1-1.x86_64: /usr/bin/none"}},
		{name: "a file that metadata needn't list", added: []string{"a-1-1.x86_64 requires /usr/share/none"}, unknown: []string{"os a-1-1.x86_64: /usr/share/none"}},
		{
			name: "an update takes away what others need", shown: []string{"lib-1-1.x86_64 provides lib.so.1", "a-1-1.x86_64 requires lib.so.1", "b-1-1.x86_64 requires lib"},
			added: []string{"lib-2-1.x86_64 provides lib.so.2"}, want: []string{"os a-1-1.x86_64*: lib.so.1"},
		},
		{
			name: "from another repository", other: []string{"a-1-1.x86_64 requires lib.so.1"}, shown: []string{"lib-1-1.x86_64 provides lib.so.1"},
			added: []string{"lib-2-1.x86_64"}, want: []string{"crb a-1-1.x86_64*: lib.so.1"},
		},
		{
			name: "who needs it is updated too", shown: []string{"lib-1-1.x86_64 provides lib.so.1", "a-1-1.x86_64 requires lib.so.1"},
			added: []string{"lib-2-1.x86_64 provides lib.so.2", "a-1-2.x86_64 requires lib.so.2"},
		},
		{
			name: "what is broken today", shown: []string{"a-1-1.x86_64 requires gone", "lib-1-1.x86_64"},
			added: []string{"a-1-2.x86_64 requires gone, more", "lib-2-1.x86_64"}, want: []string{"os a-1-2.x86_64: more"},
		},
		{
			name: "an older one still counts for nothing", shown: []string{"lib-3-1.x86_64"},
			added: []string{"lib-2-1.x86_64 provides lib.so.2", "a-1-1.x86_64 requires lib.so.2"}, want: []string{"os a-1-1.x86_64: lib.so.2"},
		},
		{
			name: "a stream of a module counts beside a newer one", shown: []string{"lib-3-1.x86_64 modular", "b-1-1.x86_64 requires lib = 3"},
			added: []string{"lib-2-1.x86_64 modular provides lib.so.2", "a-1-1.x86_64 requires lib.so.2"},
		},
		{
			name: "either of two", shown: []string{"b-1-1.x86_64"},
			added: []string{"a-1-1.x86_64 requires (none or b >= 1)", "c-1-1.x86_64 requires (none or b > 1)"}, want: []string{"os c-1-1.x86_64: (none or b > 1)"},
		},
		{name: "both", shown: []string{"b-1-1.x86_64"}, added: []string{"a-1-1.x86_64 requires (b and none)"}, want: []string{"os a-1-1.x86_64: (b and none)"}},
		{
			name: "if something is there", shown: []string{"b-1-1.x86_64"},
			added: []string{"a-1-1.x86_64 requires (none if b)", "c-1-1.x86_64 requires (none if gone)", "d-1-1.x86_64 requires (none if gone else b)", "e-1-1.x86_64 requires (none if gone else none)"},
			want:  []string{"os a-1-1.x86_64: (none if b)", "os e-1-1.x86_64: (none if gone else none)"},
		},
		{name: "unless", shown: []string{"b-1-1.x86_64"}, added: []string{"a-1-1.x86_64 requires (none unless b)", "c-1-1.x86_64 requires (none unless gone)"}, want: []string{"os c-1-1.x86_64: (none unless gone)"}},
		{
			name: "of one package", shown: []string{"b-1-1.x86_64 provides x", "b2-1-1.x86_64 provides y", "b3-1-1.x86_64 provides x, z"},
			added: []string{"a-1-1.x86_64 requires (x with y)", "c-1-1.x86_64 requires (x with z)", "d-1-1.x86_64 requires (z without x)"},
			want:  []string{"os a-1-1.x86_64: (x with y)", "os d-1-1.x86_64: (z without x)"},
		},
		{
			name: "an update takes away one side", shown: []string{"lib-1-1.x86_64 provides x", "a-1-1.x86_64 requires (x or y)"},
			added: []string{"lib-2-1.x86_64"}, want: []string{"os a-1-1.x86_64*: (x or y)"},
		},
		{name: "one that rpm wouldn't read", added: []string{"a-1-1.x86_64 requires (x or"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := World{Repositories: []Repository{{Path: "os", Shown: pkgs(t, tt.shown...), Added: pkgs(t, tt.added...)}, {Path: "crb", Shown: pkgs(t, tt.other...)}}}
			for _, s := range tt.beneath {
				c := capability(t, s)
				if !w.Wanted()[c.Name] {
					t.Errorf("%s isn't asked for: %v", c.Name, w.Wanted())
				}
				w.Beneath = append(w.Beneath, c)
			}
			broken, unknown := w.Check()
			if diff := cmp.Diff(tt.want, text(broken)); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.unknown, text(unknown)); diff != "" {
				t.Errorf("unknown (-want +got):\n%s", diff)
			}
			// What Wanted names is enough, and is found from little.
			little := World{}
			for _, r := range w.Repositories {
				some := Repository{Path: r.Path, Added: r.Added}
				for _, p := range r.Shown {
					if !slices.ContainsFunc(r.Added, func(a Package) bool { return a.NEVRA.Name == p.NEVRA.Name && a.NEVRA.Arch == p.NEVRA.Arch }) {
						p.Requires = slices.Clone(p.Requires)
						p = p.Rich()
					}
					some.Shown = append(some.Shown, p)
				}
				little.Repositories = append(little.Repositories, some)
			}
			names := little.Wanted()
			for i, r := range w.Repositories {
				for j, p := range r.Shown {
					w.Repositories[i].Shown[j] = p.Keep(names)
				}
			}
			broken, unknown = w.Check()
			if diff := cmp.Diff(tt.want, text(broken)) + cmp.Diff(tt.unknown, text(unknown)); diff != "" {
				t.Errorf("of what is wanted (-want +got):\n%s", diff)
			}
		})
	}
}

// world makes n shown packages of the shape of a distribution's, and adds some.
func world(t testing.TB, n, added int) World {
	make := func(from, to int, release string) []Package {
		var out []Package
		for i := from; i < to; i++ {
			s := fmt.Sprintf("pkg%d-1-%s.x86_64 provides lib%d.so.1()(64bit)", i, release, i)
			for k := range 20 {
				s += fmt.Sprintf(", cap%d(%d)", i, k)
			}
			s += " requires libc.so.6(GLIBC_2.34)(64bit)"
			for k := range 20 {
				s += fmt.Sprintf(", lib%d.so.1()(64bit)", (i+k*k+1)%n)
			}
			out = append(out, pkg(t, s+fmt.Sprintf(" files /usr/bin/pkg%d", i)))
		}
		return out
	}
	return World{
		Repositories: []Repository{{Path: "os", Shown: make(0, n, "1"), Added: make(0, added, "2")}},
		Beneath:      []Capability{{Name: "libc.so.6(GLIBC_2.34)(64bit)"}},
	}
}

// BenchmarkCheck: 100 updates in a repository of 5,000 packages.
func BenchmarkCheck(b *testing.B) {
	w := world(b, 5000, 100)
	for b.Loop() {
		if broken, unknown := w.Check(); len(broken)+len(unknown) > 0 {
			b.Fatalf("%v %v", text(broken), text(unknown))
		}
	}
}
