// Package sign owns the registry of signing keys (public parts only), the requests
// to have builds signed, and the detached signatures of documents.
//
// Private keys are the signer's, and so is the decision: what goes to it is
// evidence, the master's statements with proofs from the ledger, and it refuses
// what they don't show. Here it is decided what may be asked for at all, by the
// build's state, the product's gate and the key; and what an answer is worth: a
// signature is taken only if it verifies by the registered public key over a copy
// that this package spliced itself.
//
// Invariants: nothing is offered to a signer before the ledger proves it; a package
// has one signed copy by a key at most, and a document one signature; what is
// signed is the package that was notarized and nothing else in it.
package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/testrun"
)

// Parts are the modules that signing rests on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Products   *product.Products
	Builds     *build.Builds
	Tests      *testrun.Tests
	Log        zerolog.Logger
}

// Signing keeps keys, requests and signatures. It may be used concurrently.
type Signing struct {
	store      store
	events     *event.Log
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	products   *product.Products
	builds     *build.Builds
	tests      *testrun.Tests
	log        zerolog.Logger
}

// New returns the signing of a master and registers the handlers of the kinds
// sign and keygen.
func New(p Parts) *Signing {
	s := &Signing{
		store: store{p.DB}, events: p.Events, queue: p.Queue, artifacts: p.Artifacts, provenance: p.Provenance,
		products: p.Products, builds: p.Builds, tests: p.Tests, log: p.Log,
	}
	p.Queue.Register(albs.KindSign, signHandler{s})
	p.Queue.Register(albs.KindKeygen, keygenHandler{s})
	return s
}

// MaxPackages bounds one sign task: its evidence has to fit a lease
// (queue.MaxSpec), at some 12 KiB for a package. A larger build gets more tasks.
const MaxPackages = 50

// EventSigned is the kind of the event that a request ended with everything
// signed; its data is a Signed, its topic the build's.
const EventSigned = "build.signed"

// Signed is the data of an EventSigned.
type Signed struct {
	Request int64        `json:"request"`
	Build   albs.BuildID `json:"build"`
	Key     string       `json:"key"`
}

// Status is where a request stands, in ALBS's numbers.
type Status int

// The statuses of a request.
const (
	Idle       Status = 1 // no signer has begun
	InProgress Status = 2
	Completed  Status = 3 // everything is signed
	Failed     Status = 4 // nothing runs any more, and something is not signed
)

// String returns ALBS's word for the status.
func (s Status) String() string {
	switch s {
	case Idle:
		return "IDLE"
	case InProgress:
		return "IN_PROGRESS"
	case Completed:
		return "COMPLETED"
	case Failed:
		return "FAILED"
	}
	return fmt.Sprintf("Status(%d)", int(s))
}

// StatusOf computes a request's status from the states of its tasks. A request
// without a task had nothing left to sign.
func StatusOf(tasks []albs.TaskState) Status {
	var waiting, running, done, bad int
	for _, t := range tasks {
		switch t {
		case albs.TaskSucceeded:
			done++
		case albs.TaskFailed, albs.TaskCancelled, albs.TaskExcluded:
			bad++
		case albs.TaskLeased, albs.TaskStopping:
			running++
		default:
			waiting++
		}
	}
	switch {
	case running > 0, waiting > 0 && done+bad > 0:
		return InProgress
	case waiting > 0:
		return Idle
	case bad > 0:
		return Failed
	}
	return Completed
}

// Request is somebody's wish to have a build signed, as faces show it.
type Request struct {
	ID        int64
	Build     albs.BuildID
	Key       string // fingerprint
	Product   string
	Requester string
	CreatedAt time.Time
	Status    Status
	Reason    string // why it failed, one line
	Tasks     []queue.Task
	Packages  []Package
}

// Package is one package of a request.
type Package struct {
	albs.File             // unsigned
	Kind      string      // rpm, srpm
	Signed    albs.Digest // "" until it is signed
}

