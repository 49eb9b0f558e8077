package image

import (
	"errors"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm/rpmtest"
	"albs/internal/sbom"
)

const treeInfo = `[header]
type = productmd.treeinfo
version = 1.2

; a comment
[release]
name = AlmaLinux
short = AlmaLinux
version = 9.4

[tree]
arch = x86_64
build_timestamp = 1714656000.25
platforms = x86_64,xen
variants = AppStream,BaseOS

[checksums]
images/boot.iso = sha256:0123

[variant-AppStream]
id = AppStream
packages = AppStream/Packages/
repository = AppStream

[variant-BaseOS]
id = BaseOS
packages = BaseOS/Packages
`

func TestParseTreeInfo(t *testing.T) {
	t.Parallel()
	got, err := ParseTreeInfo([]byte(treeInfo))
	if err != nil {
		t.Fatal(err)
	}
	want := TreeInfo{
		Family: "AlmaLinux", Version: "9.4", Arch: "x86_64", Built: time.Unix(1714656000, 0).UTC(),
		Variants: []Variant{{"AppStream", "AppStream/Packages"}, {"BaseOS", "BaseOS/Packages"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.name() != "AlmaLinux 9.4 DVD ISO" {
		t.Errorf("it is called %s", got.name())
	}
	// What is said of before version 1.0.
	old, err := ParseTreeInfo([]byte("[general]\nfamily = AlmaLinux\nversion = 8.10\nvariant = Minimal\npackagedir = Minimal/Packages\ntimestamp = 12\n"))
	if err != nil || old.name() != "AlmaLinux 8.10 Minimal ISO" || old.Variants[0].Packages != "Minimal/Packages" || old.Built.Unix() != 12 {
		t.Errorf("of before 1.0: %+v, %v", old, err)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"no name":                {"name = AlmaLinux", "", "name of the distribution"},
		"a name of signs":        {"name = AlmaLinux", "name = <b>", "name of the distribution"},
		"no version":             {"version = 9.4", "", "version of the distribution"},
		"an arch of signs":       {"arch = x86_64", "arch = a/b", "the arch"},
		"a time that is none":    {"1714656000.25", "soon", "the time"},
		"a time below zero":      {"1714656000.25", "-1", "the time"},
		"not a number":           {"1714656000.25", "NaN", "the time"},
		"no variants":            {"variants = AppStream,BaseOS", "", "0 variants"},
		"a variant of signs":     {"variants = AppStream", "variants = ../x", "a variant"},
		"too many variants":      {"variants = ", "variants = " + manyVariants(), "variants"},
		"no packages":            {"packages = BaseOS/Packages", "", "folder of the packages of BaseOS"},
		"packages outside":       {"packages = BaseOS/Packages", "packages = ../../etc", "folder of the packages of BaseOS"},
		"packages from the root": {"packages = BaseOS/Packages", "packages = /etc", "folder of the packages of BaseOS"},
		"a line that is none":    {"short = AlmaLinux", "short", "line 8"},
		"a section that is none": {"[tree]", "[tree", "line 11"},
		"a section of no name":   {"[tree]", "[]", "line 11"},
		"a line of no section":   {"[header]", "", "line 2"},
		"a long line":            {"short = AlmaLinux", "short = " + strings.Repeat("x", maxValue), "line 8"},
		"too long":               {"short = AlmaLinux", strings.Repeat("# \n", maxTreeInfo/3), "more than"},
	} {
		if !strings.Contains(treeInfo, tt.old) {
			t.Fatalf("%s: %q isn't there", name, tt.old)
		}
		_, err := ParseTreeInfo([]byte(strings.Replace(treeInfo, tt.old, tt.new, 1)))
		if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func manyVariants() string {
	var out []string
	for i := range maxVariants {
		out = append(out, "v"+strings.Repeat("i", i))
	}
	return strings.Join(out, ",") + ","
}

// FuzzParseTreeInfo: whatever it says, folders lie within the image.
func FuzzParseTreeInfo(f *testing.F) {
	for _, s := range []string{treeInfo, "[general]\nfamily: A\nversion: 1\nvariant: x\npackagedir: .", "[a]\n=\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := ParseTreeInfo(b)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatal(err)
			}
			return
		}
		for _, v := range info.Variants {
			if !fs.ValidPath(v.Packages) || v.ID == "" {
				t.Errorf("a variant is %+v", v)
			}
		}
	})
}

var rpms = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build(`%define debug_package %{nil}
Name: hello
Version: 1
Release: 1.el9
Summary: A package
License: MIT
AutoReqProv: no
BuildArch: noarch
Requires: hello-libs, nowhere
%description
%package libs
Summary: A library
AutoReqProv: no
%description libs
%files
%files libs
`)
})

