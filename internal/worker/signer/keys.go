package signer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/pgp"
)

const maxKeyFile = 256 << 10

// keyFile is one key on disk.
type keyFile struct {
	Fingerprint string      `json:"fingerprint"`
	UserID      string      `json:"user_id"`
	Algorithm   string      `json:"algorithm"`
	Created     time.Time   `json:"created"`
	Task        albs.TaskID `json:"task,omitempty"` // that it was made for
	Products    []string    `json:"products"`       // that it may sign for; none is any
	Public      string      `json:"public"`         // ASCII-armored
	Private     string      `json:"private"`        // ASCII-armored, sealed with the passphrase
}

// key is one key in memory.
type key struct {
	file    keyFile
	private *pgp.Key
}

// keys are the keys that the signer holds. It may be used concurrently.
type keys struct {
	dir        string
	passphrase []byte

	mu   sync.Mutex
	held map[string]key // by fingerprint
}

// openKeys opens every key of the directory; one that doesn't open, because the
// passphrase is wrong or the file is damaged, is Invalid.
func openKeys(dir string, passphrase []byte) (*keys, error) {
	k := &keys{dir: dir, passphrase: bytes.Clone(passphrase), held: map[string]key{}}
	files, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	for _, file := range files {
		if filepath.Ext(file.Name()) != ".json" { // one that a crash left half-written
			continue
		}
		path := filepath.Join(dir, "keys", file.Name())
		b, err := disk.ReadFile(path, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read key: %w", err)
		}
		var f keyFile
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			return nil, albs.Errorf(albs.Invalid, "%s holds no key: restore it from a backup", path) // no cause: it could quote the file
		}
		private, err := pgp.OpenPrivate([]byte(f.Private), passphrase)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		if private.Fingerprint() != f.Fingerprint || file.Name() != f.Fingerprint+".json" {
			return nil, albs.Errorf(albs.Invalid, "%s holds the key %s: it was exchanged", path, private.Fingerprint())
		}
		k.held[f.Fingerprint] = key{f, private}
	}
	return k, nil
}

// files returns the keys by fingerprint.
func (k *keys) files() []keyFile {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []keyFile
	for _, fpr := range slices.Sorted(maps.Keys(k.held)) {
		out = append(out, k.held[fpr].file)
	}
	return out
}

// get returns the key of a fingerprint, or Forbidden.
func (k *keys) get(fingerprint string) (key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.held[fingerprint]
	if !ok {
		return key{}, albs.Errorf(albs.Forbidden, "this signer doesn't hold key %.60q", fingerprint)
	}
	return found, nil
}

// madeFor returns the key that an earlier attempt of a task made.
func (k *keys) madeFor(task albs.TaskID, spec albs.KeygenSpec) (key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range k.held {
		if x.file.Task == task && x.file.UserID == spec.Name && x.file.Algorithm == spec.Algorithm && slices.Equal(x.file.Products, spec.Products) {
			return x, true
		}
	}
	return key{}, false
}

// add seals a new key and writes it; it is durable on return. It is Invalid if the
// file would be larger than openKeys takes.
func (k *keys) add(private *pgp.Key, f keyFile) error {
	public, err := private.Public()
	if err != nil {
		return err
	}
	sealed, err := private.SealPrivate(k.passphrase)
	if err != nil {
		return err
	}
	f.Fingerprint, f.Public, f.Private = private.Fingerprint(), string(public), string(sealed)
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if len(b) > maxKeyFile {
		return albs.Errorf(albs.Invalid, "the key is for too many products: its file would have %d bytes, %d are allowed", len(b), maxKeyFile)
	}
	if err := disk.WriteFile(filepath.Join(k.dir, "keys", f.Fingerprint+".json"), b, 0o600); err != nil {
		return fmt.Errorf("keep key %s: %w", f.Fingerprint, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[f.Fingerprint] = key{f, private}
	return nil
}
