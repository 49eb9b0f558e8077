package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/queue"
)

func (s *Server) routeQueue() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/queue/", "Count the tasks that wait or run"), s.queueStats)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/queue/{task_id}/", "Show a task of any kind, and why it waits"), s.queuedTask)
}

type statView struct {
	State albs.TaskState `json:"state"`
	Kind  albs.TaskKind  `json:"kind"`
	Arch  albs.Arch      `json:"arch,omitempty"`
	Count int            `json:"count"`
}

func (s *Server) queueStats(ctx context.Context, _ *struct{}) (*rest.Body[[]statView], error) {
	stats, err := s.Queue.Stats(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]statView, len(stats))
	for i, st := range stats {
		out[i] = statView(st)
	}
	return rest.Answer(out), nil
}

// whyView is why a task waits.
type whyView struct {
	Sentence   string        `json:"sentence" doc:"One line for people; binding and eta are parts of it"`
	Binding    string        `json:"binding" doc:"What keeps it waiting"`
	Position   int           `json:"position" doc:"Among the queued tasks of its lane, 1 for the first; 0 of a blocked one"`
	Of         int           `json:"of" doc:"Queued tasks of its lane"`
	Candidates []string      `json:"candidates" doc:"Workers that could take it when they are free"`
	ETA        string        `json:"eta,omitempty" doc:"When it is likely to begin and what it takes, or that there is no history"`
	StartsAt   *time.Time    `json:"starts_at" doc:"When it is likely to begin; null if nobody can say"`
	Takes      *int64        `json:"takes_seconds" doc:"The median of what past runs of its key took; null without history"`
	After      []albs.TaskID `json:"after" doc:"What a blocked task waits for, the first hundred"`
}

func viewWhy(w queue.Wait) *whyView {
	out := &whyView{
		Sentence: w.Sentence, Binding: w.Binding, Position: w.Position, Of: w.Of, Candidates: append([]string{}, w.Could...), ETA: w.ETA,
		StartsAt: rest.TimeOf(w.Starts.Time), After: append([]albs.TaskID{}, w.After...),
	}
	if w.Takes > 0 {
		takes := int64(w.Takes / time.Second)
		out.Takes = &takes
	}
	return out
}

// why is why a task waits; nil if it doesn't, be it that it just began.
func (s *Server) why(ctx context.Context, id albs.TaskID) (*whyView, error) {
	ws, err := s.Queue.Whys(ctx, []albs.TaskID{id})
	if err != nil {
		return nil, err
	}
	w, ok := ws[id]
	if !ok {
		return nil, nil
	}
	return viewWhy(w), nil
}

// queuedView is a task as the queue knows it, of whatever kind.
type queuedView struct {
	ID        albs.TaskID    `json:"id"`
	Kind      albs.TaskKind  `json:"kind"`
	State     albs.TaskState `json:"state"`
	Since     *time.Time     `json:"since" doc:"When the state became what it is"`
	Reason    string         `json:"reason"`
	Cause     albs.TaskID    `json:"cause,omitempty" doc:"Of a task that waits in vain: the task to retry"`
	BuildID   albs.BuildID   `json:"build_id,omitempty"`
	Lane      string         `json:"lane" doc:"Whose work it is"`
	Priority  int            `json:"priority" doc:"Within the lane, higher first"`
	Key       string         `json:"key,omitempty" doc:"What past runs of the like are known by, as package/platform/arch"`
	Needs     []string       `json:"needs" doc:"Labels that its worker has to offer"`
	Room      roomView       `json:"room" doc:"What its worker's machine must have to spare"`
	Attempts  int            `json:"attempts"`
	Worker    string         `json:"worker,omitempty" doc:"Of the newest attempt"`
	CreatedAt time.Time      `json:"created_at"`
	StartedAt *time.Time     `json:"started_at"`
	Why       *whyView       `json:"why" doc:"Why it waits; null if it doesn't"`
}

type queuedInput struct {
	Task albs.TaskID `path:"task_id" minimum:"1"`
}

func (s *Server) queuedTask(ctx context.Context, in *queuedInput) (*rest.Body[queuedView], error) {
	t, err := s.Queue.Task(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	out := queuedView{
		ID: t.ID, Kind: t.Kind, State: t.State, Since: rest.TimeOf(t.Changed.Time), Reason: t.Reason, Cause: t.Cause, BuildID: buildOf(t),
		Lane: t.Lane, Priority: t.Priority, Key: t.Key, Needs: append([]string{}, t.Needs...), Room: roomView(t.Room), Attempts: t.Attempts, Worker: t.Worker,
		CreatedAt: t.Created.Time, StartedAt: rest.TimeOf(t.Started.Time),
	}
	if out.Why, err = s.why(ctx, t.ID); err != nil {
		return nil, err
	}
	return rest.Answer(out), nil
}

// buildOf returns the build that a task is of, as its topic tells; 0 if it is no
// build's.
func buildOf(t queue.Task) albs.BuildID {
	id, ok := strings.CutPrefix(t.Topic, "build:")
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return 0
	}
	return albs.BuildID(n)
}
