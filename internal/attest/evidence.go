package attest

import (
	"cmp"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest/form"
	"albs/internal/ledger"
)

// MaxEvidence bounds encoded evidence.
const MaxEvidence = 32 << 20

// Evidence is what a signer decides by: the statements about unsigned packages with
// their proofs, the ledger's state, and how that continues the state that the
// signer knows. Build, source and, where the signer's trust requires it, test
// statements belong to it, those of the intent to sign, and of the approvals taken.
type Evidence struct {
	Bundle
	// Consistency leads from the signer's state; nil if it knows none yet, or the
	// very state of the bundle.
	Consistency *ledger.Consistency `json:"consistency,omitempty"`
}

// Encode returns the evidence as JSON.
func (e Evidence) Encode() []byte { return form.Encode(e) }

// ParseEvidence reads what Encode wrote, and nothing else. The error is a
// BrokenLink of LinkInput.
func ParseEvidence(b []byte) (Evidence, error) {
	if len(b) > MaxEvidence {
		return Evidence{}, broken(LinkInput, "evidence has at most %d bytes", MaxEvidence)
	}
	var e Evidence
	if err := form.Decode(b, &e); err != nil {
		return Evidence{}, broken(LinkInput, "the evidence can't be read: %w", err)
	}
	return e, nil
}

// VerifyEvidence checks that each of want, unsigned packages by the digest of their
// file, has a chain to its source (and a passed test, if trust requires tests and
// it is no source package) in
// a ledger state that continues known; the zero known accepts any state of the
// trusted ledger. It returns the state that the signer has to remember, durably,
// before it signs. A failed verification is a *BrokenLink.
//
// The statements bind the package's file; whoever signs checks that what it holds
// has that digest.
func VerifyEvidence(e Evidence, want []albs.Digest, trust Trust, known ledger.State) (ledger.State, error) {
	return e.verify(want, trust, known, func(c *chain, d albs.Digest) error { return c.made(d, content{}) })
}

// VerifyAllowed is VerifyEvidence for other files to be signed: of each of want the
// master stated that one of the trust file's products may have it signed.
func VerifyAllowed(e Evidence, want []albs.Digest, trust Trust, known ledger.State) (ledger.State, error) {
	return e.verify(want, trust, known, (*chain).allowed)
}

// VerifyApproval is VerifyEvidence for documents to be signed, as a repomd.xml: each
// of want is what an approved release of one of the trust file's products comes to.
func VerifyApproval(e Evidence, want []albs.Digest, trust Trust, known ledger.State) (ledger.State, error) {
	return e.verify(want, trust, known, (*chain).approved)
}

func (e Evidence) verify(want []albs.Digest, trust Trust, known ledger.State, follow func(*chain, albs.Digest) error) (ledger.State, error) {
	t, err := trust.open()
	if err != nil {
		return ledger.State{}, err
	}
	if len(want) == 0 {
		return ledger.State{}, broken(LinkInput, "there is nothing to look for in the evidence")
	}
	facts, err := e.facts(t)
	if err != nil {
		return ledger.State{}, err
	}
	if err := e.continues(known); err != nil {
		return ledger.State{}, err
	}
	c := &chain{trust: t, facts: facts}
	for i, d := range want {
		if !d.Valid() || slices.Contains(want[:i], d) {
			return ledger.State{}, broken(LinkInput, "%.80q is no digest, or asked for twice", string(d))
		}
		if err := follow(c, d); err != nil {
			return ledger.State{}, err
		}
		for _, f := range append(c.about(d, SignIntent), c.about(d, SignAllowed)...) {
			f.used = true // the signer's rules say which one it wants, if any
		}
	}
	for _, f := range facts {
		if f.predicate == ApprovalTaken {
			f.used = true // likewise, and which effects it wants approved
		}
	}
	if err := c.nothingLeft(); err != nil {
		return ledger.State{}, err
	}
	return e.State.State, nil
}

// allowed looks for a statement that the file d may be signed for an accepted product.
// What may be said of the file beside that, as of a document that a release signed, is in
// nobody's way.
func (c *chain) allowed(d albs.Digest) error {
	accepted := false
	for _, f := range c.about(d, SignAllowed) {
		var s SignAllowedBody
		if err := f.read(&s); err != nil {
			return err
		}
		if c.trust.acceptsProduct(s.Product) == nil {
			accepted = true
		}
	}
	if !accepted {
		return broken(LinkChain, "no statement says that %s may be signed for %v", d, c.trust.Products)
	}
	for _, f := range c.facts {
		if f.subject().File() == d {
			f.used = true
		}
	}
	return nil
}

// approved looks for a statement that d is what an approved plan of an accepted
// product comes to. Byte-equal documents of several products, as the repomd.xml of
// two empty repositories, have statements of each: those of other products prove
// nothing and are in nobody's way.
func (c *chain) approved(d albs.Digest) error {
	found := c.about(d, ReleaseApproved)
	if len(found) == 0 {
		return broken(LinkChain, "no statement says that %s was approved", d)
	}
	var refused error
	accepted := false
	for _, f := range found {
		var r ReleaseApprovedBody
		if err := f.read(&r); err != nil {
			return err
		}
		if len(r.Approvals) == 0 || !r.Plan.Valid() {
			return broken(LinkChain, "%s names no approval of a plan", f.key)
		}
		if err := c.trust.acceptsProduct(r.Product); err != nil {
			refused, f.used = err, true
			continue
		}
		accepted = true
		c.step(f, LinkChain, "approved for %s of %s by %d people", cmp.Or(r.Repository, r.File), r.Product, len(r.Approvals))
	}
	if !accepted {
		return refused
	}
	return nil
}

// continues checks that the evidence's state is known, or goes on from it.
func (e Evidence) continues(known ledger.State) error {
	now := e.State.State
	switch {
	case known == (ledger.State{}), known == now:
		if e.Consistency != nil {
			return broken(LinkState, "the evidence leads from a state that isn't known here")
		}
		return nil
	case known.Ledger != now.Ledger:
		return broken(LinkState, "the evidence is of ledger %.64s; ledger %.64s is known here", now.Ledger, known.Ledger)
	case known.TxID > now.TxID:
		return broken(LinkState, "the ledger is behind: the evidence is of transaction %d, %d is known here", now.TxID, known.TxID)
	case e.Consistency == nil:
		return broken(LinkState, "nothing shows that the ledger at transaction %d continues the state %d known here", now.TxID, known.TxID)
	}
	if err := ledger.VerifyConsistency(*e.Consistency, known, now); err != nil {
		return broken(LinkState, "the ledger at transaction %d doesn't continue the state %d known here: %w", now.TxID, known.TxID, err)
	}
	return nil
}
