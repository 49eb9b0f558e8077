package tests

import (
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) waiveCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "waive", Usage: "let a package go though its tests didn't pass", ArgsUsage: "BUILD PACKAGE --reason TEXT [--stage STAGE | --untested] [--days N]",
		Description: "PACKAGE is one of the build's, by its NEVRA or sha256. The waiver is stated in the ledger and named wherever the package is shown; it ends by itself. What was never tested isn't waived without --untested.\n" +
			"For example: albs test waive 7 hello-1-1.x86_64 --stage upgrade --reason \"the old scriptlet is broken\"",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "reason", Usage: "why, in one `LINE`"},
			&urfave.StringFlag{Name: "stage", Usage: "only the `STAGE`, one of " + strings.Join(skippable(), ", ")},
			&urfave.BoolFlag{Name: "untested", Usage: "also where nobody knows how its tests end"},
			&urfave.IntFlag{Name: "days", Usage: "for which it holds, `N` from 1 to 90", Value: 14},
		},
		Action: terminal.Action(2, 2, a.waive),
	})
}

func (a app) waive(c *urfave.Context) error {
	id, err := strconv.ParseInt(c.Args().First(), 10, 64)
	if err != nil {
		return terminal.Misused(c, "%q is no build's number", c.Args().First())
	}
	n := client.NewWaiver{
		Build: albs.BuildID(id), Package: c.Args().Get(1), Stage: albs.TestStage(c.String("stage")), Untested: c.Bool("untested"), Reason: c.String("reason"), Days: c.Int("days"),
	}
	switch {
	case n.Stage != "" && !slices.Contains(skippable(), string(n.Stage)):
		return terminal.Misused(c, "stage %q is none of %s", n.Stage, strings.Join(skippable(), ", "))
	case n.Reason == "":
		return terminal.Misused(c, "--reason is missing: it is stated, and shown with the package")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.Waive(c.Context, n)
	if err != nil {
		return err
	}
	w := doc.Value
	return a.Result(c, doc.JSON, "%s of %s is waived until %s, by waiver %d", waived(w), w.NEVRA, w.Expires.UTC().Format(time.DateOnly), w.ID)
}

// waived says what a waiver is of.
func waived(w client.Waiver) string {
	switch {
	case w.Untested:
		return "all of the tests"
	case w.Stage != "":
		return "the stage " + string(w.Stage)
	}
	return "what failed"
}

func (a app) waiversCommand() *urfave.Command {
	return ask.Listed("albs test waivers list shows all", &urfave.Command{
		Name:        "waivers",
		Usage:       "packages that may go though their tests didn't pass",
		Description: "A waiver holds for one package of one build until it expires or is taken back. albs test waive makes one.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list waivers", ArgsUsage: "[--build BUILD] [--state STATE] [--package TEXT]",
				Description: "The newest 200 are listed, those that have ended among them.",
				Flags: []urfave.Flag{
					&urfave.Int64Flag{Name: "build", Usage: "only those of the build `BUILD`"},
					&urfave.StringFlag{Name: "state", Usage: "only those that are `STATE`: in-force, taken-back or expired"},
					&urfave.StringFlag{Name: "package", Usage: "only those of packages with `TEXT` in their NEVRA"},
				},
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Waiver], error) {
					f := client.WaiverFilter{Build: albs.BuildID(c.Int64("build")), State: strings.ReplaceAll(c.String("state"), "-", " "), Package: c.String("package")}
					return cl.Waivers(c.Context, f)
				}, a.listWaivers),
			}),
			{
				Name: "end", Usage: "take a waiver back", ArgsUsage: "ID --reason TEXT",
				Description: "ID is a waiver's, as albs test waivers list shows it. What was signed or released by it stays so.\n" +
					"For example: albs test waivers end 4 --reason \"it is mended\"",
				Flags: []urfave.Flag{&urfave.StringFlag{Name: "reason", Usage: "why, in one `LINE`"}},
				Action: ask.Numbered(a.App, "waiver", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					if c.String("reason") == "" {
						return terminal.Misused(c, "--reason is missing: it is stated, and shown with the package")
					}
					if err := cl.EndWaiver(c.Context, id, c.String("reason")); err != nil {
						return err
					}
					return a.Say("waiver %d is taken back", id)
				}),
			},
		},
	})
}

func (a app) listWaivers(all []client.Waiver) error {
	t := terminal.NewTable("ID", "BUILD", "PACKAGE", "WAIVED", "STATE", "UNTIL", "BY", "REASON")
	for _, w := range all {
		state := "in force"
		switch {
		case w.EndedBy != "" && w.EndedFor != "":
			state = "taken back by " + w.EndedBy + ": " + w.EndedFor
		case w.EndedBy != "":
			state = "taken back by " + w.EndedBy
		case !w.InForce:
			state = "expired"
		case w.Soon:
			state = "expires soon"
		}
		t.Row(terminal.Decimal(w.ID), terminal.Decimal(w.Build), w.NEVRA, waived(w), state, terminal.When(w.Expires), w.Person, w.Reason)
	}
	return a.Table(t, "nothing is waived")
}
