// Package suite knows what tests of packages are, as their maintainers keep them in git:
// it reads the tar of a commit, says which files of a folder are tests, in which order
// and by which programs they are run, and what came of one. It runs nothing.
//
// Trees are hostile, and so is what their tests say: everything read is bounded, and no
// name leads out of the tree.
package suite

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Bounds of a tree.
const (
	MaxTar   = 128 << 20 // bytes of the tar
	maxBytes = 64 << 20  // of all files together
	maxFiles = 10_000
	maxPath  = 1024
	maxHops  = 8 // links that lead to each other
)

// File is a regular file of a tree.
type File struct {
	Name string // relative, with slashes, as of fs.ValidPath
	Data []byte
	Exec bool
}

// Tree holds the files of one commit.
type Tree struct {
	Files []File // by name
	// Left are the names that are left out: links that lead to no file of the tree, and
	// what is neither file nor link.
	Left []string
}

// Read reads the tar of a commit, as git archive writes it. A link to a file of the tree
// becomes that file. What is no such tar, has names that lead out of it, or is beyond the
// bounds is Invalid.
func Read(r io.Reader) (Tree, error) {
	var t Tree
	files, links := map[string]File{}, map[string]string{}
	left := int64(maxBytes)
	take := func(name string, size int64) error {
		if !fs.ValidPath(name) || name == "." || len(name) > maxPath || strings.ContainsRune(name, 0) {
			return albs.Errorf(albs.Invalid, "the tree has a file of the name %.200q", name)
		}
		if left -= size; size < 0 || left < 0 {
			return albs.Errorf(albs.Invalid, "the tree's files have more than %d bytes", maxBytes)
		}
		if len(files)+len(links)+len(t.Left) >= maxFiles {
			return albs.Errorf(albs.Invalid, "the tree has more than %d files", maxFiles)
		}
		return nil
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Tree{}, albs.Errorf(albs.Invalid, "the tree is no tar that can be read: %v", err)
		}
		if h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader { // git's own names the commit
			continue
		}
		if err := take(h.Name, h.Size); err != nil {
			return Tree{}, err
		}
		switch h.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(tr)
			if err != nil {
				return Tree{}, albs.Errorf(albs.Invalid, "the tree is no tar that can be read: %v", err)
			}
			files[h.Name] = File{Name: h.Name, Data: data, Exec: h.Mode&0o100 != 0}
		case tar.TypeSymlink:
			links[h.Name] = h.Linkname
		default:
			t.Left = append(t.Left, h.Name)
		}
	}
	t.Files = slices.Collect(maps.Values(files))
	for name := range links {
		f, ok := follow(files, links, name)
		if _, file := files[name]; file || !ok {
			t.Left = append(t.Left, name)
			continue
		}
		if left -= int64(len(f.Data)); left < 0 {
			return Tree{}, albs.Errorf(albs.Invalid, "the tree's files have more than %d bytes", maxBytes)
		}
		f.Name = name
		t.Files = append(t.Files, f)
	}
	slices.SortFunc(t.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(t.Left)
	return t, nil
}

// follow returns the file that a link leads to.
func follow(files map[string]File, links map[string]string, name string) (File, bool) {
	for range maxHops {
		to, link := links[name]
		if !link || path.IsAbs(to) {
			return File{}, false
		}
		name = path.Join(path.Dir(name), to) // one that leads out is no name of a file
		if f, ok := files[name]; ok {
			return f, true
		}
	}
	return File{}, false
}
