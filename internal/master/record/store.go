package record

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type row struct {
	Product string      `db:"product"`
	Path    string      `db:"path"`
	Type    string      `db:"type"`
	Digest  albs.Digest `db:"digest"`
	Size    int64       `db:"size"`
	Files   string      `db:"files"`
	Actor   string      `db:"actor"`
	At      db.Time     `db:"at"`
}

// put writes a record in place of the one of its type, and reports whether that changed
// anything.
func put(ctx context.Context, tx db.Tx, g Given) (changed bool, err error) {
	files, err := json.Marshal(g.Files)
	if err != nil {
		return false, fmt.Errorf("encode record %s: %w", g.Type, err)
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO product_record (product, path, type, digest, size, files, actor, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (product, path, type) DO UPDATE SET digest = excluded.digest, size = excluded.size, files = excluded.files,
			actor = excluded.actor, at = excluded.at
		WHERE product_record.files <> excluded.files`,
		g.Product, g.Path, g.Type, g.Digest, g.Size, string(files), g.Actor, g.At)
	if err != nil {
		return false, fmt.Errorf("write record %s: %w", g.Type, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func remove(ctx context.Context, tx db.Tx, product, path, typ string) error {
	res, err := tx.ExecContext(ctx, `DELETE FROM product_record WHERE product = $1 AND path = $2 AND type = $3`, product, path, typ)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = albs.Errorf(albs.NotFound, "it has no record %.40q", typ)
	}
	return err
}

const columns = `SELECT product, path, type, digest, size, files, actor, at FROM product_record`

func list(ctx context.Context, q db.Q, product string) ([]Given, error) {
	var rows []row
	if err := q.SelectContext(ctx, &rows, columns+` WHERE product = $1 ORDER BY path, type`, product); err != nil {
		return nil, err
	}
	return decode(rows)
}

// every returns the records of all products.
func every(ctx context.Context, q db.Q) ([]Given, error) {
	var rows []row
	if err := q.SelectContext(ctx, &rows, columns); err != nil {
		return nil, err
	}
	return decode(rows)
}

func decode(rows []row) ([]Given, error) {
	out := make([]Given, len(rows))
	for i, r := range rows {
		out[i] = Given{Product: r.Product, Path: r.Path, Type: r.Type, Digest: r.Digest, Size: r.Size, Actor: r.Actor, At: r.At}
		if err := json.Unmarshal([]byte(r.Files), &out[i].Files); err != nil {
			return nil, fmt.Errorf("files of record %s of %s: %w", r.Type, r.Path, err)
		}
	}
	return out, nil
}
