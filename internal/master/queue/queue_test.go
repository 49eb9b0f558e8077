package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/queue/schedule"
	"albs/internal/worker"
)

// fixture is a running queue over a fresh database, with build tasks only.
type fixture struct {
	t *testing.T
	d *db.DB
	*Queue
	handler *handler
	uploads *uploads
	clock_  *manualClock
	config  Config
	stop    func() // ends what start started last, and waits for it
}

const term = 2 * time.Second

func each(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { f(t, setup(t, d)) })
}

func setup(t *testing.T, d *db.DB) *fixture {
	f := &fixture{
		t: t, d: d, handler: &handler{}, clock_: &manualClock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		uploads: &uploads{held: make(map[string]map[albs.Digest][]byte)},
	}
	f.config = Config{Lease: term, LogDir: t.TempDir(), Now: f.clock_.now}
	f.Queue = f.start()
	return f
}

// start starts a queue, another master or the first after a restart.
func (f *fixture) start() *Queue {
	f.t.Helper()
	events := event.New(f.d, zerolog.Nop())
	q, err := New(f.d, events, f.uploads, blobs{"blob of the spec": true, "blob of a snapshot": true}, f.config, zerolog.Nop())
	if err != nil {
		f.t.Fatal(err)
	}
	q.Register(albs.KindBuild, f.handler)
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{q.Run, events.Run} {
		wg.Go(func() {
			if err := run(ctx); !errors.Is(err, context.Canceled) {
				f.t.Errorf("Run = %v", err)
			}
		})
	}
	f.stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(f.stop)
	return q
}

// as is a context in which the named worker acts; a is 1, b is 2 …
func (f *fixture) as(name string) context.Context {
	return auth.With(f.t.Context(), auth.Actor{
		Kind: auth.KindWorker, Worker: albs.WorkerID(name[0] - 'a' + 1), Name: name, Role: albs.RoleNode,
		Labels: []string{"kind:build", "arch:*"},
	})
}

var offer = worker.Offer{Labels: []string{"kind:build", "arch:x86_64"}}

func (f *fixture) tx(do func(tx db.Tx) error) error { return f.d.InTx(f.t.Context(), do) }

func (f *fixture) enqueue(after ...albs.TaskID) albs.TaskID {
	f.t.Helper()
	return f.add(NewTask{After: after})
}

