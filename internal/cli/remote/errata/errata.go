// Package errata has the commands about advisories.
package errata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

type app struct{ *ask.App }

// Bounds of files that are sent; the server has the same.
const (
	maxDocument = 16 << 20
	maxImport   = 128 << 20
)

// Commands returns the command about advisories, which more, about their release, are of
// too.
func Commands(on *ask.App, more ...*urfave.Command) []*urfave.Command {
	a := app{on}
	c := ask.Listed("albs errata list shows all", a.errataCommand())
	c.Subcommands = append(c.Subcommands, more...)
	return []*urfave.Command{c}
}

func platformFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "platform", Aliases: []string{"p"}, Usage: "the `PLATFORM`, by name"}
}

func reasonFlag(usage string) urfave.Flag {
	return &urfave.StringFlag{Name: "reason", Usage: usage}
}

func (a app) errataCommand() *urfave.Command {
	return &urfave.Command{
		Name: "errata", Usage: "advisories: what was wrong, and which packages mend it",
		Description: "An advisory is named by its id and its platform: the same id on two platforms is two. docs/errata.md tells of the platform's section and of states.",
		Subcommands: append([]*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list advisories, those issued last first",
				ArgsUsage: "[--platform PLATFORM] [--title TEXT] [--cve CVE] [--status STATUS] [--type TYPE] [--severity SEVERITY] [--pending] [--page N]",
				Description: "--pending leaves those of which a release would publish something.\n" +
					"For example: albs errata list --platform almalinux-9 --pending",
				Flags: []urfave.Flag{
					platformFlag(),
					&urfave.StringFlag{Name: "title", Usage: "with this `TEXT` in the title"},
					&urfave.StringFlag{Name: "cve", Usage: "about this `CVE`"},
					&urfave.StringFlag{Name: "status", Usage: "in this `STATUS`: not released, in progress, released, failed or withdrawn"},
					&urfave.StringFlag{Name: "type", Usage: "of this `TYPE`: security, bugfix, enhancement or newpackage"},
					&urfave.StringFlag{Name: "severity", Usage: "of this `SEVERITY`: critical, important, moderate, low or none"},
					&urfave.BoolFlag{Name: "pending", Usage: "only those that wait for a release"}, ask.PageFlag(),
				},
				Action: ask.Pages(a.App, func(c *urfave.Context, cl *client.Client, page int) (client.Doc[client.AdvisoryPage], error) {
					return cl.Advisories(c.Context, client.AdvisoryQuery{
						Page: page, Title: c.String("title"), Platform: c.String("platform"), CVE: c.String("cve"), Status: c.String("status"),
						Type: c.String("type"), Severity: c.String("severity"), Pending: c.Bool("pending"),
					})
				}, listAdvisories, "there are no such advisories; take some in with: albs errata import FILE --platform PLATFORM --format FORMAT"),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show an advisory", ArgsUsage: "ID --platform PLATFORM",
				Description: "--json prints all of it, and the advisory as it came in.\n" +
					"For example: albs errata show ALSA-2024:6964 --platform almalinux-9",
				Flags: []urfave.Flag{platformFlag()},
				Action: a.one(func(c *urfave.Context, cl *client.Client, id, platform string) error {
					doc, err := cl.Advisory(c.Context, id, platform)
					if err != nil || c.Bool("json") {
						return a.JSONOr(doc.JSON, err)
					}
					return a.show(doc.Value)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "import", Usage: "take in the advisories of a file that others wrote", ArgsUsage: "FILE --platform PLATFORM --format FORMAT [--reason TEXT]",
				Description: "FORMAT is updateinfo, osv, csaf or errata.json (errata.full.json too). FILE may be compressed by gzip, zstd or xz; - reads stdin. Each advisory is rewritten by the platform's rules; edits of those that are there are kept. Exit status 1 if one was refused.\n" +
					"For example: albs errata import updateinfo.xml.gz --platform almalinux-9 --format updateinfo",
				Flags: []urfave.Flag{
					platformFlag(), &urfave.StringFlag{Name: "format", Usage: "the `FORMAT` of the file"}, reasonFlag("`TEXT` for the history of each"),
				},
				Action: a.Asks(1, 1, a.importFile),
			}),
			ask.Answers(&urfave.Command{
				Name: "create", Usage: "make an advisory", ArgsUsage: "FILE.json",
				Description: "FILE.json has platform, title and description, and id, or type for one of the distribution's own series; - reads stdin. All members are in the API's document (POST /api/v1/errata/create/).\n" +
					"For example: albs errata create advisory.json",
				Action: a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
					doc, err := a.document(c.Args().First())
					if err != nil {
						return err
					}
					made, err := cl.CreateAdvisory(c.Context, doc)
					if err != nil {
						return err
					}
					return a.Result(c, made.JSON, "advisory %s of %s is at revision %d", made.Value.ID, made.Value.Platform, made.Value.Revision)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "draft", Usage: "print what an advisory of the distribution's own might say for a build", ArgsUsage: "BUILD --platform PLATFORM",
				Description: "It prints what albs errata create takes, to be edited by you: the packages, what is new in their changelogs, and the CVEs and bugs that changelogs and commits name. Nothing is kept. Notes go to stderr; --json prints them too.\n" +
					"For example: albs errata draft 7 --platform almalinux-9 > advisory.json",
				Flags: []urfave.Flag{platformFlag()},
				Action: ask.Numbered(a.App, "build", 1, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
					if err := terminal.Needs(c, "platform"); err != nil {
						return err
					}
					doc, err := cl.DraftAdvisory(c.Context, id, c.String("platform"))
					if err != nil || c.Bool("json") {
						return a.JSONOr(doc.JSON, err)
					}
					for _, n := range doc.Value.Notes {
						if err := a.Note("%s", n); err != nil {
							return err
						}
					}
					return a.PrintJSON(doc.Value.Advisory)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "edit", Usage: "change an advisory", ArgsUsage: "ID --platform PLATFORM [--title TEXT] [--severity SEVERITY] [--file FILE.json] [--revision N] [--reason TEXT]",
				Description: "FILE.json has the members to change, as albs errata show --json has them under advisory (PATCH /api/v1/errata/ID/ in the API's document); - reads stdin. Without --revision the change rests on the present one.\n" +
					"For example: albs errata edit ALSA-2024:6964 --platform almalinux-9 --severity important --reason \"it is reachable from outside\"",
				Flags: []urfave.Flag{
					platformFlag(), &urfave.StringFlag{Name: "title", Usage: "the `TEXT`, without the severity"}, &urfave.StringFlag{Name: "severity", Usage: "critical, important, moderate, low or none"},
					&urfave.StringFlag{Name: "file", Usage: "a `FILE` of what to change"}, &urfave.Int64Flag{Name: "revision", Usage: "refuse if the advisory has another than `N`"}, reasonFlag("`TEXT` for the history"),
				},
				Action: a.one(a.edit),
			}),
			ask.Answers(&urfave.Command{
				Name: "history", Usage: "list what was changed of an advisory, by whom and why", ArgsUsage: "ID --platform PLATFORM",
				Description: "The newest change comes first. Of lists it shows the entries that came (+) and went (-).\n" +
					"For example: albs errata history ALSA-2024:6964 --platform almalinux-9",
				Flags: []urfave.Flag{platformFlag()},
				Action: a.one(func(c *urfave.Context, cl *client.Client, id, platform string) error {
					doc, err := cl.AdvisoryHistory(c.Context, id, platform)
					if err != nil || c.Bool("json") {
						return a.JSONOr(doc.JSON, err)
					}
					return a.history(doc.Value)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "vex", Usage: "state how a package is touched by a CVE", ArgsUsage: "ID CVE PACKAGE --platform PLATFORM [--status STATUS] [--justification WHY] [--detail TEXT] [--stream NAME:STREAM] [--reason TEXT]",
				Description: "PACKAGE is a source package's name. STATUS is affected, not_affected, fixed or under_investigation; without it nothing is stated any more. What is not affected needs a justification, what is affected a detail: what to do.\n" +
					"For example: albs errata vex ALSA-2024:6964 CVE-2024-1234 bash --platform almalinux-9 --status not_affected --justification vulnerable_code_not_present",
				Flags: []urfave.Flag{
					platformFlag(), &urfave.StringFlag{Name: "status", Usage: "the `STATUS`"}, &urfave.StringFlag{Name: "justification", Usage: "`WHY` it isn't affected, as CSAF has it"},
					&urfave.StringFlag{Name: "detail", Usage: "`TEXT` for people"}, &urfave.StringFlag{Name: "stream", Usage: "`NAME:STREAM` of its module"}, reasonFlag("`TEXT` for the history"),
				},
				Action: a.Asks(3, 3, a.vex),
			}),
			a.turn("withdraw", "take an advisory back", "The next release says in public that it was withdrawn, and why.", false),
			a.turn("restore", "undo the withdrawal of an advisory", "What the public sees follows with the next release.", true),
		}, a.matchCommands()...),
	}
}

// one is the action of a command about one advisory, the first argument, of --platform.
func (a app) one(do func(c *urfave.Context, cl *client.Client, id, platform string) error) urfave.ActionFunc {
	return a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
		if err := terminal.Needs(c, "platform"); err != nil {
			return err
		}
		return do(c, cl, c.Args().First(), c.String("platform"))
	})
}

