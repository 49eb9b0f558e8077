// Package approval has the command by which people approve with keys of their own. It
// believes the server in nothing that it can check: what it shows is what the bytes say
// whose sha256 it signs.
package approval

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
	"albs/internal/sshkey"
	"albs/internal/tty"
)

type app struct{ *ask.App }

// Commands returns the command.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{ask.Listed("albs release list shows releases, albs build show and albs sign list what is to be signed", ask.Answers(&urfave.Command{
		Name: "approve", Usage: "approve a release, or a request for signatures, with a key of your own",
		ArgsUsage: "RELEASE|sign:REQUEST|file:TASK --key FILE [--note TEXT] [--yes]",
		Description: "FILE is your private key of OpenSSH's, of Ed25519 (ssh-keygen -t ed25519): nobody else may be able to read it, and it never leaves this machine.\n" +
			"Its public part has to be registered with albs user key add, and by the signer's operator in policy.yaml.\n" +
			"All that would be done is shown, and its sha256 is computed here; that is what you sign. RELEASE may be written as release:RELEASE too.\n" +
			"For example: albs approve 3 --key ~/.ssh/id_ed25519",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "key", Usage: "the `FILE` with your private key"},
			&urfave.StringFlag{Name: "note", Usage: "a `TEXT` that is signed with it"},
			&urfave.BoolFlag{Name: "yes", Usage: "don't ask after showing it"},
		},
		Action: terminal.Action(1, 1, a.approve),
	}))}
}

const maxNote = 1000

func (a app) approve(c *urfave.Context) error {
	if err := terminal.Needs(c, "key"); err != nil {
		return err
	}
	if len(c.String("note")) > maxNote {
		return terminal.Misused(c, "--note has more than %d bytes", maxNote)
	}
	what, file, err := named(c, c.Args().First())
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	me, err := cl.Me(c.Context)
	if err != nil {
		return err
	}
	state, err := cl.Approvals(c.Context, what)
	if err != nil {
		return err
	}
	digest, err := a.look(c, cl, what, file, state.Value.Digest)
	if err != nil {
		return err
	}
	if err := a.agreed(c, what.Subject, digest); err != nil {
		return err
	}
	key, err := sshkey.ReadPrivate(c.String("key"), func() ([]byte, error) { return passphrase(c.Context, c.String("key")) })
	if err != nil {
		return err
	}
	defer clear(key)
	e, err := attest.Approve(key, what.Subject, digest, attest.ApprovalBody{Person: me.Name, At: a.Now(), Note: c.String("note")})
	if err != nil {
		return err
	}
	envelope, err := e.Encode()
	if err != nil {
		return err
	}
	doc, err := cl.ApproveSigned(c.Context, what, digest, envelope)
	if err != nil {
		return err
	}
	n, of := len(doc.Value.Approvals), ""
	if doc.Value.Needed > 0 {
		of = fmt.Sprintf(" of %d", doc.Value.Needed)
	}
	return a.Result(c, doc.JSON, "%s is approved by %s as %s; it has %d%s approvals", what.Subject, me.Name, digest.Short(), n, of)
}

