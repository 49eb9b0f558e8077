package blob

import (
	"crypto/sha256"
	"hash"
	"hash/maphash"
	"sync"

	"albs/internal/albs"
)

// maxVerified bounds the memory of which blobs have been verified.
const maxVerified = 1 << 16

// verified remembers of blobs whose bytes were right by which mark their storage knew
// them then: while the mark is the same, so are the bytes.
type verified[M comparable] struct {
	mu    sync.Mutex
	marks map[albs.Digest]marked[M]
}

// marked is what is remembered of one blob: its mark, and where its bytes were hashed
// here also their quick sum.
type marked[M comparable] struct {
	mark  M
	quick uint64 // 0 is none
}

// has reports whether the blob was right under this mark.
func (v *verified[M]) has(name albs.Digest, mark M) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was, ok := v.marks[name]
	return ok && was.mark == mark
}

// quick returns the quick sum of a blob that was right under this mark, or 0.
func (v *verified[M]) quick(name albs.Digest, mark M) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if was, ok := v.marks[name]; ok && was.mark == mark {
		return was.quick
	}
	return 0
}

// remember notes that a blob was right; quick is the quick sum of its bytes, or 0.
func (v *verified[M]) remember(name albs.Digest, mark M, quick uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.marks == nil || len(v.marks) >= maxVerified {
		v.marks = make(map[albs.Digest]marked[M]) // costs re-reading, nothing else
	}
	v.marks[name] = marked[M]{mark, quick}
}

func (v *verified[M]) forget(name albs.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.marks, name)
}

// seed makes quick sums this process's own: who doesn't know it can't aim at one. The sum
// is no cryptographic hash, and counts only while the file's mark is the same.
var seed = maphash.MakeSeed()

// newQuick returns a hash for quick sums, ten times as fast as sha256. A quick sum tells
// bytes that have been verified once from any others, as long as the process lives.
func newQuick() *maphash.Hash {
	h := &maphash.Hash{}
	h.SetSeed(seed)
	return h
}

// both hashes bytes that are to be verified, or stored, and remembered.
type both struct {
	sha   hash.Hash
	quick *maphash.Hash
}

func newBoth() both { return both{sha256.New(), newQuick()} }

// Write implements io.Writer.
func (b both) Write(p []byte) (int, error) {
	b.quick.Write(p)
	return b.sha.Write(p)
}
