package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a *App) userCommand() *urfave.Command {
	team := &urfave.StringFlag{Name: "team", Usage: "the `TEAM` for which contributor, product_maintainer and signer are held"}
	return &urfave.Command{
		Name:  "user",
		Usage: "people's accounts and roles",
		Subcommands: []*urfave.Command{
			{
				Name: "add", Usage: "add an account, without roles and tokens", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.addUser),
			},
			{
				Name: "grant", Usage: "give a role: contributor, product_maintainer or signer for a team, operator or admin", ArgsUsage: "NAME ROLE [--team TEAM]",
				Flags:  []urfave.Flag{team, terminal.JSONFlag()},
				Action: terminal.Action(2, 2, a.changeRole((*client.Client).Grant, "has the role")),
			},
			{
				Name: "revoke", Usage: "take a role away", ArgsUsage: "NAME ROLE [--team TEAM]",
				Flags:  []urfave.Flag{team, terminal.JSONFlag()},
				Action: terminal.Action(2, 2, a.changeRole((*client.Client).Revoke, "no longer has the role")),
			},
			{
				Name: "list", Usage: "list accounts with their roles", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listUsers),
			},
			{
				Name: "disable", Usage: "close an account for good, with its tokens", ArgsUsage: "NAME",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.disableUser),
			},
		},
	}
}

