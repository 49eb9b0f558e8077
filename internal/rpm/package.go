// Package rpm reads RPM packages of format 4, orders their versions, puts a
// signature into one and verifies it.
//
// It owns the package file's format: lead, signature header, main header; and the
// grammar of names. It doesn't unpack payloads, resolve dependencies or hold keys
// (albs/internal/pgp does).
//
// Invariants: whatever it reads is taken for hostile. Every size and offset is
// checked before it is used, memory is taken only as bytes arrive, headers beyond
// fixed bounds are refused, and what is malformed gives an error of kind Invalid,
// never a panic. Only the main header that a signature covers is believed; a
// header with anything outside its immutable region is refused.
package rpm

import (
	"time"

	"albs/internal/albs"
)

// Package is what the headers of a package say. Strings are UTF-8.
type Package struct {
	NEVRA
	// Source is true for a source package; NEVRA.Arch is then "src", Requires are
	// its build requirements and paths are base names.
	Source bool `json:"source,omitempty"`
	// SourceRPM is the file name of the source package, "" if this is one.
	SourceRPM string `json:"source_rpm,omitempty"`

	// Modularity is the label of the module that the package belongs to,
	// name:stream:version:context; "" if it belongs to none.
	Modularity string `json:"modularity,omitempty"`

	Summary     string    `json:"summary"`
	Description string    `json:"description,omitempty"`
	License     string    `json:"license,omitempty"`
	Vendor      string    `json:"vendor,omitempty"`
	URL         string    `json:"url,omitempty"`
	Group       string    `json:"group,omitempty"`
	Packager    string    `json:"packager,omitempty"`
	BuildHost   string    `json:"build_host,omitempty"`
	BuildTime   time.Time `json:"build_time"` // UTC; the epoch if not given

	ExclusiveArch []string `json:"exclusive_arch,omitempty"`
	ExcludeArch   []string `json:"exclude_arch,omitempty"`

	// Dependencies in the header's order, duplicates and rpmlib() ones included.
	Provides    []Dependency `json:"provides,omitempty"`
	Requires    []Dependency `json:"requires,omitempty"`
	Conflicts   []Dependency `json:"conflicts,omitempty"`
	Obsoletes   []Dependency `json:"obsoletes,omitempty"`
	Recommends  []Dependency `json:"recommends,omitempty"`
	Suggests    []Dependency `json:"suggests,omitempty"`
	Supplements []Dependency `json:"supplements,omitempty"`
	Enhances    []Dependency `json:"enhances,omitempty"`

	Files     []FileInfo `json:"files,omitempty"`
	Changelog []Change   `json:"changelog,omitempty"` // newest first, as rpmbuild writes it

	// Scripts are the digests of the scripts with what runs them, by their names in a
	// spec file.
	Scripts map[string]albs.Digest `json:"scripts,omitempty"`

	// Size is the size of the package file: as the signature header says after
	// Read (0 if it doesn't), as counted after ReadFile and Verify.
	Size int64 `json:"size"`
	// InstalledSize and ArchiveSize are the sizes of the files and of the
	// uncompressed payload, as the headers say.
	InstalledSize int64 `json:"installed_size"`
	ArchiveSize   int64 `json:"archive_size"`
	// HeaderStart and HeaderEnd are the main header's place in the file, as
	// repodata's header-range has it; the payload begins at HeaderEnd.
	HeaderStart int64 `json:"header_start"`
	HeaderEnd   int64 `json:"header_end"`

	// HeaderSHA256 is the digest of the main header as read.
	HeaderSHA256 albs.Digest `json:"header_sha256"`
	// PayloadSHA256 is the digest of the payload as the main header says, and
	// ContentSHA256 that of the payload uncompressed; "" if it says none by
	// SHA-256. Verify checks the first against the bytes.
	PayloadSHA256 albs.Digest `json:"payload_sha256,omitempty"`
	ContentSHA256 albs.Digest `json:"content_sha256,omitempty"`

	// Signatures are the OpenPGP packets in the signature header, unchecked.
	Signatures []Signature `json:"signatures,omitempty"`
}

// Signature is one OpenPGP signature packet as it stands in a signature header.
type Signature struct {
	// Tag is 268 (RSA) or 267 (DSA, ECDSA, EdDSA) for one over the main header,
	// 1002 or 1005 for one over header and payload together.
	Tag    int    `json:"tag"`
	Packet []byte `json:"packet"`
}

