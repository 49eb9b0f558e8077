package testrun

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

type runRow struct {
	ID          int64        `db:"id"`
	BuildID     albs.BuildID `db:"build_id"`
	ItemID      albs.ItemID  `db:"item_id"`
	BuildTaskID albs.TaskID  `db:"build_task_id"`
	Revision    int          `db:"revision"`
	Part        int          `db:"part"`
	TaskID      albs.TaskID  `db:"task_id"`
	Platform    string       `db:"platform"`
	Arch        albs.Arch    `db:"arch"`
	SignedBy    string       `db:"signed_by"` // "" for the tests of what isn't signed
	CreatedAt   db.Time      `db:"created_at"`
}

const runColumns = `id, build_id, item_id, build_task_id, revision, part, task_id, platform, arch, signed_by, created_at`

type packageRow struct {
	RunID  int64       `db:"run_id"`
	Digest albs.Digest `db:"digest"`
	NEVRA  string      `db:"nevra"`
	Name   string      `db:"name"`
	Inputs albs.Digest `db:"inputs"`
}

type stageRow struct {
	RunID   int64           `db:"run_id"`
	Digest  albs.Digest     `db:"digest"`
	N       int             `db:"n"`
	Stage   albs.TestStage  `db:"stage"`
	Status  albs.TestStatus `db:"status"`
	Reason  string          `db:"reason"`
	Started db.Time         `db:"started_at"`
	Millis  int64           `db:"millis"`
	Log     string          `db:"log"`
}

type caseRow struct {
	RunID  int64           `db:"run_id"`
	N      int             `db:"n"`
	Digest albs.Digest     `db:"digest"`
	Stage  albs.TestStage  `db:"stage"`
	Name   string          `db:"name"`
	Status albs.TestStatus `db:"status"`
	Detail string          `db:"detail"`
	Millis int64           `db:"millis"`
}

type logRow struct {
	RunID   int64       `db:"run_id"`
	Attempt int         `db:"attempt"`
	Name    string      `db:"name"`
	Digest  albs.Digest `db:"digest"`
	Size    int64       `db:"size"`
}

type keptRow struct {
	BuildID albs.BuildID `db:"build_id"`
	Digest  albs.Digest  `db:"digest"`
}

// revisions returns the newest revision of a rebuild's runs, and that of those whose packages
// are signed with a key, or aren't with ""; 0 if there is none.
func (s store) revisions(ctx context.Context, q db.Q, task albs.TaskID, signedBy string) (own, last int, err error) {
	var r struct {
		Own  int `db:"own"`
		Last int `db:"last"`
	}
	err = q.GetContext(ctx, &r, `SELECT COALESCE(MAX(CASE WHEN signed_by = $2 THEN revision END), 0) AS own, COALESCE(MAX(revision), 0) AS last
		FROM test_run WHERE build_task_id = $1`, task, signedBy)
	if err != nil {
		return 0, 0, fmt.Errorf("look for test runs: %w", err)
	}
	return r.Own, r.Last, nil
}

// signedTested returns which packages the runs of a rebuild have that are signed with a key.
func (s store) signedTested(ctx context.Context, q db.Q, task albs.TaskID, signedBy string) ([]albs.Digest, error) {
	var out []albs.Digest
	err := q.SelectContext(ctx, &out, `SELECT DISTINCT p.digest FROM test_run r JOIN test_package p ON p.run_id = r.id
		WHERE r.build_task_id = $1 AND r.signed_by = $2`, task, signedBy)
	if err != nil {
		return nil, fmt.Errorf("look for tests of signed packages: %w", err)
	}
	return out, nil
}

func (s store) addRun(ctx context.Context, tx db.Tx, r *runRow, packages []packageRow) error {
	err := tx.GetContext(ctx, &r.ID, `INSERT INTO test_run
		(build_id, item_id, build_task_id, revision, part, task_id, platform, arch, signed_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
		r.BuildID, r.ItemID, r.BuildTaskID, r.Revision, r.Part, r.TaskID, r.Platform, r.Arch, r.SignedBy, r.CreatedAt)
	if err != nil {
		return fmt.Errorf("insert test run: %w", err)
	}
	for _, p := range packages {
		_, err := tx.ExecContext(ctx, `INSERT INTO test_package (run_id, digest, nevra, name) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			r.ID, p.Digest, p.NEVRA, p.Name)
		if err != nil {
			return fmt.Errorf("insert test package: %w", err)
		}
	}
	return nil
}

