package repodata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// xzCRC returns the checksum of a header as xz writes it.
func xzCRC(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b))
}

func someTree() Tree {
	return Tree{
		Version: 1, Product: "AlmaLinux-9", Serial: 12,
		Repositories: []TreeRepo{
			{Path: "almalinux-9/AppStream/x86_64/os", Snapshot: albs.DigestOf([]byte("a"))},
			{Path: "almalinux-9/BaseOS/x86_64/os", Snapshot: albs.DigestOf([]byte("b"))},
		},
		Files: []TreeFile{
			{Path: "almalinux-9/BaseOS/x86_64/os/EULA", Digest: albs.DigestOf([]byte("c")), Size: 1},
			{Path: "almalinux-9/RPM-GPG-KEY", Digest: albs.DigestOf([]byte("d")), Size: 0},
		},
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	want := someTree()
	mixed := someTree()
	mixed.Version = 0
	slices.Reverse(mixed.Repositories)
	slices.Reverse(mixed.Files)
	b := mixed.Encode()
	if mixed.Repositories[0].Path != want.Repositories[1].Path {
		t.Error("Encode changed the order of its receiver")
	}
	if !bytes.Equal(b, want.Encode()) {
		t.Error("the order of repositories and files changes the document")
	}
	got, err := ParseTree(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ParseTree(Encode) (-want +got):\n%s", diff)
	}
	const golden = `{"version":1,"product":"p","serial":1,"repositories":[],"files":[]}` + "\n"
	if got := string(Tree{Product: "p", Serial: 1}.Encode()); got != golden {
		t.Errorf("Encode = %s, want %s", got, golden)
	}
}

func TestParseTreeRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Tree){
		"no product":                    func(r *Tree) { r.Product = "" },
		"product upwards":               func(r *Tree) { r.Product = ".." },
		"product with a slash":          func(r *Tree) { r.Product = "a/b" },
		"serial":                        func(r *Tree) { r.Serial = 0 },
		"path upwards":                  func(r *Tree) { r.Repositories[0].Path = "a/../../b" },
		"absolute path":                 func(r *Tree) { r.Files[0].Path = "/etc/passwd" },
		"no snapshot":                   func(r *Tree) { r.Repositories[0].Snapshot = "" },
		"no digest":                     func(r *Tree) { r.Files[0].Digest = "" },
		"negative size":                 func(r *Tree) { r.Files[0].Size = -1 },
		"path twice":                    func(r *Tree) { r.Repositories[0].Path = r.Repositories[1].Path },
		"file at a repository":          func(r *Tree) { r.Files[0].Path = r.Repositories[1].Path },
		"repository in another":         func(r *Tree) { r.Repositories[0].Path = r.Repositories[1].Path + "/x" },
		"repository below a file":       func(r *Tree) { r.Files[0].Path = "almalinux-9/BaseOS" },
		"file below a file":             func(r *Tree) { r.Files[0].Path = r.Files[1].Path + "/x" },
		"file among metadata":           func(r *Tree) { r.Files[0].Path = r.Repositories[1].Path + "/repodata/repomd.xml" },
		"file deep among the packages":  func(r *Tree) { r.Files[0].Path = r.Repositories[1].Path + "/Packages/a/b.rpm" },
		"file named as the packages":    func(r *Tree) { r.Files[0].Path = r.Repositories[1].Path + "/Packages" },
		"path with a control character": func(r *Tree) { r.Files[0].Path = "a\nb" },
	} {
		tree := someTree()
		change(&tree)
		if _, err := ParseTree(tree.Encode()); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: ParseTree = %v, want Invalid", name, err)
		}
	}
	doc := string(someTree().Encode())
	for name, doc := range map[string]string{
		"version":   strings.Replace(doc, `"version":1`, `"version":2`, 1),
		"order":     strings.NewReplacer("AppStream", "X", "BaseOS/x86_64/os\",\"s", "A\",\"s").Replace(doc),
		"space":     doc + " ",
		"a member":  strings.Replace(doc, "{", `{"more":1,`, 1),
		"a case":    strings.Replace(doc, "serial", "Serial", 1),
		"null":      "null",
		"no JSON":   "{",
		"no tree":   "[]",
		"no digest": strings.Replace(doc, string(albs.DigestOf([]byte("a"))), "xyz", 1),
	} {
		if _, err := ParseTree([]byte(doc)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: ParseTree = %v, want Invalid", name, err)
		}
	}
	if _, err := ParseTree(make([]byte, MaxTreeBytes+1)); !errors.Is(err, albs.TooLarge) {
		t.Errorf("ParseTree of a huge document = %v, want TooLarge", err)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add(someTree().Encode())
	f.Add(Tree{Product: "p", Serial: 1}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := ParseTree(b)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("error of kind %s: %v", k, err)
			}
			return
		}
		if !bytes.Equal(tree.Encode(), b) {
			t.Fatal("accepted a tree that is not canonical")
		}
	})
}
