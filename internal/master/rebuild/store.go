package rebuild

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

type row struct {
	ID          int64        `db:"id"`
	TaskID      albs.TaskID  `db:"task_id"`
	BuildID     albs.BuildID `db:"build_id"`
	OfTask      albs.TaskID  `db:"of_task"`
	OfAttempt   int          `db:"of_attempt"`
	Platform    string       `db:"platform"`
	Arch        albs.Arch    `db:"arch"`
	BuiltOn     string       `db:"built_on"`
	BuiltIn     albs.Digest  `db:"built_in"`
	Needs       string       `db:"needs"`
	RequesterID albs.UserID  `db:"requester_id"`
	Requester   string       `db:"requester"`
	CreatedAt   db.Time      `db:"created_at"`
	EndedAt     db.Time      `db:"ended_at"`
	Node        string       `db:"node"`
	Record      albs.Digest  `db:"record"`
	Verdict     string       `db:"verdict"`
	Reason      string       `db:"reason"`
}

const columns = `id, task_id, build_id, of_task, of_attempt, platform, arch, built_on, built_in, needs, requester_id, requester, created_at, ended_at, node, record, verdict, reason`

// texts is a column that keeps a list as JSON.
type texts struct{ V []string }

// Value implements driver.Valuer.
func (t texts) Value() (driver.Value, error) {
	b, err := json.Marshal(t.V)
	return string(b), err
}

// Scan implements sql.Scanner.
func (t *texts) Scan(src any) error {
	switch s := src.(type) {
	case string:
		return json.Unmarshal([]byte(s), &t.V)
	case []byte:
		return json.Unmarshal(s, &t.V)
	}
	return fmt.Errorf("a list can't be read from %T", src)
}

type packageRow struct {
	RebuildID int64       `db:"rebuild_id"`
	Digest    albs.Digest `db:"digest"`
	Name      string      `db:"name"`
	Rebuilt   albs.Digest `db:"rebuilt"`
	Verdict   string      `db:"verdict"`
	Differing texts       `db:"differing"`
	Ignored   texts       `db:"ignored"`
}

type fileRow struct {
	RebuildID int64         `db:"rebuild_id"`
	Attempt   int           `db:"attempt"`
	Name      string        `db:"name"`
	Kind      artifact.Kind `db:"kind"`
	Digest    albs.Digest   `db:"digest"`
}

// again returns a Conflict if what an attempt built isn't to be built again now.
func again(ctx context.Context, tx db.Tx, task albs.TaskID, attempt int) error {
	var ids []struct {
		ID    int64   `db:"id"`
		Ended db.Time `db:"ended_at"`
	}
	if err := tx.SelectContext(ctx, &ids, `SELECT id, ended_at FROM rebuild WHERE of_task = $1 AND of_attempt = $2 ORDER BY id`, task, attempt); err != nil {
		return fmt.Errorf("look for rebuilds: %w", err)
	}
	for _, r := range ids {
		if r.Ended.IsZero() {
			return albs.Errorf(albs.Conflict, "rebuild %d of it is under way", r.ID)
		}
	}
	if len(ids) >= most {
		return albs.Errorf(albs.Conflict, "there were %d rebuilds of it already, which is enough", len(ids))
	}
	return nil
}

// open returns the id of a rebuild of a build that is under way, 0 if there is none.
func open(ctx context.Context, q db.Q, id albs.BuildID) (int64, error) {
	var ids []int64
	if err := q.SelectContext(ctx, &ids, `SELECT id FROM rebuild WHERE build_id = $1 AND ended_at IS NULL ORDER BY id LIMIT 1`, id); err != nil || len(ids) == 0 {
		return 0, err
	}
	return ids[0], nil
}

// insert adds a rebuild, whose id it sets, about packages.
func insert(ctx context.Context, tx db.Tx, r *row, packages []albs.File) error {
	err := tx.GetContext(ctx, &r.ID, `INSERT INTO rebuild (task_id, build_id, of_task, of_attempt, platform, arch, built_on, built_in, needs, requester_id, requester, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		r.TaskID, r.BuildID, r.OfTask, r.OfAttempt, r.Platform, r.Arch, r.BuiltOn, r.BuiltIn, r.Needs, r.RequesterID, r.Requester, r.CreatedAt)
	if err != nil {
		return fmt.Errorf("insert rebuild: %w", err)
	}
	for _, p := range packages {
		if _, err := tx.ExecContext(ctx, `INSERT INTO rebuild_package (rebuild_id, digest, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, r.ID, p.Digest, p.Name); err != nil {
			return fmt.Errorf("insert package of rebuild: %w", err)
		}
	}
	return nil
}

