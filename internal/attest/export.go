package attest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"albs/internal/albs"
	"albs/internal/ledger"
)

// exportFormat is the format's name and version.
const exportFormat = "ledger-export/v1"

const (
	// maxExportLine bounds a line: a transaction's bytes in base64, and its hashes.
	maxExportLine = 2*ledger.MaxAppend + (1 << 20)
	// MaxFaults bounds the list of what is wrong; all are counted.
	MaxFaults = 1000
)

// exportLine is a line of an export: the first has Albs and Ledger, each after that a
// transaction, and the last the state.
type exportLine struct {
	Albs        string              `json:"albs,omitempty"`
	Ledger      string              `json:"ledger,omitempty"`
	Transaction *ledger.Transaction `json:"transaction,omitempty"`
	State       *SignedState        `json:"state,omitempty"`
}

// WriteExport writes a whole ledger as lines of JSON, from its first transaction to
// state, which read reads: for CheckExport. An error of w or read ends it, and what was
// written has no end then.
func WriteExport(ctx context.Context, w io.Writer, state SignedState, read func(ctx context.Context, id uint64) (ledger.Transaction, error)) error {
	out := json.NewEncoder(w)
	if err := out.Encode(exportLine{Albs: exportFormat, Ledger: state.State.Ledger}); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	for id := uint64(1); id <= state.State.TxID; id++ {
		t, err := read(ctx, id)
		if err != nil {
			return fmt.Errorf("export transaction %d: %w", id, err)
		}
		if err := out.Encode(exportLine{Transaction: &t}); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
	}
	if err := out.Encode(exportLine{State: &state}); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

// Fault is something wrong in a ledger.
type Fault struct {
	TxID uint64 `json:"tx,omitempty"`
	Key  string `json:"key,omitempty"`
	What string `json:"what"`
}

// Tally counts what a ledger holds, and has what is wrong with it.
type Tally struct {
	Transactions uint64  `json:"transactions"`
	Statements   int     `json:"statements"`
	Records      int     `json:"records"`
	Others       int     `json:"others"` // what other users of its database wrote, and its id
	Wrong        int     `json:"wrong"`
	Faults       []Fault `json:"faults"` // the first MaxFaults of Wrong
}

// Add adds a fault.
func (t *Tally) Add(f Fault) {
	if t.Wrong++; len(t.Faults) < MaxFaults {
		t.Faults = append(t.Faults, f)
	}
}

// Sort is what an entry of the ledger is.
type Sort string

// The sorts of entries.
const (
	SortStatement Sort = "statement"
	SortRecord    Sort = "record"
	SortOther     Sort = "other"
)

// Inspect returns what an entry of the ledger is, and Invalid if it isn't what its key
// says: a statement about another subject, or signed by none of the keys that keys names
// for its predicate; a record of another file, for which keys may be nil.
func Inspect(key, value []byte, keys func(predicate string) []ed25519.PublicKey) (Sort, error) {
	if d, err := albs.ParseDigest(string(key)); err == nil {
		r, err := ParseRecord(value)
		if err == nil && r.Hash != d {
			err = albs.Errorf(albs.Invalid, "it is the record of %s", r.Hash)
		}
		return SortRecord, err
	}
	if !strings.HasPrefix(string(key), "att/") {
		return SortOther, nil
	}
	e, err := ParseEnvelope(value)
	if err != nil {
		return SortStatement, err
	}
	if keys == nil {
		return SortStatement, albs.Errorf(albs.Invalid, "no key is trusted for statements")
	}
	s, err := e.Open(keys(e.predicate())...)
	if err != nil {
		return SortStatement, err
	}
	if _, err := checkKey(string(key), s); err != nil {
		return SortStatement, albs.Errorf(albs.Invalid, "%w", err)
	}
	return SortStatement, nil
}

// Count inspects the entries of a transaction, whose first entry of a key counts.
func (t *Tally) Count(tx ledger.Transaction, keys func(predicate string) []ed25519.PublicKey) {
	t.Transactions++
	for _, i := range tx.Items {
		if !i.Plain() {
			t.Others++
			continue
		}
		sort, err := Inspect(i.Key, i.Value, keys)
		switch sort {
		case SortStatement:
			t.Statements++
		case SortRecord:
			t.Records++
		default:
			t.Others++
		}
		if err != nil {
			t.Add(Fault{TxID: tx.Header.ID, Key: string(i.Key), What: err.Error()})
		}
	}
}

// CheckExport reads what WriteExport wrote, of the ledger that trust names, and checks
// all of it: every transaction continues those before, the last one is that of a state
// that a master key of trust signed, and every entry is what its key says. Nothing but
// trust is believed. It returns what was found; Invalid if r is no export, or it breaks
// off or leads to another state, for then nothing behind the break was checked. seen,
// if not nil, hears of each transaction.
func CheckExport(ctx context.Context, r io.Reader, trust Trust, seen func(id uint64)) (Tally, SignedState, error) {
	var tally Tally
	trusted, err := trust.open()
	if err != nil {
		return tally, SignedState{}, err
	}
	lines := bufio.NewReaderSize(r, 1<<20)
	var head exportLine
	if err := nextLine(lines, &head); err != nil {
		return tally, SignedState{}, err
	}
	switch {
	case head.Albs != exportFormat:
		return tally, SignedState{}, albs.Errorf(albs.Invalid, "this is no export of a ledger: its first line doesn't say %s", exportFormat)
	case head.Ledger != trust.Ledger:
		return tally, SignedState{}, albs.Errorf(albs.Invalid, "this is the ledger %.80q, and the trust file trusts %s", head.Ledger, trust.Ledger)
	}
	var chain ledger.Chain
	for {
		if err := ctx.Err(); err != nil {
			return tally, SignedState{}, err
		}
		var line exportLine
		if err := nextLine(lines, &line); err != nil {
			return tally, SignedState{}, fmt.Errorf("after transaction %d: %w", chain.TxID, err)
		}
		if line.State != nil {
			s := *line.State
			switch err := verifyBy(trusted.masters, s.KeyID, payloadState, s.payload(), s.Sig); {
			case err != nil:
				return tally, s, albs.Errorf(albs.Invalid, "the state at the end: %w", err)
			case s.State != (ledger.State{Ledger: trust.Ledger, TxID: chain.TxID, Alh: chain.Alh}):
				return tally, s, albs.Errorf(albs.Invalid, "the transactions don't lead to the state at the end: they end with %d", chain.TxID)
			}
			if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
				return tally, s, albs.Errorf(albs.Invalid, "there is something behind the state at the end")
			}
			return tally, s, nil
		}
		if line.Transaction == nil {
			return tally, SignedState{}, albs.Errorf(albs.Invalid, "the line after transaction %d has neither a transaction nor a state", chain.TxID)
		}
		if err := chain.Add(*line.Transaction); err != nil {
			return tally, SignedState{}, err
		}
		tally.Count(*line.Transaction, trusted.kept)
		if seen != nil {
			seen(chain.TxID)
		}
	}
}

// nextLine reads a line of JSON.
func nextLine(r *bufio.Reader, v *exportLine) error {
	var b []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(b)+len(part) > maxExportLine {
			return albs.Errorf(albs.TooLarge, "a line has more than %d bytes", maxExportLine)
		}
		b = append(b, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return albs.Errorf(albs.Invalid, "the export breaks off")
		case err != nil:
			return fmt.Errorf("read the export: %w", err)
		}
		break
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return albs.Errorf(albs.Invalid, "a line isn't one of an export: %w", err)
	}
	return nil
}
