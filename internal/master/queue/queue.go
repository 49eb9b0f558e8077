// Package queue owns the master's work: tasks, what each waits for, the attempts
// at them with their leases, and the logs that workers stream. It implements
// worker.Master, the contract's master side. What a kind of task means is in the
// Handler that the kind's module registers; who gets what, and why something waits, is
// decided by the pure rules of queue/schedule; what is known of workers is fleet's.
//
// What holds at every commit:
//
//   - A task moves only along the table of queue/life.
//   - An attempt is fenced: its token is a number that grows with each claim, and
//     every effect of a worker's call is in one transaction with the check that
//     the token is the newest and the attempt not ended.
//   - An attempt ends once. What ends it, what its kind applies, what it unblocks
//     and the events that tell of it are one transaction.
//   - A task that isn't final is queued, or leased until some time, or blocked by
//     a task that isn't satisfied; of one that waits in vain, reason names the cause.
//   - Nothing is leased to a worker that is drained or quarantined.
//
// Files (uploads, logs) are outside the transactions and belong to one attempt
// each, so that a superseded worker can spoil only its own.
package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/fleet"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/logfile"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// Handler is what a kind of task means. Its methods may be called concurrently, for
// one task too, and, when a call is repeated or a transaction runs again, more than
// once. queuetest.Run asks each handler for what stands here.
type Handler interface {
	// Offer returns the spec as it is at this moment and the evidence for the
	// worker, after o's worker has claimed t and before it hears of it. Both are
	// kept with the attempt. Unavailable gives the task back for a while; Invalid,
	// NotFound and TooLarge fail it for that reason; any other error counts as a
	// lost attempt. An offer may come to nothing without a word to the handler:
	// made again, while nothing else has changed, it is the same and changes nothing.
	Offer(ctx context.Context, t Task, o worker.Offer) (albs.Spec, json.RawMessage, error)

	// Admit looks at the result of an attempt with outcome ok, failed or excluded
	// and returns what to do with it, or nil. It does all the I/O: uploads lie
	// under Upload(l.Token). Invalid, NotFound and TooLarge refuse the result: the
	// task fails for that reason. So it is for a result that lacks the kind's own
	// member or has a wrong one, and for excluded where the kind excludes nothing.
	// With any other error the attempt goes on and the worker reports again.
	//
	// An admission may come to nothing, too: without its apply nothing is seen of
	// it. apply runs in the transaction that ends the attempt, the task being in its
	// new state already, and again if that transaction does; all that it does is in
	// tx. Its Invalid refuses too, and its Conflict (something moved since) has Admit
	// asked again.
	Admit(ctx context.Context, l worker.Lease, outcome albs.Outcome, r albs.Result) (apply func(ctx context.Context, tx db.Tx) error, err error)

	// Ended tells that t has failed or was cancelled, for whatever reason: t.State
	// and t.Reason say. After outcome failed it comes after apply in the same
	// transaction, and all that it does is in that. It isn't called for tasks that
	// succeeded or were excluded. While it fails the task cannot end.
	Ended(ctx context.Context, tx db.Tx, t Task) error

	// InVain tells that t, which was blocked and comes without its spec, now waits for
	// something that has failed or was cancelled: t.Cause is what would have to be
	// retried, and t.Reason says so. It comes in the transaction that ends the cause, or
	// retries another one, and all that it does is in that. It isn't called for a task
	// that is enqueued in vain. Left alone t waits on, for its cause may be retried; a
	// task that nobody would want then is cancelled here.
	InVain(ctx context.Context, tx db.Tx, t Task) error

	// Reads reports whether the worker may read d though its spec doesn't name it:
	// whether d lies under a snapshot that the spec names. It is false for all else.
	// l has the spec that the worker got.
	Reads(ctx context.Context, l worker.Lease, d albs.Digest) (bool, error)
}

// Uploads keeps what workers send until the attempt ends; artifact.Artifacts does.
type Uploads interface {
	Stage(ctx context.Context, lease string, d albs.Digest, off int64, r io.Reader, max int64) (int64, error)
	Staged(ctx context.Context, lease string, d albs.Digest) (int64, error)
	OpenStaged(ctx context.Context, lease string, d albs.Digest, off, length int64) (io.ReadCloser, error)
	DropStaged(ctx context.Context, lease string) error
	StagedLeases(ctx context.Context) ([]string, error)
}

