package build

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/option"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
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
	Order     Order           `db:"ordering"`
	CreatedAt db.Time         `db:"created_at"`
	DeletedAt db.Time         `db:"deleted_at"`
	DeletedBy string          `db:"deleted_by"`

	Flavours column[[]repository.UsedFlavour] `db:"flavours"`
	Linked   column[[]repository.Linked]      `db:"linked"`

	SecureBoot bool `db:"secure_boot"`
}

const buildColumns = `id, owner_id, owner, team, product, options, ordering, created_at, deleted_at, deleted_by, flavours, linked, secure_boot`

type itemRow struct {
	ID       albs.ItemID                 `db:"id"`
	BuildID  albs.BuildID                `db:"build_id"`
	Place    int                         `db:"place"`
	Platform string                      `db:"platform"`
	Arches   column[[]albs.Arch]         `db:"arches"`
	URL      string                      `db:"url"`
	Ref      string                      `db:"ref"`
	RefType  string                      `db:"ref_type"`
	Commit   string                      `db:"commit_id"`
	Package  string                      `db:"package"`
	Imported column[albs.ImportResult]   `db:"imported"` // zero until there is one
	SRPM     albs.Digest                 `db:"srpm"`
	SRPMName string                      `db:"srpm_name"`
	SRPMURL  string                      `db:"srpm_url"`
	Options  column[Options]             `db:"options"` // the package's own
	Target   column[option.Facts]        `db:"target"`
	Noarch   column[[]settle.Difference] `db:"noarch"`
	Dropped  bool                        `db:"dropped"` // cancelled by itself: no other waits for it
	tags     archTags                    // of an SRPM that is given, while the build is made
}

// Without facts, which are long and wanted for the graph alone.
const itemColumns = `id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package, imported, srpm, srpm_name, srpm_url, options, target, noarch, dropped`

type taskRow struct {
	TaskID  albs.TaskID   `db:"task_id"`
	BuildID albs.BuildID  `db:"build_id"`
	ItemID  albs.ItemID   `db:"item_id"`
	Kind    albs.TaskKind `db:"kind"`
	Arch    albs.Arch     `db:"arch"`
	Told    bool          `db:"told"` // of a rebuild: that its packages are settled
	// Superseded: a fresh SRPM has tasks in place of it.
	Superseded bool `db:"superseded"`
}

const taskColumns = `task_id, build_id, item_id, kind, arch, told, superseded`

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

func (s store) addBuild(ctx context.Context, tx db.Tx, b *buildRow, key string, request NewBuild) error {
	err := tx.GetContext(ctx, &b.ID, `INSERT INTO build (key, owner_id, owner, team, product, options, ordering, request, created_at, flavours, linked, secure_boot)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		sql.NullString{String: key, Valid: key != ""}, b.OwnerID, b.Owner, b.Team, b.Product, b.Options, b.Order, column[NewBuild]{request}, b.CreatedAt,
		b.Flavours, b.Linked, b.SecureBoot)
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

func (s store) replaceFile(ctx context.Context, tx db.Tx, id albs.BuildID, r settle.Replacement) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_artifact SET digest = $5 WHERE build_id = $1 AND task_id = $2 AND attempt = $3 AND name = $4`,
		id, r.Task, r.Attempt, r.Name, r.By)
	return db.One(res, err, "file %s of task %d is gone", r.Name, r.Task)
}

func (s store) setTold(ctx context.Context, tx db.Tx, id albs.TaskID, told bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_task SET told = $2 WHERE task_id = $1`, id, told)
	return db.One(res, err, "task %d of a build is gone", id)
}

func (s store) setNoarch(ctx context.Context, tx db.Tx, id albs.ItemID, d []settle.Difference) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET noarch = $2 WHERE id = $1`, id, column[[]settle.Difference]{d})
	return db.One(res, err, "item %d is gone", id)
}

// build returns a build, or NotFound, which says so if it was deleted.
func (s store) build(ctx context.Context, q db.Q, id albs.BuildID) (buildRow, error) {
	var b buildRow
	err := q.GetContext(ctx, &b, `SELECT `+buildColumns+` FROM build WHERE id = $1`, id)
	if err == nil && !b.DeletedAt.IsZero() {
		err = albs.Errorf(albs.NotFound, "build %d was deleted by %s at %s", id, b.DeletedBy, b.DeletedAt.UTC().Format(time.RFC3339))
	}
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
	err := q.SelectContext(ctx, &out, `SELECT `+taskColumns+` FROM build_task WHERE item_id = $1 AND kind = $2 AND superseded = $3 ORDER BY task_id`, id, albs.KindBuild, false)
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
	sql, args := w.SQL()
	return "deleted_at IS NULL AND " + sql, args
}

func (s store) count(ctx context.Context, f Filter) (int, error) {
	where, args := f.where()
	var n int
	err := s.d.GetContext(ctx, &n, `SELECT count(*) FROM build WHERE `+where, args...)
	return n, err
}

// Orders.

// request returns what a build was asked for; NotFound for builds older than the
// keeping of it.
func (s store) request(ctx context.Context, q db.Q, id albs.BuildID) (NewBuild, error) {
	var text string
	if err := q.GetContext(ctx, &text, `SELECT request FROM build WHERE id = $1`, id); err != nil {
		return NewBuild{}, db.Found(err, "build %d", id)
	}
	if text == "" {
		return NewBuild{}, albs.Errorf(albs.NotFound, "build %d was made by an earlier version of albs, which didn't keep what was asked for", id)
	}
	var n column[NewBuild]
	err := n.Scan(text)
	return n.V, err
}

