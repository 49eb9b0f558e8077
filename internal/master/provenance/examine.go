package provenance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// Standing is how far a record or a statement can be believed.
type Standing string

// The standings. Verified was proven a moment ago: in the ledger's trusted state and, of
// a statement, signed by the master's key.
const (
	Verified Standing = "verified"
	Pending  Standing = "pending" // on its way to the ledger: the database's word alone
	Missing  Standing = "missing" // nobody ever said it
	Failed   Standing = "failed"  // what the database has contradicts the ledger
)

// Examination is all that is said of one digest, each part with its standing.
type Examination struct {
	// Record is the standing of the ledger's record of the file, and Trouble what is
	// wrong with it.
	Record     Standing   `json:"record"`
	Trouble    string     `json:"trouble,omitempty"`
	Statements []Examined `json:"statements"` // in the order of their making
}

// Examined is one statement.
type Examined struct {
	Predicate string           `json:"predicate"` // short name
	N         int64            `json:"n"`
	At        time.Time        `json:"at,omitzero"` // when it was stated
	Standing  Standing         `json:"standing"`
	Trouble   string           `json:"trouble,omitempty"` // of one that failed
	Receipt   *ledger.Receipt  `json:"receipt,omitempty"` // where the ledger proves it
	Statement attest.Statement `json:"statement,omitzero"`
}

// Examine looks at all that is said of d. Where History refuses to answer for a row that
// contradicts the ledger, this tells of it, and of the rest; a statement that the ledger
// has behind the last of the database is a failed one. Only a ledger that can't be asked,
// or isn't the one remembered, is an error. Anyone may ask.
func (p *Provenance) Examine(ctx context.Context, d albs.Digest) (Examination, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return Examination{}, err
	}
	var out Examination
	switch ok, err := p.recorded(ctx, d, state); {
	case albs.KindOf(err) == albs.Conflict:
		out.Record, out.Trouble = Failed, err.Error()
	case err != nil:
		return Examination{}, err
	case ok:
		out.Record = Verified
	default:
		if out.Record, err = p.unrecorded(ctx, d); err != nil {
			return Examination{}, err
		}
	}
	rows, err := statementsAbout(ctx, p.d, d)
	if err != nil {
		return Examination{}, fmt.Errorf("read statements about %s: %w", d.Short(), err)
	}
	have := map[string]map[int64]bool{}
	for _, row := range rows {
		e, err := p.examine(ctx, row, state)
		if err != nil {
			return Examination{}, err
		}
		out.Statements = append(out.Statements, e)
		if have[row.Predicate] == nil {
			have[row.Predicate] = map[int64]bool{}
		}
		have[row.Predicate][row.N] = true
	}
	for _, predicate := range attest.Predicates() {
		lost, err := p.lacking(ctx, d, predicate, have[predicate], state)
		if err != nil {
			return Examination{}, err
		}
		out.Statements = append(out.Statements, lost...)
	}
	return out, nil
}

// lacking returns the statements of a predicate about d that the ledger has and the
// database, which has those of these numbers, lacks: between its own and the one behind.
func (p *Provenance) lacking(ctx context.Context, d albs.Digest, predicate string, have map[int64]bool, state ledger.State) (out []Examined, err error) {
	for n, left := int64(1), len(have); left >= 0 && n <= maxNumber; n++ {
		if have[n] {
			left--
			continue
		}
		switch _, err := p.ledger.Prove(ctx, statementKey(d, predicate, n), state); {
		case err == nil:
			out = append(out, Examined{
				Predicate: predicate, N: n, Standing: Failed, Trouble: "the ledger has this statement, and the database lacks it: compare it with a backup",
			})
		case !errors.Is(err, albs.NotFound) && !errors.Is(err, albs.Conflict): // a Conflict is one younger than state
			return nil, err
		case left == 0:
			return out, nil
		}
	}
	return out, nil
}

// maxNumber bounds the numbers at which lacking statements are looked for.
const maxNumber = 1000

// unrecorded tells a record on its way from none.
func (p *Provenance) unrecorded(ctx context.Context, d albs.Digest) (Standing, error) {
	_, err := recordOf(ctx, p.d, d)
	if errors.Is(err, albs.NotFound) {
		return Missing, nil
	}
	return Pending, err
}

func (p *Provenance) examine(ctx context.Context, row statement, state ledger.State) (Examined, error) {
	e := Examined{Predicate: row.Predicate, N: row.N, At: row.CreatedAt.Time, Standing: Verified}
	proof, ok, err := p.proveEntry(ctx, statementKey(row.Subject, row.Predicate, row.N), row.Envelope, row.TxID, state)
	if err == nil {
		_, e.Statement, err = p.opened(ctx, row)
	}
	switch {
	case albs.KindOf(err) == albs.Conflict:
		e.Standing, e.Trouble = Failed, err.Error()
	case err != nil:
		return e, fmt.Errorf("statement %d about %s: %w", row.ID, row.Subject.Short(), err)
	case !ok:
		e.Standing = Pending
	default:
		r := proof.Receipt()
		e.Receipt = &r
	}
	return e, nil
}
