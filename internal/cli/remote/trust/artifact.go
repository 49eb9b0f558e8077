package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
	"albs/internal/tlog"
)

func (a app) artifactCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "artifact",
		Usage:       "files that the server holds, by their sha256 or a copy of the file",
		Description: "Every file that was built, tested, signed or released is known by its sha256.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show what is known of a file", ArgsUsage: "FILE|SHA256",
				Description: "FILE is hashed here and not sent. An unsigned package names its signed copies, and those it.",
				Action:      onFile(a, (*client.Client).Artifact, a.showArtifact),
			}),
			ask.Answers(&urfave.Command{
				Name: "history", Usage: "list what was stated about a file and what it was made from", ArgsUsage: "FILE|SHA256",
				Description: "FILE is hashed here and not sent. LEDGER says in which transaction a statement is kept.",
				Action:      onFile(a, (*client.Client).History, a.showHistory),
			}),
			{
				Name: "bundle", Usage: "download what lies beside a package, for albs verify", ArgsUsage: "FILE|SHA256 [--output DIR] [--current]",
				Description: "Its statements, NAME.rpm" + attest.EnvelopesSuffix + ", and their proof, NAME.rpm" + attest.ProofSuffix + ", are written beside FILE, or into DIR, and go with the package to whoever is to verify it.\n" +
					"Of a package in the public log NAME.rpm" + attest.LogProofSuffix + " comes with them, and, if the releaser has verified it, NAME.rpm" + attest.SummarySuffix + ": all are as they lie beside it in the public place.\n" +
					"What was stated since the release, as that it was rebuilt, --current has; the log's proof isn't about that.\n" +
					"For example: albs artifact bundle hello-1-1.x86_64.rpm",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `DIR` to write to; of a SHA256 it is the working directory otherwise"},
					&urfave.BoolFlag{Name: "current", Usage: "take the statements of now, without the proof of the public log"},
				},
				Action: terminal.Action(1, 1, a.saveBundle),
			},
		},
	}
}

// digest returns the sha256 that arg is, or that the file arg has.
func digest(arg string) (albs.Digest, error) {
	if d := albs.Digest(arg); d.Valid() {
		return d, nil
	}
	f, err := os.Open(arg)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "%q is no sha256 of 64 hex digits, and no file either (%w); albs build show lists files with theirs", arg, err)
	}
	defer func() { _ = f.Close() }()
	d, _, err := albs.DigestReader(f)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "%w", err)
	}
	return d, nil
}

// onFile is the action of a command that shows what question tells of the file that the
// only argument names.
func onFile[T any](a app, question func(*client.Client, context.Context, albs.Digest) (client.Doc[T], error), show func(T) error) urfave.ActionFunc {
	return ask.Shows(a.App, 1, func(c *urfave.Context, cl *client.Client) (client.Doc[T], error) {
		d, err := digest(c.Args().First())
		if err != nil {
			return client.Doc[T]{}, err
		}
		return question(cl, c.Context, d)
	}, show)
}

func (a app) showArtifact(v client.Artifact) error {
	notarized := "yes"
	if !v.Notarized {
		notarized = "not yet"
	}
	if v.Trouble != "" {
		notarized = "NO: " + v.Trouble
	}
	pairs := []string{
		"name", v.Name, "sha256", string(v.SHA256), "size", humanize.IBytes(uint64(max(v.Size, 0))), "kind", v.Kind, "since", terminal.When(v.At),
		"package", v.NEVRA, "source package", v.Source, "header sha256", string(v.Header), "payload sha256", string(v.Payload),
		"unsigned file", string(v.Unsigned), "signed by", v.SignedBy, "notarized", notarized,
	}
	for _, s := range v.Signed {
		pairs = append(pairs, "signed copy", fmt.Sprintf("%s by %s", s.SHA256, s.Key))
	}
	return a.Facts(pairs...)
}

func (a app) showHistory(facts []client.Fact) error {
	t := terminal.NewTable("TIME", "STATEMENT", "ABOUT", "SHA256", "LEDGER")
	for _, f := range facts {
		name, tx := "", "pending"
		for _, s := range f.Statement.Subject {
			if s.Digest.SHA256 == f.Subject {
				name = s.Name
			}
		}
		if f.Receipt != nil {
			tx = "tx " + terminal.Decimal(f.Receipt.TxID)
		}
		t.Row(terminal.When(f.At), f.Predicate, name, string(f.Subject), tx)
	}
	return a.Table(t, "nothing was stated about it yet")
}

