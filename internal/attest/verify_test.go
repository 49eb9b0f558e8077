package attest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
	"albs/internal/pgp"

	"github.com/google/go-cmp/cmp"
)

func TestVerifyTellsTheChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, err := attest.ParseBundle(w.bundle.Envelopes(), w.bundle.Proof())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(w.bundle, b); d != "" {
		t.Errorf("the bundle changes on its way: %s", d)
	}
	trust, err := attest.ParseTrust(append(w.trust.Encode(), '\n'))
	if err != nil {
		t.Fatal(err)
	}
	report, err := w.verify(t, w.signed, b, trust)
	if err != nil {
		t.Fatal(err)
	}
	var links []attest.Link
	var predicates []string
	for _, s := range report.Steps {
		links = append(links, s.Link)
		if s.Predicate != "" {
			predicates = append(predicates, s.Predicate)
			if s.Key == "" || s.Receipt == nil || s.Receipt.TxID == 0 || s.Receipt.TxID > report.State.TxID {
				t.Errorf("step %+v says not where it stands in the ledger", s)
			}
		}
	}
	wantLinks := []attest.Link{attest.LinkSignature, attest.LinkDigest, attest.LinkChain, attest.LinkChain, attest.LinkChain, attest.LinkChain, attest.LinkChain, attest.LinkState}
	if d := cmp.Diff(wantLinks, links); d != "" {
		t.Errorf("links: %s", d)
	}
	if d := cmp.Diff([]string{attest.Sign, attest.Test, attest.Build, attest.Source, attest.Release}, predicates); d != "" {
		t.Errorf("predicates: %s", d)
	}
	if report.File != albs.DigestOf(w.signed) || report.Package != "hello-1-1.noarch" || report.Fingerprint != w.key.Fingerprint() ||
		report.State != w.bundle.State.State || !report.StateAt.Equal(w.bundle.State.At) {
		t.Errorf("report = %+v", report)
	}
	t.Logf("the bundle has %d bytes of statements and %d of proof", len(w.bundle.Envelopes()), len(w.bundle.Proof()))
}

func wantLink(t *testing.T, what string, err error, links ...attest.Link) {
	t.Helper()
	b, ok := errors.AsType[*attest.BrokenLink](err)
	if !ok || albs.KindOf(err) != albs.Invalid {
		t.Errorf("%s: error %v of kind %q, want a broken link of kind invalid", what, err, albs.KindOf(err))
		return
	}
	for _, l := range links {
		if b.Link == l {
			return
		}
	}
	t.Errorf("%s: %v, want the link to be one of %q", what, err, links)
}

// TestEveryMutantOfTheBundleIsRefused changes every field of every line.
func TestEveryMutantOfTheBundleIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := len(w.bundle.Statements)
	lines := bytes.Split(slices.Concat(w.bundle.Envelopes(), bytes.TrimSuffix(w.bundle.Proof(), []byte("\n"))), []byte("\n"))
	mutants := 0
	for i, line := range lines {
		link := attest.LinkStatement
		switch {
		case i == 2*n:
			link = attest.LinkState
		case i >= n:
			link = attest.LinkInclusion
		}
		try := func(what string, mutant []byte) {
			mutants++
			changed := slices.Clone(lines)
			changed[i] = mutant
			b, err := attest.ParseBundle(joined(changed[:n]), joined(changed[n:]))
			if err == nil {
				_, err = w.verify(t, w.signed, b, w.trust)
			}
			wantLink(t, what, err, link)
		}
		decode := func() any {
			var tree any
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&tree); err != nil {
				t.Fatal(err)
			}
			return tree
		}
		ledgertest.EachMutant(decode, func(what string, tree any) {
			try(what, canonical(t, tree, i, n))
		})
		for _, at := range []int{1, len(line) / 4, len(line) / 2, len(line) - 2} {
			b := bytes.Clone(line)
			b[at] ^= 1
			if b[at] != '\n' {
				try("a flipped bit", b)
			}
		}
		try("a space before the line", append([]byte(" "), line...))
		try("an unknown member", append(bytes.TrimSuffix(bytes.Clone(line), []byte("}")), []byte(`,"x":1}`)...))
	}
	t.Logf("%d mutants", mutants)
}

