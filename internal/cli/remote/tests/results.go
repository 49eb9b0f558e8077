package tests

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const maxReport = 256 << 20 // bytes of a JUnit report

// bad stands for every status that isn't good.
const bad albs.TestStatus = "bad"

func statuses() []string {
	return []string{string(bad), "failed", "not_run", "passed", "skipped", "todo", "pending", "missing"}
}

func stages() string {
	var out []string
	for _, s := range albs.TestStages {
		out = append(out, string(s))
	}
	return strings.Join(out, ", ")
}

func (a app) listCommand() *urfave.Command {
	return ask.Listed("albs build list shows all", ask.Answers(&urfave.Command{
		Name: "list", Usage: "list what isn't good in the tests of a build, or what is asked for", ArgsUsage: "BUILD [--all] [--status S] [--stage S] [--package P] [--arch A] [--platform P] [--text T] [--flaky] [--revision N] [--page N]",
		Description: "Each package counts as the latest test of it left it. STATUS is one of " + strings.Join(statuses(), ", ") + ".\n" +
			"For example: albs test list 7 --stage upgrade --all",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "all", Usage: "also what is good"},
			&urfave.StringFlag{Name: "status", Usage: "only what came to `STATUS`"},
			&urfave.StringFlag{Name: "stage", Usage: "only the `STAGE`, one of " + stages()},
			&urfave.StringFlag{Name: "package", Usage: "only packages with `TEXT` in their NEVRA"},
			&urfave.StringFlag{Name: "arch", Usage: "only on `ARCH`"},
			&urfave.StringFlag{Name: "platform", Usage: "only on `PLATFORM`"},
			&urfave.StringFlag{Name: "text", Usage: "only with `TEXT` in the name of the case, or in what was said"},
			&urfave.BoolFlag{Name: "flaky", Usage: "only what changed its answer on the same inputs"},
			&urfave.IntFlag{Name: "revision", Usage: "as of the `N`th revision of the tests"},
			ask.PageFlag(),
		},
		Action: ask.Numbered(a.App, "build", 1, a.list),
	}))
}

func (a app) list(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	q := client.TestQuery{
		Status: albs.TestStatus(c.String("status")), Stage: albs.TestStage(c.String("stage")), Package: c.String("package"), Platform: c.String("platform"), Arch: albs.Arch(c.String("arch")),
		Text: c.String("text"), Flaky: c.Bool("flaky"), Revision: c.Int("revision"), Page: c.Int("page"), Size: perPage,
	}
	switch {
	case q.Status != "" && !slices.Contains(statuses(), string(q.Status)):
		return terminal.Misused(c, "status %q is none of %s", q.Status, strings.Join(statuses(), ", "))
	case q.Stage != "" && !q.Stage.Known():
		return terminal.Misused(c, "stage %q is none of %s", q.Stage, stages())
	case q.Status != "" && c.Bool("all"):
		return terminal.Misused(c, "--all and --status exclude each other")
	case q.Page < 1:
		return terminal.Misused(c, "--page %d: pages are counted from 1", q.Page)
	case q.Revision < 0:
		return terminal.Misused(c, "--revision %d: revisions are counted from 1", q.Revision)
	}
	if q.Status == "" && !q.Flaky && !c.Bool("all") {
		q.Status = bad
	}
	doc, err := cl.TestResults(c.Context, id, q)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	r := doc.Value
	t := terminal.NewTable("STATUS", "PACKAGE", "PLATFORM", "ARCH", "STAGE", "CASE", "TOOK", "WHAT WAS SAID")
	for _, k := range r.Results {
		t.Row(statusOf(k.Status, k.Flaky), k.NEVRA, k.Platform, string(k.Arch), string(k.Stage), k.Case, took(k.Seconds), ask.Shorten(line(k.Detail)))
	}
	if err := a.Table(t, "nothing in the tests of the build is like that"); err != nil {
		return err
	}
	more := ""
	if (q.Page-1)*perPage+len(r.Results) < r.Total {
		more = fmt.Sprintf("; %d of %d are shown, more: --page %d", len(r.Results), r.Total, q.Page+1)
	}
	return a.Note("%s%s", counted(r), more)
}

