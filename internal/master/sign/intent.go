package sign

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
)

// Intended returns how many files are to be signed whose intent has no result yet.
func (s *Signing) Intended(ctx context.Context) (int, error) {
	n, err := s.store.intended(ctx, s.store.d)
	if err != nil {
		return 0, fmt.Errorf("count intents to sign: %w", err)
	}
	return n, nil
}

// intend states in tx why files are about to be signed by a task. The signer wants to
// see it in the ledger before it uses the key.
func (s *Signing) intend(ctx context.Context, tx db.Tx, files []albs.File, why attest.SignIntentBody) error {
	for _, f := range files {
		if err := s.state(ctx, tx, f, attest.SignIntent, why); err != nil {
			return err
		}
	}
	return nil
}

// stateResults states in tx how the intents of a task ended: with the signatures, or
// for a reason without.
func (s *Signing) stateResults(ctx context.Context, tx db.Tx, task albs.TaskID, j job, signatures map[albs.Digest][]byte, reason string) error {
	for _, f := range j.files() {
		body := attest.SignResultBody{Task: task, Fingerprint: j.key.Fingerprint, Reason: reason}
		if sig := signatures[f.Digest]; sig != nil {
			body.Signature = albs.DigestOf(sig)
		}
		if err := s.state(ctx, tx, f, attest.SignResult, body); err != nil {
			return err
		}
	}
	return nil
}

func (s *Signing) state(ctx context.Context, tx db.Tx, f albs.File, predicate string, body any) error {
	about := attest.Subject{Name: f.Name, Digest: map[string]string{attest.SHA256: string(f.Digest)}}
	if err := s.provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{about}, Predicate: predicate, Body: body}); err != nil {
		return fmt.Errorf("state the %s of %s: %w", predicate, f.Name, err)
	}
	return nil
}

// files lists what the task has signed.
func (j job) files() []albs.File {
	var out []albs.File
	for _, d := range j.documents {
		out = append(out, d.file())
	}
	return append(out, filesOf(j.packages)...)
}
