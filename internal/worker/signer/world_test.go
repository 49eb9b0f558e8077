package signer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/keyfile"
	"albs/internal/ledger"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
	"albs/internal/telemetry/telemetrytest"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

const (
	builderID  = "https://example.org/builder/v1"
	passphrase = "correct-horse-canary-staple"
	userID     = "Demo <demo@example.org>"
)

// rpms are two small packages by rpmbuild.
var rpms = sync.OnceValues(func() ([][]byte, error) {
	var out [][]byte
	for _, name := range []string{"hello", "world"} {
		made, err := rpmtest.Build(fmt.Sprintf(`Name: %[1]s
Version: 1.0
Release: 1
Summary: A small package
License: MIT
BuildArch: noarch
%%description
Small.
%%install
mkdir -p %%{buildroot}/usr/share/%[1]s
echo %[1]s > %%{buildroot}/usr/share/%[1]s/file
%%files
/usr/share/%[1]s
`, name))
		if err != nil {
			return nil, err
		}
		out = append(out, made[name+"-1.0-1.noarch.rpm"])
	}
	return out, nil
})

// world is a master's ledger and statements, a fake master that leases, and a
// signer's directory with one key.
type world struct {
	ledger   *ledger.Embedded
	master   *attest.Signer
	fake     *workertest.Fake
	config   Config
	key      *pgp.Key
	packages [][]byte
	files    []albs.File
	said     map[albs.Digest][]attest.Proven // about what is to be signed, and what it rests on
	n        map[string]int
	log      *telemetrytest.Log

	tasks      int   // that were run
	operations int64 // uses of private keys by all signers that have ended

	engines *engines // in place of the host's, if it isn't nil
	// get answers for the master when a blob is asked for, if it isn't nil; shutdown
	// ends the signer.
	get func(ctx context.Context, shutdown func(), d albs.Digest) []byte
}

// liar is a master that sends what get says.
type liar struct {
	worker.Master
	get func(ctx context.Context, d albs.Digest) []byte
}

// Get implements worker.Master.
func (l liar) Get(ctx context.Context, _ worker.Token, d albs.Digest, _, _ int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.get(ctx, d))), nil
}

// start is Run, with another engine if the world has one.
func (w *world) start(ctx context.Context, m worker.Master) error {
	s, err := open(ctx, w.config, zerolog.New(w.log))
	if err != nil {
		return err
	}
	defer s.close()
	if w.engines != nil {
		s.engines = *w.engines
	} else if s.engines, err = findEngines(); err != nil {
		return err
	}
	defer func() { w.operations += s.operations.Load() }()
	return s.work(ctx, w.config.Spool, "test", m)
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t *testing.T, products ...string) *world {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmkeys", "gpgv", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	w := &world{
		ledger: must[*ledger.Embedded](t)(ledger.OpenEmbedded(t.TempDir())), fake: workertest.NewFake(),
		master:   attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))),
		packages: must[[][]byte](t)(rpms()), said: map[albs.Digest][]attest.Proven{}, n: map[string]int{}, log: &telemetrytest.Log{},
	}
	t.Cleanup(func() { w.ledger.Close() })
	dir := t.TempDir()
	w.config = Config{Dir: filepath.Join(dir, "signer"), Spool: filepath.Join(dir, "spool"), PassphraseFile: filepath.Join(dir, "passphrase")}
	if err := os.WriteFile(w.config.PassphraseFile, []byte(passphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.filler(t) // a ledger without an entry has no state to prove from
	w.config.Trust = &attest.Trust{
		Albs: "trust/v1", Ledger: w.state(t).Ledger, MasterKeys: []string{attest.PublicKey(w.master.Public())}, Builders: []string{builderID},
	}
	if err := os.MkdirAll(filepath.Join(w.config.Dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.config.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.key = must[*pgp.Key](t)(pgp.Generate(userID, pgp.Ed25519, time.Now()))
	store := must[*keys](t)(openKeys(w.config.Dir, []byte(passphrase), nil, ""))
	if err := store.add(w.key, keyFile{UserID: userID, Algorithm: pgp.Ed25519, Products: products}); err != nil {
		t.Fatal(err)
	}

	srpm := albs.DigestOf([]byte("the source package"))
	source := w.say(t, attest.Subject{Name: "hello.src.rpm", Digest: map[string]string{attest.SHA256: string(srpm)}}, attest.Source, attest.SourceBody{Uploader: "ada"})
	for _, b := range w.packages {
		p := must[*rpm.Package](t)(rpm.Read(bytes.NewReader(b)))
		d := w.fake.AddBlob(b)
		w.files = append(w.files, albs.File{Name: p.Filename(), Digest: d, Size: int64(len(b))})
		built := w.say(t, subjectOf(p, d), attest.Build, attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType:            attest.BuildType,
				ExternalParameters:   attest.ExternalParameters{Platform: "el9", Arch: "x86_64"},
				ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm)}}},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: builderID}},
		})
		w.said[d] = []attest.Proven{built, source}
	}
	return w
}

