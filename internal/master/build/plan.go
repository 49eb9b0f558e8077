package build

import (
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
)

// Step is one task that a build needs, before it has an id. Before lists the
// steps, by their place in the plan, that must have succeeded first.
type Step struct {
	Item   int // place of the item
	Kind   albs.TaskKind
	Arch   albs.Arch // KindBuild only
	Before []int
}

// PlanItem is what the planner needs to know of an item.
type PlanItem struct {
	Platform string
	Arches   []albs.Arch
	FromSRPM bool // the SRPM is given; nothing is imported
}

// Plan lists the steps of a build in an order in which each stands after what it
// waits for. An item is imported and made into one SRPM, then rebuilt once for
// each arch; a rebuild also waits for the rebuilds of all earlier items of its
// platform and arch, so that packages may build against those listed before them.
func Plan(items []PlanItem) []Step {
	type target struct {
		platform string
		arch     albs.Arch
	}
	var steps []Step
	add := func(s Step) int {
		steps = append(steps, s)
		return len(steps) - 1
	}
	before := map[target]int{}
	for i, it := range items {
		var source []int
		if !it.FromSRPM {
			imported := add(Step{Item: i, Kind: albs.KindImport})
			source = []int{add(Step{Item: i, Kind: albs.KindSource, Before: []int{imported}})}
		}
		for _, a := range it.Arches {
			t := target{it.Platform, a}
			waits := slices.Clone(source)
			if last, ok := before[t]; ok {
				waits = append(waits, last)
			}
			before[t] = add(Step{Item: i, Kind: albs.KindBuild, Arch: a, Before: waits})
		}
	}
	return steps
}

// State is where a build stands, computed from its tasks.
type State string

// The states of a build.
const (
	Queued    State = "queued"    // nothing of it runs yet
	Running   State = "running"   // something runs or will
	Succeeded State = "succeeded" // every task succeeded or was excluded
	Failed    State = "failed"    // nothing runs any more, and something failed
	Cancelled State = "cancelled" // nothing runs any more, because a person ended it
)

// Status is a build's state with its reason and times.
type Status struct {
	State    State
	Reason   string // one line: what failed first, what is still to do
	Started  time.Time
	Finished time.Time // zero while anything may still happen
	Done     int       // tasks that are final
	Total    int
}

// TaskView is what the status rule needs to know of a task.
type TaskView struct {
	Label    string // for the reason: "zlib x86_64 build"
	State    albs.TaskState
	Weak     bool // of a weak arch
	Reason   string
	Started  time.Time
	Finished time.Time
}

// StatusOf is the one place where a build's state is decided. A task that waits
// for a failed or cancelled one doesn't keep the build running: nothing will
// happen to it before a person retries. What becomes of a task of a weak arch is
// waited for and told, and neither fails its build nor cancels it.
func StatusOf(tasks []TaskView) Status {
	s := Status{Total: len(tasks)}
	var waiting, running, failed, cancelled, blocked, weak int
	var first, firstWeak *TaskView
	for i, t := range tasks {
		if !t.Started.IsZero() && (s.Started.IsZero() || t.Started.Before(s.Started)) {
			s.Started = t.Started
		}
		if t.Finished.After(s.Finished) {
			s.Finished = t.Finished
		}
		if t.State.Final() {
			s.Done++
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
