// Package releases has the commands that sign packages and show them to the public.
package releases

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{
		ask.Listed("albs key list shows all", a.keyCommand()),
		ask.Listed("albs build list and albs key list show what there is", a.signCommand()),
		a.releaseCommand(),
	}
}

func (a app) releaseCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "release",
		Usage:       "plan, approve and publish; bring back what was before",
		Description: "A release makes a product's signed packages public: it is planned, approved by people as that plan, and then published.",
		Subcommands: []*urfave.Command{
			ask.Listed("albs product list and albs build list show what there is", ask.Answers(&urfave.Command{
				Name: "plan", Usage: "compute what the release of builds and advisories comes to", ArgsUsage: "--product P [--build N…] [--advisory ID/PLATFORM…] [--force REASON] [--wait]",
				Description: "Nothing is changed: the plan shows what would go where, and what stands against it.\n" +
					"Without a build or an advisory it is a release of the metadata files that repositories were given (albs repo metadata set).\n" +
					"For example: albs release plan --product demo --build 7 --build 8 --advisory ALSA-2026:1234/almalinux-9",
				Flags: []urfave.Flag{
					&urfave.StringFlag{Name: "product", Usage: "the product `P`"},
					&urfave.Int64SliceFlag{Name: "build", Usage: "the build `N`; may be repeated"},
					&urfave.StringSliceFlag{Name: "advisory", Usage: "the advisory `ID/PLATFORM`; may be repeated"},
					&urfave.StringFlag{Name: "force", Usage: "release the advisories also without packages that they want, for this `REASON`, which stands in the plan"},
					testsFlag(),
				},
				Action: terminal.Action(0, 0, a.planRelease),
			})),
			ask.Listed("albs release list shows all", ask.Answers(&urfave.Command{
				Name: "replan", Usage: "compute the plan of a release anew", ArgsUsage: "RELEASE [--wait]",
				Description: "Approvals of the plan before are void if what it comes to has changed.\n" +
					"For example: albs release replan 3 --wait",
				Flags: []urfave.Flag{testsFlag()},
				Action: ask.Numbered(a.App, "release", 1, func(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
					doc, err := cl.Replan(c.Context, id)
					return a.printPlanned(c, cl, doc, err)
				}),
			})),
			ask.Listed("albs product list shows what there is", a.copyCommand()),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list releases, the newest first", ArgsUsage: "[--product P] [--page N]",
				Description: "Releases are listed ten to a page, rollbacks among them.",
				Flags:       []urfave.Flag{&urfave.StringFlag{Name: "product", Usage: "only of the product `P`"}, ask.PageFlag()},
				Action: ask.Pages(a.App, func(c *urfave.Context, cl *client.Client, page int) (client.Doc[client.ReleasePage], error) {
					return cl.Releases(c.Context, client.ReleaseQuery{Page: page, Product: c.String("product")})
				}, listReleases, "there are no releases on this page"),
			}),
			ask.Listed("albs release list shows all", ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a release: what goes where, and who approved it", ArgsUsage: "RELEASE",
				Description: "RELEASE is the number that albs release plan printed and albs release list shows.",
				Action:      ask.Numbered(a.App, "release", 1, a.showRelease),
			})),
			ask.Listed("albs release list shows all", a.decideCommand()),
			ask.Listed("albs release list shows all", ask.Answers(&urfave.Command{
				Name: "approve", Usage: "show a release's plan and approve exactly that", ArgsUsage: "RELEASE",
				Description: "What was shown is what is approved: a plan that has changed meanwhile is refused.",
				Action:      ask.Numbered(a.App, "release", 1, a.approveRelease),
			})),
			ask.Listed("albs release list shows all", ask.Answers(&urfave.Command{
				Name: "publish", Usage: "make an approved release public", ArgsUsage: "RELEASE [--wait]",
				Description: "Readers see the whole old or the whole new.\n" +
					"For example: albs release publish 3 --wait",
				Flags:  []urfave.Flag{terminal.WaitFlag("it is public")},
				Action: ask.Numbered(a.App, "release", 1, a.publishRelease),
			})),
			ask.Listed("albs release list shows all", ask.Answers(&urfave.Command{
				Name: "cancel", Usage: "end a publication or rollback that doesn't get on", ArgsUsage: "RELEASE",
				Description: "What was public stays public. The release can be published again.",
				Action:      ask.Numbered(a.App, "release", 1, a.cancelRelease),
			})),
			ask.Listed("albs release list and albs product list show what there is", ask.Answers(&urfave.Command{
				Name: "rollback", Usage: "bring back what a product showed before its last release, or at a serial", ArgsUsage: "PRODUCT|RELEASE [--to SERIAL] [--reason TEXT] [--wait]",
				Description: "A rollback is a release of its own, with a new serial and the old content. What was released after a serial that --to names is reverted with it.\n" +
					"For example: albs release rollback demo --wait",
				Flags:  []urfave.Flag{&urfave.Int64Flag{Name: "to", Usage: "the `SERIAL` that the product is to show again; albs release list has them"}, &urfave.StringFlag{Name: "reason", Usage: "why, one line of `TEXT` that stands in the rollback's plan"}, terminal.WaitFlag("it is public")},
				Action: a.Asks(1, 1, a.rollback),
			})),
		},
	}
}

