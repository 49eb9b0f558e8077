package tester

import (
	"bytes"
	"strings"
	"testing"
)

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{" a\n b\t\n": "a b", "\xff": "?", strings.Repeat("é", 300): strings.Repeat("é", 250) + " …"} {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%.10q) = %.20q of %d bytes, want %d", in, got, len(got), len(want))
		}
	}
}

// TestClip: the beginning and the end are kept, and a notice tells of the rest, however the
// bytes come.
func TestClip(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 1000, 4 << 10, 300 << 10, 3 << 20} {
		var c, whole clip
		all := bytes.Repeat([]byte("0123456789\n"), 400_000)
		for rest := all; len(rest) > 0; {
			if size == 1 && len(rest) > 100 { // byte by byte would take long
				c.Write(rest[:len(rest)-100])
				rest = rest[len(rest)-100:]
			}
			n := min(size, len(rest))
			if got, err := c.Write(rest[:n]); got != n || err != nil {
				t.Fatalf("Write of %d = %d, %v", n, got, err)
			}
			rest = rest[n:]
		}
		got := c.Bytes()
		if !bytes.HasPrefix(got, all[:maxHead]) || !bytes.HasSuffix(got, all[len(all)-maxTail:]) || !bytes.Contains(got, []byte("[albs: 3351424 bytes are left out here]")) {
			t.Errorf("by %d: %d bytes are kept of %d", size, len(got), len(all))
		}
		whole.Write(all[:maxHead+maxTail])
		if !bytes.Equal(whole.Bytes(), all[:maxHead+maxTail]) {
			t.Errorf("what has room isn't kept as it is")
		}
	}
}

func TestCapped(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &capped{w: &out, left: 5}
	for _, s := range []string{"abc", "defg", "h"} {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write(%q) = %d, %v", s, n, err)
		}
	}
	if got := out.String(); !strings.HasPrefix(got, "abcde\n[albs: ") || strings.Count(got, "\n") != 2 {
		t.Errorf("passed on: %q", got)
	}
}
