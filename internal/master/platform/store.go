package platform

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type pinRow struct {
	Digest albs.Digest `db:"digest"`
	At     db.Time     `db:"at"`
}

func lastPin(ctx context.Context, q db.Q, url string) (r pinRow, err error) {
	err = q.GetContext(ctx, &r, `SELECT digest, at FROM mirror_pin WHERE url = $1`, url)
	return r, db.Found(err, "pin of %s", url)
}

func setPin(ctx context.Context, tx db.Tx, url string, d albs.Digest, at db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO mirror_pin (url, digest, at) VALUES ($1, $2, $3)
		ON CONFLICT (url) DO UPDATE SET digest = excluded.digest, at = excluded.at`, url, d, at)
	return err
}

func pins(ctx context.Context, q db.Q) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT digest FROM mirror_pin`)
	return ds, err
}
