package trust

import (
	"os"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) traceCommand() *urfave.Command {
	return ask.Listed("albs build show lists a build's files", ask.Answers(&urfave.Command{
		Name: "trace", Usage: "follow a package from its source to where it was published", ArgsUsage: "FILE|SHA256|NEVRA|COMMIT",
		Description: "Signed or not, a package, its SRPM and its commit lead to each other. FILE is hashed here and not sent.\n" +
			"Each link has its STANDING: the ledger proved what is verified, awaits what is pending, and contradicts what has failed; missing is what nobody said.\n" +
			"It ends with 1 if a link has failed.\n" +
			"For example: albs trace hello-1-1.el9.x86_64",
		Action: terminal.Action(1, 1, a.trace),
	}))
}

func (a app) trace(c *urfave.Context) error {
	what := c.Args().First()
	if info, err := os.Stat(what); err == nil && info.Mode().IsRegular() {
		d, err := digest(what)
		if err != nil {
			return err
		}
		what = string(d)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.Trace(c.Context, what)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = a.PrintJSON(doc.JSON)
	} else {
		err = a.showTrace(doc.Value)
	}
	if err != nil {
		return err
	}
	return contradicted(doc.Value)
}

// contradicted is the error of a trace in which something has failed.
func contradicted(t client.Trace) error {
	n := 0
	for _, l := range t.Links {
		if l.Standing == "failed" {
			n++
		}
	}
	for _, f := range t.Nodes {
		if f.Record == "failed" {
			n++
		}
	}
	if n > 0 {
		return albs.Errorf(albs.Conflict, "%d links contradict the ledger: the database was changed behind albs, or the ledger is not the one it was", n)
	}
	return nil
}

// showTrace prints each thing with what leads to it below.
func (a app) showTrace(t client.Trace) error {
	names := map[string]string{}
	for _, n := range t.Nodes {
		names[n.ID] = n.Name
	}
	table := terminal.NewTable("WHAT", "NAME", "STANDING", "TIME", "LEDGER", "SHA256 OR WHAT IS SAID")
	for _, n := range t.Nodes {
		name := n.Name
		if n.Asked {
			name += " (asked for)"
		}
		said := string(n.SHA256)
		if n.Trouble != "" {
			said = n.Trouble
		}
		table.Row(n.Kind, name, n.Record, "", "", said)
		for _, l := range t.Links {
			if l.To == n.ID {
				table.Row("  "+l.Says, from(names[l.From]), l.Standing, when(l), transaction(l), saying(l))
			}
		}
	}
	if err := a.Table(table, "nothing is known of it"); err != nil {
		return err
	}
	switch {
	case t.Cut:
		return a.Note("more is related than is shown: ask for one of its packages")
	case t.Whole:
		return a.Say("every link is verified")
	}
	return a.Note("not every link is verified: see STANDING")
}

func from(name string) string {
	if name == "" {
		return ""
	}
	return "from " + name
}

func when(l client.TraceLink) string {
	if l.At.IsZero() {
		return ""
	}
	return terminal.When(l.At)
}

func transaction(l client.TraceLink) string {
	if l.Receipt == nil {
		return ""
	}
	return "tx " + terminal.Decimal(l.Receipt.TxID)
}

func saying(l client.TraceLink) string {
	if l.Trouble != "" {
		return l.Trouble
	}
	return l.Text
}