// Blobs opens what workers may read, verified before its first byte; blob.Store does.
type Blobs interface {
	OpenRange(ctx context.Context, d albs.Digest, off, length int64) (io.ReadCloser, error)
}

// Config says how leases behave and where logs lie.
type Config struct {
	Lease    time.Duration `yaml:"lease"`     // term of a lease; 60 s if 0
	MaxLost  int           `yaml:"max_lost"`  // lost attempts after which a task fails; 3 if 0
	Backoff  time.Duration `yaml:"backoff"`   // pause before a task that was given back is offered again, growing with each loss; 5 s if 0
	HalfLife time.Duration `yaml:"half_life"` // after which what an owner used counts half against it; 1 h if 0

	LogDir   string           `yaml:"-"` // directory of streamed logs; required
	LocalDir string           `yaml:"-"` // directory in which RunLocal keeps its spools
	Now      func() time.Time `yaml:"-"` // the clock, for tests; nil is the database's
}

// Queue is the queue of one database. It may be used concurrently. Tasks can be
// enqueued and leases kept without Run; claims are answered only while it runs.
type Queue struct {
	db       *db.DB
	events   *event.Log
	uploads  Uploads
	blobs    Blobs
	logs     logfile.Dir
	config   Config
	clock    *clock
	log      zerolog.Logger
	handlers map[albs.TaskKind]Handler
	meet     func(ctx context.Context, me auth.Actor, key string) error
	fleet    *fleet.Fleet
	usage    *measure.Usage

	work    chan struct{} // holds one when the dispatcher has to look
	mu      sync.Mutex
	waiting []*waiter
}

var _ worker.Master = (*Queue)(nil)

// New returns the queue in d. It does no I/O. Register every kind before Run.
func New(d *db.DB, events *event.Log, uploads Uploads, blobs Blobs, c Config, log zerolog.Logger) (*Queue, error) {
	if c.Lease == 0 {
		c.Lease = time.Minute
	}
	if c.MaxLost == 0 {
		c.MaxLost = 3
	}
	if c.Backoff == 0 {
		c.Backoff = 5 * time.Second
	}
	if c.HalfLife == 0 {
		c.HalfLife = time.Hour
	}
	switch {
	case c.Lease < time.Second || c.Lease > time.Hour:
		return nil, albs.Errorf(albs.Invalid, "queue.lease is %v: choose from 1s to 1h", c.Lease)
	case c.MaxLost < 1 || c.MaxLost > 100:
		return nil, albs.Errorf(albs.Invalid, "queue.max_lost is %d: choose from 1 to 100", c.MaxLost)
	case c.Backoff < 0 || c.Backoff > time.Hour:
		return nil, albs.Errorf(albs.Invalid, "queue.backoff is %v: choose from 0s to 1h", c.Backoff)
	case c.HalfLife < time.Minute || c.HalfLife > 24*time.Hour:
		return nil, albs.Errorf(albs.Invalid, "queue.half_life is %v: choose from 1m to 24h", c.HalfLife)
	case c.LogDir == "":
		return nil, albs.Errorf(albs.Invalid, "the queue needs a directory for logs")
	}
	q := &Queue{
		db: d, events: events, uploads: uploads, blobs: blobs, logs: logfile.Dir(c.LogDir),
		config: c, clock: newClock(d, c.Now), log: log,
		handlers: make(map[albs.TaskKind]Handler),
		work:     make(chan struct{}, 1),
	}
	q.fleet = fleet.New(d, events, q.clock.now, log)
	q.usage = measure.NewUsage(d, q.clock.now, c.HalfLife)
	return q, nil
}

// Register makes h the handler of kind. It must not be called once tasks are
// enqueued or claimed.
func (q *Queue) Register(kind albs.TaskKind, h Handler) { q.handlers[kind] = h }

// Vet has meet be asked about the statement key that each worker offers before it gets
// anything; its error is the claim's. It must not be called once tasks are claimed.
func (q *Queue) Vet(meet func(ctx context.Context, me auth.Actor, key string) error) { q.meet = meet }

func (q *Queue) handler(kind albs.TaskKind) (Handler, error) {
	if h := q.handlers[kind]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("tasks of kind %q have no handler here", kind)
}

