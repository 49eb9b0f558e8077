package build

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/build/option"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

// column is a value that a column keeps as JSON; the zero value where it is NULL.
type column[T any] struct{ V T }

// Value implements driver.Valuer.
func (c column[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(c.V)
	return string(b), err
}

// Scan implements sql.Scanner.
func (c *column[T]) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil || !text.Valid {
		return err
	}
	return json.Unmarshal([]byte(text.String), &c.V)
}

type buildRow struct {
	ID        albs.BuildID    `db:"id"`
	OwnerID   albs.UserID     `db:"owner_id"`
	Owner     string          `db:"owner"`
	Team      string          `db:"team"`
	Product   string          `db:"product"`
	Options   column[Options] `db:"options"`
	CreatedAt db.Time         `db:"created_at"`

	Flavours column[[]UsedFlavour] `db:"flavours"`
	Linked   column[[]Linked]      `db:"linked"`

	SecureBoot bool `db:"secure_boot"`
}

const buildColumns = `id, owner_id, owner, team, product, options, created_at, flavours, linked, secure_boot`

type itemRow struct {
	ID       albs.ItemID               `db:"id"`
	BuildID  albs.BuildID              `db:"build_id"`
	Place    int                       `db:"place"`
	Platform string                    `db:"platform"`
	Arches   column[[]albs.Arch]       `db:"arches"`
	URL      string                    `db:"url"`
	Ref      string                    `db:"ref"`
	RefType  string                    `db:"ref_type"`
	Commit   string                    `db:"commit_id"`
	Package  string                    `db:"package"`
	Imported column[albs.ImportResult] `db:"imported"` // zero until there is one
	SRPM     albs.Digest               `db:"srpm"`
	SRPMName string                    `db:"srpm_name"`
	SRPMURL  string                    `db:"srpm_url"`
	Options  column[Options]           `db:"options"` // the package's own
	Target   column[option.Facts]      `db:"target"`
	Noarch   column[[]Difference]      `db:"noarch"`
}

const itemColumns = `id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package, imported, srpm, srpm_name, srpm_url, options, target, noarch`

type taskRow struct {
	TaskID  albs.TaskID   `db:"task_id"`
	BuildID albs.BuildID  `db:"build_id"`
	ItemID  albs.ItemID   `db:"item_id"`
	Kind    albs.TaskKind `db:"kind"`
	Arch    albs.Arch     `db:"arch"`
	Told    bool          `db:"told"` // of a rebuild: that its packages are settled
}

const taskColumns = `task_id, build_id, item_id, kind, arch, told`

type artifactRow struct {
	BuildID albs.BuildID `db:"build_id"`
	ItemID  albs.ItemID  `db:"item_id"`
	TaskID  albs.TaskID  `db:"task_id"`
	Attempt int          `db:"attempt"`
	Digest  albs.Digest  `db:"digest"`
	Kind    string       `db:"kind"`
	Name    string       `db:"name"`
	Arch    albs.Arch    `db:"arch"`
}

const artifactColumns = `build_id, item_id, task_id, attempt, digest, kind, name, arch`

// byKey returns the build that was created with an idempotency key, 0 if none.
func (s store) byKey(ctx context.Context, q db.Q, key string) (albs.BuildID, error) {
	var id albs.BuildID
	err := q.GetContext(ctx, &id, `SELECT id FROM build WHERE key = $1`, key)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

func (s store) addBuild(ctx context.Context, tx db.Tx, b *buildRow, key string) error {
	err := tx.GetContext(ctx, &b.ID, `INSERT INTO build (key, owner_id, owner, team, product, options, created_at, flavours, linked, secure_boot)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
		sql.NullString{String: key, Valid: key != ""}, b.OwnerID, b.Owner, b.Team, b.Product, b.Options, b.CreatedAt, b.Flavours, b.Linked, b.SecureBoot)
	if err != nil {
		return fmt.Errorf("insert build: %w", err)
	}
	return nil
}

func (s store) addItem(ctx context.Context, tx db.Tx, it *itemRow) error {
	err := tx.GetContext(ctx, &it.ID, `INSERT INTO build_item
		(build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm, srpm_name, srpm_url, options, target)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
		it.BuildID, it.Place, it.Platform, it.Arches, it.URL, it.Ref, it.RefType, it.Commit, it.Package, it.SRPM, it.SRPMName, it.SRPMURL, it.Options, it.Target)
	if err != nil {
		return fmt.Errorf("insert build item: %w", err)
	}
	return nil
}

func (s store) addTask(ctx context.Context, tx db.Tx, t taskRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_task (task_id, build_id, item_id, kind, arch) VALUES ($1, $2, $3, $4, $5)`,
		t.TaskID, t.BuildID, t.ItemID, t.Kind, t.Arch)
	if err != nil {
		return fmt.Errorf("insert build task: %w", err)
	}
	return nil
}

func (s store) setImported(ctx context.Context, tx db.Tx, id albs.ItemID, r albs.ImportResult) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET imported = $2, package = $3 WHERE id = $1`, id, column[albs.ImportResult]{r}, r.Package)
	return db.One(res, err, "item %d is gone", id)
}

