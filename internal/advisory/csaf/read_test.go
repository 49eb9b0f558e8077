package csaf

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/rpm"
)

var el8 = Platform{Name: "almalinux-8", CPEs: []string{"cpe:/a:redhat:enterprise_linux:8", "cpe:/o:redhat:enterprise_linux:8"}}

func read(t testing.TB, name string, p Platform) ([]advisory.Advisory, []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	as, said, err := Read(bytes.NewReader(b), p)
	if err != nil {
		t.Fatal(err)
	}
	return as, said
}

func nevra(t testing.TB, s string) rpm.NEVRA {
	t.Helper()
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReadAdvisory: a security advisory in the shape that Red Hat's have, with modules as
// parts of the platform and, as later ones have them, in package URLs.
func TestReadAdvisory(t *testing.T) {
	t.Parallel()
	as, said := read(t, "rhsa.json", el8)
	virt := &advisory.Module{Name: "virt", Stream: "rhel", Version: 8100020240905091210, Context: "489197e6"}
	want := advisory.Advisory{
		ID: "RHSA-2026:6964", Platform: "almalinux-8", Version: 3, Type: advisory.Security, Severity: advisory.Important,
		Title: "virt:rhel security update", Summary: "An update for the virt:rhel module is now available.",
		Description: "Hypervisor tools.\n\nSecurity Fix(es):\n\n* hivex: double free (CVE-2026-3446)", Solution: "For details see the article.",
		Rights: "Copyright © 2026 Example, Inc. All rights reserved.", From: "https://example.com/contact/",
		Issued: time.Date(2026, 9, 24, 0, 0, 44, 0, time.UTC), Updated: time.Date(2026, 9, 25, 12, 18, 44, 0, time.UTC),
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "RHSA-2026:6964", URL: "https://example.com/errata/RHSA-2026:6964"},
			{Kind: advisory.ToCVE, ID: "CVE-2026-3446", URL: "https://example.com/security/cve/CVE-2026-3446"},
			{Kind: advisory.ToBugzilla, ID: "2274211", URL: "https://bugzilla.example.com/show_bug.cgi?id=2274211"},
			{Kind: advisory.ToBugzilla, ID: "RHBZ#2274211", URL: "https://bugzilla.example.com/show_bug.cgi?id=2274211"},
			{Kind: advisory.ToOther, URL: "https://example.com/security/updates/classification/#important"},
			{Kind: advisory.ToOther, URL: "https://issues.example.com/browse/RHEL-54444", Title: "RHEL-54444"},
		},
		CVEs: []advisory.CVE{
			{
				ID: "CVE-2026-3446", Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:C/C:H/I:H/A:H"}}, CWEs: []string{"CWE-415"},
				Impact: advisory.Moderate, Public: time.Date(2026, 4, 9, 12, 0, 0, 0, time.UTC),
			},
			{ID: "CVE-2026-4467"},
		},
		Packages: []advisory.Package{
			{NEVRA: nevra(t, "ruby-2.5.9-111.module+el8.9.0+3.x86_64"), Module: &advisory.Module{Name: "ruby", Stream: "2.5", Version: 8090020230627084142, Context: "b46abd14"}},
			{NEVRA: nevra(t, "hivex-1.3.18-23.module+el8.6.0+1.src"), Module: virt},
			{NEVRA: nevra(t, "qemu-kvm-15:6.2.0-53.module+el8.10.0+2.x86_64"), Module: virt},
		},
		VEX: []advisory.VEX{{CVE: "CVE-2026-4467", Package: "old", Status: advisory.NotAffected, Justification: "vulnerable_code_not_present", At: time.Date(2026, 9, 25, 12, 18, 44, 0, time.UTC)}},
	}
	if len(as) != 1 {
		t.Fatalf("%d advisories", len(as))
	}
	if diff := cmp.Diff(want, as[0], cmp.Comparer(func(a, b []string) bool { return strings.Join(a, " ") == strings.Join(b, " ") })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		`the reference "mailto:secalert@example.com" is no address of http or https`,
		`1 notes have no place in an advisory, as "Questions"`,
		`1 products are no RPM packages, as "A:image"`,
		`2 products are of other platforms, or whole ones, as "B:old"`,
		`1 statements lack what a statement has to have, as "CVE-2026-3446 of old: what is stated of \"old\" and \"CVE-2026-3446\" says not affected without a justification"`,
		`1 vulnerabilities say nothing of the platform, as "CVE-2026-9999"`,
	}, said); diff != "" {
		t.Error(diff)
	}

	// Of the other platform it has one package, which stands there without a package URL.
	as, _ = read(t, "rhsa.json", Platform{Name: "almalinux-9", Products: []string{"AppStream-9.4.0.Z"}})
	if len(as) != 1 || len(as[0].Packages) != 1 || as[0].Packages[0].String() != "old-1-1.el8.x86_64" || len(as[0].CVEs) != 2 {
		t.Errorf("of the other platform it is %+v", as)
	}
	// And of one that it doesn't name it says nothing.
	if as, said = read(t, "rhsa.json", Platform{Name: "almalinux-10", CPEs: []string{"cpe:/o:redhat:enterprise_linux:1"}}); len(as) != 0 || len(said) == 0 {
		t.Errorf("of a third platform it is %+v, %q", as, said)
	}
}

