package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
)

func TestMake(t *testing.T) {
	t.Parallel()
	x, a := albs.X8664, albs.AArch64
	one := func(platform string, given bool, arches ...albs.Arch) Item {
		return Item{Platform: platform, Arches: arches, FromSRPM: given}
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
		items []Item
		order graph.Order
		want  []Step
	}{
		{"nothing", nil, graph.Auto, nil},
		{"one package, one arch", []Item{one("el9", false, x)}, graph.Auto, []Step{imported(0), source(0, 0), build(0, x, 1)}},
		{"one SRPM needs no source", []Item{one("el9", true, x, a)}, graph.Auto, []Step{build(0, x), build(0, a)}},
		{"two packages wait for what both say", []Item{one("el9", false, x), one("el9", false, x, a)}, graph.Auto, []Step{
			imported(0), source(0, 0), imported(1), source(1, 2), gate("el9", 1, 3), build(0, x, 1, 4), build(1, x, 3, 4), build(1, a, 3, 4)}},
		{"an SRPM among several is asked", []Item{one("el9", true, x), one("el9", false, x)}, graph.Auto, []Step{
			source(0), imported(1), source(1, 1), gate("el9", 0, 2), build(0, x, 0, 3), build(1, x, 2, 3)}},
		{"platforms don't wait for each other", []Item{one("el9", true, x), one("el10", true, x), one("el9", true, x)}, graph.Auto, []Step{
			source(0), build(1, x), source(2), gate("el9", 0, 2), build(0, x, 0, 3), build(2, x, 2, 3)}},
		{"listed: the second waits for the first, arch by arch", []Item{one("el9", true, x, a), one("el9", true, x, a)}, graph.Listed, []Step{
			build(0, x), build(0, a), build(1, x, 0), build(1, a, 1)}},
		{"listed: the third waits for the second alone, which waits for the first", []Item{one("el9", true, x), one("el9", true, x), one("el9", true, x)}, graph.Listed, []Step{
			build(0, x), build(1, x, 0), build(2, x, 1)}},
		{"independent", []Item{one("el9", false, x), one("el9", true, x)}, graph.Independent, []Step{imported(0), source(0, 0), build(0, x, 1), build(1, x)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Make(c.items, c.order)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
