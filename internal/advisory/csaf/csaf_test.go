package csaf

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
)

var golden = flag.Bool("update", false, "write the golden files anew")

// home is the platform of advisorytest, as a reader is told of it.
var home = Platform{Name: advisorytest.Platform, CPEs: []string{"cpe:/o:almalinux:almalinux:9", "cpe:/a:almalinux:almalinux:9"}}

// home9 has repositories with CPEs of their own.
func home9() advisory.Distribution {
	d := advisorytest.Distribution()
	d.RepositoryCPEs = map[string]string{
		"9/BaseOS/x86_64/os": "cpe:/o:almalinux:almalinux:9::baseos", "9/BaseOS/aarch64/os": "cpe:/o:almalinux:almalinux:9::baseos",
		"9/AppStream/x86_64/os": "cpe:/a:almalinux:almalinux:9::appstream",
	}
	return d
}

// sample is an advisory of packages in two repositories, one of a module, with statements
// of each kind.
func sample() advisory.Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	pkg := advisorytest.Package
	m := &advisory.Module{Name: "virt", Stream: "rhel", Version: 9050020241118123456, Context: "a75119d5"}
	libs := pkg("perl-libs-4:5.32.1-10.el9.x86_64", "perl-5.32.1-10.el9.src.rpm", "9/BaseOS/x86_64/os", nil)
	libs.Restart = true
	return advisory.Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 3, Type: advisory.Security, Severity: advisory.Important,
		Title: "perl and virt:rhel security update", Summary: "An update for perl.", Description: "perl is <b>a language</b>.\n\n* perl: overflow",
		Solution: "Install it.\nThen log out.", Rights: "Copyright 2026 Example", From: "errata@example.org",
		Upstream: "RHSA-2026:1234", Issued: at, Updated: at.Add(48 * time.Hour),
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "ALSA-2026:1234", URL: "https://errata.example.org/9/ALSA-2026-1234.html", Title: "ALSA-2026:1234"},
			{Kind: advisory.ToAdvisory, ID: "RHSA-2026:1234", URL: "https://access.redhat.com/errata/RHSA-2026:1234"},
			{Kind: advisory.ToCVE, ID: "CVE-2026-10002", URL: "https://access.redhat.com/security/cve/CVE-2026-10002"},
			{Kind: advisory.ToBugzilla, ID: "2270001", URL: "https://bugzilla.redhat.com/show_bug.cgi?id=2270001", Title: "perl: overflow"},
			{Kind: advisory.ToOther, URL: "https://example.org/notes?a=1&b=2", Title: "Notes"},
		},
		CVEs: []advisory.CVE{
			{
				ID: "CVE-2026-10001", CWEs: []string{"CWE-125", "CWE-787"}, Impact: advisory.Important, Public: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
				Scores: []advisory.Score{
					{Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:P"}, {Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"},
					{Vector: "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Source: "nvd"}, {Vector: "nonsense", Source: "nobody"},
				},
			},
			{ID: "CVE-2026-10002", CWEs: []string{"CWE-416"}},
		},
		Packages: []advisory.Package{
			pkg("perl-4:5.32.1-10.el9.x86_64", "perl-5.32.1-10.el9.src.rpm", "9/BaseOS/x86_64/os", nil), pkg("perl-4:5.32.1-10.el9.aarch64", "perl-5.32.1-10.el9.src.rpm", "9/BaseOS/aarch64/os", nil),
			libs, pkg("perl-4:5.32.1-10.el9.src", "", "9/BaseOS/Source", nil),
			pkg("qemu-kvm-core-17:9.0.0-3.module+el9.x86_64", "qemu-kvm-9.0.0-3.module+el9.src.rpm", "9/AppStream/x86_64/os", m),
		},
		VEX: []advisory.VEX{
			{CVE: "CVE-2026-10001", Package: "libvirt", Stream: "virt:rhel", Status: advisory.Affected, Detail: "Don't open images of others.", At: at.Add(time.Hour)},
			{CVE: "CVE-2026-10001", Package: "zlib", Status: advisory.NotAffected, Justification: "vulnerable_code_not_present", Detail: "It is compiled out.", At: at.Add(2 * time.Hour)},
			{CVE: "CVE-2026-10003", Package: "perl", Status: advisory.UnderInvestigation, At: at.Add(48 * time.Hour)},
			{CVE: "CVE-2026-10003", Package: "bash", Status: advisory.Fixed, Detail: "Since 9.1.", At: at},
		},
	}.Normal()
}

