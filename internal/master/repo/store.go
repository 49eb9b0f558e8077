package repo

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type row struct {
	Snapshot albs.Digest `db:"snapshot"`
	Serial   int64       `db:"serial"`
}

func ensure(ctx context.Context, tx db.Tx, name string, at db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO repository (name, snapshot, serial, at) VALUES ($1, NULL, 0, $2)
		ON CONFLICT (name) DO NOTHING`, name, at)
	return err
}

func get(ctx context.Context, q db.Q, name string) (r row, err error) {
	err = q.GetContext(ctx, &r, `SELECT snapshot, serial FROM repository WHERE name = $1`, name)
	return r, db.Found(err, "repository %.200q", name)
}

func advance(ctx context.Context, tx db.Tx, name string, from, to albs.Digest, at db.Time) error {
	res, err := tx.ExecContext(ctx, `UPDATE repository SET snapshot = $1, serial = serial + 1, at = $2
		WHERE name = $3 AND COALESCE(snapshot, $4) = $5`, to, at, name, emptyDigest(), from)
	return db.One(res, err, "repository %s has moved on since snapshot %s; extend it again", name, from.Short())
}

func forget(ctx context.Context, tx db.Tx, names []string, at db.Time) error {
	for some := range slices.Chunk(names, 500) {
		query, args, err := db.In(`UPDATE repository SET forgotten_at = ? WHERE forgotten_at IS NULL AND name IN (?)`, at, some)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

func shownSnapshots(ctx context.Context, q db.Q, since db.Time) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT snapshot FROM repository WHERE snapshot IS NOT NULL
		AND (forgotten_at IS NULL OR forgotten_at > $1)`, since)
	return ds, err
}

func keptTrees(ctx context.Context, q db.Q, since db.Time) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT digest FROM tree WHERE retired_at IS NULL OR retired_at > $1`, since)
	return ds, err
}

// retire marks the trees of a product below a serial, but for the current one.
func retire(ctx context.Context, tx db.Tx, product string, below int64, at db.Time) (serials []int64, err error) {
	err = tx.SelectContext(ctx, &serials, `UPDATE tree SET retired_at = $3
		WHERE product = $1 AND serial < $2 AND current = FALSE AND retired_at IS NULL RETURNING serial`, product, below, at)
	slices.Sort(serials)
	return serials, err
}

// retired returns the highest serial of each product that was retired before a time.
func retired(ctx context.Context, q db.Q, before db.Time) (map[string]int64, error) {
	var rows []struct {
		Product string `db:"product"`
		Serial  int64  `db:"serial"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT product, MAX(serial) AS serial FROM tree WHERE retired_at <= $1 GROUP BY product`, before)
	out := make(map[string]int64, len(rows))
	for _, r := range rows {
		out[r.Product] = r.Serial
	}
	return out, err
}

// oldestTree returns the oldest serial of a product that isn't retired.
func oldestTree(ctx context.Context, q db.Q, product string) (serial int64, err error) {
	err = q.GetContext(ctx, &serial, `SELECT COALESCE(MIN(serial), 0) FROM tree WHERE product = $1 AND retired_at IS NULL`, product)
	return serial, err
}

const treeColumns = `SELECT product, serial, digest, at, current, retired_at FROM tree`

func currentTree(ctx context.Context, q db.Q, product string) (t Tree, err error) {
	err = q.GetContext(ctx, &t, treeColumns+` WHERE product = $1 AND current = TRUE`, product)
	return t, db.Found(err, "published tree of product %.80q", product)
}

func treeAt(ctx context.Context, q db.Q, product string, serial int64) (t Tree, err error) {
	err = q.GetContext(ctx, &t, treeColumns+` WHERE product = $1 AND serial = $2`, product, serial)
	return t, db.Found(err, "tree %d of product %.80q", serial, product)
}

func treeShown(ctx context.Context, q db.Q, product string, at db.Time) (t Tree, err error) {
	err = q.GetContext(ctx, &t, treeColumns+` WHERE product = $1 AND at <= $2 ORDER BY serial DESC LIMIT 1`, product, at)
	return t, db.Found(err, "tree that product %.80q showed then", product)
}

func trees(ctx context.Context, q db.Q, product string, before int64, limit int) (ts []Tree, err error) {
	err = q.SelectContext(ctx, &ts, treeColumns+` WHERE product = $1 AND serial < $2 AND retired_at IS NULL ORDER BY serial DESC LIMIT $3`, product, before, limit)
	return ts, err
}

// replaceTree makes next current in place of the tree with serial from. The
// primary key and the one current row keep two from doing so.
func replaceTree(ctx context.Context, tx db.Tx, from int64, next Tree) error {
	moved := func(err error) error {
		return albs.Errorf(albs.Conflict, "product %s no longer shows serial %d; plan the release again: %w", next.Product, from, err)
	}
	if from > 0 {
		res, err := tx.ExecContext(ctx, `UPDATE tree SET current = FALSE WHERE product = $1 AND serial = $2 AND current = TRUE`, next.Product, from)
		if err = db.One(res, err, "serial %d is not the current one", from); err != nil {
			if albs.KindOf(err) == albs.Conflict {
				return moved(err)
			}
			return fmt.Errorf("replace tree %d of product %s: %w", from, next.Product, err)
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO tree (product, serial, digest, at, current) VALUES ($1, $2, $3, $4, $5)`,
		next.Product, next.Serial, next.Digest, next.At, next.Current)
	if db.IsUnique(err) {
		return moved(err)
	}
	if err != nil {
		return fmt.Errorf("add tree %d of product %s: %w", next.Serial, next.Product, err)
	}
	return nil
}
