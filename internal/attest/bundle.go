package attest

import (
	"bytes"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest/form"
	"albs/internal/ledger"
	"albs/internal/rpm"
	"albs/internal/tlog"
)

// Endings of the files that lie beside a package, which come after its whole name.
const (
	EnvelopesSuffix = ".intoto.jsonl" // Bundle.Envelopes
	ProofSuffix     = ".ledger-proof" // Bundle.Proof
	LogProofSuffix  = ".tlog-proof"   // of the public log of releases, see package tlog
	SummarySuffix   = ".vsa.json"     // EncodeSummary
)

// Bounds of each half of a bundle. A package's chain has five statements or so.
const (
	MaxBundle     = 8 << 20
	maxStatements = 512
)

// Values of the member "albs" of a proof's lines.
const (
	proofFormat = "ledger-proof/v1"
	stateFormat = "ledger-state/v1"
)

// Bundle is what lies beside a package: statements in chain order, the proof of each
// that it is in the ledger, and the signed state that the proofs lead to. It is kept in
// two halves: the envelopes, which other tools read and which never change once a
// package is released, and the proofs, which are as good from any later state.
type Bundle struct {
	Statements []Proven    `json:"statements"`
	State      SignedState `json:"state"`
	// Log is what proves that the release is in a public log, a c2sp.org/tlog-proof@v1
	// that lies beside the package too; nil if there is none. It is Verify's alone.
	Log []byte `json:"-"`
	// VSA is the file of the verification summary of the package with all of that, nil if there
	// is none. It is Verify's alone.
	VSA []byte `json:"-"`
}

// Proven is a statement's envelope with the ledger key under which it stands and
// the proof of that.
type Proven struct {
	Envelope Envelope     `json:"envelope"`
	Key      string       `json:"key"`
	Proof    ledger.Proof `json:"proof"`
}

// proofLine and stateLine are lines of an encoded proof.
type proofLine struct {
	Albs  string       `json:"albs"`
	Key   string       `json:"key"`
	Proof ledger.Proof `json:"proof"`
}

type stateLine struct {
	Albs string `json:"albs"`
	SignedState
}

// Envelopes returns the statements' DSSE envelopes, one a line, in order: what lies
// beside a package as NAME.rpm.intoto.jsonl (in-toto's bundle of attestations).
func (b Bundle) Envelopes() []byte {
	var out []byte
	for _, p := range b.Statements {
		out = append(append(out, form.Encode(p.Envelope)...), '\n')
	}
	return out
}

// Proof returns, as JSON lines, a ledger-proof/v1 for each envelope in the same order
// and one ledger-state/v1: what lies beside a package as NAME.rpm.ledger-proof.
func (b Bundle) Proof() []byte {
	var out []byte
	for _, p := range b.Statements {
		out = append(append(out, form.Encode(proofLine{proofFormat, p.Key, p.Proof})...), '\n')
	}
	return append(append(out, form.Encode(stateLine{stateFormat, b.State})...), '\n')
}

// ParseBundle reads what Envelopes and Proof wrote, and nothing else. Nothing is
// verified. The error is a BrokenLink: of the link that a line is for, or LinkInput if
// the two as a whole make no bundle.
func ParseBundle(envelopes, proof []byte) (Bundle, error) {
	said, err := lines(envelopes, "file of statements")
	if err != nil {
		return Bundle{}, err
	}
	proven, err := lines(proof, "ledger proof")
	if err != nil {
		return Bundle{}, err
	}
	n := len(said)
	if n > maxStatements || len(proven) != n+1 {
		return Bundle{}, broken(LinkInput, "there are %d statements and %d lines of proof; each statement, at most %d, has one and the state another", n, len(proven), maxStatements)
	}
	out := Bundle{Statements: make([]Proven, n)}
	for i := range n {
		e, err := ParseEnvelope(said[i])
		if err != nil {
			return Bundle{}, broken(LinkStatement, "line %d of the statements is no envelope: %w", i+1, err)
		}
		var p proofLine
		err = form.Decode(proven[i], &p)
		if err == nil && p.Albs != proofFormat {
			err = albs.Errorf(albs.Invalid, "it is not of the format %s", proofFormat)
		}
		if err != nil {
			return Bundle{}, broken(LinkInclusion, "line %d of the ledger proof is none: %w", i+1, err)
		}
		out.Statements[i] = Proven{Envelope: e, Key: p.Key, Proof: p.Proof}
	}
	var s stateLine
	err = form.Decode(proven[n], &s)
	if err == nil && s.Albs != stateFormat {
		err = albs.Errorf(albs.Invalid, "it is not of the format %s", stateFormat)
	}
	if err != nil {
		return Bundle{}, broken(LinkState, "line %d of the ledger proof is no ledger state: %w", n+1, err)
	}
	out.State = s.SignedState
	return out, nil
}

