package repodata

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
	"albs/internal/rpm"
)

// specs make packages with every feature that rpm-md tells of.
var specs = map[string]string{
	"full": `
Name: full
Epoch: 3
Version: 1.2.3~rc1
Release: 4%{?dist}
Summary: Everything <at> "once" & more
License: MIT and 'BSD'
URL: https://example.org/?a=1&b=2
Vendor: Vendor & Sons
Packager: Pat <pat@example.org>
Group: Applications/Über
Provides: virtual = 2:5.0-6, virtual2 >= 1, libc-thing
Provides: config(full) = 3:1.2.3~rc1-4
Requires: bash >= 4.2, bash >= 4.2, coreutils < 1:9-3, /bin/sh
Requires: virtual = 2:5.0-6
Requires: /usr/bin/full-tool, /etc/full.conf, /usr/share/full/a
Requires: libc.so.6(GLIBC_2.2.5)(64bit), libc.so.6(GLIBC_2.34)(64bit), libc.so.6(GLIBC_2.4)(64bit), libc.so.6()(64bit)
Requires(pre): shadow-utils
Requires(post): /sbin/ldconfig, shadow-utils
Requires(preun): systemd
Requires: (foo if bar), glibc(x) > 2.0
Requires: shadow-utils
Conflicts: enemy < 2.0, enemy2
Obsoletes: full-old <= 1:1.0-1
Recommends: nice-to-have >= 2, (a or b)
Suggests: suggestion
Supplements: (langpacks-de and full)
Enhances: enhanced = 1.0
BuildArch: noarch
%description
First line with trailing blank. 
	Tabbed "quoted" <b>line</b> & 'more'.

Last — line ☃.
%package sub
Summary: Sub package
Requires: %{name} = %{epoch}:%{version}-%{release}
%description sub
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/full.d %{buildroot}/usr/share/full %{buildroot}/opt/sbin/x %{buildroot}/usr/lib %{buildroot}/var/lib/full
echo x > %{buildroot}/usr/bin/full-tool; echo x > %{buildroot}/etc/full.conf; echo x > %{buildroot}/usr/share/full/a
echo x > "%{buildroot}/usr/share/full/with space & <lt>"; ln -s a %{buildroot}/usr/share/full/link; echo > %{buildroot}/usr/lib/sendmail
echo x > %{buildroot}/opt/sbin/x/y; echo > %{buildroot}/usr/share/full/snow-☃
%pre
exit 0
%files
/usr/bin/full-tool
%config(noreplace) /etc/full.conf
%dir /etc/full.d
%dir /usr/share/full
/usr/share/full/*
/usr/lib/sendmail
%ghost /var/lib/full/state
%ghost %dir /var/lib/full
/opt/sbin
%files sub
%changelog
* Thu Mar 14 2024 Zoë <zoe@example.org> - 3:1.2.3~rc1-4
- second of the day & <more>
* Thu Mar 14 2024 Zoë <zoe@example.org> - 3:1.2.3~rc1-3
- first of the day
  continued
* Thu Mar 14 2024 Ann <ann@example.org> - 3:1.2.3~rc1-2
- and one more
* Wed Mar 13 2024 Ann <ann@example.org>
- no version
` + manyChanges(),
	"tiny": `
Name: tiny
Version: 1
Release: 1
Summary: Tiny
License: MIT
Requires: full
%description
%files
`,
	"alone": `
Name: alone
Version: 1
Release: 1
Summary: Needs nothing
License: MIT
Obsoletes: tiny < 2
BuildArch: noarch
%description
%files
`,
	"arched": `
Name: arched+plus
Version: 2.0^git1
Release: 1
Summary: With an arch
License: MIT
ExclusiveArch: x86_64 aarch64
%description
Text.
%install
mkdir -p %{buildroot}/usr/lib64; cp /bin/true %{buildroot}/usr/lib64/true
%files
/usr/lib64/true
`,
}

func manyChanges() string {
	var b strings.Builder
	for i := range 14 {
		fmt.Fprintf(&b, "* Tue Mar %02d 2022 Old Hand <old@example.org> - 0.%d-1\n- change %d\n", []int{29, 22, 15, 8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}[i], 20-i, i)
	}
	return b.String()
}

// need skips the test unless the tools are there.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: %v", tool, err)
		}
	}
}

// run runs a command with a HOME of its own and returns its output.
func run(t *testing.T, home string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=")
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Fatalf("%q: %v\n%s%s", argv, err, out.String(), diag.String())
	}
	return out.String()
}

