package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// Each thing that can bind is told by name.
func TestExplain(t *testing.T) {
	t.Parallel()
	s390 := []string{"arch:s390x", "kind:build"}
	worker := func(id albs.WorkerID, name string, change func(w *Worker)) Worker {
		w := Worker{ID: id, Name: name, Labels: s390}
		if change != nil {
			change(&w)
		}
		return w
	}
	busy := func(w *Worker) { w.Runs = 1 }
	lane := Lane{Owner: "team:core", Needs: s390, Ready: []Ready{{ID: 7, Expected: 20 * time.Minute, Key: "bash/el9/s390x"}}}
	ask := func(change func(q *Question)) Question {
		q := Question{Lane: lane, Position: 3, Of: 12, Owners: 1, Waits: map[albs.WorkerID]bool{}, Ahead: Ahead{2, 2, time.Hour}}
		q.Lane.Ready = slices.Clone(lane.Ready)
		change(&q)
		return q
	}
	for _, test := range []struct {
		name   string
		q      Question
		want   string
		could  string
		starts time.Duration
	}{
		{"nobody at all", ask(func(*Question) {}), "3rd of 12 in its lane (team:core): no worker has asked for work of late", "", -1},
		{"no such arch", ask(func(q *Question) {
			q.Workers = []Worker{{ID: 1, Name: "a", Labels: []string{"arch:x86_64", "kind:build"}}}
		}), "3rd of 12 in its lane (team:core): no worker offers arch:s390x", "", -1},
		{"no worker with all", ask(func(q *Question) {
			q.Workers = []Worker{{ID: 1, Name: "a", Labels: []string{"arch:s390x"}}, {ID: 2, Name: "b", Labels: []string{"kind:build"}}}
		}), "3rd of 12 in its lane (team:core): no worker offers all of arch:s390x and kind:build", "", -1},
		{"all are barred", ask(func(q *Question) {
			q.Lane.Room = Room{Memory: 64 << 30}
			big := Room{Memory: 128 << 30}
			q.Workers = []Worker{
				worker(1, "a", func(w *Worker) { w.Drained, w.Room = "new disk", big }),
				worker(2, "b", func(w *Worker) { w.Quarantined, w.Room = "it lost 3 tasks", big }),
				worker(3, "c", func(w *Worker) { w.Room = Room{Memory: 8 << 30} }),
				worker(4, "d", func(w *Worker) { w.Exclude, w.Room = []string{"ba*"}, big }),
			}
		}), "3rd of 12 in its lane (team:core): none of the 4 workers with arch:s390x and kind:build may take it: b is quarantined (it lost 3 tasks), " +
			"a is drained (new disk), c has 8 GiB of memory where 64 GiB of memory is needed, d excludes it by the pattern ba*", "", -1},
		{"all are busy", ask(func(q *Question) {
			q.Workers = []Worker{worker(1, "a", busy), worker(2, "b", busy), worker(3, "c", func(w *Worker) { w.Drained = "x" })}
			q.Running = []Running{{1, 10 * time.Minute, 40 * time.Minute}, {2, 5 * time.Minute, 15 * time.Minute}}
		}), "3rd of 12 in its lane (team:core): all 2 workers that could take it are busy; a, b could take it; it is likely to begin in 40 min and to take 20 min",
			"a b", 40 * time.Minute},
		{"others used less", ask(func(q *Question) {
			q.Workers, q.First, q.Owners = []Worker{worker(1, "a", busy)}, 2, 3
			q.Running = []Running{{1, 10 * time.Minute, 10 * time.Minute}}
		}), "3rd of 12 in its lane (team:core): the one worker that could take it is busy, and 2 owners that used less of late go first; a could take it; " +
			"it is likely to begin in 3.0 h and to take 20 min", "a", 3 * time.Hour},
		{"no room to spare", ask(func(q *Question) {
			q.Lane.Room = Room{Cores: 8}
			q.Position, q.Ahead = 1, Ahead{}
			q.Workers = []Worker{worker(1, "a", func(w *Worker) { w.Runs, w.Room, w.Taken = 2, Room{Cores: 8}, Room{Cores: 1} })}
			q.Running = []Running{{1, 0, 0}}
		}), "1st of 12 in its lane (team:core): the one worker that could take it is busy, without 8 cores to spare; a could take it; " +
			"it takes about 20 min, and what runs before it has no history", "a", -1},
		{"given back", ask(func(q *Question) {
			q.Lane.Ready[0].Refused = []albs.WorkerID{1}
			q.Again, q.Reason = map[albs.WorkerID]float64{1: 600}, "disk full"
			q.Position, q.Ahead = 1, Ahead{}
			q.Workers = []Worker{worker(1, "a", nil), worker(2, "b", busy)}
			q.Running = []Running{{2, time.Minute, 2 * time.Minute}}
			q.Waits = map[albs.WorkerID]bool{1: true}
		}), "1st of 12 in its lane (team:core): the one worker that could take it is busy, and a gave it back and gets it again in 10 min (disk full); " +
			"b could take it; it is likely to begin in 1 min and to take 20 min", "b", time.Minute},
		{"paused", ask(func(q *Question) {
			q.Pause, q.Reason = 10*time.Second, "no mirror"
			q.Position, q.Ahead = 1, Ahead{}
			q.Workers, q.Waits = []Worker{worker(1, "a", nil)}, map[albs.WorkerID]bool{1: true}
		}), "1st of 12 in its lane (team:core): paused for 10 s (no mirror); a could take it; it is likely to begin in 10 s and to take 20 min", "a", 10 * time.Second},
		{"next", ask(func(q *Question) {
			q.Position, q.Ahead = 1, Ahead{}
			q.Lane.Ready[0].Expected = 0
			q.Workers, q.Waits = []Worker{worker(1, "a", nil)}, map[albs.WorkerID]bool{1: true}
		}), "1st of 12 in its lane (team:core): next: a waits for work; a could take it; no history of bash/el9/s390x, so nobody can say when it will be done", "a", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := Explain(test.q)
			if a.Sentence != test.want || strings.Join(a.Could, " ") != test.could || a.Starts != test.starts {
				t.Errorf("Explain = %q, %v, %v\nwant      %q, %v, %v", a.Sentence, a.Could, a.Starts, test.want, test.could, test.starts)
			}
		})
	}
}

// What Explain says of a worker is what Assign does with it.
func TestExplainAgreesWithAssign(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		v := randomViewOf(seed)
		for i := range v.Lanes {
			l := v.Lanes[i]
			for j := range l.Ready {
				one := l
				one.Ready = l.Ready[j : j+1]
				a := Explain(Question{Lane: one, Position: 1, Of: 1, Workers: slices.Concat(v.Waiting, v.Others)})
				for k := range v.Waiting {
					w := v.Waiting[k]
					alone := Assign(View{Lanes: []Lane{one}, Waiting: []Worker{w}, Others: slices.Concat(v.Waiting, v.Others), HalfLife: time.Hour})
					gets := len(alone) == 1
					told := slices.Contains(a.Could, w.Name)
					full := w.Bar(&one, &one.Ready[0]) == Full
					if gets != (told && !full) {
						t.Fatalf("seed %d: worker %+v gets task %+v: %v; told: %v (%s)", seed, w, one.Ready[0], gets, told, a.Sentence)
					}
				}
			}
		}
	}
}
