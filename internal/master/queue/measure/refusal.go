package measure

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
)

const (
	// RefusalMemory is for how long a worker whose means failed a task, or that lost it,
	// doesn't get it again while another could take it.
	RefusalMemory = 15 * time.Minute
	// StopMemory is that for a worker which just stopped, as for a restart: that says
	// little of its means.
	StopMemory = 2 * time.Minute
)

// Refusal is a worker that gave a task back, or lost it.
type Refusal struct {
	Worker albs.WorkerID
	Left   time.Duration // until it is forgotten
}

// Refusals returns who gave the tasks back, or lost them, so short a while ago that
// it isn't forgotten now. What the master could not hand out is nobody's refusal.
func Refusals(ctx context.Context, q db.Q, ids []albs.TaskID, now db.Time) (map[albs.TaskID][]Refusal, error) {
	by := make(map[albs.TaskID][]Refusal)
	for chunk := range slices.Chunk(ids, 500) {
		rows, err := selectRefusals(ctx, q, chunk, db.At(now.Add(-RefusalMemory)))
		if err != nil {
			return nil, fmt.Errorf("read who gave tasks back: %w", err)
		}
		for _, r := range rows {
			memory := RefusalMemory
			if r.Outcome == albs.OutcomeStopped {
				memory = StopMemory
			}
			if r.EndedAt.Ahead(now) { // who knows when it ended
				continue
			}
			if left := r.EndedAt.Add(memory).Sub(now.Time); left > 0 && !slices.ContainsFunc(by[r.TaskID], func(o Refusal) bool { return o.Worker == r.WorkerID }) {
				by[r.TaskID] = append(by[r.TaskID], Refusal{r.WorkerID, left})
			}
		}
	}
	return by, nil
}

// Losses returns the attempts that the worker lost after since, by their end; some
// hundreds say as much as all.
func Losses(ctx context.Context, q db.Q, id albs.WorkerID, since db.Time) ([]schedule.Loss, error) {
	rows, err := selectLosses(ctx, q, id, since)
	losses := make([]schedule.Loss, len(rows))
	for i, r := range rows {
		losses[i] = schedule.Loss{Task: r.TaskID, Claimed: r.ClaimedAt.Time, Ended: r.EndedAt.Time}
	}
	return losses, err
}

// Place returns what goes before a queued task among those of its class, and how many
// these are, with the task. priority, chain and id are the task's.
func Place(ctx context.Context, q db.Q, class string, priority, chain int, id albs.TaskID) (schedule.Ahead, int, error) {
	r, err := selectAhead(ctx, q, class, priority, chain, id)
	if err != nil {
		return schedule.Ahead{}, 0, fmt.Errorf("read what goes before task %d: %w", id, err)
	}
	of, err := countClass(ctx, q, class)
	if err != nil {
		return schedule.Ahead{}, 0, fmt.Errorf("count what is like task %d: %w", id, err)
	}
	return schedule.Ahead{Count: r.Count, Known: r.Known, Expects: time.Duration(r.Expects) * time.Second}, of, nil
}