// rpms builds the packages of specs into dir/Packages.
func rpms(t *testing.T, dir string) {
	t.Helper()
	top := t.TempDir()
	for name, spec := range specs {
		if err := os.WriteFile(filepath.Join(top, name+".spec"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, top, "rpmbuild", "-ba", "--target", "x86_64", "--define", "_topdir "+top, "--define", "debug_package %{nil}", "--define", "_build_id_links none",
			"--define", "_rpmdir "+dir+"/Packages", "--define", "_srcrpmdir "+dir+"/Packages", "--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
			filepath.Join(top, name+".spec"))
	}
}

// readPackages reads all packages below dir/Packages.
func readPackages(t *testing.T, dir string) []Package {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "Packages", "*.rpm"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no packages in %s: %v", dir, err)
	}
	var out []Package
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := rpm.Read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("rpm.Read(%s): %v", f, err)
		}
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Package{RPM: r, Digest: albs.DigestOf(b), Size: st.Size(), Path: "Packages/" + filepath.Base(f), Time: st.ModTime().Unix()})
	}
	return out
}

// node is an XML element as a tree.
type node struct {
	Name     xml.Name
	Attrs    []xml.Attr
	Text     string
	Children []*node
}

func parseXML(t *testing.T, r io.Reader) *node {
	t.Helper()
	dec := xml.NewDecoder(r)
	stack := []*node{{}}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return stack[0].Children[0]
		}
		if err != nil {
			t.Fatal(err)
		}
		top := stack[len(stack)-1]
		switch tok := tok.(type) {
		case xml.StartElement:
			n := &node{Name: tok.Name, Attrs: slices.Clone(tok.Attr)}
			top.Children = append(top.Children, n)
			stack = append(stack, n)
		case xml.EndElement:
			if len(top.Children) > 0 {
				top.Text = strings.TrimSpace(top.Text)
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.Text += string(tok)
		}
	}
}

