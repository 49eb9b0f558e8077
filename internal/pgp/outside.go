package pgp

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/eddsa"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Open joins a public key, ASCII-armored, with the key pairs that it was made around,
// as New takes them. It is Invalid if they aren't those.
func Open(public []byte, primary, signing crypto.Signer) (*Key, error) {
	e, err := oneEntity(public, openpgp.PublicKeyType)
	if err != nil {
		return nil, err
	}
	k := &Key{entity: e, sub: keepSigning(e), primary: primary, signing: signing}
	if err := checkEntity(e); err != nil {
		return nil, err
	}
	if primary == nil || (k.sub == nil) != (signing == nil) {
		return nil, albs.Errorf(albs.Invalid, "what is kept of key %s are not the private parts of its primary key and signing subkey", k.Fingerprint())
	}
	for _, part := range []struct {
		public *packet.PublicKey
		signer crypto.Signer
	}{{e.PrimaryKey, primary}, {k.signer(), signing}} {
		if part.signer == nil {
			continue
		}
		made, _, err := privateKey(part.signer, part.public.CreationTime)
		if err != nil {
			return nil, err
		}
		if fingerprint(&made.PublicKey) != fingerprint(part.public) {
			return nil, albs.Errorf(albs.Invalid, "the private part of key %s is that of another key", k.Fingerprint())
		}
	}
	return k, nil
}

// outside returns s if its private part can't be put into a file, else nil.
func outside(s crypto.Signer) crypto.Signer {
	switch s.(type) {
	case *rsa.PrivateKey, ed25519.PrivateKey:
		return nil
	}
	return s
}

// private returns what signs, and where it tells of its failures.
func (k *Key) private() (*packet.PrivateKey, *teller, error) {
	public, s, p := k.entity.PrimaryKey, k.primary, k.entity.PrivateKey
	if k.sub != nil {
		public, s, p = k.sub.PublicKey, k.signing, k.sub.PrivateKey
	}
	if s == nil {
		return p, &teller{}, nil
	}
	return privateKey(s, public.CreationTime)
}

// privateKey returns s as go-crypto takes it, for the work of one goroutine.
func privateKey(s crypto.Signer, created time.Time) (*packet.PrivateKey, *teller, error) {
	told := &teller{Signer: s}
	switch public := s.Public().(type) {
	case *rsa.PublicKey:
		if raw, ok := s.(*rsa.PrivateKey); ok {
			return packet.NewSignerPrivateKey(created, raw), told, nil
		}
		return &packet.PrivateKey{PublicKey: *packet.NewRSAPublicKey(created, public), PrivateKey: told}, told, nil
	case ed25519.PublicKey:
		pub := eddsa.NewPublicKey(curve{told})
		pub.X = public
		priv := eddsa.NewPrivateKey(*pub)
		if raw, ok := s.(ed25519.PrivateKey); ok {
			priv.D = raw.Seed()
		}
		return packet.NewSignerPrivateKey(created, priv), told, nil
	}
	return nil, nil, albs.Errorf(albs.Invalid, "a key pair is neither of RSA nor Ed25519")
}

// teller keeps the error of a signer, which go-crypto drops.
type teller struct {
	crypto.Signer
	err error
}

// Sign implements crypto.Signer.
func (t *teller) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := t.Signer.Sign(random, digest, opts)
	if err != nil {
		t.err = err
	}
	return sig, err
}

// curve is Ed25519 for go-crypto, which takes no crypto.Signer for it: its curve is what
// signs. Points have a 0x40 before them, as RFC 9580, 11.2.2 has it.
type curve struct{ told *teller }

const pointPrefix = 0x40

// GetCurveName tells go-crypto the object identifier.
func (curve) GetCurveName() string { return "ed25519" }

// MarshalBytePoint returns the public key as packets have it.
func (curve) MarshalBytePoint(x []byte) []byte { return append([]byte{pointPrefix}, x...) }

// UnmarshalBytePoint reads what MarshalBytePoint wrote, nil if it isn't that.
func (curve) UnmarshalBytePoint(point []byte) []byte {
	if len(point) != ed25519.PublicKeySize+1 || point[0] != pointPrefix {
		return nil
	}
	return point[1:]
}

// MarshalByteSecret returns the seed as packets have it.
func (curve) MarshalByteSecret(d []byte) []byte { return d }

// UnmarshalByteSecret reads a seed, whose leading zeros may be missing.
func (curve) UnmarshalByteSecret(d []byte) []byte { return leftPad(d, ed25519.SeedSize) }

// MarshalSignature splits a signature into its two numbers.
func (curve) MarshalSignature(sig []byte) (r, s []byte) { return sig[:32], sig[32:] }

// UnmarshalSignature joins what MarshalSignature split.
func (curve) UnmarshalSignature(r, s []byte) []byte {
	if r, s = leftPad(r, 32), leftPad(s, 32); r == nil || s == nil {
		return nil
	}
	return append(r, s...)
}

// GenerateEdDSA makes no key: New is given one.
func (curve) GenerateEdDSA(io.Reader) (pub, priv []byte, err error) {
	return nil, nil, errors.New("no key is made here")
}

// Sign signs with the signer, whatever the private part in memory is.
func (c curve) Sign(_, _, message []byte) ([]byte, error) {
	sig, err := c.told.Sign(rand.Reader, message, crypto.Hash(0))
	if err == nil && len(sig) != ed25519.SignatureSize {
		err = errNoSignature
		c.told.err = err
	}
	return sig, err
}

// Verify checks a signature.
func (curve) Verify(public, message, sig []byte) bool {
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, sig)
}

// ValidateEdDSA says whether the two parts belong together.
func (curve) ValidateEdDSA(public, seed []byte) error {
	if len(seed) != ed25519.SeedSize || !ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(public)) {
		return errors.New("the private part is of another key")
	}
	return nil
}

func leftPad(b []byte, n int) []byte {
	if len(b) > n {
		return nil
	}
	out := make([]byte, n)
	copy(out[n-len(b):], b)
	return out
}
