package queue

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Lane is what waits of one owner with the same needs.
type Lane struct {
	Owner   string
	Needs   []string
	Running int     // leased tasks of the owner, over all of its lanes
	Ready   []Ready // in the order in which they are to go; more may follow
}

// Ready is one task that may be claimed.
type Ready struct {
	ID       albs.TaskID
	Priority int
}

// Assignment gives the next ready task of one lane to one waiting worker. Both
// are indexes of Assign's arguments.
type Assignment struct{ Lane, Waiting int }

// Assign decides who gets what: each waiting worker, given by its labels, at most
// one task, all of whose needs are among the labels. The owner with the fewest
// running tasks goes first, counting those just assigned, then the higher
// priority, then the older task; so owners take turns, however much one of them
// queues. A task goes to the worker with the fewest labels that can do it, and of
// equals to the one that has waited longest (the first). It is pure: the same
// arguments give the same result.
func Assign(lanes []Lane, waiting [][]string) []Assignment {
	groups := crews(waiting)
	fits := make([][]*crew, len(lanes)) // of each lane, the least versatile first
	running := make(map[string]int)
	for i, l := range lanes {
		running[l.Owner] = l.Running
		for _, g := range groups {
			if g.fits(l.Needs) {
				fits[i] = append(fits[i], g)
			}
		}
	}
	taken := make([]int, len(lanes))
	var as []Assignment
	for len(as) < len(waiting) {
		best := -1
		for i, l := range lanes {
			for len(fits[i]) > 0 && len(fits[i][0].members) == 0 {
				fits[i] = fits[i][1:]
			}
			if len(fits[i]) == 0 || taken[i] == len(l.Ready) {
				continue
			}
			if best < 0 || before(l, lanes[best], running, taken[i], taken[best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		g := fits[best][0]
		as = append(as, Assignment{Lane: best, Waiting: g.members[0]})
		g.members = g.members[1:]
		taken[best]++
		running[lanes[best].Owner]++
	}
	return as
}

func before(a, b Lane, running map[string]int, i, j int) bool {
	return cmp.Or(
		cmp.Compare(running[a.Owner], running[b.Owner]),
		-cmp.Compare(a.Ready[i].Priority, b.Ready[j].Priority),
		cmp.Compare(a.Ready[i].ID, b.Ready[j].ID),
	) < 0
}

// crew is the waiting workers with equal labels: of a thousand workers only a
// few kinds need be looked at.
type crew struct {
	labels  []string // sorted
	members []int    // indexes, who has waited longest first
}

func crews(waiting [][]string) []*crew {
	byKey := make(map[string]*crew)
	var groups []*crew
	for i, labels := range waiting {
		labels = slices.Sorted(slices.Values(labels))
		key := strings.Join(labels, " ")
		g := byKey[key]
		if g == nil {
			g = &crew{labels: labels}
			byKey[key], groups = g, append(groups, g)
		}
		g.members = append(g.members, i)
	}
	slices.SortStableFunc(groups, func(a, b *crew) int { return cmp.Compare(len(a.labels), len(b.labels)) })
	return groups
}

func (g *crew) fits(needs []string) bool {
	for _, n := range needs {
		if _, ok := slices.BinarySearch(g.labels, n); !ok {
			return false
		}
	}
	return true
}
