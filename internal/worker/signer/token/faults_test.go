//go:build pkcs11

package token_test

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"albs/internal/albs"
	"albs/internal/worker/signer/token"
	"albs/internal/worker/signer/token/tokentest"
)

// faulty is SoftHSM, which knows no locked PIN and no plug that is pulled, with what
// such a token answers.
type faulty struct {
	token.Module
	flags  uint
	login  error
	sign   []error // of the next calls
	wrong  bool    // signatures
	logins int
	signed int
}

// GetTokenInfo implements token.Module.
func (f *faulty) GetTokenInfo(slot uint) (pkcs11.TokenInfo, error) {
	i, err := f.Module.GetTokenInfo(slot)
	i.Flags |= f.flags
	return i, err
}

// Login implements token.Module.
func (f *faulty) Login(s pkcs11.SessionHandle, user uint, pin string) error {
	f.logins++
	if f.login != nil {
		return f.login
	}
	return f.Module.Login(s, user, pin)
}

// Sign implements token.Module.
func (f *faulty) Sign(s pkcs11.SessionHandle, b []byte) ([]byte, error) {
	if len(f.sign) > 0 {
		err := f.sign[0]
		f.sign = f.sign[1:]
		return nil, err
	}
	sig, err := f.Module.Sign(s, b)
	f.signed++
	if f.wrong && err == nil {
		sig[0] ^= 1
	}
	return sig, err
}

func TestFaults(t *testing.T) {
	c, _ := tokentest.New(t)
	ctx := pkcs11.New(c.Module)
	if ctx == nil {
		t.Fatal("the library can't be loaded")
	}
	defer ctx.Destroy()
	for name, f := range map[string]*faulty{
		"PIN is locked":     {login: pkcs11.Error(pkcs11.CKR_PIN_LOCKED)},
		"PIN is locked:":    {flags: pkcs11.CKF_USER_PIN_LOCKED},
		"to be changed":     {login: pkcs11.Error(pkcs11.CKR_PIN_EXPIRED)},
		"nobody can log in": {login: pkcs11.Error(pkcs11.CKR_DEVICE_ERROR)},
	} {
		f.Module = ctx
		_, err := token.OpenModule(f, c.Label, []byte(tokentest.PIN))
		if want := map[bool]albs.Kind{true: albs.Unavailable, false: albs.Invalid}[name == "nobody can log in"]; albs.KindOf(err) != want || !strings.Contains(err.Error(), name) {
			t.Errorf("Open = %v, want kind %s with %q", err, want, name)
		}
		if f.logins > 1 || f.flags != 0 && f.logins != 0 {
			t.Errorf("%s: the PIN was tried %d times", name, f.logins)
		}
	}

	f := &faulty{Module: ctx}
	tok, err := token.OpenModule(f, c.Label, []byte(tokentest.PIN))
	if err != nil {
		t.Fatal(err)
	}
	defer tok.Close()
	_, pair, err := tok.Generate(token.RSA4096, "Demo")
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	sign := func() ([]byte, error) { return pair.Sign(nil, digest, crypto.SHA256) }
	want, err := sign()
	if err != nil {
		t.Fatal(err)
	}

	// A session lost in the middle is opened anew, and the signature is the same.
	f.sign = []error{pkcs11.Error(pkcs11.CKR_SESSION_HANDLE_INVALID)}
	if sig, err := sign(); err != nil || !bytes.Equal(sig, want) || f.signed != 2 {
		t.Errorf("after a lost session: %v, %d signatures were made", err, f.signed)
	}
	// A plug that was pulled: one more try, no signature.
	f.sign = []error{pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED), pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)}
	if _, err := sign(); !errors.Is(err, token.ErrAway) || len(f.sign) != 1 {
		t.Errorf("with the plug pulled: %v, %d answers are left", err, len(f.sign))
	}
	f.sign = nil
	// What it computes wrongly isn't given out.
	f.wrong = true
	if sig, err := sign(); albs.KindOf(err) != albs.Internal {
		t.Errorf("a wrong signature: %x, %v", sig, err)
	}
	f.wrong = false
	// A PIN that isn't taken any more is tried once.
	f.sign, f.login, f.logins = []error{pkcs11.Error(pkcs11.CKR_SESSION_CLOSED)}, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT), 0
	for range 3 {
		if _, err := sign(); !errors.Is(err, token.ErrAway) || !strings.Contains(err.Error(), "PIN is wrong") {
			t.Errorf("with another PIN: %v", err)
		}
		if err := tok.Ready(); !errors.Is(err, token.ErrAway) {
			t.Errorf("Ready with another PIN: %v", err)
		}
	}
	if f.logins != 1 {
		t.Errorf("a refused PIN was tried %d times", f.logins)
	}
}
