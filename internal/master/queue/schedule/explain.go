package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// Question is a queued task, with what Assign would know of it and of those before it.
type Question struct {
	Lane     Lane  // Ready is the task alone
	Position int   // in its lane, 1 for the first
	Of       int   // tasks that are queued in its lane
	Ahead    Ahead // the tasks before it in its lane
	Owners   int   // owners that have tasks queued for a worker that could take this one, its own among them
	First    int   // of these, those that have used less of late and so go first
	Workers  []Worker
	Waits    map[albs.WorkerID]bool    // who waits for work now
	Running  []Running                 // what the workers hold
	Pause    time.Duration             // until it may be given out again; 0 if it may
	Reason   string                    // what was said when it was given back; "" if nothing
	Again    map[albs.WorkerID]float64 // seconds until one that gave it back may have it again
}

// Ahead is the tasks before one in its lane.
type Ahead struct {
	Count   int
	Known   int           // those of them with history
	Expects time.Duration // what these take together
}

// Running is a task that a worker holds.
type Running struct {
	Worker   albs.WorkerID
	Since    time.Duration // how long it has run
	Expected time.Duration // the median of past runs; 0 without history
}

// Answer is why a task waits.
type Answer struct {
	// Sentence is one line for people: its place and what follows.
	Sentence string
	// Binding is what keeps it waiting: that nobody may take it and why, or that all
	// who may are busy.
	Binding string
	// ETA is when it is likely to begin and what it takes, or what of that has no
	// history; "" if nobody may take it.
	ETA string
	// Could names the workers that could take the task when they are free.
	Could []string
	// Starts is in how long it is likely to begin; negative if nobody can say.
	Starts time.Duration
	// Takes is the median of past runs; 0 without history.
	Takes time.Duration
}

// Explain says why a queued task waits: its place, what binds it, who could take it and
// when that is likely to be. It asks of each worker what Assign asks.
func Explain(q Question) Answer {
	r := &q.Lane.Ready[0]
	a := Answer{Starts: -1, Takes: r.Expected}
	barred := make(map[Bar][]*Worker)
	var able []*Worker
	for i := range q.Workers {
		w := &q.Workers[i]
		b := w.Bar(&q.Lane, r)
		if (b == None || b == Full) && slices.Contains(r.Refused, w.ID) && Elsewhere(&q.Lane, r, q.Workers) {
			b = Refused
		}
		barred[b] = append(barred[b], w)
		if b == None || b == Full {
			able = append(able, w)
			a.Could = append(a.Could, w.Name)
		}
	}
	place := fmt.Sprintf("%s of %d in its lane (%s)", ordinal(q.Position), q.Of, q.Lane.Owner)
	if len(able) == 0 {
		a.Binding = nobody(q, barred)
		a.Sentence = place + ": " + a.Binding
		return a
	}
	a.Starts = starts(q, able)
	a.Binding, a.ETA = binding(q, barred, able), eta(a, r.Key)
	a.Sentence = strings.Join([]string{place + ": " + a.Binding, could(able), a.ETA}, "; ")
	return a
}

// binding says what keeps a task waiting that somebody could take.
func binding(q Question, barred map[Bar][]*Worker, able []*Worker) string {
	var waits []string
	for _, w := range barred[None] {
		if q.Waits[w.ID] {
			waits = append(waits, w.Name)
		}
	}
	said := ""
	if q.Reason != "" {
		said = " (" + q.Reason + ")"
	}
	switch {
	case q.Pause > 0:
		return fmt.Sprintf("paused for %s%s", Span(q.Pause), said)
	case len(waits) > 0:
		return "next: " + list(waits, "waits", "wait") + " for work" + said
	}
	full := 0
	for _, w := range able {
		if w.Bar(&q.Lane, &q.Lane.Ready[0]) == Full {
			full++
		}
	}
	s := "the one worker that could take it is busy"
	if n := len(able); n > 1 {
		s = fmt.Sprintf("all %d workers that could take it are busy", n)
	}
	if full == len(able) {
		s += ", without " + roomOf(q.Lane.Room) + " to spare"
	}
	switch {
	case q.First == 1:
		s += ", and 1 owner that used less of late goes first"
	case q.First > 1:
		s += fmt.Sprintf(", and %d owners that used less of late go first", q.First)
	}
	if rs := barred[Refused]; len(rs) > 0 {
		s += fmt.Sprintf(", and %s gave it back and gets it again in %s", rs[0].Name, Span(time.Duration(q.Again[rs[0].ID]*float64(time.Second))))
	}
	return s + said
}

