package sign

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	builds "albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/testrun"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
	"albs/internal/worker"
	"albs/internal/worker/signer"
	"albs/internal/worker/workertest"
)

const builderID = "https://example.org/builder/v1"

// rpms are one source package and the two packages built from it, by rpmbuild.
var rpms = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build(`Name: hello
Version: 1.0
Release: 1
Summary: A small package
License: MIT
BuildArch: noarch
%description
Small.
%package doc
Summary: More of it
%description doc
Words.
%install
mkdir -p %{buildroot}/usr/share/hello
echo hello > %{buildroot}/usr/share/hello/file
echo words > %{buildroot}/usr/share/hello/doc
%files
/usr/share/hello/file
%files doc
/usr/share/hello/doc
`)
})

// fixture is a master with one build of real packages, which has succeeded.
type fixture struct {
	*Signing
	d       *db.DB
	prov    *provenance.Provenance
	admin   context.Context
	signer  auth.Actor
	build   albs.BuildID
	rpms    []artifact.Artifact // the SRPM last
	deliver func()              // starts the outbox
}

func setup(t *testing.T, d *db.DB, productName string) *fixture {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmkeys", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := rpms()
	must(err)
	m := mastertest.Open(t, d, mastertest.Config{Queue: queue.Config{Backoff: 50 * time.Millisecond}})
	builds := build.New(build.Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Log: zerolog.Nop(),
	}, build.Config{})
	tests := testrun.New(testrun.Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, References: m.References, Products: m.Products, Repos: m.Repos, Builds: builds, Log: zerolog.Nop(),
	})
	f := &fixture{d: d, prov: m.Provenance, Signing: New(Parts{
		DB: d, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Products: m.Products, Builds: builds, Tests: tests,
	})}
	f.admin = auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "ada", Grants: []auth.Grant{{Role: auth.Admin}}})
	f.signer = auth.Actor{Kind: auth.KindWorker, Worker: 1, Name: "s1", Role: albs.RoleSigner, Labels: []string{"kind:sign", "kind:keygen", "key:*"}}
	_, err = m.Platforms.Apply(f.admin, mastertest.Platform("el", albs.X8664))
	must(err)
	if productName != "" {
		_, err = m.Products.Apply(f.admin, product.Spec{
			Name: productName, Team: "core", Platforms: []string{"el"},
			Repositories: []product.Repository{{Path: "el/x86_64", Platform: "el", Arch: albs.X8664, Kind: product.RPM}},
			Gate:         product.Gate{Tests: product.Required}, Approvals: product.Approvals{Count: 1},
		})
		must(err)
	}

	var srpm artifact.Artifact
	for name, b := range files {
		kind := artifact.RPM
		if strings.HasSuffix(name, ".src.rpm") {
			kind = artifact.SRPM
		}
		a, err := m.Artifacts.Save(t.Context(), bytes.NewReader(b), 1<<20, name, kind)
		must(err)
		if kind == artifact.SRPM {
			srpm = a
		} else {
			f.rpms = append(f.rpms, a)
		}
	}
	f.rpms = append(f.rpms, srpm)
	must(d.InTx(t.Context(), func(tx db.Tx) error {
		if err := m.Artifacts.Add(t.Context(), tx, f.rpms...); err != nil {
			return err
		}
		if err := tx.GetContext(t.Context(), &f.build, `INSERT INTO build (owner_id, owner, team, product, options, created_at)
			VALUES (1, 'olga', '', $1, '{}', $2) RETURNING id`, productName, db.Now()); err != nil {
			return err
		}
		var item albs.ItemID
		if err := tx.GetContext(t.Context(), &item, `INSERT INTO build_item (build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm, srpm_name)
			VALUES ($1, 0, 'el', '["x86_64"]', '', '', '', '', 'hello', $2, $3) RETURNING id`, f.build, srpm.Digest, srpm.Name); err != nil {
			return err
		}
		for _, a := range f.rpms {
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
				VALUES ($1, $2, 0, 1, $3, $4, $5, 'x86_64')`, f.build, item, a.Digest, string(a.Kind), a.Name); err != nil {
				return err
			}
		}
		if err := f.prov.State(t.Context(), tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(srpm)}, Predicate: attest.Source, Body: attest.SourceBody{Uploader: "ada"},
			Files: []artifact.Artifact{srpm},
		}); err != nil {
			return err
		}
		fact := provenance.Fact{Predicate: attest.Build, Files: f.rpms[:2], Body: attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType: attest.BuildType, ExternalParameters: attest.ExternalParameters{Platform: "el", Arch: albs.X8664},
				ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: builderID}},
		}}
		for _, a := range f.rpms[:2] {
			fact.Subjects = append(fact.Subjects, provenance.SubjectOf(a))
		}
		return f.prov.State(t.Context(), tx, fact)
	}))

	mastertest.Run(t, m.Queue.Run, m.Events.Run)
	f.deliver = func() { mastertest.Run(t, f.prov.Run) }
	return f
}

// worker starts a signer over the fixture's queue and returns its directory.
func (f *fixture) worker(t *testing.T) string {
	t.Helper()
	trust, err := f.prov.Trust(t.Context(), attest.Trust{Builders: []string{builderID}})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "signer")
	c := signer.Config{Dir: dir, Spool: filepath.Join(t.TempDir(), "spool"), Trust: &trust}
	master := workertest.As(f.queue, func(ctx context.Context) context.Context { return auth.With(ctx, f.signer) })
	mastertest.Run(t, func(ctx context.Context) error { return signer.Run(ctx, c, "test", master, zerolog.Nop()) })
	return dir
}

// stranger returns the trust of somebody who has this public key and what albs trust tells
// now.
func (f *fixture) stranger(t *testing.T, public []byte) attest.Trust {
	t.Helper()
	trust, err := f.prov.Trust(t.Context(), attest.Trust{Builders: []string{builderID}, PackageKeys: []string{string(public)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(trust.SignerKeys) != 1 || trust.SignerKeys[0] == trust.MasterKeys[0] {
		t.Errorf("the signer's keys are %q, want one of its own", trust.SignerKeys)
	}
	return trust
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// key has a key made and returns it.
func (f *fixture) key(t *testing.T, name, alg string, products ...string) Key {
	t.Helper()
	task, err := f.GenerateKey(f.admin, NewKey{Name: name, UserID: "Demo <demo@example.org>", Algorithm: alg, Products: products})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the key is made", func() bool {
		k, err := f.Keygen(t.Context(), task)
		if err != nil || k.Task.State == albs.TaskFailed {
			t.Fatalf("Keygen = %+v, %v", k, err)
		}
		return k.Fingerprint != ""
	})
	k, err := f.Key(t.Context(), name)
	if err != nil || !k.Active || k.Algorithm != alg {
		t.Fatalf("Key = %+v, %v", k, err)
	}
	return k
}

func (f *fixture) ended(t *testing.T, id int64) Request {
	t.Helper()
	var r Request
	until(t, "the request has ended", func() bool {
		var err error
		if r, err = f.Request(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return r.Status == Completed || r.Status == Failed
	})
	return r
}

// told counts the events of a kind.
func (f *fixture) told(t *testing.T, kind string) int {
	t.Helper()
	var n int
	if err := f.d.GetContext(t.Context(), &n, `SELECT count(*) FROM event WHERE kind = $1`, kind); err != nil {
		t.Fatal(err)
	}
	return n
}

// tried holds what was stated about signing d, in the ledger's order, to want: each
// intent has its result behind it.
func (f *fixture) tried(t *testing.T, d albs.Digest, want ...string) (results []attest.SignResultBody) {
	t.Helper()
	events, err := f.prov.History(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		if e.Subject != d || e.Predicate != attest.SignIntent && e.Predicate != attest.SignResult {
			continue
		}
		got = append(got, e.Predicate)
		if e.Predicate == attest.SignResult {
			var r attest.SignResultBody
			if err := e.Statement.Body(&r); err != nil || r.Task == 0 || r.Fingerprint == "" || r.Signature.Valid() == (r.Reason != "") {
				t.Errorf("the result is %+v, %v", r, err)
			}
			results = append(results, r)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("of signing %s is stated %q, want %q", d.Short(), got, want)
	}
	return results
}

// intended holds the number of intents without a result to want.
func (f *fixture) intended(t *testing.T, want int) {
	t.Helper()
	if n, err := f.Intended(t.Context()); err != nil || n != want {
		t.Errorf("Intended = %d, %v; want %d", n, err, want)
	}
}

func TestSignBuild(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "")
		dir := f.worker(t)
		k := f.key(t, "demo", pgp.Ed25519)
		if _, err := f.GenerateKey(f.admin, NewKey{Name: "demo", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519}); albs.KindOf(err) != albs.Conflict {
			t.Errorf("a second key of the name = %v", err)
		}
		r, err := f.SignBuild(f.admin, f.build, "demo")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := f.SignBuild(f.admin, f.build, k.Fingerprint); err != nil || again.ID != r.ID {
			t.Errorf("the same request again = %+v, %v", again, err)
		}
		stays := func(when string) {
			if err := f.builds.Delete(f.admin, f.build); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "are signed") {
				t.Errorf("Delete of a build %s = %v, want Conflict", when, err)
			}
		}
		stays("that is being signed")
		f.intended(t, 3)
		// Nothing goes out before the ledger has it.
		time.AfterFunc(200*time.Millisecond, f.deliver)
		if r = f.ended(t, r.ID); r.Status != Completed {
			t.Fatalf("the request ended as %v: %s", r.Status, r.Reason)
		}
		stays("that is signed")
		f.intended(t, 0)
		if len(r.Packages) != 3 {
			t.Errorf("%d packages were signed, want 3", len(r.Packages))
		}
		if f.told(t, EventSigned) != 1 || f.told(t, "sign.failed") != 0 {
			t.Errorf("the end was told as %d signed, %d failed", f.told(t, EventSigned), f.told(t, "sign.failed"))
		}
		if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "already signed") {
			t.Errorf("a signed build asked for again = %v", err)
		}
		var ds []albs.Digest
		for _, a := range f.rpms {
			ds = append(ds, a.Digest)
		}
		signed, err := f.Signed(t.Context(), ds, k.Fingerprint)
		if err != nil || len(signed) != 3 {
			t.Fatalf("Signed = %v, %v", signed, err)
		}
		kr, err := rpm.ReadKeyring(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range f.rpms {
			a := signed[u.Digest]
			if a.Unsigned != u.Digest || a.SignedBy != k.Fingerprint || a.Name != u.Name || a.HeaderSHA256 != u.HeaderSHA256 {
				t.Errorf("the signed copy of %s is %+v", u.Name, a)
			}
			if err := f.prov.WaitNotarized(t.Context(), a.Digest, u.Digest); err != nil {
				t.Fatal(err)
			}
			f.tried(t, u.Digest, attest.SignIntent, attest.SignResult)
			b, err := f.artifacts.Blobs().Open(t.Context(), a.Digest)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if v, err := rpm.Verify(io.NewSectionReader(b, 0, b.Size()), kr); err != nil || v.Fingerprint != k.Fingerprint {
				t.Errorf("rpm.Verify(%s) = %v, %v", u.Name, v, err)
			}
			bundle, err := f.prov.Bundle(t.Context(), a.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := attest.Verify(t.Context(), b, b.Size(), bundle, f.stranger(t, k.Public)); err != nil {
				t.Errorf("a stranger doesn't believe %s: %v", u.Name, err)
			}
		}
		// The journal tells of each, and of nothing secret.
		journal, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
		if err != nil || bytes.Count(journal, []byte(`"intent"`)) != 4 || bytes.Count(journal, []byte(`"result"`)) != 4 {
			t.Errorf("the journal is %s, %v", journal, err)
		}
		if err := f.Deactivate(f.admin, "demo"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "not active") {
			t.Errorf("signing with a key that isn't active = %v", err)
		}
	})
}

// TestChangedMeanwhile: a build that is deleted, or whose packages are replaced, while
// somebody asks for its signatures gets none.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "")
		b, err := f.builds.Get(t.Context(), f.build)
		if err != nil {
			t.Fatal(err)
		}
		packages, err := f.packages(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		k := keyRow{Fingerprint: "k", Name: "demo", Algorithm: pgp.Ed25519, CreatedAt: db.Now(), Active: true}
		if err := d.InTx(t.Context(), func(tx db.Tx) error { return f.store.addKey(t.Context(), tx, k) }); err != nil {
			t.Fatal(err)
		}
		row := requestRow{BuildID: f.build, Key: k.Fingerprint, Requester: "ada", CreatedAt: db.Now()}
		if err := d.InTx(t.Context(), func(tx db.Tx) error { return builds.Retire(t.Context(), tx, b.Items[0].ID) }); err != nil {
			t.Fatal(err)
		}
		if err := f.open(f.admin, &row, b, packages, nil); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "were replaced") {
			t.Errorf("a request for packages that were replaced meanwhile = %v, want Conflict", err)
		}
		if err := f.builds.Delete(f.admin, f.build); err != nil {
			t.Fatal(err)
		}
		if err := f.open(f.admin, &row, b, packages, nil); albs.KindOf(err) != albs.NotFound || !strings.Contains(err.Error(), "was deleted by ada") {
			t.Errorf("a request for a build that was deleted meanwhile = %v, want NotFound that says by whom", err)
		}
		if r, _, err := f.Requests(t.Context(), Filter{Build: f.build}); err != nil || len(r) > 0 {
			t.Errorf("the requests are %+v, %v", r, err)
		}
	})
}

func TestDocument(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "demo")
		f.deliver()
		f.worker(t)
		k := f.key(t, "demo key", pgp.Ed25519, "demo")
		doc := []byte("<repomd/>")
		file := albs.File{Name: "repomd.xml", Digest: albs.DigestOf(doc), Size: int64(len(doc))}
		if _, err := f.artifacts.Blobs().Put(t.Context(), file.Digest, bytes.NewReader(doc)); err != nil {
			t.Fatal(err)
		}
		enqueue := func(product string, files ...albs.File) (id albs.TaskID, err error) {
			err = d.InTx(t.Context(), func(tx db.Tx) error {
				ids, err := f.SignDocuments(t.Context(), tx, Documents{Files: append(files, file), Product: product, Key: "demo key"})
				if err == nil && len(ids) != 1+min(len(files), 1) {
					t.Errorf("there are the tasks %v for %d documents", ids, 1+len(files))
				}
				if err == nil {
					id = ids[len(ids)-1]
				}
				return err
			})
			return id, err
		}
		if _, err := enqueue("other"); albs.KindOf(err) != albs.Conflict {
			t.Errorf("SignDocuments for a product that the key isn't for = %v", err)
		}
		first, err := enqueue("demo")
		if err != nil {
			t.Fatal(err)
		}
		until(t, "what nobody approved is refused", func() bool {
			task, err := f.queue.Task(t.Context(), first)
			return err == nil && task.State == albs.TaskFailed && strings.Contains(task.Reason, "nobody approved")
		})
		f.intended(t, 0)
		approve := func(file albs.File, product string) {
			t.Helper()
			err := d.InTx(t.Context(), func(tx db.Tx) error {
				return f.prov.State(t.Context(), tx, provenance.Fact{
					Subjects:  []attest.Subject{{Name: file.Name, Digest: map[string]string{attest.SHA256: string(file.Digest)}}},
					Predicate: attest.ReleaseApproved,
					Body: attest.ReleaseApprovedBody{
						Product: product, Repository: "el/x86_64", Release: 1, Snapshot: albs.DigestOf([]byte("snapshot")), Plan: albs.DigestOf([]byte("plan")),
						Approvals: []attest.ApprovedBy{{Person: "ada", At: time.Now().UTC()}},
					},
				})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		approve(file, "demo")
		// The approval of one document is none of another, nor for another product.
		foreign := albs.File{Name: "repomd.xml", Digest: albs.DigestOf([]byte("foreign")), Size: 7}
		approve(foreign, "other")
		until(t, "everything is notarized", func() bool {
			n, err := f.prov.Pending(t.Context())
			return err == nil && n == 0
		})
		row := documentRow{Digest: foreign.Digest, Name: foreign.Name, Size: foreign.Size, Key: k.Fingerprint, Product: "demo"}
		if err := (signHandler{f.Signing}).approved(t.Context(), row); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "nobody approved") {
			t.Errorf("what was approved for another product: %v", err)
		}
		second, err := enqueue("demo")
		if err != nil || second == first {
			t.Fatalf("SignDocuments after a refusal = %v, %v", second, err)
		}
		var sig []byte
		until(t, "the document is signed", func() bool {
			sig, err = f.DocumentSignature(t.Context(), file.Digest, "demo key")
			return err == nil
		})
		if again, err := enqueue("demo"); err != nil || again != second {
			t.Errorf("SignDocuments of a signed one = %v, %v; want task %v", again, err, second)
		}
		// Others beside it are one task more, whose documents fail or are signed together.
		var others []albs.File
		for _, text := range []string{"<repomd>one</repomd>", "<repomd>two</repomd>"} {
			o := albs.File{Name: "repomd.xml", Digest: albs.DigestOf([]byte(text)), Size: int64(len(text))}
			if _, err := f.artifacts.Blobs().Put(t.Context(), o.Digest, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			others = append(others, o)
		}
		approve(others[0], "demo")
		half, err := enqueue("demo", others...)
		if err != nil || half == second {
			t.Fatalf("SignDocuments of two others = %v, %v", half, err)
		}
		until(t, "a task of which nobody approved one document is refused", func() bool {
			task, err := f.queue.Task(t.Context(), half)
			return err == nil && task.State == albs.TaskFailed && strings.Contains(task.Reason, "nobody approved")
		})
		approve(others[1], "demo")
		if whole, err := enqueue("demo", others...); err != nil || whole == half {
			t.Fatalf("SignDocuments of two others, approved = %v, %v", whole, err)
		}
		until(t, "both are signed", func() bool {
			for _, o := range others {
				if _, err := f.DocumentSignature(t.Context(), o.Digest, "demo key"); err != nil {
					return false
				}
			}
			return true
		})
		kr, err := pgp.ReadKeyring(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		if fpr, _, err := kr.VerifyArmored(bytes.NewReader(doc), sig); err != nil || fpr != k.Fingerprint {
			t.Errorf("the signature is by %s, %v", fpr, err)
		}
		f.intended(t, 0)
		results := f.tried(t, file.Digest, attest.SignIntent, attest.SignResult, attest.SignIntent, attest.SignResult)
		if len(results) != 2 || !strings.Contains(results[0].Reason, "nobody approved") || results[1].Signature != albs.DigestOf(sig) {
			t.Errorf("the results are %+v", results)
		}
	})
}

// TestExchangedKey has somebody exchange the public part of a key in the database, and
// report signatures by the exchanged one.
func TestExchangedKey(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)), "")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	registered, err := pgp.Generate("Demo <demo@example.org>", pgp.Ed25519, time.Now())
	must(err)
	other, err := pgp.Generate("Demo <demo@example.org>", pgp.Ed25519, time.Now())
	must(err)
	j := job{key: Key{Fingerprint: registered.Fingerprint(), Name: "demo"}}
	j.key.Public, err = other.Public()
	must(err)
	h := signHandler{f.Signing}

	doc := []byte("<repomd/>")
	d := albs.DigestOf(doc)
	j.documents = []documentRow{{Digest: d, Name: "repomd.xml", Size: int64(len(doc)), Key: j.key.Fingerprint}}
	_, err = f.artifacts.Blobs().Put(t.Context(), d, bytes.NewReader(doc))
	must(err)
	armored, err := other.SignArmored(bytes.NewReader(doc))
	must(err)
	if _, err := h.admitDocuments(t.Context(), queue.Lease{}, j, map[albs.Digest][]byte{d: armored}); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "by key") {
		t.Errorf("a document's signature by an exchanged key: %v", err)
	}

	a := f.rpms[0]
	blob, err := f.artifacts.Blobs().Open(t.Context(), a.Digest)
	must(err)
	defer blob.Close()
	header, err := rpm.Header(blob)
	must(err)
	sig, _, err := other.Sign(header)
	must(err)
	kr, err := rpm.ReadKeyring(j.key.Public)
	must(err)
	row := packageRow{Unsigned: a.Digest, Kind: string(a.Kind), Name: a.Name, Size: a.Size}
	if _, err := h.splice(t.Context(), row, sig, j.key, kr); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "by key") {
		t.Errorf("a package's signature by an exchanged key: %v", err)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)), "demo")
	f.worker(t)
	f.key(t, "demo", pgp.Ed25519, "demo")
	if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "requires passed tests") {
		t.Errorf("SignBuild of what was never tested = %v", err)
	}
	// The gate is asked again when the packages go out, and then there is no way back.
	waiting := job{request: requestRow{BuildID: f.build, Product: "demo"}}
	for _, a := range f.rpms {
		waiting.packages = append(waiting.packages, packageRow{Unsigned: a.Digest, Kind: string(a.Kind), Name: a.Name})
	}
	if err := (signHandler{f.Signing}).offerable(t.Context(), waiting); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "requires passed tests") {
		t.Errorf("offering what was never tested = %v", err)
	}
	if err := f.gate(t.Context(), f.build, "demo", waiting.packages[2:]); err != nil {
		t.Errorf("the gate asks for tests of a source package: %v", err)
	}
	// What was never tested goes by a waiver that says so, and by no other.
	for _, untested := range []bool{false, true} {
		for _, p := range waiting.packages[:2] {
			w, err := f.tests.Waive(f.admin, testrun.NewWaiver{Build: f.build, Package: string(p.Unsigned), Untested: untested, Reason: "no tester", Days: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := f.tests.EndWaiver(f.admin, w.ID, "no more"); err != nil {
					t.Error(err)
				}
			}()
		}
		if err := f.gate(t.Context(), f.build, "demo", waiting.packages); (err == nil) != untested {
			t.Errorf("the gate, with what was never tested waived too %v: %v", untested, err)
		}
	}
	eve := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 7, Name: "eve", Grants: []auth.Grant{{Role: auth.Operator}}})
	if _, err := f.SignBuild(eve, f.build, "demo"); albs.KindOf(err) != albs.Forbidden {
		t.Errorf("SignBuild by an operator = %v", err)
	}
	if _, err := f.GenerateKey(eve, NewKey{Name: "eve", UserID: "Eve <eve@example.org>", Algorithm: pgp.Ed25519, Products: []string{"demo"}}); albs.KindOf(err) != albs.Forbidden {
		t.Errorf("GenerateKey by an operator = %v", err)
	}
	for name, bad := range map[string][2]string{
		"a fingerprint as name": {strings.Repeat("AB", 20), "A <a@example.org>"},
		"a path as name":        {"../key", "A <a@example.org>"},
		"no user id":            {"key", "<>"},
	} {
		if _, err := f.GenerateKey(f.admin, NewKey{Name: bad[0], UserID: bad[1], Algorithm: pgp.Ed25519}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("GenerateKey with %s = %v", name, err)
		}
	}
	if _, err := f.GenerateKey(f.admin, NewKey{Name: "old", UserID: "A <a@example.org>", Algorithm: "dsa1024"}); albs.KindOf(err) != albs.Invalid {
		t.Errorf("GenerateKey of an unknown algorithm = %v", err)
	}

	err := f.d.InTx(t.Context(), func(tx db.Tx) error {
		task, err := f.queue.Enqueue(t.Context(), tx, queue.NewTask{Kind: albs.KindBuild, Lane: "user:olga", Topic: build.Topic(f.build)})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(t.Context(), `INSERT INTO build_task (task_id, build_id, item_id, kind, arch)
			VALUES ($1, $2, (SELECT id FROM build_item WHERE build_id = $2), 'build', 'x86_64')`, task, f.build)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.SignBuild(f.admin, f.build, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "can't be signed") {
		t.Errorf("SignBuild of what is still being built = %v", err)
	}
}

// TestAdmit has somebody with a signer's identity and another key report.
func TestAdmit(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "")
		f.deliver()
		k, err := pgp.Generate("Demo <demo@example.org>", pgp.Ed25519, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		me := auth.With(t.Context(), f.signer)
		claim := func(labels ...string) *worker.Lease {
			t.Helper()
			l, err := f.queue.Claim(me, offer(labels...))
			if err != nil || l == nil {
				t.Fatalf("Claim = %v, %v", l, err)
			}
			return l
		}
		if _, err := f.GenerateKey(f.admin, NewKey{Name: "demo", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519}); err != nil {
			t.Fatal(err)
		}
		public, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		// A wish for a key ends with a key or without one; it is never left open.
		l := claim("kind:keygen")
		if err := f.queue.Complete(me, l.Token, albs.OutcomeExcluded, albs.Result{}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("a key that is excluded: Complete = %v", err)
		}
		if _, err := f.GenerateKey(f.admin, NewKey{Name: "demo", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519}); err != nil {
			t.Fatalf("GenerateKey after a refused report = %v", err)
		}
		l = claim("kind:keygen")
		if err := f.queue.Complete(me, l.Token, albs.OutcomeOK, albs.Result{Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: public}}); err != nil {
			t.Fatal(err)
		}

		other, err := pgp.Generate("Demo <demo@example.org>", pgp.Ed25519, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.GenerateKey(f.admin, NewKey{Name: "second", UserID: "Demo <demo@example.org>", Algorithm: pgp.Ed25519}); err != nil {
			t.Fatal(err)
		}
		l = claim("kind:keygen")
		again := albs.Result{Keygen: &albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: public}}
		if err := f.queue.Complete(me, l.Token, albs.OutcomeOK, again); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "registered already") {
			t.Errorf("a key that is registered already: Complete = %v", err)
		}
		bad := misstated(t, k)
		maps.Copy(bad, map[string]func(l worker.Lease) albs.Result{
			"by another key": func(l worker.Lease) albs.Result { return report(t, l, other, same, states, nil) },
			"of another package": func(l worker.Lease) albs.Result {
				return report(t, l, k, func(i int) int { return (i + 1) % 3 }, states, nil)
			},
			"garbage": func(l worker.Lease) albs.Result {
				r := report(t, l, k, same, states, nil)
				r.Sign.Signatures[1].Bytes = []byte("x")
				return r
			},
			"one is missing": func(l worker.Lease) albs.Result {
				r := report(t, l, k, same, states, nil)
				r.Sign.Signatures = r.Sign.Signatures[:2]
				return r
			},
			"nothing at all": func(worker.Lease) albs.Result { return albs.Result{} },
		})
		for name, result := range bad {
			r, err := f.SignBuild(f.admin, f.build, "demo")
			if err != nil {
				t.Fatal(err)
			}
			l2 := claim("kind:sign", "key:"+k.Fingerprint())
			if err := f.queue.Complete(me, l2.Token, albs.OutcomeOK, result(*l2)); albs.KindOf(err) != albs.Invalid {
				t.Errorf("%s: Complete = %v", name, err)
			}
			if r, err = f.Request(t.Context(), r.ID); err != nil || r.Status != Failed || r.Packages[0].Signed != "" {
				t.Errorf("%s: Request = %+v, %v", name, r, err)
			}
			f.untouched(t, name)
		}
		if f.told(t, EventSigned) != 0 || f.told(t, "sign.failed") != len(bad) {
			t.Errorf("the ends were told as %d signed, %d failed", f.told(t, EventSigned), f.told(t, "sign.failed"))
		}
		// A package that is signed keeps its copy, whatever comes later.
		r, err := f.SignBuild(f.admin, f.build, "demo")
		if err != nil {
			t.Fatal(err)
		}
		l2 := claim("kind:sign", "key:"+k.Fingerprint())
		kept := albs.DigestOf([]byte("kept"))
		err = d.InTx(t.Context(), func(tx db.Tx) error {
			return f.store.addSigned(t.Context(), tx, l2.Spec.Sign.Packages[0].Digest, k.Fingerprint(), kept, db.Now())
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.queue.Complete(me, l2.Token, albs.OutcomeOK, report(t, *l2, k, same, states, nil)); err != nil {
			t.Fatal(err)
		}
		if r, err = f.Request(t.Context(), r.ID); err != nil || r.Status != Completed {
			t.Fatalf("Request = %+v, %v", r, err)
		}
		for _, p := range r.Packages {
			if (p.Digest == l2.Spec.Sign.Packages[0].Digest) != (p.Signed == kept) || p.Signed == "" {
				t.Errorf("the copy of %s is %s", p.Name, p.Signed.Short())
			}
		}
		// A key that is not active any more goes out with no task that waited.
		eve := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 7, Name: "eve", Grants: []auth.Grant{{Role: auth.Operator}}})
		if err := f.Deactivate(eve, "demo"); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("Deactivate by an operator = %v", err)
		}
		if err := f.Deactivate(f.admin, "demo"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := (signHandler{f.Signing}).Offer(t.Context(), r.Tasks[0], queue.Offer{}); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "not active") {
			t.Errorf("Offer with a key that isn't active = %v", err)
		}
		if list, more, err := f.Requests(t.Context(), Filter{Build: f.build, Limit: 4}); err != nil || len(list) != 4 || !more || list[0].ID != r.ID {
			t.Errorf("Requests = %d of them, %v, %v", len(list), more, err)
		}
	})
}

// TestTampered changes a statement behind albs: nothing is offered to a signer.
func TestTampered(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)), "")
	f.deliver()
	f.worker(t)
	f.key(t, "demo", pgp.Ed25519)
	until(t, "everything is notarized", func() bool {
		n, err := f.prov.Pending(t.Context())
		return err == nil && n == 0
	})
	if _, err := f.d.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'a', 'b') WHERE predicate = 'build'`); err != nil {
		t.Fatal(err)
	}
	r, err := f.SignBuild(f.admin, f.build, "demo")
	if err != nil {
		t.Fatal(err)
	}
	if r.Cause() != nil {
		t.Errorf("a request that has just begun failed for %+v", r.Cause())
	}
	if r = f.ended(t, r.ID); r.Status != Failed {
		t.Errorf("what a changed row tells was signed: %+v", r)
	}
	if c := r.Cause(); c == nil || c.Kind != failure.Evidence {
		t.Errorf("it failed for %+v (%s)", c, r.Reason)
	}
	for _, p := range r.Packages {
		if p.Signed != "" {
			t.Errorf("%s was signed", p.Name)
		}
	}
}

// TestExchanged has a row name another file as a package's signed copy: who asks
// for copies, a release above all, gets none.
func TestExchanged(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)), "")
	f.deliver()
	f.worker(t)
	k := f.key(t, "demo", pgp.Ed25519)
	r, err := f.SignBuild(f.admin, f.build, "demo")
	if err != nil {
		t.Fatal(err)
	}
	if r = f.ended(t, r.ID); r.Status != Completed {
		t.Fatalf("the request is %+v", r)
	}
	first, second := r.Packages[0], r.Packages[1]
	got, err := f.Signed(t.Context(), []albs.Digest{first.Digest}, k.Fingerprint)
	if err != nil || got[first.Digest].Digest != first.Signed {
		t.Fatalf("Signed = %v, %v", got, err)
	}
	// The copy by one key isn't the copy by another.
	other := f.key(t, "other", pgp.Ed25519)
	if err := f.d.InTx(t.Context(), func(tx db.Tx) error {
		return f.store.addSigned(t.Context(), tx, first.Digest, other.Fingerprint, first.Signed, db.Now())
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Signed(t.Context(), []albs.Digest{first.Digest}, other.Fingerprint); albs.KindOf(err) != albs.Conflict {
		t.Errorf("the copy by another key: Signed = %v, %v, want Conflict", got, err)
	}
	for name, to := range map[string]albs.Digest{"the unsigned file": first.Digest, "the copy of another package": second.Signed} {
		if _, err := f.d.ExecContext(t.Context(), `DELETE FROM signed_package WHERE unsigned = $1`, second.Digest); err != nil {
			t.Fatal(err) // whose copy would be in the way
		}
		if _, err := f.d.ExecContext(t.Context(), `UPDATE signed_package SET signed = $1 WHERE unsigned = $2`, to, first.Digest); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Signed(t.Context(), []albs.Digest{first.Digest}, k.Fingerprint); albs.KindOf(err) != albs.Conflict {
			t.Errorf("%s: Signed = %v, %v, want Conflict", name, got, err)
		}
	}
}
