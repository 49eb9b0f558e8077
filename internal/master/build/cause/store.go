package cause

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// Add keeps, in tx, why an attempt failed; what is kept of it already stays.
func Add(ctx context.Context, tx db.Tx, f Failure) error {
	b, err := json.Marshal(f.Cause)
	if err != nil {
		return fmt.Errorf("encode cause of failure: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO build_failure (task_id, attempt, build_id, kind, cause)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (task_id, attempt) DO NOTHING`, f.Task, f.Attempt, f.Build, f.Cause.Kind, string(b))
	if err != nil {
		return fmt.Errorf("insert cause of failure: %w", err)
	}
	return nil
}

// failures returns those whose column (task_id, build_id) is id, of each task the
// earlier attempts first.
func failures(ctx context.Context, q db.Q, column string, id int64) ([]Failure, error) {
	var rows []struct {
		Task    albs.TaskID  `db:"task_id"`
		Attempt int          `db:"attempt"`
		Build   albs.BuildID `db:"build_id"`
		Cause   string       `db:"cause"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT task_id, attempt, build_id, cause FROM build_failure WHERE `+column+` = $1 ORDER BY task_id, attempt`, id)
	if err != nil {
		return nil, err
	}
	out := make([]Failure, len(rows))
	for i, r := range rows {
		out[i] = Failure{Task: r.Task, Attempt: r.Attempt, Build: r.Build}
		if err := json.Unmarshal([]byte(r.Cause), &out[i].Cause); err != nil {
			return nil, fmt.Errorf("attempt %d at task %d: %w", r.Attempt, r.Task, err)
		}
	}
	return out, nil
}