// joined makes a file of lines.
func joined(lines [][]byte) []byte { return append(bytes.Join(lines, []byte("\n")), '\n') }

// canonical encodes a mutated line in the order of members that albs writes, so
// that it isn't refused for its form alone.
func canonical(t *testing.T, tree any, i, n int) []byte {
	t.Helper()
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	switch {
	case i < n:
		v = new(attest.Envelope)
	case i < 2*n:
		v = new(struct {
			Albs  string       `json:"albs"`
			Key   string       `json:"key"`
			Proof ledger.Proof `json:"proof"`
		})
	default:
		v = new(struct {
			Albs string `json:"albs"`
			attest.SignedState
		})
	}
	if json.Unmarshal(b, v) != nil {
		return b // no value of the type: its form is what is wrong
	}
	if b, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBundlesOfOtherLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	split := func(b []byte) []string { l := strings.SplitAfter(string(b), "\n"); return l[:len(l)-1] }
	said, proof := split(w.bundle.Envelopes()), split(w.bundle.Proof())
	n := len(said)
	refuse := func(what string, said, proof []string, links ...attest.Link) {
		t.Helper()
		b, err := attest.ParseBundle([]byte(strings.Join(said, "")), []byte(strings.Join(proof, "")))
		if err == nil {
			_, err = w.verify(t, w.signed, b, w.trust)
		}
		wantLink(t, what, err, links...)
	}
	without := func(l []string, i int) []string { return slices.Delete(slices.Clone(l), i, i+1) }
	large := []string{strings.Repeat("x", attest.MaxBundle+1)}
	refuse("no statements", nil, proof, attest.LinkInput)
	refuse("no proof", said, nil, attest.LinkInput)
	refuse("an empty line of statements", []string{"\n"}, proof, attest.LinkInput)
	refuse("only a state", []string{"\n"}, proof[n:], attest.LinkInput)
	refuse("statements without a newline", append(said[:n-1:n-1], strings.TrimSuffix(said[n-1], "\n")), proof, attest.LinkInput)
	refuse("a proof without a newline", said, append(proof[:n:n], strings.TrimSuffix(proof[n], "\n")), attest.LinkInput)
	refuse("no state", said, proof[:n], attest.LinkInput)
	refuse("a statement twice", append(said[:1:1], said...), proof, attest.LinkInput)
	refuse("a proof twice", said, append(proof[:1:1], proof...), attest.LinkInput)
	refuse("too large statements", large, proof, attest.LinkInput)
	refuse("too large proof", said, large, attest.LinkInput)
	refuse("too many lines", slices.Repeat([]string{"\n"}, 2000), slices.Repeat([]string{"\n"}, 2001), attest.LinkInput)
	refuse("proofs in the statements' place", proof[:n], proof, attest.LinkStatement)
	refuse("statements in the proofs' place", said, append(said[:n:n], proof[n]), attest.LinkInclusion)
	refuse("two statements swapped", append([]string{said[1], said[0]}, said[2:]...), proof, attest.LinkInclusion)
	for i := range n {
		if w.bundle.Statements[i].Key == attest.StatementKey(albs.DigestOf(w.unsigned), attest.Test, 1) {
			continue // the failed test, which a later one overrules
		}
		refuse("without "+w.bundle.Statements[i].Key, without(said, i), without(proof, i), attest.LinkChain)
	}
}

