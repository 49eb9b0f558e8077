// Package status decides where a build, an item, a task and an attempt stand, by what
// the queue knows of tasks, and says in one line why. It is the one place where that is
// decided; faces only show it.
//
// It is pure: equal input gives an equal status.
package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/queue"
)

// State is where one of them stands.
type State string

// The states of a build and of an item; those of an attempt are among them.
const (
	Queued    State = "queued"    // nothing of it runs yet
	Running   State = "running"   // something runs or will
	Succeeded State = "succeeded" // every task succeeded or was excluded
	Failed    State = "failed"    // nothing runs any more, and something failed
	Cancelled State = "cancelled" // nothing runs any more, because a person ended it

	Blocked  State = "blocked"  // of an item: it waits in vain for something that isn't its own
	Excluded State = "excluded" // of an item: it isn't built for any of its arches; of an attempt: not for this one
	Lost     State = "lost"     // of an attempt: its worker gave no word on the work
	Stopped  State = "stopped"  // of an attempt: its worker gave the task back, or was told to
)

// Status is a state with its reason and times.
type Status struct {
	State    State
	Reason   string // one line: what failed first, what is still to do
	Started  time.Time
	Finished time.Time // zero while anything may still happen
	Done     int       // tasks that are final
	Total    int
}

// Task is what the rule needs to know of a task.
type Task struct {
	Label    string // for the reason: "zlib x86_64 build"
	Kind     albs.TaskKind
	State    albs.TaskState
	Weak     bool // of a weak arch
	Reason   string
	Started  time.Time
	Finished time.Time
	Vain     bool // it waits for what has failed or was cancelled
	// Uncounted: it decides on the state and isn't one of the numbers.
	Uncounted bool
}

// Of is the one place where a build's state is decided. A task that waits
// for a failed or cancelled one doesn't keep the build running: nothing will
// happen to it before a person retries. What becomes of a task of a weak arch is
// waited for and told, and neither fails its build nor cancels it.
func Of(tasks []Task) Status {
	var s Status
	var waiting, running, failed, cancelled, blocked, weak int
	var first, firstWeak *Task
	for i, t := range tasks {
		if !t.Started.IsZero() && (s.Started.IsZero() || t.Started.Before(s.Started)) {
			s.Started = t.Started
		}
		if t.Finished.After(s.Finished) {
			s.Finished = t.Finished
		}
		if !t.Uncounted {
			s.Total++
			if t.State.Final() {
				s.Done++
			}
		}
		if t.Weak && (t.State == albs.TaskFailed || t.State == albs.TaskCancelled || t.State == albs.TaskBlocked) {
			if t.State == albs.TaskBlocked {
				continue // it waits for what is looked at itself
			}
			if weak++; firstWeak == nil {
				firstWeak = &tasks[i]
			}
			continue
		}
		switch t.State {
		case albs.TaskLeased, albs.TaskStopping:
			running++
		case albs.TaskQueued:
			waiting++
		case albs.TaskBlocked:
			blocked++
		case albs.TaskFailed:
			failed++
			if first == nil {
				first = &tasks[i]
			}
		case albs.TaskCancelled:
			cancelled++
		}
	}
	stuck := waiting+running == 0 && failed+cancelled > 0
	switch {
	case waiting+running > 0 || (blocked > 0 && !stuck):
		s.State = Running
		if s.Started.IsZero() {
			s.State = Queued
		}
		s.Reason = fmt.Sprintf("%d of %d tasks done, %d running", s.Done, s.Total, running)
		if failed > 0 {
			s.Reason += fmt.Sprintf(", %d failed: %s: %s", failed, first.Label, first.Reason)
		}
		s.Finished = time.Time{}
	case failed > 0:
		s.State = Failed
		s.Reason = fmt.Sprintf("%s: %s", first.Label, first.Reason)
		if failed > 1 {
			s.Reason += fmt.Sprintf(" (and %d more)", failed-1)
		}
	case cancelled > 0:
		s.State, s.Reason = Cancelled, fmt.Sprintf("%d tasks were cancelled", cancelled)
	default:
		s.State, s.Reason = Succeeded, fmt.Sprintf("%d tasks done", s.Done)
	}
	if firstWeak != nil {
		s.Reason += fmt.Sprintf("; %d of weak arches failed: %s: %s", weak, firstWeak.Label, firstWeak.Reason)
	}
	return s
}

