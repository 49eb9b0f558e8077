// Package remote has the commands that ask a server: what people do with packages,
// and what admins keep.
//
// They go through internal/client alone and know no more than the API tells. Every
// command that reads has --json, which prints the API's own answer. Which server and
// as whom, the environment says: ALBS_URL and ALBS_TOKEN, or a token file that nobody
// else may read.
package remote

import (
	"errors"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/cli/watch"
	"albs/internal/client"
)

// App has the commands of one run of the command line.
type App struct {
	*watch.Watch
	Retry time.Duration // before a question is asked again that the server didn't answer
}

// New returns the commands for t.
func New(t *terminal.Terminal) *App {
	return &App{Watch: watch.New(t), Retry: client.DefaultPatience.Pause}
}

// Commands returns the commands in the order of their use.
func (a *App) Commands() []*urfave.Command {
	return []*urfave.Command{
		listed("albs platform list shows all", a.platformCommand()),
		listed("albs flavour list shows all", a.flavourCommand()),
		listed("albs product list and albs platform list show what there is", a.productCommand()),
		listed("albs product list and albs product show tell what there is", a.repoCommand()),
		a.buildCommand(),
		listed("albs key list shows all", a.keyCommand()),
		listed("albs build list and albs key list show what there is", a.signCommand()),
		a.releaseCommand(),
		listed("albs build show lists a build's files", a.artifactCommand()),
		a.trustCommand(),
		listed("albs user list shows all", a.userCommand()),
		a.tokenCommand(),
		listed("albs worker list shows all", a.workerCommand()),
		a.queueCommand(),
		a.gcCommand(),
	}
}

// answers adds --json to a command whose result is the server's answer.
func answers(c *urfave.Command) *urfave.Command {
	c.ArgsUsage = strings.TrimLeft(c.ArgsUsage+" [--json]", " ")
	c.Flags = append(c.Flags, terminal.JSONFlag())
	return c
}

// listed has a command, or all of a group, name the command that lists what there is
// beside the error of something that there isn't.
func listed(by string, c *urfave.Command) *urfave.Command {
	for _, sub := range c.Subcommands {
		listed(by, sub)
	}
	if do := c.Action; do != nil {
		c.Action = func(c *urfave.Context) error {
			err := do(c)
			if errors.Is(err, albs.NotFound) {
				return albs.Errorf(albs.NotFound, "%w; %s", err, by)
			}
			return err
		}
	}
	return c
}

// asks is the action of a command with from least to most arguments (see
// terminal.Action) that does something at the server.
func (a *App) asks(least, most int, do func(*urfave.Context, *client.Client) error) urfave.ActionFunc {
	return terminal.Action(least, most, func(c *urfave.Context) error {
		cl, err := a.connect()
		if err != nil {
			return err
		}
		return do(c, cl)
	})
}

// numbered is asks for a thing, a what, whose number is the first argument.
func numbered[N ~int64](a *App, what string, most int, do func(*urfave.Context, *client.Client, N) error) urfave.ActionFunc {
	return terminal.Action(1, most, func(c *urfave.Context) error {
		n, err := terminal.Number(c, what, c.Args().First())
		if err != nil {
			return err
		}
		cl, err := a.connect()
		if err != nil {
			return err
		}
		return do(c, cl, N(n))
	})
}

// shows is the action of a command that asks for one document and shows it: as it
// came with --json, else by show.
func shows[T any](a *App, arguments int, ask func(*urfave.Context, *client.Client) (client.Doc[T], error), show func(T) error) urfave.ActionFunc {
	return a.asks(arguments, arguments, func(c *urfave.Context, cl *client.Client) error {
		doc, err := ask(c, cl)
		if err != nil || c.Bool("json") {
			return a.JSONOr(doc.JSON, err)
		}
		return show(doc.Value)
	})
}

const perPage = 10 // of the API's lists

func pageFlag() urfave.Flag {
	return &urfave.IntFlag{Name: "page", Usage: "the `N`th page, from 1", Value: 1}
}

// pages is the action of a command that lists one page of many: list returns a table
// of it and how many rows all pages have, none is said of an empty one.
func pages[T any](a *App, ask func(c *urfave.Context, cl *client.Client, page int) (client.Doc[T], error), list func(T) (*terminal.Table, int), none string) urfave.ActionFunc {
	return terminal.Action(0, 0, func(c *urfave.Context) error {
		page := c.Int("page")
		if page < 1 {
			return terminal.Misused(c, "--page %d: pages are counted from 1", page)
		}
		cl, err := a.connect()
		if err != nil {
			return err
		}
		doc, err := ask(c, cl, page)
		if err != nil || c.Bool("json") {
			return a.JSONOr(doc.JSON, err)
		}
		t, total := list(doc.Value)
		if err := a.Table(t, none); err != nil {
			return err
		}
		if before := (page - 1) * perPage; !t.Empty() && before+t.Rows() < total {
			return a.Note("%d of %d; more: %s --page %d", t.Rows(), total, c.Command.HelpName, page+1)
		}
		return nil
	})
}

// download saves what get asks the server for in the file that --output names.
func (a *App) download(c *urfave.Context, get func() ([]byte, error)) (int, error) {
	b, err := get()
	if err != nil {
		return 0, err
	}
	return len(b), a.SaveFile(c.String("output"), strings.NewReader(string(b)))
}

func outputFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write, - for stdout"}
}

// outcome ends a command that has waited: with --json it prints the last answer, of
// what failed too; else the sentence, unless there is an error.
func (a *App) outcome(c *urfave.Context, json []byte, err error, format string, args ...any) error {
	if c.Bool("json") {
		return errors.Join(a.PrintJSON(json), err)
	}
	if err != nil {
		return err
	}
	return a.Say(format, args...)
}

// because is a reason behind what happened, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// shorten keeps a list's line readable.
func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, " ")
}

func named(list []client.Named) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Name
	}
	return strings.Join(out, " ")
}

func numbers[T ~int64](list []T) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = fmt.Sprint(int64(n))
	}
	return strings.Join(out, " ")
}