// TestEveryMutantOfTheFileIsRefused flips bytes all over the package.
func TestEveryMutantOfTheFileIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := map[attest.Link]int{}
	for at := 0; at < len(w.signed); at += 1 + at/200 {
		b := bytes.Clone(w.signed)
		b[at] ^= 0x10
		_, err := w.verify(t, b, w.bundle, w.trust)
		wantLink(t, "a flipped bit", err, attest.LinkSignature, attest.LinkDigest)
		if l, ok := errors.AsType[*attest.BrokenLink](err); ok {
			count[l.Link]++
		}
	}
	last := bytes.Clone(w.signed)
	last[len(last)-1] ^= 1
	_, err := w.verify(t, last, w.bundle, w.trust)
	wantLink(t, "a flipped bit of the payload", err, attest.LinkDigest)
	_, err = w.verify(t, w.signed[:len(w.signed)-1], w.bundle, w.trust)
	wantLink(t, "a cut file", err, attest.LinkDigest)
	_, err = w.verify(t, append(bytes.Clone(w.signed), 0), w.bundle, w.trust)
	wantLink(t, "a longer file", err, attest.LinkDigest)
	_, err = w.verify(t, nil, w.bundle, w.trust)
	wantLink(t, "an empty file", err, attest.LinkSignature)
	_, err = w.verify(t, w.unsigned, w.bundle, w.trust)
	wantLink(t, "the unsigned package", err, attest.LinkSignature)

	other, err := pgp.Generate("Other <other@example.org>", pgp.Ed25519, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.verify(t, sign(t, w.unsigned, other), w.bundle, w.trust)
	wantLink(t, "another key's signature", err, attest.LinkSignature)
	_, err = w.verify(t, sign(t, w.unsigned, w.key.At(time.Now().Add(-time.Minute))), w.bundle, w.trust)
	wantLink(t, "another signature by the same key", err, attest.LinkDigest)
	if count[attest.LinkSignature] == 0 || count[attest.LinkDigest] == 0 {
		t.Errorf("mutants by link: %v", count)
	}
}

func TestEveryMutantOfTheTrustIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []attest.Link{attest.LinkInput, attest.LinkStatement, attest.LinkState, attest.LinkSignature, attest.LinkPolicy}
	harmless := map[string]bool{ // ask for less, or the same
		"[require_test] negated": true, "[require_release] negated": true,
		"[require_commit] negated": true, // asks for more, which breaks the chain: TestCommits
		"[master_keys] longer":     true, "[package_keys] longer": true, "[builders] longer": true, "[products] longer": true,
		"[signer_keys] longer": true, "[releaser_keys] longer": true,
	}
	decode := func() any {
		var tree any
		if err := json.Unmarshal(w.trust.Encode(), &tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	ledgertest.EachMutant(decode, func(what string, tree any) {
		if harmless[what] {
			return
		}
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var trust attest.Trust
		if err := json.Unmarshal(b, &trust); err != nil {
			t.Fatal(err)
		}
		if b, err = json.Marshal(trust); err != nil { // in the order of members
			t.Fatal(err)
		}
		trust, err = attest.ParseTrust(b)
		if err == nil {
			_, err = w.verify(t, w.signed, w.bundle, trust)
		}
		wantLink(t, what, err, all...)
	})
	for _, c := range []struct {
		name   string
		change func(*attest.Trust)
		link   attest.Link
	}{
		{"another master", func(t *attest.Trust) {
			t.MasterKeys = []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
		}, attest.LinkState},
		{"another ledger", func(t *attest.Trust) { t.Ledger = strings.Repeat("0", 32) }, attest.LinkState},
		{"another builder", func(t *attest.Trust) { t.Builders = []string{"x"} }, attest.LinkPolicy},
		{"another product", func(t *attest.Trust) { t.Products = []string{"x"} }, attest.LinkPolicy},
		{"no product", func(t *attest.Trust) { t.Products = nil }, attest.LinkPolicy},
		{"another signer", func(t *attest.Trust) { t.SignerKeys = t.ReleaserKeys }, attest.LinkStatement},
		{"another releaser", func(t *attest.Trust) { t.ReleaserKeys = t.SignerKeys }, attest.LinkStatement},
		{"the master in the signer's place", func(t *attest.Trust) { t.SignerKeys = nil }, attest.LinkStatement},
		{"the master in the releaser's place", func(t *attest.Trust) { t.ReleaserKeys = nil }, attest.LinkStatement},
		{"a signer's key that is none", func(t *attest.Trust) { t.SignerKeys = []string{"x"} }, attest.LinkInput},
		{"no package key", func(t *attest.Trust) { t.PackageKeys = nil }, attest.LinkSignature},
		{"no master key", func(t *attest.Trust) { t.MasterKeys = nil }, attest.LinkInput},
		{"no builder", func(t *attest.Trust) { t.Builders = nil }, attest.LinkInput},
		{"a builder without a name", func(t *attest.Trust) { t.Builders = append(t.Builders, "") }, attest.LinkInput},
		{"a product without a name", func(t *attest.Trust) { t.Products = append(t.Products, "") }, attest.LinkInput},
		{"no format", func(t *attest.Trust) { t.Albs = "" }, attest.LinkInput},
	} {
		trust := w.trust
		c.change(&trust)
		_, err := w.verify(t, w.signed, w.bundle, trust)
		wantLink(t, c.name, err, c.link)
	}
	_, err := attest.ParseTrust(bytes.Repeat([]byte("x"), attest.MaxTrust+1))
	wantLink(t, "a large trust", err, attest.LinkInput)
}

// TestChainsThatTheMasterSignedButDontHold puts well-signed, well-notarized
// statements together that make no chain.
func TestChainsThatTheMasterSignedButDontHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	srpm := attest.Subject{Name: "hello-1-1.src.rpm", Digest: map[string]string{attest.SHA256: string(w.srpm)}}
	other := func(s attest.Subject, digest string) attest.Subject {
		d := maps.Clone(s.Digest)
		d[digest] = string(albs.DigestOf([]byte("other")))
		return attest.Subject{Name: s.Name, Digest: d}
	}
	passed := attest.TestBody{Result: attest.Passed}
	type said struct {
		about     attest.Subject
		predicate string
		body      any
	}
	chain := func() map[string]said {
		return map[string]said{
			attest.Source: {srpm, attest.Source, source()}, attest.Build: {unsigned, attest.Build, w.build()},
			attest.Test: {unsigned, attest.Test, passed}, attest.Sign: {file, attest.Sign, w.signBody()},
			attest.Release: {file, attest.Release, attest.ReleaseBody{Product: product}},
		}
	}
	for _, c := range []struct {
		name string
		said said
		link attest.Link
	}{
		{"a sign statement with another header", said{other(file, attest.HeaderSHA256), attest.Sign, w.signBody()}, attest.LinkChain},
		{"a sign statement with another payload", said{other(file, attest.PayloadSHA256), attest.Sign, w.signBody()}, attest.LinkChain},
		{"a sign statement about another file", said{other(file, attest.SHA256), attest.Sign, w.signBody()}, attest.LinkDigest},
		{"a sign statement that names another key", said{file, attest.Sign, attest.SignBody{Unsigned: albs.DigestOf(w.unsigned), Fingerprint: "ABCD"}}, attest.LinkChain},
		{"a sign statement that names another package", said{file, attest.Sign, attest.SignBody{Unsigned: w.srpm, Fingerprint: w.key.Fingerprint()}}, attest.LinkChain},
		{"a sign statement that names none", said{file, attest.Sign, attest.SignBody{Fingerprint: w.key.Fingerprint()}}, attest.LinkChain},
		{"a build of another header", said{other(unsigned, attest.HeaderSHA256), attest.Build, w.build()}, attest.LinkChain},
		{"a build of another payload", said{other(unsigned, attest.PayloadSHA256), attest.Build, w.build()}, attest.LinkChain},
		{"a build of another package", said{other(unsigned, attest.SHA256), attest.Build, w.build()}, attest.LinkChain},
		{"a build of another source package", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) {
			b.BuildDefinition.ResolvedDependencies[0].Digest[attest.SHA256] = string(albs.DigestOf(nil))
		})}, attest.LinkChain},
		{"a build of two source packages", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) {
			b.BuildDefinition.ResolvedDependencies = append(b.BuildDefinition.ResolvedDependencies, b.BuildDefinition.ResolvedDependencies[0])
		})}, attest.LinkChain},
		{"a build of no source package", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) {
			b.BuildDefinition.ResolvedDependencies = nil
		})}, attest.LinkChain},
		{"a build of another commit", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) {
			b.BuildDefinition.ResolvedDependencies[1].Digest[attest.GitCommit] = strings.Repeat("f", 40)
		})}, attest.LinkChain},
		{"a build of two commits", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) {
			first := attest.Descriptor{Digest: map[string]string{attest.GitCommit: strings.Repeat("f", 40)}}
			b.BuildDefinition.ResolvedDependencies = append([]attest.Descriptor{first}, b.BuildDefinition.ResolvedDependencies...)
		})}, attest.LinkChain},
		{"a build of another type", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) { b.BuildDefinition.BuildType = "x" })}, attest.LinkChain},
		{"a build by another builder", said{unsigned, attest.Build, edit(w.build(), func(b *attest.BuildBody) { b.RunDetails.Builder.ID = "x" })}, attest.LinkPolicy},
		{"a source of another package", said{other(srpm, attest.SHA256), attest.Source, source()}, attest.LinkChain},
		{"a source of another commit", said{srpm, attest.Source, edit(source(), func(s *attest.SourceBody) { s.Commit = strings.Repeat("f", 40) })}, attest.LinkChain},
		{"a source of a branch", said{srpm, attest.Source, edit(source(), func(s *attest.SourceBody) { s.Commit = "main" })}, attest.LinkChain},
		{"a source of nobody", said{srpm, attest.Source, attest.SourceBody{}}, attest.LinkChain},
		{"a failed test", said{unsigned, attest.Test, attest.TestBody{Result: attest.Failed}}, attest.LinkChain},
		{"a test without a verdict", said{unsigned, attest.Test, attest.TestBody{}}, attest.LinkChain},
		{"a test of another package", said{other(unsigned, attest.SHA256), attest.Test, passed}, attest.LinkChain},
		{"a test of another payload", said{other(unsigned, attest.PayloadSHA256), attest.Test, passed}, attest.LinkChain},
		{"a release of another package", said{other(file, attest.SHA256), attest.Release, attest.ReleaseBody{Product: product}}, attest.LinkChain},
		{"a release of another payload", said{other(file, attest.PayloadSHA256), attest.Release, attest.ReleaseBody{Product: product}}, attest.LinkChain},
		{"a release in another product", said{file, attest.Release, attest.ReleaseBody{Product: "x"}}, attest.LinkPolicy},
		{"a body of another shape", said{unsigned, attest.Build, "text"}, attest.LinkChain},
	} {
		all := chain()
		all[c.said.predicate] = c.said
		var proven []attest.Proven
		for _, s := range all {
			proven = append(proven, w.say(t, s.about, s.predicate, s.body))
		}
		_, err := w.verify(t, w.signed, w.prove(t, proven...), w.trust)
		wantLink(t, c.name, err, c.link)
	}

	var proven []attest.Proven
	for _, s := range chain() {
		proven = append(proven, w.say(t, s.about, s.predicate, s.body))
	}
	if _, err := w.verify(t, w.signed, w.prove(t, proven...), w.trust); err != nil {
		t.Errorf("the chain without a change: %v", err)
	}
	stranger := w.say(t, other(file, attest.SHA256), attest.Release, attest.ReleaseBody{Product: product})
	_, err := w.verify(t, w.signed, w.prove(t, append(proven, stranger)...), w.trust)
	wantLink(t, "a statement about something else", err, attest.LinkChain)

	twice := w.say(t, file, attest.Sign, edit(w.signBody(), func(s *attest.SignBody) { s.Unsigned = albs.DigestOf([]byte("other")) }))
	_, err = w.verify(t, w.signed, w.prove(t, append([]attest.Proven{twice}, proven...)...), w.trust)
	wantLink(t, "two sign statements that name different packages", err, attest.LinkChain)

	trust := w.trust
	trust.RequireTest, trust.RequireRelease = false, false
	_, err = w.verify(t, w.signed, w.prove(t, w.say(t, file, attest.Sign, w.signBody())), trust)
	wantLink(t, "a sign statement alone", err, attest.LinkChain)
	_, err = w.verify(t, w.signed, w.prove(t, w.say(t, file, attest.Sign, w.signBody()), w.say(t, unsigned, attest.Build, w.build())), trust)
	wantLink(t, "a build without its source", err, attest.LinkChain)

	unnamed := edit(w.build(), func(b *attest.BuildBody) {
		b.BuildDefinition.ResolvedDependencies = b.BuildDefinition.ResolvedDependencies[:1]
	})
	for name, body := range map[string]attest.SourceBody{
		"a branch": {Repository: "git+https://example.org/hello", Commit: "main"}, "a short commit": {Repository: "git+https://example.org/hello", Commit: commit[:12]},
		"a commit of no repository": {Commit: commit}, "a commit by an uploader": {Commit: commit, Uploader: "alice"},
		"a repository by an uploader": {Repository: "git+https://example.org/hello", Uploader: "alice"},
	} {
		w.srpm = albs.DigestOf([]byte(name))
		unnamed.BuildDefinition.ResolvedDependencies[0].Digest[attest.SHA256] = string(w.srpm)
		_, err = w.verify(t, w.signed, w.prove(t, w.say(t, file, attest.Sign, w.signBody()), w.say(t, unsigned, attest.Build, unnamed),
			w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, body)), trust)
		wantLink(t, "a source of "+name+", where the build names no commit", err, attest.LinkChain)
	}

	forged := w.sayAs(t, master(t, 2), unsigned, attest.Build, w.build())
	_, err = w.verify(t, w.signed, w.prove(t, append(proven, forged)...), w.trust)
	wantLink(t, "a statement by another master", err, attest.LinkStatement)
}

