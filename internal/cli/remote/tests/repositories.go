package tests

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

const repositoryID = "test repository"

const perPage = 100 // mappings and results, as the API lists them

func (a app) repositoryCommand() *urfave.Command {
	return ask.Listed("albs test repository list shows all", &urfave.Command{
		Name:  "repository",
		Usage: "repositories in git that have tests of packages",
		Description: "A folder tests the package that its name says after the prefix, those that common/test_rules.json says in the folder of tests, and those that you map.\n" +
			"Every build is tested by one commit of each: what a repository's ref names when its packages are tested first.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list test repositories",
				Description: "They are listed by name, with how many packages and patterns each maps, and why it can't be scanned, if so.",
				Action: ask.Shows(a.App, 0, func(c *urfave.Context, cl *client.Client) (client.Doc[[]client.TestRepository], error) {
					return cl.TestRepositories(c.Context)
				}, a.listRepositories),
			}),
			ask.Answers(&urfave.Command{
				Name: "add", Usage: "register a test repository", ArgsUsage: "NAME URL [--ref REF] [--dir DIR/] [--prefix PREFIX] [--team TEAM]",
				Description: "It is scanned first: what can't be had isn't registered. URL is https, without credentials.\n" +
					"For example: albs test repository add core https://git.example.org/tests.git --ref main --dir tests/ --prefix p_ --team core",
				Flags:  repositoryFlags(false),
				Action: terminal.Action(2, 2, a.addRepository),
			}),
			ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a test repository and what it maps", ArgsUsage: "ID [--search TEXT] [--page N]",
				Description: "What it maps is listed by package, a hundred a page. With --json only that is shown.",
				Flags:       []urfave.Flag{&urfave.StringFlag{Name: "search", Usage: "only what has `TEXT` in the package or the folder"}, ask.PageFlag()},
				Action:      ask.Numbered(a.App, repositoryID, 1, a.showRepository),
			}),
			ask.Answers(&urfave.Command{
				Name: "edit", Usage: "change a test repository, and scan it", ArgsUsage: "ID [--name NAME] [--url URL] [--ref REF] [--dir DIR/] [--prefix PREFIX] [--team TEAM]",
				Description: "What isn't named stays. Nothing is changed if it can't be scanned then.",
				Flags:       repositoryFlags(true),
				Action:      ask.Numbered(a.App, repositoryID, 1, a.editRepository),
			}),
			ask.Answers(&urfave.Command{
				Name: "scan", Usage: "look at a test repository now", ArgsUsage: "ID",
				Description: "It is scanned once an hour, and before packages are tested, too. What you mapped yourself stays.",
				Action:      ask.Numbered(a.App, repositoryID, 1, a.scanRepository),
			}),
			{
				Name: "remove", Usage: "remove a test repository with what it maps", ArgsUsage: "ID",
				Description: "Packages that are built from then on aren't tested by it.",
				Action: ask.Numbered(a.App, repositoryID, 1, func(c *urfave.Context, cl *client.Client, id int64) error {
					if err := cl.RemoveTestRepository(c.Context, id); err != nil {
						return err
					}
					return a.Say("test repository %d is removed", id)
				}),
			},
			ask.Answers(&urfave.Command{
				Name: "map", Usage: "have packages tested by a folder", ArgsUsage: "ID FOLDER PACKAGE [PACKAGE…] [--patterns]",
				Description: "FOLDER lies in the repository's folder of tests. Of the packages all are mapped, or none.\n" +
					"For example: albs test repository map 3 p_python 'python3\\..*' --patterns",
				Flags:  []urfave.Flag{&urfave.BoolFlag{Name: "patterns", Usage: "each PACKAGE is a pattern (RE2) of whole names"}},
				Action: several(3, ask.Numbered(a.App, repositoryID, -1, a.mapTests)),
			}),
			{
				Name: "unmap", Usage: "have packages tested by a folder no more", ArgsUsage: "ID MAPPING [ID…]",
				Description: "MAPPING is an id, as albs test repository show shows it. What a scan found, the next one brings back.\n" +
					"For example: albs test repository unmap 3 17 18",
				Action: several(2, ask.Numbered(a.App, repositoryID, -1, a.unmapTests)),
			},
		},
	})
}

// maxMore is how many arguments a command takes beyond those that it has to have.
const maxMore = 200

// several is do with at least so many arguments.
func several(least int, do urfave.ActionFunc) urfave.ActionFunc {
	return terminal.Action(least, least+maxMore, do)
}

func repositoryFlags(all bool) []urfave.Flag {
	flags := []urfave.Flag{
		&urfave.StringFlag{Name: "ref", Usage: "the branch, tag or commit `REF` is tested by; HEAD without this"},
		&urfave.StringFlag{Name: "dir", Usage: "the folders lie in `DIR/`, with a slash at its end"},
		&urfave.StringFlag{Name: "prefix", Usage: "their names begin with `PREFIX`, before that of a package"},
		&urfave.StringFlag{Name: "team", Usage: "`TEAM` may change it; without one operators may"},
	}
	if all {
		flags = append(flags, &urfave.StringFlag{Name: "name", Usage: "it is called `NAME`"}, &urfave.StringFlag{Name: "url", Usage: "it is at `URL`"})
	}
	return flags
}

