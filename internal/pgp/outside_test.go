package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// away is a key pair that lies elsewhere, as in a token, and can be gone.
type away struct {
	crypto.Signer
	gone error
}

// Sign implements crypto.Signer.
func (a *away) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if a.gone != nil {
		return nil, a.gone
	}
	return a.Signer.Sign(random, digest, opts)
}

// TestOutside: a key whose pairs lie elsewhere signs the same as one in memory, by its
// subkey where it has one, and tells why it can't.
func TestOutside(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{Ed25519, RSA4096} {
		for _, sub := range []bool{false, true} {
			if testing.Short() && alg == RSA4096 && !sub {
				continue // two keys of RSA are enough to wait for
			}
			primary, err := generate(alg)
			if err != nil {
				t.Fatal(err)
			}
			first, second := &away{Signer: primary}, (*away)(nil)
			var signing, outsideSigning crypto.Signer
			if sub {
				if signing, err = generate(alg); err != nil {
					t.Fatal(err)
				}
				second = &away{Signer: signing}
				outsideSigning = second
			}
			here, err := New("Demo <demo@example.org>", primary, signing, keyTime)
			if err != nil {
				t.Fatal(err)
			}
			there, err := New("Demo <demo@example.org>", first, outsideSigning, keyTime)
			if err != nil {
				t.Fatal(err)
			}
			public, err := there.Public()
			if err != nil {
				t.Fatal(err)
			}
			if mine, err := here.Public(); err != nil || !bytes.Equal(mine, public) {
				t.Errorf("%s, subkey %v: the public parts differ: %v", alg, sub, err)
			}
			if _, err := there.SealPrivate([]byte("x")); albs.KindOf(err) != albs.Invalid {
				t.Errorf("SealPrivate of a key that isn't here = %v", err)
			}
			opened, err := Open(public, first, outsideSigning)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := here.SealPrivate([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			unsealed, err := OpenPrivate(sealed, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for _, k := range []*Key{here, there, opened, unsealed} {
				sig, isRSA, err := k.At(signTime).Sign([]byte("x"))
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = sig
				}
				if !bytes.Equal(sig, want) || isRSA != (alg == RSA4096) || k.Subkey() != here.Subkey() || (k.Subkey() != "") != sub {
					t.Errorf("%s, subkey %v: the signatures differ", alg, sub)
				}
			}
			kr, err := ReadKeyring(public)
			if err != nil {
				t.Fatal(err)
			}
			if by, _, err := kr.Verify(strings.NewReader("x"), want); err != nil || by != here.Fingerprint() {
				t.Errorf("%s, subkey %v: Verify = %s, %v", alg, sub, by, err)
			}
			if got := kr.Keys()[0]; got.Subkey != here.Subkey() || got.Revoked || got.Algorithm != alg {
				t.Errorf("the key is %+v", got)
			}

			gone := errors.New("the token is gone")
			first.gone = gone
			if sub {
				second.gone = gone
			}
			if _, _, err := opened.Sign([]byte("x")); !errors.Is(err, gone) {
				t.Errorf("Sign without the token = %v", err)
			}
			if _, err := opened.Revoke(Retired, "", signTime); !errors.Is(err, gone) {
				t.Errorf("Revoke without the token = %v", err)
			}
			if _, err := New("Demo", first, outsideSigning, keyTime); !errors.Is(err, gone) {
				t.Errorf("New without the token = %v", err)
			}
			if _, err := Open(public, outsideSigning, first); albs.KindOf(err) != albs.Invalid {
				t.Errorf("Open with the pairs exchanged = %v", err)
			}
			other, err := generate(Ed25519)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(public, other, outsideSigning); albs.KindOf(err) != albs.Invalid {
				t.Errorf("Open with another pair = %v", err)
			}
		}
	}
}

// TestRevoke: a certificate of revocation ends all that the key signed, by its subkey
// too, and leaves the key in memory as it was.
func TestRevoke(t *testing.T) {
	t.Parallel()
	k, err := GenerateWithSubkey("Demo <demo@example.org>", Ed25519, keyTime)
	if err != nil {
		t.Fatal(err)
	}
	sig, _, err := k.At(signTime).Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][2]string{{"", ""}, {"lost", ""}, {Retired, "two\nlines"}, {Retired, strings.Repeat("x", 201)}} {
		if _, err := k.Revoke(bad[0], bad[1], signTime); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Revoke(%q, %q) = %v", bad[0], bad[1], err)
		}
	}
	for _, reason := range []string{Compromised, Superseded, Retired} {
		public, err := k.Revoke(reason, "the laptop is gone", signTime.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		kr, err := ReadKeyring(public)
		if err != nil {
			t.Fatal(err)
		}
		if got := kr.Keys(); len(got) != 1 || !got[0].Revoked || got[0].Fingerprint != k.Fingerprint() || got[0].Subkey != k.Subkey() {
			t.Errorf("the keys are %+v", got)
		}
		_, _, err = kr.Verify(strings.NewReader("x"), sig)
		wantInvalid(t, err, "revoked")
	}
	if _, _, err := ring(t, k).Verify(strings.NewReader("x"), sig); err != nil {
		t.Errorf("the key in memory: %v", err)
	}
}
