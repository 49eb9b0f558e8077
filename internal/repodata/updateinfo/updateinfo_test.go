package updateinfo

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/repodata/record"
	"albs/internal/rpm/rpmtest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
)

var update = flag.Bool("update", false, "write the golden files anew")

// notices have all that a notice may have, and text that would end what it stands in.
func notices() []Update {
	sum := strings.Repeat("ab", 32)
	return []Update{
		{
			From: "errata@example.org", Status: "final", Type: "security", Version: "2", ID: "ALSA-2026:0002", Title: `Important: a "tool" & <b>more</b> security update`,
			Issued: "2026-01-02 03:04:05", Updated: "2026-02-03 04:05:06", Rights: "Copyright 2026 Example", Release: "0", PushCount: "1", Severity: "Important",
			Summary: "An update\nof lines.", Description: "* tool: ]]> & <script>alert(1)</script> (CVE-2026-10001)\n\n\tindented é 日本", Solution: "dnf upgrade", Reboot: true,
			References: []Reference{
				{Href: "https://errata.example.org/ALSA-2026-0002.html", ID: "ALSA-2026:0002", Type: "self", Title: "ALSA-2026:0002"},
				{Href: "https://example.org/cve?a=1&b=\"2\"", ID: "CVE-2026-10001", Type: "cve", Title: "a\nb\tc < d"}, {Href: "https://example.org/", Type: "other"},
			},
			Collections: []Collection{
				{Short: "plain", Name: "plain", Packages: []Package{
					{Name: "tool", Version: "1.0", Release: "10", Epoch: "0", Arch: "noarch", Src: "tool-1.0-10.src.rpm", Filename: "tool-1.0-10.noarch.rpm", Sum: sum, SumType: "sha256", Reboot: true, Restart: true, Relogin: true},
					{Name: "tool-libs", Version: "1.0^git1~rc", Release: "10", Epoch: "4", Arch: "x86_64", Src: "tool-1.0-10.src.rpm", Filename: "tool-libs-1.0-10.x86_64.rpm", Sum: sum, SumType: "sha256"},
				}},
				{Short: "mod", Name: "mod", Module: &Module{Name: "virt", Stream: "rhel", Version: 18446744073709551615, Context: "abcdef01", Arch: "x86_64"}, Packages: []Package{
					{Name: "kvm", Version: "8", Release: "1.module", Epoch: "15", Arch: "x86_64", Src: "kvm-8-1.module.src.rpm", Filename: "kvm-8-1.module.x86_64.rpm"},
				}},
			},
		},
		{
			From: "errata@example.org", Status: "final", Type: "bugfix", Version: "1", ID: "ALBA-2026:0001", Title: "a tool bug fix update",
			Issued: "2026-01-02 03:04:05", Updated: "2026-01-02 03:04:05", Severity: "None", Description: "Mended.",
			Collections: []Collection{{Short: "plain", Name: "plain", Packages: []Package{{Name: "tool", Version: "1.0", Release: "9", Epoch: "0", Arch: "noarch", Filename: "tool-1.0-9.noarch.rpm"}}}},
		},
	}
}

