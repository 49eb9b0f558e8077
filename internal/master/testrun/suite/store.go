package suite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

const repositoryColumns = `id, name, url, ref, tests_dir, tests_prefix, team, actor, created_at, commit_id, scanned_at, failure,
	(SELECT count(*) FROM test_mapping m WHERE m.repository_id = test_repository.id) AS mappings`

func (s store) repository(ctx context.Context, q db.Q, id int64) (Repository, error) {
	var r Repository
	err := q.GetContext(ctx, &r, `SELECT `+repositoryColumns+` FROM test_repository WHERE id = $1`, id)
	return r, db.Found(err, "test repository %d", id)
}

// byMapping returns the repository that a mapping is of.
func (s store) byMapping(ctx context.Context, q db.Q, mapping int64) (int64, error) {
	var id int64
	err := q.GetContext(ctx, &id, `SELECT repository_id FROM test_mapping WHERE id = $1`, mapping)
	return id, db.Found(err, "mapping %d of a test repository", mapping)
}

// repositories returns those whose names have name in them, by name.
func (s store) repositories(ctx context.Context, q db.Q, name string, limit, skip int) ([]Repository, error) {
	var out []Repository
	err := q.SelectContext(ctx, &out, `SELECT `+repositoryColumns+` FROM test_repository WHERE name LIKE $1 ESCAPE '\' ORDER BY name LIMIT $2 OFFSET $3`,
		"%"+db.Like(name)+"%", limit, skip)
	return out, err
}

func (s store) count(ctx context.Context, q db.Q, name string) (int, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM test_repository WHERE name LIKE $1 ESCAPE '\'`, "%"+db.Like(name)+"%")
	return n, err
}

func (s store) add(ctx context.Context, tx db.Tx, r *Repository) error {
	return tx.GetContext(ctx, &r.ID, `INSERT INTO test_repository (name, url, ref, tests_dir, tests_prefix, team, actor, created_at, commit_id, scanned_at, failure)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id`,
		r.Name, r.URL, r.Ref, r.TestsDir, r.TestsPrefix, r.Team, r.Actor, r.CreatedAt, r.Commit, r.ScannedAt, r.Failure)
}

func (s store) edit(ctx context.Context, tx db.Tx, r Repository) error {
	_, err := tx.ExecContext(ctx, `UPDATE test_repository SET name = $2, url = $3, ref = $4, tests_dir = $5, tests_prefix = $6, team = $7 WHERE id = $1`,
		r.ID, r.Name, r.URL, r.Ref, r.TestsDir, r.TestsPrefix, r.Team)
	return err
}

func (s store) remove(ctx context.Context, tx db.Tx, id int64) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM test_mapping WHERE repository_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM test_repository WHERE id = $1`, id)
	return err
}

// scanned notes what came of looking at r as it was then; false if it is another since.
func (s store) scanned(ctx context.Context, tx db.Tx, r Repository) (bool, error) {
	var id int64
	err := tx.GetContext(ctx, &id, `UPDATE test_repository SET commit_id = $6, scanned_at = $7, failure = $8
		WHERE id = $1 AND url = $2 AND ref = $3 AND tests_dir = $4 AND tests_prefix = $5 RETURNING id`,
		r.ID, r.URL, r.Ref, r.TestsDir, r.TestsPrefix, r.Commit, r.ScannedAt, r.Failure)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

const mappingColumns = `id, repository_id, package, pattern, folder, scanned`

func (s store) mappings(ctx context.Context, q db.Q, repository int64) ([]Mapping, error) {
	var out []Mapping
	err := q.SelectContext(ctx, &out, `SELECT `+mappingColumns+` FROM test_mapping WHERE repository_id = $1 ORDER BY package, folder, pattern`, repository)
	return out, err
}

// search returns mappings of a repository that have text in the package or the folder.
func (s store) search(ctx context.Context, q db.Q, repository int64, text string, limit, skip int) ([]Mapping, error) {
	var out []Mapping
	err := q.SelectContext(ctx, &out, `SELECT `+mappingColumns+` FROM test_mapping WHERE repository_id = $1 AND (package LIKE $2 ESCAPE '\' OR folder LIKE $2 ESCAPE '\')
		ORDER BY package, folder, pattern LIMIT $3 OFFSET $4`, repository, "%"+db.Like(text)+"%", limit, skip)
	return out, err
}

func (s store) found(ctx context.Context, q db.Q, repository int64, text string) (int, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM test_mapping WHERE repository_id = $1 AND (package LIKE $2 ESCAPE '\' OR folder LIKE $2 ESCAPE '\')`,
		repository, "%"+db.Like(text)+"%")
	return n, err
}

