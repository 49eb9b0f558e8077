package release

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/sshkey"
)

// own gives a person a key of their own, and returns what that person's word for a
// release's digest is, and the key's public line.
func (f *fixture) own(who context.Context, seed byte) (func(albs.ReleaseID, albs.Digest) auth.Word, string) {
	f.t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	line := sshkey.Public{Key: key.Public().(ed25519.PublicKey)}.String()
	_, err := f.auth.AddKey(who, auth.From(who).User, line)
	f.must(err)
	return func(id albs.ReleaseID, d albs.Digest) auth.Word {
		e, err := attest.Approve(key, Topic(id), d, attest.ApprovalBody{Person: auth.From(who).Name, At: time.Now()})
		f.must(err)
		b, err := e.Encode()
		f.must(err)
		return auth.Word{Envelope: b}
	}, line
}

// TestSignedRelease: where product and signer want people's own signatures, a session's
// word, an approval of a plan that was edited, and rows that a hand wrote into the database
// publish nothing.
func TestSignedRelease(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		id := f.signedBuild(rpmbuild(t, "1", "one"))
		alf, public := f.own(f.approver, 1)
		second := f.person("amy", auth.ProductMaintainer)
		amy, _ := f.own(second, 2) // whose key the signer's operator doesn't have
		f.must(os.WriteFile(filepath.Join(f.keys, "policy.yaml"), fmt.Appendf(nil, "people: {alf: [%q]}\nkeys:\n  %s: {approvals: 1, signed: true}\n", public, f.key), 0o600))
		spec := demoSpec()
		spec.Approvals = product.Approvals{Count: 1, Distinct: true, Signed: true}
		_, err := f.products.Apply(f.admin, spec)
		f.must(err)

		r, err := f.Plan(f.planner, "demo", []albs.BuildID{id})
		f.must(err)
		b, err := f.Effects(t.Context(), r.ID)
		f.must(err)
		if e, err := effect.Parse(b); err != nil || albs.DigestOf(b) != r.Digest || e.Key != f.key || len(e.Repositories) == 0 {
			t.Errorf("Effects = %+v, %v", e, err)
		}
		_, err = f.Approve(f.approver, r.ID, r.Digest, "fine")
		f.wantKind("a session's word", err, albs.Conflict, "albs approve")
		_, err = f.ApproveBy(f.approver, r.ID, r.Digest, amy(r.ID, r.Digest))
		f.wantKind("another's envelope", err, albs.Invalid, "")
		_, err = f.ApproveBy(f.approver, r.ID, r.Digest, alf(r.ID+1, r.Digest))
		f.wantKind("an envelope for another release", err, albs.Invalid, "")

		// An edit makes another plan: what was signed of the one before is worth nothing.
		before := r.Digest
		_, err = f.ApproveBy(f.approver, r.ID, before, alf(r.ID, before))
		f.must(err)
		f.until("a plan expires later", func() bool { // by a second
			r, err = f.Replan(f.planner, r.ID)
			f.must(err)
			return r.Digest != before
		})
		if len(r.Approvals) != 0 {
			t.Errorf("the plan anew is %s with %d approvals", r.Digest.Short(), len(r.Approvals))
		}
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish of an edited plan", err, albs.Conflict, "0 of the 1 approvals by people's own keys")
		_, err = f.ApproveBy(f.approver, r.ID, r.Digest, alf(r.ID, before))
		f.wantKind("an envelope of the plan before", err, albs.Invalid, "")

		// A hand in the database.
		_, err = d.ExecContext(t.Context(), `INSERT INTO approval (subject, digest, account_id, note, at, expires_at)
			SELECT subject, $1, account_id, note, at, expires_at FROM approval`, r.Digest)
		f.must(err)
		_, err = d.ExecContext(t.Context(), `UPDATE approval SET keyid = 'x', envelope = 'x' WHERE digest = $1`, r.Digest)
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish with forged rows", err, albs.Conflict, "0 of the 1 approvals")
		_, err = d.ExecContext(t.Context(), `DELETE FROM approval WHERE digest = $1`, r.Digest)
		f.must(err)

		// What the master counts and the operator of the signer doesn't.
		_, err = f.ApproveBy(second, r.ID, r.Digest, amy(r.ID, r.Digest))
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		r = f.ended(r.ID, Failed)
		if _, err := os.Lstat(filepath.Join(f.public, "demo", "current")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something is public: %v", err)
		}

		_, err = f.ApproveBy(f.approver, r.ID, r.Digest, alf(r.ID, r.Digest))
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
	})
}
