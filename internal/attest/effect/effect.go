// Package effect says what people approve: all that a release, or a request for signatures,
// comes to. The master writes it, people see it and sign its digest, and the signer reads it.
package effect

import (
	"time"

	"albs/internal/albs"
	"albs/internal/attest/form"
)

// Max is how many bytes encoded effects have at most, some 200 bytes for each package or file of a release.
const Max = 32 << 20

// Effects are all that a release, or a request for signatures, comes to. People approve
// the sha256 of what Encode gives: it says everything that is done, and nothing that may
// change without touching that.
type Effects struct {
	Product string `json:"product"`
	Key     string `json:"key"` // fingerprint of the key that signs
	// Expires is when approvals end; after it the signer does nothing of this.
	Expires      time.Time    `json:"expires"`
	Repositories []Repository `json:"repositories"`
	Dropped      []string     `json:"dropped"` // paths of repositories that go
	Decisions    []Decision   `json:"decisions,omitempty"`
	// Items are what becomes public beside packages, as advisories, and Tree are the files
	// of the tree that change by it.
	Items []Item `json:"items,omitempty"`
	Tree  []Tree `json:"tree,omitempty"`
	// Files are what is signed, of a request for signatures; Clear asks for clear-signed
	// copies in place of detached signatures.
	Files []File `json:"files,omitempty"`
	Clear bool   `json:"clear,omitempty"`
}

// Repository are what a release does to one repository.
type Repository struct {
	Path    string    `json:"path"`
	Changes []Package `json:"changes"`
	Records []Record  `json:"records,omitempty"`
	// Metadata is how the repository's own metadata is compressed, where that changes.
	Metadata string `json:"metadata,omitempty"`
}

// Package is a signed package that is added, or removed.
type Package struct {
	File    string      `json:"file"`
	Digest  albs.Digest `json:"digest"`
	Tests   string      `json:"tests,omitempty"` // the gate's verdict
	Removed bool        `json:"removed,omitempty"`
	// Waivers are those by which it goes though its tests didn't pass.
	Waivers []albs.Waived `json:"waivers,omitempty"`
}

// Record is a file of metadata that is added, in place of another of its type or
// not, or removed.
type Record struct {
	Action     string      `json:"action"`
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	Digest     albs.Digest `json:"digest"`
	Size       int64       `json:"size"`
	OpenDigest albs.Digest `json:"open_digest,omitempty"`
	OpenSize   int64       `json:"open_size,omitempty"`
	Before     albs.Digest `json:"before,omitempty"`
}

// Decision is what a person decided of a package.
type Decision struct {
	Action  string `json:"action"`
	Package string `json:"package"`
	To      string `json:"to"`
	Reason  string `json:"reason"`
}

// Item is something other than a package that becomes public, in one version.
type Item struct {
	Part    string      `json:"part"` // what knows it: "errata"
	Name    string      `json:"name"`
	Version int         `json:"version"`
	Digest  albs.Digest `json:"digest"`
	// Withdraws says that it is made public as taken back.
	Withdraws bool `json:"withdraws,omitempty"`
	// Force is why it is released without Missing.
	Force   string   `json:"force,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// Tree is a file beside the repositories that is added, in place of another or not,
// or removed; a Signed one has a detached signature beside it.
type Tree struct {
	Action string      `json:"action"`
	Path   string      `json:"path"`
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
	Signed bool        `json:"signed,omitempty"`
	Before albs.Digest `json:"before,omitempty"`
}

// File is a file that is signed: an unsigned package or another file.
type File struct {
	Name   string      `json:"name"`
	Digest albs.Digest `json:"digest"`
}

// Encode returns the effects as JSON. Equal effects give equal bytes.
func (e Effects) Encode() []byte {
	e.Expires = e.Expires.UTC()
	return form.Encode(e)
}

// Digest returns the sha256 of what Encode gives: what people approve.
func (e Effects) Digest() albs.Digest { return albs.DigestOf(e.Encode()) }

// Parse reads what Encode wrote, and nothing else: who shows what it returns has
// shown all that the bytes say. The error is Invalid, or TooLarge beyond Max.
func Parse(b []byte) (Effects, error) {
	var e Effects
	if len(b) > Max {
		return e, albs.Errorf(albs.TooLarge, "effects have at most %d bytes", Max)
	}
	if err := form.Decode(b, &e); err != nil {
		return Effects{}, albs.Errorf(albs.Invalid, "the effects can't be read: %w", err)
	}
	if e.Product == "" || e.Expires.IsZero() {
		return Effects{}, albs.Errorf(albs.Invalid, "the effects name no product, or no time at which approvals end")
	}
	return e, nil
}

// Signs reports whether a file of that digest is among those to be signed.
func (e Effects) Signs(d albs.Digest) bool {
	for _, f := range e.Files {
		if f.Digest == d {
			return true
		}
	}
	return false
}
