// Package advisorytest makes advisories for the tests of the forms in which they are
// written: the same again for the same seed, with all that an advisory may have, and with
// text that means something to the forms.
package advisorytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"

	"github.com/google/go-cmp/cmp"
)

// Platform is the platform of what is made here.
const Platform = "almalinux-9"

// Distribution is what the forms say of it.
func Distribution() advisory.Distribution {
	return advisory.Distribution{
		Platform: Platform, Name: "AlmaLinux OS", Version: "9", Vendor: "AlmaLinux", Namespace: "https://almalinux.org",
		Ecosystem: "AlmaLinux:9", URL: "https://repo.example.org/errata/almalinux-9", CPE: "cpe:/o:almalinux:almalinux:9", Contact: "security@example.org",
		ReleaseFile: "/etc/almalinux-release", ReleasePackage: "almalinux-release", KeyFingerprints: []string{strings.Repeat("AB", 20)},
	}
}

// Rounds returns how many random advisories a test tries: so many, and a tenth of them where
// the tests are to be short.
func Rounds(n int) int {
	if testing.Short() {
		return max(n/10, 5)
	}
	return n
}

// Diff tells in what got is another advisory than want, "" if in nothing.
func Diff(want, got advisory.Advisory) string {
	if bytes.Equal(want.Encode(), got.Encode()) {
		return "" // which is found much sooner
	}
	return cmp.Diff(want, got)
}

// Package returns a package by what people call it, in a repository where it has a digest of
// its own. It panics if nevra is none.
func Package(nevra, source, repository string, m *advisory.Module) advisory.Package {
	n, err := rpm.ParseNEVRA(nevra)
	if err != nil {
		panic(err)
	}
	return advisory.Package{NEVRA: n, Source: source, Module: m, Repository: repository, Digest: albs.DigestOf([]byte(nevra))}
}

// Golden wants got to be what the file says, or writes the file.
func Golden(t testing.TB, path string, got []byte, write bool) {
	t.Helper()
	if write {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %v (-want +got)\n%s", path, err, cmp.Diff(string(want), string(got)))
	}
}

// Again wants of a file that others might have written: that it is read to what the file
// beside it says (its name and ".golden"), sentences first and then the advisories, and that
// each of these, written by back and read once more, is what carry says the form can carry.
func Again(t *testing.T, path string, write bool, read func(r io.Reader, platform string) ([]advisory.Advisory, []string, error),
	back func(t testing.TB, a advisory.Advisory) []byte, carry func(advisory.Advisory) advisory.Advisory,
) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	as, dropped, err := read(bytes.NewReader(b), Platform)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var got bytes.Buffer
	for _, s := range dropped {
		got.WriteString("left out: " + s + "\n")
	}
	for _, a := range as {
		if err := json.Indent(&got, a.Encode(), "", "  "); err != nil {
			t.Fatal(err)
		}
	}
	Golden(t, path+".golden", got.Bytes(), write)
	for _, a := range as {
		again, dropped, err := read(bytes.NewReader(back(t, a)), Platform)
		if err != nil || len(again) != 1 || len(dropped) > 0 {
			t.Errorf("%s: %s is read again as %d advisories without %q: %v", path, a.ID, len(again), dropped, err)
			continue
		}
		if d := Diff(carry(a), again[0]); d != "" {
			t.Errorf("%s: %s, written and read again (-want +got):\n%s", path, a.ID, d)
		}
	}
}

// Seed adds files to what fuzzing begins with.
func Seed(f *testing.F, paths ...string) {
	f.Helper()
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzRead has a reader refuse whatever bytes it gets as Invalid or TooLarge, or make
// advisories of them that pass Check; more, which may be nil, asks more of each.
func FuzzRead(f *testing.F, read func(r io.Reader, platform string) ([]advisory.Advisory, []string, error), more func(t *testing.T, a advisory.Advisory)) {
	f.Fuzz(func(t *testing.T, b []byte) {
		as, _, err := read(bytes.NewReader(b), "p")
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatal(err)
			}
			return
		}
		for _, a := range as {
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			if more != nil {
				more(t, a)
			}
		}
	})
}

