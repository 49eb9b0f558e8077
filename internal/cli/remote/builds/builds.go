// Package builds has the commands of packagers: builds from their creation to their
// logs.
package builds

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command { return []*urfave.Command{app{on}.buildCommand()} }

func (a app) buildCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "build",
		Usage:       "make packages, see how it goes, read logs",
		Description: "A build makes source packages out of git or SRPMs and rebuilds them for each platform and arch, then tests what came of it.",
		Subcommands: append([]*urfave.Command{
			ask.Listed("albs platform list, albs flavour list and albs product list show what there is", a.createBuildCommand()),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list builds, the newest first", ArgsUsage: "[--owner NAME] [--package P] [--platform P] [--product P] [--page N]",
				Description: "Builds are listed ten to a page; flags leave out what they don't name.",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "owner", Usage: "only builds of the person `NAME`"},
					&urfave.StringFlag{Name: "package", Usage: "only builds with the package `P`"},
					&urfave.StringFlag{Name: "platform", Usage: "only builds for the platform `P`"},
					&urfave.StringFlag{Name: "product", Usage: "only builds for the product `P`"},
					ask.PageFlag(),
				},
				Action: ask.Pages(a.App, func(c *urfave.Context, cl *client.Client, page int) (client.Doc[client.BuildPage], error) {
					return cl.Builds(c.Context, client.BuildQuery{
						Page: page, Owner: c.String("owner"), Package: c.String("package"), Platform: c.String("platform"), Product: c.String("product"),
					})
				}, a.listBuilds, "there are no builds on this page"),
			}),
			ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a build: its packages, steps, tests and files, or one step with the attempts at it", ArgsUsage: "BUILD [TASK]",
				Description: "BUILD is the number that albs build create printed and albs build list shows.",
				Action:      ask.Numbered(a.App, "build", 2, a.showBuild),
			})),
			ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
				Name: "watch", Usage: "follow a build until it and its tests are over; exit 1 if they fail", ArgsUsage: "BUILD",
				Description: "Ctrl-C ends the watching and not the build.",
				Action:      ask.Numbered(a.App, "build", 1, a.Build),
			})),
			ask.Listed("albs build list and albs build show list what there is", ask.Answers(&urfave.Command{
				Name: "logs", Usage: "list a build's logs, print one, or follow them", ArgsUsage: "BUILD [TASK] [-f] [--stream NAME] [--attempt N]",
				Description: "With TASK one log is printed; without, all logs are listed. -f follows: the log of TASK, or one step of the build after the other.\n" +
					"For example: albs build logs 7 12 --stream root",
				Flags: []urfave.Flag{
					&urfave.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on while the log grows"},
					&urfave.StringFlag{Name: "stream", Usage: "the log with that `NAME`, as state, root or build"},
					&urfave.IntFlag{Name: "attempt", Usage: "of the `N`th attempt; of the newest without this"},
				},
				Action: ask.Numbered(a.App, "build", 2, a.Logs),
			})),
			ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
				Name: "cancel", Usage: "end all of a build, or of one item of it, that has not ended", ArgsUsage: "BUILD [--item ITEM]",
				Description: "What has ended keeps its results, and albs build retry takes up the rest again. What waits for an item that is cancelled by itself goes on without.",
				Flags:       []urfave.Flag{itemFlag("item", "only this package on this platform")},
				Action:      ask.Numbered(a.App, "build", 1, a.cancelBuild),
			})),
			ask.Listed("albs build list and albs build show list what there is", ask.Answers(&urfave.Command{
				Name: "retry", Usage: "queue a build's failed and cancelled steps again, or the one that TASK names", ArgsUsage: "BUILD [TASK] [--fresh ITEM] [--wait]",
				Description: "TASK is a number that albs build show lists. What succeeded isn't done again, but for --fresh: then the source package is made again from its commit, and all rebuilds of it.\n" +
					"For example: albs build retry 7 --wait",
				Flags:  []urfave.Flag{itemFlag("fresh", "make this package on this platform anew"), terminal.WaitFlag("the build and its tests are over")},
				Action: ask.Numbered(a.App, "build", 2, a.retryBuild),
			})),
		}, a.orderCommands()...),
	}
}

