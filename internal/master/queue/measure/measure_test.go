package measure_test

import (
	"context"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
)

var now = db.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func ago(d time.Duration) db.Time { return db.At(now.Add(-d)) }

// task is a row of the queue as far as it is measured; what it doesn't say is as little
// as can be.
type task struct {
	id       albs.TaskID
	state    albs.TaskState // "" is queued
	lane     string
	class    string
	priority int
	expected int // 0 is measure.Unknown
	chain    int // likewise
	fence    int64
	after    []albs.TaskID
}

// attempt is one at a task.
type attempt struct {
	task    albs.TaskID
	fence   int64
	worker  albs.WorkerID
	claimed time.Duration // ago
	ended   time.Duration // ago, if how says how
	how     string        // "" is running
	outcome albs.Outcome
}

// has makes tasks, those that others wait for first, and attempts all that is in the
// queue's tables.
func has(t *testing.T, d *db.DB, tasks []task, attempts ...attempt) {
	t.Helper()
	if err := d.InTx(t.Context(), func(tx db.Tx) error { return put(t.Context(), tx, tasks, attempts) }); err != nil {
		t.Fatal(err)
	}
}

func put(ctx context.Context, tx db.Tx, tasks []task, attempts []attempt) error {
	var failed error
	exec := func(query string, args ...any) {
		if failed == nil {
			_, failed = tx.ExecContext(ctx, query, args...)
		}
	}
	for _, table := range []string{"attempt", "task_after", "task"} {
		exec(`DELETE FROM ` + table)
	}
	known := func(seconds int) int {
		if seconds == 0 {
			return measure.Unknown
		}
		return seconds
	}
	for _, x := range tasks {
		if x.state == "" {
			x.state = albs.TaskQueued
		}
		exec(`INSERT INTO task (id, kind, lane, class, topic, spec, priority, state, fence, created_at, changed_at, expected, chain)
			VALUES ($1, 'build', $2, $3, 't', '{}', $4, $5, $6, $7, $7, $8, $9)`,
			x.id, x.lane, x.class, x.priority, x.state, x.fence, now, known(x.expected), known(x.chain))
		for _, after := range x.after {
			exec(`INSERT INTO task_after (task_id, after_id) VALUES ($1, $2)`, x.id, after)
		}
	}
	for _, a := range attempts {
		ended := ago(a.ended)
		if a.how == "" {
			ended = db.Time{}
		}
		exec(`INSERT INTO attempt (task_id, fence, number, worker_id, worker, claimed_at, ended_at, ended, outcome) VALUES ($1, $2, $2, $3, 'w', $4, $5, $6, $7)`,
			a.task, a.fence, a.worker, ago(a.claimed), ended, a.how, a.outcome)
	}
	return failed
}

// TestHistory: what is expected is the median of the last nine runs of the kind and key.
func TestHistory(t *testing.T) {
	t.Parallel()
	repeat := func(n int, d time.Duration) (ds []time.Duration) {
		for range n {
			ds = append(ds, d)
		}
		return ds
	}
	tests := []struct {
		name string
		runs []time.Duration
		want int
	}{
		{"none", nil, measure.Unknown},
		{"one", []time.Duration{90 * time.Second}, 90},
		{"to the second", []time.Duration{1499 * time.Millisecond}, 1},
		{"nothing is a second", []time.Duration{0}, 1},
		{"less than nothing is a second", []time.Duration{-time.Hour}, 1},
		{"of two the longer", []time.Duration{time.Minute, 2 * time.Minute}, 120},
		{"one that stands out", []time.Duration{time.Minute, time.Hour, 2 * time.Minute}, 120},
		{"nine count", append(repeat(5, time.Minute), repeat(4, time.Hour)...), 60},
		{"the tenth pushes the first out", append(repeat(5, time.Minute), repeat(5, time.Hour)...), 3600},
		{"as long as can be is known", []time.Duration{math.MaxInt64}, measure.Unknown - 1},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				for _, took := range test.runs {
					if err := d.InTx(t.Context(), func(tx db.Tx) error { return measure.Remember(t.Context(), tx, albs.KindBuild, test.name, took) }); err != nil {
						t.Fatal(err)
					}
				}
				for of, want := range map[struct {
					kind albs.TaskKind
					key  string
				}]int{{albs.KindBuild, test.name}: test.want, {albs.KindTest, test.name}: measure.Unknown, {albs.KindBuild, "other"}: measure.Unknown, {albs.KindBuild, ""}: measure.Unknown} {
					if got, err := measure.Expected(t.Context(), d, of.kind, of.key); got != want || err != nil {
						t.Errorf("%v is expected to take %d (%v), want %d", of, got, err, want)
					}
				}
			})
		}
	})
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{0: 0, 90: 90 * time.Second, measure.Unknown: 0, measure.Unknown - 1: (measure.Unknown - 1) * time.Second} {
		if got := measure.Seconds(n); got != want {
			t.Errorf("Seconds(%d) = %v, want %v", n, got, want)
		}
	}
}

