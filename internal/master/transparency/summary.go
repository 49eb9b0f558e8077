package transparency

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
)

// summaries returns what a releaser states of the packages of a task that it has verified,
// yet to be stated. Each has to be by the releaser's key, about a package that it didn't find
// wrong and the files that the task gave, and in no other words than attest has for it; else
// it is Invalid. A releaser without a trust file states nothing.
func (h handler) summaries(ctx context.Context, l queue.Lease, r albs.ProveResult) ([]provenance.Fact, error) {
	said, err := h.Provenance.Uploaded(ctx, queue.Upload(l.Token), r.Summaries)
	if err != nil {
		return nil, err
	}
	var out []provenance.Fact
	for _, k := range l.Spec.Prove.Packages {
		line := said.Envelopes[k.Package]
		if line == nil {
			continue
		}
		delete(said.Envelopes, k.Package)
		if slices.Contains(r.Wrong, k.Package) {
			return nil, albs.Errorf(albs.Invalid, "the releaser states that %s holds, and says that it doesn't", k.Package)
		}
		e, err := attest.ParseEnvelope(line)
		if err != nil {
			return nil, err
		}
		p, err := h.Artifacts.Package(ctx, k.Package)
		if err != nil {
			return nil, err
		}
		b, err := h.bundle(ctx, Files{k.Statements, k.LedgerProof, k.LogProof})
		if err != nil {
			return nil, err
		}
		st, v, err := b.Summarized(e, p, k.Package, l.Spec.Prove.Product, said.Key)
		if err != nil {
			return nil, err
		}
		if v.Where != "" && !isAt(v.Where, l.Spec.Prove.Product, k.Paths) {
			return nil, albs.Errorf(albs.Invalid, "the releaser verified %s at %.200q, which is none of its names", k.Package, v.Where)
		}
		out = append(out, provenance.Fact{
			Subjects: st.Subject, Predicate: attest.VSA, Body: st.Predicate,
			Envelopes: map[albs.Digest][]byte{k.Package: line}, Key: said.Key,
		})
	}
	for d := range said.Envelopes {
		return nil, albs.Errorf(albs.Invalid, "the releaser states something of %.64s, which it wasn't asked for", string(d))
	}
	return out, nil
}

// isAt reports whether an address is one of a package that has those paths in a product's
// tree.
func isAt(where, product string, paths []string) bool {
	u, err := url.Parse(where)
	return err == nil && slices.ContainsFunc(paths, func(at string) bool { return strings.HasSuffix(u.Path, "/"+product+"/pool/"+at) })
}

// bundle reads what lies beside a package.
func (t *Transparency) bundle(ctx context.Context, f Files) (attest.Bundle, error) {
	var part [3][]byte
	for i, d := range []albs.Digest{f.Statements, f.LedgerProof, f.LogProof} {
		r, err := t.Artifacts.Open(ctx, d, 0, -1)
		if err != nil {
			return attest.Bundle{}, err
		}
		part[i], err = disk.ReadAll(r, "what lies beside a package", attest.MaxBundle)
		if err := errors.Join(err, r.Close()); err != nil {
			return attest.Bundle{}, err
		}
	}
	b, err := attest.ParseBundle(part[0], part[1])
	b.Log = part[2]
	return b, err
}

// Summary returns the file of the verification summary that lies beside a released package:
// of several that are in the ledger the newest that is about what Beside returns. Anyone may
// ask. NotFound if the releaser has verified no such package, or not yet.
func (t *Transparency) Summary(ctx context.Context, d albs.Digest) ([]byte, error) {
	files, err := t.Beside(ctx, d)
	if err != nil {
		return nil, err
	}
	all, err := t.Provenance.Envelopes(ctx, d, attest.VSA)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if slices.Equal(attest.SummaryOf(e), []albs.Digest{files.Statements, files.LedgerProof, files.LogProof}) {
			return attest.EncodeSummary(e)
		}
	}
	return nil, albs.Errorf(albs.NotFound, "no releaser has stated that it verified %s", d)
}
