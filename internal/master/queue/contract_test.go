package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// The queue keeps the worker's contract on either database, in process and behind
// the wire, with the artifacts and blobs of a real master under it.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		at   func(testing.TB) db.Config
		wire bool
	}{
		{"sqlite in process", dbtest.SQLite, false},
		{"sqlite over HTTP", dbtest.SQLite, true},
		{"postgres in process", dbtest.Postgres, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.at(t) // skips here, and not in each subtest
			workertest.Run(t, func(t *testing.T) workertest.Fixture { return newContract(t, c.at(t), c.wire) })
		})
	}
}

// contract is a workertest.Fixture over a queue.
type contract struct {
	t      *testing.T
	config db.Config
	dir    string
	blobs  *blob.Dir
	late   atomic.Int64 // by which the queue's clock is ahead of the machine's
	master atomic.Pointer[running]
	client func(bearer string) *worker.Client // nil: in process

	mu     sync.Mutex
	actors []auth.Actor
	under  map[albs.Digest]albs.Digest // file → its snapshot
}

// running is one process's worth of a master.
type running struct {
	*Queue
	artifacts *artifact.Artifacts
	stop      func()
}

func newContract(t *testing.T, at db.Config, wire bool) *contract {
	c := &contract{t: t, config: at, dir: t.TempDir(), under: make(map[albs.Digest]albs.Digest)}
	c.start()
	t.Cleanup(func() { c.master.Load().stop() })
	if wire {
		c.client = workertest.Serve(t, c, c.identify)
	}
	return c
}

func (c *contract) start() {
	d, err := db.Open(c.t.Context(), c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	blobs, err1 := blob.NewDir(filepath.Join(c.dir, "blobs"))
	staging, err2 := blob.NewStaging(filepath.Join(c.dir, "staging"))
	if err := errors.Join(err1, err2); err != nil {
		c.t.Fatal(err)
	}
	c.blobs = blobs
	m := &running{artifacts: artifact.New(d, blobs, staging)}
	events := event.New(d, zerolog.Nop())
	m.Queue, err = New(d, events, m.artifacts, blobs, Config{
		Lease: time.Minute, Backoff: 1, LogDir: filepath.Join(c.dir, "logs"),
		Now: func() time.Time { return time.Now().Add(time.Duration(c.late.Load())) },
	}, zerolog.Nop())
	if err != nil {
		c.t.Fatal(err)
	}
	m.Register(albs.KindBuild, contractHandler{c, m})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{m.Run, events.Run} {
		wg.Go(func() {
			if err := run(ctx); !errors.Is(err, context.Canceled) {
				c.t.Errorf("Run = %v", err)
			}
		})
	}
	m.stop = func() {
		cancel()
		wg.Wait()
		if err := d.Close(); err != nil {
			c.t.Errorf("close the database: %v", err)
		}
	}
	c.master.Store(m)
}

// contractHandler is the handler that workertest.Fixture describes.
type contractHandler struct {
	c *contract
	m *running
}

func (contractHandler) Offer(_ context.Context, t Task, _ worker.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (h contractHandler) Admit(ctx context.Context, l worker.Lease, _ albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	var as []artifact.Artifact
	for _, f := range r.Logs {
		a, err := h.m.artifacts.Admit(ctx, Upload(l.Token), f, artifact.Log)
		if err != nil {
			return nil, err
		}
		as = append(as, a)
	}
	return func(ctx context.Context, tx db.Tx) error { return h.m.artifacts.Add(ctx, tx, as...) }, nil
}

func (contractHandler) Ended(context.Context, db.Tx, Task) error  { return nil }
func (contractHandler) InVain(context.Context, db.Tx, Task) error { return nil }

func (h contractHandler) Reads(_ context.Context, l worker.Lease, d albs.Digest) (bool, error) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	for _, r := range l.Spec.Build.Root.Repos {
		if h.c.under[d] == r.Snapshot && r.Snapshot != "" {
			return true, nil
		}
	}
	return false, nil
}

func (c *contract) identify(ctx context.Context, bearer string) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := strconv.Atoi(bearer)
	if err != nil || n < 1 || n > len(c.actors) {
		return nil, albs.Errorf(albs.Unauthenticated, "nobody has this token")
	}
	return auth.With(ctx, c.actors[n-1]), nil
}