func (s store) setSRPM(ctx context.Context, tx db.Tx, id albs.ItemID, f albs.File) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET srpm = $2, srpm_name = $3 WHERE id = $1`, id, f.Digest, f.Name)
	return db.One(res, err, "item %d is gone", id)
}

// addArtifact notes a file of an attempt; Invalid if it has one of that name.
func (s store) addArtifact(ctx context.Context, tx db.Tx, a artifactRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		a.BuildID, a.ItemID, a.TaskID, a.Attempt, a.Digest, a.Kind, a.Name, a.Arch)
	if db.IsUnique(err) {
		return albs.Errorf(albs.Invalid, "the attempt left two files that are called %s", a.Name)
	}
	if err != nil {
		return fmt.Errorf("insert build artifact: %w", err)
	}
	return nil
}

// packages returns the RPMs of an item that repositories have.
func (s store) packages(ctx context.Context, q db.Q, id albs.ItemID) ([]artifactRow, error) {
	var out []artifactRow
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE item_id = $1 AND kind = 'rpm' AND arch <> '' ORDER BY task_id, name`, id)
	return out, err
}

func (s store) replaceFile(ctx context.Context, tx db.Tx, r replacement) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_artifact SET digest = $5 WHERE build_id = $1 AND task_id = $2 AND attempt = $3 AND name = $4`,
		r.row.BuildID, r.row.TaskID, r.row.Attempt, r.row.Name, r.by)
	return db.One(res, err, "file %s of task %d is gone", r.row.Name, r.row.TaskID)
}

func (s store) setTold(ctx context.Context, tx db.Tx, id albs.TaskID, told bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_task SET told = $2 WHERE task_id = $1`, id, told)
	return db.One(res, err, "task %d of a build is gone", id)
}

func (s store) setNoarch(ctx context.Context, tx db.Tx, id albs.ItemID, d []Difference) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET noarch = $2 WHERE id = $1`, id, column[[]Difference]{d})
	return db.One(res, err, "item %d is gone", id)
}

func (s store) build(ctx context.Context, q db.Q, id albs.BuildID) (buildRow, error) {
	var b buildRow
	err := q.GetContext(ctx, &b, `SELECT `+buildColumns+` FROM build WHERE id = $1`, id)
	return b, db.Found(err, "build %d", id)
}

func (s store) items(ctx context.Context, q db.Q, id albs.BuildID) ([]itemRow, error) {
	var out []itemRow
	err := q.SelectContext(ctx, &out, `SELECT `+itemColumns+` FROM build_item WHERE build_id = $1 ORDER BY place`, id)
	return out, err
}

func (s store) item(ctx context.Context, q db.Q, id albs.ItemID) (itemRow, error) {
	var it itemRow
	err := q.GetContext(ctx, &it, `SELECT `+itemColumns+` FROM build_item WHERE id = $1`, id)
	return it, db.Found(err, "build item %d", id)
}

func (s store) tasks(ctx context.Context, q db.Q, id albs.BuildID) ([]taskRow, error) {
	var out []taskRow
	err := q.SelectContext(ctx, &out, `SELECT `+taskColumns+` FROM build_task WHERE build_id = $1 ORDER BY task_id`, id)
	return out, err
}

// rebuilds returns the rebuilds of an item.
func (s store) rebuilds(ctx context.Context, q db.Q, id albs.ItemID) ([]taskRow, error) {
	var out []taskRow
	err := q.SelectContext(ctx, &out, `SELECT `+taskColumns+` FROM build_task WHERE item_id = $1 AND kind = $2 ORDER BY task_id`, id, albs.KindBuild)
	return out, err
}

func (s store) task(ctx context.Context, q db.Q, id albs.TaskID) (taskRow, error) {
	var t taskRow
	err := q.GetContext(ctx, &t, `SELECT `+taskColumns+` FROM build_task WHERE task_id = $1`, id)
	return t, db.Found(err, "task %d of a build", id)
}

func (s store) artifacts(ctx context.Context, q db.Q, id albs.BuildID) ([]artifactRow, error) {
	var out []artifactRow
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE build_id = $1 ORDER BY task_id, attempt, name`, id)
	return out, err
}

