package queue

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// States returns where tasks stand, as tx sees them: what follows from the end of
// several tasks is decided in the transaction that ends the last of them.
func (q *Queue) States(ctx context.Context, tx db.Tx, ids ...albs.TaskID) (map[albs.TaskID]albs.TaskState, error) {
	out := make(map[albs.TaskID]albs.TaskState, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	rows, err := selectTasks(ctx, tx, `id IN (?)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read the states of tasks: %w", err)
	}
	for _, r := range rows {
		out[r.ID] = r.State
	}
	return out, nil
}
