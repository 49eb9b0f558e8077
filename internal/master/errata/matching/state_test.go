package matching

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/rpm"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	a, b := nevra(t, "a-1-1.noarch"), nevra(t, "b-1-1.noarch")
	two := []Wanted{{NEVRA: a, Lack: "none"}, {NEVRA: b, Lack: "none"}}
	tests := []struct {
		name    string
		s       state
		want    Standing
		chosen  int
		missing []string
	}{
		{name: "no package at all: a person has to add one", want: Standing{Stage: NeedsMatch}},
		{name: "nothing answers", s: state{Wanted: two}, want: Standing{Stage: NeedsBuild, Wanted: 2, Lacking: 2}, missing: []string{"a: none", "b: none"}},
		{name: "a proposal and nothing", s: state{Wanted: two, Matches: []Match{{Wanted: a, Status: Proposal}}},
			want: Standing{Stage: NeedsBuild, Wanted: 2, Lacking: 1, Open: 1}, missing: []string{"a: nobody has approved one of its matches", "b: none"}},
		{name: "a proposal beside an answer", s: state{Wanted: two, Matches: []Match{{Wanted: a, Status: Proposal}, {Wanted: b, Status: Approved}}},
			want: Standing{Stage: NeedsMatch, Wanted: 2, Open: 1, Settled: 1}, chosen: 1, missing: []string{"a: nobody has approved one of its matches"}},
		{name: "all skipped is nothing", s: state{Wanted: two[:1], Matches: []Match{{Wanted: a, Status: Skipped, Released: true}}},
			want: Standing{Stage: NeedsBuild, Wanted: 1, Lacking: 1}, missing: []string{"a: all of its matches were skipped"}},
		{name: "released, and another is open", s: state{Wanted: two[:1], Matches: []Match{{Wanted: a, Status: Proposal, Released: true}, {Wanted: a, Status: Proposal}}},
			want: Standing{Stage: Ready, Wanted: 1, Settled: 1}, chosen: 1},
		{name: "excluded", s: state{Wanted: []Wanted{{NEVRA: a, Excluded: true}, {NEVRA: b}}, Matches: []Match{{Wanted: b, Status: Approved}}},
			want: Standing{Stage: Ready, Wanted: 1, Settled: 1}, chosen: 1},
		{name: "all excluded and one added", s: state{Wanted: []Wanted{{NEVRA: a, Excluded: true}}, Matches: []Match{{NEVRA: b, Status: Approved}}},
			want: Standing{Stage: Ready, Wanted: 1, Settled: 1}, chosen: 1},
		{name: "all excluded", s: state{Wanted: []Wanted{{NEVRA: a, Excluded: true}}}, want: Standing{Stage: NeedsMatch}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.s.standing(errata.Record{}); got != tt.want {
				t.Errorf("standing = %+v, want %+v", got, tt.want)
			}
			all := Answers{Wanted: tt.s.Wanted}
			for _, m := range tt.s.Matches {
				all.Matches = append(all.Matches, m.shown(errata.Key{}))
			}
			var missing []string
			for _, w := range all.Missing() {
				missing = append(missing, w.Name+": "+w.Lack)
			}
			if len(all.Chosen()) != tt.chosen || !slices.Equal(missing, tt.missing) {
				t.Errorf("%d chosen, missing %q, want %d and %q", len(all.Chosen()), missing, tt.chosen, tt.missing)
			}
		})
	}
}

// TestDecisionsHold makes decisions and finds packages in any order: what a person decided
// last stays, one build answers, merging twice changes nothing, and taking all back leaves
// what was found.
func TestDecisionsHold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var want []advisory.Package
		for _, name := range []string{"a", "b"} {
			want = append(want, advisory.Package{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: "2", Arch: "x86_64"}})
		}
		in := func() inputs {
			out := inputs{want: want, own: seed%3 == 0, platform: "el9", arches: []albs.Arch{albs.X8664}, held: map[place]match.Package{}}
			var ps []match.Package
			for _, name := range []string{"a", "b", "c"} {
				for b := range albs.BuildID(4) {
					if r.IntN(3) == 0 {
						continue
					}
					p := match.Package{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: fmt.Sprint(1 + r.IntN(3)), Arch: "x86_64"}, Build: b + 1, Unsigned: albs.DigestOf([]byte{byte(b)}), Released: r.IntN(8) == 0}
					ps = append(ps, p)
					out.held[place{p.Build, p.NEVRA}] = p
				}
			}
			out.result = match.New("el9", nil, ps).Match(want, out.own)
			return out
		}
		var s state
		for step := range 12 {
			now := in()
			before := s
			var d []Decision
			if r.IntN(2) == 0 {
				d = []Decision{{
					Action: Actions()[r.IntN(len(Actions()))], Wanted: want[r.IntN(2)].NEVRA, Why: "so",
				}}
				for p, h := range now.held {
					if d[0].Action == Replace || d[0].Action == Add {
						d[0].NEVRA, d[0].Build = h.NEVRA, p.build
						break
					}
				}
				switch d[0].Action {
				case Add:
					d[0].Wanted = rpm.NEVRA{}
				case Approve, Skip, Propose:
					d[0].Build = albs.BuildID(1 + r.IntN(4))
				}
			}
			decided, err := s.decide(person{name: "mia"}, d, now)
			if err != nil {
				if !reflect.DeepEqual(s, before) {
					t.Fatalf("seed %d, step %d: a refused decision changed something", seed, step)
				}
				decided = s
			}
			s = decided.merge(now)
			if again := s.merge(now); !reflect.DeepEqual(again, s) {
				t.Fatalf("seed %d, step %d: merging twice gives %+v, once %+v", seed, step, again, s)
			}
			for _, m := range decided.Matches {
				if m.By == "" {
					continue
				}
				i := slices.IndexFunc(s.Matches, func(o Match) bool { return o.pair() == m.pair() })
				if i < 0 || s.Matches[i].Status != m.Status || s.Matches[i].By != m.By {
					t.Fatalf("seed %d, step %d: the decision %+v is gone", seed, step, m)
				}
			}
			chosen := map[rpm.NEVRA]albs.BuildID{}
			for _, m := range s.Matches {
				m = m.shown(errata.Key{})
				if m.Wanted == (rpm.NEVRA{}) || !m.settled() {
					continue
				}
				if other, ok := chosen[m.Wanted]; ok && other != m.Build {
					t.Fatalf("seed %d, step %d: builds %d and %d both answer %s: %+v", seed, step, other, m.Build, m.Wanted, s.Matches)
				}
				chosen[m.Wanted] = m.Build
			}
			if fresh := (state{}).merge(now); !reflect.DeepEqual(s.undone().merge(now), fresh) {
				t.Fatalf("seed %d, step %d: with all taken back there is %+v, and of nothing %+v", seed, step, s.undone().merge(now), fresh)
			}
		}
	}
}
