// Package pgp makes and opens OpenPGP signing keys, signs RPM headers and
// documents with them and verifies such signatures against a keyring. It is the
// only package that touches go-crypto.
//
// It owns the policy of what counts: v4 keys and signatures, RSA of at least
// 2,048 bits or Ed25519 as the legacy EdDSA algorithm 22 (the algorithm 27 of
// RFC 9580 is unknown to rpm before 6), SHA-256 or stronger everywhere, in the
// keys' own self-signatures too. It doesn't own where keys are kept or who may
// use them: that is the signer's.
//
// Signatures hold nothing random: the same RSA or Ed25519 key signs the same
// bytes at the same second to the same packet.
package pgp

import (
	"bufio"
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
)

// Bounds on what is read from outside. A public RSA-4096 key is 2 KB, with the
// certifications of a well-known distribution some 20 KB.
const (
	maxArmored   = 1 << 20
	maxKeys      = 64
	maxSignature = 16 << 10
	minRSABits   = 2048
	rsaBits      = 4096 // of a new key
)

// configAt returns the settings under which everything here is signed and
// checked, with now as the present.
func configAt(now time.Time) *packet.Config {
	return &packet.Config{
		Time:          func() time.Time { return now },
		DefaultHash:   crypto.SHA256,
		DefaultCipher: packet.CipherAES256,
		Algorithm:     packet.PubKeyAlgoEdDSA,
		RSABits:       rsaBits,
		MinRSABits:    minRSABits,
		// The highest iteration count that the format can express; gpg can
		// read it, which isn't so for Argon2 before 2.4.
		S2KConfig: &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, S2KCount: 65011712, Hash: crypto.SHA256},
		// A random notation would make each signature of a header another one.
		NonDeterministicSignaturesViaNotation: packet.BoolPointer(false),
		// rpm up to 4.16 reads no subpacket that is marked critical; gpg marks
		// none of these two either.
		InsecureGenerateNonCriticalKeyFlags:              true,
		InsecureGenerateNonCriticalSignatureCreationTime: true,
	}
}

func strongHash(h crypto.Hash) bool {
	return h == crypto.SHA256 || h == crypto.SHA384 || h == crypto.SHA512
}

// checkPublic says why a (sub)key may not be used, or "".
func checkPublic(k *packet.PublicKey) string {
	if k.Version != 4 {
		return fmt.Sprintf("it is of OpenPGP version %d, only 4 is known to every rpm", k.Version)
	}
	switch k.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := k.BitLength(); err != nil || bits < minRSABits {
			return fmt.Sprintf("its RSA modulus has %d bits, at least %d are needed", bits, minRSABits)
		}
	case packet.PubKeyAlgoEdDSA:
		if c, err := k.Curve(); err != nil || c != packet.Curve25519 {
			return "its EdDSA curve isn't Ed25519"
		}
	default:
		return fmt.Sprintf("its algorithm %d is neither RSA nor EdDSA (22)", k.PubKeyAlgo)
	}
	return ""
}

// checkEntity refuses keys that signatures may not be checked against.
func checkEntity(e *openpgp.Entity) error {
	refuse := func(why string) error {
		return albs.Errorf(albs.Invalid, "key %s is refused: %s", fingerprint(e.PrimaryKey), why)
	}
	if why := checkPublic(e.PrimaryKey); why != "" {
		return refuse(why)
	}
	self, _ := e.PrimarySelfSignature()
	if self == nil {
		return refuse("it has no self-signature")
	}
	for _, id := range e.Identities {
		if id.SelfSignature != nil && !strongHash(id.SelfSignature.Hash) {
			return refuse("a self-signature uses " + id.SelfSignature.Hash.String() + "; certify the key anew with SHA-256")
		}
	}
	for _, s := range e.Subkeys {
		if s.Sig == nil || !s.Sig.FlagSign {
			continue
		}
		if why := checkPublic(s.PublicKey); why != "" {
			return refuse("of its signing subkey, " + why)
		}
		if !strongHash(s.Sig.Hash) {
			return refuse("a subkey's binding uses " + s.Sig.Hash.String() + "; bind it anew with SHA-256")
		}
	}
	return nil
}

