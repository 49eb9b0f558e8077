package provenance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// proven is a statement that the ledger holds and the master's key signed.
type proven struct {
	row       statement
	envelope  attest.Envelope
	statement attest.Statement
	key       []byte
	proof     ledger.Proof
}

// tampered says that a row is not what the ledger holds. It is the end of all
// trust in the row: whoever asked must refuse.
func tampered(format string, args ...any) error {
	return albs.Errorf(albs.Conflict, "%s: the database was changed behind albs; compare it with a backup", fmt.Sprintf(format, args...))
}

// prove returns the statements about d that are in the ledger at state, in the
// order of their making, and how many others are on their way. Every row is held
// against the ledger and the master's key; a row that claims to be there and
// isn't, or differs, is a Conflict.
func (p *Provenance) prove(ctx context.Context, d albs.Digest, state ledger.State) (found []proven, pending []statement, err error) {
	rows, err := statementsAbout(ctx, p.d, d)
	if err != nil {
		return nil, nil, fmt.Errorf("read statements about %s: %w", d.Short(), err)
	}
	for _, row := range rows {
		key := statementKey(row.Subject, row.Predicate, row.N)
		proof, ok, err := p.proveEntry(ctx, key, row.Envelope, row.TxID, state)
		if err != nil {
			return nil, nil, fmt.Errorf("statement %d about %s: %w", row.ID, d.Short(), err)
		}
		if !ok {
			pending = append(pending, row)
			continue
		}
		envelope, st, err := p.opened(ctx, row)
		if err != nil {
			return nil, nil, err
		}
		found = append(found, proven{row, envelope, st, key, proof})
	}
	return found, pending, nil
}

// proveEntry proves that the ledger at state holds value under key. It returns
// false while the entry is on its way, and Conflict if txID, the row's own word
// for where it is, or value turns out wrong.
func (p *Provenance) proveEntry(ctx context.Context, key []byte, value string, txID *int64, state ledger.State) (ledger.Proof, bool, error) {
	proof, err := p.ledger.Prove(ctx, key, state)
	switch {
	case errors.Is(err, albs.NotFound) && txID == nil:
		return ledger.Proof{}, false, nil
	case errors.Is(err, albs.NotFound):
		return ledger.Proof{}, false, tampered("the ledger has no entry %s", key)
	case errors.Is(err, albs.Conflict): // written since state was read
		return ledger.Proof{}, false, nil
	case err != nil:
		return ledger.Proof{}, false, err
	}
	if err := ledger.Verify(proof, key, []byte(value), state); err != nil {
		return ledger.Proof{}, false, tampered("the ledger has another entry %s: %v", key, err)
	}
	if txID != nil && uint64(*txID) != proof.Receipt().TxID {
		return ledger.Proof{}, false, tampered("entry %s is in transaction %d of the ledger, not in %d", key, proof.Receipt().TxID, *txID)
	}
	return proof, true, nil
}

// recorded reports whether the ledger holds the record of file d, as the row has it.
func (p *Provenance) recorded(ctx context.Context, d albs.Digest, state ledger.State) (bool, error) {
	r, err := recordOf(ctx, p.d, d)
	if errors.Is(err, albs.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, ok, err := p.proveEntry(ctx, []byte(d), r.Value, r.TxID, state)
	return ok, err
}

// Notarized reports whether the ledger holds the record of file d and every
// statement about it, of which there is at least one: by proofs against the
// trusted state and the master's signatures, whatever the rows say. False means
// that something is still on its way or was never said; rows that contradict the
// ledger, or a ledger that is not the one remembered, are a Conflict.
func (p *Provenance) Notarized(ctx context.Context, d albs.Digest) (bool, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return false, err
	}
	if ok, err := p.recorded(ctx, d, state); err != nil || !ok {
		return false, err
	}
	found, pending, err := p.prove(ctx, d, state)
	return err == nil && len(found) > 0 && len(pending) == 0, err
}

