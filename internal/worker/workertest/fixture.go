// Package workertest holds what tests of the worker contract share: the
// conformance suite for any worker.Master, a small master in memory that passes
// it, and a server that puts a Master behind the real wire.
package workertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker"
)

// Task is what a Fixture queues.
type Task struct {
	Needs []string // labels that a worker must have
	Spec  albs.Spec
}

// Fixture is a master under test and the other hands that the suite needs on it.
// The tasks are of KindBuild; their handler lets a worker read what the spec names
// and what lies under its snapshots, and admits every file that a result names, if
// its bytes hash to its name, without looking into it. A task that is given back, as
// infra or stopped, or whose lease expires, is queued again at once; its second
// attempt that ends as infra fails it. The Fixture's methods fail the test themselves.
type Fixture interface {
	// Worker returns the master as a new worker with an identity of its own sees
	// it, one that is allowed exactly these labels.
	Worker(t *testing.T, labels ...string) worker.Master
	// Nobody returns the master as one sees it who shows no identity.
	Nobody(t *testing.T) worker.Master
	// Enqueue makes a task that can be claimed at once.
	Enqueue(t *testing.T, task Task) albs.TaskID
	// Blob makes the master hold content, outside every upload.
	Blob(t *testing.T, content []byte) albs.Digest
	// Under makes the master hold content as a file of the snapshot.
	Under(t *testing.T, snapshot albs.Digest, content []byte) albs.Digest
	// Spoil changes the bytes of a blob where they are stored.
	Spoil(t *testing.T, d albs.Digest)
	// ReadLog returns what readers see of a stream of the task's attempt.
	ReadLog(t *testing.T, id albs.TaskID, attempt int, stream string) []byte
	// Expire lets the term of the task's lease pass; the task can be claimed again.
	Expire(t *testing.T, id albs.TaskID)
	// Stop cancels the task as a person does.
	Stop(t *testing.T, id albs.TaskID)
	// Restart has the master forget all that a crash would have it forget; Workers
	// reach the new one. A master that is all memory has nothing to lose and does
	// nothing.
	Restart(t *testing.T)
	// State returns where the task stands.
	State(t *testing.T, id albs.TaskID) albs.TaskState
}

// Serve puts m behind the real Handler on loopback until the test ends. identify
// puts the identity of a bearer token into the request's context. The result makes
// Clients with a given token, whose patience is short.
func Serve(t testing.TB, m worker.Master, identify func(ctx context.Context, bearer string) (context.Context, error)) func(bearer string) *worker.Client {
	t.Helper()
	h := worker.NewHandler(m, func(r *http.Request) (context.Context, error) {
		bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return nil, albs.Errorf(albs.Unauthenticated, "the request has no bearer token")
		}
		return identify(r.Context(), bearer)
	}, zerolog.Nop())
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return func(bearer string) *worker.Client {
		c := worker.NewClient(srv.URL, bearer, srv.Client())
		c.Patience = worker.Patience{
			Call: 10 * time.Second, Complete: 10 * time.Second, Idle: 10 * time.Second,
			Repeat: 2 * time.Second, Pause: 5 * time.Millisecond,
		}
		return c
	}
}

// As returns m with every call's context passed through with, which puts a
// worker's identity into it: the way in which a Master is called in process.
func As(m worker.Master, with func(context.Context) context.Context) worker.Master {
	return identified{m, with}
}

type identified struct {
	m    worker.Master
	with func(context.Context) context.Context
}

// Claim implements worker.Master.
func (i identified) Claim(ctx context.Context, offer worker.Offer) (*worker.Lease, error) {
	return i.m.Claim(i.with(ctx), offer)
}

// Renew implements worker.Master.
func (i identified) Renew(ctx context.Context, t worker.Token) (time.Time, error) {
	return i.m.Renew(i.with(ctx), t)
}

// Complete implements worker.Master.
func (i identified) Complete(ctx context.Context, t worker.Token, o albs.Outcome, r albs.Result) error {
	return i.m.Complete(i.with(ctx), t, o, r)
}

// Log implements worker.Master.
func (i identified) Log(ctx context.Context, t worker.Token, stream string, offset int64, p []byte) (int64, error) {
	return i.m.Log(i.with(ctx), t, stream, offset, p)
}

// Get implements worker.Master.
func (i identified) Get(ctx context.Context, t worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	return i.m.Get(i.with(ctx), t, d, offset, length)
}

// Stat implements worker.Master.
func (i identified) Stat(ctx context.Context, t worker.Token, d albs.Digest) (int64, error) {
	return i.m.Stat(i.with(ctx), t, d)
}

// Put implements worker.Master.
func (i identified) Put(ctx context.Context, t worker.Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	return i.m.Put(i.with(ctx), t, d, offset, r)
}
