package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/fleet"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/store"
	"albs/internal/worker"
)

// operator is a person who may manage workers.
func (f *fixture) operator() context.Context {
	return auth.With(f.t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: auth.Operator}}})
}

// why wants the sentence of a waiting task to contain want.
func (f *fixture) why(id albs.TaskID, want string) Wait {
	f.t.Helper()
	w, err := f.Why(f.t.Context(), id)
	if err != nil || !strings.Contains(w.Sentence, want) {
		f.t.Errorf("Why(%d) = %q, %v; want %q in it", id, w.Sentence, err, want)
	}
	return w
}

// Of one lane the higher priority goes first, then what took longest in the past, then
// the older; what has no past may be longest.
func TestOrderOfALane(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for key, took := range map[string]time.Duration{"short": time.Second, "long": 30 * time.Second} {
			id := f.add(NewTask{Key: key})
			l := f.claim("a")
			for left := took; left > 0; left -= time.Second {
				f.clock_.add(time.Second)
				if _, err := f.Renew(f.as("a"), l.Token); err != nil {
					t.Fatal(err)
				}
			}
			f.complete("a", l, albs.OutcomeOK, "")
			f.want(id, albs.TaskSucceeded, "")
		}
		short, short2 := f.add(NewTask{Key: "short"}), f.add(NewTask{Key: "short"})
		long, fresh := f.add(NewTask{Key: "long"}), f.add(NewTask{Key: "new"})
		urgent := f.add(NewTask{Key: "short", Priority: 1})
		if task := f.want(long, albs.TaskQueued, ""); task.Expected != 30*time.Second || task.Key != "long" {
			t.Errorf("task = %+v", task)
		}
		if task := f.want(fresh, albs.TaskQueued, ""); task.Expected != 0 {
			t.Errorf("task without history is expected to take %v", task.Expected)
		}
		for _, want := range []albs.TaskID{urgent, fresh, long, short, short2} {
			f.do(want, albs.OutcomeFailed, "") // which is no history
		}
		if task := f.want(f.add(NewTask{Key: "new"}), albs.TaskQueued, ""); task.Expected != 0 {
			t.Errorf("a failure became history: %v", task.Expected)
		}
	})
}

