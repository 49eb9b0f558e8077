package remote

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// maxMetadata bounds a metadata file that is sent; the server has the same bound.
const maxMetadata = 64 << 20

func (a *App) repoCommand() *urfave.Command {
	typeFlag := func() urfave.Flag {
		return &urfave.StringFlag{Name: "type", Usage: "the `TYPE` of the file: group (comps), modules, updateinfo or productid"}
	}
	return &urfave.Command{
		Name:        "repo",
		Usage:       "what repositories have beside their packages",
		Description: "A repository is named PRODUCT/PATH, by the path that albs product show lists.",
		Subcommands: []*urfave.Command{{
			Name: "metadata", Usage: "metadata files that people give: comps, modules, advisories",
			Description: "What is given is checked and kept; readers see it with the product's next release, whose plan says so.",
			Subcommands: []*urfave.Command{
				answers(&urfave.Command{
					Name: "set", Usage: "give a repository a metadata file, in place of the one of its type", ArgsUsage: "PRODUCT/PATH FILE --type TYPE",
					Description: "FILE may be compressed by gzip, zstd or xz; - reads stdin. XML has no document type declaration, YAML no anchors.\n" +
						"For example: albs repo metadata set demo/el9/x86_64/os comps.xml --type group",
					Flags:  []urfave.Flag{typeFlag()},
					Action: terminal.Action(2, 2, a.setMetadata),
				}),
				answers(&urfave.Command{
					Name: "show", Usage: "list the metadata files that a product's repositories were given", ArgsUsage: "PRODUCT[/PATH]",
					Description: "albs artifact get downloads each by its SHA256.",
					Action: shows(a, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Record], error) {
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

func (a *App) setMetadata(c *urfave.Context) error {
	product, path, err := repository(c)
	if err != nil {
		return err
	}
	file, err := a.ReadFile(c.Args().Get(1), "a repository's metadata file", maxMetadata)
	if err != nil {
		return err
	}
	cl, err := a.connect()
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

func (a *App) removeMetadata(c *urfave.Context) error {
	product, path, err := repository(c)
	if err != nil {
		return err
	}
	cl, err := a.connect()
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
