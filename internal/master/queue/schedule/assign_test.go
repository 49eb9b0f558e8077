package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func readyIDs(ids ...albs.TaskID) (rs []Ready) {
	for _, id := range ids {
		rs = append(rs, Ready{ID: id})
	}
	return rs
}

// crowd makes waiting workers 1, 2 … of their labels.
func crowd(labels ...[]string) (ws []Worker) {
	for i, l := range labels {
		ws = append(ws, Worker{ID: albs.WorkerID(i + 1), Name: fmt.Sprint("w", i+1), Labels: slices.Sorted(slices.Values(l))})
	}
	return ws
}

const gi = 1 << 30

func TestAssign(t *testing.T) {
	t.Parallel()
	x86, arm := []string{"arch:x86_64"}, []string{"arch:aarch64"}
	both := []string{"arch:aarch64", "arch:x86_64"}
	with := func(w Worker, change func(w *Worker)) Worker { change(&w); return w }
	w1, w2 := crowd(x86)[0], crowd(x86, x86)[1]
	small := with(w1, func(w *Worker) { w.Room = Room{4, 8 * gi, 50 * gi} })
	big := with(w2, func(w *Worker) { w.Room = Room{64, 256 * gi, 500 * gi} })
	for _, test := range []struct {
		name string
		view View
		want []Assignment
	}{
		{"nothing ready", View{Waiting: crowd(x86)}, nil},
		{"nobody waits", View{Lanes: []Lane{{Owner: "a", Ready: readyIDs(1)}}}, nil},
		{"no needs go to anyone", View{Lanes: []Lane{{Owner: "a", Ready: readyIDs(1)}}, Waiting: crowd(nil)}, []Assignment{{0, 0, 0}}},
		{"needs beyond the labels", View{Lanes: []Lane{{Owner: "a", Needs: both, Ready: readyIDs(1)}}, Waiting: crowd(x86, arm)}, nil},
		{"more labels do no harm", View{Lanes: []Lane{{Owner: "a", Needs: both, Ready: readyIDs(1)}},
			Waiting: crowd([]string{"z", "arch:x86_64", "arch:aarch64"})}, []Assignment{{0, 0, 0}}},
		{"one task, two workers: the first who waits", View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}},
			Waiting: crowd(x86, x86)}, []Assignment{{0, 0, 0}}},
		{"one worker, two tasks: the older", View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(2)}, {Owner: "b", Needs: x86, Ready: readyIDs(1)}},
			Waiting: crowd(x86)}, []Assignment{{1, 0, 0}}},
		{"no more than asked for", View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1, 2, 3)}}, Waiting: crowd(x86, x86, x86), Most: 2},
			[]Assignment{{0, 0, 0}, {0, 1, 1}}},
		{"the plain worker gets the plain task", View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}},
			Waiting: crowd(both, x86)}, []Assignment{{0, 0, 1}}},
		{"the versatile one is left for what only it can do",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}, {Owner: "a", Needs: arm, Ready: readyIDs(2)}},
				Waiting: crowd(both, x86)}, []Assignment{{0, 0, 1}, {1, 0, 0}}},

		{"a task for one worker goes to that one", View{Lanes: []Lane{{Owner: "a", Needs: append([]string{}, "arch:x86_64", Only("w2")), Ready: readyIDs(1)}}, Waiting: crowd(x86, x86, x86)},
			[]Assignment{{0, 0, 1}}},
		{"and to nobody while that one is away", View{Lanes: []Lane{{Owner: "a", Needs: []string{"arch:x86_64", Only("w9")}, Ready: readyIDs(1)}}, Waiting: crowd(x86, x86)}, nil},
		{"a task for others goes to another", View{Lanes: []Lane{{Owner: "a", Needs: []string{"arch:x86_64", Except("w1")}, Ready: readyIDs(1)}}, Waiting: crowd(x86, x86)},
			[]Assignment{{0, 0, 1}}},
		{"and to none if there is no other", View{Lanes: []Lane{{Owner: "a", Needs: []string{"arch:x86_64", Except("w1")}, Ready: readyIDs(1)}}, Waiting: crowd(x86)}, nil},
		{"who is meant still needs the labels", View{Lanes: []Lane{{Owner: "a", Needs: []string{"arch:x86_64", "big", Only("w1")}, Ready: readyIDs(1)}}, Waiting: crowd(x86)}, nil},
		{"a name takes nothing from the labels behind it", View{Lanes: []Lane{{Owner: "a", Needs: []string{Except("w2"), "x", "z"}, Ready: readyIDs(1)}}, Waiting: crowd([]string{"x", "z"}, []string{"x", "z"})},
			[]Assignment{{0, 0, 0}}},

		{"the owner that used less goes first",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1, 2)}, {Owner: "b", Needs: x86, Ready: readyIDs(8, 9)}},
				Usage: map[string]float64{"a": 3000, "b": 100}, Waiting: crowd(x86, x86)}, []Assignment{{1, 0, 0}, {1, 1, 1}}},
		{"owners take turns however much one has",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1, 2, 3, 4)}, {Owner: "b", Needs: x86, Ready: readyIDs(8, 9)}},
				Waiting: crowd(x86, x86, x86, x86)}, []Assignment{{0, 0, 0}, {1, 0, 1}, {0, 1, 2}, {1, 1, 3}}},
		{"lanes of one owner count together",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: readyIDs(1)}, {Owner: "a", Needs: arm, Ready: readyIDs(2)}, {Owner: "b", Needs: arm, Ready: readyIDs(3)}},
				Waiting: crowd(x86, arm, arm)}, []Assignment{{0, 0, 0}, {2, 0, 1}, {1, 0, 2}}},
		{"priority doesn't go before fairness",
			View{Lanes: []Lane{
				{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Priority: 9}}},
				{Owner: "b", Needs: x86, Ready: readyIDs(2)},
				{Owner: "b", Needs: both, Ready: []Ready{{ID: 3, Priority: 1}}},
			}, Usage: map[string]float64{"a": 1}, Waiting: crowd(both)}, []Assignment{{2, 0, 0}}},
		{"an owner that cannot be served holds nobody up",
			View{Lanes: []Lane{{Owner: "a", Needs: arm, Ready: readyIDs(1)}, {Owner: "b", Needs: x86, Ready: readyIDs(2)}},
				Usage: map[string]float64{"b": 1e6}, Waiting: crowd(x86)}, []Assignment{{1, 0, 0}}},
		{"the longest of an owner first, over its lanes",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Expected: time.Minute}}}, {Owner: "a", Ready: []Ready{{ID: 2, Expected: time.Hour}}}},
				Waiting: crowd(x86)}, []Assignment{{1, 0, 0}}},
		{"what the longest chain waits for, before what is longer itself",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Expected: time.Hour, Chain: time.Hour}}},
				{Owner: "a", Ready: []Ready{{ID: 2, Expected: time.Minute, Chain: 2 * time.Hour}}}},
				Waiting: crowd(x86)}, []Assignment{{1, 0, 0}}},
		{"a task without history may be the longest",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Expected: time.Hour}}}, {Owner: "a", Ready: readyIDs(2)}},
				Waiting: crowd(x86)}, []Assignment{{1, 0, 0}}},
		{"a long task charges its owner at once",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Expected: 5 * time.Hour}, {ID: 2, Expected: time.Hour}}},
				{Owner: "b", Needs: x86, Ready: []Ready{{ID: 3, Expected: time.Minute}, {ID: 4, Expected: time.Minute}}}},
				Waiting: crowd(x86, x86, x86)}, []Assignment{{0, 0, 0}, {1, 0, 1}, {1, 1, 2}}},

		{"too little memory", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Memory: 64 * gi}, Ready: readyIDs(1)}}, Waiting: []Worker{small}}, nil},
		{"too few cores", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Cores: 5}, Ready: readyIDs(1)}}, Waiting: []Worker{small}}, nil},
		{"too little disk", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Disk: 51 * gi}, Ready: readyIDs(1)}}, Waiting: []Worker{small}}, nil},
		{"room enough", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{64, 64 * gi, 64 * gi}, Ready: readyIDs(1)}}, Waiting: []Worker{small, big}}, []Assignment{{0, 0, 1}}},
		{"an unknown machine is believed to do", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{1, gi, gi}, Ready: readyIDs(1)}}, Waiting: crowd(x86)}, []Assignment{{0, 0, 0}}},
		{"what of it is known counts", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{1, 9 * gi, gi}, Ready: readyIDs(1)}},
			Waiting: []Worker{with(small, func(w *Worker) { w.Room.Cores, w.Room.Disk = 0, 0 })}}, nil},
		{"a machine whose size is known is used first", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Cores: 5}, Ready: readyIDs(1)}, {Owner: "a", Needs: x86, Room: Room{Cores: 1}, Ready: readyIDs(2)}},
			Waiting: []Worker{w1, with(small, func(w *Worker) { w.ID = 9 })}}, []Assignment{{0, 0, 0}, {1, 0, 1}}},
		{"what is not needed may be short", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Cores: 1}, Ready: readyIDs(1)}},
			Waiting: []Worker{with(small, func(w *Worker) { w.Taken = Room{Disk: 60 * gi} })}}, []Assignment{{0, 0, 0}}},
		{"what it holds is taken off", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Memory: 64 * gi}, Ready: readyIDs(1)}},
			Waiting: []Worker{with(big, func(w *Worker) { w.Taken = Room{Memory: 200 * gi} })}}, nil},
		{"two claims of one machine share its room", View{Lanes: []Lane{{Owner: "a", Needs: x86, Room: Room{Memory: 200 * gi}, Ready: readyIDs(1, 2)}},
			Waiting: []Worker{big, big}}, []Assignment{{0, 0, 0}}},
		{"the big machine is left for what needs it",
			View{Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Priority: 1}}}, {Owner: "a", Needs: x86, Room: Room{Memory: 64 * gi}, Ready: readyIDs(2)}},
				Waiting: []Worker{big, small}}, []Assignment{{0, 0, 1}, {1, 0, 0}}},

		{"a drained worker gets nothing", View{Lanes: []Lane{{Owner: "a", Ready: readyIDs(1)}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Drained = "new disk" })}}, nil},
		{"nor one that pauses", View{Lanes: []Lane{{Owner: "a", Ready: readyIDs(1)}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Paused = "disk" })}}, nil},
		{"nor one in quarantine", View{Lanes: []Lane{{Owner: "a", Ready: readyIDs(1)}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Quarantined = "lost" })}}, nil},
		{"a pattern keeps the package away, and the next goes", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Key: "kernel-rt/el9/x86_64"}, {ID: 2, Key: "bash/el9/x86_64"}}}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Exclude = []string{"kernel*"} })}}, []Assignment{{0, 1, 0}}},
		{"a pattern for the whole key", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Key: "bash/el9/x86_64"}, {ID: 2, Key: "bash/el8/x86_64"}}}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Exclude = []string{"*/el9/*"} })}}, []Assignment{{0, 1, 0}}},
		{"another worker without the pattern takes it", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Key: "kernel/el9/x86_64"}}}},
			Waiting: []Worker{with(w1, func(w *Worker) { w.Exclude = []string{"kernel"} }), w2}}, []Assignment{{0, 0, 1}}},

		{"who gave it back is passed over for another who waits", View{
			Lanes: []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Refused: []albs.WorkerID{1}}}}}, Waiting: crowd(x86, x86)}, []Assignment{{0, 0, 1}}},
		{"and for one that is busy, and gets the next task", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Refused: []albs.WorkerID{1}}, {ID: 2}}}},
			Waiting: []Worker{w1}, Others: []Worker{w2}}, []Assignment{{0, 1, 0}}},
		{"but not for one that may not", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Refused: []albs.WorkerID{1}}}}},
			Waiting: []Worker{w1}, Others: []Worker{with(w2, func(w *Worker) { w.Drained = "x" })}}, []Assignment{{0, 0, 0}}},
		{"nor for one that gave it back too", View{
			Lanes:   []Lane{{Owner: "a", Needs: x86, Ready: []Ready{{ID: 1, Refused: []albs.WorkerID{1, 2}}}}},
			Waiting: []Worker{w1}, Others: []Worker{w2}}, []Assignment{{0, 0, 0}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.view.HalfLife = time.Hour
			if diff := cmp.Diff(test.want, Assign(test.view)); diff != "" {
				t.Errorf("Assign (-want +got):\n%s", diff)
			}
		})
	}
}

