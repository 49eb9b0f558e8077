package queue

import "albs/internal/albs"

// trigger is what happens to a task.
type trigger string

const (
	onClaim   trigger = "claim"    // a worker gets it
	onUndo    trigger = "undo"     // the claim could not be handed over
	onRefuse  trigger = "refuse"   // its handler won't have it done, or won't have the result
	onRenew   trigger = "renew"    // its holder is alive
	onRevive  trigger = "revive"   // the holder of an expired lease is heard before another claims
	onOK      trigger = "ok"       // its result is applied
	onFailed  trigger = "failed"   // the work failed
	onExclude trigger = "excluded" // the package excludes the arch
	onSpare   trigger = "spare"    // it turns out to be excluded before a worker is asked
	onInfra   trigger = "infra"    // the worker's own means failed
	onStopped trigger = "stopped"  // the holder stopped: as told, or to give the task back
	onExpire  trigger = "expire"   // the holder was not heard of for a term
	onExhaust trigger = "exhaust"  // infra or expire, and there were too many of these
	onCancel  trigger = "cancel"   // a person ends it
	onRetry   trigger = "retry"    // a person wants it again
	onUnblock trigger = "unblock"  // all that it waited for is done
	onHinder  trigger = "hinder"   // something that it waits for won't be done
)

// transitions is the whole life of a task: state × trigger → state. What isn't
// in it is a Conflict and changes nothing.
//
//	            ┌──unblock──▶ queued ◀──undo infra stopped expire──┐
//	blocked ────┤               │  └──────claim revive──▶ leased ──┤── ok ──▶ succeeded
//	   ▲        └──cancel──┐    │                           │      ├── excluded ▶ excluded ◀─ spare (blocked, queued)
//	   │                   ▼    ▼                        cancel    └── failed refuse exhaust ▶ failed
//	   └────retry────── cancelled ◀─undo refuse infra stopped expire exhaust─ stopping
//	        (and from failed, excluded)
var transitions = map[albs.TaskState]map[trigger]albs.TaskState{
	albs.TaskBlocked: {
		onUnblock: albs.TaskQueued,
		onHinder:  albs.TaskBlocked,
		onSpare:   albs.TaskExcluded,
		onCancel:  albs.TaskCancelled,
	},
	albs.TaskQueued: {
		onClaim:  albs.TaskLeased,
		onRevive: albs.TaskLeased,
		onSpare:  albs.TaskExcluded,
		onCancel: albs.TaskCancelled,
	},
	albs.TaskLeased: {
		onUndo:    albs.TaskQueued,
		onRefuse:  albs.TaskFailed,
		onRenew:   albs.TaskLeased,
		onOK:      albs.TaskSucceeded,
		onFailed:  albs.TaskFailed,
		onExclude: albs.TaskExcluded,
		onInfra:   albs.TaskQueued,
		onStopped: albs.TaskQueued,
		onExpire:  albs.TaskQueued,
		onExhaust: albs.TaskFailed,
		onCancel:  albs.TaskStopping,
	},
	// Whatever its worker meant to say, a task that was cancelled ends cancelled.
	albs.TaskStopping: {
		onUndo:    albs.TaskCancelled,
		onRefuse:  albs.TaskCancelled,
		onInfra:   albs.TaskCancelled, // of an offer only: a worker is told to stop first
		onStopped: albs.TaskCancelled,
		onExpire:  albs.TaskCancelled,
		onExhaust: albs.TaskCancelled,
		onCancel:  albs.TaskStopping,
	},
	albs.TaskSucceeded: {}, // what came of it may have been used
	albs.TaskFailed:    {onRetry: albs.TaskBlocked},
	albs.TaskExcluded:  {onRetry: albs.TaskBlocked},
	albs.TaskCancelled: {onRetry: albs.TaskBlocked},
}

// next returns the state that t leads to from s, or a Conflict.
func next(id albs.TaskID, s albs.TaskState, t trigger) (albs.TaskState, error) {
	if to, ok := transitions[s][t]; ok {
		return to, nil
	}
	return "", albs.Errorf(albs.Conflict, "task %d is %s, which forbids: %s", id, s, t)
}

// satisfies reports whether a task in state s keeps nothing after it waiting: an
// excluded one made nothing that others could want.
func satisfies(s albs.TaskState) bool {
	return s == albs.TaskSucceeded || s == albs.TaskExcluded
}

// hinders reports whether what comes after a task in state s waits in vain.
func hinders(s albs.TaskState) bool {
	return s == albs.TaskFailed || s == albs.TaskCancelled
}
