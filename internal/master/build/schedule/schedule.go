// Package schedule tells how the tasks of a build were done: what each came after, when
// it could have begun, when it did, and in which order all of them were. It is pure.
package schedule

import (
	"cmp"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/queue"
)

// Entry is one task of a build as it was done.
type Entry struct {
	Task     albs.TaskID
	Label    string
	Kind     albs.TaskKind
	Platform string
	Package  string // "" of a task that finds an order
	Arch     albs.Arch
	State    albs.TaskState
	Reason   string
	Attempt  int    // the newest; 0 before the first
	Worker   string // of the newest attempt
	// Ready is when the last of what it came after was done, or when the task was made
	// if it came after nothing; zero while it is blocked, and where nobody was asked to
	// do it.
	Ready    time.Time
	Started  time.Time // of the newest attempt; zero before
	Finished time.Time // zero while it isn't final
	After    []albs.TaskID
}

// Of returns what a task and its attempts tell; what it is for and came after is left
// to be filled in.
func Of(t queue.Task, attempts []queue.Attempt) Entry {
	e := Entry{Task: t.ID, Kind: t.Kind, State: t.State, Reason: t.Reason, Ready: t.Created.Time}
	if len(attempts) > 0 {
		a := attempts[len(attempts)-1]
		e.Attempt, e.Worker, e.Started = a.Number, a.Worker, a.Claimed.Time
	}
	if t.State.Final() {
		e.Finished = t.Changed.Time
	}
	return e
}

// Arrange fills in what each of the entries came after, as far as that is among them,
// and orders them as they were begun, those that weren't last.
func Arrange(entries []Entry, after map[albs.TaskID][]albs.TaskID) {
	ended := make(map[albs.TaskID]time.Time, len(entries))
	for _, e := range entries {
		ended[e.Task] = e.Finished
	}
	for i := range entries {
		e := &entries[i]
		for _, id := range after[e.Task] {
			at, counts := ended[id]
			if !counts {
				continue
			}
			e.After = append(e.After, id)
			if at.After(e.Ready) {
				e.Ready = at
			}
		}
		if e.State == albs.TaskBlocked || e.State.Final() && e.Attempt == 0 {
			e.Ready = time.Time{}
		}
	}
	slices.SortStableFunc(entries, func(x, y Entry) int {
		if x.Started.IsZero() != y.Started.IsZero() {
			if x.Started.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(x.Started.Compare(y.Started), cmp.Compare(x.Task, y.Task))
	})
}
