package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/worker/signer/token/tokentest"
	"albs/internal/worker/workertest"
)

// stores are the places where private parts are kept, with what makes a world keep its
// new ones there.
var stores = []struct {
	kept  string
	setup func(t *testing.T, w *world)
}{
	{albs.KeptInFile, func(*testing.T, *world) {}},
	{albs.KeptInToken, func(t *testing.T, w *world) { w.useToken(t) }},
}

// useToken has the world's signers make keys in a token, and returns the folder in which
// it is.
func (w *world) useToken(t *testing.T) string {
	t.Helper()
	c, dir := tokentest.New(t)
	w.config.Token = Token{Config: c, PINFile: filepath.Join(t.TempDir(), "pin")}
	write(t, w.config.Token.PINFile, tokentest.PIN+"\n", 0o600)
	return dir
}

// generate has a signer make a key and makes it the world's.
func (w *world) generate(t *testing.T, spec albs.KeygenSpec) albs.KeygenResult {
	t.Helper()
	_, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Keygen: &spec}}, nil)
	if outcome != albs.OutcomeOK || r.Keygen == nil {
		t.Fatalf("keygen ended as %s: %+v\n%s", outcome, r, w.log)
	}
	w.use(t, r.Keygen.Fingerprint)
	return *r.Keygen
}

// use makes a key that the signer holds the world's.
func (w *world) use(t *testing.T, fingerprint string) {
	t.Helper()
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	defer s.close()
	w.key = must[key](t)(s.keys.get(fingerprint)).private
}

// TestStores holds what a key must do to every place where its private part can be: it
// is made there, signs packages and metadata as this program and rpm take them, again as
// another process and to the same bytes, and is revoked for good.
func TestStores(t *testing.T) {
	for _, store := range stores {
		t.Run(store.kept, func(t *testing.T) {
			for _, alg := range []string{pgp.Ed25519, pgp.RSA4096} {
				for _, sub := range []bool{false, true} {
					if testing.Short() && alg == pgp.RSA4096 && !sub {
						continue // the long form makes these too
					}
					t.Run(fmt.Sprintf("%s, subkey %v", alg, sub), func(t *testing.T) {
						w := newWorld(t)
						store.setup(t, w)
						testStore(t, w, store.kept, albs.KeygenSpec{Name: userID, Algorithm: alg, Subkey: sub, Products: []string{"demo"}})
					})
				}
			}
		})
	}
}

