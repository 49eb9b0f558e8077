//go:build !pkcs11

package token

import (
	"crypto"

	"albs/internal/albs"
)

// Built says whether the program was built with PKCS#11.
const Built = false

// Token is a token that is open. This program can't have one.
type Token struct{}

// Open is Invalid: the program was built without PKCS#11.
func Open(Config, []byte) (*Token, error) {
	return nil, albs.Errorf(albs.Invalid, "signer.token is set, and this program was built without PKCS#11: use one built with CGO_ENABLED=1 go build -tags pkcs11")
}

// Close does nothing.
func (*Token) Close() error { return nil }

// Ready is ErrAway.
func (*Token) Ready() error { return ErrAway }

// Generate is ErrAway.
func (*Token) Generate(string, string) (string, crypto.Signer, error) { return "", nil, ErrAway }

// Signer is ErrAway.
func (*Token) Signer(string) (crypto.Signer, error) { return nil, ErrAway }

// Remove is ErrAway.
func (*Token) Remove(string) error { return ErrAway }