// addMapping leaves alone what is there already, and returns the id 0 then.
func (s store) addMapping(ctx context.Context, tx db.Tx, m Mapping) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO test_mapping (repository_id, package, pattern, folder, scanned) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING RETURNING id`, m.Repository, m.Package, m.Pattern, m.Folder, m.Scanned)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// removeMapping reports whether the repository had such a mapping.
func (s store) removeMapping(ctx context.Context, tx db.Tx, repository, id int64) (bool, error) {
	var gone int64
	err := tx.GetContext(ctx, &gone, `DELETE FROM test_mapping WHERE id = $1 AND repository_id = $2 RETURNING id`, id, repository)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// pin is the commit of tests that a build is tested by.
type pin struct {
	Build     albs.BuildID `db:"build_id"`
	URL       string       `db:"url"`
	Ref       string       `db:"ref"`
	Commit    string       `db:"commit_id"`
	Tree      albs.Digest  `db:"tree"`
	CreatedAt db.Time      `db:"created_at"`
}

// pinned returns the pin of a build; without a commit if there is none.
func (s store) pinned(ctx context.Context, q db.Q, build albs.BuildID, url, ref string) (pin, error) {
	var p pin
	err := q.GetContext(ctx, &p, `SELECT build_id, url, ref, commit_id, tree, created_at FROM test_pin WHERE build_id = $1 AND url = $2 AND ref = $3`, build, url, ref)
	if errors.Is(err, sql.ErrNoRows) {
		return pin{}, nil
	}
	return p, err
}

// addPin leaves alone one that is there.
func (s store) addPin(ctx context.Context, p pin) error {
	_, err := s.d.ExecContext(ctx, `INSERT INTO test_pin (build_id, url, ref, commit_id, tree, created_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`, p.Build, p.URL, p.Ref, p.Commit, p.Tree, p.CreatedAt)
	return err
}

func (s store) setTree(ctx context.Context, tx db.Tx, p pin, tree albs.Digest) error {
	_, err := tx.ExecContext(ctx, `UPDATE test_pin SET tree = $5 WHERE build_id = $1 AND url = $2 AND ref = $3 AND commit_id = $4`, p.Build, p.URL, p.Ref, p.Commit, tree)
	return err
}

func (s store) unpin(ctx context.Context, tx db.Tx, build albs.BuildID) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM test_pin WHERE build_id = $1`, build)
	return err
}

// treeOf returns the tree of a commit that some build has, "" for none.
func (s store) treeOf(ctx context.Context, q db.Q, url, commit string) (albs.Digest, error) {
	var d albs.Digest
	err := q.GetContext(ctx, &d, `SELECT tree FROM test_pin WHERE url = $1 AND commit_id = $2 AND tree IS NOT NULL LIMIT 1`, url, commit)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return d, err
}

func (s store) trees(ctx context.Context, q db.Q) ([]pin, error) {
	var out []pin
	err := q.SelectContext(ctx, &out, `SELECT build_id, url, ref, commit_id, tree, created_at FROM test_pin WHERE tree IS NOT NULL`)
	return out, err
}

// hasSuites reports whether tests were found for some package of a build.
func (s store) hasSuites(ctx context.Context, q db.Q, build albs.BuildID) (bool, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM test_suite WHERE build_id = $1`, build)
	return n > 0, err
}

// setSuites takes what was found for packages in place of what they had.
func (s store) setSuites(ctx context.Context, tx db.Tx, build albs.BuildID, packages []string, found []albs.FoundSuite) error {
	for _, name := range packages {
		if _, err := tx.ExecContext(ctx, `DELETE FROM test_suite WHERE build_id = $1 AND package = $2`, build, name); err != nil {
			return fmt.Errorf("remove suites: %w", err)
		}
	}
	n := map[string]int{}
	for _, f := range found {
		files := ""
		if len(f.Files) > 0 {
			b, err := json.Marshal(f.Files)
			if err != nil {
				return fmt.Errorf("encode files of a suite: %w", err)
			}
			files = string(b)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO test_suite (build_id, package, n, url, ref, dir, files, failure) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			build, f.Package, n[f.Package], f.URL, f.Ref, f.Dir, files, f.Missing)
		if err != nil {
			return fmt.Errorf("insert suite: %w", err)
		}
		n[f.Package]++
	}
	return nil
}

type suiteRow struct {
	Package string         `db:"package"`
	URL     string         `db:"url"`
	Dir     string         `db:"dir"`
	Files   string         `db:"files"`
	Failure string         `db:"failure"`
	Commit  sql.NullString `db:"commit_id"`
	Tree    sql.NullString `db:"tree"`
}

// suites returns what was found for the packages of a build.
func (s store) suites(ctx context.Context, q db.Q, build albs.BuildID) ([]suiteRow, error) {
	var out []suiteRow
	err := q.SelectContext(ctx, &out, `SELECT s.package, s.url, s.dir, s.files, s.failure, p.commit_id, p.tree FROM test_suite s
		LEFT JOIN test_pin p ON p.build_id = s.build_id AND p.url = s.url AND p.ref = s.ref WHERE s.build_id = $1 ORDER BY s.package, s.n`, build)
	return out, err
}