func (s store) addResult(ctx context.Context, tx db.Tx, run int64, r result) error {
	for n, x := range r.stages {
		_, err := tx.ExecContext(ctx, `INSERT INTO test_stage (run_id, digest, n, stage, status, reason, started_at, millis, log)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			run, x.Package, n, x.Stage, x.Status, x.Reason, db.Time{Time: x.Started}, x.Took.Milliseconds(), x.Log)
		if err != nil {
			return fmt.Errorf("insert test stage: %w", err)
		}
	}
	for n, c := range r.cases {
		_, err := tx.ExecContext(ctx, `INSERT INTO test_case (run_id, n, digest, stage, name, status, detail, millis) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			run, n, c.Package, c.Stage, c.Name, c.Status, c.Detail, c.Took.Milliseconds())
		if err != nil {
			return fmt.Errorf("insert test case: %w", err)
		}
	}
	return nil
}

func (s store) setInputs(ctx context.Context, tx db.Tx, run int64, d, inputs albs.Digest) error {
	if _, err := tx.ExecContext(ctx, `UPDATE test_package SET inputs = $3 WHERE run_id = $1 AND digest = $2`, run, d, inputs); err != nil {
		return fmt.Errorf("note the inputs of a test: %w", err)
	}
	return nil
}

func (s store) addLogs(ctx context.Context, tx db.Tx, run int64, attempt int, logs []artifact.Artifact) error {
	for _, a := range logs {
		_, err := tx.ExecContext(ctx, `INSERT INTO test_log (run_id, attempt, name, digest, size) VALUES ($1, $2, $3, $4, $5)`,
			run, attempt, a.Name, a.Digest, a.Size)
		if db.IsUnique(err) {
			return albs.Errorf(albs.Invalid, "the attempt left two logs that are called %s", a.Name)
		}
		if err != nil {
			return fmt.Errorf("insert test log: %w", err)
		}
	}
	return nil
}

func (s store) byTask(ctx context.Context, q db.Q, task albs.TaskID) (runRow, error) {
	var r runRow
	err := q.GetContext(ctx, &r, `SELECT `+runColumns+` FROM test_run WHERE task_id = $1`, task)
	return r, db.Found(err, "test run of task %d", task)
}

func (s store) packagesOf(ctx context.Context, q db.Q, run int64) ([]packageRow, error) {
	var out []packageRow
	err := q.SelectContext(ctx, &out, `SELECT run_id, digest, nevra, name, inputs FROM test_package WHERE run_id = $1 ORDER BY nevra`, run)
	return out, err
}

// The following read what all runs of a build have, run by run.

func (s store) runs(ctx context.Context, q db.Q, id albs.BuildID) ([]runRow, error) {
	var out []runRow
	err := q.SelectContext(ctx, &out, `SELECT `+runColumns+` FROM test_run WHERE build_id = $1 ORDER BY id`, id)
	return out, err
}

func (s store) packages(ctx context.Context, q db.Q, id albs.BuildID) ([]packageRow, error) {
	var out []packageRow
	err := q.SelectContext(ctx, &out, `SELECT run_id, digest, nevra, name, inputs FROM test_package
		WHERE run_id IN (SELECT id FROM test_run WHERE build_id = $1) ORDER BY run_id, nevra`, id)
	return out, err
}

// kept returns the packages and logs of all runs, and the packages with waivers, each with its build.
func (s store) kept(ctx context.Context, q db.Q) ([]keptRow, error) {
	var out []keptRow
	err := q.SelectContext(ctx, &out, `SELECT r.build_id, p.digest FROM test_run r JOIN test_package p ON p.run_id = r.id
		UNION SELECT r.build_id, l.digest FROM test_run r JOIN test_log l ON l.run_id = r.id
		UNION SELECT build_id, digest FROM test_waiver`)
	return out, err
}

func (s store) stages(ctx context.Context, q db.Q, id albs.BuildID) ([]stageRow, error) {
	var out []stageRow
	err := q.SelectContext(ctx, &out, `SELECT run_id, digest, n, stage, status, reason, started_at, millis, log FROM test_stage
		WHERE run_id IN (SELECT id FROM test_run WHERE build_id = $1) ORDER BY run_id, digest, n`, id)
	return out, err
}

