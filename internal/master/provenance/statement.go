package provenance

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
)

// sign returns the envelope of what f says of s: the worker's, if f has those, or the
// master's own.
func (p *Provenance) sign(s attest.Subject, f Fact) (string, error) {
	st, err := attest.New(s, f.Predicate, f.Body)
	if err != nil {
		return "", err
	}
	if f.Envelopes != nil {
		b := f.Envelopes[s.File()]
		if len(b) == 0 {
			return "", albs.Errorf(albs.Invalid, "the worker brought no statement of it")
		}
		e, err := attest.ParseEnvelope(b)
		if err != nil {
			return "", err
		}
		return string(b), e.Says(st, f.Key)
	}
	e, err := p.signer.Sign(st)
	if err != nil {
		return "", err
	}
	b, err := e.Encode()
	return string(b), err
}

// open returns what a row holds, if the master's key signed it, or that of a worker who
// may state such things, and it is about the row's subject.
func (p *Provenance) open(ctx context.Context, row statement) (attest.Envelope, attest.Statement, error) {
	e, err := attest.ParseEnvelope([]byte(row.Envelope))
	if err != nil {
		return attest.Envelope{}, attest.Statement{}, err
	}
	keys, err := p.stating(ctx, row.Predicate, e)
	if err != nil {
		return attest.Envelope{}, attest.Statement{}, err
	}
	st, err := e.Open(keys...)
	if err != nil {
		return attest.Envelope{}, attest.Statement{}, err
	}
	if st.Subject[0].File() != row.Subject || st.Short() != row.Predicate {
		return attest.Envelope{}, attest.Statement{}, albs.Errorf(albs.Invalid, "it is about something else")
	}
	return e, st, nil
}

// opened is open for a row that the ledger proved: what it holds is tampered with if it
// can't be opened, unless the database can't be asked.
func (p *Provenance) opened(ctx context.Context, row statement) (attest.Envelope, attest.Statement, error) {
	e, st, err := p.open(ctx, row)
	switch albs.KindOf(err) {
	case albs.Invalid, albs.TooLarge:
		err = tampered("statement %d about %s: %v", row.ID, row.Subject.Short(), err)
	}
	return e, st, err
}

func statementKey(d albs.Digest, predicate string, n int64) []byte {
	return []byte(attest.StatementKey(d, predicate, int(n)))
}

// madeFrom returns the digest of what the subject of st was made from, where st
// tells: the unsigned package of a signed one, the SRPM of a built one.
func madeFrom(st attest.Statement) (albs.Digest, error) {
	switch st.Short() {
	case attest.Sign:
		var body attest.SignBody
		if err := st.Body(&body); err != nil {
			return "", fmt.Errorf("read what was signed: %w", err)
		}
		return body.Unsigned, nil
	case attest.Build:
		var body attest.BuildBody
		if err := st.Body(&body); err != nil {
			return "", fmt.Errorf("read what was built: %w", err)
		}
		for _, r := range body.BuildDefinition.ResolvedDependencies {
			if r.Name == attest.DependencySRPM {
				return albs.ParseDigest(r.Digest[attest.SHA256])
			}
		}
	}
	return "", nil
}
