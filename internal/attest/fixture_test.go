package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

const (
	builder = "https://example.org/builder/apart/v1"
	product = "hello-9"
	commit  = "0123456789abcdef0123456789abcdef01234567"
)

// builtIn is the record of the root that the package was built in.
var builtIn = albs.DigestOf([]byte("old"))

// world is a ledger, the keys of master, signer and releaser, a package's key and a
// package's whole chain.
type world struct {
	ledger   *ledger.Embedded
	signer   *attest.Signer // the master's
	signs    *attest.Signer // the signer's
	releases *attest.Signer // the releaser's
	trust    attest.Trust
	key      *pgp.Key
	unsigned []byte
	signed   []byte
	srpm     albs.Digest
	bundle   attest.Bundle
	n        map[string]int // statements by subject and predicate
}

func master(t testing.TB, seed byte) *attest.Signer {
	t.Helper()
	return attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
}

// newWorld builds and signs a package and states all that there is to state.
func newWorld(t testing.TB) *world {
	t.Helper()
	l, err := ledger.OpenEmbedded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	key, err := pgp.Generate("Hello <hello@example.org>", pgp.Ed25519, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	armored, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	public, err := attest.PackageKey(armored)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ledger: l, signer: master(t, 1), signs: master(t, 3), releases: master(t, 4), key: key, unsigned: built(t, "hello-1-1.noarch.rpm"), n: map[string]int{}}
	w.signed = sign(t, w.unsigned, key)
	w.srpm = albs.DigestOf([]byte("the source package"))
	w.trust = attest.Trust{
		Albs: "trust/v1", Ledger: w.state(t).Ledger, MasterKeys: []string{attest.PublicKey(w.signer.Public())}, PackageKeys: []string{public},
		SignerKeys: []string{attest.PublicKey(w.signs.Public())}, ReleaserKeys: []string{attest.PublicKey(w.releases.Public())},
		Builders: []string{builder}, Products: []string{product}, RequireTest: true, RequireRelease: true,
	}

	w.append(t, "filler/1")
	file, unsigned := w.subject(t, w.signed), w.subject(t, w.unsigned)
	var all []attest.Proven
	add := func(s attest.Subject, predicate string, body any) {
		all = append(all, w.say(t, s, predicate, body))
	}
	add(attest.Subject{Name: "hello-1-1.src.rpm", Digest: map[string]string{attest.SHA256: string(w.srpm)}}, attest.Source, source())
	w.append(t, "filler/2")
	add(unsigned, attest.Build, w.build())
	add(unsigned, attest.Test, attest.TestBody{Result: attest.Failed, FailedTests: []string{"install"}})
	add(unsigned, attest.Test, attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}})
	add(file, attest.Sign, w.signBody())
	add(file, attest.Release, attest.ReleaseBody{Product: product, Repositories: []string{"x86_64/os"}, Release: 3, Serial: 4})
	w.append(t, "filler/3")
	w.bundle = w.prove(t, all...)
	return w
}

func source() attest.SourceBody {
	return attest.SourceBody{Repository: "git+https://example.org/hello", Ref: "main", Commit: commit}
}

func (w *world) build() attest.BuildBody {
	return attest.BuildBody{
		BuildDefinition: attest.BuildDefinition{
			BuildType:          attest.BuildType,
			ExternalParameters: attest.ExternalParameters{Platform: "hello-9", Arch: albs.X8664},
			InternalParameters: attest.InternalParameters{Node: "east", Attempt: 1},
			ResolvedDependencies: []attest.Descriptor{
				{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(w.srpm)}},
				{URI: "git+https://example.org/hello", Digest: map[string]string{attest.GitCommit: commit}},
				{Name: attest.DependencyBuildroot, Digest: map[string]string{attest.SHA256: string(builtIn)}},
			},
		},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: builder}, Metadata: attest.RunMetadata{InvocationID: "task/1/attempt/1"}},
	}
}

func (w *world) signBody() attest.SignBody {
	return attest.SignBody{Unsigned: albs.DigestOf(w.unsigned), Fingerprint: w.key.Fingerprint(), Build: 1, Requester: "alice"}
}

func (w *world) subject(t testing.TB, b []byte) attest.Subject {
	t.Helper()
	p, err := rpm.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return attest.Subject{Name: p.Filename(), Digest: map[string]string{
		attest.SHA256: string(albs.DigestOf(b)), attest.HeaderSHA256: string(p.HeaderSHA256), attest.PayloadSHA256: string(p.PayloadSHA256)}}
}

func (w *world) append(t testing.TB, key string) {
	t.Helper()
	if _, err := w.ledger.Append(t.Context(), []ledger.Entry{{Key: []byte(key), Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) state(t testing.TB) ledger.State {
	t.Helper()
	s, err := w.ledger.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// say has the one who may do so sign a statement, and writes it, with a file record, into
// the ledger.
func (w *world) say(t testing.TB, s attest.Subject, predicate string, body any) attest.Proven {
	t.Helper()
	by := w.signer
	switch predicate {
	case attest.Sign:
		by = w.signs
	case attest.Release:
		by = w.releases
	}
	return w.sayAs(t, by, s, predicate, body)
}

func (w *world) sayAs(t testing.TB, signer *attest.Signer, s attest.Subject, predicate string, body any) attest.Proven {
	t.Helper()
	st, err := attest.New(s, predicate, body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := signer.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	value, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	prefix := fmt.Sprint(s.File(), predicate)
	w.n[prefix]++
	key := attest.StatementKey(s.File(), predicate, w.n[prefix])
	_, err = w.ledger.Append(t.Context(), []ledger.Entry{{Key: []byte(key), Value: value}, {Key: []byte("record/" + key), Value: []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	return attest.Proven{Envelope: e, Key: key}
}

// prove returns the bundle of the statements at the ledger's present state.
func (w *world) prove(t testing.TB, statements ...attest.Proven) attest.Bundle {
	t.Helper()
	now := w.state(t)
	b := attest.Bundle{State: w.signer.SignState(now, time.Now())}
	for _, p := range statements {
		proof, err := w.ledger.Prove(t.Context(), []byte(p.Key), now)
		if err != nil {
			t.Fatal(err)
		}
		p.Proof = proof
		b.Statements = append(b.Statements, p)
	}
	return b
}

func (w *world) verify(t testing.TB, file []byte, b attest.Bundle, trust attest.Trust) (attest.Report, error) {
	t.Helper()
	return attest.Verify(t.Context(), bytes.NewReader(file), int64(len(file)), b, trust)
}

func sign(t testing.TB, unsigned []byte, key *pgp.Key) []byte {
	t.Helper()
	header, err := rpm.Header(bytes.NewReader(unsigned))
	if err != nil {
		t.Fatal(err)
	}
	sig, isRSA, err := key.Sign(header)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rpm.Splice(&out, bytes.NewReader(unsigned), sig, isRSA); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packages are a small package and its source package, built with the real tool, once.
var packages = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build(strings.Join([]string{
		"Name: hello", "Version: 1", "Release: 1", "Summary: Hello", "License: MIT", "BuildArch: noarch",
		"%description", "Hello.", "%install", "mkdir -p %{buildroot}/usr/share/hello", "echo hello > %{buildroot}/usr/share/hello/hello",
		"%files", "/usr/share/hello/hello", "",
	}, "\n"))
})

// built returns one of packages by its file name.
func built(t testing.TB, name string) []byte {
	t.Helper()
	made, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	return made[name]
}