// named reads what the argument names; file is the task of a file to be signed, else 0.
func named(c *urfave.Context, arg string) (what client.Approvable, file albs.TaskID, err error) {
	kind, number, found := strings.Cut(arg, ":")
	if !found {
		kind, number = "release", arg
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err == nil && n > 0 {
		switch kind {
		case "release":
			return client.ApprovableRelease(albs.ReleaseID(n)), 0, nil
		case "sign":
			return client.ApprovableRequest(n), 0, nil
		case "file":
			return client.ApprovableFile(albs.TaskID(n)), albs.TaskID(n), nil
		}
	}
	return what, 0, terminal.Misused(c, "%q names nothing to approve: a release's number, sign:REQUEST or file:TASK", arg)
}

// look fetches the effects, shows them, and returns their digest, which has to be the one
// that the server says.
func (a app) look(c *urfave.Context, cl *client.Client, what client.Approvable, file albs.TaskID, says albs.Digest) (albs.Digest, error) {
	b, err := cl.Effects(c.Context, what, effect.Max)
	if err != nil {
		return "", err
	}
	digest := albs.DigestOf(b)
	if digest != says {
		return "", albs.Errorf(albs.Conflict, "the server says that %s comes to %s, and sends what has the sha256 %s: look at it again, and if that goes on, tell who runs it", what.Subject, says, digest)
	}
	e, err := effect.Parse(b)
	if err != nil {
		return "", fmt.Errorf("what the server sends for %s can't be shown as a whole, so it is not signed: %w", what.Subject, err)
	}
	if !e.Expires.After(a.Now()) {
		return "", albs.Errorf(albs.Conflict, "the time to approve %s was over at %s", what.Subject, e.Expires.Format(time.RFC3339))
	}
	if c.Bool("json") { // stdout is the server's answer alone
		return digest, nil
	}
	if err := a.show(what.Subject, digest, e); err != nil || file == 0 {
		return digest, err
	}
	return digest, a.showFile(c.Context, cl, file, e)
}

// show prints all that effects say.
func (a app) show(subject string, digest albs.Digest, e effect.Effects) error {
	how := ""
	if e.Clear {
		how = "clear-signed copies"
	} else if len(e.Files) > 0 {
		how = "signatures"
	}
	pairs := []string{"approve", subject, "product", e.Product, "key", e.Key, "until", e.Expires.Format(time.RFC3339), "sha256", string(digest)}
	if how != "" {
		pairs = append(pairs, "makes", how)
	}
	if err := a.Facts(pairs...); err != nil {
		return err
	}
	packages := terminal.NewTable("ACTION", "PACKAGE", "REPOSITORY", "TESTS", "SHA256")
	waivers := terminal.NewTable("PACKAGE", "REPOSITORY", "WAIVED")
	records := terminal.NewTable("ACTION", "METADATA", "FILE", "REPOSITORY", "SHA256", "IN PLACE OF")
	repositories := terminal.NewTable("REPOSITORY", "CHANGES")
	for _, r := range e.Repositories {
		for _, p := range r.Changes {
			action := "add"
			if p.Removed {
				action = "remove"
			}
			packages.Row(action, p.File, r.Path, p.Tests, string(p.Digest))
			for _, w := range p.Waivers {
				waivers.Row(p.File, r.Path, w.String())
			}
		}
		for _, rec := range r.Records {
			records.Row(rec.Action, rec.Type, rec.Name, r.Path, string(rec.Digest), string(rec.Before))
		}
		changes := fmt.Sprintf("%d packages, %d metadata files", len(r.Changes), len(r.Records))
		if r.Metadata != "" {
			changes += ", metadata compressed as " + r.Metadata
		}
		repositories.Row(r.Path, changes)
	}
	for _, path := range e.Dropped {
		repositories.Row(path, "the repository goes")
	}
	decisions := terminal.NewTable("DECIDED", "PACKAGE", "TO", "WHY")
	for _, d := range e.Decisions {
		decisions.Row(d.Action, d.Package, d.To, d.Reason)
	}
	advisories := terminal.NewTable("ADVISORY", "VERSION", "SHA256", "WITHDRAWN", "WITHOUT", "BECAUSE")
	for _, i := range e.Items {
		advisories.Row(i.Name, terminal.Decimal(i.Version), string(i.Digest), yes(i.Withdraws), strings.Join(i.Missing, " "), i.Force)
	}
	tree := terminal.NewTable("ACTION", "FILE", "SIGNED", "SHA256", "IN PLACE OF")
	for _, f := range e.Tree {
		tree.Row(f.Action, f.Path, yes(f.Signed), string(f.Digest), string(f.Before))
	}
	files := terminal.NewTable("SIGN", "SHA256")
	for _, f := range e.Files {
		files.Row(f.Name, string(f.Digest))
	}
	for _, t := range []*terminal.Table{decisions, advisories, packages, waivers, records, repositories, tree, files} {
		if err := a.Section(t); err != nil {
			return err
		}
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// Bounds of a file that is shown.
const (
	maxFile  = 16 << 20
	maxShown = 64 << 10
)

// showFile prints a text that is to be signed, after it was seen to be the one approved.
func (a app) showFile(ctx context.Context, cl *client.Client, id albs.TaskID, e effect.Effects) error {
	b, err := cl.FileContent(ctx, id, maxFile)
	if err != nil {
		return err
	}
	switch {
	case len(e.Files) != 1 || albs.DigestOf(b) != e.Files[0].Digest:
		return albs.Errorf(albs.Conflict, "the server sends another file than the one to approve")
	case len(b) > maxShown || !utf8.Valid(b):
		return a.Note("the file has %d bytes and is not shown; look at one with the sha256 above", len(b))
	}
	_, err = fmt.Fprintf(a.Stdout, "\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(string(b), "\n"), "\n") {
		if err == nil {
			err = a.Say("| %s", line)
		}
	}
	return err
}

// agreed asks the person, unless --yes was given.
func (a app) agreed(c *urfave.Context, subject string, digest albs.Digest) error {
	if c.Bool("yes") {
		return nil
	}
	if c.Bool("json") {
		return terminal.Misused(c, "--json shows nothing to agree to: give --yes with it, for what you have looked at before")
	}
	if _, err := fmt.Fprintf(a.Stderr, "\nApprove %s as %s? Type yes: ", subject, digest.Short()); err != nil {
		return err
	}
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		if err != nil && line == "" {
			return errors.New("nobody said yes: nothing is approved (--yes asks nobody)")
		}
		return errors.New("nothing is approved")
	}
	return nil
}

// passphrase asks for that of a key at the terminal.
func passphrase(ctx context.Context, path string) (p []byte, err error) {
	t, err := tty.Open(tty.Path)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%s is sealed with a passphrase, and there is no terminal to ask for it at: %w", path, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return t.Line(ctx, terminal.Printable("Passphrase of "+path+": "))
}
