package oval

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/rpm"
)

var golden = flag.Bool("update", false, "write the golden file anew")

// nine is a distribution with two keys, and repositories with CPEs of their own.
func nine() advisory.Distribution {
	d := advisorytest.Distribution()
	d.KeyFingerprints = []string{strings.Repeat("AB", 20), strings.Repeat("CD", 20)}
	d.RepositoryCPEs = map[string]string{
		"9/BaseOS/x86_64/os": "cpe:/o:almalinux:almalinux:9::baseos", "9/BaseOS/aarch64/os": "cpe:/o:almalinux:almalinux:9::baseos",
		"9/AppStream/x86_64/os": "cpe:/a:almalinux:almalinux:9::appstream", "9/CRB/x86_64/os": "cpe:/a:almalinux:almalinux:9::crb",
	}
	return d
}

func sample() advisory.Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	pkg := func(nevra, repository string, m *advisory.Module) advisory.Package {
		return advisorytest.Package(nevra, "", repository, m)
	}
	m := &advisory.Module{Name: "virt", Stream: "rhel", Version: 9050020241118123456, Context: "a75119d5"}
	return advisory.Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 2, Type: advisory.Security, Severity: advisory.Important,
		Title: "perl & virt:rhel security update", Description: "perl is <b>a language</b>.\n\n* perl: ]]> overflow", Rights: "Copyright 2026 Example",
		Issued: at, Updated: at.Add(48 * time.Hour),
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "ALSA-2026:1234", URL: "https://errata.example.org/9/ALSA-2026-1234.html", Title: "ALSA-2026:1234"},
			{Kind: advisory.ToAdvisory, ID: "RHSA-2026:1234", URL: "https://access.redhat.com/errata/RHSA-2026:1234"},
			{Kind: advisory.ToCVE, ID: "CVE-2026-10001", URL: "https://example.org/CVE-2026-10001"},
			{Kind: advisory.ToBugzilla, ID: "2270001", URL: "https://bugzilla.redhat.com/show_bug.cgi?id=2270001&x=1", Title: "perl: overflow"},
		},
		CVEs: []advisory.CVE{{
			ID: "CVE-2026-10001", CWEs: []string{"CWE-125", "CWE-787"}, Impact: advisory.Important, Public: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
			Scores: []advisory.Score{{Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:P"}, {Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"}, {Vector: "nonsense"}},
		}},
		Packages: []advisory.Package{
			// Strings order 10 before 9.
			pkg("perl-4:5.32.1-10.el9.x86_64", "9/BaseOS/x86_64/os", nil), pkg("perl-4:5.32.1-9.el9.x86_64", "9/BaseOS/x86_64/os", nil),
			pkg("perl-4:5.32.1-10.el9.aarch64", "9/BaseOS/aarch64/os", nil), pkg("perl-doc-4:5.32.1-10.el9.noarch", "9/BaseOS/x86_64/os", nil),
			pkg("perl-4:5.32.1-10.el9.src", "9/BaseOS/Source", nil),
			pkg("qemu-kvm-17:9.0.0-3.module+el9.x86_64", "9/AppStream/x86_64/os", m), pkg("qemu-kvm-17:9.0.0-3.module+el9.aarch64", "9/AppStream/x86_64/os", m),
			pkg("libstdc++-1-1.x86_64", "9/AppStream/x86_64/os", &advisory.Module{Name: "virt-devel", Stream: "rhel.1"}),
		},
	}.Normal()
}

