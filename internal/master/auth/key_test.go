package auth

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/sshkey"
)

func personKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicLine(k ed25519.PrivateKey) string {
	return sshkey.Public{Key: k.Public().(ed25519.PublicKey), Comment: "of a test"}.String()
}

func as(ctx context.Context, u User) context.Context {
	return With(ctx, Actor{Kind: KindPerson, User: u.ID, Name: u.Name})
}

func TestKeys(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		alice, _ := f.user(t, "alice")
		bob, _ := f.user(t, "bob")
		_, err := f.AddKey(as(t.Context(), bob), alice.ID, publicLine(personKey(1)))
		wantKind(t, "AddKey for another", err, albs.Forbidden)
		_, err = f.AddKey(as(t.Context(), alice), alice.ID, "ssh-rsa AAAA")
		wantKind(t, "AddKey of another sort", err, albs.Invalid)
		k, err := f.AddKey(as(t.Context(), alice), alice.ID, publicLine(personKey(1))+"\n")
		if err != nil || k.KeyID == "" || !strings.HasPrefix(k.Fingerprint(), "SHA256:") || k.Public != publicLine(personKey(1)) {
			t.Fatalf("AddKey = %+v, %v", k, err)
		}
		_, err = f.AddKey(as(t.Context(), bob), bob.ID, publicLine(personKey(1)))
		wantKind(t, "AddKey of another's", err, albs.Conflict)
		_, err = f.AddKey(f.admin, 1000, publicLine(personKey(2)))
		wantKind(t, "AddKey for nobody", err, albs.NotFound)
		_, err = f.Keys(as(t.Context(), bob), alice.ID)
		wantKind(t, "Keys of another", err, albs.Forbidden)
		wantKind(t, "RemoveKey of another's", f.RemoveKey(as(t.Context(), bob), k.ID), albs.Forbidden)
		wantKind(t, "RemoveKey of none", f.RemoveKey(f.admin, 1000), albs.NotFound)
		for range 2 {
			wantKind(t, "RemoveKey", f.RemoveKey(as(t.Context(), alice), k.ID), "")
		}
		if _, err := f.AddKey(as(t.Context(), alice), alice.ID, publicLine(personKey(1))); err != nil {
			t.Errorf("AddKey of one that was removed: %v", err)
		}
		list, err := f.Keys(as(t.Context(), alice), alice.ID)
		if err != nil || len(list) != 2 || !list[0].RemovedAt.IsZero() || list[1].RemovedAt.IsZero() {
			t.Errorf("Keys = %+v, %v", list, err)
		}
		for i := range byte(maxKeys - 1) {
			if _, err := f.AddKey(f.admin, alice.ID, publicLine(personKey(100+i))); err != nil {
				t.Fatal(err)
			}
		}
		_, err = f.AddKey(f.admin, alice.ID, publicLine(personKey(99)))
		wantKind(t, "one key too many", err, albs.Conflict)
		wantKind(t, "DisableUser", f.DisableUser(f.admin, bob.ID), "")
		_, err = f.AddKey(f.admin, bob.ID, publicLine(personKey(98)))
		wantKind(t, "AddKey for who has left", err, albs.Conflict)
	})
}

func TestSignedApprovals(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		alice, _ := f.user(t, "alice")
		bob, _ := f.user(t, "bob")
		own := personKey(1)
		k, err := f.AddKey(as(t.Context(), alice), alice.ID, publicLine(own))
		if err != nil {
			t.Fatal(err)
		}
		effects, others := albs.DigestOf([]byte("plan")), albs.DigestOf([]byte("plan edited"))
		envelope := func(key ed25519.PrivateKey, subject string, d albs.Digest, person string) []byte {
			e, err := attest.Approve(key, subject, d, attest.ApprovalBody{Person: person, At: f.now, Note: "by my key"})
			if err != nil {
				t.Fatal(err)
			}
			b, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		approve := func(u User, d albs.Digest, w Word) error {
			ctx := as(t.Context(), u)
			return f.d.InTx(ctx, func(tx db.Tx) error {
				_, err := f.Approve(ctx, tx, "release:3", d, db.At(f.now.Add(time.Hour)), w)
				return err
			})
		}
		words := func() string {
			list, err := f.Approvals(t.Context(), f.d, "release:3", effects)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, p := range list {
				out = append(out, fmt.Sprint(p.Name, " ", p.Signed(), " ", p.Note))
			}
			return strings.Join(out, ", ")
		}
		for name, bad := range map[string][]byte{
			"no envelope":          []byte("x"),
			"another's key":        envelope(personKey(2), "release:3", effects, "alice"),
			"of other effects":     envelope(own, "release:3", others, "alice"),
			"of another release":   envelope(own, "release:4", effects, "alice"),
			"as another person":    envelope(own, "release:3", effects, "bob"),
			"more than one may be": append(envelope(own, "release:3", effects, "alice"), ' '),
		} {
			wantKind(t, name, approve(alice, effects, Word{Envelope: bad}), albs.Invalid)
		}
		good := envelope(own, "release:3", effects, "alice")
		wantKind(t, "alice's envelope from bob", approve(bob, effects, Word{Envelope: good}), albs.Invalid)
		wantKind(t, "a note beside it", approve(alice, effects, Word{Note: "x", Envelope: good}), albs.Invalid)
		wantKind(t, "a session's word", approve(alice, effects, Word{Note: "looks good"}), "")
		wantKind(t, "a signed one in its place", approve(alice, effects, Word{Envelope: good}), "")
		if got := words(); got != "alice true by my key" {
			t.Errorf("Approvals = %q", got)
		}
		wantKind(t, "the same again", approve(alice, effects, Word{Envelope: good}), albs.Conflict)
		wantKind(t, "a session's word after it", approve(alice, effects, Word{}), albs.Conflict)

		// What a hand in the database writes counts for nothing.
		forge := func(query string, args ...any) {
			t.Helper()
			if _, err := f.d.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		forge(`INSERT INTO approval (subject, digest, account_id, note, at, expires_at, keyid, envelope)
			SELECT subject, digest, $1, 'forged', at, expires_at, keyid, envelope FROM approval WHERE account_id = $2`, bob.ID, alice.ID)
		if got := words(); got != "alice true by my key" {
			t.Errorf("with alice's envelope as bob's: %q", got)
		}
		forge(`UPDATE approval SET envelope = '' WHERE account_id = $1`, bob.ID)
		if got := words(); got != "alice true by my key" {
			t.Errorf("signed without an envelope: %q", got)
		}
		forge(`DELETE FROM approval WHERE account_id = $1`, bob.ID)
		forge(`UPDATE approval SET envelope = $1`, string(envelope(own, "release:3", others, "alice")))
		if got := words(); got != "" {
			t.Errorf("with an envelope of other effects: %q", got)
		}
		forge(`UPDATE approval SET envelope = $1`, string(good))
		wantKind(t, "RemoveKey", f.RemoveKey(f.admin, k.ID), "")
		if got := words(); got != "" {
			t.Errorf("after the key was removed: %q", got)
		}
	})
}