// counted says how the packages of a build stand.
func counted(r client.TestResults) string {
	n := r.Packages
	out := fmt.Sprintf("%d packages", n.All)
	if n.All == 1 {
		out = "1 package"
	}
	for _, x := range []struct {
		n    int
		word string
	}{{n.Failed, "failed"}, {n.Missing, "not tested"}, {n.Pending, "still to end"}, {n.Passed, "passed"}, {n.Flaky, "flaky"}} {
		if x.n > 0 {
			out += fmt.Sprintf(", %d %s", x.n, x.word)
		}
	}
	return out
}

func statusOf(s albs.TestStatus, flaky bool) string {
	if flaky {
		return string(s) + " (flaky)"
	}
	return string(s)
}

func took(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
}

// line is the first line of what was said.
func line(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func (a app) showCommand() *urfave.Command {
	return ask.Listed("albs test list BUILD --all shows what there is", ask.Answers(&urfave.Command{
		Name: "show", Usage: "show what the tests of a package of a build came to, stage by stage", ArgsUsage: "BUILD PACKAGE",
		Description: "PACKAGE is a part of a NEVRA, or a sha256. Each stage is told of before its cases, with all that was said.\n" +
			"For example: albs test show 7 hello-1-1.x86_64",
		Action: terminal.Action(2, 2, ask.Numbered(a.App, "build", 2, a.show)),
	}))
}

func (a app) show(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	doc, err := cl.TestResults(c.Context, id, client.TestQuery{Package: c.Args().Get(1), Size: 1000})
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	r := doc.Value
	if r.Total == 0 {
		return albs.Errorf(albs.NotFound, "build %d has no tested package %q", id, c.Args().Get(1))
	}
	t := terminal.NewTable("PACKAGE", "PLATFORM", "ARCH", "STAGE", "CASE", "STATUS", "TOOK", "WHAT WAS SAID")
	for i, k := range r.Results {
		nevra, platform, arch := k.NEVRA, k.Platform, string(k.Arch)
		if i > 0 && r.Results[i-1].NEVRA == k.NEVRA && r.Results[i-1].Platform == k.Platform && r.Results[i-1].Arch == k.Arch {
			nevra, platform, arch = "", "", ""
		}
		t.Row(nevra, platform, arch, string(k.Stage), k.Case, statusOf(k.Status, k.Flaky), took(k.Seconds), strings.Join(strings.Fields(k.Detail), " "))
	}
	if err := a.Table(t, ""); err != nil {
		return err
	}
	if len(r.Results) < r.Total {
		return a.Note("%d of %d are shown; albs test list %d --all has pages", len(r.Results), r.Total, id)
	}
	return nil
}

func (a app) retryCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "retry", Usage: "test again what didn't pass of a build, or of what its step TASK left", ArgsUsage: "BUILD [TASK] [--newest] [--wait]",
		Description: "What passed counts as before, and so does what is under way; each time is a revision. The packages' own tests are those of the same commits as before, unless --newest asks for what their repositories have now. With --wait the exit is 1 if something of the build, or of its tests, fails.\n" +
			"For example: albs test retry 7 --wait",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "newest", Usage: "by the packages' own tests as they are now; not with TASK"}, terminal.WaitFlag("the build and its tests are over"),
		},
		Action: ask.Numbered(a.App, "build", 2, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
			doc, err := retry(c, cl, id)
			if err != nil {
				return err
			}
			if c.Bool("wait") {
				if err := a.Note("tests of build %d are queued again", id); err != nil {
					return err
				}
				return a.Build(c, cl, id)
			}
			return a.Result(c, doc.JSON, "tests of build %d are queued again; follow them with: albs build watch %d", id, id)
		}),
	})
}

// retry asks for what the command line says.
func retry(c *urfave.Context, cl *client.Client, id albs.BuildID) (client.Doc[[]client.TestRun], error) {
	if c.NArg() < 2 {
		return cl.RetryTests(c.Context, id, c.Bool("newest"))
	}
	if c.Bool("newest") {
		return client.Doc[[]client.TestRun]{}, terminal.Misused(c, "--newest is for all of a build, and not for one step")
	}
	task, err := terminal.Number(c, "step", c.Args().Get(1))
	if err != nil {
		return client.Doc[[]client.TestRun]{}, err
	}
	return cl.RetryTestsOf(c.Context, albs.TaskID(task))
}

