package update

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/repodata/updateinfo"
	"albs/internal/rpm"

	"github.com/google/go-cmp/cmp"
)

func repositories(a advisory.Advisory) []string {
	var rs []string
	for _, p := range a.Packages {
		rs = append(rs, p.Repository)
	}
	slices.Sort(rs)
	return slices.Compact(rs)
}

// carry returns what the form can carry of an advisory.
func carry(a advisory.Advisory) advisory.Advisory {
	a.References, a.VEX = a.AllReferences(), nil
	ids := a.AllCVEs()
	a.CVEs = nil
	for _, id := range ids {
		a.CVEs = append(a.CVEs, advisory.CVE{ID: id})
	}
	a.Packages = slices.Clone(a.Packages)
	for i := range a.Packages {
		a.Packages[i].Repository = "" // of which a file knows none: it is in one
	}
	return a.Normal()
}

// TestRoundTrip: written for each of its repositories, read and merged, an advisory is what
// it was, but for what the form can't carry.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for n := range advisorytest.Rounds(100) {
		a := advisorytest.Random(rand.New(rand.NewPCG(2, uint64(n))), n)
		var got []advisory.Advisory
		for _, r := range repositories(a) {
			u, ok := Of(a, r)
			if ok == (a.Withdrawn != nil) {
				t.Fatalf("%s in %s: %v", a.ID, r, ok)
			}
			if !ok {
				continue
			}
			p, err := updateinfo.Make(u)
			if err != nil {
				t.Fatal(err)
			}
			f, err := updateinfo.Join([]updateinfo.Piece{p})
			if err != nil {
				t.Fatal(err)
			}
			as, dropped, err := Read(bytes.NewReader(f.Bytes), a.Platform)
			if err != nil || len(dropped) > 0 || len(as) != 1 {
				t.Fatalf("%v %v %v", len(as), dropped, err)
			}
			got = append(got, as...)
		}
		if a.Withdrawn != nil {
			continue
		}
		if d := advisorytest.Diff(carry(a), advisory.Merge(got)[0]); d != "" {
			t.Fatalf("%s: %s", a.ID, d)
		}
	}
}

var golden = flag.Bool("update", false, "write the golden files anew")

// TestOthers: files in the shapes that AlmaLinux's, Fedora's and SUSE's have.
func TestOthers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"el9", "fedora", "suse"} {
		advisorytest.Again(t, "testdata/"+name+".xml", *golden, Read, func(t testing.TB, a advisory.Advisory) []byte {
			u, ok := Whole(a)
			p, err := updateinfo.Make(u)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			return p.Document()
		}, carry)
	}
}

// TestOf: a repository's notice has its packages alone, with their digests there, modular
// ones apart by stream, and all collections.
func TestOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pkg := func(name, repository string, m *advisory.Module) advisory.Package {
		return advisory.Package{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "x86_64"}, Repository: repository, Module: m, Digest: albs.DigestOf([]byte(name + repository))}
	}
	virt, devel := &advisory.Module{Name: "virt", Stream: "rhel", Version: 9, Context: "abc"}, &advisory.Module{Name: "virt-devel", Stream: "rhel", Version: 9, Context: "abc"}
	rebuilt := &advisory.Module{Name: "virt", Stream: "rhel", Version: 10, Context: "abc"}
	a := advisory.Advisory{
		ID: "ALSA-2026:0001", Platform: "AlmaLinux-9", Version: 3, Type: advisory.Security, Severity: advisory.Important, Title: "t", Solution: "dnf upgrade", Issued: at, Updated: at,
		CVEs: []advisory.CVE{{ID: "CVE-2026-10001"}},
		Packages: []advisory.Package{
			pkg("kvm", "9/AppStream", virt), pkg("kvm-devel", "9/AppStream", devel), pkg("kvm", "9/AppStream", rebuilt), pkg("plain", "9/AppStream", nil), pkg("plain", "9/BaseOS", nil),
		},
	}
	u, ok := Of(a, "9/AppStream")
	if !ok || u.Title != "Important: t" || u.Severity != "Important" || u.Version != "3" || u.Issued != "2026-01-01 00:00:00" || len(u.References) != 1 || u.References[0].ID != "CVE-2026-10001" {
		t.Errorf("the notice is %+v", u)
	}
	var got []string
	for _, c := range u.Collections {
		line := c.Name + ":"
		for _, p := range c.Packages {
			line += " " + p.Name
			if p.Sum != string(albs.DigestOf([]byte(p.Name+"9/AppStream"))) || p.SumType != "sha256" {
				t.Errorf("%s has the sum %s", p.Name, p.Sum)
			}
		}
		if c.Module != nil {
			line += " of " + c.Module.Name
		}
		got = append(got, line)
	}
	want := []string{
		"almalinux-9-for-9-appstream-rpms__default: plain",
		"almalinux-9-for-9-appstream-rpms__virt_rhel_10_abc: kvm of virt",
		"almalinux-9-for-9-appstream-rpms__virt_rhel_9_abc: kvm of virt",
		"almalinux-9-for-9-appstream-rpms__virt-devel_rhel_9_abc: kvm-devel of virt-devel",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if u, ok := Of(a, "9/BaseOS"); !ok || len(u.Collections) != 1 || len(u.Collections[0].Packages) != 1 {
		t.Errorf("the other repository's is %+v", u)
	}
	// All of them in one: nothing of another repository's sticks to a collection.
	w, ok := Whole(a)
	if !ok || len(w.Collections) != 5 || !strings.HasSuffix(w.Collections[4].Name, "9-baseos-rpms__default") || w.Collections[4].Module != nil || w.Solution != a.Solution || len(w.References) != 1 {
		t.Errorf("the notice of all repositories is %+v", w)
	}
	if d := cmp.Diff(u.Collections, w.Collections[:4]); d != "" {
		t.Error(d)
	}
	if _, ok := Of(a, "9/CRB"); ok {
		t.Error("a repository without its packages has a notice")
	}
	a.Withdrawn = &advisory.Withdrawal{At: at, Reason: "wrong"}
	if _, ok := Of(a, "9/BaseOS"); ok {
		t.Error("a withdrawn advisory has a notice")
	}
	if _, ok := Whole(a); ok {
		t.Error("a withdrawn advisory has a notice of all repositories")
	}
}

