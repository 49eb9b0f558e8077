package release

import (
	"context"

	"albs/internal/albs"
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

// Added is a package that a release was the first to put into a repository of its product.
type Added struct {
	Release albs.ReleaseID `db:"release_id"`
	Product string         `db:"product"`
	Path    string         `db:"path"` // the repository's
	File    string         `db:"file"` // the package's name; repo.Path tells where it lies
	Digest  albs.Digest    `db:"digest"`
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