func (a app) turn(name, usage, says string, undo bool) *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "ID --platform PLATFORM --reason TEXT",
		Description: says + "\nFor example: albs errata " + name + " ALSA-2024:6964 --platform almalinux-9 --reason \"it mends nothing\"",
		Flags:       []urfave.Flag{platformFlag(), reasonFlag("`TEXT` for readers")},
		Action: a.one(func(c *urfave.Context, cl *client.Client, id, platform string) error {
			if err := terminal.Needs(c, "reason"); err != nil {
				return err
			}
			doc, err := cl.WithdrawAdvisory(c.Context, id, platform, c.String("reason"), undo)
			if err != nil {
				return err
			}
			return a.changed(c, doc)
		}),
	})
}

func (a app) changed(c *urfave.Context, doc client.Doc[client.Advisory]) error {
	return a.Result(c, doc.JSON, "advisory %s of %s is %s, at revision %d", doc.Value.ID, doc.Value.Platform, doc.Value.Status, doc.Value.Revision)
}

// document reads a file that has a JSON object.
func (a app) document(path string) ([]byte, error) {
	b, err := a.ReadFile(path, "advisory", maxDocument)
	if err != nil {
		return nil, err
	}
	if b = bytes.TrimSpace(b); !json.Valid(b) || b[0] != '{' {
		return nil, albs.Errorf(albs.Invalid, "%s is not one JSON object", path)
	}
	return b, nil
}

