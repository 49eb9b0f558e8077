package catalog

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// maxMetadata bounds a metadata file that is sent; the server has the same bound.
const maxMetadata = 64 << 20

func (a app) repoCommand() *urfave.Command {
	typeFlag := func() urfave.Flag {
		return &urfave.StringFlag{Name: "type", Usage: "the `TYPE` of the file: group (comps), modules, updateinfo or productid"}
	}
	return &urfave.Command{
		Name:        "repo",
		Usage:       "what repositories hold and held, and their metadata files",
		Description: "A repository is named PRODUCT/PATH, by the path that albs product show lists.",
		Subcommands: []*urfave.Command{a.showRepoCommand(), a.diffRepoCommand(), {
			Name: "metadata", Usage: "metadata files that people give: comps, modules, advisories",
			Description: "What is given is checked and kept; readers see it with the product's next release, whose plan says so.",
			Subcommands: []*urfave.Command{
				ask.Answers(&urfave.Command{
					Name: "set", Usage: "give a repository a metadata file, in place of the one of its type", ArgsUsage: "PRODUCT/PATH FILE --type TYPE",
					Description: "FILE may be compressed by gzip, zstd or xz; - reads stdin. XML has no document type declaration, YAML no anchors.\n" +
						"For example: albs repo metadata set demo/el9/x86_64/os comps.xml --type group",
					Flags:  []urfave.Flag{typeFlag()},
					Action: terminal.Action(2, 2, a.setMetadata),
				}),
				ask.Answers(&urfave.Command{
					Name: "show", Usage: "list the metadata files that a product's repositories were given", ArgsUsage: "PRODUCT[/PATH]",
					Description: "albs artifact get downloads each by its SHA256.",
					Action: ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Record], error) {
						product, path, _ := strings.Cut(c.Args().First(), "/")
						return cl.Records(c.Context, product, path)
					}, func(list []client.Record) error {
						return a.Table(tableOfRecords(list), "no metadata file was given; give one with: albs repo metadata set PRODUCT/PATH FILE --type TYPE")
					}),
				}),
				{
					Name: "remove", Usage: "take a metadata file from a repository", ArgsUsage: "PRODUCT/PATH --type TYPE",
					Description: "The product's next release shows it no more.\n" +
						"For example: albs repo metadata remove demo/el9/x86_64/os --type group",
					Flags:  []urfave.Flag{typeFlag()},
					Action: terminal.Action(1, 1, a.removeMetadata),
				},
			},
		}},
	}
}

func (a app) showRepoCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "show", Usage: "list what a repository holds, or held", ArgsUsage: "PRODUCT/PATH [--serial N | --at TIME]",
		Description: "Without a serial or a time it is what readers see now. TIME is as 2026-01-31T15:04:05Z, or a day, which stands for its begin in UTC.\n" +
			"For example: albs repo show demo/el9/x86_64/os --at 2026-01-31",
		Flags: []urfave.Flag{
			&urfave.Int64Flag{Name: "serial", Usage: "at serial `N`, which albs release list shows"},
			&urfave.StringFlag{Name: "at", Usage: "at the `TIME`"},
		},
		Action: a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
			name := c.Args().First()
			switch {
			case c.IsSet("serial") && c.IsSet("at"):
				return terminal.Misused(c, "give --serial or --at, not both")
			case c.IsSet("serial"):
				name += "@" + terminal.Decimal(c.Int64("serial"))
			case c.IsSet("at"):
				name += "@" + c.String("at")
			}
			doc, err := cl.ShowRepo(c.Context, name)
			if err != nil || c.Bool("json") {
				return a.JSONOr(doc.JSON, err)
			}
			return a.printHeld(doc.Value)
		}),
	})
}

