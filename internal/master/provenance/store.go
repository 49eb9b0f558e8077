package provenance

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/db"
)

// statement is one row: the statement number n of a predicate about a subject.
type statement struct {
	ID        int64       `db:"id"`
	Subject   albs.Digest `db:"subject"`
	Predicate string      `db:"predicate"`
	N         int64       `db:"n"`
	Envelope  string      `db:"envelope"`
	CreatedAt db.Time     `db:"created_at"`
	TxID      *int64      `db:"tx_id"` // what the database says; the ledger's proof decides
}

type fileRow struct {
	Digest albs.Digest `db:"digest"`
	Value  string      `db:"value"`
	TxID   *int64      `db:"tx_id"`
}

// insertStatement stores the envelope under the next number.
func insertStatement(ctx context.Context, tx db.Tx, subject albs.Digest, predicate, envelope string, at db.Time) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO statement (subject, predicate, n, envelope, created_at)
		VALUES ($1, $2, (SELECT COALESCE(MAX(n), 0) + 1 FROM statement WHERE subject = $1 AND predicate = $2), $3, $4)
		RETURNING id`, subject, predicate, envelope, at)
	return id, err
}

// insertRecord stores the record of a file unless the file has one.
func insertRecord(ctx context.Context, tx db.Tx, d albs.Digest, value string, at db.Time) (added bool, err error) {
	r, err := tx.ExecContext(ctx, `INSERT INTO file_record (digest, value, created_at) VALUES ($1, $2, $3)
		ON CONFLICT (digest) DO NOTHING`, d, value, at)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// insertOutbox queues a statement, a file record or both; 0 and "" are neither.
func insertOutbox(ctx context.Context, tx db.Tx, statement int64, d albs.Digest) error {
	var id *int64
	if statement != 0 {
		id = &statement
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (statement_id, digest) VALUES ($1, $2)`, id, d)
	return err
}

// workerKeys returns what was stated of the keys of workers, the oldest first. The
// predicate is spelled out, or SQLite wouldn't take the index for it.
func workerKeys(ctx context.Context, q db.Q) (out []statement, err error) {
	err = q.SelectContext(ctx, &out, `SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE predicate = 'worker-key' ORDER BY id`)
	return out, err
}

// firstOf returns the oldest statement of a predicate, or NotFound.
func firstOf(ctx context.Context, q db.Q, predicate string) (row statement, err error) {
	err = q.GetContext(ctx, &row, `SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE predicate = $1 ORDER BY id LIMIT 1`, predicate)
	return row, db.Found(err, "statement %s", predicate)
}

// countAbout returns how many statements of a predicate about a subject there are.
func countAbout(ctx context.Context, q db.Q, subject albs.Digest, predicate string) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT COUNT(*) FROM statement WHERE subject = $1 AND predicate = $2`, string(subject), predicate)
	return n, err
}

// parcel is one row of the outbox with what it names.
type parcel struct {
	ID        int64       `db:"id"`
	Statement *int64      `db:"statement_id"`
	Subject   albs.Digest `db:"subject"`
	Predicate string      `db:"predicate"`
	N         int64       `db:"n"`
	Envelope  string      `db:"envelope"`
	File      albs.Digest `db:"digest"`
	Record    string      `db:"value"`
}

func parcels(ctx context.Context, q db.Q, limit int) (out []parcel, err error) {
	err = q.SelectContext(ctx, &out, `SELECT o.id, o.statement_id, s.subject, COALESCE(s.predicate, '') AS predicate,
			COALESCE(s.n, 0) AS n, COALESCE(s.envelope, '') AS envelope, o.digest, COALESCE(f.value, '') AS value
		FROM outbox o
		LEFT JOIN statement s ON s.id = o.statement_id
		LEFT JOIN file_record f ON f.digest = o.digest
		ORDER BY o.id LIMIT $1`, limit)
	return out, err
}

func countOutbox(ctx context.Context, q db.Q) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT COUNT(*) FROM outbox`)
	return n, err
}

