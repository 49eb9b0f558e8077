package repo

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/repodata"
)

// roots are the snapshots that repositories show, but for those forgotten before,
// the trees that products have shown, but for those retired before, and the empty snapshot, which is believed to be
// there once it was stored.
func (r *Repos) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	empty, err := r.empty(ctx)
	if err != nil {
		return err
	}
	if err := yield(artifact.Ref{Digest: empty, Form: artifact.Snapshot}); err != nil {
		return err
	}
	shown, err := shownSnapshots(ctx, r.d, since)
	if err != nil {
		return fmt.Errorf("read snapshots of repositories: %w", err)
	}
	for _, d := range shown {
		if err := yield(artifact.Ref{Digest: d, Form: artifact.Snapshot}); err != nil {
			return err
		}
	}
	trees, err := keptTrees(ctx, r.d, since)
	if err != nil {
		return fmt.Errorf("read trees: %w", err)
	}
	for _, d := range trees {
		if err := yield(artifact.Ref{Digest: d, Form: artifact.TreeDocument}); err != nil {
			return err
		}
	}
	return nil
}

// followSnapshots knows what a snapshot reaches. Most snapshots share most of what they
// reach with others: what the same entry list tells is told once.
func (r *Repos) followSnapshots() artifact.Follower {
	known := make(map[albs.Digest]bool)
	return func(ctx context.Context, d albs.Digest, yield func(artifact.Ref) error) error {
		s, err := repodata.Open(ctx, r.Blobs(), d)
		if err != nil {
			return err
		}
		err = s.Reach(ctx, r.Blobs(), known, func(d albs.Digest) error { return yield(artifact.Ref{Digest: d}) })
		if err != nil {
			return err
		}
		for _, p := range s.Parts() {
			known[p] = true
		}
		return nil
	}
}

// followTrees knows what the document of a product's tree reaches.
func (r *Repos) followTrees() artifact.Follower {
	return func(ctx context.Context, d albs.Digest, yield func(artifact.Ref) error) error {
		t, err := r.ReadTree(ctx, d)
		if err != nil {
			return err
		}
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
		for _, f := range t.Files {
			if err := yield(artifact.Ref{Digest: f.Digest}); err != nil {
				return err
			}
		}
		for _, p := range t.Repositories {
			if err := yield(artifact.Ref{Digest: p.Snapshot, Form: artifact.Snapshot}); err != nil {
				return err
			}
		}
		return nil
	}
}
