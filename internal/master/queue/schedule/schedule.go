// Package schedule has the rules by which the queue gives work out: Class says what is
// alike, Assign who gets what, Explain and Blocked why something waits. It owns no state,
// does no I/O and knows no clock: the same view gives the same answer, to the dispatcher,
// to a person who asks and to the simulator. docs/design/scheduling.md has the rules in their order.
//
// What always holds: nobody gets what it can't do (Worker.Bar), no claim two tasks and
// no task two claims, and no claim is left without a task that it may have.
package schedule

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// Room is how much of a machine there is, or is needed. A zero field of a need asks
// for nothing; of a machine it is unknown, and bounds nothing: a worker that doesn't tell
// its size is kept from no work by it, only by how many tasks it asks for.
type Room struct {
	Cores  int   `json:"cores,omitempty"`
	Memory int64 `json:"memory,omitempty"` // bytes
	Disk   int64 `json:"disk,omitempty"`   // bytes
}

// Holds reports whether need fits into the machine r beside what is taken of it.
func (r Room) Holds(need, taken Room) bool {
	return fits(int64(r.Cores), int64(need.Cores), int64(taken.Cores)) &&
		fits(r.Memory, need.Memory, taken.Memory) && fits(r.Disk, need.Disk, taken.Disk)
}

func fits(has, need, taken int64) bool { return has == 0 || need == 0 || need+taken <= has }

// Plus returns r and o together.
func (r Room) Plus(o Room) Room {
	return Room{r.Cores + o.Cores, r.Memory + o.Memory, r.Disk + o.Disk}
}

// Worker is one that may be given work.
type Worker struct {
	ID          albs.WorkerID
	Name        string
	Labels      []string // sorted
	Room        Room     // the whole machine's
	Taken       Room     // what the tasks that it holds need of that
	Runs        int      // how many it holds
	Exclude     []string // patterns of tasks that it is not to have: see Excludes
	Drained     string   // why people give it nothing; "" if they do
	Paused      string   // why it takes nothing now, by its own word; "" if it does
	Quarantined string   // why the queue gives it nothing; "" if it does
}

// Lane is what is alike and of one owner: the same needs, in the order in which it is
// to go.
type Lane struct {
	Owner string
	Needs []string // labels, sorted
	Room  Room
	Ready []Ready
}

// Ready is one task that may be claimed.
type Ready struct {
	ID       albs.TaskID
	Priority int
	Expected time.Duration   // the median of past runs; 0 without history
	Chain    time.Duration   // Expected, and that of the longest chain of tasks that wait for it; 0 is unknown
	Key      string          // what past runs are known by, "package/platform/arch"; "" for none
	Refused  []albs.WorkerID // those that gave it back, or lost it, a short while ago
}

// Before reports whether, of one owner's tasks, a goes before b: the higher priority,
// then the one with which the longest chain begins, so that nothing long is left for
// the end, then the older. One without history may be the longest.
func Before(a, b Ready) bool {
	return cmp.Or(-cmp.Compare(a.Priority, b.Priority), -cmp.Compare(length(a), length(b)), cmp.Compare(a.ID, b.ID)) < 0
}

func length(r Ready) time.Duration {
	if r.Expected == 0 {
		return 1<<63 - 1
	}
	return max(r.Chain, r.Expected)
}

// Link is a task that has not ended, as Chains sees it.
type Link struct {
	ID       albs.TaskID
	Expected time.Duration // 0 without history
}

// Chains returns, for each of links, how long it takes from its begin until the last of
// the longest chain of tasks behind it ends, if nothing else waits: edges lead from a
// task to one that waits for it. A task without history counts Guess. Edges that close
// a circle, which the queue doesn't let in, or lead to unknown tasks, count nothing.
func Chains(links []Link, edges map[albs.TaskID][]albs.TaskID) map[albs.TaskID]time.Duration {
	expected := make(map[albs.TaskID]time.Duration, len(links))
	for _, l := range links {
		expected[l.ID] = cmp.Or(l.Expected, Guess)
	}
	chains := make(map[albs.TaskID]time.Duration, len(links))
	type visit struct {
		id   albs.TaskID
		next int // of its edges
		tail time.Duration
	}
	for _, l := range links {
		if _, ok := chains[l.ID]; ok {
			continue
		}
		chains[l.ID] = 0 // being visited
		for stack := []visit{{id: l.ID}}; len(stack) > 0; {
			v := &stack[len(stack)-1]
			if v.next == len(edges[v.id]) {
				chains[v.id] = expected[v.id] + v.tail
				stack = stack[:len(stack)-1]
				if len(stack) > 0 {
					below := &stack[len(stack)-1]
					below.tail = max(below.tail, chains[v.id])
				}
				continue
			}
			to := edges[v.id][v.next]
			v.next++
			if done, ok := chains[to]; ok {
				v.tail = max(v.tail, done)
			} else if _, known := expected[to]; known {
				chains[to] = 0
				stack = append(stack, visit{id: to})
			}
		}
	}
	return chains
}