func (a app) planRelease(c *urfave.Context) error {
	if err := terminal.Needs(c, "product"); err != nil {
		return err
	}
	builds, err := buildsOf(c)
	if err != nil {
		return err
	}
	var advisories []client.Advised
	for _, name := range c.StringSlice("advisory") {
		id, platform, ok := strings.Cut(name, "/")
		if !ok || id == "" || platform == "" {
			return terminal.Misused(c, "--advisory %q is not ID/PLATFORM", name)
		}
		advisories = append(advisories, client.Advised{ID: id, Platform: platform, Force: c.String("force")})
	}
	if c.IsSet("force") && len(advisories) == 0 {
		return terminal.Misused(c, "--force is about advisories: name them with --advisory")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.PlanRelease(c.Context, c.String("product"), builds, advisories...)
	return a.printPlanned(c, cl, doc, err)
}

// testsFlag is --wait of commands that plan.
func testsFlag() urfave.Flag {
	return terminal.WaitFlag("the tests have ended that the plan waits for, those of signed copies among them")
}

// testsEnd computes a plan anew until it waits for no tests.
func (a app) testsEnd(c *urfave.Context, cl *client.Client, doc client.Doc[client.Release]) (client.Doc[client.Release], error) {
	id := doc.Value.ID
	m := a.NewMeter()
	goesOn := fmt.Sprintf("release %d is planned, and its tests go on: albs release replan %d --wait", id, id)
	err := a.Until(c.Context, cl, fmt.Sprintf("build:%d", slices.Max(doc.Value.Builds)), m, goesOn, func(ctx context.Context) (bool, error) {
		next, err := cl.Replan(ctx, id)
		if err != nil {
			return false, err
		}
		doc = next
		n := pending(doc.Value)
		m.Now(fmt.Sprintf("release %d waits for tests of %d packages", id, n))
		return n == 0, nil
	})
	return doc, err
}

// pending counts the packages for whose tests a plan waits.
func pending(r client.Release) (n int) {
	if r.Plan == nil || len(r.Builds) == 0 {
		return 0
	}
	for _, x := range r.Plan.Refusals {
		if x.Pending {
			n++
		}
	}
	return n
}

// printPlanned prints a plan, with --wait when no test is to end that it waits for; it
// is an error if it can't be approved as it is.
func (a app) printPlanned(c *urfave.Context, cl *client.Client, doc client.Doc[client.Release], err error) error {
	if err == nil && c.Bool("wait") && pending(doc.Value) > 0 {
		doc, err = a.testsEnd(c, cl, doc)
	}
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	r := doc.Value
	if err := a.printRelease(r); err != nil {
		return err
	}
	if refused(r) {
		return fmt.Errorf("release %d can't be approved as it is; see the refusals", r.ID)
	}
	return a.Note("release %d is planned; look at it and: albs release approve %d", r.ID, r.ID)
}

func refused(r client.Release) bool { return r.Plan != nil && len(r.Plan.Refusals) > 0 }

func listReleases(page client.ReleasePage) (*terminal.Table, int) {
	t := terminal.NewTable("RELEASE", "PRODUCT", "KIND", "STATE", "SERIAL", "BY", "CREATED", "WHY")
	for _, r := range page.Releases {
		serial := ""
		if r.Serial > 0 {
			serial = terminal.Decimal(r.Serial)
		}
		t.Row(terminal.Decimal(r.ID), r.Product.Name, r.Kind, r.State, serial, r.Owner.Name, terminal.When(r.Created), ask.Shorten(r.Reason))
	}
	return t, page.Total
}

func (a app) showRelease(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
	doc, err := cl.Release(c.Context, id)
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	return a.printRelease(doc.Value)
}

func (a app) printRelease(r client.Release) error {
	state := r.State + ask.Because(r.Reason)
	if r.Status == client.ReleaseScheduled {
		state += fmt.Sprintf(", %d of %d approvals", len(r.Approvals), r.Needed)
	}
	pairs := []string{"release", terminal.Decimal(r.ID), "product", r.Product.Name, "kind", r.Kind, "state", state, "by", r.Owner.Name, "created", terminal.When(r.Created)}
	if len(r.Builds) > 0 {
		pairs = append(pairs, "builds", ask.Numbers(r.Builds))
	}
	if r.Serial > 0 {
		pairs = append(pairs, "serial", terminal.Decimal(r.Serial))
	}
	if r.BackTo > 0 {
		pairs = append(pairs, "brings back", "serial "+terminal.Decimal(r.BackTo))
	}
	for _, ok := range r.Approvals {
		pairs = append(pairs, "approved", ok.Name+" "+terminal.When(ok.At))
	}
	pairs = append(pairs, "digest", string(r.Digest), "expires", terminal.When(r.Expires))
	if r.Plan != nil {
		if from := r.Plan.Copy; from != nil {
			pairs = append(pairs, "copied from", fmt.Sprintf("%s, serial %d", from.Product, from.Serial))
		}
		pairs = append(pairs, "key", r.Plan.Key, "tests", r.Plan.Gate)
	}
	if err := a.Facts(pairs...); err != nil || r.Plan == nil {
		return err
	}
	return a.printPlan(r.Plan)
}

// printPlan prints all effects of a plan: they are what a digest stands for.
func (a app) printPlan(p *client.Plan) error {
	changes := terminal.NewTable("ACTION", "PACKAGE", "REPOSITORY", "MATCH", "TESTS", "SHA256", "UPDATES")
	records := terminal.NewTable("ACTION", "METADATA", "REPOSITORY", "SHA256")
	counts := terminal.NewTable("REPOSITORY", "PACKAGES NOW", "AFTER", "BYTES MORE")
	for _, r := range p.Repositories {
		for _, ch := range r.Packages {
			changes.Row(ch.Action, ch.NEVRA, r.Path, ch.Match, ch.Tests, string(ch.Digest), ch.Updates)
		}
		for _, rec := range r.Records {
			records.Row(rec.Action, rec.Type, r.Path, string(rec.Digest))
		}
		if r.Metadata != "" {
			records.Row("compress", "by "+r.Metadata, r.Path, "")
		}
		counts.Row(r.Path, terminal.Decimal(r.Before), terminal.Decimal(r.After), terminal.Decimal(r.Bytes))
	}
	for _, path := range p.Dropped {
		counts.Row(path, "all", "the repository goes", "")
	}
	advisories := terminal.NewTable("ADVISORY", "VERSION", "TITLE", "SHA256", "WITHOUT", "BECAUSE")
	for _, i := range p.Items {
		title := i.Title
		if i.Withdraws {
			title = "withdrawn: " + title
		}
		advisories.Row(i.Name, terminal.Decimal(i.Version), title, string(i.Digest), strings.Join(i.Missing, " "), i.Force)
	}
	skipped := terminal.NewTable("SKIPPED", "WHY")
	for _, s := range p.Skipped {
		skipped.Row(s.Name, s.Reason)
	}
	files := terminal.NewTable("ACTION", "FILE", "SIGNED", "SHA256")
	for _, f := range p.Files {
		signed := ""
		if f.Sign {
			signed = "yes"
		}
		files.Row(f.Action, f.Path, signed, string(f.Digest))
	}
	modules := terminal.NewTable("ACTION", "MODULE", "VERSION", "REPOSITORY", "PACKAGES")
	for _, r := range p.Repositories {
		for _, m := range r.Modules {
			modules.Row(cmp.Or(m.Action, "keep"), m.Name+":"+m.Stream, m.Version+":"+m.Context, r.Path, terminal.Decimal(m.Packages))
		}
	}
	left := terminal.NewTable("LEFT OUT", "OF", "WHY")
	for _, l := range p.Left {
		left.Row(l.Package, l.Repository, l.Reason)
	}
	unmet := terminal.NewTable("UNRESOLVED", "REPOSITORY", "NEEDS")
	decisions := terminal.NewTable("DECIDED", "PACKAGE", "TO", "WHY", "BY")
	for _, d := range p.Decisions {
		decisions.Row(d.Action, d.Package, d.To, d.Reason, d.By)
	}
	refusals := terminal.NewTable("REFUSED", "WHY")
	for _, r := range p.Refusals {
		refusals.Row(r.Package, r.Reason)
	}
	notes := terminal.NewTable("NOTES")
	for _, lack := range p.Missing {
		notes.Row(fmt.Sprintf("build %d has packages of platform %s for other arches and none for %s", lack.Build, lack.Platform, ask.Words(lack.Arches)))
	}
	if p.Why != "" {
		notes.Row("rolled back because: " + p.Why)
	}
	for _, n := range p.Notes {
		notes.Row(n)
	}
	if cl := p.Closure; cl != nil {
		for _, b := range cl.Broken {
			unmet.Row(b.Package, b.Repository, strings.Join(b.Needs, ", "))
		}
		for _, b := range cl.Unknown {
			notes.Row(fmt.Sprintf("%s in %s needs %s, which is there or not: no metadata lists such paths", b.Package, b.Repository, strings.Join(b.Needs, ", ")))
		}
		if cl.More > 0 {
			notes.Row(fmt.Sprintf("%d more packages would lack something", cl.More))
		}
	}
	for _, t := range []*terminal.Table{decisions, advisories, skipped, changes, modules, records, files, counts, left, refusals, unmet, notes} {
		if err := a.Section(t); err != nil {
			return err
		}
	}
	return nil
}

// approveRelease sends the digest of what it has shown, and nothing else.
func (a app) approveRelease(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
	doc, err := cl.Release(c.Context, id)
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		if err := a.printRelease(doc.Value); err != nil {
			return err
		}
	}
	if doc, err = cl.ApproveRelease(c.Context, id, doc.Value.Digest); err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	r := doc.Value
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	if r.Approved {
		return a.Say("release %d is approved as %s; publish it with: albs release publish %d --wait", id, r.Digest.Short(), id)
	}
	return a.Say("release %d has %d of %d approvals as %s", id, len(r.Approvals), r.Needed, r.Digest.Short())
}