func subjectOf(p *rpm.Package, d albs.Digest) attest.Subject {
	return attest.Subject{Name: p.Filename(), Digest: map[string]string{
		attest.SHA256: string(d), attest.HeaderSHA256: string(p.HeaderSHA256), attest.PayloadSHA256: string(p.PayloadSHA256),
	}}
}

func (w *world) state(t *testing.T) ledger.State {
	t.Helper()
	return must[ledger.State](t)(w.ledger.State(t.Context()))
}

// filler lets the ledger go on.
func (w *world) filler(t *testing.T) {
	t.Helper()
	w.n["filler"]++
	must[ledger.Receipt](t)(w.ledger.Append(t.Context(), []ledger.Entry{{Key: fmt.Append(nil, "filler/", w.n["filler"]), Value: []byte("x")}}))
}

// say puts a statement of the master into the ledger.
func (w *world) say(t *testing.T, s attest.Subject, predicate string, body any) attest.Proven {
	t.Helper()
	return w.sayAs(t, w.master, s, predicate, body)
}

func (w *world) sayAs(t *testing.T, as *attest.Signer, s attest.Subject, predicate string, body any) attest.Proven {
	t.Helper()
	e := must[attest.Envelope](t)(as.Sign(must[attest.Statement](t)(attest.New(s, predicate, body))))
	n := fmt.Sprint(s.File(), predicate)
	w.n[n]++
	key := attest.StatementKey(s.File(), predicate, w.n[n])
	must[ledger.Receipt](t)(w.ledger.Append(t.Context(), []ledger.Entry{{Key: []byte(key), Value: must[[]byte](t)(e.Encode())}}))
	return attest.Proven{Envelope: e, Key: key}
}

// evidence is what the master shows of things, to a signer that knows the ledger
// up to from.
func (w *world) evidence(t *testing.T, from uint64, statements ...attest.Proven) attest.Evidence {
	t.Helper()
	now := w.state(t)
	e := attest.Evidence{Bundle: attest.Bundle{State: w.master.SignState(now, time.Now())}}
	seen := map[string]bool{}
	for _, p := range statements {
		if seen[p.Key] {
			continue
		}
		seen[p.Key] = true
		p.Proof = must[ledger.Proof](t)(w.ledger.Prove(t.Context(), []byte(p.Key), now))
		e.Statements = append(e.Statements, p)
	}
	if from != 0 && from != now.TxID {
		c := must[ledger.Consistency](t)(w.ledger.Consistency(t.Context(), from, now.TxID))
		e.Consistency = &c
	}
	return e
}

// intend states that the next task is to sign files as why says; what that leaves out
// is the world's key, the product demo and the next task.
func (w *world) intend(t *testing.T, why attest.SignIntentBody, files ...albs.File) []attest.Proven {
	t.Helper()
	why.Task = cmp.Or(why.Task, albs.TaskID(w.tasks+1))
	why.Fingerprint, why.Product = cmp.Or(why.Fingerprint, w.key.Fingerprint()), cmp.Or(why.Product, "demo")
	var out []attest.Proven
	for _, f := range files {
		about := attest.Subject{Name: f.Name, Digest: map[string]string{attest.SHA256: string(f.Digest)}}
		out = append(out, w.say(t, about, attest.SignIntent, why))
	}
	return out
}

