package build

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// ends returns what is to be done with an attempt that made nothing: its logs are
// kept and, if it failed, with them why.
func (b *Builds) ends(ctx context.Context, in admission, outcome albs.Outcome, reason string) func(context.Context, db.Tx) error {
	if outcome != albs.OutcomeFailed {
		return in.logs
	}
	cause := b.digest(ctx, in, reason)
	return func(ctx context.Context, tx db.Tx) error {
		if err := in.logs(ctx, tx); err != nil {
			return err
		}
		return b.store.addFailure(ctx, tx, failureRow{
			TaskID: in.task.TaskID, Attempt: in.lease.Attempt, BuildID: in.task.BuildID, Kind: cause.Kind, Cause: column[failure.Cause]{cause},
		})
	}
}

// digest reads an attempt's logs for the cause of its failure, in the order in which
// they were written. A log that can't be read keeps no attempt from ending: what the
// others tell must do.
func (b *Builds) digest(ctx context.Context, in admission, reason string) failure.Cause {
	d := failure.New(reason)
	for _, name := range []string{failure.State, failure.Root, failure.Build} {
		i := slices.IndexFunc(in.files, func(a artifact.Artifact) bool { return a.Name == name })
		if i < 0 {
			continue
		}
		if err := b.readLog(ctx, d, in.files[i]); err != nil {
			b.log.Warn().Err(err).Int64("task_id", int64(in.task.TaskID)).Str("log", name).Msg("cause of failure not looked for")
		}
	}
	return d.Cause()
}

func (b *Builds) readLog(ctx context.Context, d *failure.Digest, log artifact.Artifact) error {
	r, err := b.artifacts.Blobs().OpenRange(ctx, log.Digest, 0, -1) // its row comes with the attempt's end
	if err != nil {
		return fmt.Errorf("open log %s: %w", log.Name, err)
	}
	return errors.Join(d.Read(log.Name, r), r.Close())
}

// failed keeps why a task failed of which no attempt could tell: it was lost, or its
// result refused. It is called for every end and does nothing for one that is told of.
func (b *Builds) failed(ctx context.Context, tx db.Tx, t queue.Task) error {
	if t.State != albs.TaskFailed {
		return nil
	}
	row, err := b.store.task(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	cause := failure.OfWords(t.Reason)
	return b.store.addFailure(ctx, tx, failureRow{
		TaskID: t.ID, Attempt: t.Attempts, BuildID: row.BuildID, Kind: cause.Kind, Cause: column[failure.Cause]{cause},
	})
}

// Causes returns why attempts at a task came to nothing, by their numbers: of those
// that failed what was found in their logs, of lost ones what the queue says. An
// attempt that did neither, or ended before causes were looked for, has none.
func (b *Builds) Causes(ctx context.Context, id albs.TaskID, attempts []queue.Attempt) (map[int]failure.Cause, error) {
	rows, err := b.store.failuresOf(ctx, b.store.d, id)
	if err != nil {
		return nil, fmt.Errorf("causes of failures of task %d: %w", id, err)
	}
	out := make(map[int]failure.Cause)
	for _, a := range attempts {
		if a.Lost || a.Outcome == albs.OutcomeInfra {
			out[a.Number] = failure.OfWords(a.Reason)
		}
	}
	for _, r := range rows {
		out[r.Attempt] = r.Cause.V
	}
	return out, nil
}

// causes returns why the failed tasks of a build failed at last.
func (b *Builds) causes(ctx context.Context, id albs.BuildID) (map[albs.TaskID]failureRow, error) {
	rows, err := b.store.failures(ctx, b.store.d, id)
	if err != nil {
		return nil, fmt.Errorf("causes of failures of build %d: %w", id, err)
	}
	out := make(map[albs.TaskID]failureRow)
	for _, r := range rows { // later attempts come later
		out[r.TaskID] = r
	}
	return out, nil
}
