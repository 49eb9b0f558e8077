package blob

import (
	"sync"

	"albs/internal/albs"
)

// maxVerified bounds the memory of which blobs have been verified.
const maxVerified = 1 << 16

// verified remembers of blobs whose bytes were right by which mark their storage knew
// them then: while the mark is the same, so are the bytes.
type verified[M comparable] struct {
	mu    sync.Mutex
	marks map[albs.Digest]M
}

// has reports whether the blob was right under this mark.
func (v *verified[M]) has(name albs.Digest, mark M) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was, ok := v.marks[name]
	return ok && was == mark
}

func (v *verified[M]) remember(name albs.Digest, mark M) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.marks == nil || len(v.marks) >= maxVerified {
		v.marks = make(map[albs.Digest]M) // costs re-reading, nothing else
	}
	v.marks[name] = mark
}

func (v *verified[M]) forget(name albs.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.marks, name)
}
