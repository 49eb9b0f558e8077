package queue

import (
	"errors"
	"testing"

	"albs/internal/albs"
)

// The table once more, in the words of people who use it: each cell, so that a
// change of the table is a change here.
func TestTransitions(t *testing.T) {
	t.Parallel()
	const no = albs.TaskState("")
	states := []albs.TaskState{
		albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping,
		albs.TaskSucceeded, albs.TaskFailed, albs.TaskExcluded, albs.TaskCancelled,
	}
	const (
		bl, qu, le, st = albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping
		su, fa, ex, ca = albs.TaskSucceeded, albs.TaskFailed, albs.TaskExcluded, albs.TaskCancelled
	)
	table := map[trigger][8]albs.TaskState{
		//         blocked queued leased stopping succeeded failed excluded cancelled
		onClaim:   {no, le, no, no, no, no, no, no},
		onUndo:    {no, no, qu, ca, no, no, no, no},
		onRefuse:  {no, no, fa, ca, no, no, no, no},
		onRenew:   {no, no, le, no, no, no, no, no},
		onRevive:  {no, le, no, no, no, no, no, no},
		onOK:      {no, no, su, no, no, no, no, no},
		onFailed:  {no, no, fa, no, no, no, no, no},
		onExclude: {no, no, ex, no, no, no, no, no},
		onInfra:   {no, no, qu, ca, no, no, no, no},
		onStopped: {no, no, qu, ca, no, no, no, no},
		onExpire:  {no, no, qu, ca, no, no, no, no},
		onExhaust: {no, no, fa, ca, no, no, no, no},
		onCancel:  {ca, ca, st, st, no, no, no, no},
		onRetry:   {no, no, no, no, no, bl, bl, bl},
		onUnblock: {qu, no, no, no, no, no, no, no},
		onHinder:  {bl, no, no, no, no, no, no, no},
	}
	for trigger, row := range table {
		for i, s := range states {
			got, err := next(1, s, trigger)
			if got != row[i] {
				t.Errorf("%s on %s leads to %q, want %q", trigger, s, got, row[i])
			}
			if (row[i] == no) != errors.Is(err, albs.Conflict) {
				t.Errorf("%s on %s: %v", trigger, s, err)
			}
		}
	}
	if len(transitions) != len(states) {
		t.Errorf("the table has %d states, want %d", len(transitions), len(states))
	}
	for s, row := range transitions {
		for trigger := range row {
			if _, ok := table[trigger]; !ok {
				t.Errorf("%s on %s isn't tested", trigger, s)
			}
		}
		if s.Final() && s != su && len(row) != 1 {
			t.Errorf("%s is final: only a retry may lead out of it", s)
		}
	}
}
