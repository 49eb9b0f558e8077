// Package verify is the command by which strangers check packages: files with what lies
// beside them, what is installed, and whole public repositories. It asks no albs server,
// and for files and installed packages opens no connection at all.
//
// What it takes to hold is attest's; here is where the bytes come from, and what is
// printed.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/cli/terminal"
	"albs/internal/disk"
	"albs/internal/tlog"
)

// DefaultTrust is the trust file where none is named.
const DefaultTrust = "/etc/albs/trust.json"

const maxJobs = 64

// app is one run.
type app struct {
	*terminal.Terminal
	trust attest.Trust
	jobs  int
	json  bool
}

// Command returns albs verify.
func Command(t *terminal.Terminal) *urfave.Command {
	return &urfave.Command{
		Name:      "verify",
		Usage:     "check packages as a stranger: signature, digests, statements, ledger and public log",
		ArgsUsage: "[FILE.rpm…|NAME…] [--installed] [--repo URL] [--trust TRUST] [--bundle DIR|FILE] [--root DIR] [--arch A] [--name P] [--jobs N] [--json]",
		Description: "No albs server is asked. TRUST says whom to believe: get it once, from someone you trust.\n" +
			"Beside FILE.rpm lie FILE.rpm" + attest.EnvelopesSuffix + ", FILE.rpm" + attest.ProofSuffix + " and, in a public log, FILE.rpm" + attest.LogProofSuffix + ",\n" +
			"and FILE.rpm" + attest.SummarySuffix + ", by which the releaser says that it verified them: it is checked and told, and stands in for nothing,\n" +
			"as in the public repository; \"albs artifact bundle\" downloads them, and \"albs trust export\" TRUST.\n" +
			"Of installed packages the header and its signature are checked, and what is stated about them; --bundle names a copy of those files.\n" +
			"A repository is read as dnf reads it, its signature too, and each of its packages is checked with what lies beside it.\n" +
			"For example: albs verify hello-1-1.x86_64.rpm --trust albs-trust.json\n" +
			"             albs verify --repo https://repo.example.org/9/BaseOS/x86_64/os\n" +
			"             albs verify --installed hello --bundle /srv/mirror\n" +
			"Exit codes: 0 all of it holds, 2 usage, and of the links that are broken the one with the smallest code:\n" + exitCodes() +
			"1 is for what can't be read while no link is broken. A file that should lie beside a package and doesn't is a broken input.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "trust", Usage: "the `FILE` that says which keys, builders, products and logs are trusted", Value: DefaultTrust},
			&urfave.StringFlag{Name: "bundle", Usage: "the `DIR` that has what lies beside the packages, or one package's FILE" + attest.EnvelopesSuffix},
			&urfave.BoolFlag{Name: "installed", Usage: "check installed packages, all or those of the names"},
			&urfave.StringFlag{Name: "root", Usage: "what is installed below `DIR` instead of on this system"},
			&urfave.StringFlag{Name: "repo", Usage: "check the packages of the repository at `URL`: http(s), file or a directory"},
			&urfave.StringSliceFlag{Name: "arch", Usage: "of a repository only packages of this arch `A`, as src; may be given again"},
			&urfave.StringSliceFlag{Name: "name", Usage: "of a repository only packages whose name is like `P`, as kernel*; may be given again"},
			&urfave.IntFlag{Name: "jobs", Usage: "check `N` packages at a time", Value: runtime.NumCPU()},
			&urfave.BoolFlag{Name: "json", Usage: "print what was found as JSON"},
		},
		Action: terminal.Action(0, -1, func(c *urfave.Context) error { return (&app{Terminal: t}).run(c) }),
	}
}

func (a *app) run(c *urfave.Context) error {
	installed, repo := c.Bool("installed"), c.String("repo")
	switch {
	case installed && repo != "":
		return terminal.Misused(c, "--installed and --repo are two things to check: give one")
	case repo != "" && c.NArg() > 0:
		return terminal.Misused(c, "%q: --repo checks the packages that the repository lists; --name and --arch choose some", c.Args().First())
	case repo != "" && c.IsSet("bundle"):
		return terminal.Misused(c, "--bundle: what lies beside the packages of a repository is taken from there")
	case repo == "" && (c.IsSet("arch") || c.IsSet("name")):
		return terminal.Misused(c, "--arch and --name choose packages of a repository: give --repo")
	case !installed && c.IsSet("root"):
		return terminal.Misused(c, "--root is about installed packages: give --installed")
	case installed && !c.IsSet("bundle"):
		return terminal.Misused(c, "--bundle is missing: it names a directory with what lies beside the packages, as a mirror of their repository")
	case !installed && repo == "" && c.NArg() == 0:
		return terminal.Misused(c, "an argument is missing")
	case c.NArg() > 1 && strings.HasSuffix(c.String("bundle"), attest.EnvelopesSuffix):
		return terminal.Misused(c, "--bundle %s is of one package: name the directory of all", c.String("bundle"))
	}
	if a.jobs = c.Int("jobs"); a.jobs < 1 || a.jobs > maxJobs {
		return terminal.Misused(c, "--jobs is 1 to %d", maxJobs)
	}
	a.json = c.Bool("json")
	if err := a.readTrust(c.String("trust")); err != nil {
		return err
	}
	switch {
	case installed:
		return a.installed(c.Context, c.String("root"), c.String("bundle"), c.Args().Slice())
	case repo != "":
		return a.repository(c.Context, repo, c.StringSlice("arch"), c.StringSlice("name"))
	}
	return a.files(c.Context, c.Args().Slice(), c.String("bundle"))
}

