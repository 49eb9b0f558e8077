package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// farm is a Fake with one loop against it.
type farm struct {
	*workertest.Fake
	t     *testing.T
	spool string
	task  workertest.Task
}

func setup(t *testing.T) *farm {
	t.Helper()
	f := workertest.NewFake()
	srpm := f.AddBlob([]byte("srpm"))
	return &farm{Fake: f, t: t, spool: filepath.Join(t.TempDir(), "spool"), task: workertest.Task{
		Needs: []string{"kind:build"},
		Spec:  albs.Spec{Build: &albs.BuildSpec{SRPM: albs.File{Name: "x.src.rpm", Digest: srpm, Size: 4}}},
	}}
}

func (f *farm) loop(job worker.Job) *worker.Loop {
	return &worker.Loop{
		Master: f.As(f.AddWorker("kind:build")), Offer: func() worker.Offer { return worker.Offer{Labels: []string{"kind:build"}} },
		Job: job, Parallel: 1, Spool: f.spool, Log: zerolog.New(zerolog.NewTestWriter(f.t)),
		Times: worker.Times{Retry: 5 * time.Millisecond, Flush: 5 * time.Millisecond, Shutdown: 5 * time.Second},
	}
}

// run starts a loop; stop ends it and waits.
func (f *farm) run(l *worker.Loop) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run = %v", err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

// left returns the attempts in the spool.
func (f *farm) left() []string {
	entries, err := os.ReadDir(f.spool)
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func (f *farm) ended(id albs.TaskID, want albs.TaskState) {
	f.t.Helper()
	select {
	case <-f.Ended(id):
	case <-time.After(2 * time.Minute):
		f.t.Fatalf("task %d is still %s after 2 min", id, f.StateOf(id))
	}
	if got := f.StateOf(id); got != want {
		f.t.Errorf("task %d is %s, want %s", id, got, want)
	}
}

// produce is a job that logs, reads its SRPM and uploads a package and its log.
func produce(t *testing.T) worker.Job {
	file := filepath.Join(t.TempDir(), "x.rpm")
	if err := os.WriteFile(file, []byte("package"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		fmt.Fprintln(s.Log("build"), "begun")
		var srpm strings.Builder
		d := s.Lease.Spec.Build.SRPM.Digest
		if err := s.Fetch(ctx, d, 1<<20, &srpm); err != nil {
			return "", albs.Result{}, err
		}
		size := int64(srpm.Len())
		if err := s.Fetch(ctx, d, size, io.Discard); err != nil {
			t.Errorf("Fetch of %d bytes, as many as may come: %v", size, err)
		}
		if err := s.Fetch(ctx, d, size-1, io.Discard); !errors.Is(err, albs.TooLarge) {
			t.Errorf("Fetch of a byte more than may come = %v, want TooLarge", err)
		}
		fmt.Fprintln(s.Log("build"), "read", srpm.String())
		if err := os.WriteFile(filepath.Join(s.TempDir(), "rest"), nil, 0o600); err != nil {
			t.Error(err)
		}
		return upload(ctx, s, file)
	}
}

func upload(ctx context.Context, s *worker.Session, file string) (albs.Outcome, albs.Result, error) {
	f, err := s.Upload(ctx, file, "x-1-1.x86_64.rpm")
	if err != nil {
		return "", albs.Result{}, err
	}
	logs, err := s.UploadLogs(ctx)
	return albs.OutcomeOK, albs.Result{Logs: logs, Build: &albs.BuildResult{Packages: []albs.File{f}}}, err
}

func TestLoop(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	stop := f.run(f.loop(produce(t)))
	f.ended(id, albs.TaskSucceeded)
	stop()
	const log = "begun\nread srpm\n"
	want := albs.Result{
		Logs:  []albs.File{{Name: "build", Digest: albs.DigestOf([]byte(log)), Size: int64(len(log))}},
		Build: &albs.BuildResult{Packages: []albs.File{{Name: "x-1-1.x86_64.rpm", Digest: albs.DigestOf([]byte("package")), Size: 7}}},
	}
	outcome, got := f.Result(id, 1)
	if diff := cmp.Diff(want, got); diff != "" || outcome != albs.OutcomeOK {
		t.Errorf("outcome %s, result (-want +got):\n%s", outcome, diff)
	}
	if got := f.LogOf(id, 1, "build"); string(got) != log {
		t.Errorf("streamed log %q, want %q", got, log)
	}
	if left := f.left(); left != nil {
		t.Errorf("spool holds %v at the end", left)
	}
}

// Log lines reach readers while the work goes on.
func TestLogIsLive(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	seen := make(chan struct{})
	f.run(f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		fmt.Fprint(s.Log("build"), "line\n")
		select {
		case <-seen:
			return albs.OutcomeOK, albs.Result{}, nil
		case <-ctx.Done():
			return "", albs.Result{}, ctx.Err()
		}
	}))
	for late := time.After(time.Minute); ; {
		changed := f.Changed()
		if string(f.LogOf(id, 1, "build")) == "line\n" {
			break
		}
		select {
		case <-changed:
		case <-late:
			t.Fatal("the line was not seen in a minute")
		}
	}
	close(seen)
	f.ended(id, albs.TaskSucceeded)
}

