// Package product owns what is released: products in all their revisions, each
// with its team, its repositories, the key that signs it, and the policies on
// tests and approvals.
//
// A product is never edited: applying a changed one adds a revision, with who did
// it, and the highest revision holds. The package enforces no policy: testrun
// gives the gate's verdict, release counts approvals, sign knows the keys. It
// doesn't say what a repository holds now; that is repo's.
package product

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/revision"
)

// Product is one revision of a product.
type Product struct {
	Spec
	revision.Stamp
}

// Object returns what auth asks about the product.
func (p Product) Object() auth.Object { return auth.Object{Team: p.Team} }

// Platforms tells what platforms there are; platform.Platforms is one.
type Platforms interface {
	// Get returns the platform as it is now, or NotFound.
	Get(ctx context.Context, name string) (platform.Platform, error)
}

type revisions = revision.Store[Spec, Product]

// Products keeps products. It may be used concurrently. Get, ByID, GetRevision, All
// and History are revision.Store's.
type Products struct {
	*revisions
	platforms Platforms
}

// New returns Products over the database d. It does no I/O.
func New(d *db.DB, events revision.Events, platforms Platforms) *Products {
	return &Products{
		revisions: revision.New(d, events, revision.Product, func(s Spec, at revision.Stamp) Product { return Product{s, at} }),
		platforms: platforms,
	}
}

// Apply makes s the product of its name and returns its revision, which is
// durable. A spec equal to the present one changes nothing. It is Forbidden to
// actors without product.apply for the team that s names and, if the product
// exists, for the team that has it now. It is Invalid if s has a fault or names a
// platform or an arch that is not there.
func (p *Products) Apply(ctx context.Context, s Spec) (Product, error) {
	if err := auth.Can(ctx, auth.ProductApply, auth.Object{Team: s.Team}); err != nil {
		return Product{}, err
	}
	if err := s.check(); err != nil {
		return Product{}, err
	}
	if err := p.checkPlatforms(ctx, s); err != nil {
		return Product{}, err
	}
	mayChange := func(now Product) error { return auth.Can(ctx, auth.ProductApply, now.Object()) }
	return p.revisions.Apply(ctx, s.Name, s, mayChange, map[string]any{"team": s.Team})
}

func (p *Products) checkPlatforms(ctx context.Context, s Spec) error {
	arches := make(map[string][]albs.Arch, len(s.Platforms))
	for _, name := range s.Platforms {
		pl, err := p.platforms.Get(ctx, name)
		if albs.KindOf(err) == albs.NotFound {
			return albs.Errorf(albs.Invalid, "product %s: there is no platform %s; apply it first", s.Name, name)
		}
		if err != nil {
			return fmt.Errorf("look up platform %s of product %s: %w", name, s.Name, err)
		}
		arches[name] = pl.Arches
	}
	for _, r := range s.Repositories {
		if r.Kind != Source && !slices.Contains(arches[r.Platform], r.Arch) {
			return albs.Errorf(albs.Invalid, "product %s: repository %s is for %s, but platform %s has %v", s.Name, r.Path, r.Arch, r.Platform, arches[r.Platform])
		}
	}
	return nil
}
