package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
)

// TestCompatible: packages of a build for another platform go into repositories of the one
// that names it as compatible, which is told, and into no others.
func TestCompatible(t *testing.T) {
	t.Parallel()
	const x86, src = albs.X8664, albs.Src
	built := func(s string, arch albs.Arch, platform string) Candidate {
		c := candidate(t, s, arch)
		c.Platform = platform
		return c
	}
	add := func(p ...product.Repository) []product.Repository { return append(demo().Repositories, p...) }
	kitten := product.Repository{Path: "kitten/x86_64", Platform: "kitten", Arch: x86, Kind: product.RPM}
	el2 := product.Repository{Path: "el2/x86_64", Platform: "el2", Arch: x86, Kind: product.RPM}
	move := func(to string) []place.Decision {
		return []place.Decision{{Action: place.Move, Package: "foo-1-1.x86_64", To: to, Reason: "so it is"}}
	}
	for _, tt := range []struct {
		name         string
		compatible   map[string][]string
		platforms    []string
		repositories []product.Repository
		decisions    []place.Decision
		packages     []Candidate
		want         []string // path, file and for what it was built
		notes        []string
		refused      string // a part of it, "" for none
	}{
		{
			name: "into the repositories of the one", compatible: map[string][]string{"el": {"kitten"}}, platforms: []string{"el"},
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten"), built("foo-1-1.src", src, "kitten"), built("doc-1-1.noarch", x86, "kitten"), candidate(t, "own-1-1.x86_64", x86)},
			want: []string{
				"os/aarch64 doc-1-1.noarch.rpm kitten", "os/x86_64 doc-1-1.noarch.rpm kitten", "os/x86_64 foo-1-1.x86_64.rpm kitten", "os/x86_64 own-1-1.x86_64.rpm ", "source foo-1-1.src.rpm kitten",
			},
			notes: []string{"3 packages of build 1 were built for platform kitten and go into repositories of el, which names it as compatible"},
		},
		{
			name: "not the other way", compatible: map[string][]string{"kitten": {"el"}}, platforms: []string{"el"},
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, refused: "none of the product's platforms names that one as compatible",
		},
		{
			name: "its own platform comes first", compatible: map[string][]string{"el": {"kitten"}}, platforms: []string{"el", "kitten"}, repositories: add(kitten),
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, want: []string{"kitten/x86_64 foo-1-1.x86_64.rpm "},
		},
		{
			name: "and a person may send it to the other", compatible: map[string][]string{"el": {"kitten"}}, platforms: []string{"el", "kitten"}, repositories: add(kitten),
			decisions: []place.Decision{{Action: place.Add, Package: "foo-1-1.x86_64", To: "os/x86_64", Reason: "so it is"}},
			packages:  []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, want: []string{"kitten/x86_64 foo-1-1.x86_64.rpm ", "os/x86_64 foo-1-1.x86_64.rpm kitten"},
			notes: []string{"1 packages of build 1 were built for platform kitten and go into repositories of el, which names it as compatible"},
		},
		{
			name: "but to none that isn't compatible", platforms: []string{"el", "kitten"}, repositories: add(kitten), decisions: move("os/x86_64"),
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, refused: "which doesn't name that as compatible",
		},
		{
			name: "of two a person decides", compatible: map[string][]string{"el": {"kitten"}, "el2": {"kitten"}}, platforms: []string{"el", "el2"}, repositories: add(el2),
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, refused: "[el el2] all name that one as compatible; decide where it goes",
		},
		{
			name: "as is done here", compatible: map[string][]string{"el": {"kitten"}, "el2": {"kitten"}}, platforms: []string{"el", "el2"}, repositories: add(el2), decisions: move("el2/x86_64"),
			packages: []Candidate{built("foo-1-1.x86_64", x86, "kitten")}, want: []string{"el2/x86_64 foo-1-1.x86_64.rpm kitten"},
			notes: []string{"1 packages of build 1 were built for platform kitten and go into repositories of el2, which names it as compatible"},
		},
	} {
		f := facts(tt.packages...)
		f.Compatible, f.Product.Platforms, f.Decisions = tt.compatible, tt.platforms, tt.decisions
		if tt.repositories != nil {
			f.Product.Repositories = tt.repositories
		}
		p := Make(f)
		var got []string
		for _, r := range p.Repositories {
			for _, c := range r.Packages {
				got = append(got, r.Path+" "+c.File+" "+c.BuiltFor)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.notes, p.Notes); diff != "" {
			t.Errorf("%s: notes (-want +got):\n%s", tt.name, diff)
		}
		if (tt.refused == "") != (len(p.Refusals) == 0) || tt.refused != "" && !strings.Contains(p.Refusals[0].Reason, tt.refused) {
			t.Errorf("%s: refused with %v, want %q", tt.name, p.Refusals, tt.refused)
		}
	}
}
