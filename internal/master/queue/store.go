package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/fleet"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
)

// taskRow is a task as the table holds it; a reference of 0 is NULL there.
type taskRow struct {
	ID          albs.TaskID
	Kind        albs.TaskKind
	Lane        string
	Class       string
	Topic       string
	Spec        string
	Priority    int
	Key         string
	Expected    int // seconds; measure.Unknown without history
	Chain       int // seconds; likewise
	State       albs.TaskState
	Reason      string
	CauseID     albs.TaskID `db:"cause_id"`
	Fence       int64
	Attempts    int
	Lost        int
	Infra       int
	WorkerID    albs.WorkerID `db:"worker_id"`
	Worker      string
	LeaseUntil  db.Time `db:"lease_until"`
	NotBeforeAt db.Time `db:"not_before_at"`
	CreatedAt   db.Time `db:"created_at"`
	StartedAt   db.Time `db:"started_at"`
	ChangedAt   db.Time `db:"changed_at"`
}

// Without spec, which is long and seldom wanted.
const listColumns = `id, kind, lane, class, topic, priority, key, expected, chain, state, reason, COALESCE(cause_id, 0) AS cause_id, fence,
	attempts, lost, infra, COALESCE(worker_id, 0) AS worker_id, worker, lease_until, not_before_at, created_at, started_at, changed_at`

const taskColumns = listColumns + `, spec`

func (r taskRow) task() (Task, error) {
	t := Task{
		ID: r.ID, Kind: r.Kind, Lane: r.Lane, Topic: r.Topic, Priority: r.Priority, Key: r.Key, Expected: measure.Seconds(r.Expected),
		State: r.State, Reason: r.Reason,
		Cause: r.CauseID, Attempts: r.Attempts, Lost: r.Lost + r.Infra, Worker: r.Worker, Until: r.LeaseUntil,
		Created: r.CreatedAt, Started: r.StartedAt, Changed: r.ChangedAt,
	}
	_, lane := schedule.SplitClass(r.Class)
	t.Needs, t.Room = lane.Needs, lane.Room
	if r.Spec != "" {
		if err := json.Unmarshal([]byte(r.Spec), &t.Spec); err != nil {
			return Task{}, fmt.Errorf("read spec of task %d: %w", r.ID, err)
		}
	}
	return t, nil
}

type attemptRow struct {
	TaskID    albs.TaskID `db:"task_id"`
	Fence     int64
	Number    int
	WorkerID  albs.WorkerID `db:"worker_id"`
	Worker    string
	Spec      string
	Evidence  string
	ClaimedAt db.Time `db:"claimed_at"`
	EndedAt   db.Time `db:"ended_at"`
	Ended     life.Trigger
	Outcome   albs.Outcome
	Result    albs.Digest
	Reason    string
}

const attemptColumns = `task_id, fence, number, worker_id, worker, spec, evidence, claimed_at, ended_at, ended, outcome, result, reason`

func null(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

func insertTask(ctx context.Context, tx db.Tx, t taskRow) (albs.TaskID, error) {
	var id albs.TaskID
	err := tx.GetContext(ctx, &id, `INSERT INTO task (kind, lane, class, topic, spec, priority, key, expected, chain, state, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11) RETURNING id`,
		t.Kind, t.Lane, t.Class, t.Topic, t.Spec, t.Priority, t.Key, t.Expected, t.State, t.CreatedAt, t.ChangedAt)
	return id, err
}

func insertAfter(ctx context.Context, tx db.Tx, id albs.TaskID, after []albs.TaskID) error {
	for _, a := range after {
		// The one before must be older, so that no circle can close.
		r, err := tx.ExecContext(ctx, `INSERT INTO task_after (task_id, after_id)
			SELECT CAST($1 AS BIGINT), id FROM task WHERE id = $2 AND id < $1`, id, a)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return albs.Errorf(albs.Invalid, "there is no task %d to come after", a)
		}
	}
	return nil
}

