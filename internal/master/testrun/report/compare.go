package report

import (
	"slices"

	"albs/internal/albs"
)

// Change is one check that two revisions tell differently.
type Change struct {
	Check // as it is in the later one; what isn't there any more, as it was
	// From and To are what it came to; "" where it wasn't there.
	From, To albs.TestStatus
	Before   string // what was said in the earlier one
}

// How a check changed.
const (
	Fixed   = "fixed"   // it was bad and is good
	Broken  = "broken"  // it was good and is bad
	Added   = "added"   // it wasn't there
	Removed = "removed" // it is there no more
	Other   = "changed"
)

// Kinds lists them, the one first that a person has to look at.
var Kinds = []string{Broken, Fixed, Added, Removed, Other}

// Kind says in a word how it changed.
func (c Change) Kind() string {
	switch {
	case c.From == "":
		return Added
	case c.To == "":
		return Removed
	case bad(c.From) && !bad(c.To):
		return Fixed
	case !bad(c.From) && bad(c.To):
		return Broken
	}
	return Other
}

// Comparison is how two revisions of tests differ.
type Comparison struct {
	Changes []Change
	Same    int // checks that came to the same
}

// CountOf returns how many changes are of a kind.
func (c Comparison) CountOf(kind string) int {
	n := 0
	for _, x := range c.Changes {
		if x.Kind() == kind {
			n++
		}
	}
	return n
}

// checkKey is what is the same check in two revisions of a build's tests.
type checkKey struct {
	task  albs.TaskID
	d     albs.Digest
	stage albs.TestStage
	name  string
	nth   int // of those of that name in its stage
}

// keyed returns the checks of results with their keys, in their order.
func keyed(results []Result) (keys []checkKey, by map[checkKey]Check) {
	by = map[checkKey]Check{}
	for i := range results {
		for _, c := range ChecksOf(&results[i]) {
			k := checkKey{c.Result.Run.BuildTask, c.Result.Digest, c.Stage, c.Case, 0}
			for _, twice := by[k]; twice; _, twice = by[k] {
				k.nth++
			}
			keys, by[k] = append(keys, k), c
		}
	}
	return keys, by
}

// Compare says how the checks of to differ from those of from: those that came to something
// else, in the order of to, with what isn't there any more behind them.
func Compare(from, to []Result) Comparison {
	var out Comparison
	oldKeys, old := keyed(from)
	keys, now := keyed(to)
	for _, k := range keys {
		before, had := old[k]
		switch c := now[k]; {
		case !had:
			out.Changes = append(out.Changes, Change{Check: c, To: c.Status})
		case before.Status != c.Status:
			out.Changes = append(out.Changes, Change{Check: c, From: before.Status, To: c.Status, Before: before.Detail})
		default:
			out.Same++
		}
	}
	for _, k := range slices.DeleteFunc(oldKeys, func(k checkKey) bool { _, there := now[k]; return there }) {
		out.Changes = append(out.Changes, Change{Check: old[k], From: old[k].Status, Before: old[k].Detail})
	}
	return out
}
