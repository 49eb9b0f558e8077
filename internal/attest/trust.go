package attest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest/form"
	"albs/internal/rpm"
	"albs/internal/tlog"
)

// MaxTrust bounds a trust file, which has to stay small enough to be handed on by any
// way that one trusts. A key of RSA-4096 takes 2 KiB of it, with a subkey that signs
// 3.7 KiB, and keys that were used before stay; for a farm with more, a file for some of
// its products is exported.
const MaxTrust = 16 << 10

// trustFormat is the format's name and version.
const trustFormat = "trust/v1"

// Trust is all that a verifier has to know beforehand.
type Trust struct {
	Albs string `json:"albs"` // "trust/v1"
	// Ledger is the id of the ledger.
	Ledger string `json:"ledger"`
	// MasterKeys are the Ed25519 public keys of master, raw, in base64.
	MasterKeys []string `json:"master_keys"`
	// SignerKeys and ReleaserKeys are those of signers and releasers, spelled likewise.
	// Where there are any, what a package was signed as is the word of one of the first
	// alone, and where it was released of one of the second; else of a master key.
	SignerKeys   []string `json:"signer_keys,omitempty"`
	ReleaserKeys []string `json:"releaser_keys,omitempty"`
	// PackageKeys are the OpenPGP keys that packages are signed with, as PackageKey
	// spells them, or armored.
	// Without one no signed package is accepted; a signer, which looks at unsigned
	// packages, needs none.
	PackageKeys []string `json:"package_keys"`
	// Builders are the builder ids that are accepted.
	Builders []string `json:"builders"`
	// Products are the products whose releases are accepted.
	Products []string `json:"products"`
	// RequireTest asks for a passed test of every package; without it a failed one is
	// told and breaks nothing. RequireRelease asks for a release; the signer's evidence
	// can't have one.
	RequireTest    bool `json:"require_test"`
	RequireRelease bool `json:"require_release"`
	// RequireCommit asks that the commit of every source was notarized; what was uploaded
	// has none.
	RequireCommit bool `json:"require_commit"`
	// RefuseEndedWaivers refuses also what went by a waiver of its tests before somebody took
	// that back; without, it is told.
	RefuseEndedWaivers bool `json:"refuse_ended_waivers,omitempty"`
	// Log says which public log of releases is believed, nil if none is, and RequireLog
	// asks that every package is proven to be in it; without, one that isn't is told.
	Log        *tlog.Policy `json:"log,omitempty"`
	RequireLog bool         `json:"require_log"`
}

// Encode returns the trust file.
func (t Trust) Encode() []byte {
	t.Albs = trustFormat
	return form.Encode(t)
}

// ParseTrust reads a trust file that Encode wrote; a newline after it is allowed.
// The error is a BrokenLink of LinkInput.
func ParseTrust(b []byte) (Trust, error) {
	if len(b) > MaxTrust {
		return Trust{}, broken(LinkInput, "a trust file has at most %d bytes", MaxTrust)
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	var t Trust
	if err := form.Decode(b, &t); err != nil {
		return Trust{}, broken(LinkInput, "the trust file can't be read: %w", err)
	}
	if _, err := t.open(); err != nil {
		return Trust{}, err
	}
	return t, nil
}

// PublicKey returns how MasterKeys spells a key.
func PublicKey(k ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(k) }

// ParsePublicKey reads what PublicKey returned, and nothing else; the error is Invalid.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	keys, err := publicKeys([]string{s})
	if err != nil {
		return nil, err
	}
	return keys[0], nil
}

// PackageKey returns how PackageKeys spells OpenPGP public keys: what verification needs
// of them, in base64. It is Invalid if they can't be read or are refused.
func PackageKey(public []byte) (string, error) {
	b, err := rpm.CompactKeys(public)
	return base64.StdEncoding.EncodeToString(b), err
}

// packageKey reads what PackageKeys may spell.
func packageKey(s string) ([]byte, error) {
	if strings.HasPrefix(s, "-") { // no letter of base64
		return []byte(s), nil
	}
	if strings.ContainsAny(s, "\r\n") { // which the decoder passes over
		return nil, albs.Errorf(albs.Invalid, "it has more than one line")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// trusted is a Trust with its keys read.
type trusted struct {
	Trust
	masters, signers, releasers []ed25519.PublicKey

	packages *rpm.Keyring
}

// stated returns the keys of which one must have signed a statement of a predicate.
func (t *trusted) stated(predicate string) []ed25519.PublicKey {
	keys := t.masters
	switch Stater(predicate) {
	case albs.RoleSigner:
		keys = t.signers
	case albs.RoleReleaser:
		keys = t.releasers
	}
	if len(keys) == 0 {
		return t.masters
	}
	return keys
}

// kept returns the keys of which one must have signed a statement of a predicate that the
// ledger has: those of stated, and the master's, whose word all of it was before others
// had keys.
func (t *trusted) kept(predicate string) []ed25519.PublicKey {
	return slices.Concat(t.stated(predicate), t.masters)
}

// open reads the keys of t and checks that nothing is missing without which nothing
// could be accepted.
func (t Trust) open() (*trusted, error) {
	bad := func(what string) error { return broken(LinkInput, "the trust file %s", what) }
	switch {
	case t.Albs != trustFormat:
		return nil, bad("is not of the format " + trustFormat)
	case len(t.MasterKeys) == 0:
		return nil, bad("names no master key")
	case len(t.Builders) == 0 || slices.Contains(t.Builders, ""):
		return nil, bad("names no builder")
	case slices.Contains(t.Products, ""):
		return nil, bad("names a product without a name")
	case t.RequireLog && t.Log == nil:
		return nil, bad("asks for a public log and names none")
	}
	if t.Log != nil {
		if err := t.Log.Check(); err != nil {
			return nil, broken(LinkInput, "the trust file can't be used: %w", err)
		}
	}
	if id, err := hex.DecodeString(t.Ledger); err != nil || len(id) != 16 {
		return nil, bad("names no ledger")
	}
	out := &trusted{Trust: t}
	var err error
	for _, k := range []struct {
		read *[]ed25519.PublicKey
		of   []string
	}{{&out.masters, t.MasterKeys}, {&out.signers, t.SignerKeys}, {&out.releasers, t.ReleaserKeys}} {
		if *k.read, err = publicKeys(k.of); err != nil {
			return nil, broken(LinkInput, "the trust file can't be used: %w", err)
		}
	}
	keys := make([][]byte, len(t.PackageKeys))
	for i, k := range t.PackageKeys {
		if keys[i], err = packageKey(k); err != nil {
			return nil, broken(LinkInput, "package key %d of the trust file is neither armored nor base64: %w", i+1, err)
		}
	}
	if out.packages, err = rpm.ReadKeyring(keys...); err != nil {
		return nil, broken(LinkInput, "a package key of the trust file can't be read: %w", err)
	}
	return out, nil
}

// Keyring returns the keys that packages and the metadata of repositories are signed
// with. The error is a BrokenLink of LinkInput, if the trust file can't be used.
func (t Trust) Keyring() (*rpm.Keyring, error) {
	opened, err := t.open()
	if err != nil {
		return nil, err
	}
	return opened.packages, nil
}

func (t *trusted) acceptsBuilder(id string) error {
	if !slices.Contains(t.Builders, id) {
		return broken(LinkPolicy, "the trust file doesn't accept the builder %.120q", id)
	}
	return nil
}

func (t *trusted) acceptsProduct(name string) error {
	if !slices.Contains(t.Products, name) {
		return broken(LinkPolicy, "the trust file doesn't accept the product %.120q", name)
	}
	return nil
}
