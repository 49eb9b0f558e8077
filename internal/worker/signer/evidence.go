package signer

import (
	"encoding/json"
	"errors"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/worker"
)

// stated is what the master said that a package is.
type stated struct {
	header, payload albs.Digest
	source          bool          // it is a source package
	platforms       []string      // that it was built for
	document        bool          // it is a document of a release
	approvals       int           // people who approved that
	plans           []albs.Digest // effects that people approved, and that it is of
	file            bool          // it may be signed as a file
	intents         []attest.SignIntentBody
	wanted          attest.SignIntentBody      // the intent of this task
	taken           []attest.ApprovalTakenBody // of effects: who approved them
}

// believe verifies a lease's evidence for what is to be signed, makes the ledger's
// state durable, and returns what the master stated each thing to be, the intent to
// sign it by this very task, key and product among it, and of effects who approved them. Evidence that shows too
// little, or shows it of something else, is Forbidden; a ledger that doesn't continue
// the one remembered is a Conflict, for a person to look into.
func (s *signer) believe(l worker.Lease, spec albs.SignSpec) (map[albs.Digest]stated, error) {
	e, err := attest.ParseEvidence(l.Evidence)
	if err != nil {
		return nil, refusal(err)
	}
	trust := s.trust
	verify, want := attest.VerifyEvidence, spec.Packages
	switch kindOf(spec) { // what is said of these must be for the product that the key's policy was asked about
	case repomdKind:
		verify, want, trust.Products = attest.VerifyApproval, spec.Documents, []string{spec.Product}
	case filesKind:
		verify, want, trust.Products = attest.VerifyAllowed, spec.Files, []string{spec.Product}
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
			d := sub.File()
			if out[d], err = out[d].with(sub, st, spec.Product); err != nil {
				return nil, refusal(err)
			}
		}
	}
	for _, f := range want {
		st := out[f.Digest]
		i := slices.IndexFunc(st.intents, func(i attest.SignIntentBody) bool {
			return i.Task == l.Token.Task && i.Fingerprint == spec.Key && i.Product == spec.Product
		})
		if i < 0 {
			return nil, albs.Errorf(albs.Forbidden, "refused: the ledger has no intent to sign %.200q with this key, for this product, by this task", f.Name)
		}
		st.wanted = st.intents[i]
		out[f.Digest] = st
	}
	return out, nil
}

// with returns what is stated of a thing by s and by one statement more. Of several
// releases that come to the same document, the one that most people approved counts.
func (s stated) with(sub attest.Subject, st attest.Statement, product string) (stated, error) {
	switch short := st.Short(); short {
	case attest.Build, attest.Source:
		s.header, s.payload = albs.Digest(sub.Digest[attest.HeaderSHA256]), albs.Digest(sub.Digest[attest.PayloadSHA256])
		s.source = short == attest.Source
		if s.source {
			break
		}
		var body attest.BuildBody
		if err := st.Body(&body); err != nil {
			return s, err
		}
		s.platforms = append(s.platforms, body.BuildDefinition.ExternalParameters.Platform)
	case attest.ReleaseApproved:
		var body attest.ReleaseApprovedBody
		if err := st.Body(&body); err != nil {
			return s, err
		}
		s.document = true
		if body.Product != product {
			break
		}
		people := map[string]bool{}
		for _, a := range body.Approvals {
			people[a.Person] = true
		}
		s.approvals, s.plans = max(s.approvals, len(people)), append(s.plans, body.Plan)
	case attest.SignAllowed:
		s.file = true
	case attest.ApprovalTaken:
		var body attest.ApprovalTakenBody
		if err := st.Body(&body); err != nil {
			return s, err
		}
		s.taken = append(s.taken, body)
	case attest.SignIntent:
		var body attest.SignIntentBody
		if err := st.Body(&body); err != nil {
			return s, err
		}
		s.intents = append(s.intents, body)
	}
	return s, nil
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
