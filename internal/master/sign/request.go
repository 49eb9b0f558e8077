package sign

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/testrun"
)

// maxPackages bounds one sign task, of documents too: its evidence has to fit a lease
// (queue.MaxSpec), at some 15 KiB for a package. A larger build gets more tasks.
const maxPackages = 50

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

// statusOf computes a request's status from the states of its tasks. A request
// without a task had nothing left to sign.
func statusOf(tasks []albs.TaskState) Status {
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
	Approvals Approvals
}

// Cause returns why a request failed, by its Reason; nil if it didn't.
func (r Request) Cause() *failure.Cause {
	if r.Status != Failed {
		return nil
	}
	c := failure.OfWords(r.Reason)
	return &c
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
// NotFound for an unknown build or key; Conflict if the build hasn't succeeded or its
// packages are being replaced, the key is not active or was made for other products, the
// product's gate doesn't hold, or every package is signed with the key already.
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
	if b.Status.State != status.Succeeded {
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
	var effects *artifact.Artifact
	if b.Product != "" {
		a, expires, err := s.saveEffects(ctx, b.Product, k.Fingerprint, false, filesOf(packages))
		if err != nil {
			return Request{}, err
		}
		effects, row.Effects, row.ExpiresAt = &a, a.Digest, expires
	}
	err = s.open(ctx, &row, b, packages, effects)
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

// open makes the request, or finds the one that is open, of a build that still is as b was.
func (s *Signing) open(ctx context.Context, row *requestRow, b build.Build, packages []packageRow, effects *artifact.Artifact) error {
	return s.store.d.InTx(ctx, func(tx db.Tx) (err error) {
		if err := s.builds.Unchanged(ctx, tx, b); err != nil {
			return err
		}
		if row.ID, err = s.store.openRequest(ctx, tx, row.BuildID, row.Key); err != nil || row.ID != 0 {
			return err
		}
		if err := s.insert(ctx, tx, row, packages, b.Lane()); err != nil || effects == nil {
			return err
		}
		return s.keepEffects(ctx, tx, *effects)
	})
}

func filesOf(packages []packageRow) []albs.File {
	var out []albs.File
	for _, p := range packages {
		out = append(out, p.file())
	}
	return out
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
	for chunk := range slices.Chunk(left, maxPackages) {
		id, err := s.queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindSign, Lane: lane, Topic: build.Topic(row.BuildID), Needs: []string{"key:" + row.Key},
		})
		if err != nil {
			return err
		}
		if err := s.store.addTask(ctx, tx, id, row.ID, chunk); err != nil {
			return err
		}
		why := attest.SignIntentBody{Task: id, Fingerprint: row.Key, Product: row.Product, Requester: row.Requester}
		if err := s.intend(ctx, tx, filesOf(chunk), why); err != nil {
			return err
		}
		tasks = append(tasks, id)
	}
	return s.events.Add(ctx, tx, "sign.requested", build.Topic(row.BuildID), auth.From(ctx).String(), map[string]any{
		"request": row.ID, "key": row.Key, "tasks": tasks, "packages": len(left),
	})
}

// gate says whether the product lets the packages be signed: where it wants verified
// sources, the ledger must prove that every package has one, and where tests are
// required, every RPM must have passed its latest ones; that of the signed copy is a gate of
// releases. It is Conflict with the first reason.
func (s *Signing) gate(ctx context.Context, id albs.BuildID, name string, packages []packageRow) error {
	if name == "" {
		return nil
	}
	p, err := s.products.Get(ctx, name)
	if err != nil {
		return err
	}
	if p.Sources == product.VerifiedSources {
		if err := s.verified(ctx, name, packages); err != nil {
			return err
		}
	}
	if !p.Gate.Unsigned().Requires() {
		return nil
	}
	var rpms []albs.Digest
	for _, row := range packages {
		if row.Kind == string(artifact.RPM) {
			rpms = append(rpms, row.Unsigned)
		}
	}
	verdicts, err := s.tests.Verdict(ctx, id, rpms, p.Gate)
	if err != nil {
		return err
	}
	return judge(name, id, packages, verdicts)
}

// verified says whether all packages come from verified sources.
func (s *Signing) verified(ctx context.Context, product string, packages []packageRow) error {
	for _, row := range packages {
		why, err := s.provenance.Unverified(ctx, row.Unsigned)
		if err != nil {
			return err
		}
		if why != "" {
			return albs.Errorf(albs.Conflict, "product %s takes packages of verified sources only: %s: %s", product, row.Name, why)
		}
	}
	return nil
}

// judge is the gate's rule. SRPMs have no verdict: they are not tested.
func judge(product string, build albs.BuildID, packages []packageRow, verdicts map[albs.Digest]testrun.Verdict) error {
	bad := 0
	var first, remedy string
	for _, row := range packages {
		v, ok := verdicts[row.Unsigned]
		if !ok || v.Passes() {
			continue
		}
		if bad == 0 {
			first, remedy = fmt.Sprintf("%s: %s", row.Name, v.Reason), v.Remedy(build, row.Name)
		}
		bad++
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return albs.Errorf(albs.Conflict, "product %s requires passed tests: %s; %s", product, first, remedy)
	}
	return albs.Errorf(albs.Conflict, "product %s requires passed tests: %s (and %d more); %s", product, first, bad-1, remedy)
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
	out.Status = statusOf(states)
	if out.Approvals, err = s.approvals(ctx, s.store.d, row.wish()); err != nil {
		return wrap(err)
	}
	packages, err := s.store.packagesOfRequest(ctx, s.store.d, row.ID, row.Key)
	if err != nil {
		return wrap(err)
	}
	for _, p := range packages {
		out.Packages = append(out.Packages, Package{File: p.file(), Kind: p.Kind, Signed: p.Signed})
	}
	return out, nil
}
