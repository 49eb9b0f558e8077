package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/pgp"
)

func statement(t testing.TB) attest.Statement {
	t.Helper()
	st, err := attest.New(attest.Subject{Name: "a <b>", Digest: map[string]string{"z": "1", attest.SHA256: string(albs.DigestOf(nil))}},
		attest.Source, attest.SourceBody{Uploader: "alice & bob"})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestEnvelopeIsDSSE computes the signature anew from DSSE's definition.
func TestEnvelopeIsDSSE(t *testing.T) {
	t.Parallel()
	s := master(t, 1)
	e, err := s.Sign(statement(t))
	if err != nil {
		t.Fatal(err)
	}
	if e.PayloadType != "application/vnd.in-toto+json" || len(e.Signatures) != 1 || e.Signatures[0].KeyID != s.KeyID() {
		t.Errorf("envelope = %+v", e)
	}
	signed := fmt.Sprintf("DSSEv1 28 application/vnd.in-toto+json %d %s", len(e.Payload), e.Payload)
	if !ed25519.Verify(s.Public(), []byte(signed), e.Signatures[0].Sig) {
		t.Error("the signature is not over DSSE's pre-authentication encoding")
	}
	again, err := s.Sign(statement(t))
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := again.Encode(); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same statement gives another envelope, error %v", err)
	}
	parsed, err := attest.ParseEnvelope(a)
	if err != nil {
		t.Fatal(err)
	}
	st, err := parsed.Open(master(t, 2).Public(), s.Public())
	if err != nil || st.Short() != attest.Source || st.Subject[0].File() != albs.DigestOf(nil) {
		t.Errorf("Open = %+v, %v", st, err)
	}
	var body attest.SourceBody
	if err := st.Body(&body); err != nil || body.Uploader != "alice & bob" {
		t.Errorf("Body = %+v, %v", body, err)
	}
	if _, err := parsed.Open(master(t, 2).Public()); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Open with another key: %v, want invalid", err)
	}
	other := e // what the same key signed as something else
	other.PayloadType = "application/json"
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	other.Signatures = []attest.Signature{{KeyID: s.KeyID(), Sig: ed25519.Sign(key, fmt.Appendf(nil, "DSSEv1 16 application/json %d %s", len(e.Payload), e.Payload))}}
	if _, err := other.Open(s.Public()); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "payloadType") {
		t.Errorf("Open of another payload type: %v, want invalid", err)
	}
	other = e
	other.Signatures = append(other.Signatures, e.Signatures[0])
	if _, err := other.Open(s.Public()); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Open with two signatures: %v, want invalid", err)
	}
	if _, err := attest.ParseEnvelope(append(a, '\n')); albs.KindOf(err) != albs.Invalid {
		t.Errorf("ParseEnvelope with a newline: %v, want invalid", err)
	}
}

// TestOpenRefuses opens what the master's key signed and New would never make.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s, key := master(t, 1), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	for name, change := range map[string]func(*attest.Statement){
		"as it was":            func(*attest.Statement) {},
		"no subject":           func(st *attest.Statement) { st.Subject = []attest.Subject{} },
		"two subjects":         func(st *attest.Statement) { st.Subject = append(st.Subject, st.Subject[0]) },
		"no sha256":            func(st *attest.Statement) { st.Subject[0].Digest = map[string]string{"sha1": "00"} },
		"another type":         func(st *attest.Statement) { st.Type = "https://in-toto.io/Statement/v0.1" },
		"an unknown predicate": func(st *attest.Statement) { st.PredicateType = "urn:x" },
	} {
		st := statement(t)
		change(&st)
		payload, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		const kind = "application/vnd.in-toto+json"
		sig := ed25519.Sign(key, fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload))
		e := attest.Envelope{Payload: payload, PayloadType: kind, Signatures: []attest.Signature{{KeyID: s.KeyID(), Sig: sig}}}
		want := albs.Invalid
		if name == "as it was" {
			want = ""
		}
		if _, err := e.Open(s.Public()); albs.KindOf(err) != want {
			t.Errorf("Open of a statement with %s: %v, want %q", name, err, want)
		}
		if _, err := s.Sign(st); albs.KindOf(err) != want {
			t.Errorf("Sign of a statement with %s: %v, want %q", name, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := attest.Subject{Digest: map[string]string{attest.SHA256: string(albs.DigestOf(nil))}}
	for name, c := range map[string]struct {
		s         attest.Subject
		predicate string
		body      any
		kind      albs.Kind
	}{
		"no predicate":    {good, "", attest.SourceBody{}, albs.Invalid},
		"other predicate": {good, "../../x", attest.SourceBody{}, albs.Invalid},
		"no digest":       {attest.Subject{Name: "x"}, attest.Source, attest.SourceBody{}, albs.Invalid},
		"bad digest":      {attest.Subject{Digest: map[string]string{attest.SHA256: "x/../y"}}, attest.Source, attest.SourceBody{}, albs.Invalid},
		"no JSON":         {good, attest.Source, func() {}, albs.Invalid},
		"large":           {good, attest.Source, attest.SourceBody{Ref: strings.Repeat("x", ledger.MaxValue)}, albs.TooLarge},
		"long name":       {attest.Subject{Name: strings.Repeat("x", 1000), Digest: good.Digest}, attest.Source, attest.SourceBody{}, albs.TooLarge},
	} {
		if _, err := attest.New(c.s, c.predicate, c.body); albs.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
		}
	}
}

