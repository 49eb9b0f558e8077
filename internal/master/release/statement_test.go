package release

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"maps"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/attest/keyfile"
	"albs/internal/master/provenance"
	"albs/internal/worker"
)

// edits change what a releaser that a test plays states of one package.
type edits func(about *attest.Subject, body *attest.ReleaseBody)

// stated uploads what the releaser of a lease, which a test plays, would state by s, each
// statement as edit changes the truth, and as put changes all of them.
func (f *fixture) stated(l *worker.Lease, s *attest.Signer, edit edits, put func(lines [][]byte) [][]byte) albs.File {
	f.t.Helper()
	p := l.Spec.Publish
	blob, err := f.artifacts.Blobs().Open(f.t.Context(), p.Effects.Digest)
	f.must(err)
	defer blob.Close()
	raw, err := io.ReadAll(blob)
	f.must(err)
	effects, err := effect.Parse(raw)
	f.must(err)
	in := map[albs.Digest][]string{}
	var order []albs.Digest
	for _, r := range effects.Repositories {
		for _, c := range r.Changes {
			if c.Removed {
				continue
			}
			if in[c.Digest] == nil {
				order = append(order, c.Digest)
			}
			in[c.Digest] = append(in[c.Digest], r.Path)
		}
	}
	var lines [][]byte
	for _, d := range order {
		a, err := f.artifacts.Get(f.t.Context(), f.d, d)
		f.must(err)
		about := provenance.SubjectOf(a)
		body := attest.ReleaseBody{
			Product: p.Product, Repositories: in[d], Release: int64(p.Release), Serial: p.Serial, Tree: p.Tree, Plan: p.Effects.Digest, Approvals: p.Approvals,
		}
		if edit != nil {
			edit(&about, &body)
		}
		st, err := attest.New(about, attest.Release, body)
		f.must(err)
		e, err := s.Sign(st)
		f.must(err)
		b, err := e.Encode()
		f.must(err)
		lines = append(lines, b)
	}
	if put != nil {
		lines = put(lines)
	}
	var all []byte
	for _, b := range lines {
		all = append(append(all, b...), '\n')
	}
	return f.upload(l, all)
}

// upload puts what a releaser sends beside its result.
func (f *fixture) upload(l *worker.Lease, b []byte) albs.File {
	f.t.Helper()
	d := albs.DigestOf(b)
	held, err := f.as(f.releaser).Stat(f.t.Context(), l.Token, d)
	f.must(err)
	if held == 0 { // the same was sent before
		_, err = f.as(f.releaser).Put(f.t.Context(), l.Token, d, 0, bytes.NewReader(b))
		f.must(err)
	}
	return albs.File{Name: "statements.jsonl", Digest: d, Size: int64(len(b))}
}

// releaserStates is what states by the key of the real releaser.
func (f *fixture) releaserStates() *attest.Signer {
	f.t.Helper()
	f.statementKey(f.releaser)
	key, err := keyfile.LoadOrCreate(f.states + "/statement.key")
	f.must(err)
	return attest.NewSigner(key)
}

// misstated are results that show what they should, and state something else.
func (f *fixture) misstated(l *worker.Lease) map[string]albs.Result {
	f.t.Helper()
	other, states := albs.DigestOf([]byte("other")), f.releaserStates()
	stranger := attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize)))
	result := func(file albs.File) albs.Result {
		return albs.Result{Publish: &albs.PublishResult{Serial: l.Spec.Publish.Serial, Tree: l.Spec.Publish.Tree, Statements: file}}
	}
	edit := func(e edits) albs.Result {
		return result(f.stated(l, states, func(about *attest.Subject, body *attest.ReleaseBody) {
			about.Digest = maps.Clone(about.Digest)
			e(about, body)
		}, nil))
	}
	put := func(p func(lines [][]byte) [][]byte) albs.Result { return result(f.stated(l, states, nil, p)) }
	good := f.stated(l, states, nil, nil)
	shorter, absent := good, good
	shorter.Size--
	absent.Digest = other
	return map[string]albs.Result{
		"stated by a stranger": result(f.stated(l, stranger, nil, nil)),
		"nothing stated":       result(albs.File{}),
		"stated of another file": edit(func(a *attest.Subject, _ *attest.ReleaseBody) {
			a.Digest[attest.SHA256] = string(albs.DigestOf([]byte(a.Name)))
		}),
		"stated of another header":        edit(func(a *attest.Subject, _ *attest.ReleaseBody) { a.Digest[attest.HeaderSHA256] = string(other) }),
		"stated of another product":       edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Product = "other" }),
		"stated of another repository":    edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Repositories = []string{"other"} }),
		"stated of another release":       edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Release++ }),
		"stated of another serial":        edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Serial++ }),
		"stated of another tree":          edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Tree = other }),
		"stated of another plan":          edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Plan = other }),
		"stated with a waiver":            edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Waivers = []albs.Waived{{Waiver: 1}} }),
		"stated without the approvals":    edit(func(_ *attest.Subject, b *attest.ReleaseBody) { b.Approvals = nil }),
		"one is missing":                  put(func(l [][]byte) [][]byte { return l[1:] }),
		"one is there twice":              put(func(l [][]byte) [][]byte { return append(l, l[0]) }),
		"no statements":                   put(func([][]byte) [][]byte { return [][]byte{[]byte("{}")} }),
		"not the file that it names":      result(shorter),
		"a file that was never sent":      result(absent),
		"an empty line among statements":  put(func(l [][]byte) [][]byte { return append(l, nil) }),
		"a statement with a space before": put(func(l [][]byte) [][]byte { l[0] = append([]byte(" "), l[0]...); return l }),
	}
}

// releasedBy holds that the release statements of what was released are by the
// releaser's key, and that a stranger's trust names it.
func (f *fixture) releasedBy() {
	f.t.Helper()
	want := f.statementKey(f.releaser)
	trust, err := f.provenance.Trust(f.t.Context(), attest.Trust{Builders: []string{builderID}})
	f.must(err)
	if len(trust.ReleaserKeys) != 1 || trust.ReleaserKeys[0] != want || len(trust.SignerKeys) != 1 || trust.SignerKeys[0] != f.statementKey(f.signer) {
		f.t.Errorf("the trust has releasers %q and signers %q, want %q", trust.ReleaserKeys, trust.SignerKeys, want)
	}
	public, err := attest.ParsePublicKey(want)
	f.must(err)
	var rows []string
	f.must(f.d.SelectContext(f.t.Context(), &rows, `SELECT envelope FROM statement WHERE predicate = 'release'`))
	if len(rows) == 0 {
		f.t.Error("nothing states that anything was released")
	}
	for _, row := range rows {
		e, err := attest.ParseEnvelope([]byte(row))
		f.must(err)
		if _, err := e.Open(public); err != nil {
			f.t.Errorf("a release statement isn't by the releaser: %v", err)
		}
	}
}
