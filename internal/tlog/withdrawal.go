package tlog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Withdrawal is what the log says of a package that readers find no more where it was
// released.
type Withdrawal struct {
	// NEVRA is the package's, as name-epoch:version-release.arch.
	NEVRA string
	// File is the digest of the signed package.
	File albs.Digest
	// Repositories are those that it was withdrawn from, as PRODUCT/PATH.
	Repositories []string
	// Release is the one, or the rollback, behind which they are without it.
	Release albs.ReleaseID
}

// Encode returns the leaf's bytes: lines of text, the repositories sorted.
func (w Withdrawal) Encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nnevra %s\nfile sha256:%s\n", withdrawalFormat, w.NEVRA, w.File)
	for _, r := range slices.Sorted(slices.Values(w.Repositories)) {
		fmt.Fprintf(&b, "repo %s\n", r)
	}
	fmt.Fprintf(&b, "release %d\n", w.Release)
	return []byte(b.String())
}

// IsWithdrawal reports whether a leaf says that it tells of a withdrawal.
func IsWithdrawal(leaf []byte) bool {
	return strings.HasPrefix(string(leaf[:min(len(leaf), len(withdrawalFormat)+1)]), withdrawalFormat+"\n")
}

// ParseWithdrawal reads what Encode wrote, and nothing else. The error is Invalid.
func ParseWithdrawal(b []byte) (Withdrawal, error) {
	if len(b) > MaxLeaf {
		return Withdrawal{}, albs.Errorf(albs.Invalid, "a leaf of the log has at most %d bytes", MaxLeaf)
	}
	if !IsWithdrawal(b) {
		return Withdrawal{}, albs.Errorf(albs.Invalid, "it is no leaf of the format %s", withdrawalFormat)
	}
	var w Withdrawal
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "nevra":
			w.NEVRA = value
		case "file":
			w.File = albs.Digest(strings.TrimPrefix(value, "sha256:"))
		case "repo":
			w.Repositories = append(w.Repositories, value)
		case "release":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 {
				return Withdrawal{}, albs.Errorf(albs.Invalid, "the leaf names no release")
			}
			w.Release = albs.ReleaseID(n)
		}
	}
	switch {
	case !word(w.NEVRA):
		return Withdrawal{}, albs.Errorf(albs.Invalid, "the leaf names no package")
	case !w.File.Valid():
		return Withdrawal{}, albs.Errorf(albs.Invalid, "the leaf of %.200s has no sha256 where one belongs", w.NEVRA)
	}
	if err := checkRepositories(w.NEVRA, w.Repositories); err != nil {
		return Withdrawal{}, err
	}
	// One way to write a leaf: what was passed over above, doubled or moved is refused here.
	if string(w.Encode()) != string(b) {
		return Withdrawal{}, albs.Errorf(albs.Invalid, "the leaf is not written as %s leaves are", withdrawalFormat)
	}
	return w, nil
}
