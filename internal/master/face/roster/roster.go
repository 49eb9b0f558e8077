// Package roster is the list of workers that the faces show: of each its identity,
// which auth owns, and what the queue knows of it, in one row with one word for how it
// stands.
//
// It owns no row and decides nothing. What holds: of all workers each is listed once,
// by name; one that never asked for work is listed with its identity alone.
package roster

import (
	"context"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/queue"
)

// State is how a worker stands, in one word: the one that a person has to know first.
type State string

// The states, the first that holds.
const (
	Disabled    State = "disabled"    // its identity is closed
	Quarantined State = "quarantined" // it gets nothing for what it lost
	Draining    State = "draining"    // it gets nothing by a person's word, and still works
	Drained     State = "drained"     // the same, and it has nothing left: it can be taken away
	Unseen      State = "unseen"      // it never asked for work
	Away        State = "away"        // it was not heard of for some time
	Busy        State = "busy"        // it works
	Idle        State = "idle"        // it waits for work
)

// States are all of them, in the order in which they are told.
var States = []State{Busy, Idle, Draining, Drained, Quarantined, Away, Unseen, Disabled}

// Worker is a worker as people know it.
type Worker struct {
	auth.Worker
	Known *queue.Worker // nil if it never asked for work
}

// State returns how the worker stands.
func (w Worker) State() State {
	k := w.Known
	switch {
	case !w.DisabledAt.IsZero():
		return Disabled
	case k == nil:
		return Unseen
	case !k.Quarantined.IsZero():
		return Quarantined
	case !k.Drained.IsZero() && len(k.Runs) > 0:
		return Draining
	case !k.Drained.IsZero():
		return Drained
	case !k.Alive:
		return Away
	case len(k.Runs) > 0:
		return Busy
	}
	return Idle
}

// Load is how much of one room of a worker's machine is spoken for by the tasks that
// it holds.
type Load struct {
	What       string // cores, memory or disk
	Taken, Has int64  // cores, or bytes; of the disk what was free when it was offered
}

// Loads returns the rooms that the worker tells of.
func (w Worker) Loads() []Load {
	if w.Known == nil {
		return nil
	}
	has, taken := w.Known.Room, w.Known.Taken
	all := []Load{{"cores", int64(taken.Cores), int64(has.Cores)}, {"memory", taken.Memory, has.Memory}, {"disk", taken.Disk, has.Disk}}
	return slices.DeleteFunc(all, func(l Load) bool { return l.Has == 0 })
}

// Filter chooses workers.
type Filter struct {
	State State // "" for all
	Name  string
	After string // only those behind this name; "" from the first
	Limit int    // at most so many
}

// Page is some workers by name.
type Page struct {
	Workers []Worker
	More    bool          // there are others behind these
	Counts  map[State]int // of all workers, whatever was chosen
}

// List returns the workers that f chooses. Anyone may ask.
func List(ctx context.Context, a *auth.Auth, q *queue.Queue, f Filter) (Page, error) {
	identities, err := a.Workers(ctx)
	if err != nil {
		return Page{}, err
	}
	known, err := q.Workers(ctx)
	if err != nil {
		return Page{}, err
	}
	return choose(join(identities, known), f), nil
}

// Get returns the worker with an id, or NotFound. Anyone may ask.
func Get(ctx context.Context, a *auth.Auth, q *queue.Queue, id albs.WorkerID) (Worker, error) {
	p, err := List(ctx, a, q, Filter{Limit: -1})
	if err != nil {
		return Worker{}, err
	}
	i := slices.IndexFunc(p.Workers, func(w Worker) bool { return w.ID == id })
	if i < 0 {
		return Worker{}, albs.Errorf(albs.NotFound, "there is no worker with id %d", id)
	}
	return p.Workers[i], nil
}

// join puts together what is known of each identity, by name: by its bytes, for
// databases order names in their own ways and a page begins behind a name.
func join(identities []auth.Worker, known []queue.Worker) []Worker {
	byID := make(map[albs.WorkerID]*queue.Worker, len(known))
	for i := range known {
		byID[known[i].ID] = &known[i]
	}
	ws := make([]Worker, len(identities))
	for i, id := range identities {
		ws[i] = Worker{id, byID[id.ID]}
	}
	slices.SortFunc(ws, func(a, b Worker) int { return strings.Compare(a.Name, b.Name) })
	return ws
}

// choose is List without I/O; a negative limit is none.
func choose(ws []Worker, f Filter) Page {
	p := Page{Counts: make(map[State]int)}
	for _, w := range ws {
		s := w.State()
		p.Counts[s]++
		switch {
		case f.State != "" && s != f.State, f.Name != "" && w.Name != f.Name, f.After != "" && w.Name <= f.After:
		case len(p.Workers) == f.Limit:
			p.More = true
		default:
			p.Workers = append(p.Workers, w)
		}
	}
	return p
}
