// Package keyfile keeps the key of a role's own statements in a file.
package keyfile

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"albs/internal/albs"
	"albs/internal/disk"
)

const (
	keyType = "PRIVATE KEY" // PKCS #8 in PEM, as openssl genpkey -algorithm ed25519 writes it
	maxKey  = 4 << 10
)

// LoadOrCreate returns the Ed25519 key of a role's own statements, as the master's, from the
// file at path, and makes one there, mode 0600 and durable, if there is none. A
// file that others may read or write is Forbidden, one that holds something else
// Invalid; neither is touched. The file belongs into every backup: a lost key
// can't go on with what it signed.
func LoadOrCreate(path string) (ed25519.PrivateKey, error) {
	key, err := load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make statement key: %w", err)
	}
	return load(path)
}

func load(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open statement key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open statement key: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, albs.Errorf(albs.Forbidden, "the statement key %s is open to others (mode %04o): chmod 600 it, and think of who may have read it", path, fi.Mode().Perm())
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxKey {
		return nil, albs.Errorf(albs.Invalid, "%s is no file with a key", path)
	}
	b := make([]byte, fi.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read statement key: %w", err)
	}
	invalid := albs.Errorf(albs.Invalid, "%s holds no Ed25519 key in PEM (PKCS #8): restore it from a backup", path)
	block, rest := pem.Decode(b)
	if block == nil || block.Type != keyType || len(rest) > 0 {
		return nil, invalid
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, invalid
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, invalid
	}
	return key, nil
}

// create writes a new key to path, whole or not at all; fs.ErrExist if another
// process was first.
func create(path string) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return disk.CreateFile(path, pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}), 0o600)
}
