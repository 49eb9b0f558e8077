package release

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/release/plan"
)

type store struct{ d *db.DB }

type releaseRow struct {
	ID         albs.ReleaseID `db:"id"`
	Kind       Kind           `db:"kind"`
	Product    string         `db:"product"`
	Team       string         `db:"team"`
	PlannerID  albs.UserID    `db:"planner_id"`
	Planner    string         `db:"planner"`
	Status     Status         `db:"status"`
	Reason     string         `db:"reason"`
	Plan       string         `db:"plan"`
	Digest     albs.Digest    `db:"digest"`
	ExpiresAt  db.Time        `db:"expires_at"`
	FromSerial int64          `db:"from_serial"`
	Serial     int64          `db:"serial"`
	Offered    int64          `db:"offered"`
	BackTo     int64          `db:"back_to"`
	Files      string         `db:"files"`
	Tree       albs.Digest    `db:"tree"`
	TaskID     albs.TaskID    `db:"task_id"`
	CreatedAt  db.Time        `db:"created_at"`
	ChangedAt  db.Time        `db:"changed_at"`

	read *plan.Plan // what Plan says, once somebody has read it; a large one takes long
}

// releaseColumns are all but the plan, which lists leave out.
const releaseColumns = `id, kind, product, team, planner_id, planner, status, reason, digest, expires_at, from_serial, serial,
	offered, back_to, files, tree, task_id, created_at, changed_at`

type repositoryRow struct {
	Path     string      `db:"path"`
	Snapshot albs.Digest `db:"snapshot"`
	Repomd   albs.Digest `db:"repomd"`
	Sealed   albs.Digest `db:"sealed"`
}

type releasedRow struct {
	Path   string      `db:"path"`
	File   string      `db:"file"`
	Digest albs.Digest `db:"digest"`
}

// add writes a new release and sets its ID.
func (s store) add(ctx context.Context, tx db.Tx, r *releaseRow, builds []albs.BuildID) error {
	err := tx.GetContext(ctx, &r.ID, `INSERT INTO release (kind, product, team, planner_id, planner, status, reason, plan, digest,
		expires_at, from_serial, serial, offered, back_to, files, tree, task_id, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) RETURNING id`,
		r.Kind, r.Product, r.Team, r.PlannerID, r.Planner, r.Status, r.Reason, r.Plan, r.Digest, r.ExpiresAt, r.FromSerial,
		r.Serial, r.Offered, r.BackTo, r.Files, r.Tree, r.TaskID, r.CreatedAt, r.ChangedAt)
	if err != nil {
		return fmt.Errorf("insert release: %w", err)
	}
	for _, b := range builds {
		if _, err := tx.ExecContext(ctx, `INSERT INTO release_build (release_id, build_id) VALUES ($1, $2)`, r.ID, b); err != nil {
			return fmt.Errorf("insert build of release: %w", err)
		}
	}
	return nil
}

// update writes what may change of a release, if it is still in status from; else
// it is a Conflict.
func (s store) update(ctx context.Context, tx db.Tx, r releaseRow, from Status) error {
	res, err := tx.ExecContext(ctx, `UPDATE release SET status = $3, reason = $4, plan = $5, digest = $6, expires_at = $7,
		from_serial = $8, serial = $9, offered = $10, files = $11, tree = $12, task_id = $13, changed_at = $14
		WHERE id = $1 AND status = $2`,
		r.ID, from, r.Status, r.Reason, r.Plan, r.Digest, r.ExpiresAt, r.FromSerial, r.Serial, r.Offered, r.Files, r.Tree, r.TaskID, r.ChangedAt)
	return db.One(res, err, "release %d has changed meanwhile: look at it again", r.ID)
}

func (s store) get(ctx context.Context, q db.Q, id albs.ReleaseID) (releaseRow, error) {
	var r releaseRow
	err := q.GetContext(ctx, &r, `SELECT plan, `+releaseColumns+` FROM release WHERE id = $1`, id)
	return r, db.Found(err, "release %d", id)
}

