package plan

import (
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
)

// Tasks are the tasks of an item that count, once they have ids.
type Tasks struct {
	Source   albs.TaskID // 0 if there is none
	Rebuilds map[albs.Arch]albs.TaskID
	Dropped  bool // the item is in no order: nothing waits for it
}

// Before lists what the item's rebuilds come after in any order: its source and the
// gate, each unless it is 0.
func (t Tasks) Before(gate albs.TaskID) []albs.TaskID {
	return slices.DeleteFunc([]albs.TaskID{t.Source, gate}, func(id albs.TaskID) bool { return id == 0 })
}

// Sources returns the source tasks of the items that are in an order, lowest first.
func Sources(items map[albs.ItemID]Tasks) []albs.TaskID {
	var out []albs.TaskID
	for _, t := range items {
		if !t.Dropped && t.Source != 0 {
			out = append(out, t.Source)
		}
	}
	slices.Sort(out)
	return out
}

// After says what each rebuild of a graph comes after: what it does in any order, and
// the rebuilds that the graph says.
func After(items map[albs.ItemID]Tasks, gate albs.TaskID, g graph.Graph) map[albs.TaskID][]albs.TaskID {
	after := make(map[albs.TaskID][]albs.TaskID)
	needs := g.Needs()
	for n, node := range g.Nodes {
		it := items[node.Item]
		task := it.Rebuilds[node.Arch]
		if task == 0 {
			continue
		}
		before := it.Before(gate)
		for _, m := range needs[n] {
			if id := items[g.Nodes[m].Item].Rebuilds[g.Nodes[m].Arch]; id != 0 {
				before = append(before, id)
			}
		}
		after[task] = before
	}
	return after
}
