package transparency

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/release"
	"albs/internal/tlog"
)

type store struct{ d *db.DB }

// The steps of a leaf.
const (
	waits  = 1 // for the statements about its package to be in the ledger
	stated = 2 // what they say is fixed, and with it the leaf
	logged = 3 // it is in the log
	proven = 4 // a checkpoint tells of it
	asked  = 5 // a task is to lay the files
	laid   = 6
)

type leafRow struct {
	ID          int64          `db:"id"`
	Release     albs.ReleaseID `db:"release_id"`
	Product     string         `db:"product"`
	Package     albs.Digest    `db:"package"`
	Step        int            `db:"step"`
	Leaf        string         `db:"leaf"`
	Statements  albs.Digest    `db:"statements"`
	LedgerProof albs.Digest    `db:"ledger_proof"`
	LogProof    albs.Digest    `db:"log_proof"`
	Log         *int64         `db:"log_id"`
	Place       *int64         `db:"place"`
	Task        albs.TaskID    `db:"task_id"`
	ChangedAt   db.Time        `db:"changed_at"`
	// Withdrawn tells that the release is the one that took the package away. Such a leaf
	// goes from logged to laid, with nothing to lay.
	Withdrawn bool `db:"withdrawn"`
}

const leafColumns = `id, release_id, product, package, step, leaf, statements, ledger_proof, log_proof, log_id, place, task_id, changed_at, withdrawn`

type nameRow struct {
	Leaf int64  `db:"leaf_id"`
	Path string `db:"path"`
	File string `db:"file"`
}

type logRow struct {
	ID         int64       `db:"id"`
	Origin     string      `db:"origin"`
	VKey       string      `db:"vkey"`
	Size       int64       `db:"size"`
	Root       albs.Digest `db:"root"`
	Checkpoint string      `db:"checkpoint"`
	BegunAt    db.Time     `db:"begun_at"`
}

// published is what is remembered of the log.
func (r logRow) published() tlog.Checkpoint {
	return tlog.Checkpoint{Origin: r.Origin, Size: uint64(r.Size), Root: r.Root, Note: []byte(r.Checkpoint)}
}

// take makes a leaf of each package that a release added, or that it withdrew, unless it
// has one.
func (s store) take(ctx context.Context, tx db.Tx, added []release.Added, withdrawn bool, at db.Time) error {
	type key struct {
		release albs.ReleaseID
		digest  albs.Digest
	}
	ids := map[key]int64{}
	for _, a := range added {
		k := key{a.Release, a.Digest}
		id, known := ids[k]
		if !known {
			var rows []int64
			err := tx.SelectContext(ctx, &rows, `INSERT INTO transparency_leaf (release_id, product, package, step, leaf, task_id, changed_at, withdrawn)
				VALUES ($1, $2, $3, $4, '', 0, $5, $6) ON CONFLICT (release_id, package, withdrawn) DO NOTHING RETURNING id`,
				a.Release, a.Product, a.Digest, waits, at, withdrawn)
			if err != nil {
				return fmt.Errorf("insert leaf: %w", err)
			}
			if len(rows) > 0 {
				id = rows[0]
			}
			ids[k] = id
		}
		if id == 0 {
			continue // an event that comes twice
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO transparency_name (leaf_id, path, file) VALUES ($1, $2, $3)`, id, a.Path, a.File); err != nil {
			return fmt.Errorf("insert name of leaf: %w", err)
		}
	}
	return nil
}

// at returns the leaves at a step that come after one, at most limit.
func (s store) at(ctx context.Context, q db.Q, step int, after int64, limit int) (out []leafRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT `+leafColumns+` FROM transparency_leaf WHERE step = $1 AND id > $2 ORDER BY id LIMIT $3`, step, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read leaves: %w", err)
	}
	return out, nil
}

// names returns the names of leaves, by leaf.
func (s store) names(ctx context.Context, q db.Q, leaves []leafRow) (map[int64][]nameRow, error) {
	out := make(map[int64][]nameRow, len(leaves))
	if len(leaves) == 0 {
		return out, nil
	}
	var ids []int64
	for _, l := range leaves {
		ids = append(ids, l.ID)
	}
	query, args, err := db.In(`SELECT leaf_id, path, file FROM transparency_name WHERE leaf_id IN (?) ORDER BY leaf_id, path, file`, ids)
	if err != nil {
		return nil, err
	}
	var rows []nameRow
	if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read names of leaves: %w", err)
	}
	for _, r := range rows {
		out[r.Leaf] = append(out[r.Leaf], r)
	}
	return out, nil
}

// move brings a leaf from one step to that of l, with what l has; Conflict if it isn't
// there any more.
func (s store) move(ctx context.Context, tx db.Tx, l leafRow, from int) error {
	r, err := tx.ExecContext(ctx, `UPDATE transparency_leaf SET step = $3, leaf = $4, statements = $5, ledger_proof = $6, log_proof = $7,
		log_id = $8, place = $9, task_id = $10, changed_at = $11 WHERE id = $1 AND step = $2`,
		l.ID, from, l.Step, l.Leaf, l.Statements, l.LedgerProof, l.LogProof, l.Log, l.Place, l.Task, db.Now())
	return db.One(r, err, "leaf %d isn't where it was: another master carries it too", l.ID)
}

// done notes that the files of a task's leaves are laid, but of those that are wrong.
func (s store) done(ctx context.Context, tx db.Tx, task albs.TaskID) error {
	_, err := tx.ExecContext(ctx, `UPDATE transparency_leaf SET step = $2, changed_at = $3 WHERE task_id = $1 AND step = $4`, task, laid, db.Now(), asked)
	if err != nil {
		return fmt.Errorf("note what was laid: %w", err)
	}
	return nil
}

