package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
)

// The order of a build: who needs whom, and what was done when.

func (s *Server) routeOrder() {
	op := rest.Operation(get, "/api/v1/builds/{build_id}/graph", "Show which packages of a build need each other")
	op.Description = "One graph for each platform: a node is the rebuild of a package for an arch, an edge leads from what needs to what is needed. " +
		"An edge that is broken is one for which nobody waits, and says why."
	rest.Handle(s.Server, op, s.buildGraph)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/builds/{build_id}/schedule", "List a build's tasks in the order in which they were begun"), s.buildSchedule)
}

type graphView struct {
	Platform string      `json:"platform"`
	Order    build.Order `json:"order" enum:"auto,listed,independent"`
	Waits    string      `json:"waits,omitempty" doc:"Why the edges aren't known yet"`
	Nodes    []nodeView  `json:"nodes"`
	Edges    []edgeView  `json:"edges"`
	Cycles   []cycleView `json:"cycles" doc:"Before any was broken; the shortest through each edge"`
	Notes    []string    `json:"notes" doc:"What isn't known"`
}

type nodeView struct {
	ID       string         `json:"id" doc:"Within this graph"`
	Item     albs.ItemID    `json:"item"`
	Package  string         `json:"package"`
	Arch     albs.Arch      `json:"arch"`
	Task     albs.TaskID    `json:"task"`
	State    albs.TaskState `json:"state"`
	Excluded string         `json:"excluded,omitempty" doc:"The tag for which it isn't built"`
}

type edgeView struct {
	From     string   `json:"from" doc:"The node that needs"`
	To       string   `json:"to" doc:"The node that is needed"`
	Requires []string `json:"requires" doc:"Requirements that made the edge, some of them if they are many"`
	Broken   string   `json:"broken,omitempty" doc:"Why the node doesn't wait"`
}

type cycleView struct {
	Nodes []string `json:"nodes" doc:"Each needs the next, and the last the first"`
	Names string   `json:"names" doc:"The same for people"`
}

func (s *Server) buildGraph(ctx context.Context, in *buildInput) (*rest.Body[[]graphView], error) {
	b, err := s.Builds.Get(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	graphs, err := s.Builds.Graph(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	tasks := make(map[string]build.Task)
	for _, it := range b.Items {
		for _, t := range it.Tasks {
			if t.Kind == albs.KindBuild {
				tasks[nodeID(it.ID, t.Arch)] = t
			}
		}
	}
	out := []graphView{}
	for _, g := range graphs {
		out = append(out, viewGraph(g, tasks))
	}
	return rest.Answer(out), nil
}

func nodeID(item albs.ItemID, arch albs.Arch) string { return fmt.Sprintf("%d/%s", item, arch) }

func viewGraph(g build.PlatformGraph, tasks map[string]build.Task) graphView {
	v := graphView{Platform: g.Platform, Order: g.Order, Waits: g.Waits, Nodes: []nodeView{}, Edges: []edgeView{}, Cycles: []cycleView{}, Notes: []string{}}
	id := func(n int) string { return nodeID(g.Nodes[n].Item, g.Nodes[n].Arch) }
	for i, n := range g.Nodes {
		t := tasks[id(i)]
		v.Nodes = append(v.Nodes, nodeView{ID: id(i), Item: n.Item, Package: n.Package, Arch: n.Arch, Task: t.ID, State: t.State, Excluded: n.Excluded})
	}
	for _, e := range g.Edges {
		v.Edges = append(v.Edges, edgeView{From: id(e.From), To: id(e.To), Requires: e.Requires, Broken: e.Broken})
	}
	for _, c := range g.Cycles {
		w := cycleView{Names: g.Names(c)}
		for _, n := range c.Nodes {
			w.Nodes = append(w.Nodes, id(n))
		}
		v.Cycles = append(v.Cycles, w)
	}
	v.Notes = append(v.Notes, g.Notes...)
	return v
}

type scheduledView struct {
	Task       albs.TaskID    `json:"task"`
	Label      string         `json:"label" doc:"What it is, for people"`
	Kind       albs.TaskKind  `json:"kind"`
	Package    string         `json:"package,omitempty"`
	Platform   string         `json:"platform"`
	Arch       albs.Arch      `json:"arch,omitempty"`
	State      albs.TaskState `json:"state"`
	Reason     string         `json:"reason"`
	Attempt    int            `json:"attempt" doc:"The newest; 0 before the first"`
	Worker     string         `json:"worker,omitempty"`
	ReadyAt    *time.Time     `json:"ready_at" doc:"When all that it waited for was done"`
	StartedAt  *time.Time     `json:"started_at" doc:"Of the newest attempt"`
	FinishedAt *time.Time     `json:"finished_at"`
	After      []albs.TaskID  `json:"after" doc:"The tasks that it waited for"`
}

func (s *Server) buildSchedule(ctx context.Context, in *buildInput) (*rest.Body[[]scheduledView], error) {
	schedule, err := s.Builds.Schedule(ctx, in.Build)
	if err != nil {
		return nil, err
	}
	out := make([]scheduledView, len(schedule))
	for i, t := range schedule {
		out[i] = scheduledView{
			Task: t.Task, Label: t.Label, Kind: t.Kind, Package: t.Package, Platform: t.Platform, Arch: t.Arch, State: t.State, Reason: t.Reason,
			Attempt: t.Attempt, Worker: t.Worker, ReadyAt: rest.TimeOf(t.Ready), StartedAt: rest.TimeOf(t.Started), FinishedAt: rest.TimeOf(t.Finished),
			After: append([]albs.TaskID{}, t.After...),
		}
	}
	return rest.Answer(out), nil
}

// orderOf reads what a request says of the order. ALBS has independent_tasks with each
// platform; here a build has one order.
func (n newBuild) orderOf() (build.Order, []build.Break, error) {
	order := build.Order(n.Order)
	for i, p := range n.Platforms {
		independent := !rest.Empty(p.IndependentTasks)
		if independent && string(p.IndependentTasks) != "true" {
			return "", nil, albs.Errorf(albs.Invalid, "body.platforms[%d].independent_tasks has to be true or false", i)
		}
		if i > 0 && independent == rest.Empty(n.Platforms[0].IndependentTasks) {
			return "", nil, albs.Errorf(albs.Invalid, "body.platforms[%d].independent_tasks differs from the first platform's: a build has one order", i)
		}
		if !independent {
			continue
		}
		if order != "" && order != build.Independent {
			return "", nil, albs.Errorf(albs.Invalid, "body.platforms[%d].independent_tasks says that the order is independent, body.order that it is %s", i, order)
		}
		order = build.Independent
	}
	var breaks []build.Break
	for i, text := range n.Break {
		br, err := build.ParseBreak(strings.TrimSpace(text))
		if err != nil {
			return "", nil, albs.Errorf(albs.Invalid, "body.break[%d]: %w", i, err)
		}
		breaks = append(breaks, br)
	}
	return order, breaks, nil
}