// TestWhoMayStateWhat has each of the three roles state each part of the chain.
func TestWhoMayStateWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	srpm := attest.Subject{Name: "hello-1-1.src.rpm", Digest: map[string]string{attest.SHA256: string(w.srpm)}}
	roles := map[string]*attest.Signer{"master": w.signer, "signer": w.signs, "releaser": w.releases, "stranger": master(t, 9)}
	parts := []struct {
		predicate string
		about     attest.Subject
		body      any
		by        string
	}{
		{attest.Source, srpm, source(), "master"},
		{attest.Build, unsigned, w.build(), "master"},
		{attest.Test, unsigned, attest.TestBody{Result: attest.Passed}, "master"},
		{attest.Sign, file, w.signBody(), "signer"},
		{attest.Release, file, attest.ReleaseBody{Product: product}, "releaser"},
	}
	old := w.trust // as it was written before signers and releasers had keys
	old.SignerKeys, old.ReleaserKeys = nil, nil
	both := w.trust // of a master that stated all by itself before
	both.SignerKeys = append(both.SignerKeys, both.MasterKeys[0])
	both.ReleaserKeys = append(both.ReleaserKeys, both.MasterKeys[0])
	for i, part := range parts {
		for role, by := range roles {
			var all []attest.Proven
			for j, p := range parts {
				s := roles[p.by]
				if i == j {
					s = by
				}
				all = append(all, w.sayAs(t, s, p.about, p.predicate, p.body))
			}
			what := part.predicate + " by the " + role
			b := w.prove(t, all...)
			for name, c := range map[string]struct {
				trust attest.Trust
				holds bool
			}{
				"":                           {w.trust, role == part.by},
				", the master trusted too":   {both, role == part.by || role == "master"},
				", by a trust of the master": {old, false}, // the others' parts don't hold
			} {
				_, err := w.verify(t, w.signed, b, c.trust)
				if !c.holds {
					wantLink(t, what+name, err, attest.LinkStatement)
				} else if err != nil {
					t.Errorf("%s%s: %v", what, name, err)
				}
			}
		}
	}
	var all []attest.Proven
	for _, p := range parts {
		all = append(all, w.sayAs(t, w.signer, p.about, p.predicate, p.body))
	}
	if _, err := w.verify(t, w.signed, w.prove(t, all...), old); err != nil {
		t.Errorf("all by the master, and a trust of it alone: %v", err)
	}
}

