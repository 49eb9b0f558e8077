package attest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
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
		b := attest.WaiverBody{Waived: albs.Waived{Build: 1, Waiver: 1, Person: "ada", Reason: "it is known", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
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

// waived is a package whose tests failed, or that wasn't tested, with its waiver and the
// release that names it, in a world of its own.
type waived struct {
	*world
	body  attest.WaiverBody
	chain []attest.Proven // all but waiver, signature and release
}

func newWaived(t *testing.T, untested bool) *waived {
	t.Helper()
	w := &waived{world: newWorld(t)}
	w.body = attest.WaiverBody{Waived: albs.Waived{Build: 1, Waiver: 7, Stage: albs.StageUpgrade, Person: "ada", Reason: "it is known", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	w.chain = []attest.Proven{
		w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, source()),
		w.say(t, w.subject(t, w.unsigned), attest.Build, w.build()),
	}
	if untested {
		w.body.Stage, w.body.Untested = "", true
		return w
	}
	w.chain = append(w.chain, w.say(t, w.subject(t, w.unsigned), attest.Test, attest.TestBody{Result: attest.Failed, FailedTests: []string{"upgrade"}}))
	return w
}

func (w *waived) waive(t *testing.T, body any) attest.Proven {
	return w.say(t, w.subject(t, w.unsigned), attest.Waiver, body)
}

func (w *waived) ended() attest.WaiverBody {
	b := w.body
	b.EndedBy, b.Ended, b.EndedReason = "eve", time.Date(2026, 1, 1, 3, 4, 5, 0, time.UTC), "it is mended"
	return b
}

func (w *waived) sign(t *testing.T) attest.Proven {
	return w.say(t, w.subject(t, w.signed), attest.Sign, w.signBody())
}

func (w *waived) release(t *testing.T, of string, by ...albs.Waived) attest.Proven {
	return w.say(t, w.subject(t, w.signed), attest.Release, attest.ReleaseBody{Product: of, Release: 3, Waivers: by})
}

// with returns the bundle of the chain and more.
func (w *waived) with(t *testing.T, more ...attest.Proven) attest.Bundle {
	return w.prove(t, append(w.chain[:len(w.chain):len(w.chain)], more...)...)
}

// TestWaiverTakenBack: what was decided by a waiver while it was in force stays: what a
// release's statement names, and a signature that the ledger had before. It is told, and
// refused where the trust file asks for that; nothing else goes by it.
func TestWaiverTakenBack(t *testing.T) {
	t.Parallel()
	const took = "waiver 7 was taken back by eve on 2026-01-01 (it is mended)"
	other := func(w *waived) albs.Waived { o := w.body.Waived; o.Reason = "it was nothing"; return o }
	for name, tt := range map[string]struct {
		say  func(t *testing.T, w *waived) []attest.Proven
		note string // "" where it is refused
		why  string // then, what is said of it
	}{
		"after the release": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, product, w.body.Waived), w.waive(t, w.ended())}
		}, took + ", after release 3 in hello-9", ""},
		"while it was being released": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.waive(t, w.ended()), w.release(t, product, w.body.Waived)}
		}, took + ", and release 3 in hello-9 was decided by it before", ""},
		"and named in another product first": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, "strange", w.body.Waived), w.release(t, product, w.body.Waived), w.waive(t, w.ended())}
		}, took + ", after release 3 in hello-9", ""},
		"after it was signed": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.waive(t, w.ended())}
		}, took + ", after the package was signed by it", ""},
		"before it was signed": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.waive(t, w.ended()), w.sign(t)}
		}, "", took},
		"before a release that doesn't name it": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, product), w.waive(t, w.ended())}
		}, "", took},
		"named by another product alone": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, "strange", w.body.Waived), w.release(t, product), w.waive(t, w.ended())}
		}, "", took},
		"named in other words": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, product, other(w)), w.waive(t, w.ended())}
		}, "", "names waiver 7, which nobody stated so"},
		"named and never made": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.sign(t), w.release(t, product, w.body.Waived)}
		}, "", "names waiver 7, which nobody stated so"},
		"of one that was never made": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.sign(t), w.release(t, product), w.waive(t, w.ended())}
		}, "", "takes back waiver 7, which nobody stated"},
		"in other words": {func(t *testing.T, w *waived) []attest.Proven {
			e := w.ended()
			e.Person = "eve"
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, product, w.body.Waived), w.waive(t, e)}
		}, "", "in other words"},
		"by nobody": {func(t *testing.T, w *waived) []attest.Proven {
			e := w.ended()
			e.EndedBy = ""
			return []attest.Proven{w.waive(t, w.body), w.sign(t), w.release(t, product, w.body.Waived), w.waive(t, e)}
		}, "", "doesn't name who took waiver 7 back"},
		"made twice, otherwise": {func(t *testing.T, w *waived) []attest.Proven {
			return []attest.Proven{w.waive(t, w.body), w.waive(t, attest.WaiverBody{Waived: other(w)}), w.sign(t), w.release(t, product, w.body.Waived)}
		}, "", "says another thing of waiver 7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, untested := range []bool{false, true} {
				if untested && tt.note == "" {
					continue
				}
				w := newWaived(t, untested)
				b := w.with(t, tt.say(t, w)...)
				w.trust.RequireRelease = false
				report, err := w.verify(t, w.signed, b, w.trust)
				if tt.note == "" {
					wantLink(t, name, err, attest.LinkChain)
					if err != nil && !strings.Contains(err.Error(), tt.why) {
						t.Errorf("untested %t: %v", untested, err)
					}
					continue
				}
				if err != nil || len(report.Notes) != 1 || report.Notes[0] != tt.note {
					t.Errorf("untested %t: notes %q, %v", untested, report.Notes, err)
				}
				w.trust.RefuseEndedWaivers = true
				_, err = w.verify(t, w.signed, b, w.trust)
				wantLink(t, name+", refused", err, attest.LinkChain)
				if err != nil && !strings.Contains(err.Error(), "which the trust file refuses") {
					t.Errorf("refused: %v", err)
				}
				w.trust.RequireTest, w.trust.RefuseEndedWaivers = false, false
				if _, err := w.verify(t, w.signed, b, w.trust); err != nil {
					t.Errorf("where no test is required: %v", err)
				}
			}
		})
	}
	w := newWaived(t, false)
	made := w.waive(t, w.body)
	if _, err := attest.VerifyEvidence(attest.Evidence{Bundle: w.with(t, made)}, []albs.Digest{albs.DigestOf(w.unsigned)}, w.trust, ledger.State{}); err != nil {
		t.Errorf("a signer, while it is in force: %v", err)
	}
	_, err := attest.VerifyEvidence(attest.Evidence{Bundle: w.with(t, made, w.waive(t, w.ended()))}, []albs.Digest{albs.DigestOf(w.unsigned)}, w.trust, ledger.State{})
	wantLink(t, "a signer, once it was taken back", err, attest.LinkChain)
}

