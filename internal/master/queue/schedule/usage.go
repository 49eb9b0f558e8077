package schedule

import (
	"math"
	"slices"
	"time"
)

// Guess is how long a task is taken to be that has no history, where fairness needs a
// number.
const Guess = 10 * time.Minute

// Spent is what d of one slot counts at its end, in slot-seconds, when what was used
// counts half after each half.
func Spent(d, half time.Duration) float64 {
	return half.Seconds() / math.Ln2 * (1 - math.Exp2(-d.Seconds()/half.Seconds()))
}

// Left is what used counts d later.
func Left(used float64, d, half time.Duration) float64 {
	return used * math.Exp2(-d.Seconds()/half.Seconds())
}

// Charge is what a running task counts: all that it is expected to use, from its
// beginning, so that nobody takes the whole farm before it shows.
func Charge(expected, half time.Duration) float64 {
	if expected == 0 {
		expected = Guess
	}
	return Spent(expected, half)
}

// Median returns the middle of ds, 0 of none.
func Median(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(ds))[len(ds)/2]
}
