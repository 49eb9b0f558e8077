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

// Approve records that the person of ctx, who has a session, approves the release's plan.
// digest is what was shown to that person: it must be the plan's. Errors: Forbidden without
// release.approve on the team, and to who planned it or decided about it where the
// product wants another person; NotFound; Conflict if the plan has another digest, has
// refusals, has expired, is not waiting for approval, or was approved by that person before,
// and where the product counts only what people's own keys signed.
func (r *Releases) Approve(ctx context.Context, id albs.ReleaseID, digest albs.Digest, note string) (Release, error) {
	return r.ApproveBy(ctx, id, digest, auth.Word{Note: note})
}

// ApproveBy is Approve by a session or by an envelope (attest.Approve) that a registered key
// of the person signed, under the release's Topic; that is kept and notarized. Invalid also
// for another envelope.
func (r *Releases) ApproveBy(ctx context.Context, id albs.ReleaseID, digest albs.Digest, w auth.Word) (Release, error) {
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
		if p.Approvals.Signed && len(w.Envelope) == 0 {
			return albs.Errorf(albs.Conflict, "product %s counts only approvals that people sign with keys of their own: albs approve %d --key FILE", row.Product, id)
		}
		if err := row.approvable(plan, digest); err != nil {
			return err
		}
		return r.signs.TakeApproval(ctx, tx, Topic(id), digest, row.ExpiresAt, w)
	})
	if err != nil {
		return Release{}, fmt.Errorf("approve release %d: %w", id, err)
	}
	return r.Get(ctx, id)
}

// Effects returns, as effect.Parse reads it, what a release comes to: the bytes
// whose sha256 is its Digest. Anyone may ask. NotFound, or Conflict if the plan is not
// the one that the digest is of.
func (r *Releases) Effects(ctx context.Context, id albs.ReleaseID) ([]byte, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return nil, err
	}
	plan, err := row.plan()
	if err != nil {
		return nil, err
	}
	b := plan.Effects().Encode()
	if albs.DigestOf(b) != row.Digest {
		return nil, albs.Errorf(albs.Conflict, "release %d: its plan is not the one that its digest is of: plan it again", id)
	}
	return b, nil
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
	plan, err := row.plan()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(a auth.Approval) bool {
		return !p.Approvals.Counts(a.Signed(), row.shaped(plan, a.User))
	}), nil
}

// enough returns the approvals of a release's plan, or Conflict if the product
// asks for more.
func (r *Releases) enough(ctx context.Context, q db.Q, row releaseRow, p product.Product) ([]auth.Approval, error) {
	as, err := r.approvals(ctx, q, row, p)
	if err != nil {
		return nil, err
	}
	if len(as) < p.Approvals.Count {
		return nil, albs.Errorf(albs.Conflict, "it has %d of the %d %s that product %s asks for", len(as), p.Approvals.Count, p.Approvals.Words(), row.Product)
	}
	return as, nil
}

// words are approvals as statements tell them.
func words(as []auth.Approval) []attest.ApprovedBy {
	var out []attest.ApprovedBy
	for _, a := range as {
		out = append(out, attest.ApprovedBy{Person: a.Name, At: a.At.Time, KeyID: a.KeyID})
	}
	return out
}
