package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

// file returns the sha256 of the look-aside file with the given foreign digest,
// or "" if none was seen.
func (s store) file(ctx context.Context, a Algorithm, hex string) (albs.Digest, error) {
	var d albs.Digest
	err := s.d.GetContext(ctx, &d, `SELECT digest FROM source_file WHERE algorithm = $1 AND hex = $2`, a, hex)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look up source file: %w", err)
	}
	return d, nil
}

// addFile remembers that a foreign digest was checked to name the file with
// digest d. The first entry stays.
func (s store) addFile(ctx context.Context, a Algorithm, hex string, d albs.Digest) error {
	_, err := s.d.ExecContext(ctx, `INSERT INTO source_file (algorithm, hex, digest, added_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (algorithm, hex) DO NOTHING`, a, hex, d, db.Now())
	if err != nil {
		return fmt.Errorf("remember source file: %w", err)
	}
	return nil
}
