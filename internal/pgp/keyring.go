package pgp

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signature is what a signature packet claims of itself; only Keyring.Verify
// makes it true.
type Signature struct {
	KeyID string    // the last 16 digits of the (sub)key's fingerprint
	RSA   bool      // else EdDSA
	At    time.Time // when it says it was made
}

// ParseSignature reads one binary v4 signature packet. It returns an Invalid
// error if b is not exactly one, or one of an algorithm or hash that this
// package's policy refuses.
func ParseSignature(b []byte) (Signature, error) {
	sig, err := parse(b, packet.SigTypeBinary)
	if err != nil {
		return Signature{}, err
	}
	return Signature{
		KeyID: fmt.Sprintf("%016X", *sig.IssuerKeyId),
		RSA:   sig.PubKeyAlgo != packet.PubKeyAlgoEdDSA,
		At:    sig.CreationTime,
	}, nil
}

func parse(b []byte, typ packet.SignatureType) (*packet.Signature, error) {
	if len(b) > maxSignature {
		return nil, albs.Errorf(albs.Invalid, "signature packet has %d bytes, %d are allowed", len(b), maxSignature)
	}
	r := bytes.NewReader(b)
	p, err := packet.Read(r)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "read signature packet: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	refuse := func(why string) (*packet.Signature, error) {
		return nil, albs.Errorf(albs.Invalid, "signature packet is refused: %s", why)
	}
	switch {
	case !ok || r.Len() != 0:
		return refuse("it isn't one signature and nothing else")
	case sig.Version != 4 || sig.SigType != typ:
		return refuse(map[packet.SignatureType]string{
			packet.SigTypeBinary: "it isn't a binary signature of version 4", packet.SigTypeText: "it isn't a signature of text, of version 4",
		}[typ])
	case sig.IssuerKeyId == nil:
		return refuse("it names no issuer")
	case !strongHash(sig.Hash):
		return refuse("it uses " + sig.Hash.String())
	}
	switch sig.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoEdDSA:
		return sig, nil
	}
	return refuse(fmt.Sprintf("algorithm %d is neither RSA nor EdDSA (22)", sig.PubKeyAlgo))
}

// Keyring is a set of public keys that signatures are checked against. It may be
// used by many goroutines at once.
type Keyring struct{ keys openpgp.EntityList }

// ReadKeyring reads public keys: in each argument any number of armored blocks, or
// their bare packets, as Compact returns them.
// It returns an Invalid error if one of them can't be read, is refused by this
// package's policy or is a private key.
func ReadKeyring(keys ...[]byte) (*Keyring, error) {
	kr := &Keyring{}
	for _, k := range keys {
		bodies, err := readPublic(k)
		if err != nil {
			return nil, err
		}
		for _, body := range bodies {
			list, err := readEntities(body)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				if e.PrivateKey != nil {
					return nil, albs.Errorf(albs.Invalid, "the keyring holds the private part of key %s", fingerprint(e.PrimaryKey))
				}
				if err := checkEntity(e); err != nil {
					return nil, err
				}
			}
			if kr.keys = append(kr.keys, list...); len(kr.keys) > maxKeys {
				return nil, albs.Errorf(albs.Invalid, "more than %d OpenPGP keys in one keyring", maxKeys)
			}
		}
	}
	return kr, nil
}

// readPublic returns the packets of public keys that are armored, or aren't: the first
// bit of a packet is set, and no text of armor has it.
func readPublic(b []byte) ([][]byte, error) {
	if len(b) == 0 || b[0] < 0x80 {
		return readArmored(b, openpgp.PublicKeyType)
	}
	if len(b) > maxArmored {
		return nil, albs.Errorf(albs.Invalid, "OpenPGP keys have %d bytes, %d are allowed", len(b), maxArmored)
	}
	return [][]byte{b}, nil
}

// Compact returns, as bare packets, what of public keys it takes to verify by them: each
// primary key with its revocation, its primary user id as its owner certified it, and the
// subkeys that sign and aren't revoked. The certifications of others go, which make up
// most of a well-known key, and so do subkeys for anything else. Whatever the keys
// verify, these do. It is Invalid for what ReadKeyring refuses.
func Compact(public []byte) ([]byte, error) {
	kr, err := ReadKeyring(public)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, e := range kr.keys {
		own := openpgp.Entity{PrimaryKey: e.PrimaryKey, Revocations: e.Revocations}
		if e.SelfSignature != nil {
			own.Signatures = []*packet.Signature{e.SelfSignature}
		}
		if id := e.PrimaryIdentity(); id != nil {
			kept := *id
			if kept.Signatures = slices.Clone(id.Revocations); id.SelfSignature != nil {
				kept.Signatures = append([]*packet.Signature{id.SelfSignature}, kept.Signatures...)
			}
			own.Identities = map[string]*openpgp.Identity{id.Name: &kept}
		}
		for _, s := range e.Subkeys {
			if s.Sig != nil && s.Sig.FlagSign && len(s.Revocations) == 0 {
				own.Subkeys = append(own.Subkeys, s)
			}
		}
		if err := own.Serialize(&out); err != nil {
			return nil, albs.Errorf(albs.Invalid, "write public key %s: %w", fingerprint(e.PrimaryKey), err)
		}
	}
	return out.Bytes(), nil
}

