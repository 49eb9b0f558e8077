package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/measure"
	"albs/internal/master/queue/schedule"
)

// Wait is why a task waits, as the dispatcher sees it.
type Wait struct {
	// Sentence is one line for people.
	Sentence string
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
	t, err := getTask(ctx, q.db, id)
	if err != nil {
		return Wait{}, err
	}
	switch t.State {
	case albs.TaskBlocked:
		return q.whyBlocked(ctx, t)
	case albs.TaskQueued:
		return q.whyQueued(ctx, t)
	}
	return Wait{}, albs.Errorf(albs.Conflict, "task %d is %s: it waits for nothing", id, t.State)
}

func (q *Queue) whyBlocked(ctx context.Context, t taskRow) (Wait, error) {
	w := Wait{Takes: measure.Seconds(t.Expected)}
	waits, err := unsatisfied(ctx, q.db, t.ID)
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
	return w, nil
}

func (q *Queue) whyQueued(ctx context.Context, t taskRow) (Wait, error) {
	now := q.clock.now()
	question, err := q.question(ctx, t, now)
	if err != nil {
		return Wait{}, fmt.Errorf("see why task %d waits: %w", t.ID, err)
	}
	a := schedule.Explain(question)
	w := Wait{Sentence: oneLine(a.Sentence), Position: question.Position, Of: question.Of, Could: a.Could, Takes: a.Takes}
	if a.Starts >= 0 {
		w.Starts = db.At(now.Add(a.Starts))
	}
	return w, nil
}

// question is what the dispatcher knows of t and of those that could take it.
func (q *Queue) question(ctx context.Context, t taskRow, now db.Time) (schedule.Question, error) {
	l := schedule.LaneOf(t.Class)
	r := readyRow{ID: t.ID, Priority: t.Priority, Expected: t.Expected, Chain: t.Chain, Key: t.Key}.ready()
	v := schedule.Question{Reason: t.Reason, Again: make(map[albs.WorkerID]float64), Waits: make(map[albs.WorkerID]bool)}
	if t.NotBeforeAt.After(now.Time) {
		v.Pause = t.NotBeforeAt.Sub(now.Time)
	}
	refusals, err := measure.Refusals(ctx, q.db, []albs.TaskID{t.ID}, now)
	if err != nil {
		return v, err
	}
	for _, f := range refusals[t.ID] {
		r.Refused = append(r.Refused, f.Worker)
		v.Again[f.Worker] = f.Left.Seconds()
	}
	l.Ready = []schedule.Ready{r}
	v.Lane = l
	if v.Ahead, v.Of, err = measure.Place(ctx, q.db, t.Class, t.Priority, t.Chain, t.ID); err != nil {
		return v, err
	}
	v.Position = v.Ahead.Count + 1
	held, err := readRunning(ctx, q.db)
	if err != nil {
		return v, err
	}
	q.fleet.Forget()
	if err := q.fleet.Read(ctx); err != nil {
		return v, err
	}
	v.Workers = q.alive(held, now)
	for _, w := range v.Workers {
		v.Waits[w.ID] = w.Runs == 0 // here, or at another master
	}
	q.mu.Lock()
	for _, w := range q.waiting {
		v.Waits[w.worker.ID] = true
	}
	q.mu.Unlock()
	using, err := selectTasks(ctx, q.db, `state IN ('leased', 'stopping')`)
	if err != nil {
		return v, err
	}
	for _, u := range using {
		v.Running = append(v.Running, schedule.Running{Worker: u.WorkerID, Since: now.Sub(u.ChangedAt.Time), Expected: measure.Seconds(u.Expected)})
	}
	return v, q.rivals(ctx, &v, held)
}

// rivals counts the owners whose queued tasks go to the same workers.
func (q *Queue) rivals(ctx context.Context, v *schedule.Question, held holdings) error {
	classes, err := readyClasses(ctx, q.db)
	if err != nil {
		return err
	}
	used := q.used(held)
	seen := make(map[string]bool)
	for _, c := range classes {
		l := schedule.LaneOf(c)
		if seen[l.Owner] {
			continue
		}
		shares := slices.ContainsFunc(v.Workers, func(w schedule.Worker) bool {
			mine, theirs := w.Bar(&v.Lane, &v.Lane.Ready[0]), w.Bar(&l, &schedule.Ready{})
			return (mine == schedule.None || mine == schedule.Full) && (theirs == schedule.None || theirs == schedule.Full)
		})
		if !shares {
			continue
		}
		seen[l.Owner] = true
		v.Owners++
		if used[l.Owner] < used[v.Lane.Owner] {
			v.First++
		}
	}
	return nil
}
