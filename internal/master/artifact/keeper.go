package artifact

import (
	"context"
	"errors"
	"io"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/db"
)

// keeper is the blob store as everybody but the collection sees it: who puts a blob
// has it for the time of grace at least, whether it was there before or not.
//
// What makes that so: a blob is removed only while its tombstone is there, together
// with it and alone; a tombstone is set alone too, with the time at which nobody passed;
// a Put takes the tombstone away before it looks for the blob, and passes the gate for
// that, and the next one begins with a new time of grace. The gate is the database's, so
// that all this holds between the masters that share a store.
type keeper struct {
	blob.Store
	gate *db.Gate
}

// Put implements blob.Store.
func (k *keeper) Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error) {
	if err := k.revive(ctx, want); err != nil {
		return 0, err
	}
	return k.Store.Put(ctx, want, r)
}

// Write implements blob.Store. What a blob is called is known at its end, when one of
// that name may just have been removed: then it is Unavailable.
func (k *keeper) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	d, size, err := k.Store.Write(ctx, r, limit)
	if err != nil {
		return d, size, err
	}
	if err := k.revive(ctx, d); err != nil {
		return "", 0, err
	}
	if _, err := k.Stat(ctx, d); errors.Is(err, albs.NotFound) {
		return "", 0, albs.Errorf(albs.Unavailable, "an old copy of %s was being removed at this moment: try again", d.Short())
	} else if err != nil {
		return "", 0, err
	}
	return d, size, nil
}

// revive takes a blob's tombstone away, of which few have one.
func (k *keeper) revive(ctx context.Context, d albs.Digest) error {
	return k.gate.Pass(ctx, func(q db.Q) error {
		dead, err := tombstoned(ctx, q, d)
		if err != nil || !dead {
			return err
		}
		return dropTombstones(ctx, q, d)
	})
}