// SignBuild asks for all packages of a build, source packages among them, to be
// signed with a key, given by name or fingerprint. While such a request is open it
// is returned again. Errors: Forbidden without sign.request on the build's team;
// NotFound for an unknown build or key; Conflict if the build hasn't succeeded, the
// key is not active or was made for other products, the product's gate doesn't
// hold, or every package is signed with the key already.
func (s *Signing) SignBuild(ctx context.Context, id albs.BuildID, key string) (Request, error) {
	b, err := s.builds.Get(ctx, id)
	if err != nil {
		return Request{}, err
	}
	if err := auth.Can(ctx, auth.SignRequest, auth.Object{Team: b.Team}); err != nil {
		return Request{}, err
	}
	k, err := s.usable(ctx, s.store.d, key, b.Product)
	if err != nil {
		return Request{}, err
	}
	if b.Status.State != build.Succeeded {
		return Request{}, albs.Errorf(albs.Conflict, "build %d is %s and can't be signed: %s", id, b.Status.State, b.Status.Reason)
	}
	packages, err := s.packages(ctx, b)
	if err != nil {
		return Request{}, err
	}
	if err := s.gate(ctx, id, b.Product, packages); err != nil {
		return Request{}, err
	}
	row := requestRow{BuildID: id, Key: k.Fingerprint, Product: b.Product, Requester: auth.From(ctx).Name, CreatedAt: db.Now()}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		row.ID = 0
		open, err := s.store.openRequest(ctx, tx, id, k.Fingerprint)
		if err != nil || open != 0 {
			row.ID = open
			return err
		}
		return s.insert(ctx, tx, &row, packages, lane(b))
	})
	if db.IsUnique(err) { // another asked at the same moment
		if row.ID, err = s.store.openRequest(ctx, s.store.d, id, k.Fingerprint); err == nil && row.ID == 0 {
			err = albs.Errorf(albs.Conflict, "build %d has just been signed with key %s", id, k.Name)
		}
	}
	if err != nil {
		return Request{}, fmt.Errorf("sign build %d: %w", id, err)
	}
	return s.Request(ctx, row.ID)
}

// lane shares signers as the build's own tasks share nodes.
func lane(b build.Build) string {
	if b.Product != "" {
		return "product:" + b.Product
	}
	return "user:" + b.Owner
}

// packages lists what there is to sign of a build, each digest once.
func (s *Signing) packages(ctx context.Context, b build.Build) ([]packageRow, error) {
	var out []packageRow
	seen := map[albs.Digest]bool{}
	add := func(d albs.Digest) error {
		if d == "" || seen[d] {
			return nil
		}
		seen[d] = true
		a, err := s.artifacts.Get(ctx, s.store.d, d)
		if err != nil {
			return err
		}
		out = append(out, packageRow{Unsigned: d, Kind: string(a.Kind), Name: a.Name, Size: a.Size})
		return nil
	}
	for _, it := range b.Items {
		if err := add(it.SRPM.Digest); err != nil { // one that was uploaded is no task's
			return nil, err
		}
	}
	for _, a := range b.Artifacts {
		if a.Kind != string(artifact.RPM) && a.Kind != string(artifact.SRPM) {
			continue
		}
		if err := add(a.Digest); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, albs.Errorf(albs.Conflict, "build %d has no package to sign", b.ID)
	}
	return out, nil
}

// insert makes the request with its tasks, for what isn't signed by the key yet.
func (s *Signing) insert(ctx context.Context, tx db.Tx, row *requestRow, packages []packageRow, lane string) error {
	var left []packageRow
	for _, p := range packages {
		signed, err := s.store.signedPackage(ctx, tx, p.Unsigned, row.Key)
		if err != nil {
			return err
		}
		if signed == "" {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		return albs.Errorf(albs.Conflict, "build %d is already signed with key %s", row.BuildID, row.Key)
	}
	if err := s.store.addRequest(ctx, tx, row); err != nil {
		return err
	}
	var tasks []albs.TaskID
	for chunk := range slices.Chunk(left, MaxPackages) {
		id, err := s.queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindSign, Lane: lane, Topic: build.Topic(row.BuildID), Needs: []string{"key:" + row.Key},
		})
		if err != nil {
			return err
		}
		if err := s.store.addTask(ctx, tx, id, row.ID, chunk); err != nil {
			return err
		}
		tasks = append(tasks, id)
	}
	return s.events.Add(ctx, tx, "sign.requested", build.Topic(row.BuildID), auth.From(ctx).String(), map[string]any{
		"request": row.ID, "key": row.Key, "tasks": tasks, "packages": len(left),
	})
}

