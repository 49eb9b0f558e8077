package pgp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Why a key is revoked. The codes are of RFC 9580, 5.2.3.31.
const (
	Compromised = "compromised" // somebody else has or had the private part
	Superseded  = "superseded"  // another key took its place
	Retired     = "retired"     // it isn't used any more
)

var revocationCodes = map[string]packet.ReasonForRevocation{
	Compromised: packet.KeyCompromised, Superseded: packet.KeySuperseded, Retired: packet.KeyRetired,
}

const maxRevocationText = 200

// CheckRevocation is Invalid if reason is none of those above, or text more than one
// line of 200 bytes.
func CheckRevocation(reason, text string) error {
	if _, ok := revocationCodes[reason]; !ok {
		return albs.Errorf(albs.Invalid, "reason %.40q of a revocation is none of %s", reason, strings.Join(slices.Sorted(maps.Keys(revocationCodes)), ", "))
	}
	if len(text) > maxRevocationText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return albs.Errorf(albs.Invalid, "the text of a revocation is one line of at most %d bytes", maxRevocationText)
	}
	return nil
}

// Revoke certifies that the key, with its subkey, is revoked as of at, for one of the
// reasons above and in words that may be empty. It returns the public key with that
// certificate, ASCII-armored; k itself stays as it is. Errors: Invalid as of
// CheckRevocation; what the token says, if the private part is in one.
func (k *Key) Revoke(reason, text string, at time.Time) ([]byte, error) {
	if err := CheckRevocation(reason, text); err != nil {
		return nil, err
	}
	wrap := func(err error) error { return fmt.Errorf("revoke key %s: %w", k.Fingerprint(), err) }
	public, err := k.Public()
	if err != nil {
		return nil, wrap(err)
	}
	e, err := oneEntity(public, openpgp.PublicKeyType) // a copy, since others use k
	if err != nil {
		return nil, wrap(err)
	}
	why := subpacket(subReason, append([]byte{byte(revocationCodes[reason])}, text...))
	body, err := certificate(k.certifier(), e.PrimaryKey, packet.SigTypeKeyRevocation, at, why, e.PrimaryKey)
	if err != nil {
		return nil, wrap(err)
	}
	sig, err := signature(body)
	if err != nil {
		return nil, wrap(err)
	}
	e.Revocations = append(e.Revocations, sig)
	return encode(openpgp.PublicKeyType, e.Serialize)
}
