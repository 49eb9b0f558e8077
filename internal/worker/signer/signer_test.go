package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/telemetry/telemetrytest"
	"albs/internal/worker/workertest"
)

func TestSignPackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Build: 7, Packages: w.files}
	public := must[[]byte](t)(w.key.Public())
	kr := must[*rpm.Keyring](t)(rpm.ReadKeyring(public))
	// Twice: first knowing nothing of the ledger, then from the state remembered,
	// as another process.
	for round := range 2 {
		known := w.known(t)
		if (known == 0) != (round == 0) {
			t.Errorf("round %d begins at transaction %d", round, known)
		}
		outcome, r := w.sign(t, spec, w.evidence(t, known, w.about(t, w.files...)...))
		if outcome != albs.OutcomeOK || r.Sign == nil || len(r.Sign.Signatures) != len(w.files) {
			t.Fatalf("round %d ended as %s: %+v\n%s", round, outcome, r, w.log)
		}
		for i, sig := range r.Sign.Signatures {
			parsed := must[pgp.Signature](t)(pgp.ParseSignature(sig.Bytes))
			var signed bytes.Buffer
			if err := rpm.Splice(&signed, bytes.NewReader(w.packages[i]), sig.Bytes, parsed.RSA); err != nil {
				t.Fatal(err)
			}
			copied := albs.DigestOf(signed.Bytes())
			v, err := rpm.Verify(&signed, kr)
			if err != nil || v.Fingerprint != w.key.Fingerprint() || sig.Of != w.files[i].Digest {
				t.Errorf("signature %d: %v, %v", i, v, err)
			}
			// The signer states by the key that it offers, which outlives its process.
			about := subjectOf(v.Package, copied)
			about.Name = w.files[i].Name
			says := must[attest.Statement](t)(attest.New(about, attest.Sign, attest.SignBody{
				Unsigned: sig.Of, Fingerprint: v.Fingerprint, Task: albs.TaskID(w.tasks), Build: 7, Requester: "ada",
			}))
			e := must[attest.Envelope](t)(attest.ParseEnvelope(sig.Statement))
			if err := e.Says(says, w.statementKey(t)); err != nil {
				t.Errorf("the statement %d, %s: %v", i, e.Payload, err)
			}
		}
		if got := w.known(t); got != w.state(t).TxID {
			t.Errorf("the signer remembers transaction %d, want %d", got, w.state(t).TxID)
		}
		w.secretFree(t, fmt.Sprint(r))
		w.filler(t)
	}
	if n := w.intents(t); n != 4 {
		t.Errorf("%d intents in the journal, want 4", n)
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Join(w.config.Dir, "tmp"))); len(left) != 0 {
		t.Errorf("%d folders of work are left", len(left))
	}
}

func TestSignDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo")
	doc := []byte("<repomd/>")
	file := albs.File{Name: "repomd.xml", Digest: w.fake.AddBlob(doc), Size: int64(len(doc))}
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Documents: []albs.File{file}}
	if outcome, r := w.sign(t, spec, w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{}, file), w.approve(t, file, "other"))...)); outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, "refused") {
		t.Errorf("an approval for another product: %s, %+v", outcome, r)
	}
	w.policy(t, fmt.Sprintf("keys:\n  %s: {kinds: [repomd], approvals: 2}\n", w.key.Fingerprint()))
	if outcome, r := w.sign(t, spec, w.evidence(t, w.known(t), append(w.intend(t, attest.SignIntentBody{}, file), w.approve(t, file, "demo"), w.approve(t, file, "demo", "ada"))...)); outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, "wants 2 people's approval") {
		t.Errorf("one person's approval where two are wanted: %s, %+v", outcome, r)
	}
	if n := w.intents(t); n != 0 || w.operations != 0 {
		t.Errorf("%d intents in the journal of a signer that refused, and %d uses of its key", n, w.operations)
	}
	outcome, r := w.sign(t, spec, w.evidence(t, w.known(t), append(w.intend(t, attest.SignIntentBody{}, file), w.approve(t, file, "demo", "ada", "bob"))...))
	if outcome != albs.OutcomeOK || r.Sign == nil || len(r.Sign.Signatures) != 1 {
		t.Fatalf("ended as %s: %+v\n%s", outcome, r, w.log)
	}
	kr := must[*pgp.Keyring](t)(pgp.ReadKeyring(must[[]byte](t)(w.key.Public())))
	if fpr, _, err := kr.VerifyArmored(bytes.NewReader(doc), r.Sign.Signatures[0].Bytes); err != nil || fpr != w.key.Fingerprint() {
		t.Errorf("the signature is by %s, %v", fpr, err)
	}
}

