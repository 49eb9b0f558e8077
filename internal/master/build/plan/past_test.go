package plan

import (
	"strings"
	"testing"

	"albs/internal/albs"
)

func TestPastKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		name, url, want string
	}{
		"imported":          {name: "bash", url: "https://git.example/rpms/bash-it.git", want: "bash/el9/x86_64"},
		"not yet":           {url: "https://git.example/rpms/bash.git", want: "bash/el9/x86_64"},
		"words":             {url: "https://git.example/a b.git", want: "a_b/el9/x86_64"},
		"longer than a key": {name: strings.Repeat("x", 500), want: ""},
	} {
		if got := PastKey(test.name, test.url, "el9", albs.X8664); got != test.want {
			t.Errorf("%s: PastKey = %q, want %q", name, got, test.want)
		}
	}
}