// Stated returns all statements of a predicate about d, the oldest first, those on
// their way to the ledger among them; none if none was ever made. It is what a
// decision holds the rows of its own module against: a row that contradicts the
// ledger, and a statement there behind the last row, are a Conflict. One between
// the rows, as an older database put back leaves, is read from the ledger.
func (p *Provenance) Stated(ctx context.Context, d albs.Digest, predicate string) ([]attest.Statement, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return nil, err
	}
	about, err := statementsAbout(ctx, p.d, d)
	if err != nil {
		return nil, fmt.Errorf("read statements about %s: %w", d.Short(), err)
	}
	var rows []statement
	for _, row := range about {
		if row.Predicate == predicate {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b statement) int { return cmp.Compare(a.N, b.N) })
	var out []attest.Statement
	n := int64(1)
	for ; len(rows) > 0; n++ {
		row := rows[0]
		if row.N == n {
			rows = rows[1:]
		} else if row, err = p.lost(ctx, d, predicate, n); err != nil {
			return nil, err
		}
		if _, _, err := p.proveEntry(ctx, statementKey(d, predicate, n), row.Envelope, row.TxID, state); err != nil {
			return nil, fmt.Errorf("%s %d about %s: %w", predicate, n, d.Short(), err)
		}
		_, st, err := p.opened(ctx, row)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", predicate, n, err)
		}
		out = append(out, st)
	}
	switch _, err := p.ledger.Prove(ctx, statementKey(d, predicate, n), state); {
	case err == nil:
		return nil, tampered("the ledger has more statements %s about %s than there are rows", predicate, d.Short())
	case !errors.Is(err, albs.NotFound) && !errors.Is(err, albs.Conflict): // a Conflict is one younger than state
		return nil, err
	}
	return out, nil
}

// lost returns what the row of a statement would be that only the ledger has.
func (p *Provenance) lost(ctx context.Context, d albs.Digest, predicate string, n int64) (statement, error) {
	value, _, err := p.ledger.Get(ctx, statementKey(d, predicate, n))
	if errors.Is(err, albs.NotFound) {
		return statement{}, tampered("statement %s %d about %s is neither in the database nor in the ledger", predicate, n, d.Short())
	}
	if err != nil {
		return statement{}, fmt.Errorf("read %s %d about %s: %w", predicate, n, d.Short(), err)
	}
	return statement{Subject: d, Predicate: predicate, N: n, Envelope: string(value)}, nil
}

// WaitNotarized returns nil once every one of ds is Notarized, and otherwise ctx's
// error or the first one that waiting cannot help: a Conflict.
func (p *Provenance) WaitNotarized(ctx context.Context, ds ...albs.Digest) error {
	wake, stop := p.events.Wake(Topic)
	defer stop()
	for {
		for len(ds) > 0 {
			ok, err := p.Notarized(ctx, ds[0])
			if albs.KindOf(err) == albs.Conflict {
				return err
			}
			if err != nil || !ok {
				break
			}
			ds = ds[1:]
		}
		if len(ds) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for notarization of %d digests: %w", len(ds), ctx.Err())
		case <-wake:
		case <-time.After(look):
		}
	}
}

// Event is one statement of a digest's history.
type Event struct {
	Subject   albs.Digest      `json:"subject"`
	Predicate string           `json:"predicate"` // short name
	N         int64            `json:"n"`
	At        time.Time        `json:"at"`                // when it was stated
	Receipt   *ledger.Receipt  `json:"receipt,omitempty"` // where the ledger proves it; nil while pending
	Statement attest.Statement `json:"statement"`
}

// History returns all that was stated about d and about what it was made from,
// the oldest first. Rows that contradict the ledger are a Conflict. Anyone may ask.
func (p *Provenance) History(ctx context.Context, d albs.Digest) ([]Event, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return nil, err
	}
	found, pending, err := p.chain(ctx, d, state)
	if err != nil {
		return nil, err
	}
	var out []Event
	for _, s := range found {
		r := s.proof.Receipt()
		out = append(out, Event{s.row.Subject, s.row.Predicate, s.row.N, s.row.CreatedAt.Time, &r, s.statement})
	}
	for _, row := range pending {
		_, st, err := p.opened(ctx, row)
		if err != nil {
			return nil, err
		}
		out = append(out, Event{row.Subject, row.Predicate, row.N, row.CreatedAt.Time, nil, st})
	}
	slices.SortStableFunc(out, func(a, b Event) int { return a.At.Compare(b.At) })
	return out, nil
}
