// Package keep knows which blobs and logs the queue's tasks keep: what their specs
// name, as enqueued and as workers got them, until a task is forgotten.
//
// A task is forgotten by who had it done, in the transaction in which that is deleted,
// and for good. One that still runs keeps what it names until it has ended.
package keep

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/queue/logfile"
	"albs/internal/master/queue/spec"
)

// Forget has the tasks of a topic keep nothing any more, once they have ended and the
// time of grace is over.
func Forget(ctx context.Context, tx db.Tx, topic string) error {
	if err := forget(ctx, tx, topic, db.Now()); err != nil {
		return fmt.Errorf("forget tasks of %s: %w", topic, err)
	}
	return nil
}

// page is how many specs are read at once; one has up to a mebibyte.
const page = 64

// Roots returns what the specs of the tasks in d name.
func Roots(d *db.DB) artifact.Roots {
	return func(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
		for _, from := range []func(context.Context, db.Q, cursor, db.Time) ([]specRow, error){enqueued, given} {
			var at cursor
			for {
				rows, err := from(ctx, d, at, since)
				if err != nil {
					return fmt.Errorf("read specs of tasks: %w", err)
				}
				for _, r := range rows {
					if err := named(r, yield); err != nil {
						return err
					}
				}
				if len(rows) < page {
					break
				}
				at = rows[len(rows)-1].cursor
			}
		}
		return nil
	}
}

func named(r specRow, yield func(artifact.Ref) error) error {
	if r.Spec == "" {
		return nil
	}
	var s albs.Spec
	if err := json.Unmarshal([]byte(r.Spec), &s); err != nil {
		return fmt.Errorf("read spec of task %d: %w", r.Task, err)
	}
	snapshots := spec.Snapshots(s)
	for d := range spec.Digests(s) {
		ref := artifact.Ref{Digest: d}
		switch {
		case snapshots[d]:
			ref.Form = artifact.Snapshot
		case s.Publish != nil && s.Publish.Tree == d:
			ref.Form = artifact.TreeDocument
		}
		if err := yield(ref); err != nil {
			return err
		}
	}
	return nil
}

// Logs are the streamed logs that Clean found.
type Logs struct {
	Tasks int   `json:"tasks"`
	Bytes int64 `json:"bytes"`
}

// Clean removes the streamed logs of tasks that were forgotten and have ended before
// a time, or, of a dry run, counts them. Logs of which there is no task are left alone.
func Clean(ctx context.Context, d *db.DB, logs logfile.Dir, before time.Time, dryRun bool) (Logs, error) {
	var out Logs
	ids, err := logs.Tasks()
	if err != nil {
		return out, err
	}
	for len(ids) > 0 {
		some := ids[:min(len(ids), 500)]
		ids = ids[len(some):]
		due, err := forgotten(ctx, d, some, db.At(before))
		if err != nil {
			return out, fmt.Errorf("read forgotten tasks: %w", err)
		}
		for _, id := range due {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			infos, err := logs.List(id)
			if err != nil {
				return out, err
			}
			if !dryRun {
				if err := logs.Remove(id); err != nil {
					return out, err
				}
			}
			out.Tasks++
			for _, i := range infos {
				out.Bytes += i.Size
			}
		}
	}
	return out, nil
}