// approve states that a document is what an approved release of a product comes to.
func (w *world) approve(t *testing.T, file albs.File, product string, people ...string) attest.Proven {
	t.Helper()
	approvals := []attest.ApprovedBy{{Person: "ada"}}
	for _, p := range people {
		approvals = append(approvals, attest.ApprovedBy{Person: p})
	}
	return w.say(t, attest.Subject{Name: file.Name, Digest: map[string]string{attest.SHA256: string(file.Digest)}}, attest.ReleaseApproved,
		attest.ReleaseApprovedBody{Product: product, Repository: "x86_64", Plan: albs.DigestOf([]byte("plan")), Approvals: approvals})
}

// misstate has the master state a file with a fact of another package, and asks for
// that file to be signed.
func (w *world) misstate(t *testing.T, spec *albs.SignSpec, spoil func(p, other *rpm.Package)) attest.Evidence {
	t.Helper()
	junk := append(bytes.Clone(w.packages[0]), 'x')
	f := albs.File{Name: w.files[0].Name, Digest: w.fake.AddBlob(junk), Size: int64(len(junk))}
	p := must[*rpm.Package](t)(rpm.Read(bytes.NewReader(w.packages[0])))
	spoil(p, must[*rpm.Package](t)(rpm.Read(bytes.NewReader(w.packages[1]))))
	built, source := w.said[w.files[0].Digest][0], w.said[w.files[0].Digest][1]
	var st attest.Statement
	if err := json.Unmarshal(built.Envelope.Payload, &st); err != nil {
		t.Fatal(err)
	}
	var body attest.BuildBody
	if err := st.Body(&body); err != nil {
		t.Fatal(err)
	}
	spec.Packages = []albs.File{f}
	return w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{}, f), w.say(t, subjectOf(p, f.Digest), attest.Build, body), source)...)
}

