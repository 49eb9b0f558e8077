package releaser

import (
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/worker/releaser/laid"
)

// leaveFor is how long a tree stays after readers get another one: dnf goes by a
// mirrorlist that it has read for 48 hours, and then needs some to end.
const leaveFor = 72 * time.Hour

// past tells of the serials of a place since when they were seen not to be the one that
// is shown. When the link moved isn't told by any time of a file, and this is never
// earlier.
type past map[int64]time.Time

// sort of a place's trees, of which one is shown, says which of them may go now: those
// below the oldest that is kept that were left long ago. Those that have to wait for that
// are next's, which is to be remembered, with all others that were left. A serial above
// the one that is shown is one that is about to be.
func (p past) sort(trees []int64, shown, oldest int64, now time.Time) (gone, waiting []int64, next past) {
	next = make(past)
	for _, serial := range slices.Sorted(slices.Values(trees)) {
		if serial >= shown {
			continue
		}
		since, seen := p[serial]
		if !seen || since.After(now) { // a clock that was wrong
			since = now
		}
		switch {
		case serial >= oldest:
		case now.Sub(since) >= leaveFor:
			gone = append(gone, serial)
			continue
		default:
			waiting = append(waiting, serial)
		}
		next[serial] = since
	}
	return gone, waiting, next
}

// named are the packages that the trees of a place name: their names in the pool, and
// their digests.
type named struct {
	names   map[string]bool
	digests map[albs.Digest]bool
}

// stays reports whether a file of the pool is needed, by its name in the place: a package
// that a tree names, and what lies beside one.
func (n named) stays(name string) bool {
	if d, ok := digestIn(name); ok {
		return n.digests[d]
	}
	of, _ := laid.Beside(name)
	return n.names[of]
}
