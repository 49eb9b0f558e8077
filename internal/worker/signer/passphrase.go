package signer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/tty"
)

const (
	passphraseName = "passphrase"
	maxSecret      = 4 << 10
	terminal       = "/dev/tty"
)

// Where a secret comes from.
const (
	FromFile       = "file"
	FromCredential = "credential" // systemd's, in $CREDENTIALS_DIRECTORY
	FromPrompt     = "prompt"     // asked for at the terminal, at each start
)

// secret is what somebody has to tell the signer at its start: the keys' passphrase or
// a token's PIN.
type secret struct {
	name       string // for people
	option     string // of the configuration, without _from and _file
	from, file string // as it says
	credential string // systemd's name, as LoadCredential= has it
	prompt     string
}

func (c Config) passphraseSecret() secret {
	return secret{"the signer's passphrase", "signer.passphrase", c.PassphraseFrom, c.PassphraseFile, "albs-signer-passphrase", "Passphrase of the signer's keys: "}
}

func (c Config) pinSecret() secret {
	return secret{"the token's PIN", "signer.token.pin", c.Token.PINFrom, c.Token.PINFile, "albs-signer-pin", "PIN of the token " + c.Token.Label + ": "}
}

// check is Invalid if the configuration names no one place for the secret.
func (s secret) check() error {
	switch s.from {
	case "", FromFile:
		return nil
	case FromCredential, FromPrompt:
		if s.file == "" {
			return nil
		}
		return albs.Errorf(albs.Invalid, "%[1]s_from is %s, and %[1]s_file names a file: which is it?", s.option, s.from)
	}
	return albs.Errorf(albs.Invalid, "%s_from is %.40q, none of %s, %s and %s", s.option, s.from, FromFile, FromCredential, FromPrompt)
}

// read returns the secret; fresh, which is for one that is asked for, wants it twice
// after those words.
func (s secret) read(ctx context.Context, fresh string) ([]byte, error) {
	switch s.from {
	case FromCredential:
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, albs.Errorf(albs.Invalid, "there are no credentials here: %s_from: credential is for a service of systemd with LoadCredential=%s:FILE", s.option, s.credential)
		}
		// systemd gives it to the service by an access list, which shows as the group's.
		return s.readFile(filepath.Join(dir, s.credential), 0o007)
	case FromPrompt:
		return s.ask(ctx, terminal, fresh)
	}
	return s.readFile(s.file, 0o077)
}

// passphrase returns what seals the keys, and whether it was made just now.
func (c Config) passphrase(ctx context.Context) (p []byte, made bool, err error) {
	s := c.passphraseSecret()
	if err := s.check(); err != nil {
		return nil, false, err
	}
	fresh := ""
	if s.from == FromPrompt {
		keys, err := os.ReadDir(filepath.Join(c.Dir, "keys"))
		if err != nil {
			return nil, false, fmt.Errorf("list keys: %w", err)
		}
		if len(keys) == 0 {
			fresh = "There are no keys yet. The same passphrase again: "
		}
	}
	if s.file == "" && (s.from == "" || s.from == FromFile) {
		s.file = filepath.Join(c.Dir, passphraseName)
		if made, err = makePassphrase(s.file); err != nil {
			return nil, false, fmt.Errorf("make the signer's passphrase: %w", err)
		}
	}
	p, err = s.read(ctx, fresh)
	return p, made, err
}

// readFile reads the file of a secret, which nobody of the forbidden mode may open.
func (s secret) readFile(path string, forbidden os.FileMode) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%s can't be read: %w", s.name, err)
	}
	if fi.Mode().Perm()&forbidden != 0 {
		return nil, albs.Errorf(albs.Invalid, "%s %s is open to others (mode %04o): chmod 600 it", s.name, path, fi.Mode().Perm())
	}
	b, err := disk.ReadFile(path, maxSecret)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%s can't be read: %w", s.name, err)
	}
	p := bytes.TrimRight(b, "\r\n")
	if len(p) == 0 {
		return nil, albs.Errorf(albs.Invalid, "%s %s is empty", s.name, path)
	}
	return p, nil
}

// makePassphrase writes a random passphrase unless there is one.
func makePassphrase(path string) (bool, error) {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	random := make([]byte, 32)
	rand.Read(random)
	return true, disk.CreateFile(path, []byte(base64.RawURLEncoding.EncodeToString(random)+"\n"), 0o600)
}

// ask has a person type the secret at the terminal that path names, unseen, and twice
// if there are words for that. It is Invalid if there is no terminal or nothing is typed,
// and ctx's error if that ends first.
func (s secret) ask(ctx context.Context, path, fresh string) (p []byte, err error) {
	t, err := tty.Open(path)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "there is no terminal to ask for %s at (%s_from: prompt): %w", s.name, s.option, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	line := func(prompt string) ([]byte, error) {
		b, err := t.Line(ctx, prompt)
		if err != nil && ctx.Err() == nil {
			err = albs.Errorf(albs.Invalid, "nothing was typed for %s: %w", s.name, err)
		}
		return b, err
	}
	if p, err = line(s.prompt); err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return nil, albs.Errorf(albs.Invalid, "nothing was typed for %s", s.name)
	}
	if fresh == "" {
		return p, nil
	}
	again, err := line(fresh)
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if !bytes.Equal(p, again) {
		return nil, albs.Errorf(albs.Invalid, "two different ones were typed for %s", s.name)
	}
	return p, nil
}
