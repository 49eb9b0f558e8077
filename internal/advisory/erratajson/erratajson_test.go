package erratajson

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
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

// sample has packages of two modules and of none, in two repositories and on two arches, and
// a package of noarch that is in both.
func sample() advisory.Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	a := advisory.Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 2, Type: advisory.Security, Severity: advisory.Important, Title: "virt:rhel and others security update",
		Description: "virt is <b>virtual</b>.", Rights: "Copyright 2026 Example", From: "errata@example.org", Upstream: "RHSA-2026:1234", Issued: at, Updated: at.Add(time.Hour),
		References: []advisory.Reference{
			{Kind: advisory.ToSelf, ID: "ALSA-2026:1234", URL: "https://errata.example.org/9/ALSA-2026-1234.html", Title: "ALSA-2026:1234"},
			{Kind: advisory.ToAdvisory, ID: "RHSA-2026:1234", URL: "https://access.redhat.com/errata/RHSA-2026:1234", Title: "RHSA-2026:1234"},
		},
		CVEs: []advisory.CVE{{ID: "CVE-2026-10001"}},
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		add := func(nevra, source, repository string, m *advisory.Module) {
			if m != nil {
				m.Arch = arch
			}
			a.Packages = append(a.Packages, advisorytest.Package(nevra, source, "9/"+repository+"/"+arch+"/os", m))
		}
		add("qemu-kvm-17:9.0.0-10.module+el9."+arch, "qemu-kvm-9.0.0-10.module+el9.src.rpm", "AppStream", &advisory.Module{Name: "virt", Stream: "rhel", Version: 9050020241118123456, Context: "a75119d5"})
		add("qemu-kvm-tests-17:9.0.0-10.module+el9."+arch, "qemu-kvm-9.0.0-10.module+el9.src.rpm", "CRB", &advisory.Module{Name: "virt-devel", Stream: "rhel", Version: 9050020241118123456, Context: "a75119d5"})
		add("zlib-1.2.11-40.el9."+arch, "zlib-1.2.11-40.el9.src.rpm", "BaseOS", nil)
		add("zlib-doc-1.2.11-40.el9.noarch", "zlib-1.2.11-40.el9.src.rpm", "BaseOS", nil)
	}
	return a.Normal()
}

func files(t testing.TB, as ...advisory.Advisory) (plain, full advisory.File) {
	t.Helper()
	var ps, fs []advisory.Piece
	for _, a := range as {
		p, f := Piece(a), FullPiece(a)
		if (len(p.Bytes) == 0) != (a.Withdrawn != nil) || (len(f.Bytes) == 0) != (a.Withdrawn != nil) {
			t.Fatalf("%s has %d and %d bytes", a.ID, len(p.Bytes), len(f.Bytes))
		}
		ps, fs = append(ps, p), append(fs, f)
	}
	return Join(ps), JoinFull(fs)
}

func TestGolden(t *testing.T) {
	t.Parallel()
	other := sample()
	other.ID, other.Packages, other.Type, other.Severity = "ALBA-2026:0001", nil, advisory.Bugfix, advisory.None
	plain, full := files(t, sample(), other)
	for _, f := range []advisory.File{plain, full} {
		advisorytest.Golden(t, filepath.Join("testdata", f.Path), f.Bytes, *update)
	}
	for _, f := range []advisory.File{Join(nil), JoinFull(nil)} {
		if as, dropped, err := Read(bytes.NewReader(f.Bytes), "p"); err != nil || len(as)+len(dropped) > 0 {
			t.Errorf("%s without advisories gives %v, %v, %v", f.Path, as, dropped, err)
		}
	}
}

