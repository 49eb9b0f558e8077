package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
)

func TestWants(t *testing.T) {
	t.Parallel()
	c := Copy{Packages: []string{"zlib", "zlib-devel", "zlib-1.2-1.src", "other"}}
	for s, want := range map[string]string{
		"zlib-1.2-1.x86_64 zlib": "[0]", "zlib-devel-1.2-1.x86_64 zlib": "[0 1]", "zlib-1.2-1.src zlib": "[0 2]", "zlib-1.3-1.src zlib": "[0]", "bash-5-1.x86_64 bash": "[]",
	} {
		pkg, source, _ := strings.Cut(s, " ")
		if got := fmt.Sprint(c.Wants(nevra(t, pkg), source)); got != want {
			t.Errorf("%s is wanted by the words %s, want %s", s, got, want)
		}
	}
}

// TestMakeCopy: what is copied is held to all that holds for what is built, but that what
// can't go anywhere, or is older than what is shown, is left out and told.
func TestMakeCopy(t *testing.T) {
	t.Parallel()
	const x86, src = albs.X8664, albs.Src
	copied := func(s string, arch albs.Arch, change func(*Candidate)) Candidate {
		c := candidate(t, s, arch)
		c.From, c.Shown, c.SignedBy = "testing/os", c.Signed, "KEY"
		if change != nil {
			change(&c)
		}
		return c
	}
	crb := []product.Repository{
		{Path: "base", Platform: "el", Arch: x86, Kind: product.RPM, Place: "Base"}, {Path: "crb", Platform: "el", Arch: x86, Kind: product.RPM, Place: "CRB"},
	}
	for _, tt := range []struct {
		name         string
		packages     []Candidate
		repositories []product.Repository
		decisions    []place.Decision
		shown        []repodata.Entry
		before       []Left
		want, left   []string
		refused      string
		noted        string
	}{
		{name: "the same files", packages: []Candidate{copied("a-1-1.x86_64", x86, nil)}, want: []string{"os/x86_64 a-1-1.x86_64.rpm"}},
		{
			name: "into the place that both have", repositories: crb, packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.Place = "CRB" })},
			want: []string{"crb a-1-1.x86_64.rpm"},
		},
		{
			name: "of a place that isn't here", repositories: crb, packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.Place = "Extras" }), copied("b-1-1.x86_64", x86, func(c *Candidate) { c.Place = "Base" })},
			want: []string{"base b-1-1.x86_64.rpm"}, left: []string{"a-1-1.x86_64: it has no place"}, noted: "1 packages of product testing are left out",
		},
		{
			name: "older than what is shown", packages: []Candidate{copied("a-1-1.x86_64", x86, nil), copied("b-1-1.x86_64", x86, nil)}, shown: []repodata.Entry{entry(t, "a-2-1.x86_64", "x")},
			want: []string{"os/x86_64 b-1-1.x86_64.rpm"}, left: []string{"a-1-1.x86_64: os/x86_64 has the newer a-2-1.x86_64"},
		},
		{
			name: "older, and a person wants it", packages: []Candidate{copied("a-1-1.x86_64", x86, nil)}, shown: []repodata.Entry{entry(t, "a-2-1.x86_64", "x")},
			decisions: []place.Decision{{Action: place.Move, Package: "a-1-1.x86_64", To: "os/x86_64", Reason: "so it is"}}, refused: "has the newer a-2-1.x86_64",
		},
		{
			name: "other content of what is shown", packages: []Candidate{copied("a-1-1.x86_64", x86, nil)}, shown: []repodata.Entry{entry(t, "a-1-1.x86_64", "x")},
			refused: "a released package never changes",
		},
		{
			name: "for an arch that isn't here", packages: []Candidate{copied("a-1-1.s390x", albs.S390X, nil), copied("a-1-1.src", src, nil)},
			want: []string{"source a-1-1.src.rpm"}, left: []string{"a-1-1.s390x: product demo has no rpm repository of platform el for s390x"},
		},
		{name: "what was left before", packages: []Candidate{copied("a-1-1.src", src, nil)}, before: []Left{{"a-0-1.src", "testing/source", "it is older"}}, want: []string{"source a-1-1.src.rpm"}, left: []string{"a-0-1.src: it is older"}},
		{name: "without a test", packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.Tests = testrun.Verdict{State: testrun.Missing} })}, refused: "requires passed tests", want: []string{"os/x86_64 a-1-1.x86_64.rpm"}},
		{
			name: "signed with another key", packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.Signed, c.SignedBy = "", "OTHER" })},
			refused: `product testing has it signed with key OTHER, and it isn't signed with the key of product demo: have build 1 signed with that first (albs sign 1 --key "demo")`,
		},
		{
			name: "of no build that is known", packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.Signed, c.SignedBy, c.Build = "", "OTHER", 0 })},
			refused: "of which build it is isn't known",
		},
		{
			name: "signed with both", packages: []Candidate{copied("a-1-1.x86_64", x86, func(c *Candidate) { c.SignedBy = "OTHER" })}, want: []string{"os/x86_64 a-1-1.x86_64.rpm"},
			noted: "1 packages that product testing has signed with key OTHER are released as they were signed with key KEY",
		},
	} {
		f := facts(tt.packages...)
		f.Copy, f.Left, f.Decisions = &Copy{Product: "testing", Serial: 7}, tt.before, tt.decisions
		f.Shown["os/x86_64"] = Shown{Entries: tt.shown}
		if tt.repositories != nil {
			f.Product.Repositories = tt.repositories
			f.Places = place.NewIndex(nil)
		}
		p := Make(f)
		var got, left []string
		for _, r := range p.Repositories {
			for _, c := range r.Packages {
				got = append(got, r.Path+" "+c.File)
			}
		}
		for _, l := range p.Left {
			reason, _, _ := strings.Cut(l.Reason, ": no reference")
			left = append(left, l.Package+": "+reason)
		}
		if diff := cmp.Diff(tt.want, got) + cmp.Diff(tt.left, left); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if (tt.refused == "") != (len(p.Refusals) == 0) || tt.refused != "" && !strings.Contains(p.Refusals[0].Reason, tt.refused) {
			t.Errorf("%s: refused with %v, want %q", tt.name, p.Refusals, tt.refused)
		}
		if !strings.Contains(strings.Join(p.Notes, "\n"), tt.noted) || p.Copy == nil || len(p.Missing) > 0 {
			t.Errorf("%s: notes %q, copy %v, missing %v", tt.name, p.Notes, p.Copy, p.Missing)
		}
	}
}