// Hostile are texts that would do harm in a form that doesn't escape them.
var Hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `]]></description><item>`, `</pre><b>bold`, `&amp; &lt;&#0;`, `' OR 1=1 --`,
	`{{.ID}} {% x %} ${x}`, `javascript:alert(1)`, "\u202egnp.exe", `<!--`, `-->`, `=cmd|' /C calc'!A0`, `CVE-2001-00001 in prose`,
}

// Random returns an advisory that passes Check, in its Normal form. Equal sources give equal
// advisories; n, which is its number, gives it its id.
func Random(r *rand.Rand, n int) advisory.Advisory {
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(700*86400)) * time.Second)
	a := advisory.Advisory{
		Platform: Platform, Version: 1 + r.IntN(3), Type: pick(r, advisory.Types()), Title: line(r),
		Description: text(r), Rights: "Copyright 2026 Example & Co", From: "errata@example.org", Issued: at, Updated: at.Add(time.Duration(r.IntN(90*86400)) * time.Second), Reboot: r.IntN(4) == 0,
	}
	letter := map[advisory.Type]string{advisory.Security: "S", advisory.Bugfix: "B", advisory.Enhancement: "E", advisory.NewPackage: "E"}[a.Type]
	a.ID = fmt.Sprintf("AL%sA-%d:%04d", letter, at.Year(), n)
	if a.Type == advisory.Security {
		a.Severity = pick(r, advisory.Severities())
	}
	if r.IntN(2) == 0 {
		a.Summary = text(r)
	}
	if r.IntN(2) == 0 {
		a.Solution = text(r)
	}
	a.References = append(a.References, advisory.Reference{
		Kind: advisory.ToSelf, ID: a.ID, URL: Distribution().URL + "/html/" + advisory.FileName(a.ID) + ".html", Title: a.ID,
	})
	if r.IntN(2) == 0 {
		a.Upstream = "RH" + a.ID[2:]
		a.References = append(a.References, advisory.Reference{Kind: advisory.ToAdvisory, ID: a.Upstream, URL: "https://access.redhat.com/errata/" + a.Upstream, Title: a.Upstream})
	}
	for range r.IntN(4) {
		a.References = append(a.References, advisory.Reference{Kind: advisory.ToBugzilla, ID: fmt.Sprint(r.IntN(1 << 21)), URL: fmt.Sprintf("https://bugzilla.example.org/show_bug.cgi?id=%d&x=%d", r.IntN(1<<21), n), Title: line(r)})
	}
	if r.IntN(3) == 0 {
		a.References = append(a.References, advisory.Reference{Kind: advisory.ToOther, ID: "notes", URL: "https://example.org/notes?a=1&b=%22", Title: line(r)})
	}
	if a.Type == advisory.Security {
		for range 1 + r.IntN(4) {
			c := cve(r, at)
			a.CVEs = append(a.CVEs, c)
			if r.IntN(2) == 0 { // the others are known from the list alone
				a.References = append(a.References, advisory.Reference{Kind: advisory.ToCVE, ID: c.ID, URL: "https://access.redhat.com/security/cve/" + c.ID, Title: c.ID})
			}
		}
	}
	for range 1 + r.IntN(3) {
		var m *advisory.Module
		if r.IntN(3) == 0 {
			m = &advisory.Module{Name: word(r), Stream: fmt.Sprintf("%d.%d", r.IntN(5), r.IntN(30)), Version: 9040020240101000000 + r.Uint64N(1e15), Context: fmt.Sprintf("%08x", r.Uint32())}
		}
		built(r, &a, m)
	}
	if len(a.CVEs) > 0 && r.IntN(3) == 0 {
		a.VEX = append(a.VEX, advisory.VEX{CVE: a.CVEs[0].ID, Package: word(r), Status: advisory.NotAffected, Justification: pick(r, advisory.Justifications()), At: at})
	}
	if r.IntN(20) == 0 {
		a.Withdrawn = &advisory.Withdrawal{At: a.Updated, Reason: text(r)}
	}
	return a.Normal()
}

