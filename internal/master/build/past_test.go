package build

import (
	"strings"
	"testing"

	"albs/internal/albs"
)

func TestPastKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		it   itemRow
		want string
	}{
		"imported":          {itemRow{Package: "bash", URL: "https://git.example/rpms/bash-it.git", Platform: "el9"}, "bash/el9/x86_64"},
		"not yet":           {itemRow{URL: "https://git.example/rpms/bash.git", Platform: "el9"}, "bash/el9/x86_64"},
		"words":             {itemRow{URL: "https://git.example/a b.git", Platform: "el9"}, "a_b/el9/x86_64"},
		"longer than a key": {itemRow{Package: strings.Repeat("x", 500), Platform: "el9"}, ""},
	} {
		if got := pastKey(test.it, albs.X8664); got != test.want {
			t.Errorf("%s: pastKey = %q, want %q", name, got, test.want)
		}
	}
}
