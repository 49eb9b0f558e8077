package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/rpm"
)

// Guard says, of what q reads, why a build has to stay as it is: nil, or a Conflict that names
// what rests on it. What keeps it from being deleted keeps its packages from being
// replaced.
type Guard func(ctx context.Context, q db.Q, id albs.BuildID) error

// Guard adds g to those that are asked before a build is deleted or its packages are
// replaced. Modules that take packages of builds call it, before builds are served.
func (b *Builds) Guard(g Guard) { b.guards = append(b.guards, g) }

// Kept returns a Conflict that says why a build can neither be deleted nor have its
// packages replaced, nil if it can by now.
func (b *Builds) Kept(ctx context.Context, id albs.BuildID) error {
	return b.guarded(ctx, b.db, id)
}

func (b *Builds) guarded(ctx context.Context, q db.Q, id albs.BuildID) error {
	for _, g := range b.guards {
		if err := g(ctx, q, id); err != nil {
			return err
		}
	}
	return nil
}

// renewTries bounds how often it is begun again because packages were admitted meanwhile.
const renewTries = 5

// EventRenewed is the kind of the event that an item is made again from a fresh SRPM;
// its data is a Renewed, its topic the build's.
const EventRenewed = "build.item.renewed"

// Renewed is the data of an EventRenewed.
type Renewed struct {
	Item  albs.ItemID   `json:"item"`
	Tasks []albs.TaskID `json:"tasks"` // those that count no more
}

// RetryFresh makes the SRPM of an item again, from the same commit, and then all of its
// rebuilds, by new tasks: those before stay with their logs and count no more, what of
// them runs is cancelled, and their packages leave the build's repositories at once.
// What the item's platform waits for is found again; what others have built against the
// packages before stays.
//
// Errors: Forbidden without build.retry, NotFound for an unknown build or item, Invalid
// for an SRPM that was given, Conflict if the build is signed or released.
func (b *Builds) RetryFresh(ctx context.Context, id albs.BuildID, item albs.ItemID) error {
	row, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.BuildRetry, auth.Object{Team: row.Team, Owner: row.OwnerID}); err != nil {
		return err
	}
	it, err := b.itemOf(ctx, id, item)
	if err != nil {
		return err
	}
	if it.URL == "" {
		return albs.Errorf(albs.Invalid, "the SRPM of item %d was given: there is nothing to make it from again; make a build of another SRPM", item)
	}
	for try := 1; ; try++ {
		err := b.renew(ctx, row, it)
		if !errors.Is(err, errMoved) {
			return err
		}
		if try == renewTries {
			return albs.Errorf(albs.Unavailable, "packages of build %d are being admitted: try again", id)
		}
	}
}

// errMoved is why a renewal begins again: its repositories have changed meanwhile.
var errMoved = albs.Errorf(albs.Conflict, "the build's repositories have changed")

func (b *Builds) renew(ctx context.Context, row store.Build, it store.Item) error {
	held, err := store.HeldOf(ctx, b.db, it.ID)
	if err != nil {
		return fmt.Errorf("files of item %d: %w", it.ID, err)
	}
	out := repository.Changes{}
	for _, f := range held {
		n, err := rpm.ParseNEVRA(strings.TrimSuffix(f.Name, ".rpm"))
		if err != nil {
			return fmt.Errorf("file %s of item %d: %w", f.Name, it.ID, err)
		}
		out.Drop(repository.NameFor(it.BuildID, it.Platform, f.Arch, n), f.Name)
	}
	steps, err := b.own.Extend(ctx, out)
	if errors.Is(err, albs.NotFound) { // admitted or retired since
		return errMoved
	}
	if err != nil {
		return err
	}
	err = b.db.InTx(ctx, func(tx db.Tx) error {
		if err := b.guarded(ctx, tx, row.ID); err != nil {
			return err
		}
		now, err := store.HeldOf(ctx, tx, it.ID)
		if err != nil {
			return fmt.Errorf("files of item %d: %w", it.ID, err)
		}
		if !slices.Equal(held, now) {
			return errMoved
		}
		if err := b.own.Advance(ctx, tx, steps); errors.Is(err, albs.Conflict) {
			return errMoved
		} else if err != nil {
			return err
		}
		return b.again(ctx, tx, row, it)
	})
	if err != nil { // or the next try would wait for this one
		b.own.Forgo(steps)
	}
	return err
}

// again gives an item whose packages are gone from the repositories new tasks.
func (b *Builds) again(ctx context.Context, tx db.Tx, row store.Build, it store.Item) error {
	tasks, err := store.Tasks(ctx, tx, row.ID)
	if err != nil {
		return fmt.Errorf("tasks of build %d: %w", row.ID, err)
	}
	var imported albs.TaskID
	var old []albs.TaskID
	for _, t := range tasks {
		switch {
		case t.ItemID != it.ID || t.Superseded:
		case t.Kind == albs.KindImport:
			imported = t.TaskID
		default:
			old = append(old, t.TaskID)
		}
	}
	states, err := b.queue.States(ctx, tx, append(slices.Clone(old), imported)...)
	if err != nil {
		return err
	}
	actor := auth.From(ctx)
	for _, id := range old {
		if err := store.Supersede(ctx, tx, id); err != nil {
			return err
		}
		if !states[id].Final() {
			if err := b.queue.Cancel(ctx, tx, id, "a fresh SRPM was asked for by "+actor.Name); err != nil {
				return err
			}
		}
	}
	if s := states[imported]; s == albs.TaskFailed || s == albs.TaskCancelled {
		if err := b.queue.Retry(ctx, tx, imported); err != nil {
			return err
		}
	}
	if err := errors.Join(store.Retire(ctx, tx, it.ID), store.ClearSRPM(ctx, tx, it.ID), store.SetDropped(ctx, tx, it.ID, false)); err != nil {
		return err
	}
	source, err := b.enqueueStep(ctx, tx, row, it, albs.KindSource, "", []albs.TaskID{imported})
	if err != nil {
		return err
	}
	for _, a := range it.Arches.V {
		if _, err := b.enqueueStep(ctx, tx, row, it, albs.KindBuild, a, []albs.TaskID{source}); err != nil {
			return err
		}
	}
	if err := b.arrange(ctx, tx, row, it.Platform); err != nil {
		return err
	}
	return b.events.Add(ctx, tx, EventRenewed, Topic(row.ID), actor.String(),
		Renewed{it.ID, old}) // an item has as many as arches, and one
}

