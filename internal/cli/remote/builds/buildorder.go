package builds

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

// The commands about the order of a build, and those that make or remove whole builds.

func (a app) orderCommands() []*urfave.Command {
	return []*urfave.Command{
		ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
			Name: "graph", Usage: "show which packages of a build need each other, and why", ArgsUsage: "BUILD [--dot]",
			Description: "The edges are known once all source packages of a platform are there. --dot prints them for Graphviz's dot.\n" +
				"For example: albs build graph 7 --dot",
			Flags:  []urfave.Flag{&urfave.BoolFlag{Name: "dot", Usage: "print the graph in Graphviz's language"}},
			Action: ask.Numbered(a.App, "build", 1, a.graph),
		})),
		ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
			Name: "schedule", Usage: "list a build's steps as they were begun, with what each waited for", ArgsUsage: "BUILD",
			Description: "READY is when all that a step waited for was done, START when a worker took it.",
			Action:      ask.Numbered(a.App, "build", 1, a.schedule),
		})),
		ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
			Name: "clone", Usage: "build once more what a build was asked for", ArgsUsage: "BUILD [--fresh] [--wait]",
			Description: "The same commits are built, for the same platforms and with the same options.",
			Flags: []urfave.Flag{
				&urfave.BoolFlag{Name: "fresh", Usage: "look up branches and tags again"},
				terminal.WaitFlag("the build and its tests are over"),
			},
			Action: ask.Numbered(a.App, "build", 1, a.cloneBuild),
		})),
		ask.Listed("albs build list shows all", &urfave.Command{
			Name: "delete", Usage: "hide a build that is neither signed nor released", ArgsUsage: "BUILD",
			Description: "What runs of it is cancelled. What was stated about its files stays.",
			Action: ask.Numbered(a.App, "build", 1, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
				if err := cl.DeleteBuild(c.Context, id); err != nil {
					return err
				}
				return a.Say("build %d is deleted", id)
			}),
		}),
	}
}

func (a app) graph(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	doc, err := cl.Graph(c.Context, id)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	if c.Bool("dot") {
		for line := range strings.Lines(dot(id, doc.Value)) {
			if err := a.Say("%s", strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		return nil
	}
	for _, g := range doc.Value {
		if err := a.printGraph(g); err != nil {
			return err
		}
	}
	return nil
}

func (a app) printGraph(g client.Graph) error {
	if err := a.Facts("platform", g.Platform, "order", g.Order, "unknown yet", g.Waits); err != nil {
		return err
	}
	names := make(map[string]string, len(g.Nodes))
	for _, n := range g.Nodes {
		names[n.ID] = n.Package + " " + string(n.Arch)
	}
	edges := terminal.NewTable("PACKAGE", "NEEDS", "FOR", "NOT AWAITED BECAUSE")
	needs := make(map[string]bool)
	for _, e := range g.Edges {
		needs[e.From] = true
		edges.Row(names[e.From], names[e.To], strings.Join(e.Requires, ", "), e.Broken)
	}
	for _, n := range g.Nodes {
		switch {
		case n.Excluded != "":
			edges.Row(names[n.ID], "-", "not built: "+n.Excluded, "")
		case !needs[n.ID]:
			edges.Row(names[n.ID], "-", "", "")
		}
	}
	if err := a.Section(edges); err != nil {
		return err
	}
	rest := terminal.NewTable("CYCLES AND NOTES")
	for _, cycle := range g.Cycles {
		rest.Row("cycle: " + cycle.Names)
	}
	for _, n := range g.Notes {
		rest.Row(n)
	}
	return a.Section(rest)
}

// dot writes graphs in Graphviz's language: an arrow leads from what is needed to what
// needs it, as time does.
func dot(id albs.BuildID, graphs []client.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph build_%d {\n  rankdir=LR; node [shape=box];\n", id)
	for i, g := range graphs {
		node := func(id string) string { return quote(fmt.Sprintf("%d/%s", i, id)) }
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n", i, quote(g.Platform))
		for _, n := range g.Nodes {
			style := ""
			if n.Excluded != "" {
				style = ", style=dotted"
			}
			fmt.Fprintf(&b, "    %s [label=%s%s];\n", node(n.ID), quote(n.Package+" "+string(n.Arch)), style)
		}
		for _, e := range g.Edges {
			style := ""
			if e.Broken != "" {
				style = ", style=dashed, color=red"
			}
			fmt.Fprintf(&b, "    %s -> %s [label=%s%s];\n", node(e.To), node(e.From), quote(strings.Join(e.Requires, ", ")), style)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// quote makes a string of Graphviz's language, in which only these two stand for
// something else.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}

func (a app) schedule(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	doc, err := cl.Schedule(c.Context, id)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("TASK", "STEP", "PLATFORM", "STATE", "READY", "START", "END", "NODE", "AFTER")
	for _, s := range doc.Value {
		after := ask.Numbers(s.After)
		if s.Reason != "" && !s.State.Final() {
			after += " (" + ask.Shorten(s.Reason) + ")"
		}
		t.Row(terminal.Decimal(s.Task), s.Label, s.Platform, watch.State(s.State, 0), clock(s.Ready), clock(s.Started), clock(s.Finished), s.Worker, after)
	}
	return a.Table(t, "the build has no steps")
}

// clock is a moment to the tenth of a second, by which steps can be told apart.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("15:04:05.0")
}

func (a app) cloneBuild(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	b, err := cl.CloneBuild(c.Context, id, c.Bool("fresh"), rand.Text())
	if err != nil {
		return err
	}
	return a.queued(c, cl, b)
}

// itemFlag names an item of a build.
func itemFlag(name, usage string) urfave.Flag {
	return &urfave.Int64Flag{Name: name, Usage: usage + "; albs build show lists items (`ITEM`)"}
}

// showTask shows one step of a build with the attempts at it.
func (a app) showTask(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	n, err := terminal.Number(c, "task", c.Args().Get(1))
	if err != nil {
		return err
	}
	doc, err := cl.Task(c.Context, id, albs.TaskID(n))
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := doc.Value
	waits := ""
	if t.Why != nil {
		waits = t.Why.Sentence
	}
	if err := a.Facts("task", terminal.Decimal(t.ID), "package", t.Package, "platform", t.Platform.Name, "arch", string(t.Arch), "step", string(t.Kind),
		"state", watch.State(t.State, 0), "why", t.Reason, "waits", waits, "took", a.Took(t.Started, t.Finished)); err != nil {
		return err
	}
	attempts := terminal.NewTable("ATTEMPT", "NODE", "STATE", "START", "TOOK", "WHY")
	for _, x := range t.AttemptList {
		attempts.Row(terminal.Decimal(x.Number), x.Worker, x.State, terminal.When(x.Started), a.Took(x.Started, x.Finished), x.Reason)
	}
	return a.Section(attempts)
}