func (a app) publishRelease(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
	doc, err := cl.PublishRelease(c.Context, id)
	if err != nil {
		return err
	}
	return a.finish(c, cl, doc)
}

func (a app) cancelRelease(c *urfave.Context, cl *client.Client, id albs.ReleaseID) error {
	doc, err := cl.CancelRelease(c.Context, id)
	if err != nil {
		return err
	}
	r := doc.Value
	if r.Status == client.ReleaseInProgress {
		return a.Result(c, doc.JSON, "release %d ends as soon as the releaser has stopped; see: albs release show %d", r.ID, r.ID)
	}
	return a.Result(c, doc.JSON, "release %d is %s; publish it again with: albs release publish %d", r.ID, r.State, r.ID)
}

// rollback takes back the release that a product shows, which the argument names
// by its number or by the product.
func (a app) rollback(c *urfave.Context, cl *client.Client) error {
	arg := c.Args().First()
	if c.IsSet("to") {
		return a.rollbackTo(c, cl, arg)
	}
	release, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		now, err := shown(c.Context, cl, arg)
		if err != nil {
			return err
		}
		release = int64(now.ID)
	}
	doc, err := a.revert(c, cl, albs.ReleaseID(release))
	if err != nil {
		return err
	}
	return a.finish(c, cl, doc)
}

