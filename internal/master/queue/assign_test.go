package queue

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func readyIDs(ids ...albs.TaskID) (rs []Ready) {
	for _, id := range ids {
		rs = append(rs, Ready{ID: id})
	}
	return rs
}

func TestAssign(t *testing.T) {
	t.Parallel()
	x86, arm := []string{"arch:x86_64"}, []string{"arch:aarch64"}
	both := []string{"arch:x86_64", "arch:aarch64"}
	for _, test := range []struct {
		name    string
		lanes   []Lane
		waiting [][]string
		want    []Assignment
	}{
		{"nothing ready", nil, [][]string{x86}, nil},
		{"nobody waits", []Lane{{Owner: "a", Ready: readyIDs(1)}}, nil, nil},
		{"no needs go to anyone", []Lane{{Owner: "a", Ready: readyIDs(1)}}, [][]string{nil}, []Assignment{{0, 0}}},
		{"needs beyond the labels", []Lane{{Owner: "a", Needs: both, Ready: readyIDs(1)}}, [][]string{x86, arm}, nil},
		{"order of labels is free", []Lane{{Owner: "a", Needs: both, Ready: readyIDs(1)}},
			[][]string{{"z", "arch:x86_64", "arch:aarch64"}}, []Assignment{{0, 0}}},
		{"one task, two workers: the first who waits", []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}},
			[][]string{x86, x86}, []Assignment{{0, 0}}},
		{"one worker, two tasks: the older", []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(2)}, {Owner: "b", Needs: x86, Ready: readyIDs(1)}},
			[][]string{x86}, []Assignment{{1, 0}}},
		{"the plain worker gets the plain task", []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}},
			[][]string{both, x86}, []Assignment{{0, 1}}},
		{"the versatile one is left for what only it can do",
			[]Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}, {Owner: "a", Needs: arm, Ready: readyIDs(2)}},
			[][]string{both, x86}, []Assignment{{0, 1}, {1, 0}}},
		{"the owner with fewer running goes first",
			[]Lane{{Owner: "a", Running: 3, Needs: x86, Ready: readyIDs(1, 2)}, {Owner: "b", Running: 1, Needs: x86, Ready: readyIDs(8, 9)}},
			[][]string{x86, x86}, []Assignment{{1, 0}, {1, 1}}},
		{"owners take turns however much one has",
			[]Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1, 2, 3, 4)}, {Owner: "b", Needs: x86, Ready: readyIDs(8, 9)}},
			[][]string{x86, x86, x86, x86}, []Assignment{{0, 0}, {1, 1}, {0, 2}, {1, 3}}},
		{"lanes of one owner count together",
			[]Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}, {Owner: "a", Needs: arm, Ready: readyIDs(2)}, {Owner: "b", Needs: arm, Ready: readyIDs(3)}},
			[][]string{x86, arm, arm}, []Assignment{{0, 0}, {2, 1}, {1, 2}}},
		{"priority goes before age, not before fairness",
			[]Lane{
				{Owner: "a", Running: 1, Needs: x86, Ready: []Ready{{ID: 1, Priority: 9}}},
				{Owner: "b", Needs: x86, Ready: readyIDs(2)},
				{Owner: "b", Needs: both, Ready: []Ready{{ID: 3, Priority: 1}}},
			},
			[][]string{both}, []Assignment{{2, 0}}},
		{"an owner that cannot be served holds nobody up",
			[]Lane{{Owner: "a", Needs: arm, Ready: readyIDs(1)}, {Owner: "b", Running: 50, Needs: x86, Ready: readyIDs(2)}},
			[][]string{x86}, []Assignment{{1, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, Assign(test.lanes, test.waiting)); diff != "" {
				t.Errorf("Assign (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever comes in: nobody gets two tasks, no task goes twice, labels suffice,
// and no worker is left without work that it could do.
func FuzzAssign(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, []byte{3, 3, 1})
	f.Fuzz(func(t *testing.T, lanes, waiting []byte) {
		if len(lanes) > 50 || len(waiting) > 50 {
			return
		}
		labels := func(b byte) (ls []string) {
			for i := range 4 {
				if b>>i&1 == 1 {
					ls = append(ls, fmt.Sprint("l", i))
				}
			}
			return ls
		}
		var ls []Lane
		id := albs.TaskID(1)
		for _, b := range lanes {
			l := Lane{Owner: fmt.Sprint("o", b>>6), Needs: labels(b), Running: int(b >> 6)}
			for range int(b>>4&3) + 1 {
				l.Ready = append(l.Ready, Ready{ID: id})
				id++
			}
			ls = append(ls, l)
		}
		var ws [][]string
		for _, b := range waiting {
			ws = append(ws, labels(b))
		}
		busy := make(map[int]bool)
		taken := make([]int, len(ls))
		fits := func(w, l int) bool {
			return !slices.ContainsFunc(ls[l].Needs, func(n string) bool { return !slices.Contains(ws[w], n) })
		}
		for _, a := range Assign(ls, ws) {
			if busy[a.Waiting] {
				t.Fatalf("worker %d got two tasks", a.Waiting)
			}
			if !fits(a.Waiting, a.Lane) {
				t.Fatalf("worker %v got a task that needs %v", ws[a.Waiting], ls[a.Lane].Needs)
			}
			busy[a.Waiting] = true
			taken[a.Lane]++
		}
		for l := range ls {
			if taken[l] > len(ls[l].Ready) {
				t.Fatalf("lane %d gave %d of %d tasks", l, taken[l], len(ls[l].Ready))
			}
			for w := range ws {
				if !busy[w] && taken[l] < len(ls[l].Ready) && fits(w, l) {
					t.Fatalf("worker %d waits though lane %d has a task for it", w, l)
				}
			}
		}
	})
}

func BenchmarkAssign(b *testing.B) {
	var lanes []Lane
	for i := range 100 {
		lanes = append(lanes, Lane{Owner: fmt.Sprint("o", i%20), Needs: []string{fmt.Sprint("l", i%5)}, Ready: readyIDs(albs.TaskID(i), albs.TaskID(i+1000))})
	}
	var waiting [][]string
	for i := range 1000 {
		waiting = append(waiting, []string{"kind:build", fmt.Sprint("l", i%8)})
	}
	for b.Loop() {
		Assign(lanes, waiting)
	}
}