func testStore(t *testing.T, w *world, kept string, spec albs.KeygenSpec) {
	made := w.generate(t, spec)
	kr := must[*rpm.Keyring](t)(rpm.ReadKeyring(made.Public))
	keys := must[*pgp.Keyring](t)(pgp.ReadKeyring(made.Public))
	told := keys.Keys()[0]
	if made.Kept != kept || told.Fingerprint != made.Fingerprint || told.Algorithm != spec.Algorithm || (told.Subkey != "") != spec.Subkey {
		t.Fatalf("the key is %+v, kept in a %s", told, made.Kept)
	}
	file := string(must[[]byte](t)(os.ReadFile(filepath.Join(w.config.Dir, "keys", made.Fingerprint+".json"))))
	if strings.Contains(file, "PRIVATE KEY") != (kept == albs.KeptInFile) || strings.Contains(file, tokentest.PIN) {
		t.Errorf("a key kept in a %s has the file %.300s", kept, file)
	}

	// Packages, which the signer has rpmkeys look at.
	sign := albs.SignSpec{Key: made.Fingerprint, Product: "demo", Packages: w.files}
	outcome, r := w.sign(t, sign, w.evidence(t, 0, w.about(t, w.files...)...))
	if outcome != albs.OutcomeOK {
		t.Fatalf("signing ended as %s: %+v\n%s", outcome, r, w.log)
	}
	by := made.Fingerprint
	if spec.Subkey {
		by = told.Subkey
	}
	again := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	held := must[key](t)(again.keys.usable(made.Fingerprint)).private
	for i, sig := range r.Sign.Signatures {
		parsed := must[pgp.Signature](t)(pgp.ParseSignature(sig.Bytes))
		var signed bytes.Buffer
		if err := rpm.Splice(&signed, bytes.NewReader(w.packages[i]), sig.Bytes, parsed.RSA); err != nil {
			t.Fatal(err)
		}
		if v, err := rpm.Verify(&signed, kr); err != nil || v.Fingerprint != made.Fingerprint || parsed.KeyID != by[24:] {
			t.Errorf("package %d is signed by %s: %+v, %v", i, parsed.KeyID, v, err)
		}
		// Another process makes the same.
		sig2, _, err := held.At(parsed.At).Sign(must[[]byte](t)(rpm.Header(bytes.NewReader(w.packages[i]))))
		if err != nil || !bytes.Equal(sig2, sig.Bytes) {
			t.Errorf("another process signs package %d otherwise: %v", i, err)
		}
	}
	again.close()

	// Metadata, detached.
	doc := []byte("<repomd/>")
	f := albs.File{Name: "repomd.xml", Digest: w.fake.AddBlob(doc), Size: int64(len(doc))}
	detached := albs.SignSpec{Key: made.Fingerprint, Product: "demo", Documents: []albs.File{f}}
	approved := func() attest.Evidence {
		return w.evidence(t, w.known(t), append(w.intend(t, attest.SignIntentBody{}, f), w.approve(t, f, "demo"))...)
	}
	if outcome, r = w.sign(t, detached, approved()); outcome != albs.OutcomeOK {
		t.Fatalf("signing a document ended as %s: %+v\n%s", outcome, r, w.log)
	}
	if fpr, _, err := keys.VerifyArmored(bytes.NewReader(doc), r.Sign.Signatures[0].Bytes); err != nil || fpr != made.Fingerprint {
		t.Errorf("the document is signed by %s, %v", fpr, err)
	}

	// The end of it: two tasks, one certificate.
	revoke := albs.KeygenSpec{Revoke: &albs.Revocation{Key: made.Fingerprint, Reason: pgp.Superseded, Text: "a new one is there"}}
	var certificate []byte
	for range 2 {
		_, outcome, r = w.run(t, workertest.Task{Spec: albs.Spec{Keygen: &revoke}, Needs: []string{}}, nil)
		if outcome != albs.OutcomeOK || r.Keygen == nil {
			t.Fatalf("revoking ended as %s: %+v\n%s", outcome, r, w.log)
		}
		got := must[*pgp.Keyring](t)(pgp.ReadKeyring(r.Keygen.Public)).Keys()
		if len(got) != 1 || !got[0].Revoked || got[0].Fingerprint != made.Fingerprint || got[0].Subkey != told.Subkey {
			t.Errorf("the revoked key is %+v", got)
		}
		if certificate != nil && !bytes.Equal(certificate, r.Keygen.Public) {
			t.Error("the second revocation made another certificate")
		}
		certificate = r.Keygen.Public
	}
	before := w.operations
	if outcome, r := w.sign(t, detached, approved()); outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, "was revoked at") || w.operations != before {
		t.Errorf("signing with a revoked key ended as %s: %+v, after %d uses", outcome, r, w.operations-before)
	}
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	if labels := s.offer("test").Labels; slices.Contains(labels, "key:"+made.Fingerprint) {
		t.Errorf("a revoked key is offered: %v", labels)
	}
	s.close()
	w.secretFree(t)
	if strings.Contains(w.log.String()+w.journal(t), tokentest.PIN) {
		t.Error("the PIN is in what the signer says")
	}
}

