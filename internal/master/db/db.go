// Package db opens the master's one database, SQLite by default or PostgreSQL
// when a DSN is given, and brings its schema up to date. It owns transactions,
// the storage form of times and the few words in which the dialects differ; the
// tables belong to the modules' stores.
//
// Every query is written once, in PostgreSQL's style with $1..$n. Stores take a
// Q, which is the DB for reads and a Tx inside InTx.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"
	_ "modernc.org/sqlite"

	"albs/internal/albs"
	"albs/migrations"
)

func init() {
	// sqlx doesn't know modernc's driver name, and Rebind would silently do nothing.
	sqlx.BindDriver("sqlite", sqlx.DOLLAR)
}

// Config says where the database is. With an empty DSN it is SQLite in File.
type Config struct {
	File    string `yaml:"-"`        // path of the SQLite file; set from the data directory
	DSNFile string `yaml:"dsn_file"` // file that holds a PostgreSQL DSN; empty means SQLite
	DSN     string `yaml:"-"`        // the DSN itself, once read

	Log zerolog.Logger `yaml:"-"` // gets the driver's words of an error that users read without them
}

// Q is what a store needs to run queries: a *DB or a Tx.
type Q interface {
	GetContext(ctx context.Context, dest any, query string, args ...any) error
	SelectContext(ctx context.Context, dest any, query string, args ...any) error
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error)
}

// Tx is a transaction in progress. AfterCommit hooks run once, in order, only
// after the commit succeeded: for in-process wake-ups, never for effects that
// must not be lost.
type Tx interface {
	Q
	AfterCommit(f func())
}

// DB is an open database. It may be used concurrently.
type DB struct {
	write, read *sqlx.DB // the same handle on PostgreSQL
	postgres    bool
	dsn         string
	schema      string // PostgreSQL's; what is database-wide there is keyed with it
	version     int64
	log         zerolog.Logger
	turns       *semaphore.Weighted // of serializable transactions on PostgreSQL
}

