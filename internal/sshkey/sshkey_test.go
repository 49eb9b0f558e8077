package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"albs/internal/albs"
)

var private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func public() ed25519.PublicKey { return private.Public().(ed25519.PublicKey) }

func TestParsePublic(t *testing.T) {
	t.Parallel()
	good := Public{public(), "ada@laptop"}
	if got, err := ParsePublic(good.String() + "\n"); err != nil || !got.Key.Equal(good.Key) || got.Comment != good.Comment {
		t.Errorf("ParsePublic(String()) = %v, %v", got, err)
	}
	if got, err := ParsePublic(Public{Key: public()}.String()); err != nil || got.Comment != "" {
		t.Errorf("without a comment: %v, %v", got, err)
	}
	for name, line := range map[string]string{
		"nothing":       "",
		"no key":        "ada",
		"options":       `command="x" ` + good.String(),
		"two lines":     good.String() + "\n" + good.String(),
		"another sort":  "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7r4yyGJ8xS3C8Xq4Q2oV7XlzJcQy7Bv5dY0yo3n8fQ1TgXo0kP8WgC0G9F3bq",
		"in hardware":   "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIBMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTAAAABHNzaDo=",
		"a long line":   good.String() + strings.Repeat("x", maxLine),
		"a bidi switch": good.String() + "\u202e",
		"half a key":    good.String()[:40],
	} {
		if got, err := ParsePublic(line); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v, %v; want Invalid", name, got, err)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	f.Add(Public{public(), "ada@laptop"}.String())
	f.Add("ssh-ed25519 AAAA")
	f.Fuzz(func(t *testing.T, line string) {
		p, err := ParsePublic(line)
		if err != nil {
			return
		}
		if again, err := ParsePublic(p.String()); err != nil || again.String() != p.String() {
			t.Errorf("%q is read as %q, and that as %q, %v", line, p, again, err)
		}
	})
}

func TestReadPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, perm os.FileMode, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, perm); err != nil {
			t.Fatal(err)
		}
		return path
	}
	encode := func(b *pem.Block, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(b)
	}
	plain := encode(ssh.MarshalPrivateKey(private, "ada"))
	sealed := encode(ssh.MarshalPrivateKeyWithPassphrase(private, "ada", []byte("horse")))
	says := func(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }
	never := func() ([]byte, error) { t.Error("a passphrase was asked for"); return nil, nil }
	nobody := errors.New("nobody is there")

	for name, path := range map[string]string{"plain": file("plain", 0o600, plain), "for reading": file("ro", 0o400, plain)} {
		if k, err := ReadPrivate(path, never); err != nil || !k.Equal(private) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k, err := ReadPrivate(file("sealed", 0o600, sealed), says("horse")); err != nil || !k.Equal(private) {
		t.Errorf("sealed: %v", err)
	}
	if _, err := ReadPrivate(file("sealed2", 0o600, sealed), func() ([]byte, error) { return nil, nobody }); !errors.Is(err, nobody) {
		t.Errorf("nobody says the passphrase: %v", err)
	}
	for name, tt := range map[string]struct {
		path string
		ask  func() ([]byte, error)
		says string
	}{
		"a wrong passphrase": {file("sealed3", 0o600, sealed), says("cow"), "doesn't open"},
		"open to others":     {file("open", 0o640, plain), never, "chmod 600"},
		"no key":             {file("text", 0o600, []byte("hello")), never, "ssh-keygen -t ed25519"},
		"a public key":       {file("pub", 0o600, []byte(Public{Key: public()}.String())), never, "ssh-keygen -t ed25519"},
		"nothing":            {filepath.Join(dir, "none"), never, "no such file"},
		"a folder":           {dir, never, "not a regular file"},
		"too much":           {file("large", 0o600, bytes.Repeat([]byte("x"), maxFile+1)), never, "bytes"},
	} {
		if _, err := ReadPrivate(tt.path, tt.ask); !errors.Is(err, albs.Invalid) && !errors.Is(err, albs.TooLarge) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

// TestKeygen reads what OpenSSH itself writes, and names keys as it does.
func TestKeygen(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	path := filepath.Join(t.TempDir(), "id")
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("-q", "-t", "ed25519", "-N", "correct horse", "-C", "ada@laptop", "-f", path)
	k, err := ReadPrivate(path, func() ([]byte, error) { return []byte("correct horse"), nil })
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePublic(string(text))
	if err != nil || !p.Key.Equal(k.Public()) || p.Comment != "ada@laptop" {
		t.Errorf("ParsePublic = %v, %v", p, err)
	}
	if want := run("-l", "-f", path+".pub"); !strings.Contains(want, Fingerprint(p.Key)) || Fingerprint(p.Key) == "" {
		t.Errorf("Fingerprint = %s, ssh-keygen says %s", Fingerprint(p.Key), want)
	}
}
