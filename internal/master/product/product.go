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
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/platform"
)

// Product is one revision of a product.
type Product struct {
	Spec
	ID       int64       `json:"id"`       // numbers the products in the order of their making, for interfaces that need a number
	Revision int64       `json:"revision"` // 1 for the first
	Digest   albs.Digest `json:"digest"`   // of the spec's canonical JSON
	Actor    string      `json:"actor"`    // who applied it
	At       db.Time     `json:"at"`
}

// Object returns what auth asks about the product.
func (p Product) Object() auth.Object { return auth.Object{Team: p.Team} }

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Platforms tells what platforms there are; platform.Platforms is one.
type Platforms interface {
	// Get returns the platform as it is now, or NotFound.
	Get(ctx context.Context, name string) (platform.Platform, error)
}

// Products keeps products. It may be used concurrently.
type Products struct {
	d         *db.DB
	events    Events
	platforms Platforms
}

// New returns Products over the database d. It does no I/O.
func New(d *db.DB, events Events, platforms Platforms) *Products {
	return &Products{d: d, events: events, platforms: platforms}
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
	doc, err := json.Marshal(s)
	if err != nil {
		return Product{}, fmt.Errorf("encode product %s: %w", s.Name, err)
	}
	next := row{Name: s.Name, Digest: albs.DigestOf(doc), Spec: string(doc), Actor: auth.From(ctx).String(), At: db.Now()}
	err = p.d.InTx(ctx, func(tx db.Tx) error {
		last, err := latest(ctx, tx, s.Name)
		switch {
		case albs.KindOf(err) == albs.NotFound:
		case err != nil:
			return err
		default:
			now, err := last.product()
			if err != nil {
				return err
			}
			if err := auth.Can(ctx, auth.ProductApply, now.Object()); err != nil {
				return err
			}
		}
		if last.Digest == next.Digest {
			next = last
			return nil
		}
		next.ID, next.Revision = last.ID, last.Revision+1
		if err := insert(ctx, tx, &next); err != nil {
			return err
		}
		return p.events.Add(ctx, tx, "product.applied", "product:"+s.Name, next.Actor,
			map[string]any{"revision": next.Revision, "digest": next.Digest, "before": last.Digest, "team": s.Team})
	})
	if db.IsUnique(err) {
		return Product{}, albs.Errorf(albs.Conflict, "product %s was changed at the same moment; apply it again", s.Name)
	}
	if err != nil {
		return Product{}, fmt.Errorf("apply product %s: %w", s.Name, err)
	}
	return next.product()
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

// Get returns the product as it is now, or NotFound.
func (p *Products) Get(ctx context.Context, name string) (Product, error) {
	r, err := latest(ctx, p.d, name)
	if err != nil {
		return Product{}, err
	}
	return r.product()
}

// GetRevision returns the product as it was at a revision, or NotFound.
func (p *Products) GetRevision(ctx context.Context, name string, revision int64) (Product, error) {
	r, err := at(ctx, p.d, name, revision)
	if err != nil {
		return Product{}, err
	}
	return r.product()
}

// List returns up to limit products (platform.MaxPage if limit is not between 1
// and that) as they are now, by name, beginning behind the name after.
func (p *Products) List(ctx context.Context, after string, limit int) ([]Product, error) {
	rows, err := list(ctx, p.d, after, page(limit))
	if err != nil {
		return nil, fmt.Errorf("list products: %w", err)
	}
	return products(rows)
}

// History returns up to limit revisions of a product, newest first, of those
// below the revision before; zero means from the newest.
func (p *Products) History(ctx context.Context, name string, before int64, limit int) ([]Product, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	rows, err := history(ctx, p.d, name, before, page(limit))
	if err != nil {
		return nil, fmt.Errorf("read history of product %s: %w", name, err)
	}
	return products(rows)
}

func page(limit int) int {
	if limit < 1 || limit > platform.MaxPage {
		return platform.MaxPage
	}
	return limit
}
