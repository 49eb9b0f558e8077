package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/rpm"
)

// settlement is what the end of an item's rebuild for one arch brings about. It is
// thought out before the transaction, which needs files, and holds only if the other
// arches are then as they were: whichever ends last finds all.
type settlement struct {
	settle.Effects
	others []albs.TaskID        // the item's rebuilds for other arches
	over   map[albs.TaskID]bool // those of them that had ended
	steps  []repository.Step    // by which the repositories come to it
}

// settle finds out what the end of in's rebuild with these packages, none if it failed
// or its arch is excluded, does to the repositories of its build, and to what the other
// arches have.
func (b *Builds) settle(ctx context.Context, in admission, packages []artifact.Artifact, failed bool) (settlement, error) {
	s := settlement{over: map[albs.TaskID]bool{}}
	p, err := b.platforms.Get(ctx, in.item.Platform)
	if err != nil {
		return s, err
	}
	end := settle.End{
		Build: in.item.BuildID, Platform: p, Arches: in.item.Arches.V, Weak: in.item.Target.V.Weak,
		Arch: in.task.Arch, Task: in.task.TaskID, Attempt: in.lease.Attempt, Packages: packages, Failed: failed,
	}
	if end.Others, end.Settled, err = b.others(ctx, in, &s); err != nil {
		return s, err
	}
	if s.Effects, err = settle.Settle(ctx, end, packagesOf{b, in, packages}); err != nil {
		return s, err
	}
	s.steps, err = b.own.Extend(ctx, s.Into)
	return s, err
}

// packagesOf tells what settling asks for, of an admission with these packages.
type packagesOf struct {
	*Builds
	in  admission
	own []artifact.Artifact
}

func (p packagesOf) Artifact(ctx context.Context, d albs.Digest) (artifact.Artifact, error) {
	if i := slices.IndexFunc(p.own, func(a artifact.Artifact) bool { return a.Digest == d }); i >= 0 {
		return p.own[i], nil
	}
	return p.artifacts.Get(ctx, p.db, d)
}

func (p packagesOf) Header(ctx context.Context, d albs.Digest) (*rpm.Package, error) {
	r, err := p.artifacts.Blobs().OpenRange(ctx, d, 0, -1) // it may have no row yet
	if err != nil {
		return nil, fmt.Errorf("open package %s: %w", d.Short(), err)
	}
	defer r.Close()
	return rpm.Read(r)
}

func (p packagesOf) Held(ctx context.Context, arch albs.Arch) (map[string]albs.Digest, error) {
	return p.held(ctx, p.in, arch)
}

// others returns what the item's other arches made, and whether all of them that
// aren't weak have ended.
func (b *Builds) others(ctx context.Context, in admission, s *settlement) (all []settle.Made, settled bool, err error) {
	rows, err := store.Rebuilds(ctx, b.db, in.item.ID)
	if err != nil {
		return nil, false, fmt.Errorf("rebuilds of item %d: %w", in.item.ID, err)
	}
	about := map[albs.TaskID]store.Task{}
	for _, r := range rows {
		if r.TaskID != in.task.TaskID {
			s.others = append(s.others, r.TaskID)
			about[r.TaskID] = r
		}
	}
	tasks, err := b.queue.Tasks(ctx, s.others...)
	if err != nil {
		return nil, false, err
	}
	files, err := store.Packages(ctx, b.db, in.item.ID)
	if err != nil {
		return nil, false, fmt.Errorf("packages of item %d: %w", in.item.ID, err)
	}
	settled = true
	for _, t := range tasks {
		row := about[t.ID]
		s.over[t.ID] = t.State.Final()
		if !s.over[t.ID] && !slices.Contains(in.item.Target.V.Weak, row.Arch) {
			settled = false
		}
		m := settle.Made{Arch: row.Arch, Task: t.ID, Told: row.Told}
		for _, f := range files {
			if f.TaskID == t.ID {
				m.Files = append(m.Files, settle.File{Task: f.TaskID, Attempt: f.Attempt, Arch: f.Arch, Name: f.Name, Digest: f.Digest})
			}
		}
		if t.State == albs.TaskSucceeded && len(m.Files) > 0 {
			all = append(all, m)
		}
	}
	return all, settled, nil
}

