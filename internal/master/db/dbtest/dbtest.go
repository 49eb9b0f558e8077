// Package dbtest gives every store's tests both databases: SQLite in a temporary
// directory always, and PostgreSQL where the environment names one. It is for
// tests only.
package dbtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"albs/internal/master/db"
	"albs/migrations"
)

// Env is the environment variable that holds the DSN of a PostgreSQL cluster
// whose user may create databases. testdata/postgres.sh runs a command with one.
const Env = "ALBS_TEST_POSTGRES"

// Each runs f as two parallel subtests, "sqlite" and "postgres", each with an
// empty, migrated database of its own that is gone after the test. Without
// ALBS_TEST_POSTGRES the second is skipped and says so.
func Each(t *testing.T, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, Open(t, SQLite(t)))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, Open(t, Postgres(t)))
	})
}

// Open opens the database at c and closes it when the test ends. Opening the
// same Config again is a second master, or the first after a restart.
func Open(t testing.TB, c db.Config) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), c)
	if err != nil {
		t.Fatalf("open the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close the test's database: %v", err)
		}
	})
	return d
}

// SQLite returns the place of a new, migrated SQLite database in the test's
// directory. It is a copy of one that the test's process migrates once: a test that
// is about opening an empty one names a file of its own.
func SQLite(t testing.TB) db.Config {
	t.Helper()
	b, err := migrated()
	if err != nil {
		t.Fatalf("migrate the tests' database: %v", err)
	}
	c := db.Config{File: filepath.Join(t.TempDir(), "albs.db")}
	if err := os.WriteFile(c.File, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// migrated returns the bytes of a migrated SQLite database.
var migrated = sync.OnceValues(func() (b []byte, err error) {
	dir, err := os.MkdirTemp("", "albs-dbtest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "albs.db")
	d, err := db.Open(context.Background(), db.Config{File: file})
	if err != nil {
		return nil, err
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// Postgres makes a migrated database for this test alone and returns its DSN; the
// database is dropped when the test ends. It is a copy of one that the first test of the
// cluster makes: to migrate takes six times as long. It skips the test when
// ALBS_TEST_POSTGRES is not set.
func Postgres(t testing.TB) db.Config {
	t.Helper()
	dsn := cluster(t)
	from, err := template()
	if err != nil {
		t.Fatalf("migrate the tests' database: %v", err)
	}
	name := unique()
	run(t, dsn, "CREATE DATABASE "+name+" TEMPLATE "+from)
	t.Cleanup(func() { run(t, dsn, "DROP DATABASE "+name+" WITH (FORCE)") })
	return config(t, dsn, map[string]string{"dbname": name, "search_path": schema, "application_name": name})
}

// Schema makes an empty schema for this test alone, in the database that the environment
// names and where others have theirs, and returns a DSN whose search path leads there;
// the schema is dropped when the test ends. It skips the test as Postgres does.
func Schema(t testing.TB) db.Config {
	t.Helper()
	dsn, name := cluster(t), unique()
	run(t, dsn, "CREATE SCHEMA "+name)
	t.Cleanup(func() { run(t, dsn, "DROP SCHEMA "+name+" CASCADE") })
	return config(t, dsn, map[string]string{"search_path": name, "application_name": name})
}

// schema is where the copies have their tables: not in public, so that no query that
// names a schema passes.
const schema = "albs"

// cluster returns the DSN that the environment names, or skips the test.
func cluster(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv(Env)
	if dsn == "" {
		t.Skipf("%s is not set: run the tests by testdata/postgres.sh for PostgreSQL too", Env)
	}
	return dsn
}

// unique is the name of a database or a schema that nobody else has.
func unique() string {
	random := make([]byte, 8)
	rand.Read(random)
	return "test_" + hex.EncodeToString(random)
}

// run runs a statement on a connection of its own. The test's context may be over.
func run(t testing.TB, dsn, statement string) {
	t.Helper()
	d, err := sql.Open("postgres", dsn)
	if err == nil {
		_, err = d.Exec(statement)
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

func config(t testing.TB, dsn string, change map[string]string) db.Config {
	t.Helper()
	dsn, err := with(dsn, change)
	if err != nil {
		t.Fatalf("%s: %v", Env, err)
	}
	return db.Config{DSN: dsn}
}

// template returns the name of the cluster's database that has these migrations and that
// nobody is connected to. Processes that need it at the same time make one.
var template = sync.OnceValues(func() (string, error) {
	ctx, dsn := context.Background(), os.Getenv(Env)
	hash := sha256.New()
	if err := fs.WalkDir(migrations.FS, "postgres", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(migrations.FS, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(b), b)
		return err
	}); err != nil {
		return "", err
	}
	name := "albs_template_" + hex.EncodeToString(hash.Sum(nil)[:8])
	pool, err := sql.Open("postgres", dsn)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	admin, err := pool.Conn(ctx) // one session has the lock
	if err != nil {
		return "", err
	}
	defer admin.Close()
	if _, err := admin.ExecContext(ctx, "SELECT pg_advisory_lock(hashtext('albs_template'))"); err != nil {
		return "", err
	}
	there := false
	if err := admin.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil || there {
		return name, err
	}
	// It has its name when it is whole; the process that began it may have been killed.
	begun := name + "_new"
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + begun + " WITH (FORCE)", "CREATE DATABASE " + begun} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return "", fmt.Errorf("%s: %w", statement, err)
		}
	}
	if err := migrate(ctx, dsn, begun); err != nil {
		return "", err
	}
	_, err = admin.ExecContext(ctx, "ALTER DATABASE "+begun+" RENAME TO "+name)
	return name, err
})

// migrate makes the tables in the database of that name.
func migrate(ctx context.Context, dsn, name string) error {
	dsn, err := with(dsn, map[string]string{"dbname": name, "search_path": schema})
	if err != nil {
		return err
	}
	empty, err := sql.Open("postgres", dsn)
	if err != nil {
		return err
	}
	_, err = empty.ExecContext(ctx, "CREATE SCHEMA "+schema)
	if err := errors.Join(err, empty.Close()); err != nil {
		return err
	}
	d, err := db.Open(ctx, db.Config{DSN: dsn})
	if err != nil {
		return err
	}
	return d.Close()
}

// with changes settings in a DSN of either form, URL or key=value. The application name
// is that of the database or the schema, by which the server lists the test's connections.
func with(dsn string, change map[string]string) (string, error) {
	if !strings.Contains(dsn, "://") {
		for k, v := range change {
			dsn += " " + k + "=" + v // the last one counts
		}
		return dsn, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("parse DSN: %w", err)
	}
	q := u.Query()
	for k, v := range change {
		if k == "dbname" {
			u.Path = "/" + v
			continue
		}
		q.Set(k, v)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