// TestRefusals are attempts to get a signature that the master could be made to
// send. None leaves an intent in the journal: the key was not used.
func TestRefusals(t *testing.T) {
	t.Parallel()
	fine := func(w *world, t *testing.T) (albs.SignSpec, attest.Evidence) {
		return albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files[:1]}, w.evidence(t, 0, w.about(t, w.files[0])...)
	}
	tests := []struct {
		name     string
		products []string
		tamper   func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence)
		outcome  albs.Outcome
		say      string
	}{
		{"no statement", nil, func(_ *testing.T, _ *world, _ *albs.SignSpec, e *attest.Evidence) { e.Statements = nil }, albs.OutcomeFailed, "refused"},
		{"not notarized", nil, func(t *testing.T, w *world, _ *albs.SignSpec, e *attest.Evidence) {
			// A statement that the master signed and the ledger doesn't hold.
			e.Statements[0].Key = strings.TrimSuffix(e.Statements[0].Key, "1") + "2"
		}, albs.OutcomeFailed, "refused"},
		{"evidence of another package", nil, func(t *testing.T, w *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Packages = w.files[1:]
		}, albs.OutcomeFailed, "refused"},
		{"a flipped byte", nil, func(_ *testing.T, _ *world, _ *albs.SignSpec, e *attest.Evidence) {
			e.Statements[0].Envelope.Payload = bytes.Clone(e.Statements[0].Envelope.Payload)
			e.Statements[0].Envelope.Payload[40] ^= 1
		}, albs.OutcomeFailed, "refused"},
		{"another master", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			evil := attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize)))
			f := spec.Packages[0]
			p := must[*rpm.Package](t)(rpm.Read(bytes.NewReader(w.packages[0])))
			forged := w.sayAs(t, evil, subjectOf(p, f.Digest), attest.Build, attest.BuildBody{})
			*e = w.evidence(t, 0, append(w.about(t, f), forged)...)
		}, albs.OutcomeFailed, "refused"},
		{"another builder", nil, func(_ *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.config.Trust.Builders = []string{"https://example.org/other"}
		}, albs.OutcomeFailed, "refused"},
		{"a key that isn't held", nil, func(_ *testing.T, _ *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Key = strings.Repeat("AB", 20)
		}, albs.OutcomeFailed, "doesn't hold"},
		{"another product than the key was made for", []string{"other"}, nil, albs.OutcomeFailed, "sign for other, not for"},
		{"another product than the operator allows", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {products: [a, b]}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "sign for a, b, not for"},
		{"a policy that can't be read", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, "keys:\n  x: {produkts: [a]}\n")
		}, albs.OutcomeFailed, "nothing is signed"},
		{"a policy for a key spelt in small letters", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {products: [a]}\n", strings.ToLower(w.key.Fingerprint())))
		}, albs.OutcomeFailed, "nothing is signed"},
		{"another product than the key was made for, and a quota", []string{"other"}, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {quota: 7}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "sign for other, not for"},
		{"another platform than the operator allows", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {platforms: [el10, el8]}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "built for el10, el8; \"hello-1.0-1.noarch.rpm\" was built for el9"},
		{"another kind than the operator allows", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {kinds: [repomd]}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "sign repomd, not packages"},
		{"no intent in the ledger", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.evidence(t, 0, w.said[spec.Packages[0].Digest]...)
		}, albs.OutcomeFailed, "no intent to sign"},
		{"an intent of another task", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{Task: 7}, spec.Packages...), w.said[spec.Packages[0].Digest]...)...)
		}, albs.OutcomeFailed, "no intent to sign"},
		{"an intent with another key", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{Fingerprint: "X"}, spec.Packages...), w.said[spec.Packages[0].Digest]...)...)
		}, albs.OutcomeFailed, "no intent to sign"},
		{"an intent for another product", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{Product: "other"}, spec.Packages...), w.said[spec.Packages[0].Digest]...)...)
		}, albs.OutcomeFailed, "no intent to sign"},
		{"more at once than the quota", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {quota: 1}\n", w.key.Fingerprint()))
			spec.Packages = w.files
			*e = w.evidence(t, 0, w.about(t, w.files...)...)
		}, albs.OutcomeFailed, "make 1 signatures in an hour, 2 are asked for"},
		{"a key whose time is over", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {not_after: 2020-01-01}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "sign until 2020-01-01T00:00:00Z"},
		{"a key whose time hasn't come", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {not_before: 2999-01-01T10:00:00+02:00}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "sign from 2999-01-01T08:00:00Z on"},
		{"a time that ends before it begins", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {not_before: 2999-01-02, not_after: 2999-01-01}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "nothing is signed"},
		{"a kind that doesn't exist", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {kinds: [package]}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "nothing is signed"},
		{"a quota below none", nil, func(t *testing.T, w *world, _ *albs.SignSpec, _ *attest.Evidence) {
			w.policy(t, fmt.Sprintf("keys:\n  %s: {quota: -1}\n", w.key.Fingerprint()))
		}, albs.OutcomeFailed, "nothing is signed"},
		{"one package under another's name", nil, func(_ *testing.T, w *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Packages = []albs.File{{Name: w.files[1].Name, Digest: w.files[0].Digest, Size: w.files[0].Size}}
		}, albs.OutcomeFailed, "calls itself hello-1.0-1.noarch.rpm"},
		{"a key called by a command", nil, func(_ *testing.T, _ *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Key = "$(touch /tmp/x)\n'\"--"
		}, albs.OutcomeFailed, "doesn't hold"},
		{"a package called by a command", nil, func(_ *testing.T, w *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Packages = []albs.File{{Name: "-e $(touch /tmp/x)\n'\"", Digest: w.files[0].Digest, Size: w.files[0].Size}}
		}, albs.OutcomeFailed, "calls itself hello-1.0-1.noarch.rpm"},
		{"another size", nil, func(_ *testing.T, w *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Packages = []albs.File{{Name: w.files[0].Name, Digest: w.files[0].Digest, Size: w.files[0].Size - 1}}
		}, albs.OutcomeFailed, "more bytes came"},
		{"stated with another header", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.misstate(t, spec, func(p, other *rpm.Package) { p.HeaderSHA256 = other.HeaderSHA256 })
		}, albs.OutcomeFailed, "another header or payload"},
		{"stated with another payload", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			*e = w.misstate(t, spec, func(p, other *rpm.Package) { p.PayloadSHA256 = other.PayloadSHA256 })
		}, albs.OutcomeFailed, "another header or payload"},
		{"a binary package stated as a source package", nil, func(t *testing.T, w *world, spec *albs.SignSpec, e *attest.Evidence) {
			// Of which no build and no test is asked for.
			p := must[*rpm.Package](t)(rpm.Read(bytes.NewReader(w.packages[0])))
			*e = w.evidence(t, 0, append(w.intend(t, attest.SignIntentBody{}, spec.Packages...),
				w.say(t, subjectOf(p, spec.Packages[0].Digest), attest.Source, attest.SourceBody{Uploader: "ada"}))...)
		}, albs.OutcomeFailed, "of the other kind"},
		{"other bytes than were asked for", nil, func(_ *testing.T, w *world, spec *albs.SignSpec, _ *attest.Evidence) {
			w.get = func(context.Context, func(), albs.Digest) []byte { return make([]byte, spec.Packages[0].Size) }
		}, albs.OutcomeFailed, "refused: what came for"},
		{"nothing to sign", nil, func(_ *testing.T, _ *world, spec *albs.SignSpec, _ *attest.Evidence) { spec.Packages = nil }, albs.OutcomeFailed, "1 to 500"},
		{"packages as documents", nil, func(_ *testing.T, _ *world, spec *albs.SignSpec, _ *attest.Evidence) {
			spec.Documents, spec.Packages = spec.Packages, nil
		}, albs.OutcomeFailed, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.products...)
			spec, e := fine(w, t)
			if tt.tamper != nil {
				tt.tamper(t, w, &spec, &e)
			}
			outcome, r := w.sign(t, spec, e)
			if outcome != tt.outcome || !strings.Contains(r.Reason, tt.say) || r.Sign != nil {
				t.Errorf("ended as %s: %q, want %s with %q", outcome, r.Reason, tt.outcome, tt.say)
			}
			if n := w.intents(t); n != 0 || w.operations != 0 {
				t.Errorf("%d intents in the journal of a signer that refused, and %d uses of its key", n, w.operations)
			}
			w.secretFree(t, r.Reason)
		})
	}
}

