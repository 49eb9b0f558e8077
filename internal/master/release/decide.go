package release

import (
	"context"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
)

// Decide makes decisions those of a release, in place of the ones that it had, and
// computes its plan anew with them; approvals of the plan before are void. digest is
// that of the plan that was looked at. A decision that the release had already stays its
// person's; the others are the actor's, who shapes the plan as its planner does and so
// doesn't count as another person for its approval.
//
// Errors: Forbidden without release.plan, NotFound, Invalid for decisions that aren't
// sound, Conflict if the plan has another digest or the release is being published or
// was. A decision that can't be followed is a refusal of the plan.
func (r *Releases) Decide(ctx context.Context, id albs.ReleaseID, digest albs.Digest, decisions []place.Decision) (Release, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleasePlan, row.object()); err != nil {
		return Release{}, err
	}
	if err := place.Check(decisions); err != nil {
		return Release{}, err
	}
	switch {
	case row.Kind != Publication || !row.waits():
		return Release{}, albs.Errorf(albs.Conflict, "release %d is %s: there is nothing to decide", id, row.Status)
	case row.Digest != digest:
		return Release{}, albs.Errorf(albs.Conflict, "the plan of release %d is %s now and no longer %s: look at it again", id, row.Digest.Short(), digest.Short())
	}
	was, err := row.plan()
	if err != nil {
		return Release{}, err
	}
	actor, now := auth.From(ctx), db.Now().Time
	decisions = slices.Clone(decisions)
	for i, d := range decisions {
		decisions[i].By, decisions[i].User, decisions[i].At = actor.Name, actor.User, now
		if j := slices.IndexFunc(was.Decisions, d.Same); j >= 0 {
			decisions[i] = was.Decisions[j]
		}
	}
	w, err := r.wish(ctx, row, was)
	if err != nil {
		return Release{}, err
	}
	w.Decisions, w.Expires = decisions, expiry()
	plan, err := r.compute(ctx, w)
	if err != nil {
		return Release{}, err
	}
	if err := r.replace(ctx, row, plan, ""); err != nil {
		return Release{}, err
	}
	return r.Get(ctx, id)
}

// shaped reports whether a person had a hand in what the release's plan comes to.
func (row releaseRow) shaped(plan plan.Plan, user albs.UserID) bool {
	return user == row.PlannerID || slices.ContainsFunc(plan.Decisions, func(d place.Decision) bool { return d.User == user })
}