func edit[T any](v T, f func(*T)) T {
	f(&v)
	return v
}

func TestUploadsAndOptionalParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.srpm = albs.DigestOf([]byte("an uploaded source package"))
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	build := edit(w.build(), func(b *attest.BuildBody) {
		b.BuildDefinition.ResolvedDependencies = b.BuildDefinition.ResolvedDependencies[:1]
	})
	b := w.prove(t,
		w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, attest.SourceBody{Uploader: "alice"}),
		w.say(t, unsigned, attest.Build, build), w.say(t, file, attest.Sign, w.signBody()))
	_, err := w.verify(t, w.signed, b, w.trust)
	wantLink(t, "without the test and release that the trust requires", err, attest.LinkChain)
	trust := w.trust
	trust.RequireTest, trust.RequireRelease = false, false
	if _, err := w.verify(t, w.signed, b, trust); err != nil {
		t.Error(err)
	}
}

// TestStatementUnderAnotherKey puts what the master signed into the ledger under
// keys that are not its own: it is in the ledger, and means nothing there.
func TestStatementUnderAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unsigned := albs.DigestOf(w.unsigned)
	right := attest.StatementKey(unsigned, attest.Build, 2)
	build := w.bundle.Statements[1]
	if build.Key != attest.StatementKey(unsigned, attest.Build, 1) {
		t.Fatalf("the second statement is %s", build.Key)
	}
	value, err := build.Envelope.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		right, attest.StatementKey(unsigned, attest.Test, 3), attest.StatementKey(w.srpm, attest.Build, 1), attest.StatementKey(unsigned, attest.Build, 0),
		attest.StatementKey(unsigned, attest.Build, -1), strings.Replace(right, "/2", "/02", 1), strings.Replace(right, "/2", "/+2", 1),
		right + "/1", "x" + right, strings.TrimSuffix(right, "/2"), "elsewhere",
	} {
		if _, err := w.ledger.Append(t.Context(), []ledger.Entry{{Key: []byte(key), Value: value}}); err != nil {
			t.Fatal(err)
		}
		all := slices.Clone(w.bundle.Statements)
		all[1].Key = key
		_, err := w.verify(t, w.signed, w.prove(t, all...), w.trust)
		if key == right {
			if err != nil {
				t.Errorf("under %s: %v", key, err)
			}
			continue
		}
		wantLink(t, "under "+key, err, attest.LinkInclusion)
	}
}

