package signer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/disk"
)

const (
	passphraseName = "passphrase"
	maxPassphrase  = 4 << 10
	// credentialName is that of systemd's credential, as LoadCredential= has it.
	credentialName = "albs-signer-passphrase"
	terminal       = "/dev/tty"
)

// Where the passphrase comes from.
const (
	FromFile       = "file"
	FromCredential = "credential" // systemd's, in $CREDENTIALS_DIRECTORY
	FromPrompt     = "prompt"     // asked for at the terminal, at each start
)

// checkPassphrase is Invalid if the configuration names no one place for the passphrase.
func (c Config) checkPassphrase() error {
	switch c.PassphraseFrom {
	case "", FromFile:
		return nil
	case FromCredential, FromPrompt:
		if c.PassphraseFile == "" {
			return nil
		}
		return albs.Errorf(albs.Invalid, "signer.passphrase_from is %s, and signer.passphrase_file names a file: which is it?", c.PassphraseFrom)
	}
	return albs.Errorf(albs.Invalid, "signer.passphrase_from is %.40q, none of %s, %s and %s", c.PassphraseFrom, FromFile, FromCredential, FromPrompt)
}

// passphrase returns what seals the keys, and whether it was made just now.
func (c Config) passphrase(ctx context.Context) (p []byte, made bool, err error) {
	if err := c.checkPassphrase(); err != nil {
		return nil, false, err
	}
	switch c.PassphraseFrom {
	case FromCredential:
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return nil, false, albs.Errorf(albs.Invalid, "there are no credentials here: signer.passphrase_from: credential is for a service of systemd with LoadCredential=%s:FILE", credentialName)
		}
		// systemd gives it to the service by an access list, which shows as the group's.
		p, err = readPassphrase(filepath.Join(dir, credentialName), 0o007)
		return p, false, err
	case FromPrompt:
		keys, err := os.ReadDir(filepath.Join(c.Dir, "keys"))
		if err != nil {
			return nil, false, fmt.Errorf("list keys: %w", err)
		}
		p, err = ask(ctx, terminal, len(keys) == 0)
		return p, false, err
	}
	path := c.PassphraseFile
	if path == "" {
		path = filepath.Join(c.Dir, passphraseName)
		made, err = makePassphrase(path)
		if err != nil {
			return nil, false, fmt.Errorf("make the signer's passphrase: %w", err)
		}
	}
	p, err = readPassphrase(path, 0o077)
	return p, made, err
}

// readPassphrase reads the file of a passphrase, which nobody of the forbidden mode
// may open.
func readPassphrase(path string, forbidden os.FileMode) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "the signer's passphrase can't be read: %w", err)
	}
	if fi.Mode().Perm()&forbidden != 0 {
		return nil, albs.Errorf(albs.Invalid, "the signer's passphrase %s is open to others (mode %04o): chmod 600 it", path, fi.Mode().Perm())
	}
	b, err := disk.ReadFile(path, maxPassphrase)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "the signer's passphrase can't be read: %w", err)
	}
	p := bytes.TrimRight(b, "\r\n")
	if len(p) == 0 {
		return nil, albs.Errorf(albs.Invalid, "the signer's passphrase %s is empty", path)
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

// ask has a person type the passphrase at the terminal that path names, unseen, and
// twice if it is a new one. It is Invalid if there is no terminal or nothing is typed,
// and ctx's error if that ends first.
func ask(ctx context.Context, path string, fresh bool) (p []byte, err error) {
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "there is no terminal to ask for the passphrase at (signer.passphrase_from: prompt): %w", err)
	}
	defer tty.Close()
	restore, err := silence(tty)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "the passphrase can't be asked for at %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, restore()) }()
	defer context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Now()) })()
	in := bufio.NewReaderSize(tty, maxPassphrase)
	line := func(prompt string) ([]byte, error) {
		if _, err := io.WriteString(tty, prompt); err != nil {
			return nil, err
		}
		b, err := in.ReadSlice('\n')
		_, werr := io.WriteString(tty, "\r\n")
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil || werr != nil:
			return nil, albs.Errorf(albs.Invalid, "no passphrase was typed: %w", errors.Join(err, werr))
		}
		return bytes.Clone(bytes.TrimRight(b, "\r\n")), nil
	}
	if p, err = line("Passphrase of the signer's keys: "); err != nil {
		return nil, err
	}
	if len(p) == 0 {
		return nil, albs.Errorf(albs.Invalid, "no passphrase was typed")
	}
	if !fresh {
		return p, nil
	}
	again, err := line("There are no keys yet. The same passphrase again: ")
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if !bytes.Equal(p, again) {
		return nil, albs.Errorf(albs.Invalid, "two different passphrases were typed")
	}
	return p, nil
}

// silence has a terminal show nothing of what is typed, until restore.
func silence(tty *os.File) (restore func() error, err error) {
	conn, err := tty.SyscallConn() // Fd would make reads wait beyond their deadline
	if err != nil {
		return nil, err
	}
	control := func(f func(fd int) error) error {
		var err error
		return errors.Join(conn.Control(func(fd uintptr) { err = f(int(fd)) }), err)
	}
	var old *unix.Termios
	err = control(func(fd int) (err error) {
		if old, err = unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return err
		}
		quiet := *old
		quiet.Lflag &^= unix.ECHO | unix.ECHONL
		quiet.Lflag |= unix.ICANON | unix.ISIG
		return unix.IoctlSetTermios(fd, unix.TCSETSF, &quiet)
	})
	return func() error {
		return control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETSF, old) })
	}, err
}
