package delivery

import "testing"

func TestKeyNumber(t *testing.T) {
	t.Parallel()
	for fingerprint, want := range map[string]int64{
		"": 0, "XYZ": 0, "0123456789ABCDEF0123456789ABCDEF00000001": 1, "0123456789ABCDEF0123456789ABCDEFFFFFFFFF": 1<<32 - 1,
	} {
		if got := keyNumber(fingerprint); got != want {
			t.Errorf("keyNumber(%s) = %d, want %d", fingerprint, got, want)
		}
	}
}
