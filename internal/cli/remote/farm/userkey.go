package farm

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxPublic = 4 << 10 // bytes of a file .pub

func (a app) userKeyCommand() *urfave.Command {
	user := &urfave.StringFlag{Name: "user", Usage: "of the person `NAME`, for admins; else your own"}
	return ask.Listed("albs user key list shows a person's, albs user list people", &urfave.Command{
		Name: "key", Usage: "keys by which people sign approvals; you keep the private parts",
		Description: "The server checks approvals by them. The signer's operator lists the same lines in policy.yaml, which is what a signature on a release hangs on.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "register a key by its public part", ArgsUsage: "FILE.pub [--user NAME]",
				Description: "Make a key with ssh-keygen -t ed25519, sealed with a passphrase.\n" +
					"For example: albs user key add ~/.ssh/id_ed25519.pub",
				Flags: []urfave.Flag{user},
				Action: a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
					line, err := a.ReadFile(c.Args().First(), "the public part of your key, a file .pub", maxPublic)
					if err != nil {
						return err
					}
					id, err := keyOwner(c, cl)
					if err != nil {
						return err
					}
					k, err := cl.AddUserKey(c.Context, id, string(line))
					if err != nil {
						return ask.About(c.Args().First(), err)
					}
					return a.Result(c, k.JSON, "key %d, %s, is registered", k.Value.ID, k.Value.Fingerprint)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list keys, removed ones among them", ArgsUsage: "[--user NAME]",
				Description: "A key is shown by its fingerprint, as ssh-keygen -l does.",
				Flags:       []urfave.Flag{user},
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.UserKey], error) {
					id, err := keyOwner(c, cl)
					if err != nil {
						return client.Doc[[]client.UserKey]{}, err
					}
					return cl.UserKeys(c.Context, id)
				}, a.listUserKeys),
			}),
			{
				Name: "remove", Usage: "end the use of a key", ArgsUsage: "KEY",
				Description: "KEY is the number that albs user key list shows. What it approved and isn't published yet counts no more. Tell the signer's operator, too.",
				Action: ask.Numbered(a.App, "key", 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					if err := cl.RemoveUserKey(c.Context, id); err != nil {
						return err
					}
					return a.Say("key %d approves nothing any more", id)
				}),
			},
		},
	})
}

// keyOwner is the person that --user names, or who asks.
func keyOwner(c *urfave.Context, cl *client.Client) (albs.UserID, error) {
	if name := c.String("user"); name != "" {
		u, err := cl.User(c.Context, name)
		return u.ID, err
	}
	u, err := cl.Me(c.Context)
	return u.ID, err
}

func (a app) listUserKeys(keys []client.UserKey) error {
	t := terminal.NewTable("KEY", "FINGERPRINT", "SINCE", "STATE")
	for _, k := range keys {
		state := "in use"
		if !k.Removed.IsZero() {
			state = "removed " + terminal.When(k.Removed)
		}
		t.Row(terminal.Decimal(k.ID), k.Fingerprint, terminal.When(k.Created), state)
	}
	return a.Table(t, "there are no keys")
}