func (a app) importFile(c *urfave.Context, cl *client.Client) error {
	if err := terminal.Needs(c, "platform", "format"); err != nil {
		return err
	}
	path := c.Args().First()
	b, err := a.ReadFile(path, "file of advisories", maxImport)
	if err != nil {
		return err
	}
	doc, err := cl.ImportAdvisories(c.Context, c.String("platform"), c.String("format"), c.String("reason"), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return ask.About(path, err)
	}
	refused := 0
	t := terminal.NewTable("ID", "FROM", "OUTCOME", "WHY")
	for _, x := range doc.Value.Advisories {
		if x.Outcome == "refused" {
			refused++
		}
		t.Row(x.ID, x.From, x.Outcome, x.Error+x.Note)
	}
	var bad error
	if refused > 0 {
		bad = albs.Errorf(albs.Invalid, "%d of %d advisories were refused", refused, len(doc.Value.Advisories))
	}
	if c.Bool("json") {
		if err := a.PrintJSON(doc.JSON); err != nil {
			return err
		}
		return bad
	}
	if err := a.Table(t, "the file has no advisories"); err != nil {
		return err
	}
	for _, s := range doc.Value.Dropped {
		if err := a.Note("left out: %s", s); err != nil {
			return err
		}
	}
	return bad
}

