package attest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

const tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

func committed() attest.CommitBody {
	return attest.CommitBody{
		Repository: "git+https://example.org/hello", Ref: "refs/heads/main", Tree: tree, Parents: []string{strings.Repeat("ab", 20)},
		Author: attest.CommitPerson{Name: "A", Email: "a@example.org", When: time.Unix(1700000000, 0).UTC()}, Requester: "alice", Head: true,
	}
}

func ofCommit(id string) attest.Subject {
	return attest.Subject{Name: "hello@" + id, Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte(id))), attest.GitCommit: id}}
}

// TestCommits: a statement of the source's commit has its place in the chain, and one of
// another commit or of another repository has none; a trust file may ask for one.
func TestCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	strict := w.trust
	strict.RequireCommit = true
	other := strings.Repeat("cd", 20)
	upstream := &attest.CommitLink{Repository: "git+https://example.org/hello", Ref: "refs/tags/imports/c9/hello-1-1", Commit: other, SHA256: albs.DigestOf([]byte(other))}
	for _, c := range []struct {
		name   string
		about  string
		body   func(*attest.CommitBody)
		refuse bool   // whatever the trust file asks for
		told   string // in the step
	}{
		{"of the source", commit, func(*attest.CommitBody) {}, false, `commit ` + commit + ` by "A" is notarized, in refs/heads/main`},
		{"changed from upstream", commit, func(b *attest.CommitBody) { b.Upstream = upstream }, false, "changed from upstream commit " + other},
		{"without upstream", commit, func(b *attest.CommitBody) { b.WithoutUpstream = "refs/tags/imports/c9/hello-1-1" }, false, "without a notarized upstream"},
		{"rewritten", commit, func(b *attest.CommitBody) { b.Previous, b.Rewritten = other, true }, false, "after the history of the ref was rewritten"},
		{"of another commit", other, func(*attest.CommitBody) {}, true, ""},
		{"of another repository", commit, func(b *attest.CommitBody) { b.Repository = "git+https://example.org/fork" }, true, ""},
		{"of half a tree", commit, func(b *attest.CommitBody) { b.Tree = tree[:12] }, true, ""},
		{"of a parent by name", commit, func(b *attest.CommitBody) { b.Parents = []string{"main"} }, true, ""},
		{"of an upstream by name", commit, func(b *attest.CommitBody) { l := *upstream; l.Commit = "c9"; b.Upstream = &l }, true, ""},
	} {
		said := w.say(t, ofCommit(c.about), attest.Commit, edit(committed(), c.body))
		b := w.prove(t, append(slices.Clone(w.bundle.Statements), said)...)
		for _, trust := range []attest.Trust{w.trust, strict} {
			report, err := w.verify(t, w.signed, b, trust)
			if c.refuse {
				wantLink(t, c.name, err, attest.LinkChain)
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if !slices.ContainsFunc(report.Steps, func(s attest.Step) bool {
				return s.Predicate == attest.Commit && s.Key == said.Key && strings.Contains(s.Text, c.told)
			}) {
				t.Errorf("%s: no step says %q: %+v", c.name, c.told, report.Steps)
			}
		}
	}
	_, err := w.verify(t, w.signed, w.bundle, strict)
	wantLink(t, "none, and the trust file asks for one", err, attest.LinkChain)

	// Two statements of one commit, for two refs, both stand.
	tagged := w.say(t, ofCommit(commit), attest.Commit, edit(committed(), func(b *attest.CommitBody) { b.Ref = "refs/tags/v1" }))
	head := w.say(t, ofCommit(commit), attest.Commit, committed())
	if _, err := w.verify(t, w.signed, w.prove(t, append(slices.Clone(w.bundle.Statements), tagged, head)...), strict); err != nil {
		t.Errorf("for two refs: %v", err)
	}

	// A signer may ask for it too.
	want := []albs.Digest{albs.DigestOf(w.unsigned)}
	_, err = attest.VerifyEvidence(w.evidence(t, ledger.State{}, w.unsignedStatements()...), want, strict, ledger.State{})
	wantLink(t, "evidence without", err, attest.LinkChain)
	if _, err := attest.VerifyEvidence(w.evidence(t, ledger.State{}, append(w.unsignedStatements(), head)...), want, strict, ledger.State{}); err != nil {
		t.Errorf("evidence with: %v", err)
	}
}

// TestUploadsHaveNoCommit: where commits are asked for, what was uploaded is refused.
func TestUploadsHaveNoCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.srpm = albs.DigestOf([]byte("an uploaded source package"))
	build := edit(w.build(), func(b *attest.BuildBody) {
		b.BuildDefinition.ResolvedDependencies = b.BuildDefinition.ResolvedDependencies[:1]
	})
	b := w.prove(t,
		w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, attest.SourceBody{Uploader: "alice"}),
		w.say(t, w.subject(t, w.unsigned), attest.Build, build), w.say(t, w.subject(t, w.signed), attest.Sign, w.signBody()))
	trust := w.trust
	trust.RequireTest, trust.RequireRelease = false, false
	if _, err := w.verify(t, w.signed, b, trust); err != nil {
		t.Error(err)
	}
	trust.RequireCommit = true
	_, err := w.verify(t, w.signed, b, trust)
	wantLink(t, "an upload", err, attest.LinkChain)
}

// TestEveryMutantOfACommitIsRefused changes each byte of a commit statement and of what
// proves it.
func TestEveryMutantOfACommitIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	said := w.say(t, ofCommit(commit), attest.Commit, committed())
	b := w.prove(t, append(slices.Clone(w.bundle.Statements), said)...)
	last := len(b.Statements) - 1
	if _, err := w.verify(t, w.signed, b, w.trust); err != nil {
		t.Fatal(err)
	}
	for i := range b.Statements[last].Envelope.Payload {
		m := b
		m.Statements = slices.Clone(b.Statements)
		m.Statements[last].Envelope.Payload = slices.Clone(m.Statements[last].Envelope.Payload)
		m.Statements[last].Envelope.Payload[i] ^= 1
		_, err := w.verify(t, w.signed, m, w.trust)
		wantLink(t, "a changed byte", err, attest.LinkStatement)
	}
	m := b
	m.Statements = slices.Clone(b.Statements)
	m.Statements[last].Key = attest.StatementKey(albs.DigestOf([]byte(commit)), attest.Commit, 2)
	_, err := w.verify(t, w.signed, m, w.trust)
	wantLink(t, "under another key", err, attest.LinkInclusion)
}
