package build

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/event"
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
