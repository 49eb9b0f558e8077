package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/worker"
)

// Key is what a signer or releaser offers as the key of its statements that makes none.
const Key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// KeyOf returns what a worker of a role that makes no statements offers as their key.
func KeyOf(r albs.Role) string {
	if r == albs.RoleSigner || r == albs.RoleReleaser {
		return Key
	}
	return ""
}

const fakeAttempts = 2 // that end as infra, after which a task fails

// Fake is a master in memory: a worker.Master that keeps the contract, for tests
// of workers. Its time is the machine's.
type Fake struct {
	// Term is the length of leases; set before use. NewFake sets a minute.
	Term time.Duration
	// Reads says what a worker may Get beside what the spec names and its own
	// uploads: what lies under a snapshot. Nil is nothing; set before use.
	Reads func(spec albs.Spec, d albs.Digest) bool

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change that anyone may wait for
	away    bool
	workers [][]string // labels by id - 1
	tasks   []*fakeTask
	blobs   map[albs.Digest][]byte
}

type fakeTask struct {
	id       albs.TaskID
	needs    []string
	kind     albs.TaskKind
	spec     albs.Spec
	evidence json.RawMessage
	state    albs.TaskState
	until    time.Time
	attempts []*fakeAttempt // the fence is the index + 1
	lost     int            // attempts that ended as infra
	ended    chan struct{}  // closed at the first final state
}

type fakeAttempt struct {
	holder  int64
	outcome albs.Outcome // "" while it runs
	result  albs.Result
	refusal error // what the result was answered with; nil if it was taken
	logs    map[string][]byte
	uploads map[albs.Digest][]byte
}

// NewFake returns an empty Fake.
func NewFake() *Fake {
	return &Fake{Term: time.Minute, changed: make(chan struct{}), blobs: make(map[albs.Digest][]byte)}
}

type identityKey struct{}

// AddWorker makes an identity that is allowed these labels and returns its bearer
// token.
func (f *Fake) AddWorker(labels ...string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.workers = append(f.workers, labels)
	return strconv.Itoa(len(f.workers))
}

// Identify puts the identity of a bearer token into ctx; it fits Serve.
func (f *Fake) Identify(ctx context.Context, bearer string) (context.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, err := strconv.ParseInt(bearer, 10, 64)
	if err != nil || id < 1 || id > int64(len(f.workers)) {
		return nil, albs.Errorf(albs.Unauthenticated, "the token is not known")
	}
	return context.WithValue(ctx, identityKey{}, id), nil
}

// As returns the Fake as the worker with this token sees it in process.
func (f *Fake) As(bearer string) worker.Master {
	return As(f, func(ctx context.Context) context.Context {
		with, err := f.Identify(ctx, bearer)
		if err != nil {
			return ctx // the call answers Unauthenticated
		}
		return with
	})
}

// SetAway makes every call answer Unavailable, or no longer.
func (f *Fake) SetAway(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
	f.wake()
}

// Add queues a task of the kind of the member that spec has, with evidence.
func (f *Fake) Add(task Task, evidence json.RawMessage) albs.TaskID {
	kind := albs.KindBuild
	switch s := task.Spec; {
	case s.Source != nil:
		kind = albs.KindSource
	case s.Test != nil:
		kind = albs.KindTest
	case s.Sign != nil:
		kind = albs.KindSign
	case s.Keygen != nil:
		kind = albs.KindKeygen
	case s.Publish != nil:
		kind = albs.KindPublish
	case s.Prune != nil:
		kind = albs.KindPrune
	case s.Prove != nil:
		kind = albs.KindProve
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := albs.TaskID(len(f.tasks) + 1)
	f.tasks = append(f.tasks, &fakeTask{
		id: id, needs: task.Needs, kind: kind, spec: task.Spec, evidence: evidence, state: albs.TaskQueued, ended: make(chan struct{}),
	})
	f.wake()
	return id
}

// AddBlob makes the Fake hold content.
func (f *Fake) AddBlob(content []byte) albs.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := albs.DigestOf(content)
	f.blobs[d] = bytes.Clone(content)
	return d
}

