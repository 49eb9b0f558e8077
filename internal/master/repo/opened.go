package repo

import (
	"context"
	"slices"
	"sync"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// maxOpened is how many snapshots are kept parsed. Workers ask for hundreds of
// files of the same few snapshots.
const maxOpened = 32

// opened remembers the snapshots that were opened last. What is remembered never
// goes stale, for a snapshot never changes.
type opened struct {
	mu       sync.Mutex
	byDigest map[albs.Digest]*repodata.Snapshot
	order    []albs.Digest // the one used longest ago first
}

// Open returns the snapshot of that name. NotFound if the store has none, Invalid
// if it holds something else under the name.
func (r *Repos) Open(ctx context.Context, snapshot albs.Digest) (*repodata.Snapshot, error) {
	if s := r.opened.get(snapshot); s != nil {
		return s, nil
	}
	s, err := repodata.Open(ctx, r.Blobs(), snapshot)
	if err != nil {
		return nil, err
	}
	return r.opened.put(s), nil
}

func (o *opened) get(d albs.Digest) *repodata.Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.byDigest[d]
	if s != nil {
		i := slices.Index(o.order, d)
		o.order = append(slices.Delete(o.order, i, i+1), d)
	}
	return s
}

// put remembers s and returns it, or the same snapshot if another call was faster:
// what one has learnt of its packages then serves all.
func (o *opened) put(s *repodata.Snapshot) *repodata.Snapshot {
	o.mu.Lock()
	defer o.mu.Unlock()
	if there := o.byDigest[s.Digest()]; there != nil {
		return there
	}
	if len(o.order) == maxOpened {
		delete(o.byDigest, o.order[0])
		o.order = slices.Delete(o.order, 0, 1)
	}
	o.byDigest[s.Digest()] = s
	o.order = append(o.order, s.Digest())
	return s
}