// Room is how much of a machine a task needs, or a worker has.
type Room = schedule.Room

// Task is one unit of work.
type Task struct {
	ID       albs.TaskID
	Kind     albs.TaskKind
	Lane     string
	Topic    string
	Needs    []string // sorted
	Room     Room
	Key      string
	Expected time.Duration // the median of what past runs of the kind and key took; 0 without history
	Priority int
	State    albs.TaskState
	Reason   string      // one line for people: why it failed, was cancelled, waits
	Cause    albs.TaskID // of a blocked task that waits in vain: the task to retry; else 0
	Attempts int
	Lost     int     // attempts since the last retry that ended without a word on the work: lost, or reported as infra
	Worker   string  // name of the newest attempt's; "" before the first
	Until    db.Time // of a leased or stopping task: when the lease ends if it isn't renewed
	Created  db.Time
	Started  db.Time // when it was first claimed; zero before
	Changed  db.Time // when State became what it is

	// Spec is what was enqueued. Lists leave it out.
	Spec albs.Spec
}

func taskOf(r store.Task) (Task, error) {
	t := Task{
		ID: r.ID, Kind: r.Kind, Lane: r.Lane, Topic: r.Topic, Priority: r.Priority, Key: r.Key, Expected: measure.Seconds(r.Expected),
		State: r.State, Reason: r.Reason,
		Cause: r.CauseID, Attempts: r.Attempts, Lost: r.Lost + r.Infra, Worker: r.Worker, Until: r.LeaseUntil,
		Created: r.CreatedAt, Started: r.StartedAt, Changed: r.ChangedAt,
	}
	_, lane := schedule.SplitClass(r.Class)
	t.Needs, t.Room = lane.Needs, lane.Room
	if r.Spec != "" {
		if err := json.Unmarshal([]byte(r.Spec), &t.Spec); err != nil {
			return Task{}, fmt.Errorf("read spec of task %d: %w", r.ID, err)
		}
	}
	return t, nil
}

func tasksOf(rows []store.Task) ([]Task, error) {
	ts := make([]Task, len(rows))
	var err error
	for i, r := range rows {
		if ts[i], err = taskOf(r); err != nil {
			return nil, err
		}
	}
	return ts, nil
}

// NewTask is a task to enqueue.
type NewTask struct {
	Kind     albs.TaskKind
	Lane     string   // whose work it is, as "team:core": lanes share workers evenly
	Topic    string   // of its events, as "build:7"
	Needs    []string // labels that its worker must have, beside "kind:" and the kind, which is added
	Room     Room     // what its worker must have to spare; choose among few sizes, for each makes a lane of its own
	Key      string   // what past runs of the like are known by, as "package/platform/arch"; "" for none
	Spec     albs.Spec
	After    []albs.TaskID // tasks that must have succeeded, or been excluded, first
	Priority int           // within the lane, higher first
}

// Bounds on one task; Enqueue refuses more with TooLarge.
const (
	MaxNeeds = 32
	MaxAfter = 10_000
	MaxSpec  = 1 << 20 // bytes as JSON, the evidence likewise
)

