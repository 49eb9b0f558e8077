package farm

import (
	"context"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) userCommand() *urfave.Command {
	team := &urfave.StringFlag{Name: "team", Usage: "the `TEAM` for which contributor, product_maintainer and signer are held"}
	return &urfave.Command{
		Name:        "user",
		Usage:       "people's accounts and roles",
		Description: "Accounts are an admin's to keep. What a person may do, roles say: contributor, product_maintainer and signer for a team, operator and admin everywhere.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "add an account, without roles and tokens", ArgsUsage: "NAME",
				Description: "Give the person a role with albs user grant and a token with albs token create --user NAME.",
				Action: a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
					u, err := cl.CreateUser(c.Context, c.Args().First())
					if err != nil {
						return err
					}
					return a.Result(c, u.JSON, "user %s is added; give a role with: albs user grant %s ROLE --team TEAM", u.Value.Name, u.Value.Name)
				}),
			}),
			ask.Answers(&urfave.Command{
				Name: "grant", Usage: "give a role: contributor, product_maintainer or signer for a team, operator or admin", ArgsUsage: "NAME ROLE [--team TEAM]",
				Description: "The role holds at once, for tokens too that are in use. A team comes into being with its first role.\n" +
					"For example: albs user grant alice contributor --team demo",
				Flags:  []urfave.Flag{team},
				Action: a.changeRole((*client.Client).Grant, "has the role"),
			}),
			ask.Answers(&urfave.Command{
				Name: "revoke", Usage: "take a role away", ArgsUsage: "NAME ROLE [--team TEAM]",
				Description: "The role is gone at once; what was done by it stays.\n" +
					"For example: albs user revoke alice contributor --team demo",
				Flags:  []urfave.Flag{team},
				Action: a.changeRole((*client.Client).Revoke, "no longer has the role"),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list accounts with their roles",
				Description: "A role that is held for a team is shown as role@team.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.User], error) {
					return cl.Users(c.Context)
				}, a.listUsers),
			}),
			ask.Answers(&urfave.Command{
				Name: "disable", Usage: "close an account for good, with its tokens", ArgsUsage: "NAME",
				Description: "There is no way back: the name stays that of who had it.",
				Action: a.onUser(func(c *urfave.Context, cl *client.Client, u client.User) error {
					out, err := cl.DisableUser(c.Context, u.ID)
					if err != nil {
						return err
					}
					return a.Result(c, out.JSON, "user %s is disabled, and so are the tokens", u.Name)
				}),
			}),
		},
	}
}

// onUser is asks for the account that the only argument names.
func (a app) onUser(do func(*urfave.Context, *client.Client, client.User) error) urfave.ActionFunc {
	return a.Asks(1, 1, func(c *urfave.Context, cl *client.Client) error {
		u, err := cl.User(c.Context, c.Args().First())
		if err != nil {
			return err
		}
		return do(c, cl, u)
	})
}

// roleChange is Grant or Revoke.
type roleChange func(*client.Client, context.Context, albs.UserID, string, string) (client.Doc[client.User], error)

func (a app) changeRole(change roleChange, done string) urfave.ActionFunc {
	return a.Asks(2, 2, func(c *urfave.Context, cl *client.Client) error {
		u, err := cl.User(c.Context, c.Args().First())
		if err != nil {
			return err
		}
		role, team := strings.ReplaceAll(c.Args().Get(1), "-", "_"), c.String("team")
		out, err := change(cl, c.Context, u.ID, role, team)
		if err != nil {
			return err
		}
		where := ""
		if team != "" {
			where = " for team " + team
		}
		return a.Result(c, out.JSON, "%s %s %s%s", u.Name, done, role, where)
	})
}

func (a app) listUsers(users []client.User) error {
	t := terminal.NewTable("NAME", "ROLES", "SINCE", "STATE")
	for _, u := range users {
		var roles []string
		for _, r := range u.Roles {
			if r.Team != "" {
				r.Role += "@" + r.Team
			}
			roles = append(roles, r.Role)
		}
		state := "active"
		if !u.Active {
			state = "disabled " + terminal.When(u.Disabled)
		}
		t.Row(u.Name, strings.Join(roles, " "), terminal.When(u.Created), state)
	}
	return a.Table(t, "there are no users")
}
