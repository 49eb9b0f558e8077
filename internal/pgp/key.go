package pgp

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// The algorithms that Generate knows.
const (
	RSA4096 = "rsa4096" // what every supported rpm verifies; the default
	Ed25519 = "ed25519" // EdDSA, algorithm 22: rpm 4.19 and later
)

// Key is a signing key with its private part in memory. It may be used by many
// goroutines at once. Printing it shows no secret.
type Key struct {
	entity *openpgp.Entity
	at     time.Time // the date of its signatures; zero means the time of signing
}

// Generate makes a key for userID ("AlmaLinux 9 <packager@example.org>") that
// signs and certifies, has no subkey and never expires. alg is RSA4096 or
// Ed25519; now becomes its creation time. It returns an Invalid error for
// another alg or a user id of another form.
func Generate(userID, alg string, now time.Time) (*Key, error) {
	name, address, err := splitUserID(userID)
	if err != nil {
		return nil, err
	}
	// OpenPGP counts seconds; what is kept in memory shall equal what is read back.
	now = now.Truncate(time.Second)
	config := configAt(now)
	var e *openpgp.Entity
	switch alg {
	case RSA4096:
		// Not NewEntity: it would spend a second RSA key on an encryption subkey.
		raw, err := rsa.GenerateKey(rand.Reader, config.RSABits)
		if err != nil {
			return nil, fmt.Errorf("generate RSA key: %w", err)
		}
		priv := packet.NewSignerPrivateKey(now, raw)
		e = &openpgp.Entity{PrimaryKey: &priv.PublicKey, PrivateKey: priv, Identities: map[string]*openpgp.Identity{}}
		if err := e.AddUserId(name, "", address, config); err != nil {
			return nil, fmt.Errorf("certify user id of new key: %w", err)
		}
	case Ed25519:
		if e, err = openpgp.NewEntity(name, "", address, config); err != nil {
			return nil, fmt.Errorf("generate Ed25519 key: %w", err)
		}
		e.Subkeys = nil
	default:
		return nil, albs.Errorf(albs.Invalid, "key algorithm %.40q is neither %s nor %s", alg, RSA4096, Ed25519)
	}
	return &Key{entity: e}, nil
}

// OpenPrivate reads what SealPrivate or `gpg --armor --export-secret-keys` of one
// key wrote and decrypts its primary key; subkeys are left out. It returns an
// Invalid error if the passphrase is wrong, the key isn't encrypted, may not sign
// or isn't a key by this package's policy.
func OpenPrivate(armored, passphrase []byte) (*Key, error) {
	bodies, err := readArmored(armored, openpgp.PrivateKeyType)
	if err != nil {
		return nil, err
	}
	list, err := readEntities(bodies[0])
	if err != nil {
		return nil, err
	}
	if len(bodies) != 1 || len(list) != 1 {
		return nil, albs.Errorf(albs.Invalid, "a private key file must hold exactly one key")
	}
	e := list[0]
	e.Subkeys = nil
	if err := checkEntity(e); err != nil {
		return nil, err
	}
	name := fingerprint(e.PrimaryKey)
	switch self, _ := e.PrimarySelfSignature(); {
	case e.PrivateKey == nil || e.PrivateKey.Dummy():
		return nil, albs.Errorf(albs.Invalid, "key %s comes without its private part", name)
	case !self.FlagsValid || !self.FlagSign:
		return nil, albs.Errorf(albs.Invalid, "key %s is not meant for signing", name)
	case !e.PrivateKey.Encrypted:
		return nil, albs.Errorf(albs.Invalid, "private key %s isn't encrypted; seal it with a passphrase", name)
	}
	if err := e.PrivateKey.Decrypt(passphrase); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the passphrase doesn't open private key %s: %w", name, err)
	}
	return &Key{entity: e}, nil
}

// String returns the fingerprint, so that a Key printed by mistake tells no secret.
func (k *Key) String() string { return k.Fingerprint() }

// GoString returns the fingerprint, for the same reason.
func (k *Key) GoString() string { return k.Fingerprint() }

// Fingerprint returns the v4 fingerprint, 40 upper-case hex digits.
func (k *Key) Fingerprint() string { return fingerprint(k.entity.PrimaryKey) }

// Public returns the public key, ASCII-armored, as `rpmkeys --import` takes it.
func (k *Key) Public() ([]byte, error) {
	b, err := encode(openpgp.PublicKeyType, k.entity.Serialize)
	if err != nil {
		return nil, fmt.Errorf("write public key %s: %w", k.Fingerprint(), err)
	}
	return b, nil
}

// SealPrivate returns the private key, ASCII-armored and encrypted with a key
// derived from passphrase (iterated and salted SHA-256, AES-256), as gpg can
// import it. It returns an Invalid error for an empty passphrase. k stays usable.
func (k *Key) SealPrivate(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, albs.Errorf(albs.Invalid, "a private key is never sealed with an empty passphrase")
	}
	wrap := func(err error) error { return fmt.Errorf("seal private key %s: %w", k.Fingerprint(), err) }
	// Encryption works in place and would take the key from those who sign with
	// it; so a copy is made by writing and reading it.
	var plain bytes.Buffer
	if err := k.entity.SerializePrivateWithoutSigning(&plain, nil); err != nil {
		return nil, wrap(err)
	}
	list, err := readEntities(plain.Bytes())
	clear(plain.Bytes())
	if err != nil {
		return nil, wrap(err)
	}
	if err := list[0].EncryptPrivateKeys(passphrase, configAt(time.Now())); err != nil {
		return nil, wrap(err)
	}
	b, err := encode(openpgp.PrivateKeyType, func(w io.Writer) error {
		return list[0].SerializePrivateWithoutSigning(w, nil)
	})
	if err != nil {
		return nil, wrap(err)
	}
	return b, nil
}

// At returns a key whose signatures bear the time t instead of that of signing.
func (k *Key) At(t time.Time) *Key {
	return &Key{entity: k.entity, at: t}
}

// Sign returns a binary v4 signature packet over header and whether it is an RSA
// one, on which depends the tag that it has in an RPM (rpm.Splice).
func (k *Key) Sign(header []byte) (sig []byte, isRSA bool, err error) {
	sig, err = k.sign(bytes.NewReader(header))
	return sig, k.entity.PrimaryKey.PubKeyAlgo != packet.PubKeyAlgoEdDSA, err
}

// SignArmored returns an ASCII-armored detached signature over all of r, as
// repomd.xml.asc has it.
func (k *Key) SignArmored(r io.Reader) ([]byte, error) {
	sig, err := k.sign(r)
	if err != nil {
		return nil, err
	}
	return encode(openpgp.SignatureType, func(w io.Writer) error {
		_, err := w.Write(sig)
		return err
	})
}

func (k *Key) sign(r io.Reader) ([]byte, error) {
	at := k.at
	if at.IsZero() {
		at = time.Now()
	}
	wrap := func(err error) error { return fmt.Errorf("sign with key %s: %w", k.Fingerprint(), err) }
	config := configAt(at)
	id := k.entity.PrimaryKey.KeyId
	sig := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: k.entity.PrimaryKey.PubKeyAlgo,
		Hash: config.Hash(), CreationTime: at, IssuerKeyId: &id,
	}
	h, err := sig.PrepareSign(config)
	if err != nil {
		return nil, wrap(err)
	}
	if _, err := io.Copy(h, r); err != nil {
		return nil, wrap(err)
	}
	if err := sig.Sign(h, k.entity.PrivateKey, config); err != nil {
		return nil, wrap(err)
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return nil, wrap(err)
	}
	return b.Bytes(), nil
}