// Content returns a blob or an admitted upload; nil if there is none.
func (f *Fake) Content(d albs.Digest) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blobs[d]
}

// Changed returns a channel that is closed at the next change of a task, a log or
// the Fake's presence.
func (f *Fake) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Ended returns a channel that is closed once the task is final.
func (f *Fake) Ended(id albs.TaskID) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tasks[id-1].ended
}

// Result returns how the task's attempt ended, "" if it hasn't.
func (f *Fake) Result(id albs.TaskID, attempt int) (albs.Outcome, albs.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tasks[id-1]
	if attempt < 1 || attempt > len(t.attempts) {
		return "", albs.Result{}
	}
	a := t.attempts[attempt-1]
	return a.outcome, a.result
}

// LogOf returns a stream of the task's attempt.
func (f *Fake) LogOf(id albs.TaskID, attempt int, stream string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tasks[id-1]
	if attempt < 1 || attempt > len(t.attempts) {
		return nil
	}
	return bytes.Clone(t.attempts[attempt-1].logs[stream])
}

// ExpireLease ends the term of the task's lease now.
func (f *Fake) ExpireLease(id albs.TaskID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks[id-1].until = time.Now()
	f.wake()
}

// StopTask cancels the task.
func (f *Fake) StopTask(id albs.TaskID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch t := f.tasks[id-1]; t.state {
	case albs.TaskLeased:
		t.state = albs.TaskStopping
	case albs.TaskQueued:
		f.end(t, albs.TaskCancelled)
	}
	f.wake()
}

// StateOf returns where the task stands.
func (f *Fake) StateOf(id albs.TaskID) albs.TaskState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tasks[id-1].state
}

func (f *Fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Fake) end(t *fakeTask, s albs.TaskState) {
	t.state = s
	close(t.ended)
}

// who returns the caller's identity; the lock is held.
func (f *Fake) who(ctx context.Context) (int64, error) {
	if f.away {
		return 0, albs.Errorf(albs.Unavailable, "the master is away")
	}
	id, ok := ctx.Value(identityKey{}).(int64)
	if !ok {
		return 0, albs.Errorf(albs.Unauthenticated, "the call has no worker's identity")
	}
	return id, nil
}

// Claim implements worker.Master.
func (f *Fake) Claim(ctx context.Context, offer worker.Offer) (*worker.Lease, error) {
	deadline := time.Now().Add(time.Duration(offer.Wait) * time.Second)
	for {
		f.mu.Lock()
		lease, next, err := f.take(ctx, offer)
		changed := f.changed
		f.mu.Unlock()
		if lease != nil || err != nil {
			return lease, err
		}
		if next.IsZero() || next.After(deadline) {
			next = deadline
		}
		wait := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, albs.Errorf(albs.Unavailable, "claim: %w", ctx.Err())
		case <-changed:
		case <-wait.C:
		}
		wait.Stop()
		if !time.Now().Before(deadline) {
			return nil, nil
		}
	}
}

// take leases the first task that fits; next is when a lease in the way expires.
func (f *Fake) take(ctx context.Context, offer worker.Offer) (lease *worker.Lease, next time.Time, err error) {
	id, err := f.who(ctx)
	if err != nil {
		return nil, next, err
	}
	for _, l := range offer.Labels {
		if !slices.Contains(f.workers[id-1], l) {
			return nil, next, albs.Errorf(albs.Forbidden, "the identity doesn't allow the label %q", l)
		}
	}
	now := time.Now()
	for _, t := range f.tasks {
		if t.state == albs.TaskLeased || t.state == albs.TaskStopping {
			if t.until.After(now) {
				if next.IsZero() || t.until.Before(next) {
					next = t.until
				}
				continue
			}
			if t.state == albs.TaskStopping {
				f.end(t, albs.TaskCancelled)
				continue
			}
		} else if t.state != albs.TaskQueued {
			continue
		}
		if slices.ContainsFunc(t.needs, func(n string) bool { return !slices.Contains(offer.Labels, n) }) {
			continue
		}
		t.attempts = append(t.attempts, &fakeAttempt{holder: id, logs: make(map[string][]byte), uploads: make(map[albs.Digest][]byte)})
		t.state, t.until = albs.TaskLeased, now.Add(f.Term)
		return &worker.Lease{
			Token: worker.Token{Task: t.id, Fence: int64(len(t.attempts))}, Kind: t.kind, Attempt: len(t.attempts),
			Until: t.until, Term: f.Term, Spec: t.spec, Evidence: t.evidence,
		}, next, nil
	}
	return nil, next, nil
}

