package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"github.com/jmoiron/sqlx"
)

// Gate orders what masters do with something that is outside of the database, such as
// the blobs that they share: many may pass at once, or one alone has it. On SQLite,
// which has one master, it orders what that does.
type Gate struct {
	d   *DB
	key int64
	mu  sync.RWMutex // of this process, whose own need not ask the database for each other
}

// Gate returns the gate of a name. A process makes each only once.
func (d *DB) Gate(name string) *Gate { return &Gate{d: d, key: d.key("gate/" + name)} }

// Pass runs fn, with what it is to read and write by, while nobody has the gate alone.
// As InTx does, it may run fn again; fn sees all that was committed by those who had the
// gate alone before. What fn wrote is durable on return of nil.
func (g *Gate) Pass(ctx context.Context, fn func(q Q) error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !g.d.postgres {
		return fn(g.d)
	}
	return g.d.InReadCommitted(ctx, func(tx Tx) error {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock_shared($1)`, g.key); err != nil {
			return fmt.Errorf("pass gate: %w", err)
		}
		return fn(tx)
	})
}

// Alone runs fn while nobody else passes, and returns what fn returns. On PostgreSQL that
// holds for as long as a connection does: fn asks held before each step that can't be
// taken back, and ends with its error, which is Unavailable, if others may pass by now.
func (g *Gate) Alone(ctx context.Context, fn func(held func() error) error) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.d.postgres {
		return fn(func() error { return nil })
	}
	conn, err := g.d.write.Connx(ctx)
	if err != nil {
		return g.d.kinded(fmt.Errorf("close gate: %w", err))
	}
	defer func() { err = errors.Join(err, g.open(ctx, conn)) }()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, g.key); err != nil {
		return g.d.kinded(fmt.Errorf("close gate: %w", err))
	}
	return fn(func() error {
		if _, err := conn.ExecContext(ctx, `SELECT 1`); err != nil {
			return g.d.kinded(fmt.Errorf("hold gate: %w", err))
		}
		return nil
	})
}

// open lets others pass. Where the lock can't be given back its connection is closed,
// and the lock ends with it.
func (g *Gate) open(ctx context.Context, conn *sqlx.Conn) error {
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderRetry)
	defer cancel()
	if _, err := conn.ExecContext(c, `SELECT pg_advisory_unlock($1)`, g.key); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		return nil
	}
	return conn.Close()
}