// add enqueues n with what it lacks.
func (f *fixture) add(n NewTask) (id albs.TaskID) {
	f.t.Helper()
	n.Kind = albs.KindBuild
	n.Lane = or(n.Lane, "team:core")
	n.Topic = or(n.Topic, "build:1")
	if n.Needs == nil {
		n.Needs = []string{"arch:x86_64"}
	}
	err := f.tx(func(tx db.Tx) (err error) {
		id, err = f.Enqueue(f.t.Context(), tx, n)
		return err
	})
	if err != nil {
		f.t.Fatalf("Enqueue(%+v): %v", n, err)
	}
	return id
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// claim claims as the named worker, or fails the test when there is no task.
func (f *fixture) claim(name string) *worker.Lease {
	f.t.Helper()
	l, err := f.Claim(f.as(name), offer)
	if err != nil || l == nil {
		f.t.Fatalf("Claim as %s = %v, %v; want a lease", name, l, err)
	}
	return l
}

func (f *fixture) noTask(name string) {
	f.t.Helper()
	if l, err := f.Claim(f.as(name), offer); l != nil || err != nil {
		f.t.Fatalf("Claim as %s = %+v, %v; want none", name, l, err)
	}
}

func (f *fixture) complete(name string, l *worker.Lease, o albs.Outcome, reason string) {
	f.t.Helper()
	if err := f.Complete(f.as(name), l.Token, o, albs.Result{Reason: reason}); err != nil {
		f.t.Fatalf("Complete(%s) as %s: %v", o, name, err)
	}
}

// pass lets time pass and takes back what ran out.
func (f *fixture) passTime(d time.Duration) {
	f.t.Helper()
	f.clock_.add(d)
	if err := f.reap(auth.System(f.t.Context(), "queue")); err != nil {
		f.t.Fatalf("reap: %v", err)
	}
}

func (f *fixture) want(id albs.TaskID, s albs.TaskState, reason string) Task {
	f.t.Helper()
	t, err := f.Task(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	if t.State != s || t.Reason != reason {
		f.t.Errorf("task %d is %s %q, want %s %q", id, t.State, t.Reason, s, reason)
	}
	if held := s == albs.TaskLeased || s == albs.TaskStopping; held == t.Until.IsZero() {
		f.t.Errorf("task %d is %s, its lease goes to %v", id, s, t.Until)
	}
	return t
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if got := albs.KindOf(err); got != want {
		t.Errorf("%s = %v (%s), want %s", what, err, got, or(string(want), "nil"))
	}
}

// refusals calls everything with the token and wants the same kind of refusal.
func (f *fixture) refused(name string, token worker.Token, want albs.Kind) {
	f.t.Helper()
	ctx := f.as(name)
	_, err := f.Renew(ctx, token)
	wantKind(f.t, "Renew as "+name, err, want)
	_, err = f.Log(ctx, token, "build", 0, []byte("x"))
	wantKind(f.t, "Log as "+name, err, want)
	_, err = f.Stat(ctx, token, albs.DigestOf([]byte("x")))
	wantKind(f.t, "Stat as "+name, err, want)
	_, err = f.Put(ctx, token, albs.DigestOf([]byte("x")), 0, bytes.NewReader([]byte("x")))
	wantKind(f.t, "Put as "+name, err, want)
	_, err = f.Get(ctx, token, albs.DigestOf([]byte("blob of the spec")), 0, -1)
	wantKind(f.t, "Get as "+name, err, want)
	wantKind(f.t, "Complete as "+name, f.Complete(ctx, token, albs.OutcomeOK, albs.Result{Reason: "late"}), want)
}

type manualClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *manualClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *manualClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// handler counts what the queue tells it and answers as the test sets it.
type handler struct {
	mu      sync.Mutex
	offer   func(Task) error
	admit   func(worker.Lease, albs.Result) error
	apply   func(context.Context, db.Tx) error
	applied []albs.TaskID
	ended   []string

	failEnded func(Task) error
	inVain    func(context.Context, db.Tx, Task) error
}

func (h *handler) set(do func(h *handler)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do(h)
}

func (h *handler) Offer(_ context.Context, t Task, _ worker.Offer) (albs.Spec, json.RawMessage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.offer != nil {
		if err := h.offer(t); err != nil {
			return albs.Spec{}, nil, err
		}
	}
	return albs.Spec{Build: &albs.BuildSpec{
		Arch: albs.X8664, SRPM: albs.File{Name: "a.src.rpm", Digest: albs.DigestOf([]byte("blob of the spec"))},
	}}, json.RawMessage(`{"why":"trust"}`), nil
}

func (h *handler) Admit(_ context.Context, l worker.Lease, _ albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	h.mu.Lock()
	admit, apply := h.admit, h.apply
	h.mu.Unlock()
	if admit != nil {
		if err := admit(l, r); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, tx db.Tx) error {
		if apply != nil {
			if err := apply(ctx, tx); err != nil {
				return err
			}
		}
		tx.AfterCommit(func() {
			h.set(func(h *handler) { h.applied = append(h.applied, l.Token.Task) })
		})
		return nil
	}, nil
}

func (h *handler) Ended(_ context.Context, tx db.Tx, t Task) error {
	h.mu.Lock()
	fail := h.failEnded
	h.mu.Unlock()
	if fail != nil {
		if err := fail(t); err != nil {
			return err
		}
	}
	tx.AfterCommit(func() {
		h.set(func(h *handler) { h.ended = append(h.ended, fmt.Sprintf("%d %s", t.ID, t.State)) })
	})
	return nil
}

func (h *handler) InVain(ctx context.Context, tx db.Tx, t Task) error {
	h.mu.Lock()
	inVain := h.inVain
	h.mu.Unlock()
	if inVain != nil {
		return inVain(ctx, tx, t)
	}
	return nil
}

func (h *handler) Reads(_ context.Context, _ worker.Lease, d albs.Digest) (bool, error) {
	return d == albs.DigestOf([]byte("blob of a snapshot")), nil
}

// uploads keeps uploads in memory.
type uploads struct {
	mu   sync.Mutex
	held map[string]map[albs.Digest][]byte
}

func (u *uploads) Stage(_ context.Context, lease string, d albs.Digest, off int64, r io.Reader, _ int64) (int64, error) {
	p, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held[lease] == nil {
		u.held[lease] = make(map[albs.Digest][]byte)
	}
	u.held[lease][d] = append(u.held[lease][d][:off], p...)
	return int64(len(u.held[lease][d])), nil
}

func (u *uploads) Staged(_ context.Context, lease string, d albs.Digest) (int64, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(len(u.held[lease][d])), nil
}

func (u *uploads) OpenStaged(_ context.Context, lease string, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return io.NopCloser(bytes.NewReader(slices.Clone(u.held[lease][d][off:]))), nil
}

func (u *uploads) DropStaged(_ context.Context, lease string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.held, lease)
	return nil
}

func (u *uploads) StagedLeases(context.Context) (names []string, _ error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := range u.held {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// blobs holds blobs by their content.
type blobs map[string]bool

func (b blobs) OpenRange(_ context.Context, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	for s := range b {
		if albs.DigestOf([]byte(s)) == d {
			return io.NopCloser(io.NewSectionReader(bytes.NewReader([]byte(s)), off, int64(len(s)))), nil
		}
	}
	return nil, albs.Errorf(albs.NotFound, "there is no blob %s", d.Short())
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no directory":   {},
		"short lease":    {LogDir: "x", Lease: time.Millisecond},
		"no attempts":    {LogDir: "x", MaxLost: -1},
		"negative pause": {LogDir: "x", Backoff: -1},
		"no half-life":   {LogDir: "x", HalfLife: time.Second},
	} {
		if _, err := New(nil, nil, nil, nil, c, zerolog.Nop()); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: New = %v, want Invalid", name, err)
		}
	}
}

func TestEnqueueRefuses(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		good := NewTask{Kind: albs.KindBuild, Lane: "team:core", Topic: "build:1"}
		for _, test := range []struct {
			name   string
			change func(n *NewTask)
			want   albs.Kind
		}{
			{"nothing", func(*NewTask) {}, ""},
			{"unknown kind", func(n *NewTask) { n.Kind = "dream" }, albs.Internal},
			{"no lane", func(n *NewTask) { n.Lane = "" }, albs.Invalid},
			{"lane of two lines", func(n *NewTask) { n.Lane = "a\nb" }, albs.Invalid},
			{"no topic", func(n *NewTask) { n.Topic = "" }, albs.Invalid},
			{"label with a space", func(n *NewTask) { n.Needs = []string{"a b"} }, albs.Invalid},
			{"room of less than nothing", func(n *NewTask) { n.Room.Memory = -1 }, albs.Invalid},
			{"key of two words", func(n *NewTask) { n.Key = "a b" }, albs.Invalid},
			{"key without end", func(n *NewTask) { n.Key = strings.Repeat("k", schedule.MaxKey+1) }, albs.Invalid},
			{"after nothing there is", func(n *NewTask) { n.After = []albs.TaskID{1 << 40} }, albs.Invalid},
			{"too many needs", func(n *NewTask) {
				for i := range MaxNeeds {
					n.Needs = append(n.Needs, fmt.Sprint("l", i))
				}
			}, albs.TooLarge},
		} {
			n := good
			test.change(&n)
			err := f.tx(func(tx db.Tx) error {
				_, err := f.Enqueue(t.Context(), tx, n)
				return err
			})
			wantKind(t, test.name, err, test.want)
		}
	})
}

