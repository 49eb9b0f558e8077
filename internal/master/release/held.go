package release

import (
	"context"
	"fmt"
	"path"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// Held is a repository that a release put a package into.
type Held struct {
	Product string         `db:"product"`
	Path    string         `db:"path"`
	Release albs.ReleaseID `db:"release_id"`
}

// Holding returns where the package of that digest was ever released, the oldest release
// first; none if it wasn't. It is for the system and asks for no right.
func (r *Releases) Holding(ctx context.Context, d albs.Digest) ([]Held, error) {
	return r.store.holding(ctx, r.d, d)
}

// Publishing returns the release of a product that is being published, 0 if there is none: the
// public may see it already. It is for the system and asks for no right.
func (r *Releases) Publishing(ctx context.Context, product string) (albs.ReleaseID, error) {
	return r.store.inProgress(ctx, r.d, product)
}

// Added is a package that a release was the first to put into a repository of its product.
type Added struct {
	Release albs.ReleaseID `db:"release_id"`
	Product string         `db:"product"`
	Path    string         `db:"path"` // the repository's
	File    string         `db:"file"` // the package's name; repo.Path tells where it lies
	Digest  albs.Digest    `db:"digest"`
}

// Withdrawn is a package that a release, or a rollback, left out of a repository that had
// it before. Another release may have put it back since.
type Withdrawn = Added

// Withdrawn returns what a release withdrew, by repository and name; nothing of one that
// isn't public yet. It is for the system and asks for no right.
func (r *Releases) Withdrawn(ctx context.Context, id albs.ReleaseID) ([]Withdrawn, error) {
	return r.store.withdrawn(ctx, r.d, id)
}

// EachWithdrawn calls yield for every package that was ever withdrawn, by release,
// repository and name. It is for the system and asks for no right.
func (r *Releases) EachWithdrawn(ctx context.Context, yield func(Withdrawn) error) error {
	var last Withdrawn
	for {
		page, err := r.store.withdrawnAfter(ctx, r.d, last, addedPage)
		if err != nil {
			return err
		}
		for _, last = range page {
			if err := yield(last); err != nil {
				return err
			}
		}
		if len(page) < addedPage {
			return nil
		}
	}
}

// withdrawing returns what one tree of a product has that the next has no more, by
// repository.
func (r *Releases) withdrawing(ctx context.Context, from, to repodata.Tree) ([]releasedRow, error) {
	after := make(map[string]albs.Digest, len(to.Repositories))
	for _, t := range to.Repositories {
		after[t.Path] = t.Snapshot
	}
	var out []releasedRow
	for _, t := range from.Repositories {
		if after[t.Path] == t.Snapshot {
			continue
		}
		was, err := r.repos.Open(ctx, t.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", t.Path, err)
		}
		// Of a repository that isn't shown any more all is withdrawn.
		has := func(repodata.Entry) (bool, error) { return false, nil }
		known := map[albs.Digest]bool{}
		if d, ok := after[t.Path]; ok {
			is, err := r.repos.Open(ctx, d)
			if err != nil {
				return nil, fmt.Errorf("repository %s: %w", t.Path, err)
			}
			for _, part := range is.Parts() {
				known[part] = true
			}
			has = func(e repodata.Entry) (bool, error) {
				d, _, ok, err := is.Lookup(ctx, r.repos.Blobs(), e.Path)
				return ok && d == e.Digest, err
			}
		}
		err = was.PackagesBut(ctx, r.repos.Blobs(), known, func(e repodata.Entry) error {
			ok, err := has(e)
			if err == nil && !ok {
				out = append(out, releasedRow{t.Path, path.Base(e.Path), e.Digest})
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", t.Path, err)
		}
	}
	return out, nil
}

// Added returns what a release added to what its product ever showed, by repository and
// name; nothing of one that isn't public yet, nor of a rollback. It is for the system and
// asks for no right.
func (r *Releases) Added(ctx context.Context, id albs.ReleaseID) ([]Added, error) {
	return r.store.added(ctx, r.d, id)
}

// EachAdded calls yield for every package that was ever released, by repository and name.
// It is for the system and asks for no right.
func (r *Releases) EachAdded(ctx context.Context, yield func(Added) error) error {
	var last Added
	for {
		page, err := r.store.addedAfter(ctx, r.d, last, addedPage)
		if err != nil {
			return err
		}
		for _, last = range page {
			if err := yield(last); err != nil {
				return err
			}
		}
		if len(page) < addedPage {
			return nil
		}
	}
}

const addedPage = 1000
