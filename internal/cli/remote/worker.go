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

func (a *App) workerCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "worker",
		Usage:       "the identities of nodes, testers, signers and releasers",
		Description: "A worker that runs apart from the master shows a token of its own, which binds it to its role, arches and keys.",
		Subcommands: []*urfave.Command{
			answers(&urfave.Command{
				Name: "add", Usage: "enroll a worker and print its token, which is shown this once",
				ArgsUsage: "[NAME] --role node|tester|signer|releaser [--arch A]… [--key FPR]… [--label L]…",
				Description: "The token alone goes to stdout, so that it can be put into the file that connect.token_file names. Without NAME the worker is called by its role and a number.\n" +
					"For example: (umask 077; albs worker add node-1 --role node --arch x86_64 > node.token)",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "role", Usage: "what it does: node, tester, signer or releaser (`ROLE`)"},
					&urfave.StringSliceFlag{Name: "arch", Usage: "an arch (`A`) that a node or tester may work for"},
					&urfave.StringSliceFlag{Name: "key", Usage: "the fingerprint (`FPR`) of a key that a signer may offer; all of its keys without this"},
					&urfave.StringSliceFlag{Name: "label", Usage: "what else it may offer (`L`), as big or place:eu"},
				},
				Action: terminal.Action(0, 1, a.addWorker),
			}),
			answers(&urfave.Command{
				Name: "list", Usage: "list workers",
				Description: "MAY OFFER is what the identity allows a worker to be given; LAST SEEN says whether it is there.",
				Action: shows(a, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.Worker], error) {
					return cl.Workers(c.Context)
				}, a.listWorkers),
			}),
			answers(&urfave.Command{
				Name: "disable", Usage: "close a worker's identity for good", ArgsUsage: "NAME",
				Description: "Its token is refused from now on, and what it works at is given to another when its lease ends.",
				Action:      a.asks(1, 1, a.disableWorker),
			}),
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
	if bound := role == albs.RoleNode || role == albs.RoleTester; bound != (len(arches) > 0) {
		return terminal.Misused(c, "a node and a tester need --arch, which a signer and a releaser don't have")
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
	if !c.Bool("json") {
		if err := a.Note("worker %s is enrolled as %s; its token goes into the file that its configuration names", w.Value.Name, w.Value.Role); err != nil {
			return err
		}
	}
	return a.Result(c, w.JSON, "%s", w.Value.Token)
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

func (a *App) listWorkers(workers []client.Worker) error {
	t := terminal.NewTable("NAME", "ROLE", "MAY OFFER", "SINCE", "LAST SEEN", "STATE")
	for _, w := range workers {
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

func (a *App) disableWorker(c *urfave.Context, cl *client.Client) error {
	name := c.Args().First()
	workers, err := cl.Workers(c.Context)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(workers.Value, func(w client.Worker) bool { return w.Name == name })
	if i < 0 {
		return albs.Errorf(albs.NotFound, "there is no worker %q", name)
	}
	out, err := cl.DisableWorker(c.Context, workers.Value[i].ID)
	if err != nil {
		return err
	}
	return a.Result(c, out.JSON, "worker %s is disabled; its leases end by themselves", name)
}
