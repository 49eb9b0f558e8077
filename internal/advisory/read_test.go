package advisory_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// TestRandom: the advisories of the forms' tests are such as may be.
func TestRandom(t *testing.T) {
	t.Parallel()
	for n := range advisorytest.Rounds(300) {
		a := advisorytest.Random(rand.New(rand.NewPCG(1, uint64(n))), n)
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		if got, err := advisory.Parse(a.Encode()); err != nil || advisorytest.Diff(a, got) != "" {
			t.Fatalf("%v %s", err, advisorytest.Diff(a, got))
		}
	}
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2024, 9, 24, 11, 5, 6, 0, time.UTC)
	for _, s := range []string{
		"2024-09-24 11:05:06", "2024-09-24T11:05:06Z", "2024-09-24T13:05:06.5+02:00", "2024-09-24 11:05:06 UTC", " 1727175906", "1727175906000", "2024-09-24T11:05:06",
	} {
		if got, err := advisory.ParseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	if got, err := advisory.ParseTime("2024-09-24"); err != nil || !got.Equal(want.Truncate(24*time.Hour)) {
		t.Errorf("the day is %v, %v", got, err)
	}
	for _, s := range []string{"", "yesterday", "0", "-5", "99999999999999999", "2024-13-01", "0000-01-01"} {
		if got, err := advisory.ParseTime(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]string{
		" a\tb\r\nc\x00 ": {"a b c", "a\tb\nc"},
		"a\xffb\ufffe":    {"a\ufffdb", "a\ufffdb"},
		"a\rb\x7f\u00a0":  {"a b", "a\nb"},
	} {
		if got := [2]string{advisory.CleanLine(s), advisory.CleanText(s)}; got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestTitle(t *testing.T) {
	t.Parallel()
	for _, title := range []string{"zlib security update", "Important: zlib", "Low: zlib", "a: b"} {
		for _, s := range append(advisory.Severities(), advisory.None) {
			a := advisory.Advisory{Severity: s, Title: title}
			got := advisory.Advisory{Severity: s}
			if got.SetTitle(a.FullTitle()); got.Title != title {
				t.Errorf("%q comes back as %q", a.FullTitle(), got.Title)
			}
		}
	}
}

func TestAllReferences(t *testing.T) {
	t.Parallel()
	a := advisory.Advisory{
		CVEs: []advisory.CVE{{ID: "CVE-2024-1111"}, {ID: "CVE-2024-2222"}},
		References: []advisory.Reference{
			{Kind: advisory.ToCVE, ID: "CVE-2024-2222", URL: "https://example.org/2222"}, {Kind: advisory.ToCVE, ID: "CVE-2024-3333", URL: "https://example.org/3333"},
		},
	}
	var got []string
	for _, r := range a.AllReferences() {
		got = append(got, r.URL)
	}
	if want := []string{"https://www.cve.org/CVERecord?id=CVE-2024-1111", "https://example.org/2222", "https://example.org/3333"}; !slices.Equal(got, want) {
		t.Errorf("the references are %v", got)
	}
	if got := a.AllCVEs(); !slices.Equal(got, []string{"CVE-2024-1111", "CVE-2024-2222", "CVE-2024-3333"}) {
		t.Errorf("the CVEs are %v", got)
	}
}

// TestManyCVEs: an advisory with more CVEs than it may have is refused, and reading it costs
// no more than that.
func TestManyCVEs(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := advisory.Advisory{ID: "A-1", Platform: "p", Type: advisory.Security, Version: 1, Title: "a", Issued: day, Updated: day}
	for n := range 2 * advisory.MaxCVEs {
		id := fmt.Sprintf("CVE-2026-%d", 10_000+n)
		if s := a.AddReference(advisory.Reference{Kind: advisory.ToCVE, ID: id, URL: "https://example.org/" + id}); s != "" {
			t.Fatal(s)
		}
	}
	a.References = nil
	if n := len(a.CVEs); n != advisory.MaxCVEs+1 || albs.KindOf(a.Check()) != albs.TooLarge {
		t.Errorf("it has %d CVEs: %v", n, a.Check())
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	pkg := func(name string) advisory.Package {
		return advisory.Package{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "noarch"}}
	}
	ref := advisory.Reference{Kind: advisory.ToOther, URL: "https://example.org"}
	got := advisory.Merge([]advisory.Advisory{
		{ID: "B-1", Platform: "p", Title: "old", Issued: day(2), Updated: day(2), Packages: []advisory.Package{pkg("a"), pkg("b")}, References: []advisory.Reference{ref}},
		{ID: "B-1", Platform: "q", Title: "another platform"},
		{ID: "A-1", Platform: "p", Title: "another"},
		{ID: "B-1", Platform: "p", Title: "new", Issued: day(3), Updated: day(4), Packages: []advisory.Package{pkg("b"), pkg("c")}, References: []advisory.Reference{ref}},
	})
	if len(got) != 3 || got[0].Title != "another" || got[2].Title != "another platform" {
		t.Fatalf("%d are left: %+v", len(got), got)
	}
	m := got[1]
	if m.Title != "new" || !m.Issued.Equal(day(2)) || !m.Updated.Equal(day(4)) || len(m.Packages) != 3 || len(m.References) != 1 {
		t.Errorf("merged it is %+v", m)
	}
}

func TestSourceEVR(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		p    advisory.Package
		want string
	}{
		{advisory.Package{NEVRA: rpm.NEVRA{Name: "perl-libs", Epoch: 4, Version: "5.32", Release: "2", Arch: "noarch"}, Source: "perl-5.30-1.el9.src.rpm"}, "4:5.30-1.el9"},
		{advisory.Package{NEVRA: rpm.NEVRA{Name: "perl-libs", Version: "5.32", Release: "2"}}, "5.32-2"},
		{advisory.Package{NEVRA: rpm.NEVRA{Name: "x", Version: "5.32", Release: "2"}, Source: "odd"}, "5.32-2"},
	} {
		if got := tc.p.SourceEVR().String(); got != tc.want {
			t.Errorf("%+v has %s", tc.p, got)
		}
	}
}
