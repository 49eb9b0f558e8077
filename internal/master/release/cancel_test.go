package release

import (
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/pgp"
)

// TestCancel: a signer that went for good holds up a product only until a person
// says so, and so does a releaser that has the task.
func TestCancel(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		stop := f.startSigner()
		f.makeKey("demo key", pgp.Ed25519)
		r := f.approved(f.signedBuild(rpmbuild(t, "1", "one")))
		_, err := f.Cancel(f.planner, r.ID)
		f.wantKind("Cancel of what waits for approval", err, albs.Conflict, "nothing to cancel")
		stop()

		_, err = f.Publish(f.planner, r.ID) // nobody signs its metadata
		f.must(err)
		_, err = f.Cancel(f.stranger, r.ID)
		f.wantKind("Cancel by a stranger", err, albs.Forbidden, "")
		r, err = f.Cancel(f.planner, r.ID)
		f.must(err)
		if r.Status != Failed || !strings.Contains(r.Reason, "cancelled by ") {
			t.Errorf("after the cancel: %s, %q", r.Status, r.Reason)
		}

		_, err = f.Cancel(f.planner, r.ID)
		f.wantKind("Cancel of what has failed", err, albs.Conflict, "nothing to cancel")

		f.startSigner()
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		l := f.claim(f.releaser, "kind:publish")
		r, err = f.Cancel(f.planner, r.ID)
		f.must(err)
		if r.Status != InProgress {
			t.Errorf("while the releaser works: %s", r.Status)
		}
		if _, err := f.as(f.releaser).Renew(t.Context(), l.Token); !errors.Is(err, albs.Stopped) {
			t.Errorf("Renew = %v, want Stopped", err)
		}
		f.must(f.as(f.releaser).Complete(t.Context(), l.Token, albs.OutcomeStopped, albs.Result{}))
		f.ended(r.ID, Failed)

		f.startReleaser()
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
	})
}
