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
// to: one that failed may be published again.
func (r *Releases) roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	packages, err := r.store.releasedDigests(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read released packages: %w", err)
	}
	for _, d := range packages {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	snapshots, documents, err := r.store.shown(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read repositories of releases: %w", err)
	}
	for _, d := range snapshots {
		if err := yield(artifact.Ref{Digest: d, Form: artifact.Snapshot}); err != nil {
			return err
		}
	}
	for _, d := range documents {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	trees, err := r.store.trees(ctx, r.d)
	if err != nil {
		return fmt.Errorf("read trees of releases: %w", err)
	}
	for _, t := range trees {
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