// What the longest chain waits for goes first.
func TestChainsGoFirst(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		err := f.tx(func(tx db.Tx) error {
			for key, took := range map[string]time.Duration{"short": time.Minute, "long": time.Hour, "middle": 10 * time.Minute} {
				if err := measure.Remember(t.Context(), tx, albs.KindBuild, key, took); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		middle, short := f.add(NewTask{Key: "middle"}), f.add(NewTask{Key: "short"})
		between := f.add(NewTask{Key: "short", After: []albs.TaskID{short}})
		f.add(NewTask{Key: "long", After: []albs.TaskID{between, middle}})
		f.add(NewTask{Key: "long", After: []albs.TaskID{between}})
		if err := f.chains(t.Context()); err != nil {
			t.Fatal(err)
		}
		row, err := store.GetTask(t.Context(), f.d, short)
		if err != nil || row.Chain != 62*60 {
			t.Errorf("the chain from the short one takes %d s, %v; want 62 min", row.Chain, err)
		}
		f.do(middle, albs.OutcomeOK, "") // 70 minutes
		f.do(short, albs.OutcomeOK, "")
		if err := f.chains(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.add(NewTask{Key: "middle"})
		f.do(between, albs.OutcomeOK, "")
	})
}

// The median is of the last nine runs.
func TestHistory(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for i := range 20 {
			err := f.tx(func(tx db.Tx) error {
				return measure.Remember(t.Context(), tx, albs.KindBuild, "a/b/c", time.Duration(i)*time.Minute)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, test := range []struct {
			kind albs.TaskKind
			key  string
			want int
		}{{albs.KindBuild, "a/b/c", 15 * 60}, {albs.KindTest, "a/b/c", measure.Unknown}, {albs.KindBuild, "x", measure.Unknown}, {albs.KindBuild, "", measure.Unknown}} {
			if got, err := measure.Expected(t.Context(), f.d, test.kind, test.key); got != test.want || err != nil {
				t.Errorf("expects(%s, %s) = %d, %v; want %d", test.kind, test.key, got, err, test.want)
			}
		}
		var rows []string
		if err := f.d.SelectContext(t.Context(), &rows, `SELECT runs FROM task_history`); err != nil || len(rows) != 1 || len(strings.Fields(rows[0])) != 9 {
			t.Errorf("history = %q, %v; want one row of nine runs", rows, err)
		}
	})
}

// An owner that used the farm stands back, until that is long ago.
func TestFairShare(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for range 3 {
			f.add(NewTask{Lane: "team:a"})
			l := f.claim("a")
			f.clock_.add(term / 2)
			f.complete("a", l, albs.OutcomeOK, "")
		}
		used := func(owner string) float64 {
			held, err := readRunning(t.Context(), f.d)
			if err != nil {
				t.Fatal(err)
			}
			return f.used(held)[owner]
		}
		told := used("team:a")
		if err := f.usage.Recount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if counted := used("team:a"); told < 2.9 || told > 3.1 || counted-told > 0.01 || told-counted > 0.01 {
			t.Errorf("three seconds count %v as they end, %v by the attempts", told, counted)
		}
		old, late := f.add(NewTask{Lane: "team:a"}), f.add(NewTask{Lane: "team:b"})
		f.do(late, albs.OutcomeOK, "")
		f.clock_.add(time.Hour)
		if left := used("team:a"); left < 1.4 || left > 1.6 {
			t.Errorf("after a half-life three seconds count %v", left)
		}
		f.do(old, albs.OutcomeOK, "")
	})
}

func TestRoom(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const gi = 1 << 30
		big := f.add(NewTask{Room: Room{Cores: 8, Memory: 16 * gi, Disk: 10 * gi}})
		claim := func(name string, o worker.Offer) *worker.Lease {
			t.Helper()
			o.Labels = offer.Labels
			l, err := f.Claim(f.as(name), o)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		if l := claim("b", worker.Offer{Cores: 8, Memory: 8 * gi, Disk: 99 * gi}); l != nil {
			t.Error("a machine with too little memory got it")
		}
		f.why(big, "b has 8 cores, 8 GiB of memory, 99 GiB of disk where 8 cores, 16 GiB of memory, 10 GiB of disk is needed")
		second := f.add(NewTask{Room: Room{Cores: 8, Memory: 16 * gi, Disk: 10 * gi}})
		c := worker.Offer{Cores: 12, Memory: 64 * gi, Disk: 99 * gi}
		l := claim("c", c)
		if l == nil || l.Token.Task != big {
			t.Fatalf("lease = %+v, want task %d", l, big)
		}
		if l := claim("c", c); l != nil {
			t.Error("what the first task needs was given away twice")
		}
		f.why(second, "the one worker that could take it is busy, without 8 cores, 16 GiB of memory, 10 GiB of disk to spare; c could take it")
		small := f.add(NewTask{Room: Room{Cores: 4}})
		if l := claim("c", c); l == nil || l.Token.Task != small {
			t.Errorf("lease = %+v, want task %d, for which there is room", l, small)
		}
		f.complete("c", l, albs.OutcomeOK, "")
		if l := claim("c", c); l == nil || l.Token.Task != second {
			t.Errorf("lease = %+v, want task %d", l, second)
		}
		unknown := f.add(NewTask{Room: Room{Cores: 8, Memory: 16 * gi, Disk: 10 * gi}})
		if l := claim("a", worker.Offer{}); l == nil || l.Token.Task != unknown {
			t.Fatalf("a machine of unknown size got %+v, want task %d", l, unknown)
		}
		_, err := f.Claim(f.as("a"), worker.Offer{Labels: offer.Labels, Cores: -1})
		wantKind(t, "offer of less than nothing", err, albs.Invalid)
	})
}

