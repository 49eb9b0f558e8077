// Package store is the tables of builds: builds, their items, tasks, files and graphs.
// The SQL of package build is here; what is read of these tables to know what must be
// kept, and why tasks failed, is in keep and cause. It writes what it is told, in the
// caller's transaction; what may be written when is build's to know.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/option"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/db"
)

// Column is a value V that a column keeps as JSON; the zero value where it is NULL.
type Column[T any] struct{ V T }

// Value implements driver.Valuer.
func (c Column[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(c.V)
	return string(b), err
}

// Scan implements sql.Scanner.
func (c *Column[T]) Scan(src any) error {
	var text sql.NullString
	if err := text.Scan(src); err != nil || !text.Valid {
		return err
	}
	return json.Unmarshal([]byte(text.String), &c.V)
}

// Build is a build as the table holds it. Who deleted it, and when, is zero while it is
// there.
type Build struct {
	ID        albs.BuildID           `db:"id"`
	OwnerID   albs.UserID            `db:"owner_id"`
	Owner     string                 `db:"owner"`
	Team      string                 `db:"team"`
	Product   string                 `db:"product"`
	Options   Column[option.Options] `db:"options"`
	Order     graph.Order            `db:"ordering"`
	CreatedAt db.Time                `db:"created_at"`
	DeletedAt db.Time                `db:"deleted_at"`
	DeletedBy string                 `db:"deleted_by"`

	Flavours Column[[]repository.UsedFlavour] `db:"flavours"`
	Linked   Column[[]repository.Linked]      `db:"linked"`

	SecureBoot bool `db:"secure_boot"`
}

const buildColumns = `id, owner_id, owner, team, product, options, ordering, created_at, deleted_at, deleted_by, flavours, linked, secure_boot`

// Item is one package of a build on one platform.
type Item struct {
	ID       albs.ItemID                 `db:"id"`
	BuildID  albs.BuildID                `db:"build_id"`
	Place    int                         `db:"place"`
	Platform string                      `db:"platform"`
	Arches   Column[[]albs.Arch]         `db:"arches"`
	URL      string                      `db:"url"`
	Ref      string                      `db:"ref"`
	RefType  string                      `db:"ref_type"`
	Commit   string                      `db:"commit_id"`
	Package  string                      `db:"package"`
	Imported Column[albs.ImportResult]   `db:"imported"` // zero until there is one
	SRPM     albs.Digest                 `db:"srpm"`
	SRPMName string                      `db:"srpm_name"`
	SRPMURL  string                      `db:"srpm_url"`
	Options  Column[option.Options]      `db:"options"` // the package's own
	Target   Column[option.Facts]        `db:"target"`
	Noarch   Column[[]settle.Difference] `db:"noarch"`
	Dropped  bool                        `db:"dropped"` // cancelled by itself: no other waits for it
}

// Without facts, which are long and wanted for the graph alone.
const itemColumns = `id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package, imported, srpm, srpm_name, srpm_url, options, target, noarch, dropped`

// Task is what a task of the queue is to a build.
type Task struct {
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

// Artifact is a file that an attempt left, or that a repository of the build took from
// another arch.
type Artifact struct {
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

// ByKey returns the build that was created with an idempotency key, 0 if none.
func ByKey(ctx context.Context, q db.Q, key string) (albs.BuildID, error) {
	var id albs.BuildID
	err := q.GetContext(ctx, &id, `SELECT id FROM build WHERE key = $1`, key)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// AddBuild adds a build that was asked for by request, and sets its id. A key that is
// taken is an error that db.IsUnique knows.
func AddBuild(ctx context.Context, tx db.Tx, b *Build, key string, request any) error {
	err := tx.GetContext(ctx, &b.ID, `INSERT INTO build (key, owner_id, owner, team, product, options, ordering, request, created_at, flavours, linked, secure_boot)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		sql.NullString{String: key, Valid: key != ""}, b.OwnerID, b.Owner, b.Team, b.Product, b.Options, b.Order, Column[any]{request}, b.CreatedAt,
		b.Flavours, b.Linked, b.SecureBoot)
	if err != nil {
		return fmt.Errorf("insert build: %w", err)
	}
	return nil
}

// AddItem adds an item and sets its id.
func AddItem(ctx context.Context, tx db.Tx, it *Item) error {
	err := tx.GetContext(ctx, &it.ID, `INSERT INTO build_item
		(build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm, srpm_name, srpm_url, options, target)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
		it.BuildID, it.Place, it.Platform, it.Arches, it.URL, it.Ref, it.RefType, it.Commit, it.Package, it.SRPM, it.SRPMName, it.SRPMURL, it.Options, it.Target)
	if err != nil {
		return fmt.Errorf("insert build item: %w", err)
	}
	return nil
}

// AddTask adds a task that counts and isn't told of.
func AddTask(ctx context.Context, tx db.Tx, t Task) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_task (task_id, build_id, item_id, kind, arch) VALUES ($1, $2, $3, $4, $5)`,
		t.TaskID, t.BuildID, t.ItemID, t.Kind, t.Arch)
	if err != nil {
		return fmt.Errorf("insert build task: %w", err)
	}
	return nil
}

// SetImported writes what the import of an item's commit found.
func SetImported(ctx context.Context, tx db.Tx, id albs.ItemID, r albs.ImportResult) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET imported = $2, package = $3 WHERE id = $1`, id, Column[albs.ImportResult]{r}, r.Package)
	return db.One(res, err, "item %d is gone", id)
}

// SetSRPM writes which SRPM an item has.
func SetSRPM(ctx context.Context, tx db.Tx, id albs.ItemID, f albs.File) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET srpm = $2, srpm_name = $3 WHERE id = $1`, id, f.Digest, f.Name)
	return db.One(res, err, "item %d is gone", id)
}

// AddArtifact notes a file of an attempt; Invalid if it has one of that name.
func AddArtifact(ctx context.Context, tx db.Tx, a Artifact) error {
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

// Packages returns the RPMs of an item that repositories have.
func Packages(ctx context.Context, q db.Q, id albs.ItemID) ([]Artifact, error) {
	var out []Artifact
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE item_id = $1 AND kind = 'rpm' AND arch <> '' ORDER BY task_id, name`, id)
	return out, err
}