// byTask returns the release that a publish task is for.
func (s store) byTask(ctx context.Context, q db.Q, task albs.TaskID) (releaseRow, error) {
	var r releaseRow
	err := q.GetContext(ctx, &r, `SELECT plan, `+releaseColumns+` FROM release WHERE task_id = $1`, task)
	return r, db.Found(err, "release of task %d", task)
}

// inProgress returns the id of the product's release that is being published, 0 if
// none.
func (s store) inProgress(ctx context.Context, q db.Q, product string) (albs.ReleaseID, error) {
	var ids []albs.ReleaseID
	if err := q.SelectContext(ctx, &ids, `SELECT id FROM release WHERE product = $1 AND status = $2`, product, InProgress); err != nil {
		return 0, fmt.Errorf("find release in progress: %w", err)
	}
	if len(ids) == 0 {
		return 0, nil
	}
	return ids[0], nil
}

// serials returns the highest serial that the product shows by its releases, and
// the highest that a releaser was ever given.
func (s store) serials(ctx context.Context, q db.Q, product string) (shown, offered int64, err error) {
	var r struct {
		Shown   int64 `db:"shown"`
		Offered int64 `db:"offered"`
	}
	err = q.GetContext(ctx, &r, `SELECT COALESCE(MAX(CASE WHEN status IN ($2, $3) THEN serial ELSE 0 END), 0) AS shown,
		COALESCE(MAX(offered), 0) AS offered FROM release WHERE product = $1`, product, Completed, Reverted)
	if err != nil {
		return 0, 0, fmt.Errorf("read serials of product %s: %w", product, err)
	}
	return r.Shown, r.Offered, nil
}

func (s store) builds(ctx context.Context, q db.Q, id albs.ReleaseID) ([]albs.BuildID, error) {
	var out []albs.BuildID
	err := q.SelectContext(ctx, &out, `SELECT build_id FROM release_build WHERE release_id = $1 ORDER BY build_id`, id)
	if err != nil {
		return nil, fmt.Errorf("builds of release %d: %w", id, err)
	}
	return out, nil
}

// list returns releases below f.Before, newest first, without their plans and one
// more than f.Limit if there are more.
func (s store) list(ctx context.Context, f Filter) ([]releaseRow, error) {
	where, args := f.where()
	var out []releaseRow
	err := s.d.SelectContext(ctx, &out, fmt.Sprintf(`SELECT '' AS plan, `+releaseColumns+` FROM release WHERE %s ORDER BY id DESC LIMIT $%d OFFSET $%d`,
		where, len(args)+1, len(args)+2), append(args, f.Limit+1, max(f.Skip, 0))...)
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	return out, nil
}

func (s store) count(ctx context.Context, f Filter) (int, error) {
	where, args := f.where()
	var n int
	if err := s.d.GetContext(ctx, &n, `SELECT count(*) FROM release WHERE `+where, args...); err != nil {
		return 0, fmt.Errorf("count releases: %w", err)
	}
	return n, nil
}

// where is the filter as a condition with its arguments.
func (f Filter) where() (string, []any) {
	var w db.Where
	w.If(f.Before > 0, "id < $%d", f.Before)
	w.If(f.Product != "", "product = $%d", f.Product)
	w.If(f.Status != 0, "status = $%d", f.Status)
	w.If(f.Build != 0, "id IN (SELECT release_id FROM release_build WHERE build_id = $%d)", f.Build)
	return w.SQL()
}

// published returns every publication of a product that was completed.
func (s store) published(ctx context.Context, q db.Q, product string) ([]releaseRow, error) {
	var out []releaseRow
	err := q.SelectContext(ctx, &out, `SELECT '' AS plan, `+releaseColumns+` FROM release
		WHERE product = $1 AND status IN ($2, $3) ORDER BY id`, product, Completed, Reverted)
	if err != nil {
		return nil, fmt.Errorf("publications of product %s: %w", product, err)
	}
	return out, nil
}

