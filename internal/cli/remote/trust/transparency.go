package trust

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) transparencyCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "transparency",
		Usage: "the public log of releases",
		Description: "Every released package is entered into an append-only log that anybody can read, and its proof lies beside it.\n" +
			"A package that a release or a rollback withdraws is entered too, as such.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show the logs, and what is on its way there",
				Description: "The log's key is what albs verify believes; albs trust has it.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[client.Transparency], error) {
					return cl.Transparency(c.Context)
				}, a.showTransparency),
			}),
			ask.Answers(&urfave.Command{
				Name: "check", Usage: "read the logs and hold them to all that was released",
				Description: "Each package that was released or withdrawn has to be in a log, and each leaf of a log has to be of one that was.\n" +
					"The master does so daily; it takes a minute for some 100,000 packages. It ends with 1 if something differs.",
				Action: a.Asks(0, 0, a.checkTransparency),
			}),
		},
	}
}

func (a app) showTransparency(v client.Transparency) error {
	t := terminal.NewTable("LOG", "ORIGIN", "LEAVES", "SINCE", "KEY")
	for _, l := range v.Logs {
		t.Row(fmt.Sprint(l.ID), l.Origin, terminal.Decimal(l.Size), terminal.When(l.Begun), l.VKey)
	}
	if err := a.Table(t, "no log has begun: nothing was released yet"); err != nil {
		return err
	}
	pairs := []string{
		"wait for the ledger", terminal.Decimal(v.Waiting), "wait for the log", terminal.Decimal(v.Entered),
		"wait for the public place", terminal.Decimal(v.Proven), "done", terminal.Decimal(v.Laid),
		"withdrawn", terminal.Decimal(v.Withdrawn), "withdrawn, wait for the log", terminal.Decimal(v.Withdrawing),
		"trouble", v.Trouble,
	}
	if v.Witnesses > 0 {
		pairs = append(pairs, "witnesses", fmt.Sprintf("%d, of which %d have to cosign", v.Witnesses, v.Quorum))
	}
	return a.Facts(pairs...)
}

func (a app) checkTransparency(c *urfave.Context, cl *client.Client) error {
	doc, err := cl.CheckTransparency(c.Context)
	if err != nil {
		return err
	}
	r := doc.Value
	if c.Bool("json") {
		err = a.PrintJSON(doc.JSON)
	} else {
		err = a.Facts("leaves", terminal.Decimal(r.Leaves), "released packages", terminal.Decimal(r.Packages), "withdrawals", terminal.Decimal(r.Withdrawn), "of them on their way", terminal.Decimal(r.Pending), "differences", terminal.Decimal(r.Found))
		for _, f := range r.Faults {
			if err == nil {
				err = a.Note("%s", f)
			}
		}
	}
	if err == nil && r.Found > 0 {
		err = albs.Errorf(albs.Conflict, "the public log and the releases don't tell the same")
	}
	return err
}
