package signer

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
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
	"albs/internal/worker/signer/token"
)

const maxKeyFile = 256 << 10

// keyFile is one key on disk.
type keyFile struct {
	Fingerprint string      `json:"fingerprint"`
	Subkey      string      `json:"subkey,omitempty"` // fingerprint of the subkey that signs, if one does
	UserID      string      `json:"user_id"`
	Algorithm   string      `json:"algorithm"`
	Created     time.Time   `json:"created"`
	Task        albs.TaskID `json:"task,omitempty"` // that it was made for
	Products    []string    `json:"products"`       // that it may sign for; none is any
	NotBefore   time.Time   `json:"not_before,omitzero"`
	NotAfter    time.Time   `json:"not_after,omitzero"`
	Public      string      `json:"public"`            // ASCII-armored
	Private     string      `json:"private,omitempty"` // ASCII-armored, sealed with the passphrase
	Token       *inToken    `json:"token,omitempty"`   // where the private part is in place of that
	Revoked     *revoked    `json:"revoked,omitempty"` // it signs nothing any more
}

// inToken says which key pairs of a token a key was made around.
type inToken struct {
	Label   string `json:"label"`             // the token's
	Primary string `json:"primary"`           // the id of a pair
	Signing string `json:"signing,omitempty"` // the subkey's
}

// revoked says that a key was revoked, and why.
type revoked struct {
	At     time.Time   `json:"at"`
	Task   albs.TaskID `json:"task"`
	Reason string      `json:"reason"`
	Text   string      `json:"text,omitempty"`
}

// kept says where the private part is.
func (f keyFile) kept() string {
	if f.Token != nil {
		return albs.KeptInToken
	}
	return albs.KeptInFile
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
	token      *token.Token // nil if there is none
	label      string       // the token's

	mu   sync.Mutex
	held map[string]key // by fingerprint
}

// openKeys opens every key of the directory; one that doesn't open, because the
// passphrase is wrong, the file is damaged or the token lacks it, is Invalid.
func openKeys(dir string, passphrase []byte, t *token.Token, label string) (*keys, error) {
	k := &keys{dir: dir, passphrase: bytes.Clone(passphrase), token: t, label: label, held: map[string]key{}}
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
		private, err := k.open(f)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", path, err)
		}
		if private.Fingerprint() != f.Fingerprint || private.Subkey() != f.Subkey || file.Name() != f.Fingerprint+".json" {
			return nil, albs.Errorf(albs.Invalid, "%s holds the key %s: it was exchanged", path, private.Fingerprint())
		}
		k.held[f.Fingerprint] = key{f, private}
	}
	return k, nil
}

// open finds the private part of a key.
func (k *keys) open(f keyFile) (*pgp.Key, error) {
	if f.Token == nil {
		return pgp.OpenPrivate([]byte(f.Private), k.passphrase)
	}
	if k.token == nil || f.Token.Label != k.label {
		return nil, albs.Errorf(albs.Invalid, "the key is in the token %q: name that in signer.token", f.Token.Label)
	}
	primary, err := k.token.Signer(f.Token.Primary)
	if err != nil {
		return nil, err
	}
	var signing crypto.Signer
	if f.Token.Signing != "" {
		if signing, err = k.token.Signer(f.Token.Signing); err != nil {
			return nil, err
		}
	}
	return pgp.Open([]byte(f.Public), primary, signing)
}

// away returns why the keys in the token can't be used now, "" if they can or there is
// no token.
func (k *keys) away() string {
	if k.token == nil {
		return ""
	}
	if err := k.token.Ready(); err != nil {
		return err.Error()
	}
	return ""
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

// get returns the key of a fingerprint, also one that is revoked, or Forbidden.
func (k *keys) get(fingerprint string) (key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.held[fingerprint]
	if !ok {
		return key{}, albs.Errorf(albs.Forbidden, "this signer doesn't hold key %.60q", fingerprint)
	}
	return found, nil
}

// usable is get for a key that may sign; one that is revoked is Forbidden.
func (k *keys) usable(fingerprint string) (key, error) {
	found, err := k.get(fingerprint)
	if err == nil && found.file.Revoked != nil {
		return key{}, albs.Errorf(albs.Forbidden, "key %s was revoked at %s, %s, and signs nothing any more",
			fingerprint, day(found.file.Revoked.At), found.file.Revoked.Reason)
	}
	return found, err
}

// madeFor returns the key that an earlier attempt of a task made.
func (k *keys) madeFor(task albs.TaskID, spec albs.KeygenSpec) (key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, x := range k.held {
		f := x.file
		if f.Task == task && f.UserID == spec.Name && f.Algorithm == spec.Algorithm && slices.Equal(f.Products, spec.Products) && (f.Subkey != "") == spec.Subkey {
			return x, true
		}
	}
	return key{}, false
}

// make makes a key as a task asks for, in the token if there is one, else in memory. It
// isn't kept yet: where it is in the token it is forgotten with drop.
func (k *keys) make(spec albs.KeygenSpec, now time.Time) (_ *pgp.Key, _ *inToken, err error) {
	if k.token == nil {
		generate := pgp.Generate
		if spec.Subkey {
			generate = pgp.GenerateWithSubkey
		}
		private, err := generate(spec.Name, spec.Algorithm, now)
		return private, nil, err
	}
	if _, err := pgp.UserID(spec.Name); err != nil { // before the token makes anything
		return nil, nil, err
	}
	in := &inToken{Label: k.label}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.drop(in))
		}
	}()
	var primary, signing crypto.Signer
	if in.Primary, primary, err = k.token.Generate(spec.Algorithm, spec.Name); err != nil {
		return nil, nil, err
	}
	if spec.Subkey {
		if in.Signing, signing, err = k.token.Generate(spec.Algorithm, spec.Name+" (subkey)"); err != nil {
			return nil, nil, err
		}
	}
	private, err := pgp.New(spec.Name, primary, signing, now)
	return private, in, err
}

// drop takes a key that came to nothing out of the token.
func (k *keys) drop(in *inToken) error {
	if in == nil {
		return nil
	}
	var errs []error
	for _, id := range []string{in.Primary, in.Signing} {
		if id == "" {
			continue
		}
		if err := k.token.Remove(id); err != nil {
			errs = append(errs, fmt.Errorf("a key pair that nobody uses stays in the token as %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

// add seals a new key, unless it is in the token, and writes it; it is durable on
// return. It is Invalid if the file would be larger than openKeys takes.
func (k *keys) add(private *pgp.Key, f keyFile) error {
	public, err := private.Public()
	if err != nil {
		return err
	}
	if f.Token == nil {
		sealed, err := private.SealPrivate(k.passphrase)
		if err != nil {
			return err
		}
		f.Private = string(sealed)
	}
	f.Fingerprint, f.Subkey, f.Public = private.Fingerprint(), private.Subkey(), string(public)
	return k.write(private, f)
}

// end keeps that a key was revoked and its public part with the certificate of that; it
// is durable on return.
func (k *keys) end(x key, why revoked, public []byte) error {
	x.file.Revoked, x.file.Public = &why, string(public)
	return k.write(x.private, x.file)
}

func (k *keys) write(private *pgp.Key, f keyFile) error {
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
