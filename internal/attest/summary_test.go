package attest_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/rpm"
)

// summarized is a released package with a verification summary, and what that states.
func summarized(t testing.TB, f *attesttest.Farm) (attesttest.Released, attest.Statement) {
	t.Helper()
	r := release(t, f)
	st, err := f.Summary(r)
	if err == nil {
		err = f.Summarize(&r, st, attest.VSA)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, st
}

func TestSummaryIsTold(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r, _ := summarized(t, f)
	report, err := check(t, r, f.Trust)
	if err != nil {
		t.Fatal(err)
	}
	s := report.Summary
	if s == nil || s.Level != "SLSA_BUILD_LEVEL_3" || s.Policy != albs.DigestOf(f.Trust.Encode()) || !strings.HasPrefix(s.Verifier, "urn:albs:releaser:") || time.Since(s.At) > time.Hour {
		t.Errorf("the report says of the summary %+v", s)
	}
	if last := report.Steps[len(report.Steps)-2]; last.Predicate != attest.VSA || !strings.Contains(last.Text, "PASSED, SLSA_BUILD_LEVEL_3") {
		t.Errorf("the step is %+v", last)
	}
	r.Bundle.VSA = nil
	if report, err = check(t, r, f.Trust); err != nil || report.Summary != nil {
		t.Errorf("without one: %+v, %v", report.Summary, err)
	}
}

// TestEveryFieldOfTheSummaryCounts changes each field of its file, and then of what is
// signed anew by the releaser himself.
func TestEveryFieldOfTheSummaryCounts(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r, st := summarized(t, f)
	m := mutants{}
	each[attest.Envelope](t, "vsa", r.Bundle.VSA, func(string) bool { return false }, func(field, what string, mutant []byte) {
		_, err := check(t, edit(r, func(r *attesttest.Released) { r.Bundle.VSA = append(mutant, '\n') }), f.Trust)
		m.refused(t, field, what, err)
	})
	resigned := func(st attest.Statement, by string) error {
		other := r
		if err := f.Summarize(&other, st, by); err != nil {
			t.Fatal(err)
		}
		_, err := check(t, other, f.Trust)
		return err
	}
	if err := resigned(st, attest.VSA); err != nil {
		t.Fatal(err)
	}
	each[attest.VSABody](t, "summary", st.Predicate, func(path string) bool { return strings.HasSuffix(path, " digest") }, func(field, what string, mutant []byte) {
		m.refused(t, field, what, resigned(edit(st, func(st *attest.Statement) { st.Predicate = mutant }), attest.VSA))
	})
	named := strings.Replace(string(st.Predicate), `"policy":{`, `"policy":{"name":"another",`, 1) // it has none
	m.refused(t, "summary policy name", "named", resigned(edit(st, func(st *attest.Statement) { st.Predicate = []byte(named) }), attest.VSA))
	m.all(t, "vsa")
	m.all(t, "summary")

	for _, name := range []string{attest.SHA256, attest.HeaderSHA256, attest.PayloadSHA256} {
		other := edit(st, func(st *attest.Statement) {
			st.Subject = []attest.Subject{edit(st.Subject[0], func(s *attest.Subject) {
				s.Digest = map[string]string{attest.SHA256: s.Digest[attest.SHA256], attest.HeaderSHA256: s.Digest[attest.HeaderSHA256], attest.PayloadSHA256: s.Digest[attest.PayloadSHA256]}
				s.Digest[name] = string(albs.DigestOf([]byte("another")))
			})}
		})
		wantLink(t, "of another "+name, resigned(other, attest.VSA), attest.LinkChain)
	}
	wantLink(t, "by the master", resigned(st, attest.Build), attest.LinkStatement)
	wantLink(t, "by the signer", resigned(st, attest.Sign), attest.LinkStatement)
	another, err := attest.New(st.Subject[0], attest.Release, attest.ReleaseBody{Product: attesttest.Product})
	if err != nil {
		t.Fatal(err)
	}
	wantLink(t, "another statement of the releaser", resigned(another, attest.VSA), attest.LinkChain)
	for _, text := range []string{"", "\n", "{}\n", string(r.Bundle.VSA) + "\n", strings.TrimSuffix(string(r.Bundle.VSA), "\n")} {
		_, err := check(t, edit(r, func(r *attesttest.Released) { r.Bundle.VSA = []byte(text) }), f.Trust)
		wantLink(t, fmt.Sprintf("the file %.20q", text), err, attest.LinkStatement)
	}

	// Of a package that is in no product that is trusted, or was released anew since.
	unreleased := release(t, f, attest.Release)
	unreleased.Bundle.VSA = r.Bundle.VSA
	trust := f.Trust
	trust.RequireRelease, trust.RequireLog = false, false
	_, err = check(t, unreleased, trust)
	wantLink(t, "without a release", err, attest.LinkChain)
	again := release(t, f)
	again.Bundle.VSA = r.Bundle.VSA
	_, err = check(t, again, f.Trust)
	wantLink(t, "of the files before", err, attest.LinkChain)
}

// TestSummaryLevels holds the level to what docs/design/builders.md says of the builders.
func TestSummaryLevels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := rpm.Read(strings.NewReader(string(w.signed)))
	if err != nil {
		t.Fatal(err)
	}
	for builders, want := range map[string]string{
		"apart": "SLSA_BUILD_LEVEL_3", "together": "SLSA_BUILD_LEVEL_1", "cached": "SLSA_BUILD_LEVEL_1", "networked": "SLSA_BUILD_LEVEL_1",
		"apart together": "SLSA_BUILD_LEVEL_1", "": "SLSA_BUILD_LEVEL_0",
	} {
		var b attest.Bundle
		for _, mode := range strings.Fields(builders) {
			body := w.build()
			body.RunDetails.Builder.ID = "urn:albs:builder/" + mode + "/v1"
			b.Statements = append(b.Statements, w.say(t, w.subject(t, w.unsigned), attest.Build, body))
		}
		st, err := b.Summary(p, albs.DigestOf(w.signed), w.releases.Public(), attest.Verification{Product: product, At: time.Now(), Policy: albs.DigestOf(nil)})
		if err != nil {
			t.Fatal(err)
		}
		var body attest.VSABody
		if err := st.Body(&body); err != nil || !slices.Equal(body.VerifiedLevels, []string{want}) {
			t.Errorf("built by %q: %v, %v, want %s", builders, body.VerifiedLevels, err, want)
		}
	}
}

