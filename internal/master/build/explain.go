package build

import (
	"cmp"
	"context"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/schedule"
	"albs/internal/master/build/status"
	"albs/internal/master/build/store"
	"albs/internal/master/queue"
)

// labelled are the tasks of a build by id, each as what it is for people.
func labelled(items []store.Item, tasks []itemTask, gates []Gate) map[albs.TaskID]status.Awaited {
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
func (b *Builds) explain(ctx context.Context, items []store.Item, tasks []itemTask, gates []Gate) error {
	known := labelled(items, tasks, gates)
	var blocked []albs.TaskID
	for _, w := range known {
		if w.State == albs.TaskBlocked {
			blocked = append(blocked, w.Task)
		}
	}
	after, err := b.queue.After(ctx, b.db, blocked...)
	if err != nil {
		return err
	}
	say := func(t *queue.Task) {
		if t.State != albs.TaskBlocked {
			return
		}
		if reason, ok := status.Waits(after[t.ID], t.Cause, known); ok {
			t.Reason = reason
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

// Schedule lists the tasks of a build that count in the order in which they were begun,
// those that weren't last, with what each came after, as far as that still counts.
// NotFound for an unknown build.
func (b *Builds) Schedule(ctx context.Context, id albs.BuildID) ([]schedule.Entry, error) {
	if _, err := store.GetBuild(ctx, b.db, id); err != nil {
		return nil, err
	}
	items, err := store.Items(ctx, b.db, id)
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
	byID := itemsByID(items)
	var out []schedule.Entry
	var ids []albs.TaskID
	add := func(t queue.Task, e schedule.Entry) error {
		attempts, err := b.queue.Attempts(ctx, t.ID)
		if err != nil {
			return err
		}
		done := schedule.Of(t, attempts)
		done.Label, done.Platform, done.Package, done.Arch = e.Label, e.Platform, e.Package, e.Arch
		out, ids = append(out, done), append(ids, t.ID)
		return nil
	}
	for _, t := range tasks {
		if it := byID[t.item]; !t.superseded {
			err := add(t.Task.Task, schedule.Entry{Label: t.view(it).Label, Platform: it.Platform, Package: it.Package, Arch: t.Arch})
			if err != nil {
				return nil, err
			}
		}
	}
	for _, g := range gates {
		if err := add(g.Task, schedule.Entry{Label: "order of " + g.Platform, Platform: g.Platform}); err != nil {
			return nil, err
		}
	}
	after, err := b.queue.After(ctx, b.db, ids...)
	if err != nil {
		return nil, err
	}
	schedule.Arrange(out, after)
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
	row, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return nil, err
	}
	items, err := store.Items(ctx, b.db, id)
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

func (b *Builds) graphAt(ctx context.Context, row store.Build, platform string, gates []Gate) (PlatformGraph, error) {
	out := PlatformGraph{Platform: platform, Order: row.Order}
	i := slices.IndexFunc(gates, func(g Gate) bool { return g.Platform == platform })
	var err error
	if i < 0 { // nothing had to be found
		out.Graph, _, err = b.graphOf(ctx, b.db, row, platform)
		return out, err
	}
	out.Graph, err = store.GetGraph(ctx, b.db, row.ID, platform)
	if albs.KindOf(err) != albs.NotFound {
		return out, err
	}
	facts, err := store.GraphItems(ctx, b.db, row.ID, platform)
	out.Graph = graph.List(facts, false)
	out.Waits = cmp.Or(gates[i].Task.Reason, "the order is being found")
	return out, err
}
