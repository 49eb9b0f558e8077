package attest_test

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
)

// TestVerifyCopy: what is stated of the tests of the signed copy counts like what is of the
// package before, but that a waiver has to name the stage and that none need be stated.
func TestVerifyCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	el, eln := attest.TestRoot("el", albs.X8664), attest.TestRoot("eln", albs.X8664)
	test := func(result string, in attest.Descriptor, names ...string) attest.TestBody {
		b := attest.TestBody{Result: result, Configuration: []attest.Descriptor{in}}
		if b.PassedTests = names; result == attest.Failed {
			b.PassedTests, b.FailedTests = nil, names
		}
		return b
	}
	waiver := attest.WaiverBody{Waived: albs.Waived{Waiver: 1, Build: 1, Person: "ada", Reason: "it is known", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	named := waiver
	named.Stage = albs.StageSigned
	good, bad := test(attest.Passed, el, "signed"), test(attest.Failed, el, "signed")
	for _, tt := range []struct {
		name    string
		tests   []attest.TestBody
		waivers []attest.WaiverBody
		lax     bool
		told    string // "" where the chain breaks
	}{
		{name: "passed", tests: []attest.TestBody{good}, told: "the signed copy was tested: 1 tests passed in urn:albs:root:el:x86_64"},
		{name: "failed", tests: []attest.TestBody{bad}},
		{name: "failed, then passed", tests: []attest.TestBody{bad, good}, told: "the signed copy was tested: 1 tests passed"},
		{name: "passed, then failed", tests: []attest.TestBody{good, bad}},
		{name: "failed in one of two roots", tests: []attest.TestBody{bad, test(attest.Passed, eln, "signed")}},
		{name: "failed, where tests aren't required", tests: []attest.TestBody{bad}, lax: true, told: "the signed copy was tested: 1 tests FAILED in urn:albs:root:el:x86_64, which the trust file allows"},
		{name: "waived by name", tests: []attest.TestBody{bad}, waivers: []attest.WaiverBody{named}, told: "the signed copy was tested: 1 tests FAILED in urn:albs:root:el:x86_64, which is waived"},
		{name: "waived before it was signed", tests: []attest.TestBody{bad}, waivers: []attest.WaiverBody{waiver}},
		{name: "an unknown result", tests: []attest.TestBody{test("ODD", el)}},
	} {
		proven := w.bundle.Statements[:len(w.bundle.Statements):len(w.bundle.Statements)]
		for _, b := range tt.tests {
			proven = append(proven, w.say(t, file, attest.Test, b))
		}
		for _, b := range tt.waivers {
			proven = append(proven, w.say(t, unsigned, attest.Waiver, b))
		}
		trust := w.trust
		trust.RequireTest = !tt.lax
		report, err := w.verify(t, w.signed, w.prove(t, proven...), trust)
		if tt.told == "" {
			wantLink(t, tt.name, err, attest.LinkChain)
			continue
		}
		told := ""
		for _, s := range report.Steps {
			if s.Predicate == attest.Test && strings.HasPrefix(s.Text, "the signed copy") {
				told += s.Text
			}
		}
		if err != nil || !strings.HasPrefix(told, tt.told) {
			t.Errorf("%s: told %q, %v", tt.name, told, err)
		}
	}
	// Of another signed copy it has no place in the chain.
	other := file
	other.Digest = map[string]string{attest.SHA256: string(albs.DigestOf([]byte("other")))}
	_, err := w.verify(t, w.signed, w.prove(t, append(w.bundle.Statements[:len(w.bundle.Statements):len(w.bundle.Statements)], w.say(t, other, attest.Test, good))...), w.trust)
	wantLink(t, "of another copy", err, attest.LinkChain)
}
