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
