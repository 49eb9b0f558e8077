package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/closure"
)

func TestWorlds(t *testing.T) {
	t.Parallel()
	p := Make(facts(candidate(t, "foo-1-1.src", albs.Src), candidate(t, "foo-debuginfo-1-1.x86_64", albs.X8664)))
	want := []World{{"el", albs.X8664}} // by what goes into the debug repository; sources have none
	if diff := cmp.Diff(want, p.Worlds()); diff != "" {
		t.Errorf("worlds (-want +got):\n%s", diff)
	}
	var paths []string
	for _, r := range p.Repositories {
		if want[0].Holds(r) {
			paths = append(paths, r.Path)
		}
	}
	if diff := cmp.Diff([]string{"debug/x86_64", "os/x86_64"}, paths); diff != "" {
		t.Errorf("its repositories (-want +got):\n%s", diff)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	added := closure.Broken{Repository: "os", Package: "a-1-1.noarch", Needs: []string{"x", "y >= 2"}}
	shown := closure.Broken{Repository: "crb", Package: "b-1-1.noarch", Needs: []string{"z"}, Shown: true}
	var many []closure.Broken
	for i := range maxBroken + 7 {
		many = append(many, closure.Broken{Package: fmt.Sprint(i), Needs: []string{"z"}})
	}
	for _, tt := range []struct {
		name           string
		policy         product.Closure
		broken         []closure.Broken
		unread         []string
		refused, noted []string // each a part of one
		more           int
	}{
		{name: "nothing", policy: product.Closed},
		{
			name: "required", policy: product.Closed, broken: []closure.Broken{added, shown}, unread: []string{"it is away"},
			refused: []string{
				"a-1-1.noarch: after the release nothing would provide what it needs in os: x, y >= 2", "b-1-1.noarch: it is shown in crb and would lose what it needs: z",
				"wants nothing unresolved, and that can't be told: it is away",
			},
		},
		{
			name: "advisory", policy: product.Advised, broken: []closure.Broken{added, shown}, unread: []string{"it is away"},
			noted: []string{"can't be told: it is away", "2 packages would lack something that they have today or are added without, as a-1-1.noarch in os: x, y >= 2"},
		},
		{name: "more than can be told", policy: product.Advised, broken: many, noted: []string{fmt.Sprint(maxBroken+7, " packages would lack")}, more: 7},
	} {
		p := Plan{Product: "demo"}
		p.Judge(Closure{Policy: tt.policy, Broken: slices.Clone(tt.broken), Unread: tt.unread})
		holds := func(what string, got, want []string) {
			t.Helper()
			if len(got) != len(want) {
				t.Errorf("%s: %s %q, want %q", tt.name, what, got, want)
				return
			}
			for i := range got {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("%s: %s %q, want %q", tt.name, what, got[i], want[i])
				}
			}
		}
		var refused []string
		for _, r := range p.Refusals {
			refused = append(refused, r.String())
		}
		holds("refused", refused, tt.refused)
		holds("noted", p.Notes, tt.noted)
		if p.Closure == nil || p.Closure.More != tt.more || len(p.Closure.Broken) != min(len(tt.broken), maxBroken) {
			t.Errorf("%s: the plan tells %+v", tt.name, p.Closure)
		}
	}
}