func (w *world) policy(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.config.Dir, "policy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRollback has the master come back with an older ledger than the signer has
// seen, with a fork of it, and with none that continues.
func TestRollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files[:1]}
	older := w.evidence(t, 0, w.about(t, w.files[0])...)
	w.filler(t)
	if outcome, r := w.sign(t, spec, w.evidence(t, 0, w.about(t, w.files[0])...)); outcome != albs.OutcomeOK {
		t.Fatalf("ended as %s: %+v", outcome, r)
	}
	known, n := w.known(t), w.intents(t)
	for name, e := range map[string]attest.Evidence{
		"replayed": older,
		"without consistency": func() attest.Evidence {
			w.filler(t)
			return w.evidence(t, 0, w.about(t, w.files[0])...)
		}(),
	} {
		outcome, r := w.sign(t, spec, e)
		if outcome != albs.OutcomeInfra || !strings.Contains(r.Reason, "ledger") {
			t.Errorf("%s: ended as %s: %q", name, outcome, r.Reason)
		}
	}
	if w.known(t) != known || w.intents(t) != n {
		t.Errorf("a refused ledger left its mark: transaction %d, %d intents", w.known(t), w.intents(t))
	}
	// A state file that can't be read stops the signer: without it all would pass.
	if err := os.WriteFile(filepath.Join(w.config.Dir, stateName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t.Context(), w.config, zerolog.Nop()); albs.KindOf(err) != albs.Invalid {
		t.Errorf("open with a damaged state = %v", err)
	}
}

