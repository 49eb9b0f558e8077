package catalog

import (
	"cmp"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) productCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "product",
		Usage:       "what is released: repositories, their key, and who has to agree",
		Description: "A product is a set of public repositories that a team releases to, with the key and the approvals that a release needs.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "apply", Usage: "make a product, or change the one of that name", ArgsUsage: "FILE.yaml",
				Description: "FILE.yaml says all of the product, and the file's name field which one; - reads stdin. Applying the same file twice changes nothing.\n" +
					"For example: albs product apply demo.yaml",
				Action: applies(a, (*client.Client).ApplyProduct, func(p client.Product) string {
					return fmt.Sprintf("product %s is at revision %d", p.Name, p.Revision)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list products", ArgsUsage: "[--page N]",
				Description: "Products are listed by name, ten to a page.",
				Flags:       []urfave.Flag{ask.PageFlag()},
				Action: ask.Pages(a.App, func(c *urfave.Context, cl *client.Client, page int) (client.Doc[client.ProductPage], error) {
					return cl.Products(c.Context, page)
				}, listProducts, "there are no products on this page; make one with: albs product apply FILE.yaml"),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a product", ArgsUsage: "NAME",
				Description: "NAME is one that albs product list has. --json prints everything that was applied.",
				Action: ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[client.Product], error) {
					return cl.Product(c.Context, c.Args().First())
				}, a.showProduct),
			}),
		},
	}
}

func listProducts(page client.ProductPage) (*terminal.Table, int) {
	t := terminal.NewTable("NAME", "TEAM", "PLATFORMS", "REVISION", "CHANGED", "TITLE")
	for _, p := range page.Products {
		t.Row(p.Name, p.Team.Name, ask.Named(p.Platforms), terminal.Decimal(p.Revision), terminal.When(p.At), p.Title)
	}
	return t, page.Total
}

// gate is the policy on tests, with that on stages which have another one.
func gate(p client.Product) string {
	out := p.Spec.Gate.Tests
	for _, s := range albs.TestStages {
		if t, ok := p.Spec.Gate.Stages[s]; ok && t != p.Spec.Gate.Tests {
			out += ", " + string(s) + " " + t
		}
	}
	return out
}

func (a app) showProduct(p client.Product) error {
	approvals := terminal.Decimal(p.Spec.Approvals.Count)
	if p.Spec.Approvals.Distinct {
		approvals += ", not of who plans"
	}
	if p.Spec.Approvals.Signed {
		approvals += ", by people's own keys"
	}
	if p.Spec.Approvals.Requests {
		approvals += ", of requests for signatures too"
	}
	if err := a.Facts("product", p.Name, "title", p.Title, "team", p.Team.Name, "platforms", ask.Named(p.Platforms), "key", p.Spec.Key,
		"tests", gate(p), "approvals", approvals, "closure", cmp.Or(p.Spec.Closure, "advisory"), "sources", cmp.Or(p.Spec.Sources, "any"), "retention", retention(p), "revision", terminal.Decimal(p.Revision), "digest", string(p.Digest),
		"changed", terminal.When(p.At), "by", p.Actor); err != nil {
		return err
	}
	t := terminal.NewTable("REPOSITORY", "PLATFORM", "ARCH", "KIND")
	for _, r := range p.Spec.Repositories {
		t.Row(r.Path, r.Platform, string(r.Arch), r.Kind)
	}
	return a.Section(t)
}

// retention says how much of a product's past is kept.
func retention(p client.Product) string {
	r := p.Spec.Retention
	var kept []string
	if r.Trees > 0 {
		kept = append(kept, fmt.Sprintf("the newest %d serials", r.Trees))
	}
	if r.Days > 0 {
		kept = append(kept, fmt.Sprintf("those shown within %d days", r.Days))
	}
	if len(kept) == 0 {
		return "everything"
	}
	packages := "all packages"
	if r.Packages == "kept" {
		packages = "the packages that these name"
	}
	return strings.Join(kept, " and ") + ", " + packages
}
