package trust

import (
	"context"
	"fmt"
	"os"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) rebuildCommand() *urfave.Command {
	return ask.Listed("albs build show lists a build's files", ask.Answers(&urfave.Command{
		Name: "rebuild", Usage: "build once more what made a package, and compare what comes out", ArgsUsage: "FILE|SHA256|NEVRA [--node NODE|--not-node NODE] [--wait]",
		Description: "It is built from the same source package, in a root of the same packages, by another node than the one that built, if there is one.\n" +
			"What comes out is compared and becomes no package of a build. With --wait it ends with 1 unless every package is bit-identical or payload-identical.\n" +
			"For example: albs rebuild hello-1-1.el9.x86_64 --wait",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "node", Usage: "have it done by the node `NAME`"},
			&urfave.StringFlag{Name: "not-node", Usage: "have it done by any node but `NAME`"},
			terminal.WaitFlag("it is compared"),
		},
		Action: terminal.Action(1, 1, a.rebuild),
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list rebuilds, the newest first", ArgsUsage: "[--build BUILD] [--of FILE|SHA256] [--before ID]",
				Description: "VERDICT is the worst of all packages that the build had left.",
				Flags: []urfave.Flag{
					&urfave.Int64Flag{Name: "build", Usage: "only those of the build `N`"},
					&urfave.StringFlag{Name: "of", Usage: "only those about the package `FILE|SHA256`, signed or not"},
					&urfave.Int64Flag{Name: "before", Usage: "only those with a lower `ID`, for the next page"},
				},
				Action: terminal.Action(0, 0, a.listRebuilds),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a rebuild with what came of each package", ArgsUsage: "ID",
				Description: "A package that differs is told with what differs in it first, files before tags. Its rebuilt file is kept for two weeks.",
				Action: ask.Numbered(a.App, "rebuild", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					doc, err := cl.Rebuild(c.Context, id)
					if err != nil || c.Bool("json") {
						return a.JSONOr(doc.JSON, err)
					}
					return a.showRebuild(doc.Value)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "cancel", Usage: "end a rebuild that is under way", ArgsUsage: "ID",
				Description: "What was compared before stays. Whoever asked for the rebuild may, and whoever may cancel the build.",
				Action: ask.Numbered(a.App, "rebuild", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					doc, err := cl.CancelRebuild(c.Context, id)
					if err != nil {
						return err
					}
					return a.Result(c, doc.JSON, "rebuild %d is cancelled", id)
				}),
			}),
		},
	}))
}

func (a app) rebuild(c *urfave.Context) error {
	n := client.NewRebuild{Of: c.Args().First(), Node: c.String("node"), NotNode: c.String("not-node")}
	if n.Node != "" && n.NotNode != "" {
		return terminal.Misused(c, "--node and --not-node: give one of them")
	}
	if info, err := os.Stat(n.Of); err == nil && info.Mode().IsRegular() {
		d, err := digest(n.Of)
		if err != nil {
			return err
		}
		n.Of = string(d)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.CreateRebuild(c.Context, n)
	if err != nil {
		return err
	}
	r := doc.Value
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "rebuild %d of task %d is queued: albs rebuild show %d", r.ID, r.Of, r.ID)
	}
	m := a.NewMeter()
	goesOn := fmt.Sprintf("the rebuild goes on: albs rebuild show %d", r.ID)
	err = a.Until(c.Context, cl, fmt.Sprintf("build:%d", r.Build), m, goesOn, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Rebuild(ctx, r.ID); err != nil {
			return false, err
		}
		now := doc.Value
		m.Now(fmt.Sprintf("rebuild %d: %s", now.ID, now.State))
		return !now.Ended.IsZero(), nil
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return a.Outcome(c, doc.JSON, unlike(doc.Value), "")
	}
	if err := a.showRebuild(doc.Value); err != nil {
		return err
	}
	return unlike(doc.Value)
}

// unlike is the error of a rebuild that didn't come out as the build had.
func unlike(r client.Rebuild) error {
	switch r.Verdict {
	case client.RebuiltBits, client.RebuiltPayload:
		return nil
	case client.RebuiltInputs:
		return albs.Errorf(albs.Conflict, "rebuild %d tells nothing, for its inputs differ%s", r.ID, ask.Because(r.Reason))
	case client.RebuiltDiffers:
		return albs.Errorf(albs.Conflict, "rebuild %d differs%s", r.ID, ask.Because(r.Reason))
	}
	return albs.Errorf(albs.Conflict, "rebuild %d came to nothing%s", r.ID, ask.Because(r.Reason))
}

func (a app) showRebuild(r client.Rebuild) error {
	node := r.Node
	if r.SameNode {
		node += " (the same node)"
	}
	waits := ""
	if r.Why != nil {
		waits = r.Why.Sentence
	}
	if err := a.Facts("rebuild", fmt.Sprint(r.ID), "build", r.Build.String(), "of task", r.Of.String(), "by task", r.Task.String(), "platform", r.Platform+" "+string(r.Arch),
		"built on", r.BuiltOn, "rebuilt on", node, "state", string(r.State), "waits", waits, "verdict", r.Verdict, "reason", r.Reason); err != nil {
		return err
	}
	t := terminal.NewTable("PACKAGE", "VERDICT", "WHAT DIFFERS")
	for _, p := range r.Packages {
		t.Row(p.Name, p.Verdict, differing(p.Differing, p.Ignored))
		for i, d := range p.Differing {
			if i > 0 {
				t.Row("", "", d)
			}
		}
	}
	return a.Table(t, "it is about no package")
}

// differing is the first of what differs, or what does and doesn't matter.
func differing(differing, ignored []string) string {
	switch {
	case len(differing) > 0:
		return differing[0]
	case len(ignored) > 0:
		return "only " + ask.Words(ignored)
	}
	return ""
}

func (a app) listRebuilds(c *urfave.Context) error {
	var of albs.Digest
	if file := c.String("of"); file != "" {
		d, err := digest(file)
		if err != nil {
			return err
		}
		of = d
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.Rebuilds(c.Context, c.Int64("before"), albs.BuildID(c.Int64("build")), of)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("ID", "BUILD", "OF TASK", "ARCH", "BUILT ON", "REBUILT ON", "STATE", "VERDICT", "TIME")
	for _, r := range doc.Value.Rebuilds {
		t.Row(fmt.Sprint(r.ID), r.Build.String(), r.Of.String(), string(r.Arch), r.BuiltOn, r.Node, string(r.State), r.Verdict, terminal.When(r.Created))
	}
	if err := a.Table(t, "nothing was built again"); err != nil {
		return err
	}
	if doc.Value.Next > 0 {
		return a.Note("more: albs rebuild list --before %d", doc.Value.Next)
	}
	return nil
}
