package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
	"albs/internal/master/queue/store"
)

// Wait is why a task waits, as the dispatcher sees it.
type Wait struct {
	// Sentence is one line for people; Binding and ETA are parts of it.
	Sentence string
	// Binding is what keeps the task waiting.
	Binding string
	// ETA is when it is likely to begin, or that there is no history; "" where nobody
	// may take it, and of a blocked one.
	ETA string
	// Position is its place among the Of queued tasks of its lane, 1 for the first; 0
	// of a blocked one.
	Position, Of int
	// Could names the workers that could take it when they are free.
	Could []string
	// Starts is when it is likely to begin; zero if nobody can say.
	Starts db.Time
	// Takes is the median of what past runs of its key took; 0 without history.
	Takes time.Duration
	// After is what a blocked task waits for, the first hundred.
	After []albs.TaskID
}

const maxAfterTold = 100

// Why says why a queued or blocked task waits. Conflict in any other state, NotFound if
// there is no such task.
func (q *Queue) Why(ctx context.Context, id albs.TaskID) (Wait, error) {
	t, err := store.GetTask(ctx, q.db, id)
	if err != nil {
		return Wait{}, err
	}
	ws, err := q.whys(ctx, []store.Task{t})
	if err != nil {
		return Wait{}, err
	}
	w, ok := ws[id]
	if !ok {
		return Wait{}, albs.Errorf(albs.Conflict, "task %d is %s: it waits for nothing", id, t.State)
	}
	return w, nil
}

// MaxWhys is how many tasks Whys tells of at once.
const MaxWhys = 100

// Whys is Why for some tasks, at most MaxWhys, seen at one moment. What is there no
// more, or doesn't wait, has no entry.
func (q *Queue) Whys(ctx context.Context, ids []albs.TaskID) (map[albs.TaskID]Wait, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > MaxWhys {
		return nil, albs.Errorf(albs.TooLarge, "why %d tasks wait is too much to ask at once, at most %d go", len(ids), MaxWhys)
	}
	ts, err := store.TasksOf(ctx, q.db, ids)
	if err != nil {
		return nil, err
	}
	return q.whys(ctx, ts)
}

func (q *Queue) whys(ctx context.Context, ts []store.Task) (map[albs.TaskID]Wait, error) {
	out := make(map[albs.TaskID]Wait, len(ts))
	var queued []store.Task
	for _, t := range ts {
		switch t.State {
		case albs.TaskBlocked:
			w, err := q.whyBlocked(ctx, t)
			if err != nil {
				return nil, err
			}
			out[t.ID] = w
		case albs.TaskQueued:
			queued = append(queued, t)
		}
	}
	if len(queued) == 0 {
		return out, nil
	}
	s, err := q.survey(ctx, queued)
	if err != nil {
		return nil, fmt.Errorf("see why tasks wait: %w", err)
	}
	for _, t := range queued {
		if _, ok := s.places[t.ID]; ok { // or it was claimed a moment ago
			out[t.ID] = s.why(t)
		}
	}
	return out, nil
}

func (q *Queue) whyBlocked(ctx context.Context, t store.Task) (Wait, error) {
	w := Wait{Takes: measure.Seconds(t.Expected)}
	waits, err := store.Unsatisfied(ctx, q.db, t.ID)
	if err != nil {
		return w, fmt.Errorf("read what task %d waits for: %w", t.ID, err)
	}
	for _, b := range waits[:min(len(waits), maxAfterTold)] {
		w.After = append(w.After, b.ID)
	}
	switch {
	case t.CauseID != 0:
		w.Sentence = t.Reason
	case len(waits) == 0:
		w.Sentence = cmp.Or(t.Reason, "blocked: what it needs isn't known yet")
	default:
		now := q.clock.now()
		blockers := make([]schedule.Blocker, len(waits))
		for i, b := range waits {
			blockers[i] = schedule.Blocker{
				Task: b.ID, Kind: b.Kind, Key: b.Key, State: b.State, Worker: b.Worker,
				Since: now.Sub(b.ChangedAt.Time), Expected: measure.Seconds(b.Expected),
			}
		}
		w.Sentence = schedule.Blocked(blockers)
	}
	w.Binding = w.Sentence
	return w, nil
}

func (s *scene) why(t store.Task) Wait {
	question := s.question(t)
	a := schedule.Explain(question)
	w := Wait{Sentence: life.OneLine(a.Sentence), Binding: life.OneLine(a.Binding), ETA: a.ETA, Position: question.Position, Of: question.Of, Could: a.Could, Takes: a.Takes}
	if a.Starts >= 0 {
		w.Starts = db.At(s.now.Add(a.Starts))
	}
	return w
}

// scene is what the dispatcher knows at a moment of all that waits and works.
type scene struct {
	now      db.Time
	workers  []schedule.Worker
	waits    map[albs.WorkerID]bool
	running  []schedule.Running
	lanes    []schedule.Lane // of queued tasks, without these
	used     map[string]float64
	places   map[albs.TaskID]place // of the tasks that are asked for
	refusals map[albs.TaskID][]measure.Refusal
}

