package artifact

import (
	"context"
	"errors"
	"io"
	"sync"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/db"
)

// keeper is the blob store as everybody but the collection sees it: who puts a blob
// has it for the time of grace at least, whether it was there before or not.
//
// What makes that so: a blob is removed only while its tombstone is there, together
// with it and alone (gate); a Put takes the tombstone away before it looks for the blob,
// and the next one begins with a new time of grace.
//
// The gate orders what one process does. That is enough where one process works on
// a store, and so it is; several would have to order this by the database.
type keeper struct {
	blob.Store
	d    *db.DB
	gate sync.RWMutex // held for writing while blobs are marked or removed

	mu   sync.Mutex           // of seen, for those who hold the gate for reading
	seen map[albs.Digest]bool // what was stored or asked for since the collection began; nil if none runs
}

// watch has it noted what is stored from now on, and unwatch no longer.
func (k *keeper) watch() {
	k.gate.Lock()
	defer k.gate.Unlock()
	k.seen = make(map[albs.Digest]bool)
}

func (k *keeper) unwatch() {
	k.gate.Lock()
	defer k.gate.Unlock()
	k.seen = nil
}

// Put implements blob.Store.
func (k *keeper) Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error) {
	if err := k.reviveAlone(ctx, want); err != nil {
		return 0, err
	}
	return k.Store.Put(ctx, want, r)
}

// Write implements blob.Store. What a blob is called is known at its end, when one of
// that name may be being removed: then it is Unavailable.
func (k *keeper) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	d, size, err := k.Store.Write(ctx, r, limit)
	if err != nil {
		return d, size, err
	}
	k.gate.RLock()
	defer k.gate.RUnlock()
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

func (k *keeper) reviveAlone(ctx context.Context, d albs.Digest) error {
	k.gate.RLock()
	defer k.gate.RUnlock()
	return k.revive(ctx, d)
}

// revive takes a blob's tombstone away, of which few have one. The caller holds the gate.
func (k *keeper) revive(ctx context.Context, d albs.Digest) error {
	k.mu.Lock()
	if k.seen != nil {
		k.seen[d] = true
	}
	k.mu.Unlock()
	dead, err := tombstoned(ctx, k.d, d)
	if err != nil || !dead {
		return err
	}
	return dropTombstones(ctx, k.d, d)
}
