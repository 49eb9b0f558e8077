// Package life has the whole life of a task as one table: which states there are ways
// between, and what leads along them. It is pure; who may do what to a task, and what
// follows from its new state, is queue's.
package life

import "albs/internal/albs"

// Trigger is what happens to a task. Attempts keep the one that ended them by this word.
type Trigger string

// What can happen.
const (
	Claim   Trigger = "claim"    // a worker gets it
	Undo    Trigger = "undo"     // the claim could not be handed over
	Refuse  Trigger = "refuse"   // its handler won't have it done, or won't have the result
	Renew   Trigger = "renew"    // its holder is alive
	Revive  Trigger = "revive"   // the holder of an expired lease is heard before another claims
	OK      Trigger = "ok"       // its result is applied
	Failed  Trigger = "failed"   // the work failed
	Exclude Trigger = "excluded" // the package excludes the arch
	Spare   Trigger = "spare"    // it turns out to be excluded before a worker is asked
	Infra   Trigger = "infra"    // the worker's own means failed
	Lost    Trigger = "lost"     // the holder died in the middle of the work and is back
	Stopped Trigger = "stopped"  // the holder stopped: as told, or to give the task back
	Expire  Trigger = "expire"   // the holder was not heard of for a term
	Exhaust Trigger = "exhaust"  // infra, lost or expire, and there were too many of these
	Cancel  Trigger = "cancel"   // a person ends it
	Retry   Trigger = "retry"    // a person wants it again
	Unblock Trigger = "unblock"  // all that it waited for is done
	Hinder  Trigger = "hinder"   // something that it waits for won't be done
)

// Transitions is the whole life of a task: state × trigger → state. What isn't
// in it is a Conflict and changes nothing. It is there to be read.
//
//	            ┌──unblock──▶ queued ◀─undo infra lost stopped expire─┐
//	blocked ────┤               │  └──────claim revive──▶ leased ──┤── ok ──▶ succeeded
//	   ▲        └──cancel──┐    │                           │      ├── excluded ▶ excluded ◀─ spare (blocked, queued)
//	   │                   ▼    ▼                        cancel    └── failed refuse exhaust ▶ failed
//	   └────retry────── cancelled ◀─undo refuse infra stopped expire exhaust─ stopping
//	        (and from failed, excluded)
var Transitions = map[albs.TaskState]map[Trigger]albs.TaskState{
	albs.TaskBlocked: {
		Unblock: albs.TaskQueued,
		Hinder:  albs.TaskBlocked,
		Spare:   albs.TaskExcluded,
		Cancel:  albs.TaskCancelled,
	},
	albs.TaskQueued: {
		Claim:  albs.TaskLeased,
		Revive: albs.TaskLeased,
		Spare:  albs.TaskExcluded,
		Cancel: albs.TaskCancelled,
	},
	albs.TaskLeased: {
		Undo:    albs.TaskQueued,
		Refuse:  albs.TaskFailed,
		Renew:   albs.TaskLeased,
		OK:      albs.TaskSucceeded,
		Failed:  albs.TaskFailed,
		Exclude: albs.TaskExcluded,
		Infra:   albs.TaskQueued,
		Lost:    albs.TaskQueued,
		Stopped: albs.TaskQueued,
		Expire:  albs.TaskQueued,
		Exhaust: albs.TaskFailed,
		Cancel:  albs.TaskStopping,
	},
	// Whatever its worker meant to say, a task that was cancelled ends cancelled.
	albs.TaskStopping: {
		Undo:    albs.TaskCancelled,
		Refuse:  albs.TaskCancelled,
		Infra:   albs.TaskCancelled, // of an offer only: a worker is told to stop first
		Stopped: albs.TaskCancelled,
		Expire:  albs.TaskCancelled,
		Exhaust: albs.TaskCancelled,
		Cancel:  albs.TaskStopping,
	},
	albs.TaskSucceeded: {}, // what came of it may have been used
	albs.TaskFailed:    {Retry: albs.TaskBlocked},
	albs.TaskExcluded:  {Retry: albs.TaskBlocked},
	albs.TaskCancelled: {Retry: albs.TaskBlocked},
}

// Next returns the state that t leads to from s, or a Conflict; id is for
// its words.
func Next(id albs.TaskID, s albs.TaskState, t Trigger) (albs.TaskState, error) {
	if to, ok := Transitions[s][t]; ok {
		return to, nil
	}
	return "", albs.Errorf(albs.Conflict, "task %d is %s, which forbids: %s", id, s, t)
}

// Satisfies reports whether a task in state s keeps nothing after it waiting: an
// excluded one made nothing that others could want.
func Satisfies(s albs.TaskState) bool {
	return s == albs.TaskSucceeded || s == albs.TaskExcluded
}

// Hinders reports whether what comes after a task in state s waits in vain.
func Hinders(s albs.TaskState) bool {
	return s == albs.TaskFailed || s == albs.TaskCancelled
}