// held returns the files of a build's repository of a platform and arch, by name.
func (s store) held(ctx context.Context, q db.Q, id albs.BuildID, platform string, arch albs.Arch) (map[string]albs.Digest, error) {
	var rows []struct {
		Name   string      `db:"name"`
		Digest albs.Digest `db:"digest"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT a.name, a.digest FROM build_artifact a JOIN build_item i ON i.id = a.item_id
		WHERE a.build_id = $1 AND i.platform = $2 AND a.arch = $3`, id, platform, arch)
	out := make(map[string]albs.Digest, len(rows))
	for _, r := range rows {
		out[r.Name] = r.Digest
	}
	return out, err
}

// list returns builds below f.Before, newest first, one more than f.Limit if
// there are more.
func (s store) list(ctx context.Context, f Filter) ([]buildRow, error) {
	where, args := f.where()
	var out []buildRow
	err := s.d.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+buildColumns+` FROM build WHERE %s ORDER BY id DESC LIMIT $%d OFFSET $%d`,
		where, len(args)+1, len(args)+2), append(args, f.Limit+1, max(f.Skip, 0))...)
	return out, err
}

// where is the filter as a condition with its arguments.
func (f Filter) where() (string, []any) {
	var w db.Where
	w.If(f.Before > 0, "id < $%d", f.Before)
	w.If(f.Owner != "", "owner = $%d", f.Owner)
	w.If(f.Product != "", "product = $%d", f.Product)
	w.If(f.Package != "", "id IN (SELECT build_id FROM build_item WHERE package = $%d)", f.Package)
	w.If(f.Platform != "", "id IN (SELECT build_id FROM build_item WHERE platform = $%d)", f.Platform)
	return w.SQL()
}

func (s store) count(ctx context.Context, f Filter) (int, error) {
	where, args := f.where()
	var n int
	err := s.d.GetContext(ctx, &n, `SELECT count(*) FROM build WHERE `+where, args...)
	return n, err
}

type failureRow struct {
	TaskID  albs.TaskID           `db:"task_id"`
	Attempt int                   `db:"attempt"`
	BuildID albs.BuildID          `db:"build_id"`
	Kind    failure.Kind          `db:"kind"`
	Cause   column[failure.Cause] `db:"cause"`
}

const failureColumns = `task_id, attempt, build_id, kind, cause`

// addFailure keeps why an attempt failed; what is kept of it already stays.
func (s store) addFailure(ctx context.Context, tx db.Tx, f failureRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_failure (task_id, attempt, build_id, kind, cause)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (task_id, attempt) DO NOTHING`, f.TaskID, f.Attempt, f.BuildID, f.Kind, f.Cause)
	if err != nil {
		return fmt.Errorf("insert cause of failure: %w", err)
	}
	return nil
}

func (s store) failuresOf(ctx context.Context, q db.Q, id albs.TaskID) ([]failureRow, error) {
	var out []failureRow
	err := q.SelectContext(ctx, &out, `SELECT `+failureColumns+` FROM build_failure WHERE task_id = $1 ORDER BY attempt`, id)
	return out, err
}

func (s store) failures(ctx context.Context, q db.Q, id albs.BuildID) ([]failureRow, error) {
	var out []failureRow
	err := q.SelectContext(ctx, &out, `SELECT `+failureColumns+` FROM build_failure WHERE build_id = $1 ORDER BY task_id, attempt`, id)
	return out, err
}