// failed has the leaves of a task that laid nothing wait to be asked for again; they keep
// its id.
func (s store) failed(ctx context.Context, tx db.Tx, task albs.TaskID) error {
	_, err := tx.ExecContext(ctx, `UPDATE transparency_leaf SET step = $2, changed_at = $3 WHERE task_id = $1 AND step = $4`, task, proven, db.Now(), asked)
	if err != nil {
		return fmt.Errorf("note what wasn't laid: %w", err)
	}
	return nil
}

// wrong is failed of some packages of a task.
func (s store) wrong(ctx context.Context, tx db.Tx, task albs.TaskID, packages []albs.Digest) error {
	query, args, err := db.In(`UPDATE transparency_leaf SET step = ?, changed_at = ? WHERE task_id = ? AND step = ? AND package IN (?)`, proven, db.Now(), task, asked, packages)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("note what wasn't laid: %w", err)
	}
	return nil
}

// toAsk returns leaves that are proven and that no task was made for, or only one that
// failed before a time. They come after one, and are at most limit.
func (s store) toAsk(ctx context.Context, q db.Q, before db.Time, after int64, limit int) (out []leafRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT `+leafColumns+` FROM transparency_leaf WHERE step = $1 AND (task_id = 0 OR changed_at < $2) AND id > $3 ORDER BY id LIMIT $4`, proven, before, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read leaves: %w", err)
	}
	return out, nil
}

// notLaid returns a task that didn't lay the files of all its leaves, 0 if there is none.
func (s store) notLaid(ctx context.Context, q db.Q) (id albs.TaskID, err error) {
	err = q.GetContext(ctx, &id, `SELECT COALESCE(MAX(task_id), 0) FROM transparency_leaf WHERE step = $1`, proven)
	return id, err
}

// next returns the place after the last that is known of a log.
func (s store) next(ctx context.Context, q db.Q, log int64) (n int64, err error) {
	err = q.GetContext(ctx, &n, `SELECT COALESCE(MAX(place), -1) + 1 FROM transparency_leaf WHERE log_id = $1`, log)
	return n, err
}

// counts returns how many leaves of released packages are at each step, and how many of
// withdrawn ones.
func (s store) counts(ctx context.Context, q db.Q) (releases, withdrawals map[int]int, err error) {
	var rows []struct {
		Step      int  `db:"step"`
		Withdrawn bool `db:"withdrawn"`
		N         int  `db:"n"`
	}
	if err := q.SelectContext(ctx, &rows, `SELECT step, withdrawn, COUNT(*) AS n FROM transparency_leaf GROUP BY step, withdrawn`); err != nil {
		return nil, nil, fmt.Errorf("count leaves: %w", err)
	}
	releases, withdrawals = map[int]int{}, map[int]int{}
	for _, r := range rows {
		if r.Withdrawn {
			withdrawals[r.Step] = r.N
		} else {
			releases[r.Step] = r.N
		}
	}
	return releases, withdrawals, nil
}

// files returns the digests of all files beside packages.
func (s store) files(ctx context.Context, q db.Q) ([]albs.Digest, error) {
	var rows []leafRow
	if err := q.SelectContext(ctx, &rows, `SELECT statements, ledger_proof, log_proof FROM transparency_leaf WHERE step > $1`, waits); err != nil {
		return nil, fmt.Errorf("read files of leaves: %w", err)
	}
	var out []albs.Digest
	for _, r := range rows {
		for _, d := range []albs.Digest{r.Statements, r.LedgerProof, r.LogProof} {
			if d != "" {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// beside returns the last proven leaf of a package; NotFound if there is none.
func (s store) beside(ctx context.Context, q db.Q, d albs.Digest) (l leafRow, err error) {
	err = q.GetContext(ctx, &l, `SELECT `+leafColumns+` FROM transparency_leaf WHERE package = $1 AND step >= $2 AND NOT withdrawn ORDER BY id DESC LIMIT 1`, d, proven)
	if err != nil {
		return l, db.Found(err, "proof yet that %s was released in the public log", d)
	}
	return l, nil
}

// standing returns where all leaves are, without what they say.
func (s store) standing(ctx context.Context, q db.Q) (out []leafRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT release_id, package, step, log_id, place, withdrawn FROM transparency_leaf`)
	if err != nil {
		return nil, fmt.Errorf("read where leaves are: %w", err)
	}
	return out, nil
}

// logs returns all logs, the one that is appended to last.
func (s store) logs(ctx context.Context, q db.Q) (out []logRow, err error) {
	err = q.SelectContext(ctx, &out, `SELECT id, origin, vkey, size, root, checkpoint, begun_at FROM transparency_log ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read logs: %w", err)
	}
	return out, nil
}

// begin writes a new log.
func (s store) begin(ctx context.Context, tx db.Tx, r logRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO transparency_log (id, origin, vkey, size, root, checkpoint, begun_at) VALUES ($1, $2, $3, 0, '', '', $4)`,
		r.ID, r.Origin, r.VKey, r.BegunAt)
	if err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	return nil
}

// remember notes what was published of a log; never less than before.
func (s store) remember(ctx context.Context, tx db.Tx, log int64, c tlog.Checkpoint) error {
	r, err := tx.ExecContext(ctx, `UPDATE transparency_log SET size = $2, root = $3, checkpoint = $4 WHERE id = $1 AND size <= $2`,
		log, int64(c.Size), c.Root, string(c.Note))
	return db.One(r, err, "more of the log %s was published than %d leaves: another master keeps it too", c.Origin, c.Size)
}