func (s store) setStatus(ctx context.Context, tx db.Tx, id albs.ReleaseID, to Status, at db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE release SET status = $2, changed_at = $3 WHERE id = $1`, id, to, at)
	return db.One(res, err, "release %d is gone", id)
}

// setRepositories replaces the repositories of a release's tree.
func (s store) setRepositories(ctx context.Context, tx db.Tx, id albs.ReleaseID, rows []repositoryRow) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM release_repository WHERE release_id = $1`, id); err != nil {
		return fmt.Errorf("clear repositories of release %d: %w", id, err)
	}
	for _, r := range rows {
		_, err := tx.ExecContext(ctx, `INSERT INTO release_repository (release_id, path, snapshot, repomd, sealed) VALUES ($1, $2, $3, $4, $5)`,
			id, r.Path, r.Snapshot, r.Repomd, r.Sealed)
		if err != nil {
			return fmt.Errorf("insert repository of release %d: %w", id, err)
		}
	}
	return nil
}

func (s store) repositories(ctx context.Context, q db.Q, id albs.ReleaseID) ([]repositoryRow, error) {
	var out []repositoryRow
	err := q.SelectContext(ctx, &out, `SELECT path, snapshot, repomd, sealed FROM release_repository WHERE release_id = $1 ORDER BY path`, id)
	if err != nil {
		return nil, fmt.Errorf("repositories of release %d: %w", id, err)
	}
	return out, nil
}

// addReleased notes packages as released. One that was released before under the
// same name must be the same; else it is a Conflict.
func (s store) addReleased(ctx context.Context, tx db.Tx, product string, id albs.ReleaseID, rows []releasedRow) error {
	for _, r := range rows {
		res, err := tx.ExecContext(ctx, `INSERT INTO released_package (product, path, file, digest, release_id) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (product, path, file) DO UPDATE SET digest = released_package.digest WHERE released_package.digest = $4`,
			product, r.Path, r.File, r.Digest, id)
		if err := db.One(res, err, "%s was released into %s with other content", r.File, r.Path); err != nil {
			return err
		}
	}
	return nil
}

// released returns the digest under which a file was released into a repository,
// "" if it never was.
func (s store) released(ctx context.Context, q db.Q, product, path, file string) (albs.Digest, error) {
	var out []albs.Digest
	err := q.SelectContext(ctx, &out, `SELECT digest FROM released_package WHERE product = $1 AND path = $2 AND file = $3`, product, path, file)
	if err != nil {
		return "", fmt.Errorf("look up released package: %w", err)
	}
	if len(out) == 0 {
		return "", nil
	}
	return out[0], nil
}

// holds returns the newest release that made packages of a build public or is about to,
// 0 if there is none.
func (s store) holds(ctx context.Context, q db.Q, id albs.BuildID) (albs.ReleaseID, error) {
	var ids []albs.ReleaseID
	err := q.SelectContext(ctx, &ids, `SELECT r.id FROM release r JOIN release_build b ON b.release_id = r.id
		WHERE b.build_id = $1 AND r.status IN ($2, $3, $4) ORDER BY r.id DESC LIMIT 1`, id, InProgress, Completed, Reverted)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return ids[0], nil
}

func (s store) releasedDigests(ctx context.Context, q db.Q) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT digest FROM released_package`)
	return ds, err
}

// origin is the release that something is of.
type origin struct {
	Product string `db:"product"`
	Status  Status `db:"status"`
	Serial  int64  `db:"serial"`
}

type shownRow struct {
	origin
	repositoryRow
}

// shown returns the repositories of all releases.
func (s store) shown(ctx context.Context, q db.Q) (rows []shownRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT r.product, r.status, r.serial, p.path, p.snapshot, p.repomd, COALESCE(p.sealed, '') AS sealed
		FROM release_repository p JOIN release r ON r.id = p.release_id`)
	return rows, err
}

