package monitor

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/master/db"
)

// load returns what was found last of a product, or NotFound.
func load(ctx context.Context, q db.Q, product string) (Result, error) {
	var document string
	err := q.GetContext(ctx, &document, `SELECT document FROM errata_check WHERE product = $1`, product)
	if err := db.Found(err, "check of product %.80q", product); err != nil {
		return Result{}, err
	}
	var r Result
	if err := json.Unmarshal([]byte(document), &r); err != nil {
		return Result{}, fmt.Errorf("check of product %s: %w", product, err)
	}
	return r, nil
}

// save writes what was found in place of what was found before.
func save(ctx context.Context, tx db.Tx, r Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode what was found: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO errata_check (product, document, checked_at) VALUES ($1, $2, $3)
		ON CONFLICT (product) DO UPDATE SET document = excluded.document, checked_at = excluded.checked_at`, r.Product, string(b), db.At(r.Checked))
	return err
}
