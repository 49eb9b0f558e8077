package worker

import "testing"

func TestMachine(t *testing.T) {
	t.Parallel()
	if o := Machine(); o.Cores < 1 || o.Memory < 1<<20 {
		t.Errorf("this machine has %d cores and %d bytes of memory", o.Cores, o.Memory)
	}
}