// hold checks a token and revives its lease; the lock is held. With the error it
// returns what there is, for Complete.
func (f *Fake) hold(ctx context.Context, k worker.Token) (*fakeTask, *fakeAttempt, error) {
	id, err := f.who(ctx)
	if err != nil {
		return nil, nil, err
	}
	if k.Task < 1 || int(k.Task) > len(f.tasks) {
		return nil, nil, albs.Errorf(albs.NotFound, "there is no task %d", k.Task)
	}
	t := f.tasks[k.Task-1]
	if k.Fence < 1 || int(k.Fence) > len(t.attempts) {
		return nil, nil, albs.Errorf(albs.StaleLease, "task %d has no attempt %d", k.Task, k.Fence)
	}
	a := t.attempts[k.Fence-1]
	if a.holder != id {
		return nil, nil, albs.Errorf(albs.Forbidden, "attempt %d of task %d is another worker's", k.Fence, k.Task)
	}
	if int(k.Fence) != len(t.attempts) || a.outcome != "" || t.state.Final() {
		return t, a, albs.Errorf(albs.StaleLease, "attempt %d of task %d has ended", k.Fence, k.Task)
	}
	if now := time.Now(); t.until.Before(now) {
		t.until = now.Add(f.Term)
	}
	return t, a, nil
}

// run is hold for the calls that Stopped ends.
func (f *Fake) run(ctx context.Context, k worker.Token) (*fakeTask, *fakeAttempt, error) {
	t, a, err := f.hold(ctx, k)
	if err == nil && t.state == albs.TaskStopping {
		err = albs.Errorf(albs.Stopped, "task %d was cancelled", k.Task)
	}
	return t, a, err
}

// Renew implements worker.Master.
func (f *Fake) Renew(ctx context.Context, k worker.Token) (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, _, err := f.run(ctx, k)
	if err != nil {
		return time.Time{}, err
	}
	t.until = time.Now().Add(f.Term)
	return t.until, nil
}

// Complete implements worker.Master.
func (f *Fake) Complete(ctx context.Context, k worker.Token, outcome albs.Outcome, result albs.Result) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, a, err := f.hold(ctx, k)
	switch outcome {
	case albs.OutcomeOK, albs.OutcomeFailed, albs.OutcomeExcluded, albs.OutcomeInfra, albs.OutcomeLost, albs.OutcomeStopped:
	default:
		return albs.Errorf(albs.Invalid, "%q is no outcome", outcome)
	}
	if a != nil && a.outcome == outcome && same(a.result, result) {
		return a.refusal
	}
	if err != nil {
		return err
	}
	defer f.wake()
	if t.state == albs.TaskStopping {
		if outcome != albs.OutcomeStopped {
			return albs.Errorf(albs.Stopped, "task %d was cancelled", k.Task)
		}
		a.outcome, a.result = outcome, result
		f.end(t, albs.TaskCancelled)
		return nil
	}
	for _, file := range filesOf(result) {
		if content, ok := a.uploads[file.Digest]; !ok || albs.DigestOf(content) != file.Digest || int64(len(content)) != file.Size {
			a.outcome, a.result = outcome, result
			a.refusal = albs.Errorf(albs.Invalid, "the bytes of %s don't hash to %s", file.Name, file.Digest)
			f.end(t, albs.TaskFailed)
			return a.refusal
		}
	}
	for _, file := range filesOf(result) {
		f.blobs[file.Digest] = a.uploads[file.Digest]
	}
	a.outcome, a.result = outcome, result
	switch outcome {
	case albs.OutcomeOK:
		f.end(t, albs.TaskSucceeded)
	case albs.OutcomeExcluded:
		f.end(t, albs.TaskExcluded)
	case albs.OutcomeStopped:
		t.state = albs.TaskQueued
	case albs.OutcomeLost:
		t.state = albs.TaskQueued
	case albs.OutcomeInfra:
		if t.lost++; t.lost < fakeAttempts {
			t.state = albs.TaskQueued
			return nil
		}
		f.end(t, albs.TaskFailed)
	default:
		f.end(t, albs.TaskFailed)
	}
	return nil
}

