package releases

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

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
				ArgsUsage: `NAME --user-id "Name <mail@example.org>" [--algorithm rsa4096|ed25519] [--product P]… [--subkey] [--not-before T] [--not-after T] [--wait]`,
				Description: "NAME is how commands and products call the key. Old rpm versions don't know ed25519.\n" +
					"T is a day, as 2027-01-31, or a time, as 2027-01-31T12:00:00Z; the signer refuses to sign outside.\n" +
					`For example: albs key generate demo --user-id "Demo <demo@example.org>" --wait`,
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "user-id", Usage: "what the key says of its owner (`ID`)"},
					&urfave.StringFlag{Name: "algorithm", Usage: "rsa4096 or ed25519 (`ALGORITHM`)", Value: "rsa4096"},
					&urfave.StringSliceFlag{Name: "product", Usage: "sign for the product `P` only; may be repeated"},
					&urfave.BoolFlag{Name: "subkey", Usage: "the key certifies only, and a subkey of it signs"},
					&urfave.StringFlag{Name: "not-before", Usage: "sign from the time `T` on"},
					&urfave.StringFlag{Name: "not-after", Usage: "sign until the time `T`"},
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
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a key, and what products show of the packages that it signed", ArgsUsage: "NAME|FINGERPRINT",
				Description: "With --json only the key is printed; the packages are at /api/v1/sign-keys/KEY/packages.\n" +
					"For example: albs key show demo",
				Action: a.Asks(1, 1, a.showKey),
			}),
			ask.Answers(&urfave.Command{
				Name: "revoke", Usage: "end a key, for good", ArgsUsage: "NAME|FINGERPRINT --reason compromised|superseded|retired [--text TEXT] [--wait]",
				Description: "The signer certifies that the key is revoked and never uses it again. It can't be undone.\n" +
					"The next release publishes that certificate in the file of keys: who has it takes nothing that the key signed, whenever that was.\n" +
					"To go on to another key while packages of the old one stay good, only change the product's key.\n" +
					`For example: albs key revoke demo --reason compromised --text "the token was lost" --wait`,
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "reason", Usage: "why: `REASON` is compromised, superseded or retired"},
					&urfave.StringFlag{Name: "text", Usage: "one line for people (`TEXT`)"},
					terminal.WaitFlag("the key is revoked"),
				},
				Action: terminal.Action(1, 1, a.revokeKey),
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
	name := c.Args().First()
	n := client.NewKey{
		Name: name, UserID: c.String("user-id"), Algorithm: c.String("algorithm"), Products: c.StringSlice("product"), Subkey: c.Bool("subkey"),
	}
	for flag, to := range map[string]*time.Time{"not-before": &n.NotBefore, "not-after": &n.NotAfter} {
		if !c.IsSet(flag) {
			continue
		}
		var err error
		if *to, err = moment(c.String(flag)); err != nil {
			return terminal.Misused(c, "--%s %q is neither a day, as 2027-01-31, nor a time, as 2027-01-31T12:00:00Z", flag, c.String(flag))
		}
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.GenerateKey(c.Context, n)
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

// moment reads a day, which is its begin in UTC, or a time.
func moment(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, s)
}

func (a app) showKey(c *urfave.Context, cl *client.Client) error {
	doc, err := cl.Key(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return a.PrintJSON(doc.JSON)
	}
	shown, err := cl.KeyPackages(c.Context, doc.Value.Fingerprint)
	if err != nil {
		return err
	}
	k := doc.Value
	t := terminal.NewTable("KEY", k.Name)
	row := func(name, value string) {
		if value != "" {
			t.Row(name, value)
		}
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return terminal.When(t)
	}
	row("fingerprint", k.Fingerprint)
	row("signing subkey", k.Subkey)
	row("user id", k.UserID)
	row("algorithm", k.Algorithm)
	row("kept in", k.Kept)
	row("products", cmp.Or(strings.Join(k.Products, " "), "all"))
	row("made", at(k.Created))
	row("signs from", at(k.NotBefore))
	row("signs until", at(k.NotAfter))
	row("revoked", at(k.Revoked))
	row("state", stateOf(k))
	if err := a.Table(t, ""); err != nil {
		return err
	}
	if shown.Value.Total == 0 {
		return a.Say("products show no package that it signed")
	}
	if err := a.Say("products show %d packages that it signed:", shown.Value.Total); err != nil {
		return err
	}
	t = terminal.NewTable("PRODUCT", "REPOSITORY", "PACKAGE")
	for _, p := range shown.Value.Packages {
		t.Row(p.Product, p.Repository, p.NEVRA)
	}
	if more := shown.Value.Total - len(shown.Value.Packages); more > 0 {
		t.Row("…", "…", fmt.Sprintf("and %d more", more))
	}
	return a.Table(t, "")
}

func (a app) revokeKey(c *urfave.Context) error {
	if err := terminal.Needs(c, "reason"); err != nil {
		return err
	}
	if r := c.String("reason"); r != "compromised" && r != "superseded" && r != "retired" {
		return terminal.Misused(c, "--reason %q is none of compromised, superseded and retired", r)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	name := c.Args().First()
	doc, err := cl.RevokeKey(c.Context, name, c.String("reason"), c.String("text"))
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "key %s signs nothing new and is being revoked; albs key show %s tells when it is", name, name)
	}
	m := a.NewMeter()
	err = a.Until(c.Context, cl, "key:"+name, m, "the key is being revoked all the same: albs key show "+name, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Revocation(ctx, name); err != nil {
			return false, err
		}
		m.Now(fmt.Sprintf("key %s: %s", name, watch.State(doc.Value.State, 0)))
		return doc.Value.State.Final(), nil
	})
	if err != nil {
		return err
	}
	if doc.Value.State != albs.TaskSucceeded {
		err = fmt.Errorf("key %s signs nothing new, and was not revoked: %s%s", name, doc.Value.State, ask.Because(doc.Value.StateReason))
	}
	return a.Outcome(c, doc.JSON, err, "key %s is revoked; albs key show %s lists what products show of its packages", name, name)
}

// stateOf says in short whether a key signs.
func stateOf(k client.Key) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Active:
		return "inactive"
	}
	return cmp.Or(k.Unusable, "active")
}

func (a app) listKeys(keys []client.Key) error {
	t := terminal.NewTable("NAME", "FINGERPRINT", "ALGORITHM", "USER ID", "PRODUCTS", "SINCE", "STATE")
	for _, k := range keys {
		t.Row(k.Name, k.Fingerprint, k.Algorithm, k.UserID, cmp.Or(strings.Join(k.Products, " "), "all"), terminal.When(k.Created), stateOf(k))
	}
	return a.Table(t, "there are no keys; make one with: albs key generate NAME --user-id \"…\"")
}
