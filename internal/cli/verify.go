package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/cli/terminal"
	"albs/internal/tlog"
)

// verifyCommand checks a package offline; it never opens a connection.
func (a *app) verifyCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "verify",
		Usage:     "check a package offline: signature, digests, statements, and that the ledger holds them",
		ArgsUsage: "FILE.rpm --trust TRUST [--bundle DIR|FILE] [--json]",
		Description: "No server is asked.\n" +
			"FILE.rpm" + attest.EnvelopesSuffix + " and FILE.rpm" + attest.ProofSuffix + " lie beside a published package, or come from \"albs artifact bundle\";\n" +
			"TRUST comes from \"albs trust export\": get it once, from someone you trust.\n" +
			"For example: albs verify hello-1-1.x86_64.rpm --trust albs-trust.json\n" +
			"Exit codes: 0 the whole chain holds, 1 a file can't be read, 2 usage, and one for each link that may be broken:\n" + exitCodes(),
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "bundle", Usage: "the `DIR` with the files that lie beside the package elsewhere, or its FILE" + attest.EnvelopesSuffix},
			&urfave.StringFlag{Name: "trust", Usage: "the `FILE` that says which keys, builders and products are trusted"},
			terminal.JSONFlag(),
		},
		Action: terminal.Action(1, 1, a.verify),
	}
}

func (a *app) verify(c *urfave.Context) error {
	if err := terminal.Needs(c, "trust"); err != nil {
		return err
	}
	trust, err := readParsed(a, c.String("trust"), "a trust file, as albs trust export saves it", attest.MaxTrust, attest.ParseTrust)
	if err != nil {
		return err
	}
	path := c.Args().First()
	bundle, err := a.readBundle(beside(path, c.String("bundle")))
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return albs.Errorf(albs.Invalid, "read the package: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return albs.Errorf(albs.Invalid, "read the package: %w", err)
	}
	if !info.Mode().IsRegular() {
		return albs.Errorf(albs.Invalid, "%s is not a regular file", path)
	}
	report, err := attest.Verify(c.Context, f, info.Size(), bundle, trust)
	if err != nil {
		return broken(filepath.Base(path), err)
	}
	if c.Bool("json") {
		b, err := json.Marshal(report)
		if err != nil {
			return fmt.Errorf("encode the report: %w", err)
		}
		return a.PrintJSON(b)
	}
	t := terminal.NewTable("LINK", "WHAT HOLDS")
	for _, s := range report.Steps {
		t.Row(string(s.Link), s.Text)
	}
	if err := a.Table(t, ""); err != nil {
		return err
	}
	return a.Say("%s is verified: the chain holds from the file to the ledger's state of %s", report.Package, terminal.When(report.StateAt))
}

// beside returns how the names of the files begin that lie beside the package at path,
// or where there is one, in the place that --bundle names.
func beside(path, place string) string {
	switch base, whole := strings.CutSuffix(place, attest.EnvelopesSuffix); {
	case place == "":
		return path
	case whole:
		return base
	}
	return filepath.Join(place, filepath.Base(path))
}

// readBundle reads the two halves of a bundle.
func (a *app) readBundle(base string) (attest.Bundle, error) {
	const what = "what lies beside the package in its repository, or albs artifact bundle saves"
	same := func(b []byte) ([]byte, error) { return b, nil }
	envelopes, err := readParsed(a, base+attest.EnvelopesSuffix, what, attest.MaxBundle, same)
	if err != nil {
		return attest.Bundle{}, err
	}
	b, err := readParsed(a, base+attest.ProofSuffix, what, attest.MaxBundle, func(proof []byte) (attest.Bundle, error) {
		return attest.ParseBundle(envelopes, proof)
	})
	if err != nil {
		return attest.Bundle{}, err
	}
	if _, err := os.Stat(base + attest.LogProofSuffix); err == nil { // not every package is in a public log
		b.Log, err = readParsed(a, base+attest.LogProofSuffix, what, tlog.MaxProof, same)
	}
	return b, err
}

// readParsed reads a file of at most limit bytes, which is to be what, and parses it.
func readParsed[T any](a *app, path, what string, limit int64, parse func([]byte) (T, error)) (T, error) {
	var none T
	b, err := a.ReadFile(path, what, limit)
	if errors.Is(err, albs.TooLarge) {
		return none, &terminal.ExitError{Code: attest.LinkInput.ExitCode(), Err: err}
	}
	if err != nil {
		return none, err
	}
	v, err := parse(b)
	if err != nil {
		return none, broken(path, fmt.Errorf("%w; name %s", err, what))
	}
	return v, nil
}

// broken gives an error of verification the exit code of its link.
func broken(what string, err error) error {
	named := fmt.Errorf("%s is NOT verified: %w", what, err)
	if b, ok := errors.AsType[*attest.BrokenLink](err); ok {
		return &terminal.ExitError{Code: b.Link.ExitCode(), Err: named}
	}
	return named
}

// links are those of the chain, in the order in which they are checked.
var links = []attest.Link{
	attest.LinkInput, attest.LinkStatement, attest.LinkState, attest.LinkInclusion,
	attest.LinkSignature, attest.LinkDigest, attest.LinkChain, attest.LinkPolicy, attest.LinkLog,
}

// exitCodes lists the codes for the help.
func exitCodes() string {
	var b strings.Builder
	for _, l := range links {
		fmt.Fprintf(&b, "   %d  %s\n", l.ExitCode(), l)
	}
	return b.String()
}