// same reports whether two results say the same.
func same(a, b albs.Result) bool {
	p, err1 := json.Marshal(a)
	q, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(p, q)
}

// filesOf returns every file that a result names.
func filesOf(r albs.Result) []albs.File {
	files := slices.Clone(r.Logs)
	if r.Source != nil {
		files = append(files, r.Source.SRPM, r.Source.Record)
	}
	if r.Build != nil {
		files = append(append(files, r.Build.Packages...), r.Build.Record)
	}
	return slices.DeleteFunc(files, func(f albs.File) bool { return f == albs.File{} })
}

// Log implements worker.Master.
func (f *Fake) Log(ctx context.Context, k worker.Token, stream string, offset int64, p []byte) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, a, err := f.hold(ctx, k)
	if err != nil {
		return 0, err
	}
	if err := worker.ValidStream(stream); err != nil {
		return 0, err
	}
	if offset < 0 {
		return 0, albs.Errorf(albs.Invalid, "a log has no offset %d", offset)
	}
	if len(p) > worker.MaxLogChunk {
		return 0, albs.Errorf(albs.TooLarge, "%d bytes of log at once", len(p))
	}
	log, done, err := extend(a.logs[stream], offset, p)
	if err == nil {
		a.logs[stream] = log
		f.wake()
	}
	return done, err
}

// extend appends to b what p, which begins at offset, has beyond b's end.
func extend(b []byte, offset int64, p []byte) ([]byte, int64, error) {
	have := int64(len(b))
	if offset > have {
		return b, have, albs.Errorf(albs.Conflict, "offset %d lies beyond the length %d", offset, have)
	}
	if skip := have - offset; skip < int64(len(p)) {
		b = append(b, p[skip:]...)
	}
	return b, int64(len(b)), nil
}

// Get implements worker.Master.
func (f *Fake) Get(ctx context.Context, k worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, a, err := f.run(ctx, k)
	if err != nil {
		return nil, err
	}
	content, ok := a.uploads[d]
	if !ok {
		if !names(t.spec, d) && (f.Reads == nil || !f.Reads(t.spec, d)) {
			return nil, albs.Errorf(albs.Forbidden, "task %d doesn't name %s", k.Task, d)
		}
		if content, ok = f.blobs[d]; !ok {
			return nil, albs.Errorf(albs.NotFound, "there is no blob %s", d)
		}
		if albs.DigestOf(content) != d {
			return nil, albs.Errorf(albs.Internal, "the bytes of blob %s have another sha256", d)
		}
	}
	if offset < 0 || offset > int64(len(content)) {
		return nil, albs.Errorf(albs.Invalid, "offset %d lies outside the blob's %d bytes", offset, len(content))
	}
	content = content[offset:]
	if length >= 0 {
		content = content[:min(length, int64(len(content)))]
	}
	return io.NopCloser(bytes.NewReader(bytes.Clone(content))), nil
}

// names reports whether the spec holds d anywhere.
func names(spec albs.Spec, d albs.Digest) bool {
	b, err := json.Marshal(spec)
	return err == nil && bytes.Contains(b, []byte(`"`+string(d)+`"`))
}

// Stat implements worker.Master.
func (f *Fake) Stat(ctx context.Context, k worker.Token, d albs.Digest) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, a, err := f.run(ctx, k)
	if err != nil {
		return 0, err
	}
	return int64(len(a.uploads[d])), nil
}

