package release

import (
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// Cancel ends the publication or the rollback of a release that is in progress, so
// that a signer or a releaser who doesn't come back holds up neither it nor the
// others of its product. The release is failed then, at once or when the releaser
// that has its task has stopped or is lost, and can be published again.
//
// Errors: Forbidden without release.publish on the team, or release.rollback for a
// rollback, NotFound, Conflict if the release is not in progress.
func (r *Releases) Cancel(ctx context.Context, id albs.ReleaseID) (Release, error) {
	if _, err := r.publishable(ctx, id); err != nil {
		return Release{}, err
	}
	err := r.d.InTx(ctx, func(tx db.Tx) error {
		row, err := r.store.get(ctx, tx, id)
		if err != nil {
			return err
		}
		if row.Status != InProgress {
			return albs.Errorf(albs.Conflict, "it is %s: there is nothing to cancel", row.Status)
		}
		err = r.queue.Cancel(ctx, tx, row.TaskID, "cancelled by "+auth.From(ctx).Name)
		if errors.Is(err, albs.Conflict) {
			return albs.Errorf(albs.Conflict, "it is about to end by itself: look at it again")
		}
		return err
	})
	if err != nil {
		return Release{}, fmt.Errorf("cancel release %d: %w", id, err)
	}
	return r.Get(ctx, id)
}