func TestLists(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var ids []albs.TaskID
		for i := range 6 {
			ids = append(ids, f.add(NewTask{
				Topic: fmt.Sprint("build:", i%2), Lane: fmt.Sprint("team:", i%3),
				Needs: []string{[]string{"arch:x86_64", "arch:aarch64"}[i%2]},
				Spec:  albs.Spec{Build: &albs.BuildSpec{Arch: albs.X8664}},
			}))
		}
		blocked := f.enqueue(ids[1])
		l := f.claim("a")
		for _, test := range []struct {
			name string
			f    Filter
			want []albs.TaskID
		}{
			{"all, newest first", Filter{}, []albs.TaskID{blocked, ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
			{"page", Filter{Limit: 2, Before: ids[4]}, []albs.TaskID{ids[3], ids[2]}},
			{"topic", Filter{Topic: "build:0"}, []albs.TaskID{ids[4], ids[2], ids[0]}},
			{"lane", Filter{Lane: "team:2"}, []albs.TaskID{ids[5], ids[2]}},
			{"states", Filter{States: []albs.TaskState{albs.TaskLeased, albs.TaskBlocked}}, []albs.TaskID{blocked, ids[0]}},
			{"kind", Filter{Kind: albs.KindSign}, nil},
			{"several", Filter{Topic: "build:0", Lane: "team:0", States: []albs.TaskState{albs.TaskQueued}}, nil},
		} {
			ts, err := f.List(t.Context(), test.f)
			var got []albs.TaskID
			for _, task := range ts {
				got = append(got, task.ID)
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: List = %v, %v; want %v", test.name, got, err, test.want)
			}
		}
		if l.Token.Task != ids[0] {
			t.Errorf("claimed task %d, want the oldest, %d", l.Token.Task, ids[0])
		}
		task := f.want(ids[0], albs.TaskLeased, "")
		if task.Spec.Build == nil || task.Worker != "a" || task.Attempts != 1 || !slices.Equal(task.Needs, []string{"arch:x86_64", "kind:build"}) {
			t.Errorf("task = %+v", task)
		}
		ts, err := f.Tasks(t.Context(), blocked, ids[2], 1<<40)
		if err != nil || len(ts) != 2 || ts[0].ID != ids[2] || ts[1].ID != blocked || ts[0].Spec.Build != nil {
			t.Errorf("Tasks = %+v, %v", ts, err)
		}
		stats, err := f.Stats(t.Context())
		want := []Stat{
			{albs.TaskBlocked, albs.KindBuild, albs.X8664, 1},
			{albs.TaskLeased, albs.KindBuild, albs.X8664, 1},
			{albs.TaskQueued, albs.KindBuild, albs.AArch64, 3},
			{albs.TaskQueued, albs.KindBuild, albs.X8664, 2},
		}
		if err != nil || !slices.Equal(stats, want) {
			t.Errorf("Stats = %v, %v; want %v", stats, err, want)
		}
		_, err = f.Task(t.Context(), 1<<40)
		wantKind(t, "Task(unknown)", err, albs.NotFound)
	})
}