// ReplaceFile gives a file other content under its name.
func ReplaceFile(ctx context.Context, tx db.Tx, id albs.BuildID, r settle.Replacement) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_artifact SET digest = $5 WHERE build_id = $1 AND task_id = $2 AND attempt = $3 AND name = $4`,
		id, r.Task, r.Attempt, r.Name, r.By)
	return db.One(res, err, "file %s of task %d is gone", r.Name, r.Task)
}

// SetTold writes whether it was told that a rebuild's packages are settled.
func SetTold(ctx context.Context, tx db.Tx, id albs.TaskID, told bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_task SET told = $2 WHERE task_id = $1`, id, told)
	return db.One(res, err, "task %d of a build is gone", id)
}

// SetNoarch writes what differs between the arches' copies of an item's noarch packages.
func SetNoarch(ctx context.Context, tx db.Tx, id albs.ItemID, d []settle.Difference) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET noarch = $2 WHERE id = $1`, id, Column[[]settle.Difference]{d})
	return db.One(res, err, "item %d is gone", id)
}

// GetBuild returns a build, or NotFound, which says so if it was deleted.
func GetBuild(ctx context.Context, q db.Q, id albs.BuildID) (Build, error) {
	var b Build
	err := q.GetContext(ctx, &b, `SELECT `+buildColumns+` FROM build WHERE id = $1`, id)
	if err == nil && !b.DeletedAt.IsZero() {
		err = albs.Errorf(albs.NotFound, "build %d was deleted by %s at %s", id, b.DeletedBy, b.DeletedAt.UTC().Format(time.RFC3339))
	}
	return b, db.Found(err, "build %d", id)
}

// Items returns the items of a build as listed.
func Items(ctx context.Context, q db.Q, id albs.BuildID) ([]Item, error) {
	var out []Item
	err := q.SelectContext(ctx, &out, `SELECT `+itemColumns+` FROM build_item WHERE build_id = $1 ORDER BY place`, id)
	return out, err
}

// GetItem returns an item, or NotFound.
func GetItem(ctx context.Context, q db.Q, id albs.ItemID) (Item, error) {
	var it Item
	err := q.GetContext(ctx, &it, `SELECT `+itemColumns+` FROM build_item WHERE id = $1`, id)
	return it, db.Found(err, "build item %d", id)
}

// Tasks returns the tasks of a build's items by id, those that count no more too.
func Tasks(ctx context.Context, q db.Q, id albs.BuildID) ([]Task, error) {
	var out []Task
	err := q.SelectContext(ctx, &out, `SELECT `+taskColumns+` FROM build_task WHERE build_id = $1 ORDER BY task_id`, id)
	return out, err
}

// Rebuilds returns the rebuilds of an item that count, by id.
func Rebuilds(ctx context.Context, q db.Q, id albs.ItemID) ([]Task, error) {
	var out []Task
	err := q.SelectContext(ctx, &out, `SELECT `+taskColumns+` FROM build_task WHERE item_id = $1 AND kind = $2 AND superseded = $3 ORDER BY task_id`, id, albs.KindBuild, false)
	return out, err
}

// GetTask returns what a task of the queue is to its build; NotFound if it is no build's,
// or finds an order.
func GetTask(ctx context.Context, q db.Q, id albs.TaskID) (Task, error) {
	var t Task
	err := q.GetContext(ctx, &t, `SELECT `+taskColumns+` FROM build_task WHERE task_id = $1`, id)
	return t, db.Found(err, "task %d of a build", id)
}

// Artifacts returns the files of a build by task, attempt and name.
func Artifacts(ctx context.Context, q db.Q, id albs.BuildID) ([]Artifact, error) {
	var out []Artifact
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE build_id = $1 ORDER BY task_id, attempt, name`, id)
	return out, err
}

