package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/client"
)

const maxYAML = 256 << 10 // bytes of a platform's or a product's YAML, as the server has it

func (a *app) platformCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "platform",
		Usage: "what packages are built for",
		Subcommands: []*urfave.Command{
			{
				Name: "apply", Usage: "make a platform, or change the one of that name", ArgsUsage: "FILE.yaml [--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.applyPlatform),
			},
			{
				Name: "list", Usage: "list platforms", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(0, 0, a.listPlatforms),
			},
			{
				Name: "show", Usage: "show a platform", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.showPlatform),
			},
		},
	}
}

// yaml reads the file that a command is to apply; "-" is stdin.
func (a *app) yaml(name string) ([]byte, error) {
	r := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "%w", err)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxYAML+1))
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "read %s: %w", name, err)
	}
	if len(b) > maxYAML {
		return nil, albs.Errorf(albs.TooLarge, "%s has more than %d bytes", name, maxYAML)
	}
	return b, nil
}

func (a *app) applyPlatform(c *urfave.Context) error {
	return applyFile(a, c, (*client.Client).ApplyPlatform, func(p client.Platform) string {
		return fmt.Sprintf("platform %s is at revision %d", p.Name, p.Revision)
	})
}

// applyFile applies the YAML file that the first argument names and tells what came
// of it.
func applyFile[T any](a *app, c *urfave.Context, apply func(*client.Client, context.Context, []byte) (client.Doc[T], error), told func(T) string) error {
	file := c.Args().First()
	b, err := a.yaml(file)
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
	return a.result(c, doc.JSON, "%s", told(doc.Value))
}

// about puts the file's name before an error that is about its content.
func about(file string, err error) error {
	if k := albs.KindOf(err); k == albs.Invalid || k == albs.TooLarge {
		return fmt.Errorf("%s: %w", file, err)
	}
	return err
}

func (a *app) listPlatforms(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	platforms, err := cl.Platforms(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(platforms.JSON, err)
	}
	t := newTable("NAME", "RELEASE", "ARCHES", "REVISION", "CHANGED", "BY")
	for _, p := range platforms.Value {
		t.row(p.Name, p.Version, words(p.Arches), decimal(p.Revision), when(p.At), p.Actor)
	}
	return t.write(a.stdout, "there are no platforms; make one with: albs platform apply FILE.yaml (configs/platforms/ has some)")
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, " ")
}

func (a *app) showPlatform(c *urfave.Context) error {
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
	if err := facts(a.stdout, "platform", p.Name, "release", p.Version, "dist tag", p.Spec.Dist, "arches", words(p.Arches), "network in builds", network,
		"revision", decimal(p.Revision), "digest", string(p.Digest), "changed", when(p.At), "by", p.Actor); err != nil {
		return err
	}
	t := newTable("REPOSITORY", "ARCH", "URL")
	for _, r := range p.Spec.Repositories {
		arch := string(r.Arch)
		if arch == "" {
			arch = "all"
		}
		t.row(r.ID, arch, r.URL)
	}
	return a.section(t)
}

// section prints a table below what stands above; nothing for an empty one.
func (a *app) section(t *table) error {
	if len(t.rows) == 1 {
		return nil
	}
	if _, err := fmt.Fprintln(a.stdout); err != nil {
		return err
	}
	return t.write(a.stdout, "")
}

func (a *app) productCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "product",
		Usage: "what is released: repositories, their key, and who has to agree",
		Subcommands: []*urfave.Command{
			{
				Name: "apply", Usage: "make a product, or change the one of that name", ArgsUsage: "FILE.yaml [--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.applyProduct),
			},
			{
				Name: "list", Usage: "list products", ArgsUsage: "[--page N] [--json]",
				Flags:  []urfave.Flag{pageFlag(), jsonFlag()},
				Action: action(0, 0, a.listProducts),
			},
			{
				Name: "show", Usage: "show a product", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.showProduct),
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
		return 0, misused(c, "--page %d: pages are counted from 1", n)
	}
	return n, nil
}

// morePages says how to see the rest of a list of which shown are on this page.
func (a *app) morePages(c *urfave.Context, page, perPage, shown, total int) error {
	if before := (page - 1) * perPage; shown == 0 || before+shown >= total {
		return nil
	}
	return a.note("%d of %d; more: %s --page %d", shown, total, c.Command.HelpName, page+1)
}

const perPage = 10 // of the API's lists

func (a *app) applyProduct(c *urfave.Context) error {
	return applyFile(a, c, (*client.Client).ApplyProduct, func(p client.Product) string {
		return fmt.Sprintf("product %s is at revision %d", p.Name, p.Revision)
	})
}

func (a *app) listProducts(c *urfave.Context) error {
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
	t := newTable("NAME", "TEAM", "PLATFORMS", "REVISION", "CHANGED", "TITLE")
	for _, p := range products.Value.Products {
		t.row(p.Name, p.Team.Name, named(p.Platforms), decimal(p.Revision), when(p.At), p.Title)
	}
	if err := t.write(a.stdout, "there are no products on this page; make one with: albs product apply FILE.yaml"); err != nil {
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

func (a *app) showProduct(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	doc, err := cl.Product(c.Context, c.Args().First())
	if err != nil || c.Bool("json") {
		return a.jsonOr(doc.JSON, err)
	}
	p := doc.Value
	approvals := decimal(p.Spec.Approvals.Count)
	if p.Spec.Approvals.Distinct {
		approvals += ", not of who plans"
	}
	if err := facts(a.stdout, "product", p.Name, "title", p.Title, "team", p.Team.Name, "platforms", named(p.Platforms), "key", p.Spec.Key,
		"tests", p.Spec.Gate.Tests, "approvals", approvals, "revision", decimal(p.Revision), "digest", string(p.Digest), "changed", when(p.At), "by", p.Actor); err != nil {
		return err
	}
	t := newTable("REPOSITORY", "PLATFORM", "ARCH", "KIND")
	for _, r := range p.Spec.Repositories {
		t.row(r.Path, r.Platform, string(r.Arch), r.Kind)
	}
	return a.section(t)
}