// revert takes back the release that a product shows; with a reason it is the same as
// bringing back the serial before.
func (a app) revert(c *urfave.Context, cl *client.Client, id albs.ReleaseID) (client.Doc[client.Release], error) {
	if c.String("reason") == "" {
		return cl.RevertRelease(c.Context, id)
	}
	doc, err := cl.Release(c.Context, id)
	if err != nil {
		return doc, err
	}
	r := doc.Value
	if r.Status != client.ReleaseCompleted || r.From == 0 {
		return cl.RevertRelease(c.Context, id) // which says what is in the way
	}
	return cl.RollbackProduct(c.Context, r.Product.Name, r.Serial, r.From, c.String("reason"))
}

// rollbackTo brings back what a product showed at the serial that --to names.
func (a app) rollbackTo(c *urfave.Context, cl *client.Client, product string) error {
	now, err := shown(c.Context, cl, product)
	if err != nil {
		return err
	}
	doc, err := cl.RollbackProduct(c.Context, product, now.Serial, c.Int64("to"), c.String("reason"))
	if err != nil {
		return err
	}
	return a.finish(c, cl, doc)
}

// shown returns the release that a product shows: the public one with the highest
// serial.
func shown(ctx context.Context, cl *client.Client, product string) (client.Release, error) {
	var found client.Release
	for page, seen := 1, 0; ; page++ {
		doc, err := cl.Releases(ctx, client.ReleaseQuery{Page: page, Product: product, Status: client.ReleaseCompleted})
		if err != nil {
			return found, err
		}
		for _, r := range doc.Value.Releases {
			if r.Serial > found.Serial {
				found = r
			}
		}
		if seen += len(doc.Value.Releases); len(doc.Value.Releases) == 0 || seen >= doc.Value.Total {
			break
		}
	}
	if found.ID == 0 {
		return found, albs.Errorf(albs.NotFound, "product %q has no public release that could be rolled back", product)
	}
	return found, nil
}

