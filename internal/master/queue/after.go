package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/store"
)

// What a task comes after is given when it is enqueued; here it is changed while the
// task is still blocked, by modules that learn the order of their work on the way.

// SetAfter makes each task of after that is blocked come after exactly those listed
// with it, in tx; one that isn't blocked any more is left alone. A task that waits for
// nothing more is queued; one that waits in vain gets its cause; and one that did, for
// what it no longer comes after, waits in hope. Invalid if a task to come after is
// unknown or a circle would close, TooLarge beyond MaxAfter; the transaction is to be
// given up then.
func (q *Queue) SetAfter(ctx context.Context, tx db.Tx, after map[albs.TaskID][]albs.TaskID) error {
	tasks, err := store.BlockedOf(ctx, tx, slices.Collect(maps.Keys(after)))
	if err != nil {
		return err
	}
	var ids []albs.TaskID
	wanted := make(map[albs.TaskID][]albs.TaskID, len(tasks))
	for _, t := range tasks {
		ids, wanted[t.ID] = append(ids, t.ID), after[t.ID]
	}
	after = wanted
	if err := checkCircles(ctx, tx, after); err != nil {
		return err
	}
	for _, id := range ids {
		before := slices.Compact(slices.Sorted(slices.Values(after[id])))
		if len(before) > MaxAfter {
			return albs.Errorf(albs.TooLarge, "task %d would come after %d others, at most %d go", id, len(before), MaxAfter)
		}
		if err := store.ReplaceAfter(ctx, tx, id, before); err != nil {
			return fmt.Errorf("change what task %d comes after: %w", id, err)
		}
	}
	causes := make(map[albs.TaskID]bool)
	for _, t := range tasks {
		if t.CauseID != 0 {
			causes[t.CauseID] = true
		}
	}
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		if err := q.relieve(ctx, tx, cause); err != nil {
			return err
		}
	}
	if err := q.rehinder(ctx, tx, ids); err != nil {
		return err
	}
	for _, id := range ids {
		waits, err := store.Unsatisfied(ctx, tx, id)
		if err != nil {
			return fmt.Errorf("read what task %d waits for: %w", id, err)
		}
		if len(waits) > 0 {
			continue
		}
		t, err := store.GetTask(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := q.unblock(ctx, tx, &t); err != nil {
			return err
		}
	}
	return nil
}

// checkCircles returns Invalid if after, in place of what its tasks come after now,
// would close a circle, or names a task that isn't there.
func checkCircles(ctx context.Context, tx db.Tx, after map[albs.TaskID][]albs.TaskID) error {
	// All that is before any of them, directly or not.
	before := maps.Clone(after)
	next := slices.Concat(slices.Collect(maps.Values(after))...)
	for len(next) > 0 {
		slices.Sort(next)
		next = slices.DeleteFunc(slices.Compact(next), func(id albs.TaskID) bool { _, ok := before[id]; return ok })
		rows, err := store.AfterOf(ctx, tx, next)
		if err != nil {
			return fmt.Errorf("read what tasks come after: %w", err)
		}
		for _, id := range next {
			before[id] = rows[id]
		}
		next = slices.Concat(slices.Collect(maps.Values(rows))...)
	}
	const under, done = 1, 2
	state := make(map[albs.TaskID]int, len(before))
	var visit func(id albs.TaskID) bool
	visit = func(id albs.TaskID) bool {
		switch state[id] {
		case under:
			return false
		case done:
			return true
		}
		state[id] = under
		for _, b := range before[id] {
			if !visit(b) {
				return false
			}
		}
		state[id] = done
		return true
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if !visit(id) {
			return albs.Errorf(albs.Invalid, "task %d would come after itself", id)
		}
	}
	return nil
}

// Exclude ends a blocked or queued task as excluded, in tx: there is nothing to do, and
// no worker needs to be asked. Conflict in any other state, NotFound if there is none.
func (q *Queue) Exclude(ctx context.Context, tx db.Tx, id albs.TaskID, reason string) error {
	t, err := store.GetTask(ctx, tx, id)
	if err != nil {
		return err
	}
	if t.State, err = life.Next(id, t.State, life.Spare); err != nil {
		return err
	}
	t.Reason, t.CauseID = life.OneLine(reason), 0
	return q.settle(ctx, tx, &t)
}

// After returns what each of the tasks comes after, whether that is done or not.
func (q *Queue) After(ctx context.Context, from db.Q, ids ...albs.TaskID) (map[albs.TaskID][]albs.TaskID, error) {
	after, err := store.AfterOf(ctx, from, ids)
	if err != nil {
		return nil, fmt.Errorf("read what tasks come after: %w", err)
	}
	return after, nil
}

// States returns the state of each of the tasks that exist, as from sees them.
func (q *Queue) States(ctx context.Context, from db.Q, ids ...albs.TaskID) (map[albs.TaskID]albs.TaskState, error) {
	states := make(map[albs.TaskID]albs.TaskState, len(ids))
	rows, err := store.TasksOf(ctx, from, ids)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		states[r.ID] = r.State
	}
	return states, nil
}
