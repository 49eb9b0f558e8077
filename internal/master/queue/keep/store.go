package keep

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// cursor is a place in the tasks or the attempts.
type cursor struct {
	Task  albs.TaskID `db:"task"`
	Fence int64       `db:"fence"`
}

type specRow struct {
	cursor
	Spec string `db:"spec"`
}

// final are the states of a task that has ended.
const final = `('succeeded', 'failed', 'excluded', 'cancelled')`

// kept are the tasks t that keep something, or have since the time $1: they were not
// forgotten before, or hadn't ended.
const kept = `(t.forgotten_at IS NULL OR t.forgotten_at > $1 OR t.changed_at > $1 OR t.state NOT IN ` + final + `)`

func enqueued(ctx context.Context, q db.Q, after cursor, since db.Time) (rows []specRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT t.id AS task, 0 AS fence, t.spec FROM task t
		WHERE t.id > $2 AND `+kept+` ORDER BY t.id LIMIT $3`, since, after.Task, page)
	return rows, err
}

func given(ctx context.Context, q db.Q, after cursor, since db.Time) (rows []specRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT a.task_id AS task, a.fence, a.spec FROM attempt a JOIN task t ON t.id = a.task_id
		WHERE (a.task_id > $2 OR a.task_id = $2 AND a.fence > $3) AND `+kept+` ORDER BY a.task_id, a.fence LIMIT $4`, since, after.Task, after.Fence, page)
	return rows, err
}

func forget(ctx context.Context, tx db.Tx, topic string, at db.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE task SET forgotten_at = $2 WHERE topic = $1 AND forgotten_at IS NULL`, topic, at)
	return err
}

// forgotten returns those of the tasks that were forgotten, and have ended, before a time.
func forgotten(ctx context.Context, q db.Q, ids []albs.TaskID, before db.Time) ([]albs.TaskID, error) {
	query, args, err := db.In(`SELECT t.id FROM task t WHERE t.id IN (?) AND t.forgotten_at < ? AND t.changed_at < ? AND t.state IN `+final+` ORDER BY t.id`,
		ids, before, before)
	if err != nil {
		return nil, err
	}
	var out []albs.TaskID
	err = q.SelectContext(ctx, &out, query, args...)
	return out, err
}