func (a app) edit(c *urfave.Context, cl *client.Client, id, platform string) error {
	change := map[string]json.RawMessage{}
	if c.IsSet("file") {
		b, err := a.document(c.String("file"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &change); err != nil {
			return albs.Errorf(albs.Invalid, "%s: %w", c.String("file"), err)
		}
	}
	for _, name := range []string{"title", "severity", "reason"} {
		if c.IsSet(name) {
			b, err := json.Marshal(c.String(name))
			if err != nil {
				return fmt.Errorf("encode %s: %w", name, err)
			}
			change[name] = b
		}
	}
	if len(change) == 0 {
		return terminal.Misused(c, "say what to change: --title, --severity or --file")
	}
	if revision := c.Int64("revision"); revision > 0 {
		change["revision"] = json.RawMessage(terminal.Decimal(revision))
	} else if change["revision"] == nil {
		now, err := cl.Advisory(c.Context, id, platform)
		if err != nil {
			return err
		}
		change["revision"] = json.RawMessage(terminal.Decimal(now.Value.Revision))
	}
	doc, err := cl.EditAdvisory(c.Context, id, platform, change)
	if err != nil {
		return err
	}
	return a.changed(c, doc)
}

func (a app) vex(c *urfave.Context, cl *client.Client) error {
	if err := terminal.Needs(c, "platform"); err != nil {
		return err
	}
	id, platform := c.Args().First(), c.String("platform")
	now, err := cl.Advisory(c.Context, id, platform)
	if err != nil {
		return err
	}
	doc, err := cl.SetVEX(c.Context, id, platform, now.Value.Revision, client.VEX{
		CVE: c.Args().Get(1), Package: c.Args().Get(2), Stream: c.String("stream"), Status: c.String("status"), Justification: c.String("justification"), Detail: c.String("detail"),
	}, c.String("reason"))
	if err != nil {
		return err
	}
	return a.changed(c, doc)
}

func listAdvisories(page client.AdvisoryPage) (*terminal.Table, int) {
	t := terminal.NewTable("ID", "PLATFORM", "STATUS", "ISSUED", "TITLE")
	for _, r := range page.Records {
		t.Row(r.ID, r.Platform, status(r), r.Issued.Format("2006-01-02"), ask.Shorten(r.Title))
	}
	return t, page.Total
}

// status is where an advisory stands, and whether something of it waits.
func status(r client.Advisory) string {
	if r.Pending && r.Published > 0 {
		return r.Status + ", changed"
	}
	return r.Status
}

func (a app) show(r client.Advisory) error {
	yes := map[bool]string{true: "yes"}
	release, version := "", ""
	if r.Release != 0 {
		release = r.Release.String()
	}
	if r.Published > 0 {
		version = terminal.Decimal(r.Published)
	}
	if err := a.Facts("advisory", r.ID, "platform", r.Platform, "title", r.Title, "type", r.Type, "severity", r.Severity, "status", status(r)+ask.Because(r.Reason),
		"public version", version, "release", release, "issued", terminal.When(r.Issued), "updated", terminal.When(r.Updated),
		"own", yes[r.Own], "frozen", yes[r.Frozen], "builds", ask.Numbers(r.Builds), "revision", terminal.Decimal(r.Revision)); err != nil {
		return err
	}
	for _, text := range []string{r.Summary, r.Text, r.Solution} {
		if text == "" {
			continue
		}
		if err := a.Say(""); err != nil {
			return err
		}
		for line := range strings.SplitSeq(text, "\n") {
			if err := a.Say("%s", line); err != nil {
				return err
			}
		}
	}
	packages, refs, vex := terminal.NewTable("PACKAGE", "MODULE", "REBOOT"), terminal.NewTable("REFERENCE", "ID", "ADDRESS"), terminal.NewTable("CVE", "PACKAGE", "STATED", "WHY")
	for _, p := range r.Packages {
		epoch := ""
		if p.Epoch != 0 {
			epoch = terminal.Decimal(p.Epoch) + ":"
		}
		packages.Row(p.Name+"-"+epoch+p.Version+"-"+p.Release+"."+p.Arch, p.Module, yes[p.Reboot])
	}
	for _, x := range r.References {
		refs.Row(x.Kind, x.ID, x.URL)
	}
	for _, v := range r.Whole.VEX {
		vex.Row(v.CVE, strings.TrimSpace(v.Package+" "+v.Stream), v.Status, strings.TrimSpace(v.Justification+" "+v.Detail))
	}
	for _, t := range []*terminal.Table{packages, refs, vex} {
		if err := a.Section(t); err != nil {
			return err
		}
	}
	return nil
}

func (a app) history(changes []client.AdvisoryChange) error {
	for _, c := range changes {
		if err := a.Say("%d  %s  %s by %s%s", c.Revision, terminal.When(c.At), strings.TrimPrefix(c.Kind, "errata."), c.Actor, ask.Because(c.Reason)); err != nil {
			return err
		}
		for _, d := range c.Differences {
			for _, side := range []struct{ sign, text string }{{"-", d.Was}, {"+", d.Is}} {
				if side.text == "" {
					continue
				}
				if err := a.Say("   %s %s: %s", side.sign, d.Field, side.text); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