func (a *App) addUser(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	u, err := cl.CreateUser(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return a.Result(c, u.JSON, "user %s is added; give a role with: albs user grant %s ROLE --team TEAM", u.Value.Name, u.Value.Name)
}

// roleChange is Grant or Revoke.
type roleChange func(*client.Client, context.Context, albs.UserID, string, string) (client.Doc[client.User], error)

func (a *App) changeRole(change roleChange, done string) func(*urfave.Context) error {
	return func(c *urfave.Context) error {
		cl, err := a.connect()
		if err != nil {
			return err
		}
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
	}
}

func (a *App) listUsers(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	users, err := cl.Users(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(users.JSON, err)
	}
	t := terminal.NewTable("NAME", "ROLES", "SINCE", "STATE")
	for _, u := range users.Value {
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

func (a *App) disableUser(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	u, err := cl.User(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	out, err := cl.DisableUser(c.Context, u.ID)
	if err != nil {
		return err
	}
	return a.Result(c, out.JSON, "user %s is disabled, and so are the tokens", u.Name)
}

func (a *App) tokenCommand() *urfave.Command {
	user := &urfave.StringFlag{Name: "user", Usage: "another person's, by `NAME`; for admins"}
	return &urfave.Command{
		Name:  "token",
		Usage: "the tokens by which the server knows people",
		Subcommands: []*urfave.Command{
			{
				Name: "create", Usage: "make a token and print its secret, which is shown this once", ArgsUsage: "[--user NAME] [--name NOTE] [--days N] [--json]",
				Flags: []urfave.Flag{
					user,
					&urfave.StringFlag{Name: "name", Usage: "a `NOTE` that says what it is for"},
					&urfave.IntFlag{Name: "days", Usage: "how many `DAYS` it is good for, up to 366", DefaultText: "30"},
					terminal.JSONFlag(),
				},
				Action: terminal.Action(0, 0, a.createToken),
			},
			{
				Name: "list", Usage: "list tokens", ArgsUsage: "[--user NAME] [--json]",
				Flags:  []urfave.Flag{user, terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listTokens),
			},
			{
				Name: "revoke", Usage: "end a token", ArgsUsage: "ID",
				Action: terminal.Action(1, 1, a.revokeToken),
			},
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

func (a *App) createToken(c *urfave.Context) error {
	days := c.Int("days")
	if c.IsSet("days") && days < 1 {
		return terminal.Misused(c, "--days %d is not a number of days from 1", days)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	user, err := userID(c, cl)
	if err != nil {
		return err
	}
	t, err := cl.CreateToken(c.Context, client.NewToken{User: user, Note: c.String("name"), Days: days})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return a.PrintJSON(t.JSON)
	}
	// The secret alone on stdout, so that it can be put into a file as it is.
	if err := a.Note("token %d is good until %s; keep it in ALBS_TOKEN or, with mode 0600, in ~/.config/albs/token", t.Value.ID, terminal.When(t.Value.Expires)); err != nil {
		return err
	}
	return a.Say("%s", t.Value.Secret)
}

func (a *App) listTokens(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	user, err := userID(c, cl)
	if err != nil {
		return err
	}
	tokens, err := cl.Tokens(c.Context, user)
	if err != nil || c.Bool("json") {
		return a.jsonOr(tokens.JSON, err)
	}
	t := terminal.NewTable("ID", "BEGINS", "NOTE", "SINCE", "LAST USED", "STATE")
	for _, k := range tokens.Value {
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

func (a *App) revokeToken(c *urfave.Context) error {
	n, err := terminal.Number(c, "token", c.Args().First())
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if err := cl.RevokeToken(c.Context, n); err != nil {
		return err
	}
	return a.Say("token %d is revoked", n)
}

func (a *App) workerCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "worker",
		Usage: "the identities of nodes, testers, signers and releasers",
		Subcommands: []*urfave.Command{
			{
				Name: "add", Usage: "enroll a worker and print its token, which is shown this once",
				ArgsUsage: "[NAME] --role node|tester|signer|releaser [--arch A]… [--key FPR]… [--label L]… [--json]",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "role", Usage: "what it does: node, tester, signer or releaser (`ROLE`)"},
					&urfave.StringSliceFlag{Name: "arch", Usage: "an `ARCH` that a node or tester may work for"},
					&urfave.StringSliceFlag{Name: "key", Usage: "the fingerprint (`FPR`) of a key that a signer may offer; all of its keys without this"},
					&urfave.StringSliceFlag{Name: "label", Usage: "what else it may offer, as big or place:eu (`LABEL`)"},
					terminal.JSONFlag(),
				},
				Action: terminal.Action(0, 1, a.addWorker),
			},
			{
				Name: "list", Usage: "list workers", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listWorkers),
			},
			{
				Name: "disable", Usage: "close a worker's identity for good", ArgsUsage: "NAME",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(1, 1, a.disableWorker),
			},
		},
	}
}

func (a *App) addWorker(c *urfave.Context) error {
	if err := terminal.Needs(c, "role"); err != nil {
		return err
	}
	role := albs.Role(c.String("role"))
	if role == albs.RoleMaster || !slices.Contains(albs.Roles, role) {
		return terminal.Misused(c, "--role %q is none of node, tester, signer and releaser", role)
	}
	arches, err := arches(c)
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name == "" {
		if name, err = freeName(c.Context, cl, role); err != nil {
			return err
		}
	}
	w, err := cl.AddWorker(c.Context, client.NewWorker{
		Name: name, Role: role, Arches: arches, Keys: c.StringSlice("key"), Labels: c.StringSlice("label"),
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return a.PrintJSON(w.JSON)
	}
	// The token alone on stdout, so that it can be put into a file as it is.
	if err := a.Note("worker %s is enrolled as %s; its token goes into the file that its configuration names", w.Value.Name, w.Value.Role); err != nil {
		return err
	}
	return a.Say("%s", w.Value.Token)
}

// freeName returns the first of role-1, role-2 … that no worker has.
func freeName(ctx context.Context, cl *client.Client, role albs.Role) (string, error) {
	workers, err := cl.Workers(ctx)
	if err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s-%d", role, n)
		if !slices.ContainsFunc(workers.Value, func(w client.Worker) bool { return w.Name == name }) {
			return name, nil
		}
	}
}

// arches reads --arch.
func arches(c *urfave.Context) ([]albs.Arch, error) {
	var out []albs.Arch
	for _, s := range c.StringSlice("arch") {
		arch, err := albs.ParseArch(s)
		if err != nil {
			return nil, terminal.Misused(c, "--arch: %v", err)
		}
		out = append(out, arch)
	}
	return out, nil
}

func (a *App) listWorkers(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	workers, err := cl.Workers(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(workers.JSON, err)
	}
	t := terminal.NewTable("NAME", "ROLE", "MAY OFFER", "SINCE", "LAST SEEN", "STATE")
	for _, w := range workers.Value {
		state, seen := "active", terminal.When(w.Used)
		if w.Prefix == "" {
			seen = "in the server"
		}
		if !w.Disabled.IsZero() {
			state = "disabled " + terminal.When(w.Disabled)
		}
		t.Row(w.Name, string(w.Role), strings.Join(w.Labels, " "), terminal.When(w.Created), seen, state)
	}
	return a.Table(t, "there are no workers; enroll one with: albs worker add NAME --role node --arch x86_64")
}

func (a *App) disableWorker(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	name := c.Args().First()
	workers, err := cl.Workers(c.Context)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(workers.Value, func(w client.Worker) bool { return w.Name == name })
	if i < 0 {
		return albs.Errorf(albs.NotFound, "there is no worker %q; albs worker list shows all", name)
	}
	out, err := cl.DisableWorker(c.Context, workers.Value[i].ID)
	if err != nil {
		return err
	}
	return a.Result(c, out.JSON, "worker %s is disabled; its leases end by themselves", name)
}
