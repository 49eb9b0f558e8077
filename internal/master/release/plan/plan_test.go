package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/master/repo"
	"albs/internal/master/revision"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// demo has repositories for two arches, a debug repository for one of them, and
// one for sources.
func demo() product.Product {
	return product.Product{Stamp: revision.Stamp{Revision: 3}, Spec: product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el"}, Key: "demo", Gate: product.Gate{Tests: product.Required},
		Repositories: []product.Repository{
			{Path: "os/x86_64", Platform: "el", Arch: albs.X8664, Kind: product.RPM},
			{Path: "os/aarch64", Platform: "el", Arch: albs.AArch64, Kind: product.RPM},
			{Path: "debug/x86_64", Platform: "el", Arch: albs.X8664, Kind: product.Debug},
			{Path: "source", Platform: "el", Arch: albs.Src, Kind: product.Source},
		},
	}}
}

func digest(s string) albs.Digest { return albs.DigestOf([]byte(s)) }

func nevra(t *testing.T, s string) rpm.NEVRA {
	t.Helper()
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// candidate returns a package of build 1 that nothing speaks against. Its content
// goes by NEVRA and build repository.
func candidate(t *testing.T, s string, in albs.Arch) Candidate {
	t.Helper()
	n := nevra(t, s)
	c := Candidate{
		Build: 1, Platform: "el", Arch: in, NEVRA: n, File: n.Filename(), Size: 10, Notarized: true,
		Unsigned: digest(s + string(in)), Signed: digest(s + string(in) + " signed"),
	}
	if in != albs.Src {
		c.Tests = testrun.Verdict{State: testrun.Passed, Reason: "2 of 2 cases passed"}
	}
	return c
}

func entry(t *testing.T, s, content string) repodata.Entry {
	n := nevra(t, s)
	return repodata.Entry{NEVRA: n, Path: repo.Path(n.Filename()), Digest: digest(content), Size: 10}
}

func facts(cs ...Candidate) Facts {
	return Facts{
		Product: demo(), Key: "KEY", Serial: 4, Expires: time.Unix(1e9, 0), Packages: cs,
		Arches: map[string][]albs.Arch{"el": {albs.X8664, albs.AArch64}},
		Shown:  map[string]Shown{}, Released: map[ReleasedFile]albs.Digest{},
	}
}

// lines are a plan's effects: path, action, file, and the first digits of the digest.
func lines(p Plan) []string {
	var out []string
	for _, r := range p.Repositories {
		for _, c := range r.Packages {
			out = append(out, fmt.Sprintf("%s %s %s %s", r.Path, c.Action, c.File, c.Digest.Short()))
		}
	}
	return out
}

func signed(s string, in albs.Arch) string { return digest(s + string(in) + " signed").Short() }

func TestMake(t *testing.T) {
	t.Parallel()
	const x86, arm, src = albs.X8664, albs.AArch64, albs.Src
	tests := []struct {
		name    string
		facts   func(t *testing.T) Facts
		want    []string
		refused []string // each a part of a refusal, in order
		notes   int
	}{
		{
			name: "each kind goes where it belongs",
			facts: func(t *testing.T) Facts {
				return facts(candidate(t, "foo-1-1.src", src), candidate(t, "foo-1-1.x86_64", x86), candidate(t, "foo-1-1.aarch64", arm),
					candidate(t, "foo-debuginfo-1-1.x86_64", x86), candidate(t, "foo-debugsource-1-1.x86_64", x86), candidate(t, "foo-debuginfo-1-1.aarch64", arm))
			},
			want: []string{
				"debug/x86_64 add foo-debuginfo-1-1.x86_64.rpm " + signed("foo-debuginfo-1-1.x86_64", x86),
				"debug/x86_64 add foo-debugsource-1-1.x86_64.rpm " + signed("foo-debugsource-1-1.x86_64", x86),
				"os/aarch64 add foo-1-1.aarch64.rpm " + signed("foo-1-1.aarch64", arm),
				"os/aarch64 add foo-debuginfo-1-1.aarch64.rpm " + signed("foo-debuginfo-1-1.aarch64", arm), // no debug repository there
				"os/x86_64 add foo-1-1.x86_64.rpm " + signed("foo-1-1.x86_64", x86),
				"source add foo-1-1.src.rpm " + signed("foo-1-1.src", src),
			},
		},
		{
			name: "one copy of a noarch package goes everywhere",
			facts: func(t *testing.T) Facts {
				return facts(candidate(t, "doc-1-1.noarch", arm), candidate(t, "doc-1-1.noarch", x86))
			},
			want: []string{
				"os/aarch64 add doc-1-1.noarch.rpm " + signed("doc-1-1.noarch", x86),
				"os/x86_64 add doc-1-1.noarch.rpm " + signed("doc-1-1.noarch", x86),
			},
			notes: 1,
		},
		{
			name: "a repository is missing",
			facts: func(t *testing.T) Facts {
				c := candidate(t, "foo-1-1.s390x", albs.S390X)
				other := candidate(t, "bar-1-1.noarch", x86)
				other.Platform = "fc"
				return facts(c, other)
			},
			refused: []string{"bar-1-1.noarch: it was built for platform fc, which product demo hasn't, and none of the product's platforms names that one as compatible", "foo-1-1.s390x: product demo has no rpm repository of platform el for s390x"},
		},
		{
			name: "unsigned, unproven, untested",
			facts: func(t *testing.T) Facts {
				a, b, c, d := candidate(t, "a-1-1.x86_64", x86), candidate(t, "b-1-1.x86_64", x86), candidate(t, "c-1-1.x86_64", x86), candidate(t, "d-1-1.x86_64", x86)
				a.Signed = ""
				b.Notarized = false
				c.Tests = testrun.Verdict{State: testrun.Failed, Reason: "1 of 2 cases failed: install"}
				d.Tests = testrun.Verdict{State: testrun.Pending, Reason: "its tests are running"}
				return facts(a, b, c, d)
			},
			want: []string{
				"os/x86_64 add b-1-1.x86_64.rpm " + signed("b-1-1.x86_64", x86), "os/x86_64 add c-1-1.x86_64.rpm " + signed("c-1-1.x86_64", x86),
				"os/x86_64 add d-1-1.x86_64.rpm " + signed("d-1-1.x86_64", x86),
			},
			refused: []string{"a-1-1.x86_64: it isn't signed", "b-1-1.x86_64: the ledger doesn't prove", "c-1-1.x86_64: product demo requires passed tests, and its tests are failed: 1 of 2", "d-1-1.x86_64: product demo requires passed tests, and its tests are pending"},
		},
		{
			name: "sources have to be verified",
			facts: func(t *testing.T) Facts {
				a, b := candidate(t, "a-1-1.x86_64", x86), candidate(t, "b-1-1.src", src)
				a.Unverified, b.Unverified = "commit 0123 of x is not notarized", "its source package was given"
				f := facts(a, b, candidate(t, "c-1-1.x86_64", x86))
				f.Product.Sources = product.VerifiedSources
				return f
			},
			want: []string{
				"os/x86_64 add a-1-1.x86_64.rpm " + signed("a-1-1.x86_64", x86), "os/x86_64 add c-1-1.x86_64.rpm " + signed("c-1-1.x86_64", x86),
				"source add b-1-1.src.rpm " + signed("b-1-1.src", src),
			},
			refused: []string{
				"a-1-1.x86_64: product demo takes packages of verified sources only, and commit 0123 of x is not notarized",
				"b-1-1.src: product demo takes packages of verified sources only, and its source package was given",
			},
		},
		{
			name: "tests are advisory",
			facts: func(t *testing.T) Facts {
				c := candidate(t, "a-1-1.x86_64", x86)
				c.Tests = testrun.Verdict{State: testrun.Missing}
				f := facts(c)
				f.Product.Gate.Tests = product.Advisory
				return f
			},
			want: []string{"os/x86_64 add a-1-1.x86_64.rpm " + signed("a-1-1.x86_64", x86)},
		},
		{
			name: "what is there already is kept, older and newer versions stay",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "foo-2-1.x86_64", x86), candidate(t, "bar-1-1.x86_64", x86))
				f.Shown["os/x86_64"] = Shown{Count: 3, Entries: []repodata.Entry{
					entry(t, "foo-1-1.x86_64", "old"), entry(t, "bar-1-1.x86_64", "bar-1-1.x86_64x86_64 signed"), entry(t, "foobar-9-1.x86_64", "other"),
				}}
				return f
			},
			want: []string{"os/x86_64 keep bar-1-1.x86_64.rpm " + signed("bar-1-1.x86_64", x86), "os/x86_64 add foo-2-1.x86_64.rpm " + signed("foo-2-1.x86_64", x86)},
		},
		{
			name: "the same NEVRA with other content (I8)",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "foo-1-1.x86_64", x86))
				f.Shown["os/x86_64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "foo-1-1.x86_64", "other content")}}
				return f
			},
			refused: []string{"foo-1-1.x86_64: os/x86_64 holds it with other content"},
		},
		{
			name: "the same NEVRA with other content, rolled back since (I8)",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "foo-1-1.x86_64", x86))
				f.Released[ReleasedFile{"os/x86_64", "foo-1-1.x86_64.rpm"}] = digest("other content")
				return f
			},
			refused: []string{"foo-1-1.x86_64: it was released into os/x86_64 as"},
		},
		{
			name: "a noarch or multilib copy that was released from another arch's build",
			facts: func(t *testing.T) Facts {
				doc, lib := candidate(t, "doc-1-1.noarch", arm), candidate(t, "lib-1-1.i686", x86)
				doc.Signed, doc.Tests = "", testrun.Verdict{State: testrun.Failed} // nothing is asked of what goes nowhere
				f := facts(doc, lib, candidate(t, "foo-1-1.x86_64", x86))
				f.Shown["os/x86_64"] = Shown{Count: 2, Entries: []repodata.Entry{entry(t, "doc-1-1.noarch", "doc"), entry(t, "lib-1-1.i686", "lib")}}
				return f
			},
			want: []string{
				"os/aarch64 add doc-1-1.noarch.rpm " + digest("doc").Short(), "os/x86_64 keep doc-1-1.noarch.rpm " + digest("doc").Short(),
				"os/x86_64 add foo-1-1.x86_64.rpm " + signed("foo-1-1.x86_64", x86), "os/x86_64 keep lib-1-1.i686.rpm " + digest("lib").Short(),
			},
			notes: 2,
		},
		{
			name: "two copies were released: neither is taken",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "doc-1-1.noarch", arm))
				f.Shown["os/x86_64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "doc-1-1.noarch", "one")}}
				f.Shown["os/aarch64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "doc-1-1.noarch", "two")}}
				return f
			},
			refused: []string{"doc-1-1.noarch: os/aarch64 holds it with other content", "doc-1-1.noarch: os/x86_64 holds it with other content"},
		},
		{
			name: "released before and rolled back since, the same content",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "foo-1-1.x86_64", x86))
				f.Released[ReleasedFile{"os/x86_64", "foo-1-1.x86_64.rpm"}] = digest("foo-1-1.x86_64x86_64 signed")
				return f
			},
			want: []string{"os/x86_64 add foo-1-1.x86_64.rpm " + signed("foo-1-1.x86_64", x86)},
		},
		{
			name: "older than what is shown (T25)",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "a-1-9.x86_64", x86), candidate(t, "b-1-1.noarch", x86), candidate(t, "c-1:1-1.x86_64", x86), candidate(t, "d-1.0~rc1-1.x86_64", x86))
				f.Shown["os/x86_64"] = Shown{Count: 4, Entries: []repodata.Entry{
					entry(t, "a-1-10.x86_64", "1"), entry(t, "b-2-1.x86_64", "2"), entry(t, "c-2-1.x86_64", "3"), entry(t, "d-1.0-1.x86_64", "4"),
				}}
				return f
			},
			want: []string{
				"os/aarch64 add b-1-1.noarch.rpm " + signed("b-1-1.noarch", x86),
				"os/x86_64 add c-1-1.x86_64.rpm " + signed("c-1:1-1.x86_64", x86), // a higher epoch is the way back
			},
			refused: []string{"a-1-9.x86_64: os/x86_64 has the newer a-1-10.x86_64", "b-1-1.noarch: os/x86_64 has the newer b-2-1.x86_64", "d-1.0~rc1-1.x86_64: os/x86_64 has the newer d-1.0-1.x86_64"},
		},
		{
			name: "two builds bring the same NEVRA",
			facts: func(t *testing.T) Facts {
				a, b := candidate(t, "foo-1-1.x86_64", x86), candidate(t, "foo-1-1.x86_64", x86)
				b.Build, b.Signed = 2, digest("other")
				c, d := candidate(t, "bar-1-1.src", src), candidate(t, "bar-1-1.src", src) // the same SRPM, built twice
				d.Build = 2
				return facts(d, b, a, c)
			},
			want: []string{
				"os/x86_64 add foo-1-1.x86_64.rpm " + signed("foo-1-1.x86_64", x86),
				"source add bar-1-1.src.rpm " + signed("bar-1-1.src", src),
			},
			refused: []string{"foo-1-1.x86_64: builds 1 and 2 both bring it"},
		},
		{
			name: "two versions in one plan",
			facts: func(t *testing.T) Facts {
				return facts(candidate(t, "foo-2-1.x86_64", x86), candidate(t, "foo-1-1.x86_64", x86))
			},
			want: []string{"os/x86_64 add foo-1-1.x86_64.rpm " + signed("foo-1-1.x86_64", x86), "os/x86_64 add foo-2-1.x86_64.rpm " + signed("foo-2-1.x86_64", x86)},
		},
		{
			name: "nothing new",
			facts: func(t *testing.T) Facts {
				f := facts(candidate(t, "bar-1-1.x86_64", x86))
				f.Shown["os/x86_64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "bar-1-1.x86_64", "bar-1-1.x86_64x86_64 signed")}}
				return f
			},
			want:    []string{"os/x86_64 keep bar-1-1.x86_64.rpm " + signed("bar-1-1.x86_64", x86)},
			refused: []string{"there is nothing to release"},
		},
		{
			name: "no key: said once",
			facts: func(t *testing.T) Facts {
				a, b := candidate(t, "a-1-1.x86_64", x86), candidate(t, "b-1-1.x86_64", x86)
				a.Signed, b.Signed = "", ""
				f := facts(a, b)
				f.Key = ""
				f.Problems = []Refusal{{Reason: "product demo has no key"}}
				return f
			},
			refused: []string{"product demo has no key"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := tt.facts(t)
			p := Make(f)
			if diff := cmp.Diff(tt.want, lines(p)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			if len(p.Refusals) != len(tt.refused) {
				t.Fatalf("refusals = %q, want %d", p.Refusals, len(tt.refused))
			}
			for i, want := range tt.refused {
				if !strings.HasPrefix(p.Refusals[i].String(), want) {
					t.Errorf("refusal %d = %q, want %q", i, p.Refusals[i], want)
				}
			}
			if len(p.Notes) != tt.notes {
				t.Errorf("notes = %q, want %d", p.Notes, tt.notes)
			}
			// The order in which facts were found doesn't matter.
			slices.Reverse(f.Packages)
			if again := Make(f); again.Digest() != p.Digest() {
				t.Errorf("the same packages in another order make another plan:\n%s", cmp.Diff(lines(p), lines(again)))
			}
		})
	}
}

