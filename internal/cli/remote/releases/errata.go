package releases

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// Errata returns the commands of albs errata that release advisories and see what the
// public has of them.
func Errata(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{
		ask.Listed("albs product list and albs platform list show what there is", ask.Answers(&urfave.Command{
			Name: "release", Usage: "plan the release of all advisories of a platform that wait", ArgsUsage: "--product P --platform PLATFORM [--build N…]",
			Description: "The plan says of each whether it is released, and else why not; it is approved and published as others are.\n" +
				"Those that you name alone are released by albs release plan --advisory.\n" +
				"For example: albs errata release --product demo --platform almalinux-9",
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "product", Usage: "the product `P`"},
				&urfave.StringFlag{Name: "platform", Usage: "the `PLATFORM` whose advisories are meant"},
				&urfave.Int64SliceFlag{Name: "build", Usage: "the build `N` whose packages are released with them; may be repeated"},
			},
			Action: terminal.Action(0, 0, a.releaseErrata),
		})),
		ask.Listed("albs product list shows what there is", ask.Answers(&urfave.Command{
			Name: "check", Usage: "compare what the public sees with a product's advisories", ArgsUsage: "PRODUCT [--last]",
			Description: "The repositories are read as readers do: packages and sha256 that are missing or others, modules, and what updateinfo says.\n" +
				"It fails where something isn't as it should be.\n" +
				"For example: albs errata check demo",
			Flags:  []urfave.Flag{&urfave.BoolFlag{Name: "last", Usage: "tell what the master found last, and read nothing now"}},
			Action: a.Asks(1, 1, a.checkErrata),
		})),
	}
}

func (a app) releaseErrata(c *urfave.Context) error {
	if err := terminal.Needs(c, "product", "platform"); err != nil {
		return err
	}
	builds, err := buildsOf(c)
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.PlanWaiting(c.Context, c.String("product"), c.String("platform"), builds)
	return a.printPlanned(c, cl, doc, err)
}

// buildsOf returns the builds that --build names.
func buildsOf(c *urfave.Context) ([]albs.BuildID, error) {
	var builds []albs.BuildID
	for _, n := range c.Int64Slice("build") {
		if n < 1 {
			return nil, terminal.Misused(c, "--build %d is no build's number", n)
		}
		builds = append(builds, albs.BuildID(n))
	}
	return builds, nil
}

func (a app) checkErrata(c *urfave.Context, cl *client.Client) error {
	ask := cl.CheckErrata
	if c.Bool("last") {
		ask = cl.ErrataChecked
	}
	doc, err := ask(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	r := doc.Value
	n := len(r.Troubles) + r.More
	if n > 0 {
		err = fmt.Errorf("product %s: %d things are not as its advisories say", r.Product, n)
	} else if len(r.Unchecked) > 0 {
		err = fmt.Errorf("product %s: not all could be checked", r.Product)
	}
	if !c.Bool("json") && err != nil {
		troubles := terminal.NewTable("TROUBLE", "ADVISORY", "PACKAGE", "REPOSITORY", "DETAIL")
		for _, t := range r.Troubles {
			troubles.Row(t.Kind, t.Advisory, t.Package, t.Repository, t.Detail)
		}
		for _, why := range r.Unchecked {
			troubles.Row("not checked", "", "", "", why)
		}
		if err := a.Table(troubles, ""); err != nil {
			return err
		}
	}
	return a.Outcome(c, doc.JSON, err, "product %s: the public sees its %d advisories as they are (serial %d)", r.Product, r.Advisories, r.Serial)
}
