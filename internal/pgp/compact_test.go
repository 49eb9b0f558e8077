package pgp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// TestCompact takes a well-known key apart: it has subkeys that sign, encrypt and are
// revoked, a second user id and what others certified.
func TestCompact(t *testing.T) {
	t.Parallel()
	config := configAt(keyTime)
	e, err := openpgp.NewEntity("Well Known", "", "known@example.org", config) // with a subkey that encrypts
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.AddSigningSubkey(config); err != nil {
			t.Fatal(err)
		}
	}
	name := e.PrimaryIdentity().Name
	for _, other := range []string{"One", "Two", "Three"} {
		o, err := openpgp.NewEntity(other, "", "other@example.org", config)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.SignIdentity(name, o, config); err != nil {
			t.Fatal(err)
		}
	}
	no := false
	if err := e.AddUserId("Another Name", "", "another@example.org", &packet.Config{Time: config.Time, DefaultHash: config.DefaultHash}); err != nil {
		t.Fatal(err)
	}
	for n, id := range e.Identities {
		if n != name {
			id.SelfSignature.IsPrimaryId = &no
			if err := id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, config); err != nil {
				t.Fatal(err)
			}
		}
	}
	sigs := map[string][]byte{}
	for _, part := range []struct {
		name   string
		public *packet.PublicKey
		priv   *packet.PrivateKey
	}{{"primary", e.PrimaryKey, e.PrivateKey}, {"revoked", e.Subkeys[1].PublicKey, e.Subkeys[1].PrivateKey}, {"subkey", e.Subkeys[2].PublicKey, e.Subkeys[2].PrivateKey}} {
		as := &Key{entity: &openpgp.Entity{PrimaryKey: part.public, PrivateKey: part.priv}, at: signTime}
		if sigs[part.name], _, err = as.Sign([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.RevokeSubkey(&e.Subkeys[1], packet.KeyCompromised, "gone", configAt(signTime.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	armored := public(t, &Key{entity: e})
	full, err := ReadKeyring(armored)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Compact(armored)
	if err != nil {
		t.Fatal(err)
	}
	small, err := ReadKeyring(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(full.Keys(), small.Keys()); d != "" {
		t.Errorf("the key says of itself: %s", d)
	}
	for name, sig := range sigs {
		wantBy, wantAt, wantErr := full.Verify(strings.NewReader("x"), sig)
		by, at, err := small.Verify(strings.NewReader("x"), sig)
		if by != wantBy || !at.Equal(wantAt) || (err == nil) != (wantErr == nil) || (err == nil) != (name != "revoked") {
			t.Errorf("by the %s: %s, %v, %v; the whole key says %s, %v, %v", name, by, at, err, wantBy, wantAt, wantErr)
		}
	}
	if again, err := Compact(b); err != nil || !bytes.Equal(again, b) {
		t.Errorf("Compact of what is compact: %d bytes instead of %d, %v", len(again), len(b), err)
	}
	for _, left := range []string{"Another", "Three"} {
		if bytes.Contains(b, []byte(left)) {
			t.Errorf("%s is still there", left)
		}
	}
	if kept := small.keys[0]; len(kept.Subkeys) != 1 || len(kept.PrimaryIdentity().Signatures) != 1 {
		t.Errorf("%d subkeys and %d certifications are kept, want one of each", len(kept.Subkeys), len(kept.PrimaryIdentity().Signatures))
	}

	k, err := ed25519Key()
	if err != nil {
		t.Fatal(err)
	}
	revokedKey, err := k.Revoke(Compromised, "", signTime)
	if err != nil {
		t.Fatal(err)
	}
	sig, _, err := k.At(signTime).Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := Compact(append(bytes.Clone(armored), revokedKey...))
	if err != nil {
		t.Fatal(err)
	}
	kr, err := ReadKeyring(two)
	if err != nil || len(kr.Keys()) != 2 || !kr.Keys()[1].Revoked {
		t.Fatalf("two keys in one: %v", err)
	}
	_, _, err = kr.Verify(strings.NewReader("x"), sig)
	wantInvalid(t, err, "revoked")
	for name, b := range map[string][]byte{"nothing": nil, "no packets": {0xff, 0xff}, "a cut key": b[:len(b)-1], "too much": bytes.Repeat([]byte{0xff}, maxArmored+1)} {
		if _, err := Compact(b); !errors.Is(err, albs.Invalid) {
			t.Errorf("Compact of %s: %v", name, err)
		}
	}
}
