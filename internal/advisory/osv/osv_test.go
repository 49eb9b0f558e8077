package osv

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is an advisory of two source packages, one of a module, in versions that rpm and
// strings order differently.
func sample() advisory.Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	pkg := func(nevra, source string, m *advisory.Module) advisory.Package {
		return advisorytest.Package(nevra, source, "9/AppStream/"+nevra[strings.LastIndex(nevra, ".")+1:]+"/os", m)
	}
	m := &advisory.Module{Name: "virt", Stream: "rhel", Version: 9050020241118123456, Context: "a75119d5", Arch: "x86_64"}
	return advisory.Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 2, Type: advisory.Security, Severity: advisory.Important,
		Title: "perl and virt:rhel security update", Description: "perl is <b>a language</b>.\n\n* perl: overflow", Rights: "Copyright 2026 Example",
		Upstream: "RHSA-2026:1234", Issued: at, Updated: at.Add(time.Hour),
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "ALSA-2026:1234", URL: "https://errata.example.org/9/ALSA-2026-1234.html", Title: "ALSA-2026:1234"},
			{Kind: advisory.ToCVE, ID: "CVE-2026-10002", URL: "https://access.redhat.com/security/cve/CVE-2026-10002", Title: "CVE-2026-10002"},
			{Kind: advisory.ToBugzilla, ID: "2270001", URL: "https://bugzilla.redhat.com/show_bug.cgi?id=2270001"},
		},
		CVEs: []advisory.CVE{{
			ID: "CVE-2026-10001", CWEs: []string{"CWE-787"}, Impact: advisory.Important, Public: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
			Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"}, {Vector: "nonsense", Source: "nobody"}},
		}},
		Packages: []advisory.Package{
			pkg("perl-4:5.32.1-10.el9.x86_64", "perl-5.32.1-10.el9.src.rpm", nil), pkg("perl-4:5.32.1-9.el9.aarch64", "perl-5.32.1-9.el9.src.rpm", nil),
			pkg("perl-Errno-1.30-10.el9.x86_64", "perl-5.32.1-10.el9.src.rpm", nil),
			pkg("qemu-kvm-core-17:9.0.0-3.module+el9.x86_64", "qemu-kvm-9.0.0-3.module+el9.src.rpm", m),
		},
	}.Normal()
}

func file(t testing.TB, a advisory.Advisory) []byte {
	t.Helper()
	fs := Files(a, advisorytest.Distribution())
	if len(fs) != 1 || fs[0].Path != "osv/"+strings.ReplaceAll(a.ID, ":", "-")+".json" {
		t.Fatalf("the files are %v", fs)
	}
	return fs[0].Bytes
}

func TestGolden(t *testing.T) {
	t.Parallel()
	b := file(t, sample())
	advisorytest.Golden(t, "testdata/ALSA-2026-1234.json", b, *update)
	as, dropped, err := Read(bytes.NewReader(b), "almalinux-9")
	if err != nil || len(dropped) > 0 || len(as) != 1 {
		t.Fatal(as, dropped, err)
	}
	if d := cmp.Diff(carry(sample()), as[0]); d != "" {
		t.Error(d)
	}
}

// TestMeaning: what consumers ask for is there: source packages with the lowest version that
// mends, by rpm's order; all CVEs, those that only a reference names too; vectors; streams.
func TestMeaning(t *testing.T) {
	t.Parallel()
	var d document
	if err := json.Unmarshal(file(t, sample()), &d); err != nil {
		t.Fatal(err)
	}
	if want := []string{"CVE-2026-10001", "CVE-2026-10002"}; !slices.Equal(d.Upstream, want) {
		t.Errorf("upstream is %v, want %v", d.Upstream, want)
	}
	if len(d.Severity) != 1 || d.Severity[0] != (severity{"CVSS_V3", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}) {
		t.Errorf("the severity is %v", d.Severity)
	}
	var got []string
	for _, a := range d.Affected {
		got = append(got, a.Package.Ecosystem+" "+a.Package.Name+" "+a.Ecosystem.RPMMod+" "+a.Ranges[0].Events[1].Fixed)
	}
	if d := cmp.Diff([]string{"AlmaLinux:9 perl  4:5.32.1-9.el9", "AlmaLinux:9 qemu-kvm virt:rhel 17:9.0.0-3.module+el9"}, got); d != "" {
		t.Error(d)
	}
	a := sample()
	a.Description = "It is like CVE-2001-0001, which CVE-2001-0002 isn't." // that is prose
	if err := json.Unmarshal(file(t, a), &d); err != nil || len(d.Upstream) != 2 {
		t.Errorf("by its prose, upstream is %v, %v", d.Upstream, err)
	}
	a.Withdrawn = &advisory.Withdrawal{At: a.Updated.Add(time.Hour), Reason: "It was wrong."}
	if err := json.Unmarshal(file(t, a), &d); err != nil || d.Withdrawn != "2026-11-20T12:00:00Z" || d.Modified != d.Withdrawn {
		t.Errorf("withdrawn it is %+v, %v", d, err)
	}
}

