package provenance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/failpoint"
)

const (
	// Topic is what waiters for notarization wake by.
	Topic = "ledger"
	// KindNoted is the event of one batch that reached the ledger.
	KindNoted = "ledger.noted"

	batchParcels = 256     // outbox rows of one ledger transaction; each is at most two entries
	batchBytes   = 3 << 20 // of values; the ledger gathers up to 4 MiB into one transaction
	look         = 5 * time.Second
	maxBackoff   = 30 * time.Second
)

// Noted is the data of a KindNoted event.
type Noted struct {
	TxID  uint64 `json:"tx"`    // the newest transaction of the batch
	Count int    `json:"count"` // parcels delivered
}

// Run carries statements and file records from the outbox into the ledger, in
// order, until ctx is done, whose error it returns. A parcel is delivered at least
// once and counts once, for the ledger takes the same entry twice as one. With
// the ledger away it tries again, ever more slowly; with a ledger that is not the
// one remembered it writes nothing, says so in the log and in Healthy, and waits
// for the end. Of several masters one delivers.
func (p *Provenance) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watch(ctx) })
	g.Go(func() error { return p.lead(ctx) })
	return g.Wait()
}

func (p *Provenance) lead(ctx context.Context) error {
	return p.d.Leader(ctx, "provenance", func(ctx context.Context) error {
		p.setLeads(true)
		defer p.setLeads(false)
		ctx = auth.System(ctx, "notary")
		wake, stop := p.events.Wake(Topic)
		defer stop()
		careful := true // a crash may have left entries in the ledger whose parcels are still here
		for tries := 0; ; {
			n, err := p.deliver(ctx, careful)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			wait := look
			switch {
			case p.whyBroken() != nil:
				<-ctx.Done()
				return ctx.Err()
			case err != nil:
				p.setAway(err)
				if careful {
					tries++
					wait = min(100*time.Millisecond<<min(tries, 10), maxBackoff)
					p.log.Error().Err(err).Int("tries", tries).Msg("statements wait for the ledger")
				} else {
					wait = 0
				}
				careful = true
			default:
				p.setAway(nil)
				tries = 0
				careful = careful && n > 0
			}
			if err == nil && n > 0 {
				continue
			}
			woken := wake
			if err != nil {
				woken = nil // news don't bring the ledger back
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-woken:
			case <-time.After(wait):
			}
		}
	})
}

