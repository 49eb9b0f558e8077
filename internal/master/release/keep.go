package release

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/repodata"
)

// roots are the packages that were ever released, and what releases show or were about
// to: one that failed may be published again. Those whose serial was retired before are
// past.
func (r *Releases) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	packages, err := r.store.releasedDigests(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read released packages: %w", err)
	}
	for _, d := range packages {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	retired, err := r.repos.Retired(ctx, since)
	if err != nil {
		return err
	}
	past := func(o origin) bool {
		return (o.Status == Completed || o.Status == Reverted) && o.Serial <= retired[o.Product]
	}
	repositories, err := r.store.shown(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read repositories of releases: %w", err)
	}
	for _, p := range repositories {
		if past(p.origin) {
			continue
		}
		for _, ref := range []artifact.Ref{{Digest: p.Snapshot, Form: artifact.Snapshot}, {Digest: p.Sealed, Form: artifact.Snapshot}, {Digest: p.Repomd}} {
			if ref.Digest == "" {
				continue
			}
			if err := yield(ref); err != nil {
				return err
			}
		}
	}
	trees, err := r.store.trees(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read trees of releases: %w", err)
	}
	for _, t := range trees {
		if past(t.origin) {
			continue
		}
		var files []repodata.TreeFile
		if err := json.Unmarshal([]byte(t.Files), &files); err != nil {
			return fmt.Errorf("files of release %d: %w", t.ID, err)
		}
		for _, f := range files {
			if err := yield(artifact.Ref{Digest: f.Digest}); err != nil {
				return err
			}
		}
		if t.Tree == "" {
			continue
		}
		if err := yield(artifact.Ref{Digest: t.Tree, Form: artifact.TreeDocument}); err != nil {
			return err
		}
	}
	return nil
}

// Retire gives up what a product showed below a serial, and returns those serials: see
// repo.Repos.Retire. What was released, and who did so, stays on record.
func (r *Releases) Retire(ctx context.Context, tx db.Tx, product string, below int64) ([]int64, error) {
	serials, err := r.repos.Retire(ctx, tx, product, below)
	if err != nil || len(serials) == 0 {
		return nil, err
	}
	ids, err := r.store.showing(ctx, tx, product, serials[0], serials[len(serials)-1])
	if err != nil {
		return nil, fmt.Errorf("read releases of product %s: %w", product, err)
	}
	for _, id := range ids {
		if err := r.queue.Forget(ctx, tx, Topic(id)); err != nil {
			return nil, err
		}
	}
	return serials, nil
}