// createBuildCommand has flags that append to one list: packages are listed in the
// order in which they are named, whichever flag names them.
func (a app) createBuildCommand() *urfave.Command {
	var sources []source
	defines := map[string]string{}
	tests := &client.TestConfiguration{}
	return ask.Answers(&urfave.Command{
		Name: "create", Usage: "build packages, in the order in which they need each other",
		ArgsUsage: "--platform P [--product Q] [--arch A]… (--git URL#REF | --srpm FILE)… [--with X]… [--without X]… [--define NAME=BODY]… [--exclude PKG]… [--module NAME:STREAM]… [--target-arch A] [--flavour F]… [--link BUILD]… [--secure-boot] [--order O] [--break A→B]… [--tests URL#REF:DIR]… [--test-env NAME=VALUE]… [--wait] | --file FILE.yaml [--wait]",
		Description: "REF is pinned to its commit when the build is made. Without --arch the build is for all arches of the platform.\n" +
			"The order is found from what the spec files say; albs build graph shows it. --order listed builds each package after those named before it,\n" +
			"--order independent all at once. Where packages need each other in a circle, --break A→B has A built without waiting for B.\n" +
			"Options are of all packages. --file says all of a build instead, with options of each package too: it is the API's request as YAML, which\n" +
			"docs/platforms.md shows; the srpm of a task may be a file, from the folder of FILE.yaml on.\n" +
			"For example: albs build create --platform seed --git https://git.example.org/hello.git#main --wait",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "file", Usage: "build what `FILE.yaml` says, and nothing of the other flags; - reads stdin"},
			&urfave.StringSliceFlag{Name: "platform", Usage: "the platform `P` to build for; may be repeated"},
			&urfave.StringFlag{Name: "product", Usage: "the product `Q` that the build is for"},
			&urfave.StringSliceFlag{Name: "arch", Usage: "only for the arch `A`; may be repeated"},
			&urfave.GenericFlag{Name: "git", Value: &sourceFlag{&sources, parseGit}, Usage: "a package in git, at a branch, tag or commit (`URL#REF`)"},
			&urfave.GenericFlag{Name: "srpm", Value: &sourceFlag{&sources, parseSRPM}, Usage: "a package as an SRPM `FILE`, which is uploaded, or its https URL, from which the server fetches it"},
			&urfave.StringSliceFlag{Name: "with", Usage: "rpmbuild's conditional `X` switched on"},
			&urfave.StringSliceFlag{Name: "without", Usage: "rpmbuild's conditional `X` switched off"},
			&urfave.GenericFlag{Name: "define", Value: defineFlag(defines), Usage: "the macro NAME of every package as BODY (`NAME=BODY`); may be repeated"},
			&urfave.StringSliceFlag{Name: "exclude", Usage: "no package `PKG`, a name or a pattern, is taken into the roots"},
			&urfave.StringSliceFlag{Name: "module", Usage: "the stream `NAME:STREAM` of a module is enabled in the roots"},
			&urfave.StringFlag{Name: "target-arch", Usage: "packages are made for `A` in the root of the arch that is built for"},
			&urfave.StringSliceFlag{Name: "flavour", Usage: "the flavour `F` beside the platform"},
			&urfave.BoolFlag{Name: "secure-boot", Usage: "on nodes that are kept for secure boot, with the platform's macros for it; a permission of its own"},
			&urfave.Int64SliceFlag{Name: "link", Usage: "what the `BUILD` of that number left is built against"},
			&urfave.StringFlag{Name: "order", Usage: "auto, listed or independent (`O`); auto without this"},
			&urfave.StringSliceFlag{Name: "break", Usage: "break a cycle where A needs B (`A→B`, or A->B); may be repeated"},
			&urfave.GenericFlag{Name: "tests", Value: (*testsFlag)(&tests.Tests), Usage: "every package is tested by a folder in git, too (`URL#REF:DIR`)"},
			&urfave.GenericFlag{Name: "test-env", Value: (*variableFlag)(&tests.Env.Variables), Usage: "tests of the packages' own have a variable (`NAME=VALUE`); may be repeated"},
			terminal.WaitFlag("the build and its tests are over"),
		},
		Action: terminal.Action(0, 0, func(c *urfave.Context) error { return a.createBuild(c, sources, defines, tests) }),
	})
}

