// Package record owns the metadata files that people give the repositories of products
// beside their packages: comps, modules, advisories, a product's certificate.
//
// Giving one changes nothing that readers see. It is what the repository is to have: the
// next release of the product takes it over, and its plan says so. The file is checked
// when it is given (repodata/record), kept as an artifact and recorded in the ledger as
// all others are. What a repository shows now is repo's.
package record

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Parts are the modules that records rest on.
type Parts struct {
	DB         *db.DB
	Events     Events
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Products   *product.Products
}

// Records keeps the records of products. It may be used concurrently.
type Records struct{ Parts }

// New returns Records over its parts, to whose artifacts it tells what it names. It does
// no I/O.
func New(p Parts) *Records {
	r := &Records{p}
	p.Artifacts.Root("record", r.roots)
	return r
}

// Given is one record as it was given for a repository.
type Given struct {
	Product string
	// Path is the repository's, below the product's root.
	Path string
	// Type is one of repodata/record's.
	Type string
	// Digest and Size are those of the file uncompressed.
	Digest albs.Digest
	Size   int64
	// Files are what a repository has of it.
	Files []repodata.Record
	Actor string
	At    db.Time
}

// Set gives a repository of a product records, each file by its type, in place of those
// of the same type, all or none of them, and returns them by type. What is given twice
// changes nothing. Errors: NotFound for an unknown product; Forbidden without
// release.plan on its team; Invalid for a repository that it hasn't, for no file and for
// a file that is not what its type says; TooLarge. The bytes are durable on return.
func (r *Records) Set(ctx context.Context, productName, path string, files map[string]io.Reader) ([]Given, error) {
	if err := r.may(ctx, productName, path); err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, albs.Errorf(albs.Invalid, "give at least one file; its type is one of %v", record.Types())
	}
	var given []Given
	var kept []artifact.Artifact
	for _, typ := range slices.Sorted(maps.Keys(files)) {
		made, err := record.Make(typ, files[typ])
		if err != nil {
			return nil, err
		}
		g := Given{Product: productName, Path: path, Type: typ, Actor: auth.From(ctx).String(), At: db.Now()}
		g.Digest, g.Size = made[0].OpenDigest, made[0].OpenSize
		if g.Digest == "" {
			g.Digest, g.Size = made[0].Digest, made[0].Size
		}
		for _, f := range made {
			a, err := r.Artifacts.Save(ctx, bytes.NewReader(f.Bytes), f.Size, f.Name, artifact.Document)
			if err != nil {
				return nil, err
			}
			kept = append(kept, a)
			g.Files = append(g.Files, f.Record)
		}
		given = append(given, g)
	}
	err := r.DB.InTx(ctx, func(tx db.Tx) error {
		if err := r.Artifacts.Add(ctx, tx, kept...); err != nil {
			return err
		}
		if err := r.Provenance.State(ctx, tx, provenance.Fact{Files: kept}); err != nil {
			return err
		}
		for _, g := range given {
			changed, err := put(ctx, tx, g)
			if err != nil {
				return err
			}
			if !changed {
				continue
			}
			if err := r.tell(ctx, tx, "record.set", g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("give records to %s/%s: %w", productName, path, err)
	}
	return given, nil
}

// Remove takes a record from a repository; the next release shows it no more. Errors:
// those of Set, and NotFound if there is none of the type.
func (r *Records) Remove(ctx context.Context, productName, path, typ string) error {
	if err := r.may(ctx, productName, path); err != nil {
		return err
	}
	err := r.DB.InTx(ctx, func(tx db.Tx) error {
		if err := remove(ctx, tx, productName, path, typ); err != nil {
			return err
		}
		return r.tell(ctx, tx, "record.removed", Given{Product: productName, Path: path, Type: typ})
	})
	if err != nil {
		return fmt.Errorf("take record from %s/%s: %w", productName, path, err)
	}
	return nil
}

// Of returns the records of a product's repositories, by path and type. Anyone may ask;
// an unknown product has none.
func (r *Records) Of(ctx context.Context, productName string) ([]Given, error) {
	out, err := list(ctx, r.DB, productName)
	if err != nil {
		return nil, fmt.Errorf("list records of product %.80q: %w", productName, err)
	}
	return out, nil
}

// roots are the files of the records that repositories have been given and not yet
// had taken away. What was released of them is named by the snapshots that show it.
func (r *Records) roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	all, err := every(ctx, r.DB)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for _, g := range all {
		for _, f := range g.Files {
			if err := yield(artifact.Ref{Digest: f.Digest}); err != nil {
				return err
			}
		}
	}
	return nil
}

// may says whether the actor of ctx may change the records of a repository that is there.
func (r *Records) may(ctx context.Context, productName, path string) error {
	p, err := r.Products.Get(ctx, productName)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.ReleasePlan, p.Object()); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Repositories, func(d product.Repository) bool { return d.Path == path }) {
		return albs.Errorf(albs.Invalid, "product %s has no repository at %.200q", productName, path)
	}
	return nil
}

// Event is the data of the events record.set and record.removed.
type Event struct {
	Product    string      `json:"product"`
	Repository string      `json:"repository"`
	Type       string      `json:"type"`
	Digest     albs.Digest `json:"digest,omitempty"`
}

func (r *Records) tell(ctx context.Context, tx db.Tx, kind string, g Given) error {
	return r.Events.Add(ctx, tx, kind, "product:"+g.Product, auth.From(ctx).String(), Event{g.Product, g.Path, g.Type, g.Digest})
}
