package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/codenotary/immudb/embedded/store"

	"albs/internal/albs"
)

// Get implements Ledger.
func (e *Embedded) Get(ctx context.Context, key []byte) ([]byte, Receipt, error) {
	leave, err := e.read(ctx)
	if err != nil {
		return nil, Receipt{}, err
	}
	defer leave()
	value, hdr, err := e.get(ctx, key)
	if err != nil {
		return nil, Receipt{}, err
	}
	return value, receiptOf(hdr.ID, hdr.Ts), nil
}

// get finds key by the index, which is trusted for nothing but the number of the
// transaction: entry and value are read from the logs and checked by hash.
func (e *Embedded) get(ctx context.Context, key []byte) (value []byte, hdr *store.TxHeader, err error) {
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	defer recovered(&err, "read ledger")
	ctx, cancel := e.faults.bound(ctx)
	defer cancel()
	if err := e.st.WaitForIndexingUpto(ctx, e.st.LastCommittedTxID()); err != nil {
		return nil, nil, storageError(ctx, err, "wait for the ledger's index")
	}
	ref, err := e.st.Get(ctx, key)
	if errors.Is(err, store.ErrKeyNotFound) {
		return nil, nil, albs.Errorf(albs.NotFound, "the ledger has no entry %.80q", key)
	}
	if err != nil {
		return nil, nil, storageError(ctx, err, "look up ledger entry")
	}
	entry, hdr, err := e.st.ReadTxEntry(ref.Tx(), key, false)
	if err != nil {
		return nil, nil, storageError(ctx, err, "read ledger entry")
	}
	value, err = e.st.ReadValue(entry)
	if err != nil {
		return nil, nil, storageError(ctx, err, "read ledger value")
	}
	return value, hdr, nil
}

// recovered turns a panic of immudb on damaged files into an Internal error.
func recovered(err *error, what string) {
	if r := recover(); r != nil {
		*err = albs.Errorf(albs.Internal, "%s: immudb: %v", what, r)
	}
}

// State implements Ledger.
func (e *Embedded) State(context.Context) (State, error) {
	leave, err := e.enter()
	if err != nil {
		return State{}, err
	}
	defer leave()
	id, alh := e.st.CommittedAlh()
	return State{Ledger: e.id, TxID: id, Alh: digestOf(alh)}, nil
}

// Prove implements Ledger. The proof has been verified before it is returned.
func (e *Embedded) Prove(ctx context.Context, key []byte, upTo State) (p Proof, err error) {
	leave, err := e.read(ctx)
	if err != nil {
		return Proof{}, err
	}
	defer leave()
	if upTo.Ledger != e.id || upTo.TxID == 0 || upTo.TxID > e.st.LastCommittedTxID() {
		return Proof{}, albs.Errorf(albs.Conflict, "transaction %d of ledger %s is no state of ledger %s", upTo.TxID, upTo.Ledger, e.id)
	}
	value, hdr, err := e.get(ctx, key)
	if err != nil {
		return Proof{}, err
	}
	if hdr.ID > upTo.TxID {
		return Proof{}, albs.Errorf(albs.Conflict, "entry %.80q was written in transaction %d, after state %d", key, hdr.ID, upTo.TxID)
	}
	defer recovered(&err, "prove ledger entry")
	tx := store.NewTx(hdr.NEntries, MaxKey)
	if err := e.st.ReadTx(hdr.ID, false, tx); err != nil {
		return Proof{}, storageError(ctx, err, "read ledger transaction")
	}
	inclusion, err := tx.Proof(key)
	if err != nil {
		return Proof{}, storageError(ctx, err, "prove ledger entry")
	}
	link, err := e.link(ctx, hdr.ID, upTo.TxID)
	if err != nil {
		return Proof{}, err
	}
	p = Proof{Leaf: inclusion.Leaf, Path: digestsOf(inclusion.Terms), Link: link}
	to, err := link.To.immudb()
	if err != nil {
		return Proof{}, fmt.Errorf("prove ledger entry: %w", err)
	}
	if alhOf(to) != upTo.Alh {
		return Proof{}, albs.Errorf(albs.Conflict, "transaction %d of the ledger has another hash than the given state", upTo.TxID)
	}
	if err := Verify(p, key, value, upTo); err != nil {
		return Proof{}, albs.Errorf(albs.Internal, "the ledger's files do not prove entry %.80q: %v", key, err)
	}
	return p, nil
}

// Consistency implements Ledger.
func (e *Embedded) Consistency(ctx context.Context, from, to uint64) (c Consistency, err error) {
	leave, err := e.read(ctx)
	if err != nil {
		return Consistency{}, err
	}
	defer leave()
	if from == 0 || from > to {
		return Consistency{}, albs.Errorf(albs.Invalid, "there is no consistency from transaction %d to %d", from, to)
	}
	if last := e.st.LastCommittedTxID(); to > last {
		return Consistency{}, albs.Errorf(albs.Conflict, "the ledger ends with transaction %d, before %d", last, to)
	}
	defer recovered(&err, "prove ledger consistency")
	return e.link(ctx, from, to)
}

func (e *Embedded) link(ctx context.Context, from, to uint64) (Consistency, error) {
	src, err := e.st.ReadTxHeader(from, false, false)
	if err != nil {
		return Consistency{}, storageError(ctx, err, "read ledger transaction")
	}
	dst, err := e.st.ReadTxHeader(to, false, false)
	if err != nil {
		return Consistency{}, storageError(ctx, err, "read ledger transaction")
	}
	dual, err := e.st.DualProofV2(src, dst)
	if err != nil {
		return Consistency{}, storageError(ctx, err, "prove ledger consistency")
	}
	return Consistency{
		From: headerOf(src), To: headerOf(dst),
		Inclusion: digestsOf(dual.InclusionProof), Prefix: digestsOf(dual.ConsistencyProof),
	}, nil
}

// Transaction implements Ledger.
func (e *Embedded) Transaction(ctx context.Context, id uint64) (t Transaction, err error) {
	leave, err := e.read(ctx)
	if err != nil {
		return Transaction{}, err
	}
	defer leave()
	if err := within(id, e.st.LastCommittedTxID()); err != nil {
		return Transaction{}, err
	}
	defer recovered(&err, "read ledger transaction")
	hdr, err := e.st.ReadTxHeader(id, false, false)
	if err != nil {
		return Transaction{}, storageError(ctx, err, "read ledger transaction")
	}
	tx := store.NewTx(hdr.NEntries, MaxKey)
	if err := e.st.ReadTx(id, false, tx); err != nil {
		return Transaction{}, storageError(ctx, err, "read ledger transaction")
	}
	t.Header = headerOf(hdr)
	for _, entry := range tx.Entries() {
		value, err := e.st.ReadValue(entry)
		if err != nil {
			return Transaction{}, storageError(ctx, err, "read ledger value")
		}
		t.Items = append(t.Items, Item{Key: entry.Key(), Value: value})
	}
	return t, t.check()
}
