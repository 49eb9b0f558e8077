package repodata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/rpm"
)

const (
	buckets         = 256
	maxEntriesBytes = 16 << 20
	maxRawBytes     = 512 << 20 // one kind's XML of one bucket
)

// The kinds of metadata that are written package by package.
const (
	primary = iota
	filelists
	other
	kinds
)

// kindNames are rpm-md's names of the kinds.
var kindNames = [kinds]string{"primary", "filelists", "other"}

// Entry is one package of a snapshot.
type Entry struct {
	// Path is the package's path below the repository, its location href.
	Path   string      `json:"path"`
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
	// NEVRA is what the package's header says; a source package has arch src.
	rpm.NEVRA
}

// entry is an Entry as the entries blob spells it, with the lengths of its XML in
// the bucket's raw blob.
type entry struct {
	Entry
	XML [kinds]int `json:"xml"`
}

// bucketOf returns the number of the bucket that a path belongs to.
func bucketOf(path string) int {
	sum := sha256.Sum256([]byte(path))
	return int(sum[0])
}

// find returns the index of path in entries, which are in order.
func find(entries []entry, path string) (int, bool) {
	return slices.BinarySearchFunc(entries, path, func(e entry, p string) int { return strings.Compare(e.Path, p) })
}

// load reads and checks the entries of the bucket.
func (b bucketRef) load(ctx context.Context, blobs Blobs) ([]entry, error) {
	doc, err := readBlob(ctx, blobs, b.Entries, b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("bucket %d: %w", b.Number, err)
	}
	entries, err := b.parse(doc)
	if err != nil {
		return nil, fmt.Errorf("bucket %d: %w", b.Number, err)
	}
	return entries, nil
}

// parse returns the entries of doc if they are what the reference says.
func (b bucketRef) parse(doc []byte) ([]entry, error) {
	var entries []entry
	if err := json.Unmarshal(doc, &entries); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the blob is not the entries of a bucket: %w", err)
	}
	if len(entries) != b.Packages {
		return nil, albs.Errorf(albs.Invalid, "there are %d entries, the root says %d", len(entries), b.Packages)
	}
	var raw [kinds]int64
	for i, e := range entries {
		if !validPath(e.Path) || bucketOf(e.Path) != b.Number || i > 0 && entries[i-1].Path >= e.Path {
			return nil, albs.Errorf(albs.Invalid, "the path %.200q is unsafe or out of place", e.Path)
		}
		if !e.Digest.Valid() || e.Size <= 0 || !e.NEVRA.Valid() {
			return nil, albs.Errorf(albs.Invalid, "the entry of %s is broken", e.Path)
		}
		for k, n := range e.XML {
			if n <= 0 || int64(n) > b.RawBytes[k] {
				return nil, albs.Errorf(albs.Invalid, "the entry of %s has %d bytes of %s", e.Path, n, kindNames[k])
			}
			raw[k] += int64(n)
		}
	}
	if raw != b.RawBytes {
		return nil, albs.Errorf(albs.Invalid, "the entries' XML has %v bytes, the root says %v", raw, b.RawBytes)
	}
	if !bytes.Equal(encodeJSON(entries), doc) {
		return nil, albs.Errorf(albs.Invalid, "the entries are not in their canonical form")
	}
	return entries, nil
}

// validPath reports whether a package may lie at path: safe, an .rpm, and not among
// the metadata.
func validPath(path string) bool {
	return safePath(path) && strings.HasSuffix(path, ".rpm") && !strings.HasPrefix(path, "repodata/")
}