// Bar is what keeps a worker from a task.
type Bar int

// The bars, in the order in which they are looked at: the first that holds is told.
const (
	None        Bar = iota
	Label           // it lacks a label that the task needs
	Quarantined     // it lost too many tasks
	Drained         // people want it to have nothing more
	Paused          // it takes nothing now, by its own word
	Small           // its machine is too small
	Excluded        // a pattern keeps the task away
	Full            // what it holds leaves too little room
	Refused         // it gave this task back, and another could take it
)

// Bar returns what keeps w from the task r of lane l, but for Refused, for which one
// has to know the others.
func (w *Worker) Bar(l *Lane, r *Ready) Bar {
	b := w.laneBar(l)
	if !w.meant(l.Needs) {
		b = Label
	}
	if (b == None || b == Full) && w.Excludes(r.Key) != "" {
		return Excluded
	}
	return b
}

// laneBar is the part of Bar that is the same for the whole lane and for all workers that
// are alike.
func (w *Worker) laneBar(l *Lane) Bar {
	switch {
	case !has(w.Labels, l.Needs):
		return Label
	case w.Quarantined != "":
		return Quarantined
	case w.Drained != "":
		return Drained
	case w.Paused != "":
		return Paused
	case !w.Room.Holds(l.Room, Room{}):
		return Small
	case !w.Room.Holds(l.Room, w.Taken):
		return Full
	}
	return None
}

// Excludes returns the pattern that keeps tasks with this key from w, or "". A pattern
// (path.Match) is for the whole key or for its first part, the package.
func (w *Worker) Excludes(key string) string {
	if key == "" {
		return ""
	}
	pkg, _, _ := strings.Cut(key, "/")
	for _, p := range w.Exclude {
		whole, err1 := path.Match(p, key)
		first, err2 := path.Match(p, pkg)
		if err1 == nil && whole || err2 == nil && first {
			return p
		}
	}
	return ""
}

// How a task names the worker that is to have it, or is not to, among its needs. No label
// of an identity has such a form.
const (
	only   = "worker="
	except = "worker!="
)

// Only returns the need of a task that is for the worker of a name alone.
func Only(worker string) string { return only + worker }

// Except returns the need of a task that is for any worker but that of a name.
func Except(worker string) string { return except + worker }

// names reports whether a need is one of Only or Except.
func names(need string) bool { return strings.HasPrefix(need, only) || strings.HasPrefix(need, except) }

// meant reports whether nothing of what needs say of names keeps w away.
func (w *Worker) meant(needs []string) bool {
	return !slices.ContainsFunc(needs, func(n string) bool {
		return names(n) && n != Only(w.Name) && (!strings.HasPrefix(n, except) || n == Except(w.Name))
	})
}

// has reports whether all needs but those that name a worker are among the labels; both
// are sorted.
func has(labels, needs []string) bool {
	for _, n := range needs {
		if names(n) {
			continue
		}
		i, ok := slices.BinarySearch(labels, n)
		if !ok {
			return false
		}
		labels = labels[i:]
	}
	return true
}

// Elsewhere reports whether one of the workers that didn't refuse r could take it, now
// or when it is done with what it holds.
func Elsewhere(l *Lane, r *Ready, workers ...[]Worker) bool {
	for _, ws := range workers {
		for i := range ws {
			if b := ws[i].Bar(l, r); (b == None || b == Full) && !slices.Contains(r.Refused, ws[i].ID) {
				return true
			}
		}
	}
	return false
}

// Loss is an attempt whose worker fell silent.
type Loss struct {
	Task    albs.TaskID
	Claimed time.Time
	Ended   time.Time
}

// Losses counts what speaks against a worker: its losses, ordered by their end, of
// different tasks, those of one silence once. So neither a task that kills whoever
// takes it nor one power cut on a machine with many slots makes a bad worker.
func Losses(ls []Loss) int {
	tasks := make(map[albs.TaskID]bool)
	var last time.Time
	for _, l := range ls {
		if tasks[l.Task] || l.Claimed.Before(last) {
			continue
		}
		tasks[l.Task], last = true, l.Ended
	}
	return len(tasks)
}