const half = time.Hour

// counts is what a slot counts that was used from, to ago: each second of it the half of
// one that was an hour later.
func counts(from, to time.Duration) float64 {
	return half.Seconds() / math.Ln2 * (math.Exp2(-to.Hours()) - math.Exp2(-from.Hours()))
}

func wantUsed(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-3)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestUsage: what an owner used counts half after each half-life, and what runs only
// where it runs longer than it was expected to.
func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		tasks    []task
		attempts []attempt
		want     map[string]float64
	}{
		{"nobody", nil, nil, map[string]float64{}},
		{"one that just ended", []task{{id: 1, lane: "a"}}, []attempt{{task: 1, fence: 1, claimed: time.Hour, how: "complete"}},
			map[string]float64{"a": counts(time.Hour, 0)}},
		{"the past counts less", []task{{id: 1, lane: "a"}, {id: 2, lane: "b"}},
			[]attempt{{task: 1, fence: 1, claimed: 5 * time.Hour, ended: 4 * time.Hour, how: "complete"}, {task: 2, fence: 1, claimed: 2 * time.Hour, ended: time.Hour, how: "complete"}},
			map[string]float64{"a": counts(5*time.Hour, 4*time.Hour), "b": counts(2*time.Hour, time.Hour)}},
		{"all attempts count, also those that were lost", []task{{id: 1, lane: "a"}, {id: 2, lane: "a"}},
			[]attempt{{task: 1, fence: 1, claimed: 3 * time.Hour, ended: 2 * time.Hour, how: "expire"}, {task: 1, fence: 2, claimed: 2 * time.Hour, ended: time.Hour, how: "complete"},
				{task: 2, fence: 1, claimed: time.Hour, how: "complete"}},
			map[string]float64{"a": counts(3*time.Hour, 0)}},
		{"what ended six half-lives ago is forgotten", []task{{id: 1, lane: "a"}, {id: 2, lane: "b"}},
			[]attempt{{task: 1, fence: 1, claimed: 7 * time.Hour, ended: 6 * time.Hour, how: "complete"}, {task: 2, fence: 1, claimed: 7 * time.Hour, ended: 6*time.Hour - time.Minute, how: "complete"}},
			map[string]float64{"b": counts(7*time.Hour, 6*time.Hour-time.Minute)}},
		{"what runs for as long as expected is charged elsewhere", []task{{id: 1, lane: "a", state: albs.TaskLeased, fence: 1, expected: 3600}},
			[]attempt{{task: 1, fence: 1, claimed: time.Hour}}, map[string]float64{"a": 0}},
		{"what runs longer", []task{{id: 1, lane: "a", state: albs.TaskLeased, fence: 1, expected: 3600}},
			[]attempt{{task: 1, fence: 1, claimed: 3 * time.Hour}}, map[string]float64{"a": counts(3*time.Hour, 0) - counts(time.Hour, 0)}},
		{"what runs without history is expected to take a guess", []task{{id: 1, lane: "a", state: albs.TaskStopping, fence: 2}},
			[]attempt{{task: 1, fence: 2, claimed: time.Hour}}, map[string]float64{"a": counts(time.Hour, 0) - counts(schedule.Guess, 0)}},
		{"of a task that runs again only the new attempt runs", []task{{id: 1, lane: "a", state: albs.TaskLeased, fence: 2, expected: 1800}},
			[]attempt{{task: 1, fence: 1, claimed: 3 * time.Hour, ended: 2 * time.Hour, how: "expire"}, {task: 1, fence: 2, claimed: time.Hour}},
			map[string]float64{"a": counts(3*time.Hour, 2*time.Hour) + counts(time.Hour, 0) - counts(30*time.Minute, 0)}},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				has(t, d, test.tasks, test.attempts...)
				at := now
				u := measure.NewUsage(d, func() db.Time { return at }, half)
				for range 2 { // counted anew it is the same
					if err := u.Recount(t.Context()); err != nil {
						t.Fatal(err)
					}
					wantUsed(t, "now", u.Owners(), test.want)
				}
				at = ago(-half)
				halved := maps.Clone(test.want)
				for owner := range halved {
					halved[owner] /= 2
				}
				wantUsed(t, "a half-life later", u.Owners(), halved)
			})
		}
	})
}

