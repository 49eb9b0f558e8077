package blob

import (
	"container/list"
	"context"
	"sync"

	"albs/internal/albs"
)

// space bounds what a cache in a directory holds: who is longest out of use goes
// first. Removing what is open or gone does no harm.
type space struct {
	dir *Dir
	max int64

	mu    sync.Mutex
	used  int64
	order list.List // of *place, last used first
	where map[albs.Digest]*list.Element
}

type place struct {
	name albs.Digest
	size int64
}

// count takes in what the directory holds.
func (s *space) count(ctx context.Context) error {
	s.where = make(map[albs.Digest]*list.Element)
	return s.dir.Walk(ctx, func(name albs.Digest, size int64) error {
		s.trim(name, size)
		return nil
	})
}

// use notes that a blob was used.
func (s *space) use(name albs.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.where[name]; e != nil {
		s.order.MoveToFront(e)
	}
}

// trim notes that a blob of that size is there and was used, and removes others, or
// at last it, while there is too much.
func (s *space) trim(name albs.Digest, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.where[name]; e != nil {
		s.order.MoveToFront(e)
	} else {
		s.where[name] = s.order.PushFront(&place{name, size})
		s.used += size
	}
	for s.used > s.max {
		e := s.order.Back()
		out := e.Value.(*place)
		// What can't be removed stays, and is counted again at the next start.
		_ = s.dir.Remove(context.Background(), out.name)
		s.order.Remove(e)
		delete(s.where, out.name)
		s.used -= out.size
	}
}