// TestReadVEX: a VEX document in Red Hat's shape of 2026: streams of the platform by their
// CPEs, components without arch, one without version, what is said by groups.
func TestReadVEX(t *testing.T) {
	t.Parallel()
	as, said := read(t, "vex.json", el8)
	now := time.Date(2026, 2, 27, 12, 7, 46, 0, time.UTC)
	want := advisory.Advisory{
		ID: "CVE-2026-0861", Platform: "almalinux-8", Version: 1, Type: advisory.Security, Severity: advisory.Moderate,
		Title: "Integer overflow in memalign leads to heap corruption", Description: "A flaw was found in glibc.", Solution: "See the article.", From: "https://example.com/contact/",
		Issued: time.Date(2026, 1, 14, 21, 1, 11, 0, time.UTC), Updated: now,
		References: []advisory.Reference{
			{Kind: advisory.ToCVE, ID: "CVE-2026-0861", URL: "https://example.com/security/cve/CVE-2026-0861"},
			{Kind: advisory.ToCVE, ID: "CVE-2026-0861", URL: "https://www.cve.org/CVERecord?id=CVE-2026-0861"},
		},
		CVEs: []advisory.CVE{{
			ID: "CVE-2026-0861", Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:H"}}, CWEs: []string{"CWE-190"},
			Impact: advisory.Moderate, Public: time.Date(2026, 1, 14, 21, 1, 11, 0, time.UTC),
		}},
		Packages: []advisory.Package{{NEVRA: nevra(t, "glibc-2.28-251.el8_10.27.src")}},
		VEX: []advisory.VEX{
			{CVE: "CVE-2026-0861", Package: "gcc-toolset", Status: advisory.Affected, Detail: "Mitigation: don't.", At: now},
			{CVE: "CVE-2026-0861", Package: "musl", Status: advisory.UnderInvestigation, At: now},
			{CVE: "CVE-2026-0861", Package: "nodejs", Stream: "nodejs:18", Status: advisory.NotAffected, Justification: "vulnerable_code_not_in_execute_path", At: time.Date(2026, 1, 20, 0, 0, 0, 0, time.UTC)},
		},
	}
	if len(as) != 1 {
		t.Fatalf("%d advisories, %q", len(as), said)
	}
	if diff := cmp.Diff(want, as[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		`1 fixed products are of no arch, as "rhel-8.10.z:glibc-0:2.28-251.el8_10.27"`,
		`2 products are of other platforms, or whole ones, as "rhel-8.4.0.z:glibc"`,
	}, said); diff != "" {
		t.Error(diff)
	}
}

// TestReadBad: what is no document, or too much of one, is refused.
func TestReadBad(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile("testdata/vex.json")
	if err != nil {
		t.Fatal(err)
	}
	deep := `{"document":{"csaf_version":"2.0"},"product_tree":{"branches":` + strings.Repeat(`[{"branches":`, 50) + "[]" + strings.Repeat("}]", 50) + "}}"
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "<csaf/>", "a list": "[]", "no version": "{}", "another version": strings.Replace(string(good), `"csaf_version": "2.0"`, `"csaf_version": "2.1"`, 1),
		"deep branches": deep, "very deep": strings.Repeat("[", 1_000_000),
		"no id":        strings.Replace(string(good), `"id": "CVE-2026-0861"`, `"id": "../../x"`, 1),
		"no first day": strings.Replace(string(good), `"initial_release_date": "2026-`, `"initial_release_date": "26-`, 1),
		"no last day":  strings.Replace(string(good), `"current_release_date": "2026-`, `"current_release_date": "26-`, 1),
	} {
		if as, _, err := Read(strings.NewReader(text), el8); albs.KindOf(err) != albs.Invalid || as != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Read(bytes.NewReader(good), Platform{Name: "almalinux-8"}); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a platform without products: %v", err)
	}
	if _, _, err := Read(io.LimitReader(zeros{}, MaxDocument+1), el8); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("a large one: %v", err)
	}
	broken := errors.New("broken")
	if _, _, err := Read(iotest.ErrReader(broken), el8); !errors.Is(err, broken) || albs.KindOf(err) == albs.Invalid {
		t.Errorf("a reader that fails: %v", err)
	}
	// Relationships in a circle end.
	loop := strings.Replace(string(good), `"relates_to_product_reference": "rhel-8.10.z"`, `"relates_to_product_reference": "rhel-8.10.z:glibc-0:2.28-251.el8_10.27.src"`, 1)
	if as, _, err := Read(strings.NewReader(loop), el8); err != nil || len(as) != 1 || len(as[0].Packages) != 0 {
		t.Errorf("a circle: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// FuzzRead: whatever the bytes, there is an error or an advisory that passes its own checks
// and can be written.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"rhsa.json", "vex.json", "suse.json", "alsa-2026_1234.json", "alsa-2026_1234-vex.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	files, _ := write(f, advisorytest.Random(rand.New(rand.NewPCG(1, 1)), 1), home9())
	for _, b := range documents(files) {
		f.Add(b)
	}
	p := Platform{Name: "almalinux-9", CPEs: append([]string{"cpe:/o:almalinux:almalinux:9"}, el8.CPEs...)}
	f.Fuzz(func(t *testing.T, b []byte) {
		as, _, err := Read(bytes.NewReader(b), p)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("%s: %v", k, err)
			}
			return
		}
		for _, a := range as {
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			a.Version = 1
			if _, _, err := Write(a, home9(), nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
