package migrations_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// index is an index or a foreign key: columns of a table, in order.
type index struct {
	Tab     string
	Columns string // with commas between them
	Unique  bool
}

func (i index) String() string {
	if i.Unique {
		return fmt.Sprintf("%s(%s) unique", i.Tab, i.Columns)
	}
	return fmt.Sprintf("%s(%s)", i.Tab, i.Columns)
}

// schema is what a database that was just made has.
type schema struct{ indexes, keys []index }

// read returns the schema of a database. An expression is "expr" among the columns
// of an index, and a descending column is its name.
func read(t *testing.T, d *db.DB) schema {
	t.Helper()
	indexes, keys := `SELECT m.name AS tab, group_concat(COALESCE(c.name, 'expr'), ',' ORDER BY c.seqno) AS columns, i."unique" = 1 AS "unique"
		FROM sqlite_schema m, pragma_index_list(m.name) i, pragma_index_info(i.name) c
		WHERE m.type = 'table' AND m.name <> 'goose_db_version' GROUP BY m.name, i.name
		UNION ALL SELECT m.name, c.name, TRUE FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name <> 'goose_db_version' AND c.type = 'INTEGER' AND c.pk = 1
		AND NOT EXISTS (SELECT 1 FROM pragma_index_list(m.name) i WHERE i.origin = 'pk')`,
		`SELECT m.name AS tab, k."from" AS columns FROM sqlite_schema m, pragma_foreign_key_list(m.name) k WHERE m.type = 'table'`
	if d.Postgres() {
		indexes, keys = `SELECT t.relname AS tab, x.indisunique AS "unique", (SELECT string_agg(COALESCE(a.attname, 'expr'), ',' ORDER BY k.n)
				FROM unnest(x.indkey) WITH ORDINALITY AS k(attnum, n)
				LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) AS columns
			FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid
			WHERE t.relnamespace = current_schema()::regnamespace AND t.relname <> 'goose_db_version'`,
			`SELECT t.relname AS tab, a.attname AS columns FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
			JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1]
			WHERE k.contype = 'f' AND t.relnamespace = current_schema()::regnamespace`
	}
	var s schema
	for into, query := range map[*[]index]string{&s.indexes: indexes, &s.keys: keys} {
		if err := d.SelectContext(t.Context(), into, query); err != nil {
			t.Fatal(err)
		}
		if len(*into) < 10 {
			t.Fatalf("the schema has only %v", *into)
		}
		slices.SortFunc(*into, func(a, b index) int { return strings.Compare(a.String(), b.String()) })
	}
	return s
}

// TestIndexesAreEqual: a query that is quick on one database is so on the other,
// and what one refuses as a repetition the other does.
func TestIndexesAreEqual(t *testing.T) {
	t.Parallel()
	lite, pg := read(t, dbtest.Open(t, dbtest.SQLite(t))), read(t, dbtest.Open(t, dbtest.Postgres(t)))
	if diff := cmp.Diff(lite.indexes, pg.indexes); diff != "" {
		t.Errorf("indexes (-sqlite +postgres):\n%s", diff)
	}
	if diff := cmp.Diff(lite.keys, pg.keys); diff != "" {
		t.Errorf("foreign keys (-sqlite +postgres):\n%s", diff)
	}
}

// TestForeignKeysHaveIndexes: who asks for what belongs to a row, or removes it,
// reads no whole table.
func TestForeignKeysHaveIndexes(t *testing.T) {
	t.Parallel()
	s := read(t, dbtest.Open(t, dbtest.SQLite(t)))
	for _, k := range s.keys {
		if !slices.ContainsFunc(s.indexes, func(i index) bool {
			return i.Tab == k.Tab && (i.Columns == k.Columns || strings.HasPrefix(i.Columns, k.Columns+","))
		}) {
			t.Errorf("%s has no index that begins with %s", k.Tab, k.Columns)
		}
	}
}

// TestArtifactIndexes: every upload writes a row of artifact, so it has the indexes
// that queries ask for and no more.
func TestArtifactIndexes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var got []string
		for _, i := range read(t, d).indexes {
			if i.Tab == "artifact" {
				got = append(got, i.String())
			}
		}
		if diff := cmp.Diff([]string{"artifact(digest) unique", "artifact(id) unique", "artifact(rpm_name,rpm_version,rpm_release,rpm_arch)", "artifact(unsigned)"}, got); diff != "" {
			t.Error(diff)
		}
	})
}