func TestRepositoriesOfPlan(t *testing.T) {
	t.Parallel()
	f := facts(candidate(t, "foo-2-1.x86_64", albs.X8664))
	f.Shown = map[string]Shown{"os/x86_64": {Count: 7}, "source": {Count: 2}, "gone/x86_64": {Count: 1}}
	p := Make(f)
	type line struct {
		Path          string
		New           bool
		Before, After int
	}
	var got []line
	for _, r := range p.Repositories {
		got = append(got, line{r.Path, r.New, r.Before, r.After})
	}
	want := []line{{"debug/x86_64", true, 0, 0}, {"os/aarch64", true, 0, 0}, {"os/x86_64", false, 7, 8}, {"source", false, 2, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("repositories (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"gone/x86_64"}, p.Dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

// TestCompression: a repository changes over where product or platform say so, and that
// alone is a release, unless nothing is shown there yet.
func TestCompression(t *testing.T) {
	t.Parallel()
	const os, source = "os/x86_64", "source"
	for _, tt := range []struct {
		name                     string
		product, platform, shown repodata.Compression
		want                     string // what changes, "" for nothing
	}{
		{"nobody says anything", "", "", "", ""},
		{"the platform does", "", repodata.Zstd, "", "zstd"},
		{"the platform did", "", repodata.Zstd, repodata.Zstd, ""},
		{"the platform says no more", "", "", repodata.Zstd, "gzip"},
		{"the product has it otherwise", repodata.Gzip, repodata.Zstd, "", ""},
		{"the product alone", repodata.Zstd, "", repodata.Gzip, "zstd"},
	} {
		f := facts()
		f.Product.Metadata, f.Metadata = tt.product, map[string]repodata.Compression{"el": tt.platform}
		f.Shown = map[string]Shown{os: {Count: 1, Metadata: tt.shown}}
		p := Make(f)
		for _, r := range p.Repositories {
			want := tt.want
			if r.New { // which begin with gzip
				want = strings.TrimPrefix(string(tt.product.Or(tt.platform)), string(repodata.Gzip))
			}
			if string(r.Metadata) != want {
				t.Errorf("%s: %s is compressed anew by %q, want %q", tt.name, r.Path, r.Metadata, want)
			}
		}
		if p.ChangesMetadata() != (tt.want != "") || (len(p.Refusals) == 0) != (tt.want != "") {
			t.Errorf("%s: the plan changes metadata: %v, and is refused by %v", tt.name, p.ChangesMetadata(), p.Refusals)
		}
	}
	f := facts()
	f.Product.Metadata = repodata.Zstd
	f.Shown = map[string]Shown{}
	if p := Make(f); p.ChangesMetadata() || len(p.Refusals) == 0 {
		t.Errorf("of new repositories alone there is a release: %v, %v", p.ChangesMetadata(), p.Refusals)
	}
}

// TestPlanDigest: what people approve is bound to effects, and to nothing else.
func TestPlanDigest(t *testing.T) {
	t.Parallel()
	make := func(change func(*Facts)) albs.Digest {
		f := facts(candidate(t, "a-1-1.x86_64", albs.X8664), candidate(t, "b-1-1.x86_64", albs.X8664))
		f.Product.Gate.Tests = product.Advisory
		f.Shown["os/x86_64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "z-1-1.x86_64", "z")}}
		change(&f)
		return Make(f).Digest()
	}
	base := make(func(*Facts) {})
	for name, tt := range map[string]struct {
		change func(*Facts)
		same   bool
	}{
		"another package":      {func(f *Facts) { f.Packages = f.Packages[:1] }, false},
		"other content":        {func(f *Facts) { f.Packages[0].Signed = digest("x") }, false},
		"another key":          {func(f *Facts) { f.Key = "OTHER" }, false},
		"another verdict":      {func(f *Facts) { f.Packages[0].Tests.State = testrun.Failed }, false},
		"another expiry":       {func(f *Facts) { f.Expires = f.Expires.Add(time.Second) }, false},
		"another product":      {func(f *Facts) { f.Product.Name = "other" }, false},
		"a dropped repository": {func(f *Facts) { f.Shown["gone"] = Shown{} }, false},
		"a repository more": {func(f *Facts) {
			f.Product.Repositories = append(f.Product.Repositories, product.Repository{Path: "x", Platform: "el", Arch: albs.I686, Kind: product.RPM})
		}, false},
		"one is there already": {func(f *Facts) {
			f.Shown["os/x86_64"] = Shown{Count: 1, Entries: []repodata.Entry{entry(t, "a-1-1.x86_64", "a-1-1.x86_64x86_64 signed")}}
		}, false},
		"another compression": {func(f *Facts) { f.Product.Metadata = repodata.Zstd }, false},
		"the compression that is shown": {func(f *Facts) {
			f.Metadata = map[string]repodata.Compression{"el": repodata.Gzip}
		}, true},
		"a record": {func(f *Facts) {
			f.Records = map[string][]repodata.Record{"os/x86_64": {{Type: "group", Name: "comps.xml", Digest: digest("c"), Size: 1}}}
		}, false},
		"a record that is shown": {func(f *Facts) {
			recs := []repodata.Record{{Type: "group", Name: "comps.xml", Digest: digest("c"), Size: 1}}
			was := f.Shown["os/x86_64"]
			was.Records = recs
			f.Shown["os/x86_64"], f.Records = was, map[string][]repodata.Record{"os/x86_64": recs}
		}, true},
		"another release since": {func(f *Facts) {
			f.Serial++
			f.Shown["os/x86_64"] = Shown{Count: 5, Entries: f.Shown["os/x86_64"].Entries}
		}, true},
		"another revision": {func(f *Facts) { f.Product.Revision++ }, true},
		"another zone":     {func(f *Facts) { f.Expires = f.Expires.In(time.FixedZone("x", 3600)) }, true},
	} {
		if got := make(tt.change); (got == base) != tt.same {
			t.Errorf("%s: equal digest = %v, want %v", name, got == base, tt.same)
		}
	}
	if !base.Valid() {
		t.Errorf("the digest is %q", base)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before := []repodata.Entry{entry(t, "a-1-1.noarch", "a"), entry(t, "b-1-1.noarch", "b")}
	after := []repodata.Entry{entry(t, "b-1-1.noarch", "b"), entry(t, "c-1-1.noarch", "c")}
	want := []Change{
		{Action: Remove, NEVRA: "a-1-1.noarch", File: "a-1-1.noarch.rpm", Digest: digest("a"), Size: 10},
		{Action: Add, NEVRA: "c-1-1.noarch", File: "c-1-1.noarch.rpm", Digest: digest("c"), Size: 10},
	}
	if diff := cmp.Diff(want, Diff(before, after)); diff != "" {
		t.Errorf("Diff (-want +got):\n%s", diff)
	}
}

func TestIncluded(t *testing.T) {
	t.Parallel()
	history := []Made{
		{ID: 11, Serial: 1}, {ID: 12, Serial: 2, From: 1}, {ID: 13, Serial: 5, From: 2}, // 3 and 4 were lost on the way
		{ID: 14, Serial: 6, From: 5, BackTo: 1},  // back to 1
		{ID: 15, Serial: 7, From: 6},             // on top of that
		{ID: 16, Serial: 8, From: 7, BackTo: 5},  // forward again
		{ID: 17, Serial: 9, From: 8, BackTo: 10}, // nonsense
	}
	for serial, want := range map[int64][]albs.ReleaseID{
		0: nil, 1: {11}, 2: {11, 12}, 3: nil, 5: {11, 12, 13}, 6: {11}, 7: {11, 15}, 8: {11, 12, 13}, 9: nil,
	} {
		var got []albs.ReleaseID
		for id := range Included(history, serial) {
			got = append(got, id)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Included(%d) (-want +got):\n%s", serial, diff)
		}
	}
}

// TestPlaces: where the product has several repositories of an arch, references and
// people say which.
func TestPlaces(t *testing.T) {
	t.Parallel()
	const x86, arm, src = albs.X8664, albs.AArch64, albs.Src
	rpms := func(place string, arch albs.Arch) product.Repository {
		return product.Repository{Path: place + "/" + string(arch), Platform: "el", Arch: arch, Kind: product.RPM, Place: place}
	}
	list := func(place string, arch albs.Arch, s string) reference.Listing {
		return reference.Listing{Reference: platform.Reference{Place: place, Arch: arch}, NEVRA: nevra(t, s)}
	}
	decide := func(action place.Action, pkg, to string) place.Decision {
		return place.Decision{Action: action, Package: pkg, To: to, Reason: "so it is"}
	}
	make := func(decisions []place.Decision, cs ...Candidate) Facts {
		f := facts(cs...)
		f.Product.Repositories = []product.Repository{
			rpms("Base", x86), rpms("CRB", x86), rpms("Base", arm), rpms("Extras", arm),
			{Path: "debug/x86_64", Platform: "el", Arch: x86, Kind: product.Debug}, {Path: "source", Platform: "el", Arch: src, Kind: product.Source},
		}
		f.Decisions = decisions
		f.Places = place.NewIndex([]reference.Listing{
			list("Base", x86, "foo-1-1.x86_64"), list("CRB", x86, "foo-devel-1-2.x86_64"), list("Base", x86, "doc-2-1.noarch"), list("CRB", x86, "both-1-1.x86_64"), list("Base", x86, "both-1-1.x86_64"),
			list("CRB", x86, "crb-1-1.noarch"),
		})
		return f
	}
	for _, tt := range []struct {
		name    string
		facts   Facts
		want    []string // path, file and match
		exclude []string
		refused []string
	}{
		{
			name:  "as references have it",
			facts: make(nil, candidate(t, "foo-1-1.x86_64", x86), candidate(t, "foo-devel-1-1.x86_64", x86), candidate(t, "doc-1-1.noarch", x86), candidate(t, "both-1-1.x86_64", x86)),
			want: []string{
				"Base/aarch64 doc-1-1.noarch.rpm name", "Base/x86_64 both-1-1.x86_64.rpm exact", "Base/x86_64 doc-1-1.noarch.rpm name", "Base/x86_64 foo-1-1.x86_64.rpm exact",
				"CRB/x86_64 both-1-1.x86_64.rpm exact", "CRB/x86_64 foo-devel-1-1.x86_64.rpm name and version",
			},
		},
		{
			name:  "without a choice nobody is asked",
			facts: make(nil, candidate(t, "new-debuginfo-1-1.x86_64", x86), candidate(t, "new-1-1.src", src)),
			want:  []string{"debug/x86_64 new-debuginfo-1-1.x86_64.rpm ", "source new-1-1.src.rpm "},
		},
		{
			name:    "no place: shown, not dropped",
			facts:   make(nil, candidate(t, "new-1-1.x86_64", x86), candidate(t, "foo-1-1.x86_64", x86)),
			want:    []string{"Base/x86_64 foo-1-1.x86_64.rpm exact"},
			refused: []string{"new-1-1.x86_64: it has no place: no reference of platform el lists it"},
		},
		{
			name:    "a place that an arch hasn't",
			facts:   make(nil, candidate(t, "crb-1-1.noarch", x86)),
			want:    []string{"CRB/x86_64 crb-1-1.noarch.rpm exact"},
			refused: []string{"crb-1-1.noarch: references have crb-1-1.noarch in [CRB], and product demo has no such repository for aarch64"},
		},
		{
			name:  "moved to a place",
			facts: make([]place.Decision{decide(place.Move, "new-1-1.noarch", "Base")}, candidate(t, "new-1-1.noarch", x86)),
			want:  []string{"Base/aarch64 new-1-1.noarch.rpm ", "Base/x86_64 new-1-1.noarch.rpm "},
		},
		{
			name:  "moved away, to a path, and added to a place",
			facts: make([]place.Decision{decide(place.Move, "doc-1-1.noarch", "CRB/x86_64"), decide(place.Add, "doc-1-1.noarch", "Extras")}, candidate(t, "doc-1-1.noarch", x86)),
			want:  []string{"CRB/x86_64 doc-1-1.noarch.rpm ", "Extras/aarch64 doc-1-1.noarch.rpm "},
		},
		{
			name: "excluded, and so neither tested nor signed",
			facts: func() Facts {
				c := candidate(t, "new-1-1.x86_64", x86)
				c.Signed, c.Tests = "", testrun.Verdict{State: testrun.Failed}
				return make([]place.Decision{decide(place.Exclude, "new-1-1.x86_64", "")}, c, candidate(t, "foo-1-1.x86_64", x86))
			}(),
			want: []string{"Base/x86_64 foo-1-1.x86_64.rpm exact"}, exclude: []string{"new-1-1.x86_64"},
		},
		{
			name: "where it can't go",
			facts: make([]place.Decision{decide(place.Move, "a-1-1.x86_64", "nowhere"), decide(place.Move, "b-1-1.x86_64", "Base/aarch64"), decide(place.Move, "c-1-1.src", "Base/x86_64"), decide(place.Move, "gone-1-1.x86_64", "Base")},
				candidate(t, "a-1-1.x86_64", x86), candidate(t, "b-1-1.x86_64", x86), candidate(t, "c-1-1.src", src), candidate(t, "foo-1-1.x86_64", x86)),
			want: []string{"Base/x86_64 foo-1-1.x86_64.rpm exact"},
			refused: []string{
				"a-1-1.x86_64: it was decided to go to nowhere, and product demo has neither", "b-1-1.x86_64: Base/aarch64 is a repository for aarch64", "c-1-1.src: Base/x86_64 is a repository of kind rpm",
				"gone-1-1.x86_64: it was decided to move it, and it isn't among what is to be released",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := Make(tt.facts)
			var got []string
			for _, r := range p.Repositories {
				for _, c := range r.Packages {
					got = append(got, r.Path+" "+c.File+" "+c.Match)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.exclude, p.Excluded); diff != "" {
				t.Errorf("excluded (-want +got):\n%s", diff)
			}
			if len(p.Refusals) != len(tt.refused) {
				t.Fatalf("refusals = %q, want %d", p.Refusals, len(tt.refused))
			}
			for i, want := range tt.refused {
				if !strings.HasPrefix(p.Refusals[i].String(), want) {
					t.Errorf("refusal %d = %q, want %q", i, p.Refusals[i], want)
				}
			}
		})
	}
	// What was decided and why is a part of what people approve; who and when is not.
	base := make([]place.Decision{decide(place.Move, "foo-1-1.x86_64", "Base")}, candidate(t, "foo-1-1.x86_64", x86))
	other := base
	other.Decisions = []place.Decision{base.Decisions[0]}
	other.Decisions[0].Reason = "another"
	if Make(base).Digest() == Make(other).Digest() {
		t.Error("another reason leaves the digest as it is")
	}
	other.Decisions[0] = base.Decisions[0]
	other.Decisions[0].By = "mia"
	if Make(base).Digest() != Make(other).Digest() {
		t.Error("another person changes the digest")
	}
}

func TestMissingAndUpdates(t *testing.T) {
	t.Parallel()
	f := facts(candidate(t, "foo-2-1.x86_64", albs.X8664), candidate(t, "foo-2-1.src", albs.Src))
	f.Shown["os/x86_64"] = Shown{Count: 3, Entries: []repodata.Entry{entry(t, "foo-1-1.x86_64", "1"), entry(t, "foo-1-3.x86_64", "3"), entry(t, "foo-1-2.x86_64", "2")}}
	p := Make(f)
	if diff := cmp.Diff([]Missing{{1, "el", []albs.Arch{albs.AArch64}}}, p.Missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	for _, r := range p.Repositories {
		if r.Path != "os/x86_64" {
			continue
		}
		if len(r.Packages) != 1 || r.Packages[0].Updates != "foo-1-3.x86_64" || r.Bytes != 10 {
			t.Errorf("the repository comes to %+v", r)
		}
	}
	if p = Make(facts(candidate(t, "doc-1-1.noarch", albs.X8664))); len(p.Missing) != 0 {
		t.Errorf("a noarch package is missing for %v", p.Missing)
	}
}

// TestWaived: what is waived is added, the approvers see by whose word, and the plan ends with
// the waiver.
func TestWaived(t *testing.T) {
	t.Parallel()
	f := facts(candidate(t, "a-1-1.x86_64", albs.X8664))
	w := albs.Waived{Waiver: 3, Stage: albs.StageUpgrade, Person: "ada", Reason: "it is known", Expires: f.Expires.Add(-time.Hour)}
	f.Packages[0].Tests = testrun.Verdict{State: testrun.Waived, Reason: "stage upgrade failed", Waivers: []albs.Waived{w}}
	p := Make(f)
	if len(p.Refusals) != 0 || !p.Expires.Equal(w.Expires) || !slices.Contains(p.Notes, "a-1-1.x86_64: "+w.String()) {
		t.Errorf("refused %v, expires %v, notes %q", p.Refusals, p.Expires, p.Notes)
	}
	var got []albs.Waived
	for _, r := range p.Effects().Repositories {
		for _, c := range r.Changes {
			if c.Tests == "waived" {
				got = append(got, c.Waivers...)
			}
		}
	}
	if !slices.Equal(got, []albs.Waived{w}) {
		t.Errorf("the effects name the waivers %+v", got)
	}
	other := w
	other.Person = "eve"
	f.Packages[0].Tests.Waivers = []albs.Waived{other}
	if Make(f).Digest() == p.Digest() {
		t.Error("another person's waiver gives the same digest")
	}
}
