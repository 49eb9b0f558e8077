package transparency

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/worker"
)

// verifies has the releaser upload what it states of packages of a task, and returns the
// result that says so.
func (f *fixture) verifies(l *worker.Lease, es ...attest.Envelope) albs.Result {
	f.t.Helper()
	var lines []byte
	for _, e := range es {
		b, err := attest.EncodeSummary(e)
		f.must(err)
		lines = append(lines, b...)
	}
	d := albs.DigestOf(lines)
	held, err := f.as().Stat(f.t.Context(), l.Token, d)
	if err != nil && !errors.Is(err, albs.NotFound) {
		f.t.Fatal(err)
	}
	if held == 0 {
		_, err = f.as().Put(f.t.Context(), l.Token, d, 0, bytes.NewReader(lines))
		f.must(err)
	}
	return albs.Result{Prove: &albs.ProveResult{Packages: len(l.Spec.Prove.Packages), Summaries: albs.File{Name: "summaries.jsonl", Digest: d, Size: int64(len(lines))}}}
}

// TestSummaries: what a releaser states that it verified comes into the ledger in its own
// words, and nothing else that it may state.
func TestSummaries(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		tr := f.open(Config{})
		mastertest.Run(t, f.Queue.Run, f.Events.Run, f.Provenance.Run, tr.Run)
		f.release(1, false, []string{"el/os"}, alpha)
		l := f.claim()
		k := l.Spec.Prove.Packages[0]
		read := func(k albs.ProvePackage) attest.Bundle {
			t.Helper()
			b, err := attest.ParseBundle(f.get(l, k.Statements), f.get(l, k.LedgerProof))
			f.must(err)
			b.Log = f.get(l, k.LogProof)
			return b
		}
		b := read(k)
		says := func(b attest.Bundle, d albs.Digest, by *attest.Signer, change func(*attest.Verification)) attest.Envelope {
			t.Helper()
			p, err := f.Artifacts.Package(t.Context(), k.Package)
			f.must(err)
			v := attest.Verification{Product: "demo", At: time.Now(), Policy: albs.DigestOf(nil), Where: "https://repo.example.org/demo/pool/" + k.Paths[0]}
			if change != nil {
				change(&v)
			}
			st, err := b.Summary(p, d, by.Public(), v)
			f.must(err)
			e, err := by.Sign(st)
			f.must(err)
			return e
		}
		_, stranger, err := ed25519.GenerateKey(nil)
		f.must(err)
		later := b
		later.Log = append(bytes.Clone(b.Log), '\n')
		release, err := attest.New(attest.Subject{Name: alpha, Digest: map[string]string{attest.SHA256: string(k.Package)}}, attest.Release, attest.ReleaseBody{Product: "demo"})
		f.must(err)
		other, err := f.states.Sign(release)
		f.must(err)
		good := says(b, k.Package, f.states, nil)
		as := auth.With(t.Context(), f.releaser) // a result that is refused ends the attempt
		for name, e := range map[string]attest.Envelope{
			"by another key":     says(b, k.Package, attest.NewSigner(stranger), nil),
			"of another package": says(b, albs.DigestOf([]byte("another")), f.states, nil),
			"by other files":     says(later, k.Package, f.states, nil),
			"of another product": says(b, k.Package, f.states, func(v *attest.Verification) { v.Product = "other" }),
			"somewhere else":     says(b, k.Package, f.states, func(v *attest.Verification) { v.Where += ".other" }),
			"at no time":         says(b, k.Package, f.states, func(v *attest.Verification) { v.At = time.Time{} }),
			"by no trust file":   says(b, k.Package, f.states, func(v *attest.Verification) { v.Policy = "" }),
			"another statement":  other,
		} {
			if _, err := (handler{tr}).Admit(as, *l, albs.OutcomeOK, f.verifies(l, e)); !errors.Is(err, albs.Invalid) {
				t.Errorf("a summary %s: %v, want Invalid", name, err)
			}
		}
		twice := f.verifies(l, good, good)
		wrong := f.verifies(l, good)
		wrong.Prove.Wrong = []albs.Digest{k.Package}
		for name, r := range map[string]albs.Result{"twice": twice, "of what is wrong": wrong} {
			if _, err := (handler{tr}).Admit(as, *l, albs.OutcomeOK, r); !errors.Is(err, albs.Invalid) {
				t.Errorf("a summary %s: %v, want Invalid", name, err)
			}
		}
		if _, err := tr.Summary(t.Context(), k.Package); !errors.Is(err, albs.NotFound) {
			t.Errorf("before anything was taken: %v", err)
		}
		f.must(f.as().Complete(t.Context(), l.Token, albs.OutcomeOK, f.verifies(l, good)))
		f.reaches(tr, "it is laid", func(s State) bool { return s.Laid == 1 })
		var got []byte
		f.until("the ledger has the summary", func() bool {
			got, err = tr.Summary(t.Context(), k.Package)
			return !errors.Is(err, albs.NotFound)
		})
		if want, _ := attest.EncodeSummary(good); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the summary is %q, %v, want %q", got, err, want)
		}
		// It is no part of what lies beside the package: that is what it is about.
		now, err := f.Provenance.Bundle(t.Context(), k.Package)
		if err != nil || !bytes.Equal(now.Envelopes(), b.Envelopes()) {
			t.Errorf("with a summary the bundle is another one: %v", err)
		}

		// Of what is released anew there is none of before.
		f.release(2, false, []string{"el/other"}, alpha)
		l = f.claim()
		if _, err := tr.Summary(t.Context(), k.Package); !errors.Is(err, albs.NotFound) {
			t.Errorf("of a package that is proven anew: %v", err)
		}
		k = l.Spec.Prove.Packages[0]
		again := says(read(k), k.Package, f.states, func(v *attest.Verification) { v.Where = "" })
		f.must(f.as().Complete(t.Context(), l.Token, albs.OutcomeOK, f.verifies(l, again)))
		f.until("the ledger has the second summary", func() bool {
			got, err = tr.Summary(t.Context(), k.Package)
			return !errors.Is(err, albs.NotFound)
		})
		if want, _ := attest.EncodeSummary(again); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the second summary is %q, %v, want %q", got, err, want)
		}
	})
}
