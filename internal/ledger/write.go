package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/codenotary/immudb/embedded/store"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// request is one Append on its way through the writer.
type request struct {
	entries []Entry
	size    int
	receipt Receipt
	done    chan error // buffered, so that the writer never waits for a caller that left
}

// Append implements Ledger. One writer gathers the Appends that wait into one
// transaction; each of them is still written as a whole or not at all.
func (e *Embedded) Append(ctx context.Context, entries []Entry) (Receipt, error) {
	r := &request{done: make(chan error, 1)}
	if err := r.take(entries); err != nil {
		return Receipt{}, err
	}
	leave, err := e.enter()
	if err != nil {
		return Receipt{}, err
	}
	defer leave()
	select {
	case e.requests <- r:
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	select {
	case err := <-r.done:
		return r.receipt, err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("append to ledger: %w", ctx.Err())
	}
}

// take checks the entries, drops doubles and keeps copies: the writer may still
// be at work when the caller has left.
func (r *request) take(entries []Entry) error {
	if len(entries) == 0 {
		return albs.Errorf(albs.Invalid, "there is no entry to append to the ledger")
	}
	if len(entries) > MaxEntries {
		return albs.Errorf(albs.TooLarge, "%d entries are more than the %d of one append", len(entries), MaxEntries)
	}
	seen := make(map[string][]byte, len(entries))
	for _, en := range entries {
		switch {
		case len(en.Key) == 0 || len(en.Value) == 0:
			return albs.Errorf(albs.Invalid, "a ledger entry needs a key and a value")
		case len(en.Key) > MaxKey:
			return albs.Errorf(albs.TooLarge, "a ledger key of %d bytes is longer than %d", len(en.Key), MaxKey)
		case len(en.Value) > MaxValue:
			return albs.Errorf(albs.TooLarge, "the value of ledger entry %.80q has %d bytes, more than %d", en.Key, len(en.Value), MaxValue)
		}
		if v, ok := seen[string(en.Key)]; ok {
			if !bytes.Equal(v, en.Value) {
				return conflict(en.Key)
			}
			continue
		}
		en = Entry{Key: bytes.Clone(en.Key), Value: bytes.Clone(en.Value)}
		seen[string(en.Key)] = en.Value
		r.entries = append(r.entries, en)
		r.size += len(en.Value)
	}
	return nil
}

func conflict(key []byte) error {
	return albs.Errorf(albs.Conflict, "ledger entry %.80q has another value; the first one stays", key)
}

// write is the writer's loop. It ends when the ledger closes, which it does only
// once no Append is running.
func (e *Embedded) write() {
	defer close(e.stopped)
	var held *request // taken, but too big for the transaction before
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-e.requests:
			case <-e.quit:
				return
			}
		}
		batch := []*request{first}
		count, size := len(first.entries), first.size
	gather:
		for {
			select {
			case r := <-e.requests:
				if count+len(r.entries) > MaxEntries || size+r.size > maxBatch {
					held = r
					break gather
				}
				batch = append(batch, r)
				count, size = count+len(r.entries), size+r.size
			default:
				break gather
			}
		}
		e.settle(batch)
	}
}

// settle decides each request of a batch in its order, commits what is new in one
// transaction and answers all.
func (e *Embedded) settle(batch []*request) {
	if err := e.ready(); err != nil {
		for _, r := range batch {
			r.done <- err
		}
		return
	}
	var fresh []Entry
	added := make(map[string][]byte)
	var written []*request // wait for the commit
	for _, r := range batch {
		mine, err := e.sift(r, added)
		if err != nil || len(mine) == 0 {
			r.done <- err
			continue
		}
		for _, en := range mine {
			if _, ok := added[string(en.Key)]; !ok {
				added[string(en.Key)] = en.Value
				fresh = append(fresh, en)
			}
		}
		written = append(written, r)
	}
	if len(fresh) == 0 {
		return
	}
	receipt, err := e.commit(fresh)
	for _, r := range written {
		r.receipt = receipt
		r.done <- err
	}
}

// sift returns the entries of r that are not yet in the ledger, those that the
// batch adds among them. For none it sets r's receipt.
func (e *Embedded) sift(r *request, added map[string][]byte) ([]Entry, error) {
	var mine []Entry
	for _, en := range r.entries {
		if v, ok := added[string(en.Key)]; ok {
			if !bytes.Equal(v, en.Value) {
				return nil, conflict(en.Key)
			}
			mine = append(mine, en)
			continue
		}
		value, hdr, err := e.get(context.Background(), en.Key)
		switch {
		case errors.Is(err, albs.NotFound):
			mine = append(mine, en)
		case err != nil:
			return nil, err
		case !bytes.Equal(value, en.Value):
			return nil, conflict(en.Key)
		case hdr.ID > r.receipt.TxID:
			r.receipt = receiptOf(hdr.ID, hdr.Ts)
		}
	}
	return mine, nil
}

// commit writes entries, of which none is in the ledger, as one transaction and
// returns when it is durable and indexed.
func (e *Embedded) commit(entries []Entry) (r Receipt, err error) {
	defer recovered(&err, "append to ledger")
	ctx := e.faults.failed
	tx, err := e.st.NewWriteOnlyTx(ctx)
	if err != nil {
		return Receipt{}, storageError(ctx, err, "append to ledger")
	}
	for _, en := range entries {
		err := tx.Set(en.Key, nil, en.Value)
		if err == nil {
			err = tx.AddPrecondition(&store.PreconditionKeyMustNotExist{Key: en.Key})
		}
		if err != nil {
			return Receipt{}, errors.Join(storageError(ctx, err, "append to ledger"), tx.Cancel())
		}
	}
	hdr, err := tx.Commit(ctx)
	if err != nil {
		return Receipt{}, storageError(ctx, err, "append to ledger")
	}
	return receiptOf(hdr.ID, hdr.Ts), nil
}

// ready refuses to begin a transaction after a fault, or on a disk that is nearly
// full.
func (e *Embedded) ready() error {
	if e.faults.failed.Err() != nil {
		return context.Cause(e.faults.failed)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(e.dir, &fs); err != nil {
		return albs.Errorf(albs.Unavailable, "look at the ledger's storage: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < minFree {
		return albs.Errorf(albs.NoSpace, "the ledger's storage has %d MiB left and wants %d; free some and try again", free>>20, minFree>>20)
	}
	return nil
}
