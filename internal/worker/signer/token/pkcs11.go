//go:build pkcs11

package token

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"

	"albs/internal/albs"
)

// Built says whether the program was built with PKCS#11.
const Built = true

// Of PKCS#11 3.0, which the library's tables of constants don't have yet.
const (
	ckkEdwards          = 0x40
	ckmEdwardsGenerate  = 0x1055
	ckmEdDSA            = 0x1057
	rsaBits             = 4096
	publicExponent      = 65537
	ed25519PointInOctet = 2 + ed25519.PublicKeySize // an OCTET STRING of 32 bytes
)

// ed25519Params is the curve's name, as PKCS#11 3.0, 2.3.5 has it: the printable string
// edwards25519.
var ed25519Params = append([]byte{0x13, 12}, "edwards25519"...)

// digestInfo goes before a SHA-256 in an RSA signature (RFC 8017, 9.2, note 1).
var digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// module is what is used of a PKCS#11 library.
type module interface {
	Initialize(...pkcs11.InitializeOption) error
	Finalize() error
	GetSlotList(present bool) ([]uint, error)
	GetTokenInfo(slot uint) (pkcs11.TokenInfo, error)
	OpenSession(slot, flags uint) (pkcs11.SessionHandle, error)
	CloseSession(pkcs11.SessionHandle) error
	GetSessionInfo(pkcs11.SessionHandle) (pkcs11.SessionInfo, error)
	Login(s pkcs11.SessionHandle, user uint, pin string) error
	FindObjectsInit(pkcs11.SessionHandle, []*pkcs11.Attribute) error
	FindObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, bool, error)
	FindObjectsFinal(pkcs11.SessionHandle) error
	GetAttributeValue(pkcs11.SessionHandle, pkcs11.ObjectHandle, []*pkcs11.Attribute) ([]*pkcs11.Attribute, error)
	GenerateKeyPair(s pkcs11.SessionHandle, m []*pkcs11.Mechanism, public, private []*pkcs11.Attribute) (pkcs11.ObjectHandle, pkcs11.ObjectHandle, error)
	DestroyObject(pkcs11.SessionHandle, pkcs11.ObjectHandle) error
	SignInit(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error
	Sign(pkcs11.SessionHandle, []byte) ([]byte, error)
}

// Token is a token that is open. It may be used concurrently.
type Token struct {
	label string
	pin   string
	free  func() // of the library

	mu      sync.Mutex
	m       module
	session pkcs11.SessionHandle
	open    bool
	refused error // why the PIN is not tried again
}

// Open opens the token that c names with its PIN. It is Invalid if the library can't be
// loaded or the PIN is wrong, locked or not set, and ErrAway if there is no such token.
func Open(c Config, pin []byte) (*Token, error) {
	if fi, err := os.Stat(c.Module); err != nil || !fi.Mode().IsRegular() {
		return nil, albs.Errorf(albs.Invalid, "signer.token.module %s is no file of a PKCS#11 library", c.Module)
	}
	ctx := pkcs11.New(c.Module)
	if ctx == nil {
		return nil, albs.Errorf(albs.Invalid, "signer.token.module %s can't be loaded as a PKCS#11 library", c.Module)
	}
	t, err := openModule(ctx, c.Label, pin)
	if err != nil {
		ctx.Destroy()
		return nil, err
	}
	t.free = ctx.Destroy
	return t, nil
}

func openModule(m module, label string, pin []byte) (*Token, error) {
	if err := m.Initialize(); err != nil {
		return nil, albs.Errorf(albs.Invalid, "the PKCS#11 library can't begin: %w", err)
	}
	t := &Token{label: label, pin: string(pin), m: m, free: func() {}}
	if err := t.connect(); err != nil {
		return nil, errors.Join(err, m.Finalize())
	}
	return t, nil
}

// Close ends the session; keys in the token can't be used any more.
func (t *Token) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disconnect()
	err := t.m.Finalize()
	t.free()
	t.refused = away("it was closed", nil)
	return err
}

// away is an ErrAway with its reason.
func away(why string, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %s: %v", ErrAway, why, err) // its kind is that of ErrAway alone
	}
	return fmt.Errorf("%w: %s", ErrAway, why)
}

