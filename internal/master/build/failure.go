package build

import (
	"context"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/build/cause"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// ends returns what is to be done with an attempt that made nothing: its logs are
// kept and, if it failed, with them why.
func (b *Builds) ends(ctx context.Context, in admission, outcome albs.Outcome, reason string) func(context.Context, db.Tx) error {
	if outcome != albs.OutcomeFailed {
		return in.logs
	}
	f := cause.Failure{Build: in.task.BuildID, Task: in.task.TaskID, Attempt: in.lease.Attempt}
	f.Cause = cause.Find(ctx, b.artifacts.Blobs(), in.files, reason, b.log.With().Int64("task_id", int64(f.Task)).Logger())
	return func(ctx context.Context, tx db.Tx) error {
		if err := in.logs(ctx, tx); err != nil {
			return err
		}
		return cause.Add(ctx, tx, f)
	}
}

// failed keeps why a task failed of which no attempt could tell: it was lost, or its
// result refused. It is called for every end and does nothing for one that is told of.
func (b *Builds) failed(ctx context.Context, tx db.Tx, t queue.Task) error {
	if t.State != albs.TaskFailed {
		return nil
	}
	row, err := store.GetTask(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	return cause.Add(ctx, tx, cause.Failure{Build: row.BuildID, Task: t.ID, Attempt: t.Attempts, Cause: failure.OfWords(t.Reason)})
}

// Causes returns why attempts at a task came to nothing, by their numbers, as
// cause.OfAttempts does.
func (b *Builds) Causes(ctx context.Context, id albs.TaskID, attempts []queue.Attempt) (map[int]failure.Cause, error) {
	return cause.OfAttempts(ctx, b.db, id, attempts)
}