func piece(t testing.TB, a advisory.Advisory, d advisory.Distribution) advisory.Piece {
	t.Helper()
	p, err := Piece(a, d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func join(t testing.TB, d advisory.Distribution, as []advisory.Advisory) []byte {
	t.Helper()
	var pieces []advisory.Piece
	for _, a := range as {
		pieces = append(pieces, piece(t, a, d))
	}
	parts, err := Join(d, pieces, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(parts...)
}

// TestGolden: the file of one advisory, to the letter.
func TestGolden(t *testing.T) {
	t.Parallel()
	b := join(t, nine(), []advisory.Advisory{sample()})
	advisorytest.Golden(t, filepath.Join("testdata", FileName(nine())), b, *golden)
}

var comment = regexp.MustCompile(`<criterion comment="([^"]*)"`)

// TestMeaning: versions are the lowest by rpm's order, of each arch; only CPEs of
// repositories that have a package are there; of source packages nothing is said.
func TestMeaning(t *testing.T) {
	t.Parallel()
	b := string(join(t, nine(), []advisory.Advisory{sample()}))
	var said []string
	for _, m := range comment.FindAllStringSubmatch(b, -1) {
		if !strings.Contains(m[1], "sign") {
			said = append(said, m[1])
		}
	}
	if diff := cmp.Diff([]string{
		"AlmaLinux OS 9 is installed",
		"perl is earlier than 4:5.32.1-9.el9", "perl is earlier than 4:5.32.1-10.el9", "perl-doc is earlier than 4:5.32.1-10.el9",
		"Module virt:rhel is enabled", "qemu-kvm is earlier than 17:9.0.0-3.module+el9",
		"Module virt-devel:rhel.1 is enabled", "libstdc++ is earlier than 0:1-1",
	}, said); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{
		"^(x86_64)$", "^(aarch64)$", "^(aarch64|x86_64)$", "^(noarch)$", `\[virt-devel\]`, `rhel\.1[`, "abababababababab", "cdcdcdcdcdcdcdcd",
		`<cpe>cpe:/a:almalinux:almalinux:9::appstream</cpe><cpe>cpe:/o:almalinux:almalinux:9</cpe><cpe>cpe:/o:almalinux:almalinux:9::baseos</cpe></affected_cpe_list>`,
		`cvss3="9.8/CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"`, `cvss2="7.5/AV:N/AC:L/Au:N/C:P/I:P/A:P"`, `public="20261101"`, "perl is &lt;b&gt;a language&lt;/b&gt;.&#xA;&#xA;* perl: ]]&gt; overflow",
	} {
		if !strings.Contains(b, want) {
			t.Errorf("it lacks %s", want)
		}
	}
	if strings.Contains(b, "crb") || strings.Contains(b, ">src") || strings.Contains(b, "(src") {
		t.Error("it speaks of a repository or a package that has no part in it")
	}
	d := nine()
	d.KeyFingerprints = d.KeyFingerprints[:1]
	if b := string(join(t, d, []advisory.Advisory{sample()})); strings.Contains(b, "cdcdcdcdcdcdcdcd") {
		t.Errorf("of one key: %s", b)
	}
	d.KeyFingerprints = nil
	if b := string(join(t, d, []advisory.Advisory{sample()})); strings.Contains(b, "signed") {
		t.Error("without keys, packages are signed")
	}
}

// TestAnySystem: what a definition says of a system is what its platform says, whichever
// version that is: nothing hangs on a list of known ones.
func TestAnySystem(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*advisory.Distribution)
		want   []string
	}{
		"a new version": {func(d *advisory.Distribution) {
			d.Version, d.CPE, d.KeyFingerprints = "10", "cpe:/o:almalinux:almalinux:10", []string{strings.Repeat("12", 20)}
		}, []string{"AlmaLinux OS 10 is installed", `^10([^\d]|$)`, "<affected_cpe_list><cpe>cpe:/o:almalinux:almalinux:10</cpe></affected_cpe_list>", "1212121212121212"}},
		"of two parts": {func(d *advisory.Distribution) { d.Version, d.CPE = "10.1", "" }, []string{"AlmaLinux OS 10.1 is installed", `^10\.1([^\d]|$)`}},
		"another one, known by its CPE": {func(d *advisory.Distribution) {
			d.Name, d.Version, d.ReleasePackage, d.ReleaseFile, d.CPE, d.KeyFingerprints = "Example Linux", "rolling", "", "", "cpe:/o:example:linux:rolling", nil
		}, []string{"Example Linux rolling is installed", "<filepath>/etc/os-release</filepath>", "cpe:/o:example:linux:rolling"}},
	} {
		d := advisorytest.Distribution()
		tc.change(&d)
		b := string(join(t, d, []advisory.Advisory{sample()}))
		for _, want := range tc.want {
			if !strings.Contains(b, want) {
				t.Errorf("%s lacks %s", name, want)
			}
		}
		if strings.Contains(b, "AlmaLinux OS 9") || strings.Contains(b, "almalinux:9") || len(d.KeyFingerprints) == 0 && strings.Contains(b, "signed") {
			t.Errorf("%s speaks of what it isn't: %s", name, b)
		}
	}
}

func TestDefinitionID(t *testing.T) {
	t.Parallel()
	d := advisorytest.Distribution()
	seen := map[string]string{}
	for id, want := range map[string]string{
		"ALSA-2024:6964": "oval:org.almalinux.alsa:def:20246964", "ALBA-2024:6964": "oval:org.almalinux.alba:def:20246964", "ALSA-2024:0964": "oval:org.almalinux.alsa:def:20240964",
		"ALSA-2024:A001": "", "ALSA-2024:B001": "", "ALSA-2024:1:2": "", "X": "", "ALSA-0024:6964": "", "ALSA-2024-6964": "", "alsa-2024:6964": "",
	} {
		got := DefinitionID(id, d)
		if want != "" && got != want || seen[got] != "" || !regexp.MustCompile(`^oval:[A-Za-z0-9_.-]+:def:[1-9][0-9]*$`).MatchString(got) {
			t.Errorf("%s is %s, as %q", id, got, seen[got])
		}
		seen[got] = id
	}
	d.Namespace = "https://www.Example.org:8443/x"
	if got := DefinitionID("ALSA-2024:1", d); got != "oval:org.example.alsa:def:20241" {
		t.Error(got)
	}
	d.Namespace, d.Vendor = "", "Some Vendor, Inc."
	if got := DefinitionID("ALSA-2024:1", d); !strings.HasPrefix(got, "oval:") || strings.ContainsAny(got, " ,") {
		t.Error(got)
	}
}

// TestJoin: an advisory's piece hangs on no other; what pieces share is there once, and the
// file is the same whatever order they come in.
func TestJoin(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(31, 37))
	d := nine()
	var pieces []advisory.Piece
	for n := range 20 {
		pieces = append(pieces, piece(t, advisorytest.Random(r, n), d))
	}
	second := sample()
	second.ID = "ALSA-2026:1235"
	pieces = append(pieces, piece(t, sample(), d), piece(t, second, d))
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	parts, err := Join(d, pieces, at)
	if err != nil {
		t.Fatal(err)
	}
	r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	if again, err := Join(d, pieces, at); err != nil || !slices.EqualFunc(parts, again, bytes.Equal) {
		t.Errorf("in another order the file is another: %v", err)
	}
	b := slices.Concat(parts...)
	ids, refs := map[string]int{}, map[string]bool{}
	dec := xml.NewDecoder(bytes.NewReader(b))
	definitions := 0
	for {
		token, err := dec.Token()
		if err != nil {
			break
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if e.Name.Local == "definition" {
			definitions++
		}
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "id":
				if strings.HasPrefix(a.Value, "oval:") {
					ids[a.Value]++
				}
			case "test_ref", "object_ref", "state_ref":
				refs[a.Value] = true
			}
		}
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	for ref := range refs {
		if ids[ref] == 0 {
			t.Errorf("%s isn't there", ref)
		}
	}
	if definitions < 15 || len(refs) < 100 {
		t.Errorf("%d definitions, %d references", definitions, len(refs))
	}
	if none, err := Join(d, []advisory.Piece{{ID: "A"}}, at); none != nil || err != nil {
		t.Errorf("of nothing: %s, %v", none, err)
	}
	changed := advisory.Piece{ID: "ALSA-2026:1236", Bytes: bytes.Replace(piece(t, sample(), d).Bytes, []byte("less than"), []byte("equals"), 1)}
	for name, bad := range map[string]advisory.Piece{
		"another format": {ID: "A", Bytes: []byte("{}\n")}, "no id": {ID: "A", Bytes: []byte("d<definition/>\n")}, "no section": {ID: "A", Bytes: []byte("x<a id=\"oval:a\"/>\n")},
		"an empty line": {ID: "A", Bytes: []byte("\n")}, "a line that breaks off": {ID: "A", Bytes: []byte("d<definition id=\"oval:a\"/>")}, "another thing of the same name": changed,
	} {
		if _, err := Join(d, append([]advisory.Piece{bad}, pieces...), at); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParts: wherever one advisory more stands, a handful of the parts are others than before.
func TestParts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(47, 53))
	d := nine()
	const n = 10 * together
	pieces := make([]advisory.Piece, n)
	for i := range pieces {
		pieces[i] = piece(t, advisorytest.Random(r, i), d)
	}
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	before, err := Join(d, pieces[1:], at)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range before {
		known[string(p)] = true
	}
	if len(before) < 4*4 {
		t.Fatalf("%d advisories have %d parts", n, len(before))
	}
	for _, more := range []advisory.Piece{pieces[0], piece(t, sample(), d)} {
		after, err := Join(d, append(pieces[1:n:n], more), at)
		if err != nil {
			t.Fatal(err)
		}
		others := 0
		for _, p := range after {
			if !known[string(p)] {
				others++
			}
		}
		// One of each section; more where elements go to it of which it is now the first.
		if others == 0 || others > 2*len(sections) {
			t.Errorf("with %s, %d parts of %d are others", more.ID, others, len(after))
		}
	}
}

