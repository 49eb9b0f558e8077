package tlog

import (
	"testing"
	"time"
)

// TestMeasures tells what a proof weighs and how long it takes to verify in logs of a
// leaf, of as many as a distribution has packages, and of as many as it ever releases.
func TestMeasures(t *testing.T) {
	sizes := []int{1, 20_000, 1_000_000}
	if testing.Short() {
		sizes = sizes[:2]
		t.Log("-short: without the log of 1,000,000 leaves")
	}
	p := newPlace(t, "log.example/one")
	policy := Policy{Logs: []string{p.vkey}, Quorum: 3}
	for range 3 {
		_, w := newTestWitness(t, "w"+string(rune('0'+len(p.Witnesses)))+".example", p.vkey)
		p.Witnesses, policy.Witnesses = append(p.Witnesses, w), append(policy.Witnesses, w.Key)
	}
	p.Quorum = 3
	l := p.open(t, Checkpoint{})
	have := 0
	for _, size := range sizes {
		start := time.Now()
		for have < size-1 {
			next := min(have+10_000, size-1)
			if _, err := l.Append(t.Context(), leaves(have, next)...); err != nil {
				t.Fatal(err)
			}
			have = next
		}
		c := publish(t, l, leaves(have, size)...)
		have = size
		took := time.Since(start)
		if c.Size != uint64(size) {
			t.Fatalf("the log has %d leaves, want %d", c.Size, size)
		}
		at := size / 3
		proofs, err := l.Proofs(t.Context(), c, uint64(at))
		if err != nil {
			t.Fatal(err)
		}
		leaf := testLeaf(at).Encode()
		const times = 20
		start = time.Now()
		for range times {
			if _, err := Verify(proofs[0], leaf, policy); err != nil {
				t.Fatal(err)
			}
		}
		verify := time.Since(start) / times
		t.Logf("%d leaves: appended and published in %v; a proof with 3 cosignatures has %d bytes and is verified in %v", size, took.Round(time.Millisecond), len(proofs[0]), verify.Round(time.Microsecond))
		if len(proofs[0]) > 2<<10 {
			t.Errorf("a proof among %d leaves has %d bytes, which is more than 2 KiB", size, len(proofs[0]))
		}
	}
}
