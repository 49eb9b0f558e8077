// Package store is the tables of the queue: tasks, what each comes after, and the
// attempts at them. All SQL of package queue is here, and nobody else writes these tables
// but queue/measure, which keeps the lengths of chains there, and queue/keep, which has
// tasks forgotten. What may be written when is queue's to know: a statement here checks
// only what must not be looked at apart from it.
package store

import (
	"context"
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

// Task is a task as the table holds it; a reference of 0 is NULL there. Expected and Chain
// are in seconds.
type Task struct {
	ID          albs.TaskID
	Kind        albs.TaskKind
	Lane        string
	Class       string
	Topic       string
	Spec        string
	Priority    int
	Key         string
	Expected    int // measure.Unknown without history
	Chain       int // likewise
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

// Attempt is a worker's try at a task as the table holds it.
type Attempt struct {
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

// InsertTask adds a task, of which it takes no reference and no end, and returns its id.
func InsertTask(ctx context.Context, tx db.Tx, t Task) (albs.TaskID, error) {
	var id albs.TaskID
	err := tx.GetContext(ctx, &id, `INSERT INTO task (kind, lane, class, topic, spec, priority, key, expected, chain, state, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11) RETURNING id`,
		t.Kind, t.Lane, t.Class, t.Topic, t.Spec, t.Priority, t.Key, t.Expected, t.State, t.CreatedAt, t.ChangedAt)
	return id, err
}

// InsertAfter makes the task, which is new, come after others; Invalid if one doesn't exist.
func InsertAfter(ctx context.Context, tx db.Tx, id albs.TaskID, after []albs.TaskID) error {
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

// ReplaceAfter makes the task come after others, of whatever age: who calls has seen
// that no circle closes. Invalid if one doesn't exist.
func ReplaceAfter(ctx context.Context, tx db.Tx, id albs.TaskID, after []albs.TaskID) error {
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

// AfterOf returns what each of the tasks comes after.
func AfterOf(ctx context.Context, q db.Q, ids []albs.TaskID) (map[albs.TaskID][]albs.TaskID, error) {
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

// GetTask returns a task with its spec, or NotFound.
func GetTask(ctx context.Context, q db.Q, id albs.TaskID) (Task, error) {
	var t Task
	err := q.GetContext(ctx, &t, `SELECT `+taskColumns+` FROM task WHERE id = $1`, id)
	if err = db.Found(err, "task %d", id); err != nil {
		return Task{}, fmt.Errorf("read task: %w", err)
	}
	return t, nil
}

func selectTasks(ctx context.Context, q db.Q, where string, args ...any) ([]Task, error) {
	query, args, err := db.In(`SELECT `+listColumns+` FROM task WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	var ts []Task
	err = q.SelectContext(ctx, &ts, query, args...)
	return ts, err
}

// TasksOf returns those of the tasks that exist, by id, without their specs.
func TasksOf(ctx context.Context, q db.Q, ids []albs.TaskID) ([]Task, error) {
	return chosen(ctx, q, ids, "TRUE")
}

// BlockedOf returns those of the tasks that are blocked, by id, without their specs.
func BlockedOf(ctx context.Context, q db.Q, ids []albs.TaskID) ([]Task, error) {
	return chosen(ctx, q, ids, "state = 'blocked'")
}

func chosen(ctx context.Context, q db.Q, ids []albs.TaskID, condition string) ([]Task, error) {
	var all []Task
	for chunk := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(ids))), 500) {
		ts, err := selectTasks(ctx, q, condition+` AND id IN (?) ORDER BY id`, chunk)
		if err != nil {
			return nil, fmt.Errorf("read tasks: %w", err)
		}
		all = append(all, ts...)
	}
	return all, nil
}

// HeldTasks returns the tasks that workers hold, by id, without their specs.
func HeldTasks(ctx context.Context, q db.Q) ([]Task, error) {
	return selectTasks(ctx, q, `state IN ('leased', 'stopping') ORDER BY id`)
}

// Filter chooses tasks; a zero field chooses all.
type Filter struct {
	States []albs.TaskState
	Kind   albs.TaskKind
	Topic  string
	Lane   string
	Before albs.TaskID // for the next page: the last one's id
	Limit  int         // 100 if 0, at most 1,000
}

// ListTasks returns the chosen tasks, newest first, without their specs.
func ListTasks(ctx context.Context, q db.Q, f Filter) ([]Task, error) {
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
	if f.Limit <= 0 {
		f.Limit = 100
	}
	if len(where) == 0 {
		where = append(where, `1 = 1`)
	}
	return selectTasks(ctx, q, strings.Join(where, ` AND `)+` ORDER BY id DESC LIMIT ?`, append(args, min(f.Limit, 1000))...)
}

// Open is how many tasks of a class are in a state.
type Open struct {
	State albs.TaskState
	Class string
	Count int
}

// CountOpen counts the tasks that aren't final, by state and class.
func CountOpen(ctx context.Context, q db.Q) ([]Open, error) {
	var cs []Open
	err := q.SelectContext(ctx, &cs, `SELECT state, class, count(*) AS count FROM task
		WHERE state IN ('blocked', 'queued', 'leased', 'stopping') GROUP BY state, class`)
	return cs, err
}

// UpdateTask writes all that changes in a task's life but its claim.
func UpdateTask(ctx context.Context, tx db.Tx, t Task) error {
	r, err := tx.ExecContext(ctx, `UPDATE task SET state = $1, reason = $2, cause_id = $3, attempts = $4, lost = $5,
		infra = $6, lease_until = $7, not_before_at = $8, changed_at = $9 WHERE id = $10`,
		t.State, t.Reason, null(int64(t.CauseID)), t.Attempts, t.Lost, t.Infra, t.LeaseUntil, t.NotBeforeAt, t.ChangedAt, t.ID)
	if err := db.One(r, err, "task %d is gone", t.ID); err != nil {
		return fmt.Errorf("write task: %w", err)
	}
	return nil
}

// What comes after what.

// Unsatisfied returns what the task still waits for.
func Unsatisfied(ctx context.Context, q db.Q, id albs.TaskID) ([]Task, error) {
	return selectTasks(ctx, q, `id IN (SELECT after_id FROM task_after WHERE task_id = ?)
		AND state NOT IN ('succeeded', 'excluded') ORDER BY id`, id)
}

// IsAwaited reports whether any task comes after id.
func IsAwaited(ctx context.Context, tx db.Tx, id albs.TaskID) (bool, error) {
	var ids []albs.TaskID
	if err := tx.SelectContext(ctx, &ids, `SELECT task_id FROM task_after WHERE after_id = $1 LIMIT 1`, id); err != nil {
		return false, fmt.Errorf("read what comes after task %d: %w", id, err)
	}
	return len(ids) > 0, nil
}

// ReleaseAfter queues the blocked tasks after id that wait for nothing more, and returns
// them.
func ReleaseAfter(ctx context.Context, tx db.Tx, id albs.TaskID, now db.Time) ([]Task, error) {
	var ts []Task
	err := tx.SelectContext(ctx, &ts, `UPDATE task SET state = 'queued', reason = '', cause_id = NULL, changed_at = $2
		WHERE state = 'blocked' AND id IN (SELECT task_id FROM task_after WHERE after_id = $1)
		AND NOT EXISTS (SELECT 1 FROM task_after x JOIN task a ON a.id = x.after_id
			WHERE x.task_id = task.id AND a.state NOT IN ('succeeded', 'excluded'))
		RETURNING `+listColumns, id, now)
	return ts, err
}

// MarkAfter gives the blocked tasks directly after ids that have no cause theirs, and
// returns them.
func MarkAfter(ctx context.Context, tx db.Tx, ids []albs.TaskID, cause albs.TaskID, reason string) ([]Task, error) {
	query, args, err := db.In(`UPDATE task SET cause_id = ?, reason = ?
		WHERE state = 'blocked' AND cause_id IS NULL AND id IN (SELECT task_id FROM task_after WHERE after_id IN (?))
		RETURNING `+listColumns, cause, reason, ids)
	if err != nil {
		return nil, err
	}
	var ts []Task
	err = tx.SelectContext(ctx, &ts, query, args...)
	return ts, err
}

// ClearCause has the blocked tasks that waited for cause in vain wait in hope, and returns
// them.
func ClearCause(ctx context.Context, tx db.Tx, cause albs.TaskID) ([]albs.TaskID, error) {
	var ids []albs.TaskID
	err := tx.SelectContext(ctx, &ids, `UPDATE task SET cause_id = NULL, reason = ''
		WHERE cause_id = $1 AND state = 'blocked' RETURNING id`, cause)
	return ids, err
}

// Hindrances returns what the tasks wait for in vain.
func Hindrances(ctx context.Context, tx db.Tx, ids []albs.TaskID) ([]Task, error) {
	return selectTasks(ctx, tx, `id IN (SELECT after_id FROM task_after WHERE task_id IN (?))
		AND (state IN ('failed', 'cancelled') OR cause_id IS NOT NULL) ORDER BY id`, ids)
}

// Dispatch.

// ReadyClasses lists the classes that have queued tasks, by leaps through the
// index: it costs as much as there are classes, however many tasks are queued.
func ReadyClasses(ctx context.Context, q db.Q) ([]string, error) {
	var cs []string
	err := q.SelectContext(ctx, &cs, `WITH RECURSIVE c (class) AS (
			SELECT min(class) FROM task WHERE state = 'queued'
			UNION ALL
			SELECT (SELECT min(t.class) FROM task t WHERE t.state = 'queued' AND t.class > c.class) FROM c WHERE c.class IS NOT NULL
		) SELECT class FROM c WHERE class IS NOT NULL`)
	return cs, err
}

// Queued is a queued task as the dispatcher reads it.
type Queued struct {
	ID       albs.TaskID
	Priority int
	Expected int
	Chain    int
	Key      string
	Attempts int
}

// Ready is the task as the rules of dispatch take it.
func (r Queued) Ready() schedule.Ready {
	return schedule.Ready{ID: r.ID, Priority: r.Priority, Expected: measure.Seconds(r.Expected), Chain: measure.Seconds(r.Chain), Key: r.Key}
}

// ReadyOf returns the queued tasks of a class that may be claimed now, those that go first
// before the others, as many as limit.
func ReadyOf(ctx context.Context, q db.Q, class string, now db.Time, limit int) ([]Queued, error) {
	var rs []Queued
	err := q.SelectContext(ctx, &rs, `SELECT id, priority, expected, chain, key, attempts FROM task
		WHERE state = 'queued' AND class = $1 AND (not_before_at IS NULL OR not_before_at <= $2)
		ORDER BY priority DESC, chain DESC, id LIMIT $3`, class, now, limit)
	return rs, err
}

// Running is tasks of a worker that are alike, which it holds.
type Running struct {
	WorkerID albs.WorkerID `db:"worker_id"`
	Class    string
	Expected int
	Count    int
}

// SelectRunning returns what workers hold, those that are alike in one.
func SelectRunning(ctx context.Context, q db.Q) ([]Running, error) {
	var rs []Running
	err := q.SelectContext(ctx, &rs, `SELECT worker_id, class, expected, count(*) AS count FROM task
		WHERE state IN ('leased', 'stopping') GROUP BY worker_id, class, expected`)
	return rs, err
}

// ClaimTask leases the task to a worker, if it is still ready, the worker may have
// work, and no other master is about to take it; otherwise it is sql.ErrNoRows.
func ClaimTask(ctx context.Context, tx db.Tx, skipLocked string, id albs.TaskID, w albs.WorkerID, name string, now, until db.Time) (Task, error) {
	var t Task
	err := tx.GetContext(ctx, &t, `UPDATE task SET state = 'leased', fence = fence + 1, attempts = attempts + 1,
			worker_id = $1, worker = $2, lease_until = $3, not_before_at = NULL, started_at = COALESCE(started_at, $4), changed_at = $4
		WHERE id = (SELECT id FROM task
			WHERE id = $5 AND state = 'queued' AND (not_before_at IS NULL OR not_before_at <= $4)
			AND `+fleet.Allowed+skipLocked+`)
		RETURNING `+taskColumns, w, name, until, now, id)
	return t, err
}

// Attempts and leases.

// InsertAttempt adds an attempt that has begun and has no spec yet.
func InsertAttempt(ctx context.Context, tx db.Tx, a Attempt) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO attempt (task_id, fence, number, worker_id, worker, claimed_at)
		VALUES ($1, $2, $3, $4, $5, $6)`, a.TaskID, a.Fence, a.Number, a.WorkerID, a.Worker, a.ClaimedAt)
	return err
}

// SelectAttempts returns the attempts at a task, first to last.
func SelectAttempts(ctx context.Context, q db.Q, id albs.TaskID) ([]Attempt, error) {
	var as []Attempt
	err := q.SelectContext(ctx, &as, `SELECT `+attemptColumns+` FROM attempt WHERE task_id = $1 ORDER BY fence`, id)
	return as, err
}

// GetAttempt returns sql.ErrNoRows if the token was never given.
func GetAttempt(ctx context.Context, q db.Q, id albs.TaskID, fence int64) (Attempt, error) {
	var a Attempt
	err := q.GetContext(ctx, &a, `SELECT `+attemptColumns+` FROM attempt WHERE task_id = $1 AND fence = $2`, id, fence)
	return a, err
}

// UpdateAttempt writes all that comes to be known of an attempt after its claim.
func UpdateAttempt(ctx context.Context, tx db.Tx, a Attempt) error {
	r, err := tx.ExecContext(ctx, `UPDATE attempt SET spec = $1, evidence = $2, ended_at = $3, ended = $4, outcome = $5,
		result = $6, reason = $7 WHERE task_id = $8 AND fence = $9`,
		a.Spec, a.Evidence, a.EndedAt, a.Ended, a.Outcome, a.Result, a.Reason, a.TaskID, a.Fence)
	if err := db.One(r, err, "attempt %d of task %d is gone", a.Number, a.TaskID); err != nil {
		return fmt.Errorf("write attempt: %w", err)
	}
	return nil
}

// DeleteAttempt takes back an attempt of which no worker has heard.
func DeleteAttempt(ctx context.Context, tx db.Tx, id albs.TaskID, fence int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM attempt WHERE task_id = $1 AND fence = $2`, id, fence)
	return err
}

// RenewLease is one statement in a transaction of its own, for it is what workers
// call most. It reports whether the lease was the worker's to renew.
func RenewLease(ctx context.Context, d *db.DB, id albs.TaskID, fence int64, w albs.WorkerID, until db.Time) (bool, error) {
	r, err := d.ExecContext(ctx, `UPDATE task SET lease_until = $1
		WHERE id = $2 AND fence = $3 AND worker_id = $4 AND state = 'leased'`, until, id, fence, w)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// ExtendLeases gives every lease until, and frees tasks from a pause that a clock
// which was set back would make long.
func ExtendLeases(ctx context.Context, tx db.Tx, until db.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE task SET lease_until = $1 WHERE state IN ('leased', 'stopping')`, until); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE task SET not_before_at = NULL WHERE state = 'queued' AND not_before_at IS NOT NULL`)
	return err
}

// ExpiredLeases returns tasks of which the lease has run out, as many as limit.
func ExpiredLeases(ctx context.Context, q db.Q, now db.Time, limit int) ([]albs.TaskID, error) {
	var ids []albs.TaskID
	err := q.SelectContext(ctx, &ids, `SELECT id FROM task WHERE state IN ('leased', 'stopping') AND lease_until < $1
		ORDER BY lease_until LIMIT $2`, now, limit)
	return ids, err
}

// SelectLine returns the queued tasks of a class, in no order: to have the database
// order them takes longer.
func SelectLine(ctx context.Context, q db.Q, class string) ([]Queued, error) {
	var rs []Queued
	err := q.SelectContext(ctx, &rs, `SELECT id, priority, expected, chain FROM task WHERE state = 'queued' AND class = $1`, class)
	return rs, err
}