// Enqueue adds a task in tx. It is queued, or blocked until every task of After
// is satisfied. Invalid if a field is bad or a task of After doesn't exist.
func (q *Queue) Enqueue(ctx context.Context, tx db.Tx, n NewTask) (albs.TaskID, error) {
	if _, err := q.handler(n.Kind); err != nil {
		return 0, fmt.Errorf("enqueue task: %w", err)
	}
	if !schedule.ValidLabel(n.Lane) || n.Topic == "" || len(n.Topic) > event.MaxName {
		return 0, albs.Errorf(albs.Invalid, "a task needs a lane and a topic, not %.60q and %.60q", n.Lane, n.Topic)
	}
	needs := append([]string{"kind:" + string(n.Kind)}, n.Needs...)
	slices.Sort(needs)
	needs = slices.Compact(needs)
	for _, l := range needs {
		if !schedule.ValidLabel(l) {
			return 0, albs.Errorf(albs.Invalid, "%.60q is no label that a task can need", l)
		}
	}
	if n.Room.Cores < 0 || n.Room.Memory < 0 || n.Room.Disk < 0 {
		return 0, albs.Errorf(albs.Invalid, "a task needs no less than nothing: %+v", n.Room)
	}
	if !schedule.ValidKey(n.Key) {
		return 0, albs.Errorf(albs.Invalid, "%.60q is no key for past runs", n.Key)
	}
	after := slices.Compact(slices.Sorted(slices.Values(n.After)))
	if len(needs) > MaxNeeds || len(after) > MaxAfter {
		return 0, albs.Errorf(albs.TooLarge, "a task has at most %d needs and comes after at most %d others", MaxNeeds, MaxAfter)
	}
	spec, err := json.Marshal(n.Spec)
	if err != nil {
		return 0, fmt.Errorf("enqueue task: %w", err)
	}
	if len(spec) > MaxSpec {
		return 0, albs.Errorf(albs.TooLarge, "a task's spec of %d bytes, at most %d go", len(spec), MaxSpec)
	}
	expected, err := measure.Expected(ctx, tx, n.Kind, n.Key)
	if err != nil {
		return 0, fmt.Errorf("enqueue task: %w", err)
	}
	now := q.clock.now()
	t := store.Task{
		Kind: n.Kind, Lane: n.Lane, Class: schedule.Class(n.Kind, schedule.Lane{Owner: n.Lane, Needs: needs, Room: n.Room}), Topic: n.Topic, Spec: string(spec), Priority: n.Priority,
		Key: n.Key, Expected: expected, State: albs.TaskBlocked, CreatedAt: now, ChangedAt: now,
	}
	if len(after) == 0 {
		// Written once: what is written again is sought in the index, and PostgreSQL
		// would see a conflict with everybody who enqueues, claims or ends a task meanwhile.
		t.State = albs.TaskQueued
		tx.AfterCommit(q.ready)
	}
	if t.ID, err = store.InsertTask(ctx, tx, t); err == nil {
		err = store.InsertAfter(ctx, tx, t.ID, after)
	}
	if err == nil && len(after) == 0 {
		err = q.tell(ctx, tx, &t)
	} else if err == nil {
		err = q.unblock(ctx, tx, &t)
	}
	if err != nil {
		return 0, fmt.Errorf("enqueue task: %w", err)
	}
	return t.ID, nil
}

// Cancel ends a task in tx: at once, or, if a worker holds it, when that worker
// has been told and has stopped or is lost. Cancelling it again does nothing; it
// is Conflict once the task is final, NotFound if there is none.
func (q *Queue) Cancel(ctx context.Context, tx db.Tx, id albs.TaskID, reason string) error {
	t, err := store.GetTask(ctx, tx, id)
	if err != nil {
		return err
	}
	if t.State == albs.TaskStopping {
		return nil
	}
	if t.State, err = life.Next(id, t.State, life.Cancel); err != nil {
		return err
	}
	t.Reason, t.CauseID = life.OneLine(reason), 0
	return q.settle(ctx, tx, &t)
}

// Retry makes a failed, cancelled or excluded task wait for its turn again, in tx,
// with all its attempts allowed anew; what waited for it in vain waits in hope.
// Conflict in any other state, NotFound if there is none.
func (q *Queue) Retry(ctx context.Context, tx db.Tx, id albs.TaskID) error {
	t, err := store.GetTask(ctx, tx, id)
	if err != nil {
		return err
	}
	if t.State, err = life.Next(id, t.State, life.Retry); err != nil {
		return err
	}
	t.Reason, t.Lost, t.Infra = "", 0, 0
	if err := q.unblock(ctx, tx, &t); err != nil {
		return err
	}
	return q.relieve(ctx, tx, t.ID)
}

// Task returns a task with its spec, or NotFound.
func (q *Queue) Task(ctx context.Context, id albs.TaskID) (Task, error) {
	t, err := store.GetTask(ctx, q.db, id)
	if err != nil {
		return Task{}, err
	}
	return taskOf(t)
}

// Tasks returns those of the tasks that exist, by id, without their specs.
func (q *Queue) Tasks(ctx context.Context, ids ...albs.TaskID) ([]Task, error) {
	rows, err := store.TasksOf(ctx, q.db, ids)
	if err != nil {
		return nil, err
	}
	return tasksOf(rows)
}