func TestLargestStatementFitsTheLedger(t *testing.T) {
	t.Parallel()
	st, err := attest.New(attest.Subject{Digest: map[string]string{attest.SHA256: string(albs.DigestOf(nil))}},
		attest.Source, attest.SourceBody{Ref: strings.Repeat("x", 160<<10-100)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := master(t, 1).Sign(st); err != nil {
		t.Errorf("Sign of the largest statement: %v", err)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	e, err := master(f, 1).Sign(statement(f))
	if err != nil {
		f.Fatal(err)
	}
	b, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"payload":null,"payloadType":"","signatures":null}`))
	key := master(f, 1).Public()
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := attest.ParseEnvelope(b)
		if err != nil {
			return
		}
		if again, err := e.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is accepted, but encoded as %q, %v", b, again, err)
		}
		if _, err := e.Open(key); err != nil && albs.KindOf(err) == albs.Internal {
			t.Errorf("Open: %v", err)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	s := master(f, 1)
	e, err := s.Sign(statement(f))
	if err != nil {
		f.Fatal(err)
	}
	h := albs.DigestOf(nil)
	hdr := ledger.Header{ID: 2, Time: 1, Entries: 1, Eh: h, PrevAlh: h, BlRoot: h}
	proof := ledger.Proof{Path: []albs.Digest{h}, Link: ledger.Consistency{From: hdr, To: hdr, Inclusion: []albs.Digest{h}}}
	state := ledger.State{Ledger: strings.Repeat("0", 32), TxID: 2, Alh: h}
	bundle := attest.Bundle{
		Statements: []attest.Proven{{Envelope: e, Key: attest.StatementKey(h, attest.Source, 1), Proof: proof}},
		State:      s.SignState(state, time.Unix(1, 0)),
	}
	trust := attest.Trust{Albs: "trust/v1", Ledger: state.Ledger, MasterKeys: []string{attest.PublicKey(s.Public())}, Builders: []string{"b"}}
	f.Add(bundle.Envelopes(), bundle.Proof())
	f.Fuzz(func(t *testing.T, envelopes, proof []byte) {
		bundle, err := attest.ParseBundle(envelopes, proof)
		if err != nil {
			if albs.KindOf(err) != albs.Invalid {
				t.Errorf("ParseBundle: %v", err)
			}
			return
		}
		if !bytes.Equal(bundle.Envelopes(), envelopes) || !bytes.Equal(bundle.Proof(), proof) {
			t.Errorf("%q and %q are accepted, but encoded as %q and %q", envelopes, proof, bundle.Envelopes(), bundle.Proof())
		}
		if _, err := attest.VerifyEvidence(attest.Evidence{Bundle: bundle}, []albs.Digest{h}, trust, ledger.State{}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("VerifyEvidence: %v", err)
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	f.Add(attest.Trust{Ledger: strings.Repeat("0", 32), MasterKeys: []string{attest.PublicKey(master(f, 1).Public())}, Builders: []string{"b"}}.Encode())
	key, err := pgp.Generate("Hello <hello@example.org>", pgp.Ed25519, time.Unix(1, 0))
	if err != nil {
		f.Fatal(err)
	}
	armored, err := key.Public()
	if err != nil {
		f.Fatal(err)
	}
	compact, err := attest.PackageKey(armored)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(attest.Trust{Ledger: strings.Repeat("0", 32), MasterKeys: []string{attest.PublicKey(master(f, 1).Public())}, Builders: []string{"b"},
		PackageKeys: []string{compact, string(armored)}}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		trust, err := attest.ParseTrust(b)
		if err != nil {
			if albs.KindOf(err) != albs.Invalid {
				t.Errorf("ParseTrust: %v", err)
			}
			return
		}
		if !bytes.Equal(trust.Encode(), bytes.TrimSuffix(b, []byte("\n"))) {
			t.Errorf("%q is accepted, but encoded as %q", b, trust.Encode())
		}
	})
}
