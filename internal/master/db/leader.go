package db

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"
)

// Leader runs f while this process is the only one that holds name, and returns
// what f returns, or ctx's error. On SQLite, which has one master, it just runs
// f. On PostgreSQL it holds a session's advisory lock, and one connection for
// it: if that is lost, f's context is cancelled and, once f has returned, the
// lock is sought again. For up to leaderRetry f may then run beside another
// leader's, so what f does must be safe twice; Leader only keeps it rare.
func (d *DB) Leader(ctx context.Context, name string, f func(ctx context.Context) error) error {
	if !d.postgres {
		return f(ctx)
	}
	for {
		led, err := d.lead(ctx, d.key("leader/"+name), f)
		if led {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(leaderRetry):
		}
	}
}

const leaderRetry = 2 * time.Second

// lead reports whether f ran to its own end; its error is f's.
func (d *DB) lead(ctx context.Context, key int64, f func(ctx context.Context) error) (bool, error) {
	conn, err := d.write.Connx(ctx)
	if err != nil {
		return false, nil // the database is away; a leader can only wait for it
	}
	defer conn.Close()
	var got bool
	if err := conn.GetContext(ctx, &got, `SELECT pg_try_advisory_lock($1)`, key); err != nil || !got {
		return false, nil
	}
	defer func() {
		// Where this fails the connection is closed, and the lock ends with it.
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderRetry)
		defer cancel()
		if _, err := conn.ExecContext(c, `SELECT pg_advisory_unlock($1)`, key); err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()

	held, lost := context.WithCancelCause(ctx)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(leaderRetry)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				// Its own deadline: a cancelled query would cost the connection, and
				// a peer that is gone without a word would hold us for minutes.
				c, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderRetry)
				_, err := conn.ExecContext(c, `SELECT 1`)
				cancel()
				if err != nil {
					lost(fmt.Errorf("leader lock lost: %w", err))
					return
				}
			}
		}
	}()
	err = f(held)
	dropped := held.Err() != nil && ctx.Err() == nil
	close(stop)
	<-done
	lost(nil)
	return !dropped, err
}