func TestParallel(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ids := []albs.TaskID{f.Add(f.task, nil), f.Add(f.task, nil), f.Add(f.task, nil)}
	var both sync.WaitGroup
	both.Add(2)
	var now, most atomic.Int64
	l := f.loop(func(_ context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if s.Lease.Token.Task <= 2 {
			both.Done()
			both.Wait()
		}
		return albs.OutcomeOK, albs.Result{}, nil
	})
	l.Parallel = 2
	f.run(l)
	for _, id := range ids {
		f.ended(id, albs.TaskSucceeded)
	}
	if most.Load() != 2 {
		t.Errorf("%d at once, want 2", most.Load())
	}
}

// idle is a job that works until it is told to end, and then says why.
func idle(begun chan<- albs.TaskID, cause chan<- error) worker.Job {
	return func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		begun <- s.Lease.Token.Task
		<-ctx.Done()
		fmt.Fprint(s.Log("build"), "killed\n")
		cause <- context.Cause(ctx)
		return albs.OutcomeFailed, albs.Result{Reason: "rpmbuild was killed"}, nil
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Term = 60 * time.Millisecond
	id := f.Add(f.task, nil)
	begun, cause := make(chan albs.TaskID, 1), make(chan error, 1)
	stop := f.run(f.loop(idle(begun, cause)))
	f.StopTask(<-begun)
	f.ended(id, albs.TaskCancelled)
	if err := <-cause; !errors.Is(err, albs.Stopped) {
		t.Errorf("cause = %v, want Stopped", err)
	}
	stop()
	if o, _ := f.Result(id, 1); o != albs.OutcomeStopped {
		t.Errorf("outcome %s, want stopped", o)
	}
	if got := f.LogOf(id, 1, "build"); string(got) != "killed\n" {
		t.Errorf("log %q, want the lines after stop", got)
	}
}

// A paused worker whose task another has claimed drops it (T02).
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Term = 90 * time.Millisecond
	id := f.Add(f.task, nil)
	begun, cause := make(chan albs.TaskID, 1), make(chan error, 1)
	stop := f.run(f.loop(idle(begun, cause)))
	<-begun
	other := f.As(f.AddWorker("kind:build"))
	var lease *worker.Lease
	for lease == nil { // the loop renews all the time; win the race once
		f.ExpireLease(id)
		var err error
		if lease, err = other.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-cause; !errors.Is(err, albs.StaleLease) {
		t.Errorf("cause = %v, want StaleLease", err)
	}
	stop()
	if left := f.left(); left != nil {
		t.Errorf("spool holds %v", left)
	}
	if o, _ := f.Result(id, 1); o != "" {
		t.Errorf("the lost attempt ended as %s", o)
	}
}