// carry returns what the form can carry of an advisory.
func carry(a advisory.Advisory) advisory.Advisory {
	a.VEX = nil
	for _, id := range a.AllCVEs() {
		if !slices.ContainsFunc(a.CVEs, func(c advisory.CVE) bool { return c.ID == id }) {
			a.CVEs = append(slices.Clone(a.CVEs), advisory.CVE{ID: id})
		}
	}
	return a.Normal()
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var list [][]byte
	var want []advisory.Advisory
	for n := range advisorytest.Rounds(200) {
		a := advisorytest.Random(rand.New(rand.NewPCG(3, uint64(n))), n)
		b := file(t, a)
		as, dropped, err := Read(bytes.NewReader(b), a.Platform)
		if err != nil || len(dropped) > 0 || len(as) != 1 {
			t.Fatal(len(as), dropped, err)
		}
		if d := advisorytest.Diff(carry(a), as[0]); d != "" {
			t.Fatalf("%s: %s", a.ID, d)
		}
		if !bytes.Equal(file(t, as[0]), b) {
			t.Fatalf("%s is written otherwise once it was read", a.ID)
		}
		list, want = append(list, b), append(want, carry(a))
	}
	as, dropped, err := Read(bytes.NewReader(slices.Concat([]byte("["), bytes.Join(list, []byte(",")), []byte("]"))), advisorytest.Platform)
	if err != nil || len(dropped) > 0 {
		t.Fatal(dropped, err)
	}
	want = advisory.Merge(want)
	if len(as) != len(want) {
		t.Fatalf("of a list of %d come %d", len(want), len(as))
	}
	for i := range want {
		if d := advisorytest.Diff(want[i], as[i]); d != "" {
			t.Error(d)
		}
	}
}

// TestOthers: files in the shapes that AlmaLinux's, Rocky Linux's and SUSE's have.
func TestOthers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alma", "rocky"} {
		advisorytest.Again(t, "testdata/"+name+".json", *update, Read, file, carry)
	}
}

// TestReadForeign: what others write, in their ways.
func TestReadForeign(t *testing.T) {
	t.Parallel()
	as, dropped, err := Read(strings.NewReader(`[
{"id":"ALBA-2025:20841","summary":"kernel bug fix","modified":"2025-12-01T00:00:00Z","published":"2025-11-30T00:00:00Z","related":["CVE-2025-10001"],
 "affected":[{"package":{"ecosystem":"AlmaLinux:9","name":"kernel-core"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"5.14.0-1.el9"}]}]}],
 "references":[{"url":"https://errata.almalinux.org/9/ALBA-2025-20841.html","type":"ADVISORY"},{"url":"https://access.redhat.com/errata/RHBA-2025:20841","type":"ADVISORY"},{"url":"https://access.redhat.com/security/cve/CVE-2025-10002","type":"REPORT"},{"url":"javascript:x","type":"WEB"}]},
{"schema_version":"1.7.5","id":"GHSA-aaaa-bbbb-cccc","modified":"2025-12-01T00:00:00.123456Z","aliases":["CVE-2025-10003"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},{"type":"CVSS_V3","score":"9.8"}],
 "affected":[{"package":{"ecosystem":"Go","name":"example.org/x"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"}]}],"ecosystem_specific":["odd"]}],
 "database_specific":{"severity":"HIGH","cves":"odd"}},
{"id":"SUSE-SU-2025:1","modified":"2025-12-01T00:00:00Z","severity":[{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:P/I:P/A:P"}],"affected":[{"package":{"ecosystem":"SUSE:15","name":"openssl"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.1-1"}]}],"ecosystem_specific":{"binaries":[{"openssl":"1.1-1"}]}}]},
{"id":"../x","modified":"2025-12-01T00:00:00Z"},{"id":5},{}
]`), "p")
	if err != nil || len(as) != 3 {
		t.Fatal(len(as), err)
	}
	alba, ghsa := as[0], as[1]
	if alba.Type != advisory.Bugfix || alba.Upstream != "RHBA-2025:20841" || !slices.Equal(alba.AllCVEs(), []string{"CVE-2025-10001", "CVE-2025-10002"}) || len(alba.References) != 3 ||
		len(alba.Packages) != 1 || alba.Packages[0].NEVRA.String() != "kernel-core-5.14.0-1.el9.src" {
		t.Errorf("AlmaLinux's is %+v", alba)
	}
	if ghsa.Type != advisory.Security || ghsa.Title != ghsa.ID || len(ghsa.CVEs) != 1 || len(ghsa.CVEs[0].Scores) != 1 {
		t.Errorf("GitHub's is %+v", ghsa)
	}
	for _, want := range []string{"only the source package", "javascript:x", `"9.8" is no vector`, "no version of", "whose vector", "x: it can't", `{"id":5}… can't`, ": it can't be taken over"} {
		if !slices.ContainsFunc(dropped, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing says %s: %q", want, dropped)
		}
	}
	for text, kind := range map[string]albs.Kind{"": albs.Invalid, "[": albs.Invalid, `{"id":5}`: albs.Invalid, "{} {}": albs.Invalid} {
		if _, _, err := Read(strings.NewReader(text), "p"); albs.KindOf(err) != kind {
			t.Errorf("%.20q gives %v", text, err)
		}
	}
}

