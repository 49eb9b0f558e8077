package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/release/gather"
	"albs/internal/master/release/plan"
)

// Bounds of a copy.
const (
	maxCopied = 1000 // words that name packages
	maxWord   = 300
)

// Copy computes what the release of another product's packages into a product comes to, and
// keeps it as Plan does: nothing is built again, and of each package the copy is released
// that is signed with the product's own key. c.Serial 0 stands for what that product shows
// now; the plan keeps the serial that it was made from. What isn't taken is in the plan.
//
// Errors: Forbidden without release.plan on the product's team, NotFound for an unknown
// product or serial, or a package that isn't shown there, Invalid for a copy onto itself or
// a word that names no package, Conflict if the other product shows nothing or
// the serial is beyond its retention, TooLarge.
func (r *Releases) Copy(ctx context.Context, productName string, c plan.Copy) (Release, error) {
	p, err := r.products.Get(ctx, productName)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleasePlan, p.Object()); err != nil {
		return Release{}, err
	}
	if _, err := r.products.Get(ctx, c.Product); err != nil {
		return Release{}, err
	}
	bad := func(w string) bool {
		return w == "" || len(w) > maxWord || !utf8.ValidString(w) || strings.ContainsFunc(w, func(r rune) bool { return r <= ' ' || r == 0x7f })
	}
	switch i := slices.IndexFunc(c.Packages, bad); {
	case c.Product == p.Name:
		return Release{}, albs.Errorf(albs.Invalid, "product %s can't be copied into itself", p.Name)
	case len(c.Packages) > maxCopied:
		return Release{}, albs.Errorf(albs.TooLarge, "%d packages are named, at most %d can be; without any all are copied", len(c.Packages), maxCopied)
	case i >= 0:
		return Release{}, albs.Errorf(albs.Invalid, "%.100q names no package: give a name, a source package's, or a NEVRA", c.Packages[i])
	case c.Serial < 0:
		return Release{}, albs.Errorf(albs.Invalid, "serial %d: a product's serials begin with 1", c.Serial)
	}
	c.Packages = slices.Compact(slices.Sorted(slices.Values(c.Packages)))
	if c.Serial == 0 {
		if c.Serial, _, err = r.gather.Current(ctx, c.Product); err != nil {
			return Release{}, err
		}
		if c.Serial == 0 {
			return Release{}, albs.Errorf(albs.Conflict, "product %s shows nothing yet: there is nothing to copy", c.Product)
		}
	}
	computed, err := r.compute(ctx, gather.Wish{Product: p, Copy: &c, Expires: expiry()})
	if err != nil {
		return Release{}, fmt.Errorf("copy product %s into %s: %w", c.Product, p.Name, err)
	}
	return r.planned(ctx, p, computed, nil)
}