// place is where a queued task stands in its class.
type place struct {
	ahead schedule.Ahead
	of    int // tasks of the class
}

// survey looks at all that Explain asks, for the tasks ts.
func (q *Queue) survey(ctx context.Context, ts []store.Task) (*scene, error) {
	s := &scene{now: q.clock.now(), waits: make(map[albs.WorkerID]bool), places: make(map[albs.TaskID]place)}
	byClass := make(map[string][]store.Task)
	ids := make([]albs.TaskID, len(ts))
	for i, t := range ts {
		byClass[t.Class], ids[i] = append(byClass[t.Class], t), t.ID
	}
	var err error
	if s.refusals, err = measure.Refusals(ctx, q.db, ids, s.now); err != nil {
		return nil, err
	}
	for class, ts := range byClass {
		if err := s.place(ctx, q.db, class, ts); err != nil {
			return nil, err
		}
	}
	held, err := readRunning(ctx, q.db)
	if err != nil {
		return nil, err
	}
	q.fleet.Forget()
	if err := q.fleet.Read(ctx); err != nil {
		return nil, err
	}
	s.workers, s.used = q.alive(held, s.now), q.used(held)
	for _, w := range s.workers {
		s.waits[w.ID] = w.Runs == 0 // here, or at another master
	}
	q.mu.Lock()
	for _, w := range q.waiting {
		s.waits[w.worker.ID] = true
	}
	q.mu.Unlock()
	using, err := store.HeldTasks(ctx, q.db)
	if err != nil {
		return nil, err
	}
	for _, u := range using {
		s.running = append(s.running, schedule.Running{Worker: u.WorkerID, Since: s.now.Sub(u.ChangedAt.Time), Expected: measure.Seconds(u.Expected)})
	}
	classes, err := store.ReadyClasses(ctx, q.db)
	if err != nil {
		return nil, err
	}
	for _, c := range classes {
		s.lanes = append(s.lanes, schedule.LaneOf(c))
	}
	return s, nil
}

// place finds where queued tasks of a class stand. The database counts fast for one and
// would for each begin anew.
func (s *scene) place(ctx context.Context, d db.Q, class string, ts []store.Task) error {
	if len(ts) == 1 {
		ahead, of, err := measure.Place(ctx, d, class, ts[0].Priority, ts[0].Chain, ts[0].ID)
		s.places[ts[0].ID] = place{ahead, of}
		return err
	}
	line, err := store.SelectLine(ctx, d, class)
	if err != nil {
		return err
	}
	slices.SortFunc(line, func(a, b store.Queued) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(b.Chain, a.Chain), cmp.Compare(a.ID, b.ID))
	})
	asked := make(map[albs.TaskID]bool, len(ts))
	for _, t := range ts {
		asked[t.ID] = true
	}
	p := place{of: len(line)}
	for _, r := range line {
		if asked[r.ID] {
			s.places[r.ID] = p
		}
		p.ahead.Count++
		if r.Expected != measure.Unknown {
			p.ahead.Known, p.ahead.Expects = p.ahead.Known+1, p.ahead.Expects+measure.Seconds(r.Expected)
		}
	}
	return nil
}

// question is what the dispatcher knows of t and of those that could take it.
func (s *scene) question(t store.Task) schedule.Question {
	l := schedule.LaneOf(t.Class)
	r := store.Queued{ID: t.ID, Priority: t.Priority, Expected: t.Expected, Chain: t.Chain, Key: t.Key}.Ready()
	v := schedule.Question{Reason: t.Reason, Again: make(map[albs.WorkerID]float64), Workers: s.workers, Waits: s.waits, Running: s.running}
	if t.NotBeforeAt.After(s.now.Time) {
		v.Pause = t.NotBeforeAt.Sub(s.now.Time)
	}
	for _, f := range s.refusals[t.ID] {
		r.Refused = append(r.Refused, f.Worker)
		v.Again[f.Worker] = f.Left.Seconds()
	}
	l.Ready = []schedule.Ready{r}
	v.Lane = l
	p := s.places[t.ID]
	v.Position, v.Of, v.Ahead = p.ahead.Count+1, p.of, p.ahead
	s.rivals(&v)
	return v
}

// rivals counts the owners whose queued tasks go to the same workers.
func (s *scene) rivals(v *schedule.Question) {
	seen := make(map[string]bool)
	for _, l := range s.lanes {
		if seen[l.Owner] {
			continue
		}
		shares := slices.ContainsFunc(s.workers, func(w schedule.Worker) bool {
			mine, theirs := w.Bar(&v.Lane, &v.Lane.Ready[0]), w.Bar(&l, &schedule.Ready{})
			return (mine == schedule.None || mine == schedule.Full) && (theirs == schedule.None || theirs == schedule.Full)
		})
		if !shares {
			continue
		}
		seen[l.Owner] = true
		v.Owners++
		if s.used[l.Owner] < s.used[v.Lane.Owner] {
			v.First++
		}
	}
}
