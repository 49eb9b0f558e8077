package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
)

// Blocker is a task that keeps another waiting.
type Blocker struct {
	Task     albs.TaskID
	Kind     albs.TaskKind
	Key      string // what past runs are known by; "" for none
	State    albs.TaskState
	Worker   string        // the name of the one that has it
	Since    time.Duration // how long it has been in its state
	Expected time.Duration // the median of past runs; 0 without history
}

// Blocked says why a task waits for the blockers, of which there is one at least. Who
// works is further than who waits, and it is the last that binds.
func Blocked(bs []Blocker) string {
	last := slices.MinFunc(bs, func(a, b Blocker) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), cmp.Compare(a.Task, b.Task))
	})
	key := ""
	if last.Key != "" {
		key = " (" + last.Key + ")"
	}
	s := fmt.Sprintf("blocked by %s task %d%s, %s", last.Kind, last.Task, key, last.doing())
	if n := len(bs) - 1; n > 0 {
		s += fmt.Sprintf(", and by %d more", n)
	}
	return s
}

// rank orders what blocks: what is furthest from its end first.
func rank(s albs.TaskState) int {
	return slices.Index([]albs.TaskState{albs.TaskFailed, albs.TaskCancelled, albs.TaskBlocked, albs.TaskQueued, albs.TaskStopping, albs.TaskLeased}, s)
}

// doing says where b stands.
func (b Blocker) doing() string {
	switch b.State {
	case albs.TaskLeased, albs.TaskStopping:
		s := fmt.Sprintf("which has run on %s for %s", b.Worker, Span(b.Since))
		if b.Expected > 0 {
			s += fmt.Sprintf(" and takes about %s", Span(b.Expected))
		}
		return s
	case albs.TaskBlocked:
		return "which is blocked itself"
	case albs.TaskQueued:
		return "which is queued"
	}
	return "which is " + string(b.State)
}
