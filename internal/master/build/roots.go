package build

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/option"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/status"
	"albs/internal/master/build/store"
	"albs/internal/master/platform"
)

// held returns what the build's repository of in's platform and of arch has.
func (b *Builds) held(ctx context.Context, in admission, arch albs.Arch) (map[string]albs.Digest, error) {
	held, err := store.Held(ctx, b.db, in.item.BuildID, in.item.Platform, arch)
	if err != nil {
		return nil, fmt.Errorf("files of repository %s: %w", repository.Name(in.item.BuildID, in.item.Platform, arch), err)
	}
	return held, nil
}

// prepare returns the buildroot of an item for arch, and rpmbuild's switches and target
// in it.
func (b *Builds) prepare(ctx context.Context, it store.Item, arch albs.Arch) (root albs.Root, s albs.Switches, target albs.Arch, err error) {
	build, err := store.GetBuild(ctx, b.db, it.BuildID)
	if err != nil {
		return root, s, "", err
	}
	purpose := platform.Build
	if build.SecureBoot {
		purpose = platform.SecureBoot
	}
	if root, err = b.own.Root(ctx, sight(build), it.Platform, arch, purpose); err != nil {
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
	build, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return albs.Root{}, err
	}
	if _, err := b.own.Of(ctx, id, name, arch); err != nil {
		return albs.Root{}, err
	}
	return b.own.Root(ctx, sight(build), name, arch, platform.Test)
}

// ProductOf returns the product that a build is of, "" for none; NotFound for an unknown
// build.
func (b *Builds) ProductOf(ctx context.Context, id albs.BuildID) (string, error) {
	build, err := store.GetBuild(ctx, b.db, id)
	return build.Product, err
}

// TestsOf returns what an item of a build asks for of the tests that maintainers wrote.
func (b *Builds) TestsOf(ctx context.Context, id albs.BuildID, item albs.ItemID) (Tests, error) {
	build, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return Tests{}, err
	}
	it, err := store.GetItem(ctx, b.db, item)
	if err != nil {
		return Tests{}, err
	}
	return build.Options.V.And(it.Options.V).Tests, nil
}

func sight(b store.Build) repository.Sight {
	return repository.Sight{Build: b.ID, Flavours: b.Flavours.V, Linked: b.Linked.V}
}

// maxLinked is how many builds one is built against.
const maxLinked = 16

// link takes the repositories of builds as they are now. A build is taken whole or not
// at all: what one that still runs will hold is not settled.
func (b *Builds) link(ctx context.Context, ids []albs.BuildID, targets []option.Target) ([]repository.Linked, error) {
	if len(ids) > maxLinked {
		return nil, albs.Errorf(albs.Invalid, "more than %d builds are linked", maxLinked)
	}
	var out []repository.Linked
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return nil, albs.Errorf(albs.Invalid, "build %d is linked twice", id)
		}
		other, err := b.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if s := other.Status.State; s == status.Queued || s == status.Running {
			return nil, albs.Errorf(albs.Conflict, "build %d, which is to be linked, is %s: wait until it has ended", id, s)
		}
		l, err := b.own.Link(ctx, id, targets)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}
