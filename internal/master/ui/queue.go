package ui

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/queue"
)

// maxQueueRows is how many tasks of each sort the page of the queue shows.
const maxQueueRows = 100

type queueView struct {
	Stats   []queue.Stat
	Total   int
	Running []queueRow
	Waiting []queueRow
	Hidden  int // waiting tasks that aren't shown
	Workers []workerRow
}

type queueRow struct {
	queue.Task
	Build albs.BuildID // 0 if it is no build's
	Wait  string
}

type workerRow struct {
	auth.Worker
	Tasks []queueRow
}

// State is how the worker stands, for lookOf.
func (w workerRow) State() string {
	switch {
	case !w.DisabledAt.IsZero():
		return "closed"
	case len(w.Tasks) > 0:
		return "busy"
	}
	return "idle"
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

func (u *UI) queuePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	p, err := u.follow(ctx, page{Title: "Queue", Section: "queue"}, followQueue)
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
	workers, err := u.Auth.Workers(ctx)
	if err != nil {
		return err
	}
	running, err := u.Queue.List(ctx, queue.Filter{States: []albs.TaskState{albs.TaskLeased, albs.TaskStopping}, Limit: 1000})
	if err != nil {
		return err
	}
	waiting, err := u.Queue.List(ctx, queue.Filter{States: []albs.TaskState{albs.TaskQueued}, Limit: maxQueueRows})
	if err != nil {
		return err
	}
	busy := make(map[string][]queueRow)
	for _, t := range running {
		row := rowOfTask(t)
		busy[t.Worker] = append(busy[t.Worker], row)
		if len(v.Running) < maxQueueRows {
			v.Running = append(v.Running, row)
		}
	}
	for _, t := range waiting {
		row := rowOfTask(t)
		row.Wait = waitReason(t, workers)
		v.Waiting = append(v.Waiting, row)
	}
	v.Hidden = max(queued-len(v.Waiting), 0)
	for _, wk := range workers {
		v.Workers = append(v.Workers, workerRow{wk, busy[wk.Name]})
	}
	slices.SortStableFunc(v.Workers, func(a, b workerRow) int { // closed ones last
		return a.DisabledAt.Compare(b.DisabledAt.Time)
	})
	p.Body = v
	return u.render(w, r, http.StatusOK, "queue", p)
}
