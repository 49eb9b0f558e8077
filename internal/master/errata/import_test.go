package errata_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
)

// rewriting has the fixture's platforms make their own of what Red Hat wrote.
func (f *fixture) rewriting(rules ...platform.Rewrite) {
	f.t.Helper()
	for _, name := range []string{"el9", "el8"} {
		p := mastertest.Errata(mastertest.Platform(name, albs.X8664), "core")
		p.Errata.Rewrite = rules
		if _, err := f.Platforms.Apply(f.admin, p); err != nil {
			f.t.Fatal(err)
		}
	}
}

var debrand = []platform.Rewrite{
	{In: []string{platform.InID}, Pattern: `^RH([SBE])A-`, With: "AL${1}A-"},
	{In: []string{platform.InText}, Find: "Red Hat Enterprise Linux", With: "AlmaLinux"},
	{In: []string{platform.InText}, Pattern: `(?i)red\s+hat`, With: "AlmaLinux"},
	{In: []string{platform.InReference}, Find: "https://bugzilla.redhat.example/", With: "https://bugs.example/"},
}

func theirs() advisory.Advisory {
	a := note("RHSA-2024:1")
	a.Title, a.Description = "bash security update for Red Hat Enterprise Linux", "red  hat says so."
	a.Type = advisory.Security
	a.References = append(a.References,
		advisory.Reference{Kind: advisory.ToSelf, ID: "RHSA-2024:1", URL: "https://access.redhat.example/errata/RHSA-2024:1"},
		advisory.Reference{Kind: advisory.ToBugzilla, ID: "7", URL: "https://bugzilla.redhat.example/7"})
	return a
}

func (f *fixture) take(as ...advisory.Advisory) []errata.Taken {
	f.t.Helper()
	out, err := f.Import(f.admin, "el9", as, errata.CreateOptions{Reason: "from a test"})
	if err != nil || len(out) != len(as) {
		f.t.Fatalf("Import = %+v, %v", out, err)
	}
	return out
}

func TestImport(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.rewriting(debrand...)
		got := f.take(theirs())[0]
		k := errata.Key{ID: "ALSA-2024:1", Platform: "el9"}
		if diff := cmp.Diff(errata.Taken{Key: k, From: "RHSA-2024:1", Outcome: errata.Added, Revision: 1}, got); diff != "" {
			t.Fatal(diff)
		}
		r, err := f.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		a := r.Advisory
		if a.Upstream != "RHSA-2024:1" || a.Title != "bash security update for AlmaLinux" || a.Description != "AlmaLinux says so." {
			t.Errorf("it became %+v", a)
		}
		var refs []string
		for _, x := range a.References {
			refs = append(refs, fmt.Sprint(x.Kind, " ", x.ID, " ", x.URL))
		}
		// The page of the other notice is what it answers, and its own page is there once.
		if diff := cmp.Diff([]string{
			"self ALSA-2024:1 https://repo.example/errata/el9/html/ALSA-2024-1.html",
			"rhsa RHSA-2024:1 https://access.redhat.example/errata/RHSA-2024:1",
			"cve CVE-2024-1111 https://cve.example/CVE-2024-1111",
			"bugzilla 7 https://bugs.example/7",
		}, refs); diff != "" {
			t.Errorf("references (-want +got):\n%s", diff)
		}

		// The same once more changes nothing; on another platform it is another.
		if got := f.take(theirs())[0]; got.Outcome != errata.Unchanged || got.Revision != 1 {
			t.Errorf("the same again = %+v", got)
		}
		other, err := f.Import(f.admin, "el8", []advisory.Advisory{theirs()}, errata.CreateOptions{})
		if err != nil || other[0].Outcome != errata.Added || other[0].Platform != "el8" {
			t.Errorf("on el8 = %+v, %v", other, err)
		}

		// A changed original keeps what people edited.
		packages := append(slices.Clone(a.Packages), advisory.Package{NEVRA: nevra("bash-libs-5.1-2.el9.x86_64")})
		packages = slices.DeleteFunc(packages, func(p advisory.Package) bool { return p.Name == "bash-doc" })
		if _, err := f.Edit(f.admin, k, 1, errata.Edit{Title: ptr("ours"), Packages: &packages}); err != nil {
			t.Fatal(err)
		}
		changed := theirs()
		changed.Title, changed.Severity = "theirs", advisory.Critical
		changed.Packages = append(changed.Packages, advisory.Package{NEVRA: nevra("bash-devel-5.1-2.el9.x86_64")})
		if got := f.take(changed)[0]; got.Outcome != errata.Updated || got.Revision != 3 {
			t.Fatalf("a changed original = %+v", got)
		}
		r = f.want("then", k, "not released, shows 0, pending true, release 0")
		var names []string
		for _, p := range r.Advisory.Packages {
			names = append(names, p.Name)
		}
		if diff := cmp.Diff([]string{"bash", "bash-devel", "bash-libs"}, names); diff != "" || r.Advisory.Title != "ours" || r.Advisory.Severity != advisory.Critical || r.Original.Title != "theirs" {
			t.Errorf("it became %+v\n%s", r, diff)
		}
		// One that everything was edited of has a new original, and nothing to publish.
		f.release(4, k)
		changed.Title = "theirs again"
		if got := f.take(changed)[0]; got.Outcome != errata.Updated {
			t.Errorf("a title that is edited here = %+v", got)
		}
		f.want("then", k, "released, shows 1, pending false, release 4")
		// Of a released one it is something to publish anew.
		changed.Solution = "Reboot."
		f.take(changed)
		f.want("changed after its release", k, "released, shows 1, pending true, release 4")
		hist, err := f.History(t.Context(), k, 0)
		if err != nil || hist[0].Kind != errata.Imported || hist[0].Reason != "from a test" || !cmp.Equal(hist[0].Differences, []errata.Difference{{Field: "solution", Is: "Reboot."}}) {
			t.Errorf("the last change is %+v, %v", hist, err)
		}
	})
}

