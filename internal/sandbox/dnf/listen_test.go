package dnf

import (
	"strings"
	"testing"
)

const said = `Running transaction test
  Running scriptlet: early-1-1.noarch 1/1
Running transaction
  Preparing        :                                                        1/1
  Installing       : x-1-1.noarch                                           2/2
  Running scriptlet: x-2:1-1.noarch                                         2/2
`

// TestListener: however the words come, the listener knows how far dnf is.
func TestListener(t *testing.T) {
	t.Parallel()
	for size := 1; size < len(said); size += 7 {
		l := NewListener(40)
		before, _, _ := strings.Cut(said, "\nRunning transaction\n")
		l.Write([]byte(before))
		if l.Began() || l.Scriptlet() != "" {
			t.Fatal("it heard a transaction that hadn't begun")
		}
		for rest := said[len(before):]; rest != ""; {
			n := min(size, len(rest))
			l.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		l.Write([]byte("  Running scriptlet: y-1-1.noarch    2/"))
		if l.Scriptlet() != "y-1-1.noarch" {
			t.Errorf("by %d: of an unfinished line it hears %q", size, l.Scriptlet())
		}
		l.Write([]byte(" of another\n" + said[len(said)-40:]))
		if !l.Began() || l.Scriptlet() != "y-1-1.noarch" || string(l.Bytes()) != said[len(said)-40:] {
			t.Errorf("by %d: began %v, scriptlet %q, end %q", size, l.Began(), l.Scriptlet(), l.Bytes())
		}
	}
}

// FuzzListener: any bytes are words, nothing of what is no name of a package is taken for
// one, and what is kept is bounded.
func FuzzListener(f *testing.F) {
	f.Add([]byte(said), []byte("\xff\x00 Running scriptlet: -x\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		l := NewListener(16)
		for _, p := range [][]byte{a, b} {
			if n, err := l.Write(p); n != len(p) || err != nil {
				t.Fatalf("Write = %d, %v", n, err)
			}
		}
		if s := l.Scriptlet(); s != "" && !plainNEVRA.MatchString(s) {
			t.Errorf("%q is taken for a package", s)
		}
		if len(l.Bytes()) > 16 || len(l.line) > maxLine {
			t.Errorf("%d bytes and a line of %d are kept", len(l.Bytes()), len(l.line))
		}
	})
}

func TestProtecting(t *testing.T) {
	t.Parallel()
	if got := Protecting([]string{"bash", "a,b", "dnf", "bash", "-x", "glob:*", "x\ny"}); got != "--setopt=protected_packages=bash,dnf" {
		t.Errorf("Protecting = %s", got)
	}
}