// Worker implements workertest.Fixture.
func (c *contract) Worker(t *testing.T, labels ...string) worker.Master {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.actors) + 1
	me := auth.Actor{Kind: auth.KindWorker, Worker: albs.WorkerID(n), Name: fmt.Sprint("w", n), Role: albs.RoleNode, Labels: labels}
	c.actors = append(c.actors, me)
	if c.client != nil {
		return c.client(strconv.Itoa(n))
	}
	return workertest.As(c, func(ctx context.Context) context.Context { return auth.With(ctx, me) })
}

// Nobody implements workertest.Fixture.
func (c *contract) Nobody(*testing.T) worker.Master {
	if c.client != nil {
		return c.client("")
	}
	return c
}

// Enqueue implements workertest.Fixture.
func (c *contract) Enqueue(t *testing.T, task workertest.Task) (id albs.TaskID) {
	q := c.master.Load()
	err := q.db.InTx(t.Context(), func(tx db.Tx) (err error) {
		id, err = q.Enqueue(t.Context(), tx, NewTask{
			Kind: albs.KindBuild, Lane: "team:core", Topic: "build:1", Needs: task.Needs, Spec: task.Spec,
		})
		return err
	})
	if err != nil {
		t.Fatalf("Enqueue: %v", err)
	}
	return id
}

// Blob implements workertest.Fixture.
func (c *contract) Blob(t *testing.T, content []byte) albs.Digest {
	d := albs.DigestOf(content)
	if _, err := c.blobs.Put(t.Context(), d, bytes.NewReader(content)); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return d
}

// Under implements workertest.Fixture.
func (c *contract) Under(t *testing.T, snapshot albs.Digest, content []byte) albs.Digest {
	d := c.Blob(t, content)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under[d] = snapshot
	return d
}

// Spoil implements workertest.Fixture.
func (c *contract) Spoil(t *testing.T, d albs.Digest) {
	name := filepath.Join(c.dir, "blobs", "sha256", string(d[:2]), string(d[2:]))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if err := errors.Join(os.Remove(name), os.WriteFile(name, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// ReadLog implements workertest.Fixture.
func (c *contract) ReadLog(t *testing.T, id albs.TaskID, attempt int, stream string) []byte {
	r, _, err := c.master.Load().ReadLog(t.Context(), id, attempt, stream, 0, -1)
	if errors.Is(err, albs.NotFound) {
		return nil
	}
	if err != nil {
		t.Fatalf("ReadLog: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("ReadLog: %v", err)
	}
	return b
}

// Expire implements workertest.Fixture.
func (c *contract) Expire(t *testing.T, id albs.TaskID) {
	q := c.master.Load()
	c.late.Add(int64(q.config.Lease + time.Second))
	if err := q.reap(auth.System(t.Context(), "queue")); err != nil {
		t.Fatalf("reap: %v", err)
	}
	if s := c.State(t, id); s != albs.TaskQueued && s != albs.TaskCancelled {
		t.Fatalf("task %d is %s after its lease", id, s)
	}
}

// Stop implements workertest.Fixture.
func (c *contract) Stop(t *testing.T, id albs.TaskID) {
	q := c.master.Load()
	if err := q.db.InTx(t.Context(), func(tx db.Tx) error { return q.Cancel(t.Context(), tx, id, "not wanted") }); err != nil {
		t.Fatalf("Cancel: %v", err)
	}
}

// Restart implements workertest.Fixture.
func (c *contract) Restart(*testing.T) {
	c.master.Load().stop()
	c.start()
}

// State implements workertest.Fixture.
func (c *contract) State(t *testing.T, id albs.TaskID) albs.TaskState {
	task, err := c.master.Load().Task(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task.State
}

// The contract is the worker.Master that runs now.

func (c *contract) Claim(ctx context.Context, o worker.Offer) (*worker.Lease, error) {
	return c.master.Load().Claim(ctx, o)
}

func (c *contract) Renew(ctx context.Context, t worker.Token) (time.Time, error) {
	return c.master.Load().Renew(ctx, t)
}

func (c *contract) Complete(ctx context.Context, t worker.Token, o albs.Outcome, r albs.Result) error {
	return c.master.Load().Complete(ctx, t, o, r)
}

func (c *contract) Log(ctx context.Context, t worker.Token, stream string, offset int64, p []byte) (int64, error) {
	return c.master.Load().Log(ctx, t, stream, offset, p)
}

func (c *contract) Get(ctx context.Context, t worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	return c.master.Load().Get(ctx, t, d, offset, length)
}

func (c *contract) Stat(ctx context.Context, t worker.Token, d albs.Digest) (int64, error) {
	return c.master.Load().Stat(ctx, t, d)
}

func (c *contract) Put(ctx context.Context, t worker.Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	return c.master.Load().Put(ctx, t, d, offset, r)
}
