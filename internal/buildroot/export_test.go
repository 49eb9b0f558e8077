package buildroot

import (
	"maps"
	"slices"
)

// WithRounds returns n with another bound on the search for dynamic BuildRequires, each
// round of which takes seconds.
func (n *Native) WithRounds(rounds int) *Native { return &Native{n.sandbox, rounds} }

// WithRounds returns m with another bound on the search for dynamic BuildRequires.
func (m *Mock) WithRounds(rounds int) *Mock {
	c := *m
	c.rounds = rounds
	return &c
}

// End is how a run of mock ended.
type End struct {
	Exit                    int
	State, Root, Build, Own string
}

// WithEnded returns m as one that tells of the end of each run.
func (m *Mock) WithEnded(f func(args []string, e End)) *Mock {
	c := *m
	c.ended = func(args []string, e mockEnd) {
		f(args, End{e.exit, string(e.state), string(e.root), string(e.build), string(e.own)})
	}
	return &c
}

// MockCodes are mock's exit codes that say nothing against a package.
func MockCodes() []int { return slices.Sorted(maps.Keys(mockCodes)) }