// about are the statements of files, and that the next task is to sign them.
func (w *world) about(t *testing.T, files ...albs.File) []attest.Proven {
	t.Helper()
	out := w.intend(t, attest.SignIntentBody{Requester: "ada"}, files...)
	for _, f := range files {
		out = append(out, w.said[f.Digest]...)
	}
	return out
}

// known is the transaction that the signer remembers.
func (w *world) known(t *testing.T) uint64 {
	t.Helper()
	return must[attest.SignedState](t)(readState(w.config.Dir)).State.TxID
}

// run has a signer do the task and returns how it ended.
func (w *world) run(t *testing.T, task workertest.Task, evidence json.RawMessage) (albs.TaskID, albs.Outcome, albs.Result) {
	t.Helper()
	id := w.fake.Add(task, evidence)
	w.tasks++
	// An attempt that ends as infra is queued again: the first one tells.
	outcome, r := w.attempt(t, id, 1)
	return id, outcome, r
}

// attempt has a signer work until the attempt at a task has ended, and returns how.
func (w *world) attempt(t *testing.T, id albs.TaskID, n int) (albs.Outcome, albs.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	labels := []string{"kind:sign", "kind:keygen"}
	for _, path := range must[[]string](t)(filepath.Glob(filepath.Join(w.config.Dir, "keys", "*.json"))) {
		labels = append(labels, "key:"+strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	master := w.fake.As(w.fake.AddWorker(labels...))
	if w.get != nil {
		master = liar{master, func(ctx context.Context, d albs.Digest) []byte { return w.get(ctx, cancel, d) }}
	}
	go func() { done <- w.start(ctx, master) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	for end := time.After(60 * time.Second); ; {
		changed := w.fake.Changed()
		if outcome, r := w.fake.Result(id, n); outcome != "" {
			return outcome, r
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("the task doesn't end; the signer's log:\n%s", w.log)
		}
	}
}

// statementKey is the key of the signer's own statements as its file has it now.
func (w *world) statementKey(t *testing.T) ed25519.PublicKey {
	t.Helper()
	return must[ed25519.PrivateKey](t)(keyfile.LoadOrCreate(filepath.Join(w.config.Dir, "statement.key"))).Public().(ed25519.PublicKey)
}

func (w *world) sign(t *testing.T, spec albs.SignSpec, e attest.Evidence) (albs.Outcome, albs.Result) {
	t.Helper()
	_, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Sign: &spec}}, e.Encode())
	return outcome, r
}

// journal is the signer's journal as it stands.
func (w *world) journal(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.config.Dir, "journal.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

// intents counts the signatures that were about to be made.
func (w *world) intents(t *testing.T) int {
	t.Helper()
	return strings.Count(w.journal(t), `"event":"intent"`)
}

// secretFree fails the test if something that leaves the signer, or its journal,
// has the passphrase or a piece of the private key.
func (w *world) secretFree(t *testing.T, texts ...string) {
	t.Helper()
	texts = append(texts, w.log.String())
	for _, name := range []string{"journal.jsonl", "state.json"} {
		b, err := os.ReadFile(filepath.Join(w.config.Dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	canaries := []string{passphrase, "PRIVATE KEY"}
	files := must[[]string](t)(filepath.Glob(filepath.Join(w.config.Dir, "keys", "*.json")))
	for _, path := range files {
		var k keyFile
		if err := json.Unmarshal(must[[]byte](t)(os.ReadFile(path)), &k); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(k.Private, "\n") {
			if len(line) > 40 && !strings.Contains(k.Public, line) {
				canaries = append(canaries, line[:40])
			}
		}
	}
	if len(canaries) < 4 {
		t.Fatal("no line of a private key to look for")
	}
	for _, text := range texts {
		for _, c := range canaries {
			if strings.Contains(text, c) {
				t.Errorf("%.20q… is in what the signer says:\n%.2000s", c, text)
			}
		}
	}
}
