package gather

import (
	"cmp"
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"albs/internal/master/product"
	"albs/internal/master/release/plan"
)

// origins finds out of each package why its source isn't verified, where the product wants
// it to be: by what the ledger proves, not by the rows of builds.
func (g *Gatherer) origins(ctx context.Context, f *plan.Facts) error {
	if f.Product.Sources != product.VerifiedSources {
		return nil
	}
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(provers)
	for i := range f.Packages {
		c := &f.Packages[i]
		all.Go(func() (err error) {
			if c.Unverified, err = g.Provenance.Unverified(ctx, cmp.Or(c.Unsigned, c.Shown)); err != nil {
				return fmt.Errorf("the source of %s: %w", c.NEVRA, err)
			}
			return nil
		})
	}
	return all.Wait()
}