// TestSourcePackages are signed and released like others, and neither built from
// something nor tested.
func TestSourcePackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unsigned = built(t, "hello-1-1.src.rpm")
	w.signed = sign(t, w.unsigned, w.key)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	signed := w.say(t, file, attest.Sign, w.signBody())
	released := w.say(t, file, attest.Release, attest.ReleaseBody{Product: product})
	sourced := w.say(t, unsigned, attest.Source, source())
	report, err := w.verify(t, w.signed, w.prove(t, signed, released, sourced), w.trust)
	if err != nil {
		t.Fatal(err)
	}
	if report.Package != "hello-1-1.src" {
		t.Errorf("the report is about %s", report.Package)
	}
	want := []albs.Digest{albs.DigestOf(w.unsigned)}
	if _, err := attest.VerifyEvidence(w.evidence(t, ledger.State{}, sourced), want, w.trust, ledger.State{}); err != nil {
		t.Errorf("the evidence of a source package: %v", err)
	}

	for _, digest := range []string{attest.HeaderSHA256, attest.PayloadSHA256} {
		about := attest.Subject{Name: unsigned.Name, Digest: maps.Clone(unsigned.Digest)}
		about.Digest[digest] = string(albs.DigestOf(nil))
		_, err = w.verify(t, w.signed, w.prove(t, signed, released, sourced, w.say(t, about, attest.Source, source())), w.trust)
		wantLink(t, "a source statement with another "+digest, err, attest.LinkChain)
	}
	_, err = w.verify(t, w.signed, w.prove(t, signed, released), w.trust)
	wantLink(t, "without a source statement", err, attest.LinkChain)
	_, err = w.verify(t, w.signed, w.prove(t, signed, released, sourced, w.say(t, unsigned, attest.Build, w.build())), w.trust)
	wantLink(t, "a source package that was built", err, attest.LinkChain)
}