// source is a package that is to be built: a git ref or an SRPM's file.
type source struct {
	url, ref string // without a ref it is an SRPM's
	file     string
}

// sourceFlag appends what parse makes of each of a flag's values to a list.
type sourceFlag struct {
	into  *[]source
	parse func(string) (source, error)
}

func (f *sourceFlag) Set(s string) error {
	v, err := f.parse(s)
	if err == nil {
		*f.into = append(*f.into, v)
	}
	return err
}

func (f *sourceFlag) String() string { return "" }

// defineFlag collects macros; their bodies may hold commas.
type defineFlag map[string]string

func (f defineFlag) Set(s string) error {
	name, body, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return errors.New("it has to be NAME=BODY")
	}
	f[name] = body
	return nil
}

func (f defineFlag) String() string { return "" }

func parseGit(s string) (source, error) {
	at := strings.LastIndexByte(s, '#')
	if at < 1 || at == len(s)-1 {
		return source{}, errors.New("it has to be URL#REF with a branch, tag or commit for REF")
	}
	return source{url: s[:at], ref: s[at+1:]}, nil
}

func parseSRPM(s string) (source, error) {
	if !strings.HasSuffix(s, ".src.rpm") {
		return source{}, errors.New("the name of an SRPM ends in .src.rpm")
	}
	if strings.HasPrefix(s, "https://") {
		return source{url: s}, nil
	}
	return source{file: s}, nil
}

// testsFlag collects folders of tests.
type testsFlag []albs.AskedSuite

func (f *testsFlag) Set(s string) error {
	at := strings.LastIndexByte(s, '#')
	ref, dir, ok := strings.Cut(s[at+1:], ":")
	if at < 1 || !ok || ref == "" {
		return errors.New("it has to be URL#REF:DIR with a branch, tag or commit for REF")
	}
	*f = append(*f, albs.AskedSuite{URL: s[:at], Ref: ref, Dir: dir})
	return nil
}

func (f *testsFlag) String() string { return "" }

// variableFlag collects variables; their values may hold commas.
type variableFlag []string

func (f *variableFlag) Set(s string) error {
	if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
		return errors.New("it has to be NAME=VALUE")
	}
	*f = append(*f, s)
	return nil
}

func (f *variableFlag) String() string { return "" }

