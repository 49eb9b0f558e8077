package ledger

import (
	"context"
	"errors"

	"github.com/codenotary/immudb/embedded/store"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// Append implements Ledger.
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
	return e.writer.append(ctx, r)
}

func (e *Embedded) first(ctx context.Context, key []byte) ([]byte, Receipt, error) {
	value, hdr, err := e.get(ctx, key)
	if err != nil {
		return nil, Receipt{}, err
	}
	return value, receiptOf(hdr.ID, hdr.Ts), nil
}

// commit implements target.
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
	if errors.Is(err, store.ErrPreconditionFailed) {
		return Receipt{}, errThere
	}
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
