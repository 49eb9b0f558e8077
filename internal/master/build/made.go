package build

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/build/store"
)

// Made returns of which build each of the packages is, those of none left out. A package
// that several builds have is the first one's.
func (b *Builds) Made(ctx context.Context, ds []albs.Digest) (map[albs.Digest]albs.BuildID, error) {
	made, err := store.MadeOf(ctx, b.db, ds)
	if err != nil {
		return nil, fmt.Errorf("find builds of packages: %w", err)
	}
	return made, nil
}

// OfCommit returns at most limit of the SRPMs that builds made of a git commit, the oldest
// first: what the rows say, which a statement has to confirm. Anyone may ask.
func (b *Builds) OfCommit(ctx context.Context, commit string, limit int) ([]albs.Digest, error) {
	ds, err := store.SRPMsOf(ctx, b.db, commit, limit)
	if err != nil {
		return nil, fmt.Errorf("read the SRPMs of commit %.40s: %w", commit, err)
	}
	return ds, nil
}

// OfSRPM returns at most limit of the unsigned packages that builds made of an SRPM, as
// OfCommit does.
func (b *Builds) OfSRPM(ctx context.Context, srpm albs.Digest, limit int) ([]albs.Digest, error) {
	ds, err := store.PackagesOf(ctx, b.db, srpm, limit)
	if err != nil {
		return nil, fmt.Errorf("read the packages of SRPM %s: %w", srpm.Short(), err)
	}
	return ds, nil
}