func TestKeygen(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{pgp.Ed25519, pgp.RSA4096} {
		w := newWorld(t)
		spec := albs.KeygenSpec{Name: userID, Algorithm: alg, Products: []string{"demo"}}
		id, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Keygen: &spec}}, nil)
		if outcome != albs.OutcomeOK || r.Keygen == nil {
			t.Fatalf("ended as %s: %+v\n%s", outcome, r, w.log)
		}
		kr := must[*pgp.Keyring](t)(pgp.ReadKeyring(r.Keygen.Public))
		want := []pgp.PublicKey{{Fingerprint: r.Keygen.Fingerprint, UserID: userID, Algorithm: alg}}
		if diff := cmp.Diff(want, kr.Keys()); diff != "" {
			t.Errorf("the key (-want +got):\n%s", diff)
		}
		w.secretFree(t, fmt.Sprint(r), string(r.Keygen.Public), string(w.fake.LogOf(id, 1, "sign")))
		// Another process has it, and the task's next attempt gets the same.
		s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
		if _, err := open(t.Context(), w.config, zerolog.Nop()); albs.KindOf(err) != albs.Conflict {
			t.Errorf("a second signer in the same directory = %v", err)
		}
		s.journal.Close()
		if offer := s.offer("test"); !strings.Contains(strings.Join(offer.Labels, " "), "key:"+r.Keygen.Fingerprint) {
			t.Errorf("the offer is %v", offer.Labels)
		}
		if k, ok := s.keys.madeFor(id, spec); !ok || k.file.Fingerprint != r.Keygen.Fingerprint {
			t.Errorf("a second attempt makes another key: %v, %v", k.file.Fingerprint, ok)
		}
		if k, ok := s.keys.madeFor(id+1, spec); ok {
			t.Errorf("another task gets the key %s", k.file.Fingerprint)
		}
		file := must[key](t)(s.keys.get(r.Keygen.Fingerprint)).file
		if err := (policy{}).of(file).asked(file.Fingerprint, albs.SignSpec{Product: "other"}, time.Now()); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("the key signs for another product: %v", err)
		}
		// It signs, and rpm takes what it signed.
		w.key = must[key](t)(s.keys.get(r.Keygen.Fingerprint)).private
		sign := albs.SignSpec{Key: r.Keygen.Fingerprint, Product: "demo", Packages: w.files}
		if outcome, r := w.sign(t, sign, w.evidence(t, 0, w.about(t, w.files...)...)); outcome != albs.OutcomeOK {
			t.Errorf("%s: signing ended as %s: %+v", alg, outcome, r)
		}
	}
	w := newWorld(t)
	bad := albs.KeygenSpec{Name: userID, Algorithm: "dsa"}
	if _, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Keygen: &bad}}, nil); outcome != albs.OutcomeFailed {
		t.Errorf("an unknown algorithm ended as %s: %+v", outcome, r)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(t *testing.T, w *world)
		want albs.Kind
	}{
		{"all is well", func(*testing.T, *world) {}, ""},
		{"another passphrase", func(t *testing.T, w *world) {
			write(t, w.config.PassphraseFile, "another", 0o600)
		}, albs.Invalid},
		{"an empty passphrase", func(t *testing.T, w *world) { write(t, w.config.PassphraseFile, "\n", 0o600) }, albs.Invalid},
		{"no passphrase file", func(t *testing.T, w *world) { w.config.PassphraseFile += ".gone" }, albs.Invalid},
		{"a passphrase for all to read", func(t *testing.T, w *world) {
			if err := os.Chmod(w.config.PassphraseFile, 0o644); err != nil {
				t.Fatal(err)
			}
		}, albs.Invalid},
		{"keys for all to read", func(t *testing.T, w *world) {
			if err := os.Chmod(w.config.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}, albs.Invalid},
		{"a key under another's name", func(t *testing.T, w *world) {
			keys := filepath.Join(w.config.Dir, "keys")
			if err := os.Rename(filepath.Join(keys, w.key.Fingerprint()+".json"), filepath.Join(keys, strings.Repeat("A", 40)+".json")); err != nil {
				t.Fatal(err)
			}
		}, albs.Invalid},
		{"a key that calls itself another", func(t *testing.T, w *world) {
			keys, other := filepath.Join(w.config.Dir, "keys"), strings.Repeat("A", 40)
			path := filepath.Join(keys, w.key.Fingerprint()+".json")
			text := string(must[[]byte](t)(os.ReadFile(path)))
			write(t, filepath.Join(keys, other+".json"), strings.Replace(text, w.key.Fingerprint(), other, 1), 0o600)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, albs.Invalid},
		{"no trust", func(_ *testing.T, w *world) { w.config.Trust = nil }, albs.Invalid},
		{"a trust file that names nothing", func(t *testing.T, w *world) {
			w.config.TrustFile = filepath.Join(w.config.Dir, "trust.json")
			write(t, w.config.TrustFile, "{}", 0o600)
		}, albs.Invalid},
		{"a trust file", func(t *testing.T, w *world) {
			w.config.TrustFile = filepath.Join(w.config.Dir, "trust.json")
			write(t, w.config.TrustFile, string(w.config.Trust.Encode()), 0o600)
			w.config.Trust = nil
		}, ""},
		{"no directory", func(_ *testing.T, w *world) { w.config.Dir = "" }, albs.Invalid},
		{"a directory whose name is a pattern", func(t *testing.T, w *world) {
			dir := w.config.Dir + "[0-9]"
			if err := os.Rename(w.config.Dir, dir); err != nil {
				t.Fatal(err)
			}
			w.config.Dir = dir
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.do(t, w)
			s, err := open(t.Context(), w.config, zerolog.New(w.log))
			if albs.KindOf(err) != tt.want {
				t.Errorf("open = %v, want kind %q", err, tt.want)
			}
			if err == nil {
				if got := s.keys.files(); len(got) != 1 || got[0].Fingerprint != w.key.Fingerprint() {
					t.Errorf("the keys held are %v", got)
				}
				s.journal.Close()
			} else if strings.Contains(err.Error(), passphrase) {
				t.Errorf("the error tells the passphrase: %v", err)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestEngineRefuses has the second engine refuse what the first took: no signature
// leaves the signer, and the journal says why.
func TestEngineRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	script := filepath.Join(t.TempDir(), "bwrap")
	write(t, script, "#!/bin/sh\ncase \"$*\" in *--checksig*) echo DIGESTS SIGNATURES NOT OK; exit 1;; esac\n", 0o700)
	w.engines = &engines{bwrap: script, rpmkeys: "rpmkeys", gpgv: "gpgv"}
	outcome, r := w.sign(t, albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files}, w.evidence(t, 0, w.about(t, w.files...)...))
	if outcome != albs.OutcomeFailed || r.Sign != nil || !strings.Contains(r.Reason, "NOT OK") {
		t.Errorf("ended as %s: %+v", outcome, r)
	}
	if n := strings.Count(w.journal(t), `"error":"rpmkeys refuses`); n != len(w.files) {
		t.Errorf("%d results in the journal tell of it:\n%s", n, w.journal(t))
	}
}

// TestOwnEngineRefuses has the second engine take everything: what doesn't hold by
// the key's public part, here exchanged on disk, stays in for the first one alone.
func TestOwnEngineRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	script := filepath.Join(t.TempDir(), "bwrap")
	write(t, script, "#!/bin/sh\n", 0o700)
	w.engines = &engines{bwrap: script, rpmkeys: "rpmkeys", gpgv: "gpgv"}
	path := filepath.Join(w.config.Dir, "keys", w.key.Fingerprint()+".json")
	var f keyFile
	if err := json.Unmarshal(must[[]byte](t)(os.ReadFile(path)), &f); err != nil {
		t.Fatal(err)
	}
	other := must[*pgp.Key](t)(pgp.Generate(userID, pgp.Ed25519, time.Now()))
	f.Public = string(must[[]byte](t)(other.Public()))
	write(t, path, string(must[[]byte](t)(json.Marshal(f))), 0o600)
	outcome, r := w.sign(t, albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files}, w.evidence(t, 0, w.about(t, w.files...)...))
	if outcome != albs.OutcomeFailed || r.Sign != nil || !strings.Contains(r.Reason, "keyring doesn't hold") {
		t.Errorf("ended as %s: %+v", outcome, r)
	}
}

// TestStopsBeforeSigning has the lease end while the last byte arrives: what would
// be signed then is out of the master's reach.
func TestStopsBeforeSigning(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"packages", "documents"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			spec, about := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files[:1]}, w.about(t, w.files[0])
			if what == "documents" {
				doc := []byte("<repomd/>")
				file := albs.File{Name: "repomd.xml", Digest: w.fake.AddBlob(doc), Size: int64(len(doc))}
				spec.Packages, spec.Documents = nil, []albs.File{file}
				about = append(w.intend(t, attest.SignIntentBody{}, file), w.approve(t, file, "demo"))
			}
			w.get = func(ctx context.Context, shutdown func(), d albs.Digest) []byte {
				shutdown()
				<-ctx.Done()
				return w.fake.Content(d)
			}
			outcome, r := w.sign(t, spec, w.evidence(t, 0, about...))
			if journal := w.journal(t); outcome != albs.OutcomeStopped || r.Sign != nil || strings.Contains(journal, `"signature":`) {
				t.Errorf("ended as %s: %+v; the journal:\n%s", outcome, r, journal)
			}
		})
	}
}

