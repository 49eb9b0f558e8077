package ledger

import "testing"

// TestTakeKeepsCopies: a caller whose context ended may use its buffers again while
// the writer is still at work on what was in them.
func TestTakeKeepsCopies(t *testing.T) {
	t.Parallel()
	key, value := []byte("key"), []byte("value")
	var r request
	if err := r.take([]Entry{{Key: key, Value: value}}); err != nil {
		t.Fatal(err)
	}
	copy(key, "xxx")
	copy(value, "xxxxx")
	if len(r.entries) != 1 || string(r.entries[0].Key) != "key" || string(r.entries[0].Value) != "value" {
		t.Errorf("taken: %q, which the caller can still change", r.entries)
	}
}