// finish prints a release that has begun to be made public, or waits for its end.
func (a app) finish(c *urfave.Context, cl *client.Client, doc client.Doc[client.Release]) error {
	r := doc.Value
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "release %d of product %s is %s; see how it goes with: albs release show %d", r.ID, r.Product.Name, r.State, r.ID)
	}
	m := a.NewMeter()
	goesOn := fmt.Sprintf("release %d goes on: albs release show %d", r.ID, r.ID)
	err := a.Until(c.Context, cl, fmt.Sprintf("release:%d", r.ID), m, goesOn, func(ctx context.Context) (bool, error) {
		next, err := cl.Release(ctx, r.ID)
		if err != nil {
			return false, err
		}
		doc = next
		m.Now(fmt.Sprintf("release %d of product %s: %s%s", r.ID, r.Product.Name, doc.Value.State, ask.Because(doc.Value.Reason)))
		return doc.Value.Status != client.ReleaseInProgress, nil
	})
	if err != nil {
		return err
	}
	r = doc.Value
	if r.Status != client.ReleaseCompleted {
		err = fmt.Errorf("release %d of product %s is not public: it is %s%s", r.ID, r.Product.Name, r.State, ask.Because(r.Reason))
	}
	return a.Outcome(c, doc.JSON, err, "release %d of product %s is public: serial %d", r.ID, r.Product.Name, r.Serial)
}