// conclude shows what an admission made of the repositories, and tells of the rebuilds
// whose packages are now as they will stay. It is a Conflict if another arch came to
// its end meanwhile.
func (b *Builds) conclude(ctx context.Context, tx db.Tx, in admission, s settlement) error {
	states, err := b.queue.States(ctx, tx, s.others...)
	if err != nil {
		return err
	}
	for _, id := range s.others {
		if states[id].Final() != s.over[id] {
			b.own.Forgo(s.steps) // the admission begins anew, and would wait for itself
			return albs.Errorf(albs.Conflict, "task %d, of the same package, has ended meanwhile", id)
		}
	}
	if err := b.own.Advance(ctx, tx, s.steps); err != nil {
		return err
	}
	for _, r := range s.Replace {
		if err := store.ReplaceFile(ctx, tx, in.item.BuildID, r); err != nil {
			return err
		}
	}
	for _, f := range s.Add {
		err := store.AddArtifact(ctx, tx, store.Artifact{
			BuildID: in.item.BuildID, ItemID: in.item.ID, TaskID: f.Task, Attempt: f.Attempt,
			Digest: f.Digest, Kind: string(artifact.RPM), Name: f.Name, Arch: f.Arch,
		})
		if err != nil {
			return err
		}
	}
	if len(s.Differ) > 0 {
		it, err := store.GetItem(ctx, tx, in.item.ID)
		if err != nil {
			return err
		}
		if err := store.SetNoarch(ctx, tx, it.ID, append(it.Noarch.V, s.Differ...)); err != nil {
			return err
		}
	}
	if err := store.SetTold(ctx, tx, in.task.TaskID, false); err != nil { // of an earlier end it may have been
		return err
	}
	for _, m := range s.Tell {
		t := Built{Task: m.Task, Build: in.item.BuildID, Item: in.item.ID, Platform: in.item.Platform, Arch: m.Arch}
		if err := store.SetTold(ctx, tx, t.Task, true); err != nil {
			return err
		}
		if err := b.events.Add(ctx, tx, EventBuilt, Topic(t.Build), in.worker.String(), t); err != nil {
			return err
		}
	}
	return nil
}

// settleLost settles the item of a rebuild that was lost for good or cancelled: an end
// of which no node gave word, and so one without an admission.
func (b *Builds) settleLost(ctx context.Context, e event.Event) error {
	if e.Kind != "task."+string(albs.TaskFailed) && e.Kind != "task."+string(albs.TaskCancelled) {
		return nil
	}
	var of struct {
		Task albs.TaskID   `json:"task"`
		Kind albs.TaskKind `json:"kind"`
	}
	err := json.Unmarshal(e.Data, &of)
	switch {
	case err != nil:
		err = albs.Errorf(albs.Invalid, "event %d can't be read: %w", e.ID, err)
	case of.Kind == albs.KindBuild:
		err = b.settleWithout(ctx, of.Task)
	}
	if k := albs.KindOf(err); k == albs.Invalid || k == albs.NotFound { // a deleted build, too
		b.log.Warn().Err(err).Int64("task_id", int64(of.Task)).Msg("what a rebuild that was lost or cancelled leaves is not settled")
		return nil // no repetition mends it, and everything behind it waits
	}
	return err
}

// settleWithout settles the item of a rebuild that has failed or was cancelled as if it
// made nothing, if it wasn't when that was reported. It is a Conflict if another arch
// comes to its end meanwhile.
func (b *Builds) settleWithout(ctx context.Context, id albs.TaskID) error {
	in := admission{worker: auth.From(ctx)}
	var err error
	if in.task, in.item, err = b.taskOf(ctx, id); err != nil || in.task.Superseded {
		return err
	}
	if _, err := store.GetBuild(ctx, b.db, in.task.BuildID); err != nil {
		return err
	}
	s, err := b.settle(ctx, in, nil, true)
	if err != nil || len(s.Tell)+len(s.steps) == 0 {
		return err
	}
	err = b.db.InTx(ctx, func(tx db.Tx) error {
		states, err := b.queue.States(ctx, tx, id)
		if err != nil {
			return err
		}
		if st := states[id]; st != albs.TaskFailed && st != albs.TaskCancelled {
			return errRetried
		}
		return b.conclude(ctx, tx, in, s)
	})
	if err != nil {
		b.own.Forgo(s.steps)
	}
	if errors.Is(err, errRetried) {
		return nil // its next end settles
	}
	return err
}

// errRetried is why nothing is settled: the rebuild was tried again since it ended.
var errRetried = errors.New("the task was retried")
