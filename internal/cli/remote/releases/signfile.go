package releases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// Bounds of files to be signed, which are the server's, and of what comes back.
const (
	maxSignFile  = 16 << 20
	maxSignature = 64 << 20
)

// signCommands are those below sign, of other files than packages.
func (a app) signCommands() []*urfave.Command {
	product := &urfave.StringFlag{Name: "product", Usage: "the product `P` that it is signed for"}
	return []*urfave.Command{
		ask.Answers(&urfave.Command{
			Name: "file", Usage: "have a file signed that is no package", ArgsUsage: "FILE --key NAME|FINGERPRINT --output SIGNATURE [--clear] [--product P]",
			Description: "It has to be a document that albs made, or on the product's list (albs sign allow), and the signer's operator has to let the key sign files.\n" +
				"--product may be left out for a key that was made for one product. A file that waits for approval can be asked for again later.\n" +
				"For example: albs sign file SHA256SUMS --key demo --output SHA256SUMS.asc",
			Flags: []urfave.Flag{
				&urfave.StringFlag{Name: "key", Usage: "the key to sign with, by `NAME` or fingerprint"},
				&urfave.BoolFlag{Name: "clear", Usage: "make a clear-signed copy of a text in place of a detached signature"},
				product, ask.OutputFlag(),
			},
			Action: terminal.Action(1, 1, a.signFile),
		}),
		ask.Answers(&urfave.Command{
			Name: "list", Usage: "list files that people have signed, the newest first", ArgsUsage: "[--product P] [--before TASK]",
			Description: "Up to 100 are listed. What waits for approval is approved with albs approve file:TASK.",
			Flags:       []urfave.Flag{product, &urfave.Int64Flag{Name: "before", Usage: "only those older than `TASK`"}},
			Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.SignedFile], error) {
				return cl.SignedFiles(c.Context, c.String("product"), albs.TaskID(c.Int64("before")))
			}, a.listSignedFiles),
		}),
		ask.Answers(&urfave.Command{
			Name: "allow", Usage: "put a file on a product's list of what its keys may sign", ArgsUsage: "FILE --product P [--note TEXT]",
			Description: "The file is named by its sha256 and stays here. Look at it before.\n" +
				"For example: albs sign allow SHA256SUMS --product demo --note \"of the images of 9.4\"",
			Flags:  []urfave.Flag{product, &urfave.StringFlag{Name: "note", Usage: "a `TEXT` that says what it is"}},
			Action: terminal.Action(1, 1, a.allowFile),
		}),
		ask.Answers(&urfave.Command{
			Name: "disallow", Usage: "take a file off that list", ArgsUsage: "SHA256 --product P",
			Description: "What was asked for before is signed all the same.\n" +
				"For example: albs sign disallow e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --product demo",
			Flags:  []urfave.Flag{product},
			Action: terminal.Action(1, 1, a.disallowFile),
		}),
		ask.Answers(&urfave.Command{
			Name: "allowed", Usage: "show that list", ArgsUsage: "--product P",
			Description: "Documents that albs makes aren't listed: they may be signed anyway.\n" +
				"For example: albs sign allowed --product demo",
			Flags: []urfave.Flag{product},
			Action: terminal.Action(0, 0, func(c *urfave.Context) error {
				return a.onList(c, func(cl *client.Client) (client.Doc[[]client.AllowedFile], error) {
					return cl.AllowedFiles(c.Context, c.String("product"))
				}, a.listAllowed)
			}),
		}),
	}
}