// Finished work whose lease another has meanwhile is dropped, not delivered.
func TestLateResult(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	begun, finish := make(chan struct{}), make(chan struct{})
	stop := f.run(f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		if s.Lease.Attempt == 1 {
			close(begun)
			<-finish
		}
		return albs.OutcomeOK, albs.Result{Reason: "late"}, nil
	}))
	<-begun
	f.ExpireLease(id)
	other := f.As(f.AddWorker("kind:build"))
	lease, err := other.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	close(finish)
	if err := other.Complete(t.Context(), lease.Token, albs.OutcomeOK, albs.Result{}); err != nil {
		t.Fatal(err)
	}
	stop()
	if o, _ := f.Result(id, 1); o != "" || f.left() != nil {
		t.Errorf("the late attempt ended as %q, spool holds %v", o, f.left())
	}
}

// Build and test work through an absence of the master, logs and uploads included.
func TestMasterAway(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			id := f.Add(f.task, nil)
			file := filepath.Join(t.TempDir(), "x.rpm")
			if err := os.WriteFile(file, []byte("package"), 0o600); err != nil {
				t.Fatal(err)
			}
			var runs atomic.Int64
			done := make(chan struct{})
			l := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
				runs.Add(1)
				defer close(done)
				fmt.Fprintln(s.Log("build"), "before")
				f.SetAway(true)
				fmt.Fprintln(s.Log("build"), "away")
				o, r, err := upload(ctx, s, file)
				return o, r, errors.Join(err, os.Remove(file))
			})
			l.Times.Shutdown = time.Millisecond
			stop := f.run(l)
			<-done
			if restart {
				stop()
				if left := f.left(); len(left) != 1 {
					t.Fatalf("spool holds %v, want one attempt", left)
				}
				again := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
					runs.Add(1)
					return produce(t)(ctx, s)
				})
				again.Master = l.Master
				f.SetAway(false)
				stop = f.run(again)
			} else {
				f.SetAway(false)
			}
			f.ended(id, albs.TaskSucceeded)
			stop()
			if runs.Load() != 1 {
				t.Errorf("the work was done %d times", runs.Load())
			}
			if got := f.Content(albs.DigestOf([]byte("package"))); string(got) != "package" {
				t.Errorf("the package arrived as %q", got)
			}
			if got := f.LogOf(id, 1, "build"); string(got) != "before\naway\n" {
				t.Errorf("log %q", got)
			}
			if left := f.left(); left != nil {
				t.Errorf("spool holds %v at the end", left)
			}
		})
	}
}

// countingStat counts the calls of Stat, with which each upload begins.
type countingStat struct {
	worker.Master
	asked atomic.Int64
}

func (m *countingStat) Stat(ctx context.Context, t worker.Token, d albs.Digest) (int64, error) {
	m.asked.Add(1)
	return m.Master.Stat(ctx, t, d)
}

// TestManyFilesWithMasterAway: one file finds out that the master is away, the others
// don't wait for it; the delivery brings all of them.
func TestManyFilesWithMasterAway(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	dir := t.TempDir()
	asked := make(chan int64, 1)
	m := &countingStat{}
	l := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		f.SetAway(true)
		defer f.SetAway(false)
		result := &albs.BuildResult{}
		for i := range 10 {
			name := fmt.Sprintf("x%d-1-1.x86_64.rpm", i)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
				return "", albs.Result{}, err
			}
			file, err := s.Upload(ctx, filepath.Join(dir, name), name)
			if err != nil {
				return "", albs.Result{}, err
			}
			result.Packages = append(result.Packages, file)
		}
		asked <- m.asked.Load()
		return albs.OutcomeOK, albs.Result{Build: result}, nil
	})
	m.Master, l.Master = l.Master, m
	stop := f.run(l)
	f.ended(id, albs.TaskSucceeded)
	stop()
	if n := <-asked; n != 1 {
		t.Errorf("the master, away, was asked %d times for 10 files; want once", n)
	}
	for i := range 10 {
		name := fmt.Sprintf("x%d-1-1.x86_64.rpm", i)
		if got := f.Content(albs.DigestOf([]byte(name))); string(got) != name {
			t.Errorf("%s arrived as %q", name, got)
		}
	}
}

