package provenance

import (
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
)

// sign returns the envelope of what f says of s.
func (p *Provenance) sign(s attest.Subject, f Fact) (string, error) {
	st, err := attest.New(s, f.Predicate, f.Body)
	if err != nil {
		return "", err
	}
	e, err := p.signer.Sign(st)
	if err != nil {
		return "", err
	}
	b, err := e.Encode()
	return string(b), err
}

// open returns what a row holds, if the master's key signed it and it is about
// the row's subject.
func (p *Provenance) open(row statement) (attest.Envelope, attest.Statement, error) {
	e, err := attest.ParseEnvelope([]byte(row.Envelope))
	if err != nil {
		return attest.Envelope{}, attest.Statement{}, err
	}
	st, err := e.Open(p.signer.Public())
	if err != nil {
		return attest.Envelope{}, attest.Statement{}, err
	}
	if st.Subject[0].File() != row.Subject || st.Short() != row.Predicate {
		return attest.Envelope{}, attest.Statement{}, albs.Errorf(albs.Invalid, "it is about something else")
	}
	return e, st, nil
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
