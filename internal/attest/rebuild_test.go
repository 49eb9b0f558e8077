package attest_test

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/rpm"

	"github.com/google/go-cmp/cmp"
)

func rebuild(verdict, node, by string, differing ...string) attest.RebuildBody {
	return attest.RebuildBody{
		Verdict: verdict, Node: node, BuiltOn: "east", Builder: attest.Builder{ID: by}, InvocationID: "task/7/attempt/1", Of: "task/1/attempt/1",
		Record: albs.DigestOf([]byte("new")), BuiltIn: builtIn, Differing: differing, At: time.Now().UTC(),
	}
}

// TestVerifyTellsRebuilds: of each node and builder the newest rebuild is told, whatever
// it came to, and each has its place in the chain.
func TestVerifyTellsRebuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	about := w.subject(t, w.unsigned)
	statements := w.bundle.Statements
	for _, body := range []attest.RebuildBody{
		rebuild(string(rpm.Different), "west", builder, "file /a: content", "tag POSTIN"),
		rebuild(string(rpm.PayloadIdentical), "west", builder),
		rebuild(string(rpm.BitIdentical), "east", builder, "what is not there"),
		rebuild(string(rpm.Different), "west", "another", "file /b: mode"),
		rebuild(attest.InputsDiffer, "north", builder, "gcc-1-1.x86_64 is now gcc-1-2.x86_64"),
	} {
		statements = append(statements, w.say(t, about, attest.Rebuild, body))
	}
	report, err := w.verify(t, w.signed, w.prove(t, statements...), w.trust)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range report.Steps {
		if s.Predicate == attest.Rebuild {
			got = append(got, s.Text)
		}
	}
	want := []string{
		"rebuilt on the same node east: bit-identical",
		"rebuilt on node north: its inputs differ, which tells nothing of the package: gcc-1-1.x86_64 is now gcc-1-2.x86_64",
		"rebuilt on node west: DIFFERS: file /b: mode",
		"rebuilt on node west: payload-identical",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestVerifyRefusesRebuilds: a rebuild of another content, with a verdict that nobody
// knows or of nowhere, of a build that no statement tells of, and one that is about the
// signed copy, break the chain.
func TestVerifyRefusesRebuilds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	about := w.subject(t, w.unsigned)
	other := w.subject(t, w.unsigned)
	other.Digest[attest.PayloadSHA256] = string(albs.DigestOf([]byte("other")))
	of := func(change func(*attest.RebuildBody)) attest.RebuildBody {
		b := rebuild(string(rpm.BitIdentical), "west", builder)
		change(&b)
		return b
	}
	for name, c := range map[string]struct {
		subject attest.Subject
		body    attest.RebuildBody
		says    string
	}{
		"another payload":    {other, rebuild(string(rpm.BitIdentical), "west", builder), "another header or payload"},
		"an unknown verdict": {about, rebuild("splendid", "west", builder), `ended "splendid"`},
		"no node":            {about, rebuild(string(rpm.BitIdentical), "", builder), "ended"},
		"another root":       {about, of(func(b *attest.RebuildBody) { b.BuiltIn = b.Record }), "no statement tells of that"},
		"no root":            {about, of(func(b *attest.RebuildBody) { b.BuiltIn = "" }), "no statement tells of that"},
		"another node":       {about, of(func(b *attest.RebuildBody) { b.BuiltOn = "west" }), "no statement tells of that"},
		"another build":      {about, of(func(b *attest.RebuildBody) { b.Of = "task/2/attempt/1" }), "no statement tells of that"},
		"of the signed copy": {w.subject(t, w.signed), rebuild(string(rpm.BitIdentical), "west", builder), "no place in the chain"},
	} {
		b := w.prove(t, append(w.bundle.Statements[:len(w.bundle.Statements):len(w.bundle.Statements)], w.say(t, c.subject, attest.Rebuild, c.body))...)
		_, err := w.verify(t, w.signed, b, w.trust)
		wantLink(t, name, err, attest.LinkChain)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want a word of %q", name, err, c.says)
		}
	}
}