// Work that a crash cut off is given back at the next start.
func TestCrash(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	l := f.loop(func(context.Context, *worker.Session) (albs.Outcome, albs.Result, error) {
		return albs.OutcomeOK, albs.Result{}, nil
	})
	lease, err := l.Master.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	dir := filepath.Join(f.spool, "1-1")
	for name, content := range map[string]string{
		"lease.json": `{"token":{"task":1,"fence":1},"term":60000000000}`, "logs/build": "half a l", "files/new-1": "debris", "tmp/x": "debris",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(f.spool, "9-9"), 0o700); err != nil { // began to be made
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(f.spool, "8-8"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.spool, "8-8", "lease.json"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := f.run(l)
	f.ended(id, albs.TaskSucceeded)
	stop()
	if left := f.left(); len(left) != 1 || left[0] != "8-8" {
		t.Errorf("spool holds %v, want only the folder that cannot be read", left)
	}
	if o, r := f.Result(id, 1); o != albs.OutcomeLost || !strings.Contains(r.Reason, "restarted") {
		t.Errorf("the first attempt ended as %s: %s", o, r.Reason)
	}
	if got := f.LogOf(id, 1, "build"); string(got) != "half a l" {
		t.Errorf("log %q", got)
	}
}

func TestStopEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testStopEarly)
}

func testStopEarly(t *testing.T) {
	f := setup(t)
	f.Term = time.Minute
	id := f.Add(f.task, nil)
	type verdict struct {
		after      time.Duration
		cause      error
		first, end error
	}
	got := make(chan verdict, 3)
	l := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		if s.Lease.Attempt > 1 {
			return albs.OutcomeOK, albs.Result{}, nil
		}
		f.SetAway(true)
		began := time.Now()
		first := s.Check(ctx)
		<-ctx.Done()
		// Check itself knows, whether or not the context has ended yet.
		got <- verdict{time.Since(began), context.Cause(ctx), first, s.Check(context.WithoutCancel(ctx))}
		f.SetAway(false)
		return "", albs.Result{}, ctx.Err()
	})
	l.StopEarly = true
	stop := f.run(l)
	f.ended(id, albs.TaskSucceeded)
	v := <-got
	if v.first != nil || !errors.Is(v.end, albs.Unavailable) || !errors.Is(v.cause, albs.Unavailable) {
		t.Errorf("Check = %v, then %v; cause %v; want nil, Unavailable, Unavailable", v.first, v.end, v.cause)
	}
	if v.after != 48*time.Second {
		t.Errorf("stopped after %v, want 0.8 of a minute", v.after)
	}
	if o, _ := f.Result(id, 1); o != albs.OutcomeInfra {
		t.Errorf("the first attempt ended as %s, want infra", o)
	}
	stop()
}

// lateRenew answers a renewal ten seconds after the master made it.
type lateRenew struct {
	worker.Master
	sent atomic.Pointer[time.Time] // when the last one that was granted was asked for
}

func (m *lateRenew) Renew(ctx context.Context, t worker.Token) (time.Time, error) {
	sent := time.Now()
	until, err := m.Master.Renew(ctx, t)
	if err == nil {
		m.sent.Store(&sent)
		time.Sleep(10 * time.Second)
	}
	return until, err
}

// TestStopEarlyAfterALateAnswer: the master counts a lease from the renewal it got,
// so the time that the answer took is no time to work in.
func TestStopEarlyAfterALateAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		f.Term = time.Minute
		id := f.Add(f.task, nil)
		var m *lateRenew
		after := make(chan time.Duration, 1)
		l := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			if s.Lease.Attempt > 1 {
				return albs.OutcomeOK, albs.Result{}, nil
			}
			time.Sleep(25 * time.Second)
			f.SetAway(true)
			<-ctx.Done()
			after <- time.Since(*m.sent.Load())
			if err := s.Check(context.WithoutCancel(ctx)); !errors.Is(err, albs.Unavailable) {
				t.Errorf("Check at that time = %v, want Unavailable", err)
			}
			f.SetAway(false)
			return "", albs.Result{}, ctx.Err()
		})
		m = &lateRenew{Master: l.Master}
		l.Master, l.StopEarly = m, true
		stop := f.run(l)
		f.ended(id, albs.TaskSucceeded)
		if d := <-after; d != 48*time.Second {
			t.Errorf("stopped %v after the last renewal was asked for, want 0.8 of a minute", d)
		}
		stop()
	})
}