func (a app) createBuild(c *urfave.Context, sources []source, defines map[string]string, tests *client.TestConfiguration) error {
	if c.IsSet("file") {
		return a.createFromFile(c)
	}
	if err := terminal.Needs(c, "platform"); err != nil {
		return err
	}
	if len(sources) == 0 {
		return terminal.Misused(c, "there is nothing to build: name packages with --git or --srpm")
	}
	arches, err := ask.Arches(c)
	if err != nil {
		return err
	}
	n := client.NewBuild{Product: c.String("product"), Flavours: c.StringSlice("flavour"), SecureBoot: c.Bool("secure-boot"), Order: c.String("order"), Break: c.StringSlice("break")}
	for _, id := range c.Int64Slice("link") {
		n.Linked = append(n.Linked, albs.BuildID(id))
	}
	o := client.BuildOptions{
		With: c.StringSlice("with"), Without: c.StringSlice("without"), Define: defines,
		Excludes: c.StringSlice("exclude"), Modules: c.StringSlice("module"), TargetArch: albs.Arch(c.String("target-arch")),
	}
	if len(o.With)+len(o.Without)+len(o.Define)+len(o.Excludes)+len(o.Modules) > 0 || o.TargetArch != "" {
		n.Options = &o
	}
	if len(tests.Tests)+len(tests.Env.Variables) > 0 {
		n.Tests = tests
	}
	for _, p := range c.StringSlice("platform") {
		n.Platforms = append(n.Platforms, client.BuildTarget{Platform: p, Arches: arches})
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	for _, s := range sources {
		p := client.BuildSource{URL: s.url, Ref: s.ref}
		if s.file != "" {
			if p.SRPM, err = upload(c.Context, cl, s.file); err != nil {
				return err
			}
		}
		n.Packages = append(n.Packages, p)
	}
	b, err := cl.CreateBuild(c.Context, n, rand.Text())
	if err != nil {
		return err
	}
	return a.queued(c, cl, b)
}

// queued tells of a build that was just made, and follows it if that was asked for.
func (a app) queued(c *urfave.Context, cl *client.Client, b client.Doc[client.Build]) error {
	if !c.Bool("wait") {
		return a.Result(c, b.JSON, "build %d is queued; follow it with: albs build watch %d", b.Value.ID, b.Value.ID)
	}
	if err := a.Note("build %d is queued", b.Value.ID); err != nil {
		return err
	}
	return a.Build(c, cl, b.Value.ID)
}

// upload brings an SRPM to the server and returns its digest.
func upload(ctx context.Context, cl *client.Client, file string) (albs.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "%w; an SRPM is named by a file here", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "%w", err)
	}
	s, err := cl.UploadSRPM(ctx, filepath.Base(file), f, info.Size())
	if err != nil {
		return "", ask.About(file, err)
	}
	return s.Digest, nil
}

func (a app) listBuilds(page client.BuildPage) (*terminal.Table, int) {
	t := terminal.NewTable("BUILD", "STATE", "DONE", "OWNER", "PRODUCT", "CREATED", "TOOK", "PACKAGES")
	for _, b := range page.Builds {
		t.Row(terminal.Decimal(b.ID), b.State, terminal.Decimal(b.Done)+"/"+terminal.Decimal(b.Total), b.Owner.Name, ask.Named(b.Products), terminal.When(b.CreatedAt),
			a.Took(b.Started, b.Finished), ask.Shorten(strings.Join(b.Packages, " ")))
	}
	return t, page.Total
}

func (a app) showBuild(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	if c.NArg() > 1 {
		return a.showTask(c, cl, id)
	}
	doc, err := cl.Build(c.Context, id)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	tests, err := cl.Tests(c.Context, id)
	if err != nil {
		return err
	}
	return a.printBuild(doc.Value, tests.Value)
}

