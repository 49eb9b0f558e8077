package attest

import (
	"bytes"

	"albs/internal/albs"
	"albs/internal/ledger"
)

// Bounds of a bundle. A package's chain has five statements or so.
const (
	MaxBundle     = 8 << 20
	maxStatements = 512
)

// Values of the member "albs" of a bundle's lines that are no envelopes.
const (
	proofFormat = "ledger-proof/v1"
	stateFormat = "ledger-state/v1"
)

// Bundle is what lies beside a package: statements, the proof of each that it is in
// the ledger, and the signed state that the proofs lead to.
type Bundle struct {
	Statements []Proven    `json:"statements"`
	State      SignedState `json:"state"`
}

// Proven is a statement's envelope with the ledger key under which it stands and
// the proof of that.
type Proven struct {
	Envelope Envelope     `json:"envelope"`
	Key      string       `json:"key"`
	Proof    ledger.Proof `json:"proof"`
}

// proofLine and stateLine are lines of an encoded bundle.
type proofLine struct {
	Albs  string       `json:"albs"`
	Key   string       `json:"key"`
	Proof ledger.Proof `json:"proof"`
}

type stateLine struct {
	Albs string `json:"albs"`
	SignedState
}

// Encode returns the bundle as JSON lines: the envelopes, then a ledger-proof/v1
// for each in the same order, then one ledger-state/v1.
func (b Bundle) Encode() []byte {
	var buf bytes.Buffer
	line := func(p []byte) { buf.Write(p); buf.WriteByte('\n') }
	for _, p := range b.Statements {
		line(encode(p.Envelope))
	}
	for _, p := range b.Statements {
		line(encode(proofLine{proofFormat, p.Key, p.Proof}))
	}
	line(encode(stateLine{stateFormat, b.State}))
	return buf.Bytes()
}

// ParseBundle reads what Encode wrote, and nothing else. Nothing is verified. The
// error is a BrokenLink: of the link that the line is for, or LinkInput if the
// lines as a whole make no bundle.
func ParseBundle(b []byte) (Bundle, error) {
	if len(b) > MaxBundle {
		return Bundle{}, broken(LinkInput, "a bundle has at most %d bytes", MaxBundle)
	}
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return Bundle{}, broken(LinkInput, "the bundle doesn't end with a whole line")
	}
	if n := bytes.Count(b, []byte("\n")); n%2 == 0 || n < 3 || n > 2*maxStatements+1 {
		return Bundle{}, broken(LinkInput, "a bundle has a line for each statement, one for each proof and one for the state, not %d", n)
	}
	lines := bytes.Split(b[:len(b)-1], []byte("\n"))
	n := len(lines) / 2
	out := Bundle{Statements: make([]Proven, n)}
	for i := range n {
		e, err := ParseEnvelope(lines[i])
		if err != nil {
			return Bundle{}, broken(LinkStatement, "line %d of the bundle is no envelope: %w", i+1, err)
		}
		var p proofLine
		err = decode(lines[n+i], &p)
		if err == nil && p.Albs != proofFormat {
			err = albs.Errorf(albs.Invalid, "it is not of the format %s", proofFormat)
		}
		if err != nil {
			return Bundle{}, broken(LinkInclusion, "line %d of the bundle is no ledger proof: %w", n+i+1, err)
		}
		out.Statements[i] = Proven{Envelope: e, Key: p.Key, Proof: p.Proof}
	}
	var s stateLine
	err := decode(lines[2*n], &s)
	if err == nil && s.Albs != stateFormat {
		err = albs.Errorf(albs.Invalid, "it is not of the format %s", stateFormat)
	}
	if err != nil {
		return Bundle{}, broken(LinkState, "line %d of the bundle is no ledger state: %w", 2*n+1, err)
	}
	out.State = s.SignedState
	return out, nil
}

// fact is a statement that has been verified: the master signed it and it is in the
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
		s, err := p.Envelope.Open(t.masters...)
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
