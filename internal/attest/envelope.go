package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/attest/form"
	"albs/internal/ledger"
)

// Payload types of what is signed.
const (
	payloadStatement = "application/vnd.in-toto+json"
	payloadState     = "application/vnd.albs.ledger-state+json"
)

// pae is DSSE's pre-authentication encoding, version 1: what is signed.
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// KeyID names a key of statements, a role's or a person's: the first 16 bytes of the sha256 of the raw public
// key, in hex. It finds a key, and proves nothing.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:16])
}

// Envelope is a DSSE envelope around one statement, with one signature. Its
// encoding is what stands in the ledger.
type Envelope struct {
	Payload     []byte      `json:"payload"`
	PayloadType string      `json:"payloadType"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature of an Envelope.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// Encode returns the envelope as one line of JSON without the newline. It fails,
// with TooLarge, only if the ledger couldn't keep it.
func (e Envelope) Encode() ([]byte, error) {
	b := form.Encode(e)
	if len(b) > ledger.MaxValue {
		return nil, albs.Errorf(albs.TooLarge, "the statement's envelope has %d bytes, the ledger takes %d", len(b), ledger.MaxValue)
	}
	return b, nil
}

// ParseEnvelope reads what Encode wrote, and nothing else; the error is Invalid, or
// TooLarge for what no ledger could have kept. The signature is not checked.
func ParseEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	if len(b) > ledger.MaxValue {
		return Envelope{}, albs.Errorf(albs.TooLarge, "an envelope has at most %d bytes", ledger.MaxValue)
	}
	if err := form.Decode(b, &e); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// Open returns the statement in the envelope if one of keys signed it, else an
// Invalid error.
func (e Envelope) Open(keys ...ed25519.PublicKey) (Statement, error) {
	if len(e.Signatures) != 1 {
		return Statement{}, albs.Errorf(albs.Invalid, "the envelope has %d signatures instead of one", len(e.Signatures))
	}
	if err := verifyBy(keys, e.Signatures[0].KeyID, e.PayloadType, e.Payload, e.Signatures[0].Sig); err != nil {
		return Statement{}, albs.Errorf(albs.Invalid, "%w", err)
	}
	return e.statement()
}

// statement reads the payload, whoever signed it.
func (e Envelope) statement() (Statement, error) {
	if e.PayloadType != payloadStatement {
		return Statement{}, albs.Errorf(albs.Invalid, "the envelope's payloadType is %.80q", e.PayloadType)
	}
	var s Statement
	if err := form.Decode(e.Payload, &s); err != nil {
		return Statement{}, err
	}
	if err := s.check(); err != nil {
		return Statement{}, err
	}
	return s, nil
}

// Says returns nil if the envelope holds exactly the statement st and the key signed it,
// else an Invalid error.
func (e Envelope) Says(st Statement, key ed25519.PublicKey) error {
	if _, err := e.Open(key); err != nil {
		return err
	}
	if !bytes.Equal(e.Payload, form.Encode(st)) {
		return albs.Errorf(albs.Invalid, "the %s statement about %s says something else than what happened", st.Short(), st.Subject[0].Name)
	}
	return nil
}

// About returns the sha256 of the file that the envelope is about, as its bytes say, which
// nobody may have signed; "" if they say nothing of the kind.
func (e Envelope) About() albs.Digest {
	var s Statement
	if json.Unmarshal(e.Payload, &s) != nil || len(s.Subject) != 1 {
		return ""
	}
	return s.Subject[0].File()
}

// predicate returns the short name of the predicate that the envelope is about, as its
// bytes say, which nobody may have signed; "" if they say nothing of the kind. It chooses
// the keys that may have signed it.
func (e Envelope) predicate() string {
	var s Statement
	if json.Unmarshal(e.Payload, &s) != nil {
		return ""
	}
	return s.Short()
}

// Signer signs with one key, that of a role or a person's. It may be used by many goroutines.
type Signer struct {
	key ed25519.PrivateKey
	id  string
}

// NewSigner returns the signer for a private key. It panics if key has not the
// length of one.
func NewSigner(key ed25519.PrivateKey) *Signer {
	if len(key) != ed25519.PrivateKeySize {
		panic("attest: the key is no Ed25519 private key")
	}
	return &Signer{key: key, id: KeyID(key.Public().(ed25519.PublicKey))}
}

// KeyID returns the id of the signer's key.
func (s *Signer) KeyID() string { return s.id }

// Public returns the public key, as Trust lists it.
func (s *Signer) Public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// Sign returns the envelope of a statement. Equal statements give equal envelopes.
// It is Invalid if the statement isn't one that New would make, and TooLarge if the
// ledger couldn't keep the envelope.
func (s *Signer) Sign(st Statement) (Envelope, error) {
	if err := st.check(); err != nil {
		return Envelope{}, err
	}
	payload := form.Encode(st)
	e := Envelope{
		Payload: payload, PayloadType: payloadStatement,
		Signatures: []Signature{{KeyID: s.id, Sig: ed25519.Sign(s.key, pae(payloadStatement, payload))}},
	}
	if _, err := e.Encode(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// SignedState is a state of the ledger at a time, signed by a master key.
type SignedState struct {
	State ledger.State `json:"state"`
	At    time.Time    `json:"at"`
	KeyID string       `json:"keyid"`
	Sig   []byte       `json:"sig"`
}

// payload is what is signed of a state.
func (s SignedState) payload() []byte {
	return form.Encode(struct {
		State ledger.State `json:"state"`
		At    time.Time    `json:"at"`
	}{s.State, s.At})
}

// SignState signs that the ledger's state was st at the time at, of which whole
// seconds count.
func (s *Signer) SignState(st ledger.State, at time.Time) SignedState {
	out := SignedState{State: st, At: at.UTC().Truncate(time.Second), KeyID: s.id}
	out.Sig = ed25519.Sign(s.key, pae(payloadState, out.payload()))
	return out
}

// verifyBy checks a signature over payload against the trusted keys.
func verifyBy(keys []ed25519.PublicKey, id string, payloadType string, payload, sig []byte) error {
	for _, k := range keys {
		if KeyID(k) == id && ed25519.Verify(k, pae(payloadType, payload), sig) {
			return nil
		}
	}
	for _, k := range keys {
		if KeyID(k) == id {
			return fmt.Errorf("the signature by key %s doesn't hold", id)
		}
	}
	return fmt.Errorf("it is signed by %.64q, which is no trusted key", id)
}

// publicKeys decodes the keys of statements of a trust file.
func publicKeys(list []string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, s := range list {
		b, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return nil, albs.Errorf(albs.Invalid, "%.80q is no Ed25519 public key in base64", s)
		}
		keys = append(keys, b)
	}
	return keys, nil
}
