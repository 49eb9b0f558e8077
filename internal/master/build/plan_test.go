package build

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/event"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	x, a := albs.X8664, albs.AArch64
	for _, c := range []struct {
		name  string
		items []PlanItem
		want  []Step
	}{
		{"nothing", nil, nil},
		{"one package, one arch", []PlanItem{{"el9", []albs.Arch{x}, false}}, []Step{
			{0, albs.KindImport, "", nil}, {0, albs.KindSource, "", []int{0}}, {0, albs.KindBuild, x, []int{1}}}},
		{"an SRPM needs no source", []PlanItem{{"el9", []albs.Arch{x, a}, true}}, []Step{
			{0, albs.KindBuild, x, nil}, {0, albs.KindBuild, a, nil}}},
		{"the second package waits for the first, arch by arch", []PlanItem{{"el9", []albs.Arch{x, a}, true}, {"el9", []albs.Arch{x, a}, true}}, []Step{
			{0, albs.KindBuild, x, nil}, {0, albs.KindBuild, a, nil}, {1, albs.KindBuild, x, []int{0}}, {1, albs.KindBuild, a, []int{1}}}},
		{"the third waits for the second alone, which waits for the first", []PlanItem{{"el9", []albs.Arch{x}, true}, {"el9", []albs.Arch{x}, true}, {"el9", []albs.Arch{x}, true}}, []Step{
			{0, albs.KindBuild, x, nil}, {1, albs.KindBuild, x, []int{0}}, {2, albs.KindBuild, x, []int{1}}}},
		{"platforms don't wait for each other", []PlanItem{{"el9", []albs.Arch{x}, true}, {"el10", []albs.Arch{x}, true}}, []Step{
			{0, albs.KindBuild, x, nil}, {1, albs.KindBuild, x, nil}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Plan(c.items)); diff != "" {
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
