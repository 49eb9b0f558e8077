package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/queue"
	"albs/internal/master/queue/simulate"
	"albs/internal/worker"
)

// massRebuild: how near the rules of dispatch come to what no schedule can beat.
func massRebuild(context.Context, *bench) ([]row, error) {
	var ours, bounds, ratios []float64
	for seed := range uint64(runs) {
		r := simulate.Run(seed+1, 30_000, 200)
		fmt.Fprintf(os.Stderr, "bench: mass-rebuild: %v\n", r)
		ours, bounds, ratios = append(ours, r.Took.Hours()), append(bounds, r.Bound().Hours()), append(ratios, r.Ratio())
	}
	return []row{{
		Name: "mass-rebuild", Unit: "h", Ours: median(ours), Peer: median(bounds), PeerName: "critical path, work ÷ slots", Ratio: median(ratios),
		Goal: "30,000 tasks on 200 nodes ≤ 1.05×", Met: slices.Max(ratios) <= 1.05,
	}}, nil
}

// Of the dispatch rows.
const (
	dispatchQueued  = 100_000
	dispatchWaiting = 1_000
	dispatchTasks   = 1_000 // that arrive, in each run
	dispatchEvery   = 10 * time.Millisecond
	dispatchOwners  = 50
)

func dispatchSQLite(ctx context.Context, b *bench) ([]row, error) {
	return dispatch(ctx, b, "dispatch-p99-sqlite", db.Config{File: filepath.Join(b.dir, "dispatch.db")})
}

// dispatchPostgres measures on the server of ALBS_TEST_POSTGRES, in a schema of its own.
// The one that testdata/postgres.sh starts doesn't sync: what is measured is the queue
// and not the disk.
func dispatchPostgres(ctx context.Context, b *bench) ([]row, error) {
	dsn := os.Getenv("ALBS_TEST_POSTGRES")
	if dsn == "" {
		fmt.Fprintln(os.Stderr, "bench: dispatch-p99-postgres is left out: no ALBS_TEST_POSTGRES, which testdata/postgres.sh sets")
		return nil, nil
	}
	admin, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	schema := fmt.Sprintf("bench_%d", os.Getpid())
	if _, err := admin.ExecContext(ctx, "CREATE SCHEMA "+schema); err != nil {
		return nil, err
	}
	rows, err := dispatch(ctx, b, "dispatch-p99-postgres", db.Config{DSN: dsn + " search_path=" + schema})
	_, err2 := admin.Exec("DROP SCHEMA " + schema + " CASCADE")
	return rows, errors.Join(err, err2)
}

// dispatch: from the beginning of the transaction that submits a task until a worker
// has its lease; so many are queued that nobody can do and so many workers wait.
func dispatch(ctx context.Context, b *bench, name string, c db.Config) ([]row, error) {
	d, err := db.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	logs, err := os.MkdirTemp(b.dir, "logs-")
	if err != nil {
		return nil, err
	}
	f := &farm{db: d, events: event.New(d, zerolog.Nop()), began: make(map[albs.TaskID]time.Time)}
	f.queue, err = queue.New(d, f.events, noFiles{}, noFiles{}, queue.Config{LogDir: logs}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	f.queue.Register(albs.KindBuild, plainHandler{})
	if err := f.fill(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	fail := make(chan error, 1)
	start := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				select {
				case fail <- err:
				default:
				}
			}
		})
	}
	start(f.queue.Run)
	start(f.events.Run)
	for i := range dispatchWaiting {
		start(func(ctx context.Context) error { return f.work(ctx, i) })
	}
	select {
	case <-time.After(2 * time.Second): // until all wait and have been written down
	case err := <-fail:
		return nil, err
	}
	var p99s []float64
	for run := range runs {
		took, err := f.submit(ctx, fail)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", run+1, err)
		}
		slices.Sort(took)
		at := func(p int) float64 { return took[len(took)*p/100].Seconds() * 1000 }
		fmt.Fprintf(os.Stderr, "bench: %s: run %d: p50 %.1f ms, p99 %.1f ms, most %.1f ms\n", name, run+1, at(50), at(99), took[len(took)-1].Seconds()*1000)
		p99s = append(p99s, at(99))
	}
	m := median(p99s)
	return []row{{Name: name, Unit: "ms", Ours: m, Goal: "p99 < 100 ms, 100,000 queued, 1,000 waiting, one each 10 ms", Met: m < 100}}, nil
}

// farm is a queue with workers that do nothing but take and end tasks.
type farm struct {
	db     *db.DB
	queue  *queue.Queue
	events *event.Log

	mu    sync.Mutex
	began map[albs.TaskID]time.Time // of those that no worker has yet
	got   map[albs.TaskID]time.Time // of those whose submitter doesn't know their id yet
	took  []time.Duration
}

