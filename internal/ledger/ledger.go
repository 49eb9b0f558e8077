// Package ledger keeps entries, key and value, in a log that can only grow and
// that proves what it holds. Ledger is the contract, Embedded the ledger in a
// directory of this process (immudb's embedded store), Server that in a database of
// an immudb server (immudb is imported nowhere else); Verify, VerifyConsistency and
// Chain are the checks, pure and offline.
//
// Invariants: the first value of a key stays its value; what Append acknowledged
// survives a crash; a value is returned only if its transaction proves it.
//
// A ledger can't know that its directory was put back to an older copy. Its user
// remembers a State elsewhere and calls Check. What entries mean is not known here.
package ledger

import (
	"context"
	"time"

	"albs/internal/albs"
)

// Bounds of an entry and of one Append.
const (
	MaxKey     = 256       // bytes of a key
	MaxValue   = 256 << 10 // bytes of a value
	MaxEntries = 1024      // entries of one Append
	MaxAppend  = 16 << 20  // bytes of keys and values of one Append
)

// Entry is one thing to keep. A key doesn't begin with a zero byte: that is what an
// immudb server puts before each.
type Entry struct {
	Key   []byte
	Value []byte
}

// State names all that a ledger holds at one moment: the ledger's random id, its
// newest transaction, and immudb's accumulative hash (Alh) there, which binds
// every transaction before. The zero State is that of no ledger.
type State struct {
	Ledger string      `json:"ledger"`
	TxID   uint64      `json:"tx"`
	Alh    albs.Digest `json:"alh"`
}

// Receipt says where and when an entry was written; At has whole seconds.
type Receipt struct {
	TxID uint64    `json:"tx"`
	At   time.Time `json:"at"`
}

// Ledger is an append-only store of entries. The conformance suite, which asks for
// each claim made here, is ledgertest.Run.
//
// Concurrency: every method may be called concurrently. Of Appends that contradict
// each other one is first, and the others are Conflicts.
//
// Durability: what Append acknowledged, and what State returned, survives a crash
// and a loss of power. An Append that a crash cut off is there as a whole or not at
// all, so the ledger may be ahead of what its user remembers, and never behind.
//
// Errors, beside those named below: Internal if a value or proof doesn't check
// against the ledger's own hashes, Unavailable if its storage failed, its server is
// away or it is closed, Forbidden if its server refuses the user or the database. An
// ended context is its own error.
type Ledger interface {
	// Append writes the entries in one transaction, durable on return of nil. An
	// entry that is there already with the same value is not written again; the
	// receipt is that of the newest transaction that holds one of the entries, so
	// a repeated Append gets the first receipt. If any key has another value, in
	// the ledger or among the entries, the error is Conflict and nothing is
	// written. Empty keys or values are Invalid, as is no entry at all; what
	// passes a bound is TooLarge. NoSpace and Unavailable leave it open whether
	// the entries were written; so does an ended context. Repeating is right then.
	// The entries may be changed once Append has returned.
	Append(ctx context.Context, entries []Entry) (Receipt, error)

	// Get returns the value of key, or NotFound; Invalid for a key that none can
	// have. The value has been checked against its transaction's hash.
	Get(ctx context.Context, key []byte) ([]byte, Receipt, error)

	// Prove returns the proof that key's entry is in its transaction, and that
	// transaction in upTo, for Verify. It is NotFound if the key isn't there, and
	// Conflict if upTo is no state of this ledger or older than the entry.
	Prove(ctx context.Context, key []byte, upTo State) (Proof, error)

	// State returns the newest durable state. It has a transaction from the start.
	State(ctx context.Context) (State, error)

	// Consistency returns the proof that the state at transaction to continues
	// that at from, for VerifyConsistency. Invalid if from is 0 or beyond to,
	// Conflict if the ledger hasn't come as far as to.
	Consistency(ctx context.Context, from, to uint64) (Consistency, error)

	// Transaction returns the transaction id with all that it holds, which makes up
	// its header; nothing is said of the transactions around it, for which there is
	// Chain. Invalid if id is 0, Conflict if the ledger hasn't come as far.
	Transaction(ctx context.Context, id uint64) (Transaction, error)

	// Close ends the ledger; an Append that runs is finished first. All else is
	// Unavailable afterwards.
	Close() error
}

// Check tells whether l is the ledger whose state was remembered, and continues
// it. It returns nil if so, or if remembered is the zero State, and Conflict if l
// is another ledger, is behind, or has another history: then it must not be
// written to, and its directory or server needs a person.
func Check(ctx context.Context, l Ledger, remembered State) error {
	if remembered == (State{}) {
		return nil
	}
	now, err := l.State(ctx)
	if err != nil {
		return err
	}
	switch {
	case now.Ledger != remembered.Ledger:
		return albs.Errorf(albs.Conflict, "the ledger is %s, but %s is remembered; restore that one", now.Ledger, remembered.Ledger)
	case now.TxID < remembered.TxID:
		return albs.Errorf(albs.Conflict, "the ledger is behind: it ends with transaction %d, but %d is remembered; it was put back to an older copy", now.TxID, remembered.TxID)
	}
	c, err := l.Consistency(ctx, remembered.TxID, now.TxID)
	if err != nil {
		return err
	}
	if err := VerifyConsistency(c, remembered, now); err != nil {
		return albs.Errorf(albs.Conflict, "the ledger is inconsistent: its history up to transaction %d is not the one remembered: %w", remembered.TxID, err)
	}
	return nil
}