// LeftBy returns the RPMs that an attempt left, by name, those that were replaced too.
func LeftBy(ctx context.Context, q db.Q, task albs.TaskID, attempt int) ([]Artifact, error) {
	var out []Artifact
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact
		WHERE task_id = $1 AND attempt = $2 AND kind IN ('rpm', $3) ORDER BY name`, task, attempt, replaced)
	return out, err
}

const perLook = 5000 // digests, each twice; a database takes 32,000 arguments

// MadeOf returns of which build each of the packages is, as what it made or was given,
// those of none left out. A package that several builds have is the first one's.
func MadeOf(ctx context.Context, q db.Q, ds []albs.Digest) (map[albs.Digest]albs.BuildID, error) {
	out := make(map[albs.Digest]albs.BuildID, len(ds))
	for some := range slices.Chunk(ds, perLook) {
		query, args, err := db.In(`SELECT digest, build_id FROM build_artifact WHERE digest IN (?)
			UNION SELECT srpm AS digest, build_id FROM build_item WHERE srpm IN (?)`, some, some)
		if err != nil {
			return nil, err
		}
		var rows []struct {
			Digest albs.Digest  `db:"digest"`
			Build  albs.BuildID `db:"build_id"`
		}
		if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, err
		}
		for _, r := range rows {
			if first, ok := out[r.Digest]; !ok || r.Build < first {
				out[r.Digest] = r.Build
			}
		}
	}
	return out, nil
}

// Held returns the files of a build's repository of a platform and arch, by name.
func Held(ctx context.Context, q db.Q, id albs.BuildID, platform string, arch albs.Arch) (map[string]albs.Digest, error) {
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

// Filter says which builds List returns. Empty fields don't filter.
type Filter struct {
	Before   albs.BuildID // only builds with a lower id, for the next page
	Limit    int          // 1 to 200; 0 is 20
	Skip     int          // so many builds first, for pages that are numbered
	Owner    string
	Product  string
	Package  string
	Platform string
}

// List returns builds below f.Before, newest first, one more than f.Limit if
// there are more.
func List(ctx context.Context, q db.Q, f Filter) ([]Build, error) {
	where, args := f.where()
	var out []Build
	err := q.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+buildColumns+` FROM build WHERE %s ORDER BY id DESC LIMIT $%d OFFSET $%d`,
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

// Count returns how many builds a filter leaves, whatever its Limit and Skip.
func Count(ctx context.Context, q db.Q, f Filter) (int, error) {
	where, args := f.where()
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM build WHERE `+where, args...)
	return n, err
}

