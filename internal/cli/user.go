package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/client"
)

func (a *app) userCommand() *urfave.Command {
	team := &urfave.StringFlag{Name: "team", Usage: "the `TEAM` for which contributor, product_maintainer and signer are held"}
	return &urfave.Command{
		Name:  "user",
		Usage: "people's accounts and roles",
		Subcommands: []*urfave.Command{
			{
				Name: "add", Usage: "add an account, without roles and tokens", ArgsUsage: "NAME [--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.addUser),
			},
			{
				Name: "grant", Usage: "give a role: contributor, product_maintainer or signer for a team, operator or admin", ArgsUsage: "NAME ROLE [--team TEAM]",
				Flags:  []urfave.Flag{team, jsonFlag()},
				Action: action(2, 2, a.changeRole((*client.Client).Grant, "has the role")),
			},
			{
				Name: "revoke", Usage: "take a role away", ArgsUsage: "NAME ROLE [--team TEAM]",
				Flags:  []urfave.Flag{team, jsonFlag()},
				Action: action(2, 2, a.changeRole((*client.Client).Revoke, "no longer has the role")),
			},
			{
				Name: "list", Usage: "list accounts with their roles", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(0, 0, a.listUsers),
			},
			{
				Name: "disable", Usage: "close an account for good, with its tokens", ArgsUsage: "NAME",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.disableUser),
			},
		},
	}
}

func (a *app) addUser(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	u, err := cl.CreateUser(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return a.result(c, u.JSON, "user %s is added; give a role with: albs user grant %s ROLE --team TEAM", u.Value.Name, u.Value.Name)
}

// roleChange is Grant or Revoke.
type roleChange func(*client.Client, context.Context, albs.UserID, string, string) (client.Doc[client.User], error)

func (a *app) changeRole(change roleChange, done string) func(*urfave.Context) error {
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
		return a.result(c, out.JSON, "%s %s %s%s", u.Name, done, role, where)
	}
}

func (a *app) listUsers(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	users, err := cl.Users(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(users.JSON, err)
	}
	t := newTable("NAME", "ROLES", "SINCE", "STATE")
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
			state = "disabled " + when(u.Disabled)
		}
		t.row(u.Name, strings.Join(roles, " "), when(u.Created), state)
	}
	return t.write(a.stdout, "there are no users")
}

func (a *app) disableUser(c *urfave.Context) error {
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
	return a.result(c, out.JSON, "user %s is disabled, and so are the tokens", u.Name)
}

func (a *app) tokenCommand() *urfave.Command {
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
					jsonFlag(),
				},
				Action: action(0, 0, a.createToken),
			},
			{
				Name: "list", Usage: "list tokens", ArgsUsage: "[--user NAME] [--json]",
				Flags:  []urfave.Flag{user, jsonFlag()},
				Action: action(0, 0, a.listTokens),
			},
			{
				Name: "revoke", Usage: "end a token", ArgsUsage: "ID",
				Action: action(1, 1, a.revokeToken),
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

func (a *app) createToken(c *urfave.Context) error {
	days := c.Int("days")
	if c.IsSet("days") && days < 1 {
		return misused(c, "--days %d is not a number of days from 1", days)
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
		return a.printJSON(t.JSON)
	}
	// The secret alone on stdout, so that it can be put into a file as it is.
	if err := a.note("token %d is good until %s; keep it in ALBS_TOKEN or, with mode 0600, in ~/.config/albs/token", t.Value.ID, when(t.Value.Expires)); err != nil {
		return err
	}
	return a.say("%s", t.Value.Secret)
}

func (a *app) listTokens(c *urfave.Context) error {
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
	t := newTable("ID", "BEGINS", "NOTE", "SINCE", "LAST USED", "STATE")
	for _, k := range tokens.Value {
		state := "until " + when(k.Expires)
		switch {
		case !k.Revoked.IsZero():
			state = "revoked " + when(k.Revoked)
		case k.Expires.Before(a.now()):
			state = "expired " + when(k.Expires)
		}
		t.row(decimal(k.ID), k.Prefix, k.Note, when(k.Created), when(k.Used), state)
	}
	return t.write(a.stdout, "there are no tokens")
}

func (a *app) revokeToken(c *urfave.Context) error {
	n, err := id(c, "token", c.Args().First())
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
	return a.say("token %d is revoked", n)
}

func (a *app) workerCommand() *urfave.Command {
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
					jsonFlag(),
				},
				Action: action(0, 1, a.addWorker),
			},
			{
				Name: "list", Usage: "list workers", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(0, 0, a.listWorkers),
			},
			{
				Name: "disable", Usage: "close a worker's identity for good", ArgsUsage: "NAME",
				Flags:  []urfave.Flag{jsonFlag()},
				Action: action(1, 1, a.disableWorker),
			},
		},
	}
}

func (a *app) addWorker(c *urfave.Context) error {
	if err := needs(c, "role"); err != nil {
		return err
	}
	role := albs.Role(c.String("role"))
	if role == albs.RoleMaster || !slices.Contains(albs.Roles, role) {
		return misused(c, "--role %q is none of node, tester, signer and releaser", role)
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
		return a.printJSON(w.JSON)
	}
	// The token alone on stdout, so that it can be put into a file as it is.
	if err := a.note("worker %s is enrolled as %s; its token goes into the file that its configuration names", w.Value.Name, w.Value.Role); err != nil {
		return err
	}
	return a.say("%s", w.Value.Token)
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
			return nil, misused(c, "--arch: %v", err)
		}
		out = append(out, arch)
	}
	return out, nil
}

func (a *app) listWorkers(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	workers, err := cl.Workers(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(workers.JSON, err)
	}
	t := newTable("NAME", "ROLE", "MAY OFFER", "SINCE", "LAST SEEN", "STATE")
	for _, w := range workers.Value {
		state, seen := "active", when(w.Used)
		if w.Prefix == "" {
			seen = "in the server"
		}
		if !w.Disabled.IsZero() {
			state = "disabled " + when(w.Disabled)
		}
		t.row(w.Name, string(w.Role), strings.Join(w.Labels, " "), when(w.Created), seen, state)
	}
	return t.write(a.stdout, "there are no workers; enroll one with: albs worker add NAME --role node --arch x86_64")
}

func (a *app) disableWorker(c *urfave.Context) error {
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
	return a.result(c, out.JSON, "worker %s is disabled; its leases end by themselves", name)
}
