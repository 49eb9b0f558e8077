package build

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/plan"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// Here the order of a platform's rebuilds becomes what their tasks come after.

// graphOf makes the graph of the items of a platform as they are now, by the order of
// the build, and names what it was made from.
func (b *Builds) graphOf(ctx context.Context, q db.Q, row store.Build, platform string) (graph.Graph, albs.Digest, error) {
	items, err := store.GraphItems(ctx, q, row.ID, platform)
	if err != nil {
		return graph.Graph{}, "", fmt.Errorf("items of build %d: %w", row.ID, err)
	}
	if row.Order != Auto {
		return graph.List(items, row.Order == Listed), "", nil
	}
	var asked NewBuild
	if err := store.Request(ctx, q, row.ID, &asked); err != nil {
		return graph.Graph{}, "", err
	}
	input, err := json.Marshal([]any{items, asked.Break})
	if err != nil {
		return graph.Graph{}, "", fmt.Errorf("name input of the graph: %w", err)
	}
	return graph.Make(items, asked.Break), albs.DigestOf(input), nil
}

// findOrder is the master's own task once all sources of a platform are there: it
// writes down who needs whom, for people to read; graphHandler makes it so.
func (b *Builds) findOrder(ctx context.Context, t queue.Task, log io.Writer) (albs.Result, error) {
	row, err := store.GetBuild(ctx, b.db, t.Spec.Graph.Build)
	if err != nil {
		return albs.Result{}, err
	}
	g, _, err := b.graphOf(ctx, b.db, row, t.Spec.Graph.Platform)
	if err != nil {
		return albs.Result{}, err
	}
	r := g.Tell(log)
	return albs.Result{Graph: &r}, nil
}

// graphHandler gives the rebuilds of a platform their order.
type graphHandler struct{ ownHandler }

func (h graphHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "an order excludes nothing")
	}
	if outcome != albs.OutcomeOK {
		return nil, nil
	}
	if r.Graph == nil {
		return nil, albs.Errorf(albs.Invalid, "the graph has no result")
	}
	spec := l.Spec.Graph
	row, err := store.GetBuild(ctx, h.db, spec.Build)
	if err != nil {
		return nil, err
	}
	g, input, err := h.graphOf(ctx, h.db, row, spec.Platform)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		// Made outside, for it may take its time; an item may have been dropped since.
		if _, now, err := h.graphOf(ctx, tx, row, spec.Platform); err != nil {
			return err
		} else if now != input {
			return albs.Errorf(albs.Conflict, "the items of build %d have changed meanwhile", row.ID)
		}
		if err := store.SetGraph(ctx, tx, row.ID, spec.Platform, g); err != nil {
			return err
		}
		return h.follow(ctx, tx, row, spec.Platform, l.Token.Task, g)
	}, nil
}

// What a failed attempt left is nothing: there is nothing to undo.
func (h graphHandler) Ended(context.Context, db.Tx, queue.Task) error { return nil }

// follow makes the rebuilds of a platform that are still blocked come after their
// source, the gate if there is one, and the rebuilds that the graph says.
func (b *Builds) follow(ctx context.Context, tx db.Tx, row store.Build, platform string, gate albs.TaskID, g graph.Graph) error {
	steps, err := b.stepsOf(ctx, tx, row.ID, platform)
	if err != nil {
		return err
	}
	return b.queue.SetAfter(ctx, tx, plan.After(steps, gate, g))
}

// stepsOf returns the tasks of the items of a platform that count.
func (b *Builds) stepsOf(ctx context.Context, q db.Q, id albs.BuildID, platform string) (map[albs.ItemID]plan.Tasks, error) {
	items, err := store.Items(ctx, q, id)
	if err != nil {
		return nil, fmt.Errorf("items of build %d: %w", id, err)
	}
	tasks, err := store.Tasks(ctx, q, id)
	if err != nil {
		return nil, fmt.Errorf("tasks of build %d: %w", id, err)
	}
	out := make(map[albs.ItemID]plan.Tasks)
	for _, it := range items {
		if it.Platform == platform {
			out[it.ID] = plan.Tasks{Rebuilds: make(map[albs.Arch]albs.TaskID), Dropped: it.Dropped}
		}
	}
	for _, t := range tasks {
		s, ok := out[t.ItemID]
		if !ok || t.Superseded {
			continue
		}
		switch t.Kind {
		case albs.KindSource:
			s.Source = t.TaskID
		case albs.KindBuild:
			s.Rebuilds[t.Arch] = t.TaskID
		}
		out[t.ItemID] = s
	}
	return out, nil
}

// arrange gives the rebuilds of a platform their order anew, in tx, after an item was
// dropped, taken in again or given other tasks. Where the order rests on facts that
// have to be asked for again, the rebuilds wait for that.
func (b *Builds) arrange(ctx context.Context, tx db.Tx, row store.Build, platform string) error {
	gates, err := store.Gates(ctx, tx, row.ID)
	if err != nil {
		return fmt.Errorf("graphs of build %d: %w", row.ID, err)
	}
	i := slices.IndexFunc(gates, func(g store.Gate) bool { return g.Platform == platform })
	if i < 0 {
		g, _, err := b.graphOf(ctx, tx, row, platform)
		if err != nil || row.Order == Auto { // one item alone
			return err
		}
		return b.follow(ctx, tx, row, platform, 0, g)
	}
	gate := gates[i]
	steps, err := b.stepsOf(ctx, tx, row.ID, platform)
	if err != nil {
		return err
	}
	sources := plan.Sources(steps)
	states, err := b.queue.States(ctx, tx, append(slices.Clone(sources), gate.TaskID)...)
	if err != nil {
		return err
	}
	there := !slices.ContainsFunc(sources, func(id albs.TaskID) bool { return states[id] != albs.TaskSucceeded })
	if there && gate.Known {
		g, _, err := b.graphOf(ctx, tx, row, platform)
		if err != nil {
			return err
		}
		if err := store.SetGraph(ctx, tx, row.ID, platform, g); err != nil {
			return err
		}
		return b.follow(ctx, tx, row, platform, gate.TaskID, g)
	}
	// The order is found once all sources are there: by the task that was to do so, if
	// it still waits, else by a new one in place of it.
	after := make(map[albs.TaskID][]albs.TaskID)
	finder := gate.TaskID
	switch state := states[gate.TaskID]; {
	case state == albs.TaskBlocked:
		after[finder] = sources
	case !state.Final():
		if err := b.queue.Cancel(ctx, tx, gate.TaskID, "the order is found again"); err != nil {
			return err
		}
		fallthrough
	default:
		if finder, err = b.enqueueGate(ctx, tx, row, platform, sources); err != nil {
			return err
		}
	}
	for _, s := range steps {
		for _, id := range s.Rebuilds {
			after[id] = s.Before(finder)
		}
	}
	return b.queue.SetAfter(ctx, tx, after)
}

// enqueueGate adds the task that finds the order of a platform once sources are there.
func (b *Builds) enqueueGate(ctx context.Context, tx db.Tx, row store.Build, platform string, sources []albs.TaskID) (albs.TaskID, error) {
	id, err := b.queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindGraph, Lane: lane(row), Topic: Topic(row.ID), After: sources,
		Spec: albs.Spec{Graph: &albs.GraphSpec{Build: row.ID, Platform: platform}},
	})
	if err != nil {
		return 0, err
	}
	return id, store.SetGate(ctx, tx, row.ID, platform, id)
}

func lane(r store.Build) string { return Build{Owner: r.Owner, Product: r.Product}.Lane() }
