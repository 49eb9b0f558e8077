// Package dbtest gives every store's tests both databases: SQLite in a temporary
// directory always, and PostgreSQL where the environment names one. It is for
// tests only.
package dbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"albs/internal/master/db"
)

// Env is the environment variable that holds the DSN of a PostgreSQL cluster
// whose user may create schemas. testdata/postgres.sh runs a command with one.
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

// Postgres makes a schema for this test alone and returns a DSN whose search
// path leads there; the schema is dropped when the test ends. It skips the test
// when ALBS_TEST_POSTGRES is not set.
func Postgres(t testing.TB) db.Config {
	t.Helper()
	dsn := os.Getenv(Env)
	if dsn == "" {
		t.Skipf("%s is not set: run the tests by testdata/postgres.sh for PostgreSQL too", Env)
	}
	admin, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatalf("open %s: %v", Env, err)
	}
	random := make([]byte, 8)
	rand.Read(random)
	schema := "test_" + hex.EncodeToString(random)
	if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatalf("create schema: %v", err)
	}
	t.Cleanup(func() {
		defer admin.Close()
		if _, err := admin.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			t.Errorf("drop schema: %v", err)
		}
	})
	dsn, err = inSchema(dsn, schema)
	if err != nil {
		t.Fatalf("%s: %v", Env, err)
	}
	return db.Config{DSN: dsn}
}

// inSchema adds the search path to a DSN of either form, URL or key=value, and
// the application name, by which the server lists the test's connections.
func inSchema(dsn, schema string) (string, error) {
	if !strings.Contains(dsn, "://") {
		return dsn + " search_path=" + schema + " application_name=" + schema, nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("parse DSN: %w", err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	q.Set("application_name", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
