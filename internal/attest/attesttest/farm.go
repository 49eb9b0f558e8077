// Package attesttest makes what a farm publishes without one: signed packages with all
// that lies beside them, and the trust file to verify them with. It is for tests and
// benchmarks only.
package attesttest

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/pgp"
	"albs/internal/rpm"
)

// What a Farm is called in its statements.
const (
	Builder = "https://example.org/builder/apart/v1"
	Product = "hello-9"
	Commit  = "0123456789abcdef0123456789abcdef01234567"
)

// NoLog says in Release that a package gets no proof of the public log.
const NoLog = "log"

// Farm is the keys of master, signer and releaser, a ledger, a package key and a public log
// with two witnesses.
type Farm struct {
	// Trust is the trust file that believes all of it and asks for all.
	Trust attest.Trust
	Key   *pgp.Key
	Log   *Log
	// Product is what packages are released in; Trust has to believe it.
	Product string

	signer *attest.Signer            // the master's
	states map[string]*attest.Signer // those of others, by predicate
	ledger *ledger.Embedded
	n      map[string]int // statements by subject and predicate
}

// Released is a package as it lies in a public place.
type Released struct {
	Package *rpm.Package
	Signed  []byte
	Bundle  attest.Bundle
}

// New makes a farm whose ledger is in dir.
func New(dir string) (*Farm, error) {
	l, err := ledger.OpenEmbedded(dir)
	if err != nil {
		return nil, err
	}
	key := func(seed byte) *attest.Signer {
		return attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	}
	f := &Farm{Product: Product, ledger: l, n: map[string]int{}, signer: key(1), states: map[string]*attest.Signer{attest.Sign: key(2), attest.Release: key(3), attest.VSA: key(3)}}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return f, nil
}

func (f *Farm) open() (err error) {
	if f.Key, err = pgp.Generate("Hello <hello@example.org>", pgp.Ed25519, time.Now().Add(-time.Hour)); err != nil {
		return err
	}
	public, err := f.Key.Public()
	if err != nil {
		return err
	}
	key, err := attest.PackageKey(public)
	if err != nil {
		return err
	}
	if f.Log, err = NewLog("log.example.org/albs", 2, 2); err != nil {
		return err
	}
	if _, err := f.ledger.Append(background, []ledger.Entry{{Key: []byte("filler"), Value: []byte("x")}}); err != nil {
		return err
	}
	state, err := f.ledger.State(background)
	if err != nil {
		return err
	}
	f.Trust = attest.Trust{
		Albs: "trust/v1", Ledger: state.Ledger, MasterKeys: []string{attest.PublicKey(f.signer.Public())},
		SignerKeys: []string{attest.PublicKey(f.states[attest.Sign].Public())}, ReleaserKeys: []string{attest.PublicKey(f.states[attest.Release].Public())},
		PackageKeys: []string{key},
		Builders:    []string{Builder}, Products: []string{Product}, RequireTest: true, RequireRelease: true, RequireCommit: true, Log: &f.Log.Policy, RequireLog: true,
	}
	return nil
}

// Close ends the ledger.
func (f *Farm) Close() error { return f.ledger.Close() }

// Release signs a package and states all that there is to state about it, but for what
// has one of the names in but: a predicate's, or NoLog.
func (f *Farm) Release(unsigned []byte, but ...string) (Released, error) {
	signed, err := f.Sign(unsigned)
	if err != nil {
		return Released{}, err
	}
	p, err := rpm.Read(bytes.NewReader(signed))
	if err != nil {
		return Released{}, err
	}
	srpm := albs.DigestOf([]byte("the source of " + p.Name))
	source := attest.SourceBody{Repository: "git+https://example.org/" + p.Name, Ref: "main", Commit: Commit}
	commit := attest.Subject{Name: Commit, Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("the commit"))), attest.GitCommit: Commit}}
	committed := attest.CommitBody{Repository: source.Repository, Ref: "refs/heads/main", Tree: Commit, Requester: "alice"}
	about := func(b []byte) attest.Subject {
		return attest.Subject{Name: p.Filename(), Digest: map[string]string{
			attest.SHA256: string(albs.DigestOf(b)), attest.HeaderSHA256: string(p.HeaderSHA256), attest.PayloadSHA256: string(p.PayloadSHA256)}}
	}
	type said struct {
		about     attest.Subject
		predicate string
		body      any
	}
	all := []said{
		{commit, attest.Commit, committed},
		{attest.Subject{Name: p.Name + ".src.rpm", Digest: map[string]string{attest.SHA256: string(srpm)}}, attest.Source, source},
		{about(unsigned), attest.Build, attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType: attest.BuildType, ExternalParameters: attest.ExternalParameters{Platform: Product, Arch: albs.X8664},
				ResolvedDependencies: []attest.Descriptor{
					{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm)}},
					{URI: source.Repository, Digest: map[string]string{attest.GitCommit: Commit}},
				},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: Builder}, Metadata: attest.RunMetadata{InvocationID: "task/1/attempt/1"}},
		}},
		{about(unsigned), attest.Test, attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}}},
	}
	if p.Source {
		all = []said{{commit, attest.Commit, committed}, {about(unsigned), attest.Source, source}}
	}
	all = append(all,
		said{about(signed), attest.Sign, attest.SignBody{Unsigned: albs.DigestOf(unsigned), Fingerprint: f.Key.Fingerprint(), Build: 1, Requester: "alice"}},
		said{about(signed), attest.Release, attest.ReleaseBody{Product: f.Product, Repositories: []string{"x86_64/os"}, Release: 3, Serial: 4}})
	out := Released{Package: p, Signed: signed}
	for _, s := range all {
		if slices.Contains(but, s.predicate) {
			continue
		}
		proven, err := f.say(s.about, s.predicate, s.body)
		if err != nil {
			return Released{}, err
		}
		out.Bundle.Statements = append(out.Bundle.Statements, proven)
	}
	if err := f.prove(&out.Bundle); err != nil || slices.Contains(but, NoLog) {
		return out, err
	}
	leaf, err := out.Bundle.Leaf(p, albs.DigestOf(signed))
	if albs.KindOf(err) == albs.NotFound { // not released
		return out, nil
	}
	if err != nil {
		return Released{}, err
	}
	out.Bundle.Log, err = f.Log.Prove(f.Log.Append(leaf.Encode()))
	return out, err
}

