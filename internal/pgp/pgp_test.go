package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

var (
	// An RSA key takes seconds; one serves all tests.
	rsaKey     = sync.OnceValues(func() (*Key, error) { return Generate("RSA Test <rsa@example.org>", RSA4096, keyTime) })
	ed25519Key = sync.OnceValues(func() (*Key, error) { return Generate("Ed25519 Test <ed@example.org>", Ed25519, keyTime) })
	keyTime    = time.Date(2024, 1, 1, 0, 0, 0, 123, time.UTC)
	signTime   = time.Date(2024, 3, 6, 7, 8, 9, 0, time.UTC)
)

func keys(t testing.TB) map[string]*Key {
	t.Helper()
	r, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	e, err := ed25519Key()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*Key{RSA4096: r, Ed25519: e}
}

func public(t testing.TB, k *Key) []byte {
	t.Helper()
	b, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ring(t testing.TB, ks ...*Key) *Keyring {
	t.Helper()
	var all []byte
	for _, k := range ks {
		all = append(all, public(t, k)...)
	}
	kr, err := ReadKeyring(all) // one file with several blocks, as distributions ship
	if err != nil {
		t.Fatal(err)
	}
	return kr
}

func wantInvalid(t *testing.T, err error, part string) {
	t.Helper()
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want an Invalid one with %q", err, part)
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	for alg, k := range keys(t) {
		p := k.entity.PrimaryKey
		if p.Version != 4 || !p.CreationTime.Equal(keyTime.Truncate(time.Second)) || len(k.entity.Subkeys) != 0 {
			t.Errorf("%s: version %d, made at %v, %d subkeys", alg, p.Version, p.CreationTime, len(k.entity.Subkeys))
		}
		if want := map[string]packet.PublicKeyAlgorithm{RSA4096: 1, Ed25519: 22}[alg]; p.PubKeyAlgo != want {
			t.Errorf("%s: algorithm %d, want %d", alg, p.PubKeyAlgo, want)
		}
		if bits, err := p.BitLength(); alg == RSA4096 && (bits != 4096 || err != nil) {
			t.Errorf("%s: %d bits", alg, bits)
		}
		self, id := k.entity.PrimarySelfSignature()
		if self.Hash != crypto.SHA256 || !self.FlagSign || !self.FlagCertify || len(self.Notations) != 0 || self.KeyLifetimeSecs != nil && *self.KeyLifetimeSecs != 0 {
			t.Errorf("%s: self-signature %+v", alg, self)
		}
		if !strings.HasSuffix(id.Name, " Test <"+map[string]string{RSA4096: "rsa", Ed25519: "ed"}[alg]+"@example.org>") {
			t.Errorf("%s: user id %q", alg, id.Name)
		}
		if f := k.Fingerprint(); !IsFingerprint(f) || IsFingerprint(strings.ToLower(f)) || IsFingerprint(f[1:]) || IsFingerprint(f[1:]+"G") {
			t.Errorf("%s: fingerprint %s", alg, f)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); s != strings.TrimSuffix(strings.Repeat(k.Fingerprint()+" ", 4), " ") {
			t.Errorf("printed, the key says %.200s", s)
		}
	}
	for _, id := range []string{
		"", " ", "<a@example.org>", "Name <>", "Name (comment) <a@example.org>", "a\nb <a@example.org>", "Name <a b@example.org>",
		"Name <a@example.org> x", " Name", "N\xffme", "a\x00b", strings.Repeat("a", 201),
	} {
		if k, err := Generate(id, Ed25519, keyTime); !errors.Is(err, albs.Invalid) {
			t.Errorf("Generate(%q) = %v, %v; want an Invalid error", id, k, err)
		}
	}
	if _, err := Generate("Just A Name", Ed25519, keyTime); err != nil {
		t.Errorf("Generate without an address: %v", err)
	}
	_, err := Generate("Name <a@example.org>", "dsa", keyTime)
	wantInvalid(t, err, "algorithm")
}

func TestSealPrivate(t *testing.T) {
	t.Parallel()
	for alg, k := range keys(t) {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			secret := []byte("correct horse")
			sealed, err := k.SealPrivate(secret)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := OpenPrivate(sealed, secret)
			if err != nil {
				t.Fatal(err)
			}
			if opened.Fingerprint() != k.Fingerprint() || !bytes.Equal(public(t, opened), public(t, k)) {
				t.Error("the key that was opened is another")
			}
			a, _, err := k.At(signTime).Sign([]byte("x")) // k works on after sealing
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := opened.At(signTime).Sign([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Error("the key that was opened signs otherwise")
			}
			for _, wrong := range [][]byte{nil, []byte("correct horsf"), []byte("correct horse ")} {
				_, err := OpenPrivate(sealed, wrong)
				wantInvalid(t, err, "passphrase")
			}
			_, err = k.SealPrivate(nil)
			wantInvalid(t, err, "empty passphrase")

			var plain bytes.Buffer
			if err := k.entity.SerializePrivateWithoutSigning(&plain, nil); err != nil {
				t.Fatal(err)
			}
			open, err := encode(openpgp.PrivateKeyType, func(w io.Writer) error { _, err := w.Write(plain.Bytes()); return err })
			if err != nil {
				t.Fatal(err)
			}
			_, err = OpenPrivate(open, secret)
			wantInvalid(t, err, "isn't encrypted")
			_, err = OpenPrivate(public(t, k), secret)
			wantInvalid(t, err, "PRIVATE KEY")
			_, err = OpenPrivate(append(bytes.Clone(sealed), sealed...), secret)
			wantInvalid(t, err, "exactly one")
			_, err = OpenPrivate(sealed[:len(sealed)/2], secret)
			wantInvalid(t, err, "")
			_, err = ReadKeyring(sealed)
			wantInvalid(t, err, "PUBLIC KEY")
		})
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	all := keys(t)
	content := []byte("the header of a package")
	for alg, k := range all {
		sig, isRSA, err := k.At(signTime).Sign(content)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, _ := k.At(signTime).Sign(content); !bytes.Equal(sig, again) {
			t.Errorf("%s: signing twice at one time gives two signatures", alg)
		}
		if isRSA != (alg == RSA4096) {
			t.Errorf("%s: RSA is %v", alg, isRSA)
		}
		info, err := ParseSignature(sig)
		if want := (Signature{KeyID: k.Fingerprint()[24:], RSA: isRSA, At: signTime}); err != nil || info.KeyID != want.KeyID || info.RSA != want.RSA || !info.At.Equal(want.At) {
			t.Errorf("%s: ParseSignature = %+v, %v; want %+v", alg, info, err, want)
		}
		full, err := parse(sig, packet.SigTypeBinary)
		if err != nil || full.Hash != crypto.SHA256 || len(full.Notations) != 0 || !bytes.Equal(full.IssuerFingerprint, k.entity.PrimaryKey.Fingerprint) {
			t.Errorf("%s: signature %+v, %v", alg, full, err)
		}
		kr := ring(t, all[RSA4096], all[Ed25519])
		if f, at, err := kr.Verify(bytes.NewReader(content), sig); err != nil || f != k.Fingerprint() || !at.Equal(signTime) {
			t.Errorf("%s: Verify = %s, %v, %v", alg, f, at, err)
		}
		_, _, err = kr.Verify(strings.NewReader("the header of another"), sig)
		wantInvalid(t, err, "doesn't hold")
		for i := range sig {
			bad := bytes.Clone(sig)
			bad[i] ^= 0x40
			// Every byte counts: those of the hash's first bits, too, which rpm compares.
			if f, _, err := kr.Verify(bytes.NewReader(content), bad); !errors.Is(err, albs.Invalid) {
				t.Errorf("%s: with byte %d changed, Verify = %s, %v", alg, i, f, err)
			}
		}
		_, _, err = (&Keyring{}).Verify(bytes.NewReader(content), sig)
		wantInvalid(t, err, "keyring doesn't hold")
		for _, bad := range [][]byte{nil, []byte("text"), append(bytes.Clone(sig), sig...), append(bytes.Clone(sig), 0), sig[:len(sig)-1], make([]byte, maxSignature+1)} {
			_, _, err = kr.Verify(bytes.NewReader(content), bad)
			wantInvalid(t, err, "")
		}
		now, _, err := k.Sign(content)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := ParseSignature(now); err != nil || time.Since(info.At).Abs() > time.Minute {
			t.Errorf("%s: a signature of now is of %v, %v", alg, info.At, err)
		}

		armored, err := k.At(signTime).SignArmored(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if f, at, err := kr.VerifyArmored(bytes.NewReader(content), armored); err != nil || f != k.Fingerprint() || !at.Equal(signTime) {
			t.Errorf("%s: VerifyArmored = %s, %v, %v", alg, f, at, err)
		}
		_, _, err = kr.VerifyArmored(strings.NewReader("else"), armored)
		wantInvalid(t, err, "doesn't hold")
		_, _, err = kr.VerifyArmored(bytes.NewReader(content), append(bytes.Clone(armored), armored...))
		wantInvalid(t, err, "2 armored signatures")
		_, _, err = kr.VerifyArmored(bytes.NewReader(content), public(t, k))
		wantInvalid(t, err, "not a PGP SIGNATURE")
		_, _, err = kr.VerifyArmored(bytes.NewReader(content), make([]byte, maxArmored+1))
		wantInvalid(t, err, "allowed")
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// A failure to read is neither a bad signature nor one over what was read so far.
func TestReaderFailure(t *testing.T) {
	t.Parallel()
	k := keys(t)[Ed25519]
	sig, _, err := k.Sign([]byte("part"))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader("part"), brokenReader{cause})
	if _, _, err := ring(t, k).Verify(r, sig); !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("Verify: %v, want the cause and no kind", err)
	}
	if _, err := k.SignArmored(brokenReader{cause}); !errors.Is(err, cause) {
		t.Errorf("SignArmored: %v, want the cause", err)
	}
}

func TestReadKeyring(t *testing.T) {
	t.Parallel()
	all := keys(t)
	r, e := all[RSA4096], all[Ed25519]
	kr, err := ReadKeyring(public(t, r), public(t, e))
	if err != nil {
		t.Fatal(err)
	}
	if got := kr.Keys(); len(got) != 2 || got[0].Fingerprint != r.Fingerprint() || got[1].Fingerprint != e.Fingerprint() {
		t.Errorf("Keys() = %v", got)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "text": []byte("no key"), "too much": make([]byte, maxArmored+1),
		"cut": public(t, r)[:600], "half a ring": append(public(t, r), public(t, e)[:100]...),
	} {
		if _, err := ReadKeyring(b); !errors.Is(err, albs.Invalid) {
			t.Errorf("ReadKeyring of %s: %v, want an Invalid error", name, err)
		}
	}
}

// Keys that policy refuses: self-certified by SHA-1, RFC 9580's own Ed25519, v6,
// short RSA, revoked.
func TestPolicy(t *testing.T) {
	t.Parallel()
	entity := func(config *packet.Config) *openpgp.Entity {
		t.Helper()
		config.Time = func() time.Time { return keyTime }
		e, err := openpgp.NewEntity("Policy", "", "policy@example.org", config)
		if err != nil {
			t.Fatal(err)
		}
		e.Subkeys = nil
		return e
	}
	armored := func(e *openpgp.Entity) []byte {
		t.Helper()
		b, err := encode(openpgp.PublicKeyType, e.Serialize)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sha1 := entity(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	for _, id := range sha1.Identities {
		id.SelfSignature.Hash = crypto.SHA1
		if err := id.SelfSignature.SignUserId(id.Name, sha1.PrimaryKey, sha1.PrivateKey, configAt(keyTime)); err != nil {
			t.Fatal(err)
		}
	}
	signing := func(config *packet.Config) *openpgp.Entity {
		t.Helper()
		e := entity(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
		config.Time = func() time.Time { return keyTime }
		if err := e.AddSigningSubkey(config); err != nil {
			t.Fatal(err)
		}
		return e
	}
	bound := signing(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	sub := bound.Subkeys[0]
	sub.Sig.Hash = crypto.SHA1
	if err := sub.Sig.SignKey(sub.PublicKey, bound.PrivateKey, configAt(keyTime)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		e    *openpgp.Entity
		want string
	}{
		"subkey bound by SHA-1": {bound, "a subkey's binding uses SHA-1"},
		"algorithm of a subkey": {signing(&packet.Config{Algorithm: packet.PubKeyAlgoEd25519}), "of its signing subkey, its algorithm 27"},
		"SHA-1":                 {sha1, "SHA-1"},
		"algorithm":             {entity(&packet.Config{Algorithm: packet.PubKeyAlgoEd25519}), "algorithm 27"},
		"version":               {entity(&packet.Config{Algorithm: packet.PubKeyAlgoEd25519, V6Keys: true}), "version 6"},
		"bits":                  {entity(&packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024}), "1024 bits"},
	} {
		_, err := ReadKeyring(armored(c.e))
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ReadKeyring: %v, want an Invalid error with %q", name, err, c.want)
		}
	}

	// A private key in the armor of a public one, and one that may not sign.
	private, err := encode(openpgp.PublicKeyType, func(w io.Writer) error {
		return entity(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}).SerializePrivateWithoutSigning(w, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ReadKeyring(private)
	wantInvalid(t, err, "the private part")
	certifier := entity(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	for _, id := range certifier.Identities {
		id.SelfSignature.FlagSign = false
		if err := id.SelfSignature.SignUserId(id.Name, certifier.PrimaryKey, certifier.PrivateKey, configAt(keyTime)); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := (&Key{entity: certifier}).SealPrivate([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenPrivate(sealed, []byte("secret"))
	wantInvalid(t, err, "not meant for signing")

	k, err := Generate("Revoked <r@example.org>", Ed25519, keyTime)
	if err != nil {
		t.Fatal(err)
	}
	sig, _, err := k.At(signTime).Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hash crypto.Hash
		kind packet.SignatureType
		want string
	}{{crypto.SHA1, packet.SigTypeBinary, "SHA-1"}, {crypto.SHA256, packet.SigTypeText, "binary signature"}} {
		bad := &packet.Signature{Version: 4, SigType: c.kind, PubKeyAlgo: k.entity.PrimaryKey.PubKeyAlgo,
			Hash: c.hash, CreationTime: signTime, IssuerKeyId: &k.entity.PrimaryKey.KeyId}
		h := c.hash.New()
		io.WriteString(h, "x")
		if err := bad.Sign(h, k.entity.PrivateKey, configAt(signTime)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := bad.Serialize(&b); err != nil {
			t.Fatal(err)
		}
		_, _, err = ring(t, k).Verify(strings.NewReader("x"), b.Bytes())
		wantInvalid(t, err, c.want)
	}

	early, _, err := k.At(keyTime.Add(-time.Hour)).Sign([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = ring(t, k).Verify(strings.NewReader("x"), early)
	wantInvalid(t, err, "doesn't hold") // older than its key

	if _, _, err := ring(t, k).Verify(strings.NewReader("x"), sig); err != nil {
		t.Errorf("Verify before revocation: %v", err)
	}
	if err := k.entity.RevokeKey(packet.KeySuperseded, "gone", configAt(signTime.Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	_, _, err = ring(t, k).Verify(strings.NewReader("x"), sig)
	wantInvalid(t, err, "revoked")
}

// TestExpiredAndRevoked: what an expired key signed while it was good stays good;
// of a revoked one, a signing subkey too, nothing is, whatever date it bears.
func TestExpiredAndRevoked(t *testing.T) {
	t.Parallel()
	content := "x"
	config := configAt(keyTime)
	config.KeyLifetimeSecs = uint32((24 * time.Hour).Seconds())
	expiring, err := openpgp.NewEntity("Expiring", "", "e@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	expiring.Subkeys = nil
	expired := &Key{entity: expiring}
	if got := ring(t, expired).Keys()[0].Expires; !got.Equal(keyTime.Truncate(time.Second).Add(24 * time.Hour)) {
		t.Errorf("the key expires at %v", got)
	}
	for _, tt := range []struct {
		at   time.Duration
		want string // "" if it holds
	}{{time.Hour, ""}, {23 * time.Hour, ""}, {25 * time.Hour, "expired"}, {-time.Hour, "doesn't hold"}} {
		sig, _, err := expired.At(keyTime.Add(tt.at)).Sign([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = ring(t, expired).Verify(strings.NewReader(content), sig)
		if tt.want != "" {
			wantInvalid(t, err, tt.want)
		} else if err != nil {
			t.Errorf("signed %v after the key was made: %v", tt.at, err)
		}
	}

	for _, reason := range []packet.ReasonForRevocation{packet.KeySuperseded, packet.KeyRetired, packet.KeyCompromised} {
		e, err := openpgp.NewEntity("Subkey", "", "s@example.org", configAt(keyTime))
		if err != nil {
			t.Fatal(err)
		}
		e.Subkeys = nil
		for range 2 {
			if err := e.AddSigningSubkey(configAt(keyTime)); err != nil {
				t.Fatal(err)
			}
		}
		k := &Key{entity: e}
		var sigs [][]byte
		for _, sub := range e.Subkeys {
			as := &Key{entity: &openpgp.Entity{PrimaryKey: sub.PublicKey, PrivateKey: sub.PrivateKey}, at: signTime}
			sig, _, err := as.Sign([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			if f, _, err := ring(t, k).Verify(strings.NewReader(content), sig); err != nil || f != k.Fingerprint() {
				t.Errorf("by a signing subkey: Verify = %s, %v", f, err)
			}
			sigs = append(sigs, sig)
		}
		if err := e.RevokeSubkey(&e.Subkeys[0], reason, "gone", configAt(signTime.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		_, _, err = ring(t, k).Verify(strings.NewReader(content), sigs[0])
		wantInvalid(t, err, "revoked")
		if _, _, err := ring(t, k).Verify(strings.NewReader(content), sigs[1]); err != nil {
			t.Errorf("by the subkey beside a revoked one: %v", err)
		}
	}
}

// gpg takes our keys and signatures, and we take gpg's.
func TestGPG(t *testing.T) {
	t.Parallel()
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Skip("gpg is not installed")
	}
	dir := t.TempDir()
	home := filepath.Join(dir, "g")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	// Else the agent measures the machine, for seconds, to choose its own.
	if err := os.WriteFile(filepath.Join(home, "gpg-agent.conf"), []byte("s2k-count 65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(stdin []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), gpg, append([]string{"--batch", "--pinentry-mode", "loopback"}, args...)...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
		cmd.Stdin = bytes.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %v: %v\n%s", args, err, stderr.Bytes())
		}
		return out
	}
	// gpg starts an agent for the directory, which must not outlive it.
	defer func() {
		cmd := exec.CommandContext(t.Context(), "gpgconf", "--kill", "all")
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("gpgconf: %v\n%s", err, out)
		}
	}()
	document := filepath.Join(dir, "repomd.xml")
	if err := os.WriteFile(document, []byte("<repomd/>\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for alg, k := range keys(t) {
		sealed, err := k.SealPrivate([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		run(public(t, k), "--import")
		asc, err := k.SignArmored(strings.NewReader("<repomd/>\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(document+".asc", asc, 0o644); err != nil {
			t.Fatal(err)
		}
		if out := run(nil, "--status-fd", "1", "--verify", document+".asc", document); !bytes.Contains(out, []byte("VALIDSIG "+k.Fingerprint())) {
			t.Errorf("%s: gpg --verify says\n%s", alg, out)
		}
		run(sealed, "--passphrase", "secret", "--import")
		sig := run(nil, "--passphrase", "secret", "-u", k.Fingerprint(), "--armor", "--detach-sign", "-o", "-", document)
		if f, _, err := ring(t, k).VerifyArmored(strings.NewReader("<repomd/>\n"), sig); err != nil || f != k.Fingerprint() {
			t.Errorf("%s: gpg's signature with our key: %s, %v", alg, f, err)
		}
	}
	for _, alg := range []string{"rsa2048", "ed25519"} {
		user := "G " + alg + " <" + alg + "@example.org>"
		run(nil, "--passphrase", "theirs", "--quick-generate-key", user, alg, "default", "never")
		k, err := OpenPrivate(run(nil, "--passphrase", "theirs", "--armor", "--export-secret-keys", user), []byte("theirs"))
		if err != nil {
			t.Errorf("OpenPrivate of gpg's %s key: %v", alg, err)
			continue
		}
		sig, _, err := k.Sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		kr, err := ReadKeyring(run(nil, "--armor", "--export", user))
		if err != nil {
			t.Fatal(err)
		}
		if f, _, err := kr.Verify(strings.NewReader("x"), sig); err != nil || f != k.Fingerprint() {
			t.Errorf("signature by gpg's %s key: %s, %v", alg, f, err)
		}
	}
}

func FuzzParseSignature(f *testing.F) {
	k, err := ed25519Key()
	if err != nil {
		f.Fatal(err)
	}
	sig, _, err := k.At(signTime).Sign([]byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	kr := ring(f, k)
	f.Add(sig)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseSignature(b); err != nil && !errors.Is(err, albs.Invalid) {
			t.Fatalf("ParseSignature: %v is not Invalid", err)
		}
		if _, _, err := kr.Verify(strings.NewReader("y"), b); !errors.Is(err, albs.Invalid) {
			t.Fatalf("Verify of other content: %v", err)
		}
	})
}

func FuzzReadKeyring(f *testing.F) {
	k, err := ed25519Key()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(public(f, k))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ReadKeyring(b); err != nil && !errors.Is(err, albs.Invalid) {
			t.Fatalf("ReadKeyring: %v is not Invalid", err)
		}
	})
}

func benchmarkSign(b *testing.B, alg string) {
	k, header := keys(b)[alg], make([]byte, 4000)
	for b.Loop() {
		if _, _, err := k.Sign(header); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignRSA4096(b *testing.B) { benchmarkSign(b, RSA4096) }
func BenchmarkSignEd25519(b *testing.B) { benchmarkSign(b, Ed25519) }

func TestKeys(t *testing.T) {
	t.Parallel()
	for alg, k := range keys(t) {
		want := []PublicKey{{Fingerprint: k.Fingerprint(), UserID: map[string]string{
			RSA4096: "RSA Test <rsa@example.org>", Ed25519: "Ed25519 Test <ed@example.org>",
		}[alg], Algorithm: alg}}
		if got := ring(t, k).Keys(); !slices.Equal(got, want) {
			t.Errorf("Keys() = %v, want %v", got, want)
		}
	}
	// A key bears its user id as UserID spells it.
	id, err := UserID("Some Body   <some@example.org>")
	if err != nil || id != "Some Body <some@example.org>" {
		t.Errorf("UserID = %q, %v", id, err)
	}
	k, err := Generate("Some Body   <some@example.org>", Ed25519, keyTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := ring(t, k).Keys(); len(got) != 1 || got[0].UserID != id {
		t.Errorf("Keys() = %v, want the user id %q", got, id)
	}
	if _, err := UserID("a <b> c"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("UserID of another form = %v", err)
	}
}
