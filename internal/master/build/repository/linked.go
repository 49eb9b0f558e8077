package repository

import (
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/build/option"
	"albs/internal/master/platform"
)

// maxFlavours bounds what a build takes beside its platforms.
const maxFlavours = 16

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

// String spells the flavour as statements do.
func (u UsedFlavour) String() string { return fmt.Sprintf("%s@%d", u.Name, u.Revision) }

// Link takes the repositories of a build for the targets as they are now; Invalid if
// it has none of them.
func (r *Repositories) Link(ctx context.Context, id albs.BuildID, targets []option.Target) (Linked, error) {
	l := Linked{Build: id}
	for _, t := range targets {
		for _, a := range t.Wanted {
			own, err := r.Of(ctx, id, t.Name, a)
			if errors.Is(err, albs.NotFound) {
				continue
			}
			if err != nil {
				return Linked{}, err
			}
			l.Repositories = append(l.Repositories, LinkedRepository{Platform: t.Name, Arch: a, Snapshot: own.Snapshot})
		}
	}
	if len(l.Repositories) == 0 {
		return Linked{}, albs.Errorf(albs.Invalid, "build %d has no packages for the platforms and arches of this one, so linking it would change nothing", id)
	}
	return l, nil
}

// Flavours returns the flavours of those names as they are now, and that they go with
// every target and with each other. Errors: Invalid for too many or such as don't go
// together, NotFound for an unknown one.
func (r *Repositories) Flavours(ctx context.Context, names []string, targets []option.Target) ([]UsedFlavour, error) {
	if len(names) > maxFlavours {
		return nil, albs.Errorf(albs.Invalid, "more than %d flavours", maxFlavours)
	}
	var out []UsedFlavour
	var with []platform.Flavour
	for _, name := range names {
		f, err := r.platforms.Flavours.Get(ctx, name)
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
