package catalog

import (
	"bytes"
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxYAML = 256 << 10 // bytes of a platform's or a product's YAML, as the server has it

func (a app) platformCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "platform",
		Usage:       "what packages are built for",
		Description: "A platform is a distribution's release: its repositories, its dist tag and the arches that it is built for.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "apply", Usage: "make a platform, or change the one of that name", ArgsUsage: "FILE.yaml",
				Description: "FILE.yaml says all of the platform, and the file's name field which one; - reads stdin. Applying the same file twice changes nothing.\n" +
					"For example: albs platform apply configs/platforms/almalinux-9.yaml",
				Action: applies(a, (*client.Client).ApplyPlatform, func(p client.Platform) string {
					return fmt.Sprintf("platform %s is at revision %d", p.Name, p.Revision)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list platforms",
				Description: "All platforms are listed by name, with the revision in force and who made it.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Platform], error) {
					return cl.Platforms(c.Context)
				}, a.listPlatforms),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a platform", ArgsUsage: "NAME",
				Description: "NAME is one that albs platform list has. --json prints everything that was applied.",
				Action: ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[client.Platform], error) {
					return cl.Platform(c.Context, c.Args().First())
				}, a.showPlatform),
			}),
			a.indexCommand(),
		},
	}
}

// applies is the action of a command that applies the YAML file which its argument
// names, and tells what came of it.
func applies[T any](a app, apply func(*client.Client, context.Context, []byte) (client.Doc[T], error), told func(T) string) urfave.ActionFunc {
	return a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
		file := c.Args().First()
		b, err := a.ReadFile(file, "a YAML file", maxYAML)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(b)) == 0 { // the API would speak of its request's body
			return albs.Errorf(albs.Invalid, "%s is empty: it isn't a YAML file", file)
		}
		doc, err := apply(cl, c.Context, b)
		if err != nil {
			return ask.About(file, err)
		}
		return a.Result(c, doc.JSON, "%s", told(doc.Value))
	})
}

func (a app) listPlatforms(platforms []client.Platform) error {
	t := terminal.NewTable("NAME", "RELEASE", "ARCHES", "REVISION", "CHANGED", "BY")
	for _, p := range platforms {
		t.Row(p.Name, p.Version, ask.Words(p.Arches), terminal.Decimal(p.Revision), terminal.When(p.At), p.Actor)
	}
	return a.Table(t, "there are no platforms; make one with: albs platform apply FILE.yaml (configs/platforms/ has some)")
}

func (a app) showPlatform(p client.Platform) error {
	network := "no"
	if p.Spec.Network {
		network = "yes"
	}
	if err := a.Facts("platform", p.Name, "release", p.Version, "dist tag", p.Spec.Dist, "arches", ask.Words(p.Arches), "network in builds", network,
		"revision", terminal.Decimal(p.Revision), "digest", string(p.Digest), "changed", terminal.When(p.At), "by", p.Actor); err != nil {
		return err
	}
	return a.repositories(p.Spec.Repositories)
}

func (a app) repositories(list []client.Repository) error {
	t := terminal.NewTable("REPOSITORY", "ARCH", "URL")
	for _, r := range list {
		arch := string(r.Arch)
		if arch == "" {
			arch = "all"
		}
		t.Row(r.ID, arch, r.URL)
	}
	return a.Section(t)
}