// metadata reads the file of type typ of the repository in dir, packages by name.
func metadata(t *testing.T, dir, typ string) *node {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	md, err := ParseRepomd(f)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := md.Find(typ)
	if !ok {
		t.Fatalf("no %s in %s", typ, dir)
	}
	b, err := os.ReadFile(filepath.Join(dir, d.Path))
	if err != nil {
		t.Fatal(err)
	}
	if albs.DigestOf(b) != d.Digest || int64(len(b)) != d.Size {
		t.Errorf("%s: repomd.xml says %s, %d bytes; it is %s, %d bytes", d.Path, d.Digest, d.Size, albs.DigestOf(b), len(b))
	}
	plain, done, err := intake.Decompress(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	raw, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	if albs.DigestOf(raw) != d.OpenDigest || int64(len(raw)) != d.OpenSize {
		t.Errorf("%s: repomd.xml says open %s, %d bytes; it is %s, %d bytes", d.Path, d.OpenDigest, d.OpenSize, albs.DigestOf(raw), len(raw))
	}
	n := parseXML(t, bytes.NewReader(raw))
	key := func(n *node) string {
		if n.Attrs[0].Name.Local == "pkgid" {
			return n.Attrs[0].Value
		}
		for _, c := range n.Children {
			if c.Name.Local == "checksum" {
				return c.Text
			}
		}
		return ""
	}
	slices.SortFunc(n.Children, func(a, b *node) int { return strings.Compare(key(a), key(b)) })
	return n
}

// materialize lays the files of a snapshot into dir.
func materialize(t *testing.T, m *memory, s *Snapshot, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "repodata")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Files() {
		if err := os.WriteFile(filepath.Join(dir, f.Path), m.bytes(t, f.Digest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEqualToCreaterepo: whatever compresses it, the metadata is element for element what
// createrepo_c makes of the same packages, and what it has read itself when it merges
// repositories. Its own by zstd is the same, where it knows that.
func TestEqualToCreaterepo(t *testing.T) {
	t.Parallel()
	need(t, "rpmbuild", "createrepo_c", "mergerepo_c")
	peer := t.TempDir()
	rpms(t, peer)
	run(t, peer, "createrepo_c", "--no-database", "--quiet", "--general-compress-type=gz", peer)
	pkgs := readPackages(t, peer)
	same := func(what, dir string) {
		t.Helper()
		for _, typ := range kindNames {
			want := metadata(t, peer, typ)
			if len(want.Children) != len(pkgs) {
				t.Errorf("createrepo_c lists %d packages in %s, want %d", len(want.Children), typ, len(pkgs))
			}
			if diff := cmp.Diff(want, metadata(t, dir, typ)); diff != "" {
				t.Errorf("%s of %s differs from createrepo_c's (-theirs +other):\n%s", typ, what, diff)
			}
		}
	}
	own := t.TempDir()
	if err := os.Symlink(filepath.Join(peer, "Packages"), filepath.Join(own, "Packages")); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "createrepo_c", "--no-database", "--quiet", "--general-compress-type=zstd", own).CombinedOutput()
	knows := err == nil
	switch {
	case knows:
		same("createrepo_c by zstd", own)
	case !strings.Contains(string(out), "zstd"):
		t.Errorf("createrepo_c by zstd: %v: %s", err, out)
	default: // it is older than 0.21
		t.Logf("this createrepo_c doesn't know zstd, and wasn't asked to write or read it: %s", out)
	}
	for _, by := range Compressions {
		m, ours, merged := newMemory(), t.TempDir(), t.TempDir()
		s := extend(t, m, nil, Change{Add: pkgs[:3], Compression: by}, 10)
		materialize(t, m, extend(t, m, s, Change{Add: pkgs[2:]}, 11), ours)
		same("ours by "+string(by), ours)
		if by == Zstd && !knows {
			continue
		}
		run(t, ours, "mergerepo_c", "--no-database", "--omit-baseurl", "--all", "--compress-type=gz", "--repo="+ours, "--repo="+ours, "--outputdir="+merged)
		same("ours by "+string(by)+", merged by createrepo_c", merged)
	}
}

func TestReadCreaterepo(t *testing.T) {
	t.Parallel()
	need(t, "rpmbuild", "createrepo_c")
	for _, compression := range []string{"gz", "xz"} {
		dir := t.TempDir()
		rpms(t, dir)
		run(t, dir, "createrepo_c", "--no-database", "--quiet", "--general-compress-type="+compression, dir)
		f, err := os.Open(filepath.Join(dir, "repodata", "repomd.xml"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		md, err := ParseRepomd(f)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := md.Find("primary")
		if !strings.HasSuffix(d.Path, compression) {
			t.Errorf("createrepo_c wrote %s, not %s", d.Path, compression)
		}
		b, err := os.ReadFile(filepath.Join(dir, d.Path))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Listed{}
		err = ReadPrimary(bytes.NewReader(b), func(l Listed) error {
			got[l.Path] = l
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range readPackages(t, dir) {
			l := got[p.Path]
			if l.NEVRA != p.RPM.NEVRA || l.Digest != p.Digest || l.Size != p.Size || l.SourceRPM != p.RPM.SourceRPM || len(l.Provides) != len(p.RPM.Provides) {
				t.Errorf("%s is listed as %+v", p.Path, l)
			}
			delete(got, p.Path)
		}
		if len(got) > 0 {
			t.Errorf("ReadPrimary lists also %v", got)
		}
	}
}

// dnf lists the packages of the repository in dir as dnf sees them.
func dnf(t *testing.T, dir string) []string {
	t.Helper()
	home := t.TempDir()
	conf := filepath.Join(home, "dnf.conf")
	text := "[main]\nreposdir=/dev/null\nplugins=0\ngpgcheck=0\nbest=0\nmodule_platform_id=platform:el9\n"
	for _, d := range []string{"cachedir", "logdir", "persistdir"} {
		text += d + "=" + filepath.Join(home, d) + "\n"
	}
	for name, text := range map[string]string{conf: text, filepath.Join(home, ".rpmmacros"): "%_dbpath /usr/lib/sysimage/rpm\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := run(t, home, "dnf", "-q", "-c", conf, "--installroot", filepath.Join(home, "root"), "--releasever", "9", "--forcearch", "x86_64",
		"--repofrompath=x,file://"+dir, "--repo=x", "repoquery", "-a", "--qf", "%{name}-%{epoch}:%{version}-%{release}.%{arch}")
	names := strings.Fields(out)
	slices.Sort(names)
	return names
}

func TestReadByDNF(t *testing.T) {
	t.Parallel()
	need(t, "rpmbuild", "dnf")
	dir := t.TempDir()
	rpms(t, dir)
	pkgs := readPackages(t, dir)
	names := func(pkgs []Package) []string {
		var out []string
		for _, p := range pkgs {
			out = append(out, fmt.Sprintf("%s-%d:%s-%s.%s", p.RPM.Name, p.RPM.Epoch, p.RPM.Version, p.RPM.Release, p.RPM.Arch))
		}
		slices.Sort(out)
		return out
	}
	ctx, m := t.Context(), newMemory()
	s, err := Extend(ctx, m, nil, Change{Add: append(synthetics(0, 300), pkgs[1:]...)}, 1700000000)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(synthetics(0, 300), pkgs)
	for _, step := range []struct {
		name   string
		change Change
		want   []Package
	}{
		{"nothing", Change{}, slices.Concat(synthetics(0, 300), pkgs[1:])},
		{"add one", Change{Add: pkgs[:1]}, all},
		{"compress by zstd", Change{Compression: Zstd}, all},
		{"remove some", Change{Remove: paths(synthetics(0, 290))}, all[290:]},
		{"remove the rest of the synthetic", Change{Remove: paths(synthetics(290, 300))}, pkgs},
	} {
		if s, err = Extend(ctx, m, s, step.change, s.Revision()+1); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		materialize(t, m, s, dir)
		if diff := cmp.Diff(names(step.want), dnf(t, dir)); diff != "" {
			t.Errorf("%s: dnf sees other packages (-want +got):\n%s", step.name, diff)
		}
	}
	empty, err := Empty(context.WithoutCancel(ctx), m, 1)
	if err != nil {
		t.Fatal(err)
	}
	none := t.TempDir()
	materialize(t, m, empty, none)
	if got := dnf(t, none); len(got) > 0 {
		t.Errorf("dnf sees %v in an empty repository", got)
	}
}
