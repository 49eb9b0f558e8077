package schedule

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// View is all that a decision rests on.
type View struct {
	Lanes    []Lane
	Waiting  []Worker           // one for each claim that waits, the longest first
	Others   []Worker           // those that are alive and wait for nothing now
	Usage    map[string]float64 // slot-seconds by owner, decayed, running tasks' charges among them
	HalfLife time.Duration      // of usage
	Most     int                // assignments at most; 0 is no bound
}

// Assignment gives a ready task of a lane to a waiting claim; all are indexes.
type Assignment struct{ Lane, Ready, Waiting int }

// Assign decides who gets what. The owner that has used least goes first, each task
// counting from its assignment on; so a newcomer isn't kept waiting by whoever came
// before with much. Of an owner's tasks the order is Before's. A task goes to the worker that can do least
// besides: by its labels, then by the room that is asked for in this view; of equals to
// the one that has waited longest. A worker that gave a task back doesn't get it while
// another, waiting or not, could take it.
func Assign(v View) []Assignment {
	a := newAssigner(v)
	var as []Assignment
	for v.Most == 0 || len(as) < v.Most {
		best := a.next()
		if best == nil {
			break
		}
		as = append(as, a.take(best))
	}
	return as
}

// crew is the waiting workers that are alike: of a thousand only a few kinds need be
// looked at.
type crew struct {
	like    *Worker // any of them
	rooms   int     // how many of the rooms that are asked for it has
	members []int   // indexes of View.Waiting, who has waited longest first
}

// queue is a lane's cursor and those that could do its tasks.
type queue struct {
	owner *owner
	lane  *Lane
	index int
	head  int     // of lane.Ready: the first that may still go
	crews []*crew // the least versatile first

	// Who gets the head, as find has just found.
	crew   *crew
	member int
}

type owner struct {
	usage  float64
	queues []*queue
}

type assigner struct {
	v      View
	owners []*owner
	spent  map[albs.WorkerID]Room // room given away in this view
	others map[albs.TaskID]bool   // of a task that was given back: whether another could take it
}

func newAssigner(v View) *assigner {
	a := &assigner{v: v, spent: make(map[albs.WorkerID]Room), others: make(map[albs.TaskID]bool)}
	crews := muster(v.Waiting, rooms(v.Lanes))
	byName := make(map[string]*owner)
	for i := range v.Lanes {
		l := &v.Lanes[i]
		q := &queue{lane: l, index: i}
		for _, c := range crews {
			if c.like.laneBar(l) == None {
				q.crews = append(q.crews, c)
			}
		}
		if len(q.crews) == 0 {
			continue
		}
		o := byName[l.Owner]
		if o == nil {
			o = &owner{usage: v.Usage[l.Owner]}
			byName[l.Owner] = o
			a.owners = append(a.owners, o)
		}
		q.owner = o
		o.queues = append(o.queues, q)
	}
	return a
}

// next returns the queue whose head goes next, or nil. Who waits only gets fewer, so
// that what can't be served now is passed over for good.
func (a *assigner) next() *queue {
	var best *queue
	var least float64
	for i := 0; i < len(a.owners); i++ {
		o := a.owners[i]
		if best != nil && o.usage > least {
			continue
		}
		q := a.first(o)
		if q == nil {
			a.owners = slices.Delete(a.owners, i, i+1)
			i--
			continue
		}
		if best == nil || o.usage < least || Before(q.lane.Ready[q.head], best.lane.Ready[best.head]) {
			best, least = q, o.usage
		}
	}
	return best
}

// first returns the owner's queue whose head goes first, or nil.
func (a *assigner) first(o *owner) *queue {
	var best *queue
	for i := 0; i < len(o.queues); i++ {
		q := o.queues[i]
		if !a.find(q) {
			o.queues = slices.Delete(o.queues, i, i+1)
			i--
			continue
		}
		if best == nil || Before(q.lane.Ready[q.head], best.lane.Ready[best.head]) {
			best = q
		}
	}
	return best
}