// Orders.

// Request reads what a build was asked for into a pointer to what AddBuild was given;
// NotFound for builds older than the keeping of it.
func Request(ctx context.Context, q db.Q, id albs.BuildID, into any) error {
	var text string
	if err := q.GetContext(ctx, &text, `SELECT request FROM build WHERE id = $1`, id); err != nil {
		return db.Found(err, "build %d", id)
	}
	if text == "" {
		return albs.Errorf(albs.NotFound, "build %d was made by an earlier version of albs, which didn't keep what was asked for", id)
	}
	return json.Unmarshal([]byte(text), into)
}

// SetFacts writes what the graph is made from.
func SetFacts(ctx context.Context, tx db.Tx, id albs.ItemID, facts []albs.SpecFacts) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET facts = $2 WHERE id = $1`, id, Column[[]albs.SpecFacts]{facts})
	return db.One(res, err, "item %d is gone", id)
}

// SetDropped writes whether an item is left out by itself.
func SetDropped(ctx context.Context, tx db.Tx, id albs.ItemID, dropped bool) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET dropped = $2 WHERE id = $1`, id, dropped)
	return db.One(res, err, "item %d is gone", id)
}

// GraphItems returns the items of a platform that are in its order, with their facts,
// as listed.
func GraphItems(ctx context.Context, q db.Q, id albs.BuildID, platform string) ([]graph.Item, error) {
	var rows []struct {
		ID      albs.ItemID              `db:"id"`
		Package string                   `db:"package"`
		Arches  Column[[]albs.Arch]      `db:"arches"`
		Facts   Column[[]albs.SpecFacts] `db:"facts"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT id, package, arches, facts FROM build_item
		WHERE build_id = $1 AND platform = $2 AND NOT dropped ORDER BY place`, id, platform)
	out := make([]graph.Item, len(rows))
	for i, r := range rows {
		out[i] = graph.Item{Item: r.ID, Package: r.Package, Arches: r.Arches.V, Facts: r.Facts.V}
	}
	return out, err
}

// Gate is the task that finds the order of a platform.
type Gate struct {
	Platform string      `db:"platform"`
	TaskID   albs.TaskID `db:"task_id"`
	Known    bool        `db:"known"` // it was found
}

// Gates returns the tasks that find a build's orders, by platform.
func Gates(ctx context.Context, q db.Q, id albs.BuildID) ([]Gate, error) {
	var out []Gate
	err := q.SelectContext(ctx, &out, `SELECT platform, task_id, graph IS NOT NULL AS known FROM build_graph
		WHERE build_id = $1 ORDER BY platform`, id)
	return out, err
}

