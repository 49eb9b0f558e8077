package build

import (
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/platform"
)

// RepoName names a build's own repository of one platform and arch.
func RepoName(id albs.BuildID, platform string, arch albs.Arch) string {
	return fmt.Sprintf("build/%d/%s/%s", id, platform, arch)
}

// held returns what the build's repository of in's platform and of arch has.
func (b *Builds) held(ctx context.Context, in admission, arch albs.Arch) (map[string]albs.Digest, error) {
	held, err := b.store.held(ctx, b.store.d, in.item.BuildID, in.item.Platform, arch)
	if err != nil {
		return nil, fmt.Errorf("files of repository %s: %w", RepoName(in.item.BuildID, in.item.Platform, arch), err)
	}
	return held, nil
}

// root returns the buildroot of an item for arch: the platform's, pinned, and in
// front of it the build's own repository once it has packages.
func (b *Builds) root(ctx context.Context, it itemRow, arch albs.Arch) (albs.Root, error) {
	root, err := b.platforms.Root(ctx, it.Platform, arch, platform.Build)
	if err != nil {
		return root, err
	}
	own, err := b.Repository(ctx, it.BuildID, it.Platform, arch)
	if errors.Is(err, albs.NotFound) {
		return root, nil
	}
	if err != nil {
		return root, err
	}
	root.Repos = append([]albs.Repo{own}, root.Repos...)
	return root, nil
}

// Repository returns the build's own repository of a platform and arch as it is
// now, as roots name it; NotFound while it has no package.
func (b *Builds) Repository(ctx context.Context, id albs.BuildID, platform string, arch albs.Arch) (albs.Repo, error) {
	snapshot, err := b.repos.Current(ctx, RepoName(id, platform, arch))
	if err != nil {
		return albs.Repo{}, err
	}
	// Lower than every platform's: a build sees its own packages first.
	return albs.Repo{ID: "build-" + id.String(), Snapshot: snapshot, Priority: 1, Own: true}, nil
}

// extend makes the next snapshot of a repository of the build, which it makes
// itself if it is new.
func (b *Builds) extend(ctx context.Context, name string, add []artifact.Artifact) (from, to albs.Digest, err error) {
	err = b.store.d.InTx(ctx, func(tx db.Tx) error { return b.repos.Ensure(ctx, tx, name) })
	if err != nil {
		return "", "", fmt.Errorf("make repository %s: %w", name, err)
	}
	return b.repos.Extend(ctx, name, add, nil)
}

// advance shows the next snapshot; an extension that changed nothing (the same
// bytes came out of a retry) moves nothing.
func (b *Builds) advance(ctx context.Context, tx db.Tx, name string, from, to albs.Digest) error {
	if from == to {
		return nil
	}
	return b.repos.Advance(ctx, tx, name, from, to)
}
