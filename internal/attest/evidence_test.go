package attest_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
)

// evidence is that of the unsigned package, from the state before anything was said.
func (w *world) evidence(t *testing.T, from ledger.State, statements ...attest.Proven) attest.Evidence {
	t.Helper()
	e := attest.Evidence{Bundle: w.prove(t, statements...)}
	if from.TxID != 0 {
		c, err := w.ledger.Consistency(t.Context(), from.TxID, e.State.State.TxID)
		if err != nil {
			t.Fatal(err)
		}
		e.Consistency = &c
	}
	return e
}

// unsignedStatements are those of the world's bundle that a signer needs.
func (w *world) unsignedStatements() []attest.Proven {
	var out []attest.Proven
	for _, p := range w.bundle.Statements {
		if strings.Contains(p.Key, "/"+attest.Sign+"/") || strings.Contains(p.Key, "/"+attest.Release+"/") {
			continue
		}
		out = append(out, p)
	}
	return out
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := w.state(t)
	w.append(t, "later")
	want := []albs.Digest{albs.DigestOf(w.unsigned)}
	e := w.evidence(t, known, w.unsignedStatements()...)
	e, err := attest.ParseEvidence(e.Encode())
	if err != nil {
		t.Fatal(err)
	}
	trust := w.trust
	trust.PackageKeys = nil // a signer has no need of them
	state, err := attest.VerifyEvidence(e, want, trust, known)
	if err != nil || state != w.state(t) {
		t.Fatalf("VerifyEvidence = %+v, %v", state, err)
	}
	first := w.evidence(t, ledger.State{}, w.unsignedStatements()...)
	if _, err := attest.VerifyEvidence(first, want, trust, ledger.State{}); err != nil {
		t.Errorf("evidence for a signer that knows nothing: %v", err)
	}
	if _, err := attest.VerifyEvidence(first, want, trust, state); err != nil {
		t.Errorf("evidence at the very state that is known: %v", err)
	}

	refuse := func(what string, e attest.Evidence, want []albs.Digest, trust attest.Trust, known ledger.State, link attest.Link) {
		t.Helper()
		_, err := attest.VerifyEvidence(e, want, trust, known)
		wantLink(t, what, err, link)
	}
	refuse("no consistency", first, want, trust, known, attest.LinkState)
	refuse("consistency from nowhere", e, want, trust, ledger.State{}, attest.LinkState)
	fork := known
	fork.Alh = albs.DigestOf(nil)
	refuse("a fork", e, want, trust, fork, attest.LinkState)
	ahead := state
	ahead.TxID++
	refuse("an older ledger", first, want, trust, ahead, attest.LinkState)
	refuse("another ledger", e, want, trust, ledger.State{Ledger: strings.Repeat("0", 32), TxID: 1, Alh: known.Alh}, attest.LinkState)
	refuse("another package", e, []albs.Digest{albs.DigestOf(nil)}, trust, known, attest.LinkChain)
	refuse("one package more", e, append(want, albs.DigestOf(nil)), trust, known, attest.LinkChain)
	refuse("a package twice", e, append(want, want[0]), trust, known, attest.LinkInput)
	refuse("no package", e, nil, trust, known, attest.LinkInput)
	var untested []attest.Proven
	for _, p := range w.unsignedStatements() {
		if !strings.Contains(p.Key, "/"+attest.Test+"/") {
			untested = append(untested, p)
		}
	}
	bare := w.evidence(t, known, untested...)
	refuse("an untested package", bare, want, trust, known, attest.LinkChain)
	stranger := w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("stranger")))}}, attest.Source, source())
	refuse("a statement about something else", w.evidence(t, known, append(w.unsignedStatements(), stranger)...), want, trust, known, attest.LinkChain)
	trust.RequireTest = false
	if _, err := attest.VerifyEvidence(bare, want, trust, known); err != nil {
		t.Errorf("an untested package where no test is required: %v", err)
	}
	trust.Builders = []string{"x"}
	refuse("another builder", e, want, trust, known, attest.LinkPolicy)
	_, err = attest.VerifyApproval(e, want, w.trust, known)
	wantLink(t, "a package as a document", err, attest.LinkChain)
}

func TestEveryMutantOfTheEvidenceIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := w.state(t)
	w.append(t, "later")
	e := w.evidence(t, known, w.unsignedStatements()...)
	want := []albs.Digest{albs.DigestOf(w.unsigned)}
	decode := func() any {
		var tree any
		d := json.NewDecoder(bytes.NewReader(e.Encode()))
		d.UseNumber()
		if err := d.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	ledgertest.EachMutant(decode, func(what string, tree any) {
		if what == "[statements] swapped" {
			return // statements have no order
		}
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var m attest.Evidence
		if err := json.Unmarshal(b, &m); err != nil {
			return
		}
		if m, err = attest.ParseEvidence(m.Encode()); err == nil {
			_, err = attest.VerifyEvidence(m, want, w.trust, known)
		}
		if what == "[statements] longer" && err == nil {
			return // a statement twice says no more than once
		}
		wantLink(t, what, err, attest.LinkInput, attest.LinkStatement, attest.LinkState, attest.LinkInclusion, attest.LinkChain)
	})
}

func TestApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	repomd := albs.DigestOf([]byte("repomd"))
	about := attest.Subject{Name: "repomd.xml", Digest: map[string]string{attest.SHA256: string(repomd)}}
	body := attest.ReleaseApprovedBody{Product: product, Repository: "x86_64/os", Release: 3, Plan: albs.DigestOf([]byte("plan")),
		Approvals: []attest.ApprovedBy{{Person: "bob"}}}
	e := w.evidence(t, ledger.State{}, w.say(t, about, attest.ReleaseApproved, body))
	if _, err := attest.VerifyApproval(e, []albs.Digest{repomd}, w.trust, ledger.State{}); err != nil {
		t.Error(err)
	}
	_, err := attest.VerifyApproval(e, []albs.Digest{albs.DigestOf(nil)}, w.trust, ledger.State{})
	wantLink(t, "another document", err, attest.LinkChain)
	_, err = attest.VerifyEvidence(e, []albs.Digest{repomd}, w.trust, ledger.State{})
	wantLink(t, "a document as a package", err, attest.LinkChain)
	for name, c := range map[string]struct {
		change func(*attest.ReleaseApprovedBody)
		link   attest.Link
	}{
		"nobody's approval": {func(b *attest.ReleaseApprovedBody) { b.Approvals = nil }, attest.LinkChain},
		"no plan":           {func(b *attest.ReleaseApprovedBody) { b.Plan = "" }, attest.LinkChain},
		"another product":   {func(b *attest.ReleaseApprovedBody) { b.Product = "x" }, attest.LinkPolicy},
	} {
		e := w.evidence(t, ledger.State{}, w.say(t, about, attest.ReleaseApproved, edit(body, c.change)))
		_, err := attest.VerifyApproval(e, []albs.Digest{repomd}, w.trust, ledger.State{})
		wantLink(t, name, err, c.link)
	}
	// Two products may come to the same bytes: an approval for the trusted one is
	// needed, one for the other is in nobody's way.
	ours := w.say(t, about, attest.ReleaseApproved, body)
	theirs := w.say(t, about, attest.ReleaseApproved, edit(body, func(b *attest.ReleaseApprovedBody) { b.Product = "x" }))
	empty := w.say(t, about, attest.ReleaseApproved, edit(body, func(b *attest.ReleaseApprovedBody) { b.Product, b.Approvals = "x", nil }))
	elsewhere := w.say(t, attest.Subject{Name: "repomd.xml", Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("other")))}},
		attest.ReleaseApproved, body)
	for name, c := range map[string]struct {
		said []attest.Proven
		link attest.Link // "": approved
	}{
		"ours, then theirs":               {[]attest.Proven{ours, theirs}, ""},
		"theirs, then ours":               {[]attest.Proven{theirs, ours}, ""},
		"theirs twice":                    {[]attest.Proven{theirs, theirs}, attest.LinkPolicy},
		"theirs, and ours of other bytes": {[]attest.Proven{theirs, elsewhere}, attest.LinkPolicy},
		"ours, and ours of other bytes":   {[]attest.Proven{ours, elsewhere}, attest.LinkChain},
		"ours, and one of nobody":         {[]attest.Proven{ours, empty}, attest.LinkChain},
	} {
		_, err := attest.VerifyApproval(w.evidence(t, ledger.State{}, c.said...), []albs.Digest{repomd}, w.trust, ledger.State{})
		if c.link == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if c.link != "" {
			wantLink(t, name, err, c.link)
		}
	}
}
