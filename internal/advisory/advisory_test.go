package advisory

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
)

func sample() Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	return Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 1, Type: Security, Severity: Important,
		Title: "zlib security update", Description: "zlib is a library.\n\n* a <bug> & more", Issued: at, Updated: at.Add(time.Hour),
		References: []Reference{
			{Kind: ToCVE, ID: "CVE-2026-10001", URL: "https://example.org/CVE-2026-10001"},
			{Kind: ToSelf, ID: "ALSA-2026:1234", URL: "https://errata.example.org/9/ALSA-2026-1234.html"},
		},
		CVEs: []CVE{{ID: "CVE-2026-10001", Scores: []Score{{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"}}, CWEs: []string{"CWE-787", "CWE-125"}}},
		Packages: []Package{
			{NEVRA: rpm.NEVRA{Name: "zlib", Version: "1.2.11", Release: "10.el9", Arch: "x86_64"}, Source: "zlib-1.2.11-10.el9.src.rpm", Repository: "9/BaseOS/x86_64/os", Digest: albs.DigestOf([]byte("a"))},
			{NEVRA: rpm.NEVRA{Name: "zlib", Version: "1.2.11", Release: "9.el9", Arch: "x86_64"}, Module: &Module{Name: "virt", Stream: "rhel", Version: 9, Context: "abc"}},
		},
		VEX: []VEX{{CVE: "CVE-2026-10002", Package: "zlib", Status: NotAffected, Justification: Justifications()[0], At: at}},
	}
}

// TestParse: what was encoded is read, in one form only.
func TestParse(t *testing.T) {
	a := sample()
	b := a.Encode()
	got, err := Parse(b)
	if err != nil || !bytes.Equal(got.Encode(), b) {
		t.Fatalf("read again it is %v, %s", err, got.Encode())
	}
	if got.References[0].Kind != ToSelf || got.CVEs[0].CWEs[0] != "CWE-125" || got.Packages[0].Repository != "" {
		t.Errorf("the lists are in another order: %s", b)
	}
	for _, text := range []string{" " + string(b), strings.Replace(string(b), `"id"`, `"new":1,"id"`, 1), strings.Replace(string(b), `"version":1`, `"version":0`, 1), ""} {
		if _, err := Parse([]byte(text)); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%.60s gives %v", text, err)
		}
	}
}

// TestValidID: ids as distributions have them, and nothing that leaves a folder.
func TestValidID(t *testing.T) {
	for _, id := range []string{
		"ALSA-2024:6964", "ALSA-2024:A001", "FEDORA-EPEL-2026-0a1b2c3d4e", "SUSE-SU-2026:0321-1", "SUSE-SLE-Module-Basesystem-15-SP6-2026-321", "ALAS2023-2026-321", "CVE-2026-20004", "X",
	} {
		if !ValidID(id) || strings.ContainsAny(FileName(id), ":/.") {
			t.Errorf("%s is none", id)
		}
	}
	for _, id := range []string{"", "-A", "A-", "A::1", "A--1", "A:", "1A", "A/1", "..", "A.1", "A 1", "A\n", "É-1", strings.Repeat("A-", 60) + "A", "A" + strings.Repeat(":1", 13)} {
		if ValidID(id) {
			t.Errorf("%q is one", id)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, spoil := range map[string]func(*Advisory){
		"id with a slash":            func(a *Advisory) { a.ID = "../ALSA-1" },
		"no version":                 func(a *Advisory) { a.Version = 0 },
		"no title":                   func(a *Advisory) { a.Title = "" },
		"title of two lines":         func(a *Advisory) { a.Title = "a\nb" },
		"control character":          func(a *Advisory) { a.Description = "a\x00b" },
		"unknown type":               func(a *Advisory) { a.Type = "other" },
		"unknown severity":           func(a *Advisory) { a.Severity = "bad" },
		"updated before issue":       func(a *Advisory) { a.Updated = a.Issued.Add(-time.Hour) },
		"reference to a file":        func(a *Advisory) { a.References[0].URL = "file:///etc/passwd" },
		"reference to a script":      func(a *Advisory) { a.References[0].URL = "javascript:alert(1)" },
		"CVE without its form":       func(a *Advisory) { a.CVEs[0].ID = "CVE-1" },
		"CWE without its form":       func(a *Advisory) { a.CVEs[0].CWEs = []string{"787"} },
		"package with an option":     func(a *Advisory) { a.Packages[0].Name = "-x" },
		"source with a path":         func(a *Advisory) { a.Packages[0].Source = "../x.src.rpm" },
		"digest that is none":        func(a *Advisory) { a.Packages[0].Digest = "ab" },
		"module without a stream":    func(a *Advisory) { a.Packages[1].Module.Stream = "" },
		"not affected without why":   func(a *Advisory) { a.VEX[0].Justification = "" },
		"affected without an action": func(a *Advisory) { a.VEX[0].Status, a.VEX[0].Justification = Affected, "" },
		"withdrawn without why":      func(a *Advisory) { a.Withdrawn = &Withdrawal{At: a.Updated} },
	} {
		a := sample()
		spoil(&a)
		if err := a.Check(); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := sample()
	many.Packages = make([]Package, MaxPackages+1)
	if err := many.Check(); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("too many packages: %v", err)
	}
	if err := sample().Check(); err != nil {
		t.Error(err)
	}
}

func TestSourceName(t *testing.T) {
	for source, want := range map[string]string{
		"zlib-ng-2.1-3.el9.src.rpm": "zlib-ng", "zlib-1.2.11-10.el9.src.rpm": "zlib", "": "libz", "odd": "libz",
	} {
		if got := (Package{NEVRA: rpm.NEVRA{Name: "libz"}, Source: source}).SourceName(); got != want {
			t.Errorf("the source of %q is %s, want %s", source, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err == nil && !bytes.Equal(a.Encode(), b) {
			t.Fatal("read and written it is another one")
		}
	})
}
