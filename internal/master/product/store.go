package product

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type row struct {
	ID       int64       `db:"id"`
	Name     string      `db:"name"`
	Revision int64       `db:"revision"`
	Digest   albs.Digest `db:"digest"`
	Spec     string      `db:"spec"`
	Actor    string      `db:"actor"`
	At       db.Time     `db:"at"`
}

func (r row) product() (Product, error) {
	p := Product{ID: r.ID, Revision: r.Revision, Digest: r.Digest, Actor: r.Actor, At: r.At}
	if err := json.Unmarshal([]byte(r.Spec), &p.Spec); err != nil {
		return Product{}, fmt.Errorf("decode product %s revision %d: %w", r.Name, r.Revision, err)
	}
	return p, nil
}

func products(rows []row) ([]Product, error) {
	out := make([]Product, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.product(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

const columns = `SELECT p.id, p.name, p.revision, p.digest, p.spec, p.actor, p.at FROM product p`

// insert writes a revision. A name's first one, with ID 0, gets the next number.
func insert(ctx context.Context, tx db.Tx, r *row) error {
	return tx.GetContext(ctx, &r.ID, `INSERT INTO product (id, name, revision, digest, spec, actor, at)
		VALUES (COALESCE(NULLIF(CAST($1 AS BIGINT), 0), (SELECT COALESCE(MAX(p.id), 0) + 1 FROM product p)), $2, $3, $4, $5, $6, $7) RETURNING id`,
		r.ID, r.Name, r.Revision, r.Digest, r.Spec, r.Actor, r.At)
}

func latest(ctx context.Context, q db.Q, name string) (r row, err error) {
	err = q.GetContext(ctx, &r, columns+` WHERE p.name = $1 ORDER BY p.revision DESC LIMIT 1`, name)
	return r, db.Found(err, "product %.80q", name)
}

func at(ctx context.Context, q db.Q, name string, revision int64) (r row, err error) {
	err = q.GetContext(ctx, &r, columns+` WHERE p.name = $1 AND p.revision = $2`, name, revision)
	return r, db.Found(err, "revision %d of product %.80q", revision, name)
}

func list(ctx context.Context, q db.Q, after string, limit int) (rows []row, err error) {
	err = q.SelectContext(ctx, &rows, columns+` WHERE p.name > $1
		AND p.revision = (SELECT MAX(l.revision) FROM product l WHERE l.name = p.name)
		ORDER BY p.name LIMIT $2`, after, limit)
	return rows, err
}

func history(ctx context.Context, q db.Q, name string, before int64, limit int) (rows []row, err error) {
	err = q.SelectContext(ctx, &rows, columns+` WHERE p.name = $1 AND p.revision < $2
		ORDER BY p.revision DESC LIMIT $3`, name, before, limit)
	return rows, err
}