// A reported failure of a worker's means is tried once more, elsewhere if that can be.
func TestInfraGoesElsewhere(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.noTask("b") // is known from now on
		id := f.enqueue()
		f.complete("a", f.claim("a"), albs.OutcomeInfra, "disk full")
		f.clock_.add(30 * time.Second)
		f.noTask("a")
		f.why(id, "next: b waits for work")
		f.complete("b", f.claim("b"), albs.OutcomeInfra, "no mirror")
		f.want(id, albs.TaskFailed, "infra: reported 2 times, the last: no mirror")
		f.retry(id)
		f.complete("c", f.claim("c"), albs.OutcomeInfra, "rain")
		f.want(id, albs.TaskQueued, "rain") // the retry counts anew
	})
}

// Who gave a task back gets it again when there is nobody else, or after a while.
func TestRefusalMemory(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		for _, how := range []albs.Outcome{albs.OutcomeStopped, albs.OutcomeInfra, albs.OutcomeStopped} {
			f.complete("a", f.claim("a"), how, "x")
			f.clock_.add(10 * time.Second) // there is nobody else
		}
		f.do1("b")
		f.want(id, albs.TaskSucceeded, "")

		f.enqueue()
		busy := f.claim("b")
		wait := func(d time.Duration) {
			t.Helper()
			f.clock_.add(d)
			if _, err := f.Renew(f.as("b"), busy.Token); err != nil {
				t.Fatal(err)
			}
		}
		id = f.enqueue()
		f.complete("a", f.claim("a"), albs.OutcomeStopped, "a restart")
		wait(10 * time.Second)
		f.noTask("a")
		wait(measure.StopMemory)
		f.complete("a", f.claim("a"), albs.OutcomeInfra, "x")
		wait(10 * time.Second)
		f.noTask("a")
		f.why(id, "the one worker that could take it is busy, and a gave it back and gets it again in 15 min (x); b could take it")
		wait(measure.RefusalMemory)
		f.do1("a")
		f.want(id, albs.TaskSucceeded, "")
	})
}

// A drained worker finishes what it has and gets nothing, whichever master it asks.
func TestDrain(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		wantKind(t, "Drain of nobody", f.Fleet().Drain(f.operator(), "a", ""), albs.NotFound)
		first := f.enqueue()
		l := f.claim("a")
		for name, ctx := range map[string]context.Context{"a worker": f.as("a"), "a contributor": auth.With(t.Context(), auth.Actor{
			Kind: auth.KindPerson, User: 2, Name: "c", Grants: []auth.Grant{{Role: auth.Contributor, Team: "core"}}})} {
			for what, err := range map[string]error{
				"Drain": f.Fleet().Drain(ctx, "a", "x"), "Undrain": f.Fleet().Undrain(ctx, "a"), "Lift": f.Fleet().Lift(ctx, "a"), "Exclude": f.Fleet().Exclude(ctx, "a", nil),
			} {
				wantKind(t, what+" by "+name, err, albs.Forbidden)
			}
		}
		if err := f.Fleet().Drain(f.operator(), "a", "a new\ndisk"); err != nil {
			t.Fatal(err)
		}
		second := f.enqueue()
		f.noTask("a")
		f.why(second, "none of the 1 worker with arch:x86_64 and kind:build may take it: a is drained (a new disk)")
		w, err := f.Worker(t.Context(), "a")
		if err != nil || w.Drained.IsZero() || w.DrainReason != "a new disk" || w.DrainedBy != "olga" && w.DrainedBy != "user:olga" || len(w.Runs) != 1 || w.Runs[0].ID != first || !w.Alive {
			t.Errorf("Worker = %+v, %v", w, err)
		}
		f.complete("a", l, albs.OutcomeOK, "")
		other := f.Queue
		if f.d.Postgres() {
			other = f.start()
		}
		if l, err := other.Claim(f.as("a"), offer); l != nil || err != nil {
			t.Errorf("Claim of a drained worker = %+v, %v", l, err)
		}
		if err := f.Fleet().Undrain(f.operator(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := f.Fleet().Undrain(f.operator(), "a"); err != nil { // is no more
			t.Fatal(err)
		}
		o := offer
		o.Wait = 20
		if l, err := other.Claim(f.as("a"), o); err != nil || l == nil || l.Token.Task != second {
			t.Errorf("Claim after Undrain = %+v, %v", l, err)
		}
		f.wantEvents(fleet.Topic("a"), "worker.drained", "worker.undrained")
	})
}

