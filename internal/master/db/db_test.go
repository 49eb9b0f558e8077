package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/telemetry/telemetrytest"
	"albs/migrations"
)

func exec(t *testing.T, d *db.DB, query string, args ...any) {
	t.Helper()
	if _, err := d.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func get[T any](t *testing.T, q db.Q, query string, args ...any) T {
	t.Helper()
	var v T
	if err := q.GetContext(t.Context(), &v, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// Two transactions that each read what the other writes: without SERIALIZABLE
// both would see the other undone, and nobody would do what the last has to.
func TestInTxIsSerializable(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE part (id INTEGER PRIMARY KEY, round INTEGER NOT NULL, done INTEGER NOT NULL)`)
		exec(t, d, `CREATE TABLE whole (round INTEGER PRIMARY KEY, times INTEGER NOT NULL)`)
		const rounds, parts = 10, 4
		for r := range rounds {
			exec(t, d, `INSERT INTO whole (round, times) VALUES ($1, 0)`, r)
			for p := range parts {
				exec(t, d, `INSERT INTO part (id, round, done) VALUES ($1, $2, 0)`, r*parts+p, r)
			}
			var g errgroup.Group
			for p := range parts {
				g.Go(func() error {
					return d.InTx(t.Context(), func(tx db.Tx) error {
						if _, err := tx.ExecContext(t.Context(), `UPDATE part SET done = 1 WHERE id = $1`, r*parts+p); err != nil {
							return err
						}
						var left int
						if err := tx.GetContext(t.Context(), &left, `SELECT count(*) FROM part WHERE round = $1 AND done = 0`, r); err != nil {
							return err
						}
						if left > 0 {
							return nil
						}
						_, err := tx.ExecContext(t.Context(), `UPDATE whole SET times = times + 1 WHERE round = $1`, r)
						return err
					})
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatalf("round %d: %v", r, err)
			}
		}
		if n := get[int](t, d, `SELECT count(*) FROM whole WHERE times <> 1`); n != 0 {
			t.Errorf("%d of %d rounds were not finished exactly once", n, rounds)
		}
	})
}

// A serialization failure runs the function again, and its hooks count once.
func TestInTxRetries(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	exec(t, d, `CREATE TABLE n (id BIGINT PRIMARY KEY, v BIGINT NOT NULL)`)
	exec(t, d, `INSERT INTO n (id, v) VALUES (1, 0)`)
	tries, hooks := 0, 0
	err := d.InTx(t.Context(), func(tx db.Tx) error {
		tries++
		tx.AfterCommit(func() { hooks++ })
		v := get[int](t, tx, `SELECT v FROM n WHERE id = 1`)
		if tries == 1 {
			exec(t, d, `UPDATE n SET v = 10 WHERE id = 1`) // another's, meanwhile
		}
		_, err := tx.ExecContext(t.Context(), `UPDATE n SET v = $1 WHERE id = 1`, v+1)
		return err
	})
	if v := get[int](t, d, `SELECT v FROM n`); err != nil || tries != 2 || hooks != 1 || v != 11 {
		t.Errorf("InTx = %v after %d tries, %d hooks, value %d; want nil, 2, 1, 11", err, tries, hooks, v)
	}
	// One that never wins ends, as something to try later.
	err = d.InTx(t.Context(), func(tx db.Tx) error {
		get[int](t, tx, `SELECT v FROM n WHERE id = 1`)
		exec(t, d, `UPDATE n SET v = v + 1 WHERE id = 1`)
		_, err := tx.ExecContext(t.Context(), `UPDATE n SET v = 0 WHERE id = 1`)
		return fmt.Errorf("wrapped: %w", err)
	})
	if !errors.Is(err, albs.Unavailable) {
		t.Errorf("a transaction that always loses = %v, want Unavailable", err)
	}
}

// crowd is rows of which PostgreSQL keeps the index on one page: to change one's state is
// to read and to write that page, as it sees it.
func crowd(t *testing.T, d *db.DB, n int) {
	exec(t, d, `CREATE TABLE crowd (id BIGINT PRIMARY KEY, state BIGINT NOT NULL)`)
	exec(t, d, `CREATE INDEX crowd_state ON crowd (state)`)
	exec(t, d, `INSERT INTO crowd (id, state) SELECT n, 0 FROM generate_series(1, $1) AS n`, n)
	exec(t, d, `ANALYZE crowd`)
}

func step(ctx context.Context, tx db.Tx, id int, meanwhile func() error) error {
	if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return err
	}
	var state int
	if err := tx.GetContext(ctx, &state, `SELECT state FROM crowd WHERE id = $1`, id); err != nil {
		return err
	}
	if err := meanwhile(); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE crowd SET state = $1 WHERE id = $2`, state+1, id)
	return err
}

// Many who each change a row of their own at the same time all get it done.
func TestInTxInACrowd(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	const people, each = 60, 3
	crowd(t, d, people)
	var tries atomic.Int64
	var g errgroup.Group
	for i := range people {
		g.Go(func() error {
			for range each {
				err := d.InTx(t.Context(), func(tx db.Tx) error {
					tries.Add(1)
					return step(t.Context(), tx, i+1, func() error {
						_, err := tx.ExecContext(t.Context(), `SELECT pg_sleep(0.002)`)
						return err
					})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if n := get[int](t, d, `SELECT count(*) FROM crowd WHERE state = $1`, each); n != people {
		t.Errorf("%d of %d rows were changed %d times", n, people, each)
	}
	if tries.Load() == people*each {
		t.Error("nobody met anybody: this proves nothing")
	}
}

// One that has lost three times has no other of its master beside it.
func TestInTxLoserIsAlone(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	d, other := dbtest.Open(t, c), dbtest.Open(t, c)
	crowd(t, d, 3)
	brief := func(ctx context.Context, d *db.DB, id int) error {
		return d.InTx(ctx, func(tx db.Tx) error { return step(ctx, tx, id, func() error { return nil }) })
	}
	tries := 0
	err := d.InTx(t.Context(), func(tx db.Tx) error {
		tries++
		return step(t.Context(), tx, 1, func() error {
			if tries <= 3 {
				return brief(t.Context(), other, 2) // which wins
			}
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := brief(short, d, 3); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("another beside it = %v, want that it waits", err)
			}
			return nil
		})
	})
	if err != nil || tries != 4 {
		t.Errorf("InTx = %v after %d tries, want nil after 4", err, tries)
	}
	if err := brief(t.Context(), d, 3); err != nil {
		t.Errorf("another after it = %v", err)
	}
}

func TestInTxRollsBack(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE n (v INTEGER PRIMARY KEY)`)
		insert := func(tx db.Tx, v int) {
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO n (v) VALUES ($1)`, v); err != nil {
				t.Errorf("insert: %v", err)
			}
		}
		boom := errors.New("boom")
		var ran []int
		err := d.InTx(t.Context(), func(tx db.Tx) error {
			tx.AfterCommit(func() { ran = append(ran, 0) })
			insert(tx, 1)
			return boom
		})
		if err != boom {
			t.Errorf("InTx = %v, want the function's own error", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("InTx swallowed a panic")
				}
			}()
			d.InTx(t.Context(), func(tx db.Tx) error { insert(tx, 2); panic("boom") })
		}()
		err = d.InTx(t.Context(), func(tx db.Tx) error {
			for i := 1; i <= 3; i++ {
				tx.AfterCommit(func() {
					// The commit is there for a hook to see.
					ran = append(ran, i*10+get[int](t, d, `SELECT count(*) FROM n`))
				})
			}
			insert(tx, 3)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if got := get[int](t, d, `SELECT min(v) FROM n`); got != 3 {
			t.Errorf("row %d stayed of a transaction that failed", got)
		}
		if want := []int{11, 21, 31}; !slices.Equal(ran, want) {
			t.Errorf("hooks ran %v, want %v", ran, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.InTx(ctx, func(db.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("InTx of a cancelled context = %v", err)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE n (id INTEGER PRIMARY KEY, u TEXT UNIQUE, c INTEGER NOT NULL CHECK (c > 0))`)
		exec(t, d, `INSERT INTO n (id, u, c) VALUES (1, 'a', 1)`)
		for _, test := range []struct {
			name, query string
			unique      bool
		}{
			{"primary key", `INSERT INTO n (id, u, c) VALUES (1, 'b', 1)`, true},
			{"unique", `INSERT INTO n (id, u, c) VALUES (2, 'a', 1)`, true},
			{"check", `INSERT INTO n (id, u, c) VALUES (3, 'c', 0)`, false},
			{"not null", `INSERT INTO n (id, u) VALUES (4, 'd')`, false},
			{"no table", `INSERT INTO nothing (id) VALUES (4)`, false},
		} {
			err := d.InTx(t.Context(), func(tx db.Tx) error {
				_, err := tx.ExecContext(t.Context(), test.query)
				return err
			})
			if err == nil || db.IsUnique(err) != test.unique || albs.KindOf(err) != albs.Internal {
				t.Errorf("%s: %v: IsUnique = %t, kind %s; want %t, internal", test.name, err, db.IsUnique(err), albs.KindOf(err), test.unique)
			}
		}
		var id int
		err := d.GetContext(t.Context(), &id, `SELECT id FROM n WHERE id = 9`)
		if got := db.Found(err, "row %d", 9); !errors.Is(got, albs.NotFound) || got.Error() != "there is no row 9" {
			t.Errorf("Found(no rows) = %v", got)
		}
		err = d.GetContext(t.Context(), &id, `SELECT id FROM nothing`)
		if got := db.Found(err, "row 9"); got != err || errors.Is(got, albs.NotFound) {
			t.Errorf("Found(broken query) = %v, want it as it was", got)
		}
		r, err := d.ExecContext(t.Context(), `UPDATE n SET c = 2 WHERE id = 9`)
		if err := db.One(r, err, "row %d is gone", 9); !errors.Is(err, albs.Conflict) {
			t.Errorf("One(nothing touched) = %v, want Conflict", err)
		}
		r, err = d.ExecContext(t.Context(), `UPDATE n SET c = 2 WHERE id = 1`)
		if err := db.One(r, err, "row 1 is gone"); err != nil {
			t.Errorf("One(one touched) = %v", err)
		}
	})
}

// TestCauseIsForTheLog: who asks reads that the database is in trouble and what to
// do, and the log has the driver's words.
func TestCauseIsForTheLog(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, err error, log, says, cause string, kind albs.Kind) {
		t.Helper()
		if !errors.Is(err, kind) {
			t.Errorf("kind of %v; want %s", err, kind)
		}
		wrapped := fmt.Errorf("read outbox: %w", err)
		if got := albs.UserMessage(wrapped); got != "read outbox: "+says {
			t.Errorf("who asks reads %q; want %q", got, says)
		}
		if !strings.Contains(log, cause) || strings.Count(log, "\n") != 1 {
			t.Errorf("the log says %q; want one line with %q", log, cause)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		var log telemetrytest.Log
		c := dbtest.SQLite(t)
		c.Log = zerolog.New(&log)
		d := dbtest.Open(t, c)
		exec(t, d, `CREATE TABLE big (b BLOB)`)
		exec(t, d, `PRAGMA max_page_count = 1`) // no less than there are
		err := d.InTx(t.Context(), func(tx db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO big VALUES (zeroblob(1000000))`)
			return err
		})
		check(t, err, log.String(), "the database's disk is full, try again soon", "database or disk is full", albs.NoSpace)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		var log telemetrytest.Log
		c := dbtest.Postgres(t)
		c.Log = zerolog.New(&log)
		d := dbtest.Open(t, c)
		_, err := d.ExecContext(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`)
		check(t, err, log.String(), "the database is away, try again soon", "bad connection", albs.Unavailable)
	})
}

// TestOpenTellsTheCause: the operator starts the master and reads why it can't.
func TestOpenTellsTheCause(t *testing.T) {
	t.Parallel()
	_, err := db.Open(t.Context(), db.Config{DSN: "host=127.0.0.1 port=1 user=nobody sslmode=disable connect_timeout=5"})
	if !errors.Is(err, albs.Unavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Open with nobody there = %v, want Unavailable and the address", err)
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		typ := "TEXT"
		if d.Postgres() {
			typ = "TIMESTAMPTZ"
		}
		exec(t, d, `CREATE TABLE n (id INTEGER PRIMARY KEY, at `+typ+`)`)
		east := time.FixedZone("east", 9*3600)
		base := time.Date(2026, 1, 31, 23, 59, 59, 999_999_999, time.UTC)
		times := []db.Time{ // in order of time
			db.At(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)),
			db.At(base.Add(-time.Second).In(east)), // its wall clock is ahead of the next one's
			db.At(base),
			db.At(base.Add(time.Microsecond)),
			db.At(base.Add(time.Hour).In(east)),
		}
		for i := range times {
			exec(t, d, `INSERT INTO n (id, at) VALUES ($1, $2)`, len(times)-i, times[i])
		}
		var got []db.Time
		if err := d.SelectContext(t.Context(), &got, `SELECT at FROM n ORDER BY at`); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(times, got); diff != "" {
			t.Errorf("times come back (-want +got):\n%s", diff)
		}
		if n := get[int](t, d, `SELECT count(*) FROM n WHERE at < $1`, times[2]); n != 2 {
			t.Errorf("%d times are before the third, want 2", n)
		}
		if m := get[db.Time](t, d, `SELECT max(at) FROM n`); !m.Equal(times[4].Time) {
			t.Errorf("max = %v, want %v", m, times[4])
		}
		exec(t, d, `INSERT INTO n (id, at) VALUES (100, $1)`, db.Time{})
		if n := get[int](t, d, `SELECT count(*) FROM n WHERE at IS NULL`); n != 1 {
			t.Error("the zero Time is not stored as NULL")
		}
		if z := get[db.Time](t, d, `SELECT at FROM n WHERE id = 100`); !z.IsZero() {
			t.Errorf("NULL comes back as %v", z)
		}
		c, err := d.Clock(t.Context())
		if off := time.Since(c).Abs(); err != nil || off > time.Minute {
			t.Errorf("Clock is off by %v, %v", off, err)
		}
	})
}

// TestTimeAhead: clocks differ a little, and who is further ahead was put back.
func TestTimeAhead(t *testing.T) {
	t.Parallel()
	now := db.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for by, want := range map[time.Duration]bool{
		-time.Hour: false, 0: false, db.MaxAhead: false, db.MaxAhead + time.Microsecond: true, time.Hour: true,
	} {
		if got := db.At(now.Add(by)).Ahead(now); got != want {
			t.Errorf("%v ahead: %v, want %v", by, got, want)
		}
	}
	if (db.Time{}).Ahead(now) {
		t.Error("no time lies ahead")
	}
}

func TestTimeScanRefuses(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"", "yesterday", "2026-01-31 23:59:59", 5, []byte("x")} {
		var got db.Time
		if err := got.Scan(v); err == nil {
			t.Errorf("Scan(%v) = %v, want an error", v, got)
		}
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE n (id INTEGER PRIMARY KEY, s TEXT NOT NULL)`)
		exec(t, d, `INSERT INTO n (id, s) VALUES (1, 'a%b'), (2, 'axb'), (3, 'a_b')`)
		q, args, err := db.In(`SELECT id FROM n WHERE id IN (?) AND s <> ? ORDER BY id`, []int{1, 2, 3}, "axb")
		if err != nil {
			t.Fatal(err)
		}
		var ids []int
		if err := d.SelectContext(t.Context(), &ids, q, args...); err != nil || !slices.Equal(ids, []int{1, 3}) {
			t.Errorf("%s = %v, %v; want 1 3", q, ids, err)
		}
		ids = nil
		err = d.SelectContext(t.Context(), &ids, `SELECT id FROM n WHERE s LIKE $1 ESCAPE '\'`, "%"+db.Like("%")+"%")
		if err != nil || !slices.Equal(ids, []int{1}) {
			t.Errorf("LIKE = %v, %v; want 1", ids, err)
		}
	})
}

func TestReadsDontWrite(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	exec(t, d, `CREATE TABLE n (id INTEGER PRIMARY KEY)`)
	var id int
	if err := d.GetContext(t.Context(), &id, `INSERT INTO n (id) VALUES (1) RETURNING id`); err == nil {
		t.Error("a read handle wrote; on PostgreSQL it would do so outside InTx")
	}
}

// Many readers and writers at once: nobody is told that the database is locked or busy.
func TestConcurrentTransactions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE n (id INTEGER PRIMARY KEY, v INTEGER NOT NULL)`)
		exec(t, d, `INSERT INTO n (id, v) VALUES (1, 0)`)
		const writers, each = 8, 10
		var g errgroup.Group
		for range writers {
			g.Go(func() error {
				for range each {
					err := d.InTx(t.Context(), func(tx db.Tx) error {
						var v int
						if err := tx.GetContext(t.Context(), &v, `SELECT v FROM n WHERE id = 1`); err != nil {
							return err
						}
						_, err := tx.ExecContext(t.Context(), `UPDATE n SET v = $1 WHERE id = 1`, v+1)
						return err
					})
					if err != nil {
						return err
					}
					var v int
					if err := d.GetContext(t.Context(), &v, `SELECT v FROM n`); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if v := get[int](t, d, `SELECT v FROM n`); v != writers*each {
			t.Errorf("%d increments stayed, want %d", v, writers*each)
		}
	})
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	for _, place := range []struct {
		name string
		at   func(testing.TB) db.Config
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			c := place.at(t)
			d := dbtest.Open(t, c)
			again := dbtest.Open(t, c) // what is up to date stays so
			exec(t, again, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, $1)`, true)
			if n := get[int](t, d, `SELECT count(*) FROM goose_db_version WHERE version_id = 9999`); n != 1 {
				t.Fatalf("%d rows of the newer version", n)
			}
			_, err := db.Open(t.Context(), c)
			if !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "run a newer albs") {
				t.Errorf("Open of a newer schema = %v, want a Conflict that says what to do", err)
			}
		})
	}
}

