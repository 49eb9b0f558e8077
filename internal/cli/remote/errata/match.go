package errata

import (
	"cmp"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// more is how many further advisories, or packages, one command takes.
const more = 200

// matchCommands are those about which packages answer an advisory.
func (a app) matchCommands() []*urfave.Command {
	const example = "For example: albs errata "
	about := func() []urfave.Flag {
		return []urfave.Flag{
			platformFlag(), &urfave.StringFlag{Name: "wanted", Usage: "of the `PACKAGE` that is wanted"}, &urfave.StringFlag{Name: "package", Usage: "by this `PACKAGE`"},
			&urfave.Int64Flag{Name: "build", Usage: "of the build `N`"}, &urfave.StringFlag{Name: "source", Usage: "of the source package `NAME`"}, reasonFlag("why, one line of `TEXT`"),
		}
	}
	judge := func(name, usage, says, words string) *urfave.Command {
		return ask.Answers(&urfave.Command{
			Name: name, Usage: usage, ArgsUsage: "ID [ID…] --platform PLATFORM [--wanted PACKAGE] [--package PACKAGE] [--build N] [--source NAME] [--reason TEXT]",
			Description: says + "\n" + example + name + " ALSA-2024:6964 --platform almalinux-9 " + words, Flags: about(), Action: a.Asks(1, 1+more, a.judge),
		})
	}
	onWanted := func(name, usage, says, words string) *urfave.Command {
		return ask.Answers(&urfave.Command{
			Name: name, Usage: usage, ArgsUsage: "ID PACKAGE [PACKAGE…] --platform PLATFORM --reason TEXT", Description: says + "\n" + example + name + " ALSA-2024:6964 bash-doc-5.1.8-9.el9.noarch --platform almalinux-9 " + words,
			Flags: []urfave.Flag{platformFlag(), reasonFlag("why, one line of `TEXT`")}, Action: a.Asks(2, 2+more, a.onWanted),
		})
	}
	buildFlag := func() urfave.Flag { return &urfave.Int64Flag{Name: "build", Usage: "the build `N` that made it"} }
	return []*urfave.Command{
		ask.Answers(&urfave.Command{
			Name: "queue", Usage: "list the advisories that wait for a release, and for what", ArgsUsage: "[--platform PLATFORM] [--stage STAGE] [--after ID/PLATFORM]",
			Description: "An advisory needs build while nothing answers a package that it wants, needs match while a person has to choose, and is ready then.\n" +
				example + "queue --platform almalinux-9 --stage \"needs match\"",
			Flags: []urfave.Flag{
				platformFlag(), &urfave.StringFlag{Name: "stage", Usage: "only those in this `STAGE`: needs build, needs match or ready"},
				&urfave.StringFlag{Name: "after", Usage: "list on after the advisory `ID/PLATFORM`"},
			},
			Action: a.Asks(0, 0, a.queue),
		}),
		ask.Answers(&urfave.Command{
			Name: "match", Usage: "show which packages answer an advisory, and why", ArgsUsage: "ID --platform PLATFORM [--reset]",
			Description: "The best match of each package comes first.\n" + example + "match ALSA-2024:6964 --platform almalinux-9",
			Flags:       []urfave.Flag{platformFlag(), &urfave.BoolFlag{Name: "reset", Usage: "take back before what people have decided, and match it anew"}},
			Action: a.one(func(c *urfave.Context, cl *client.Client, id, platform string) error {
				if c.Bool("reset") {
					if _, err := cl.ResetMatches(c.Context, id, platform); err != nil {
						return err
					}
				}
				doc, err := cl.Matches(c.Context, id, platform)
				return a.matches(c, doc, err)
			}),
		}),
		judge("approve", "have matches of advisories answer what they match", "Without --wanted, --package, --build and --source it is what albs would take. What other builds have for the same packages is skipped.", "--build 7 --source bash"),
		judge("skip", "have matches of advisories answer nothing", "It is about the matches that have all of --wanted, --package, --build and --source that are given.", "--build 6 --reason \"it crashes\""),
		judge("propose", "take back what was decided on matches of advisories", "It is about the matches that have all of --wanted, --package, --build and --source that are given. What was added by hand is taken out.", "--build 7"),
		ask.Answers(&urfave.Command{
			Name: "candidates", Usage: "list packages of builds to choose from for replace and add", ArgsUsage: "[NAME] --platform PLATFORM [--build N]",
			Description: "NAME is that of packages; without it the packages of the build are listed.\n" + example + "candidates bash --platform almalinux-9",
			Flags:       []urfave.Flag{platformFlag(), buildFlag()}, Action: a.Asks(0, 1, a.candidates),
		}),
		ask.Answers(&urfave.Command{
			Name: "replace", Usage: "have another package answer one that an advisory wants", ArgsUsage: "ID WANTED PACKAGE --build N --platform PLATFORM --reason TEXT",
			Description: "WANTED and PACKAGE are written name-[epoch:]version-release.arch.\n" + example + "replace ALSA-2024:6964 bash-5.1.8-9.el9.x86_64 bash-5.2-1.el9.x86_64 --build 8 --platform almalinux-9 --reason \"5.2 has the fix too\"",
			Flags:       []urfave.Flag{platformFlag(), buildFlag(), reasonFlag("why, one line of `TEXT`")},
			Action: a.Asks(3, 3, func(c *urfave.Context, cl *client.Client) error {
				return a.decide(c, cl, client.MatchDecision{Action: "replace", Wanted: c.Args().Get(1), Package: c.Args().Get(2), Build: albs.BuildID(c.Int64("build"))})
			}),
		}),
		ask.Answers(&urfave.Command{
			Name: "add", Usage: "add a package that the notice doesn't know to an advisory", ArgsUsage: "ID PACKAGE --build N --platform PLATFORM --reason TEXT",
			Description: "PACKAGE is written name-[epoch:]version-release.arch.\n" + example + "add ALSA-2024:6964 bash-static-5.1.8-9.el9.x86_64 --build 8 --platform almalinux-9 --reason \"it has a copy of the code\"",
			Flags:       []urfave.Flag{platformFlag(), buildFlag(), reasonFlag("why, one line of `TEXT`")},
			Action: a.Asks(2, 2, func(c *urfave.Context, cl *client.Client) error {
				return a.decide(c, cl, client.MatchDecision{Action: "add", Package: c.Args().Get(1), Build: albs.BuildID(c.Int64("build"))})
			}),
		}),
		onWanted("exclude", "have packages that an advisory wants need no answer", "The advisory is published without them.", "--reason \"it is documentation\""),
		onWanted("include", "have packages that were excluded need an answer again", "What was decided on them before they were excluded is decided no more.", ""),
	}
}

// judge decides on the matches that the flags name, of each advisory that is an argument.
func (a app) judge(c *urfave.Context, cl *client.Client) error {
	if err := terminal.Needs(c, "platform"); err != nil {
		return err
	}
	d := client.MatchDecision{
		Action: c.Command.Name, Wanted: c.String("wanted"), Package: c.String("package"), Build: albs.BuildID(c.Int64("build")), Source: c.String("source"), Reason: c.String("reason"),
	}
	ids := c.Args().Slice()
	if len(ids) == 1 {
		doc, err := cl.DecideMatches(c.Context, ids[0], c.String("platform"), 0, []client.MatchDecision{d})
		return a.matches(c, doc, err)
	}
	doc, err := cl.DecideEach(c.Context, ids, c.String("platform"), []client.MatchDecision{d})
	if err != nil {
		return err
	}
	refused := 0
	t := terminal.NewTable("ID", "PLATFORM", "REVISION", "WHY NOT")
	for _, o := range doc.Value {
		revision := terminal.Decimal(o.Revision)
		if !o.OK {
			refused++
			revision = "-"
		}
		t.Row(o.ID, o.Platform, revision, o.Error)
	}
	if c.Bool("json") {
		err = a.PrintJSON(doc.JSON)
	} else {
		err = a.Table(t, "")
	}
	if err == nil && refused > 0 {
		err = albs.Errorf(albs.Conflict, "nothing was decided on %d of %d advisories", refused, len(ids))
	}
	return err
}

// decide makes one decision on an advisory, the first argument.
func (a app) decide(c *urfave.Context, cl *client.Client, d client.MatchDecision) error {
	if err := terminal.Needs(c, "platform", "build", "reason"); err != nil {
		return err
	}
	d.Reason = c.String("reason")
	doc, err := cl.DecideMatches(c.Context, c.Args().First(), c.String("platform"), 0, []client.MatchDecision{d})
	return a.matches(c, doc, err)
}

// onWanted excludes or includes packages.
func (a app) onWanted(c *urfave.Context, cl *client.Client) error {
	needs := []string{"platform"}
	if c.Command.Name == "exclude" {
		needs = append(needs, "reason")
	}
	if err := terminal.Needs(c, needs...); err != nil {
		return err
	}
	var ds []client.MatchDecision
	for _, p := range c.Args().Tail() {
		ds = append(ds, client.MatchDecision{Action: c.Command.Name, Wanted: p, Reason: c.String("reason")})
	}
	doc, err := cl.DecideMatches(c.Context, c.Args().First(), c.String("platform"), 0, ds)
	return a.matches(c, doc, err)
}

// matches prints what answers an advisory.
func (a app) matches(c *urfave.Context, doc client.Doc[client.Matches], err error) error {
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	v := doc.Value
	if err := a.Say("%s of %s is at revision %d: %s (%d of %d packages are settled)", v.ID, v.Platform, v.Revision, v.Stage, v.Settled, v.Wanted); err != nil {
		return err
	}
	t := terminal.NewTable("WANTED", "PACKAGE", "BUILD", "STATUS", "WHY")
	for _, p := range v.Packages {
		switch {
		case p.Excluded && p.By == "":
			t.Row(p.Package, "-", "-", "excluded", p.Why)
		case p.Excluded:
			t.Row(p.Package, "-", "-", "excluded by "+p.By, p.Why)
		case p.Lack != "":
			t.Row(p.Package, "-", "-", "missing", p.Lack)
		}
	}
	for _, m := range v.Matches {
		status, why := m.Status, m.Strength+": "+m.Because
		if m.By != "" {
			status += " by " + m.By
		}
		if m.Why != "" {
			why = m.Why + "; " + why
		}
		if m.SHA256 == "" {
			why = fmt.Sprintf("build %d hasn't got it now; %s", m.Build, why)
		}
		t.Row(cmp.Or(m.Wanted, "(added)"), m.Package, m.Build.String(), status, why)
	}
	return a.Table(t, "it wants no package: add some with albs errata add")
}

func (a app) candidates(c *urfave.Context, cl *client.Client) error {
	if err := terminal.Needs(c, "platform"); err != nil {
		return err
	}
	if !c.Args().Present() && c.Int64("build") == 0 {
		return terminal.Misused(c, "name the packages, or give their --build")
	}
	doc, err := cl.Candidates(c.Context, c.String("platform"), c.Args().First(), albs.BuildID(c.Int64("build")))
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("PACKAGE", "BUILD", "SOURCE", "MODULE", "WHERE")
	for _, p := range doc.Value.Packages {
		t.Row(p.Package, p.Build.String(), cmp.Or(p.Source, "-"), cmp.Or(p.Label, "-"), map[bool]string{true: "in a repository", false: "built"}[p.Released])
	}
	if err := a.Table(t, "no build has such a package"); err != nil || !doc.Value.More {
		return err
	}
	return a.Note("there are more: give their --build")
}

func (a app) queue(c *urfave.Context, cl *client.Client) error {
	id, platform, ok := strings.Cut(c.String("after"), "/")
	if c.String("after") != "" && !ok {
		return terminal.Misused(c, "--after %s is not ID/PLATFORM", c.String("after"))
	}
	doc, err := cl.ErrataQueue(c.Context, c.String("platform"), c.String("stage"), id, platform)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	v := doc.Value
	if err := a.Say("%d need a build, %d need a match, %d are ready", v.Counts.NeedsBuild, v.Counts.NeedsMatch, v.Counts.Ready); err != nil {
		return err
	}
	t := terminal.NewTable("ID", "PLATFORM", "STAGE", "WANTED", "LACKING", "OPEN", "SETTLED")
	for _, s := range v.Advisories {
		t.Row(s.ID, s.Platform, s.Stage, terminal.Decimal(s.Wanted), terminal.Decimal(s.Lacking), terminal.Decimal(s.Open), terminal.Decimal(s.Settled))
	}
	if err := a.Table(t, "none of them waits like this"); err != nil || !v.More {
		return err
	}
	last := v.Advisories[len(v.Advisories)-1]
	return a.Note("there are more: --after %s/%s", last.ID, last.Platform)
}
