package reference

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/platform"
)

type store struct{ d *db.DB }

type repositoryRow struct {
	ID       int64       `db:"id"`
	URL      string      `db:"url"`
	Repomd   albs.Digest `db:"repomd"`
	Packages int         `db:"packages"`
	ListedAt db.Time     `db:"listed_at"`
	LookedAt db.Time     `db:"looked_at"`
	Failure  string      `db:"failure"`
	Provides albs.Digest `db:"provides"`
}

type packageRow struct {
	Name    string `db:"name"`
	Epoch   int    `db:"epoch"`
	Version string `db:"version"`
	Release string `db:"release"`
	Arch    string `db:"arch"`
	Source  string `db:"source"`
}

// repositories returns what is known of references, by URL.
func (s store) repositories(ctx context.Context, references []platform.Reference) (map[string]repositoryRow, error) {
	out := make(map[string]repositoryRow, len(references))
	if len(references) == 0 {
		return out, nil
	}
	urls := make([]string, len(references))
	for i, r := range references {
		urls[i] = r.URL
	}
	q, args, err := db.In(`SELECT id, url, repomd, packages, listed_at, looked_at, failure, provides FROM reference_repository WHERE url IN (?)`, urls)
	if err != nil {
		return nil, err
	}
	var rows []repositoryRow
	if err := s.d.SelectContext(ctx, &rows, q, args...); err != nil {
		return nil, fmt.Errorf("read references: %w", err)
	}
	for _, r := range rows {
		out[r.URL] = r
	}
	return out, nil
}

// unchanged notes that the repository was asked and reports whether what it shows is
// listed, and what that provides is kept; if not, nothing is noted.
func (s store) unchanged(ctx context.Context, url string, revision albs.Digest, now db.Time) (bool, error) {
	var n int64
	err := s.d.InTx(ctx, func(tx db.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE reference_repository SET looked_at = $3, failure = '' WHERE url = $1 AND repomd = $2 AND provides <> ''`, url, revision, now)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note look at reference: %w", err)
	}
	return n > 0, nil
}

// failed notes why a repository couldn't be read.
func (s store) failed(ctx context.Context, url, why string, now db.Time) error {
	err := s.d.InTx(ctx, func(tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO reference_repository (url, packages, looked_at, failure) VALUES ($1, 0, $2, $3)
			ON CONFLICT (url) DO UPDATE SET looked_at = excluded.looked_at, failure = excluded.failure`, url, now, why)
		return err
	})
	if err != nil {
		return fmt.Errorf("note failure of reference: %w", err)
	}
	return nil
}

const perInsert = 1000 // rows; each database takes 32,000 arguments and more

// list replaces what is listed of a repository, and what it provides, which keep adds to
// the artifacts.
func (s store) list(ctx context.Context, url string, revision albs.Digest, packages []packageRow, now db.Time, keep func(db.Tx) (albs.Digest, error)) error {
	err := s.d.InTx(ctx, func(tx db.Tx) error {
		provides, err := keep(tx)
		if err != nil {
			return err
		}
		var id int64
		err = tx.GetContext(ctx, &id, `INSERT INTO reference_repository (url, repomd, packages, listed_at, looked_at, failure, provides) VALUES ($1, $2, $3, $4, $4, '', $5)
			ON CONFLICT (url) DO UPDATE SET repomd = excluded.repomd, packages = excluded.packages, listed_at = excluded.listed_at,
			looked_at = excluded.looked_at, failure = '', provides = excluded.provides RETURNING id`, url, revision, len(packages), now, provides)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM reference_package WHERE repository_id = $1`, id); err != nil {
			return err
		}
		for rows := range slices.Chunk(packages, perInsert) {
			var q strings.Builder
			q.WriteString(`INSERT INTO reference_package (repository_id, name, epoch, version, release, arch, source) VALUES `)
			args := make([]any, 0, 7*len(rows))
			for i, p := range rows {
				if i > 0 {
					q.WriteByte(',')
				}
				n := len(args)
				fmt.Fprintf(&q, "($%d,$%d,$%d,$%d,$%d,$%d,$%d)", n+1, n+2, n+3, n+4, n+5, n+6, n+7)
				args = append(args, id, p.Name, p.Epoch, p.Version, p.Release, p.Arch, p.Source)
			}
			if _, err := tx.ExecContext(ctx, q.String(), args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list packages of reference: %w", err)
	}
	return nil
}

// provides returns what is kept of all repositories.
func (s store) provides(ctx context.Context) (ds []albs.Digest, err error) {
	err = s.d.SelectContext(ctx, &ds, `SELECT DISTINCT provides FROM reference_repository WHERE provides <> ''`)
	return ds, err
}

const perQuery = 5000 // names, each twice

// find returns what a repository lists of the names, of packages or source packages.
func (s store) find(ctx context.Context, repository int64, names []string) ([]packageRow, error) {
	var out []packageRow
	seen := map[packageRow]bool{}
	for some := range slices.Chunk(names, perQuery) {
		q, args, err := db.In(`SELECT name, epoch, version, release, arch, source FROM reference_package
			WHERE repository_id = ? AND (name IN (?) OR source IN (?)) ORDER BY name, arch, epoch, version, release`, repository, some, some)
		if err != nil {
			return nil, err
		}
		var rows []packageRow
		if err := s.d.SelectContext(ctx, &rows, q, args...); err != nil {
			return nil, fmt.Errorf("find packages of reference: %w", err)
		}
		for _, r := range rows {
			if !seen[r] {
				seen[r] = true
				out = append(out, r)
			}
		}
	}
	return out, nil
}