// files are those of an image.
func files(t *testing.T) fstest.MapFS {
	t.Helper()
	made, err := rpms()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{".treeinfo": {Data: []byte(treeInfo)}, "BaseOS/Packages/TRANS.TBL": {Data: []byte("x")}, "images/other.rpm": {Data: []byte("x")}}
	for name, b := range made {
		switch {
		case strings.HasPrefix(name, "hello-libs"):
			out["BaseOS/Packages/h/"+name] = &fstest.MapFile{Data: b}
			out["AppStream/Packages/"+name] = &fstest.MapFile{Data: b} // in both
		case !strings.HasSuffix(name, ".src.rpm"):
			out["AppStream/Packages/"+name] = &fstest.MapFile{Data: b}
		}
	}
	return out
}

func TestOf(t *testing.T) {
	t.Parallel()
	root := sbom.Component{File: "dvd.iso", SHA256: strings.Repeat("ab", 32)}
	of := func(files fs.FS, d sbom.Distribution) (sbom.Bill, error) {
		return Of(t.Context(), files, d, root, sbom.Party{Name: "Example"}, "https://example.org/sbom", "1.2")
	}
	b, err := of(files(t), sbom.Distribution{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range b.Others {
		names = append(names, string(c.Type)+" "+c.Name+" "+c.Version)
		if c.Name == "hello" && c.Type == sbom.Library && (len(c.Needs) != 1 || c.Resolved || !strings.HasSuffix(c.PURL, "distro=almalinux-9&upstream=hello-1-1.el9.src.rpm") || c.File != "hello-1-1.el9.noarch.rpm") {
			t.Errorf("the package is %+v", c)
		}
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"library hello 1-1.el9", "library hello-libs 1-1.el9", "operating-system almalinux 9.4", "source hello 1-1.el9"}, names); diff != "" {
		t.Errorf("it has (-want +got):\n%s", diff)
	}
	if b.Root.Name != "AlmaLinux 9.4 DVD ISO" || b.Root.SHA256 != root.SHA256 || len(b.Root.Contains) != 2 || b.Made.Before(time.Unix(1714656000, 0)) {
		t.Errorf("the image is %+v of %s", b.Root, b.Made)
	}
	for _, f := range sbom.Formats() {
		text, err := b.Write(f)
		if err != nil {
			t.Fatal(err)
		}
		again, err := of(files(t), sbom.Distribution{})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := again.Write(f); err != nil || string(same) != string(text) {
			t.Errorf("%s is another one when it is made again (%v)", f, err)
		}
	}
	named, err := of(files(t), sbom.Distribution{ID: "other", Version: "3"})
	if err != nil || !slices.ContainsFunc(named.Others, func(c sbom.Component) bool { return c.Type == sbom.System && c.Name == "other" }) {
		t.Errorf("of a system that was named: %v", err)
	}

	for name, tt := range map[string]struct {
		change func(fstest.MapFS)
		want   string
	}{
		"no .treeinfo":     {func(f fstest.MapFS) { delete(f, ".treeinfo") }, "has no .treeinfo"},
		"a long .treeinfo": {func(f fstest.MapFS) { f[".treeinfo"] = &fstest.MapFile{Data: make([]byte, maxTreeInfo+1)} }, "more than"},
		"a broken package": {func(f fstest.MapFS) { f["BaseOS/Packages/a.rpm"] = &fstest.MapFile{Data: []byte("x")} }, "a.rpm"},
		"no folder": {func(f fstest.MapFS) {
			f[".treeinfo"] = &fstest.MapFile{Data: []byte(strings.Replace(treeInfo, "BaseOS/Packages", "None", 1))}
		}, "no folder None"},
		"too many folders": {many, "folders"},
		"a name of no id": {func(f fstest.MapFS) {
			f[".treeinfo"] = &fstest.MapFile{Data: []byte(strings.Replace(treeInfo, "name = AlmaLinux", "name = A+B", 1))}
		}, "makes no id"},
		"a broken treeinfo": {func(f fstest.MapFS) { f[".treeinfo"] = &fstest.MapFile{Data: []byte("x")} }, "line 1"},
	} {
		f := files(t)
		tt.change(f)
		if _, err := of(f, sbom.Distribution{}); albs.KindOf(err) != albs.Invalid && albs.KindOf(err) != albs.TooLarge || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestTooMany: each file counts, in whichever variant and though it is another's copy.
func TestTooMany(t *testing.T) {
	t.Parallel()
	read := func(left int) error {
		w := walk{fsys: files(t), into: sbom.NewGroup(), left: left}
		for _, folder := range []string{"AppStream", "BaseOS"} {
			if _, err := w.packages(t.Context(), Variant{ID: folder, Packages: folder + "/Packages"}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := read(3); err != nil {
		t.Errorf("three files, where three may be: %v", err)
	}
	if err := read(2); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("three files of two packages, where two may be: %v", err)
	}
}

func many(f fstest.MapFS) {
	for i := range maxFolders {
		f[path.Join("BaseOS/Packages", strings.Repeat("x", i%200+1), strings.Repeat("y", i/200+1), "a")] = &fstest.MapFile{}
	}
}
