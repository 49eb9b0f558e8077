package historytest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// attempts: I1, one accepted completion per attempt, fences that only grow.
func (c *checker) attempts(ctx context.Context) error {
	var rows []struct {
		Task   int64
		Fence  int64
		Number int
		Ended  string
		State  albs.TaskState
		Newest int64
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT a.task_id AS task, a.fence, a.number, a.ended, t.state, t.fence AS newest
		FROM attempt a JOIN task t ON t.id = a.task_id ORDER BY a.task_id, a.number, a.fence`)
	if err != nil {
		return fmt.Errorf("read attempts: %w", err)
	}
	done, fence, number := map[int64]int{}, map[int64]int64{}, map[int64]int{}
	for _, r := range rows {
		if r.Fence <= fence[r.Task] || r.Number <= number[r.Task] {
			c.broken("I1", "task %d: attempt %d has fence %d, after attempt %d with %d", r.Task, r.Number, r.Fence, number[r.Task], fence[r.Task])
		}
		fence[r.Task], number[r.Task] = r.Fence, r.Number
		if r.Fence > r.Newest {
			c.broken("I1", "task %d: attempt %d has fence %d, the task's newest is %d", r.Task, r.Number, r.Fence, r.Newest)
		}
		if r.Ended == "ok" {
			done[r.Task]++
			if r.State != albs.TaskSucceeded {
				c.broken("I1", "task %d is %s and attempt %d was accepted", r.Task, r.State, r.Number)
			}
		}
	}
	for task, n := range done {
		if n > 1 {
			c.broken("I1", "task %d has %d accepted completions", task, n)
		}
	}
	var bare []int64
	err = c.DB.SelectContext(ctx, &bare, `SELECT id FROM task WHERE state = 'succeeded'
		AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.task_id = task.id AND a.ended = 'ok')`)
	if err != nil {
		return fmt.Errorf("read succeeded tasks: %w", err)
	}
	for _, id := range bare {
		c.broken("I1", "task %d succeeded and no attempt was accepted", id)
	}
	return nil
}

// tasks: I2, what isn't final is queued, leased with an open attempt, or blocked.
func (c *checker) tasks(ctx context.Context) error {
	var rows []struct {
		ID    int64
		State albs.TaskState
		Open  int
		Waits int
		Until db.Time
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT id, state, lease_until AS until,
		(SELECT count(*) FROM attempt a WHERE a.task_id = task.id AND a.ended_at IS NULL) AS open,
		(SELECT count(*) FROM task_after f JOIN task b ON b.id = f.after_id
			WHERE f.task_id = task.id AND b.state NOT IN ('succeeded', 'excluded')) AS waits
		FROM task`)
	if err != nil {
		return fmt.Errorf("read tasks: %w", err)
	}
	for _, r := range rows {
		switch leased := r.State == albs.TaskLeased || r.State == albs.TaskStopping; {
		case leased && (r.Open != 1 || r.Until.IsZero()):
			c.broken("I2", "task %d is %s with %d open attempts, lease until %v", r.ID, r.State, r.Open, r.Until)
		case !leased && r.Open != 0:
			c.broken("I2", "task %d is %s with %d open attempts", r.ID, r.State, r.Open)
		case r.State == albs.TaskBlocked && r.Waits == 0:
			c.broken("I2", "task %d is blocked and waits for nothing", r.ID)
		case (r.State == albs.TaskQueued || leased || r.State == albs.TaskSucceeded) && r.Waits != 0:
			c.broken("I2", "task %d is %s and %d tasks before it are not done", r.ID, r.State, r.Waits)
		}
	}
	return nil
}

// edges are the moves of a task that its events may tell of. It repeats the queue's
// table on purpose. A lease that had expired and is revived by its holder's last
// word leads from queued to whatever leased leads to, and so does a claim of which no
// worker had heard, for it is told of when it is handed over.
var edges = map[albs.TaskState][]albs.TaskState{
	"":                 {albs.TaskBlocked, albs.TaskQueued},
	albs.TaskBlocked:   {albs.TaskQueued, albs.TaskBlocked, albs.TaskExcluded, albs.TaskCancelled},
	albs.TaskQueued:    {albs.TaskLeased, albs.TaskQueued, albs.TaskStopping, albs.TaskCancelled, albs.TaskSucceeded, albs.TaskFailed, albs.TaskExcluded},
	albs.TaskLeased:    {albs.TaskQueued, albs.TaskLeased, albs.TaskSucceeded, albs.TaskFailed, albs.TaskExcluded, albs.TaskStopping, albs.TaskCancelled},
	albs.TaskStopping:  {albs.TaskCancelled, albs.TaskStopping},
	albs.TaskFailed:    {albs.TaskBlocked, albs.TaskQueued},
	albs.TaskExcluded:  {albs.TaskBlocked, albs.TaskQueued},
	albs.TaskCancelled: {albs.TaskBlocked, albs.TaskQueued},
	albs.TaskSucceeded: {},
}

// moves: I2, a task moves along declared edges only, and stands where its events
// led. In the order of their ids: who writes of a task holds its row, so the next
// to write gets the higher id, in whichever order the transactions began.
func (c *checker) moves(ctx context.Context) error {
	var rows []struct {
		ID   int64
		Data string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT id, data FROM event WHERE kind LIKE 'task.%' ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	at := map[albs.TaskID]albs.TaskState{}
	for _, r := range rows {
		var e struct {
			Task  albs.TaskID    `json:"task"`
			State albs.TaskState `json:"state"`
		}
		if err := json.Unmarshal([]byte(r.Data), &e); err != nil || e.Task == 0 || e.State == "" {
			continue // another module's word on a task
		}
		if !slices.Contains(edges[at[e.Task]], e.State) {
			c.broken("I2", "task %d went from %q to %q (event %d)", e.Task, at[e.Task], e.State, r.ID)
		}
		at[e.Task] = e.State
	}
	var tasks []struct {
		ID     albs.TaskID
		State  albs.TaskState
		Handed bool
	}
	err = c.DB.SelectContext(ctx, &tasks, `SELECT id, state,
		EXISTS (SELECT 1 FROM attempt a WHERE a.task_id = task.id AND a.fence = task.fence AND a.spec <> '') AS handed FROM task ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read tasks: %w", err)
	}
	for _, t := range tasks {
		last := at[t.ID]
		silent := t.State == albs.TaskBlocked && last == "" || t.State == albs.TaskLeased && last == albs.TaskQueued && !t.Handed
		if last != t.State && !silent {
			c.broken("I2", "task %d is %s and its events led to %q", t.ID, t.State, last)
		}
	}
	return nil
}
