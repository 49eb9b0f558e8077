package db_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// Who passes sees what those did who were alone before, and nobody passes meanwhile.
func TestGate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		exec(t, d, `CREATE TABLE place (n BIGINT NOT NULL)`)
		exec(t, d, `INSERT INTO place (n) VALUES (0)`)
		g := d.Gate("x")
		outside := 0 // what only those change who are alone, together with the row
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					err := g.Alone(t.Context(), func(held func() error) error {
						if _, err := d.ExecContext(t.Context(), `UPDATE place SET n = n + 1`); err != nil {
							return err
						}
						outside++
						return held()
					})
					if err != nil {
						t.Errorf("Alone = %v", err)
					}
					err = g.Pass(t.Context(), func(q db.Q) error {
						if n := get[int](t, q, `SELECT n FROM place`); n != outside {
							t.Errorf("who passes sees %d in the database and %d outside", n, outside)
						}
						return nil
					})
					if err != nil {
						t.Errorf("Pass = %v", err)
					}
				}
			})
		}
		wg.Wait()
		if outside != 40 {
			t.Errorf("%d were alone, want 40", outside)
		}
		want := errors.New("its own end")
		if err := g.Alone(t.Context(), func(func() error) error { return want }); !errors.Is(err, want) {
			t.Errorf("Alone = %v, want the function's error", err)
		}
		if err := g.Pass(t.Context(), func(db.Q) error { return want }); !errors.Is(err, want) {
			t.Errorf("Pass = %v, want the function's error", err)
		}
	})
}

func TestGateBetweenMasters(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	one, two := dbtest.Open(t, c).Gate("x"), dbtest.Open(t, c).Gate("x")
	// waits reports whether somebody waits for the other master.
	waits := func(f func(context.Context) error) bool {
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return f(short) != nil && short.Err() != nil
	}
	pass := func(ctx context.Context) error { return two.Pass(ctx, func(db.Q) error { return nil }) }
	alone := func(ctx context.Context) error { return two.Alone(ctx, func(func() error) error { return nil }) }
	err := one.Alone(t.Context(), func(func() error) error {
		if !waits(pass) || !waits(alone) {
			t.Error("one master is alone, and another passes, or is too")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = one.Pass(t.Context(), func(db.Q) error {
		if !waits(alone) {
			t.Error("one master passes, and another is alone")
		}
		return pass(t.Context())
	})
	if err != nil {
		t.Error(err)
	}
	if err := alone(t.Context()); err != nil {
		t.Errorf("when nobody passes, Alone = %v", err)
	}
}

// Who is alone and loses the connection is told before the next step.
func TestGateLosesItsConnection(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	g := d.Gate("x")
	err := g.Alone(t.Context(), func(held func() error) error {
		if err := held(); err != nil {
			return err
		}
		exec(t, d, `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
			WHERE l.locktype = 'advisory' AND a.application_name = current_database() AND l.pid <> pg_backend_pid()`)
		return held()
	})
	if !errors.Is(err, albs.Unavailable) {
		t.Errorf("Alone after its connection was lost = %v, want Unavailable", err)
	}
	if err := g.Alone(t.Context(), func(held func() error) error { return held() }); err != nil {
		t.Errorf("Alone afterwards = %v", err)
	}
}