// replaceAfter makes the task come after others, of whatever age: who calls has seen
// that no circle closes.
func replaceAfter(ctx context.Context, tx db.Tx, id albs.TaskID, after []albs.TaskID) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM task_after WHERE task_id = $1`, id); err != nil {
		return err
	}
	for chunk := range slices.Chunk(after, 500) {
		query, args, err := db.In(`INSERT INTO task_after (task_id, after_id) SELECT CAST(? AS BIGINT), id FROM task WHERE id IN (?)`, id, chunk)
		if err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil {
			return err
		} else if n != int64(len(chunk)) {
			return albs.Errorf(albs.Invalid, "there are %d of %d tasks to come after", n, len(chunk))
		}
	}
	return nil
}

// afterOf returns what each of the tasks comes after.
func afterOf(ctx context.Context, q db.Q, ids []albs.TaskID) (map[albs.TaskID][]albs.TaskID, error) {
	after := make(map[albs.TaskID][]albs.TaskID, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		query, args, err := db.In(`SELECT task_id, after_id FROM task_after WHERE task_id IN (?) ORDER BY task_id, after_id`, chunk)
		if err != nil {
			return nil, err
		}
		var rows []struct {
			Task   albs.TaskID `db:"task_id"`
			Before albs.TaskID `db:"after_id"`
		}
		if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, err
		}
		for _, r := range rows {
			after[r.Task] = append(after[r.Task], r.Before)
		}
	}
	return after, nil
}

func getTask(ctx context.Context, q db.Q, id albs.TaskID) (taskRow, error) {
	var t taskRow
	err := q.GetContext(ctx, &t, `SELECT `+taskColumns+` FROM task WHERE id = $1`, id)
	if err = db.Found(err, "task %d", id); err != nil {
		return taskRow{}, fmt.Errorf("read task: %w", err)
	}
	return t, nil
}

func selectTasks(ctx context.Context, q db.Q, where string, args ...any) ([]taskRow, error) {
	query, args, err := db.In(`SELECT `+listColumns+` FROM task WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	var ts []taskRow
	err = q.SelectContext(ctx, &ts, query, args...)
	return ts, err
}

// tasksOf returns those of the tasks that exist and meet the condition, by id.
func tasksOf(ctx context.Context, q db.Q, ids []albs.TaskID, condition string) ([]taskRow, error) {
	var all []taskRow
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(ids))), 500) {
		ts, err := selectTasks(ctx, q, condition+` AND id IN (?) ORDER BY id`, chunk)
		if err != nil {
			return nil, fmt.Errorf("read tasks: %w", err)
		}
		all = append(all, ts...)
	}
	return all, nil
}