func join(t testing.TB, us []Update) record.File {
	t.Helper()
	var ps []Piece
	for _, u := range us {
		p, err := Make(u)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	f, err := Join(ps)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func unpacked(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func read(t testing.TB, b []byte) []Update {
	t.Helper()
	var us []Update
	if err := Read(bytes.NewReader(b), func(u Update) error { us = append(us, u); return nil }); err != nil {
		t.Fatal(err)
	}
	return us
}

func TestGolden(t *testing.T) {
	t.Parallel()
	f := join(t, notices())
	plain := unpacked(t, f.Bytes)
	golden := filepath.Join("testdata", "updateinfo.xml")
	if *update {
		if err := os.WriteFile(golden, plain, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(plain, want) {
		t.Errorf("%v %s", err, cmp.Diff(string(want), string(plain)))
	}
	if f.Digest != albs.DigestOf(f.Bytes) || f.Size != int64(len(f.Bytes)) || f.OpenDigest != albs.DigestOf(plain) || f.OpenSize != int64(len(plain)) {
		t.Errorf("the record is of other bytes: %+v", f.Record)
	}
	// Whatever the order they come in, and read again.
	us := notices()
	us[0], us[1] = us[1], us[0]
	if g := join(t, us); !bytes.Equal(f.Bytes, g.Bytes) {
		t.Error("the order of the notices shows in the file")
	}
	for _, b := range [][]byte{plain, f.Bytes} {
		if d := cmp.Diff(us, read(t, b)); d != "" {
			t.Errorf("read again it is another one: %s", d)
		}
	}
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("xmllint is not installed here")
	}
	if out, err := exec.CommandContext(t.Context(), "xmllint", "--noout", golden).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	f := join(t, nil)
	if got := unpacked(t, f.Bytes); string(got) != empty || f.OpenSize != int64(len(empty)) || len(read(t, f.Bytes)) != 0 {
		t.Errorf("it is %s", got)
	}
}

// TestMakeRefuses: what XML can't hold is refused, not written otherwise.
func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]Update{
		"no id": {Title: "x"}, "control": {ID: "A", Title: "\x00"}, "no UTF-8": {ID: "A", Description: "\xff"}, "no character": {ID: "A", References: []Reference{{Href: "\uffff"}}},
	} {
		if _, err := Make(u); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := Make(Update{ID: "A"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Join([]Piece{p, p}); albs.KindOf(err) != albs.Invalid {
		t.Errorf("twice: %v", err)
	}
}

// TestReadTolerant: forms that others write.
func TestReadTolerant(t *testing.T) {
	t.Parallel()
	us := read(t, []byte(`<?xml version="1.0"?><!-- by hand --><updates extra="1"><new><id>no</id></new>
<update from="x" status="stable" type="recommended" version="2.0"><id> FEDORA-1 </id><title>
 T </title><issued date="1727175906"/><unknown><description>no</description></unknown><description>a &lt; b</description><message>M</message>
<reboot_suggested/><references/><pkglist><collection><package name="p" epoch="" arch="noarch"><reboot_suggested>False</reboot_suggested><relogin_suggested>1</relogin_suggested><filename/></package>
<module name="m" stream="1" version="many"/></collection></pkglist><pkglist><collection short="second"><module name="n" version="99999999999999999999"/></collection></pkglist></update><update/></updates>`))
	want := []Update{{
		From: "x", Status: "stable", Type: "recommended", Version: "2.0", ID: "FEDORA-1", Title: "T", Issued: "1727175906", Description: "a < b", Message: "M", Reboot: true,
		Collections: []Collection{{Module: &Module{Name: "m", Stream: "1", NoVersion: "many"}, Packages: []Package{{Name: "p", Arch: "noarch", Relogin: true}}}, {Short: "second", Module: &Module{Name: "n", NoVersion: "99999999999999999999"}}},
	}, {}}
	if d := cmp.Diff(want, us); d != "" {
		t.Error(d)
	}
	stop := errors.New("stop")
	if err := Read(strings.NewReader("<updates><update/><broken"), func(Update) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the caller's error is %v", err)
	}
	for text, kind := range map[string]albs.Kind{
		"": albs.Invalid, "<x/>": albs.Invalid, "<updates>": albs.Invalid, "<updates/>x": albs.Invalid, "<updates><update></updates>": albs.Invalid,
		`<!DOCTYPE x [<!ENTITY a "b">]><updates/>`: albs.Invalid, "<updates>&a;</updates>": albs.Invalid,
		"<updates><update><title>" + strings.Repeat("a", 2<<20) + "</title></update></updates>":                                         albs.TooLarge,
		"<updates><update><description>" + strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20) + "</description></update></updates>": albs.Invalid,
		"\x1f\x8b broken": albs.Invalid,
	} {
		if err := Read(strings.NewReader(text), func(Update) error { return nil }); albs.KindOf(err) != kind {
			t.Errorf("%.60q gives %v", text, err)
		}
	}
	if err := Read(io.MultiReader(strings.NewReader("<updates>"), brokenReader{}), func(Update) error { return nil }); albs.KindOf(err) != albs.Internal {
		t.Errorf("a reader's own fault is %v", err)
	}
}

// TestBounds: notices that are too long, or list too much, are refused.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("files beyond the bounds take seconds to be read: not with -short")
	}
	t.Parallel()
	for _, inside := range []string{
		"<pkglist><collection>" + strings.Repeat("<package/>", maxListed+1) + "</collection></pkglist>",
		"<references>" + strings.Repeat(`<reference href="`+strings.Repeat("a", 900<<10)+`"/>`, 19) + "</references>",
	} {
		if err := Read(strings.NewReader("<updates><update>"+inside+"</update></updates>"), func(Update) error { return nil }); albs.KindOf(err) != albs.TooLarge {
			t.Errorf("%.60q gives %v", inside, err)
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// TestCreaterepo: createrepo_c's library reads the file without a warning and writes the
// same bytes.
func TestCreaterepo(t *testing.T) {
	t.Parallel()
	dump := advisorytest.Createrepo(t)
	got, err := dump("testdata/updateinfo.xml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/updateinfo.xml")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error(cmp.Diff(string(want), got))
	}
}

// TestDNF: modifyrepo_c takes the file as it is, and dnf lists and tells the notice of a
// package that is installed in its older version.
func TestDNF(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"createrepo_c", "modifyrepo_c", "dnf", "rpm", "rpmbuild"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed here", tool)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root installs into a root")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(argv ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8", "TZ=UTC", "SOURCE_DATE_EPOCH=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
		return string(out)
	}
	lay := func(into, release string) string {
		t.Helper()
		made, err := rpmtest.Build("Name: tool\nVersion: 1.0\nRelease: " + release + "\nSummary: T\nLicense: MIT\nBuildArch: noarch\n%description\nT.\n%files\n")
		if err == nil {
			err = os.MkdirAll(at(into), 0o755)
		}
		name := "tool-1.0-" + release + ".noarch.rpm"
		if err == nil {
			err = os.WriteFile(filepath.Join(at(into), name), made[name], 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(at(into), name)
	}
	lay("repo", "10") // newer than 9 by rpm's order, older by that of strings
	old := lay("old", "9")
	f := join(t, notices())
	if err := os.WriteFile(at("updateinfo.xml.gz"), f.Bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	run("createrepo_c", "--quiet", "--no-database", at("repo"))
	run("modifyrepo_c", "--mdtype=updateinfo", at("updateinfo.xml.gz"), filepath.Join(at("repo"), "repodata"))
	md, err := os.ReadFile(filepath.Join(at("repo"), "repodata", "repomd.xml"))
	if err != nil || !strings.Contains(string(md), `<open-checksum type="sha256">`+string(f.OpenDigest)) {
		t.Errorf("modifyrepo_c takes it for another file (%v): %s", err, md)
	}

	conf := "[main]\nreposdir=/dev/null\nplugins=0\ngpgcheck=0\n"
	for _, d := range []string{"cachedir", "logdir", "persistdir"} {
		conf += d + "=" + at(d) + "\n"
	}
	if err := os.WriteFile(at("dnf.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	dnf := func(ask ...string) string {
		t.Helper()
		return run(append([]string{"dnf", "-q", "-y", "-c", at("dnf.conf"), "--installroot", at("root"), "--releasever", "9", "--forcearch", "x86_64", "--repofrompath=x,file://" + at("repo"), "--repo=x"}, ask...)...)
	}
	run("rpm", "--root", at("root"), "--nodeps", "--nosignature", "-i", old)
	if out := dnf("updateinfo", "list"); !strings.Contains(out, "ALSA-2026:0002 Important/Sec. tool-1.0-10.noarch") || strings.Contains(out, "ALBA-2026:0001") {
		t.Errorf("dnf updateinfo list: %s", out)
	}
	info := dnf("updateinfo", "info", "--cve", "CVE-2026-10001")
	for _, want := range []string{"ALSA-2026:0002", "Type: security", "Updated: 2026-02-03 04:05:06", "Severity: Important", "CVE-2026-10001", "]]> & <script>alert(1)</script>"} {
		if !strings.Contains(info, want) {
			t.Errorf("dnf updateinfo info doesn't say %q: %s", want, info)
		}
	}
	dnf("upgrade", "--security")
	if out := run("rpm", "--root", at("root"), "-qa"); out != "tool-1.0-10.noarch\n" {
		t.Errorf("after dnf upgrade --security there is %s", out)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(unpacked(f, join(f, notices()).Bytes))
	f.Add([]byte(`<updates><update><pkglist><collection><module/><package><sum/></package></collection></pkglist></update></updates>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ps []Piece
		ids := map[string]bool{}
		var us []Update
		if Read(bytes.NewReader(b), func(u Update) error {
			p, err := Make(u)
			if err != nil {
				return nil // no id
			}
			if !ids[u.ID] && u.Message == "" {
				us, ps = append(us, u), append(ps, p)
			}
			ids[u.ID] = true
			return nil
		}) != nil {
			return
		}
		file, err := Join(ps)
		if err != nil {
			t.Fatal(err)
		}
		if got := join(t, read(t, file.Bytes)); !bytes.Equal(got.Bytes, file.Bytes) {
			t.Fatalf("%s", cmp.Diff(unpacked(t, file.Bytes), unpacked(t, got.Bytes)))
		}
	})
}

// BenchmarkJoin tells what one new notice costs beside so many others.
func BenchmarkJoin(b *testing.B) {
	one := notices()[0]
	for range 4 { // some 60 packages
		one.Collections = append(one.Collections, one.Collections...)
	}
	for _, n := range []int{500, 5000} {
		var ps []Piece
		for i := range n {
			one.ID = fmt.Sprintf("ALSA-2026:%04d", i)
			p, err := Make(one)
			if err != nil {
				b.Fatal(err)
			}
			ps = append(ps, p)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				one.ID = "ALSA-2027:0001"
				p, err := Make(one)
				if err != nil {
					b.Fatal(err)
				}
				f, err := Join(append(ps[:n:n], p))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(f.OpenSize)
			}
		})
	}
}
