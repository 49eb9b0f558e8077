package releases

import (
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) decideCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "decide", Usage: "say where packages of a release go, or that they don't", ArgsUsage: "RELEASE --move P=TO… --add P=TO… --exclude P… --undo P… --reason TEXT",
		Description: "P is a package as the plan writes it, TO the path of a repository or a place of the distribution. The plan is made anew, and approvals of the one before are void.\n" +
			"For example: albs release decide 3 --move hello-1.0-1.el9.x86_64=CRB --reason \"only needed to build\"",
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "move", Usage: "`P=TO`: the package goes there and nowhere else"},
			&urfave.StringSliceFlag{Name: "add", Usage: "`P=TO`: it goes there too"},
			&urfave.StringSliceFlag{Name: "exclude", Usage: "`P`: it isn't released"},
			&urfave.StringSliceFlag{Name: "undo", Usage: "`P`: what was decided of it before is taken back"},
			&urfave.StringFlag{Name: "reason", Usage: "why, one line of `TEXT`"},
		},
		Action: ask.Numbered(a.App, "release", 1, a.decideRelease),
	})
}

// decideRelease sends what holds from now on: what held before, without what is taken
// back, and what is new.
func (a app) decideRelease(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
	var made []client.Decision
	for _, action := range []string{"move", "add", "exclude"} {
		for _, word := range c.StringSlice(action) {
			// No NEVRA has an equals sign.
			pkg, to, ok := strings.Cut(word, "=")
			if ok == (action == "exclude") {
				return terminal.Misused(c, "--%s %s: --move and --add take a package, = and where it goes, --exclude a package alone", action, word)
			}
			made = append(made, client.Decision{Action: action, Package: pkg, To: to, Reason: c.String("reason")})
		}
	}
	undo := c.StringSlice("undo")
	switch {
	case len(made) == 0 && len(undo) == 0:
		return terminal.Misused(c, "there is nothing to decide: give --move, --add, --exclude or --undo")
	case len(made) > 0 && c.String("reason") == "":
		return terminal.Misused(c, "give the --reason")
	}
	doc, err := cl.Release(c.Context, id)
	if err != nil {
		return err
	}
	var held []client.Decision
	if p := doc.Value.Plan; p != nil {
		held = p.Decisions
	}
	for _, pkg := range undo {
		if !slices.ContainsFunc(held, func(d client.Decision) bool { return d.Package == pkg }) {
			return albs.Errorf(albs.NotFound, "nothing was decided of %s", pkg)
		}
	}
	held = slices.DeleteFunc(slices.Clone(held), func(d client.Decision) bool { return slices.Contains(undo, d.Package) })
	if doc, err = cl.DecideRelease(c.Context, id, doc.Value.Digest, append(held, made...)); err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	if err := a.printRelease(doc.Value); err != nil {
		return err
	}
	if refused(doc.Value) {
		return fmt.Errorf("release %d can't be approved as it is; see the refusals", id)
	}
	return nil
}
