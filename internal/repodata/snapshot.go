package repodata

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"albs/internal/albs"
)

const (
	rootFormat      = "albs-snapshot/v1" // of a root without records
	recordsFormat   = "albs-snapshot/v2" // of one with some
	packedFormat    = "albs-snapshot/v3" // of one that isn't compressed by gzip, with records or without
	maxRootBytes    = 1 << 20
	maxPackages     = 1 << 20
	maxFileBytes    = 4 << 30 // one metadata file, compressed
	maxArmoredBytes = 64 << 10

	repomdPath = "repodata/repomd.xml"
	ascPath    = "repodata/repomd.xml.asc"
)

// Blobs is where snapshots live. Everything in it is named by its sha256, and what it
// returns is checked: a Reader read to its end fails there, with an error other than
// io.EOF, if the bytes do not hash to the name it was opened by. It is safe for
// concurrent use.
type Blobs interface {
	// Put stores r under want and is durable on return; what is there already stays.
	Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error)
	// Write stores r, at most limit bytes, under its own digest and is durable on return.
	Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error)
	// Open returns the bytes of d, or a NotFound error.
	Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error)
}

// File is one file of a repository's sealed metadata.
type File struct {
	// Path is below the repository: "repodata/…".
	Path   string      `json:"path"`
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
}

// Snapshot is one repository at one revision. It does not change and may be used
// by many at once.
type Snapshot struct {
	digest albs.Digest
	root   root

	mu    sync.Mutex
	known map[[32]byte]struct{} // digests of all packages, once Has was asked
}

// root is the document of a snapshot.
type root struct {
	Format   string `json:"format"`
	Revision int64  `json:"revision"`
	Packages int    `json:"packages"`
	// Packed is how the metadata files are compressed, empty for Gzip.
	Packed  Compression `json:"compression,omitempty"`
	Ends    [kinds]ends `json:"ends"`
	Buckets []bucketRef `json:"buckets"` // of the buckets with packages, by number
	Files   []File      `json:"files"`   // primary, filelists, other, repomd.xml and, if signed, its signature
	Records []Record    `json:"records,omitempty"`
}

// ends are the sizes of the first and the last piece of a metadata file.
type ends struct {
	Head int64 `json:"head"`
	Tail int64 `json:"tail"`
}

// bucketRef tells what a bucket holds and where its bytes are.
type bucketRef struct {
	Number   int          `json:"number"`
	Packages int          `json:"packages"`
	Entries  albs.Digest  `json:"entries"`
	Bytes    int64        `json:"bytes"` // of the entries blob
	Raw      albs.Digest  `json:"raw"`
	RawBytes [kinds]int64 `json:"raw_bytes"` // of each kind within the raw blob
	GzBytes  [kinds]int64 `json:"gz_bytes"`  // of the bucket's piece in each metadata file, whatever it is compressed by
}

// Open reads the snapshot whose root is d. It gives NotFound if there is no such
// blob and Invalid if it is not a snapshot's root or its bytes are not those that
// d names. The root is read wholly, buckets only when they are asked for.
func Open(ctx context.Context, blobs Blobs, d albs.Digest) (*Snapshot, error) {
	b, err := readBlob(ctx, blobs, d, maxRootBytes)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", d.Short(), err)
	}
	s, err := parseRoot(b)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", d.Short(), err)
	}
	return s, nil
}

// parseRoot returns the snapshot whose root is b.
func parseRoot(b []byte) (*Snapshot, error) {
	s := &Snapshot{digest: albs.DigestOf(b)}
	if err := json.Unmarshal(b, &s.root); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the blob is not the root of a snapshot: %w", err)
	}
	if err := s.root.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(encodeJSON(s.root), b) {
		return nil, albs.Errorf(albs.Invalid, "the root is not in its canonical form")
	}
	return s, nil
}

