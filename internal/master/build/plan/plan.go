// Package plan makes items into the steps of a build, before anything has an id, and
// names the past runs that a step is like. It is pure: what package asks for which
// other is found later, by package graph, once the sources have told.
package plan

import (
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
)

// Step is one task that a build needs, before it has an id. Before lists the
// steps, by their place in the plan, that must have succeeded first.
type Step struct {
	Item     int // place of the item; none of KindGraph
	Kind     albs.TaskKind
	Arch     albs.Arch // KindBuild only
	Platform string    // KindGraph only
	Before   []int
}

// Item is what the planner needs to know of an item.
type Item struct {
	Platform string
	Arches   []albs.Arch
	FromSRPM bool // the SRPM is given; nothing is imported
}

// Make lists the steps of a build in an order in which each stands after what it
// waits for. An item is imported and made into one SRPM, then rebuilt once for each
// arch.
//
// With order Listed a rebuild also waits for that of the item listed before, of its
// platform and arch. With Auto, on a platform of several items, no rebuild begins
// before the sources of all have told what they need: a step of KindGraph waits for
// them, the rebuilds for it, and it is what gives them the rest of their order. An SRPM
// that is given has a source step there too, which only asks.
func Make(items []Item, order graph.Order) []Step {
	type target struct {
		platform string
		arch     albs.Arch
	}
	var steps []Step
	add := func(s Step) int {
		steps = append(steps, s)
		return len(steps) - 1
	}
	together := make(map[string][]int) // items by platform
	for i, it := range items {
		together[it.Platform] = append(together[it.Platform], i)
	}
	ordered := func(i int) bool { return order == graph.Auto && len(together[items[i].Platform]) > 1 }
	sources := make([][]int, len(items))
	before := map[target]int{}
	for i, it := range items {
		switch {
		case !it.FromSRPM:
			imported := add(Step{Item: i, Kind: albs.KindImport})
			sources[i] = []int{add(Step{Item: i, Kind: albs.KindSource, Before: []int{imported}})}
		case ordered(i):
			sources[i] = []int{add(Step{Item: i, Kind: albs.KindSource})}
		}
		if ordered(i) {
			continue
		}
		for _, a := range it.Arches {
			t := target{it.Platform, a}
			waits := slices.Clone(sources[i])
			if last, ok := before[t]; ok && order == graph.Listed {
				waits = append(waits, last)
			}
			before[t] = add(Step{Item: i, Kind: albs.KindBuild, Arch: a, Before: waits})
		}
	}
	for i, it := range items {
		if !ordered(i) || together[it.Platform][0] != i {
			continue
		}
		order := Step{Kind: albs.KindGraph, Platform: it.Platform}
		for _, j := range together[it.Platform] {
			order.Before = append(order.Before, sources[j]...)
		}
		gate := add(order)
		for _, j := range together[it.Platform] {
			for _, a := range items[j].Arches {
				add(Step{Item: j, Kind: albs.KindBuild, Arch: a, Before: append(slices.Clone(sources[j]), gate)})
			}
		}
	}
	return steps
}
