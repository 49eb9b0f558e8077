package releases

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

func (a app) signCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "sign", Usage: "have all packages of a build signed, or another file", ArgsUsage: "BUILD --key NAME|FINGERPRINT [--wait]",
		Description: "The signer signs what the ledger proves and the key's policy allows, and nothing else. The unsigned packages stay.\n" +
			"Where the product wants a request approved, it waits for that: albs approve sign:REQUEST\n" +
			"For example: albs sign 7 --key demo --wait",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "key", Usage: "the key to sign with, by `NAME` or fingerprint"},
			terminal.WaitFlag("everything is signed and the ledger proves it"),
		},
		Action:      ask.Numbered(a.App, "build", 1, a.signBuild),
		Subcommands: a.signCommands(),
	})
}

func (a app) signBuild(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	if err := terminal.Needs(c, "key"); err != nil {
		return err
	}
	doc, err := cl.SignBuild(c.Context, build, c.String("key"))
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		if need := doc.Value.Needed; need > 0 && !c.Bool("json") {
			return a.Say("build %d waits for %d approvals before it is signed: albs approve sign:%d --key FILE", build, need, doc.Value.ID)
		}
		return a.Result(c, doc.JSON, "build %d is being signed with key %s, %d packages", build, doc.Value.Key.Name, len(doc.Value.Packages))
	}
	m := a.NewMeter()
	request, signed := doc.Value.ID, 0
	proven := map[albs.Digest]bool{}
	goesOn := fmt.Sprintf("build %d is being signed all the same: albs build show %d", build, build)
	err = a.Until(c.Context, cl, fmt.Sprintf("build:%d", build), m, goesOn, func(ctx context.Context) (bool, error) {
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
	if err != nil {
		return err
	}
	if doc.Value.Status == client.SignFailed {
		err = fmt.Errorf("build %d was not signed%s", build, ask.Because(doc.Value.Reason))
	}
	return a.Outcome(c, doc.JSON, err, "build %d is signed: %d packages with key %s", build, signed, doc.Value.Key.Name)
}