// check gives an Invalid error unless the root agrees with itself.
func (r *root) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "the root of the snapshot is broken: "+format, args...)
	}
	if r.Format != rootFormat && r.Format != recordsFormat && r.Format != packedFormat {
		return albs.Errorf(albs.Invalid, "the blob has format %.40q; a snapshot's root has %q, %q or %q", r.Format, rootFormat, recordsFormat, packedFormat)
	}
	if r.Packed != "" && r.Packed != Zstd {
		return bad("compression %.40q", string(r.Packed))
	}
	if r.Format != r.format() {
		return bad("format %s with %d records and the compression %q", r.Format, len(r.Records), r.Packed)
	}
	if r.Revision <= 0 {
		return bad("revision %d", r.Revision)
	}
	packages, last := 0, -1
	var gz [kinds]int64
	for k, e := range r.Ends {
		if e.Head <= 0 || e.Tail <= 0 || e.Head > maxFileBytes || e.Tail > maxFileBytes {
			return bad("ends of %s", kindNames[k])
		}
		gz[k] = e.Head + e.Tail
	}
	for _, b := range r.Buckets {
		if b.Number <= last || b.Number >= buckets {
			return bad("bucket %d after %d", b.Number, last)
		}
		last = b.Number
		if b.Packages <= 0 || b.Packages > maxPackages || !b.Entries.Valid() || !b.Raw.Valid() || b.Bytes <= 0 || b.Bytes > maxEntriesBytes {
			return bad("bucket %d", b.Number)
		}
		packages += b.Packages
		for k := range kinds {
			if b.RawBytes[k] <= 0 || b.RawBytes[k] > maxRawBytes || b.GzBytes[k] <= 0 || b.GzBytes[k] > maxRawBytes {
				return bad("sizes of bucket %d", b.Number)
			}
			gz[k] += b.GzBytes[k]
		}
	}
	if r.Packages != packages || packages > maxPackages {
		return bad("%d packages, but its buckets have %d", r.Packages, packages)
	}
	if n := len(r.Files); n != kinds+1 && n != kinds+2 {
		return bad("%d files", n)
	}
	if err := checkRecords(r.Records); err != nil {
		return err
	}
	for i, f := range r.Files {
		want := []string{r.metaPath(0, f.Digest), r.metaPath(1, f.Digest), r.metaPath(2, f.Digest), repomdPath, ascPath}[i]
		if !f.Digest.Valid() || f.Path != want || f.Size <= 0 || f.Size > maxFileBytes {
			return bad("file %.100q", f.Path)
		}
		if i < kinds && f.Size != gz[i] {
			return bad("%s has %d bytes, but its pieces have %d", kindNames[i], f.Size, gz[i])
		}
	}
	return nil
}

// format returns the format that the root has: the oldest one that does, so that workers
// of older versions can read what needs nothing newer.
func (r *root) format() string {
	switch {
	case r.Packed != "":
		return packedFormat
	case len(r.Records) > 0:
		return recordsFormat
	}
	return rootFormat
}

// metaPath returns the path of the metadata file of kind k.
func (r *root) metaPath(k int, d albs.Digest) string {
	return "repodata/" + string(d) + "-" + kindNames[k] + ".xml" + r.Packed.suffix()
}

// Digest returns the snapshot's name, the digest of its root.
func (s *Snapshot) Digest() albs.Digest { return s.digest }

// Revision returns the number that repomd.xml gives as the repository's revision.
func (s *Snapshot) Revision() int64 { return s.root.Revision }

// Len returns the number of packages.
func (s *Snapshot) Len() int { return s.root.Packages }

// Compression returns how primary, filelists and other are compressed.
func (s *Snapshot) Compression() Compression { return s.root.Packed.Or(Gzip) }

// Files returns the files below repodata: three of metadata, the records, repomd.xml
// and, once sealed, repomd.xml.asc. With the packages at their paths they are the
// repository.
func (s *Snapshot) Files() []File {
	out := slices.Clone(s.root.Files[:kinds])
	for _, r := range s.root.Records {
		out = append(out, File{Path: r.path(), Digest: r.Digest, Size: r.Size})
	}
	return append(out, s.root.Files[kinds:]...)
}

// Records returns the records of the snapshot, in the order of their types.
func (s *Snapshot) Records() []Record { return slices.Clone(s.root.Records) }

// Repomd returns the digest of repomd.xml, the document that the repository's key signs.
func (s *Snapshot) Repomd() albs.Digest { return s.root.Files[kinds].Digest }

// Signature returns the digest of repomd.xml.asc, or "" if the snapshot is not sealed.
func (s *Snapshot) Signature() albs.Digest {
	if len(s.root.Files) == kinds+2 {
		return s.root.Files[kinds+1].Digest
	}
	return ""
}