// nobody says why no worker could take the task.
func nobody(q Question, barred map[Bar][]*Worker) string {
	labelled := len(q.Workers) - len(barred[Label])
	if labelled == 0 {
		return lacking(q)
	}
	var parts []string
	tell := func(ws []*Worker, what func(*Worker) string) {
		for i, w := range ws {
			if i == 3 {
				parts = append(parts, fmt.Sprintf("so it is with %d more", len(ws)-i))
				break
			}
			parts = append(parts, w.Name+" "+what(w))
		}
	}
	tell(barred[Quarantined], func(w *Worker) string { return "is quarantined (" + w.Quarantined + ")" })
	tell(barred[Drained], func(w *Worker) string { return "is drained (" + w.Drained + ")" })
	tell(barred[Paused], func(w *Worker) string { return "takes nothing now (" + w.Paused + ")" })
	tell(barred[Small], func(w *Worker) string {
		return "has " + roomOf(w.Room) + " where " + roomOf(q.Lane.Room) + " is needed"
	})
	tell(barred[Excluded], func(w *Worker) string {
		return "excludes it by the pattern " + w.Excludes(q.Lane.Ready[0].Key)
	})
	return fmt.Sprintf("none of the %s with %s may take it: %s", counted(labelled, "worker"), strings.Join(q.Lane.Needs, " and "), strings.Join(parts, ", "))
}

// lacking names what no worker offers.
func lacking(q Question) string {
	if len(q.Workers) == 0 {
		return "no worker has asked for work of late"
	}
	var none []string
	for _, n := range q.Lane.Needs {
		offered := slices.ContainsFunc(q.Workers, func(w Worker) bool { return has(w.Labels, []string{n}) && w.meant([]string{n}) })
		if !offered {
			none = append(none, n)
		}
	}
	if len(none) > 0 {
		return "no worker offers " + strings.Join(none, " or ")
	}
	return "no worker offers all of " + strings.Join(q.Lane.Needs, " and ")
}

// starts estimates when the task begins: when a worker that could take it is free, and
// those before it, at the pace of these workers, which its owner shares with others.
func starts(q Question, able []*Worker) time.Duration {
	free, slots, known := time.Duration(-1), 0, true
	for _, w := range able {
		slots += max(w.Runs, 1)
		if q.Waits[w.ID] {
			free = 0
		}
	}
	for _, r := range q.Running {
		if !slices.ContainsFunc(able, func(w *Worker) bool { return w.ID == r.Worker }) {
			continue
		}
		if r.Expected == 0 {
			known = false
		} else if left := max(r.Expected-r.Since, 0); free < 0 || left < free {
			free = left
		}
	}
	if free < 0 && !known || q.Ahead.Count > 0 && q.Ahead.Known == 0 {
		return -1
	}
	wait := max(free, 0, q.Pause)
	if q.Ahead.Known > 0 {
		work := q.Ahead.Expects * time.Duration(q.Ahead.Count) / time.Duration(q.Ahead.Known)
		wait += work * time.Duration(max(q.Owners, 1)) / time.Duration(slots)
	}
	return wait
}

func eta(a Answer, key string) string {
	switch {
	case a.Takes == 0 && key == "":
		return "no history, so nobody can say when"
	case a.Takes == 0:
		return "no history of " + key + ", so nobody can say when it will be done"
	case a.Starts < 0:
		return fmt.Sprintf("it takes about %s, and what runs before it has no history", Span(a.Takes))
	}
	return fmt.Sprintf("it is likely to begin in %s and to take %s", Span(a.Starts), Span(a.Takes))
}

func could(able []*Worker) string {
	var names []string
	for _, w := range able {
		names = append(names, w.Name)
	}
	return list(names, "could take it", "could take it")
}

// list names up to five.
func list(names []string, one, many string) string {
	verb := many
	if len(names) == 1 {
		verb = one
	}
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more %s", strings.Join(names[:5], ", "), len(names)-5, verb)
	}
	return strings.Join(names, ", ") + " " + verb
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		suffix = map[int]string{1: "st", 2: "nd", 3: "rd"}[n%10]
		if suffix == "" {
			suffix = "th"
		}
	}
	return fmt.Sprint(n, suffix)
}

func roomOf(r Room) string {
	var parts []string
	if r.Cores > 0 {
		parts = append(parts, counted(r.Cores, "core"))
	}
	if r.Memory > 0 {
		parts = append(parts, gib(r.Memory)+" of memory")
	}
	if r.Disk > 0 {
		parts = append(parts, gib(r.Disk)+" of disk")
	}
	if len(parts) == 0 {
		return "no room that it tells of"
	}
	return strings.Join(parts, ", ")
}

func gib(n int64) string { return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30)) }

// Span is d as people say it.
func Span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Round(time.Minute)/time.Minute))
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}
