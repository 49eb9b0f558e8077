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

// PackagesOfItem returns the RPMs and SRPMs of an item of a build that the build's
// repositories hold, each for every arch that has it, and the item's platform; NotFound if
// the build isn't there, or the item isn't its. Anyone may ask.
func (b *Builds) PackagesOfItem(ctx context.Context, id albs.BuildID, item albs.ItemID) (platform string, as []Artifact, err error) {
	if _, err := store.GetBuild(ctx, b.db, id); err != nil {
		return "", nil, err
	}
	it, err := b.itemOf(ctx, id, item)
	if err != nil {
		return "", nil, err
	}
	rows, err := store.HeldOf(ctx, b.db, item)
	if err != nil {
		return "", nil, fmt.Errorf("files of item %d: %w", item, err)
	}
	return it.Platform, packages(views(rows)), nil
}