// TestNone: there is no definition of what was withdrawn or can't be installed, and none of
// a distribution that nothing tells.
func TestNone(t *testing.T) {
	t.Parallel()
	withdrawn := sample()
	withdrawn.Withdrawn = &advisory.Withdrawal{At: withdrawn.Updated, Reason: "wrong"}
	source := sample()
	source.Packages = source.Packages[:0:0]
	source.Packages = append(source.Packages, advisory.Package{NEVRA: rpm.NEVRA{Name: "a", Version: "1", Release: "1", Arch: "src"}})
	for name, a := range map[string]advisory.Advisory{"withdrawn": withdrawn, "of source": source} {
		if p := piece(t, a, nine()); len(p.Bytes) != 0 || p.ID != a.ID {
			t.Errorf("%s: %s", name, p.Bytes)
		}
	}
	d := nine()
	d.ReleasePackage, d.CPE = "", ""
	if _, err := Piece(sample(), d); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a distribution without anything: %v", err)
	}
	bad := sample()
	bad.Title = ""
	if _, err := Piece(bad, nine()); albs.KindOf(err) != albs.Invalid {
		t.Errorf("an advisory without a title: %v", err)
	}
}

// BenchmarkJoin is what one new advisory costs beside others: its piece, and the copying of
// theirs.
func BenchmarkJoin(b *testing.B) {
	for _, n := range []int{500, 5000} {
		r := rand.New(rand.NewPCG(41, 43))
		d := nine()
		var pieces []advisory.Piece
		for i := range n {
			pieces = append(pieces, piece(b, advisorytest.Random(r, i), d))
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				all := append(pieces[:n:n], piece(b, sample(), d))
				out, err := Join(d, all, time.Unix(0, 0))
				if err != nil {
					b.Fatal(err)
				}
				size := 0
				for _, p := range out {
					size += len(p)
				}
				b.SetBytes(int64(size))
			}
		})
	}
}
