package signer

import (
	"encoding/json"
	"errors"

	"albs/internal/albs"
	"albs/internal/attest"
)

// stated is what the master said that a package is.
type stated struct {
	header, payload albs.Digest
	source          bool // it is a source package
}

// believe verifies a lease's evidence for what is to be signed, makes the ledger's
// state durable, and returns what the master stated each thing to be. Evidence
// that shows too little, or shows it of something else, is Forbidden; a ledger that
// doesn't continue the one remembered is a Conflict, for a person to look into.
func (s *signer) believe(raw json.RawMessage, spec albs.SignSpec) (map[albs.Digest]stated, error) {
	e, err := attest.ParseEvidence(raw)
	if err != nil {
		return nil, refusal(err)
	}
	trust := s.trust
	verify, want := attest.VerifyEvidence, spec.Packages
	if len(spec.Documents) > 0 {
		verify, want = attest.VerifyApproval, spec.Documents
		trust.Products = []string{spec.Product} // the approval must be for the product that the key's policy was asked about
	}
	digests := make([]albs.Digest, len(want))
	for i, f := range want {
		digests[i] = f.Digest
	}
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if _, err := verify(e, digests, trust, known.State); err != nil {
		return nil, refusal(err)
	}
	if err := s.remember(e.State); err != nil {
		return nil, err
	}
	out := make(map[albs.Digest]stated, len(want))
	for _, p := range e.Statements {
		var st attest.Statement
		if err := json.Unmarshal(p.Envelope.Payload, &st); err != nil { // verified above
			return nil, refusal(err)
		}
		for _, sub := range st.Subject {
			if short := st.Short(); short == attest.Build || short == attest.Source {
				out[sub.File()] = stated{
					header: albs.Digest(sub.Digest[attest.HeaderSHA256]), payload: albs.Digest(sub.Digest[attest.PayloadSHA256]),
					source: short == attest.Source,
				}
			}
		}
	}
	return out, nil
}

// refusal gives the verifier's error the kind that says what to do about it.
func refusal(err error) error {
	if b, ok := errors.AsType[*attest.BrokenLink](err); ok && b.Link == attest.LinkState {
		// Not wrapped: the cause's own kind says that no attempt can end otherwise,
		// but a master that finds its ledger again can.
		return albs.Errorf(albs.Conflict, "nothing is signed: %v", err)
	}
	return albs.Errorf(albs.Forbidden, "refused: the evidence doesn't hold: %w", err)
}