// built adds what one source package was built to, on each arch.
func built(r *rand.Rand, a *advisory.Advisory, m *advisory.Module) {
	name, epoch, version, release := word(r), r.IntN(5)/4*r.IntN(30), fmt.Sprintf("%d.%d.%d", r.IntN(9), r.IntN(20), r.IntN(20)), fmt.Sprintf("%d.el9_%d", 1+r.IntN(200), r.IntN(9))
	repository := pick(r, []string{"BaseOS", "AppStream"})
	if m != nil {
		repository, release = "AppStream", release+".module+el9"
	}
	for _, sub := range []string{"", "-libs", "-devel", "-doc"}[:1+r.IntN(4)] {
		for _, arch := range []string{"x86_64", "aarch64", "ppc64le"} {
			n := rpm.NEVRA{Name: name + sub, Epoch: epoch, Version: version, Release: release, Arch: arch}
			if sub == "-doc" {
				n.Arch = "noarch"
			}
			p := advisory.Package{
				NEVRA: n, Source: rpm.NEVRA{Name: name, Version: version, Release: release, Arch: "src"}.Filename(),
				Repository: "9/" + repository + "/" + arch + "/os", Digest: albs.DigestOf([]byte(a.ID + n.String())), Reboot: r.IntN(10) == 0, Relogin: r.IntN(20) == 0, Restart: r.IntN(20) == 0,
			}
			if m != nil {
				of := *m
				of.Arch = arch
				p.Module = &of
			}
			a.Packages = append(a.Packages, p)
		}
	}
}

func cve(r *rand.Rand, at time.Time) advisory.CVE {
	c := advisory.CVE{ID: fmt.Sprintf("CVE-2024-%d", 1000+r.IntN(1<<20)), Impact: pick(r, advisory.Severities())}
	v := func(values string) string { return values[r.IntN(len(values)):][:1] }
	if r.IntN(4) > 0 {
		c.Scores = append(c.Scores, advisory.Score{
			Vector: fmt.Sprintf("CVSS:3.1/AV:%s/AC:%s/PR:%s/UI:%s/S:%s/C:%s/I:%s/A:%s", v("NALP"), v("LH"), v("NLH"), v("NR"), v("UC"), v("NLH"), v("NLH"), v("NLH")), Source: pick(r, []string{"nvd", "redhat", ""}),
		})
	}
	if r.IntN(4) == 0 {
		c.Scores = append(c.Scores, advisory.Score{Vector: "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:N/VA:" + v("HLN") + "/SC:N/SI:N/SA:N", Source: "nvd"})
	}
	if r.IntN(5) == 0 {
		c.Scores = append(c.Scores, advisory.Score{Vector: "AV:N/AC:L/Au:N/C:P/I:P/A:" + v("NPC"), Source: "nvd"})
	}
	for range r.IntN(3) {
		c.CWEs = append(c.CWEs, fmt.Sprintf("CWE-%d", 1+r.IntN(1300)))
	}
	if r.IntN(2) == 0 {
		c.Public = at.Truncate(24*time.Hour).AddDate(0, 0, -r.IntN(100))
	}
	return c
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func word(r *rand.Rand) string {
	return pick(r, []string{"zlib", "openssl", "gcc-toolset-14", "libstdc++", "perl-HTTP-Tiny", "kernel-rt", "0ad", "python3.12", "xorg-x11-server"}) + fmt.Sprint(r.IntN(1000))
}

func line(r *rand.Rand) string {
	return "a " + strings.TrimSpace(pick(r, Hostile)) + " fix é日本 " + fmt.Sprint(r.IntN(1000))
}

func text(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString("* " + line(r) + "\n\n\t" + pick(r, Hostile) + "\n")
	}
	return strings.TrimSpace(b.String())
}