func (a app) cancelCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "cancel", Usage: "end the tests of a build that are under way", ArgsUsage: "BUILD",
		Description: "The build goes on. What was tested counts as before; albs test retry takes up the rest again.",
		Action: ask.Numbered(a.App, "build", 1, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
			doc, err := cl.CancelTests(c.Context, id)
			if err != nil {
				return err
			}
			return a.Result(c, doc.JSON, "the tests of build %d are cancelled; take them up again with: albs test retry %d", id, id)
		}),
	})
}

func (a app) logCommand() *urfave.Command {
	return ask.Listed("albs test list BUILD --all shows what there is", &urfave.Command{
		Name: "log", Usage: "print the log of a stage of a package's test", ArgsUsage: "BUILD PACKAGE [--stage S] [--arch A] [--platform P]",
		Description: "Without STAGE it is that of the first stage that isn't good. PACKAGE is a part of a NEVRA, or a sha256. The log of a whole test albs build logs prints.\n" +
			"For example: albs test log 7 hello-1-1.x86_64 --stage integrity",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "stage", Usage: "of the `STAGE`, one of " + stages()},
			&urfave.StringFlag{Name: "arch", Usage: "on `ARCH`"},
			&urfave.StringFlag{Name: "platform", Usage: "on `PLATFORM`"},
		},
		Action: terminal.Action(2, 2, ask.Numbered(a.App, "build", 2, a.printLog)),
	})
}

func (a app) printLog(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
	q := client.TestQuery{Package: c.Args().Get(1), Stage: albs.TestStage(c.String("stage")), Arch: albs.Arch(c.String("arch")), Platform: c.String("platform"), Size: 1000}
	switch {
	case q.Stage != "" && !q.Stage.Known():
		return terminal.Misused(c, "stage %q is none of %s", q.Stage, stages())
	case q.Stage == "":
		q.Status = bad
	}
	doc, err := cl.TestResults(c.Context, id, q)
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(doc.Value.Results, func(k client.Check) bool { return k.Case != "" })
	if len(all) == 0 && q.Stage == "" {
		return albs.Errorf(albs.NotFound, "nothing of %s is bad in build %d: name a stage", q.Package, id)
	}
	if len(all) == 0 {
		return albs.Errorf(albs.NotFound, "build %d has no stage %s of %s", id, q.Stage, q.Package)
	}
	k := all[0]
	if i := slices.IndexFunc(all, func(o client.Check) bool { return o.SHA256 != k.SHA256 || o.Arch != k.Arch || o.Platform != k.Platform }); i >= 0 {
		o := all[i]
		return albs.Errorf(albs.Conflict, "that is %s on %s %s, and %s on %s %s: say more exactly which, with --arch or --platform", k.NEVRA, k.Platform, k.Arch, o.NEVRA, o.Platform, o.Arch)
	}
	if i := slices.IndexFunc(all, func(o client.Check) bool { return o.Log != "" }); i >= 0 {
		k = all[i]
	}
	r, err := cl.OpenCheckLog(c.Context, k)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	_, err = io.Copy(a.LogWriter(), r)
	return err
}

func (a app) junitCommand() *urfave.Command {
	return &urfave.Command{
		Name: "junit", Usage: "save the results of a build's tests as a report in JUnit's form", ArgsUsage: "BUILD --output FILE [--revision N]",
		Description: "Each package is a suite and each stage and case a test case. What couldn't be run, or is still to end, is an error in it.\n" +
			"For example: albs test junit 7 -o report.xml",
		Flags: []urfave.Flag{ask.OutputFlag(), &urfave.IntFlag{Name: "revision", Usage: "as of the `N`th revision of the tests"}},
		Action: ask.Numbered(a.App, "build", 1, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
			if err := terminal.Needs(c, "output"); err != nil {
				return err
			}
			n, err := a.Download(c, func() ([]byte, error) { return cl.JUnit(c.Context, id, c.Int("revision"), maxReport) })
			if err != nil || c.String("output") == "-" {
				return err
			}
			return a.Note("%s has %d bytes", c.String("output"), n)
		}),
	}
}

