// Package sshkey reads the keys that people sign approvals with: Ed25519 keys in
// OpenSSH's files, which they have already and know how to make, seal and move
// (ssh-keygen -t ed25519).
//
// It owns the formats and the bounds, not who a key belongs to and what its signature
// is worth: that is auth's on the master, and the policy's of a signer's operator. Keys in
// hardware (sk-ssh-ed25519) sign with a counter of their own and are refused, as is
// every other algorithm.
//
// Formats: a public key is a line of authorized_keys (sshd(8)), a private one an
// "OPENSSH PRIVATE KEY" (PROTOCOL.key of OpenSSH), sealed with a passphrase or not.
package sshkey

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unicode"

	"golang.org/x/crypto/ssh"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Bounds of what is read.
const (
	maxLine    = 1 << 10
	maxFile    = 16 << 10
	maxComment = 200
)

// Public is a person's public key.
type Public struct {
	Key     ed25519.PublicKey
	Comment string // as ssh-keygen wrote it: user@host
}

// ParsePublic reads one line as a file .pub has it: type, key, comment. It is Invalid if
// that is not a key of Ed25519 and nothing else; options before it are refused.
func ParsePublic(line string) (Public, error) {
	bad := func(why string) (Public, error) {
		return Public{}, albs.Errorf(albs.Invalid, "%.60q is no public key of Ed25519 as ssh-keygen -t ed25519 writes one to a file .pub: %s", line, why)
	}
	line = strings.TrimSpace(line)
	if len(line) > maxLine || strings.ContainsAny(line, "\r\n") {
		return bad(fmt.Sprintf("it is one line of at most %d bytes", maxLine))
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return bad(err.Error())
	case len(options) > 0:
		return bad("it has options before the key")
	case key.Type() != ssh.KeyAlgoED25519:
		return bad("it is of the type " + key.Type())
	case len(comment) > maxComment || strings.ContainsFunc(comment, func(r rune) bool { return !unicode.IsPrint(r) }):
		return bad(fmt.Sprintf("its comment is not %d bytes of plain text", maxComment))
	}
	raw, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(ed25519.PublicKey)
	if !ok {
		return bad("it holds no key of Ed25519")
	}
	return Public{raw, comment}, nil
}

// String returns the line that ParsePublic reads.
func (p Public) String() string {
	return strings.TrimSpace(line(p.Key) + " " + p.Comment)
}

func line(k ed25519.PublicKey) string {
	key, err := ssh.NewPublicKey(k)
	if err != nil { // a key of another length, which is never made
		return ""
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// Fingerprint returns the key's name among people, as ssh-keygen -l prints it:
// "SHA256:" and 43 letters of base64.
func Fingerprint(k ed25519.PublicKey) string {
	key, err := ssh.NewPublicKey(k)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}

// ReadPrivate reads the private key in the file path, which has to be the caller's own
// and readable by nobody else. ask is called if a passphrase seals it. It is Invalid for a
// file that isn't so, another sort of key or a wrong passphrase; ask's errors are passed on.
func ReadPrivate(path string, ask func() ([]byte, error)) (ed25519.PrivateKey, error) {
	b, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	raw, err := ssh.ParseRawPrivateKey(b)
	if _, sealed := errors.AsType[*ssh.PassphraseMissingError](err); sealed {
		passphrase, askErr := ask()
		if askErr != nil {
			return nil, askErr
		}
		defer clear(passphrase)
		if raw, err = ssh.ParseRawPrivateKeyWithPassphrase(b, passphrase); err != nil {
			return nil, albs.Errorf(albs.Invalid, "the passphrase doesn't open %s", path)
		}
	}
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%s is no private key of OpenSSH's: make one with ssh-keygen -t ed25519", path)
	}
	switch k := raw.(type) {
	case *ed25519.PrivateKey:
		return *k, nil
	case ed25519.PrivateKey: // in PKCS #8
		return k, nil
	}
	return nil, albs.Errorf(albs.Invalid, "%s holds a key of another algorithm than Ed25519: make one with ssh-keygen -t ed25519", path)
}

// readOwn reads a file that only its owner, the caller, may read.
func readOwn(path string) ([]byte, error) {
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, albs.Errorf(albs.Invalid, "private key: "+format, args...)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold the caller up
	if err != nil {
		return bad("%w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return bad("%w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return bad("%s is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return bad("%s can be read by others (mode %04o): chmod 600 it, and think of who has read it", path, info.Mode().Perm())
	case !ok || int(owner.Uid) != os.Geteuid():
		return bad("%s belongs to somebody else", path)
	}
	b, err := disk.ReadAll(f, path, maxFile)
	if err != nil {
		return bad("%w", err)
	}
	return b, nil
}
