// Package tests has the commands about the tests of packages.
package tests

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{{
		Name:        "test",
		Usage:       "tests of packages: what they found out, what they leave out, what is waived, and where those of packages' own are",
		Description: "Every package is tested in stages before it may be signed. Which stages have to pass, a product's gate says.",
		Subcommands: []*urfave.Command{
			a.listCommand(), a.showCommand(), a.logCommand(), a.retryCommand(), a.cancelCommand(), a.compareCommand(), a.historyCommand(), a.junitCommand(),
			a.skipCommand(), a.waiveCommand(), a.waiversCommand(), a.repositoryCommand(),
		},
	}}
}

// skippable are the stages that may be on the skip list.
func skippable() []string {
	var out []string
	for _, s := range albs.TestStages {
		if !s.Setup() {
			out = append(out, string(s))
		}
	}
	return out
}

func (a app) skipCommand() *urfave.Command {
	return ask.Listed("albs test skip list shows all", &urfave.Command{
		Name:        "skip",
		Usage:       "stages that are skipped for some packages",
		Description: "An entry holds for the packages of exactly one name on one platform, from the next test on, and its reason is shown with each of them.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list the skip list", ArgsUsage: "[--platform NAME]",
				Description: "All entries are listed by platform, package and stage, with who made them and why.",
				Flags:       []urfave.Flag{&urfave.StringFlag{Name: "platform", Usage: "only those of the platform `NAME`"}},
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Skip], error) {
					return cl.Skips(c.Context, c.String("platform"))
				}, a.listSkips),
			}),
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "skip a stage for a package", ArgsUsage: "PLATFORM PACKAGE STAGE --reason TEXT",
				Description: "PACKAGE is a name without its version, and no pattern. STAGE is one of " + strings.Join(skippable(), ", ") + ".\n" +
					"For example: albs test skip add almalinux-9 glibc downgrade --reason \"its locale archive can't go back\"",
				Flags:  []urfave.Flag{&urfave.StringFlag{Name: "reason", Usage: "why, in one `LINE`"}},
				Action: terminal.Action(3, 3, a.addSkip),
			}),
			{
				Name: "remove", Usage: "skip a stage no more", ArgsUsage: "ID",
				Description: "ID is an entry's, as albs test skip list shows it.",
				Action: ask.Numbered(a.App, "entry of the skip list", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					if err := cl.RemoveSkip(c.Context, id); err != nil {
						return err
					}
					return a.Say("entry %d is off the skip list", id)
				}),
			},
		},
	})
}

func (a app) listSkips(skips []client.Skip) error {
	t := terminal.NewTable("ID", "PLATFORM", "PACKAGE", "STAGE", "SINCE", "BY", "REASON")
	for _, s := range skips {
		t.Row(terminal.Decimal(s.ID), s.Platform, s.Package, string(s.Stage), terminal.When(s.At), s.Actor, s.Reason)
	}
	return a.Table(t, "nothing is on the skip list")
}

func (a app) addSkip(c *urfave.Context) error {
	n := client.NewSkip{Platform: c.Args().First(), Package: c.Args().Get(1), Stage: albs.TestStage(c.Args().Get(2)), Reason: c.String("reason")}
	if !slices.Contains(skippable(), string(n.Stage)) {
		return terminal.Misused(c, "stage %q is none of %s", n.Stage, strings.Join(skippable(), ", "))
	}
	if n.Reason == "" {
		return terminal.Misused(c, "--reason is missing: it is shown with each package that the entry holds for")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.AddSkip(c.Context, n)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "the stage %s of %s is skipped on %s, by entry %d", n.Stage, n.Package, n.Platform, doc.Value.ID)
}