// Where is the address of a package in a Farm's summaries.
func (r Released) Where() string {
	return "https://repo.example.org/" + Product + "/pool/" + r.Package.Filename()
}

// Releaser signs what the farm's releaser states.
func (f *Farm) Releaser() *attest.Signer { return f.states[attest.Release] }

// Summary is what the farm's releaser states after it verified a package by f.Trust.
func (f *Farm) Summary(r Released) (attest.Statement, error) {
	return r.Bundle.Summary(r.Package, albs.DigestOf(r.Signed), f.Releaser().Public(), attest.Verification{
		Product: f.Product, At: time.Now(), Policy: albs.DigestOf(f.Trust.Encode()), Where: r.Where(),
	})
}

// Summarize lays the file of a statement beside a package, signed by the one who may make
// statements of a predicate.
func (f *Farm) Summarize(r *Released, st attest.Statement, by string) error {
	signer := f.signer
	if other, ok := f.states[by]; ok {
		signer = other
	}
	e, err := signer.Sign(st)
	if err != nil {
		return err
	}
	r.Bundle.VSA, err = attest.EncodeSummary(e)
	return err
}

// Sign returns the package with the signature of the farm's key.
func (f *Farm) Sign(unsigned []byte) ([]byte, error) {
	header, err := rpm.Header(bytes.NewReader(unsigned))
	if err != nil {
		return nil, err
	}
	sig, isRSA, err := f.Key.Sign(header)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = rpm.Splice(&out, bytes.NewReader(unsigned), sig, isRSA)
	return out.Bytes(), err
}

func (f *Farm) say(s attest.Subject, predicate string, body any) (attest.Proven, error) {
	st, err := attest.New(s, predicate, body)
	if err != nil {
		return attest.Proven{}, err
	}
	by := f.signer
	if other, ok := f.states[predicate]; ok {
		by = other
	}
	e, err := by.Sign(st)
	if err != nil {
		return attest.Proven{}, err
	}
	value, err := e.Encode()
	if err != nil {
		return attest.Proven{}, err
	}
	prefix := fmt.Sprint(s.File(), predicate)
	f.n[prefix]++
	key := attest.StatementKey(s.File(), predicate, f.n[prefix])
	_, err = f.ledger.Append(background, []ledger.Entry{{Key: []byte(key), Value: value}})
	return attest.Proven{Envelope: e, Key: key}, err
}

func (f *Farm) prove(b *attest.Bundle) error {
	now, err := f.ledger.State(background)
	if err != nil {
		return err
	}
	b.State = f.signer.SignState(now, time.Now())
	for i, p := range b.Statements {
		if b.Statements[i].Proof, err = f.ledger.Prove(background, []byte(p.Key), now); err != nil {
			return err
		}
	}
	return nil
}

// Later proves the statements about a package by a later state of the ledger: they stay, and
// their proof is another one.
func (f *Farm) Later(r *Released) error {
	if _, err := f.ledger.Append(background, []ledger.Entry{{Key: []byte("later"), Value: []byte("x")}}); err != nil {
		return err
	}
	r.Bundle.Statements = slices.Clone(r.Bundle.Statements)
	return f.prove(&r.Bundle)
}

// Save writes the package and what lies beside it into dir, and returns its path.
func (r Released) Save(dir string) (string, error) {
	path := filepath.Join(dir, r.Package.Filename())
	files := map[string][]byte{path: r.Signed, path + attest.EnvelopesSuffix: r.Bundle.Envelopes(), path + attest.ProofSuffix: r.Bundle.Proof()}
	if r.Bundle.Log != nil {
		files[path+attest.LogProofSuffix] = r.Bundle.Log
	}
	if r.Bundle.VSA != nil {
		files[path+attest.SummarySuffix] = r.Bundle.VSA
	}
	for name, b := range files {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return "", err
		}
	}
	return path, nil
}