// Filter chooses tasks; a zero field chooses all.
type Filter = store.Filter

// List returns the chosen tasks, newest first, without their specs.
func (q *Queue) List(ctx context.Context, f Filter) ([]Task, error) {
	rows, err := store.ListTasks(ctx, q.db, f)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return tasksOf(rows)
}

// Stat counts the unfinished tasks that are alike.
type Stat struct {
	State albs.TaskState
	Kind  albs.TaskKind
	Arch  albs.Arch // of the need "arch:…"; "" if it needs none
	Count int
}

// Stats counts the tasks that aren't final, ordered by state, kind and arch.
func (q *Queue) Stats(ctx context.Context) ([]Stat, error) {
	counts, err := store.CountOpen(ctx, q.db)
	if err != nil {
		return nil, fmt.Errorf("count tasks: %w", err)
	}
	var stats []Stat
	for _, c := range counts {
		kind, lane := schedule.SplitClass(c.Class)
		s := Stat{State: c.State, Kind: kind, Count: c.Count}
		for _, n := range lane.Needs {
			if a, ok := strings.CutPrefix(n, "arch:"); ok {
				s.Arch = albs.Arch(a)
			}
		}
		same := func(o Stat) bool { return o.State == s.State && o.Kind == s.Kind && o.Arch == s.Arch }
		if i := slices.IndexFunc(stats, same); i >= 0 {
			stats[i].Count += s.Count
		} else {
			stats = append(stats, s)
		}
	}
	slices.SortFunc(stats, func(a, b Stat) int {
		return strings.Compare(fmt.Sprint(a.State, " ", a.Kind, " ", a.Arch), fmt.Sprint(b.State, " ", b.Kind, " ", b.Arch))
	})
	return stats, nil
}

// Attempt is one worker's try at a task.
type Attempt struct {
	Number   int
	WorkerID albs.WorkerID
	Worker   string
	Claimed  db.Time
	Ended    db.Time      // zero while it runs
	Outcome  albs.Outcome // the worker's word; "" if it gave none
	Lost     bool         // nothing was heard of its end, or it could not be handed out; a reported failure of the worker's means is outcome infra
	Reason   string
	Spec     albs.Spec // as the worker got it
}

// Attempts returns the attempts at a task, first to last; none for an unknown one.
func (q *Queue) Attempts(ctx context.Context, id albs.TaskID) ([]Attempt, error) {
	rows, err := store.SelectAttempts(ctx, q.db, id)
	if err != nil {
		return nil, fmt.Errorf("read attempts of task %d: %w", id, err)
	}
	as := make([]Attempt, len(rows))
	for i, r := range rows {
		as[i] = Attempt{
			Number: r.Number, WorkerID: r.WorkerID, Worker: r.Worker, Claimed: r.ClaimedAt, Ended: r.EndedAt,
			Outcome: r.Outcome, Lost: r.Ended == life.Lost || r.Outcome == "" && (r.Ended == life.Expire || r.Ended == life.Infra || r.Ended == life.Exhaust), Reason: r.Reason,
		}
		if r.Spec != "" {
			if err := json.Unmarshal([]byte(r.Spec), &as[i].Spec); err != nil {
				return nil, fmt.Errorf("read spec of task %d, attempt %d: %w", id, r.Number, err)
			}
		}
	}
	return as, nil
}

// Upload names the uploads of an attempt, for Handlers to admit files from.
func Upload(t worker.Token) string { return fmt.Sprintf("%d.%d", t.Task, t.Fence) }

// taskEvent is the data of task events; the kind is "task." and the state.
type taskEvent struct {
	Task    albs.TaskID    `json:"task"`
	Kind    albs.TaskKind  `json:"kind"`
	State   albs.TaskState `json:"state"`
	Attempt int            `json:"attempt,omitempty"`
	Worker  string         `json:"worker,omitempty"`
	Reason  string         `json:"reason,omitempty"`
}

func (q *Queue) tell(ctx context.Context, tx db.Tx, t *store.Task) error {
	return q.events.Add(ctx, tx, "task."+string(t.State), t.Topic, auth.From(ctx).String(), taskEvent{
		Task: t.ID, Kind: t.Kind, State: t.State, Attempt: t.Attempts, Worker: t.Worker, Reason: t.Reason,
	})
}
