package errata

import (
	"testing"

	"albs/internal/albs"
)

// TestStates walks every cell of the table: each state, with and without a public
// version, withdrawn and not, and everything that can happen.
func TestStates(t *testing.T) {
	t.Parallel()
	// What something leads to from a state that no release has: by "shown, withdrawn".
	rest := map[[2]bool]State{{false, false}: NotReleased, {true, false}: Released, {false, true}: Withdrawn, {true, true}: Withdrawn}
	cells := 0
	for _, from := range States() {
		for how, after := range rest {
			for _, h := range []happening{edit, withdraw, restore, begin, publish, fail, revert} {
				cells++
				want := State(0) // a Conflict
				switch running := from == InProgress; {
				case h == publish && running:
					want = after
				case h == fail && running:
					want = Failed
				case h == begin && !running && how != [2]bool{false, true}:
					want = InProgress
				case h == revert && running:
					want = InProgress
				case (h == edit || h == withdraw || h == restore || h == revert) && !running:
					want = after
				}
				got, err := at{state: from, shown: how[0], withdrawn: how[1]}.next(h)
				switch {
				case want == 0 && (albs.KindOf(err) != albs.Conflict || got != from):
					t.Errorf("%s of %s (shown, withdrawn %v) = %s, %v, want a conflict", h, from, how, got, err)
				case want != 0 && (got != want || err != nil):
					t.Errorf("%s of %s (shown, withdrawn %v) = %s, %v, want %s", h, from, how, got, err, want)
				}
			}
		}
	}
	if cells != 5*4*7 {
		t.Errorf("%d cells", cells)
	}
	for _, s := range States() {
		if back, err := ParseState(s.String()); back != s || err != nil {
			t.Errorf("ParseState(%s) = %v, %v", s, back, err)
		}
	}
	if _, err := ParseState("gone"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("ParseState(gone) = %v", err)
	}
}
