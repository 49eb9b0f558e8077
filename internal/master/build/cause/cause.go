// Package cause keeps why attempts at a build's tasks failed, as it was found in their
// logs when they ended. What a cause is and how it is found is package failure's; of
// what was lost or refused there are the queue's words alone.
package cause

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// Failure is an attempt that failed, and why.
type Failure struct {
	Build   albs.BuildID
	Task    albs.TaskID
	Attempt int
	Cause   failure.Cause
}

// Find reads an attempt's logs for the cause of its failure, in the order in which
// they were written. A log that can't be read keeps no attempt from ending: what the
// others tell must do, and log is told.
func Find(ctx context.Context, blobs blob.Store, logs []artifact.Artifact, reason string, log zerolog.Logger) failure.Cause {
	d := failure.New(reason)
	for _, name := range []string{failure.State, failure.Root, failure.Build} {
		i := slices.IndexFunc(logs, func(a artifact.Artifact) bool { return a.Name == name })
		if i < 0 {
			continue
		}
		if err := read(ctx, blobs, d, logs[i]); err != nil {
			log.Warn().Err(err).Str("log", name).Msg("cause of failure not looked for")
		}
	}
	return d.Cause()
}

func read(ctx context.Context, blobs blob.Store, d *failure.Digest, log artifact.Artifact) error {
	r, err := blobs.OpenRange(ctx, log.Digest, 0, -1) // its row comes with the attempt's end
	if err != nil {
		return fmt.Errorf("open log %s: %w", log.Name, err)
	}
	return errors.Join(d.Read(log.Name, r), r.Close())
}

// OfAttempts returns why attempts at a task came to nothing, by their numbers: of those
// that failed what was found in their logs, of lost ones what the queue says. An
// attempt that did neither, or ended before causes were looked for, has none.
func OfAttempts(ctx context.Context, q db.Q, id albs.TaskID, attempts []queue.Attempt) (map[int]failure.Cause, error) {
	kept, err := failures(ctx, q, "task_id", int64(id))
	if err != nil {
		return nil, fmt.Errorf("causes of failures of task %d: %w", id, err)
	}
	out := make(map[int]failure.Cause)
	for _, a := range attempts {
		if a.Lost || a.Outcome == albs.OutcomeInfra {
			out[a.Number] = failure.OfWords(a.Reason)
		}
	}
	for _, f := range kept {
		out[f.Attempt] = f.Cause
	}
	return out, nil
}

// OfBuild returns why the failed tasks of a build failed at last.
func OfBuild(ctx context.Context, q db.Q, id albs.BuildID) (map[albs.TaskID]Failure, error) {
	kept, err := failures(ctx, q, "build_id", int64(id))
	if err != nil {
		return nil, fmt.Errorf("causes of failures of build %d: %w", id, err)
	}
	out := make(map[albs.TaskID]Failure)
	for _, f := range kept { // later attempts come later
		out[f.Task] = f
	}
	return out, nil
}
