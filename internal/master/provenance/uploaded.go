package provenance

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
)

// Uploaded are the statements of a worker that came as a file: for a Fact, which holds
// each to what happened.
type Uploaded struct {
	Key       ed25519.PublicKey
	Envelopes map[albs.Digest][]byte // by the file of their subjects
}

// maxUploaded bounds them together, some 2 KiB for each package of a release.
const maxUploaded = 256 << 20

// Uploaded reads the statements that the worker who acts in ctx has uploaded under a lease:
// an envelope a line, each about another file. Nothing of them is verified. The zero file
// is none. It is Invalid if the worker has told no key or the file isn't of that form, and
// TooLarge beyond 256 MiB.
func (p *Provenance) Uploaded(ctx context.Context, lease string, f albs.File) (Uploaded, error) {
	out := Uploaded{Envelopes: map[albs.Digest][]byte{}}
	if f == (albs.File{}) {
		return out, nil
	}
	var err error
	if out.Key, err = p.KeyOf(ctx, auth.From(ctx)); err != nil {
		return out, err
	}
	if f.Size < 0 || f.Size > maxUploaded {
		return out, albs.Errorf(albs.TooLarge, "the worker's statements have %d bytes, %d are taken", f.Size, int64(maxUploaded))
	}
	r, err := p.artifacts.OpenStaged(ctx, lease, f.Digest, 0, -1)
	if err != nil {
		return out, fmt.Errorf("read the worker's statements: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, f.Size+1))
	if err != nil {
		return out, fmt.Errorf("read the worker's statements: %w", err)
	}
	if albs.DigestOf(b) != f.Digest || int64(len(b)) != f.Size {
		return out, albs.Errorf(albs.Invalid, "the worker's statements are not the file that it names")
	}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		e, err := attest.ParseEnvelope(line)
		if err != nil {
			return out, fmt.Errorf("read the worker's statements: %w", err)
		}
		d := e.About()
		if !d.Valid() || out.Envelopes[d] != nil {
			return out, albs.Errorf(albs.Invalid, "the worker states something of nothing, or twice of %.64q", string(d))
		}
		out.Envelopes[d] = line
	}
	return out, nil
}

// Envelopes returns the envelopes of all statements of a predicate about d that are in the
// ledger, the newest first, each proven now. Anyone may ask. Conflict if a row contradicts
// the ledger.
func (p *Provenance) Envelopes(ctx context.Context, d albs.Digest, predicate string) ([]attest.Envelope, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return nil, err
	}
	found, _, err := p.prove(ctx, d, state)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b proven) int { return cmp.Compare(b.row.ID, a.row.ID) })
	var out []attest.Envelope
	for _, s := range found {
		if s.row.Predicate == predicate {
			out = append(out, s.envelope)
		}
	}
	return out, nil
}
