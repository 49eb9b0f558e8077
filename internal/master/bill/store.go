package bill

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/sbom"
)

type store struct{ d *db.DB }

type row struct {
	ID        int64        `db:"id"`
	Kind      sbom.Kind    `db:"kind"`
	Subject   string       `db:"subject"`
	Name      string       `db:"name"`
	Facts     albs.Digest  `db:"facts"`
	Model     albs.Digest  `db:"model"`
	BuildID   albs.BuildID `db:"build_id"`
	Product   string       `db:"product"`
	Serial    int64        `db:"serial"`
	CreatedAt db.Time      `db:"created_at"`
}

// lasts tells of a package's bill that it is kept for good: a release made it.
func (r row) lasts() bool { return r.Kind == sbom.Package && r.BuildID == 0 }

const columns = `SELECT id, kind, subject, name, facts, model, build_id, product, serial, created_at FROM bill`

// get returns the bill of something; NotFound if there is none.
func (s store) get(ctx context.Context, q db.Q, k sbom.Kind, subject string) (row, error) {
	var r row
	err := q.GetContext(ctx, &r, columns+` WHERE kind = $1 AND subject = $2`, string(k), subject)
	return r, db.Found(err, "a bill of materials of %s %.80s", string(k), subject)
}

// facts returns of what the bill of something was made; "" if there is none.
func (s store) facts(ctx context.Context, k sbom.Kind, subject string) (albs.Digest, error) {
	r, err := s.get(ctx, s.d, k, subject)
	if errors.Is(err, albs.NotFound) {
		return "", nil
	}
	return r.Facts, err
}

// put writes the bill in place of the one before and sets its ID.
func (s store) put(ctx context.Context, tx db.Tx, r *row, documents map[sbom.Format]albs.Digest) error {
	err := tx.GetContext(ctx, &r.ID, `INSERT INTO bill (kind, subject, name, facts, model, build_id, product, serial, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (kind, subject) DO UPDATE SET name = excluded.name, facts = excluded.facts, model = excluded.model,
			build_id = excluded.build_id, product = excluded.product, serial = excluded.serial, created_at = excluded.created_at
		RETURNING id`, string(r.Kind), r.Subject, r.Name, r.Facts, r.Model, r.BuildID, r.Product, r.Serial, r.CreatedAt)
	if err != nil {
		return fmt.Errorf("write bill of %s %s: %w", r.Kind, r.Subject, err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM bill_document WHERE bill_id = $1`, r.ID); err != nil {
		return fmt.Errorf("clear documents of bill %d: %w", r.ID, err)
	}
	for f, d := range documents {
		if _, err := tx.ExecContext(ctx, `INSERT INTO bill_document (bill_id, format, digest) VALUES ($1, $2, $3)`, r.ID, string(f), d); err != nil {
			return fmt.Errorf("write document of bill %d: %w", r.ID, err)
		}
	}
	return nil
}

// document returns the digest of a format of a bill; "" if it isn't kept.
func (s store) document(ctx context.Context, id int64, f sbom.Format) (d albs.Digest, err error) {
	err = s.d.GetContext(ctx, &d, `SELECT digest FROM bill_document WHERE bill_id = $1 AND format = $2`, id, string(f))
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return d, err
}

// of returns the bills that packages have.
func (s store) of(ctx context.Context, ds []albs.Digest) (map[albs.Digest]row, error) {
	out := make(map[albs.Digest]row, len(ds))
	for some := range slices.Chunk(ds, 500) {
		query, args, err := db.In(columns+` WHERE kind = ? AND subject IN (?)`, string(sbom.Package), some)
		if err != nil {
			return nil, err
		}
		var found []row
		if err := s.d.SelectContext(ctx, &found, query, args...); err != nil {
			return nil, fmt.Errorf("look up bills of packages: %w", err)
		}
		for _, r := range found {
			out[albs.Digest(r.Subject)] = r
		}
	}
	return out, nil
}

// page is how many bills are read at once for the collection.
const page = 500

// after returns the next page of bills.
func (s store) after(ctx context.Context, id int64) (rows []row, err error) {
	err = s.d.SelectContext(ctx, &rows, columns+` WHERE id > $1 ORDER BY id LIMIT $2`, id, page)
	return rows, err
}

// documentsOf returns the documents of the bills from first to last.
func (s store) documentsOf(ctx context.Context, first, last int64) (rows []documentRow, err error) {
	err = s.d.SelectContext(ctx, &rows, `SELECT bill_id, digest FROM bill_document WHERE bill_id BETWEEN $1 AND $2`, first, last)
	return rows, err
}

type documentRow struct {
	BillID int64       `db:"bill_id"`
	Digest albs.Digest `db:"digest"`
}
