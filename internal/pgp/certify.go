package pgp

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/eddsa"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Types of subpackets, as RFC 9580, 5.2.3.7 has them.
const (
	subCreated     = 2
	subIssuer      = 16
	subKeyFlags    = 27
	subReason      = 29
	subEmbedded    = 32
	subFingerprint = 33

	flagSign = 2
)

// certificate returns the body of a version 4 signature packet of that type over keys,
// by the pair whose public key is issuer. go-crypto would mark an embedded signature and
// the reason of a revocation as critical, and rpm up to 4.18 takes no key in which
// something is critical that it doesn't know: here nothing is.
func certificate(by crypto.Signer, issuer *packet.PublicKey, typ packet.SignatureType, at time.Time, more []byte, keys ...*packet.PublicKey) ([]byte, error) {
	hashed := subpacket(subCreated, binary.BigEndian.AppendUint32(nil, uint32(at.Unix())))
	hashed = append(hashed, subpacket(subIssuer, binary.BigEndian.AppendUint64(nil, issuer.KeyId))...)
	hashed = append(hashed, subpacket(subFingerprint, append([]byte{4}, issuer.Fingerprint...))...)
	hashed = append(hashed, more...)
	body := []byte{4, byte(typ), byte(issuer.PubKeyAlgo), sha256ID}
	body = binary.BigEndian.AppendUint16(body, uint16(len(hashed)))
	body = append(body, hashed...)

	h := crypto.SHA256.New()
	for _, k := range keys {
		if err := k.SerializeForHash(h); err != nil {
			return nil, err
		}
	}
	h.Write(body)
	h.Write(binary.BigEndian.AppendUint32([]byte{4, 0xff}, uint32(len(body))))
	digest := h.Sum(nil)

	body = append(body, 0, 0) // no subpacket that isn't hashed
	body = append(body, digest[:2]...)
	switch by.Public().(type) {
	case *rsa.PublicKey:
		sig, err := by.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return appendMPI(body, sig), nil
	case ed25519.PublicKey:
		sig, err := by.Sign(rand.Reader, digest, crypto.Hash(0))
		if err != nil {
			return nil, err
		}
		if len(sig) != ed25519.SignatureSize {
			return nil, errNoSignature
		}
		return appendMPI(appendMPI(body, sig[:32]), sig[32:]), nil
	}
	return nil, fmt.Errorf("a pair of %T certifies nothing", by.Public())
}

// sha256ID is that of RFC 9580, 9.5.
const sha256ID = 8

var errNoSignature = errors.New("what came is no Ed25519 signature")

func subpacket(typ byte, content []byte) []byte {
	return append(append(packetLength(len(content)+1), typ), content...)
}

// packetLength is that of subpackets and of packets below 8,384 bytes, which
// certificates are.
func packetLength(n int) []byte {
	if n < 192 {
		return []byte{byte(n)}
	}
	n -= 192
	return []byte{byte(n>>8) + 192, byte(n)}
}

func appendMPI(to, number []byte) []byte {
	number = bytes.TrimLeft(number, "\x00")
	n := 8 * len(number)
	if n > 0 {
		n -= bits.LeadingZeros8(number[0])
	}
	return append(binary.BigEndian.AppendUint16(to, uint16(n)), number...)
}

// signature reads the body of a certificate as go-crypto has signatures.
func signature(body []byte) (*packet.Signature, error) {
	const tag = 0xc0 | 2
	p, err := packet.Read(bytes.NewReader(append(append([]byte{tag}, packetLength(len(body))...), body...)))
	if err != nil {
		return nil, err
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, fmt.Errorf("a certificate reads as %T", p)
	}
	return sig, nil
}

// bind has a primary key take a subkey for its signing, and that agree.
func bind(primary crypto.Signer, primaryKey *packet.PublicKey, sub crypto.Signer, subKey *packet.PublicKey, at time.Time) (*packet.Signature, error) {
	agreed, err := certificate(sub, subKey, packet.SigTypePrimaryKeyBinding, at, nil, primaryKey, subKey)
	if err != nil {
		return nil, err
	}
	more := append(subpacket(subKeyFlags, []byte{flagSign}), subpacket(subEmbedded, agreed)...)
	body, err := certificate(primary, primaryKey, packet.SigTypeSubkeyBinding, at, more, primaryKey, subKey)
	if err != nil {
		return nil, err
	}
	return signature(body)
}

// certifier returns the pair that certifies.
func (k *Key) certifier() crypto.Signer {
	if k.primary != nil {
		return k.primary
	}
	switch raw := k.entity.PrivateKey.PrivateKey.(type) {
	case *eddsa.PrivateKey:
		return ed25519.NewKeyFromSeed(raw.D)
	default:
		return raw.(*rsa.PrivateKey) // checkEntity knows no third
	}
}
