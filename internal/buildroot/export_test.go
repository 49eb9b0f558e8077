package buildroot

// WithRounds returns n with another bound on the search for dynamic BuildRequires, each
// round of which takes seconds.
func (n *Native) WithRounds(rounds int) *Native { return &Native{n.sandbox, rounds} }
