package build

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// What people do to a build that is there.

// EventCancelled is the kind of the event that somebody cancelled a build; its
// topic is the build's. What was begun upon its packages, such as tests, ends by it.
const EventCancelled = "build.cancelled"

// Cancel ends everything of a build that has not ended yet. Running work stops
// within one lease renewal. Conflict if nothing of it is under way.
func (b *Builds) Cancel(ctx context.Context, id albs.BuildID) error {
	// Its own tasks may all have ended while its tests have not.
	follows, err := b.queue.List(ctx, queue.Filter{Kind: albs.KindTest, Topic: Topic(id), States: open, Limit: 1})
	if err != nil {
		return fmt.Errorf("cancel build %d: %w", id, err)
	}
	return b.change(ctx, id, change{verb: auth.BuildCancel, event: EventCancelled, anyway: len(follows) > 0, each: b.cancel})
}

func (b *Builds) cancel(ctx context.Context, tx db.Tx, t itemTask) (bool, error) {
	if t.State.Final() {
		return false, nil
	}
	return true, b.queue.Cancel(ctx, tx, t.ID, "cancelled by "+auth.From(ctx).Name)
}

// open are the states of a task that is still to end.
var open = []albs.TaskState{albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping}

// CancelItem ends everything of one item that has not ended yet, as Cancel does, and
// takes the item out of the order of its platform: what would have waited for it goes
// on without. Conflict if nothing of it is under way, NotFound if the build has no such
// item.
func (b *Builds) CancelItem(ctx context.Context, id albs.BuildID, item albs.ItemID) error {
	it, err := b.itemOf(ctx, id, item)
	if err != nil {
		return err
	}
	return b.change(ctx, id, change{
		verb: auth.BuildCancel, event: "build.item.cancelled",
		each: func(ctx context.Context, tx db.Tx, t itemTask) (bool, error) {
			if t.item != item {
				return false, nil
			}
			return b.cancel(ctx, tx, t)
		},
		then: func(ctx context.Context, tx db.Tx, row store.Build, _ []itemTask) error {
			if err := store.SetDropped(ctx, tx, item, true); err != nil {
				return err
			}
			return b.arrange(ctx, tx, row, it.Platform)
		},
	})
}

// itemOf returns an item of a build, or NotFound.
func (b *Builds) itemOf(ctx context.Context, id albs.BuildID, item albs.ItemID) (store.Item, error) {
	it, err := store.GetItem(ctx, b.db, item)
	if err == nil && it.BuildID != id || errors.Is(err, albs.NotFound) {
		return it, albs.Errorf(albs.NotFound, "build %d has no item %d", id, item)
	}
	return it, err
}

// RetryFailed queues every failed and cancelled task of a build again. Earlier
// attempts and their logs stay.
func (b *Builds) RetryFailed(ctx context.Context, id albs.BuildID) error {
	return b.change(ctx, id, change{
		verb: auth.BuildRetry, event: "build.retried", then: b.takeIn,
		each: func(ctx context.Context, tx db.Tx, t itemTask) (bool, error) {
			if t.State != albs.TaskFailed && t.State != albs.TaskCancelled {
				return false, nil
			}
			return true, b.queue.Retry(ctx, tx, t.ID)
		},
	})
}

// RetryTask queues one failed or cancelled task of a build again; Conflict if it
// is neither.
func (b *Builds) RetryTask(ctx context.Context, id albs.BuildID, task albs.TaskID) error {
	found := false
	err := b.change(ctx, id, change{
		verb: auth.BuildRetry, event: "build.retried", then: b.takeIn,
		each: func(ctx context.Context, tx db.Tx, t itemTask) (bool, error) {
			if t.ID != task {
				return false, nil
			}
			found = true
			return true, b.queue.Retry(ctx, tx, t.ID)
		},
	})
	if !found && err != nil && albs.KindOf(err) == albs.Conflict {
		return albs.Errorf(albs.NotFound, "build %d has no task %d that could be retried", id, task)
	}
	return err
}

// takeIn puts the items of tasks that were retried into the order of their platform
// again, if they were out of it.
func (b *Builds) takeIn(ctx context.Context, tx db.Tx, row store.Build, tasks []itemTask) error {
	items, err := store.Items(ctx, tx, row.ID)
	if err != nil {
		return fmt.Errorf("items of build %d: %w", row.ID, err)
	}
	var platforms []string
	for _, it := range items {
		if !it.Dropped || !slices.ContainsFunc(tasks, func(t itemTask) bool { return t.item == it.ID }) {
			continue
		}
		if err := store.SetDropped(ctx, tx, it.ID, false); err != nil {
			return err
		}
		platforms = appendNew(platforms, it.Platform)
	}
	for _, p := range platforms {
		if err := b.arrange(ctx, tx, row, p); err != nil {
			return err
		}
	}
	return nil
}

// change is something that is done to a build.
type change struct {
	verb   auth.Verb
	event  string // its kind
	anyway bool   // others have to hear of it even if it finds nothing to do
	// each is done to every task that counts, and says whether it did anything.
	each func(context.Context, db.Tx, itemTask) (bool, error)
	// then, if any, is done after that, with the tasks to which it applied.
	then func(context.Context, db.Tx, store.Build, []itemTask) error
}

// change does c in one transaction and tells of it; if it found nothing to do it is a
// Conflict.
func (b *Builds) change(ctx context.Context, id albs.BuildID, c change) error {
	row, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, c.verb, auth.Object{Team: row.Team, Owner: row.OwnerID}); err != nil {
		return err
	}
	tasks, gates, err := b.tasks(ctx, id)
	if err != nil {
		return err
	}
	for _, g := range gates {
		tasks = append(tasks, itemTask{Task: Task{Task: g.Task}})
	}
	tasks = slices.DeleteFunc(tasks, func(t itemTask) bool { return t.superseded })
	return b.db.InTx(ctx, func(tx db.Tx) error {
		var changed []itemTask
		ids := []albs.TaskID{}
		for _, t := range tasks {
			did, err := c.each(ctx, tx, t)
			if errors.Is(err, albs.Conflict) {
				continue // it went on since it was looked at
			}
			if err != nil {
				return err
			}
			if did {
				changed, ids = append(changed, t), append(ids, t.ID)
			}
		}
		if len(changed) == 0 && !c.anyway {
			return albs.Errorf(albs.Conflict, "build %d has no task to which that applies", id)
		}
		if c.then != nil {
			if err := c.then(ctx, tx, row, changed); err != nil {
				return err
			}
		}
		return b.events.Add(ctx, tx, c.event, Topic(id), auth.From(ctx).String(), changeData(ids))
	})
}

// maxTold is how many tasks an event names; the data of an event is bounded, and
// the tasks of a build hardly are.
const maxTold = 1000

func changeData(changed []albs.TaskID) map[string]any {
	return map[string]any{"tasks": changed[:min(len(changed), maxTold)], "count": len(changed)}
}