// gate says whether the product lets the packages be signed: where tests are
// required, every RPM must have passed its latest ones. It is Conflict with the
// first reason.
func (s *Signing) gate(ctx context.Context, id albs.BuildID, name string, packages []packageRow) error {
	if name == "" {
		return nil
	}
	p, err := s.products.Get(ctx, name)
	if err != nil {
		return err
	}
	if p.Gate.Tests != product.Required {
		return nil
	}
	var rpms []albs.Digest
	for _, row := range packages {
		if row.Kind == string(artifact.RPM) {
			rpms = append(rpms, row.Unsigned)
		}
	}
	verdicts, err := s.tests.Verdict(ctx, id, rpms)
	if err != nil {
		return err
	}
	return judge(name, packages, verdicts)
}

// judge is the gate's rule. SRPMs have no verdict: they are not tested.
func judge(product string, packages []packageRow, verdicts map[albs.Digest]testrun.Verdict) error {
	bad := 0
	var first string
	for _, row := range packages {
		v, ok := verdicts[row.Unsigned]
		if !ok || v.State == testrun.Passed {
			continue
		}
		if bad == 0 {
			first = fmt.Sprintf("%s: %s", row.Name, v.Reason)
		}
		bad++
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return albs.Errorf(albs.Conflict, "product %s requires passed tests: %s", product, first)
	}
	return albs.Errorf(albs.Conflict, "product %s requires passed tests: %s (and %d more)", product, first, bad-1)
}

// Request returns a request with its tasks and packages, or NotFound.
func (s *Signing) Request(ctx context.Context, id int64) (Request, error) {
	row, err := s.store.request(ctx, s.store.d, id)
	if err != nil {
		return Request{}, err
	}
	return s.view(ctx, row)
}

// Filter says which requests Requests returns. Empty fields don't filter.
type Filter struct {
	Build  albs.BuildID
	Before int64 // only requests with a lower id, for the next page
	Limit  int   // 1 to 200; 0 is 20
}

