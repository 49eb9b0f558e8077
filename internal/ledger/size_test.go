package ledger_test

import (
	"encoding/json"
	"testing"

	"albs/internal/ledger"
)

// TestProofSize prints how large a proof is, as JSON, with many entries in the ledger:
// it grows with the logarithm of their number.
func TestProofSize(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		proofSizes(t, 1)
		t.Log("20,000 entries are for the long tests")
		return
	}
	proofSizes(t, 1, 20_000)
}

// BenchmarkProofSize does so with a million, which takes minutes.
func BenchmarkProofSize(b *testing.B) {
	for b.Loop() {
		proofSizes(b, 1_000_000)
	}
}

func proofSizes(t testing.TB, sizes ...int) {
	t.Helper()
	l := open(t, t.TempDir())
	n := 0
	for _, size := range sizes {
		for n < size {
			var entries []ledger.Entry
			for ; n < size && len(entries) < ledger.MaxEntries; n++ {
				entries = append(entries, ledger.Entry{Key: key(n), Value: []byte("v")})
			}
			if _, err := l.Append(t.Context(), entries); err != nil {
				t.Fatal(err)
			}
		}
		at, err := l.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.Prove(t.Context(), key(0), at)
		if err == nil {
			err = ledger.Verify(p, key(0), []byte("v"), at)
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("with %d entries in %d transactions a proof has %d bytes", size, at.TxID, len(b))
		if limit := 16 << 10; len(b) > limit {
			t.Errorf("a proof of one in %d has %d bytes, more than %d", size, len(b), limit)
		}
	}
}