// EventDeleted is the kind of the event that a build was deleted.
const EventDeleted = "build.deleted"

// Delete hides a build: it is in no list and found no more, and who asks for it is told
// who deleted it and when. What runs of it is cancelled, its tests too. Its rows and
// what was stated about its files stay; the files stay only for others that name them.
//
// Errors: Forbidden without build.delete, NotFound, Conflict if it is signed or
// released.
func (b *Builds) Delete(ctx context.Context, id albs.BuildID) error {
	return b.delete(ctx, id, b.cancel, nil)
}

// Expire is Delete for a build of which nothing is under way, else it is Conflict: one
// that somebody retried a moment ago is not what had been there for so long.
func (b *Builds) Expire(ctx context.Context, id albs.BuildID) error {
	return b.delete(ctx, id, func(ctx context.Context, tx db.Tx, t itemTask) (bool, error) {
		states, err := b.queue.States(ctx, tx, t.ID)
		return !states[t.ID].Final(), err
	}, func(ctx context.Context, tx db.Tx, tasks []itemTask) error {
		for _, t := range tasks {
			states, err := b.queue.States(ctx, tx, t.ID)
			if err != nil {
				return err
			}
			if s := states[t.ID]; s != albs.TaskBlocked { // which then waits for what failed or was cancelled
				return albs.Errorf(albs.Conflict, "task %d of build %d is %s", t.ID, id, s)
			}
			if err := b.queue.Cancel(ctx, tx, t.ID, "nothing became of its build"); err != nil {
				return err
			}
		}
		return nil
	})
}

// delete does each to every task of a build, then to those that it applied to, and has
// the build deleted.
func (b *Builds) delete(ctx context.Context, id albs.BuildID, each func(context.Context, db.Tx, itemTask) (bool, error), then func(context.Context, db.Tx, []itemTask) error) error {
	return b.change(ctx, id, change{
		verb: auth.BuildDelete, event: EventDeleted, anyway: true, each: each,
		then: func(ctx context.Context, tx db.Tx, _ store.Build, tasks []itemTask) error {
			if err := b.guarded(ctx, tx, id); err != nil {
				return err
			}
			if then != nil {
				if err := then(ctx, tx, tasks); err != nil {
					return err
				}
			}
			actor := auth.From(ctx)
			if err := b.events.Add(ctx, tx, EventCancelled, Topic(id), actor.String(), changeData(nil)); err != nil {
				return err
			}
			if err := b.forget(ctx, tx, id); err != nil {
				return err
			}
			return store.SetDeleted(ctx, tx, id, actor.Name, db.Now())
		},
	})
}

// forget has nothing kept for a build any more.
func (b *Builds) forget(ctx context.Context, tx db.Tx, id albs.BuildID) error {
	items, err := store.Items(ctx, tx, id)
	if err != nil {
		return fmt.Errorf("items of build %d: %w", id, err)
	}
	for _, it := range items {
		if err := b.own.Forget(ctx, tx, id, it.Platform, append(it.Arches.V, albs.Src)); err != nil {
			return err
		}
	}
	return b.queue.Forget(ctx, tx, Topic(id))
}

// Clone makes a build of what another was asked for: of the same commits, or, if fresh,
// of what the refs name by now. It is the caller's; key is as in NewBuild. Errors are
// those of Create, and NotFound for an unknown build, or for one of which it isn't on
// record what was asked for.
func (b *Builds) Clone(ctx context.Context, id albs.BuildID, fresh bool, key string) (Build, error) {
	if _, err := store.GetBuild(ctx, b.db, id); err != nil {
		return Build{}, err
	}
	var n NewBuild
	if err := store.Request(ctx, b.db, id, &n); err != nil {
		return Build{}, err
	}
	n.Key = key
	if !fresh {
		var err error
		if n.pins, err = b.pinsOf(ctx, id, n); err != nil {
			return Build{}, err
		}
	}
	return b.Create(ctx, n)
}

// pinsOf returns the items of a build's packages as they were resolved, each once.
func (b *Builds) pinsOf(ctx context.Context, id albs.BuildID, n NewBuild) ([]store.Item, error) {
	items, err := store.Items(ctx, b.db, id)
	if err != nil {
		return nil, fmt.Errorf("items of build %d: %w", id, err)
	}
	if len(items) != len(n.Packages)*len(n.Platforms) {
		return nil, fmt.Errorf("build %d has %d items for %d packages on %d platforms", id, len(items), len(n.Packages), len(n.Platforms))
	}
	pins := make([]store.Item, len(n.Packages))
	for i := range pins {
		it := items[i*len(n.Platforms)]
		pins[i] = store.Item{URL: it.URL, Ref: it.Ref, RefType: it.RefType, Commit: it.Commit, Package: it.Package}
		if it.URL == "" {
			pins[i].SRPM, pins[i].SRPMName, pins[i].SRPMURL = it.SRPM, it.SRPMName, it.SRPMURL
		}
	}
	return pins, nil
}
