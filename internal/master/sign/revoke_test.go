package sign

import (
	"errors"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue"
	"albs/internal/pgp"
	"albs/internal/worker"
)

// TestRevoke makes a key with a subkey and a time of its use, has it sign, and ends it:
// nothing is signed with it any more, the ledger has the certificate, and who has that
// believes nothing that the key signed.
func TestRevoke(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "")
		f.worker(t)
		f.deliver()
		until := func(what string, ok func() bool) { t.Helper(); until(t, what, ok) }
		made := func(n NewKey) Key {
			t.Helper()
			task, err := f.GenerateKey(f.admin, n)
			if err != nil {
				t.Fatal(err)
			}
			until("the key is made", func() bool {
				wish, err := f.Keygen(t.Context(), task)
				if err != nil || wish.Task.State == albs.TaskFailed {
					t.Fatalf("Keygen = %+v, %v", wish, err)
				}
				return wish.Fingerprint != ""
			})
			k, err := f.Key(t.Context(), n.Name)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		now := time.Now().UTC().Truncate(time.Second)
		wish := NewKey{
			Name: "demo", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519, Subkey: true,
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		}
		k := made(wish)
		if len(k.Subkey) != 40 || k.Subkey == k.Fingerprint || k.Kept != albs.KeptInFile || !k.NotBefore.Equal(wish.NotBefore) || !k.NotAfter.Equal(wish.NotAfter) ||
			!k.RevokedAt.IsZero() || k.Unusable(now) != "" {
			t.Errorf("the key is %+v", k)
		}
		later := made(NewKey{Name: "later", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519, NotBefore: now.Add(time.Hour)})
		if _, err := f.SignBuild(f.admin, f.build, "later"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "may be used from "+second(later.NotBefore)) {
			t.Errorf("signing with a key whose time hasn't come = %v", err)
		}
		for name, bad := range map[string]NewKey{
			"an end before the begin": {NotBefore: now.Add(2 * time.Hour), NotAfter: now.Add(time.Hour)},
			"an end in the past":      {NotAfter: now.Add(-time.Hour)},
		} {
			bad.Name, bad.UserID, bad.Algorithm = "bad", "Demo <demo@example.org>", pgp.Ed25519
			if _, err := f.GenerateKey(f.admin, bad); albs.KindOf(err) != albs.Invalid {
				t.Errorf("GenerateKey with %s = %v", name, err)
			}
		}
		r, err := f.SignBuild(f.admin, f.build, "demo")
		if err != nil {
			t.Fatal(err)
		}
		if r = f.ended(t, r.ID); r.Status != Completed {
			t.Fatalf("the request ended as %v: %s", r.Status, r.Reason)
		}
		signed := r.Packages[0].Signed
		if err := f.prov.WaitNotarized(t.Context(), signed, r.Packages[0].Digest); err != nil {
			t.Fatal(err)
		}
		verify := func(public []byte) error {
			t.Helper()
			b, err := f.artifacts.Blobs().Open(t.Context(), signed)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			bundle, err := f.prov.Bundle(t.Context(), signed)
			if err != nil {
				t.Fatal(err)
			}
			_, err = attest.Verify(t.Context(), b, b.Size(), bundle, f.stranger(t, public))
			return err
		}
		if err := verify(k.Public); err != nil {
			t.Errorf("before it is revoked a stranger doesn't believe what the subkey signed: %v", err)
		}

		eve := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 7, Name: "eve", Grants: []auth.Grant{{Role: auth.Operator}}})
		for what, err := range map[albs.Kind]error{
			albs.Forbidden: onlyErr(f.RevokeKey(eve, "demo", pgp.Retired, "")),
			albs.Invalid:   onlyErr(f.RevokeKey(f.admin, "demo", "lost", "")),
			albs.NotFound:  onlyErr(f.RevokeKey(f.admin, "none", pgp.Retired, "")),
		} {
			if albs.KindOf(err) != what {
				t.Errorf("RevokeKey = %v, want %s", err, what)
			}
		}
		if _, err := f.Revocation(t.Context(), "demo"); albs.KindOf(err) != albs.NotFound {
			t.Errorf("Revocation of a key that isn't = %v", err)
		}
		task, err := f.RevokeKey(f.admin, k.Fingerprint, pgp.Compromised, "the token was lost")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict {
			t.Errorf("signing with a key that is to be revoked = %v", err)
		}
		until("the key is revoked", func() bool {
			rev, err := f.Revocation(t.Context(), "demo")
			if err != nil || rev.Task.ID != task || rev.Reason != pgp.Compromised || rev.Text != "the token was lost" || rev.Requester != "ada" || rev.Task.State == albs.TaskFailed {
				t.Fatalf("Revocation = %+v, %v", rev, err)
			}
			return rev.Task.State == albs.TaskSucceeded
		})
		gone, err := f.Key(t.Context(), "demo")
		if err != nil || gone.RevokedAt.IsZero() || gone.Active || !strings.Contains(gone.Unusable(now), "was revoked at") {
			t.Fatalf("the key is %+v, %v", gone, err)
		}
		if kr, err := pgp.ReadKeyring(gone.Public); err != nil || !kr.Keys()[0].Revoked {
			t.Errorf("its public part has no certificate: %v", err)
		}
		if _, err := f.RevokeKey(f.admin, "demo", pgp.Retired, ""); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "was revoked at") {
			t.Errorf("RevokeKey again = %v", err)
		}
		if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "was revoked at") {
			t.Errorf("signing with a revoked key = %v", err)
		}
		if f.told(t, "key.revoked") != 1 {
			t.Errorf("it was told %d times", f.told(t, "key.revoked"))
		}
		until("the ledger has the certificate", func() bool {
			events, err := f.prov.History(t.Context(), albs.DigestOf(gone.Public))
			if err != nil {
				t.Fatal(err)
			}
			return len(events) == 1 && events[0].Predicate == attest.KeyRevoked && events[0].Receipt != nil
		})
		var broken *attest.BrokenLink
		if err := verify(gone.Public); !errors.As(err, &broken) || broken.Link != attest.LinkSignature || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("a stranger with the certificate = %v", err)
		}
		if by, err := f.SignedBy(t.Context(), k.Fingerprint); err != nil || len(by) != 3 || !by[signed] {
			t.Errorf("SignedBy = %v, %v", by, err)
		}
		if name, err := f.Revoked(t.Context(), r.Packages[0].Digest); err != nil || name != "demo" {
			t.Errorf("Revoked = %q, %v", name, err)
		}

		// A signer that brings something else in its place.
		h := keygenHandler{f.Signing}
		lease := queue.Lease{Token: worker.Token{Task: task}, Spec: albs.Spec{Keygen: &albs.KeygenSpec{Revoke: &albs.Revocation{Key: k.Fingerprint}}}}
		for name, bad := range map[string]albs.KeygenResult{
			"the key without a certificate": {Fingerprint: k.Fingerprint, Public: k.Public},
			"another key":                   {Fingerprint: later.Fingerprint, Public: later.Public},
			"nothing":                       {Fingerprint: k.Fingerprint},
		} {
			if _, err := h.Admit(t.Context(), lease, albs.OutcomeOK, albs.Result{Keygen: &bad}); albs.KindOf(err) != albs.Invalid {
				t.Errorf("%s is admitted: %v", name, err)
			}
		}
	})
}

// onlyErr is the error of a call that answers with a task.
func onlyErr(_ albs.TaskID, err error) error { return err }