// A worker that takes nothing now says why, to those whose tasks it could take.
func TestPausedWorker(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.noTask("a")
		id := f.enqueue()
		if l, err := f.Claim(f.as("a"), worker.Offer{Pause: "2 GiB of disk are free"}); l != nil || err != nil {
			t.Fatalf("Claim = %+v, %v", l, err)
		}
		f.why(id, "none of the 1 worker with arch:x86_64 and kind:build may take it: a takes nothing now (2 GiB of disk are free)")
		if w, err := f.Worker(t.Context(), "a"); err != nil || w.Pause != "2 GiB of disk are free" || len(w.Labels) != 2 {
			t.Errorf("Worker = %+v, %v", w, err)
		}
		// Likewise one that takes only some now, as a signer with a key that has to wait.
		if l, err := f.Claim(f.as("a"), worker.Offer{Pause: "not of that arch", Labels: []string{"kind:build"}}); l != nil || err != nil {
			t.Fatalf("Claim = %+v, %v", l, err)
		}
		f.why(id, "none of the 1 worker with arch:x86_64 and kind:build may take it: a takes nothing now (not of that arch)")
		f.do(id, albs.OutcomeOK, "")
		if w, err := f.Worker(t.Context(), "a"); err != nil || w.Pause != "" {
			t.Errorf("Worker = %+v, %v", w, err)
		}
	})
}

// A drain that comes between the look and the claim is in time.
func TestDrainBeatsAStaleView(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.noTask("a")
		id := f.enqueue()
		_, err := f.d.ExecContext(t.Context(), `INSERT INTO fleet_worker (worker_id, name, version, labels, cores, memory, disk, pause, seen_at, drained_at)
			VALUES (1, 'a', '', '', 0, 0, 0, '', $1, $1)
			ON CONFLICT (worker_id) DO UPDATE SET drained_at = excluded.drained_at`, f.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		// The dispatcher was told nothing and believes what it read a moment ago.
		f.noTask("a")
		f.want(id, albs.TaskQueued, "")
	})
}

func TestExclude(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.noTask("a")
		for _, bad := range [][]string{{"["}, {"a b"}, {""}} {
			wantKind(t, fmt.Sprintf("Exclude(%q)", bad), f.Fleet().Exclude(f.operator(), "a", bad), albs.Invalid)
		}
		wantKind(t, "Exclude of much", f.Fleet().Exclude(f.operator(), "a", func() (ps []string) {
			for i := range fleet.MaxExclude + 1 {
				ps = append(ps, fmt.Sprint("p", i))
			}
			return ps
		}()), albs.TooLarge)
		if err := f.Fleet().Exclude(f.operator(), "a", []string{"kernel*", "*/el9/*"}); err != nil {
			t.Fatal(err)
		}
		// More of them than are looked at first.
		var kernels []albs.TaskID
		for range 30 {
			kernels = append(kernels, f.add(NewTask{Key: "kernel-rt/el8/x86_64"}))
		}
		el9, fine := f.add(NewTask{Key: "bash/el9/x86_64"}), f.add(NewTask{Key: "bash/el8/x86_64"})
		f.do(fine, albs.OutcomeOK, "")
		f.noTask("a")
		f.why(kernels[0], "a excludes it by the pattern kernel*")
		f.why(el9, "a excludes it by the pattern */el9/*")
		if w := f.claim("b"); w.Token.Task != kernels[0] {
			t.Errorf("b claimed task %d, want %d", w.Token.Task, kernels[0])
		}
		if err := f.Fleet().Exclude(f.operator(), "a", nil); err != nil {
			t.Fatal(err)
		}
		f.do(kernels[1], albs.OutcomeOK, "")
		f.wantEvents(fleet.Topic("a"), "worker.excludes", "worker.excludes")
	})
}