// TestBounds: a file that is too long is refused.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("files beyond the bounds take seconds to be read: not with -short")
	}
	t.Parallel()
	for _, text := range []string{strings.Repeat(" ", maxBytes+1), "[" + strings.Repeat("0,", maxAdvisories) + "0]"} {
		if _, _, err := Read(strings.NewReader(text), "p"); albs.KindOf(err) != albs.TooLarge {
			t.Errorf("%.20q gives %v", text, err)
		}
	}
}

func TestVectorType(t *testing.T) {
	t.Parallel()
	for v, want := range map[string]string{
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": "CVSS_V3", "CVSS:3.0/AV:P/AC:H/PR:H/UI:R/S:C/C:L/I:N/A:N/E:X/MAV:A": "CVSS_V3", "AV:N/AC:L/Au:N/C:P/I:P/A:C/E:POC": "CVSS_V2",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:N/SA:N/U:Red": "CVSS_V4",
		"CVSS:4.0/AC:L/AV:N/AT:N/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:N/SA:N":       "", // out of order
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H":                              "", "CVSS:3.1/AV:N/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": "", "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H": "",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/": "", "CVSS:2.0/AV:N": "", "": "", "7.5": "",
	} {
		if got := vectorType(v); got != want {
			t.Errorf("%q is %q, want %q", v, got, want)
		}
	}
}

// TestSchema: the files are such as OSV's own schema wants.
func TestSchema(t *testing.T) {
	t.Parallel()
	faults := advisorytest.OSVSchema(t)
	as := []advisory.Advisory{sample()}
	for n := range advisorytest.Rounds(100) {
		as = append(as, advisorytest.Random(rand.New(rand.NewPCG(4, uint64(n))), n))
	}
	for _, a := range as {
		for _, fault := range faults(file(t, a)) {
			t.Errorf("%s: %s", a.ID, fault)
		}
	}
	if len(faults(bytes.Replace(file(t, sample()), []byte(`"ECOSYSTEM"`), []byte(`"RPM"`), 1))) == 0 {
		t.Error("the schema lets a range of another type pass")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(f, sample()))
	f.Add([]byte(`{"id":"A-1","modified":"2025-12-01T00:00:00Z","upstream":["CVE-2025-10001"],"references":[{"url":"https://x/CVE-2025-10002","type":"REPORT"}]}`))
	f.Add([]byte(`[{"id":"A-1","modified":"2025-12-01T00:00:00Z","affected":[{"package":{"name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"fixed":"1:1-1"}]}],"ecosystem_specific":{"rpmmod":"a:b","binaries":[{"name":"a","version":"1-1","arch":"noarch"}]}}]}]`))
	advisorytest.Seed(f, "testdata/alma.json", "testdata/rocky.json")
	advisorytest.FuzzRead(f, Read, func(t *testing.T, a advisory.Advisory) {
		again, dropped, err := Read(bytes.NewReader(file(t, a)), "p")
		if err != nil || len(again) != 1 {
			t.Fatal(len(again), dropped, err)
		}
	})
}