// given returns what the flags say of a repository.
func given(c *urfave.Context) client.NewTestRepository {
	flag := func(name string) *string {
		if !c.IsSet(name) {
			return nil
		}
		s := c.String(name)
		return &s
	}
	return client.NewTestRepository{Name: flag("name"), URL: flag("url"), Ref: flag("ref"), Dir: flag("dir"), Prefix: flag("prefix"), Team: flag("team")}
}

func (a app) listRepositories(all []client.TestRepository) error {
	t := terminal.NewTable("ID", "NAME", "TEAM", "URL", "REF", "MAPS", "SCANNED", "FAILURE")
	for _, r := range all {
		t.Row(terminal.Decimal(r.ID), r.Name, r.Team, r.URL, r.Ref, terminal.Decimal(r.Total), terminal.When(r.ScannedAt), r.Failure)
	}
	return a.Table(t, "there is no test repository")
}

func (a app) addRepository(c *urfave.Context) error {
	n := given(c)
	name, url := c.Args().First(), c.Args().Get(1)
	n.Name, n.URL = &name, &url
	if n.Dir == nil {
		n.Dir = new(string)
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.AddTestRepository(c.Context, n)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "test repository %d, %s, maps %d packages at commit %.12s", doc.Value.ID, doc.Value.Name, doc.Value.Total, doc.Value.Commit)
}

func (a app) showRepository(c *urfave.Context, cl *client.Client, id int64) error {
	page := c.Int("page")
	if page < 1 {
		return terminal.Misused(c, "--page %d: pages are counted from 1", page)
	}
	mapped, err := cl.TestMappings(c.Context, id, c.String("search"), page)
	if err != nil || c.Bool("json") {
		return a.JSONOr(mapped.JSON, err)
	}
	doc, err := cl.TestRepository(c.Context, id)
	if err != nil {
		return err
	}
	r := doc.Value
	err = a.Facts("repository", r.Name, "url", r.URL, "ref", r.Ref, "folder", r.Dir, "prefix", r.Prefix, "team", r.Team,
		"commit", r.Commit, "scanned", terminal.When(r.ScannedAt), "failure", r.Failure, "maps", terminal.Decimal(r.Total))
	if err != nil {
		return err
	}
	t := terminal.NewTable("ID", "PACKAGE", "FOLDER", "BY")
	for _, m := range mapped.Value.Packages {
		pkg, by := m.Package, "hand"
		if m.Regex != "" {
			pkg = "/" + m.Regex + "/"
		}
		if m.Scanned {
			by = "scan"
		}
		t.Row(terminal.Decimal(m.ID), pkg, m.Folder, by)
	}
	if t.Empty() {
		return a.Note("nothing is mapped that has this")
	}
	if err := a.Section(t); err != nil {
		return err
	}
	if total := mapped.Value.Total; (page-1)*perPage+t.Rows() < total {
		return a.Note("%d of %d; more: --page %d", t.Rows(), total, page+1)
	}
	return nil
}

func (a app) editRepository(c *urfave.Context, cl *client.Client, id int64) error {
	n := given(c)
	if n == (client.NewTestRepository{}) {
		return terminal.Misused(c, "there is nothing to change")
	}
	doc, err := cl.EditTestRepository(c.Context, id, n)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "test repository %d, %s, maps %d packages at commit %.12s", id, doc.Value.Name, doc.Value.Total, doc.Value.Commit)
}

func (a app) scanRepository(c *urfave.Context, cl *client.Client, id int64) error {
	doc, err := cl.ScanTestRepository(c.Context, id)
	if err != nil {
		return err
	}
	if r := doc.Value; r.Failure != "" {
		return a.Outcome(c, doc.JSON, albs.Errorf(albs.Unavailable, "test repository %s can't be scanned: %s", r.Name, r.Failure), "")
	}
	return a.Result(c, doc.JSON, "test repository %s maps %d packages at commit %.12s: %d are new, %d are gone",
		doc.Value.Name, doc.Value.Total, doc.Value.Commit, doc.Value.Added, doc.Value.Removed)
}

func (a app) mapTests(c *urfave.Context, cl *client.Client, id int64) error {
	args := c.Args().Slice()
	var all []client.TestMapping
	for _, pkg := range args[2:] {
		m := client.TestMapping{Package: pkg, Folder: args[1]}
		if c.Bool("patterns") {
			m.Package, m.Regex = "", pkg
		}
		all = append(all, m)
	}
	doc, err := cl.MapTests(c.Context, id, all)
	if err != nil {
		return err
	}
	return a.Result(c, doc.JSON, "%d of %d are new: %s tests %s", doc.Value.Added, len(all), args[1], strings.Join(args[2:], ", "))
}

func (a app) unmapTests(c *urfave.Context, cl *client.Client, id int64) error {
	args := c.Args().Slice()
	var ids []int64
	for _, s := range args[1:] {
		n, err := terminal.Number(c, "mapping", s)
		if err != nil {
			return err
		}
		ids = append(ids, n)
	}
	if err := cl.UnmapTests(c.Context, id, ids); err != nil {
		return err
	}
	return a.Say("%s no more in test repository %d", strings.Join(args[1:], ", "), id)
}