// Work that must stop early goes on for many terms while the master is there.
func TestStopEarlyGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		f.Term = time.Minute
		id := f.Add(f.task, nil)
		l := f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			select {
			case <-ctx.Done():
				t.Errorf("stopped: %v", context.Cause(ctx))
			case <-time.After(100 * time.Second):
			}
			return albs.OutcomeOK, albs.Result{}, s.Check(ctx)
		})
		l.StopEarly = true
		stop := f.run(l)
		f.ended(id, albs.TaskSucceeded)
		stop()
	})
}

// Work with effects of its own isn't begun when the lease cannot be confirmed.
func TestStopEarlyDoesNotBegin(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	l := f.loop(func(_ context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		if s.Lease.Attempt == 1 {
			t.Error("the job began")
		}
		return albs.OutcomeOK, albs.Result{}, nil
	})
	l.Master = &failingRenew{Master: l.Master}
	l.StopEarly = true
	f.run(l)
	f.ended(id, albs.TaskSucceeded)
}

type failingRenew struct {
	worker.Master
	failed atomic.Bool
}

func (m *failingRenew) Renew(ctx context.Context, t worker.Token) (time.Time, error) {
	if !m.failed.Swap(true) {
		return time.Time{}, albs.Errorf(albs.Unavailable, "away")
	}
	return m.Master.Renew(ctx, t)
}

// failingComplete has an internal error for every good result.
type failingComplete struct {
	worker.Master
	asked atomic.Int64
}

func (m *failingComplete) Complete(ctx context.Context, t worker.Token, o albs.Outcome, r albs.Result) error {
	if m.asked.Add(1); o == albs.OutcomeOK {
		return albs.Errorf(albs.Internal, "a blob is damaged")
	}
	return m.Master.Complete(ctx, t, o, r)
}

// TestMasterFails: a result on which the master itself fails doesn't hold its lease
// and the loop's only slot for ever: the task goes back, and says why.
func TestMasterFails(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	l := f.loop(func(context.Context, *worker.Session) (albs.Outcome, albs.Result, error) {
		return albs.OutcomeOK, albs.Result{}, nil
	})
	m := &failingComplete{Master: l.Master}
	l.Master, l.Times.Retry = m, time.Millisecond
	f.run(l)
	deadline := time.Now().Add(time.Minute)
	for {
		if o, r := f.Result(id, 1); o != "" {
			if o != albs.OutcomeInfra || !strings.Contains(r.Reason, "the master failed on the result") {
				t.Errorf("ended as %s: %s; want infra and why", o, r.Reason)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %d reports the task is still %s", m.asked.Load(), f.StateOf(id))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if n := m.asked.Load(); n < 20 {
		t.Errorf("given up after %d reports", n)
	}
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	begun, cause := make(chan albs.TaskID, 1), make(chan error, 1)
	stop := f.run(f.loop(idle(begun, cause)))
	<-begun
	stop()
	if o, r := f.Result(id, 1); o != albs.OutcomeStopped || !strings.Contains(r.Reason, "shut down") {
		t.Errorf("ended as %s: %s; want stopped, shut down: a restart is no lost attempt", o, r.Reason)
	}
	if s := f.StateOf(id); s != albs.TaskQueued {
		t.Errorf("state %s, want queued", s)
	}
}

// A worker whose disk takes nothing gives tasks back at its leisure: it must not go
// through the queue and have each task lose its attempts.
func TestSpoolBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testSpoolBroken)
}

