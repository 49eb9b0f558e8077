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
	return dispatch(ctx, b, "dispatch-p99-sqlite", func(run int) db.Config {
		return db.Config{File: filepath.Join(b.dir, fmt.Sprintf("dispatch-%d.db", run))}
	})
}

// dispatchPostgres measures on the server of ALBS_TEST_POSTGRES, in a schema of its own
// for each run. The one that testdata/postgres.sh starts doesn't sync: what is measured
// is the queue and not the disk.
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
	schema := func(run int) string { return fmt.Sprintf("bench_%d_%d", os.Getpid(), run) }
	for run := range runs {
		if _, err := admin.ExecContext(ctx, "CREATE SCHEMA "+schema(run)); err != nil {
			return nil, err
		}
		defer admin.Exec("DROP SCHEMA " + schema(run) + " CASCADE")
	}
	return dispatch(ctx, b, "dispatch-p99-postgres", func(run int) db.Config {
		return db.Config{DSN: dsn + " search_path=" + schema(run)}
	})
}

// dispatch: from the beginning of the transaction that submits a task until a worker has
// its lease; so many are queued that nobody can do and so many workers wait.
func dispatch(ctx context.Context, b *bench, name string, at func(run int) db.Config) ([]row, error) {
	var p99s []float64
	for run := range runs {
		took, err := dispatchRun(ctx, b, at(run))
		if err != nil {
			return nil, err
		}
		slices.Sort(took)
		at := func(p int) float64 { return took[len(took)*p/100].Seconds() * 1000 }
		fmt.Fprintf(os.Stderr, "bench: %s: run %d: p50 %.1f ms, p99 %.1f ms, most %.1f ms\n", name, run+1, at(50), at(99), took[len(took)-1].Seconds()*1000)
		p99s = append(p99s, at(99))
	}
	m := median(p99s)
	return []row{{Name: name, Unit: "ms", Ours: m, Goal: "p99 < 100 ms, 100,000 queued, 1,000 waiting, one each 10 ms", Met: m < 100}}, nil
}

func dispatchRun(ctx context.Context, b *bench, c db.Config) ([]time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, err := db.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	logs, err := os.MkdirTemp(b.dir, "logs-")
	if err != nil {
		return nil, err
	}
	events := event.New(d, zerolog.Nop())
	q, err := queue.New(d, events, noFiles{}, noFiles{}, queue.Config{LogDir: logs}, zerolog.Nop())
	if err != nil {
		return nil, err
	}
	q.Register(albs.KindBuild, plainHandler{})
	add := func(tx db.Tx, owner int, need string) (albs.TaskID, error) {
		return q.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindBuild, Lane: fmt.Sprint("team:", owner), Topic: fmt.Sprint("build:", owner), Needs: []string{need}, Key: fmt.Sprintf("p%d/el9/x86_64", owner),
		})
	}
	for n := range dispatchQueued / 10_000 {
		err := d.InTx(ctx, func(tx db.Tx) error {
			for i := range 10_000 {
				if _, err := add(tx, i%dispatchOwners, fmt.Sprintf("arch:none%d", n%4)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var mu sync.Mutex
	var failed error
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			failed = errors.Join(failed, err)
			cancel()
		}
	}
	for _, run := range []func(context.Context) error{q.Run, events.Run} {
		wg.Go(func() { fail(run(ctx)) })
	}
	began := make(map[albs.TaskID]time.Time)
	var took []time.Duration
	all := make(chan struct{})
	claimed := func(id albs.TaskID, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		took = append(took, at.Sub(began[id]))
		if len(took) == dispatchTasks {
			close(all)
		}
	}
	for i := range dispatchWaiting {
		wg.Go(func() {
			me := auth.With(ctx, auth.Actor{Kind: auth.KindWorker, Worker: albs.WorkerID(i + 1), Name: fmt.Sprint("w", i), Labels: []string{"kind:build", "arch:*"}})
			o := worker.Offer{Labels: []string{"kind:build", "arch:x86_64", fmt.Sprint("arch:other", i%4)}, Cores: 8, Memory: 16 << 30, Disk: int64(i) << 30, Wait: worker.MaxClaimWait}
			for ctx.Err() == nil {
				l, err := q.Claim(me, o)
				at := time.Now()
				if err != nil {
					fail(err)
				} else if l != nil {
					// The submitter notes the id after its commit.
					for known := false; !known && ctx.Err() == nil; {
						mu.Lock()
						_, known = began[l.Token.Task]
						mu.Unlock()
					}
					claimed(l.Token.Task, at)
					if err := q.Complete(me, l.Token, albs.OutcomeOK, albs.Result{}); err != nil {
						fail(err)
					}
				}
			}
		})
	}
	time.Sleep(2 * time.Second) // until all wait and have been written down
	tick := time.NewTicker(dispatchEvery)
	defer tick.Stop()
	var adding sync.WaitGroup
	for i := range dispatchTasks {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		adding.Go(func() {
			start := time.Now()
			var id albs.TaskID
			err := d.InTx(ctx, func(tx db.Tx) (err error) {
				id, err = add(tx, i%dispatchOwners, "arch:x86_64")
				return err
			})
			if err != nil {
				fail(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			began[id] = start
		})
	}
	adding.Wait()
	select {
	case <-all:
	case <-ctx.Done():
	case <-time.After(time.Minute):
		fail(errors.New("not every task was claimed"))
	}
	mu.Lock()
	defer mu.Unlock()
	return took, failed
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
