package attest_test

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
)

// TestVerifyWaivers: where tests are required, a package whose tests failed has its chain by
// waivers of all that failed, one that was never tested by a waiver of that alone, and none
// by what was taken back, whatever the order of the statements.
func TestVerifyWaivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	chain := []attest.Proven{
		w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, source()),
		w.say(t, unsigned, attest.Build, w.build()), w.say(t, file, attest.Sign, w.signBody()),
		w.say(t, file, attest.Release, attest.ReleaseBody{Product: product}),
	}
	waiver := func(change func(*attest.WaiverBody)) attest.WaiverBody {
		b := attest.WaiverBody{Build: 1, Waived: albs.Waived{Waiver: 1, Person: "ada", Reason: "it is known", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
		change(&b)
		return b
	}
	all := waiver(func(*attest.WaiverBody) {})
	upgrade := waiver(func(b *attest.WaiverBody) { b.Stage = albs.StageUpgrade })
	files := waiver(func(b *attest.WaiverBody) { b.Waiver, b.Stage = 2, albs.StageIntegrity })
	untested := waiver(func(b *attest.WaiverBody) { b.Untested = true })
	ended := waiver(func(b *attest.WaiverBody) { b.EndedBy = "eve" })
	failed := attest.TestBody{Result: attest.Failed, FailedTests: []string{"upgrade", "integrity/files"}}
	for _, tt := range []struct {
		name    string
		tests   []attest.TestBody
		waivers []attest.WaiverBody
		told    string // "" where the chain breaks
	}{
		{"none", []attest.TestBody{failed}, nil, ""},
		{"every stage", []attest.TestBody{failed}, []attest.WaiverBody{all}, "what failed is waived by ada until 2026-01-02 (waiver 1): it is known"},
		{"one of two stages", []attest.TestBody{failed}, []attest.WaiverBody{upgrade}, ""},
		{"both stages", []attest.TestBody{failed}, []attest.WaiverBody{upgrade, files}, "the stage upgrade is waived"},
		{"taken back", []attest.TestBody{failed}, []attest.WaiverBody{all, ended}, ""},
		{"no test that failed", []attest.TestBody{{Result: attest.Failed}}, []attest.WaiverBody{all}, ""},
		{"never tested", nil, []attest.WaiverBody{all}, ""},
		{"never tested, as is waived", nil, []attest.WaiverBody{untested}, "all of its tests is waived"},
		{"never tested, as was waived", nil, []attest.WaiverBody{untested, ended}, ""},
		{"nobody's", []attest.TestBody{failed}, []attest.WaiverBody{waiver(func(b *attest.WaiverBody) { b.Person = "" })}, ""},
		{"no number", []attest.TestBody{failed}, []attest.WaiverBody{waiver(func(b *attest.WaiverBody) { b.Waiver = 0 })}, ""},
		{"no reason", []attest.TestBody{failed}, []attest.WaiverBody{waiver(func(b *attest.WaiverBody) { b.Reason = "" })}, ""},
		{"no end", []attest.TestBody{failed}, []attest.WaiverBody{waiver(func(b *attest.WaiverBody) { b.Expires = time.Time{} })}, ""},
		{"no stage that is one", []attest.TestBody{failed}, []attest.WaiverBody{waiver(func(b *attest.WaiverBody) { b.Stage = "prayer" })}, ""},
	} {
		proven := chain[:len(chain):len(chain)]
		for _, b := range tt.tests {
			proven = append(proven, w.say(t, unsigned, attest.Test, b))
		}
		for _, b := range tt.waivers {
			proven = append(proven, w.say(t, unsigned, attest.Waiver, b))
		}
		report, err := w.verify(t, w.signed, w.prove(t, proven...), w.trust)
		if tt.told == "" {
			wantLink(t, tt.name, err, attest.LinkChain)
			continue
		}
		told := ""
		for _, s := range report.Steps {
			if s.Predicate == attest.Waiver {
				told += s.Text + "; "
			}
		}
		if err != nil || !strings.HasPrefix(told, tt.told) {
			t.Errorf("%s: told %q, %v", tt.name, told, err)
		}
	}
	_, err := w.verify(t, w.signed, w.prove(t, append(chain[:len(chain):len(chain)], w.say(t, unsigned, attest.Test, failed), w.say(t, file, attest.Waiver, all))...), w.trust)
	wantLink(t, "of the signed copy", err, attest.LinkChain)
}