// TestUsageAdd: what ends here counts at once, and once, also where it ends while all is
// counted anew, whether or not the count has it.
func TestUsageAdd(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		has(t, d, []task{{id: 1, lane: "a"}, {id: 2, lane: "a"}}, attempt{task: 1, fence: 1, claimed: time.Hour, how: "complete"})
		ended := func(id albs.TaskID, claimed, ended time.Duration) measure.Attempt {
			return measure.Attempt{TaskID: id, Fence: 1, Lane: "a", ClaimedAt: ago(claimed), EndedAt: ago(ended)}
		}
		var meanwhile []measure.Attempt
		var u *measure.Usage
		u = measure.NewUsage(d, func() db.Time { // is asked when a count has begun
			for _, a := range meanwhile {
				u.Add(a)
			}
			meanwhile = nil
			return now
		}, half)
		recount := func() {
			t.Helper()
			if err := u.Recount(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		u.Add(ended(1, time.Hour, 0))
		wantUsed(t, "before the first count", u.Owners(), map[string]float64{})
		recount()
		wantUsed(t, "after the first count", u.Owners(), map[string]float64{"a": counts(time.Hour, 0)})
		u.Add(ended(2, 2*time.Hour, time.Hour))
		wantUsed(t, "after another ended", u.Owners(), map[string]float64{"a": counts(2*time.Hour, 0)})
		recount()
		wantUsed(t, "after a count that lacks it", u.Owners(), map[string]float64{"a": counts(time.Hour, 0)})
		meanwhile = []measure.Attempt{ended(1, time.Hour, 0), ended(2, 2*time.Hour, time.Hour)}
		recount()
		wantUsed(t, "after both ended during a count that has one", u.Owners(), map[string]float64{"a": counts(2*time.Hour, 0)})
	})
}

