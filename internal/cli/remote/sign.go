package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a *App) keyCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "key",
		Usage: "signing keys; their private parts never leave the signer",
		Subcommands: []*urfave.Command{
			{
				Name: "generate", Usage: "have the signer make a key",
				ArgsUsage: `NAME --user-id "Name <mail@example.org>" [--algorithm rsa4096|ed25519] [--product P]… [--wait] [--json]`,
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "user-id", Usage: "what the key says of its owner (`ID`)"},
					&urfave.StringFlag{Name: "algorithm", Usage: "rsa4096 or ed25519 (`ALGORITHM`)", Value: "rsa4096"},
					&urfave.StringSliceFlag{Name: "product", Usage: "sign for the product `P` only; may be repeated"},
					terminal.WaitFlag("the key is there"), terminal.JSONFlag(),
				},
				Action: terminal.Action(1, 1, a.generateKey),
			},
			{
				Name: "list", Usage: "list keys", ArgsUsage: "[--json]",
				Flags:  []urfave.Flag{terminal.JSONFlag()},
				Action: terminal.Action(0, 0, a.listKeys),
			},
			{
				Name: "export", Usage: "print a key's public part, as rpm --import takes it", ArgsUsage: "NAME|FINGERPRINT [--output FILE]",
				Flags:  []urfave.Flag{&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write", Value: "-", DefaultText: "stdout"}},
				Action: terminal.Action(1, 1, a.exportKey),
			},
		},
	}
}

func (a *App) generateKey(c *urfave.Context) error {
	if err := terminal.Needs(c, "user-id"); err != nil {
		return err
	}
	if alg := c.String("algorithm"); alg != "rsa4096" && alg != "ed25519" {
		return terminal.Misused(c, "--algorithm %q is neither rsa4096 nor ed25519", alg)
	}
	cl, err := a.connect()
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
	err = a.wait(c.Context, cl, "key:"+name, m, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Keygen(ctx, task); err != nil {
			return false, err
		}
		k := doc.Value
		m.Now(fmt.Sprintf("key %s: %s", name, state1(k.State, 0)))
		return k.State.Final(), nil
	})
	if err = a.left(c, err, "the key is being made all the same: albs key list"); err != nil {
		return err
	}
	if doc.Value.State != albs.TaskSucceeded {
		err = fmt.Errorf("key %s was not made: %s%s", name, doc.Value.State, because(doc.Value.Reason))
	}
	if c.Bool("json") {
		return errors.Join(a.PrintJSON(doc.JSON), err)
	}
	if err != nil {
		return err
	}
	return a.Say("key %s is %s", name, doc.Value.Fingerprint)
}

// because is a reason behind what happened, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// left puts a broken-off wait into words that say what goes on; other errors are
// returned as they are.
func (a *App) left(c *urfave.Context, err error, goesOn string) error {
	if c.Context.Err() != nil && errors.Is(err, context.Canceled) {
		return &terminal.ExitError{Code: terminal.ExitFailed, Err: errors.New("broken off; " + goesOn)}
	}
	return err
}

func (a *App) listKeys(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	keys, err := cl.Keys(c.Context)
	if err != nil || c.Bool("json") {
		return a.jsonOr(keys.JSON, err)
	}
	t := terminal.NewTable("NAME", "FINGERPRINT", "ALGORITHM", "USER ID", "PRODUCTS", "SINCE", "STATE")
	for _, k := range keys.Value {
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

func (a *App) exportKey(c *urfave.Context) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	b, err := cl.PublicKey(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return a.SaveFile(c.String("output"), bytes.NewReader(b))
}

func (a *App) signCommand() *urfave.Command {
	return &urfave.Command{
		Name: "sign", Usage: "have all packages of a build signed", ArgsUsage: "BUILD --key NAME|FINGERPRINT [--wait] [--json]",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "key", Usage: "the `KEY` to sign with, by name or fingerprint"},
			terminal.WaitFlag("everything is signed and the ledger proves it"), terminal.JSONFlag(),
		},
		Action: terminal.Action(1, 1, a.onBuild(a.signBuild)),
	}
}

func (a *App) signBuild(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	if err := terminal.Needs(c, "key"); err != nil {
		return err
	}
	doc, err := cl.SignBuild(c.Context, build, c.String("key"))
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "build %d is being signed with key %s, %d packages", build, doc.Value.Key.Name, len(doc.Value.Packages))
	}
	m := a.NewMeter()
	request, signed := doc.Value.ID, 0
	proven := map[albs.Digest]bool{}
	err = a.wait(c.Context, cl, fmt.Sprintf("build:%d", build), m, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.SignTask(ctx, request); err != nil {
			return false, err
		}
		v := doc.Value
		n := 0
		for _, p := range v.Packages {
			if p.Signed != "" {
				n++
			}
		}
		if n != signed {
			m.Line("build %d: %d of %d packages signed", build, n, len(v.Packages))
		}
		signed = n
		m.Now(fmt.Sprintf("signing build %d with key %s: %d of %d packages", build, v.Key.Name, n, len(v.Packages)))
		if v.Status != client.SignCompleted {
			return v.Status == client.SignFailed, nil
		}
		// What the ledger doesn't prove yet can't be released.
		for _, p := range v.Packages {
			if proven[p.Signed] || p.Signed == "" {
				continue
			}
			file, err := cl.Artifact(ctx, p.Signed)
			if err != nil {
				return false, err
			}
			if file.Value.Trouble != "" {
				return false, fmt.Errorf("%s is signed, but %s", p.Name, file.Value.Trouble)
			}
			if !file.Value.Notarized {
				m.Now(fmt.Sprintf("build %d is signed; the ledger has yet to take %s", build, p.Name))
				return false, nil
			}
			proven[p.Signed] = true
		}
		return true, nil
	})
	if err = a.left(c, err, fmt.Sprintf("build %d is being signed all the same: albs build show %d", build, build)); err != nil {
		return err
	}
	if doc.Value.Status == client.SignFailed {
		err = fmt.Errorf("build %d was not signed%s", build, because(doc.Value.Reason))
	}
	if c.Bool("json") {
		return errors.Join(a.PrintJSON(doc.JSON), err)
	}
	if err != nil {
		return err
	}
	return a.Say("build %d is signed: %d packages with key %s", build, signed, doc.Value.Key.Name)
}