func (s store) setFacts(ctx context.Context, tx db.Tx, id albs.ItemID, facts []albs.SpecFacts) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET facts = $2 WHERE id = $1`, id, column[[]albs.SpecFacts]{facts})
	return db.One(res, err, "item %d is gone", id)
}

func (s store) setDropped(ctx context.Context, tx db.Tx, id albs.ItemID, dropped bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET dropped = $2 WHERE id = $1`, id, dropped)
	return db.One(res, err, "item %d is gone", id)
}

// graphItems returns the items of a platform that are in its order, with their facts,
// as listed.
func (s store) graphItems(ctx context.Context, q db.Q, id albs.BuildID, platform string) ([]graph.Item, error) {
	var rows []struct {
		ID      albs.ItemID              `db:"id"`
		Package string                   `db:"package"`
		Arches  column[[]albs.Arch]      `db:"arches"`
		Facts   column[[]albs.SpecFacts] `db:"facts"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT id, package, arches, facts FROM build_item
		WHERE build_id = $1 AND platform = $2 AND NOT dropped ORDER BY place`, id, platform)
	out := make([]graph.Item, len(rows))
	for i, r := range rows {
		out[i] = graph.Item{Item: r.ID, Package: r.Package, Arches: r.Arches.V, Facts: r.Facts.V}
	}
	return out, err
}

// gateRow is the task that finds the order of a platform.
type gateRow struct {
	Platform string      `db:"platform"`
	TaskID   albs.TaskID `db:"task_id"`
	Known    bool        `db:"known"` // it was found
}

func (s store) gates(ctx context.Context, q db.Q, id albs.BuildID) ([]gateRow, error) {
	var out []gateRow
	err := q.SelectContext(ctx, &out, `SELECT platform, task_id, graph IS NOT NULL AS known FROM build_graph
		WHERE build_id = $1 ORDER BY platform`, id)
	return out, err
}

// setGate makes task the one that finds the order of a platform, which is unknown from
// then on.
func (s store) setGate(ctx context.Context, tx db.Tx, id albs.BuildID, platform string, task albs.TaskID) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_graph (build_id, platform, task_id) VALUES ($1, $2, $3)
		ON CONFLICT (build_id, platform) DO UPDATE SET task_id = $3, graph = NULL`, id, platform, task)
	if err != nil {
		return fmt.Errorf("write task of graph: %w", err)
	}
	return nil
}

func (s store) setGraph(ctx context.Context, tx db.Tx, id albs.BuildID, platform string, g graph.Graph) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_graph SET graph = $3 WHERE build_id = $1 AND platform = $2`, id, platform, column[graph.Graph]{g})
	return db.One(res, err, "the graph of build %d for %s is gone", id, platform)
}

// graph returns the order that was found for a platform; NotFound before.
func (s store) graph(ctx context.Context, q db.Q, id albs.BuildID, platform string) (graph.Graph, error) {
	var g column[graph.Graph]
	err := q.GetContext(ctx, &g, `SELECT graph FROM build_graph WHERE build_id = $1 AND platform = $2 AND graph IS NOT NULL`, id, platform)
	return g.V, db.Found(err, "graph of build %d for %s yet", id, platform)
}

func (s store) supersede(ctx context.Context, tx db.Tx, id albs.TaskID) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_task SET superseded = $2 WHERE task_id = $1`, id, true)
	return db.One(res, err, "task %d is gone", id)
}

// retire takes the packages of an item out of those that the build's repositories hold.
func (s store) retire(ctx context.Context, tx db.Tx, id albs.ItemID) error {
	_, err := tx.ExecContext(ctx, `UPDATE build_artifact SET kind = $2, arch = '' WHERE item_id = $1 AND arch <> ''`, id, replaced)
	if err != nil {
		return fmt.Errorf("retire packages of item %d: %w", id, err)
	}
	return nil
}

// replaced is the kind of a package that was in a repository of the build until a fresh
// SRPM took its place.
const replaced = "replaced"

func (s store) clearSRPM(ctx context.Context, tx db.Tx, id albs.ItemID) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET srpm = NULL, srpm_name = '', facts = NULL, noarch = '[]' WHERE id = $1`, id)
	return db.One(res, err, "item %d is gone", id)
}

func (s store) setDeleted(ctx context.Context, tx db.Tx, id albs.BuildID, by string, at db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE build SET deleted_at = $2, deleted_by = $3 WHERE id = $1 AND deleted_at IS NULL`, id, at, by)
	return db.One(res, err, "build %d is deleted already", id)
}

// heldOf returns an item's files in the build's repositories.
func (s store) heldOf(ctx context.Context, q db.Q, id albs.ItemID) ([]artifactRow, error) {
	var out []artifactRow
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE item_id = $1 AND arch <> '' ORDER BY arch, name`, id)
	return out, err
}

// srpmsOf returns the SRPMs that were made of a commit, the oldest first.
func (s store) srpmsOf(ctx context.Context, commit string, limit int) (ds []albs.Digest, err error) {
	err = s.d.SelectContext(ctx, &ds, `SELECT srpm FROM build_item WHERE commit_id = $1 AND srpm IS NOT NULL GROUP BY srpm ORDER BY min(id) LIMIT $2`, commit, limit)
	return ds, err
}

// packagesOf returns the packages that were made of an SRPM, the oldest first.
func (s store) packagesOf(ctx context.Context, srpm albs.Digest, limit int) (ds []albs.Digest, err error) {
	err = s.d.SelectContext(ctx, &ds, `SELECT a.digest FROM build_artifact a JOIN build_item i ON i.id = a.item_id
		WHERE i.srpm = $1 AND a.kind = 'rpm' GROUP BY a.digest ORDER BY min(a.task_id), min(a.name) LIMIT $2`, srpm, limit)
	return ds, err
}