// TestSecondSigner starts another signer in the directory of one that is at work:
// it says so and touches nothing.
func TestSecondSigner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	work := must[string](t)(os.MkdirTemp(filepath.Join(w.config.Dir, "tmp"), "task-*"))
	if _, err := open(t.Context(), w.config, zerolog.Nop()); albs.KindOf(err) != albs.Conflict {
		t.Errorf("a second signer in the same directory = %v", err)
	}
	if _, err := os.Stat(work); err != nil {
		t.Errorf("the second signer took the first one's work: %v", err)
	}
	s.journal.Close()
	s = must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	s.journal.Close()
	if _, err := os.Stat(work); !os.IsNotExist(err) {
		t.Errorf("the next signer leaves what the last one left: %v", err)
	}
}

// TestTooLong asks for what could be written and not be read at the next start.
func TestTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	book := strings.Repeat("<long>", 5000) // each < takes six bytes in the journal
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: book, Packages: w.files[:1]}
	about := append(w.intend(t, attest.SignIntentBody{Product: book}, w.files[0]), w.said[w.files[0].Digest]...)
	if outcome, r := w.sign(t, spec, w.evidence(t, 0, about...)); outcome != albs.OutcomeFailed || r.Sign != nil || !strings.Contains(r.Reason, "too long") {
		t.Errorf("a product without end: %s, %+v", outcome, r)
	}
	keygen := albs.KeygenSpec{Name: userID, Algorithm: pgp.Ed25519, Products: slices.Repeat([]string{book}, 20)}
	if _, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Keygen: &keygen}}, nil); outcome != albs.OutcomeFailed {
		t.Errorf("a key for products without end: %s, %+v", outcome, r)
	}
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	defer s.journal.Close()
	if got := s.keys.files(); len(got) != 1 || got[0].Fingerprint != w.key.Fingerprint() {
		t.Errorf("the keys held are %v", got)
	}
}