// lose has the named worker claim and fall silent.
func (f *fixture) lose(name string) {
	f.t.Helper()
	f.claim(name)
	f.passTime(term + time.Second)
}

// A worker that falls silent with three different tasks within an hour gets nothing
// until an operator lifts it, from which on its losses count anew.
func TestQuarantine(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.add(NewTask{Priority: 3})
		f.lose("a")
		f.do1("b") // the one that a lost
		f.clock_.add(2 * time.Hour)
		for i := range 3 {
			f.add(NewTask{Priority: 2 - i})
			f.lose("a")
			f.do1("b")
		}
		w, err := f.Worker(t.Context(), "a")
		if err != nil || w.Quarantined.IsZero() || !strings.Contains(w.QuarantineReason, "3 different tasks within 60 min") {
			t.Fatalf("Worker = %+v, %v; want it quarantined", w, err)
		}
		id := f.enqueue()
		f.noTask("a")
		f.clock_.add(10 * time.Minute)
		f.noTask("a")
		f.why(id, "a is quarantined (it fell silent with 3 different tasks")
		if err := f.Fleet().Lift(f.operator(), "a"); err != nil {
			t.Fatal(err)
		}
		f.lose("a") // the first again
		if w, err := f.Worker(t.Context(), "a"); err != nil || !w.Quarantined.IsZero() {
			t.Errorf("after one more loss: %+v, %v", w, err)
		}
		f.wantEvents(fleet.Topic("a"), "worker.quarantined", "worker.lifted")
	})
}

// do1 has the named worker do whatever is ready.
func (f *fixture) do1(name string) {
	f.t.Helper()
	f.complete(name, f.claim(name), albs.OutcomeOK, "")
}

// T08: a task that kills whoever takes it ends after three, none of which is
// quarantined, while others go on; and a power cut with four tasks is one loss.
func TestPoison(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		poison := f.add(NewTask{Priority: 9})
		for _, name := range []string{"a", "b", "c"} {
			f.lose(name)
			fine := f.add(NewTask{Lane: "team:other"})
			l, err := f.Claim(f.as("d"), offer)
			if err != nil || l == nil {
				t.Fatalf("Claim = %v, %v", l, err)
			}
			if l.Token.Task != fine { // by fairness the other lane's may come second
				f.t.Fatalf("claimed %d, want %d", l.Token.Task, fine)
			}
			f.complete("d", l, albs.OutcomeOK, "")
		}
		f.want(poison, albs.TaskFailed, "infra: 3 attempts were lost, the last: worker c was not heard of for 2s")
		for range 4 {
			f.enqueue()
		}
		for range 4 {
			f.claim("a")
		}
		f.passTime(term + time.Second)
		ws, err := f.Workers(t.Context())
		if err != nil || len(ws) != 4 {
			t.Fatalf("Workers = %+v, %v", ws, err)
		}
		for _, w := range ws {
			if !w.Quarantined.IsZero() {
				t.Errorf("worker %s is quarantined: %s", w.Name, w.QuarantineReason)
			}
		}
	})
}

// A worker that is restarted whenever it dies has lost its work as much as one that stays
// silent: the poison ends after three, and a worker that dies of several tasks is bad.
func TestPoisonAndRestarts(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		poison := f.add(NewTask{Priority: 9})
		for i, name := range []string{"a", "b", "c"} {
			f.want(poison, albs.TaskQueued, []string{"", "back", "back"}[i])
			f.clock_.add(time.Minute)
			f.complete(name, f.claim(name), albs.OutcomeLost, "back")
		}
		f.want(poison, albs.TaskFailed, "infra: 3 attempts were lost, the last: back")
		as, err := f.Attempts(t.Context(), poison)
		if err != nil || len(as) != 3 || !as[0].Lost || !as[2].Lost {
			t.Errorf("Attempts = %+v, %v", as, err)
		}
		for range 3 {
			f.enqueue()
			f.complete("d", f.claim("d"), albs.OutcomeLost, "back")
			f.clock_.add(time.Second) // the others are still there to take what it lost
		}
		for name, bad := range map[string]bool{"a": false, "d": true} {
			if w, err := f.Worker(t.Context(), name); err != nil || w.Quarantined.IsZero() == bad {
				t.Errorf("worker %s is quarantined since %v (%v), want that: %v", name, w.Quarantined, err, bad)
			}
		}
	})
}

