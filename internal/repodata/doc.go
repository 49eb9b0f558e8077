// Package repodata reads and writes rpm-md, the repository metadata that dnf
// and its kin read, and owns the formats in which albs keeps repositories: the
// snapshot (one sealed repository) and the tree (all repositories of a product
// at one serial).
//
// A snapshot is a root blob over at most 256 buckets. A package belongs to the
// bucket named by the first byte of the sha256 of its path. The root names for
// each bucket
//
//	entries   a JSON blob: path → digest, size, NEVRA, and the lengths of its XML
//	raw       a blob of the bucket's XML: primary, then filelists, then other
//
// and the sealed metadata files, repodata/*, among them the records: files that are not
// told package by package, as comps and modules, by their type. Each of primary,
// filelists and other is a file of many pieces, members of gzip (RFC 1952 §2.2) or frames
// of zstd (RFC 8878 §3): the head, one piece a bucket in the order of their numbers, the
// tail. Extend therefore rewrites only the buckets that a change touches and copies the
// pieces of all others out of the file of the snapshot before. The raw blobs are needed
// because repomd.xml also holds the checksum of each file uncompressed; one that has
// vanished is made again from its pieces.
//
// Invariants: what a snapshot holds is named by sha256 from the root downwards, so
// one digest fixes all of it; equal packages and equal revision give equal bytes,
// whatever the history; a path names one digest; nothing in a blob is changed
// once written. Everything read is bounded and is refused unless it is byte for byte
// what this package would have written (other people's rpm-md apart, which is
// bounded only).
//
// The package does not verify signatures, does not say which snapshot is
// current and does not fetch: its bytes come from a Blobs or an io.Reader.
package repodata
