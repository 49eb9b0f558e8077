package publish

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/errata/matching"
)

func TestChosen(t *testing.T) {
	t.Parallel()
	a, b := nevra("a-1-1.x86_64"), nevra("b-1-1.noarch")
	match := func(wanted, is string, status matching.Status, by string, pick bool) matching.Match {
		m := matching.Match{NEVRA: nevra(is), Status: status, By: by, Pick: pick, Unsigned: albs.DigestOf([]byte(is))}
		if wanted != "" {
			m.Wanted = nevra(wanted)
		}
		return m
	}
	for name, tc := range map[string]struct {
		is            matching.Answers
		answers, lack []string
	}{
		"nothing": {},
		"approved and proposed": {matching.Answers{Wanted: []matching.Wanted{{NEVRA: a}, {NEVRA: b, Lack: "nobody built it"}}, Matches: []matching.Match{
			match("a-1-1.x86_64", "a-1-1.x86_64", matching.Approved, "", true), match("b-1-1.noarch", "b-1-1.noarch", matching.Proposal, "", true),
		}}, []string{"a-1-1.x86_64"}, []string{"b-1-1.noarch: nobody has approved one of its matches"}},
		"of two that are released the better one": {matching.Answers{Wanted: []matching.Wanted{{NEVRA: a}}, Matches: []matching.Match{
			match("a-1-1.x86_64", "a-1-1.x86_64", matching.Released, "", true), match("a-1-1.x86_64", "a-1-2.x86_64", matching.Released, "", false),
		}}, []string{"a-1-1.x86_64"}, nil},
		"what a person chose": {matching.Answers{Wanted: []matching.Wanted{{NEVRA: a}}, Matches: []matching.Match{
			match("a-1-1.x86_64", "a-1-1.x86_64", matching.Released, "", true), match("a-1-1.x86_64", "a-1-2.x86_64", matching.Approved, "olga", false),
		}}, []string{"a-1-2.x86_64"}, nil},
		"all arches of a noarch one": {matching.Answers{Wanted: []matching.Wanted{{NEVRA: b}}, Matches: []matching.Match{
			match("b-1-1.noarch", "b-1-1.x86_64", matching.Released, "", true), match("b-1-1.noarch", "b-1-1.aarch64", matching.Released, "", true),
		}}, []string{"b-1-1.x86_64", "b-1-1.aarch64"}, nil},
		"excluded and skipped, and one more": {matching.Answers{Wanted: []matching.Wanted{{NEVRA: a, Excluded: true}, {NEVRA: b}}, Matches: []matching.Match{
			match("b-1-1.noarch", "b-1-1.noarch", matching.Skipped, "olga", true), match("", "c-1-1.noarch", matching.Approved, "olga", false),
		}}, []string{"c-1-1.noarch"}, []string{"b-1-1.noarch: all of its matches were skipped"}},
	} {
		as, ls := chosen(tc.is)
		var answers, lack []string
		for _, n := range as {
			answers = append(answers, n.NEVRA.String())
			if n.Unsigned != albs.DigestOf([]byte(n.NEVRA.String())) {
				t.Errorf("%s: %s has lost what was built", name, n.NEVRA)
			}
		}
		for _, l := range ls {
			lack = append(lack, l.Wanted.String()+": "+l.Why)
		}
		if diff := cmp.Diff(tc.answers, answers); diff != "" {
			t.Errorf("%s: answers (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(tc.lack, lack); diff != "" {
			t.Errorf("%s: lacks (-want +got):\n%s", name, diff)
		}
	}
}