func (f *farm) add(ctx context.Context, owner int, need string) (id albs.TaskID, err error) {
	err = f.db.InTx(ctx, func(tx db.Tx) (err error) {
		id, err = f.enqueue(ctx, tx, owner, need)
		return err
	})
	return id, err
}

func (f *farm) enqueue(ctx context.Context, tx db.Tx, owner int, need string) (albs.TaskID, error) {
	return f.queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindBuild, Lane: fmt.Sprint("team:", owner), Topic: fmt.Sprint("build:", owner), Needs: []string{need}, Key: fmt.Sprintf("p%d/el9/x86_64", owner),
	})
}

// fill queues tasks that none of the workers can do.
func (f *farm) fill(ctx context.Context) error {
	const batch = 10_000
	for n := range dispatchQueued / batch {
		err := f.db.InTx(ctx, func(tx db.Tx) error {
			for i := range batch {
				if _, err := f.enqueue(ctx, tx, i%dispatchOwners, fmt.Sprintf("arch:none%d", n%4)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// work claims and completes as worker i until ctx is done.
func (f *farm) work(ctx context.Context, i int) error {
	me := auth.With(ctx, auth.Actor{Kind: auth.KindWorker, Worker: albs.WorkerID(i + 1), Name: fmt.Sprint("w", i), Labels: []string{"kind:build", "arch:*"}})
	o := worker.Offer{Labels: []string{"kind:build", "arch:x86_64", fmt.Sprint("arch:other", i%4)}, Cores: 8, Memory: 16 << 30, Disk: int64(i) << 30, Wait: worker.MaxClaimWait}
	for {
		l, err := f.queue.Claim(me, o)
		if err != nil {
			return err
		}
		if l == nil {
			continue
		}
		f.met(l.Token.Task, time.Time{}, time.Now())
		if err := f.queue.Complete(me, l.Token, albs.OutcomeOK, albs.Result{}); err != nil {
			return err
		}
	}
}

// met notes when a task was begun to be submitted, or when a worker got it; which of
// them is told first is open.
func (f *farm) met(id albs.TaskID, began, got time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if began.IsZero() {
		began = f.began[id]
	}
	if got.IsZero() {
		got = f.got[id]
	}
	switch {
	case got.IsZero():
		f.began[id] = began
	case began.IsZero():
		f.got[id] = got
	default:
		f.took = append(f.took, got.Sub(began))
	}
}

// submit has tasks arrive one by one and returns how long each took to be claimed.
func (f *farm) submit(ctx context.Context, fail chan error) ([]time.Duration, error) {
	f.mu.Lock()
	f.took, f.began, f.got = nil, make(map[albs.TaskID]time.Time), make(map[albs.TaskID]time.Time)
	f.mu.Unlock()
	tick := time.NewTicker(dispatchEvery)
	defer tick.Stop()
	failed := make(chan error, dispatchTasks)
	end := time.After(2 * time.Minute)
	for i := 0; ; i++ {
		f.mu.Lock()
		took := slices.Clone(f.took)
		f.mu.Unlock()
		if len(took) == dispatchTasks {
			return took, nil
		}
		select {
		case <-tick.C:
		case err := <-fail:
			return nil, err
		case err := <-failed:
			return nil, err
		case <-end:
			return nil, fmt.Errorf("%d of %d tasks were claimed in two minutes", len(took), dispatchTasks)
		}
		if i < dispatchTasks {
			go func() {
				began := time.Now()
				id, err := f.add(ctx, i%dispatchOwners, "arch:x86_64")
				if err != nil {
					failed <- err
					return
				}
				f.met(id, began, time.Time{})
			}()
		}
	}
}

// plainHandler is of tasks of which nothing comes.
type plainHandler struct{}

func (plainHandler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (plainHandler) Admit(context.Context, queue.Lease, albs.Outcome, albs.Result) (func(context.Context, db.Tx) error, error) {
	return nil, nil
}
func (plainHandler) Ended(context.Context, db.Tx, queue.Task) error  { return nil }
func (plainHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }
func (plainHandler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) {
	return false, nil
}

// noFiles holds nothing.
type noFiles struct{}

func (noFiles) Stage(context.Context, string, albs.Digest, int64, io.Reader, int64) (int64, error) {
	return 0, nil
}
func (noFiles) Staged(context.Context, string, albs.Digest) (int64, error) { return 0, nil }
func (noFiles) OpenStaged(context.Context, string, albs.Digest, int64, int64) (io.ReadCloser, error) {
	return nil, albs.Errorf(albs.NotFound, "nothing is held")
}
func (noFiles) DropStaged(context.Context, string) error       { return nil }
func (noFiles) StagedLeases(context.Context) ([]string, error) { return nil, nil }
func (noFiles) OpenRange(context.Context, albs.Digest, int64, int64) (io.ReadCloser, error) {
	return nil, albs.Errorf(albs.NotFound, "nothing is held")
}