// Masters that start at the same time must not both migrate.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	c := dbtest.Schema(t)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			d, err := db.Open(t.Context(), c)
			if err != nil {
				return err
			}
			return d.Close()
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMigrationsHaveEqualNames(t *testing.T) {
	t.Parallel()
	list := func(dialect string) (names []string) {
		es, err := fs.ReadDir(migrations.FS, dialect)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			names = append(names, e.Name())
		}
		return names
	}
	if diff := cmp.Diff(list("sqlite"), list("postgres")); diff != "" {
		t.Errorf("migrations (-sqlite +postgres):\n%s", diff)
	}
}

// Both dialects have the same tables with the same columns, nullable or not.
func TestSchemasAreEqual(t *testing.T) {
	t.Parallel()
	lite, pg := dbtest.Open(t, dbtest.SQLite(t)), dbtest.Open(t, dbtest.Postgres(t))
	columns := func(d *db.DB, query string) (cs []string) {
		if err := d.SelectContext(t.Context(), &cs, query); err != nil {
			t.Fatal(err)
		}
		slices.Sort(cs)
		return cs
	}
	// A primary key is never NULL, though SQLite's table_info doesn't say so.
	a := columns(lite, `SELECT m.name || '.' || c.name || CASE WHEN c."notnull" = 1 OR c.pk > 0 THEN '' ELSE ' NULL' END
		FROM sqlite_schema m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name <> 'goose_db_version'`)
	b := columns(pg, `SELECT table_name || '.' || column_name || CASE WHEN is_nullable = 'NO' THEN '' ELSE ' NULL' END
		FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> 'goose_db_version'`)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("columns (-sqlite +postgres):\n%s", diff)
	}
	loose := columns(lite, `SELECT name FROM pragma_table_list
		WHERE type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite%' AND name <> 'goose_db_version'`)
	if len(loose) > 0 {
		t.Errorf("SQLite tables that are not STRICT: %v", loose)
	}
}

