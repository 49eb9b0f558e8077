// Package simulate runs a mass rebuild on a farm of which nothing is real but the
// rules: it makes a graph of tasks from a seed, in the shape that
// docs/design/mass-rebuild.md describes, and gives them out by schedule.Assign, the
// dispatcher's own. What it measures is how near the rules come to what no schedule
// can beat. The same seed gives the same result.
package simulate

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/queue/schedule"
)

// Shape of the graph and of the farm; docs/design/mass-rebuild.md says why.
const (
	medianBuild = 4 * time.Minute  // of the bulk of packages
	spread      = 1.15             // sigma of the log-normal distribution around it
	shortest    = 20 * time.Second // a root takes that
	longest     = 3 * time.Hour    // of the bulk
	giants      = 0.001            // of packages are giants
	giantLeast  = 3 * time.Hour
	giantMost   = 9 * time.Hour
	meanNeeds   = 3.0  // packages of the same rebuild that a package needs, beside the tool chain
	coreShare   = 0.02 // of packages are the core, which others choose half of the time
	unknown     = 0.05 // of tasks have no history
	guessError  = 0.2  // sigma of the logarithm of real time over median
	owners      = 4
	slots       = 2 // of a node
	halfLife    = time.Hour
)

// farms are the arches with the time that a build takes there, relative to the first.
// Nodes are shared out by the work.
var farms = []struct {
	arch  string
	speed float64
}{{"x86_64", 1}, {"aarch64", 1.2}, {"ppc64le", 1.1}, {"s390x", 1.3}}

// Result is how a simulated rebuild went.
type Result struct {
	Seed     uint64
	Tasks    int
	Nodes    int
	Slots    int
	Took     time.Duration // from the first start to the last end
	Critical time.Duration // the longest chain
	Work     time.Duration // the work of the busiest arch, divided by its slots
	Decided  int           // calls of Assign
}

// Bound is what no schedule can beat.
func (r Result) Bound() time.Duration { return max(r.Critical, r.Work) }

// Ratio is Took by Bound.
func (r Result) Ratio() float64 { return float64(r.Took) / float64(r.Bound()) }

// String tells all of it in a line.
func (r Result) String() string {
	return fmt.Sprintf("seed %d: %d tasks on %d nodes with %d slots took %v, bound %v (critical path %v, work by slots %v): %.4f, %d decisions",
		r.Seed, r.Tasks, r.Nodes, r.Slots, r.Took.Round(time.Second), r.Bound().Round(time.Second),
		r.Critical.Round(time.Second), r.Work.Round(time.Second), r.Ratio(), r.Decided)
}

// task is one build of one package for one arch.
type task struct {
	farm     int
	owner    int
	takes    time.Duration
	expected time.Duration // 0 without history
	chain    time.Duration // what is expected of it and of the longest chain behind it
	needs    int           // tasks that must end first
	behind   []int         // tasks that wait for it
}

// Run makes and rebuilds a distribution of so many tasks on so many nodes.
func Run(seed uint64, tasks, nodes int) Result {
	ts, chain := graph(rand.New(rand.NewPCG(seed, 30_000)), tasks)
	s := newSimulation(ts, nodes)
	s.run()
	res := Result{Seed: seed, Tasks: len(ts), Nodes: nodes, Took: s.now, Critical: chain, Decided: s.decided}
	for f, n := range s.slots {
		res.Slots += n
		var work time.Duration
		for i := range ts {
			if ts[i].farm == f {
				work += ts[i].takes
			}
		}
		res.Work = max(res.Work, work/time.Duration(n))
	}
	return res
}

// graph makes the tasks, each after those that it needs, and returns the length of the
// longest chain of them.
func graph(r *rand.Rand, n int) ([]task, time.Duration) {
	packages := n / len(farms)
	ts := make([]task, 0, packages*len(farms))
	ends := make([]time.Duration, packages*len(farms)) // of the longest chain up to a task
	var chain time.Duration
	core := max(int(float64(packages)*coreShare), 1)
	for p := range packages {
		base, owner := duration(r), r.IntN(owners)
		needs := needsOf(r, p, core)
		for f, farm := range farms {
			t := task{farm: f, owner: owner}
			median := max(time.Duration(float64(base)*farm.speed), shortest)
			t.takes = max(time.Duration(float64(median)*math.Exp(guessError*r.NormFloat64())), shortest)
			if r.Float64() >= unknown {
				t.expected = median
			}
			id := len(ts)
			for _, d := range needs {
				before := d*len(farms) + f
				ts[before].behind = append(ts[before].behind, id)
				ends[id] = max(ends[id], ends[before])
			}
			t.needs = len(needs)
			ends[id] += t.takes
			chain = max(chain, ends[id])
			ts = append(ts, t)
		}
	}
	links, edges := make([]schedule.Link, len(ts)), make(map[albs.TaskID][]albs.TaskID)
	for i, t := range ts {
		links[i] = schedule.Link{ID: albs.TaskID(i), Expected: t.expected}
		for _, b := range t.behind {
			edges[links[i].ID] = append(edges[links[i].ID], albs.TaskID(b))
		}
	}
	for id, c := range schedule.Chains(links, edges) {
		ts[id].chain = c
	}
	return ts, chain
}

