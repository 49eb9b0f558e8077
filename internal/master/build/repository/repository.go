// Package repository keeps the repositories that builds have of their own: what they
// are called, how what an admission brings becomes their next snapshots, and what
// stands in front of a platform in a build's root.
//
// A build has one for each platform and arch, and one beside it for debug data, which
// roots of rebuilds don't see. The package knows names, packages and snapshots; which
// packages they are to be is decided elsewhere, and it has no tables.
package repository

import (
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/repo"
	"albs/internal/rpm"
)

// Repositories are the own repositories of all builds. It may be used concurrently.
type Repositories struct {
	db        *db.DB
	repos     *repo.Repos
	platforms *platform.Platforms
}

// New returns the repositories of builds among all repos.
func New(d *db.DB, r *repo.Repos, p *platform.Platforms) *Repositories {
	return &Repositories{d, r, p}
}

// Name names a build's own repository of one platform and arch.
func Name(id albs.BuildID, platform string, arch albs.Arch) string {
	return fmt.Sprintf("build/%d/%s/%s", id, platform, arch)
}

// NameFor names the build's repository of a platform and arch for a package. Debug data
// lie beside the rest, so that roots don't see them.
func NameFor(id albs.BuildID, platform string, arch albs.Arch, n rpm.NEVRA) string {
	if n.Debug() {
		return debugName(id, platform, arch)
	}
	return Name(id, platform, arch)
}

func debugName(id albs.BuildID, platform string, arch albs.Arch) string {
	return Name(id, platform, arch) + "/debug"
}

// Forget has nothing kept for the build's repositories of a platform any more.
func (r *Repositories) Forget(ctx context.Context, tx db.Tx, id albs.BuildID, platform string, arches []albs.Arch) error {
	var names []string
	for _, a := range arches {
		names = append(names, Name(id, platform, a), debugName(id, platform, a))
	}
	return r.repos.Forget(ctx, tx, names...)
}

// A build sees its own packages first, those of linked builds next, and then what its
// platform has: dnf's priorities, of which the lower wins.
const (
	ownPriority    = 1
	linkedPriority = 2
)

// Of returns the build's own repository of a platform and arch as it is now, as roots
// name it; NotFound while it has no package.
func (r *Repositories) Of(ctx context.Context, id albs.BuildID, platform string, arch albs.Arch) (albs.Repo, error) {
	snapshot, err := r.repos.Current(ctx, Name(id, platform, arch))
	if err != nil {
		return albs.Repo{}, err
	}
	return albs.Repo{ID: "build-" + id.String(), Snapshot: snapshot, Priority: ownPriority, Own: true}, nil
}

// Sight is what a build sees beside its platforms.
type Sight struct {
	Build    albs.BuildID
	Flavours []UsedFlavour
	Linked   []Linked
}

// Root returns the root of a platform with the flavours, pinned, and in front of it the
// build's own repository, once it has packages, then those of linked builds: all of
// that one platform and arch.
func (r *Repositories) Root(ctx context.Context, s Sight, name string, arch albs.Arch, purpose platform.Purpose) (albs.Root, error) {
	var flavours []platform.Flavour
	for _, u := range s.Flavours {
		f, err := r.platforms.Flavours.GetRevision(ctx, u.Name, u.Revision)
		if err != nil {
			return albs.Root{}, err
		}
		flavours = append(flavours, f)
	}
	root, err := r.platforms.Root(ctx, name, arch, purpose, flavours...)
	if err != nil {
		return albs.Root{}, err
	}
	var front []albs.Repo
	switch own, err := r.Of(ctx, s.Build, name, arch); {
	case err == nil:
		front = append(front, own)
	case !errors.Is(err, albs.NotFound):
		return albs.Root{}, err
	}
	if purpose == platform.Test { // debug data are tested too
		switch snapshot, err := r.repos.Current(ctx, debugName(s.Build, name, arch)); {
		case err == nil:
			front = append(front, albs.Repo{ID: "build-" + s.Build.String() + "-debug", Snapshot: snapshot, Priority: ownPriority, Own: true})
		case !errors.Is(err, albs.NotFound):
			return albs.Root{}, err
		}
	}
	for _, l := range s.Linked {
		for _, linked := range l.Repositories {
			if linked.Platform == name && linked.Arch == arch {
				front = append(front, albs.Repo{ID: "build-" + l.Build.String(), Snapshot: linked.Snapshot, Priority: linkedPriority, Own: true})
			}
		}
	}
	root.Repos = append(front, root.Repos...)
	return root, nil
}