// TestTrivy: what Trivy makes of errata.json, which keeps an entry for each id, reads the
// packages of x86_64 and noarch, and names those of an entry with a module by that.
func TestTrivy(t *testing.T) {
	t.Parallel()
	plain, _ := files(t, sample())
	var errata []struct {
		ID     string `json:"updateinfo_id"`
		Issued struct {
			Date int64 `json:"$date"`
		} `json:"issued_date"`
		Version string
		Pkglist struct {
			Packages []struct {
				Name, Version, Release, Epoch, Arch, Sum string
				RebootSuggested                          int `json:"reboot_suggested"`
			}
			Module struct {
				Name, Stream string
				Version      int64
			}
		}
		References []struct{ Type, ID, Href, Title string }
	}
	if err := json.Unmarshal(plain.Bytes, &errata); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	ids := map[string]bool{}
	for _, e := range errata {
		if ids[e.ID] || !strings.HasPrefix(e.ID, "ALSA-") || strings.Contains(e.ID, "/") || time.UnixMilli(e.Issued.Date).UTC().Year() != 2026 {
			t.Errorf("the entry %s would be lost", e.ID)
		}
		ids[e.ID] = true
		for _, r := range e.References {
			for _, p := range e.Pkglist.Packages {
				if r.Type != "cve" || p.Arch != "noarch" && p.Arch != "x86_64" {
					continue
				}
				name := p.Name
				if e.Pkglist.Module.Name != "" {
					name = fmt.Sprintf("%s:%s::%s", e.Pkglist.Module.Name, e.Pkglist.Module.Stream, p.Name)
				}
				if _, ok := got[name]; ok {
					t.Errorf("%s is told twice", name)
				}
				got[name] = r.ID + " " + p.Epoch + ":" + p.Version + "-" + p.Release
			}
		}
	}
	want := map[string]string{
		"virt:rhel::qemu-kvm": "CVE-2026-10001 17:9.0.0-10.module+el9", "virt-devel:rhel::qemu-kvm-tests": "CVE-2026-10001 17:9.0.0-10.module+el9",
		"zlib": "CVE-2026-10001 0:1.2.11-40.el9", "zlib-doc": "CVE-2026-10001 0:1.2.11-40.el9",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, []string{"ALSA-2026:1234", "ALSA-2026:1234#virt-devel:rhel", "ALSA-2026:1234#virt:rhel"}) {
		t.Errorf("the ids are %v", got)
	}
}

// TestTrivyDB: Trivy's own code reads the file, as vuln-list-update divides it, and finds the
// packages of each module, and those of none, by what it calls them.
func TestTrivyDB(t *testing.T) {
	t.Parallel()
	find := advisorytest.Trivy(t)
	plain, _ := files(t, sample())
	want := []string{
		"virt:rhel::qemu-kvm CVE-2026-10001 17:9.0.0-10.module+el9",
		"virt-devel:rhel::qemu-kvm-tests CVE-2026-10001 17:9.0.0-10.module+el9",
		"zlib CVE-2026-10001 1.2.11-40.el9",
		"zlib-doc CVE-2026-10001 1.2.11-40.el9",
	}
	got := find(plain.Bytes, "virt:rhel::qemu-kvm", "virt-devel:rhel::qemu-kvm-tests", "zlib", "zlib-doc", "qemu-kvm", "virt:rhel::zlib")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Trivy finds (-want +got):\n%s", d)
	}
}

// TestCollections: the packages of all collections are there, a module's name sticks to no
// other package, and references don't repeat.
func TestCollections(t *testing.T) {
	t.Parallel()
	_, full := files(t, sample())
	var f struct{ Data []fullEntry }
	if err := json.Unmarshal(full.Bytes, &f); err != nil || len(f.Data) != 1 {
		t.Fatal(err)
	}
	var got []string
	for _, p := range f.Data[0].Packages {
		got = append(got, p.Name+" "+p.Arch+" "+p.Module)
	}
	slices.Sort(got)
	want := []string{
		"qemu-kvm aarch64 virt:rhel:9050020241118123456:a75119d5:aarch64", "qemu-kvm x86_64 virt:rhel:9050020241118123456:a75119d5:x86_64",
		"qemu-kvm-tests aarch64 virt-devel:rhel:9050020241118123456:a75119d5:aarch64", "qemu-kvm-tests x86_64 virt-devel:rhel:9050020241118123456:a75119d5:x86_64",
		"zlib aarch64 ", "zlib x86_64 ", "zlib-doc noarch ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(f.Data[0].Modules) != 4 || len(f.Data[0].References) != 3 || f.Data[0].Updated != seconds(sample().Updated.Unix()) {
		t.Errorf("it is %+v", f.Data[0])
	}
}

// TestLargeVersion: a version of a module beyond 63 bits, as EL 10's, doesn't make the file
// one that can't be read.
func TestLargeVersion(t *testing.T) {
	t.Parallel()
	a := sample()
	for i := range a.Packages {
		if m := a.Packages[i].Module; m != nil {
			m.Version = 10000020241118123456
		}
	}
	plain, full := files(t, a)
	if bytes.Contains(plain.Bytes, []byte("10000020241118123456")) || !bytes.Contains(full.Bytes, []byte(`"10000020241118123456"`)) {
		t.Errorf("%s\n%s", plain.Bytes, full.Bytes)
	}
}

// carry returns what both forms can carry of an advisory.
func carry(a advisory.Advisory) advisory.Advisory {
	a.References, a.VEX = a.AllReferences(), nil
	ids := a.AllCVEs()
	a.CVEs = nil
	for _, id := range ids {
		a.CVEs = append(a.CVEs, advisory.CVE{ID: id})
	}
	a.Packages = slices.Clone(a.Packages)
	for i := range a.Packages {
		p := &a.Packages[i]
		p.Repository, p.Relogin, p.Restart = "", false, false
		p.Reboot = p.Reboot || a.Reboot
	}
	a.Reboot = false
	return a.Normal()
}

