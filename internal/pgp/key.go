package pgp

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ed25519"
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

// Key is a signing key with its private part in memory, or in a token that signs with
// it. It may be used by many goroutines at once. Printing it shows no secret.
type Key struct {
	entity *openpgp.Entity
	sub    *openpgp.Subkey // that signs in place of the primary key; nil if there is none
	// primary and signing are what has the private parts outside of memory; nil if they
	// are in entity.
	primary, signing crypto.Signer

	at time.Time // the date of its signatures; zero means the time of signing
}

// Generate makes a key for userID ("AlmaLinux 9 <packager@example.org>") that
// signs and certifies, has no subkey and never expires. alg is RSA4096 or
// Ed25519; now becomes its creation time. It returns an Invalid error for
// another alg or a user id of another form.
func Generate(userID, alg string, now time.Time) (*Key, error) {
	primary, err := generate(alg)
	if err != nil {
		return nil, err
	}
	return New(userID, primary, nil, now)
}

// GenerateWithSubkey is Generate for a key that only certifies, and has a subkey of the
// same algorithm that signs.
func GenerateWithSubkey(userID, alg string, now time.Time) (*Key, error) {
	primary, err := generate(alg)
	if err != nil {
		return nil, err
	}
	signing, err := generate(alg)
	if err != nil {
		return nil, err
	}
	return New(userID, primary, signing, now)
}

func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case RSA4096:
		raw, err := rsa.GenerateKey(rand.Reader, rsaBits)
		if err != nil {
			return nil, fmt.Errorf("generate RSA key: %w", err)
		}
		return raw, nil
	case Ed25519:
		_, raw, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate Ed25519 key: %w", err)
		}
		return raw, nil
	}
	return nil, albs.Errorf(albs.Invalid, "key algorithm %.40q is neither %s nor %s", alg, RSA4096, Ed25519)
}

// New makes an OpenPGP key for userID around key pairs: of RSA with 2,048 bits or more,
// or Ed25519. primary certifies; signing, if it isn't nil, becomes a subkey and signs
// packages, else primary does that too. They may lie elsewhere, such as in a token: then
// the key can't be sealed. now becomes its creation time. It is Invalid for other key
// pairs or a user id of another form; an error of the pairs is returned as it is.
func New(userID string, primary, signing crypto.Signer, now time.Time) (*Key, error) {
	name, address, err := splitUserID(userID)
	if err != nil {
		return nil, err
	}
	// OpenPGP counts seconds; what is kept in memory shall equal what is read back.
	now = now.Truncate(time.Second)
	config := configAt(now)
	priv, told, err := privateKey(primary, now)
	if err != nil {
		return nil, err
	}
	e := &openpgp.Entity{PrimaryKey: &priv.PublicKey, PrivateKey: priv, Identities: map[string]*openpgp.Identity{}}
	if err := e.AddUserId(name, "", address, config); err != nil || told.err != nil {
		return nil, fmt.Errorf("certify user id of new key: %w", cmp.Or(told.err, err))
	}
	k := &Key{entity: e, primary: outside(primary)}
	if signing == nil {
		return k, checkEntity(e)
	}
	for _, id := range e.Identities { // the one
		id.SelfSignature.FlagSign = false
		if err := id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, priv, config); err != nil || told.err != nil {
			return nil, fmt.Errorf("certify user id of new key: %w", cmp.Or(told.err, err))
		}
	}
	sub, _, err := privateKey(signing, now)
	if err != nil {
		return nil, err
	}
	sub.IsSubkey = true
	sig, err := bind(primary, e.PrimaryKey, signing, &sub.PublicKey, now)
	if err != nil {
		return nil, fmt.Errorf("bind signing subkey to new key: %w", err)
	}
	e.Subkeys = []openpgp.Subkey{{PublicKey: &sub.PublicKey, PrivateKey: sub, Sig: sig}}
	k.sub, k.signing = &e.Subkeys[0], outside(signing)
	return k, checkEntity(e)
}

// OpenPrivate reads what SealPrivate or `gpg --armor --export-secret-keys` of one
// key wrote and decrypts it. Of subkeys the newest that signs is kept, and signs; the
// others are left out. It returns an Invalid error if the passphrase is wrong, the key
// isn't encrypted, may not sign or isn't a key by this package's policy.
func OpenPrivate(armored, passphrase []byte) (*Key, error) {
	e, err := oneEntity(armored, openpgp.PrivateKeyType)
	if err != nil {
		return nil, err
	}
	k := &Key{entity: e, sub: keepSigning(e)}
	if err := checkEntity(e); err != nil {
		return nil, err
	}
	name := k.Fingerprint()
	whole := func(p *packet.PrivateKey) error {
		switch {
		case p == nil || p.Dummy():
			return albs.Errorf(albs.Invalid, "key %s comes without its private part", name)
		case !p.Encrypted:
			return albs.Errorf(albs.Invalid, "private key %s isn't encrypted; seal it with a passphrase", name)
		}
		return nil
	}
	if err := whole(e.PrivateKey); err != nil {
		return nil, err
	}
	if k.sub != nil {
		if err := whole(k.sub.PrivateKey); err != nil {
			return nil, err
		}
	} else if self, _ := e.PrimarySelfSignature(); !self.FlagsValid || !self.FlagSign {
		return nil, albs.Errorf(albs.Invalid, "key %s is not meant for signing", name)
	}
	if err := e.DecryptPrivateKeys(passphrase); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the passphrase doesn't open private key %s: %w", name, err)
	}
	return k, nil
}