// OfItem decides on the state of an item by its own tasks: as that of a build,
// but that nothing of it may run for something outside.
func OfItem(tasks []Task) Status {
	s := Of(tasks)
	busy := func(t Task) bool {
		return t.State == albs.TaskQueued || t.State == albs.TaskLeased || t.State == albs.TaskStopping
	}
	vain := slices.IndexFunc(tasks, func(t Task) bool { return t.Vain })
	rebuild := slices.IndexFunc(tasks, func(t Task) bool { return t.Kind == albs.KindBuild })
	switch {
	case (s.State == Running || s.State == Queued) && vain >= 0 && !slices.ContainsFunc(tasks, busy):
		s.State, s.Reason = Blocked, tasks[vain].Label+" "+tasks[vain].Reason
	case s.State == Succeeded && rebuild >= 0 && !slices.ContainsFunc(tasks, func(t Task) bool {
		return t.Kind == albs.KindBuild && t.State != albs.TaskExcluded
	}):
		s.State, s.Reason = Excluded, tasks[rebuild].Label+": "+tasks[rebuild].Reason
	}
	return s
}

// OfAttempt decides on the state of an attempt.
func OfAttempt(a queue.Attempt) Status {
	s := Status{State: Running, Reason: a.Reason, Started: a.Claimed.Time, Finished: a.Ended.Time}
	switch {
	case a.Ended.IsZero():
		s.Reason = "runs on " + a.Worker
	case a.Lost:
		s.State = Lost
	case a.Outcome == albs.OutcomeOK && a.Reason == "":
		s.State, s.Reason = Succeeded, "done by "+a.Worker
	case a.Outcome == albs.OutcomeExcluded:
		s.State = Excluded
	case a.Outcome == albs.OutcomeStopped || a.Outcome == "":
		s.State = Stopped
	default: // also a result that was refused
		s.State = Failed
	}
	return s
}

// Awaited is one thing that a blocked task waits for.
type Awaited struct {
	Label string
	Kind  albs.TaskKind
	Task  albs.TaskID
	State albs.TaskState
	// Reason is why it failed, or what it waits for itself.
	Reason string
}

// Waits says why a blocked task waits, by what it comes after and the task for which it
// waits in vain, 0 if for none; ok is false if that one isn't among the known.
func Waits(after []albs.TaskID, cause albs.TaskID, known map[albs.TaskID]Awaited) (reason string, ok bool) {
	if cause != 0 {
		c, ok := known[cause]
		if !ok {
			return "", false
		}
		return waitReason(&c, nil), true
	}
	var left []Awaited
	for _, id := range after {
		if w, ok := known[id]; ok && w.State != albs.TaskSucceeded && w.State != albs.TaskExcluded {
			left = append(left, w)
		}
	}
	return waitReason(nil, left), true
}

// maxNamed is how many things a reason names.
const maxNamed = 5

// waitReason says what a blocked task waits for: what it waits for in vain, if that is
// so, and else what isn't done yet.
func waitReason(cause *Awaited, left []Awaited) string {
	if cause != nil {
		s := fmt.Sprintf("waits for %s (task %d), which %s", cause.Label, cause.Task,
			map[albs.TaskState]string{albs.TaskFailed: "failed", albs.TaskCancelled: "was cancelled"}[cause.State])
		if cause.Reason != "" {
			s += ": " + cause.Reason
		}
		return s
	}
	var names []string
	for _, w := range left {
		if w.Kind == albs.KindGraph {
			return "waits for the source packages of " + w.Label + ", which tell the order"
		}
		names = append(names, w.Label)
	}
	if len(names) == 0 {
		return ""
	}
	s := "waits for " + strings.Join(names[:min(len(names), maxNamed)], ", ")
	if more := len(names) - maxNamed; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}
