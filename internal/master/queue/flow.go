package queue

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/store"
)

// Here is what a task's new state means to itself and to those after it.

// write writes t, whose state has just changed.
func (q *Queue) write(ctx context.Context, tx db.Tx, t *store.Task) error {
	t.ChangedAt = q.clock.now()
	if t.State != albs.TaskLeased && t.State != albs.TaskStopping {
		t.LeaseUntil = db.Time{}
	}
	if t.State != albs.TaskQueued {
		t.NotBeforeAt = db.Time{}
	}
	return store.UpdateTask(ctx, tx, *t)
}

// settle writes t, whose state has just changed, tells of it, and does what
// follows from the new state: all in tx.
func (q *Queue) settle(ctx context.Context, tx db.Tx, t *store.Task) error {
	if err := q.write(ctx, tx, t); err != nil {
		return err
	}
	if err := q.tell(ctx, tx, t); err != nil {
		return err
	}
	switch {
	case t.State == albs.TaskQueued:
		tx.AfterCommit(q.ready)
	case life.Satisfies(t.State):
		return q.release(ctx, tx, t.ID)
	case life.Hinders(t.State):
		if err := q.hinder(ctx, tx, t.ID, []albs.TaskID{t.ID}); err != nil {
			return err
		}
		whole, err := taskOf(*t)
		if err != nil {
			return err
		}
		handler, err := q.handler(t.Kind)
		if err != nil {
			return err
		}
		return handler.Ended(ctx, tx, whole)
	}
	return nil
}

// unblock writes t, a blocked task, as queued if nothing keeps it waiting, else
// as blocked with the cause, if it waits in vain.
func (q *Queue) unblock(ctx context.Context, tx db.Tx, t *store.Task) error {
	waits, err := store.Unsatisfied(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	t.Reason, t.CauseID = "", 0
	trigger := life.Unblock
	if len(waits) > 0 {
		trigger = life.Hinder
		if i := slices.IndexFunc(waits, func(w store.Task) bool { return life.Hinders(w.State) || w.CauseID != 0 }); i >= 0 {
			cause := waits[i]
			if !life.Hinders(cause.State) {
				if cause, err = store.GetTask(ctx, tx, cause.CauseID); err != nil {
					return err
				}
			}
			t.CauseID, t.Reason = cause.ID, vain(cause)
		}
	}
	if t.State, err = life.Next(t.ID, t.State, trigger); err != nil {
		return err
	}
	return q.settle(ctx, tx, t)
}

// release queues those that waited for the task id last.
func (q *Queue) release(ctx context.Context, tx db.Tx, id albs.TaskID) error {
	// Most are the last of their kind. To look for blocked tasks then would only have
	// PostgreSQL see a conflict with everybody who blocks or frees one.
	if awaited, err := store.IsAwaited(ctx, tx, id); err != nil || !awaited {
		return err
	}
	freed, err := store.ReleaseAfter(ctx, tx, id, q.clock.now())
	if err != nil {
		return fmt.Errorf("unblock what comes after task %d: %w", id, err)
	}
	for _, t := range freed {
		if err := q.tell(ctx, tx, &t); err != nil {
			return err
		}
	}
	if len(freed) > 0 {
		tx.AfterCommit(q.ready)
	}
	return nil
}

// vain is the reason of a task that waits for cause.
func vain(cause store.Task) string {
	s := fmt.Sprintf("waits for %s task %d, which %s", cause.Kind, cause.ID,
		map[albs.TaskState]string{albs.TaskFailed: "failed", albs.TaskCancelled: "was cancelled"}[cause.State])
	if cause.Reason != "" {
		s += ": " + cause.Reason
	}
	return life.OneLine(s)
}

// hinder marks all that waits, directly or not, for the tasks from, which cause
// keeps from being done. What has another cause already keeps that.
func (q *Queue) hinder(ctx context.Context, tx db.Tx, cause albs.TaskID, from []albs.TaskID) error {
	root, err := store.GetTask(ctx, tx, cause)
	if err != nil {
		return err
	}
	told := make(map[string]bool) // one event a topic: a page looks at all of its tasks anyway
	for len(from) > 0 {
		var marked []store.Task
		for chunk := range slices.Chunk(from, 500) {
			m, err := store.MarkAfter(ctx, tx, chunk, cause, vain(root))
			if err != nil {
				return fmt.Errorf("mark what comes after task %d: %w", cause, err)
			}
			marked = append(marked, m...)
		}
		from = from[:0:0]
		for _, t := range marked {
			from = append(from, t.ID)
			if !told[t.Topic] {
				told[t.Topic] = true
				if err := q.tell(ctx, tx, &t); err != nil {
					return err
				}
			}
			whole, err := taskOf(t)
			if err != nil {
				return err
			}
			handler, err := q.handler(t.Kind)
			if err != nil {
				return err
			}
			if err := handler.InVain(ctx, tx, whole); err != nil {
				return err
			}
		}
	}
	return nil
}

// relieve takes the mark of cause from all that it kept waiting in vain, and
// marks anew those that still do because of another.
func (q *Queue) relieve(ctx context.Context, tx db.Tx, cause albs.TaskID) error {
	cleared, err := store.ClearCause(ctx, tx, cause)
	if err != nil {
		return fmt.Errorf("clear what waits for task %d: %w", cause, err)
	}
	return q.rehinder(ctx, tx, cleared)
}

// rehinder marks those of the tasks, and all after them, that wait in vain and have no
// cause.
func (q *Queue) rehinder(ctx context.Context, tx db.Tx, ids []albs.TaskID) error {
	for chunk := range slices.Chunk(ids, 500) {
		hindrances, err := store.Hindrances(ctx, tx, chunk)
		if err != nil {
			return fmt.Errorf("find what still hinders: %w", err)
		}
		for _, h := range hindrances {
			root := h.CauseID
			if root == 0 {
				root = h.ID
			}
			if err := q.hinder(ctx, tx, root, []albs.TaskID{h.ID}); err != nil {
				return err
			}
		}
	}
	return nil
}