// TestFirstStart has the signer make a passphrase of its own, and say so.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := Config{Dir: filepath.Join(t.TempDir(), "new"), Spool: t.TempDir(), Trust: w.config.Trust}
	if got, err := c.Check(false); err != nil || len(got) != 2 || !strings.Contains(got[0], "passphrase_file") {
		t.Errorf("Check = %q, %v", got, err)
	}
	if got, err := (Config{Dir: c.Dir}).Check(true); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "albs trust export") {
		t.Errorf("Check of a signer apart = %q, %v", got, err)
	}
	log := &telemetrytest.Log{}
	for range 2 {
		s := must[*signer](t)(open(t.Context(), c, zerolog.New(log)))
		s.journal.Close()
	}
	if strings.Count(log.String(), "a passphrase for the keys was made") != 1 {
		t.Errorf("the log says %s", log)
	}
	path := filepath.Join(c.Dir, passphraseName)
	fi := must[os.FileInfo](t)(os.Stat(path))
	b := must[[]byte](t)(os.ReadFile(path))
	if fi.Mode().Perm() != 0o600 || len(b) < 40 || strings.Contains(log.String(), strings.TrimSpace(string(b))) {
		t.Errorf("the passphrase has %d bytes, mode %o", len(b), fi.Mode().Perm())
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	reopen := func() (*journal, []entry) {
		t.Helper()
		j, left, err := openJournal(path)
		if err != nil {
			t.Fatal(err)
		}
		j.now = func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }
		return j, left
	}
	at := func(e event, of string) entry {
		return entry{Event: e, What: "package", Task: 1, Attempt: 1, Key: "K", Of: albs.DigestOf([]byte(of)), Name: of}
	}
	j, left := reopen()
	if len(left) != 0 {
		t.Errorf("a new journal has %v open", left)
	}
	for _, es := range [][]entry{{at(intentEvent, "a"), at(intentEvent, "b")}, {at(resultEvent, "a")}} {
		if err := j.add(es...); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	// A crash in the middle of a line.
	f := must[*os.File](t)(os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0))
	must[int](t)(f.WriteString(`{"prev":"`))
	f.Close()
	j, left = reopen()
	if len(left) != 1 || left[0].Name != "b" {
		t.Errorf("open intents are %v, want b", left)
	}
	if err := j.add(at(resultEvent, "b")); err != nil {
		t.Fatal(err)
	}
	j.Close()
	j, left = reopen()
	j.Close()
	if len(left) != 0 {
		t.Errorf("open intents are %v, want none", left)
	}
	// A line changed, and one taken out.
	b := must[[]byte](t)(os.ReadFile(path))
	lines := bytes.SplitAfter(b, []byte("\n"))
	for name, changed := range map[string][]byte{
		"changed":   bytes.Replace(b, []byte(`"name":"a"`), []byte(`"name":"x"`), 1),
		"taken out": bytes.Join(append([][]byte{lines[0]}, lines[2:]...), nil),
		"garbage":   append(bytes.Clone(b), "x\n"...),
	} {
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openJournal(path); albs.KindOf(err) != albs.Invalid {
			t.Errorf("a journal with a line %s = %v", name, err)
		}
	}
}

