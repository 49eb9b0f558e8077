package fleet

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// Allowed is a condition in SQL: that the worker whose id is $1 is neither drained nor
// quarantined. A claim has it in its own statement, so that what this process read a
// moment ago can't be too old.
const Allowed = `NOT EXISTS (SELECT 1 FROM fleet_worker
	WHERE worker_id = $1 AND (drained_at IS NOT NULL OR quarantined_at IS NOT NULL))`

// workerRow is what the table knows of a worker.
type workerRow struct {
	WorkerID         albs.WorkerID `db:"worker_id"`
	Name             string
	Version          string
	Labels           string
	Cores            int
	Memory           int64
	Disk             int64
	Pause            string
	SeenAt           db.Time `db:"seen_at"`
	Exclude          string
	DrainedAt        db.Time `db:"drained_at"`
	DrainReason      string  `db:"drain_reason"`
	DrainedBy        string  `db:"drained_by"`
	QuarantinedAt    db.Time `db:"quarantined_at"`
	QuarantineReason string  `db:"quarantine_reason"`
	LiftedAt         db.Time `db:"lifted_at"`
}

const workerColumns = `worker_id, name, version, labels, cores, memory, disk, pause, seen_at, exclude, drained_at, drain_reason, drained_by,
	quarantined_at, quarantine_reason, lifted_at`

func selectWorkers(ctx context.Context, q db.Q) ([]workerRow, error) {
	var ws []workerRow
	err := q.SelectContext(ctx, &ws, `SELECT `+workerColumns+` FROM fleet_worker ORDER BY name, worker_id`)
	return ws, err
}

// getWorker returns the worker of that name; of several identities that have had it,
// the newest.
func getWorker(ctx context.Context, q db.Q, name string) (workerRow, error) {
	var w workerRow
	err := q.GetContext(ctx, &w, `SELECT `+workerColumns+` FROM fleet_worker WHERE name = $1 ORDER BY worker_id DESC LIMIT 1`, name)
	if err = db.Found(err, "worker %.80q that has asked for work", name); err != nil {
		return workerRow{}, fmt.Errorf("read worker: %w", err)
	}
	return w, nil
}

func getWorkerByID(ctx context.Context, q db.Q, id albs.WorkerID) (workerRow, error) {
	var w workerRow
	err := q.GetContext(ctx, &w, `SELECT `+workerColumns+` FROM fleet_worker WHERE worker_id = $1`, id)
	return w, err
}

// putOffer writes what a worker offered and when it was seen, and nothing else.
func putOffer(ctx context.Context, tx db.Tx, w workerRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO fleet_worker (worker_id, name, version, labels, cores, memory, disk, pause, seen_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (worker_id) DO UPDATE SET name = excluded.name, version = excluded.version, labels = excluded.labels,
			cores = excluded.cores, memory = excluded.memory, disk = excluded.disk, pause = excluded.pause, seen_at = excluded.seen_at`,
		w.WorkerID, w.Name, w.Version, w.Labels, w.Cores, w.Memory, w.Disk, w.Pause, w.SeenAt)
	return err
}

// touchWorkers writes that workers were seen, over an earlier time and over one beyond
// limit.
func touchWorkers(ctx context.Context, tx db.Tx, ids []albs.WorkerID, seen, limit db.Time) error {
	query, args, err := db.In(`UPDATE fleet_worker SET seen_at = ? WHERE worker_id IN (?) AND (seen_at < ? OR seen_at > ?)`, seen, ids, seen, limit)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return err
}

// updateWorker writes what was decided about a worker.
func updateWorker(ctx context.Context, tx db.Tx, w workerRow) error {
	r, err := tx.ExecContext(ctx, `UPDATE fleet_worker SET exclude = $1, drained_at = $2, drain_reason = $3, drained_by = $4,
		quarantined_at = $5, quarantine_reason = $6, lifted_at = $7 WHERE worker_id = $8`,
		w.Exclude, w.DrainedAt, w.DrainReason, w.DrainedBy, w.QuarantinedAt, w.QuarantineReason, w.LiftedAt, w.WorkerID)
	if err := db.One(r, err, "worker %s is gone", w.Name); err != nil {
		return fmt.Errorf("write worker: %w", err)
	}
	return nil
}