// Signed reports whether p bears a signature over its main header, which says
// nothing of its worth.
func (p *Package) Signed() bool {
	for _, s := range p.Signatures {
		if s.Tag == tagSigRSA || s.Tag == tagSigDSA {
			return true
		}
	}
	return false
}

// SameContent reports whether a and b are the same package but for signatures:
// equal main header and equal payload by their digests. Packages without a
// payload digest are never the same. It compares what the headers claim; Verify
// both, or compare the files, if they come from outside.
func SameContent(a, b *Package) bool {
	return a.HeaderSHA256 != "" && a.HeaderSHA256 == b.HeaderSHA256 &&
		a.PayloadSHA256 != "" && a.PayloadSHA256 == b.PayloadSHA256
}

// Flags of a dependency (rpmsenseFlags in rpm's rpmds.h); others pass unnamed.
const (
	Less       = 1 << 1
	Greater    = 1 << 2
	Equal      = 1 << 3
	prereq     = 1 << 6
	scriptPre  = 1 << 9
	scriptPost = 1 << 10
)

// Dependency is one provides, requires or the like.
type Dependency struct {
	Name string `json:"name"`
	// Flags are rpm's bits: Less, Greater, Equal and those of the context.
	Flags uint32 `json:"flags,omitempty"`
	EVR
}

// Comparison returns EQ, LT, GT, LE or GE as repodata spells it, or "" if the
// dependency is on any version.
func (d Dependency) Comparison() string {
	switch d.Flags & (Less | Greater | Equal) {
	case Equal:
		return "EQ"
	case Less:
		return "LT"
	case Greater:
		return "GT"
	case Less | Equal:
		return "LE"
	case Greater | Equal:
		return "GE"
	}
	return ""
}

// Pre reports whether a requirement must be there before the package's scripts
// run; repodata marks it pre="1".
func (d Dependency) Pre() bool { return d.Flags&(prereq|scriptPre|scriptPost) != 0 }

// String returns the dependency as a spec file has it: "name", "name >= 1:2-3".
func (d Dependency) String() string {
	op := map[string]string{"EQ": " = ", "LT": " < ", "GT": " > ", "LE": " <= ", "GE": " >= "}[d.Comparison()]
	if op == "" {
		return d.Name
	}
	return d.Name + op + d.EVR.String()
}

// Flags of a file (rpmfileAttrs in rpm's rpmfiles.h) that are looked at here.
const (
	flagConfig    = 1 << 0
	flagMissingOK = 1 << 3
	flagGhost     = 1 << 6
)

// What is verified of an installed file (rpmVerifyAttrs in rpm's rpmvf.h).
const (
	VerifyDigest = 1 << 0
	VerifySize   = 1 << 1
	VerifyLink   = 1 << 2
	VerifyUser   = 1 << 3
	VerifyGroup  = 1 << 4
	VerifyMode   = 1 << 6
)

// FileInfo is one file of a package.
type FileInfo struct {
	Path  string `json:"path"`
	Mode  uint16 `json:"mode"`            // st_mode as Unix has it, type bits included
	Flags uint32 `json:"flags,omitempty"` // rpm's bits
	Size  int64  `json:"size,omitempty"`
	// Digest is the sha256 of a regular file, "" for others and for packages
	// whose file digests are of another kind.
	Digest albs.Digest `json:"digest,omitempty"`
	Link   string      `json:"link,omitempty"` // target of a symbolic link
	User   string      `json:"user,omitempty"`
	Group  string      `json:"group,omitempty"`
	// Unverified has those of rpm's bits (VerifyDigest …) that aren't to be verified once
	// the file is installed, by %verify(not …) of its spec file.
	Unverified uint32 `json:"unverified,omitempty"`
}

// Dir reports whether the file is a directory.
func (f FileInfo) Dir() bool { return f.Mode&0o170000 == 0o040000 }

// Ghost reports whether the file is named only and not in the payload.
func (f FileInfo) Ghost() bool { return f.Flags&flagGhost != 0 }

// Config reports whether the file is configuration, which people and scripts may change.
func (f FileInfo) Config() bool { return f.Flags&flagConfig != 0 }

// MissingOK reports whether the file may be gone once the package is installed.
func (f FileInfo) MissingOK() bool { return f.Flags&flagMissingOK != 0 }

// Verifies reports whether what (VerifyDigest …) is to be verified of the installed file.
func (f FileInfo) Verifies(what uint32) bool { return f.Unverified&what == 0 }

// Change is one entry of a changelog.
type Change struct {
	Author string    `json:"author"` // "Name <address> - version-release"
	Time   time.Time `json:"time"`   // UTC
	Text   string    `json:"text"`
}