// earlier are the versions before the advisory's, an hour apart.
func earlier(a advisory.Advisory) []Revision {
	var out []Revision
	for i := range a.Version - 1 {
		out = append(out, Revision{At: a.Issued.Add(time.Duration(i) * time.Hour)})
	}
	return out
}

func write(t testing.TB, a advisory.Advisory, d advisory.Distribution) ([]advisory.File, advisory.Piece) {
	t.Helper()
	files, piece, err := Write(a, d, earlier(a))
	if err != nil {
		t.Fatal(err)
	}
	return files, piece
}

// documents are those of the files that are documents, by what their names end in behind
// the id: "" for the advisory, "vex" for the other.
func documents(files []advisory.File) map[string][]byte {
	out := map[string][]byte{}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Path, ".json"); ok {
			if strings.HasSuffix(name, "-vex") {
				out["vex"] = f.Bytes
			} else {
				out[""] = f.Bytes
			}
		}
	}
	return out
}

// TestGolden: the documents, their hashes and the lists of one advisory, to the letter; and
// read again it is what it was.
func TestGolden(t *testing.T) {
	t.Parallel()
	d := home9()
	files, piece := write(t, sample(), d)
	lists, err := Lists(d, []advisory.Piece{piece}, piece.Updated, true)
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := Provider("https://repo.example.org/"+WellKnown, []advisory.Distribution{d}, []Key{{strings.Repeat("AB", 20), "https://repo.example.org/KEY"}}, piece.Updated)
	if err != nil {
		t.Fatal(err)
	}
	files = append(append(files, lists...), advisory.File{Path: providerName, Bytes: metadata})
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
		advisorytest.Golden(t, filepath.Join("testdata", filepath.Base(f.Path)), f.Bytes, *golden)
	}
	if want := strings.Fields("csaf/2026/alsa-2026_1234.json csaf/2026/alsa-2026_1234.json.sha256 csaf/2026/alsa-2026_1234.json.sha512 " +
		"csaf/2026/alsa-2026_1234-vex.json csaf/2026/alsa-2026_1234-vex.json.sha256 csaf/2026/alsa-2026_1234-vex.json.sha512 " +
		"csaf/index.txt csaf/changes.csv csaf/csaf-feed-tlp-white.json provider-metadata.json"); !slices.Equal(names, want) {
		t.Errorf("the files are %q", names)
	}
	for kind, b := range documents(files[:6]) {
		as, said, err := Read(bytes.NewReader(b), home)
		if err != nil || len(as) != 1 || len(said) > 0 {
			t.Fatalf("%q is read as %+v, %q, %v", kind, as, said, err)
		}
		want := carry(sample(), home9(), kind == "vex")
		if diff := cmp.Diff(want, as[0], cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", kind, diff)
		}
	}
}

// carry returns what a document can carry of an advisory.
func carry(a advisory.Advisory, d advisory.Distribution, vex bool) advisory.Advisory {
	if !vex || a.Withdrawn != nil {
		a.VEX = nil
	}
	if a.From == "" {
		a.From = d.Contact
	}
	refs := []advisory.Reference{}
	for _, r := range a.References {
		switch r.Kind {
		case advisory.ToSelf, advisory.ToOther: // whose summary is their title
			if r.Title == "" {
				r.Title = r.ID
			}
			if r.Kind == advisory.ToOther {
				r.ID = ""
			}
		default: // whose summary begins with their id
			if r.Title == r.ID {
				r.Title = ""
			}
		}
		refs = append(refs, r)
	}
	a.References = refs
	a.CVEs = cves(a)
	if a.Withdrawn != nil {
		a.Packages = nil
		a.CVEs = slices.DeleteFunc(a.CVEs, func(c advisory.CVE) bool {
			return !slices.ContainsFunc(refs, func(r advisory.Reference) bool { return r.ID == c.ID })
		})
		for i := range a.CVEs {
			a.CVEs[i] = advisory.CVE{ID: a.CVEs[i].ID}
		}
		a.Reboot, a.Solution = false, ""
	}
	// A package is there once, whichever repositories have it.
	flags := map[string]advisory.Package{}
	var packages []advisory.Package
	for _, p := range a.Packages {
		p.Repository, p.Relogin = "", false
		if p.Module != nil {
			m := *p.Module
			m.Arch = ""
			p.Module = &m
		}
		f := flags[p.NEVRA.String()+stream(p)]
		f.Reboot, f.Restart = f.Reboot || p.Reboot, f.Restart || p.Restart
		flags[p.NEVRA.String()+stream(p)] = f
		packages = append(packages, p)
	}
	for i, p := range packages {
		f := flags[p.NEVRA.String()+stream(p)]
		packages[i].Reboot, packages[i].Restart = f.Reboot, f.Restart
	}
	a.Packages = packages
	return a.Normal()
}