// carryPlain and carryFull return what each of them can.
func carryPlain(a advisory.Advisory) advisory.Advisory {
	a = carry(a)
	for i := range a.Packages {
		if m := a.Packages[i].Module; m != nil {
			of := *m
			of.Arch = "" // which the packages of an entry don't have in common
			a.Packages[i].Module = &of
		}
	}
	return a.Normal()
}

func carryFull(a advisory.Advisory) advisory.Advisory {
	a = carry(a)
	a.Version, a.Summary, a.Solution, a.Rights, a.From = 1, "", "", "", ""
	for i := range a.References {
		a.References[i].Title = ""
	}
	return a.Normal()
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var as, plainWant, fullWant []advisory.Advisory
	for n := range advisorytest.Rounds(100) {
		a := advisorytest.Random(rand.New(rand.NewPCG(5, uint64(n))), n)
		as = append(as, a)
		if a.Withdrawn == nil {
			plainWant, fullWant = append(plainWant, carryPlain(a)), append(fullWant, carryFull(a))
		}
	}
	plain, full := files(t, as...)
	for _, tc := range []struct {
		file advisory.File
		want []advisory.Advisory
	}{{plain, plainWant}, {full, fullWant}} {
		got, dropped, err := Read(bytes.NewReader(tc.file.Bytes), advisorytest.Platform)
		if err != nil || len(dropped) > 0 {
			t.Fatal(dropped, err)
		}
		// Packages that differ in nothing but what the form can't carry are one.
		want := advisory.Merge(tc.want)
		if len(got) != len(want) {
			t.Fatalf("%s: of %d come %d", tc.file.Path, len(want), len(got))
		}
		for i := range want {
			if d := advisorytest.Diff(want[i], got[i]); d != "" {
				t.Errorf("%s: %s", tc.file.Path, d)
			}
		}
	}
	// Written of pieces in any order.
	slices.Reverse(as)
	plainAgain, fullAgain := files(t, as...)
	if !bytes.Equal(plain.Bytes, plainAgain.Bytes) || !bytes.Equal(full.Bytes, fullAgain.Bytes) {
		t.Error("the order of the advisories shows in the files")
	}
}

// TestOthers: files in the shapes that AlmaLinux's have.
func TestOthers(t *testing.T) {
	t.Parallel()
	advisorytest.Again(t, "testdata/alma.json", *update, Read, func(t testing.TB, a advisory.Advisory) []byte { p, _ := files(t, a); return p.Bytes }, carry)
	advisorytest.Again(t, "testdata/alma.full.json", *update, Read, func(t testing.TB, a advisory.Advisory) []byte { _, f := files(t, a); return f.Bytes }, carryFull)
}

