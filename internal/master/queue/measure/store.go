package measure

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// medians returns the median of a key's past runs, in seconds; none if it has none.
func medians(ctx context.Context, q db.Q, kind albs.TaskKind, key string) ([]int, error) {
	var ms []int
	err := q.SelectContext(ctx, &ms, `SELECT median FROM task_history WHERE kind = $1 AND key = $2`, kind, key)
	return ms, err
}

// runsOf returns a key's past runs as they are kept; none if it has none.
func runsOf(ctx context.Context, q db.Q, kind albs.TaskKind, key string) ([]string, error) {
	var runs []string
	err := q.SelectContext(ctx, &runs, `SELECT runs FROM task_history WHERE kind = $1 AND key = $2`, kind, key)
	return runs, err
}

func putRuns(ctx context.Context, tx db.Tx, kind albs.TaskKind, key, runs string, median int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO task_history (kind, key, runs, median) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, key) DO UPDATE SET runs = excluded.runs, median = excluded.median`, kind, key, runs, median)
	return err
}

// Attempt is an attempt as usage counts it.
type Attempt struct {
	TaskID    albs.TaskID `db:"task_id"`
	Fence     int64
	Lane      string
	ClaimedAt db.Time `db:"claimed_at"`
	EndedAt   db.Time `db:"ended_at"`
	Expected  int     // of a running one: seconds, or Unknown
}

// selectUsed returns the attempts that ended after since.
func selectUsed(ctx context.Context, q db.Q, since db.Time) ([]Attempt, error) {
	var us []Attempt
	err := q.SelectContext(ctx, &us, `SELECT a.task_id, a.fence, t.lane, a.claimed_at, a.ended_at FROM attempt a JOIN task t ON t.id = a.task_id
		WHERE a.ended_at > $1`, since)
	return us, err
}

// selectUsing returns the running attempts with the time of their claim.
func selectUsing(ctx context.Context, q db.Q) ([]Attempt, error) {
	var us []Attempt
	err := q.SelectContext(ctx, &us, `SELECT t.lane, t.expected, a.claimed_at FROM task t
		JOIN attempt a ON a.task_id = t.id AND a.fence = t.fence WHERE t.state IN ('leased', 'stopping')`)
	return us, err
}

// edgeRow is a task that waits for another, neither of which has begun.
type edgeRow struct {
	AfterID       albs.TaskID `db:"after_id"`
	AfterExpected int         `db:"after_expected"`
	AfterChain    int         `db:"after_chain"`
	TaskID        albs.TaskID `db:"task_id"`
	TaskExpected  int         `db:"task_expected"`
	TaskChain     int         `db:"task_chain"`
}

func selectEdges(ctx context.Context, q db.Q) ([]edgeRow, error) {
	var es []edgeRow
	err := q.SelectContext(ctx, &es, `SELECT x.after_id, a.expected AS after_expected, a.chain AS after_chain,
			x.task_id, t.expected AS task_expected, t.chain AS task_chain
		FROM task t JOIN task_after x ON x.task_id = t.id JOIN task a ON a.id = x.after_id
		WHERE t.state = 'blocked' AND a.state IN ('blocked', 'queued')`)
	return es, err
}

func updateChain(ctx context.Context, tx db.Tx, id albs.TaskID, chain int) error {
	_, err := tx.ExecContext(ctx, `UPDATE task SET chain = $1 WHERE id = $2`, chain, id)
	return err
}

// refusalRow is a worker's newest attempt at a task that it gave back or lost.
type refusalRow struct {
	TaskID   albs.TaskID   `db:"task_id"`
	WorkerID albs.WorkerID `db:"worker_id"`
	EndedAt  db.Time       `db:"ended_at"`
	Outcome  albs.Outcome
}

// selectRefusals returns the attempts at the tasks that were given back, or lost, after
// since, a task's newest first.
func selectRefusals(ctx context.Context, q db.Q, ids []albs.TaskID, since db.Time) ([]refusalRow, error) {
	query, args, err := db.In(`SELECT task_id, worker_id, ended_at, outcome FROM attempt
		WHERE task_id IN (?) AND ended_at > ? AND (ended IN ('expire', 'lost') OR outcome IN ('infra', 'stopped'))
		ORDER BY task_id, fence DESC`, ids, since)
	if err != nil {
		return nil, err
	}
	var rs []refusalRow
	err = q.SelectContext(ctx, &rs, query, args...)
	return rs, err
}

type lossRow struct {
	TaskID    albs.TaskID `db:"task_id"`
	ClaimedAt db.Time     `db:"claimed_at"`
	EndedAt   db.Time     `db:"ended_at"`
}

// selectLosses returns the worker's lost attempts after since, by their end; some
// hundreds say as much as all.
func selectLosses(ctx context.Context, q db.Q, id albs.WorkerID, since db.Time) ([]lossRow, error) {
	var ls []lossRow
	err := q.SelectContext(ctx, &ls, `SELECT task_id, claimed_at, ended_at FROM attempt
		WHERE worker_id = $1 AND ended_at > $2 AND ended IN ('expire', 'lost') ORDER BY ended_at, fence LIMIT 500`, id, since)
	return ls, err
}

// aheadRow is how many tasks of a class go before one, and what is known of them.
type aheadRow struct {
	Count, Known int
	Expects      int64
}

func selectAhead(ctx context.Context, q db.Q, class string, priority, chain int, id albs.TaskID) (aheadRow, error) {
	var r aheadRow
	err := q.GetContext(ctx, &r, `SELECT count(*) AS count, COALESCE(sum(CASE WHEN expected < $5 THEN 1 ELSE 0 END), 0) AS known,
			COALESCE(sum(CASE WHEN expected < $5 THEN expected ELSE 0 END), 0) AS expects FROM task
		WHERE state = 'queued' AND class = $1
		AND (priority > $2 OR priority = $2 AND (chain > $3 OR chain = $3 AND id < $4))`,
		class, priority, chain, id, Unknown)
	return r, err
}

func countClass(ctx context.Context, q db.Q, class string) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT count(*) FROM task WHERE state = 'queued' AND class = $1`, class)
	return n, err
}