// TestRoundTrip: written and read, an advisory is what it was, but for what a document
// can't carry; and written anew it has the same bytes.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 11))
	read, times := 0, 200
	if testing.Short() {
		times = 40
	}
	for n := range times {
		a := advisorytest.Random(r, n)
		d := home9()
		files, _ := write(t, a, d)
		if a.Type != advisory.Security && len(a.VEX) == 0 && len(files) > 0 {
			t.Errorf("%s, of type %s, has %d files", a.ID, a.Type, len(files))
		}
		for kind, b := range documents(files) {
			read++
			as, said, err := Read(bytes.NewReader(b), home)
			if err != nil || len(as) != 1 || len(said) > 0 {
				t.Fatalf("%s %q is read as %d advisories, %q, %v", a.ID, kind, len(as), said, err)
			}
			if diff := cmp.Diff(carry(a, d, kind == "vex"), as[0], cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s %q (-want +got):\n%s", a.ID, kind, diff)
			}
			if a.Withdrawn != nil {
				continue
			}
			again, _ := write(t, as[0], advisorytest.Distribution())
			first, _ := write(t, carry(a, d, kind == "vex"), advisorytest.Distribution())
			if diff := cmp.Diff(string(documents(first)[kind]), string(documents(again)[kind])); diff != "" {
				t.Fatalf("%s %q, written anew:\n%s", a.ID, kind, diff)
			}
		}
	}
	if read < 8 {
		t.Errorf("only %d documents were read", read)
	}
}

// TestOthers: documents in the shapes that Red Hat's and SUSE's have, written and read again.
func TestOthers(t *testing.T) {
	t.Parallel()
	d, all := home9(), Platform{CPEs: append(append([]string{"cpe:/o:suse:sle-module-basesystem:15"}, home.CPEs...), el8.CPEs...)}
	in := func(r io.Reader, platform string) ([]advisory.Advisory, []string, error) {
		p := all
		p.Name = platform
		return Read(r, p)
	}
	for name, kinds := range map[string][]string{"suse": {""}, "rhsa": {"", "vex"}, "vex": {"", "vex"}} {
		for _, kind := range kinds {
			back := func(t testing.TB, a advisory.Advisory) []byte {
				files, _ := write(t, a, d)
				return documents(files)[kind]
			}
			advisorytest.Again(t, "testdata/"+name+".json", *golden, in, back, func(a advisory.Advisory) advisory.Advisory { return carry(a, d, kind == "vex") })
		}
	}
}