// TestTokenAway is T41: the token goes away with a task, which is given back without a
// signature and loses no attempt; its keys aren't offered, those in files go on; with it
// back, the task gets the one signature.
func TestTokenAway(t *testing.T) {
	w := newWorld(t)
	inFile := w.key
	dir := w.useToken(t)
	made := w.generate(t, albs.KeygenSpec{Name: userID, Algorithm: pgp.Ed25519})
	folders := must[[]string](t)(filepath.Glob(filepath.Join(dir, "*")))
	away := filepath.Join(t.TempDir(), "away")
	gone := func() {
		t.Helper()
		if err := os.Rename(folders[0], away); err != nil {
			t.Fatal(err)
		}
	}
	// It goes while the packages are fetched.
	w.get = func(_ context.Context, _ func(), d albs.Digest) []byte {
		if _, err := os.Stat(away); err != nil {
			gone()
		}
		return w.fake.Content(d)
	}
	sign := albs.SignSpec{Key: made.Fingerprint, Product: "demo", Packages: w.files[:1]}
	id, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Sign: &sign}}, w.evidence(t, 0, w.about(t, w.files[0])...).Encode())
	if outcome != albs.OutcomeStopped || r.Sign != nil || !strings.Contains(r.Reason, "token") {
		t.Fatalf("without the token it ended as %s: %+v\n%s", outcome, r, w.log)
	}
	for _, e := range w.entries(t) {
		if e.Signature != "" {
			t.Errorf("the journal has a signature: %+v", e)
		}
	}
	// A new start needs the token; one that was open when it went goes on without.
	if _, err := open(t.Context(), w.config, zerolog.Nop()); albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), "is it plugged in?") {
		t.Errorf("open without the token = %v", err)
	}
	if err := os.Rename(away, folders[0]); err != nil {
		t.Fatal(err)
	}
	w.get = nil
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	gone()
	offer := s.offer("test")
	if slices.Contains(offer.Labels, "key:"+made.Fingerprint) || slices.Contains(offer.Labels, "kind:keygen") || !strings.Contains(offer.Pause, "token") ||
		!slices.Contains(offer.Labels, "key:"+inFile.Fingerprint()) {
		t.Errorf("without the token the offer is %+v", offer)
	}
	if err := os.Rename(away, folders[0]); err != nil {
		t.Fatal(err)
	}
	if offer := s.offer("test"); !slices.Contains(offer.Labels, "key:"+made.Fingerprint) || offer.Pause != "" {
		t.Errorf("with the token back the offer is %+v", offer)
	}
	s.close()
	n := 2
	for outcome = albs.OutcomeStopped; outcome == albs.OutcomeStopped; n++ { // a signer on its way out may have taken it
		outcome, r = w.attempt(t, id, n)
	}
	if outcome != albs.OutcomeOK {
		t.Fatalf("with the token back it ended as %s: %+v\n%s", outcome, r, w.log)
	}
	signatures := map[albs.Digest]bool{}
	for _, e := range w.entries(t) {
		if e.Signature != "" {
			signatures[e.Signature] = true
		}
	}
	if len(signatures) != 1 || !signatures[albs.DigestOf(r.Sign.Signatures[0].Bytes)] {
		t.Errorf("the journal has the signatures %v", signatures)
	}
}

// TestTokenRefusals: what is wrong with a token or its PIN is said at the start.
func TestTokenRefusals(t *testing.T) {
	w := newWorld(t)
	w.useToken(t)
	made := w.generate(t, albs.KeygenSpec{Name: userID, Algorithm: pgp.Ed25519})
	whole := w.config
	for _, tt := range []struct {
		name   string
		change func(c *Config)
		say    string
	}{
		{"no token any more", func(c *Config) { c.Token = Token{} }, "name that in signer.token"},
		{"half a token", func(c *Config) { c.Token.Module = "" }, "needs both module"},
		{"a PIN of no token", func(c *Config) { c.Token.Config.Module, c.Token.Label = "", "" }, "needs module and label"},
		{"no PIN", func(c *Config) { c.Token.PINFile = "" }, "needs the PIN"},
		{"two places for the PIN", func(c *Config) { c.Token.PINFrom = FromPrompt }, "which is it?"},
		{"a PIN from nowhere", func(c *Config) { c.Token.PINFrom, c.Token.PINFile = "env", "" }, "none of file, credential and prompt"},
		{"another PIN", func(c *Config) {
			c.Token.PINFile += ".other"
			write(t, c.Token.PINFile, "0000", 0o600)
		}, "PIN is wrong"},
		{"a PIN for all to read", func(c *Config) {
			c.Token.PINFile += ".open"
			write(t, c.Token.PINFile, tokentest.PIN, 0o644)
		}, "open to others"},
	} {
		w.config = whole
		tt.change(&w.config)
		s, err := open(t.Context(), w.config, zerolog.Nop())
		if err == nil {
			s.close()
		}
		if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.say) || strings.Contains(err.Error(), tokentest.PIN) {
			t.Errorf("%s: open = %v, want Invalid with %q", tt.name, err, tt.say)
		}
	}
	w.config = whole
	w.use(t, made.Fingerprint)
	if _, err := w.key.SealPrivate([]byte("x")); !errors.Is(err, albs.Invalid) {
		t.Errorf("a key in a token can be sealed: %v", err)
	}
}
