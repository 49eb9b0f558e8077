package provenance

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// still is a ledger that answers nothing until it may go on.
type still struct {
	ledger.Ledger
	on chan struct{}
}

func (s still) State(ctx context.Context) (ledger.State, error) {
	select {
	case <-s.on:
		return ledger.State{Ledger: "x", TxID: 1}, nil
	case <-ctx.Done():
		return ledger.State{}, ctx.Err()
	}
}

// TestLedgerStandsStill: who waits for a ledger keeps nobody who doesn't, and who comes
// behind waits no longer than they want to, nor without end.
func TestLedgerStandsStill(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := still{on: make(chan struct{})}
		p := New(nil, nil, nil, l, attest.NewSigner(key), zerolog.Nop())
		p.trusted = ledger.State{Ledger: "x", TxID: 1}
		first := make(chan error, 1)
		go func() {
			_, err := p.advance(t.Context())
			first <- err
		}()
		synctest.Wait() // it asks the ledger
		if !p.mu.TryLock() {
			t.Fatal("the lock of all else is held while the ledger is asked")
		}
		p.mu.Unlock()
		p.setAway(nil)
		if err := p.Healthy(); err != nil {
			t.Errorf("Healthy = %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.advance(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("advance behind one that waits, for a second: %v, want its deadline", err)
		}
		if _, err := p.advance(t.Context()); !errors.Is(err, albs.Unavailable) {
			t.Errorf("advance behind one that waits: %v, want unavailable", err)
		}
		close(l.on)
		if err := <-first; err != nil {
			t.Errorf("advance once the ledger answers: %v", err)
		}
		if _, err := p.advance(t.Context()); err != nil {
			t.Errorf("advance after that: %v", err)
		}
	})
}
