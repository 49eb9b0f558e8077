package farm

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxDays = 366 // of a token's life, as the server has it

func (a app) tokenCommand() *urfave.Command {
	of := &urfave.StringFlag{Name: "user", Usage: "another person's, by `NAME`; for admins"}
	return &urfave.Command{
		Name:        "token",
		Usage:       "the tokens by which the server knows people",
		Description: "A token speaks for its owner until it expires or is revoked. Its secret is shown once, when it is made.",
		Subcommands: []*urfave.Command{
			ask.Listed("albs user list shows all", ask.Answers(&urfave.Command{
				Name: "create", Usage: "make a token and print its secret, which is shown this once", ArgsUsage: "[--user NAME] [--name NOTE] [--days N]",
				Description: "The secret alone goes to stdout, so that it can be put into a file as it is.\n" +
					"For example: (umask 077; albs token create --name laptop > ~/.config/albs/token)",
				Flags: []urfave.Flag{
					of,
					&urfave.StringFlag{Name: "name", Usage: "a `NOTE` that says what it is for"},
					&urfave.IntFlag{Name: "days", Usage: "how many days (`N`) it is good for, up to 366", DefaultText: "30"},
				},
				Action: terminal.Action(0, 0, a.createToken),
			})),
			ask.Listed("albs user list shows all", ask.Answers(&urfave.Command{
				Name: "list", Usage: "list tokens", ArgsUsage: "[--user NAME]",
				Description: "Of each token its beginning is shown, never its secret.",
				Flags:       []urfave.Flag{of},
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Token], error) {
					id, err := userID(c, cl)
					if err != nil {
						return client.Doc[[]client.Token]{}, err
					}
					return cl.Tokens(c.Context, id)
				}, a.listTokens),
			})),
			ask.Listed("albs token list shows all of yours", &urfave.Command{
				Name: "revoke", Usage: "end a token", ArgsUsage: "ID",
				Description: "ID is the number that albs token list shows. The token is refused from now on.",
				Action: ask.Numbered(a.App, "token", 1, func(c *urfave.Context, cl *client.Client, n int64) error {
					if err := cl.RevokeToken(c.Context, n); err != nil {
						return err
					}
					return a.Say("token %d is revoked", n)
				}),
			}),
		},
	}
}

// userID returns the id of the person that --user names; 0 without the flag.
func userID(c *urfave.Context, cl *client.Client) (albs.UserID, error) {
	if !c.IsSet("user") {
		return 0, nil
	}
	u, err := cl.User(c.Context, c.String("user"))
	return u.ID, err
}

func (a app) createToken(c *urfave.Context) error {
	days := c.Int("days")
	if c.IsSet("days") && (days < 1 || days > maxDays) {
		return terminal.Misused(c, "--days %d is not a number of days from 1 to %d", days, maxDays)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	id, err := userID(c, cl)
	if err != nil {
		return err
	}
	t, err := cl.CreateToken(c.Context, client.NewToken{User: id, Note: c.String("name"), Days: days})
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		if err := a.Note("token %d is good until %s; keep it in ALBS_TOKEN or, with mode 0600, in ~/.config/albs/token", t.Value.ID, terminal.When(t.Value.Expires)); err != nil {
			return err
		}
	}
	return a.Result(c, t.JSON, "%s", t.Value.Secret)
}

func (a app) listTokens(tokens []client.Token) error {
	t := terminal.NewTable("ID", "BEGINS", "NOTE", "SINCE", "LAST USED", "STATE")
	for _, k := range tokens {
		state := "until " + terminal.When(k.Expires)
		switch {
		case !k.Revoked.IsZero():
			state = "revoked " + terminal.When(k.Revoked)
		case k.Expires.Before(a.Now()):
			state = "expired " + terminal.When(k.Expires)
		}
		t.Row(terminal.Decimal(k.ID), k.Prefix, k.Note, terminal.When(k.Created), terminal.When(k.Used), state)
	}
	return a.Table(t, "there are no tokens")
}
