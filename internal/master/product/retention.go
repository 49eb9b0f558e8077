package product

import (
	"time"

	"albs/internal/albs"
)

// Retention is how much of a product's past is kept: of the serials that it has shown, and
// of the packages in the public place that none of these has. The zero Retention keeps all
// of it for good. What was released stays on record and in the master in any case, and so
// does what a serial shows that is kept.
type Retention struct {
	// Trees is how many of the newest serials are kept, the one that is shown among them;
	// 0 sets no number.
	Trees int `yaml:"trees" json:"trees,omitempty"`
	// Days is for how many days a serial is kept after another one took its place; 0 sets
	// no time. A serial is kept for either reason.
	Days int `yaml:"days" json:"days,omitempty"`
	// Packages says which stay in the public pool; all if it is empty.
	Packages PoolPackages `yaml:"packages" json:"packages,omitempty"`
}

// PoolPackages says which packages stay in the public pool.
type PoolPackages string

// The packages that stay.
const (
	AllPackages  PoolPackages = "all"  // every one that was ever shown
	KeptPackages PoolPackages = "kept" // those that a tree in the public place names
)

// minTrees leaves one to go back to.
const (
	minTrees = 2
	maxTrees = 100_000
	maxDays  = 36_500
)

// Limited reports whether any serial is given up, some day.
func (r Retention) Limited() bool { return r.Trees > 0 || r.Days > 0 }

func (r Retention) check() error {
	switch {
	case r.Trees != 0 && (r.Trees < minTrees || r.Trees > maxTrees):
		return albs.Errorf(albs.Invalid, "retention.trees %d is not between %d and %d: a rollback needs one to go back to; leave it out to keep all", r.Trees, minTrees, maxTrees)
	case r.Days < 0 || r.Days > maxDays:
		return albs.Errorf(albs.Invalid, "retention.days %d is not between 1 and %d", r.Days, maxDays)
	case r.Packages != "" && r.Packages != AllPackages && r.Packages != KeptPackages:
		return albs.Errorf(albs.Invalid, "retention.packages %.40q is neither %s nor %s", r.Packages, AllPackages, KeptPackages)
	case r.Packages == KeptPackages && !r.Limited():
		return albs.Errorf(albs.Invalid, "retention.packages is %s and every serial is kept: say trees or days too", KeptPackages)
	}
	return nil
}

// Showing is a serial and since when a product showed it.
type Showing struct {
	Serial int64
	Since  time.Time
}

// Oldest returns the oldest serial that is kept at a time, of those that a product has
// shown, the newest first; 0 if there is none.
func (r Retention) Oldest(shown []Showing, now time.Time) int64 {
	if len(shown) == 0 {
		return 0
	}
	if !r.Limited() {
		return shown[len(shown)-1].Serial
	}
	oldest := shown[0].Serial
	for i, s := range shown[1:] {
		left := shown[i].Since // when the next one took its place
		if i+2 > max(r.Trees, minTrees) && (r.Days == 0 || now.Sub(left) > time.Duration(r.Days)*24*time.Hour) {
			break
		}
		oldest = s.Serial
	}
	return oldest
}
