package releases

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) copyCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "copy", Usage: "plan the release of what another product shows, without building it again", ArgsUsage: "FROM TO [--package P…] [--serial N]",
		Description: "A plan of product TO is made of the packages of product FROM: the same signed files where both have one key, else those that TO's key has signed. It is approved and published as others are.\n" +
			"What isn't taken, as older versions, is told.\n" +
			"For example: albs release copy testing stable --package zlib",
		Flags: []urfave.Flag{
			&urfave.StringSliceFlag{Name: "package", Usage: "only the package `P`, by its name, its source package's, or its NEVRA; may be repeated"},
			&urfave.Int64Flag{Name: "serial", Usage: "what FROM showed at the serial `N`; albs release list has them"},
		},
		Action: a.Asks(2, 2, a.copyProduct),
	})
}

func (a app) copyProduct(c *urfave.Context, cl *client.Client) error {
	if c.IsSet("serial") && c.Int64("serial") < 1 {
		return terminal.Misused(c, "--serial %d is no serial: they begin with 1", c.Int64("serial"))
	}
	doc, err := cl.CopyRelease(c.Context, c.Args().Get(0), c.Args().Get(1), c.Int64("serial"), c.StringSlice("package"))
	return a.printPlanned(c, cl, doc, err)
}
