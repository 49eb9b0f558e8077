package fleet

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue/schedule"
)

// Bounds on what operators say of a worker; more is TooLarge.
const (
	MaxExclude = 100 // patterns
	maxReason  = 500 // bytes
)

// A worker that has lost quarantineAfter tasks within quarantineWithin gets nothing
// until an operator lifts it.
const (
	quarantineAfter  = 3
	quarantineWithin = time.Hour
)

// Worker is what is known of a worker that has asked for work.
type Worker struct {
	ID      albs.WorkerID
	Name    string
	Version string // of its albs
	Labels  []string
	Room    schedule.Room // what it offered last: cores, memory and free disk; 0 is unknown
	Seen    db.Time       // the last contact, some seconds old at most where that was with another master
	Exclude []string      // patterns of what it is not to have
	Pause   string        // why it takes nothing now, by its own word; "" if it does

	Drained          db.Time // since when it gets nothing by a person's word; zero if it does
	DrainReason      string
	DrainedBy        string
	Quarantined      db.Time // since when it gets nothing for what it lost; zero if it does
	QuarantineReason string
}

// Plan returns w as the rules of dispatch see it.
func (w Worker) Plan() schedule.Worker {
	return workerRow{
		Exclude: strings.Join(w.Exclude, " "), DrainedAt: w.Drained, DrainReason: w.DrainReason,
		QuarantinedAt: w.Quarantined, QuarantineReason: w.QuarantineReason,
	}.decided(schedule.Worker{ID: w.ID, Name: w.Name, Labels: w.Labels, Room: w.Room, Paused: w.Pause})
}

// Drain gives the worker nothing more; what it holds, or is just being given, it
// finishes. Draining it again changes the reason. It asks for
// worker.manage; NotFound if no worker of that name has asked for work.
func (f *Fleet) Drain(ctx context.Context, worker, reason string) error {
	reason, err := said(reason)
	if err != nil {
		return err
	}
	return f.decide(ctx, worker, "worker.drained", func(w *workerRow) any {
		if w.DrainedAt.IsZero() {
			w.DrainedAt = f.now()
		}
		w.DrainReason, w.DrainedBy = reason, auth.From(ctx).String()
		return workerEvent{Reason: reason}
	})
}

// Undrain lets a drained worker have work again; it does nothing to another. It asks
// for worker.manage; NotFound as Drain.
func (f *Fleet) Undrain(ctx context.Context, worker string) error {
	return f.decide(ctx, worker, "worker.undrained", func(w *workerRow) any {
		if w.DrainedAt.IsZero() {
			return nil
		}
		w.DrainedAt, w.DrainReason, w.DrainedBy = db.Time{}, "", ""
		return workerEvent{}
	})
}

// Lift ends a worker's quarantine; what it lost before counts no more. It does nothing
// to another. It asks for worker.manage; NotFound as Drain.
func (f *Fleet) Lift(ctx context.Context, worker string) error {
	return f.decide(ctx, worker, "worker.lifted", func(w *workerRow) any {
		if w.QuarantinedAt.IsZero() {
			return nil
		}
		w.QuarantinedAt, w.QuarantineReason, w.LiftedAt = db.Time{}, "", f.now()
		return workerEvent{}
	})
}

// Exclude keeps tasks from a worker whose key, or the key's first part, a pattern
// matches (path.Match: "kernel*", "*/*/s390x"), in place of the patterns before; none
// lets it have all. It asks for worker.manage; NotFound as Drain, Invalid for what is
// no pattern.
func (f *Fleet) Exclude(ctx context.Context, worker string, patterns []string) error {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	if len(patterns) > MaxExclude {
		return albs.Errorf(albs.TooLarge, "%d patterns, a worker has at most %d", len(patterns), MaxExclude)
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || !printable(p) {
			return albs.Errorf(albs.Invalid, "%.80q is no pattern of a package or a key: use *, ? and [a-z], without spaces", p)
		}
	}
	return f.decide(ctx, worker, "worker.excludes", func(w *workerRow) any {
		w.Exclude = strings.Join(patterns, " ")
		return workerEvent{Patterns: patterns}
	})
}

func printable(s string) bool {
	return s != "" && len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// workerEvent is the data of the events about workers; their topic is "worker:" and
// the name.
type workerEvent struct {
	Reason   string   `json:"reason,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
}

// Topic returns the topic of a worker's events.
func Topic(name string) string { return "worker:" + name }

func said(reason string) (string, error) {
	if len(reason) > maxReason {
		return "", albs.Errorf(albs.TooLarge, "a reason of %d bytes, at most %d go", len(reason), maxReason)
	}
	return oneLine(reason), nil
}

// decide changes what is decided about a worker, and tells of it unless change returns
// nil: then nothing has changed.
func (f *Fleet) decide(ctx context.Context, worker, kind string, change func(*workerRow) any) error {
	if err := auth.Can(ctx, auth.WorkerManage, auth.Object{}); err != nil {
		return err
	}
	// It may have come a moment ago.
	if err := f.Flush(ctx); err != nil {
		return err
	}
	return f.db.InTx(ctx, func(tx db.Tx) error {
		w, err := getWorker(ctx, tx, worker)
		if err != nil {
			return err
		}
		data := change(&w)
		if data == nil {
			return nil
		}
		if err := updateWorker(ctx, tx, w); err != nil {
			return err
		}
		f.redecide(tx)
		return f.events.Add(ctx, tx, kind, Topic(w.Name), auth.From(ctx).String(), data)
	})
}

// oneLine makes text from outside fit for a list.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}

// redecide has all masters look again once tx is committed.
func (f *Fleet) redecide(tx db.Tx) {
	tx.AfterCommit(func() {
		f.Forget()
		f.events.Nudge(Changed)
	})
}

// Weigh quarantines a worker that has just fallen silent with the task id, in tx, if it
// has now lost too much: losses returns what it lost after a time, by the end. A task
// that kills whoever takes it counts once, and so does all that a worker held when it
// fell silent.
func (f *Fleet) Weigh(ctx context.Context, tx db.Tx, id albs.WorkerID, name string, task albs.TaskID, losses func(since db.Time) ([]schedule.Loss, error)) error {
	now := f.now()
	w, err := getWorkerByID(ctx, tx, id)
	if errors.Is(err, sql.ErrNoRows) { // it claimed and died before it was written down
		w = workerRow{WorkerID: id, Name: name, SeenAt: now}
		if err := putOffer(ctx, tx, w); err != nil {
			return fmt.Errorf("write worker: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("read worker: %w", err)
	}
	if !w.QuarantinedAt.IsZero() {
		return nil
	}
	since := db.At(now.Add(-quarantineWithin))
	if since.Before(w.LiftedAt.Time) {
		since = w.LiftedAt
	}
	ls, err := losses(since)
	if err != nil {
		return fmt.Errorf("read losses: %w", err)
	}
	n := schedule.Losses(ls)
	if n < quarantineAfter {
		return nil
	}
	w.QuarantinedAt = now
	w.QuarantineReason = fmt.Sprintf("it fell silent with %d different tasks within %s, the last was task %d", n, schedule.Span(quarantineWithin), task)
	if err := updateWorker(ctx, tx, w); err != nil {
		return err
	}
	f.redecide(tx)
	f.log.Warn().Str("worker", w.Name).Str("reason", w.QuarantineReason).Msg("worker quarantined")
	return f.events.Add(ctx, tx, "worker.quarantined", Topic(w.Name), auth.From(ctx).String(), workerEvent{Reason: w.QuarantineReason})
}