// TestChains: a task's chain is what it and the longest of those that wait for it are
// expected to take, and one without history keeps its own.
func TestChains(t *testing.T) {
	t.Parallel()
	const blocked = albs.TaskBlocked
	tests := []struct {
		name  string
		tasks []task
		want  []int // their chains
	}{
		{"nothing waits", []task{{id: 1, expected: 10, chain: 10}}, []int{10}},
		{"a line", []task{{id: 1, expected: 10, chain: 10}, {id: 2, state: blocked, expected: 20, chain: 20, after: []albs.TaskID{1}}, {id: 3, state: blocked, expected: 30, chain: 30, after: []albs.TaskID{2}}},
			[]int{60, 50, 30}},
		{"the longer of two ways", []task{{id: 1, expected: 10, chain: 10}, {id: 2, state: blocked, expected: 5, chain: 5, after: []albs.TaskID{1}},
			{id: 3, state: blocked, expected: 50, chain: 50, after: []albs.TaskID{1}}, {id: 4, state: blocked, expected: 7, chain: 7, after: []albs.TaskID{2, 3}}},
			[]int{67, 12, 57, 7}},
		{"one without history goes first as it is", []task{{id: 1}, {id: 2, state: blocked, expected: 20, chain: 20, after: []albs.TaskID{1}}},
			[]int{measure.Unknown, 20}},
		{"what runs or is done is let be", []task{{id: 1, state: albs.TaskLeased, expected: 10, chain: 11}, {id: 2, state: albs.TaskSucceeded, expected: 10, chain: 12},
			{id: 3, state: blocked, expected: 5, chain: 5, after: []albs.TaskID{1, 2}}}, []int{11, 12, 5}},
		{"what no longer waits is counted no more", []task{{id: 1, expected: 10, chain: 500}, {id: 2, state: blocked, expected: 20, chain: 400, after: []albs.TaskID{1}},
			{id: 3, state: albs.TaskCancelled, expected: 30, chain: 30, after: []albs.TaskID{2}}}, []int{30, 20, 30}},
		{"as long as can be is known", []task{{id: 1, expected: measure.Unknown - 1, chain: 1}, {id: 2, state: blocked, expected: measure.Unknown - 1, chain: 1, after: []albs.TaskID{1}}},
			[]int{measure.Unknown - 1, measure.Unknown - 1}},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				has(t, d, test.tasks)
				if err := measure.Chains(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				wantChains(t, d, test.want)
			})
		}
	})
}

func wantChains(t *testing.T, d *db.DB, want []int) {
	t.Helper()
	var got []int
	if err := d.SelectContext(t.Context(), &got, `SELECT chain FROM task ORDER BY id`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
}

// TestManyChains writes more than one transaction does.
func TestManyChains(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const n = 450
		tasks, want := []task{{id: 1, expected: 1, chain: 1}}, []int{n}
		for i := 2; i <= n; i++ {
			tasks = append(tasks, task{id: albs.TaskID(i), state: albs.TaskBlocked, expected: 1, chain: 1, after: []albs.TaskID{albs.TaskID(i - 1)}})
			want = append(want, n+1-i)
		}
		has(t, d, tasks)
		if err := measure.Chains(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		wantChains(t, d, want)
	})
}