// SetGate makes task the one that finds the order of a platform, which is unknown from
// then on.
func SetGate(ctx context.Context, tx db.Tx, id albs.BuildID, platform string, task albs.TaskID) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO build_graph (build_id, platform, task_id) VALUES ($1, $2, $3)
		ON CONFLICT (build_id, platform) DO UPDATE SET task_id = $3, graph = NULL`, id, platform, task)
	if err != nil {
		return fmt.Errorf("write task of graph: %w", err)
	}
	return nil
}

// SetGraph writes the order that was found for a platform.
func SetGraph(ctx context.Context, tx db.Tx, id albs.BuildID, platform string, g graph.Graph) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_graph SET graph = $3 WHERE build_id = $1 AND platform = $2`, id, platform, Column[graph.Graph]{g})
	return db.One(res, err, "the graph of build %d for %s is gone", id, platform)
}

// GetGraph returns the order that was found for a platform; NotFound before.
func GetGraph(ctx context.Context, q db.Q, id albs.BuildID, platform string) (graph.Graph, error) {
	var g Column[graph.Graph]
	err := q.GetContext(ctx, &g, `SELECT graph FROM build_graph WHERE build_id = $1 AND platform = $2 AND graph IS NOT NULL`, id, platform)
	return g.V, db.Found(err, "graph of build %d for %s yet", id, platform)
}

// Supersede has a task count no more.
func Supersede(ctx context.Context, tx db.Tx, id albs.TaskID) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_task SET superseded = $2 WHERE task_id = $1`, id, true)
	return db.One(res, err, "task %d is gone", id)
}

// Retire takes the packages of an item out of those that the build's repositories hold.
func Retire(ctx context.Context, tx db.Tx, id albs.ItemID) error {
	_, err := tx.ExecContext(ctx, `UPDATE build_artifact SET kind = $2, arch = '' WHERE item_id = $1 AND arch <> ''`, id, replaced)
	if err != nil {
		return fmt.Errorf("retire packages of item %d: %w", id, err)
	}
	return nil
}

// replaced is the kind of a package that was in a repository of the build until a fresh
// SRPM took its place.
const replaced = "replaced"

// ClearSRPM forgets an item's SRPM with all that was learnt of it.
func ClearSRPM(ctx context.Context, tx db.Tx, id albs.ItemID) error {
	res, err := tx.ExecContext(ctx, `UPDATE build_item SET srpm = NULL, srpm_name = '', facts = NULL, noarch = '[]' WHERE id = $1`, id)
	return db.One(res, err, "item %d is gone", id)
}

// SetDeleted writes that a build was deleted; Conflict if it was already.
func SetDeleted(ctx context.Context, tx db.Tx, id albs.BuildID, by string, at db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE build SET deleted_at = $2, deleted_by = $3 WHERE id = $1 AND deleted_at IS NULL`, id, at, by)
	return db.One(res, err, "build %d is deleted already", id)
}

// HeldOf returns an item's files in the build's repositories.
func HeldOf(ctx context.Context, q db.Q, id albs.ItemID) ([]Artifact, error) {
	var out []Artifact
	err := q.SelectContext(ctx, &out, `SELECT `+artifactColumns+` FROM build_artifact WHERE item_id = $1 AND arch <> '' ORDER BY arch, name`, id)
	return out, err
}

// SRPMsOf returns at most limit SRPMs that were made of a commit, the oldest first.
func SRPMsOf(ctx context.Context, q db.Q, commit string, limit int) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT srpm FROM build_item WHERE commit_id = $1 AND srpm IS NOT NULL GROUP BY srpm ORDER BY min(id) LIMIT $2`, commit, limit)
	return ds, err
}

// PackagesOf returns at most limit packages that were made of an SRPM, the oldest first.
func PackagesOf(ctx context.Context, q db.Q, srpm albs.Digest, limit int) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT a.digest FROM build_artifact a JOIN build_item i ON i.id = a.item_id
		WHERE i.srpm = $1 AND a.kind = 'rpm' GROUP BY a.digest ORDER BY min(a.task_id), min(a.name) LIMIT $2`, srpm, limit)
	return ds, err
}
