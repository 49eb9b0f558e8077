package simulate

import "testing"

// A mass rebuild comes within a twentieth of what no schedule can beat.
func TestMassRebuild(t *testing.T) {
	t.Parallel()
	tasks, nodes, seeds := 30_000, 200, uint64(5)
	if testing.Short() {
		tasks, seeds = 12_000, 2
		nodes = 80
	}
	for seed := range seeds {
		r := Run(seed+1, tasks, nodes)
		t.Log(r)
		if r.Tasks != tasks || r.Ratio() < 1 || r.Ratio() > 1.05 {
			t.Errorf("%v: want a ratio of 1 to 1.05", r)
		}
	}
}

// The same seed gives the same rebuild.
func TestSeed(t *testing.T) {
	t.Parallel()
	if a, b := Run(7, 2000, 20), Run(7, 2000, 20); a != b {
		t.Errorf("two runs differ:\n%v\n%v", a, b)
	}
}
