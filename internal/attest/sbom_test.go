package attest_test

import (
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// TestBills: bills of the signed and of the unsigned package have their place in the
// chain, and one that isn't of the package, or names no document, breaks it.
func TestBills(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	bill := attest.SBOMBody{Kind: attest.SBOMPackage, Build: 7, Documents: []attest.Descriptor{
		{Name: "cyclonedx-json", Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("a bill")))}},
		{Name: "spdx-json", Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("another")))}},
	}}
	with := func(about attest.Subject, body attest.SBOMBody) attest.Bundle {
		return w.prove(t, append(w.bundle.Statements[:len(w.bundle.Statements):len(w.bundle.Statements)], w.say(t, about, attest.SBOM, body))...)
	}
	for _, about := range []attest.Subject{file, unsigned} {
		report, err := w.verify(t, w.signed, with(about, bill), w.trust)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, s := range report.Steps {
			found = found || s.Predicate == attest.SBOM && strings.Contains(s.Text, "cyclonedx-json "+albs.DigestOf([]byte("a bill")).Short())
		}
		if !found {
			t.Errorf("the chain says nothing of the bill of %s: %+v", about.File().Short(), report.Steps)
		}
	}
	elsewhere := attest.Subject{Name: "other", Digest: map[string]string{attest.SHA256: string(albs.DigestOf(nil))}}
	payload := attest.Subject{Name: file.Name, Digest: map[string]string{
		attest.SHA256: file.Digest[attest.SHA256], attest.HeaderSHA256: file.Digest[attest.HeaderSHA256], attest.PayloadSHA256: string(albs.DigestOf(nil)),
	}}
	for what, bundle := range map[string]attest.Bundle{
		"a bill of something else":  with(elsewhere, bill),
		"a bill of another payload": with(payload, bill),
		"a bill of a build":         with(file, edit(bill, func(b *attest.SBOMBody) { b.Kind = "build" })),
		"a bill without documents":  with(file, edit(bill, func(b *attest.SBOMBody) { b.Documents = nil })),
		"a document without digest": with(unsigned, edit(bill, func(b *attest.SBOMBody) { b.Documents = []attest.Descriptor{{Name: "spdx-json"}} })),
	} {
		_, err := w.verify(t, w.signed, bundle, w.trust)
		wantLink(t, what, err, attest.LinkChain)
	}
	if _, err := attest.VerifyEvidence(w.evidence(t, ledger.State{}, append(w.unsignedStatements(), w.say(t, unsigned, attest.SBOM, bill))...),
		[]albs.Digest{unsigned.File()}, w.trust, ledger.State{}); err != nil {
		t.Errorf("evidence with a bill: %v", err)
	}
}
