package historytest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/blob"
	"albs/internal/ledger"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

const (
	binaryFile = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"
	sourceFile = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm"
	repoPath   = "el9/main/x86_64/os"
)

// sound is a history in which no invariant is broken: one package from its source to
// a public place, a task in each state, and a statement on its way to the ledger.
type sound struct {
	t *testing.T
	Place
	dir      string
	key      *pgp.Key
	statable *attest.Signer

	srpm, unsigned, signed, log albs.Digest
	snapshot                    *repodata.Snapshot
	location                    string // of the package in its repository
}

func newSound(t *testing.T, dir string, d *db.DB) *sound {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &sound{statable: attest.NewSigner(private)}
	f.open(t, dir, d)
	f.write("logs/7/1/build", "+ make\n")

	f.people()
	f.packages()
	f.tasks()
	f.publish()
	f.state(f.srpm, attest.Test, attest.TestBody{Result: attest.Passed}, false)
	f.remember()
	return f
}

// open opens what lies in dir.
func (f *sound) open(t *testing.T, dir string, d *db.DB) {
	t.Helper()
	store, err := blob.NewDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.OpenEmbedded(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f.t, f.dir = t, dir
	f.Place = Place{
		DB: d, Blobs: store, Ledger: l, Public: filepath.Join(dir, "public"), Logs: []string{filepath.Join(dir, "logs")},
		Hidden: []string{"the passphrase"},
	}
}

// template is a sound history on disk, for copies: the making takes many writes.
type template struct {
	sound
}

func newTemplate(t *testing.T) *template {
	t.Helper()
	dir := t.TempDir()
	d, err := db.Open(t.Context(), db.Config{File: filepath.Join(dir, "albs.db")})
	if err != nil {
		t.Fatal(err)
	}
	f := newSound(t, dir, d)
	if err := errors.Join(f.Ledger.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	return &template{*f}
}

func (m *template) copy(t *testing.T) *sound {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	f := m.sound
	f.open(t, dir, dbtest.Open(t, db.Config{File: filepath.Join(dir, "albs.db")}))
	return &f
}

// exec runs one statement in the database.
func (f *sound) exec(query string, args ...any) {
	f.t.Helper()
	if _, err := f.DB.ExecContext(f.t.Context(), query, args...); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
}

func (f *sound) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// put saves a blob.
func (f *sound) put(b []byte) albs.Digest {
	f.t.Helper()
	d, _, err := f.Blobs.Write(f.t.Context(), bytes.NewReader(b), 1<<30)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

func (f *sound) get(d albs.Digest) []byte {
	f.t.Helper()
	b, err := (&checker{Place: f.Place}).bytes(f.t.Context(), d)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *sound) event(kind, actor, data string) {
	f.t.Helper()
	f.exec(`INSERT INTO event (at, kind, topic, actor, data) VALUES ($1, $2, 'build:1', $3, $4)`, db.Now(), kind, actor, data)
}

func (f *sound) people() {
	now := db.Now()
	for i, name := range []string{"alice", "bob"} {
		f.exec(`INSERT INTO account (id, name, created_at) VALUES ($1, $2, $3)`, i+1, name, now)
	}
	f.exec(`INSERT INTO token (account_id, hash, prefix, note, created_at, expires_at) VALUES (1, 'hash', 'albs_uabcdef', '', $1, $1)`, now)
	f.exec(`INSERT INTO product (id, name, revision, digest, spec, actor, at) VALUES (1, 'demo', 1, '', '{"approvals":{"count":1,"distinct":true},"gate":{"tests":"required"}}', 'user:alice', $1)`, now)
	f.event("product.applied", "user:alice", "{}")
	f.event("build.created", "user:alice", "{}")
	f.event("ledger.noted", "system:notary", "{}")
}

// packages saves a source package, the package built of it, its signed copy and a
// log, with their statements and records.
func (f *sound) packages() {
	t := f.t
	t.Helper()
	var err error
	if f.key, err = pgp.Generate("Test <test@example.org>", pgp.Ed25519, time.Now()); err != nil {
		t.Fatal(err)
	}
	public, err := f.key.Public()
	if err != nil {
		t.Fatal(err)
	}
	f.exec(`INSERT INTO sign_key (fingerprint, name, user_id, algorithm, products, public, created_at, active)
		VALUES ($1, 'demo', '', 'ed25519', '[]', $2, $3, TRUE)`, f.key.Fingerprint(), string(public), db.Now())

	source, err := os.ReadFile(sourceFile)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(binaryFile)
	if err != nil {
		t.Fatal(err)
	}
	f.srpm, f.unsigned, f.log = f.put(source), f.put(binary), f.put([]byte("+ make\n"))
	f.signed = f.put(f.sign(binary, f.key))
	f.exec(`INSERT INTO build (id, owner_id, owner, team, product, options, created_at) VALUES (1, 1, 'alice', 'demo', 'demo', '{}', $1)`, db.Now())
	f.exec(`INSERT INTO build_item (id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm)
		VALUES (1, 1, 0, 'el9', '[]', '', '', '', '', 'albs-rich', $1)`, f.srpm)
	for _, a := range []struct {
		digest   albs.Digest
		kind     string
		task     int
		unsigned albs.Digest
		by       string
	}{{f.srpm, "srpm", 1, "", ""}, {f.unsigned, "rpm", 2, "", ""}, {f.log, "log", 2, "", ""}, {f.signed, "rpm", 0, f.unsigned, f.key.Fingerprint()}} {
		f.exec(`INSERT INTO artifact (digest, size, kind, name, unsigned, signed_by, at) VALUES ($1, $2, $3, $3, $4, $5, $6)`,
			a.digest, len(f.get(a.digest)), a.kind, a.unsigned, a.by, db.Now())
		f.record(a.digest)
		if a.task > 0 {
			f.exec(`INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch) VALUES (1, 1, $1, 1, $2, $3, $3, '')`,
				a.task, a.digest, a.kind)
		}
	}
	f.exec(`INSERT INTO signed_package (unsigned, key, signed, at) VALUES ($1, $2, $3, $4)`, f.unsigned, f.key.Fingerprint(), f.signed, db.Now())
	f.state(f.srpm, attest.Source, attest.SourceBody{}, true)
	f.state(f.unsigned, attest.Build, f.build(), true)
	f.state(f.unsigned, attest.Test, attest.TestBody{Result: attest.Failed}, true)
	f.state(f.unsigned, attest.Test, attest.TestBody{Result: attest.Passed}, true)
	f.state(f.unsigned, attest.SignIntent, attest.SignIntentBody{}, true)
	f.state(f.signed, attest.Sign, attest.SignBody{Unsigned: f.unsigned}, true)
}

// build says that something was built of the source package.
func (f *sound) build() attest.BuildBody {
	return attest.BuildBody{BuildDefinition: attest.BuildDefinition{ResolvedDependencies: []attest.Descriptor{
		{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(f.srpm)}},
	}}}
}

// sign returns the package signed by the key.
func (f *sound) sign(b []byte, key *pgp.Key) []byte {
	f.t.Helper()
	header, err := rpm.Header(bytes.NewReader(b))
	if err != nil {
		f.t.Fatal(err)
	}
	sig, isRSA, err := key.Sign(header)
	if err != nil {
		f.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rpm.Splice(&out, bytes.NewReader(b), sig, isRSA); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

// state writes a statement; noted, it is in the ledger too, else in the outbox.
func (f *sound) state(d albs.Digest, predicate string, body any, noted bool) {
	f.t.Helper()
	st, err := attest.New(attest.Subject{Digest: map[string]string{attest.SHA256: string(d)}}, predicate, body)
	if err != nil {
		f.t.Fatal(err)
	}
	e, err := f.statable.Sign(st)
	if err != nil {
		f.t.Fatal(err)
	}
	value, err := e.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.exec(`INSERT INTO statement (subject, predicate, n, envelope, created_at)
		VALUES ($1, $2, (SELECT COALESCE(MAX(n), 0) + 1 FROM statement WHERE subject = $1 AND predicate = $2), $3, $4)`,
		d, predicate, string(value), db.Now())
	var n int
	if err := f.DB.GetContext(f.t.Context(), &n, `SELECT MAX(n) FROM statement WHERE subject = $1 AND predicate = $2`, d, predicate); err != nil {
		f.t.Fatal(err)
	}
	if !noted {
		f.exec(`INSERT INTO outbox (statement_id) SELECT max(id) FROM statement`)
		return
	}
	f.append(attest.StatementKey(d, predicate, n), value)
}

func (f *sound) append(key string, value []byte) {
	f.t.Helper()
	if _, err := f.Ledger.Append(f.t.Context(), []ledger.Entry{{Key: []byte(key), Value: value}}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *sound) record(d albs.Digest) {
	f.t.Helper()
	value := fmt.Sprintf(`{"Hash":%q}`, d)
	f.exec(`INSERT INTO file_record (digest, value, created_at) VALUES ($1, $2, $3)`, d, value, db.Now())
	f.append(string(d), []byte(value))
}

// remember notes the ledger's state.
func (f *sound) remember() {
	f.t.Helper()
	s, err := f.Ledger.State(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.exec(`INSERT INTO ledger_state (id, ledger, tx_id, alh, at) VALUES (1, $1, $2, $3, $4)`, s.Ledger, int64(s.TxID), s.Alh, db.Now())
}

// task writes a task with its events; states are where they led it.
func (f *sound) task(id int, kind albs.TaskKind, fence int, states ...albs.TaskState) {
	f.t.Helper()
	last := states[len(states)-1]
	until := db.Time{}
	if last == albs.TaskLeased {
		until = db.Now()
	}
	f.exec(`INSERT INTO task (id, kind, lane, class, topic, spec, priority, state, fence, attempts, lease_until, created_at, changed_at)
		VALUES ($1, $2, '', '', '', '', 0, $3, $4, $4, $5, $6, $6)`, id, kind, last, fence, until, db.Now())
	for _, s := range states {
		f.event("task."+string(s), "worker:node", fmt.Sprintf(`{"task":%d,"state":%q}`, id, s))
	}
}

// attempt writes an attempt; its number is its fence.
func (f *sound) attempt(task, fence int, ended string, spec albs.Spec) {
	f.t.Helper()
	b, err := json.Marshal(spec)
	if err != nil {
		f.t.Fatal(err)
	}
	at := db.Now()
	if ended == "" {
		at = db.Time{}
	}
	f.exec(`INSERT INTO attempt (task_id, fence, number, worker_id, worker, spec, claimed_at, ended_at, ended)
		VALUES ($1, $2, $2, 1, 'node', $3, $4, $5, $6)`, task, fence, string(b), db.Now(), at, ended)
}

// The tasks of a sound history.
const (
	sourceTask = iota + 1
	rebuildTask
	signTask
	queuedTask
	blockedTask
	leasedTask
	failedTask
	publishTask
)

func (f *sound) tasks() {
	f.t.Helper()
	f.task(sourceTask, albs.KindSource, 1, albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded)
	f.attempt(sourceTask, 1, "ok", albs.Spec{})
	f.task(rebuildTask, albs.KindBuild, 2, albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded)
	f.exec(`INSERT INTO task_after (task_id, after_id) VALUES ($1, $2)`, rebuildTask, sourceTask)
	f.attempt(rebuildTask, 1, "expire", albs.Spec{})
	f.attempt(rebuildTask, 2, "ok", albs.Spec{})
	f.task(signTask, albs.KindSign, 1, albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded)
	f.attempt(signTask, 1, "ok", albs.Spec{Sign: &albs.SignSpec{Key: f.key.Fingerprint(), Product: "demo", Packages: []albs.File{{Digest: f.unsigned}}}})
	f.task(queuedTask, albs.KindBuild, 0, albs.TaskQueued)
	f.task(blockedTask, albs.KindTest, 0, albs.TaskBlocked)
	f.exec(`INSERT INTO task_after (task_id, after_id) VALUES ($1, $2)`, blockedTask, queuedTask)
	f.task(leasedTask, albs.KindBuild, 1, albs.TaskQueued, albs.TaskLeased)
	f.attempt(leasedTask, 1, "", albs.Spec{})
	f.task(failedTask, albs.KindBuild, 1, albs.TaskQueued, albs.TaskLeased, albs.TaskFailed)
	f.attempt(failedTask, 1, "failed", albs.Spec{})
}

// extend returns a sealed snapshot that holds the package d alone.
func (f *sound) extend(d albs.Digest, key *pgp.Key) *repodata.Snapshot {
	t := f.t
	t.Helper()
	b := f.get(d)
	p, err := rpm.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	f.location = "Packages/a/" + p.NEVRA.Filename()
	add := repodata.Change{Add: []repodata.Package{{RPM: p, Digest: d, Size: int64(len(b)), Path: f.location, Time: 1}}}
	s, err := repodata.Extend(t.Context(), blobs{f.Blobs}, nil, add, 1)
	if err != nil {
		t.Fatal(err)
	}
	asc, err := key.SignArmored(bytes.NewReader(f.get(s.Repomd())))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := repodata.Seal(t.Context(), blobs{f.Blobs}, s, asc)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// tree saves the document of a tree that shows s.
func (f *sound) tree(serial int64, s *repodata.Snapshot) ([]byte, albs.Digest) {
	f.t.Helper()
	public, err := f.key.Public()
	if err != nil {
		f.t.Fatal(err)
	}
	doc := repodata.Tree{
		Product: "demo", Serial: serial, Repositories: []repodata.TreeRepo{{Path: repoPath, Snapshot: s.Digest()}},
		Files: []repodata.TreeFile{{Path: "RPM-GPG-KEY-demo", Digest: f.put(public), Size: int64(len(public))}},
	}.Encode()
	return doc, f.put(doc)
}

// publish shows the signed package twice: under serial 1, and under 2 as a rollback
// would.
func (f *sound) publish() {
	f.t.Helper()
	f.snapshot = f.extend(f.signed, f.key)
	f.exec(`INSERT INTO repository (name, snapshot, serial, at) VALUES ('build/1/el9/x86_64', $1, 1, $2)`, f.snapshot.Digest(), db.Now())
	plan := albs.DigestOf([]byte("a plan"))
	now := db.Now()
	f.exec(`INSERT INTO release (id, kind, product, team, planner_id, planner, status, reason, plan, digest, expires_at, from_serial, serial,
		offered, back_to, files, task_id, created_at, changed_at)
		VALUES (1, 'publish', 'demo', 'demo', 1, 'alice', 3, '', '{}', $1, $2, 0, 1, 1, 0, '[]', $3, $2, $2)`, plan, now, publishTask)
	f.exec(`INSERT INTO release_repository (release_id, path, snapshot, repomd, sealed) VALUES (1, $1, $2, $3, $2)`,
		repoPath, f.snapshot.Digest(), f.snapshot.Repomd())
	f.event("approval.given", "user:bob", "{}")
	f.exec(`INSERT INTO approval (subject, digest, account_id, note, at, expires_at) VALUES ('release:1', $1, 2, '', $2, $2)`, plan, now)
	f.exec(`INSERT INTO released_package (product, path, file, digest, release_id) VALUES ('demo', $1, $2, $3, 1)`,
		repoPath, filepath.Base(f.location), f.signed)
	f.state(f.snapshot.Repomd(), attest.ReleaseApproved,
		attest.ReleaseApprovedBody{Product: "demo", Release: 1, Plan: plan, Approvals: []attest.ApprovedBy{{Person: "bob"}}}, true)
	f.state(f.snapshot.Repomd(), attest.SignIntent, attest.SignIntentBody{}, true)
	f.exec(`INSERT INTO document_signature (digest, key, clear, armored, at) VALUES ($1, $2, FALSE, $3, $4)`,
		f.snapshot.Repomd(), f.key.Fingerprint(), string(f.get(f.snapshot.Signature())), now)
	f.task(publishTask+1, albs.KindSign, 1, albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded)
	f.attempt(publishTask+1, 1, "ok", albs.Spec{Sign: &albs.SignSpec{Key: f.key.Fingerprint(), Documents: []albs.File{{Digest: f.snapshot.Repomd()}}}})

	f.task(publishTask, albs.KindPublish, 2, albs.TaskQueued, albs.TaskLeased, albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded)
	for serial := int64(1); serial <= 2; serial++ {
		doc, d := f.tree(serial, f.snapshot)
		f.exec(`INSERT INTO tree (product, serial, digest, at, current) VALUES ('demo', $1, $2, $3, $4)`, serial, d, now, serial == 2)
		f.attempt(publishTask, int(serial), []string{"expire", "ok"}[serial-1], albs.Spec{Publish: &albs.PublishSpec{Product: "demo", Tree: d, Serial: serial}})
		f.lay(serial, doc, f.snapshot)
	}
}

// lay writes a tree into the public place and shows it.
func (f *sound) lay(serial int64, doc []byte, s *repodata.Snapshot) {
	t := f.t
	t.Helper()
	tree := fmt.Sprintf("trees/%d", serial)
	base := "public/demo/" + tree
	f.write(base+"/tree.json", string(doc))
	parsed, err := repodata.ParseTree(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range parsed.Files {
		f.write(base+"/"+file.Path, string(f.get(file.Digest)))
	}
	for _, file := range s.Files() {
		f.write(base+"/"+repoPath+"/"+file.Path, string(f.get(file.Digest)))
	}
	err = s.Packages(t.Context(), blobs{f.Blobs}, func(e repodata.Entry) error {
		f.write(base+"/"+repoPath+"/"+e.Path, string(f.get(e.Digest)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(f.Public, "demo/current")
	if err := os.Remove(current); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(tree, current); err != nil {
		t.Fatal(err)
	}
}

// blobPath returns where a blob's bytes lie.
func (f *sound) blobPath(d albs.Digest) string {
	return filepath.Join(f.dir, "blobs/sha256", string(d[:2]), strings.TrimPrefix(string(d), string(d[:2])))
}
