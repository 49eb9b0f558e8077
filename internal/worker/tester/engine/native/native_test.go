package native

import (
	"strings"
	"testing"

	"albs/internal/sandbox"
)

func TestPreferred(t *testing.T) {
	t.Parallel()
	own, seed, released := sandbox.Repo{ID: "own", Own: true}, sandbox.Repo{ID: "seed"}, sandbox.Repo{ID: "released", Own: true, Priority: 200}
	first, best := sandbox.Repo{ID: "first", Priority: 10}, sandbox.Repo{ID: "best", Priority: 10, Own: true}
	for _, tt := range []struct {
		repos []sandbox.Repo
		want  string
	}{
		{nil, ""},
		{[]sandbox.Repo{seed}, "seed"},
		{[]sandbox.Repo{seed, own, released}, "seed own"},
		{[]sandbox.Repo{seed, first, own, released}, "seed first own"},
		{[]sandbox.Repo{seed, first, best, released}, "first best"},
	} {
		var got []string
		for _, r := range preferred(tt.repos) {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("of %v: %q, want %q", tt.repos, got, tt.want)
		}
	}
}
