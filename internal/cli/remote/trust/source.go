package trust

import (
	"context"
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

func (a app) sourceCommand() *urfave.Command {
	return &urfave.Command{
		Name:        "source",
		Usage:       "git commits: which are notarized, and have them notarized",
		Description: "A source is verified where the ledger proves that its commit is in the history of a branch or tag of its repository.",
		Subcommands: []*urfave.Command{
			ask.Answers(&urfave.Command{
				Name: "notarize", Usage: "notarize the commits of branches and tags", ArgsUsage: "URL [REF…] [--all] [--without-upstream] [--wait]",
				Description: "Each REF is a branch, a tag or a pattern of such, as 'imports/c9/*'. All commits that led to it are notarized, as far as they aren't.\n" +
					"URL is spelled as builds spell it. A tag that changes another one, as changed/a9/X.alma does imports/c9/X, wants that notarized too:\n" +
					"name both, or go on with --without-upstream, which is stated with the commit.\n" +
					"For example: albs source notarize https://git.almalinux.org/rpms/bash.git imports/c9/bash-5.1.8-9.el9 changed/a9/bash-5.1.8-9.el9.alma.1 --wait",
				Flags: []urfave.Flag{
					&urfave.BoolFlag{Name: "all", Usage: "every branch and tag, in place of REF"},
					&urfave.BoolFlag{Name: "without-upstream", Usage: "go on where what a tag changes isn't notarized"},
					terminal.WaitFlag("the commits are stated"),
				},
				Action: terminal.Action(1, 201, a.notarize),
			}),
			ask.Answers(&urfave.Command{
				Name: "list", Usage: "list repositories of which commits are notarized, or a repository's commits", ArgsUsage: "[URL] [--refs] [--after URL | --before ID]",
				Description: "A page has up to 100 entries; --after and --before take the last one's URL or ID for the next.\n" +
					"For example: albs source list https://git.almalinux.org/rpms/bash.git --refs",
				Flags: []urfave.Flag{
					&urfave.BoolFlag{Name: "refs", Usage: "what the refs of the repository named, in place of its commits"},
					&urfave.StringFlag{Name: "after", Usage: "only repositories behind `URL`"},
					&urfave.Int64Flag{Name: "before", Usage: "only entries of a repository with an id lower than `ID`"},
				},
				Action: a.Asks(0, 1, a.listSources),
			}),
			ask.Listed("albs source list URL tells which are notarized", ask.Answers(&urfave.Command{
				Name: "show", Usage: "show a notarized commit and what is stated of it", ArgsUsage: "URL COMMIT",
				Description: "COMMIT is the full id. SHA256 is of the commit's object: git cat-file commit COMMIT | sha256sum.\n" +
					"For example: albs source show https://git.almalinux.org/rpms/bash.git 0123456789abcdef0123456789abcdef01234567",
				Action: ask.Shows(a.App, 2, func(c *urfave.Context, cl *client.Client) (client.Doc[client.SourceCommit], error) {
					return cl.SourceCommit(c.Context, c.Args().First(), c.Args().Get(1))
				}, a.showCommit),
			})),
		},
	}
}

func (a app) notarize(c *urfave.Context) error {
	n := client.NewNotarization{Repository: c.Args().First(), Refs: c.Args().Tail(), All: c.Bool("all"), WithoutUpstream: c.Bool("without-upstream")}
	if n.All == (len(n.Refs) > 0) {
		return terminal.Misused(c, "name branches or tags, or say --all, and not both")
	}
	cl, err := a.Connect()
	if err != nil {
		return err
	}
	doc, err := cl.Notarize(c.Context, n)
	if err != nil {
		return err
	}
	if !c.Bool("wait") {
		return a.Result(c, doc.JSON, "task %d notarizes %d refs; albs source list %s tells what came of it", doc.Value.Task, len(doc.Value.Refs), n.Repository)
	}
	m, task := a.NewMeter(), doc.Value.Task
	err = a.Until(c.Context, cl, "sources", m, "it goes on all the same: albs source list "+n.Repository, func(ctx context.Context) (bool, error) {
		var err error
		if doc, err = cl.Notarization(ctx, task); err != nil {
			return false, err
		}
		m.Now(fmt.Sprintf("%s: %s", watch.State(doc.Value.State, 0), doc.Value.Progress))
		return doc.Value.State.Final(), nil
	})
	if err != nil {
		return err
	}
	if doc.Value.State != albs.TaskSucceeded {
		err = fmt.Errorf("task %d is %s%s", task, doc.Value.State, ask.Because(doc.Value.Reason))
	}
	return a.Outcome(c, doc.JSON, err, "%d refs are notarized: %s", len(doc.Value.Refs), doc.Value.Progress)
}

func (a app) listSources(c *urfave.Context, cl *client.Client) error {
	url := c.Args().First()
	switch {
	case url == "" && (c.Bool("refs") || c.IsSet("before")), url != "" && c.IsSet("after"):
		return terminal.Misused(c, "--refs and --before go with a URL, and --after goes without")
	case url == "":
		doc, err := cl.SourceRepositories(c.Context, c.String("after"))
		if err != nil || c.Bool("json") {
			return a.JSONOr(doc.JSON, err)
		}
		t := terminal.NewTable("REPOSITORY", "COMMITS", "LAST NOTARIZED")
		for _, r := range doc.Value {
			t.Row(r.URL, terminal.Decimal(r.Commits), terminal.When(r.Last))
		}
		return a.Table(t, "no commit is notarized yet; albs source notarize URL REF has one notarized")
	case c.Bool("refs"):
		doc, err := cl.SourceRefs(c.Context, url, c.Int64("before"))
		if err != nil || c.Bool("json") {
			return a.JSONOr(doc.JSON, err)
		}
		t := terminal.NewTable("ID", "TIME", "REF", "COMMIT", "BEFORE", "HISTORY", "BY")
		for _, r := range doc.Value {
			history := ""
			if r.Rewritten {
				history = "REWRITTEN"
			}
			t.Row(terminal.Decimal(r.ID), terminal.When(r.At), r.Ref, r.Commit, r.Previous, history, r.Actor)
		}
		return a.Table(t, "no ref of it is notarized")
	}
	doc, err := cl.SourceCommits(c.Context, url, c.Int64("before"))
	if err != nil || c.Bool("json") {
		return a.JSONOr(doc.JSON, err)
	}
	t := terminal.NewTable("ID", "COMMIT", "STANDING", "NOTARIZED", "REF", "AUTHOR", "TITLE")
	for _, s := range doc.Value {
		t.Row(terminal.Decimal(s.ID), s.Commit, s.Standing, terminal.When(s.NotarizedAt), s.Ref, s.Author, s.Title)
	}
	return a.Table(t, "no commit of it is notarized; albs source notarize URL REF has some notarized")
}

func (a app) showCommit(v client.SourceCommit) error {
	pairs := []string{
		"repository", v.Repository, "commit", v.Commit, "title", v.Title, "author", v.Author, "committed", terminal.When(v.CommittedAt),
		"sha256", string(v.SHA256), "standing", v.Standing,
	}
	for _, s := range v.Statements {
		p := s.Statement.Predicate
		said := fmt.Sprintf("%s, at %s of %s, asked for by %s", s.Standing, p.Ref, p.Repository, p.Requester)
		if s.Receipt != nil {
			said += ", tx " + terminal.Decimal(s.Receipt.TxID)
		}
		if s.Trouble != "" {
			said += ", " + s.Trouble
		}
		pairs = append(pairs, "stated "+terminal.When(s.At), said)
		if p.Upstream != nil {
			pairs = append(pairs, "changes", p.Upstream.Ref+" "+p.Upstream.Commit)
		}
		if p.WithoutUpstream != "" {
			pairs = append(pairs, "changes", p.WithoutUpstream+", which was not notarized")
		}
		if p.Rewritten {
			pairs = append(pairs, "history", "rewritten: the ref named "+p.Previous+" before")
		}
		if p.Record != "" {
			pairs = append(pairs, "ALBS's record", string(p.Record))
		}
	}
	return a.Facts(pairs...)
}