// TestEveryFieldOfAWaiverCounts changes each field of what the master states of a waiver, and
// of its end, and signs that anew: what a release names is what was stated.
func TestEveryFieldOfAWaiverCounts(t *testing.T) {
	t.Parallel()
	m := mutants{}
	none := func(string) bool { return false }
	for _, untested := range []bool{false, true} {
		w := newWaived(t, untested)
		made, end := w.waive(t, w.body), w.waive(t, w.ended())
		rest := []attest.Proven{w.sign(t), w.release(t, product, w.body.Waived)}
		doc := func(b attest.WaiverBody) []byte {
			out, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		try := func(field, what string, waivers ...attest.Proven) {
			_, err := w.verify(t, w.signed, w.with(t, append(waivers, rest...)...), w.trust)
			m.refused(t, field, what, err)
		}
		if _, err := w.verify(t, w.signed, w.with(t, append([]attest.Proven{made, end}, rest...)...), w.trust); err != nil {
			t.Fatal(err)
		}
		each[attest.WaiverBody](t, "waiver", doc(w.body), none, func(field, what string, mutant []byte) {
			try(field, what, w.waive(t, json.RawMessage(mutant)))
		})
		each[attest.WaiverBody](t, "waiver", doc(w.ended()), none, func(field, what string, mutant []byte) {
			try(field, what, made, w.waive(t, json.RawMessage(mutant)))
		})
	}
	m.all(t, "waiver")
}