func (a app) printBuild(b client.Build, tests []client.TestRun) error {
	state := b.State
	if b.Reason != "" {
		state += ": " + b.Reason
	}
	if err := a.Facts("build", terminal.Decimal(b.ID), "state", state, "steps", terminal.Decimal(b.Done)+" of "+terminal.Decimal(b.Total)+" done", "owner", b.Owner.Name,
		"product", ask.Named(b.Products), "created", terminal.When(b.CreatedAt), "took", a.Took(b.Started, b.Finished),
		"with", strings.Join(b.Options.With, " "), "without", strings.Join(b.Options.Without, " "), "define", defined(b.Options.Define),
		"excludes", strings.Join(b.Options.Excludes, " "), "modules", strings.Join(b.Options.Modules, " "), "target", string(b.Options.TargetArch),
		"flavours", flavoursOf(b), "linked", builds(b.LinkedBuilds), "secure boot", secureBoot(b), "warning", strings.Join(warnings(b), "; ")); err != nil {
		return err
	}
	items := terminal.NewTable("ITEM", "PACKAGE", "PLATFORM", "SOURCE", "STATE", "TOOK", "WHY")
	for _, it := range b.Items {
		why := it.Reason
		if it.State == "succeeded" {
			why = ""
		}
		items.Row(terminal.Decimal(it.ID), it.Package, it.Platform, verified(it), it.State, a.Took(it.Started, it.Finished), ask.Shorten(why))
	}
	if err := a.Section(items); err != nil {
		return err
	}
	steps := terminal.NewTable("TASK", "PACKAGE", "PLATFORM", "ARCH", "STEP", "STATE", "TOOK", "WHY")
	files := terminal.NewTable("SHA256", "FILE")
	for _, t := range b.Tasks {
		steps.Row(terminal.Decimal(t.ID), t.Package, t.Platform.Name, string(t.Arch), string(t.Kind), watch.State(t.State, t.Attempts), a.Took(t.Started, t.Finished), why(t.State, t.Reason))
		for _, f := range t.Files {
			if f.Kind == "rpm" || f.Kind == "srpm" {
				files.Row(string(f.Digest), f.Name)
			}
		}
	}
	for _, r := range watch.Latest(tests) {
		if packageOf(b, r.BuildTask) == "" {
			continue // of what gave way to a fresh source package
		}
		steps.Row(terminal.Decimal(r.Task), packageOf(b, r.BuildTask), r.Platform, string(r.Arch), "test", r.Verdict(), a.Took(r.Started, r.Finished), ask.Shorten(r.Why()))
	}
	if err := a.Section(steps); err != nil {
		return err
	}
	if err := a.Section(waived(tests)); err != nil {
		return err
	}
	if err := a.printFailures(b); err != nil {
		return err
	}
	return a.Section(files)
}

// waived lists the waivers that are in force for packages of a build.
func waived(tests []client.TestRun) *terminal.Table {
	t := terminal.NewTable("WAIVER", "PACKAGE", "STAGE", "UNTIL", "BY", "REASON")
	told := map[int64]bool{}
	for _, r := range tests {
		for _, p := range r.Packages {
			for _, w := range p.Waivers {
				if told[w.ID] {
					continue
				}
				told[w.ID] = true
				until := terminal.When(w.Expires)
				if w.Soon {
					until += ", soon"
				}
				t.Row(terminal.Decimal(w.ID), w.NEVRA, cmp.Or(string(w.Stage), "all"), until, w.Person, w.Reason)
			}
		}
	}
	return t
}

// maxFailures is how many failures a build's description tells of one by one.
const maxFailures = 10

// printFailures tells why tasks failed, with the lines of the log that say so.
func (a app) printFailures(b client.Build) error {
	told := 0
	for _, t := range b.Tasks {
		f := t.Failure
		if f == nil || f.Kind == "unknown" && f.Log == "" {
			continue // the reason in the table says it all
		}
		if told++; told > maxFailures {
			return a.Say("and more; albs build show %d --json has all", b.ID)
		}
		if err := a.Section(excerpt(t)); err != nil {
			return err
		}
		if f.Log == "" {
			continue
		}
		if err := a.Note("the whole log: albs build logs %d %d --stream %s --attempt %d", b.ID, t.ID, f.Log, f.Attempt); err != nil {
			return err
		}
	}
	return nil
}

// excerpt is a failure as lines: what failed and why, then the log around it, with
// the line that tells it pointed at.
func excerpt(t client.Task) *terminal.Table {
	f := t.Failure
	x := terminal.NewTable("TASK "+terminal.Decimal(t.ID), f.Kind+": "+f.Text)
	if f.Hint != "" {
		x.Row("HINT", f.Hint)
	}
	n := f.Line - len(f.Before)
	row := func(text string) {
		mark := "  "
		if n == f.Line {
			mark = "> "
		}
		x.Row(mark+f.Log+":"+terminal.Decimal(n), cmp.Or(text, " ")) // a blank line is no missing cell
		n++
	}
	if f.Log == "" {
		return x
	}
	for _, l := range f.Before {
		row(l)
	}
	row(f.Quote)
	for _, l := range f.After {
		row(l)
	}
	return x
}

