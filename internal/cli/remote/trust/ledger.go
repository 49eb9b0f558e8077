package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

func (a app) ledgerCommand() *urfave.Command {
	return &urfave.Command{
		Name: "ledger", Usage: "check the whole ledger, and take it out",
		Description: "The ledger has every statement that the master ever made, in an order that nobody can change unseen.",
		Subcommands: []*urfave.Command{
			{
				Name: "check", Usage: "read the whole ledger and say what is wrong", ArgsUsage: "[FILE] [--trust TRUST] [--from start] [--json]",
				Description: "Each transaction that wasn't read before is held against all those before it.\n" +
					"Its statements and records are held against their signatures, the database and what is kept. The server does\n" +
					"so by itself too, weekly and from the start. Where it had come is kept if it is stopped.\n" +
					"With FILE, from albs ledger export, no server is asked: the file is checked from its first line to the\n" +
					"signed state in its last, and nothing but TRUST, from albs trust export, is believed.\n" +
					"Exit code 1 says that something is wrong.\n" +
					"For example: albs ledger check --from start",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "from", Value: "place", Usage: "the `PLACE` to begin at: start, or place, which is where the last check had come"},
					&urfave.StringFlag{Name: "trust", Usage: "the `FILE` that says which ledger and master key are trusted"},
					terminal.JSONFlag(),
				},
				Action: terminal.Action(0, 1, a.checkLedger),
			},
			{
				Name: "export", Usage: "save the whole ledger as lines of JSON, to be checked elsewhere", ArgsUsage: "--output FILE",
				Description: "A line is a transaction with all its entries; the last one is the ledger's state, signed by the master.\n" +
					"For example: albs ledger export --output ledger.jsonl",
				Flags:  []urfave.Flag{ask.OutputFlag()},
				Action: terminal.Action(0, 0, a.exportLedger),
			},
		},
	}
}

func (a app) exportLedger(c *urfave.Context) error {
	if err := terminal.Needs(c, "output"); err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	r, err := cl.ExportLedger(c.Context)
	if err != nil {
		return err
	}
	return errors.Join(a.SaveFile(c.String("output"), r), r.Close())
}

func (a app) checkLedger(c *urfave.Context) error {
	from := c.String("from")
	switch {
	case from != "place" && from != "start":
		return albs.Errorf(albs.Invalid, "--from is start or place, not %.40q", from)
	case c.Args().Len() == 1:
		return a.checkExport(c, c.Args().First())
	case c.String("trust") != "":
		return albs.Errorf(albs.Invalid, "--trust is for a FILE: without one the server checks its own ledger")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	before, err := cl.CheckLedger(c.Context, from == "start")
	if err != nil {
		return err
	}
	var last client.Doc[client.LedgerCheck]
	err = a.UntilRun(c.Context, cl, before, "the check goes on; albs ledger check says so while it runs", func(ctx context.Context) (run watch.Run, err error) {
		last, err = cl.LedgerCheck(ctx)
		v := last.Value
		switch {
		case v.Of > 0:
			run.Now = fmt.Sprintf("%s: %d of %d, %d%%", v.Step, v.Done, v.Of, v.Done*100/v.Of)
		case v.Step != "":
			run.Now = fmt.Sprintf("%s: %d", v.Step, v.Done)
		}
		run.Ended, run.Last = v.Runs, v.Last != nil
		return run, err
	})
	if err != nil {
		return err
	}
	r := last.Value.Last
	if c.Bool("json") {
		err = a.PrintLast(last.JSON)
	} else {
		err = errors.Join(a.faults(r.Faults), a.Facts(
			"transactions", fmt.Sprintf("%d, of which %d to %d were read now", r.Transactions, r.From, r.State.TxID),
			"statements", terminal.Decimal(r.Statements),
			"records of files", terminal.Decimal(r.Records),
			"other entries", terminal.Decimal(r.Others),
			"rows of the database", terminal.Decimal(r.Rows),
			"kept files", terminal.Decimal(r.Artifacts),
			"waiting for the ledger", terminal.Decimal(r.Pending),
			"wrong", terminal.Decimal(r.Wrong),
		))
	}
	if r.Error != "" {
		return errors.Join(err, albs.Errorf(albs.Internal, "the check ended early: %s", r.Error))
	}
	return errors.Join(err, wrong(r.Wrong))
}

func (a app) faults(faults []client.LedgerFault) error {
	if len(faults) == 0 {
		return nil
	}
	t := terminal.NewTable("TX", "KEY", "WHAT IS WRONG")
	for _, f := range faults {
		t.Row(terminal.Decimal(f.TxID), f.Key, f.What)
	}
	return a.Table(t, "")
}

func wrong(n int) error {
	if n == 0 {
		return nil
	}
	return albs.Errorf(albs.Conflict, "%d things are wrong in the ledger: release nothing before a person has looked", n)
}

// checkExport checks an export offline.
func (a app) checkExport(c *urfave.Context, path string) error {
	if err := terminal.Needs(c, "trust"); err != nil {
		return err
	}
	b, err := a.ReadFile(c.String("trust"), "a trust file, as albs trust export saves it", attest.MaxTrust)
	if err != nil {
		return err
	}
	trust, err := attest.ParseTrust(b)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return albs.Errorf(albs.Invalid, "read the export: %w", err)
	}
	defer func() { _ = f.Close() }()
	m := a.NewMeter()
	tally, state, err := attest.CheckExport(c.Context, f, trust, func(id uint64) {
		if id%1000 == 0 {
			m.Now(fmt.Sprintf("transaction %d", id))
		}
	})
	m.End()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if tally.Faults == nil {
			tally.Faults = []attest.Fault{}
		}
		var doc []byte
		if doc, err = json.Marshal(struct {
			State attest.SignedState `json:"state"`
			attest.Tally
		}{state, tally}); err == nil {
			err = a.PrintJSON(doc)
		}
	} else {
		var faults []client.LedgerFault
		for _, f := range tally.Faults {
			faults = append(faults, client.LedgerFault(f))
		}
		err = errors.Join(a.faults(faults), a.Facts(
			"ledger", state.State.Ledger,
			"state signed", terminal.When(state.At),
			"transactions", terminal.Decimal(tally.Transactions),
			"statements", terminal.Decimal(tally.Statements),
			"records of files", terminal.Decimal(tally.Records),
			"other entries", terminal.Decimal(tally.Others),
			"wrong", terminal.Decimal(tally.Wrong),
		))
	}
	return errors.Join(err, wrong(tally.Wrong))
}