// Requests returns requests, newest first, and whether there are more.
func (s *Signing) Requests(ctx context.Context, f Filter) ([]Request, bool, error) {
	if f.Limit <= 0 || f.Limit > 200 {
		f.Limit = 20
	}
	rows, err := s.store.requests(ctx, f)
	if err != nil {
		return nil, false, fmt.Errorf("list sign requests: %w", err)
	}
	more := len(rows) > f.Limit
	if more {
		rows = rows[:f.Limit]
	}
	out := make([]Request, len(rows))
	for i, row := range rows {
		if out[i], err = s.view(ctx, row); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

func (s *Signing) view(ctx context.Context, row requestRow) (Request, error) {
	out := Request{
		ID: row.ID, Build: row.BuildID, Key: row.Key, Product: row.Product, Requester: row.Requester, CreatedAt: row.CreatedAt.Time,
	}
	wrap := func(err error) (Request, error) { return out, fmt.Errorf("sign request %d: %w", row.ID, err) }
	ids, err := s.store.tasksOf(ctx, s.store.d, row.ID)
	if err != nil {
		return wrap(err)
	}
	if out.Tasks, err = s.queue.Tasks(ctx, ids...); err != nil {
		return wrap(err)
	}
	var states []albs.TaskState
	for _, t := range out.Tasks {
		states = append(states, t.State)
		if out.Reason == "" && (t.State == albs.TaskFailed || t.State == albs.TaskCancelled) {
			out.Reason = t.Reason
		}
	}
	out.Status = StatusOf(states)
	packages, err := s.store.packagesOfRequest(ctx, s.store.d, row.ID, row.Key)
	if err != nil {
		return wrap(err)
	}
	for _, p := range packages {
		out.Packages = append(out.Packages, Package{File: p.file(), Kind: p.Kind, Signed: p.Signed})
	}
	return out, nil
}

// Signed returns the signed copies by a key, given by fingerprint, of those of the
// unsigned packages that have one. Releases rest on it, so the row alone is not
// believed: a copy of which the master didn't state that it is that package, signed
// with that key, is a Conflict.
func (s *Signing) Signed(ctx context.Context, unsigned []albs.Digest, key string) (map[albs.Digest]artifact.Artifact, error) {
	out := make(map[albs.Digest]artifact.Artifact, len(unsigned))
	for _, d := range unsigned {
		signed, err := s.store.signedPackage(ctx, s.store.d, d, key)
		if err != nil {
			return nil, err
		}
		if signed == "" {
			continue
		}
		if err := s.stated(ctx, signed, d, key); err != nil {
			return nil, err
		}
		if out[d], err = s.artifacts.Get(ctx, s.store.d, signed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stated returns nil if the master stated that signed is unsigned with a signature
// by key.
func (s *Signing) stated(ctx context.Context, signed, unsigned albs.Digest, key string) error {
	var body attest.SignBody
	sts, err := s.provenance.Stated(ctx, signed, attest.Sign)
	if err == nil && len(sts) > 0 {
		err = sts[len(sts)-1].Body(&body)
	}
	if err != nil {
		return err
	}
	if body.Unsigned != unsigned || body.Fingerprint != key {
		return albs.Errorf(albs.Conflict, "%s is on record as the copy of %s signed with key %s, and the master never stated that: the database was changed behind albs; compare it with a backup",
			signed.Short(), unsigned.Short(), key)
	}
	return nil
}

// Document is a file to be signed as a whole, such as a repomd.xml.
type Document struct {
	albs.File
	Product string
	Key     string // name or fingerprint
	Topic   string // of the task's events; "" is the product's
}

// MaxDocument bounds a document that may be signed, in bytes.
const MaxDocument = 1 << 20

// SignDocument asks in tx for a detached signature, to be made once the tasks of
// after have succeeded, and returns the task. While such a task is under way, and
// once it has succeeded, it is returned again. The signer will ask for an approval:
// a statement release-approved of the product about the document. Errors: NotFound
// for an unknown key, Conflict for one that isn't active or was made for other
// products, TooLarge beyond MaxDocument.
func (s *Signing) SignDocument(ctx context.Context, tx db.Tx, d Document, after ...albs.TaskID) (albs.TaskID, error) {
	if err := artifact.CheckName(d.Name); err != nil {
		return 0, err
	}
	if !d.Digest.Valid() || d.Product == "" || d.Size <= 0 {
		return 0, albs.Errorf(albs.Invalid, "a document to sign has a sha256, a size and a product")
	}
	if d.Size > MaxDocument {
		return 0, albs.Errorf(albs.TooLarge, "%s has %d bytes, documents of at most %d are signed", d.Name, d.Size, MaxDocument)
	}
	k, err := s.usable(ctx, tx, d.Key, d.Product)
	if err != nil {
		return 0, err
	}
	if id, err := s.store.documentTask(ctx, tx, d.Digest, k.Fingerprint); err != nil || id != 0 {
		return id, err
	}
	if d.Topic == "" {
		d.Topic = "product:" + d.Product
	}
	id, err := s.queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindSign, Lane: "product:" + d.Product, Topic: d.Topic, Needs: []string{"key:" + k.Fingerprint}, After: after,
	})
	if err != nil {
		return 0, err
	}
	row := documentRow{TaskID: id, Digest: d.Digest, Name: d.Name, Size: d.Size, Key: k.Fingerprint, Product: d.Product}
	if err := s.store.addDocument(ctx, tx, row); err != nil {
		return 0, err
	}
	return id, nil
}

// DocumentSignature returns the armored detached signature of a document by a key,
// given by name or fingerprint, or NotFound.
func (s *Signing) DocumentSignature(ctx context.Context, d albs.Digest, key string) ([]byte, error) {
	k, err := s.Key(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.store.documentSignature(ctx, s.store.d, d, k.Fingerprint)
}

// usable returns the key if it may sign for a product now.
func (s *Signing) usable(ctx context.Context, q db.Q, key, product string) (Key, error) {
	row, err := s.store.key(ctx, q, key)
	if err != nil {
		return Key{}, err
	}
	k, err := row.key()
	if err != nil {
		return Key{}, err
	}
	if !k.Active {
		return Key{}, albs.Errorf(albs.Conflict, "key %s is not active any more", k.Name)
	}
	if len(k.Products) > 0 && !slices.Contains(k.Products, product) {
		return Key{}, albs.Errorf(albs.Conflict, "key %s was made for %v and signs nothing of %q", k.Name, k.Products, product)
	}
	return k, nil
}

// evidence returns what the signer decides by, as JSON. What is still on its way
// to the ledger is Unavailable: the queue asks again soon.
func (s *Signing) evidence(ctx context.Context, ds []albs.Digest, known uint64) (json.RawMessage, error) {
	e, err := s.provenance.Evidence(ctx, ds, known)
	if errors.Is(err, albs.NotFound) {
		return nil, albs.Errorf(albs.Invalid, "what is to be signed was never stated: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return e.Encode(), nil
}
