package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	const x = albs.X8664
	items := map[albs.ItemID]Tasks{
		1: {Source: 11, Rebuilds: map[albs.Arch]albs.TaskID{x: 12}},
		2: {Rebuilds: map[albs.Arch]albs.TaskID{x: 22}}, // its SRPM is given
		3: {Source: 31, Rebuilds: map[albs.Arch]albs.TaskID{x: 32}, Dropped: true},
	}
	if diff := cmp.Diff([]albs.TaskID{11}, Sources(items)); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	g := graph.List([]graph.Item{{Item: 1, Arches: []albs.Arch{x}}, {Item: 2, Arches: []albs.Arch{x, albs.S390X}}}, true)
	want := map[albs.TaskID][]albs.TaskID{12: {11, 5}, 22: {5, 12}}
	if diff := cmp.Diff(want, After(items, 5, g)); diff != "" {
		t.Errorf("with a gate (-want +got):\n%s", diff)
	}
	want = map[albs.TaskID][]albs.TaskID{12: {11}, 22: {12}}
	if diff := cmp.Diff(want, After(items, 0, g)); diff != "" {
		t.Errorf("without one (-want +got):\n%s", diff)
	}
}