// TestRefusals: who gave a task back, or lost it, is remembered for a while, by its newest
// attempt.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	tests := []struct {
		name     string
		attempts []attempt // of the worker 7, unless they say another
		want     []measure.Refusal
	}{
		{"nobody", nil, nil},
		{"one that runs", []attempt{{}}, nil},
		{"one that did it", []attempt{{ended: minute, how: "complete", outcome: albs.OutcomeOK}}, nil},
		{"one that failed it", []attempt{{ended: minute, how: "complete", outcome: albs.OutcomeFailed}}, nil},
		{"one whose means failed it", []attempt{{ended: minute, how: "complete", outcome: albs.OutcomeInfra}}, []measure.Refusal{{7, measure.RefusalMemory - minute}}},
		{"one whose lease ran out", []attempt{{ended: minute, how: "expire"}}, []measure.Refusal{{7, measure.RefusalMemory - minute}}},
		{"one that lost it", []attempt{{ended: minute, how: "lost"}}, []measure.Refusal{{7, measure.RefusalMemory - minute}}},
		{"one that stopped", []attempt{{ended: minute, how: "complete", outcome: albs.OutcomeStopped}}, []measure.Refusal{{7, measure.StopMemory - minute}}},
		{"one that stopped a while ago", []attempt{{ended: measure.StopMemory, how: "complete", outcome: albs.OutcomeStopped}}, nil},
		{"to the last moment", []attempt{{ended: measure.RefusalMemory - time.Microsecond, how: "expire"}}, []measure.Refusal{{7, time.Microsecond}}},
		{"forgotten", []attempt{{ended: measure.RefusalMemory, how: "expire"}}, nil},
		{"by a clock that is a little ahead", []attempt{{ended: -db.MaxAhead, how: "expire"}}, []measure.Refusal{{7, measure.RefusalMemory + db.MaxAhead}}},
		{"from before the clock was put back", []attempt{{ended: -db.MaxAhead - time.Microsecond, how: "expire"}}, nil},
		{"twice the same: its newest", []attempt{{ended: 5 * minute, how: "expire"}, {ended: minute, how: "complete", outcome: albs.OutcomeStopped}},
			[]measure.Refusal{{7, measure.StopMemory - minute}}},
		{"the newest is forgotten: the one before", []attempt{{ended: 5 * minute, how: "expire"}, {ended: 3 * minute, how: "complete", outcome: albs.OutcomeStopped}},
			[]measure.Refusal{{7, measure.RefusalMemory - 5*minute}}},
		{"two, the newest first", []attempt{{ended: 5 * minute, how: "expire"}, {worker: 8, ended: minute, how: "lost"}},
			[]measure.Refusal{{8, measure.RefusalMemory - minute}, {7, measure.RefusalMemory - 5*minute}}},
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				attempts := slices.Clone(test.attempts)
				for i, a := range attempts {
					attempts[i] = attempt{task: 1, fence: int64(i + 1), worker: max(a.worker, 7), claimed: time.Hour, ended: a.ended, how: a.how, outcome: a.outcome}
				}
				has(t, d, []task{{id: 1}, {id: 2}}, attempts...)
				want := map[albs.TaskID][]measure.Refusal{}
				if test.want != nil {
					want[1] = test.want
				}
				got, err := measure.Refusals(t.Context(), d, []albs.TaskID{1, 2, 3}, now)
				if diff := cmp.Diff(want, got); diff != "" || err != nil {
					t.Errorf("Refusals (-want +got): %v\n%s", err, diff)
				}
				if got, err := measure.Refusals(t.Context(), d, []albs.TaskID{2}, now); len(got) != 0 || err != nil {
					t.Errorf("of another task: %v, %v", got, err)
				}
			})
		}
	})
}

// TestManyRefusals asks of more tasks than one statement names.
func TestManyRefusals(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var tasks []task
		var attempts []attempt
		var ids []albs.TaskID
		for id := albs.TaskID(1); id <= 501; id++ {
			tasks, ids = append(tasks, task{id: id}), append(ids, id)
			attempts = append(attempts, attempt{task: id, fence: 1, worker: 7, claimed: time.Hour, ended: time.Minute, how: "expire"})
		}
		has(t, d, tasks, attempts...)
		got, err := measure.Refusals(t.Context(), d, ids, now)
		if err != nil || len(got) != len(ids) {
			t.Errorf("%d of %d tasks have refusals (%v)", len(got), len(ids), err)
		}
	})
}

// TestLosses: what a worker lost of late, by its end.
func TestLosses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		has(t, d, []task{{id: 1}, {id: 2}},
			attempt{task: 1, fence: 1, worker: 7, claimed: 9 * time.Hour, ended: 8 * time.Hour, how: "expire"},
			attempt{task: 1, fence: 2, worker: 7, claimed: 7 * time.Hour, ended: 2 * time.Hour, how: "lost"},
			attempt{task: 1, fence: 3, worker: 8, claimed: 2 * time.Hour, ended: time.Hour, how: "expire"},
			attempt{task: 1, fence: 4, worker: 7, claimed: time.Hour, ended: time.Minute, how: "complete", outcome: albs.OutcomeInfra},
			attempt{task: 1, fence: 5, worker: 7, claimed: time.Minute},
			attempt{task: 2, fence: 1, worker: 7, claimed: 5 * time.Hour, ended: 3 * time.Hour, how: "expire"})
		loss := func(id albs.TaskID, claimed, ended time.Duration) schedule.Loss {
			return schedule.Loss{Task: id, Claimed: ago(claimed).Time, Ended: ago(ended).Time}
		}
		old, mid, late := loss(1, 9*time.Hour, 8*time.Hour), loss(2, 5*time.Hour, 3*time.Hour), loss(1, 7*time.Hour, 2*time.Hour)
		for _, test := range []struct {
			worker albs.WorkerID
			since  time.Duration
			want   []schedule.Loss
		}{
			{7, 24 * time.Hour, []schedule.Loss{old, mid, late}},
			{7, 8 * time.Hour, []schedule.Loss{mid, late}},
			{7, time.Hour, []schedule.Loss{}},
			{8, 24 * time.Hour, []schedule.Loss{loss(1, 2*time.Hour, time.Hour)}},
			{9, 24 * time.Hour, []schedule.Loss{}},
		} {
			got, err := measure.Losses(t.Context(), d, test.worker, ago(test.since))
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("Losses of %d since %v (-want +got): %v\n%s", test.worker, test.since, err, diff)
			}
		}
	})
}