// One leads at a time, and another when it has ended.
func TestLeader(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		want := errors.New("its own end")
		if err := d.Leader(t.Context(), "x", func(context.Context) error { return want }); err != want {
			t.Errorf("Leader = %v, want the function's error", err)
		}
		if err := d.Leader(t.Context(), "x", func(context.Context) error { return nil }); err != nil {
			t.Errorf("Leader = %v, want nil", err)
		}
	})
}

func TestLeaderIsAlone(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	d1, d2 := dbtest.Open(t, c), dbtest.Open(t, c)
	leads := make(chan struct{})
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		d1.Leader(t.Context(), "x", func(ctx context.Context) error { close(leads); <-end; return nil })
	})
	<-leads
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := d2.Leader(short, "x", func(context.Context) error { t.Error("two lead"); return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second leader = %v, want its context's end", err)
	}
	if err := d2.Leader(t.Context(), "y", func(context.Context) error { return nil }); err != nil {
		t.Errorf("leader of another name = %v", err)
	}
	close(end)
	wg.Wait()
	if err := d2.Leader(t.Context(), "x", func(context.Context) error { return nil }); err != nil {
		t.Errorf("leader after the first = %v", err)
	}
}

// A leader whose connection is lost is told, and leads again when it can.
func TestLeaderLosesItsConnection(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	terms := 0
	err := d.Leader(t.Context(), "x", func(ctx context.Context) error {
		if terms++; terms == 2 {
			return nil
		}
		// The lock's holder; dbtest names its connections after the database.
		exec(t, d, `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
			WHERE l.locktype = 'advisory' AND a.application_name = current_database() AND l.pid <> pg_backend_pid()`)
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil || terms != 2 {
		t.Errorf("Leader = %v after %d terms, want nil after 2", err, terms)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	c := dbtest.Schema(t)
	d1, d2 := dbtest.Open(t, c), dbtest.Open(t, c)
	other := dbtest.Open(t, dbtest.Schema(t))
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan string, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d2.Listen(ctx, "c", func(p string) { heard <- p }); !errors.Is(err, context.Canceled) {
			t.Errorf("Listen = %v", err)
		}
	})
	if p := <-heard; p != "" {
		t.Errorf("first call = %q, want the empty payload of a beginning", p)
	}
	for _, n := range []struct {
		d       *db.DB
		channel string
		ps      []string
	}{{other, "c", []string{"another schema"}}, {d1, "z", []string{"another channel"}}, {d1, "c", nil}, {d1, "c", []string{"a b", "ü"}}} {
		if err := n.d.Notify(t.Context(), n.channel, n.ps); err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{<-heard, <-heard}; !slices.Equal(got, []string{"a b", "ü"}) {
		t.Errorf("heard %q", got)
	}
	cancel()
	wg.Wait()
}

func TestSQLiteIsDurable(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	err := d.InTx(t.Context(), func(tx db.Tx) error {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			if got := get[string](t, tx, "PRAGMA "+pragma); got != want {
				t.Errorf("%s = %s, want %s", pragma, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	var none int
	if err := d.GetContext(t.Context(), &none, `SELECT 1 WHERE 1 = 0`); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no rows = %v", err)
	}
}
