package guard

import "testing"

const gib = 1 << 30

func TestBounds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                  string
		min, size, take, goOn int64
	}{
		{"a server", 0, 4000 * gib, 10 * gib, 10 * gib / 4},
		{"a laptop", 0, 100 * gib, 5 * gib, 5 * gib / 4},
		{"of an unknown size", 0, 0, 10 * gib, 10 * gib / 4},
		{"as configured", 40 * gib, 100 * gib, 40 * gib, 10 * gib},
	} {
		if take, goOn := bounds(tt.min, tt.size); take != tt.take || goOn != tt.goOn {
			t.Errorf("%s: bounds = %d, %d, want %d, %d", tt.name, take, goOn, tt.take, tt.goOn)
		}
	}
}