// Each state and constraint has its sentence.
func TestWhy(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		s390 := f.add(NewTask{Needs: []string{"arch:s390x"}})
		f.why(s390, "1st of 1 in its lane (team:core): no worker has asked for work of late")
		f.noTask("a")
		f.why(s390, "no worker offers arch:s390x")
		_, err := f.Why(t.Context(), 1<<40)
		wantKind(t, "Why of nothing", err, albs.NotFound)

		// Twelve seconds of history.
		f.add(NewTask{Key: "bash/el9/x86_64"})
		l := f.claim("a")
		for range 12 {
			f.clock_.add(time.Second)
			if _, err := f.Renew(f.as("a"), l.Token); err != nil {
				t.Fatal(err)
			}
		}
		f.complete("a", l, albs.OutcomeOK, "")

		running, first, second := f.add(NewTask{Key: "bash/el9/x86_64"}), f.add(NewTask{Key: "bash/el9/x86_64"}), f.add(NewTask{Key: "bash/el9/x86_64"})
		l = f.claim("a")
		_, err = f.Why(t.Context(), running)
		wantKind(t, "Why of a running task", err, albs.Conflict)
		w := f.why(second, "2nd of 2 in its lane (team:core): the one worker that could take it is busy; a could take it; it is likely to begin in 24 s and to take 12 s")
		if w.Position != 2 || w.Of != 2 || !slices.Equal(w.Could, []string{"a"}) || w.Takes != 12*time.Second || w.Starts.Sub(f.clock_.now()) != 24*time.Second {
			t.Errorf("Why = %+v", w)
		}
		f.why(f.add(NewTask{Key: "zsh/el9/x86_64"}), "no history of zsh/el9/x86_64")
		f.add(NewTask{Lane: "team:new"})
		f.why(first, "and 1 owner that used less of late goes first")

		after := f.enqueue(running, second)
		f.clock_.add(time.Second)
		w = f.why(after, fmt.Sprintf("blocked by build task %d (bash/el9/x86_64), which is queued, and by 1 more", second))
		if !slices.Equal(w.After, []albs.TaskID{running, second}) {
			t.Errorf("After = %v", w.After)
		}
		last := f.enqueue(running)
		f.why(last, fmt.Sprintf("blocked by build task %d (bash/el9/x86_64), which has run on a for 1 s and takes about 12 s", running))
		f.complete("a", l, albs.OutcomeFailed, "no")
		f.why(last, fmt.Sprintf("waits for build task %d, which failed: no", running))

		f.handler.set(func(h *handler) { h.offer = func(Task) error { return albs.Errorf(albs.Unavailable, "no mirror") } })
		paused := f.add(NewTask{Priority: 5, Lane: "team:least"})
		f.noTask("a")
		f.why(paused, "paused for 5 s (can't be given out now, and is tried again: no mirror)")

		// Of several at once it says what it says of each.
		ids := []albs.TaskID{s390, running, first, second, after, last, paused, 1 << 40}
		ws, err := f.Whys(t.Context(), ids)
		if err != nil || len(ws) != 6 {
			t.Errorf("Whys = %+v, %v", ws, err)
		}
		for id, w := range ws {
			if one, err := f.Why(t.Context(), id); err != nil || one.Sentence != w.Sentence || w.Binding == "" || !strings.Contains(w.Sentence, w.Binding) || !strings.HasSuffix(w.Sentence, w.ETA) {
				t.Errorf("Whys of %d = %+v, Why = %+v, %v", id, w, one, err)
			}
		}
		_, err = f.Whys(t.Context(), make([]albs.TaskID, MaxWhys+1))
		wantKind(t, "Whys of too many", err, albs.TooLarge)
	})
}

