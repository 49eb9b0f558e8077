package db

import (
	"context"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Notify sends the payloads to everyone who listens on channel in any process;
// on SQLite, which has one process, to nobody. A payload is at most 7,900 bytes.
// It runs in a transaction of its own and not in a change's: PostgreSQL makes
// notifying transactions commit one after another.
func (d *DB) Notify(ctx context.Context, channel string, payloads []string) error {
	if !d.postgres || len(payloads) == 0 {
		return nil
	}
	_, err := d.ExecContext(ctx, `SELECT pg_notify($1, p) FROM unnest($2::text[]) AS p`, d.channel(channel), pq.Array(payloads))
	if err != nil {
		return fmt.Errorf("notify %s: %w", channel, err)
	}
	return nil
}

// Listen calls f for each payload sent on channel until ctx is done, whose error
// it returns. After a lost connection f is called with "", for payloads may have
// been missed. On SQLite it only waits.
func (d *DB) Listen(ctx context.Context, channel string, f func(payload string)) error {
	if !d.postgres {
		<-ctx.Done()
		return ctx.Err()
	}
	l := pq.NewListener(d.dsn, 100*time.Millisecond, time.Second, nil)
	defer func() {
		l.Close()
		for range l.Notify { // until its goroutine, which may hold a last payload, has ended
		}
	}()
	// Listen blocks while the database is away; Close frees it.
	heard := make(chan error, 1)
	go func() { heard <- l.Listen(d.channel(channel)) }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-heard:
			if err != nil {
				return fmt.Errorf("listen on %s: %w", channel, err)
			}
			f("") // what was sent before now was missed
		case n := <-l.Notify:
			if n == nil { // reconnected
				f("")
			} else {
				f(n.Extra)
			}
		}
	}
}

// channel is database-wide in PostgreSQL, so it carries the schema.
func (d *DB) channel(name string) string {
	return fmt.Sprintf("albs_%s_%016x", name, uint64(d.key(name)))
}