// find sets who gets the queue's head, moving on to the first that anybody may have.
func (a *assigner) find(q *queue) bool {
	for ; q.head < len(q.lane.Ready); q.head++ {
		q.crews = slices.DeleteFunc(q.crews, func(c *crew) bool { return len(c.members) == 0 })
		if len(q.crews) == 0 {
			return false
		}
		for _, c := range q.crews {
			if c.like.Excludes(q.lane.Ready[q.head].Key) != "" {
				continue
			}
			for i, m := range c.members {
				if a.may(q, m) {
					q.crew, q.member = c, i
					return true
				}
			}
		}
	}
	return false
}

// may reports whether a member of a crew that can do the queue's head may have it.
func (a *assigner) may(q *queue, member int) bool {
	w, l, r := &a.v.Waiting[member], q.lane, &q.lane.Ready[q.head]
	if !w.Room.Holds(l.Room, w.Taken.Plus(a.spent[w.ID])) || !w.meant(l.Needs) {
		return false
	}
	return !slices.Contains(r.Refused, w.ID) || !a.elsewhere(l, r)
}

func (a *assigner) elsewhere(l *Lane, r *Ready) bool {
	could, ok := a.others[r.ID]
	if !ok {
		could = Elsewhere(l, r, a.v.Waiting, a.v.Others)
		a.others[r.ID] = could
	}
	return could
}

// take gives the queue's head to whom find found.
func (a *assigner) take(q *queue) Assignment {
	m := q.crew.members[q.member]
	q.crew.members = slices.Delete(q.crew.members, q.member, q.member+1)
	as := Assignment{Lane: q.index, Ready: q.head, Waiting: m}
	w := &a.v.Waiting[m]
	if (q.lane.Room != Room{}) {
		a.spent[w.ID] = a.spent[w.ID].Plus(q.lane.Room)
	}
	q.owner.usage += Charge(q.lane.Ready[q.head].Expected, a.v.HalfLife)
	q.head++
	return as
}

// rooms lists the different rooms that are asked for.
func rooms(lanes []Lane) []Room {
	var rs []Room
	for _, l := range lanes {
		if (l.Room != Room{}) && !slices.Contains(rs, l.Room) {
			rs = append(rs, l.Room)
		}
	}
	return rs
}

// muster groups those who wait and may be given something, the least versatile first.
func muster(waiting []Worker, rooms []Room) []*crew {
	byKey := make(map[string]*crew)
	var crews []*crew
	for i := range waiting {
		w := &waiting[i]
		if w.Drained != "" || w.Quarantined != "" || w.Paused != "" {
			continue
		}
		mask, n := make([]byte, 0, 16), 0
		for j, r := range rooms {
			if w.Room.Holds(r, w.Taken) {
				mask, n = binary.AppendUvarint(mask, uint64(j)), n+1
			}
		}
		key := strings.Join(w.Labels, " ") + "\n" + strings.Join(w.Exclude, " ") + "\n" + string(mask)
		c := byKey[key]
		if c == nil {
			c = &crew{like: w, rooms: n}
			byKey[key], crews = c, append(crews, c)
		}
		c.members = append(c.members, i)
	}
	slices.SortStableFunc(crews, func(a, b *crew) int {
		return cmp.Or(cmp.Compare(len(a.like.Labels), len(b.like.Labels)), cmp.Compare(a.rooms, b.rooms))
	})
	return crews
}

// Crowd counts who waits by what they can do.
type Crowd struct{ crews []*crew }

// NewCrowd groups those who wait.
func NewCrowd(waiting []Worker) Crowd { return Crowd{muster(waiting, nil)} }

// Able returns how many of the crowd have all labels of needs, which is sorted.
func (c Crowd) Able(needs []string) (n int) {
	for _, g := range c.crews {
		if has(g.like.Labels, needs) {
			n += len(g.members)
		}
	}
	return n
}