// LeafNEVRA spells what the public log calls a package: with the epoch always.
func LeafNEVRA(p *rpm.Package) string {
	return fmt.Sprintf("%s-%d:%s-%s.%s", p.Name, p.Epoch, p.Version, p.NEVRA.Release, p.Arch)
}

// Leaf returns what the public log of releases says of a signed package whose file has
// that digest: the repositories are those that b's statements of its releases name.
// Nothing is verified. It is NotFound if there is no such statement, and Invalid if one
// can't be read.
func (b Bundle) Leaf(p *rpm.Package, file albs.Digest) (tlog.Leaf, error) {
	l := tlog.Leaf{
		NEVRA: LeafNEVRA(p),
		File:  file, Header: p.HeaderSHA256, Payload: p.PayloadSHA256, Bundle: albs.DigestOf(b.Envelopes()),
	}
	for _, s := range b.Statements {
		st, err := s.Envelope.statement()
		if err != nil {
			return tlog.Leaf{}, err
		}
		if st.Short() != Release || st.Subject[0].File() != file {
			continue
		}
		var r ReleaseBody
		if err := st.Body(&r); err != nil {
			return tlog.Leaf{}, err
		}
		for _, path := range r.Repositories {
			l.Repositories = append(l.Repositories, r.Product+"/"+path)
		}
	}
	if len(l.Repositories) == 0 {
		return tlog.Leaf{}, albs.Errorf(albs.NotFound, "no statement says into which repositories %s was released", file)
	}
	slices.Sort(l.Repositories)
	l.Repositories = slices.Compact(l.Repositories)
	return l, nil
}

// lines splits what into whole lines, of which there is at least one.
func lines(b []byte, what string) ([][]byte, error) {
	switch {
	case len(b) > MaxBundle:
		return nil, broken(LinkInput, "a %s has at most %d bytes", what, MaxBundle)
	case len(b) == 0 || b[len(b)-1] != '\n':
		return nil, broken(LinkInput, "the %s doesn't end with a whole line", what)
	case bytes.Count(b, []byte("\n")) > maxStatements+1:
		return nil, broken(LinkInput, "a %s has at most %d lines", what, maxStatements+1)
	}
	return bytes.Split(b[:len(b)-1], []byte("\n")), nil
}

// fact is a statement that has been verified: who may make it signed it, and it is in the
// ledger under its key.
type fact struct {
	statement Statement
	predicate string // short name
	n         int    // the number in its key
	key       string
	receipt   ledger.Receipt
	used      bool // it has its place in the chain
}

func (f *fact) subject() Subject { return f.statement.Subject[0] }

// read decodes the predicate; one that can't be read breaks the chain.
func (f *fact) read(body any) error {
	if err := f.statement.Body(body); err != nil {
		return broken(LinkChain, "%s: %w", f.key, err)
	}
	return nil
}

// facts verifies all of b but the chain: signatures of state and statements,
// and inclusion.
func (b Bundle) facts(t *trusted) ([]*fact, error) {
	if len(b.Statements) == 0 || len(b.Statements) > maxStatements {
		return nil, broken(LinkInput, "there are %d statements, not 1 to %d", len(b.Statements), maxStatements)
	}
	if err := b.State.verify(t); err != nil {
		return nil, err
	}
	var facts []*fact
	for i, p := range b.Statements {
		s, err := p.Envelope.Open(t.stated(p.Envelope.predicate())...)
		if err != nil {
			return nil, broken(LinkStatement, "statement %d: %w", i+1, err)
		}
		value, err := p.Envelope.Encode()
		if err != nil {
			return nil, broken(LinkStatement, "statement %d: %w", i+1, err)
		}
		n, err := checkKey(p.Key, s)
		if err != nil {
			return nil, broken(LinkInclusion, "statement %d: %w", i+1, err)
		}
		if err := ledger.Verify(p.Proof, []byte(p.Key), value, b.State.State); err != nil {
			return nil, broken(LinkInclusion, "statement %d, %s: %w", i+1, p.Key, err)
		}
		facts = append(facts, &fact{statement: s, predicate: s.Short(), n: n, key: p.Key, receipt: p.Proof.Receipt()})
	}
	return facts, nil
}

// verify checks that a trusted master signed s, and that it is of the trusted ledger.
func (s SignedState) verify(t *trusted) error {
	if err := verifyBy(t.masters, s.KeyID, payloadState, s.payload(), s.Sig); err != nil {
		return broken(LinkState, "the state of the ledger: %w", err)
	}
	if s.State.Ledger != t.Ledger {
		return broken(LinkState, "it is of ledger %.64s; the trust file names %s", s.State.Ledger, t.Ledger)
	}
	return nil
}