// TestVerdicts says what a test statement does to the chain: a failed one breaks it
// where the trust file requires tests, and is told where it doesn't.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	chain := []attest.Proven{
		w.say(t, attest.Subject{Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, source()),
		w.say(t, unsigned, attest.Build, w.build()), w.say(t, file, attest.Sign, w.signBody()),
		w.say(t, file, attest.Release, attest.ReleaseBody{Product: product}),
	}
	passed := attest.TestBody{Result: attest.Passed, PassedTests: []string{"install", "remove"}}
	failed := attest.TestBody{Result: attest.Failed, PassedTests: []string{"install"}, FailedTests: []string{"remove"}}
	in := func(arch albs.Arch, b attest.TestBody) attest.TestBody {
		b.Configuration = []attest.Descriptor{attest.TestRoot("el9", arch)}
		return b
	}
	tests := []struct {
		name     string
		required bool
		said     []attest.TestBody // oldest first
		told     string            // "" where the chain breaks, "-" where it holds without a word of tests
	}{
		{"passed, required", true, []attest.TestBody{passed}, "tested: 2 tests passed"},
		{"passed, not required", false, []attest.TestBody{passed}, "tested: 2 tests passed"},
		{"failed, required", true, []attest.TestBody{failed}, ""},
		{"warned, required", true, []attest.TestBody{{Result: attest.Warned, PassedTests: []string{"install"}, WarnedTests: []string{"upgrade"}}}, "tested: 1 tests passed, and 1 failed that need not pass"},
		{"failed, not required", false, []attest.TestBody{failed}, "tested: 1 tests FAILED, which the trust file allows"},
		{"passed at last, required", true, []attest.TestBody{failed, passed}, "tested: 2 tests passed"},
		{"failed at last, required", true, []attest.TestBody{passed, failed}, ""},
		{"failed at last, not required", false, []attest.TestBody{passed, failed}, "tested: 1 tests FAILED, which the trust file allows"},
		{"no verdict, not required", false, []attest.TestBody{{}}, ""},
		{"passed in two roots", true, []attest.TestBody{in(albs.AArch64, passed), in(albs.X8664, passed)},
			"tested: 2 tests passed in urn:albs:root:el9:aarch64, tested: 2 tests passed in urn:albs:root:el9:x86_64"},
		{"failed in one root, passed later in the other", true, []attest.TestBody{in(albs.X8664, failed), in(albs.AArch64, passed)}, ""},
		{"passed in one root, failed later in the other", true, []attest.TestBody{in(albs.X8664, passed), in(albs.AArch64, failed)}, ""},
		{"failed in one root, which is allowed", false, []attest.TestBody{in(albs.X8664, failed), in(albs.AArch64, passed)},
			"tested: 2 tests passed in urn:albs:root:el9:aarch64, tested: 1 tests FAILED in urn:albs:root:el9:x86_64, which the trust file allows"},
		{"passed at last in each root", true, []attest.TestBody{in(albs.X8664, failed), in(albs.AArch64, passed), in(albs.X8664, passed)},
			"tested: 2 tests passed in urn:albs:root:el9:aarch64, tested: 2 tests passed in urn:albs:root:el9:x86_64"},
		{"not tested, required", true, nil, ""},
		{"not tested, not required", false, nil, "-"},
	}
	for _, tt := range tests {
		proven := chain
		for _, body := range tt.said {
			proven = append(proven[:len(proven):len(proven)], w.say(t, unsigned, attest.Test, body))
		}
		trust := w.trust
		trust.RequireTest = tt.required
		b := w.prove(t, proven...)
		report, err := w.verify(t, w.signed, b, trust)
		slices.Reverse(b.Statements) // whose order is nobody's word
		if _, reversed := w.verify(t, w.signed, b, trust); (reversed == nil) != (err == nil) {
			t.Errorf("%s: %v, and in reverse order %v", tt.name, err, reversed)
		}
		if tt.told == "" {
			wantLink(t, tt.name, err, attest.LinkChain)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var steps []string
		for _, s := range report.Steps {
			if s.Predicate == attest.Test {
				steps = append(steps, s.Text)
			}
		}
		told := strings.Join(steps, ", ")
		if told == "" {
			told = "-"
		}
		if told != tt.told {
			t.Errorf("%s: the report says %q, want %q", tt.name, told, tt.told)
		}
	}
}

func TestErrorsOfTheReaderAreNoBrokenLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := attest.Verify(ctx, bytes.NewReader(w.signed), int64(len(w.signed)), w.bundle, w.trust)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Verify with an ended context: %v", err)
	}
	_, err = attest.Verify(t.Context(), badDisk{}, 1000, w.bundle, w.trust)
	if !errors.Is(err, errDisk) || albs.KindOf(err) != albs.Internal {
		t.Errorf("Verify of what can't be read: %v", err)
	}
}

var errDisk = errors.New("bad disk")

type badDisk struct{}

func (badDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

var _ io.ReaderAt = badDisk{}

func TestExitCodesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[int]attest.Link{}
	for _, l := range []attest.Link{attest.LinkSignature, attest.LinkDigest, attest.LinkStatement, attest.LinkChain,
		attest.LinkInclusion, attest.LinkState, attest.LinkPolicy, attest.LinkLog, attest.LinkInput} {
		if c := l.ExitCode(); c < 3 || seen[c] != "" {
			t.Errorf("%s and %q have exit code %d", l, seen[c], c)
		}
		seen[l.ExitCode()] = l
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		if _, err := w.verify(b, w.signed, w.bundle, w.trust); err != nil {
			b.Fatal(err)
		}
	}
}
