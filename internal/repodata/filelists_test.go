package repodata

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
)

const filelistsText = `<?xml version="1.0" encoding="UTF-8"?>
<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="2">
<package pkgid="%s" name="a" arch="noarch">
  <version epoch="2" ver="1" rel="3"/>
  <file>/usr/bin/a &amp; b</file>
  <file type="dir">/usr/share/a</file>
  <file type="ghost">/var/log/a</file>
</package>
<package pkgid="d41d8cd98f00b204e9800998ecf8427e" name="b" arch="x86_64">
  <version ver="1" rel="1"/>
  <file>/usr/lib/line
break</file>
</package>
</filelists>
`

func TestReadFilelists(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf([]byte("a"))
	text := fmt.Sprintf(filelistsText, d)
	a, b := rpm.NEVRA{Name: "a", Epoch: 2, Version: "1", Release: "3", Arch: "noarch"}, rpm.NEVRA{Name: "b", Version: "1", Release: "1", Arch: "x86_64"}
	want := []ListedFile{
		{Package: d, NEVRA: a, Path: "/usr/bin/a & b"}, {Package: d, NEVRA: a, Path: "/usr/share/a", Dir: true},
		{Package: d, NEVRA: a, Path: "/var/log/a", Ghost: true}, {NEVRA: b, Path: "/usr/lib/line\nbreak"},
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := io.WriteString(w, text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]io.Reader{"plain": strings.NewReader(text), "gzip": &packed} {
		var got []ListedFile
		err := ReadFilelists(r, func(f ListedFile) error { got = append(got, f); return nil })
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: ReadFilelists = %v (-want +got):\n%s", name, err, diff)
		}
	}
	stop := errors.New("stop")
	if err := ReadFilelists(strings.NewReader(text), func(ListedFile) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ReadFilelists = %v, want yield's error", err)
	}
	for name, text := range map[string]string{
		"another document": "<metadata/>", "cut off": text[:len(text)-20], "nothing": "",
		"an epoch": strings.Replace(text, `epoch="2"`, `epoch="-2"`, 1),
		"entity":   `<!DOCTYPE x [<!ENTITY a "b">]><filelists/>`,
	} {
		if err := ReadFilelists(strings.NewReader(text), func(ListedFile) error { return nil }); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: ReadFilelists = %v, want Invalid", name, err)
		}
	}
}

// TestReadFilelistsOfSnapshot: what this package writes, it reads.
func TestReadFilelistsOfSnapshot(t *testing.T) {
	t.Parallel()
	p, err := rpm.ReadFile("../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm")
	if err != nil {
		t.Fatal(err)
	}
	pkg := Package{RPM: p, Digest: albs.DigestOf([]byte("x")), Size: 1, Path: "Packages/x.rpm", Time: 1}
	var got []string
	e := &element{}
	renderFilelists(e, pkg)
	text := `<filelists xmlns="http://linux.duke.edu/metadata/filelists">` + string(e.b) + "</filelists>"
	err = ReadFilelists(strings.NewReader(text), func(f ListedFile) error {
		if f.Package != pkg.Digest || f.NEVRA != p.NEVRA {
			t.Errorf("%+v", f)
		}
		got = append(got, fmt.Sprintf("%s %v %v", f.Path, f.Dir, f.Ghost))
		return nil
	})
	var want []string
	for _, f := range p.Files {
		want = append(want, fmt.Sprintf("%s %v %v", f.Path, f.Dir(), f.Ghost()))
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ReadFilelists = %v (-want +got):\n%s", err, diff)
	}
}

func FuzzReadFilelists(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(filelistsText, albs.DigestOf([]byte("a")))))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := ReadFilelists(bytes.NewReader(b), func(l ListedFile) error {
			if l.Package != "" && !l.Package.Valid() {
				t.Fatalf("package %q", l.Package)
			}
			return nil
		})
		if err != nil && !errors.Is(err, albs.Invalid) && !errors.Is(err, albs.TooLarge) {
			t.Fatalf("ReadFilelists: %v is neither Invalid nor TooLarge", err)
		}
	})
}
