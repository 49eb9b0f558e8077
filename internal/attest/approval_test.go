package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

func personKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func TestPersonsApproval(t *testing.T) {
	t.Parallel()
	ada, eve := personKey(7), personKey(8)
	effects, other := albs.DigestOf([]byte("effects")), albs.DigestOf([]byte("other"))
	body := attest.ApprovalBody{Person: "ada", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Note: "fine"}
	e, err := attest.Approve(ada, "release:3", effects, body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if e, err = attest.ParseEnvelope(b); err != nil {
		t.Fatal(err)
	}
	body.At = body.At.Truncate(time.Second)
	if subject, got, err := attest.OpenApproval(e, effects, public(eve), public(ada)); err != nil || subject != "release:3" || cmp.Diff(body, got) != "" {
		t.Errorf("OpenApproval = %q, %+v, %v", subject, got, err)
	}

	statement := func(predicate string, body any, digests map[string]string) attest.Envelope {
		st, err := attest.New(attest.Subject{Name: "release:3", Digest: digests}, predicate, body)
		if err != nil {
			t.Fatal(err)
		}
		out, err := attest.NewSigner(ada).Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	only := map[string]string{attest.SHA256: string(effects)}
	flipped := e
	flipped.Payload = bytes.Clone(e.Payload)
	flipped.Payload[len(flipped.Payload)-5] ^= 1
	for name, tt := range map[string]struct {
		envelope attest.Envelope
		effects  albs.Digest
		keys     []ed25519.PublicKey
		says     string
	}{
		"no key":                {e, effects, nil, "no trusted key"},
		"another person's key":  {e, effects, []ed25519.PublicKey{public(eve)}, "no trusted key"},
		"other effects":         {e, other, []ed25519.PublicKey{public(ada)}, "and not of"},
		"a flipped bit":         {flipped, effects, []ed25519.PublicKey{public(ada)}, "doesn't hold"},
		"no signature":          {attest.Envelope{Payload: e.Payload, PayloadType: e.PayloadType}, effects, []ed25519.PublicKey{public(ada)}, "0 signatures"},
		"another statement":     {statement(attest.Test, attest.TestBody{}, only), effects, []ed25519.PublicKey{public(ada)}, "no approval"},
		"the master's own word": {statement(attest.ApprovalTaken, attest.ApprovalTakenBody{Person: "ada"}, only), effects, []ed25519.PublicKey{public(ada)}, "no approval"},
		"of more than that":     {statement(attest.Approval, body, map[string]string{attest.SHA256: string(effects), "x": "y"}), effects, []ed25519.PublicKey{public(ada)}, "and not of"},
	} {
		if _, _, err := attest.OpenApproval(tt.envelope, tt.effects, tt.keys...); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	if _, err := attest.Approve(ada, "release:3", "x", body); !errors.Is(err, albs.Invalid) {
		t.Errorf("an approval of no digest: %v", err)
	}
}

// TestAllowed: other files than packages need the master's word for the product, and
// statements of another file or product are none.
func TestAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	about := func(text string) attest.Subject {
		return attest.Subject{Name: "SHA256SUMS", Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte(text)))}}
	}
	sums := about("sums")
	allowed := w.say(t, sums, attest.SignAllowed, attest.SignAllowedBody{Product: product, By: "ada"})
	elsewhere := w.say(t, sums, attest.SignAllowed, attest.SignAllowedBody{Product: "other"})
	intent := w.say(t, sums, attest.SignIntent, attest.SignIntentBody{Task: 1})
	taken := w.say(t, about("effects"), attest.ApprovalTaken, attest.ApprovalTakenBody{Person: "ada"})
	stranger := w.say(t, about("stranger"), attest.SignAllowed, attest.SignAllowedBody{Product: product})
	for name, tt := range map[string]struct {
		statements []attest.Proven
		link       attest.Link
	}{
		"allowed":            {[]attest.Proven{allowed, elsewhere, intent, taken}, ""},
		"intended only":      {[]attest.Proven{intent}, attest.LinkChain},
		"for another":        {[]attest.Proven{elsewhere, intent}, attest.LinkChain},
		"of another file":    {[]attest.Proven{stranger, intent}, attest.LinkChain},
		"and of another":     {[]attest.Proven{allowed, stranger}, attest.LinkChain},
		"approved only":      {[]attest.Proven{taken}, attest.LinkChain},
		"and nothing beside": {[]attest.Proven{allowed}, ""},
	} {
		_, err := attest.VerifyAllowed(w.evidence(t, ledger.State{}, tt.statements...), []albs.Digest{sums.File()}, w.trust, ledger.State{})
		if tt.link == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if tt.link != "" {
			wantLink(t, name, err, tt.link)
		}
	}
	// Who allows a package's file to be signed stands in the way of nothing.
	file := w.say(t, w.subject(t, w.unsigned), attest.SignAllowed, attest.SignAllowedBody{Product: product})
	e := w.evidence(t, ledger.State{}, append(w.unsignedStatements(), file, taken)...)
	if _, err := attest.VerifyEvidence(e, []albs.Digest{albs.DigestOf(w.unsigned)}, w.trust, ledger.State{}); err != nil {
		t.Errorf("a package that is allowed as a file, too: %v", err)
	}
}
