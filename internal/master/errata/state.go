package errata

import (
	"fmt"

	"albs/internal/albs"
)

// State is where an advisory stands, in ALBS's numbers; Withdrawn is albs's own.
type State int

// The states.
const (
	NotReleased State = 1
	InProgress  State = 2 // a release has it
	Released    State = 3
	Failed      State = 4 // the release that had it last failed
	Withdrawn   State = 5 // it was taken back, or is going to be by the next release
)

// States are all states.
func States() []State { return []State{NotReleased, InProgress, Released, Failed, Withdrawn} }

// String returns ALBS's word for the state.
func (s State) String() string {
	switch s {
	case NotReleased:
		return "not released"
	case InProgress:
		return "in progress"
	case Released:
		return "released"
	case Failed:
		return "failed"
	case Withdrawn:
		return "withdrawn"
	}
	return fmt.Sprintf("state %d", int(s))
}

// ParseState returns the state of a word of String's; Invalid if there is none.
func ParseState(s string) (State, error) {
	for _, st := range States() {
		if s == st.String() {
			return st, nil
		}
	}
	return 0, albs.Errorf(albs.Invalid, "%.40q is no state of an advisory: %v", s, States())
}

// happening is what happens to an advisory, beside its being made.
type happening string

const (
	edit     happening = "edit" // and what comes in anew, and what is matched
	withdraw happening = "withdraw"
	restore  happening = "restore"
	begin    happening = "begin"
	publish  happening = "publish"
	fail     happening = "fail"
	revert   happening = "revert"
)

// at is what of an advisory its next state depends on: whether a version of it is
// public, and whether that which is public or is to be says that it is withdrawn.
type at struct {
	state            State
	shown, withdrawn bool
}

// rest is the state of an advisory that no release has.
func (a at) rest() State {
	switch {
	case a.withdrawn:
		return Withdrawn
	case a.shown:
		return Released
	}
	return NotReleased
}

// next returns the state after something has happened; a is as it is then. It is a
// Conflict if that can't happen in this state.
func (a at) next(h happening) (State, error) {
	switch h {
	case begin:
		if a.withdrawn && !a.shown {
			return a.state, albs.Errorf(albs.Conflict, "it was withdrawn before it was published: there is nothing to release")
		}
		if a.state != InProgress {
			return InProgress, nil
		}
	case publish:
		if a.state == InProgress {
			return a.rest(), nil
		}
		return a.state, albs.Errorf(albs.Conflict, "it is %s: a release that publishes it begins with it", a.state)
	case fail:
		if a.state == InProgress {
			return Failed, nil
		}
		return a.state, albs.Errorf(albs.Conflict, "it is %s and not in progress", a.state)
	case edit, withdraw, restore:
		if a.state != InProgress {
			return a.rest(), nil
		}
	case revert: // of a product, while the release of another may have it
		if a.state == InProgress {
			return InProgress, nil
		}
		return a.rest(), nil
	}
	return a.state, albs.Errorf(albs.Conflict, "it is in progress: wait for the end of its release")
}