func (a app) compareCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "compare", Usage: "list what differs between two revisions of a build's tests", ArgsUsage: "BUILD [--from N] [--to N] [--page N]",
		Description: "Without them it is the last two. A revision has each package as the latest test up to then left it.",
		Flags: []urfave.Flag{
			&urfave.IntFlag{Name: "from", Usage: "the earlier revision `N`"}, &urfave.IntFlag{Name: "to", Usage: "the later revision `N`"}, ask.PageFlag(),
		},
		Action: ask.Numbered(a.App, "build", 1, func(c *urfave.Context, cl *client.Client, id albs.BuildID) error {
			page := c.Int("page")
			if page < 1 {
				return terminal.Misused(c, "--page %d: pages are counted from 1", page)
			}
			doc, err := cl.CompareTests(c.Context, id, c.Int("from"), c.Int("to"), page)
			if err != nil || c.Bool("json") {
				return a.JSONOr(doc.JSON, err)
			}
			r := doc.Value
			t := terminal.NewTable("CHANGE", "PACKAGE", "PLATFORM", "ARCH", "STAGE", "CASE", "BEFORE", "AFTER", "WHAT WAS SAID")
			for _, x := range r.Changes {
				t.Row(x.Change, x.Check.NEVRA, x.Check.Platform, string(x.Check.Arch), string(x.Check.Stage), x.Check.Case, string(x.Before), statusOf(x.After, x.Check.Flaky), ask.Shorten(line(x.Check.Detail)))
			}
			if err := a.Table(t, "nothing differs"); err != nil {
				return err
			}
			more := ""
			if (page-1)*perPage+len(r.Changes) < r.Total {
				more = fmt.Sprintf("; %d of %d changes are shown, more: --page %d", len(r.Changes), r.Total, page+1)
			}
			return a.Note("from revision %d to %d; %d checks came to the same%s", r.From, r.To, r.Same, more)
		}),
	})
}

func (a app) historyCommand() *urfave.Command {
	return ask.Answers(&urfave.Command{
		Name: "history", Usage: "list what the tests of a package came to over time, the newest first", ArgsUsage: "PACKAGE [--stage S] [--case C] [--arch A] [--platform P] [--before RUN]",
		Description: "PACKAGE is a name without version; --case needs the STAGE that it is of. What gave different answers on the same inputs is marked flaky: the same package in the same root out of the same snapshots, with the same commits of its tests.\n" +
			"For example: albs test history hello --stage package --case basic.bats",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "stage", Usage: "only the `STAGE`, one of " + stages()},
			&urfave.StringFlag{Name: "case", Usage: "the `CASE` of that stage"},
			&urfave.StringFlag{Name: "arch", Usage: "only on `ARCH`"},
			&urfave.StringFlag{Name: "platform", Usage: "only on `PLATFORM`"},
			&urfave.Int64Flag{Name: "before", Usage: "only runs before the `RUN` that the page before ended with"},
		},
		Action: terminal.Action(1, 1, a.history),
	})
}

func (a app) history(c *urfave.Context) error {
	q := client.TestQuery{Package: c.Args().First(), Stage: albs.TestStage(c.String("stage")), Arch: albs.Arch(c.String("arch")), Platform: c.String("platform")}
	switch {
	case q.Stage != "" && !q.Stage.Known():
		return terminal.Misused(c, "stage %q is none of %s", q.Stage, stages())
	case q.Stage == "" && c.String("case") != "":
		return terminal.Misused(c, "--case needs the --stage that it is of")
	case c.Int64("before") < 0:
		return terminal.Misused(c, "--before %d is no run", c.Int64("before"))
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.TestHistory(c.Context, q, c.String("case"), c.Int64("before"))
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("STATUS", "PACKAGE", "PLATFORM", "ARCH", "STAGE", "CASE", "BUILD", "REVISION", "WHEN", "INPUTS", "WHAT WAS SAID")
	for _, s := range doc.Value.Seen {
		t.Row(statusOf(s.Status, s.Flaky), s.NEVRA, s.Platform, string(s.Arch), string(s.Stage), s.Case, terminal.Decimal(s.Build), terminal.Decimal(s.Revision), terminal.When(s.At), s.Inputs.Short(), ask.Shorten(line(s.Detail)))
	}
	if err := a.Table(t, "no test is known of that"); err != nil {
		return err
	}
	if doc.Value.Before != 0 {
		return a.Note("older ones: --before %d", doc.Value.Before)
	}
	return nil
}
