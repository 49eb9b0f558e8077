package pgp

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// texts are such as the framework has rules for.
var texts = map[string]string{
	"plain":           "one\ntwo\n",
	"no line's end":   "one\ntwo",
	"empty lines":     "\n\none\n\n\n",
	"dashes":          "-----BEGIN PGP SIGNATURE-----\n- two\n-\n",
	"trailing blanks": "one \t\n two  \n",
	"CRLF":            "one\r\ntwo\r\n",
	"a mail":          "From me to you\n",
	"one blank":       " ",
	"other letters":   "größer ≥ 3\n",
}

func TestClear(t *testing.T) {
	t.Parallel()
	k, err := Generate("Demo <demo@example.org>", Ed25519, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	kr, err := ReadKeyring(public)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Truncate(time.Second)
	for name, text := range texts {
		signed, err := k.At(at).SignClear([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, err := k.At(at).SignClear([]byte(text)); err != nil || !bytes.Equal(again, signed) {
			t.Errorf("%s: two signatures of the same second differ, %v", name, err)
		}
		if fpr, when, err := kr.VerifyClear(strings.NewReader(text), signed); err != nil || fpr != k.Fingerprint() || !when.Equal(at) {
			t.Errorf("%s: VerifyClear = %s, %v, %v of\n%s", name, fpr, when, err, signed)
		}
		for what, bad := range map[string][]byte{
			"another text":   bytes.Replace(signed, []byte("Hash: SHA256\n\n"), []byte("Hash: SHA256\n\nmore"), 1),
			"more before":    append([]byte("x\n"), signed...),
			"more behind":    append(bytes.Clone(signed), "x\n"...),
			"a broken armor": bytes.Replace(signed, []byte("-----END PGP SIGNATURE-----"), nil, 1),
			"nothing":        nil,
		} {
			if _, _, err := kr.VerifyClear(strings.NewReader(text), bad); !errors.Is(err, albs.Invalid) {
				t.Errorf("%s with %s: %v, want Invalid", name, what, err)
			}
		}
		if _, _, err := kr.VerifyClear(strings.NewReader(text+"more"), signed); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s against a longer text: %v, want Invalid", name, err)
		}
	}
	// A signature of one form is none of the other.
	detached, err := k.SignArmored(strings.NewReader("one"))
	if err != nil {
		t.Fatal(err)
	}
	mixed := append([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\none\n"), detached...)
	if _, _, err := kr.VerifyClear(strings.NewReader("one"), mixed); !errors.Is(err, albs.Invalid) {
		t.Errorf("a binary signature in clear text: %v, want Invalid", err)
	}
}

// TestClearByGPG has gpg judge, in a home of its own. No agent is asked, for nothing
// private is.
func TestClearByGPG(t *testing.T) {
	t.Parallel()
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Skip("gpg is not installed")
	}
	for _, alg := range []string{Ed25519, RSA4096} {
		if alg == RSA4096 && testing.Short() {
			continue // the text is hashed the same
		}
		k, err := Generate("Demo <demo@example.org>", alg, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		public, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		home := t.TempDir()
		run := func(args ...string) ([]byte, error) {
			cmd := exec.CommandContext(t.Context(), gpg, append([]string{"--homedir", home, "--no-autostart", "--batch", "--status-fd", "1"}, args...)...)
			return cmd.CombinedOutput()
		}
		file := func(name string, b []byte) string {
			path := filepath.Join(home, name)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		if out, err := run("--import", file("key.asc", public)); err != nil {
			t.Fatalf("gpg --import: %v: %s", err, out)
		}
		for name, text := range texts {
			signed, err := k.SignClear([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := run("--verify", file("text.asc", signed)); err != nil || !bytes.Contains(out, []byte("VALIDSIG "+k.Fingerprint())) {
				t.Errorf("%s, %s: gpg --verify: %v: %s", alg, name, err, out)
			}
			signed = bytes.Replace(signed, []byte("Hash: SHA256\n\n"), []byte("Hash: SHA256\n\nmore"), 1)
			if out, err := run("--verify", file("text.asc", signed)); err == nil {
				t.Errorf("%s, %s: gpg takes another text: %s", alg, name, out)
			}
		}
	}
}

func FuzzVerifyClear(f *testing.F) {
	k, err := Generate("Demo <demo@example.org>", Ed25519, time.Now().Add(-time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	public, err := k.Public()
	if err != nil {
		f.Fatal(err)
	}
	kr, err := ReadKeyring(public)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range texts {
		signed, err := k.SignClear([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text), signed)
	}
	f.Fuzz(func(t *testing.T, text, signed []byte) {
		if fpr, _, err := kr.VerifyClear(bytes.NewReader(text), signed); err == nil && fpr != k.Fingerprint() {
			t.Errorf("%q is taken as signed by %s", signed, fpr)
		}
	})
}