func (s store) cases(ctx context.Context, q db.Q, id albs.BuildID) ([]caseRow, error) {
	var out []caseRow
	err := q.SelectContext(ctx, &out, `SELECT run_id, n, digest, stage, name, status, detail, millis FROM test_case
		WHERE run_id IN (SELECT id FROM test_run WHERE build_id = $1) ORDER BY run_id, n`, id)
	return out, err
}

func (s store) logs(ctx context.Context, q db.Q, id albs.BuildID) ([]logRow, error) {
	var out []logRow
	err := q.SelectContext(ctx, &out, `SELECT run_id, attempt, name, digest, size FROM test_log
		WHERE run_id IN (SELECT id FROM test_run WHERE build_id = $1) ORDER BY run_id, attempt, name`, id)
	return out, err
}

const skipColumns = `id, platform, package, stage, reason, actor, created_at`

// skips returns the skip list of a platform, or of all with "".
func (s store) skips(ctx context.Context, q db.Q, platform string) ([]Skip, error) {
	var out []Skip
	err := q.SelectContext(ctx, &out, `SELECT `+skipColumns+` FROM test_skip WHERE platform = $1 OR $1 = '' ORDER BY platform, package, stage`, platform)
	return out, err
}

func (s store) addSkip(ctx context.Context, tx db.Tx, k Skip) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO test_skip (platform, package, stage, reason, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
		k.Platform, k.Package, k.Stage, k.Reason, k.Actor, k.At)
	if err != nil {
		return 0, fmt.Errorf("insert into the skip list: %w", err)
	}
	return id, nil
}

func (s store) removeSkip(ctx context.Context, tx db.Tx, id int64) (Skip, error) {
	var k Skip
	err := tx.GetContext(ctx, &k, `DELETE FROM test_skip WHERE id = $1 RETURNING `+skipColumns, id)
	return k, db.Found(err, "entry %d of the skip list", id)
}

const waiverColumns = `id, build_id, digest, nevra, stage, untested, person, reason, created_at, expires_at, ended_at, ended_by, ended_reason`

// waivers returns the waivers that a filter lets through, the newest first.
func (s store) waivers(ctx context.Context, q db.Q, f WaiverFilter) ([]Waiver, error) {
	var w db.Where
	w.If(f.Build != 0, "build_id = $%d", f.Build)
	w.If(f.Digest != "", "digest = $%d", f.Digest)
	w.If(f.Package != "", `LOWER(nevra) LIKE $%d ESCAPE '\'`, "%"+db.Like(strings.ToLower(f.Package))+"%")
	w.If(f.State == WaiverExpired, "ended_at IS NULL AND expires_at <= $%d", db.Now())
	w.If(f.State == WaiverInForce, "ended_at IS NULL AND expires_at > $%d", db.Now())
	w.If(f.Before != 0, "id < $%d", f.Before)
	condition, args := w.SQL()
	if f.State == WaiverEnded {
		condition += " AND ended_at IS NOT NULL"
	}
	var out []Waiver
	err := q.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+waiverColumns+` FROM test_waiver WHERE %s ORDER BY id DESC LIMIT $%d`, condition, len(args)+1), append(args, f.Limit)...)
	return out, err
}

func (s store) waiver(ctx context.Context, q db.Q, id int64) (Waiver, error) {
	var w Waiver
	err := q.GetContext(ctx, &w, `SELECT `+waiverColumns+` FROM test_waiver WHERE id = $1`, id)
	return w, db.Found(err, "waiver %d", id)
}

func (s store) addWaiver(ctx context.Context, tx db.Tx, w Waiver) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO test_waiver (build_id, digest, nevra, stage, untested, person, reason, created_at, expires_at, ended_by, ended_reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', '') RETURNING id`,
		w.Build, w.Digest, w.NEVRA, w.Stage, w.Untested, w.Person, w.Reason, w.CreatedAt, w.ExpiresAt)
	if err != nil {
		return 0, fmt.Errorf("insert waiver: %w", err)
	}
	return id, nil
}

// endWaiver is Conflict if it had ended.
func (s store) endWaiver(ctx context.Context, tx db.Tx, id int64, at db.Time, by, reason string) error {
	var ended int64
	err := tx.GetContext(ctx, &ended, `UPDATE test_waiver SET ended_at = $2, ended_by = $3, ended_reason = $4 WHERE id = $1 AND ended_at IS NULL RETURNING id`, id, at, by, reason)
	if errors.Is(err, sql.ErrNoRows) {
		return albs.Errorf(albs.Conflict, "waiver %d isn't in force any more", id)
	}
	return err
}
