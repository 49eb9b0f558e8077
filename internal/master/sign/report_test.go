package sign

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/worker"
)

// states is the key of the statements of a signer that a test plays.
var states = attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))

// offer is what that signer can do.
func offer(labels ...string) worker.Offer {
	return worker.Offer{Labels: labels, Wait: 30, Key: attest.PublicKey(states.Public())}
}

// header returns the main header of the ith package of a lease.
func header(t *testing.T, l worker.Lease, i int) []byte {
	t.Helper()
	files, err := rpms()
	if err != nil {
		t.Fatal(err)
	}
	b, err := rpm.Header(bytes.NewReader(files[l.Spec.Sign.Packages[i].Name]))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// report is what a signer sends that signs with key, of each package the header of that
// number by of, and states by s what edit makes of the truth about the copy.
func report(t *testing.T, l worker.Lease, key *pgp.Key, of func(i int) int, s *attest.Signer, edit func(i int, about *attest.Subject, body *attest.SignBody)) albs.Result {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := rpms()
	must(err)
	var r albs.SignResult
	for i, p := range l.Spec.Sign.Packages {
		sig, isRSA, err := key.Sign(header(t, l, of(i)))
		must(err)
		var copied bytes.Buffer
		must(rpm.Splice(&copied, bytes.NewReader(files[p.Name]), sig, isRSA))
		read, err := rpm.Read(bytes.NewReader(copied.Bytes()))
		must(err)
		about := attest.Subject{Name: p.Name, Digest: map[string]string{
			attest.SHA256: string(albs.DigestOf(copied.Bytes())), attest.HeaderSHA256: string(read.HeaderSHA256), attest.PayloadSHA256: string(read.PayloadSHA256),
		}}
		body := attest.SignBody{Unsigned: p.Digest, Fingerprint: l.Spec.Sign.Key, Task: l.Token.Task, Build: int64(l.Spec.Sign.Build), Requester: "ada"}
		if edit != nil {
			edit(i, &about, &body)
		}
		st, err := attest.New(about, attest.Sign, body)
		must(err)
		e, err := s.Sign(st)
		must(err)
		b, err := e.Encode()
		must(err)
		r.Signatures = append(r.Signatures, albs.Signature{Of: p.Digest, Bytes: sig, Statement: b})
	}
	return albs.Result{Sign: &r}
}

// same has each package's own header signed.
func same(i int) int { return i }

// misstated are reports with good signatures and a statement that isn't what happened.
func misstated(t *testing.T, key *pgp.Key) map[string]func(l worker.Lease) albs.Result {
	other := albs.DigestOf([]byte("other"))
	edit := func(f func(about *attest.Subject, body *attest.SignBody)) func(l worker.Lease) albs.Result {
		return func(l worker.Lease) albs.Result {
			return report(t, l, key, same, states, func(i int, about *attest.Subject, body *attest.SignBody) {
				if i == 1 { // one of three is enough
					about.Digest = maps.Clone(about.Digest)
					f(about, body)
				}
			})
		}
	}
	put := func(f func(s []albs.Signature)) func(l worker.Lease) albs.Result {
		return func(l worker.Lease) albs.Result {
			r := report(t, l, key, same, states, nil)
			f(r.Sign.Signatures)
			return r
		}
	}
	mallory := attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize)))
	return map[string]func(l worker.Lease) albs.Result{
		"stated by another key":           func(l worker.Lease) albs.Result { return report(t, l, key, same, mallory, nil) },
		"stated of another file":          edit(func(a *attest.Subject, _ *attest.SignBody) { a.Digest[attest.SHA256] = string(other) }),
		"stated of another header":        edit(func(a *attest.Subject, _ *attest.SignBody) { a.Digest[attest.HeaderSHA256] = string(other) }),
		"stated of another payload":       edit(func(a *attest.Subject, _ *attest.SignBody) { a.Digest[attest.PayloadSHA256] = string(other) }),
		"stated of more":                  edit(func(a *attest.Subject, _ *attest.SignBody) { a.Digest["sha512"] = string(other) }),
		"stated under another name":       edit(func(a *attest.Subject, _ *attest.SignBody) { a.Name = "other.rpm" }),
		"stated of another package":       edit(func(_ *attest.Subject, b *attest.SignBody) { b.Unsigned = other }),
		"stated of another package's key": edit(func(_ *attest.Subject, b *attest.SignBody) { b.Fingerprint = strings.Repeat("A", 40) }),
		"stated of another task":          edit(func(_ *attest.Subject, b *attest.SignBody) { b.Task++ }),
		"stated of another build":         edit(func(_ *attest.Subject, b *attest.SignBody) { b.Build++ }),
		"stated for another person":       edit(func(_ *attest.Subject, b *attest.SignBody) { b.Requester = "mallory" }),
		"stated of one another":           put(func(s []albs.Signature) { s[0].Statement, s[1].Statement = s[1].Statement, s[0].Statement }),
		"not stated":                      put(func(s []albs.Signature) { s[2].Statement = nil }),
		"stated as something":             put(func(s []albs.Signature) { s[0].Statement = []byte("x") }),
		"stated and a space behind it":    put(func(s []albs.Signature) { s[0].Statement = append(s[0].Statement, ' ') }),
	}
}

// untouched holds that nothing was stated of signed copies, and nothing kept.
func (f *fixture) untouched(t *testing.T, what string) {
	t.Helper()
	var signs, copies int
	err := f.d.GetContext(t.Context(), &signs, `SELECT count(*) FROM statement WHERE predicate = 'sign'`)
	if err == nil {
		err = f.d.GetContext(t.Context(), &copies, `SELECT count(*) FROM artifact WHERE unsigned IS NOT NULL AND kind = $1`, string(artifact.RPM))
	}
	if err != nil || signs+copies > 0 {
		t.Errorf("%s: %d signed copies, %d statements, %v", what, copies, signs, err)
	}
}