func defined(macros map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(macros)) {
		out = append(out, name+"="+macros[name])
	}
	return strings.Join(out, ", ")
}

func flavoursOf(b client.Build) string {
	var out []string
	for _, f := range b.Flavours {
		out = append(out, f.Name+" (revision "+terminal.Decimal(f.Revision)+")")
	}
	return strings.Join(out, ", ")
}

func secureBoot(b client.Build) string {
	if b.SecureBoot {
		return "yes"
	}
	return ""
}

// warnings are what a person ought to know of a build that has no fault.
func warnings(b client.Build) []string {
	out := b.Warnings
	for _, d := range b.Noarch {
		out = append(out, d.Package+" came out otherwise for "+string(d.Second.Arch)+": "+strings.Join(d.Differs, ", "))
	}
	return append(out, unverified(b)...)
}

func verified(it client.BuildItem) string {
	if it.Verified {
		return "verified"
	}
	return "unverified"
}

// maxUnverified is how many reasons are told why sources aren't verified.
const maxUnverified = 3

// unverified says why sources aren't verified, each thing once.
func unverified(b client.Build) []string {
	var out []string
	more := 0
	for _, it := range b.Items {
		switch {
		case it.Verified || it.Unverified == "" || slices.Contains(out, it.Unverified):
		case len(out) < maxUnverified:
			out = append(out, it.Unverified)
		default:
			more++
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more sources are not verified", more))
	}
	return out
}

func builds(ids []albs.BuildID) string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	return strings.Join(out, " ")
}

// why is the reason of a task that needs one.
func why(s albs.TaskState, reason string) string {
	if s == albs.TaskSucceeded {
		return ""
	}
	return ask.Shorten(reason)
}

func packageOf(b client.Build, task albs.TaskID) string {
	for _, t := range b.Tasks {
		if t.ID == task {
			return t.Package
		}
	}
	return ""
}

func (a app) cancelBuild(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	if item := c.Int64("item"); item != 0 {
		b, err := cl.CancelItem(c.Context, id, albs.ItemID(item))
		if err != nil {
			return err
		}
		return a.Result(c, b.JSON, "item %d of build %d is being cancelled; the others go on without it", item, id)
	}
	b, err := cl.CancelBuild(c.Context, id)
	if err != nil {
		return err
	}
	return a.Result(c, b.JSON, "build %d is %s", id, cancelled(b.Value))
}

func cancelled(b client.Build) string {
	if b.Final() {
		return b.State
	}
	return "being cancelled: what runs is told to stop"
}

func (a app) retryBuild(c *urfave.Context, cl *client.Client, build albs.BuildID) error {
	var answer []byte
	what := "what failed of build " + terminal.Decimal(build)
	switch item := c.Int64("fresh"); {
	case item != 0 && c.NArg() > 1:
		return terminal.Misused(c, "--fresh makes a whole item anew, and no TASK goes with it")
	case item != 0:
		b, err := cl.FreshItem(c.Context, build, albs.ItemID(item))
		if err != nil {
			return err
		}
		answer, what = b.JSON, "a fresh source package of item "+terminal.Decimal(item)
	case c.NArg() > 1:
		task, err := terminal.Number(c, "task", c.Args().Get(1))
		if err != nil {
			return err
		}
		t, err := cl.RetryTask(c.Context, build, albs.TaskID(task))
		if err != nil {
			return err
		}
		answer, what = t.JSON, "task "+terminal.Decimal(task)
	default:
		b, err := cl.RetryBuild(c.Context, build)
		if err != nil {
			return err
		}
		answer = b.JSON
	}
	if c.Bool("wait") {
		return a.Build(c, cl, build)
	}
	return a.Result(c, answer, "%s is queued again; follow it with: albs build watch %d", what, build)
}
