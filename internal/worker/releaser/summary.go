package releaser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/rpm"
	"albs/internal/worker/releaser/laid"
)

// noTrust says why there are no verification summaries.
const noTrust = "releaser.trust_file is not set"

// verifier verifies released packages of a product as strangers do, and states so.
type verifier struct {
	product string
	states  *attest.Signer
	trust   attest.Trust
	policy  albs.Digest // of the trust file
	url     laid.Readers
}

// verifier returns what verifies by the trust file as it is now, or by what the master in the
// same process trusts; nil if the releaser has neither. A bad trust file is Invalid.
func (c Config) verifier(ctx context.Context, states *attest.Signer, product string) (*verifier, error) {
	v := &verifier{product: product, states: states, url: laid.Readers(c.URL)}
	var err error
	switch {
	case c.TrustFile != "":
		v.trust, v.policy, err = c.trust()
	case c.Trust != nil:
		v.trust, err = c.Trust(ctx, product)
		v.policy = albs.DigestOf(v.trust.Encode())
	default:
		return nil, nil
	}
	return v, err
}

// trust reads the trust file.
func (c Config) trust() (attest.Trust, albs.Digest, error) {
	b, err := disk.ReadFile(c.TrustFile, attest.MaxTrust)
	if err != nil {
		return attest.Trust{}, "", albs.Errorf(albs.Invalid, "read releaser.trust_file: %w", err)
	}
	t, err := attest.ParseTrust(b)
	if err != nil {
		return t, "", fmt.Errorf("releaser.trust_file: %w", err)
	}
	return t, albs.DigestOf(b), nil
}

// summary verifies a package d with what lies beside it and returns the file of the summary:
// there, if that is one by the same trust file, so that attempts at one task state the
// same; else one of now. What doesn't hold is Invalid.
func (v *verifier) summary(ctx context.Context, d albs.Digest, file io.ReaderAt, size int64, b attest.Bundle, where string, there []byte) ([]byte, error) {
	report, err := attest.Verify(ctx, file, size, b, v.trust)
	if err != nil {
		return nil, err
	}
	if report.File != d {
		return nil, albs.Errorf(albs.Invalid, "the file has sha256 %s, and %s was released", report.File, d)
	}
	p, err := rpm.Read(io.NewSectionReader(file, 0, size))
	if err != nil {
		return nil, err
	}
	if e, err := attest.ParseSummary(there); err == nil {
		_, was, err := b.Summarized(e, p, d, v.product, v.states.Public())
		if err == nil && was.Policy == v.policy && was.Where == where {
			return there, nil
		}
	}
	st, err := b.Summary(p, d, v.states.Public(), attest.Verification{Product: v.product, At: time.Now(), Policy: v.policy, Where: where})
	if err != nil {
		return nil, err
	}
	e, err := v.states.Sign(st)
	if err != nil {
		return nil, err
	}
	return attest.EncodeSummary(e)
}

// summarize verifies a package and lays its summary beside each of its names. One that
// doesn't verify keeps none.
func (p *place) summarize(ctx context.Context, names []string, k albs.ProvePackage, files []*told, v *verifier, src source) ([]byte, error) {
	made, err := p.verified(ctx, names[0], k, files, v, src)
	for _, name := range names {
		switch there, rerr := p.summaryOf(name); {
		case rerr != nil:
			return nil, errors.Join(err, rerr)
		case errors.Is(err, albs.Invalid) && there != nil:
			err = errors.Join(err, p.remove(name+attest.SummarySuffix))
		case err == nil && string(there) != string(made):
			if err := p.bytes(name+attest.SummarySuffix, made); err != nil {
				return nil, err
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s doesn't verify, so it gets no verification summary: %w", path.Base(names[0]), err)
	}
	return made, nil
}

// verified is verifier.summary of a package in the pool.
func (p *place) verified(ctx context.Context, name string, k albs.ProvePackage, files []*told, v *verifier, src source) ([]byte, error) {
	var part [3][]byte
	for i, f := range files {
		var err error
		if part[i], err = f.fetch(ctx, src); err != nil {
			return nil, err
		}
	}
	b, err := attest.ParseBundle(part[0], part[1])
	if err != nil {
		return nil, err
	}
	b.Log = part[2]
	where, err := v.url.Address(v.product, name)
	if err != nil {
		return nil, err
	}
	there, err := p.summaryOf(name)
	if err != nil {
		return nil, err
	}
	f, err := p.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("look into the pool: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look into the pool: %w", err)
	}
	return v.summary(ctx, k.Package, f, info.Size(), b, where, there)
}

// unsummarize removes the summary beside a package if that is about other files than are
// going to lie there.
func (p *place) unsummarize(name string, k albs.ProvePackage) error {
	there, err := p.summaryOf(name)
	if err != nil || there == nil {
		return err
	}
	if e, err := attest.ParseSummary(there); err == nil && slices.Equal(attest.SummaryOf(e), []albs.Digest{k.Statements, k.LedgerProof, k.LogProof}) {
		p.dirty[path.Dir(name)] = struct{}{} // its name may be younger than the last sync
		return nil
	}
	return p.remove(name + attest.SummarySuffix)
}

// summaryOf reads the summary beside a package, nil if there is none.
func (p *place) summaryOf(name string) ([]byte, error) {
	name += attest.SummarySuffix
	info, err := p.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > attest.MaxSummary {
		return []byte{}, nil // none that a releaser wrote
	}
	b, err := p.root.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("look into the pool: %w", err)
	}
	return append([]byte{}, b...), nil // never nil
}

// remove takes a file away.
func (p *place) remove(name string) error {
	if err := p.root.Remove(name); err != nil {
		return fmt.Errorf("remove %s from the public place: %w", strings.TrimPrefix(name, "pool/"), err)
	}
	p.dirty[path.Dir(name)] = struct{}{}
	return nil
}
