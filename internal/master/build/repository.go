package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/repo"
	"albs/internal/rpm"
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

// prepare returns the buildroot of an item for arch, and rpmbuild's switches and target
// in it.
func (b *Builds) prepare(ctx context.Context, it itemRow, arch albs.Arch) (root albs.Root, s albs.Switches, target albs.Arch, err error) {
	build, err := b.store.build(ctx, b.store.d, it.BuildID)
	if err != nil {
		return root, s, "", err
	}
	purpose := platform.Build
	if build.SecureBoot {
		purpose = platform.SecureBoot
	}
	if root, err = b.root(ctx, build, it.Platform, arch, purpose); err != nil {
		return root, s, "", err
	}
	o := build.Options.V.And(it.Options.V)
	root.Excludes, root.Modules = o.Excludes, o.Modules
	return root, o.Switches(it.Ref, root.Macros["dist"]), cmp.Or(o.TargetArch, arch), nil
}

// TestRoot returns the root in which what a build made for a platform and arch is
// tested: the platform's, and what the build itself saw. NotFound while the build has
// no package for them.
func (b *Builds) TestRoot(ctx context.Context, id albs.BuildID, name string, arch albs.Arch) (albs.Root, error) {
	build, err := b.store.build(ctx, b.store.d, id)
	if err != nil {
		return albs.Root{}, err
	}
	if _, err := b.Repository(ctx, id, name, arch); err != nil {
		return albs.Root{}, err
	}
	return b.root(ctx, build, name, arch, platform.Test)
}

// root returns the platform's root with the build's flavours, pinned, and in front of
// it the build's own repository, once it has packages, then those of linked builds:
// all of that one platform and arch.
func (b *Builds) root(ctx context.Context, build buildRow, name string, arch albs.Arch, purpose platform.Purpose) (albs.Root, error) {
	var flavours []platform.Flavour
	for _, u := range build.Flavours.V {
		f, err := b.platforms.Flavours.GetRevision(ctx, u.Name, u.Revision)
		if err != nil {
			return albs.Root{}, err
		}
		flavours = append(flavours, f)
	}
	root, err := b.platforms.Root(ctx, name, arch, purpose, flavours...)
	if err != nil {
		return albs.Root{}, err
	}
	var front []albs.Repo
	switch own, err := b.Repository(ctx, build.ID, name, arch); {
	case err == nil:
		front = append(front, own)
	case !errors.Is(err, albs.NotFound):
		return albs.Root{}, err
	}
	if purpose == platform.Test { // debug data are tested too
		switch snapshot, err := b.repos.Current(ctx, debugName(build.ID, name, arch)); {
		case err == nil:
			front = append(front, albs.Repo{ID: "build-" + build.ID.String() + "-debug", Snapshot: snapshot, Priority: ownPriority, Own: true})
		case !errors.Is(err, albs.NotFound):
			return albs.Root{}, err
		}
	}
	for _, l := range build.Linked.V {
		for _, r := range l.Repositories {
			if r.Platform == name && r.Arch == arch {
				front = append(front, albs.Repo{ID: "build-" + l.Build.String(), Snapshot: r.Snapshot, Priority: linkedPriority, Own: true})
			}
		}
	}
	root.Repos = append(front, root.Repos...)
	return root, nil
}

// A build sees its own packages first, those of linked builds next, and then what its
// platform has: dnf's priorities, of which the lower wins.
const (
	ownPriority    = 1
	linkedPriority = 2
)

// Repository returns the build's own repository of a platform and arch as it is
// now, as roots name it; NotFound while it has no package.
func (b *Builds) Repository(ctx context.Context, id albs.BuildID, platform string, arch albs.Arch) (albs.Repo, error) {
	snapshot, err := b.repos.Current(ctx, RepoName(id, platform, arch))
	if err != nil {
		return albs.Repo{}, err
	}
	return albs.Repo{ID: "build-" + id.String(), Snapshot: snapshot, Priority: ownPriority, Own: true}, nil
}

// repoFor names the build's repository of an arch for a package. Debug data lie beside
// the rest, so that roots don't see them.
func repoFor(it itemRow, arch albs.Arch, n rpm.NEVRA) string {
	if name := RepoName(it.BuildID, it.Platform, arch); !n.Debug() {
		return name
	}
	return debugName(it.BuildID, it.Platform, arch)
}

func debugName(id albs.BuildID, platform string, arch albs.Arch) string {
	return RepoName(id, platform, arch) + "/debug"
}

// changes are what an admission does to repositories of its build, by their names.
type changes map[string]*exchange

type exchange struct {
	add    []artifact.Artifact
	remove []string
}

func (c changes) add(name string, packages ...artifact.Artifact) {
	if c[name] == nil {
		c[name] = &exchange{}
	}
	c[name].add = append(c[name].add, packages...)
}

// replace puts a package in the place of the one of its name that is there.
func (c changes) replace(name string, a artifact.Artifact) {
	c.add(name, a)
	c.drop(name, a.Name)
}

// drop takes a package out, by its file's name.
func (c changes) drop(name, file string) {
	c.add(name)
	c[name].remove = append(c[name].remove, repo.Path(file))
}

// step is a repository's way to its next snapshot.
type step struct {
	name     string
	from, to albs.Digest
}

// extend makes the next snapshots of repositories of the build, which it makes
// themselves if they are new. It takes them in the order of their names: admissions
// that each waited for what the other has would both lose time.
func (b *Builds) extend(ctx context.Context, c changes) ([]step, error) {
	var out []step
	for _, name := range slices.Sorted(maps.Keys(c)) {
		err := b.store.d.InTx(ctx, func(tx db.Tx) error { return b.repos.Ensure(ctx, tx, name) })
		if err != nil {
			return nil, fmt.Errorf("make repository %s: %w", name, err)
		}
		s := step{name: name}
		if s.from, s.to, err = b.repos.Extend(ctx, name, c[name].add, c[name].remove); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// advance shows the next snapshots; an extension that changed nothing (the same
// bytes came out of a retry) moves nothing.
func (b *Builds) advance(ctx context.Context, tx db.Tx, steps []step) error {
	for _, s := range steps {
		if s.from == s.to {
			continue
		}
		if err := b.repos.Advance(ctx, tx, s.name, s.from, s.to); err != nil {
			return err
		}
	}
	return nil
}