// randomViewOf is a view with some of everything in it.
func randomViewOf(seed uint64) View { return randomView(rand.New(rand.NewPCG(seed, 4))) }

func randomView(r *rand.Rand) View {
	some := func(p string) (ls []string) {
		for i := range 4 {
			if r.IntN(3) == 0 {
				ls = append(ls, fmt.Sprint(p, i))
			}
		}
		return ls
	}
	room := func(most int) Room {
		if r.IntN(2) == 0 {
			return Room{}
		}
		return Room{r.IntN(most), int64(r.IntN(most)), int64(r.IntN(most))}
	}
	v := View{HalfLife: time.Hour, Usage: map[string]float64{}}
	id := albs.TaskID(1)
	for range r.IntN(12) {
		l := Lane{Owner: fmt.Sprint("o", r.IntN(4)), Needs: some("l"), Room: room(4)}
		v.Usage[l.Owner] = float64(r.IntN(3) * 1000)
		for range r.IntN(5) {
			rd := Ready{ID: id, Priority: r.IntN(3), Expected: time.Duration(r.IntN(3)) * time.Minute, Key: fmt.Sprintf("p%d/x/y", r.IntN(4))}
			for range r.IntN(3) {
				rd.Refused = append(rd.Refused, albs.WorkerID(r.IntN(12)))
			}
			l.Ready = append(l.Ready, rd)
			id++
		}
		slices.SortFunc(l.Ready, func(a, b Ready) int {
			if Before(a, b) {
				return -1
			}
			return 1
		})
		v.Lanes = append(v.Lanes, l)
	}
	for i := range r.IntN(12) {
		w := Worker{ID: albs.WorkerID(i), Name: fmt.Sprint("w", i), Labels: some("l"), Room: room(8)}
		if r.IntN(3) == 0 {
			w.Exclude = []string{fmt.Sprintf("p%d", r.IntN(4))}
		}
		if r.IntN(6) == 0 {
			w.Drained = "x"
		}
		if r.IntN(2) == 0 {
			for range r.IntN(2) + 1 { // slots
				v.Waiting = append(v.Waiting, w)
			}
		} else {
			v.Others = append(v.Others, w)
		}
	}
	return v
}