func testSpoolBroken(t *testing.T) {
	f := setup(t)
	const broken = 3
	if err := os.Mkdir(f.spool, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range broken {
		if err := os.WriteFile(filepath.Join(f.spool, fmt.Sprintf("1-%d", i+1)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	id := f.Add(f.task, nil)
	stop := f.run(f.loop(func(context.Context, *worker.Session) (albs.Outcome, albs.Result, error) {
		return albs.OutcomeOK, albs.Result{}, nil
	}))
	f.ended(id, albs.TaskSucceeded)
	stop()
	if took := time.Since(began); took < broken*10*time.Second {
		t.Errorf("%d tasks were given back within %v", broken, took)
	}
	for i := range broken {
		if o, r := f.Result(id, i+1); o != albs.OutcomeStopped || !strings.Contains(r.Reason, "disk") {
			t.Errorf("attempt %d ended as %s: %s; want stopped, for its disk", i+1, o, r.Reason)
		}
	}
}

func TestJobErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		job    func() (albs.Outcome, albs.Result, error)
		state  albs.TaskState
		reason string
	}{
		"invalid": {func() (albs.Outcome, albs.Result, error) {
			return "", albs.Result{}, albs.Errorf(albs.Invalid, "no such spec")
		}, albs.TaskFailed, "no such spec"},
		"internal": {func() (albs.Outcome, albs.Result, error) { return "", albs.Result{}, errors.New("secret path") }, albs.TaskFailed, "internal"},
		"panic":    {func() (albs.Outcome, albs.Result, error) { panic("secret state") }, albs.TaskFailed, "internal"},
		"outcome":  {func() (albs.Outcome, albs.Result, error) { return "fine", albs.Result{}, nil }, albs.TaskFailed, "internal"},
		"excluded": {func() (albs.Outcome, albs.Result, error) {
			return albs.OutcomeExcluded, albs.Result{Reason: "ExcludeArch"}, nil
		}, albs.TaskExcluded, "ExcludeArch"},
		"bad upload": {func() (albs.Outcome, albs.Result, error) {
			return albs.OutcomeOK, albs.Result{Logs: []albs.File{{Name: "x", Digest: albs.DigestOf([]byte("never put")), Size: 9}}}, nil
		}, albs.TaskFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			id := f.Add(f.task, nil)
			stop := f.run(f.loop(func(context.Context, *worker.Session) (albs.Outcome, albs.Result, error) { return c.job() }))
			f.ended(id, c.state)
			stop()
			if _, r := f.Result(id, 1); !strings.Contains(r.Reason, c.reason) || strings.Contains(r.Reason, "secret") {
				t.Errorf("reason %q, want %q in it", r.Reason, c.reason)
			}
			if left := f.left(); left != nil {
				t.Errorf("spool holds %v", left)
			}
		})
	}
}

func TestUploadRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Symlink("/etc/passwd", link)); err != nil {
		t.Fatal(err)
	}
	f.run(f.loop(func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
		for _, c := range [][2]string{{link, "a"}, {dir, "a"}, {"/dev/null", "a"}, {file + "x", "a"}, {file, "a/b"}, {file, ".."}, {file, ""}, {file, "a\n"}} {
			if _, err := s.Upload(ctx, c[0], c[1]); !errors.Is(err, albs.Invalid) {
				t.Errorf("Upload(%q, %q) = %v, want Invalid", c[0], c[1], err)
			}
		}
		if _, err := s.Log("../x").Write([]byte("x")); !errors.Is(err, albs.Invalid) {
			t.Errorf("Write to a stream of a bad name = %v, want Invalid", err)
		}
		if err := s.Fetch(ctx, albs.DigestOf([]byte("foreign")), 1<<20, io.Discard); !errors.Is(err, albs.Forbidden) {
			t.Errorf("Fetch of a foreign blob = %v, want Forbidden", err)
		}
		// What is no word on the file is the worker's own trouble.
		if _, err := s.Upload(ctx, filepath.Join(dir, strings.Repeat("x", 300)), "a"); err == nil || errors.Is(err, albs.Invalid) {
			t.Errorf("Upload of what cannot be opened = %v, want an error that isn't Invalid", err)
		}
		return albs.OutcomeOK, albs.Result{}, nil
	}))
	f.ended(id, albs.TaskSucceeded)
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if err := (&worker.Loop{}).Run(t.Context()); !errors.Is(err, albs.Invalid) {
		t.Errorf("Run of an empty loop = %v, want Invalid", err)
	}
	begun, cause := make(chan albs.TaskID, 1), make(chan error, 1)
	f.Add(f.task, nil)
	f.run(f.loop(idle(begun, cause)))
	<-begun
	if err := f.loop(idle(begun, cause)).Run(t.Context()); !errors.Is(err, albs.Conflict) {
		t.Errorf("Run over a spool in use = %v, want Conflict", err)
	}
}