// Lookup returns the digest and size of the package at path; ok is false if there
// is none. It reads one bucket.
func (s *Snapshot) Lookup(ctx context.Context, blobs Blobs, path string) (d albs.Digest, size int64, ok bool, err error) {
	ref, ok := s.root.bucket(bucketOf(path))
	if !ok {
		return "", 0, false, nil
	}
	entries, err := ref.load(ctx, blobs)
	if err != nil {
		return "", 0, false, fmt.Errorf("look up %.200q in snapshot %s: %w", path, s.digest.Short(), err)
	}
	i, ok := find(entries, path)
	if !ok {
		return "", 0, false, nil
	}
	return entries[i].Digest, entries[i].Size, true, nil
}

// Has reports whether d is a blob that a reader of the snapshot needs: its root, the
// entries of a bucket, a metadata file or a package. The first question about a
// digest that the root does not name reads all buckets; the answer is kept.
func (s *Snapshot) Has(ctx context.Context, blobs Blobs, d albs.Digest) (bool, error) {
	if d == s.digest {
		return true, nil
	}
	for _, f := range s.Files() {
		if f.Digest == d {
			return true, nil
		}
	}
	for _, b := range s.root.Buckets {
		if b.Entries == d {
			return true, nil
		}
	}
	if !d.Valid() {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		known := make(map[[32]byte]struct{}, s.root.Packages)
		err := s.Packages(ctx, blobs, func(e Entry) error {
			known[[32]byte(e.Digest.Bytes())] = struct{}{}
			return nil
		})
		if err != nil {
			return false, err
		}
		s.known = known
	}
	_, ok := s.known[[32]byte(d.Bytes())]
	return ok, nil
}

// Packages calls yield for each package, bucket by bucket and by path within one,
// and ends with the first error of yield, which it returns as it is.
func (s *Snapshot) Packages(ctx context.Context, blobs Blobs, yield func(Entry) error) error {
	return s.PackagesBut(ctx, blobs, nil, yield)
}

// Parts returns the names of the entry lists that tell of the snapshot's packages,
// one for each bucket that has any. Snapshots that share one share its packages.
func (s *Snapshot) Parts() []albs.Digest {
	parts := make([]albs.Digest, len(s.root.Buckets))
	for i, b := range s.root.Buckets {
		parts[i] = b.Entries
	}
	return parts
}

// PackagesBut is Packages without those of the entry lists for which known is true.
func (s *Snapshot) PackagesBut(ctx context.Context, blobs Blobs, known map[albs.Digest]bool, yield func(Entry) error) error {
	for _, ref := range s.root.Buckets {
		if known[ref.Entries] {
			continue
		}
		entries, err := ref.load(ctx, blobs)
		if err != nil {
			return fmt.Errorf("list snapshot %s: %w", s.digest.Short(), err)
		}
		for _, e := range entries {
			if err := yield(e.Entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reach calls yield for every digest that must be kept for the snapshot to stay
// readable and extensible: root, metadata files, entries, packages, and the raw blobs,
// which Extend can do without but is slow to make again. The packages of entry lists for
// which known is true are left out.
func (s *Snapshot) Reach(ctx context.Context, blobs Blobs, known map[albs.Digest]bool, yield func(albs.Digest) error) error {
	if err := yield(s.digest); err != nil {
		return err
	}
	for _, f := range s.Files() {
		if err := yield(f.Digest); err != nil {
			return err
		}
	}
	for _, b := range s.root.Buckets {
		for _, d := range []albs.Digest{b.Entries, b.Raw} {
			if err := yield(d); err != nil {
				return err
			}
		}
	}
	return s.PackagesBut(ctx, blobs, known, func(e Entry) error { return yield(e.Digest) })
}

// bucket returns the reference to bucket n.
func (r *root) bucket(n int) (bucketRef, bool) {
	for _, b := range r.Buckets {
		if b.Number == n {
			return b, true
		}
	}
	return bucketRef{}, false
}

// readBlob returns the bytes of d, at most limit of them, checked against d.
func readBlob(ctx context.Context, blobs Blobs, d albs.Digest, limit int64) ([]byte, error) {
	r, err := blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read blob %s: %w", d.Short(), err)
	case int64(len(b)) > limit:
		return nil, albs.Errorf(albs.TooLarge, "blob %s has more than %d bytes", d.Short(), limit)
	case albs.DigestOf(b) != d:
		return nil, albs.Errorf(albs.Invalid, "blob %s has other bytes than its name says", d.Short())
	}
	return b, nil
}
