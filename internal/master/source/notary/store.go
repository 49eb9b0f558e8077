package notary

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

type commitRow struct {
	ID          int64       `db:"id"`
	Repository  string      `db:"repository"`
	Commit      string      `db:"commit_id"`
	Subject     albs.Digest `db:"subject"`
	Ref         string      `db:"ref"`
	Author      string      `db:"author"`
	Title       string      `db:"title"`
	CommittedAt db.Time     `db:"committed_at"`
	NotarizedAt db.Time     `db:"notarized_at"`
}

const commitColumns = `id, repository, commit_id, subject, ref, author, title, committed_at, notarized_at`

type refRow struct {
	ID         int64   `db:"id"`
	Repository string  `db:"repository"`
	Ref        string  `db:"ref"`
	Commit     string  `db:"commit_id"`
	Previous   string  `db:"previous"`
	Rewritten  bool    `db:"rewritten"`
	Actor      string  `db:"actor"`
	At         db.Time `db:"at"`
}

const refColumns = `id, repository, ref, commit_id, previous, rewritten, actor, at`

// addCommit adds a commit of a repository, and tells whether it wasn't there.
func (s store) addCommit(ctx context.Context, tx db.Tx, c commitRow) (bool, error) {
	r, err := tx.ExecContext(ctx, `INSERT INTO source_commit (repository, commit_id, subject, ref, author, title, committed_at, notarized_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (repository, commit_id) DO NOTHING`,
		c.Repository, c.Commit, c.Subject, c.Ref, c.Author, c.Title, c.CommittedAt, c.NotarizedAt)
	if err != nil {
		return false, fmt.Errorf("insert source commit: %w", err)
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// known returns those of the commits that a repository has here.
func (s store) known(ctx context.Context, repository string, commits []string) (map[string]bool, error) {
	out := make(map[string]bool, len(commits))
	for some := range slices.Chunk(commits, 500) {
		query, args, err := db.In(`SELECT commit_id FROM source_commit WHERE repository = ? AND commit_id IN (?)`, repository, some)
		if err != nil {
			return nil, err
		}
		var found []string
		if err := s.d.SelectContext(ctx, &found, query, args...); err != nil {
			return nil, fmt.Errorf("look up source commits: %w", err)
		}
		for _, c := range found {
			out[c] = true
		}
	}
	return out, nil
}

// commit returns a commit of a repository, or NotFound.
func (s store) commit(ctx context.Context, repository, commit string) (commitRow, error) {
	var c commitRow
	err := s.d.GetContext(ctx, &c, `SELECT `+commitColumns+` FROM source_commit WHERE repository = $1 AND commit_id = $2`, repository, commit)
	return c, db.Found(err, "notarized commit %.40s of %s", commit, repository)
}

// commits returns at most limit commits of a repository below an id, the newest first.
func (s store) commits(ctx context.Context, repository string, before int64, limit int) (out []commitRow, err error) {
	var w db.Where
	w.If(true, "repository = $%d", repository)
	w.If(before > 0, "id < $%d", before)
	condition, args := w.SQL()
	err = s.d.SelectContext(ctx, &out, `SELECT `+commitColumns+` FROM source_commit WHERE `+condition+
		fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)+1), append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list source commits: %w", err)
	}
	return out, nil
}

// lastRef returns what a ref named the last time, the zero row if it was never looked at.
func (s store) lastRef(ctx context.Context, q db.Q, repository, ref string) (refRow, error) {
	var r refRow
	err := q.GetContext(ctx, &r, `SELECT `+refColumns+` FROM source_ref WHERE repository = $1 AND ref = $2 ORDER BY id DESC LIMIT 1`, repository, ref)
	if errors.Is(err, sql.ErrNoRows) {
		return refRow{}, nil
	}
	if err != nil {
		return r, fmt.Errorf("look up source ref: %w", err)
	}
	return r, nil
}

func (s store) addRef(ctx context.Context, tx db.Tx, r refRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO source_ref (repository, ref, commit_id, previous, rewritten, actor, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		r.Repository, r.Ref, r.Commit, r.Previous, r.Rewritten, r.Actor, r.At)
	if err != nil {
		return fmt.Errorf("insert source ref: %w", err)
	}
	return nil
}

// refs returns at most limit of what refs of a repository named, below an id, the newest
// first; ref "" is all.
func (s store) refs(ctx context.Context, repository, ref string, before int64, limit int) (out []refRow, err error) {
	var w db.Where
	w.If(true, "repository = $%d", repository)
	w.If(ref != "", "ref = $%d", ref)
	w.If(before > 0, "id < $%d", before)
	condition, args := w.SQL()
	err = s.d.SelectContext(ctx, &out, `SELECT `+refColumns+` FROM source_ref WHERE `+condition+
		fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)+1), append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("list source refs: %w", err)
	}
	return out, nil
}

type repositoryRow struct {
	URL     string  `db:"repository"`
	Commits int     `db:"commits"`
	Last    db.Time `db:"last"`
}

// repositories returns at most limit repositories behind a URL, by URL.
func (s store) repositories(ctx context.Context, after string, limit int) (out []repositoryRow, err error) {
	err = s.d.SelectContext(ctx, &out, `SELECT repository, COUNT(*) AS commits, MAX(notarized_at) AS last FROM source_commit
		WHERE repository > $1 GROUP BY repository ORDER BY repository LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list source repositories: %w", err)
	}
	return out, nil
}