func (a app) saveBundle(c *urfave.Context) error {
	arg := c.Args().First()
	d, err := digest(arg)
	if err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	base := arg
	if albs.Digest(arg).Valid() {
		doc, err := cl.Artifact(c.Context, d)
		if err != nil {
			return err
		}
		if base = doc.Value.Name; base != filepath.Base(base) || strings.HasPrefix(base, ".") { // a server may say anything
			return albs.Errorf(albs.Invalid, "the server calls it %.120q, which is no name for a file", base)
		}
	}
	if dir := c.String("output"); dir != "" {
		base = filepath.Join(dir, filepath.Base(base))
	}
	files, err := fitting(c.Context, cl, d, c.Bool("current"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.b != nil {
			continue
		}
		if _, err := os.Lstat(base + f.suffix); err == nil {
			return albs.Errorf(albs.Conflict, "%s is there already, and is about other statements than would lie beside it: choose another place with --output, or remove it", base+f.suffix)
		}
	}
	for _, f := range files {
		if f.b == nil {
			continue
		}
		if err := a.SaveFile(base+f.suffix, bytes.NewReader(f.b)); err != nil {
			return err
		}
		if err := a.Note("%s is in %s", humanize.IBytes(uint64(len(f.b))), base+f.suffix); err != nil {
			return err
		}
	}
	return nil
}

// besideFile is a file that lies beside a package; b is nil if there is none.
type besideFile struct {
	suffix string
	b      []byte
}

// fitting downloads what lies beside a package, without the proof of the public log if
// current. One file is asked for after the other, and something may be stated or released in
// between: then they don't fit, and are asked for again.
func fitting(ctx context.Context, cl *client.Client, d albs.Digest, current bool) (files [4]besideFile, err error) {
	var misfit error
	for range 3 {
		log, err := logProof(ctx, cl, d, current)
		if err != nil {
			return files, err
		}
		envelopes, proof, err := cl.Bundle(ctx, d, current, attest.MaxBundle)
		if err != nil {
			return files, err
		}
		if _, misfit = attest.ParseBundle(envelopes, proof); misfit != nil {
			continue
		}
		after, err := logProof(ctx, cl, d, current)
		if err != nil {
			return files, err
		}
		if !bytes.Equal(log, after) {
			misfit = albs.Errorf(albs.Conflict, "its proof of the public log is another one each time")
			continue
		}
		summary, err := none(func() ([]byte, error) { return cl.Summary(ctx, d, attest.MaxSummary) }, log == nil)
		if err != nil {
			return files, err
		}
		if summary != nil && !summarizes(summary, envelopes, proof, log) {
			misfit = albs.Errorf(albs.Conflict, "its verification summary is of another release each time")
			continue
		}
		return [4]besideFile{{attest.EnvelopesSuffix, envelopes}, {attest.ProofSuffix, proof}, {attest.LogProofSuffix, log}, {attest.SummarySuffix, summary}}, nil
	}
	return files, fmt.Errorf("the server's bundle: %w", misfit)
}

// logProof is nil if there is none.
func logProof(ctx context.Context, cl *client.Client, d albs.Digest, current bool) ([]byte, error) {
	return none(func() ([]byte, error) { return cl.LogProof(ctx, d, tlog.MaxProof) }, current)
}

// none is what get gets, nil if there is none or it isn't to be asked.
func none(get func() ([]byte, error), without bool) ([]byte, error) {
	if without {
		return nil, nil
	}
	b, err := get()
	if errors.Is(err, albs.NotFound) {
		return nil, nil
	}
	return b, err
}

// summarizes reports whether the file of a summary is about the others.
func summarizes(summary []byte, others ...[]byte) bool {
	e, err := attest.ParseSummary(summary)
	var want []albs.Digest
	for _, b := range others {
		want = append(want, albs.DigestOf(b))
	}
	return err == nil && slices.Equal(attest.SummaryOf(e), want)
}

func (a app) trustCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "trust",
		Usage:       "what strangers need to verify this server's packages",
		Description: "The trust file names the master, the ledger, the builders and the keys whose statements count.",
		Subcommands: []*urfave.Command{{
			Name: "export", Usage: "download the trust file, for albs verify", ArgsUsage: "--output FILE [--product PRODUCT] [--signer]",
			Description: "The file is believed by whoever verifies with it: hand it on by a way that can't be tampered with.\n" +
				"For example: albs trust export --output albs-trust.json",
			Flags: []urfave.Flag{
				ask.OutputFlag(),
				&urfave.StringFlag{Name: "product", Usage: "trust this `PRODUCT` and its keys alone, where one file of all would be too large"},
				&urfave.BoolFlag{Name: "signer", Usage: "leave out the packages' keys: for signer.trust_file"},
			},
			Action: terminal.Action(0, 0, a.exportTrust),
		}},
	}
}

func (a app) exportTrust(c *urfave.Context) error {
	if err := terminal.Needs(c, "output"); err != nil {
		return err
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	if _, err := a.Download(c, func() ([]byte, error) {
		b, err := cl.Trust(c.Context, c.String("product"), !c.Bool("signer"), attest.MaxTrust)
		if err != nil {
			return nil, err
		}
		if _, err := attest.ParseTrust(b); err != nil {
			return nil, fmt.Errorf("the server's trust file: %w", err)
		}
		return b, nil
	}); err != nil {
		return err
	}
	return a.Note("the trust file of %s is %s", cl.Base(), c.String("output"))
}