func (a *app) readTrust(path string) error {
	const what = "a trust file, as albs trust export saves it"
	b, err := a.ReadFile(path, what, attest.MaxTrust)
	if errors.Is(err, albs.TooLarge) {
		return &terminal.ExitError{Code: attest.LinkInput.ExitCode(), Err: err}
	}
	if err != nil {
		return err
	}
	if a.trust, err = attest.ParseTrust(b); err != nil {
		return &terminal.ExitError{Code: attest.LinkInput.ExitCode(), Err: fmt.Errorf("%s can't be used: %w; name %s", path, err, what)}
	}
	return nil
}

// verdict is what was found about one package.
type verdict struct {
	Name     string         `json:"name"`
	Verified bool           `json:"verified"`
	Link     attest.Link    `json:"link,omitempty"` // the broken one; "" of a package that can't be read
	Error    string         `json:"error,omitempty"`
	Report   *attest.Report `json:"report,omitempty"`

	missing, notes []string
	err            error
}

// judged returns the verdict on the package of that name.
func (a *app) judged(name string, r attest.Report, err error) verdict {
	v := verdict{Name: name, Verified: err == nil, err: err}
	if err != nil {
		v.Error = err.Error()
		if b, ok := errors.AsType[*attest.BrokenLink](err); ok {
			v.Link = b.Link
		}
		return v
	}
	if v.missing, v.notes = r.Missing, r.Notes; a.json {
		v.Report = &r // a sentence is enough for people, and a repository has many
	}
	return v
}

// code returns the exit code of all verdicts.
func code(all []verdict) int {
	least := terminal.ExitOK
	for _, v := range all {
		switch {
		case v.Verified:
		case v.Link == "" && least == terminal.ExitOK:
			least = terminal.ExitFailed
		case v.Link != "" && (least <= terminal.ExitFailed || v.Link.ExitCode() < least):
			least = v.Link.ExitCode()
		}
	}
	return least
}

// tell prints the verdicts on what, packages of some place, and ends with their code.
func (a *app) tell(all []verdict, what string) error {
	failed := 0
	for _, v := range all {
		if !v.Verified {
			failed++
		}
	}
	if a.json {
		b, err := json.Marshal(struct {
			Verified int       `json:"verified"`
			Failed   int       `json:"failed"`
			Packages []verdict `json:"packages"`
		}{len(all) - failed, failed, slices.Concat([]verdict{}, all)})
		if err != nil {
			return fmt.Errorf("encode the verdicts: %w", err)
		}
		if err := a.PrintJSON(b); err != nil {
			return err
		}
	} else if err := a.gaps(all); err != nil {
		return err
	}
	if failed == 0 {
		if a.json {
			return nil
		}
		return a.Say("%d of %d %s are verified", len(all), len(all), what)
	}
	return &terminal.ExitError{Code: code(all), Err: albs.Errorf(albs.Invalid, "%d of %d %s are NOT verified", failed, len(all), what)}
}

// gaps prints what isn't proven and isn't asked for, and what should be known beside, with
// the number of packages.
func (a *app) gaps(all []verdict) error {
	n, order := map[string]int{}, []string{}
	for _, v := range all {
		for _, m := range slices.Concat(v.missing, v.notes) {
			if n[m]++; n[m] == 1 {
				order = append(order, m)
			}
		}
	}
	for _, m := range order {
		if err := a.Say("of %d packages: %s", n[m], m); err != nil {
			return err
		}
	}
	return nil
}

// reader returns what lies beside a package: the file with the suffix, of at most limit
// bytes, or NotFound.
type reader func(suffix string, limit int64) ([]byte, error)