// TestImportEachForItself: what is wrong with one advisory is told, and the others are
// taken.
func TestImportEachForItself(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.rewriting(debrand...)
		bad := theirs()
		bad.ID, bad.Title = "RHSA-2024:2", ""
		alien := theirs()
		alien.ID = "FEDORA-2024-abc"
		gone := theirs()
		gone.ID, gone.Withdrawn = "RHSA-2024:3", &advisory.Withdrawal{At: issued, Reason: "wrong"}
		got := f.take(bad, alien, theirs(), gone)
		var out []string
		for _, g := range got {
			out = append(out, fmt.Sprint(g.From, " ", g.Outcome, " ", albs.KindOf(g.Err), " ", g.Note != ""))
		}
		if diff := cmp.Diff([]string{
			"RHSA-2024:2 refused invalid false", "FEDORA-2024-abc refused invalid false", "RHSA-2024:1 created  false", "RHSA-2024:3 created  true",
		}, out); diff != "" {
			t.Error(diff)
		}
		// One that a release has is refused, and can come again.
		if err := f.tx(func(tx db.Tx) error { return f.Begin(f.admin, tx, []errata.Key{got[2].Key}, 1) }); err != nil {
			t.Fatal(err)
		}
		changed := theirs()
		changed.Title = "another"
		if got := f.take(changed)[0]; got.Outcome != errata.Refused || albs.KindOf(got.Err) != albs.Conflict {
			t.Errorf("one in progress = %+v", got)
		}
		_, err := f.Import(as(t.Context(), auth.Operator, ""), "el9", nil, errata.CreateOptions{})
		wantKind(t, "import by an operator", err, albs.Forbidden)
		_, err = f.Import(f.admin, "bare", nil, errata.CreateOptions{})
		wantKind(t, "import into a platform without", err, albs.Invalid)
		_, err = f.Import(f.admin, "el9", make([]advisory.Advisory, errata.MaxImport+1), errata.CreateOptions{})
		wantKind(t, "import of too many", err, albs.TooLarge)
	})
}

// TestRewriteGrows: a rule can't make texts without bound.
func TestRewriteGrows(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	long := strings.Repeat("x", 1000)
	for name, r := range map[string]platform.Rewrite{
		"found":            {In: []string{platform.InText}, Find: "a", With: long},
		"matched":          {In: []string{platform.InText}, Pattern: "a", With: long},
		"matched anywhere": {In: []string{platform.InText}, Pattern: "", With: long},
	} {
		if r.Find == "" && r.Pattern == "" {
			r.Pattern = `\b|a*`
		}
		f.rewriting(r, r)
		a := note("ALSA-2024:1")
		a.Description = strings.Repeat("a ", advisory.MaxText/2)
		if got := f.take(a)[0]; albs.KindOf(got.Err) != albs.TooLarge {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestRebase: whatever was edited, an original that comes in anew keeps the edits, brings
// what was not edited, and is as it was if nothing changed.
func TestRebase(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		old, other, more := advisorytest.Random(r, 1), advisorytest.Random(r, 1), advisorytest.Random(r, 1)
		same := func(a advisory.Advisory) advisory.Advisory { // but for what Rebase leaves alone
			a.ID, a.Version, a.Withdrawn = "ALSA-2024:1", 1, nil
			for i := range a.Packages {
				a.Packages[i].Repository, a.Packages[i].Digest = "", ""
			}
			return a.Normal()
		}
		old, other, more = same(old), same(other), same(more)
		mix := func(a, b advisory.Advisory) advisory.Advisory { // a with some of b
			if r.IntN(2) == 0 {
				a.Title, a.Severity = b.Title, b.Severity
			}
			if r.IntN(2) == 0 {
				a.Description = b.Description
			}
			if r.IntN(2) == 0 && len(a.Packages) > 1 {
				a.Packages = append(slices.Clone(a.Packages[1:]), b.Packages[:1]...)
			}
			if r.IntN(2) == 0 {
				a.References = append(slices.Clone(a.References), b.References...)
			}
			return a.Normal()
		}
		edited, next := mix(old, other), mix(old, more)
		if d := errata.Differences(edited, errata.Rebase(old, edited, old)); len(d) != 0 {
			t.Fatalf("seed %d: the same original changes %+v", seed, d)
		}
		if d := errata.Differences(next, errata.Rebase(old, old, next)); len(d) != 0 {
			t.Fatalf("seed %d: what wasn't edited isn't the new original: %+v", seed, d)
		}
		if d := errata.Differences(edited, errata.Rebase(old, edited, edited)); len(d) != 0 {
			t.Fatalf("seed %d: an original that has the edits changes %+v", seed, d)
		}
		got := errata.Rebase(old, edited, next)
		for _, d := range errata.Differences(old, edited) {
			if d.Is != "" && !slices.ContainsFunc(errata.Differences(advisory.Advisory{}, got), func(h errata.Difference) bool { return h.Field == d.Field && h.Is == d.Is }) {
				t.Fatalf("seed %d: the edit %+v is lost", seed, d)
			}
		}
		if err := got.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