// Whatever the view: no claim gets two tasks, no task goes twice, nobody gets what it
// can't do or what it gave back while another could take it, no machine more than it
// has room for, no claim is left without work that it may have, and of those that
// somebody could take the first is one of an owner that used least.
func TestAssignKeepsItsWord(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		v := randomViewOf(seed)
		fail := func(format string, args ...any) { t.Fatalf("seed %d: "+format, append([]any{seed}, args...)...) }
		busy, gone := make(map[int]bool), make(map[[2]int]bool)
		spent := make(map[albs.WorkerID]Room)
		may := func(l *Lane, r *Ready, w *Worker) bool {
			if b := w.Bar(l, r); b != None || (l.Room != Room{}) && !w.Room.Holds(l.Room, spent[w.ID]) {
				return false
			}
			return !slices.Contains(r.Refused, w.ID) || !Elsewhere(l, r, v.Waiting, v.Others)
		}
		least := -1.0
		for i := range v.Lanes {
			for j := range v.Lanes[i].Ready {
				for k := range v.Waiting {
					if u := v.Usage[v.Lanes[i].Owner]; may(&v.Lanes[i], &v.Lanes[i].Ready[j], &v.Waiting[k]) && (least < 0 || u < least) {
						least = u
					}
				}
			}
		}
		as := Assign(v)
		if least >= 0 && (len(as) == 0 || v.Usage[v.Lanes[as[0].Lane].Owner] != least) {
			fail("first goes %+v, an owner with %v could be served", as, least)
		}
		for _, a := range as {
			l := &v.Lanes[a.Lane]
			r, w := &l.Ready[a.Ready], &v.Waiting[a.Waiting]
			switch key := [2]int{a.Lane, a.Ready}; {
			case busy[a.Waiting]:
				fail("claim %d got two tasks", a.Waiting)
			case gone[key]:
				fail("task %d goes twice", r.ID)
			case !may(l, r, w):
				fail("worker %+v got task %+v of lane %+v", w, r, l)
			default:
				busy[a.Waiting], gone[key] = true, true
				spent[w.ID] = spent[w.ID].Plus(l.Room)
			}
		}
		for i := range v.Lanes {
			for j := range v.Lanes[i].Ready {
				for k := range v.Waiting {
					if !gone[[2]int{i, j}] && !busy[k] && may(&v.Lanes[i], &v.Lanes[i].Ready[j], &v.Waiting[k]) {
						fail("claim %d waits though task %d is there for it", k, v.Lanes[i].Ready[j].ID)
					}
				}
			}
		}
	}
}