// Put implements worker.Master.
func (f *Fake) Put(ctx context.Context, k worker.Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	f.mu.Lock()
	_, a, err := f.run(ctx, k)
	if err == nil && offset != int64(len(a.uploads[d])) {
		err = albs.Errorf(albs.Conflict, "the upload has %d bytes, not %d", len(a.uploads[d]), offset)
	}
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	p, readErr := io.ReadAll(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.run(ctx, k); err != nil {
		return 0, err
	}
	if offset != int64(len(a.uploads[d])) {
		return int64(len(a.uploads[d])), albs.Errorf(albs.Conflict, "the upload has %d bytes, not %d", len(a.uploads[d]), offset)
	}
	a.uploads[d] = append(a.uploads[d][:offset:offset], p...)
	if readErr != nil {
		return int64(len(a.uploads[d])), albs.Errorf(albs.Unavailable, "the upload broke off: %w", readErr)
	}
	return int64(len(a.uploads[d])), nil
}

// Uploads returns what the attempt has uploaded so far.
func (f *Fake) Uploads(id albs.TaskID, attempt int) map[albs.Digest][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tasks[id-1]
	if attempt < 1 || attempt > len(t.attempts) {
		return nil
	}
	return maps.Clone(t.attempts[attempt-1].uploads)
}

// InProcess returns a Fixture over a new Fake that is called in process.
func InProcess(*testing.T) Fixture {
	f := NewFake()
	return newFakeFixture(f, f.As)
}

// OverHTTP returns a Fixture over a new Fake behind the real wire.
func OverHTTP(t *testing.T) Fixture {
	f := NewFake()
	client := Serve(t, f, f.Identify)
	return newFakeFixture(f, func(bearer string) worker.Master { return client(bearer) })
}

type fakeFixture struct {
	*Fake
	as    func(bearer string) worker.Master
	under map[albs.Digest]albs.Digest // file → its snapshot; guarded by Fake.mu
}

func newFakeFixture(f *Fake, as func(bearer string) worker.Master) fakeFixture {
	x := fakeFixture{f, as, make(map[albs.Digest]albs.Digest)}
	f.Reads = func(spec albs.Spec, d albs.Digest) bool {
		s, ok := x.under[d]
		return ok && names(spec, s)
	}
	return x
}

// Worker implements Fixture.
func (x fakeFixture) Worker(_ *testing.T, labels ...string) worker.Master {
	return x.as(x.AddWorker(labels...))
}

// Nobody implements Fixture.
func (x fakeFixture) Nobody(*testing.T) worker.Master { return x.as("") }

// Enqueue implements Fixture.
func (x fakeFixture) Enqueue(_ *testing.T, task Task) albs.TaskID { return x.Add(task, nil) }

// Blob implements Fixture.
func (x fakeFixture) Blob(_ *testing.T, content []byte) albs.Digest { return x.AddBlob(content) }

// Under implements Fixture.
func (x fakeFixture) Under(_ *testing.T, snapshot albs.Digest, content []byte) albs.Digest {
	d := x.AddBlob(content)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.under[d] = snapshot
	return d
}

// Spoil implements Fixture.
func (x fakeFixture) Spoil(_ *testing.T, d albs.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.blobs[d][0] ^= 1
}

// Restart implements Fixture.
func (fakeFixture) Restart(*testing.T) {}

// ReadLog implements Fixture.
func (x fakeFixture) ReadLog(_ *testing.T, id albs.TaskID, attempt int, stream string) []byte {
	return x.LogOf(id, attempt, stream)
}

// Expire implements Fixture.
func (x fakeFixture) Expire(_ *testing.T, id albs.TaskID) { x.ExpireLease(id) }

// Stop implements Fixture.
func (x fakeFixture) Stop(_ *testing.T, id albs.TaskID) { x.StopTask(id) }

// State implements Fixture.
func (x fakeFixture) State(_ *testing.T, id albs.TaskID) albs.TaskState { return x.StateOf(id) }