// TestSummaryForOthers reads a summary by what in-toto, DSSE and SLSA publish of their
// formats, and by nothing of this package.
func TestSummaryForOthers(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r, _ := summarized(t, f)
	read := func(b []byte) (out map[string]any) {
		t.Helper()
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	bytesOf := func(v any) []byte {
		t.Helper()
		b, err := base64.StdEncoding.DecodeString(v.(string))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sum := func(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }
	envelope := read(r.Bundle.VSA)
	payload := bytesOf(envelope["payload"])
	signature := envelope["signatures"].([]any)[0].(map[string]any)
	if envelope["payloadType"] != "application/vnd.in-toto+json" ||
		!ed25519.Verify(bytesOf(f.Trust.ReleaserKeys[0]), fmt.Appendf(nil, "DSSEv1 28 application/vnd.in-toto+json %d %s", len(payload), payload), bytesOf(signature["sig"])) {
		t.Error("the envelope isn't one that the releaser signed")
	}
	st := read(payload)
	subject := st["subject"].([]any)[0].(map[string]any)
	if st["_type"] != "https://in-toto.io/Statement/v1" || st["predicateType"] != "https://slsa.dev/verification_summary/v1" ||
		subject["digest"].(map[string]any)["sha256"] != sum(r.Signed) {
		t.Errorf("the statement is %s", payload)
	}
	predicate := st["predicate"].(map[string]any)
	if _, err := time.Parse(time.RFC3339, predicate["timeVerified"].(string)); err != nil {
		t.Error(err)
	}
	if id := predicate["verifier"].(map[string]any)["id"].(string); !strings.HasPrefix(id, "urn:") {
		t.Errorf("verifier.id is %q", id)
	}
	policy := predicate["policy"].(map[string]any)
	if policy["uri"] == "" || policy["digest"].(map[string]any)["sha256"] != sum(f.Trust.Encode()) {
		t.Errorf("policy is %v", policy)
	}
	if predicate["resourceUri"] != "pkg:rpm/"+attesttest.Product+"/hello@1-1?arch=noarch" || predicate["verificationResult"] != "PASSED" || predicate["slsaVersion"] != "1.1" ||
		!slices.Equal(predicate["verifiedLevels"].([]any), []any{"SLSA_BUILD_LEVEL_3"}) {
		t.Errorf("the predicate is %v", predicate)
	}
	inputs := predicate["inputAttestations"].([]any)
	for i, b := range [][]byte{r.Bundle.Envelopes(), r.Bundle.Proof(), r.Bundle.Log} {
		in := inputs[i].(map[string]any)
		if in["digest"].(map[string]any)["sha256"] != sum(b) || in["uri"] != r.Where()+[]string{".intoto.jsonl", ".ledger-proof", ".tlog-proof"}[i] {
			t.Errorf("input %d is %v", i, in)
		}
	}
}

func FuzzParseSummary(f *testing.F) {
	f.Add([]byte(`{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"","sig":""}]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := attest.ParseSummary(b)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Error(err)
			}
			return
		}
		attest.SummaryOf(e)
		if again, err := attest.EncodeSummary(e); err != nil || string(again) != string(b) {
			t.Errorf("%q is read and written as %q, %v", b, again, err)
		}
	})
}
