// Package attest says what master, signer and releaser testify to and how a stranger checks it:
// in-toto statements, DSSE envelopes, the bundle beside a package, the trust file,
// and Verify, which needs nothing but these and the package, offline. Evidence is
// the same for a signer, about packages that are not signed yet; the approvals of
// effects, which are effect's, are what people say to it, by keys of their own.
//
// It owns the predicate types, the keys under which statements stand in the
// ledger, and the formats of bundle, trust and evidence. It decides nothing about
// when a statement is made and keeps nothing.
//
// Formats: statement https://in-toto.io/Statement/v1, envelope
// https://github.com/secure-systems-lab/dsse (v1, Ed25519, one signature).
//
// Invariants: encoding is deterministic, and only the exact bytes that Encode
// gives are accepted by Parse, so a document has one form; what fails
// verification says by its Link which link of the chain is broken.
package attest

import (
	"errors"
	"fmt"

	"albs/internal/albs"
)

// Link names a link of the chain from a package's file to the ledger.
type Link string

// The links, in the order in which Verify checks them.
const (
	LinkInput     Link = "input"            // bundle, trust or evidence can't be read as such
	LinkStatement Link = "statement"        // the signature of a statement, by who may make it
	LinkState     Link = "ledger state"     // the signed state of the ledger
	LinkInclusion Link = "ledger inclusion" // a statement in the ledger
	LinkSignature Link = "file signature"   // the package's own signature, over its header
	LinkDigest    Link = "digest"           // the bytes of the package
	LinkChain     Link = "chain"            // from signed file to unsigned, to SRPM, to source
	LinkPolicy    Link = "policy"           // what the trust file accepts: builders, products
	LinkLog       Link = "transparency log" // the release in a public log
)

// ExitCode returns the code with which albs verify ends for a broken link: 3 and
// up, each its own.
func (l Link) ExitCode() int {
	switch l {
	case LinkSignature:
		return 3
	case LinkDigest:
		return 4
	case LinkStatement:
		return 5
	case LinkChain:
		return 6
	case LinkInclusion:
		return 7
	case LinkState:
		return 8
	case LinkPolicy:
		return 9
	case LinkLog:
		return 11
	}
	return 10 // LinkInput
}

// BrokenLink is the error of a verification that failed: which link is broken, and
// a sentence for people. It is of kind Invalid.
type BrokenLink struct {
	Link Link
	Msg  string
	Err  error // the cause, or nil
}

// Error returns the link and the sentence.
func (b *BrokenLink) Error() string { return fmt.Sprintf("%s: %s", b.Link, b.Msg) }

// Unwrap returns the kind and the cause.
func (b *BrokenLink) Unwrap() []error {
	if b.Err == nil {
		return []error{albs.Invalid}
	}
	return []error{albs.Invalid, b.Err}
}

func broken(l Link, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &BrokenLink{Link: l, Msg: err.Error(), Err: errors.Unwrap(err)}
}