// Owner a has a thousand tasks queued and running when b comes with ten: on farms of
// every size, whatever the tasks take, b's last starts before a's 40th after that.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	const half = time.Hour
	for _, slots := range []int{1, 3, 20, 100} {
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 9))
			mean := time.Duration(r.IntN(3600)+1) * time.Second
			known := r.IntN(2) == 0
			a, b := 1000, 10
			used := map[string]float64{}
			at := map[string]time.Duration{}
			type run struct {
				owner       string
				since, ends time.Duration
			}
			var runs []run
			now, came := time.Duration(0), time.Duration(-1)
			startsOfA := 0
			for b > 0 {
				if came < 0 && a < 1000-3*slots {
					came = now
				}
				v := View{HalfLife: half, Usage: map[string]float64{}}
				expected := time.Duration(0)
				if known {
					expected = mean
				}
				lane := func(o string, n int) {
					v.Usage[o] = Left(used[o], now-at[o], half)
					for _, x := range runs {
						if x.owner == o {
							v.Usage[o] += Charge(expected, half)
						}
					}
					l := Lane{Owner: o}
					for i := range min(n, slots) {
						l.Ready = append(l.Ready, Ready{ID: albs.TaskID(i + 1), Expected: expected})
					}
					v.Lanes = append(v.Lanes, l)
				}
				lane("a", a)
				if came >= 0 {
					lane("b", b)
				}
				for range slots - len(runs) {
					v.Waiting = append(v.Waiting, Worker{ID: albs.WorkerID(len(v.Waiting) + 1)})
				}
				for _, as := range Assign(v) {
					o := v.Lanes[as.Lane].Owner
					if o == "b" {
						b--
					} else if a--; came >= 0 {
						startsOfA++
					}
					took := time.Duration((0.5 + r.Float64()) * float64(mean))
					runs = append(runs, run{o, now, now + took})
				}
				slices.SortFunc(runs, func(x, y run) int { return int(x.ends - y.ends) })
				e := runs[0]
				runs, now = runs[1:], e.ends
				used[e.owner] = Left(used[e.owner], now-at[e.owner], half) + Spent(e.ends-e.since, half)
				at[e.owner] = now
			}
			if startsOfA >= 40 {
				t.Errorf("%d slots, seed %d, mean %v, history %v: b's last starts after %d of a's", slots, seed, mean, known, startsOfA)
			}
		}
	}
}

