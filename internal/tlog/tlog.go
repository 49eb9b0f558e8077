// Package tlog is the public log of releases: an append-only Merkle tree whose
// checkpoints the log signs and witnesses cosign, and the proofs that a release is in
// it, which a stranger verifies with nothing but the keys.
//
// The formats are those of https://c2sp.org: signed-note, tlog-checkpoint, tlog-tiles,
// tlog-cosignature and tlog-proof. What a leaf says is ours.
package tlog

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
)

// MaxLeaf bounds a leaf in bytes, as tlog-tiles does.
const MaxLeaf = 1<<16 - 1

// The first lines of leaves.
const (
	releaseFormat    = "albs-release/v1"
	withdrawalFormat = "albs-withdrawal/v1"
)

// Leaf is what the log says of a released package: which file it is, which
// repositories it was released into, and what is told of where it came from.
type Leaf struct {
	// NEVRA is the package's, as name-epoch:version-release.arch.
	NEVRA string
	// File is the digest of the signed package, Header that of its header's immutable
	// region, and Payload that of its compressed payload.
	File, Header, Payload albs.Digest
	// Repositories are those that it was released into, as PRODUCT/PATH.
	Repositories []string
	// Bundle is the digest of the statements beside the package, NAME.rpm.intoto.jsonl.
	Bundle albs.Digest
}

// Encode returns the leaf's bytes: lines of text, the repositories sorted. A verifier
// makes them anew from what it has in hand, so equal leaves have equal bytes.
func (l Leaf) Encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nnevra %s\nfile sha256:%s\nheader sha256:%s\npayload sha256:%s\n", releaseFormat, l.NEVRA, l.File, l.Header, l.Payload)
	for _, r := range slices.Sorted(slices.Values(l.Repositories)) {
		fmt.Fprintf(&b, "repo %s\n", r)
	}
	fmt.Fprintf(&b, "bundle sha256:%s\n", l.Bundle)
	return []byte(b.String())
}

// ParseLeaf reads what Encode wrote, and nothing else. The error is Invalid.
func ParseLeaf(b []byte) (Leaf, error) {
	if len(b) > MaxLeaf {
		return Leaf{}, albs.Errorf(albs.Invalid, "a leaf of the log has at most %d bytes", MaxLeaf)
	}
	var l Leaf
	lines := strings.Split(string(b), "\n")
	if lines[0] != releaseFormat {
		return Leaf{}, albs.Errorf(albs.Invalid, "it is no leaf of the format %s", releaseFormat)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, " ")
		switch name {
		case "nevra":
			l.NEVRA = value
		case "file":
			l.File = albs.Digest(strings.TrimPrefix(value, "sha256:"))
		case "header":
			l.Header = albs.Digest(strings.TrimPrefix(value, "sha256:"))
		case "payload":
			l.Payload = albs.Digest(strings.TrimPrefix(value, "sha256:"))
		case "repo":
			l.Repositories = append(l.Repositories, value)
		case "bundle":
			l.Bundle = albs.Digest(strings.TrimPrefix(value, "sha256:"))
		}
	}
	if err := l.check(); err != nil {
		return Leaf{}, err
	}
	// One way to write a leaf: what was passed over above, doubled or moved is refused here.
	if string(l.Encode()) != string(b) {
		return Leaf{}, albs.Errorf(albs.Invalid, "the leaf is not written as %s leaves are", releaseFormat)
	}
	return l, nil
}

// check refuses a leaf whose text would say something else than its fields.
func (l Leaf) check() error {
	if !word(l.NEVRA) {
		return albs.Errorf(albs.Invalid, "the leaf names no package")
	}
	for _, d := range []albs.Digest{l.File, l.Header, l.Payload, l.Bundle} {
		if !d.Valid() {
			return albs.Errorf(albs.Invalid, "the leaf of %.200s has no sha256 where one belongs", l.NEVRA)
		}
	}
	return checkRepositories(l.NEVRA, l.Repositories)
}

// word reports whether s is one word of a line.
func word(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// checkRepositories refuses what are no repositories of a leaf of a package.
func checkRepositories(nevra string, repositories []string) error {
	if len(repositories) == 0 || slices.ContainsFunc(repositories, func(r string) bool { return !word(r) }) {
		return albs.Errorf(albs.Invalid, "the leaf of %.200s names no repository where one belongs", nevra)
	}
	seen := slices.Sorted(slices.Values(repositories))
	if len(slices.Compact(seen)) != len(repositories) {
		return albs.Errorf(albs.Invalid, "the leaf of %.200s names a repository twice", nevra)
	}
	return nil
}