// No query that lists or dispatches reads the whole table: each has the index that
// was made for it.
func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	for query, index := range map[string]string{
		`SELECT id FROM task WHERE topic = 'x' AND id < 9 ORDER BY id DESC LIMIT 10`:                                                      "task_topic",
		`SELECT id FROM task WHERE state IN ('failed') AND id < 9 ORDER BY id DESC LIMIT 10`:                                              "task_state",
		`SELECT id FROM task WHERE lane = 'x' ORDER BY id DESC LIMIT 10`:                                                                  "task_lane",
		`SELECT id FROM task WHERE kind = 'x' ORDER BY id DESC LIMIT 10`:                                                                  "task_kind",
		`SELECT state, class, count(*) FROM task WHERE state IN ('queued') GROUP BY state, class`:                                         "task_ready",
		`SELECT min(class) FROM task WHERE state = 'queued' AND class > 'x'`:                                                              "task_ready",
		`SELECT id FROM task WHERE state = 'queued' AND class = 'x' ORDER BY priority DESC, chain DESC, id`:                               "task_ready",
		`SELECT count(*) FROM task WHERE state = 'queued' AND class = 'x' AND priority > 3`:                                               "task_ready",
		`SELECT worker_id, class, expected, count(*) FROM task WHERE state IN ('leased', 'stopping') GROUP BY worker_id, class, expected`: "task_",
		`SELECT task_id FROM attempt WHERE worker_id = 1 AND ended_at > 'x' AND ended IN ('expire', 'lost') ORDER BY ended_at`:            "attempt_worker",
		`SELECT task_id FROM attempt WHERE ended_at > 'x'`:                                                                                "attempt_ended",
		`SELECT name FROM fleet_worker WHERE name = 'x' ORDER BY worker_id DESC LIMIT 1`:                                                  "fleet_worker_name",
		`SELECT lane, count(*) FROM task WHERE state IN ('leased', 'stopping') GROUP BY lane`:                                             "task_",
		`SELECT id FROM task WHERE state IN ('leased', 'stopping') AND lease_until < 'x'`:                                                 "task_",
		`SELECT task_id FROM task_after WHERE after_id = 1`:                                                                               "task_after_after",
		`SELECT id FROM task WHERE cause_id = 1 AND state = 'blocked'`:                                                                    "task_",
	} {
		var plan []struct {
			ID, Parent, Notused int
			Detail              string
		}
		if err := d.SelectContext(t.Context(), &plan, `EXPLAIN QUERY PLAN `+query); err != nil {
			t.Fatal(err)
		}
		first := plan[0].Detail
		if !strings.HasPrefix(first, "SEARCH ") || !strings.Contains(first, "INDEX "+index) {
			t.Errorf("%s:\n\t%s, want a search by index %s", query, first, index)
		}
	}
}