// TestPlace: before a task go those of its class that have a higher priority, a longer
// chain or, all else equal, came earlier.
func TestPlace(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		const class = "build\nteam\narch:x86_64"
		tasks := []task{
			{id: 1, class: class, priority: 5, expected: 10, chain: 100},
			{id: 2, class: class, priority: 5, expected: 20, chain: 300},
			{id: 3, class: class, priority: 9, expected: 40, chain: 50},
			{id: 4, class: class, priority: 5, expected: 80, chain: 100},
			{id: 5, class: class, priority: 5}, // without history: its chain is the longest
			{id: 6, class: class, priority: 9, expected: 1000, chain: 1000, state: albs.TaskLeased},
			{id: 7, class: "another", priority: 9, expected: 1000, chain: 1000},
			{id: 8, class: class, priority: 1, expected: 1000, chain: 1000},
		}
		has(t, d, tasks)
		for _, test := range []struct {
			id   albs.TaskID
			want schedule.Ahead
		}{
			{3, schedule.Ahead{}},
			{5, schedule.Ahead{Count: 1, Known: 1, Expects: 40 * time.Second}},
			{2, schedule.Ahead{Count: 2, Known: 1, Expects: 40 * time.Second}},
			{1, schedule.Ahead{Count: 3, Known: 2, Expects: 60 * time.Second}},
			{4, schedule.Ahead{Count: 4, Known: 3, Expects: 70 * time.Second}},
			{8, schedule.Ahead{Count: 5, Known: 4, Expects: 150 * time.Second}},
		} {
			x := tasks[slices.IndexFunc(tasks, func(x task) bool { return x.id == test.id })]
			if x.chain == 0 {
				x.chain = measure.Unknown
			}
			got, of, err := measure.Place(t.Context(), d, class, x.priority, x.chain, x.id)
			if diff := cmp.Diff(test.want, got); diff != "" || of != 6 || err != nil {
				t.Errorf("Place of %d of %d (-want +got): %v\n%s", test.id, of, err, diff)
			}
		}
		got, of, err := measure.Place(t.Context(), d, "nobody's", 0, 0, 1)
		if got != (schedule.Ahead{}) || of != 0 || err != nil {
			t.Errorf("Place in an empty class = %+v of %d, %v", got, of, err)
		}
	})
}

// TestDatabaseAway: what can't be read or written is an error and no number.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		u := measure.NewUsage(d, func() db.Time { return now }, half)
		for what, err := range map[string]error{
			"Recount":  u.Recount(ctx),
			"Chains":   measure.Chains(ctx, d),
			"Expected": func() error { _, err := measure.Expected(ctx, d, albs.KindBuild, "k"); return err }(),
			"Refusals": func() error { _, err := measure.Refusals(ctx, d, []albs.TaskID{1}, now); return err }(),
			"Losses":   func() error { _, err := measure.Losses(ctx, d, 1, now); return err }(),
			"Place":    func() error { _, _, err := measure.Place(ctx, d, "c", 0, 0, 1); return err }(),
		} {
			if err == nil {
				t.Errorf("%s of a database that is away gave no error", what)
			}
		}
	})
}