// fingerprint is the form in which keys are named everywhere in albs.
func fingerprint(k *packet.PublicKey) string { return fmt.Sprintf("%X", k.Fingerprint) }

// IsFingerprint reports whether s has the form of a fingerprint, in which keys are
// named everywhere in albs: 40 upper-case hex digits.
func IsFingerprint(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789ABCDEF") == ""
}

// readArmored returns the bodies of all armored blocks in b, which must all be
// of type want.
func readArmored(b []byte, want string) ([][]byte, error) {
	if len(b) > maxArmored {
		return nil, albs.Errorf(albs.Invalid, "armored OpenPGP data has %d bytes, %d are allowed", len(b), maxArmored)
	}
	var bodies [][]byte
	// armor.Decode goes on with a bufio.Reader that it is given, so the next
	// call finds the next block.
	for r := bufio.NewReader(bytes.NewReader(b)); ; {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "read OpenPGP armor: %w", err)
		}
		if block.Type != want {
			return nil, albs.Errorf(albs.Invalid, "the OpenPGP armor holds a %.40q, not a %s", block.Type, want)
		}
		body, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "read OpenPGP armor: %w", err)
		}
		bodies = append(bodies, body)
	}
	if len(bodies) == 0 {
		return nil, albs.Errorf(albs.Invalid, "no %q armor found", "-----BEGIN "+want+"-----")
	}
	return bodies, nil
}

// readEntities returns all keys in body. Other than go-crypto's ReadKeyRing it
// skips none that it can't read: a keyring is taken whole or not.
func readEntities(body []byte) (openpgp.EntityList, error) {
	var list openpgp.EntityList
	for packets := packet.NewReader(bytes.NewReader(body)); ; {
		e, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "read OpenPGP key %d: %w", len(list)+1, err)
		}
		if list = append(list, e); len(list) > maxKeys {
			return nil, albs.Errorf(albs.Invalid, "more than %d OpenPGP keys in one block", maxKeys)
		}
	}
	if len(list) == 0 {
		return nil, albs.Errorf(albs.Invalid, "the OpenPGP armor holds no key")
	}
	return list, nil
}

// Dearmor returns the packets of armored public keys, as a key ring of gpgv has them. It
// is Invalid if they can't be read.
func Dearmor(public []byte) ([]byte, error) {
	bodies, err := readArmored(public, openpgp.PublicKeyType)
	return bytes.Join(bodies, nil), err
}

// encode armors what write writes.
func encode(blockType string, write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, blockType, nil)
	if err != nil {
		return nil, err
	}
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n'), nil
}

// UserID returns s, as "AlmaLinux 9 <packager@example.org>", in the form in which a
// key made by Generate bears it, or an Invalid error if it has another form.
func UserID(s string) (string, error) {
	name, address, err := splitUserID(s)
	if err != nil {
		return "", err
	}
	if address == "" {
		return name, nil
	}
	return name + " <" + address + ">", nil
}

// splitUserID takes "Name <address>" or "Name" apart.
func splitUserID(s string) (name, address string, err error) {
	name = s
	if i := strings.IndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		name, address = strings.TrimSpace(s[:i]), s[i+1:len(s)-1]
		if address == "" {
			name = ""
		}
	}
	bad := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' || strings.ContainsRune("()<>", r) }
	if name == "" || len(s) > 200 || name != strings.TrimSpace(name) || strings.ContainsAny(address, " \t") ||
		strings.ContainsFunc(name, bad) || strings.ContainsFunc(address, bad) {
		return "", "", albs.Errorf(albs.Invalid, "user id %.80q isn't of the form %q", s, "Name <address@example.org>")
	}
	return name, address, nil
}
