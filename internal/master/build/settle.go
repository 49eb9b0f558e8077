package build

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/platform"
)

// settlement is what the end of an item's rebuild for one arch brings about beside what
// it left itself. It is thought out before the transaction, which needs files, and holds
// only if the other arches are then as they were: whichever ends last finds all.
type settlement struct {
	platform platform.Platform
	others   []albs.TaskID        // the item's rebuilds for other arches
	over     map[albs.TaskID]bool // those of them that had ended
	known    map[albs.Digest]artifact.Artifact

	into    changes
	lost    map[string]bool // files of this rebuild in whose place another arch's is
	replace []replacement
	add     []artifactRow
	differ  []Difference
	tell    []Built
}

// replacement is a row whose file another one takes the place of.
type replacement struct {
	row artifactRow
	by  albs.Digest
}

func (s *settlement) artifact(ctx context.Context, b *Builds, d albs.Digest) (artifact.Artifact, error) {
	if a, ok := s.known[d]; ok {
		return a, nil
	}
	return b.artifacts.Get(ctx, b.store.d, d)
}

// settle finds out what the end of in's rebuild with these packages, none if it failed
// or its arch is excluded, does to the repositories of its build, and to what the other
// arches have.
//
// Packages of multilib come when both of their arches are made. Noarch packages are
// settled when all arches but the weak have ended: one that comes later, being weak or
// tried again, takes what was settled.
func (b *Builds) settle(ctx context.Context, in admission, packages []artifact.Artifact, failed bool) (settlement, changes, error) {
	s := settlement{over: map[albs.TaskID]bool{}, known: map[albs.Digest]artifact.Artifact{}, lost: map[string]bool{}, into: changes{}}
	var err error
	if s.platform, err = b.platforms.Get(ctx, in.item.Platform); err != nil {
		return s, nil, err
	}
	all, settled, err := b.others(ctx, in, &s)
	if err != nil {
		return s, nil, err
	}
	if failed && s.platform.NoarchEqual {
		settled = false // what differs would have to fail this one, which has failed
	}
	if len(packages) > 0 {
		own := made{arch: in.task.Arch, task: in.task.TaskID}
		for _, a := range packages {
			s.known[a.Digest] = a
			own.files = append(own.files, artifactRow{
				BuildID: in.item.BuildID, ItemID: in.item.ID, TaskID: own.task, Attempt: in.lease.Attempt,
				Digest: a.Digest, Kind: string(a.Kind), Name: a.Name, Arch: own.arch,
			})
		}
		all = append(all, own)
	}
	if settled {
		winning(all, in.item.Arches.V, in.item.Target.V.Weak)
		if err := b.shareNoarch(ctx, in, all, &s); err != nil {
			return s, nil, err
		}
	}
	if err := b.shareMultilib(ctx, in, all, &s); err != nil {
		return s, nil, err
	}
	for _, m := range all {
		if !m.told && (settled || m.task == in.task.TaskID && !m.noarch()) {
			s.tell = append(s.tell, in.built(m))
		}
	}
	for _, a := range packages {
		if !s.lost[a.Name] {
			s.into.add(repoFor(in.item, in.task.Arch, a.NEVRA), a)
		}
	}
	if len(packages) > 0 { // an arch with debug data alone has a repository too
		s.into.add(RepoName(in.item.BuildID, in.item.Platform, in.task.Arch))
	}
	return s, s.into, nil
}

// others returns what the item's other arches made, and whether all of them that
// aren't weak have ended.
func (b *Builds) others(ctx context.Context, in admission, s *settlement) (all []made, settled bool, err error) {
	rows, err := b.store.rebuilds(ctx, b.store.d, in.item.ID)
	if err != nil {
		return nil, false, fmt.Errorf("rebuilds of item %d: %w", in.item.ID, err)
	}
	about := map[albs.TaskID]taskRow{}
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
	files, err := b.store.packages(ctx, b.store.d, in.item.ID)
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
		m := made{arch: row.Arch, task: t.ID, told: row.Told}
		for _, f := range files {
			if f.TaskID == t.ID {
				m.files = append(m.files, f)
			}
		}
		if t.State == albs.TaskSucceeded && len(m.files) > 0 {
			all = append(all, m)
		}
	}
	return all, settled, nil
}

func (in admission) built(m made) Built {
	return Built{Task: m.task, Build: in.item.BuildID, Item: in.item.ID, Platform: in.item.Platform, Arch: m.arch}
}

// conclude shows what an admission made of the repositories, and tells of the rebuilds
// whose packages are now as they will stay. It is a Conflict if another arch came to
// its end meanwhile.
func (b *Builds) conclude(ctx context.Context, tx db.Tx, in admission, s settlement, steps []step) error {
	states, err := b.queue.States(ctx, tx, s.others...)
	if err != nil {
		return err
	}
	for _, id := range s.others {
		if states[id].Final() != s.over[id] {
			for _, st := range steps { // the admission begins anew, and would wait for itself
				b.repos.Forgo(st.name, st.to)
			}
			return albs.Errorf(albs.Conflict, "task %d, of the same package, has ended meanwhile", id)
		}
	}
	if err := b.advance(ctx, tx, steps); err != nil {
		return err
	}
	for _, r := range s.replace {
		if err := b.store.replaceFile(ctx, tx, r); err != nil {
			return err
		}
	}
	for _, a := range s.add {
		if err := b.store.addArtifact(ctx, tx, a); err != nil {
			return err
		}
	}
	if len(s.differ) > 0 {
		it, err := b.store.item(ctx, tx, in.item.ID)
		if err != nil {
			return err
		}
		if err := b.store.setNoarch(ctx, tx, it.ID, append(it.Noarch.V, s.differ...)); err != nil {
			return err
		}
	}
	if err := b.store.setTold(ctx, tx, in.task.TaskID, false); err != nil { // of an earlier end it may have been
		return err
	}
	for _, t := range s.tell {
		if err := b.store.setTold(ctx, tx, t.Task, true); err != nil {
			return err
		}
		if err := b.events.Add(ctx, tx, EventBuilt, Topic(t.Build), in.worker.String(), t); err != nil {
			return err
		}
	}
	return nil
}