func (a app) signFile(c *urfave.Context) error {
	if err := terminal.Needs(c, "key", "output"); err != nil {
		return err
	}
	path := c.Args().First()
	content, err := a.ReadFile(path, "the file to sign", maxSignFile)
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.SignFile(c.Context, client.NewSignedFile{
		Name: filepath.Base(path), Key: c.String("key"), Product: c.String("product"), Clear: c.Bool("clear"), Content: content,
	})
	if err != nil {
		return err
	}
	id := doc.Value.Task
	m := a.NewMeter()
	waits := fmt.Sprintf("%s waits to be signed, as task %d: the same command later gets the signature", doc.Value.Name, id)
	err = a.Until(c.Context, cl, "product:"+doc.Value.Product, m, waits, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.SignedFile(ctx, id); err != nil {
			return false, err
		}
		v := doc.Value
		m.Now(fmt.Sprintf("signing %s, task %d: %s%s", v.Name, id, v.State, ask.Because(v.Reason)))
		return v.Signed || v.State == albs.TaskFailed || v.State == albs.TaskCancelled, nil
	})
	if err != nil {
		return err
	}
	v := doc.Value
	if !v.Signed {
		return a.Outcome(c, doc.JSON, fmt.Errorf("%s was not signed%s", v.Name, ask.Because(v.Reason)), "")
	}
	signature, err := cl.FileSignature(c.Context, id, maxSignature)
	if err != nil {
		return err
	}
	if c.Bool("json") && c.String("output") == "-" {
		return errors.New("--json and the signature can't both go to stdout: give --output a file")
	}
	if err := a.SaveFile(c.String("output"), bytes.NewReader(signature)); err != nil || c.String("output") == "-" {
		return err
	}
	return a.Result(c, doc.JSON, "%s is signed with key %s: %s", v.Name, v.Key, c.String("output"))
}

func (a app) listSignedFiles(files []client.SignedFile) error {
	t := terminal.NewTable("TASK", "FILE", "PRODUCT", "STATE", "APPROVALS", "FORM", "BY", "CREATED", "WHY")
	for _, f := range files {
		approvals := terminal.Decimal(len(f.Approvals))
		if f.Needed > 0 {
			approvals += " of " + terminal.Decimal(f.Needed)
		}
		t.Row(terminal.Decimal(f.Task), f.Name, f.Product, string(f.State), approvals, f.SignType, f.Requester, terminal.When(f.Created), ask.Shorten(f.Reason))
	}
	return a.Table(t, "no files were signed")
}

// onList is do for the product that --product names.
func (a app) onList(c *urfave.Context, do func(*client.Client) (client.Doc[[]client.AllowedFile], error), show func([]client.AllowedFile) error) error {
	if err := terminal.Needs(c, "product"); err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := do(cl)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	return show(doc.Value)
}

func (a app) allowFile(c *urfave.Context) error {
	path := c.Args().First()
	content, err := a.ReadFile(path, "the file to sign", maxSignFile)
	if err != nil {
		return err
	}
	d := albs.DigestOf(content)
	return a.onList(c, func(cl *client.Client) (client.Doc[[]client.AllowedFile], error) {
		return cl.AllowFile(c.Context, c.String("product"), filepath.Base(path), d, c.String("note"))
	}, func([]client.AllowedFile) error {
		return a.Say("%s (%s) may be signed for product %s", filepath.Base(path), d, c.String("product"))
	})
}

func (a app) disallowFile(c *urfave.Context) error {
	d, err := albs.ParseDigest(c.Args().First())
	if err != nil {
		return terminal.Misused(c, "%q is no sha256 of a file: albs sign allowed shows them", c.Args().First())
	}
	return a.onList(c, func(cl *client.Client) (client.Doc[[]client.AllowedFile], error) {
		return cl.DisallowFile(c.Context, c.String("product"), d)
	}, func([]client.AllowedFile) error {
		return a.Say("%s may not be signed for product %s any more", d, c.String("product"))
	})
}

func (a app) listAllowed(list []client.AllowedFile) error {
	t := terminal.NewTable("FILE", "SHA256", "BY", "SINCE", "NOTE")
	for _, f := range list {
		t.Row(f.Name, string(f.SHA256), f.By, terminal.When(f.At), ask.Shorten(f.Note))
	}
	return a.Table(t, "nothing is on the list")
}
