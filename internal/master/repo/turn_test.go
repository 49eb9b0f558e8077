package repo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"albs/internal/albs"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	to := albs.DigestOf([]byte("to"))
	tests := []struct {
		name string
		end  func(ts *turns, mine *turn)
		wait time.Duration // until the next one goes
	}{
		{"given back", func(ts *turns, mine *turn) { ts.end("r", mine) }, 0},
		{"advanced", func(ts *turns, mine *turn) { ts.await("r", mine, to); ts.advanced("r", to) }, 0},
		{"never advanced", func(ts *turns, mine *turn) { ts.await("r", mine, to) }, keepTurn},
		{"another advanced", func(ts *turns, mine *turn) { ts.await("r", mine, to); ts.advanced("r", albs.DigestOf(nil)) }, keepTurn},
		{"another repository advanced", func(ts *turns, mine *turn) { ts.await("r", mine, to); ts.advanced("q", to) }, keepTurn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ts := &turns{held: make(map[string]*turn), keep: keepTurn}
				mine, err := ts.take(t.Context(), "r")
				if err != nil {
					t.Fatal(err)
				}
				if other, err := ts.take(t.Context(), "q"); err != nil {
					t.Fatal(err)
				} else {
					ts.end("q", other)
				}
				start := time.Now()
				tt.end(ts, mine)
				next, err := ts.take(t.Context(), "r")
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != tt.wait {
					t.Errorf("the next one waited %s, want %s", got, tt.wait)
				}
				ts.end("r", mine) // late, and another's turn by now
				if ts.held["r"] != next {
					t.Error("ending a turn twice ended another's")
				}
			})
		})
	}
}

func TestTurnGivesUp(t *testing.T) {
	t.Parallel()
	ts := &turns{held: make(map[string]*turn), keep: keepTurn}
	if _, err := ts.take(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ts.take(ctx, "r"); !errors.Is(err, context.Canceled) {
		t.Errorf("take = %v, want canceled", err)
	}
}
