// Package token keeps key pairs in a PKCS#11 token (an HSM, a smart card, SoftHSM),
// which makes them, signs with them and never gives a private part away.
//
// It is the only package that speaks PKCS#11, which needs C: a program built without
// the tag pkcs11 has none of it, and Open says so. It owns sessions and the PIN's use,
// not what is signed.
//
// Invariants: the PIN is tried once at each opening, and never again once the token has
// refused it, so that a wrong one doesn't lock the token; one operation is under way at
// a time; a signature is given out only if it verifies by the pair's public key.
package token

import (
	"albs/internal/albs"
)

// Config says which token it is. The zero Config is none.
type Config struct {
	// Module is the file of the token's PKCS#11 library.
	Module string `yaml:"module"`
	// Label is the token's.
	Label string `yaml:"label"`
}

// Check is Invalid if c is neither none nor whole.
func (c Config) Check() error {
	if (c.Module == "") != (c.Label == "") {
		return albs.Errorf(albs.Invalid, "signer.token needs both module, the file of the PKCS#11 library, and label, the token's")
	}
	return nil
}

// The algorithms of key pairs, as pgp calls them.
const (
	RSA4096 = "rsa4096"
	Ed25519 = "ed25519"
)

// ErrAway is what every error is that may pass: the token is gone, or its PIN isn't
// taken any more. It is of the kind Unavailable.
var ErrAway = albs.Errorf(albs.Unavailable, "the token can't be used now")