func (a app) printHeld(h client.Held) error {
	if err := a.Facts("repository", h.Product+"/"+h.Repository, "serial", terminal.Decimal(h.Serial), "since", terminal.When(h.Since), "packages", terminal.Decimal(len(h.Packages))); err != nil {
		return err
	}
	packages, records := terminal.NewTable("PACKAGE", "SHA256"), terminal.NewTable("METADATA", "FILE", "SHA256")
	for _, p := range h.Packages {
		packages.Row(p.NEVRA, string(p.SHA256))
	}
	for _, r := range h.Records {
		records.Row(r.Type, r.Name, string(r.Digest))
	}
	if err := a.Section(packages); err != nil {
		return err
	}
	return a.Section(records)
}

func (a app) diffRepoCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "diff", Usage: "show what changed between two repositories, or two moments of one", ArgsUsage: "PRODUCT/PATH[@WHEN] PRODUCT/PATH[@WHEN]",
		Description: "WHEN is a serial or a time; without it, what readers see now. Of packages that both have, nothing is said.\n" +
			"For example: albs repo diff demo/el9/x86_64/os@7 demo/el9/x86_64/os",
		Action: ask.Shows(a.App, 2, func(c *urfave.Context, cl *client.Client) (client.Doc[client.RepoDiff], error) {
			return cl.DiffRepos(c.Context, c.Args().Get(0), c.Args().Get(1))
		}, a.printDiff),
	})
}

func (a app) printDiff(d client.RepoDiff) error {
	side := func(s client.Shown) string {
		return s.Product + "/" + s.Repository + ", serial " + terminal.Decimal(s.Serial) + " of " + terminal.When(s.Since)
	}
	if err := a.Facts("from", side(d.From), "to", side(d.To)); err != nil {
		return err
	}
	packages, records := terminal.NewTable("CHANGE", "PACKAGE", "ARCH", "FROM", "TO"), terminal.NewTable("CHANGE", "METADATA", "FROM", "TO")
	for _, p := range d.Packages {
		packages.Row(p.What, p.Name, p.Arch, p.From, p.To)
	}
	for _, r := range d.Records {
		records.Row(r.What, r.Type, r.From.Short(), r.To.Short())
	}
	if packages.Empty() && records.Empty() {
		return a.Say("nothing differs")
	}
	if err := a.Section(packages); err != nil {
		return err
	}
	return a.Section(records)
}

// repository splits the name of a repository, the first argument.
func repository(c *urfave.Context) (product, path string, err error) {
	if err := terminal.Needs(c, "type"); err != nil {
		return "", "", err
	}
	product, path, ok := strings.Cut(c.Args().First(), "/")
	if !ok || product == "" || path == "" {
		return "", "", terminal.Misused(c, "%q is no repository: name it PRODUCT/PATH", c.Args().First())
	}
	return product, path, nil
}

func (a app) setMetadata(c *urfave.Context) error {
	product, path, err := repository(c)
	if err != nil {
		return err
	}
	file, err := a.ReadFile(c.Args().Get(1), "a repository's metadata file", maxMetadata)
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.SetRecord(c.Context, product, path, c.String("type"), file)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	if err := a.Table(tableOfRecords(doc.Value), "nothing was given"); err != nil {
		return err
	}
	return a.Note("readers see it with the next release: albs release plan --product %s", product)
}

func (a app) removeMetadata(c *urfave.Context) error {
	product, path, err := repository(c)
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	if err := cl.RemoveRecord(c.Context, product, path, c.String("type")); err != nil {
		return err
	}
	return a.Say("%s of %s/%s goes with the next release: albs release plan --product %s", c.String("type"), product, path, product)
}

func tableOfRecords(list []client.Record) *terminal.Table {
	t := terminal.NewTable("REPOSITORY", "TYPE", "FILE", "BY", "GIVEN", "SHA256")
	for _, r := range list {
		for _, f := range r.Files {
			t.Row(r.Repository, f.Type, f.Name, r.Actor, terminal.When(r.At), string(f.Digest))
		}
	}
	return t
}