// bundle reads what lies beside a package. What isn't there is a broken link, but for the
// proof of a public log, in which not every package is, and a verification summary.
func (read reader) bundle() (attest.Bundle, error) {
	var part [4][]byte
	for i, f := range []struct {
		suffix string
		limit  int64
	}{{attest.EnvelopesSuffix, attest.MaxBundle}, {attest.ProofSuffix, attest.MaxBundle}, {attest.LogProofSuffix, tlog.MaxProof}, {attest.SummarySuffix, attest.MaxSummary}} {
		b, err := read(f.suffix, f.limit)
		switch {
		case errors.Is(err, albs.NotFound) && i > 1:
			continue
		case errors.Is(err, albs.NotFound), errors.Is(err, albs.TooLarge):
			return attest.Bundle{}, link(attest.LinkInput, "%w; it lies beside the package in its repository, and albs artifact bundle downloads it", err)
		case err != nil:
			return attest.Bundle{}, err
		}
		part[i] = append([]byte{}, b...) // never nil: an empty proof is one, and holds nowhere
	}
	b, err := attest.ParseBundle(part[0], part[1])
	b.Log, b.VSA = part[2], part[3]
	return b, err
}

// folder is the reader of files whose names begin with base.
func folder(base string) reader {
	return func(suffix string, limit int64) ([]byte, error) {
		f, err := os.Open(base + suffix)
		if errors.Is(err, os.ErrNotExist) {
			return nil, albs.Errorf(albs.NotFound, "there is no %s", base+suffix)
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "%w", err)
		}
		defer func() { _ = f.Close() }()
		return disk.ReadAll(f, base+suffix, limit)
	}
}

// verify checks an open package with what lies beside it.
func (a *app) verify(ctx context.Context, file io.ReaderAt, size int64, beside reader) (attest.Report, error) {
	b, err := beside.bundle()
	if err != nil {
		return attest.Report{}, err
	}
	return attest.Verify(ctx, file, size, b, a.trust)
}

// files checks packages that the command line names.
func (a *app) files(ctx context.Context, paths []string, place string) error {
	all := make([]verdict, len(paths))
	var last attest.Report
	each(a.jobs, len(paths), func(i int) {
		r, err := a.file(ctx, paths[i], place)
		all[i] = a.judged(paths[i], r, err)
		if len(paths) == 1 {
			last = r
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case a.json:
	case len(all) == 1:
		return a.one(all[0], last)
	default:
		for _, v := range all {
			if err := a.line(v); err != nil {
				return err
			}
		}
	}
	return a.tell(all, "packages")
}

// one tells of a single package link by link.
func (a *app) one(v verdict, r attest.Report) error {
	if v.err != nil {
		return &terminal.ExitError{Code: code([]verdict{v}), Err: fmt.Errorf("%s is NOT verified: %w", filepath.Base(v.Name), v.err)}
	}
	t := terminal.NewTable("LINK", "WHAT HOLDS")
	for _, s := range r.Steps {
		t.Row(string(s.Link), s.Text)
	}
	if err := a.Table(t, ""); err != nil {
		return err
	}
	for _, m := range r.Missing {
		if err := a.Say("not proven: %s", m); err != nil {
			return err
		}
	}
	for _, n := range r.Notes {
		if err := a.Say("note: %s", n); err != nil {
			return err
		}
	}
	return a.Say("%s is verified: the chain holds from the file to the ledger's state of %s", r.Package, terminal.When(r.StateAt))
}

// line tells of one package among many.
func (a *app) line(v verdict) error {
	if v.Verified {
		return a.Say("%s is verified", v.Name)
	}
	return a.Say("%s is NOT verified: %s", v.Name, v.Error)
}

func (a *app) file(ctx context.Context, path, place string) (attest.Report, error) {
	f, size, err := openFile(path)
	if err != nil {
		return attest.Report{}, err
	}
	defer func() { _ = f.Close() }()
	return a.verify(ctx, f, size, folder(beside(path, place)))
}

// openFile opens a package. What is no plain file is not opened at all: that may block.
func openFile(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, albs.Errorf(albs.NotFound, "read the package: %w", err)
	}
	if err != nil {
		return nil, 0, albs.Errorf(albs.Invalid, "read the package: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, albs.Errorf(albs.Invalid, "%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, albs.Errorf(albs.Invalid, "read the package: %w", err)
	}
	return f, info.Size(), nil
}

// beside returns how the names of the files begin that lie beside the package at path,
// or, if --bundle names a place, in that.
func beside(path, place string) string {
	switch base, whole := strings.CutSuffix(place, attest.EnvelopesSuffix); {
	case place == "":
		return path
	case whole:
		return base
	}
	return filepath.Join(place, filepath.Base(path))
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