// end writes what a rebuild came to, if it has not ended yet.
func end(ctx context.Context, tx db.Tx, r row) error {
	res, err := tx.ExecContext(ctx, `UPDATE rebuild SET ended_at = $2, node = $3, record = $4, verdict = $5, reason = $6 WHERE id = $1 AND ended_at IS NULL`,
		r.ID, r.EndedAt, r.Node, r.Record, r.Verdict, r.Reason)
	return db.One(res, err, "rebuild %d has ended already", r.ID)
}

// judge writes what came of one package.
func judge(ctx context.Context, tx db.Tx, p packageRow) error {
	res, err := tx.ExecContext(ctx, `UPDATE rebuild_package SET rebuilt = $3, verdict = $4, differing = $5, ignored = $6 WHERE rebuild_id = $1 AND digest = $2`,
		p.RebuildID, p.Digest, p.Rebuilt, p.Verdict, p.Differing, p.Ignored)
	return db.One(res, err, "package %s of rebuild %d is gone", p.Name, p.RebuildID)
}

// addFile notes what an attempt left; Invalid if it has a file of that name.
func addFile(ctx context.Context, tx db.Tx, f fileRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO rebuild_file (rebuild_id, attempt, name, kind, digest) VALUES ($1, $2, $3, $4, $5)`,
		f.RebuildID, f.Attempt, f.Name, f.Kind, f.Digest)
	if db.IsUnique(err) {
		return albs.Errorf(albs.Invalid, "the attempt left two files that are called %s", f.Name)
	}
	if err != nil {
		return fmt.Errorf("insert file of rebuild: %w", err)
	}
	return nil
}

func get(ctx context.Context, q db.Q, id int64) (row, error) {
	var r row
	err := q.GetContext(ctx, &r, `SELECT `+columns+` FROM rebuild WHERE id = $1`, id)
	return r, db.Found(err, "rebuild %d", id)
}

func byTask(ctx context.Context, q db.Q, id albs.TaskID) (row, error) {
	var r row
	err := q.GetContext(ctx, &r, `SELECT `+columns+` FROM rebuild WHERE task_id = $1`, id)
	return r, db.Found(err, "rebuild by task %d", id)
}

// list returns rebuilds, newest first, one more than the filter's limit if there are more.
func list(ctx context.Context, q db.Q, f Filter) ([]row, error) {
	var w db.Where
	w.If(f.Before > 0, "id < $%d", f.Before)
	w.If(f.Build > 0, "build_id = $%d", f.Build)
	w.If(f.Task > 0, "of_task = $%d", f.Task)
	w.If(f.Package != "", "id IN (SELECT rebuild_id FROM rebuild_package WHERE digest = $%d)", f.Package)
	where, args := w.SQL()
	var out []row
	err := q.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+columns+` FROM rebuild WHERE %s ORDER BY id DESC LIMIT $%d`, where, len(args)+1), append(args, f.Limit+1)...)
	return out, err
}

func packagesOf(ctx context.Context, q db.Q, id int64) (out []packageRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT rebuild_id, digest, name, rebuilt, verdict, differing, ignored FROM rebuild_package WHERE rebuild_id = $1 ORDER BY name, digest`, id)
	if err != nil {
		return nil, fmt.Errorf("read packages of rebuild %d: %w", id, err)
	}
	return out, nil
}

func filesOf(ctx context.Context, q db.Q, id int64) (out []fileRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT rebuild_id, attempt, name, kind, digest FROM rebuild_file WHERE rebuild_id = $1 ORDER BY attempt, name`, id)
	if err != nil {
		return nil, fmt.Errorf("read files of rebuild %d: %w", id, err)
	}
	return out, nil
}

// held returns the files of rebuilds of builds that were not deleted before since, but for
// packages of rebuilds that ended before until.
func held(ctx context.Context, q db.Q, since, until db.Time) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT f.digest FROM rebuild_file f JOIN rebuild r ON r.id = f.rebuild_id JOIN build b ON b.id = r.build_id
		WHERE (b.deleted_at IS NULL OR b.deleted_at > $1) AND (f.kind <> $3 OR r.ended_at IS NULL OR r.ended_at > $2)`, since, until, artifact.Source)
	return ds, err
}