func listTasks(ctx context.Context, q db.Q, f Filter) ([]taskRow, error) {
	var where []string
	var args []any
	add := func(cond string, arg any) { where, args = append(where, cond), append(args, arg) }
	if len(f.States) > 0 {
		add(`state IN (?)`, f.States)
	}
	if f.Kind != "" {
		add(`kind = ?`, f.Kind)
	}
	if f.Topic != "" {
		add(`topic = ?`, f.Topic)
	}
	if f.Lane != "" {
		add(`lane = ?`, f.Lane)
	}
	if f.Before > 0 {
		add(`id < ?`, f.Before)
	}
	if len(where) == 0 {
		where = append(where, `1 = 1`)
	}
	return selectTasks(ctx, q, strings.Join(where, ` AND `)+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
}

type openCount struct {
	State albs.TaskState
	Class string
	Count int
}

func countOpen(ctx context.Context, q db.Q) ([]openCount, error) {
	var cs []openCount
	err := q.SelectContext(ctx, &cs, `SELECT state, class, count(*) AS count FROM task
		WHERE state IN ('blocked', 'queued', 'leased', 'stopping') GROUP BY state, class`)
	return cs, err
}

// updateTask writes all that changes in a task's life but its claim.
func updateTask(ctx context.Context, tx db.Tx, t taskRow) error {
	r, err := tx.ExecContext(ctx, `UPDATE task SET state = $1, reason = $2, cause_id = $3, attempts = $4, lost = $5,
		infra = $6, lease_until = $7, not_before_at = $8, changed_at = $9 WHERE id = $10`,
		t.State, t.Reason, null(int64(t.CauseID)), t.Attempts, t.Lost, t.Infra, t.LeaseUntil, t.NotBeforeAt, t.ChangedAt, t.ID)
	if err := db.One(r, err, "task %d is gone", t.ID); err != nil {
		return fmt.Errorf("write task: %w", err)
	}
	return nil
}

// What comes after what.

// unsatisfied returns what the task still waits for.
func unsatisfied(ctx context.Context, tx db.Q, id albs.TaskID) ([]taskRow, error) {
	return selectTasks(ctx, tx, `id IN (SELECT after_id FROM task_after WHERE task_id = ?)
		AND state NOT IN ('succeeded', 'excluded') ORDER BY id`, id)
}

// isAwaited reports whether any task comes after id.
func isAwaited(ctx context.Context, tx db.Tx, id albs.TaskID) (bool, error) {
	var ids []albs.TaskID
	if err := tx.SelectContext(ctx, &ids, `SELECT task_id FROM task_after WHERE after_id = $1 LIMIT 1`, id); err != nil {
		return false, fmt.Errorf("read what comes after task %d: %w", id, err)
	}
	return len(ids) > 0, nil
}

// releaseAfter queues the blocked tasks after id that wait for nothing more.
func releaseAfter(ctx context.Context, tx db.Tx, id albs.TaskID, now db.Time) ([]taskRow, error) {
	var ts []taskRow
	err := tx.SelectContext(ctx, &ts, `UPDATE task SET state = 'queued', reason = '', cause_id = NULL, changed_at = $2
		WHERE state = 'blocked' AND id IN (SELECT task_id FROM task_after WHERE after_id = $1)
		AND NOT EXISTS (SELECT 1 FROM task_after x JOIN task a ON a.id = x.after_id
			WHERE x.task_id = task.id AND a.state NOT IN ('succeeded', 'excluded'))
		RETURNING `+listColumns, id, now)
	return ts, err
}

// markAfter gives the blocked tasks directly after ids their cause.
func markAfter(ctx context.Context, tx db.Tx, ids []albs.TaskID, cause albs.TaskID, reason string) ([]taskRow, error) {
	query, args, err := db.In(`UPDATE task SET cause_id = ?, reason = ?
		WHERE state = 'blocked' AND cause_id IS NULL AND id IN (SELECT task_id FROM task_after WHERE after_id IN (?))
		RETURNING `+listColumns, cause, reason, ids)
	if err != nil {
		return nil, err
	}
	var ts []taskRow
	err = tx.SelectContext(ctx, &ts, query, args...)
	return ts, err
}

func clearCause(ctx context.Context, tx db.Tx, cause albs.TaskID) ([]albs.TaskID, error) {
	var ids []albs.TaskID
	err := tx.SelectContext(ctx, &ids, `UPDATE task SET cause_id = NULL, reason = ''
		WHERE cause_id = $1 AND state = 'blocked' RETURNING id`, cause)
	return ids, err
}

// hindrances returns what the tasks wait for in vain.
func hindrances(ctx context.Context, tx db.Tx, ids []albs.TaskID) ([]taskRow, error) {
	return selectTasks(ctx, tx, `id IN (SELECT after_id FROM task_after WHERE task_id IN (?))
		AND (state IN ('failed', 'cancelled') OR cause_id IS NOT NULL) ORDER BY id`, ids)
}

// Dispatch.

// readyClasses lists the classes that have queued tasks, by leaps through the
// index: it costs as much as there are classes, however many tasks are queued.
func readyClasses(ctx context.Context, q db.Q) ([]string, error) {
	var cs []string
	err := q.SelectContext(ctx, &cs, `WITH RECURSIVE c (class) AS (
			SELECT min(class) FROM task WHERE state = 'queued'
			UNION ALL
			SELECT (SELECT min(t.class) FROM task t WHERE t.state = 'queued' AND t.class > c.class) FROM c WHERE c.class IS NOT NULL
		) SELECT class FROM c WHERE class IS NOT NULL`)
	return cs, err
}

// readyRow is a queued task as the dispatcher reads it.
type readyRow struct {
	ID       albs.TaskID
	Priority int
	Expected int
	Chain    int
	Key      string
	Attempts int
}

func (r readyRow) ready() schedule.Ready {
	return schedule.Ready{ID: r.ID, Priority: r.Priority, Expected: measure.Seconds(r.Expected), Chain: measure.Seconds(r.Chain), Key: r.Key}
}

func readyOf(ctx context.Context, q db.Q, class string, now db.Time, limit int) ([]readyRow, error) {
	var rs []readyRow
	err := q.SelectContext(ctx, &rs, `SELECT id, priority, expected, chain, key, attempts FROM task
		WHERE state = 'queued' AND class = $1 AND (not_before_at IS NULL OR not_before_at <= $2)
		ORDER BY priority DESC, chain DESC, id LIMIT $3`, class, now, limit)
	return rs, err
}

// runningRow is tasks of a worker that are alike, which it holds.
type runningRow struct {
	WorkerID albs.WorkerID `db:"worker_id"`
	Class    string
	Expected int
	Count    int
}

func selectRunning(ctx context.Context, q db.Q) ([]runningRow, error) {
	var rs []runningRow
	err := q.SelectContext(ctx, &rs, `SELECT worker_id, class, expected, count(*) AS count FROM task
		WHERE state IN ('leased', 'stopping') GROUP BY worker_id, class, expected`)
	return rs, err
}

// claimTask leases the task to a worker, if it is still ready, the worker may have
// work, and no other master is about to take it; otherwise it is sql.ErrNoRows.
func claimTask(ctx context.Context, tx db.Tx, skipLocked string, id albs.TaskID, w albs.WorkerID, name string, now, until db.Time) (taskRow, error) {
	var t taskRow
	err := tx.GetContext(ctx, &t, `UPDATE task SET state = 'leased', fence = fence + 1, attempts = attempts + 1,
			worker_id = $1, worker = $2, lease_until = $3, not_before_at = NULL, started_at = COALESCE(started_at, $4), changed_at = $4
		WHERE id = (SELECT id FROM task
			WHERE id = $5 AND state = 'queued' AND (not_before_at IS NULL OR not_before_at <= $4)
			AND `+fleet.Allowed+skipLocked+`)
		RETURNING `+taskColumns, w, name, until, now, id)
	return t, err
}

// Attempts and leases.

func insertAttempt(ctx context.Context, tx db.Tx, a attemptRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO attempt (task_id, fence, number, worker_id, worker, claimed_at)
		VALUES ($1, $2, $3, $4, $5, $6)`, a.TaskID, a.Fence, a.Number, a.WorkerID, a.Worker, a.ClaimedAt)
	return err
}

func selectAttempts(ctx context.Context, q db.Q, id albs.TaskID) ([]attemptRow, error) {
	var as []attemptRow
	err := q.SelectContext(ctx, &as, `SELECT `+attemptColumns+` FROM attempt WHERE task_id = $1 ORDER BY fence`, id)
	return as, err
}

// getAttempt returns sql.ErrNoRows if the token was never given.
func getAttempt(ctx context.Context, q db.Q, id albs.TaskID, fence int64) (attemptRow, error) {
	var a attemptRow
	err := q.GetContext(ctx, &a, `SELECT `+attemptColumns+` FROM attempt WHERE task_id = $1 AND fence = $2`, id, fence)
	return a, err
}

func updateAttempt(ctx context.Context, tx db.Tx, a attemptRow) error {
	r, err := tx.ExecContext(ctx, `UPDATE attempt SET spec = $1, evidence = $2, ended_at = $3, ended = $4, outcome = $5,
		result = $6, reason = $7 WHERE task_id = $8 AND fence = $9`,
		a.Spec, a.Evidence, a.EndedAt, a.Ended, a.Outcome, a.Result, a.Reason, a.TaskID, a.Fence)
	if err := db.One(r, err, "attempt %d of task %d is gone", a.Number, a.TaskID); err != nil {
		return fmt.Errorf("write attempt: %w", err)
	}
	return nil
}

func deleteAttempt(ctx context.Context, tx db.Tx, id albs.TaskID, fence int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM attempt WHERE task_id = $1 AND fence = $2`, id, fence)
	return err
}

