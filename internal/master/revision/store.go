package revision

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// row is one of the table that has its kind's name.
type row struct {
	ID       int64       `db:"id"`
	Name     string      `db:"name"`
	Revision int64       `db:"revision"`
	Digest   albs.Digest `db:"digest"`
	Spec     string      `db:"spec"`
	Actor    string      `db:"actor"`
	At       db.Time     `db:"at"`
}

func columns(k Kind) string {
	return `SELECT r.id, r.name, r.revision, r.digest, r.spec, r.actor, r.at FROM ` + string(k) + ` r`
}

// insert writes a revision. A name's first one, with ID 0, gets the next number.
func insert(ctx context.Context, tx db.Tx, k Kind, r *row) error {
	return tx.GetContext(ctx, &r.ID, `INSERT INTO `+string(k)+` (id, name, revision, digest, spec, actor, at)
		VALUES (COALESCE(NULLIF(CAST($1 AS BIGINT), 0), (SELECT COALESCE(MAX(m.id), 0) + 1 FROM `+string(k)+` m)), $2, $3, $4, $5, $6, $7) RETURNING id`,
		r.ID, r.Name, r.Revision, r.Digest, r.Spec, r.Actor, r.At)
}

func latest(ctx context.Context, q db.Q, k Kind, name string) (r row, err error) {
	err = q.GetContext(ctx, &r, columns(k)+` WHERE r.name = $1 ORDER BY r.revision DESC LIMIT 1`, name)
	return r, db.Found(err, "%s %.80q", k, name)
}

func at(ctx context.Context, q db.Q, k Kind, name string, revision int64) (r row, err error) {
	err = q.GetContext(ctx, &r, columns(k)+` WHERE r.name = $1 AND r.revision = $2`, name, revision)
	return r, db.Found(err, "revision %d of %s %.80q", revision, k, name)
}

func latestByID(ctx context.Context, q db.Q, k Kind, id int64) (r row, err error) {
	err = q.GetContext(ctx, &r, columns(k)+` WHERE r.id = $1 ORDER BY r.revision DESC LIMIT 1`, id)
	return r, db.Found(err, "%s with id %d", k, id)
}

func all(ctx context.Context, q db.Q, k Kind) (rows []row, err error) {
	err = q.SelectContext(ctx, &rows, columns(k)+` WHERE r.revision = (SELECT MAX(l.revision) FROM `+string(k)+` l WHERE l.name = r.name)
		ORDER BY r.name`)
	return rows, err
}

func history(ctx context.Context, q db.Q, k Kind, name string, before int64, limit int) (rows []row, err error) {
	err = q.SelectContext(ctx, &rows, columns(k)+` WHERE r.name = $1 AND r.revision < $2
		ORDER BY r.revision DESC LIMIT $3`, name, before, limit)
	return rows, err
}
