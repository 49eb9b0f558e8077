package build

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/queue"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	x, a := albs.X8664, albs.AArch64
	one := func(platform string, given bool, arches ...albs.Arch) PlanItem {
		return PlanItem{platform, arches, given}
	}
	build := func(item int, arch albs.Arch, before ...int) Step {
		return Step{Item: item, Kind: albs.KindBuild, Arch: arch, Before: before}
	}
	imported := func(item int) Step { return Step{Item: item, Kind: albs.KindImport} }
	source := func(item int, before ...int) Step { return Step{Item: item, Kind: albs.KindSource, Before: before} }
	gate := func(platform string, before ...int) Step {
		return Step{Kind: albs.KindGraph, Platform: platform, Before: before}
	}
	for _, c := range []struct {
		name  string
		items []PlanItem
		order Order
		want  []Step
	}{
		{"nothing", nil, Auto, nil},
		{"one package, one arch", []PlanItem{one("el9", false, x)}, Auto, []Step{imported(0), source(0, 0), build(0, x, 1)}},
		{"one SRPM needs no source", []PlanItem{one("el9", true, x, a)}, Auto, []Step{build(0, x), build(0, a)}},
		{"two packages wait for what both say", []PlanItem{one("el9", false, x), one("el9", false, x, a)}, Auto, []Step{
			imported(0), source(0, 0), imported(1), source(1, 2), gate("el9", 1, 3), build(0, x, 1, 4), build(1, x, 3, 4), build(1, a, 3, 4)}},
		{"an SRPM among several is asked", []PlanItem{one("el9", true, x), one("el9", false, x)}, Auto, []Step{
			source(0), imported(1), source(1, 1), gate("el9", 0, 2), build(0, x, 0, 3), build(1, x, 2, 3)}},
		{"platforms don't wait for each other", []PlanItem{one("el9", true, x), one("el10", true, x), one("el9", true, x)}, Auto, []Step{
			source(0), build(1, x), source(2), gate("el9", 0, 2), build(0, x, 0, 3), build(2, x, 2, 3)}},
		{"listed: the second waits for the first, arch by arch", []PlanItem{one("el9", true, x, a), one("el9", true, x, a)}, Listed, []Step{
			build(0, x), build(0, a), build(1, x, 0), build(1, a, 1)}},
		{"listed: the third waits for the second alone, which waits for the first", []PlanItem{one("el9", true, x), one("el9", true, x), one("el9", true, x)}, Listed, []Step{
			build(0, x), build(1, x, 0), build(2, x, 1)}},
		{"independent", []PlanItem{one("el9", false, x), one("el9", true, x)}, Independent, []Step{imported(0), source(0, 0), build(0, x, 1), build(1, x)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Plan(c.items, c.order)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	at := func(m int) time.Time { return time.Date(2026, 1, 5, 10, m, 0, 0, time.UTC) }
	ok := TaskView{Label: "zlib source", State: albs.TaskSucceeded, Started: at(1), Finished: at(2)}
	bad := TaskView{Label: "zlib x86_64 build", State: albs.TaskFailed, Reason: "no package provides foo-devel", Started: at(3), Finished: at(4)}
	blocked := TaskView{Label: "pngcheck x86_64 build", State: albs.TaskBlocked}
	running := TaskView{Label: "zlib x86_64 build", State: albs.TaskLeased, Started: at(3)}
	weak := TaskView{Label: "zlib s390x build", State: albs.TaskFailed, Weak: true, Reason: "no memory", Started: at(3), Finished: at(4)}
	behindWeak := TaskView{Label: "pngcheck s390x build", State: albs.TaskBlocked, Weak: true}
	for _, c := range []struct {
		name  string
		tasks []TaskView
		want  Status
	}{
		{"a weak arch's failure is told and no more", []TaskView{ok, weak, behindWeak}, Status{Succeeded, "2 tasks done; 1 of weak arches failed: zlib s390x build: no memory", at(1), at(4), 2, 3}},
		{"a weak arch is waited for", []TaskView{ok, {Label: "zlib s390x build", State: albs.TaskQueued, Weak: true}}, Status{Running, "1 of 2 tasks done, 0 running", at(1), time.Time{}, 1, 2}},
		{"a weak arch's failure doesn't end what runs", []TaskView{weak, running}, Status{Running, "1 of 2 tasks done, 1 running; 1 of weak arches failed: zlib s390x build: no memory", at(3), time.Time{}, 1, 2}},
		{"another failure beside it counts", []TaskView{weak, bad}, Status{Failed, "zlib x86_64 build: no package provides foo-devel; 1 of weak arches failed: zlib s390x build: no memory", at(3), at(4), 2, 2}},
		{"fresh", []TaskView{{Label: "a", State: albs.TaskQueued}, blocked}, Status{Queued, "0 of 2 tasks done, 0 running", time.Time{}, time.Time{}, 0, 2}},
		{"running", []TaskView{ok, running, blocked}, Status{Running, "1 of 3 tasks done, 1 running", at(1), time.Time{}, 1, 3}},
		{"between tasks it still runs", []TaskView{ok, blocked}, Status{Running, "1 of 2 tasks done, 0 running", at(1), time.Time{}, 1, 2}},
		{"done", []TaskView{ok, ok}, Status{Succeeded, "2 tasks done", at(1), at(2), 2, 2}},
		{"excluded is done", []TaskView{ok, {State: albs.TaskExcluded}}, Status{Succeeded, "2 tasks done", at(1), at(2), 2, 2}},
		{"a failure ends what waits for it", []TaskView{ok, bad, blocked}, Status{Failed, "zlib x86_64 build: no package provides foo-devel", at(1), at(4), 2, 3}},
		{"a failure doesn't end what runs", []TaskView{bad, running}, Status{Running, "1 of 2 tasks done, 1 running, 1 failed: zlib x86_64 build: no package provides foo-devel", at(3), time.Time{}, 1, 2}},
		{"what finds the order fails", []TaskView{ok, {Label: "el9 graph", State: albs.TaskFailed, Reason: "infra", Started: at(3), Finished: at(4), Uncounted: true}, blocked},
			Status{Failed, "el9 graph: infra", at(1), at(4), 1, 2}},
		{"cancelled", []TaskView{ok, {State: albs.TaskCancelled, Finished: at(9)}, blocked}, Status{Cancelled, "1 tasks were cancelled", at(1), at(9), 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, StatusOf(c.tasks)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestItemStatusOf(t *testing.T) {
	t.Parallel()
	ok := TaskView{Label: "zlib source", Kind: albs.KindSource, State: albs.TaskSucceeded}
	vain := TaskView{Label: "zlib x86_64 build", Kind: albs.KindBuild, State: albs.TaskBlocked, Vain: true, Reason: "waits for bash x86_64 build (task 7), which failed: gcc"}
	excluded := TaskView{Label: "zlib s390x build", Kind: albs.KindBuild, State: albs.TaskExcluded, Reason: "ExcludeArch names s390x"}
	for _, c := range []struct {
		name   string
		tasks  []TaskView
		state  State
		reason string
	}{
		{"waits for another's failure", []TaskView{ok, vain}, Blocked, "zlib x86_64 build waits for bash x86_64 build (task 7), which failed: gcc"},
		{"goes on elsewhere", []TaskView{ok, vain, {Kind: albs.KindBuild, State: albs.TaskLeased}}, Queued, "1 of 3 tasks done, 1 running"},
		{"for no arch", []TaskView{ok, excluded}, Excluded, "zlib s390x build: ExcludeArch names s390x"},
		{"for one of two", []TaskView{ok, excluded, {Kind: albs.KindBuild, State: albs.TaskSucceeded}}, Succeeded, "3 tasks done"},
		{"its own failure", []TaskView{ok, {Label: "zlib x86_64 build", Kind: albs.KindBuild, State: albs.TaskFailed, Reason: "gcc"}}, Failed, "zlib x86_64 build: gcc"},
	} {
		if got := ItemStatusOf(c.tasks); got.State != c.state || got.Reason != c.reason {
			t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.reason)
		}
	}
}

func TestAttemptStatusOf(t *testing.T) {
	t.Parallel()
	ended := db.Now()
	for _, c := range []struct {
		name   string
		a      queue.Attempt
		state  State
		reason string
	}{
		{"it goes on", queue.Attempt{Worker: "n1"}, Running, "runs on n1"},
		{"ok", queue.Attempt{Worker: "n1", Ended: ended, Outcome: albs.OutcomeOK}, Succeeded, "done by n1"},
		{"refused", queue.Attempt{Ended: ended, Outcome: albs.OutcomeOK, Reason: "result refused: x"}, Failed, "result refused: x"},
		{"failed", queue.Attempt{Ended: ended, Outcome: albs.OutcomeFailed, Reason: "gcc"}, Failed, "gcc"},
		{"excluded", queue.Attempt{Ended: ended, Outcome: albs.OutcomeExcluded, Reason: "ExcludeArch"}, Excluded, "ExcludeArch"},
		{"expired", queue.Attempt{Ended: ended, Lost: true, Reason: "not heard of"}, Lost, "not heard of"},
		{"infra", queue.Attempt{Ended: ended, Lost: true, Outcome: albs.OutcomeInfra, Reason: "no mirror"}, Lost, "no mirror"},
		{"stopped", queue.Attempt{Ended: ended, Outcome: albs.OutcomeStopped, Reason: "cancelled by alice"}, Stopped, "cancelled by alice"},
	} {
		if got := AttemptStatusOf(c.a); got.State != c.state || got.Reason != c.reason {
			t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.reason)
		}
	}
}

func TestWaitReason(t *testing.T) {
	t.Parallel()
	lib := waiting{Label: "zlib x86_64 build", Kind: albs.KindBuild, Task: 7, State: albs.TaskFailed, Reason: "gcc"}
	many := slices.Repeat([]waiting{{Label: "a x86_64 build", Kind: albs.KindBuild}}, 7)
	for want, got := range map[string]string{
		"waits for zlib x86_64 build (task 7), which failed: gcc":                                             WaitReason(&lib, nil),
		"waits for a x86_64 build, a x86_64 build, a x86_64 build, a x86_64 build, a x86_64 build and 2 more": WaitReason(nil, many),
		"waits for the source packages of el9, which tell the order":                                          WaitReason(nil, []waiting{lib, {Label: "el9", Kind: albs.KindGraph}}),
	} {
		if got != want {
			t.Errorf("WaitReason = %q, want %q", got, want)
		}
	}
}

// TestChangeData: the event of a change fits the event log however many tasks it
// was about, or a large build could not be cancelled.
func TestChangeData(t *testing.T) {
	t.Parallel()
	ids := make([]albs.TaskID, 200_000)
	for i := range ids {
		ids[i] = albs.TaskID(1_000_000_000_000 + i)
	}
	b, err := json.Marshal(changeData(ids))
	if err != nil || len(b) > event.MaxData {
		t.Errorf("%d bytes of data, %v; at most %d go", len(b), err, event.MaxData)
	}
	if d := changeData(ids[:2]); d["count"] != 2 || len(d["tasks"].([]albs.TaskID)) != 2 {
		t.Errorf("changeData of two = %v", d)
	}
}
