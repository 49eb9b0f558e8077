package notice

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Key is the secret of the master from which the keys of webhooks are made. The database
// has nothing of it, so who reads that can sign nothing.
type Key [sha256.Size]byte

// LoadOrCreateKey returns the key in the file at path, and makes one there, mode 0600 and
// durable, if there is none. A file that others may read is Forbidden, one that holds
// something else Invalid. It belongs into every backup: with another key every receiver
// has to be given a new one.
func LoadOrCreateKey(path string) (Key, error) {
	k, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	rand.Read(k[:]) // never fails: crypto/rand ends the process instead
	if err := disk.CreateFile(path, []byte(hex.EncodeToString(k[:])+"\n"), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return k, fmt.Errorf("make the key of notices: %w", err)
	}
	return loadKey(path)
}

func loadKey(path string) (k Key, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, fmt.Errorf("read the key of notices: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return k, albs.Errorf(albs.Forbidden, "the key of notices %s is open to others (mode %04o): chmod 600 it, and think of who may have read it", path, info.Mode().Perm())
	}
	b, err := disk.ReadFile(path, 1024)
	if err != nil {
		return k, fmt.Errorf("read the key of notices: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != len(k) {
		return k, albs.Errorf(albs.Invalid, "%s holds no key of notices (%d hex digits): restore it from a backup", path, 2*len(k))
	}
	return Key(raw), nil
}

// of returns the key of the webhook with a salt.
func (k Key) of(salt string) []byte {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte("albs webhook\n" + salt))
	return h.Sum(nil)
}

// spelt returns a webhook's key as Standard Webhooks serializes one.
func spelt(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

// Headers of a webhook, and what they hold, as the specification Standard Webhooks has
// them (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
const (
	headerID        = "Webhook-Id"
	headerTime      = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// signature returns the value of Webhook-Signature: over the message's id, the time of
// this attempt in seconds and the body.
func signature(key []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}