// PublicKey is what a public key says of itself.
type PublicKey struct {
	Fingerprint string
	UserID      string // the primary one
	// Algorithm is RSA4096 or Ed25519, or for a key that Generate doesn't make
	// "rsa" and its bits.
	Algorithm string
	// Subkey is the fingerprint of the newest subkey that signs, "" if none does.
	Subkey string
	// Expires is when it ends by what it says of itself; zero if it doesn't.
	Expires time.Time
	// Revoked says that its owner certified so.
	Revoked bool
}

// Keys returns the primary keys, in the order read.
func (kr *Keyring) Keys() []PublicKey {
	var out []PublicKey
	for _, e := range kr.keys {
		k := PublicKey{Fingerprint: fingerprint(e.PrimaryKey), Algorithm: Ed25519, Revoked: len(e.Revocations) > 0}
		if id := e.PrimaryIdentity(); id != nil {
			k.UserID = id.Name
		}
		if self, _ := e.PrimarySelfSignature(); self != nil && self.KeyLifetimeSecs != nil && *self.KeyLifetimeSecs > 0 {
			k.Expires = e.PrimaryKey.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs) * time.Second)
		}
		if public, ok := e.PrimaryKey.PublicKey.(*rsa.PublicKey); ok {
			k.Algorithm = fmt.Sprintf("rsa%d", public.N.BitLen())
		}
		own := *e
		if sub := keepSigning(&own); sub != nil {
			k.Subkey = fingerprint(sub.PublicKey)
		}
		out = append(out, k)
	}
	return out
}

// Verify checks that sigPacket is a signature over all of signed by a key of the
// ring, and returns that key's primary fingerprint and the time that the
// signature claims. A key that has expired since is still good for what it signed
// before; a revoked one, or a revoked subkey, is good for nothing, since who has
// stolen it can date a signature back. It returns an Invalid error if the signature doesn't hold, and
// the reader's own error if signed can't be read.
func (kr *Keyring) Verify(signed io.Reader, sigPacket []byte) (string, time.Time, error) {
	return kr.verify(signed, sigPacket, packet.SigTypeBinary)
}

func (kr *Keyring) verify(signed io.Reader, sigPacket []byte, typ packet.SignatureType) (string, time.Time, error) {
	sig, err := parse(sigPacket, typ)
	if err != nil {
		return "", time.Time{}, err
	}
	digest, err := sig.PrepareVerify()
	if err != nil {
		return "", time.Time{}, albs.Errorf(albs.Invalid, "signature packet is refused: %w", err)
	}
	content := &errorKeeper{r: signed}
	_, signer, err := openpgp.VerifyDetachedSignature(kr.keys, io.TeeReader(content, digest), bytes.NewReader(sigPacket), configAt(sig.CreationTime))
	switch {
	case content.err != nil:
		return "", time.Time{}, fmt.Errorf("read signed content: %w", content.err)
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", time.Time{}, albs.Errorf(albs.Invalid, "signed by key %016X, which the keyring doesn't hold for signing", *sig.IssuerKeyId)
	case err != nil:
		return "", time.Time{}, albs.Errorf(albs.Invalid, "signature of key %016X doesn't hold: %w", *sig.IssuerKeyId, err)
	case revoked(signer, *sig.IssuerKeyId):
		return "", time.Time{}, albs.Errorf(albs.Invalid, "signed by key %s, which is revoked", fingerprint(signer.PrimaryKey))
	}
	// The packet repeats the digest's first two bytes. go-crypto leaves them aside,
	// rpm refuses a signature where they are wrong; what holds here must hold there.
	digest.Write(sig.HashSuffix)
	if !bytes.Equal(digest.Sum(nil)[:2], sig.HashTag[:]) {
		return "", time.Time{}, albs.Errorf(albs.Invalid, "signature of key %016X doesn't hold: its digest begins otherwise", *sig.IssuerKeyId)
	}
	return fingerprint(signer.PrimaryKey), sig.CreationTime, nil
}

// revoked reports whether e, or its subkey of that id, is revoked, at whatever time.
func revoked(e *openpgp.Entity, id uint64) bool {
	return len(e.Revocations) > 0 || slices.ContainsFunc(e.Subkeys, func(s openpgp.Subkey) bool {
		return s.PublicKey.KeyId == id && len(s.Revocations) > 0
	})
}

// VerifyArmored is Verify for an ASCII-armored detached signature.
func (kr *Keyring) VerifyArmored(signed io.Reader, sig []byte) (string, time.Time, error) {
	bodies, err := readArmored(sig, openpgp.SignatureType)
	if err != nil {
		return "", time.Time{}, err
	}
	if len(bodies) != 1 {
		return "", time.Time{}, albs.Errorf(albs.Invalid, "%d armored signatures where one was expected", len(bodies))
	}
	return kr.Verify(signed, bodies[0])
}

// errorKeeper tells a failure to read the content from a bad signature.
type errorKeeper struct {
	r   io.Reader
	err error
}

// Read passes on what r reads.
func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		k.err = err
	}
	return n, err
}