func TestReadForeign(t *testing.T) {
	t.Parallel()
	as, dropped, err := Read(strings.NewReader(`[
{"_id":{"$oid":"1"},"updateinfo_id":"ALSA-2021:3076","issued_date":{"$date":1628596858000},"updated_date":{"$date":"2021-08-10T12:00:55Z"},"severity":"Moderate","title":"Moderate: go-toolset","type":"security","version":"x",
 "pkglist":{"packages":[{"name":"go","version":"1.15","release":"1","epoch":"0","arch":"x86_64","src":"go-1.15-1.src.rpm","sum":"`+strings.Repeat("A0", 32)+`","sum_type":"sha256","reboot_suggested":true},
 {"name":"old","version":"1","release":"1","epoch":"","arch":"x86_64","sum":"abc","sum_type":1,"reboot_suggested":0},{"name":"a b","epoch":"0"}],"module":{"name":"go-toolset","stream":"rhel8","version":8040020210810210707}},
 "references":[{"href":"https://vulners.com/cve/CVE-2021-27918","type":"cve","id":"CVE-2021-27918","title":null},{"href":"ftp://x","type":"other"}]},
{"updateinfo_id":"ALBA-1","issued_date":null},{"updateinfo_id":7},{}
]`), "p")
	if err != nil || len(as) != 1 {
		t.Fatal(as, dropped, err)
	}
	a := as[0]
	if a.Title != "go-toolset" || len(a.Packages) != 2 || len(a.CVEs) != 1 || !a.Issued.Equal(time.Unix(1628596858, 0)) || !a.Updated.Equal(a.Issued) ||
		a.Packages[0].Digest != albs.Digest(strings.Repeat("a0", 32)) || !a.Packages[0].Reboot || a.Packages[1].Digest != "" || a.Packages[1].Module.Stream != "rhel8" {
		t.Errorf("it is %+v", a)
	}
	for _, want := range []string{`"x" is no number`, "type 1", `"a b`, "ftp://x", "ALBA-1: it can't", "entry 3: it can't", ": it can't be taken over"} {
		if !slices.ContainsFunc(dropped, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing says %s: %q", want, dropped)
		}
	}
	// Numbers for texts and texts for numbers cost nothing; what no number is, is told.
	as, dropped, err = Read(strings.NewReader(`{"schema_version":1,"data":[
{"id":"ALSA-2024:1","issued_date":"2024-01-02T03:04:05Z","updated_date":1704250000000,"severity":null,"title":"t","type":"security","modules":[{"name":"m","version":5}],
 "packages":[{"name":"a","epoch":2,"version":10,"release":1.5,"arch":"x86_64","module":"m:s:5:c:x86_64"},{"name":"b","epoch":null,"version":"1","release":"1","arch":"noarch","module":"m:s:many"}]}]}`), "p")
	if err != nil || len(as) != 1 || len(as[0].Packages) != 2 || as[0].Updated.Year() != 2024 || as[0].Issued.Year() != 2024 ||
		as[0].Packages[1].NEVRA.String() != "a-2:10-1.5.x86_64" || as[0].Packages[1].Module.Version != 5 || len(dropped) != 1 || !strings.Contains(dropped[0], `"m:s:many" is no module`) {
		t.Errorf("it is %+v, %q, %v", as, dropped, err)
	}
	as, dropped, err = Read(strings.NewReader(`[
{"updateinfo_id":"ALSA-2024:2","issued_date":{"$date":1704250000000},"title":"t","type":"security","version":3,
 "pkglist":{"module":{"name":"m","stream":"1","version":"many"},"packages":[{"name":"a","version":"1","release":"1","arch":"noarch"}]}},
{"updateinfo_id":"ALSA-2024:3","issued_date":{"$date":1704250000000},"title":"t","type":"security",
 "pkglist":{"module":{"name":"m","stream":"1","version":"10000020241118123456"},"packages":[{"name":"a","version":"1","release":"1","arch":"noarch"}]}}]`), "p")
	if err != nil || len(as) != 2 || as[0].Version != 3 || as[0].Packages[0].Module.Version != 0 || as[1].Packages[0].Module.Version != 10000020241118123456 ||
		len(dropped) != 1 || !strings.Contains(dropped[0], `the version "many" of the module "m:1" is no number`) {
		t.Errorf("it is %+v, %q, %v", as, dropped, err)
	}
	for text, kind := range map[string]albs.Kind{
		"": albs.Invalid, "5": albs.Invalid, "[": albs.Invalid, "[]x": albs.Invalid, "{}": albs.Invalid, `{"data":{}}`: albs.Invalid, `{"data":[`: albs.Invalid, `{"data":[]`: albs.Invalid, `{"data":[]} {}`: albs.Invalid,
		`[{"updateinfo_id":"a]`: albs.Invalid,
	} {
		if _, _, err := Read(strings.NewReader(text), "p"); albs.KindOf(err) != kind {
			t.Errorf("%.30q gives %v", text, err)
		}
	}
}

// TestBounds: a file with too many entries is refused.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("a file beyond the bounds takes seconds to be read: not with -short")
	}
	t.Parallel()
	if _, _, err := Read(strings.NewReader("["+strings.Repeat("{},", maxEntries)+"{}]"), "p"); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("too many entries give %v", err)
	}
}

func FuzzRead(f *testing.F) {
	plain, full := files(f, sample())
	f.Add(plain.Bytes)
	f.Add(full.Bytes)
	f.Add([]byte(`[{"updateinfo_id":"A-1","issued_date":{"$date":1628596858000},"pkglist":{"packages":[{"name":"a","version":"1","release":"1","arch":"noarch","sum_type":"x"}]}}]`))
	advisorytest.Seed(f, "testdata/alma.json", "testdata/alma.full.json")
	advisorytest.FuzzRead(f, Read, func(t *testing.T, a advisory.Advisory) {
		if p := Piece(a); !json.Valid(slices.Concat([]byte("["), p.Bytes, []byte("]"))) {
			t.Fatalf("%s is written as %s", a.ID, p.Bytes)
		}
	})
}

// BenchmarkJoin tells what one new advisory costs beside so many others.
func BenchmarkJoin(b *testing.B) {
	for _, n := range []int{500, 5000} {
		var ps []advisory.Piece
		for i := range n {
			ps = append(ps, Piece(advisorytest.Random(rand.New(rand.NewPCG(6, uint64(i))), i)))
		}
		a := advisorytest.Random(rand.New(rand.NewPCG(6, 0)), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.SetBytes(int64(len(Join(append(ps[:n:n], Piece(a))).Bytes)))
			}
		})
	}
}
