package keep

import (
	"context"
	"database/sql"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type buildRow struct {
	ID     albs.BuildID `db:"id"`
	Linked string       `db:"linked"`
}

type itemRow struct {
	BuildID  albs.BuildID   `db:"build_id"`
	Imported sql.NullString `db:"imported"`
	SRPM     albs.Digest    `db:"srpm"`
	Noarch   string         `db:"noarch"`
}

func undeleted(ctx context.Context, q db.Q, after albs.BuildID, since db.Time) (rows []buildRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT id, linked FROM build WHERE id > $1 AND (deleted_at IS NULL OR deleted_at > $3) ORDER BY id LIMIT $2`, after, page, since)
	return rows, err
}

// items returns those of the builds from first to last that were not deleted before.
func items(ctx context.Context, q db.Q, first, last albs.BuildID, since db.Time) (rows []itemRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT i.build_id, i.imported, i.srpm, i.noarch FROM build_item i JOIN build b ON b.id = i.build_id
		WHERE b.id BETWEEN $1 AND $2 AND (b.deleted_at IS NULL OR b.deleted_at > $3)`, first, last, since)
	return rows, err
}

// files returns what attempts for those builds left, likewise.
func files(ctx context.Context, q db.Q, first, last albs.BuildID, since db.Time) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT DISTINCT a.digest FROM build_artifact a JOIN build b ON b.id = a.build_id
		WHERE b.id BETWEEN $1 AND $2 AND (b.deleted_at IS NULL OR b.deleted_at > $3)`, first, last, since)
	return ds, err
}

func deleted(ctx context.Context, q db.Q, by db.Time) (ids []albs.BuildID, err error) {
	err = q.SelectContext(ctx, &ids, `SELECT id FROM build WHERE deleted_at <= $1`, by)
	return ids, err
}

func held(ctx context.Context, q db.Q, of []albs.Digest, by db.Time) (ds []albs.Digest, err error) {
	query, args, err := db.In(`SELECT a.digest FROM build_artifact a JOIN build b ON b.id = a.build_id
			WHERE a.digest IN (?) AND (b.deleted_at IS NULL OR b.deleted_at > ?)
		UNION SELECT i.srpm AS digest FROM build_item i JOIN build b ON b.id = i.build_id
			WHERE i.srpm IN (?) AND (b.deleted_at IS NULL OR b.deleted_at > ?)`, of, by, of, by)
	if err != nil {
		return nil, err
	}
	err = q.SelectContext(ctx, &ds, query, args...)
	return ds, err
}