func TestLosses(t *testing.T) {
	t.Parallel()
	at := func(m int) time.Time { return time.Date(2026, 3, 1, 12, m, 0, 0, time.UTC) }
	loss := func(task albs.TaskID, from, to int) Loss { return Loss{task, at(from), at(to)} }
	for name, test := range map[string]struct {
		ls   []Loss
		want int
	}{
		"none":                         {nil, 0},
		"three tasks, one by one":      {[]Loss{loss(1, 0, 2), loss(2, 3, 5), loss(3, 5, 7)}, 3},
		"one task three times":         {[]Loss{loss(1, 0, 2), loss(1, 3, 5), loss(1, 5, 7)}, 1},
		"three tasks in one power cut": {[]Loss{loss(1, 0, 5), loss(2, 3, 6), loss(3, 4, 7)}, 1},
		"two power cuts":               {[]Loss{loss(1, 0, 5), loss(2, 3, 6), loss(3, 7, 9), loss(4, 7, 9)}, 2},
	} {
		if got := Losses(test.ls); got != test.want {
			t.Errorf("%s: Losses = %d, want %d", name, got, test.want)
		}
	}
}

func TestChains(t *testing.T) {
	t.Parallel()
	const m = time.Minute
	links := []Link{{1, m}, {2, 5 * m}, {3, 2 * m}, {4, 0}, {5, 7 * m}, {6, m}, {7, m}}
	edges := map[albs.TaskID][]albs.TaskID{
		1: {2, 3}, 2: {4}, 3: {4, 99}, // a diamond, and one that has ended
		6: {7}, 7: {6}, // a circle, which there should be none of
	}
	got := Chains(links, edges)
	want := map[albs.TaskID]time.Duration{1: 16 * m, 2: 15 * m, 3: 12 * m, 4: Guess, 5: 7 * m, 6: 2 * m, 7: m}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Chains (-want +got):\n%s", diff)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	const half = time.Hour
	near := func(a, b float64) bool { return a-b < 0.5 && b-a < 0.5 }
	if got := Left(1000, time.Hour, half); !near(got, 500) {
		t.Errorf("after a half-life 1,000 counts %v", got)
	}
	if got := Spent(10*time.Second, half); !near(got, 10) {
		t.Errorf("ten seconds count %v", got)
	}
	// Using a slot for two hours, or for one and then another: the same.
	if whole, parts := Spent(2*time.Hour, half), Left(Spent(time.Hour, half), time.Hour, half)+Spent(time.Hour, half); !near(whole, parts) {
		t.Errorf("two hours count %v, in two parts %v", whole, parts)
	}
	if Charge(0, half) != Charge(Guess, half) {
		t.Error("a task without history isn't charged by the guess")
	}
}

func BenchmarkAssign(b *testing.B) {
	v := View{HalfLife: time.Hour, Most: 100}
	for i := range 250 {
		v.Lanes = append(v.Lanes, Lane{Owner: fmt.Sprint("o", i%50), Needs: []string{fmt.Sprint("l", i%5)}, Ready: readyIDs(albs.TaskID(i), albs.TaskID(i+1000))})
	}
	for i := range 1000 {
		v.Waiting = append(v.Waiting, Worker{ID: albs.WorkerID(i), Labels: []string{"kind:build", fmt.Sprint("l", i%8)}, Room: Room{8, 16 * gi, int64(i) * gi}})
	}
	for b.Loop() {
		Assign(v)
	}
}