// Open opens the database and applies every migration that it lacks. A newer
// schema than this binary knows is a Conflict.
func Open(ctx context.Context, c Config) (*DB, error) {
	d := &DB{postgres: c.DSN != "", dsn: c.DSN, log: c.Log, turns: semaphore.NewWeighted(together)}
	if d.postgres {
		x, err := sqlx.Open("postgres", c.DSN)
		if err != nil {
			return nil, fmt.Errorf("open postgres: %w", err)
		}
		// All are kept for a while: to open one takes longer than most transactions.
		x.SetMaxOpenConns(maxConns)
		x.SetMaxIdleConns(maxConns)
		x.SetConnMaxIdleTime(5 * time.Minute)
		d.write, d.read = x, x
		if err := x.GetContext(ctx, &d.schema, `SELECT current_schema()`); err != nil {
			return nil, errors.Join(fmt.Errorf("open postgres: %w", kindedOpen(err)), x.Close())
		}
	} else {
		abs, err := filepath.Abs(c.File)
		if err != nil {
			return nil, fmt.Errorf("open sqlite: %w", err)
		}
		// synchronous(FULL): NORMAL may lose an acknowledged completion on power loss.
		dsn := (&url.URL{Scheme: "file", Path: abs}).String() + "?_txlock=immediate" +
			"&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(ON)&_pragma=synchronous(FULL)"
		if d.write, err = sqlx.Open("sqlite", dsn); err != nil {
			return nil, fmt.Errorf("open sqlite %s: %w", c.File, err)
		}
		d.write.SetMaxOpenConns(1) // one writer: SQLite has one write lock
		if d.read, err = sqlx.Open("sqlite", dsn+"&_pragma=query_only(ON)"); err != nil {
			return nil, fmt.Errorf("open sqlite %s: %w", c.File, err)
		}
		d.read.SetMaxOpenConns(4)
	}
	if err := d.migrate(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) migrate(ctx context.Context) error {
	dialect, dir := goose.DialectSQLite3, "sqlite"
	if d.postgres {
		dialect, dir = goose.DialectPostgres, "postgres"
	}
	sub, err := fs.Sub(migrations.FS, dir)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	var opts []goose.ProviderOption
	if d.postgres {
		// Several masters may start at once; the others try again each second.
		l, err := lock.NewPostgresSessionLocker(lock.WithLockID(d.key("migrate")), lock.WithLockTimeout(1, 300))
		if err != nil {
			return fmt.Errorf("migrations: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(l))
	}
	p, err := goose.NewProvider(dialect, d.write.DB, sub, opts...)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return albs.Errorf(albs.Conflict, "the database has schema %d, this albs knows %d: run a newer albs", current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", kindedOpen(err))
	}
	d.version = target
	return nil
}

// Version returns the version of the schema: the number of the newest migration.
func (d *DB) Version() int64 { return d.version }

// Close closes the handles. What was committed stays.
func (d *DB) Close() error {
	if d.postgres {
		return d.write.Close()
	}
	return errors.Join(d.read.Close(), d.write.Close())
}

// Postgres reports whether the database is PostgreSQL.
func (d *DB) Postgres() bool { return d.postgres }

// SkipLocked is the tail of a claiming sub-select. Beside Settled it is the only
// difference in queries.
func (d *DB) SkipLocked() string {
	if d.postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// Settled is the bound below which a row's txid must lie for every transaction
// that could still add a row before it to have ended. A table that is read in
// the order (txid, id) has a txid column: txid_current() on PostgreSQL, 0 on
// SQLite, where one writer at a time makes ids enough.
func (d *DB) Settled() string {
	if d.postgres {
		return "txid_snapshot_xmin(txid_current_snapshot())"
	}
	return "1"
}

// Clock returns the time by the database's clock, which several masters share;
// on SQLite that is this machine's.
func (d *DB) Clock(ctx context.Context) (time.Time, error) {
	if !d.postgres {
		return time.Now(), nil
	}
	var t time.Time
	if err := d.GetContext(ctx, &t, `SELECT clock_timestamp()`); err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	return t, nil
}

// key names something database-wide on PostgreSQL, apart for each schema.
func (d *DB) key(name string) int64 {
	h := fnv.New64a()
	h.Write([]byte("albs\n" + d.schema + "\n" + name))
	return int64(h.Sum64())
}

// GetContext reads one row into dest outside any transaction; sql.ErrNoRows if none.
func (d *DB) GetContext(ctx context.Context, dest any, query string, args ...any) error {
	return d.kinded(d.read.GetContext(ctx, dest, query, args...))
}

// SelectContext reads rows into dest, a pointer to a slice, outside any transaction.
func (d *DB) SelectContext(ctx context.Context, dest any, query string, args ...any) error {
	return d.kinded(d.read.SelectContext(ctx, dest, query, args...))
}

// ExecContext runs one statement in a transaction of its own.
func (d *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	r, err := d.write.ExecContext(ctx, query, args...)
	return r, d.kinded(err)
}

// QueryxContext reads rows one by one outside any transaction. A statement that
// writes and returns rows belongs in InTx.
func (d *DB) QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	rows, err := d.read.QueryxContext(ctx, query, args...)
	return rows, d.kinded(err)
}

type tx struct {
	*sqlx.Tx
	after []func()
}

func (t *tx) AfterCommit(f func()) { t.after = append(t.after, f) }

// InTx runs fn in one serializable transaction and commits it. If fn fails or
// panics, nothing of it stays. A serialization failure runs fn again, so fn must
// have no effect but through tx and must set what it hands out anew each time.
// fn does no network and no disk I/O, begins no other transaction, for which it might
// wait for ever, and returns the first error of a statement: PostgreSQL refuses all that
// follows it.
//
// Unavailable says that the database is away or that other transactions won too
// often, NoSpace that its disk is full, in words for anybody and with the cause in
// Config.Log; nothing was changed then, but for a connection lost during the commit
// itself.
func (d *DB) InTx(ctx context.Context, fn func(tx Tx) error) error {
	return d.inTx(ctx, sql.LevelSerializable, fn)
}

// InReadCommitted is InTx at READ COMMITTED on PostgreSQL, for the claim and for Gate:
// there SKIP LOCKED, or the gate, is the whole of the concurrency control.
func (d *DB) InReadCommitted(ctx context.Context, fn func(tx Tx) error) error {
	return d.inTx(ctx, sql.LevelReadCommitted, fn)
}

// Of transactions on PostgreSQL. Serializable ones read and write whole pages of
// indexes, as it sees them, so that those who change neighbouring rows at one time
// lose to each other though they share nothing: of a crowd one wins, all try again, and
// some would never win.
const (
	maxConns = 32
	together = 4 // serializable transactions at once: of more, most would be in vain
	losses   = 3 // after which a transaction has no other of this process beside it
	maxTries = 60
)

func (d *DB) inTx(ctx context.Context, level sql.IsolationLevel, fn func(tx Tx) error) error {
	opts := &sql.TxOptions{}
	if d.postgres {
		opts.Isolation = level
	}
	for try := 1; ; try++ {
		share := int64(1)
		if try > losses {
			share = together
		}
		err := d.once(ctx, opts, share, fn)
		if err == nil || !serializationFailure(err) || try == maxTries {
			return d.kinded(err)
		}
		// Spread the contenders; the wait grows to some 50 ms.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(min(try, 10)*5)+1) * time.Millisecond):
		}
	}
}

// once runs fn in a transaction, and the hooks when others have their turn again.
func (d *DB) once(ctx context.Context, opts *sql.TxOptions, share int64, fn func(tx Tx) error) error {
	t, err := d.commit(ctx, opts, share, fn)
	if err != nil {
		return err
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

func (d *DB) commit(ctx context.Context, opts *sql.TxOptions, share int64, fn func(tx Tx) error) (*tx, error) {
	if opts.Isolation == sql.LevelSerializable {
		if err := d.turns.Acquire(ctx, share); err != nil {
			return nil, err
		}
		defer d.turns.Release(share)
	}
	x, err := d.write.BeginTxx(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer x.Rollback() // a no-op after Commit
	t := &tx{Tx: x}
	if err := fn(t); err != nil {
		return nil, err
	}
	if err := x.Commit(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return t, nil
}

// Found turns sql.ErrNoRows into a NotFound error that names what was looked
// for, and leaves every other error as it is: a broken database is not an absence.
func Found(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return albs.Errorf(albs.NotFound, "there is no "+format, args...)
	}
	return err
}

// One checks that a statement touched exactly one row; none is a Conflict with
// the given message.
func One(r sql.Result, err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return albs.Errorf(albs.Conflict, format, args...)
	}
	return nil
}

// In expands a slice argument of query, which is written with ? marks, and
// rebinds it to $1..$n.
func In(query string, args ...any) (string, []any, error) {
	q, a, err := sqlx.In(query, args...)
	if err != nil {
		return "", nil, fmt.Errorf("expand list: %w", err)
	}
	return sqlx.Rebind(sqlx.DOLLAR, q), a, nil
}

// Like escapes s for use inside a LIKE pattern with ESCAPE '\'.
func Like(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}