// TestRotation has rpm look at packages of the old and the new key by the one file that
// a product publishes while it changes from one to the other.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	engine := must[engines](t)(findEngines())
	next := must[*pgp.Key](t)(pgp.Generate("Demo 2 <demo@example.org>", pgp.RSA4096, time.Now()))
	dir, names := t.TempDir(), []string{signedName(0), signedName(1)}
	for i, k := range []*pgp.Key{w.key, next} {
		sig, isRSA, err := k.Sign(must[[]byte](t)(rpm.Header(bytes.NewReader(w.packages[i]))))
		if err != nil {
			t.Fatal(err)
		}
		var signed bytes.Buffer
		if err := rpm.Splice(&signed, bytes.NewReader(w.packages[i]), sig, isRSA); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, names[i]), signed.String(), 0o600)
	}
	old, fresh := must[[]byte](t)(w.key.Public()), must[[]byte](t)(next.Public())
	if err := engine.packages(t.Context(), dir, slices.Concat(fresh, old), names); err != nil {
		t.Errorf("rpm with both keys: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
		t.Fatal(err)
	}
	if err := engine.packages(t.Context(), dir, fresh, names[1:]); err != nil {
		t.Errorf("rpm with the new key, the new one's package: %v", err)
	}
	if err := engine.packages(t.Context(), dir, fresh, names[:1]); albs.KindOf(err) != albs.Invalid {
		t.Errorf("rpm with the new key, the old one's package: %v", err)
	}
	// The file with a certificate of revocation in it can be imported, and the new key
	// holds. (rpm 4.18 leaves the certificate aside, later ones don't.)
	revoked := must[[]byte](t)(w.key.Revoke(pgp.Compromised, "it was stolen", time.Now()))
	for _, file := range [][]byte{slices.Concat(fresh, revoked), slices.Concat(revoked, fresh)} {
		if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
			t.Fatal(err)
		}
		if err := engine.packages(t.Context(), dir, file, names[1:]); err != nil {
			t.Errorf("rpm with a revoked key and the new one: %v", err)
		}
	}
	t.Logf("rpm with the revoked key, its package: %v", engine.packages(t.Context(), dir, revoked, names[:1]))
}

// TestSecondEngine has rpmkeys look at what is not as it should be.
func TestSecondEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	engine := must[engines](t)(findEngines())
	public := must[[]byte](t)(w.key.Public())
	main := must[[]byte](t)(rpm.Header(bytes.NewReader(w.packages[0])))
	sig, isRSA, err := w.key.Sign(main)
	if err != nil {
		t.Fatal(err)
	}
	var signed bytes.Buffer
	if err := rpm.Splice(&signed, bytes.NewReader(w.packages[0]), sig, isRSA); err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(signed.Bytes())
	broken[len(broken)-1] ^= 1
	other := must[*pgp.Key](t)(pgp.Generate(userID, pgp.Ed25519, time.Now()))
	for _, tt := range []struct {
		name    string
		content []byte
		public  []byte
		want    albs.Kind
	}{
		{"signed", signed.Bytes(), public, ""},
		{"unsigned", w.packages[0], public, albs.Invalid},
		{"by another key", signed.Bytes(), must[[]byte](t)(other.Public()), albs.Invalid},
		{"a broken payload", broken, public, albs.Invalid},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, signedName(0)), string(tt.content), 0o600)
		if err := engine.packages(t.Context(), dir, tt.public, []string{signedName(0)}); albs.KindOf(err) != tt.want {
			t.Errorf("%s: check = %v, want kind %q", tt.name, err, tt.want)
		}
	}
}