// watch keeps Healthy true of a master that doesn't deliver, which learns from nothing
// else that database and ledger are there, until ctx is done.
func (p *Provenance) watch(ctx context.Context) error {
	for {
		if !p.isLeading() {
			_, err := p.Pending(ctx)
			if err == nil {
				_, err = p.advance(ctx)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.setSeen(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
}

// Pending returns how many parcels wait for the ledger.
func (p *Provenance) Pending(ctx context.Context) (int, error) { return countOutbox(ctx, p.d) }

// OnTheWay reports whether the record of one of the files, or a statement about one, waits
// for the ledger. If nothing does, then what the ledger lacks of them it won't get.
func (p *Provenance) OnTheWay(ctx context.Context, ds ...albs.Digest) (bool, error) {
	on, err := waits(ctx, p.d, ds)
	if err != nil {
		return false, fmt.Errorf("look what waits for the ledger: %w", err)
	}
	return on, nil
}

// deliver carries one batch and returns its size. Careful, it asks the ledger for
// each entry before; that is needed whenever some may be there already.
func (p *Provenance) deliver(ctx context.Context, careful bool) (int, error) {
	if _, err := p.advance(ctx); err != nil {
		return 0, err
	}
	batch, err := parcels(ctx, p.d, batchParcels)
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	batch = cut(batch)
	if len(batch) == 0 {
		return 0, nil
	}
	var b delivery
	for i := range batch {
		b.ids = append(b.ids, batch[i].ID)
		if careful {
			err = p.sift(ctx, &batch[i], &b)
		} else {
			b.add(batch[i])
		}
		if err != nil {
			return 0, err
		}
	}
	failpoint.Here(failpoint.BeforeLedger)
	if len(b.entries) > 0 {
		r, err := p.ledger.Append(ctx, b.entries)
		if err != nil {
			return 0, fmt.Errorf("append %d entries to the ledger: %w", len(b.entries), err)
		}
		b.at(r.TxID, b.newStatements, b.newFiles)
	}
	failpoint.Here(failpoint.AfterLedger)
	state, err := p.advance(ctx)
	if err != nil {
		return 0, err
	}
	err = p.settle(ctx, b, state)
	failpoint.Here(failpoint.Noted)
	return len(batch), err
}

// cut keeps as many parcels as one ledger transaction should hold, one at least.
func cut(batch []parcel) []parcel {
	size := 0
	for i, c := range batch {
		size += len(c.Envelope) + len(c.Record)
		if i > 0 && size > batchBytes {
			return batch[:i]
		}
	}
	return batch
}

// delivery is one batch on its way: what is to be appended, and which rows have
// come to lie in which transaction.
type delivery struct {
	ids           []int64
	entries       []ledger.Entry
	newStatements []int64
	newFiles      []albs.Digest
	statements    map[uint64][]int64
	files         map[uint64][]albs.Digest
	newest        uint64
}

func (b *delivery) at(txID uint64, statements []int64, files []albs.Digest) {
	if b.statements == nil {
		b.statements, b.files = map[uint64][]int64{}, map[uint64][]albs.Digest{}
	}
	b.statements[txID] = append(b.statements[txID], statements...)
	b.files[txID] = append(b.files[txID], files...)
	b.newest = max(b.newest, txID)
}

// add appends a parcel's entries. The file's record comes first: who finds a
// statement finds the record of what it is about.
func (b *delivery) add(c parcel) {
	if c.File != "" {
		b.addFile(c)
	}
	if c.Statement != nil {
		b.addStatement(c)
	}
}

func (b *delivery) addFile(c parcel) {
	b.entries = append(b.entries, ledger.Entry{Key: []byte(c.File), Value: []byte(c.Record)})
	b.newFiles = append(b.newFiles, c.File)
}

func (b *delivery) addStatement(c parcel) {
	b.entries = append(b.entries, ledger.Entry{Key: statementKey(c.Subject, c.Predicate, c.N), Value: []byte(c.Envelope)})
	b.newStatements = append(b.newStatements, *c.Statement)
}

// sift adds what the ledger lacks of a parcel. Only where the database is older
// than the ledger, a backup put back, can the ledger hold something else under a
// key: a file's first record stays, and a statement takes the next free number.
func (p *Provenance) sift(ctx context.Context, c *parcel, b *delivery) error {
	if c.File != "" {
		value, r, err := p.ledger.Get(ctx, []byte(c.File))
		switch {
		case errors.Is(err, albs.NotFound):
			b.addFile(*c)
		case err != nil:
			return fmt.Errorf("look for the record of %s: %w", c.File.Short(), err)
		default:
			if string(value) != c.Record {
				p.log.Warn().Str("digest", string(c.File)).Msg("the ledger has another record of this file: it stays")
				if err := adoptRecord(ctx, p.d, c.File, string(value)); err != nil {
					return err
				}
			}
			b.at(r.TxID, nil, []albs.Digest{c.File})
		}
	}
	if c.Statement == nil {
		return nil
	}
	value, r, err := p.ledger.Get(ctx, statementKey(c.Subject, c.Predicate, c.N))
	switch {
	case err == nil && string(value) == c.Envelope:
		b.at(r.TxID, []int64{*c.Statement}, nil)
		return nil
	case err == nil:
		if err := p.renumber(ctx, c); err != nil {
			return fmt.Errorf("renumber statement %d: %w", *c.Statement, err)
		}
	case !errors.Is(err, albs.NotFound):
		return fmt.Errorf("look for statement %d: %w", *c.Statement, err)
	}
	b.addStatement(*c)
	return nil
}

// renumber gives a statement a number that is free in the database and in the
// ledger. The number is no part of what was signed.
func (p *Provenance) renumber(ctx context.Context, c *parcel) error {
	n, err := nextNumber(ctx, p.d, c.Subject, c.Predicate)
	for ; err == nil; n++ {
		if _, _, err = p.ledger.Get(ctx, statementKey(c.Subject, c.Predicate, n)); errors.Is(err, albs.NotFound) {
			break
		}
	}
	if !errors.Is(err, albs.NotFound) {
		return err
	}
	p.log.Warn().Str("digest", string(c.Subject)).Int64("n", n).Msg("the ledger has statements that the database lost: a new one goes behind them")
	c.N = n
	return setNumber(ctx, p.d, *c.Statement, n)
}

// settle notes in one transaction that the batch is in the ledger and what the
// ledger's state is.
func (p *Provenance) settle(ctx context.Context, b delivery, s ledger.State) error {
	return p.d.InTx(ctx, func(tx db.Tx) error {
		if err := deleteParcels(ctx, tx, b.ids); err != nil {
			return err
		}
		for id, rows := range b.statements {
			if len(rows) > 0 {
				if err := setStatementTx(ctx, tx, rows, id); err != nil {
					return fmt.Errorf("note receipts: %w", err)
				}
			}
		}
		for id, rows := range b.files {
			if len(rows) > 0 {
				if err := setRecordTx(ctx, tx, rows, id); err != nil {
					return fmt.Errorf("note receipts: %w", err)
				}
			}
		}
		if err := remember(ctx, tx, s, db.Now()); err != nil {
			return fmt.Errorf("remember ledger state: %w", err)
		}
		return p.events.Add(ctx, tx, KindNoted, Topic, auth.From(ctx).String(), Noted{TxID: b.newest, Count: len(b.ids)})
	})
}
