package dnf

import (
	"strings"
	"testing"
)

// TestVeil: however dnf's words come, the secrets of its repositories are not among them,
// and nothing else is lost.
func TestVeil(t *testing.T) {
	t.Parallel()
	const one, two = "AAAAAAAAAAAAAAAAAAAAAAAAAB", "BAAAAAAAAAAAAAAAAAAAAAAAAA"
	repos := []Repo{
		{ID: "a", BaseURL: "http://127.0.0.1:4711/" + one + "/0/"}, {ID: "b", BaseURL: "http://127.0.0.1:4711/" + two + "/1/"},
		{ID: "c", BaseURL: "http://127.0.0.1:4711/short/"}, {ID: "d", BaseURL: "file:///srv/aaaaaaaaaaaaaaaaaaaaaaaaaa/"},
	}
	for said, want := range map[string]string{
		"": "",
		"Status code: 404 for http://127.0.0.1:4711/" + one + "/0/x.rpm (IP: 127.0.0.1)\n": "Status code: 404 for http://127.0.0.1:4711/-/0/x.rpm (IP: 127.0.0.1)\n",
		one + two + one:                     "---",
		"A" + one:                           "A-",
		one[:25]:                            one[:25],
		one[:20] + "\n" + two[:25] + "D":    one[:20] + "\n" + two[:25] + "D",
		"short aaaaaaaaaaaaaaaaaaaaaaaaaa ": "short aaaaaaaaaaaaaaaaaaaaaaaaaa ",
	} {
		for _, size := range []int{1, 3, 1000} {
			var b strings.Builder
			v := NewVeil(&b, repos)
			for i := 0; i < len(said); i += size {
				p := said[i:min(i+size, len(said))]
				if n, err := v.Write([]byte(p)); n != len(p) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
			}
			if err := v.Flush(); err != nil || b.String() != want {
				t.Errorf("%q, %d bytes at a time: %q, %v; want %q", said, size, b.String(), err, want)
			}
		}
	}
}
