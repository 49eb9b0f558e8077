package build

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/store"
)

const perLook = 5000 // digests, each twice; a database takes 32,000 arguments

// Made returns of which build each of the packages is, those of none left out. A package
// that several builds have is the first one's.
func (b *Builds) Made(ctx context.Context, ds []albs.Digest) (map[albs.Digest]albs.BuildID, error) {
	out := make(map[albs.Digest]albs.BuildID, len(ds))
	for some := range slices.Chunk(ds, perLook) {
		rows, err := store.MadeOf(ctx, b.db, some)
		if err != nil {
			return nil, fmt.Errorf("find builds of packages: %w", err)
		}
		for _, r := range rows {
			if first, ok := out[r.Digest]; !ok || r.Build < first {
				out[r.Digest] = r.Build
			}
		}
	}
	return out, nil
}