// connect opens a session and logs in.
func (t *Token) connect() error {
	if t.refused != nil {
		return t.refused
	}
	slot, info, found, err := t.slot()
	if err != nil || found == 0 {
		// Some libraries see a token that came back only when they begin anew.
		if err := errors.Join(t.m.Finalize(), t.m.Initialize()); err != nil {
			return away("the PKCS#11 library can't begin anew", err)
		}
		if slot, info, found, err = t.slot(); err != nil {
			return away("the slots can't be listed", err)
		}
	}
	switch {
	case found == 0:
		return away(fmt.Sprintf("there is no token labelled %q: is it plugged in?", t.label), nil)
	case found > 1:
		return albs.Errorf(albs.Invalid, "%d tokens are labelled %q: give each a label of its own", found, t.label)
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return t.refuse("its PIN is locked: unlock it with the security officer's")
	}
	session, err := t.m.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return away("no session can be opened", err)
	}
	err = t.m.Login(session, pkcs11.CKU_USER, t.pin)
	if err != nil && !is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		_ = t.m.CloseSession(session) // the login's error is the one to tell
		switch {
		case is(err, pkcs11.CKR_PIN_LOCKED):
			return t.refuse("its PIN is locked: unlock it with the security officer's")
		case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE):
			return t.refuse("its PIN is wrong; it isn't tried again until the signer is started anew")
		case is(err, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_USER_PIN_NOT_INITIALIZED):
			return t.refuse("its PIN is not set, or to be changed")
		}
		return away("nobody can log in", err)
	}
	t.session, t.open = session, true
	return nil
}

// slot returns where the token is, and how many have its label.
func (t *Token) slot() (slot uint, info pkcs11.TokenInfo, found int, err error) {
	slots, err := t.m.GetSlotList(true)
	if err != nil {
		return 0, info, 0, err
	}
	for _, s := range slots {
		i, err := t.m.GetTokenInfo(s)
		if err == nil && strings.TrimRight(i.Label, " \x00") == t.label {
			slot, info = s, i
			found++
		}
	}
	return slot, info, found, nil
}

// refuse keeps the PIN from being tried again.
func (t *Token) refuse(why string) error {
	t.refused = away(fmt.Sprintf("token %q: %s", t.label, why), nil)
	return albs.Errorf(albs.Invalid, "token %q can't be opened: %s", t.label, why)
}

func (t *Token) disconnect() {
	if t.open {
		_ = t.m.CloseSession(t.session) // it may be gone with its token
		t.open = false
	}
}

func is(err error, codes ...uint) bool {
	got, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if uint(got) == c {
			return true
		}
	}
	return false
}

// with runs do in a session. A session that was lost is opened anew, once; where that
// doesn't help, it is ErrAway. What do does is a signature that comes out the same, or
// a search: it may be done twice.
func (t *Token) with(do func(pkcs11.SessionHandle) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for again := true; ; again = false {
		if !t.open {
			if err := t.connect(); err != nil {
				if t.refused != nil {
					err = t.refused
				}
				return err
			}
			again = false
		}
		err := do(t.session)
		if _, theirs := errors.AsType[pkcs11.Error](err); !theirs {
			return err
		}
		t.disconnect()
		if !again {
			return away("token "+t.label, err)
		}
	}
}

// Ready returns nil if the token can be used now, opening a session if there is none;
// else ErrAway with the reason.
func (t *Token) Ready() error {
	return t.with(func(s pkcs11.SessionHandle) error {
		info, err := t.m.GetSessionInfo(s)
		if err != nil {
			return err
		}
		_, err = t.m.GetTokenInfo(info.SlotID)
		return err
	})
}

// Generate has the token make a key pair of RSA4096 or Ed25519 for somebody, whom the
// token's label of it names, and returns its id in the token. The private part can't be
// taken out. Errors: Invalid for an algorithm that it doesn't have, ErrAway.
func (t *Token) Generate(algorithm, whose string) (id string, _ crypto.Signer, err error) {
	raw := make([]byte, 16)
	rand.Read(raw)
	named := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, raw), pkcs11.NewAttribute(pkcs11.CKA_LABEL, whose),
	}
	public := append(named[:len(named):len(named)], pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true))
	private := append(named[:len(named):len(named)],
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
	var mechanism uint
	switch algorithm {
	case RSA4096:
		mechanism = pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, rsaBits),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(publicExponent).Bytes()))
	case Ed25519:
		mechanism = ckmEdwardsGenerate
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, ed25519Params))
	default:
		return "", nil, albs.Errorf(albs.Invalid, "key algorithm %.40q is neither %s nor %s", algorithm, RSA4096, Ed25519)
	}
	if err := t.Ready(); err != nil {
		return "", nil, err
	}
	tried := false
	err = t.with(func(s pkcs11.SessionHandle) error {
		if tried { // a second one would bear the same id
			return away("it went away while it made a key", nil)
		}
		tried = true
		_, _, err := t.m.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private)
		if is(err, pkcs11.CKR_MECHANISM_INVALID) {
			return albs.Errorf(albs.Invalid, "token %q makes no keys of %s", t.label, algorithm)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	id = hex.EncodeToString(raw)
	k, err := t.Signer(id)
	return id, k, err
}

// Remove takes a key pair out of the token, for good.
func (t *Token) Remove(id string) error {
	return t.with(func(s pkcs11.SessionHandle) error {
		for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
			h, err := t.find(s, class, id)
			if errors.Is(err, albs.Invalid) {
				continue
			}
			if err == nil {
				err = t.m.DestroyObject(s, h)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// find returns the one object of a class and id, or Invalid.
func (t *Token) find(s pkcs11.SessionHandle, class uint, id string) (pkcs11.ObjectHandle, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) == 0 {
		return 0, albs.Errorf(albs.Invalid, "%.80q is no id of a key in a token", id)
	}
	err = t.m.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_ID, raw)})
	if err != nil {
		return 0, err
	}
	found, _, err := t.m.FindObjects(s, 2)
	if ferr := t.m.FindObjectsFinal(s); err == nil {
		err = ferr
	}
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, albs.Errorf(albs.Invalid, "token %q holds %d keys with the id %s, not one", t.label, len(found), id)
	}
	return found[0], nil
}

