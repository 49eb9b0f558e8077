package client

import (
	"context"
	"time"

	"albs/internal/albs"
)

// Stat is how many tasks of a sort wait or run.
type Stat struct {
	State albs.TaskState `json:"state"`
	Kind  albs.TaskKind  `json:"kind"`
	Arch  albs.Arch      `json:"arch"` // "" where any does
	Count int            `json:"count"`
}

// Queue counts the tasks that wait or run.
func (c *Client) Queue(ctx context.Context) (Doc[[]Stat], error) {
	return get[[]Stat](ctx, c, "/queue/")
}

// QueuedTask is a task of any kind as the queue knows it.
type QueuedTask struct {
	ID     albs.TaskID    `json:"id"`
	Kind   albs.TaskKind  `json:"kind"`
	Key    string         `json:"key"` // what past runs of the like are known by
	State  albs.TaskState `json:"state"`
	Since  time.Time      `json:"since"`
	Reason string         `json:"reason"`
	Build  albs.BuildID   `json:"build_id"` // 0 if it is no build's
	Worker string         `json:"worker"`   // of the newest attempt
	Why    *Why           `json:"why"`      // nil if it doesn't wait
}

// Why is why a task waits.
type Why struct {
	Sentence   string    `json:"sentence"`
	Candidates []string  `json:"candidates"` // who could take it
	Starts     time.Time `json:"starts_at"`  // zero if nobody can say
}

// QueuedTask shows a task of any kind, and why it waits.
func (c *Client) QueuedTask(ctx context.Context, id albs.TaskID) (Doc[QueuedTask], error) {
	return get[QueuedTask](ctx, c, "/queue/"+id.String()+"/")
}
