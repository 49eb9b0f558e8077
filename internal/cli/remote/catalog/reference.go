package catalog

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) indexCommand() *urfave.Command {
	show := func(question func(*client.Client, *urfave.Context) (client.Doc[[]client.Reference], error)) urfave.ActionFunc {
		return ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Reference], error) {
			return question(cl, c)
		}, a.showReferences)
	}
	return ask.Listed("albs platform list shows all", &urfave.Command{
		Name: "index", Usage: "which place packages have in a distribution",
		Description: "A platform's references are repositories that say where packages belong; releases are planned by what they list.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a platform's references and how many packages each lists", ArgsUsage: "PLATFORM",
				Description: "A reference that can't be read keeps what it listed before, and WHY says what is wrong.",
				Action: show(func(cl *client.Client, c *urfave.Context) (client.Doc[[]client.Reference], error) {
					return cl.References(c.Context, c.Args().First())
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "refresh", Usage: "read a platform's references anew", ArgsUsage: "PLATFORM",
				Description: "The server does so by itself every hour. What hasn't changed is not read again.",
				Action: show(func(cl *client.Client, c *urfave.Context) (client.Doc[[]client.Reference], error) {
					return cl.RefreshReferences(c.Context, c.Args().First())
				}),
			}),
		},
	})
}

func (a app) showReferences(list []client.Reference) error {
	t := terminal.NewTable("PLACE", "ARCH", "PACKAGES", "LISTED", "URL", "WHY")
	bad := 0
	for _, r := range list {
		t.Row(r.Place, string(r.Arch), terminal.Decimal(r.Packages), terminal.When(r.Listed), r.URL, ask.Shorten(r.Failure))
		if r.Failure != "" {
			bad++
		}
	}
	if err := a.Table(t, "the platform has no references: its file names them under references"); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d references could not be read; what they listed before holds", bad, len(list))
	}
	return nil
}
