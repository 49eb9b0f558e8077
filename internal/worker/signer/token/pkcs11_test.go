//go:build pkcs11

package token_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"albs/internal/albs"
	"albs/internal/worker/signer/token"
	"albs/internal/worker/signer/token/tokentest"
)

func open(t *testing.T, c token.Config) *token.Token {
	t.Helper()
	tok, err := token.Open(c, []byte(tokentest.PIN))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tok.Close() })
	return tok
}

// TestToken makes pairs, signs with them by many at once, finds them again after a new
// start, and takes them away.
func TestToken(t *testing.T) {
	c, _ := tokentest.New(t)
	tok := open(t, c)
	digest := sha256.Sum256([]byte("x"))
	pairs := map[string]crypto.Signer{}
	for _, alg := range []string{token.Ed25519, token.RSA4096} {
		id, pair, err := tok.Generate(alg, "Demo <demo@example.org>")
		if err != nil {
			t.Fatal(err)
		}
		pairs[id] = pair
		var want []byte
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				sig, err := pair.Sign(nil, digest[:], crypto.SHA256)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || want != nil && !bytes.Equal(sig, want) {
					t.Errorf("%s: Sign = %x, %v", alg, sig, err)
				}
				want = sig
			})
		}
		wg.Wait()
		switch public := pair.Public().(type) {
		case *rsa.PublicKey:
			if alg != token.RSA4096 || public.N.BitLen() != 4096 || rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], want) != nil {
				t.Errorf("%s: an RSA key of %d bits, or its signature is wrong", alg, public.N.BitLen())
			}
			if _, err := pair.Sign(nil, digest[:20], crypto.SHA1); albs.KindOf(err) != albs.Invalid {
				t.Errorf("Sign of a SHA-1 = %v", err)
			}
		case ed25519.PublicKey:
			if alg != token.Ed25519 || !ed25519.Verify(public, digest[:], want) {
				t.Errorf("%s: an Ed25519 key, or its signature is wrong", alg)
			}
		}
	}
	if _, _, err := tok.Generate("dsa", "x"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Generate(dsa) = %v", err)
	}
	if err := tok.Close(); err != nil {
		t.Fatal(err)
	}
	tok = open(t, c)
	for id, pair := range pairs {
		again, err := tok.Signer(id)
		if err != nil {
			t.Fatal(err)
		}
		if eq, ok := again.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !eq.Equal(pair.Public()) {
			t.Errorf("pair %s is another after a new start", id)
		}
		if err := tok.Remove(id); err != nil {
			t.Fatal(err)
		}
		if _, err := tok.Signer(id); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Signer of a removed pair = %v", err)
		}
	}
	for _, id := range []string{"", "zz", "00"} {
		if _, err := tok.Signer(id); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Signer(%q) = %v", id, err)
		}
	}
}

// TestOpen: what is wrong with the configuration or the PIN is said, and not the PIN.
func TestOpen(t *testing.T) {
	c, _ := tokentest.New(t)
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		config token.Config
		pin    string
		say    string
		away   bool
	}{
		"no module":       {token.Config{Module: text + ".gone", Label: c.Label}, "x", "is no file", false},
		"a text":          {token.Config{Module: text, Label: c.Label}, "x", "can't be loaded", false},
		"another label":   {token.Config{Module: c.Module, Label: "other"}, "x", `no token labelled "other"`, true},
		"a wrong PIN":     {c, tokentest.PIN + "1", "PIN is wrong", false},
		"all is well":     {c, tokentest.PIN, "", false},
		"all is well yet": {c, tokentest.PIN, "", false},
	} {
		tok, err := token.Open(tt.config, []byte(tt.pin))
		if tt.say == "" {
			if err != nil {
				t.Errorf("%s: Open = %v", name, err)
				continue
			}
			if err := tok.Close(); err != nil {
				t.Errorf("%s: Close = %v", name, err)
			}
			if err := tok.Ready(); !errors.Is(err, token.ErrAway) {
				t.Errorf("%s: Ready after Close = %v", name, err)
			}
			continue
		}
		want := albs.Invalid
		if tt.away {
			want = albs.Unavailable
		}
		if albs.KindOf(err) != want || errors.Is(err, token.ErrAway) != tt.away || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), tokentest.PIN) {
			t.Errorf("%s: Open = %v, want kind %s with %q", name, err, want, tt.say)
		}
	}
}

// TestAway has a token vanish and come back: no signature without it, the same with it
// again.
func TestAway(t *testing.T) {
	c, dir := tokentest.New(t)
	tok := open(t, c)
	_, pair, err := tok.Generate(token.Ed25519, "Demo")
	if err != nil {
		t.Fatal(err)
	}
	want, err := pair.Sign(nil, []byte("x"), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(folders) != 1 {
		t.Fatal(folders, err)
	}
	for range 2 {
		if err := os.Rename(folders[0], dir+".away"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if sig, err := pair.Sign(nil, []byte("x"), crypto.Hash(0)); !errors.Is(err, token.ErrAway) {
				t.Fatalf("Sign without the token = %x, %v", sig, err)
			}
			if err := tok.Ready(); !errors.Is(err, token.ErrAway) {
				t.Fatalf("Ready without the token = %v", err)
			}
			if _, _, err := tok.Generate(token.Ed25519, "Demo"); !errors.Is(err, token.ErrAway) {
				t.Fatalf("Generate without the token = %v", err)
			}
		}
		if err := os.Rename(dir+".away", folders[0]); err != nil {
			t.Fatal(err)
		}
		if err := tok.Ready(); err != nil {
			t.Fatalf("Ready with the token = %v", err)
		}
		if sig, err := pair.Sign(nil, []byte("x"), crypto.Hash(0)); err != nil || !bytes.Equal(sig, want) {
			t.Fatalf("Sign with the token = %x, %v", sig, err)
		}
	}
}
