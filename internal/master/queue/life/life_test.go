package life

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
	table := map[Trigger][8]albs.TaskState{
		//         blocked queued leased stopping succeeded failed excluded cancelled
		Claim:   {no, le, no, no, no, no, no, no},
		Undo:    {no, no, qu, ca, no, no, no, no},
		Refuse:  {no, no, fa, ca, no, no, no, no},
		Renew:   {no, no, le, no, no, no, no, no},
		Revive:  {no, le, no, no, no, no, no, no},
		OK:      {no, no, su, no, no, no, no, no},
		Failed:  {no, no, fa, no, no, no, no, no},
		Exclude: {no, no, ex, no, no, no, no, no},
		Spare:   {ex, ex, no, no, no, no, no, no},
		Infra:   {no, no, qu, ca, no, no, no, no},
		Lost:    {no, no, qu, no, no, no, no, no},
		Stopped: {no, no, qu, ca, no, no, no, no},
		Expire:  {no, no, qu, ca, no, no, no, no},
		Exhaust: {no, no, fa, ca, no, no, no, no},
		Cancel:  {ca, ca, st, st, no, no, no, no},
		Retry:   {no, no, no, no, no, bl, bl, bl},
		Unblock: {qu, no, no, no, no, no, no, no},
		Hinder:  {bl, no, no, no, no, no, no, no},
	}
	for trigger, row := range table {
		for i, s := range states {
			got, err := Next(1, s, trigger)
			if got != row[i] {
				t.Errorf("%s on %s leads to %q, want %q", trigger, s, got, row[i])
			}
			if (row[i] == no) != errors.Is(err, albs.Conflict) {
				t.Errorf("%s on %s: %v", trigger, s, err)
			}
		}
	}
	if len(Transitions) != len(states) {
		t.Errorf("the table has %d states, want %d", len(Transitions), len(states))
	}
	for s, row := range Transitions {
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