type treeRow struct {
	origin
	ID    albs.ReleaseID `db:"id"`
	Files string         `db:"files"`
	Tree  albs.Digest    `db:"tree"`
}

func (s store) trees(ctx context.Context, q db.Q) (rows []treeRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT product, status, serial, id, files, tree FROM release`)
	return rows, err
}

// showing returns the releases by which a product came to show serials from first to last.
func (s store) showing(ctx context.Context, q db.Q, product string, first, last int64) (ids []albs.ReleaseID, err error) {
	err = q.SelectContext(ctx, &ids, `SELECT id FROM release WHERE product = $1 AND serial BETWEEN $2 AND $3 AND status IN ($4, $5) ORDER BY id`,
		product, first, last, Completed, Reverted)
	return ids, err
}

// holding returns where a package was released, the oldest release first.
func (s store) holding(ctx context.Context, q db.Q, d albs.Digest) (out []Held, err error) {
	err = q.SelectContext(ctx, &out, `SELECT product, path, release_id FROM released_package WHERE digest = $1 ORDER BY release_id, product, path`, d)
	return out, err
}

// added returns the packages that a release was the first to release somewhere.
func (s store) added(ctx context.Context, q db.Q, id albs.ReleaseID) (out []Added, err error) {
	err = q.SelectContext(ctx, &out, `SELECT release_id, product, path, file, digest FROM released_package WHERE release_id = $1 ORDER BY path, file`, id)
	if err != nil {
		return nil, fmt.Errorf("read what release %d added: %w", id, err)
	}
	return out, nil
}

// addedAfter returns the released packages that come after one, by their key.
func (s store) addedAfter(ctx context.Context, q db.Q, last Added, limit int) (out []Added, err error) {
	err = q.SelectContext(ctx, &out, `SELECT release_id, product, path, file, digest FROM released_package
		WHERE (product, path, file) > ($1, $2, $3) ORDER BY product, path, file LIMIT $4`, last.Product, last.Path, last.File, limit)
	if err != nil {
		return nil, fmt.Errorf("read released packages: %w", err)
	}
	return out, nil
}

// addWithdrawn notes what a release withdrew.
func (s store) addWithdrawn(ctx context.Context, tx db.Tx, id albs.ReleaseID, rows []releasedRow) error {
	for _, r := range rows {
		_, err := tx.ExecContext(ctx, `INSERT INTO withdrawn_package (release_id, path, file, digest) VALUES ($1, $2, $3, $4)`, id, r.Path, r.File, r.Digest)
		if err != nil {
			return fmt.Errorf("note that %s was withdrawn from %s: %w", r.File, r.Path, err)
		}
	}
	return nil
}

const withdrawnColumns = `w.release_id, r.product, w.path, w.file, w.digest FROM withdrawn_package w JOIN release r ON r.id = w.release_id`

// withdrawn returns the packages that a release withdrew.
func (s store) withdrawn(ctx context.Context, q db.Q, id albs.ReleaseID) (out []Withdrawn, err error) {
	err = q.SelectContext(ctx, &out, `SELECT `+withdrawnColumns+` WHERE w.release_id = $1 ORDER BY w.path, w.file`, id)
	if err != nil {
		return nil, fmt.Errorf("read what release %d withdrew: %w", id, err)
	}
	return out, nil
}

// withdrawnAfter returns the withdrawn packages that come after one, by their key.
func (s store) withdrawnAfter(ctx context.Context, q db.Q, last Withdrawn, limit int) (out []Withdrawn, err error) {
	err = q.SelectContext(ctx, &out, `SELECT `+withdrawnColumns+`
		WHERE (w.release_id, w.path, w.file) > ($1, $2, $3) ORDER BY w.release_id, w.path, w.file LIMIT $4`, last.Release, last.Path, last.File, limit)
	if err != nil {
		return nil, fmt.Errorf("read withdrawn packages: %w", err)
	}
	return out, nil
}