// waits reports whether a parcel names one of the files, or a statement about one.
func waits(ctx context.Context, q db.Q, ds []albs.Digest) (bool, error) {
	for some := range slices.Chunk(ds, 500) {
		query, args, err := db.In(`SELECT COUNT(*) FROM outbox o LEFT JOIN statement s ON s.id = o.statement_id
			WHERE o.digest IN (?) OR s.subject IN (?)`, some, some)
		if err != nil {
			return false, err
		}
		var n int
		if err := q.GetContext(ctx, &n, query, args...); err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// deleteParcels removes delivered parcels; a Conflict says that some were gone:
// another process delivered them.
func deleteParcels(ctx context.Context, tx db.Tx, ids []int64) error {
	query, args, err := db.In(`DELETE FROM outbox WHERE id IN (?)`, ids)
	if err != nil {
		return err
	}
	r, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n != int64(len(ids)) {
		err = albs.Errorf(albs.Conflict, "%d of %d parcels were still in the outbox: another master delivers too", n, len(ids))
	}
	return err
}

func setStatementTx(ctx context.Context, tx db.Tx, ids []int64, txID uint64) error {
	query, args, err := db.In(`UPDATE statement SET tx_id = ? WHERE id IN (?)`, int64(txID), ids)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return err
}

func setRecordTx(ctx context.Context, tx db.Tx, ds []albs.Digest, txID uint64) error {
	query, args, err := db.In(`UPDATE file_record SET tx_id = ? WHERE digest IN (?)`, int64(txID), ds)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, args...)
	return err
}

// adoptRecord makes the row say what the ledger has said before.
func adoptRecord(ctx context.Context, q db.Q, d albs.Digest, value string) error {
	_, err := q.ExecContext(ctx, `UPDATE file_record SET value = $1 WHERE digest = $2`, value, d)
	return err
}

// nextNumber returns the number after the last of a subject's statements.
func nextNumber(ctx context.Context, q db.Q, subject albs.Digest, predicate string) (n int64, err error) {
	err = q.GetContext(ctx, &n, `SELECT COALESCE(MAX(n), 0) + 1 FROM statement WHERE subject = $1 AND predicate = $2`,
		subject, predicate)
	return n, err
}

func setNumber(ctx context.Context, q db.Q, id, n int64) error {
	_, err := q.ExecContext(ctx, `UPDATE statement SET n = $1 WHERE id = $2`, n, id)
	return err
}

func statementsAbout(ctx context.Context, q db.Q, d albs.Digest) (out []statement, err error) {
	err = q.SelectContext(ctx, &out, `SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE subject = $1 ORDER BY id`, string(d))
	return out, err
}

// insertCommit notes that statements about subject are about a git commit.
func insertCommit(ctx context.Context, tx db.Tx, commit string, subject albs.Digest) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO statement_commit (commit_id, subject) VALUES ($1, $2) ON CONFLICT (commit_id, subject) DO NOTHING`,
		commit, subject)
	return err
}

// commitStatements returns the statements about the subjects that git commits are noted
// to have, in the order of their making.
func commitStatements(ctx context.Context, q db.Q, commits []string) (out []statement, err error) {
	if len(commits) == 0 {
		return nil, nil
	}
	query, args, err := db.In(`SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE predicate = ? AND subject IN (SELECT subject FROM statement_commit WHERE commit_id IN (?)) ORDER BY id`, attest.Commit, commits)
	if err != nil {
		return nil, err
	}
	err = q.SelectContext(ctx, &out, query, args...)
	return out, err
}

func recordOf(ctx context.Context, q db.Q, d albs.Digest) (fileRow, error) {
	var r fileRow
	err := q.GetContext(ctx, &r, `SELECT digest, value, tx_id FROM file_record WHERE digest = $1`, string(d))
	return r, db.Found(err, "record of file %.80s", d)
}

type stateRow struct {
	Ledger string      `db:"ledger"`
	TxID   int64       `db:"tx_id"`
	Alh    albs.Digest `db:"alh"`
}

// remembered returns the ledger's state as last verified, the zero State if
// there never was one.
func remembered(ctx context.Context, q db.Q) (ledger.State, error) {
	var rows []stateRow
	if err := q.SelectContext(ctx, &rows, `SELECT ledger, tx_id, alh FROM ledger_state`); err != nil {
		return ledger.State{}, fmt.Errorf("read remembered ledger state: %w", err)
	}
	if len(rows) == 0 {
		return ledger.State{}, nil
	}
	return ledger.State{Ledger: rows[0].Ledger, TxID: uint64(rows[0].TxID), Alh: rows[0].Alh}, nil
}

func remember(ctx context.Context, tx db.Tx, s ledger.State, at db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO ledger_state (id, ledger, tx_id, alh, at) VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET ledger = excluded.ledger, tx_id = excluded.tx_id, alh = excluded.alh, at = excluded.at
		WHERE ledger_state.tx_id <= excluded.tx_id`, s.Ledger, int64(s.TxID), s.Alh, at)
	return err
}

// statementOf returns the row of a statement, or NotFound.
func statementOf(ctx context.Context, q db.Q, subject albs.Digest, predicate string, n int64) (statement, error) {
	var r statement
	err := q.GetContext(ctx, &r, `SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE subject = $1 AND predicate = $2 AND n = $3`, string(subject), predicate, n)
	return r, db.Found(err, "statement %s %d about %.80s", predicate, n, subject)
}

// deliveredAfter returns statements that don't wait for the ledger: those of which the
// database says that it has them, and, if rows were changed, others that never will be there.
func deliveredAfter(ctx context.Context, q db.Q, id int64, limit int) (out []statement, err error) {
	err = q.SelectContext(ctx, &out, `SELECT id, subject, predicate, n, envelope, created_at, tx_id FROM statement
		WHERE id > $1 AND (tx_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM outbox o WHERE o.statement_id = statement.id))
		ORDER BY id LIMIT $2`, id, limit)
	return out, err
}

// recordedAfter is deliveredAfter for records of files.
func recordedAfter(ctx context.Context, q db.Q, d albs.Digest, limit int) (out []fileRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT digest, value, tx_id FROM file_record
		WHERE digest > $1 AND (tx_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM outbox o WHERE o.digest = file_record.digest))
		ORDER BY digest LIMIT $2`, string(d), limit)
	return out, err
}