// Signer returns the key pair of an id, as Generate gave it. It signs SHA-256 digests
// with RSA (PKCS#1 v1.5) or, for Ed25519, messages, always to the same bytes; its errors
// are ErrAway, or Internal for a signature that doesn't verify. Errors: Invalid if the
// token has no such pair, ErrAway.
func (t *Token) Signer(id string) (crypto.Signer, error) {
	p := &pair{token: t, id: id}
	err := t.with(func(s pkcs11.SessionHandle) error {
		h, err := t.find(s, pkcs11.CKO_PUBLIC_KEY, id)
		if err != nil {
			return err
		}
		if _, err := t.find(s, pkcs11.CKO_PRIVATE_KEY, id); err != nil {
			return err
		}
		p.public, err = t.public(s, h)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// public reads a public key.
func (t *Token) public(s pkcs11.SessionHandle, h pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	value := func(types ...uint) ([][]byte, error) {
		var want []*pkcs11.Attribute
		for _, typ := range types {
			want = append(want, pkcs11.NewAttribute(typ, nil))
		}
		got, err := t.m.GetAttributeValue(s, h, want)
		if err != nil {
			return nil, err
		}
		var out [][]byte
		for _, a := range got {
			out = append(out, a.Value)
		}
		return out, nil
	}
	kind, err := value(pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return nil, err
	}
	of := func(typ uint) bool { return bytes.Equal(kind[0], pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, typ).Value) }
	switch {
	case of(pkcs11.CKK_RSA):
		v, err := value(pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return nil, err
		}
		n, e := new(big.Int).SetBytes(v[0]), new(big.Int).SetBytes(v[1])
		if n.BitLen() < 2048 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, albs.Errorf(albs.Invalid, "the RSA key in token %q is of %d bits or has a strange exponent", t.label, n.BitLen())
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case of(ckkEdwards):
		v, err := value(pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		// Within an OCTET STRING, as the standard wants it, or as it is.
		point := v[0]
		if len(point) == ed25519PointInOctet {
			if _, err := asn1.Unmarshal(v[0], &point); err != nil {
				point = nil
			}
		}
		if len(point) != ed25519.PublicKeySize {
			return nil, albs.Errorf(albs.Invalid, "the key in token %q is not of Ed25519", t.label)
		}
		return ed25519.PublicKey(point), nil
	}
	return nil, albs.Errorf(albs.Invalid, "the key in token %q is neither of RSA nor of Ed25519", t.label)
}

// pair is a key pair in a token.
type pair struct {
	token  *Token
	id     string
	public crypto.PublicKey
}

// Public implements crypto.Signer.
func (p *pair) Public() crypto.PublicKey { return p.public }

// Sign implements crypto.Signer as Token.Signer says.
func (p *pair) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	var mechanism uint = pkcs11.CKM_RSA_PKCS
	signed := digest
	switch p.public.(type) {
	case *rsa.PublicKey:
		if opts.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
			return nil, albs.Errorf(albs.Invalid, "a token's RSA key signs SHA-256 digests only")
		}
		signed = append(append([]byte{}, digestInfo...), digest...)
	default:
		mechanism = ckmEdDSA
	}
	var sig []byte
	err := p.token.with(func(s pkcs11.SessionHandle) error {
		h, err := p.token.find(s, pkcs11.CKO_PRIVATE_KEY, p.id)
		if errors.Is(err, albs.Invalid) { // it was there
			return away("its key is gone", err)
		}
		if err != nil {
			return err
		}
		if err := p.token.m.SignInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, h); err != nil {
			return err
		}
		sig, err = p.token.m.Sign(s, signed)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A token that computes wrongly gives its key away with such a signature.
	good := false
	switch public := p.public.(type) {
	case *rsa.PublicKey:
		good = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, sig) == nil
	case ed25519.PublicKey:
		good = ed25519.Verify(public, digest, sig)
	}
	if !good {
		return nil, albs.Errorf(albs.Internal, "the signature by token %q doesn't verify: stop using it", p.token.label)
	}
	return sig, nil
}
