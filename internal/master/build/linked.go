package build

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/option"
	"albs/internal/master/build/status"
	"albs/internal/master/platform"
)

// Bounds of what a build takes beside its platforms.
const (
	maxFlavours = 16
	maxLinked   = 16
)

// Linked is a build whose packages another one is built against, as they were when
// that was made.
type Linked struct {
	Build        albs.BuildID       `json:"build"`
	Repositories []LinkedRepository `json:"repositories"`
}

// LinkedRepository is a linked build's repository of a platform and arch.
type LinkedRepository struct {
	Platform string      `json:"platform"`
	Arch     albs.Arch   `json:"arch"`
	Snapshot albs.Digest `json:"snapshot"`
}

// UsedFlavour is the revision of a flavour that a build goes by, whatever becomes of
// the flavour later.
type UsedFlavour struct {
	Name     string `json:"name"`
	Revision int64  `json:"revision"`
}

// flavours spells the flavours as statements do.
func (b buildRow) flavours() []string {
	var out []string
	for _, f := range b.Flavours.V {
		out = append(out, fmt.Sprintf("%s@%d", f.Name, f.Revision))
	}
	return out
}

// link takes the repositories of builds as they are now. A build is taken whole or not
// at all: what one that still runs will hold is not settled.
func (b *Builds) link(ctx context.Context, ids []albs.BuildID, targets []option.Target) ([]Linked, error) {
	if len(ids) > maxLinked {
		return nil, albs.Errorf(albs.Invalid, "more than %d builds are linked", maxLinked)
	}
	var out []Linked
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
		l := Linked{Build: id}
		for _, t := range targets {
			for _, a := range t.Wanted {
				r, err := b.Repository(ctx, id, t.Name, a)
				if errors.Is(err, albs.NotFound) {
					continue
				}
				if err != nil {
					return nil, err
				}
				l.Repositories = append(l.Repositories, LinkedRepository{Platform: t.Name, Arch: a, Snapshot: r.Snapshot})
			}
		}
		if len(l.Repositories) == 0 {
			return nil, albs.Errorf(albs.Invalid, "build %d has no packages for the platforms and arches of this one, so linking it would change nothing", id)
		}
		out = append(out, l)
	}
	return out, nil
}

// flavour returns the flavours of those names as they are now, and that they go with
// every platform and with each other.
func (b *Builds) flavour(ctx context.Context, names []string, targets []option.Target) ([]UsedFlavour, error) {
	if len(names) > maxFlavours {
		return nil, albs.Errorf(albs.Invalid, "more than %d flavours", maxFlavours)
	}
	var out []UsedFlavour
	var with []platform.Flavour
	for _, name := range names {
		f, err := b.platforms.Flavours.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		with = append(with, f)
		out = append(out, UsedFlavour{Name: f.Name, Revision: f.Revision})
	}
	for _, t := range targets {
		for _, a := range t.Wanted {
			if _, err := t.Compose(a, platform.Build, with...); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}
