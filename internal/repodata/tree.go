package repodata

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"albs/internal/albs"
)

const (
	treeVersion  = 1
	maxTreeRepos = 4096
	maxTreeFiles = 1 << 18
	maxNameBytes = 128
)

// MaxTreeBytes bounds the document of a tree.
const MaxTreeBytes = 48 << 20

// Tree is all that a product shows to its readers at one serial: its
// repositories, each a sealed snapshot, and files beside them such as advisories
// and keys. Its document's digest is the tree's name.
type Tree struct {
	// Version is the version of the format, 1; Encode fills it in.
	Version int `json:"version"`
	// Product is the product's name.
	Product string `json:"product"`
	// Serial grows with every publication, also with one that brings old content back.
	Serial       int64      `json:"serial"`
	Repositories []TreeRepo `json:"repositories"`
	Files        []TreeFile `json:"files"`
}

// TreeRepo is one repository of a tree.
type TreeRepo struct {
	// Path is the folder below the public root, as "almalinux-9/BaseOS/x86_64/os".
	Path     string      `json:"path"`
	Snapshot albs.Digest `json:"snapshot"`
}

// TreeFile is one file of a tree that belongs to no repository's metadata.
type TreeFile struct {
	// Path is the file's path below the public root.
	Path   string      `json:"path"`
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
}

// Encode returns the tree's document: JSON with repositories and files in the
// order of their paths, so that equal trees have equal documents. It does not
// check the tree; ParseTree does.
func (t Tree) Encode() []byte {
	t.Version = treeVersion
	t.Repositories = append([]TreeRepo{}, t.Repositories...)
	t.Files = append([]TreeFile{}, t.Files...)
	slices.SortFunc(t.Repositories, func(a, b TreeRepo) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(t.Files, func(a, b TreeFile) int { return strings.Compare(a.Path, b.Path) })
	return encodeJSON(t)
}

// ParseTree returns the tree of document b. It gives an Invalid error unless b is at
// most 48 MiB, names every path once and safely, and is byte for byte what Encode
// would write, so that one tree has one digest.
func ParseTree(b []byte) (Tree, error) {
	var t Tree
	if len(b) > MaxTreeBytes {
		return Tree{}, albs.Errorf(albs.TooLarge, "the tree document has %d bytes, more than %d", len(b), MaxTreeBytes)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return Tree{}, albs.Errorf(albs.Invalid, "the tree document is not the JSON of a tree: %w", err)
	}
	switch {
	case t.Version != treeVersion:
		return Tree{}, albs.Errorf(albs.Invalid, "the tree document has version %d; this program reads version %d", t.Version, treeVersion)
	case t.Product == "" || len(t.Product) > maxNameBytes || !safePath(t.Product) || strings.Contains(t.Product, "/"):
		return Tree{}, albs.Errorf(albs.Invalid, "%.80q cannot be the product of a tree", t.Product)
	case t.Serial <= 0:
		return Tree{}, albs.Errorf(albs.Invalid, "the tree's serial is %d; serials begin at 1", t.Serial)
	case len(t.Repositories) > maxTreeRepos || len(t.Files) > maxTreeFiles:
		return Tree{}, albs.Errorf(albs.TooLarge, "the tree has %d repositories and %d files, more than %d and %d",
			len(t.Repositories), len(t.Files), maxTreeRepos, maxTreeFiles)
	}
	paths := make([]string, 0, len(t.Repositories)+len(t.Files))
	for _, r := range t.Repositories {
		if !safePath(r.Path) || !r.Snapshot.Valid() {
			return Tree{}, albs.Errorf(albs.Invalid, "the tree has a repository at %.80q that has no safe path or no snapshot", r.Path)
		}
		paths = append(paths, r.Path)
	}
	for _, f := range t.Files {
		if !safePath(f.Path) || !f.Digest.Valid() || f.Size < 0 {
			return Tree{}, albs.Errorf(albs.Invalid, "the tree has a file at %.80q that has no safe path, digest or size", f.Path)
		}
		paths = append(paths, f.Path)
	}
	if inner, outer, ok := overlap(paths, t.Repositories); ok {
		return Tree{}, albs.Errorf(albs.Invalid, "the tree's path %.80q lies at or below %.80q", inner, outer)
	}
	if !bytes.Equal(t.Encode(), b) {
		return Tree{}, albs.Errorf(albs.Invalid, "the tree document is not in its canonical form")
	}
	return t, nil
}

// overlap finds a path that equals another, lies below a file, or makes a
// repository lie below another. Files may lie below a repository, outside its
// repodata and Packages: advisories do.
func overlap(paths []string, repos []TreeRepo) (inner, outer string, found bool) {
	isRepo := make(map[string]bool, len(repos))
	for _, r := range repos {
		isRepo[r.Path] = true
	}
	seen := make(map[string]bool, len(paths))
	for _, p := range paths {
		if seen[p] {
			return p, p, true
		}
		seen[p] = true
	}
	for _, p := range paths {
		for up, rest := p, ""; ; {
			i := strings.LastIndexByte(up, '/')
			if i < 0 {
				break
			}
			rest, up = up[i+1:], up[:i]
			if !seen[up] {
				continue
			}
			if !isRepo[up] || isRepo[p] || rest == "repodata" || rest == "Packages" {
				return p, up, true
			}
		}
	}
	return "", "", false
}

// safePath reports whether p may name a file below a repository or a tree: a
// clean relative slash path of printable ASCII without the characters that a URL,
// a shell or a log would read as something else. It holds every NEVRA's file name.
func safePath(p string) bool {
	if p == "" || len(p) > 1024 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 || part[0] == '-' {
			return false
		}
	}
	for _, c := range []byte(p) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"#$%&'*;<>?\\`|", c) >= 0 {
			return false
		}
	}
	return true
}

// encodeJSON returns v as compact JSON with a newline and without HTML escapes. Every
// type of this package's documents can be encoded, so an error is a bug and gives no
// document at all, which no reader accepts.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil
	}
	return b.Bytes()
}
