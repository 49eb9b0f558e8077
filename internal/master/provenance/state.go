package provenance

import (
	"context"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/ledger"
)

// turnTime bounds how long advance waits for those before it: a ledger that stands still
// keeps each of them for as long as it bounds a call, and may not keep all in a row.
const turnTime = 15 * time.Second

// advance returns the ledger's newest state after proving that it continues the
// one trusted so far, which at first is the one that the database remembers. A
// ledger that is another, is behind or has another history breaks the trust for
// the life of the process: every later call fails with the same Conflict. One that
// doesn't answer is Unavailable.
func (p *Provenance) advance(ctx context.Context) (ledger.State, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ledger.State{}, fmt.Errorf("read the ledger's state: %w", ctx.Err())
	case <-time.After(turnTime):
		return ledger.State{}, albs.Errorf(albs.Unavailable, "read the ledger's state: it has not answered others for %v", turnTime)
	}
	if err := p.whyBroken(); err != nil {
		return ledger.State{}, err
	}
	if p.trusted == (ledger.State{}) {
		s, err := remembered(ctx, p.d)
		if err != nil {
			return ledger.State{}, err
		}
		p.trusted = s
	}
	now, err := p.ledger.State(ctx)
	if err != nil {
		return ledger.State{}, fmt.Errorf("read the ledger's state: %w", err)
	}
	if now == p.trusted || p.trusted == (ledger.State{}) {
		p.trusted = now
		return now, nil
	}
	c, err := p.ledger.Consistency(ctx, p.trusted.TxID, now.TxID)
	if err == nil {
		err = ledger.VerifyConsistency(c, p.trusted, now)
	}
	if err != nil {
		if found := ledger.Check(ctx, p.ledger, p.trusted); found != nil {
			err = found // it says what is wrong
		}
		if albs.KindOf(err) == albs.Conflict {
			p.setBroken(err)
			p.log.Error().Err(err).Msg("the ledger does not continue what was remembered of it: nothing is notarized until a person has looked")
		}
		return ledger.State{}, err
	}
	p.trusted = now
	return now, nil
}

// Healthy returns nil while statements reach the ledger, Conflict once the ledger
// was found not to continue what is remembered of it (then nothing is written
// until a restart with the right one), and Unavailable before Run's first look at
// it and the last failure while it is away. Of a master that doesn't deliver, because
// another does, it tells how its own looks at database and ledger go.
func (p *Provenance) Healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return p.broken
	}
	return p.away
}

// setAway notes how the last attempt to write went; nil is well.
func (p *Provenance) setAway(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = err
}

// setSeen is setAway for a look beside the deliveries: while this process delivers,
// those tell more.
func (p *Provenance) setSeen(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leads {
		p.away = err
	}
}

func (p *Provenance) setLeads(leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leads = leads
}

func (p *Provenance) isLeading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leads
}

func (p *Provenance) setBroken(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
}

// whyBroken returns nil while the trust in the ledger isn't broken.
func (p *Provenance) whyBroken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}