// renewLease is one statement in a transaction of its own, for it is what workers
// call most. It reports whether the lease was the worker's to renew.
func renewLease(ctx context.Context, d *db.DB, id albs.TaskID, fence int64, w albs.WorkerID, until db.Time) (bool, error) {
	r, err := d.ExecContext(ctx, `UPDATE task SET lease_until = $1
		WHERE id = $2 AND fence = $3 AND worker_id = $4 AND state = 'leased'`, until, id, fence, w)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// extendLeases gives every lease until, and frees tasks from a pause that a clock
// which was set back would make long.
func extendLeases(ctx context.Context, tx db.Tx, until db.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE task SET lease_until = $1 WHERE state IN ('leased', 'stopping')`, until); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE task SET not_before_at = NULL WHERE state = 'queued' AND not_before_at IS NOT NULL`)
	return err
}

func expiredLeases(ctx context.Context, q db.Q, now db.Time, limit int) ([]albs.TaskID, error) {
	var ids []albs.TaskID
	err := q.SelectContext(ctx, &ids, `SELECT id FROM task WHERE state IN ('leased', 'stopping') AND lease_until < $1
		ORDER BY lease_until LIMIT $2`, now, limit)
	return ids, err
}

// selectLine returns the queued tasks of a class, in no order: to have the database
// order them takes longer.
func selectLine(ctx context.Context, q db.Q, class string) ([]readyRow, error) {
	var rs []readyRow
	err := q.SelectContext(ctx, &rs, `SELECT id, priority, expected, chain FROM task WHERE state = 'queued' AND class = $1`, class)
	return rs, err
}
