package releases

import (
	"context"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

func (a app) keyCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "key",
		Usage:       "signing keys; their private parts never leave the signer",
		Description: "Packages and repositories are signed with keys that a signer makes and keeps; the server knows their public parts.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "generate", Usage: "have the signer make a key",
				ArgsUsage: `NAME --user-id "Name <mail@example.org>" [--algorithm rsa4096|ed25519] [--product P]… [--wait]`,
				Description: "NAME is how commands and products call the key. Old rpm versions don't know ed25519.\n" +
					`For example: albs key generate demo --user-id "Demo <demo@example.org>" --wait`,
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "user-id", Usage: "what the key says of its owner (`ID`)"},
					&urfave.StringFlag{Name: "algorithm", Usage: "rsa4096 or ed25519 (`ALGORITHM`)", Value: "rsa4096"},
					&urfave.StringSliceFlag{Name: "product", Usage: "sign for the product `P` only; may be repeated"},
					terminal.WaitFlag("the key is there"),
				},
				Action: terminal.Action(1, 1, a.generateKey),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list keys",
				Description: "Keys are listed by name with their fingerprints and the products that they sign for.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Key], error) {
					return cl.Keys(c.Context)
				}, a.listKeys),
			}),
			{
				Name: "export", Usage: "print a key's public part, as rpm --import takes it", ArgsUsage: "NAME|FINGERPRINT [--output FILE]",
				Description: "The public part is printed in ASCII armor.\n" +
					"For example: albs key export demo --output RPM-GPG-KEY-demo",
				Flags: []urfave.Flag{&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write", Value: "-", DefaultText: "stdout"}},
				Action: a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
					_, err := a.Download(c, func() ([]byte, error) { return cl.PublicKey(c.Context, c.Args().First()) })
					return err
				}),
			},
		},
	}
}

func (a app) generateKey(c *urfave.Context) error {
	if err := terminal.Needs(c, "user-id"); err != nil {
		return err
	}
	if alg := c.String("algorithm"); alg != "rsa4096" && alg != "ed25519" {
		return terminal.Misused(c, "--algorithm %q is neither rsa4096 nor ed25519", alg)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	name := c.Args().First()
	doc, err := cl.GenerateKey(c.Context, client.NewKey{Name: name, UserID: c.String("user-id"), Algorithm: c.String("algorithm"), Products: c.StringSlice("product")})
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "key %s is being made; albs key list shows it when it is there", name)
	}
	m := a.NewMeter()
	task := doc.Value.Task
	err = a.Until(c.Context, cl, "key:"+name, m, "the key is being made all the same: albs key list", func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Keygen(ctx, task); err != nil {
			return false, err
		}
		k := doc.Value
		m.Now(fmt.Sprintf("key %s: %s", name, watch.State(k.State, 0)))
		return k.State.Final(), nil
	})
	if err != nil {
		return err
	}
	if doc.Value.State != albs.TaskSucceeded {
		err = fmt.Errorf("key %s was not made: %s%s", name, doc.Value.State, ask.Because(doc.Value.Reason))
	}
	return a.Outcome(c, doc.JSON, err, "key %s is %s", name, doc.Value.Fingerprint)
}

func (a app) listKeys(keys []client.Key) error {
	t := terminal.NewTable("NAME", "FINGERPRINT", "ALGORITHM", "USER ID", "PRODUCTS", "SINCE", "STATE")
	for _, k := range keys {
		state, products := "active", strings.Join(k.Products, " ")
		if !k.Active {
			state = "inactive"
		}
		if products == "" {
			products = "all"
		}
		t.Row(k.Name, k.Fingerprint, k.Algorithm, k.UserID, products, terminal.When(k.Created), state)
	}
	return a.Table(t, "there are no keys; make one with: albs key generate NAME --user-id \"…\"")
}
