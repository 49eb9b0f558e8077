package farm

import (
	"net/http"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/face/roster"
	"albs/internal/master/queue"
	"albs/internal/master/ui/page"
)

// maxQueueRows is how many tasks of each sort the page of the queue shows.
const maxQueueRows = 100

type queueView struct {
	Stats   []queue.Stat
	Total   int
	Running []queueRow
	Waiting []queueRow
	Hidden  int // waiting tasks that aren't shown
	Workers []stateCount
}

type queueRow struct {
	queue.Task
	Build albs.BuildID // 0 if it is no build's
	Wait  string
}

func rowOfTask(t queue.Task) queueRow {
	r := queueRow{Task: t}
	if id, ok := strings.CutPrefix(t.Topic, "build:"); ok {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			r.Build = albs.BuildID(n)
		}
	}
	return r
}

func (u *Pages) queuePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p, err := u.Follow(ctx, page.Page{Title: "Queue", Section: "queue"}, FollowQueue)
	if err != nil {
		return err
	}
	var v queueView
	if v.Stats, err = u.Queue.Stats(ctx); err != nil {
		return err
	}
	queued := 0
	for _, s := range v.Stats {
		v.Total += s.Count
		if s.State == albs.TaskQueued {
			queued += s.Count
		}
	}
	workers, err := roster.List(ctx, u.Auth, u.Queue, roster.Filter{})
	if err != nil {
		return err
	}
	v.Workers = countsOf(workers)
	running, err := u.Queue.List(ctx, queue.Filter{States: []albs.TaskState{albs.TaskLeased, albs.TaskStopping}, Limit: maxQueueRows})
	if err != nil {
		return err
	}
	waiting, err := u.Queue.List(ctx, queue.Filter{States: []albs.TaskState{albs.TaskQueued}, Limit: maxQueueRows})
	if err != nil {
		return err
	}
	for _, t := range running {
		v.Running = append(v.Running, rowOfTask(t))
	}
	ids := make([]albs.TaskID, len(waiting))
	for i, t := range waiting {
		ids[i] = t.ID
	}
	whys, err := u.Queue.Whys(ctx, ids)
	if err != nil {
		return err
	}
	for _, t := range waiting {
		row := rowOfTask(t)
		row.Wait = whys[t.ID].Sentence // none of one that was claimed meanwhile
		v.Waiting = append(v.Waiting, row)
	}
	v.Hidden = max(queued-len(v.Waiting), 0)
	p.Body = v
	return u.Render(w, r, http.StatusOK, "farm/queue", p)
}