func duration(r *rand.Rand) time.Duration {
	if r.Float64() < giants {
		return giantLeast + time.Duration(r.Float64()*float64(giantMost-giantLeast))
	}
	return min(time.Duration(float64(medianBuild)*math.Exp(spread*r.NormFloat64())), longest)
}

// needsOf chooses what package p needs of those before it: of the core half of the
// time, else of any. Two thirds of packages need nothing that is rebuilt before them
// but through these.
func needsOf(r *rand.Rand, p, core int) []int {
	var needs []int
	for r.Float64() < meanNeeds/(meanNeeds+1) && p > 0 {
		d := r.IntN(p)
		if r.IntN(2) == 0 {
			d = r.IntN(min(core, p))
		}
		if !slices.Contains(needs, d) {
			needs = append(needs, d)
		}
	}
	return needs
}

// end is a task's end to come.
type end struct {
	at   time.Duration
	task int
}

type ends []end

func (e ends) Len() int { return len(e) }
func (e ends) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].task < e[j].task
}
func (e ends) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)   { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// simulation is a farm at work.
type simulation struct {
	tasks   []task
	slots   []int              // by arch
	idle    []int              // of these
	lanes   [][]schedule.Ready // by arch and owner, in order
	running ends
	now     time.Duration
	used    [owners]float64 // as it counts at now
	charged [owners]float64 // for running tasks
	decided int
}

func newSimulation(ts []task, nodes int) *simulation {
	s := &simulation{tasks: ts, lanes: make([][]schedule.Ready, len(farms)*owners)}
	work := make([]float64, len(farms))
	all := 0.0
	for _, t := range ts {
		work[t.farm] += t.takes.Seconds()
		all += t.takes.Seconds()
	}
	left := nodes
	for f := range farms {
		n := max(int(math.Round(float64(nodes)*work[f]/all)), 1)
		if f == len(farms)-1 {
			n = max(left, 1)
		}
		left -= n
		s.slots = append(s.slots, n*slots)
	}
	s.idle = slices.Clone(s.slots)
	return s
}

func (s *simulation) run() {
	for i := range s.tasks {
		if s.tasks[i].needs == 0 {
			s.ready(i)
		}
	}
	for s.assign(); len(s.running) > 0; s.assign() {
		s.finish(heap.Pop(&s.running).(end))
	}
}

// ready puts a task into its lane.
func (s *simulation) ready(i int) {
	t := &s.tasks[i]
	lane := t.farm*owners + t.owner
	r := schedule.Ready{ID: albs.TaskID(i + 1), Expected: t.expected, Chain: t.chain}
	at, _ := slices.BinarySearchFunc(s.lanes[lane], r, func(a, b schedule.Ready) int {
		if schedule.Before(a, b) {
			return -1
		}
		return 1
	})
	s.lanes[lane] = slices.Insert(s.lanes[lane], at, r)
}

// assign gives out what can be given out now.
func (s *simulation) assign() {
	v := schedule.View{HalfLife: halfLife, Usage: make(map[string]float64)}
	var of []int // of a lane of the view: the lane here
	for f, farm := range farms {
		if s.idle[f] == 0 {
			continue
		}
		any := false
		for o := range owners {
			lane := f*owners + o
			if len(s.lanes[lane]) == 0 {
				continue
			}
			any = true
			name := fmt.Sprint("owner", o)
			v.Usage[name] = s.used[o] + s.charged[o]
			v.Lanes = append(v.Lanes, schedule.Lane{
				Owner: name, Needs: []string{"arch:" + farm.arch}, Ready: s.lanes[lane][:min(len(s.lanes[lane]), s.idle[f])],
			})
			of = append(of, lane)
		}
		for i := range s.idle[f] {
			if any {
				v.Waiting = append(v.Waiting, schedule.Worker{ID: albs.WorkerID(f*100_000 + i + 1), Labels: []string{"arch:" + farm.arch}})
			}
		}
	}
	if len(v.Lanes) == 0 {
		return
	}
	s.decided++
	as := schedule.Assign(v)
	for _, a := range as {
		i := int(v.Lanes[a.Lane].Ready[a.Ready].ID) - 1
		t := &s.tasks[i]
		s.idle[t.farm]--
		s.charged[t.owner] += schedule.Charge(t.expected, halfLife)
		heap.Push(&s.running, end{s.now + t.takes, i})
	}
	// From the back, so that places stay what they were.
	slices.SortFunc(as, func(a, b schedule.Assignment) int { return cmp.Compare(b.Ready, a.Ready) })
	for _, a := range as {
		lane := of[a.Lane]
		s.lanes[lane] = slices.Delete(s.lanes[lane], a.Ready, a.Ready+1)
	}
}

// finish ends a task and frees those that waited for it last.
func (s *simulation) finish(e end) {
	for o := range s.used {
		s.used[o] = schedule.Left(s.used[o], e.at-s.now, halfLife)
	}
	s.now = e.at
	t := &s.tasks[e.task]
	s.idle[t.farm]++
	s.charged[t.owner] -= schedule.Charge(t.expected, halfLife)
	s.used[t.owner] += schedule.Spent(t.takes, halfLife)
	for _, b := range t.behind {
		if s.tasks[b].needs--; s.tasks[b].needs == 0 {
			s.ready(b)
		}
	}
}
