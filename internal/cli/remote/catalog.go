package remote

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxYAML = 256 << 10 // bytes of a platform's or a product's YAML, as the server has it

func (a *App) platformCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "platform",
		Usage: "what packages are built for",
		Subcommands: []*urfave.Command{
			{
				Name: "apply", Usage: "make a platform, or change the one of that name", ArgsUsage: "FILE.yaml [--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.applyPlatform),
			},
			{
				Name: "list", Usage: "list platforms", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listPlatforms),
			},
			{
				Name: "show", Usage: "show a platform", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.showPlatform),
			},
		},
	}
}

func (a *App) applyPlatform(c *urfave.Context) error {
	return applyFile(a, c, (*client.Client).ApplyPlatform, func(p client.Platform) string {
		return fmt.Sprintf("platform %s is at revision %d", p.Name, p.Revision)
	})
}

// applyFile applies the YAML file that the first argument names and tells what came
// of it.
func applyFile[T any](a *App, c *urfave.Context, apply func(*client.Client, context.Context, []byte) (client.Doc[T], error), told func(T) string) error {
	file := c.Args().First()
	b, err := a.ReadFile(file, maxYAML)
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	doc, err := apply(cl, c.Context, b)
	if err != nil {
		return about(file, err)
	}
	return a.Result(c, doc.JSON, "%s", told(doc.Value))
}

// about puts the file's name before an error that is about its content.
func about(file string, err error) error {
	if k := albs.KindOf(err); k == albs.Invalid || k == albs.TooLarge {
		return fmt.Errorf("%s: %w", file, err)
	}
	return err
}

func (a *App) listPlatforms(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	platforms, err := cl.Platforms(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(platforms.JSON, err)
	}
	t := terminal.NewTable("NAME", "RELEASE", "ARCHES", "REVISION", "CHANGED", "BY")
	for _, p := range platforms.Value {
		t.Row(p.Name, p.Version, words(p.Arches), terminal.Decimal(p.Revision), terminal.When(p.At), p.Actor)
	}
	return a.Table(t, "there are no platforms; make one with: albs platform apply FILE.yaml (configs/platforms/ has some)")
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, " ")
}

func (a *App) showPlatform(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	doc, err := cl.Platform(c.Context, c.Args().First())
	if err != nil || c.Bool("json") {
		return a.jsonOr(doc.JSON, err)
	}
	p := doc.Value
	network := "no"
	if p.Spec.Network {
		network = "yes"
	}
	if err := a.Facts("platform", p.Name, "release", p.Version, "dist tag", p.Spec.Dist, "arches", words(p.Arches), "network in builds", network,
		"revision", terminal.Decimal(p.Revision), "digest", string(p.Digest), "changed", terminal.When(p.At), "by", p.Actor); err != nil {
		return err
	}
	t := terminal.NewTable("REPOSITORY", "ARCH", "URL")
	for _, r := range p.Spec.Repositories {
		arch := string(r.Arch)
		if arch == "" {
			arch = "all"
		}
		t.Row(r.ID, arch, r.URL)
	}
	return a.Section(t)
}

func (a *App) productCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "product",
		Usage: "what is released: repositories, their key, and who has to agree",
		Subcommands: []*urfave.Command{
			{
				Name: "apply", Usage: "make a product, or change the one of that name", ArgsUsage: "FILE.yaml [--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.applyProduct),
			},
			{
				Name: "list", Usage: "list products", ArgsUsage: "[--page N] [--json]",
				Flags:  []urfave.Flag{pageFlag(), terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listProducts),
			},
			{
				Name: "show", Usage: "show a product", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.showProduct),
			},
		},
	}
}

func pageFlag() urfave.Flag {
	return &urfave.IntFlag{Name: "page", Usage: "the `N`th page, from 1", Value: 1}
}

// page reads --page.
func page(c *urfave.Context) (int, error) {
	n := c.Int("page")
	if n < 1 {
		return 0, terminal.Misused(c, "--page %d: pages are counted from 1", n)
	}
	return n, nil
}

// morePages says how to see the rest of a list of which shown are on this page.
func (a *App) morePages(c *urfave.Context, page, perPage, shown, total int) error {
	if before := (page - 1) * perPage; shown == 0 || before+shown >= total {
		return nil
	}
	return a.Note("%d of %d; more: %s --page %d", shown, total, c.Command.HelpName, page+1)
}

const perPage = 10 // of the API's lists

func (a *App) applyProduct(c *urfave.Context) error {
	return applyFile(a, c, (*client.Client).ApplyProduct, func(p client.Product) string {
		return fmt.Sprintf("product %s is at revision %d", p.Name, p.Revision)
	})
}

func (a *App) listProducts(c *urfave.Context) error {
	n, err := page(c)
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	products, err := cl.Products(c.Context, n)
	if err != nil || c.Bool("json") {
		return a.jsonOr(products.JSON, err)
	}
	t := terminal.NewTable("NAME", "TEAM", "PLATFORMS", "REVISION", "CHANGED", "TITLE")
	for _, p := range products.Value.Products {
		t.Row(p.Name, p.Team.Name, named(p.Platforms), terminal.Decimal(p.Revision), terminal.When(p.At), p.Title)
	}
	if err := a.Table(t, "there are no products on this page; make one with: albs product apply FILE.yaml"); err != nil {
		return err
	}
	return a.morePages(c, n, perPage, len(products.Value.Products), products.Value.Total)
}

func named(list []client.Named) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Name
	}
	return strings.Join(out, " ")
}

func (a *App) showProduct(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	doc, err := cl.Product(c.Context, c.Args().First())
	if err != nil || c.Bool("json") {
		return a.jsonOr(doc.JSON, err)
	}
	p := doc.Value
	approvals := terminal.Decimal(p.Spec.Approvals.Count)
	if p.Spec.Approvals.Distinct {
		approvals += ", not of who plans"
	}
	if err := a.Facts("product", p.Name, "title", p.Title, "team", p.Team.Name, "platforms", named(p.Platforms), "key", p.Spec.Key,
		"tests", p.Spec.Gate.Tests, "approvals", approvals, "revision", terminal.Decimal(p.Revision), "digest", string(p.Digest), "changed", terminal.When(p.At), "by", p.Actor); err != nil {
		return err
	}
	t := terminal.NewTable("REPOSITORY", "PLATFORM", "ARCH", "KIND")
	for _, r := range p.Spec.Repositories {
		t.Row(r.Path, r.Platform, string(r.Arch), r.Kind)
	}
	return a.Section(t)
}