// TestWritten: nothing is said of what was withdrawn, the last statement about a package is
// the one that counts, and a version has to have all that came before it.
func TestWritten(t *testing.T) {
	t.Parallel()
	a := sample()
	a.Withdrawn = &advisory.Withdrawal{At: a.Updated.Add(time.Hour), Reason: "It broke\nthings."}
	files, piece := write(t, a, home9())
	if !piece.Updated.Equal(a.Withdrawn.At) || len(files) != 6 {
		t.Errorf("withdrawn it has %d files of %s", len(files), piece.Updated)
	}
	for kind, b := range documents(files) {
		var doc document
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Tree != nil || doc.Vulnerabilities != nil || doc.Head.Category != "csaf_base" || doc.Head.Tracking.Current != "2026-11-22T11:00:00Z" {
			t.Errorf("%q is %s", kind, b)
		}
	}

	a = sample()
	a.VEX = append(a.VEX, advisory.VEX{CVE: "CVE-2026-10003", Package: "perl", Status: advisory.NotAffected, Justification: "component_not_present", At: a.Updated.Add(time.Hour)})
	files, _ = write(t, a, home9())
	as, _, err := Read(bytes.NewReader(documents(files)["vex"]), home)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range as[0].VEX {
		if v.CVE == "CVE-2026-10003" && v.Package == "perl" && v.Status != advisory.NotAffected {
			t.Errorf("after it was found unaffected, perl is %s", v.Status)
		}
	}

	if _, _, err := Write(sample(), home9(), nil); albs.KindOf(err) != albs.Invalid {
		t.Errorf("version 3 without the two before it: %v", err)
	}
	a = sample()
	a.Title = ""
	if _, _, err := Write(a, home9(), earlier(a)); albs.KindOf(err) != albs.Invalid {
		t.Errorf("without a title: %v", err)
	}

	// Versions that were published in the wrong order of their days don't make a history
	// that runs backwards.
	a = sample()
	files, _, err = Write(a, home9(), []Revision{{At: a.Updated.AddDate(1, 0, 0)}, {At: a.Issued.AddDate(-1, 0, 0), Summary: "A\nsecond"}})
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(documents(files)[""], &doc); err != nil {
		t.Fatal(err)
	}
	want := []revision{{"2026-11-20T10:00:00Z", "1", "First version"}, {"2026-11-20T10:00:00Z", "2", "A second"}, {"2026-11-22T10:00:00Z", "3", "Version 3"}}
	if diff := cmp.Diff(want, doc.Head.Tracking.History); diff != "" {
		t.Error(diff)
	}
}

// TestLists: all documents are listed, by path and by change, whatever order the pieces
// come in.
func TestLists(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 5))
	d := home9()
	var pieces []advisory.Piece
	paths := map[string]string{}
	for n := range 60 {
		files, piece := write(t, advisorytest.Random(r, n), d)
		pieces = append(pieces, piece)
		for _, f := range files {
			if strings.HasSuffix(f.Path, ".json") {
				paths[strings.TrimPrefix(f.Path, Folder)] = piece.Updated.Format(time.RFC3339)
			}
		}
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lists, err := Lists(d, pieces, at, false)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(pieces)
	if again, err := Lists(d, pieces, at, false); err != nil || cmp.Diff(lists, again) != "" {
		t.Errorf("in another order of pieces the lists are others: %v", err)
	}
	index := strings.Fields(string(lists[0].Bytes))
	if len(index) != len(paths) || !slices.IsSorted(index) || len(index) < 8 {
		t.Errorf("index.txt has %d of %d documents", len(index), len(paths))
	}
	before := "9"
	changes := strings.Fields(string(lists[1].Bytes))
	for _, line := range changes {
		path, when, _ := strings.Cut(strings.Trim(line, `"`), `","`)
		if paths[path] != when || when > before {
			t.Errorf("changes.csv has %s", line)
		}
		before = when
	}
	if len(changes) != len(paths) || bytes.Contains(lists[2].Bytes, []byte("signature")) {
		t.Errorf("changes.csv has %d of %d documents, or the feed signatures", len(changes), len(paths))
	}
	if empty, err := Lists(d, nil, at, false); err != nil || len(empty[0].Bytes)+len(empty[1].Bytes) != 0 {
		t.Errorf("of nothing: %q, %v", empty, err)
	}
	for _, b := range []string{"x", "{}\n", "[]"} {
		if _, err := Lists(d, []advisory.Piece{{Bytes: []byte(b)}}, at, false); albs.KindOf(err) != albs.Invalid {
			t.Errorf("the piece %q: %v", b, err)
		}
	}
	other := d
	other.Vendor = "Other"
	for name, ds := range map[string][]advisory.Distribution{"none": nil, "two vendors": {d, other}} {
		if _, err := Provider("https://example.org/provider-metadata.json", ds, nil, at); albs.KindOf(err) != albs.Invalid {
			t.Errorf("a provider of %s: %v", name, err)
		}
	}
}

// BenchmarkLists is what one new advisory costs beside others: its documents, and the lists
// of all.
func BenchmarkLists(b *testing.B) {
	for _, n := range []int{500, 5000} {
		r := rand.New(rand.NewPCG(41, 43))
		d := home9()
		var pieces []advisory.Piece
		for i := range n {
			_, piece := write(b, advisorytest.Random(r, i), d)
			pieces = append(pieces, piece)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				_, piece := write(b, sample(), d)
				if _, err := Lists(d, append(pieces[:n:n], piece), time.Unix(0, 0), true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
