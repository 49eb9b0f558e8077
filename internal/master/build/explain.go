package build

import (
	"cmp"
	"context"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/status"
	"albs/internal/master/queue"
)

// labelled are the tasks of a build by id, each as what it is for people.
func labelled(items []itemRow, tasks []itemTask, gates []Gate) map[albs.TaskID]status.Awaited {
	byID := itemsByID(items)
	out := make(map[albs.TaskID]status.Awaited, len(tasks)+len(gates))
	for _, t := range tasks {
		out[t.ID] = status.Awaited{Label: t.view(byID[t.item]).Label, Kind: t.Kind, Task: t.ID, State: t.State, Reason: t.Reason}
	}
	for _, g := range gates {
		out[g.Task.ID] = status.Awaited{Label: g.Platform, Kind: g.Task.Kind, Task: g.Task.ID, State: g.Task.State, Reason: g.Task.Reason}
	}
	return out
}

// explain gives each task that is blocked its reason.
func (b *Builds) explain(ctx context.Context, items []itemRow, tasks []itemTask, gates []Gate) error {
	known := labelled(items, tasks, gates)
	var blocked []albs.TaskID
	for _, w := range known {
		if w.State == albs.TaskBlocked {
			blocked = append(blocked, w.Task)
		}
	}
	after, err := b.queue.After(ctx, b.store.d, blocked...)
	if err != nil {
		return err
	}
	say := func(t *queue.Task) {
		if t.State != albs.TaskBlocked {
			return
		}
		var left []status.Awaited
		for _, id := range after[t.ID] {
			if w, ok := known[id]; ok && w.State != albs.TaskSucceeded && w.State != albs.TaskExcluded {
				left = append(left, w)
			}
		}
		if cause, ok := known[t.Cause]; ok {
			t.Reason = status.WaitReason(&cause, nil)
		} else if t.Cause == 0 {
			t.Reason = status.WaitReason(nil, left)
		}
	}
	for i := range tasks {
		say(&tasks[i].Task.Task)
	}
	for i := range gates {
		say(&gates[i].Task)
	}
	return nil
}

// Scheduled is one task of a build as it was done.
type Scheduled struct {
	Task     albs.TaskID
	Label    string
	Kind     albs.TaskKind
	Platform string
	Package  string // "" of a task that finds an order
	Arch     albs.Arch
	State    albs.TaskState
	Reason   string
	Attempt  int    // the newest; 0 before the first
	Worker   string // of the newest attempt
	Ready    time.Time
	Started  time.Time // of the newest attempt; zero before
	Finished time.Time // zero while it isn't final
	After    []albs.TaskID
}

