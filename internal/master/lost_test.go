package master

import (
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/release"
)

// TestNamed is how people are told what a blob is that no copy is known of.
func TestNamed(t *testing.T) {
	t.Parallel()
	plain := artifact.Artifact{Kind: "rpm", Name: "bash-5.1-1.el9.x86_64.rpm"}
	signed := plain
	signed.SignedBy, signed.Unsigned = "ABCD", albs.DigestOf(nil)
	one := []release.Held{{Product: "demo", Path: "9/BaseOS", Release: 7}}
	many := make([]release.Held, maxLost+5)
	for name, tt := range map[string]struct {
		a    artifact.Artifact
		held []release.Held
		want string
	}{
		"not released": {plain, nil, "rpm bash-5.1-1.el9.x86_64.rpm; never released"},
		"released":     {plain, one, "rpm bash-5.1-1.el9.x86_64.rpm; in 9/BaseOS of product demo since release 7"},
		"signed":       {signed, one, "signed by ABCD"},
		"often":        {plain, many, "and 5 more"},
	} {
		if got := inWords(tt.a, tt.held); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q in it", name, got, tt.want)
		}
	}
}