// What one master knows of workers the other tells too.
func TestWorkers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l, err := f.Claim(f.as("b"), worker.Offer{Version: "v1", Labels: offer.Labels, Cores: 4, Memory: 8 << 30, Disk: 9 << 30})
		if err != nil || l == nil {
			t.Fatal(l, err)
		}
		f.noTask("a")
		if err := f.Fleet().Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		masters := []*Queue{f.Queue}
		if f.d.Postgres() {
			masters = append(masters, f.start())
		}
		for _, m := range masters {
			ws, err := m.Workers(t.Context())
			if err != nil || len(ws) != 2 || ws[0].Name != "a" || ws[1].Name != "b" {
				t.Fatalf("Workers = %+v, %v", ws, err)
			}
			b := ws[1]
			if !b.Alive || b.Version != "v1" || b.Room != (Room{Cores: 4, Memory: 8 << 30, Disk: 9 << 30}) || !slices.Equal(b.Labels, []string{"arch:x86_64", "kind:build"}) ||
				len(b.Runs) != 1 || b.Runs[0].ID != id || !b.Seen.Equal(f.clock.now().Time) {
				t.Errorf("worker = %+v", b)
			}
		}
		f.clock_.add(time.Minute)
		if _, err := f.Renew(f.as("b"), l.Token); err != nil {
			t.Fatal(err)
		}
		if b, err := f.Worker(t.Context(), "b"); err != nil || !b.Seen.Equal(f.clock.now().Time) {
			t.Errorf("after a renewal: %+v, %v", b, err)
		}
		f.clock_.add(time.Hour)
		if b, err := f.Worker(t.Context(), "b"); err != nil || b.Alive {
			t.Errorf("after an hour: %+v, %v", b, err)
		}
		_, err = f.Worker(t.Context(), "nobody")
		wantKind(t, "Worker(nobody)", err, albs.NotFound)
	})
}

// T05: 800 slots poll while 30,000 tasks are ready; every task goes once.
func TestManySlots(t *testing.T) {
	tasks, slots := 30_000, 800
	if testing.Short() {
		tasks, slots = 1_500, 100
	}
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		for lane := range 10 {
			err := f.tx(func(tx db.Tx) error {
				for range tasks / 10 {
					n := NewTask{Kind: albs.KindBuild, Lane: fmt.Sprint("team:", lane), Topic: "build:1", Needs: []string{"arch:x86_64"}}
					if _, err := f.Enqueue(t.Context(), tx, n); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		masters := []*Queue{f.Queue, f.Queue}
		if d.Postgres() {
			masters[1] = f.start()
		}
		var g errgroup.Group
		var mu sync.Mutex
		seen := make(map[albs.TaskID]int)
		var left atomic.Int64
		left.Store(int64(tasks))
		var took []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range slots {
			g.Go(func() error {
				me := auth.With(ctx, auth.Actor{Kind: auth.KindWorker, Worker: albs.WorkerID(i/4 + 1), Name: fmt.Sprint("w", i/4), Labels: []string{"kind:build", "arch:*"}})
				o := offer
				o.Wait = 30
				for {
					began := time.Now()
					l, err := masters[i%2].Claim(me, o)
					if ctx.Err() != nil {
						return nil
					}
					if err != nil && !errors.Is(err, albs.Unavailable) {
						return err
					}
					if l == nil {
						continue
					}
					mu.Lock()
					seen[l.Token.Task]++
					took = append(took, time.Since(began))
					mu.Unlock()
					if l.Token.Fence != 1 {
						t.Errorf("task %d has fence %d at its first claim", l.Token.Task, l.Token.Fence)
					}
					if left.Add(-1) == 0 {
						cancel()
					}
				}
			})
		}
		began := time.Now()
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("task %d was claimed %d times", id, n)
			}
		}
		if len(seen) != tasks {
			t.Errorf("%d of %d tasks were claimed", len(seen), tasks)
		}
		slices.Sort(took)
		t.Logf("%d tasks to %d slots in %v; a claim took %v, p99 %v", tasks, slots, time.Since(began).Round(time.Millisecond),
			took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond))
	})
}