// Schedule lists the tasks of a build that count in the order in which they were begun,
// those that weren't last, with what each came after, as far as that still counts. Ready
// is when the last of it was done, or when the task was made if it came after nothing;
// zero while it is blocked, and where nobody was asked to do it.
// NotFound for an unknown build.
func (b *Builds) Schedule(ctx context.Context, id albs.BuildID) ([]Scheduled, error) {
	if _, err := b.store.build(ctx, b.store.d, id); err != nil {
		return nil, err
	}
	items, err := b.store.items(ctx, b.store.d, id)
	if err != nil {
		return nil, err
	}
	tasks, gates, err := b.tasks(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := b.explain(ctx, items, tasks, gates); err != nil {
		return nil, err
	}
	byItem := make(map[albs.ItemID]itemRow, len(items))
	for _, it := range items {
		byItem[it.ID] = it
	}
	known := labelled(items, tasks, gates)
	var out []Scheduled
	add := func(t queue.Task, it itemRow, arch albs.Arch) error {
		s := Scheduled{
			Task: t.ID, Label: known[t.ID].Label, Kind: t.Kind, Platform: it.Platform, Package: it.Package, Arch: arch,
			State: t.State, Reason: t.Reason, Ready: t.Created.Time,
		}
		attempts, err := b.queue.Attempts(ctx, t.ID)
		if err != nil {
			return err
		}
		if len(attempts) > 0 {
			a := attempts[len(attempts)-1]
			s.Attempt, s.Worker, s.Started = a.Number, a.Worker, a.Claimed.Time
		}
		if t.State.Final() {
			s.Finished = t.Changed.Time
		}
		out = append(out, s)
		return nil
	}
	for _, t := range tasks {
		if t.superseded {
			continue
		}
		if err := add(t.Task.Task, byItem[t.item], t.Arch); err != nil {
			return nil, err
		}
	}
	for _, g := range gates {
		if err := add(g.Task, itemRow{Platform: g.Platform}, ""); err != nil {
			return nil, err
		}
		out[len(out)-1].Label = "order of " + g.Platform
	}
	return b.timed(ctx, out)
}

// timed fills in what each task came after, and orders them.
func (b *Builds) timed(ctx context.Context, out []Scheduled) ([]Scheduled, error) {
	ended := make(map[albs.TaskID]time.Time, len(out))
	var ids []albs.TaskID
	for _, s := range out {
		ids, ended[s.Task] = append(ids, s.Task), s.Finished
	}
	after, err := b.queue.After(ctx, b.store.d, ids...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		for _, id := range after[s.Task] {
			at, counts := ended[id]
			if !counts {
				continue
			}
			s.After = append(s.After, id)
			if at.After(s.Ready) {
				s.Ready = at
			}
		}
		if s.State == albs.TaskBlocked || s.State.Final() && s.Attempt == 0 {
			s.Ready = time.Time{}
		}
	}
	slices.SortStableFunc(out, func(x, y Scheduled) int {
		if x.Started.IsZero() != y.Started.IsZero() {
			if x.Started.IsZero() {
				return 1
			}
			return -1
		}
		return cmp.Or(x.Started.Compare(y.Started), cmp.Compare(x.Task, y.Task))
	})
	return out, nil
}

// PlatformGraph is the graph of one platform of a build.
type PlatformGraph struct {
	Platform string
	Order    Order
	// Waits says why the order isn't known yet, and the graph has nodes only; "" if it is.
	Waits string
	graph.Graph
}

// Graph returns who needs whom among the rebuilds of a build, by platform in the order
// of listing, or NotFound.
func (b *Builds) Graph(ctx context.Context, id albs.BuildID) ([]PlatformGraph, error) {
	row, err := b.store.build(ctx, b.store.d, id)
	if err != nil {
		return nil, err
	}
	items, err := b.store.items(ctx, b.store.d, id)
	if err != nil {
		return nil, err
	}
	tasks, gates, err := b.tasks(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := b.explain(ctx, items, tasks, gates); err != nil {
		return nil, err
	}
	var out []PlatformGraph
	for _, it := range items {
		if slices.ContainsFunc(out, func(g PlatformGraph) bool { return g.Platform == it.Platform }) {
			continue
		}
		g, err := b.graphAt(ctx, row, it.Platform, gates)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func (b *Builds) graphAt(ctx context.Context, row buildRow, platform string, gates []Gate) (PlatformGraph, error) {
	out := PlatformGraph{Platform: platform, Order: row.Order}
	i := slices.IndexFunc(gates, func(g Gate) bool { return g.Platform == platform })
	var err error
	if i < 0 { // nothing had to be found
		out.Graph, _, err = b.graphOf(ctx, b.store.d, row, platform)
		return out, err
	}
	out.Graph, err = b.store.graph(ctx, b.store.d, row.ID, platform)
	if albs.KindOf(err) != albs.NotFound {
		return out, err
	}
	facts, err := b.store.graphItems(ctx, b.store.d, row.ID, platform)
	out.Graph = graph.List(facts, false)
	out.Waits = cmp.Or(gates[i].Task.Reason, "the order is being found")
	return out, err
}