// TestReadForeign: what others write is taken for what it means, and what can't be taken is
// told.
func TestReadForeign(t *testing.T) {
	t.Parallel()
	as, dropped, err := Read(strings.NewReader(`<updates>
<update from="updates@fedoraproject.org" status="stable" type="unspecified" version="2.0b"><id>FEDORA-2024-0123456789</id><title>thing-1.0-1.fc40</title><issued date="2024-03-02 01:02:03"/>
<severity>Urgent</severity><description>a &#x85; b</description>
<references><reference href="https://bugzilla.redhat.com/1" id="1" type="bugzilla" title="T"/><reference href="file:///etc/passwd" type="self"/><reference href="https://example.org/RHBA" id="RHBA-2024:1" type="rhba"/></references>
<pkglist><collection short="F40"><name>Fedora 40</name><package name="thing" version="1.0" release="1.fc40" epoch="0" arch="x86_64" src="SRPMS/thing-1.0-1.fc40.src.rpm"><filename>thing.rpm</filename><sum type="md5">abc</sum></package>
<module name="thing" stream="1" version="rolling"/><package name="-x" version="1" release="1" epoch="0" arch="x86_64"/><package name="y" version="1" release="1" epoch="x" arch="x86_64"/></collection></pkglist></update>
<update status="retracted" type="optional" version="3.4"><id>SUSE-1</id><title>t</title><issued date="1700000000"/></update>
<update type="security" version="one"><id>NO-DATE-1</id><title>t</title></update>
<update type="security" version="1"><id>../../etc/passwd</id><title>t</title><issued date="1700000000"/></update>
<update type="security" version="1"><title>no id</title><issued date="1700000000"/></update>
<update type="security" version="4"><id>TWICE-1</id><title>Low: t</title><issued date="2024-01-02"/><severity>low</severity><pkglist><collection><package name="a" version="1" release="1" epoch="1" arch="noarch"/></collection></pkglist></update>
<update type="security" version="3"><id>TWICE-1</id><title>Low: t</title><issued date="2024-01-01"/><severity>low</severity><pkglist><collection><package name="b" version="1" release="1" arch="noarch"/></collection></pkglist></update>
</updates>`), "fedora-40")
	if err != nil {
		t.Fatal(err)
	}
	if len(as) != 3 {
		t.Fatalf("%d are left: %+v", len(as), as)
	}
	f, s, twice := as[0], as[1], as[2]
	if f.ID != "FEDORA-2024-0123456789" || f.Version != 2 || f.Type != advisory.Bugfix || f.Severity != advisory.None || f.Upstream != "RHBA-2024:1" || len(f.References) != 2 || len(f.Packages) != 1 || f.Packages[0].Source != "thing-1.0-1.fc40.src.rpm" || f.Packages[0].Digest != "" || *f.Packages[0].Module != (advisory.Module{Name: "thing", Stream: "1"}) {
		t.Errorf("Fedora's is %+v", f)
	}
	if s.Withdrawn == nil || s.Version != 3 || s.Type != advisory.Enhancement {
		t.Errorf("SUSE's is %+v", s)
	}
	if len(twice.Packages) != 2 || twice.Version != 4 || twice.Title != "t" || twice.Issued.Day() != 1 || twice.Updated.Day() != 2 {
		t.Errorf("what was there twice is %+v", twice)
	}
	for _, want := range []string{`"Urgent"`, `"unspecified"`, `"one" is no number`, "file:///etc/passwd", "md5 sum", `"-x`, `"y-`, `the version "rolling" of the module "thing:1" is no number`, "NO-DATE-1: it can't", "passwd: it can't", ": it can't"} {
		if !slices.ContainsFunc(dropped, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing says %s: %q", want, dropped)
		}
	}
}

func FuzzRead(f *testing.F) {
	for n := range 4 {
		a := advisorytest.Random(rand.New(rand.NewPCG(2, uint64(n))), n)
		if u, ok := Of(a, repositories(a)[0]); ok {
			p, err := updateinfo.Make(u)
			if err != nil {
				f.Fatal(err)
			}
			f.Add([]byte("<updates>" + string(p.Plain) + "</updates>"))
		}
	}
	advisorytest.Seed(f, "testdata/el9.xml", "testdata/fedora.xml", "testdata/suse.xml")
	advisorytest.FuzzRead(f, Read, nil)
}
