package bill

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/build/keep"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/sbom"
)

// maxDocument bounds a bill, in each format.
const maxDocument = 256 << 20

// maxName is the longest name of a bill that leaves room for the end of a file's name.
const maxName = 240

// written is a bill whose blobs are durable, to be put on record.
type written struct {
	row       row
	about     *artifact.Artifact
	body      attest.SBOMBody
	documents []artifact.Artifact
	formats   map[sbom.Format]albs.Digest
}

// together is how many bills are put on record in one transaction.
const together = 20

// keeping takes bills one by one and keeps those that say something new. Each transaction
// is whole, and the last of all has what tells that all are there: the build's or the
// release's.
type keeping struct {
	*Bills
	ready []written
}

// add makes a bill's blobs, and puts on record what is ready if that is enough.
func (k *keeping) add(ctx context.Context, m made) error {
	w, news, err := k.write(ctx, m)
	if err != nil {
		return fmt.Errorf("keep bill of %s %s: %w", m.bill.Kind, m.name, err)
	}
	if news {
		k.ready = append(k.ready, w)
	}
	if len(k.ready) < together {
		return nil
	}
	return k.end(ctx)
}

// end puts on record what is ready.
func (k *keeping) end(ctx context.Context) error {
	err := k.record(ctx, k.ready)
	k.ready = nil
	return err
}

// write makes the blobs of a bill, and reports whether it is another than the one that is
// there or is kept for something else.
func (b *Bills) write(ctx context.Context, m made) (w written, news bool, err error) {
	model, err := m.bill.Encode()
	if err != nil {
		return w, false, err
	}
	w.row = row{
		Kind: m.bill.Kind, Subject: m.subject, Name: m.name, Facts: m.facts, Model: albs.DigestOf(model),
		BuildID: m.build, Product: m.release.Product, Serial: m.release.Serial, CreatedAt: db.Now(),
	}
	if len(w.row.Name) > maxName {
		w.row.Name = string(w.row.Kind) + "-" + w.row.Subject
	}
	have, err := b.store.get(ctx, b.DB, w.row.Kind, w.row.Subject)
	if err != nil && albs.KindOf(err) != albs.NotFound {
		return w, false, err
	}
	if err == nil && (have.Model == w.row.Model && have.Facts == w.row.Facts && have.BuildID == w.row.BuildID || have.lasts() && m.build != 0) {
		return w, false, nil
	}
	if _, _, err := b.Artifacts.Blobs().Write(ctx, bytes.NewReader(model), maxDocument); err != nil {
		return w, false, err
	}
	w.about, w.formats = m.about, map[sbom.Format]albs.Digest{}
	var descriptors []attest.Descriptor
	for _, f := range Attested {
		text, err := m.bill.Write(f)
		if err != nil {
			return w, false, err
		}
		a, err := b.Artifacts.Save(ctx, bytes.NewReader(text), maxDocument, w.row.Name+f.Ending(), artifact.Document)
		if err != nil {
			return w, false, err
		}
		w.documents, w.formats[f] = append(w.documents, a), a.Digest
		descriptors = append(descriptors, attest.Descriptor{Name: string(f), Digest: map[string]string{attest.SHA256: string(a.Digest)}})
	}
	w.body = m.body(descriptors)
	return w, true, nil
}

// record puts bills on record with their statements, in one transaction.
func (b *Bills) record(ctx context.Context, all []written) error {
	if len(all) == 0 {
		return nil
	}
	return b.DB.InTx(ctx, func(tx db.Tx) error {
		for _, w := range all {
			if err := b.store.put(ctx, tx, &w.row, w.formats); err != nil {
				return err
			}
			if err := b.Artifacts.Add(ctx, tx, w.documents...); err != nil {
				return err
			}
			f := provenance.Fact{Predicate: attest.SBOM, Body: w.body, Files: w.documents}
			if w.about != nil {
				f.Subjects = []attest.Subject{provenance.SubjectOf(*w.about)}
			} else {
				for _, d := range w.documents {
					f.Subjects = append(f.Subjects, provenance.SubjectOf(d))
				}
			}
			if err := b.Provenance.State(ctx, tx, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// sha512 reads a whole file for its other digest.
func (b *Bills) sha512(ctx context.Context, d albs.Digest) (string, error) {
	r, err := b.Artifacts.Open(ctx, d, 0, -1)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	h := sha512.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// roots are the bills of builds that are there, whichever a package's was made for, of releases within their product's
// retention, and of the packages of both.
func (b *Bills) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	deleted, err := keep.Deleted(ctx, b.DB, since)
	if err != nil {
		return err
	}
	retired, err := b.Repos.Retired(ctx, since)
	if err != nil {
		return err
	}
	for after := int64(0); ; {
		rows, err := b.store.after(ctx, after)
		if err != nil {
			return fmt.Errorf("read bills: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		first := rows[0].ID
		after = rows[len(rows)-1].ID
		held, err := b.held(ctx, rows, deleted, since)
		if err != nil {
			return err
		}
		kept := map[int64]bool{}
		for _, r := range rows {
			// A package that was released stays for good, and so does what it is made of.
			kept[r.ID] = (!deleted[r.BuildID] || held[r.ID]) && (r.Kind == sbom.Package || r.Serial == 0 || r.Serial > retired[r.Product])
			if !kept[r.ID] {
				continue
			}
			if err := yield(artifact.Ref{Digest: r.Model}); err != nil {
				return err
			}
		}
		documents, err := b.store.documentsOf(ctx, first, after)
		if err != nil {
			return fmt.Errorf("read documents of bills: %w", err)
		}
		for _, d := range documents {
			if !kept[d.BillID] {
				continue
			}
			if err := yield(artifact.Ref{Digest: d.Digest}); err != nil {
				return err
			}
		}
	}
}

// held returns those bills of packages that are kept though the build is deleted for which
// they were made: another one has the package too.
func (b *Bills) held(ctx context.Context, rows []row, deleted map[albs.BuildID]bool, since db.Time) (map[int64]bool, error) {
	ids := map[albs.Digest]int64{}
	for _, r := range rows {
		if r.Kind == sbom.Package && deleted[r.BuildID] {
			ids[albs.Digest(r.Subject)] = r.ID
		}
	}
	have, err := keep.Holding(ctx, b.DB, slices.Collect(maps.Keys(ids)), since)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]bool, len(have))
	for d := range have {
		out[ids[d]] = true
	}
	return out, nil
}