// oneEntity reads an armored file that holds exactly one key.
func oneEntity(armored []byte, blockType string) (*openpgp.Entity, error) {
	bodies, err := readArmored(armored, blockType)
	if err != nil {
		return nil, err
	}
	list, err := readEntities(bodies[0])
	if err != nil {
		return nil, err
	}
	if len(bodies) != 1 || len(list) != 1 {
		return nil, albs.Errorf(albs.Invalid, "a key file must hold exactly one key")
	}
	return list[0], nil
}

// keepSigning takes all subkeys from e but the newest that signs, and returns that; nil
// if there is none.
func keepSigning(e *openpgp.Entity) *openpgp.Subkey {
	var kept []openpgp.Subkey
	for _, s := range e.Subkeys {
		if s.Sig != nil && s.Sig.FlagsValid && s.Sig.FlagSign && len(s.Revocations) == 0 &&
			(kept == nil || s.Sig.CreationTime.After(kept[0].Sig.CreationTime)) {
			kept = []openpgp.Subkey{s}
		}
	}
	if e.Subkeys = kept; kept == nil {
		return nil
	}
	return &kept[0]
}

// String returns the fingerprint, so that a Key printed by mistake tells no secret.
func (k *Key) String() string { return k.Fingerprint() }

// GoString returns the fingerprint, for the same reason.
func (k *Key) GoString() string { return k.Fingerprint() }

// Fingerprint returns the v4 fingerprint, 40 upper-case hex digits.
func (k *Key) Fingerprint() string { return fingerprint(k.entity.PrimaryKey) }

// Subkey returns the fingerprint of the subkey that signs, "" if the primary key does.
func (k *Key) Subkey() string {
	if k.sub == nil {
		return ""
	}
	return fingerprint(k.sub.PublicKey)
}

// signer returns the public part of what signs.
func (k *Key) signer() *packet.PublicKey {
	if k.sub != nil {
		return k.sub.PublicKey
	}
	return k.entity.PrimaryKey
}

// Public returns the public key with its subkey, ASCII-armored, as `rpmkeys --import` takes it.
func (k *Key) Public() ([]byte, error) {
	b, err := encode(openpgp.PublicKeyType, k.entity.Serialize)
	if err != nil {
		return nil, fmt.Errorf("write public key %s: %w", k.Fingerprint(), err)
	}
	return b, nil
}

// SealPrivate returns the private key, ASCII-armored and encrypted with a key
// derived from passphrase (iterated and salted SHA-256, AES-256), as gpg can
// import it. It returns an Invalid error for an empty passphrase, or a key whose private
// part is outside. k stays usable.
func (k *Key) SealPrivate(passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, albs.Errorf(albs.Invalid, "a private key is never sealed with an empty passphrase")
	}
	if k.primary != nil || k.signing != nil {
		return nil, albs.Errorf(albs.Invalid, "key %s can't be sealed: its private part isn't here", k.Fingerprint())
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
	at := *k
	at.at = t
	return &at
}

// Sign returns a binary v4 signature packet over header and whether it is an RSA
// one, on which depends the tag that it has in an RPM (rpm.Splice).
func (k *Key) Sign(header []byte) (sig []byte, isRSA bool, err error) {
	sig, err = k.sign(bytes.NewReader(header), packet.SigTypeBinary)
	return sig, k.signer().PubKeyAlgo != packet.PubKeyAlgoEdDSA, err
}

// SignArmored returns an ASCII-armored detached signature over all of r, as
// repomd.xml.asc has it.
func (k *Key) SignArmored(r io.Reader) ([]byte, error) {
	sig, err := k.sign(r, packet.SigTypeBinary)
	if err != nil {
		return nil, err
	}
	return armorSignature(sig)
}

func armorSignature(sig []byte) ([]byte, error) {
	return encode(openpgp.SignatureType, func(w io.Writer) error {
		_, err := w.Write(sig)
		return err
	})
}

func (k *Key) sign(r io.Reader, typ packet.SignatureType) ([]byte, error) {
	at := k.at
	if at.IsZero() {
		at = time.Now()
	}
	wrap := func(err error) error { return fmt.Errorf("sign with key %s: %w", k.Fingerprint(), err) }
	config := configAt(at)
	public := k.signer()
	sig := &packet.Signature{
		Version: 4, SigType: typ, PubKeyAlgo: public.PubKeyAlgo,
		Hash: config.Hash(), CreationTime: at, IssuerKeyId: &public.KeyId,
	}
	h, err := sig.PrepareSign(config)
	if err != nil {
		return nil, wrap(err)
	}
	if _, err := io.Copy(h, r); err != nil {
		return nil, wrap(err)
	}
	priv, told, err := k.private()
	if err != nil {
		return nil, wrap(err)
	}
	if err := sig.Sign(h, priv, config); err != nil || told.err != nil {
		return nil, wrap(cmp.Or(told.err, err))
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return nil, wrap(err)
	}
	return b.Bytes(), nil
}
