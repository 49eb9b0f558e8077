package release

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
)

// Approve records that the person of ctx approves the release's plan. digest is
// what was shown to that person: it must be the plan's. Errors: Forbidden without
// release.approve on the team, and to who planned it or decided about it where the
// product wants another person; NotFound; Conflict if the plan has another digest, has
// refusals, has expired, is not waiting for approval, or was approved by that person before.
func (r *Releases) Approve(ctx context.Context, id albs.ReleaseID, digest albs.Digest, note string) (Release, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleaseApprove, row.object()); err != nil {
		return Release{}, err
	}
	p, err := r.products.Get(ctx, row.Product)
	if err != nil {
		return Release{}, err
	}
	err = r.d.InTx(ctx, func(tx db.Tx) error {
		row, err := r.store.get(ctx, tx, id)
		if err != nil {
			return err
		}
		plan, err := row.plan()
		if err != nil {
			return err
		}
		if p.Approvals.Distinct && row.shaped(plan, auth.From(ctx).User) {
			return albs.Errorf(albs.Forbidden, "you planned it, or decided about it: product %s wants another person's approval", row.Product)
		}
		if err := row.approvable(plan, digest); err != nil {
			return err
		}
		return r.auth.Approve(ctx, tx, Topic(id), digest, row.ExpiresAt, note)
	})
	if err != nil {
		return Release{}, fmt.Errorf("approve release %d: %w", id, err)
	}
	return r.Get(ctx, id)
}

// approvable says whether digest may be approved as the plan of a release.
func (row releaseRow) approvable(plan plan.Plan, digest albs.Digest) error {
	switch {
	case row.Kind != Publication || !row.waits():
		return albs.Errorf(albs.Conflict, "it is %s: there is nothing to approve", row.Status)
	case digest != row.Digest:
		return albs.Errorf(albs.Conflict, "its plan is %s now and no longer %s: look at it again", row.Digest.Short(), digest.Short())
	case len(plan.Refusals) == 1:
		return albs.Errorf(albs.Conflict, "its plan is refused: %s", plan.Refusals[0])
	case len(plan.Refusals) > 1:
		return albs.Errorf(albs.Conflict, "its plan is refused: %s (and %d more)", plan.Refusals[0], len(plan.Refusals)-1)
	case !row.ExpiresAt.After(time.Now()):
		return albs.Errorf(albs.Conflict, "its plan has expired: plan it again")
	}
	return nil
}

// approvals returns the approvals in force that count for a release's plan.
func (r *Releases) approvals(ctx context.Context, q db.Q, row releaseRow, p product.Product) ([]auth.Approval, error) {
	all, err := r.auth.Approvals(ctx, q, Topic(row.ID), row.Digest)
	if err != nil {
		return nil, fmt.Errorf("approvals of release %d: %w", row.ID, err)
	}
	if p.Approvals.Distinct {
		plan, err := row.plan()
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(a auth.Approval) bool { return row.shaped(plan, a.User) })
	}
	return all, nil
}

// enough returns the approvals of a release's plan, or Conflict if the product
// asks for more.
func (r *Releases) enough(ctx context.Context, q db.Q, row releaseRow, p product.Product) ([]auth.Approval, error) {
	as, err := r.approvals(ctx, q, row, p)
	if err != nil {
		return nil, err
	}
	if len(as) < p.Approvals.Count {
		return nil, albs.Errorf(albs.Conflict, "it has %d of the %d approvals that product %s asks for", len(as), p.Approvals.Count, row.Product)
	}
	return as, nil
}

// words are approvals as statements tell them.
func words(as []auth.Approval) []attest.ApprovedBy {
	var out []attest.ApprovedBy
	for _, a := range as {
		out = append(out, attest.ApprovedBy{Person: a.Name, At: a.At.Time})
	}
	return out
}
