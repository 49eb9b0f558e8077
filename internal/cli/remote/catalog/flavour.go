package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) flavourCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "flavour",
		Usage:       "what some builds have beside their platform",
		Description: "A flavour is a set of repositories, macros and packages that a build may add to its platform's root. A build keeps the revision that it was made with.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "apply", Usage: "make a flavour, or change the one of that name", ArgsUsage: "FILE.yaml",
				Description: "FILE.yaml says all of the flavour, and the file's name field which one; - reads stdin. Applying the same file twice changes nothing.\n" +
					"For example: albs flavour apply epel-9.yaml",
				Action: applies(a, (*client.Client).ApplyFlavour, func(f client.Flavour) string {
					return fmt.Sprintf("flavour %s is at revision %d", f.Name, f.Revision)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list flavours",
				Description: "All flavours are listed by name, with the revision in force and who made it.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Flavour], error) {
					return cl.Flavours(c.Context)
				}, a.listFlavours),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a flavour", ArgsUsage: "NAME",
				Description: "NAME is one that albs flavour list has. --json prints everything that was applied.",
				Action: ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[client.Flavour], error) {
					return cl.Flavour(c.Context, c.Args().First())
				}, a.showFlavour),
			}),
		},
	}
}

func (a app) listFlavours(flavours []client.Flavour) error {
	t := terminal.NewTable("NAME", "PLATFORMS", "REVISION", "CHANGED", "BY")
	for _, f := range flavours {
		t.Row(f.Name, goesWith(f), terminal.Decimal(f.Revision), terminal.When(f.At), f.Actor)
	}
	return a.Table(t, "there are no flavours; make one with: albs flavour apply FILE.yaml")
}

func goesWith(f client.Flavour) string {
	if len(f.Spec.Platforms) == 0 {
		return "all"
	}
	return strings.Join(f.Spec.Platforms, " ")
}

func (a app) showFlavour(f client.Flavour) error {
	if err := a.Facts("flavour", f.Name, "platforms", goesWith(f), "packages", strings.Join(f.Spec.Packages, " "),
		"revision", terminal.Decimal(f.Revision), "digest", string(f.Digest), "changed", terminal.When(f.At), "by", f.Actor); err != nil {
		return err
	}
	if err := a.repositories(f.Spec.Repositories); err != nil {
		return err
	}
	m := terminal.NewTable("MACRO", "BODY")
	for _, name := range slices.Sorted(maps.Keys(f.Spec.Macros)) {
		m.Row(name, f.Spec.Macros[name])
	}
	return a.Section(m)
}
