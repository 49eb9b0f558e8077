// Package ask has what all commands share that ask a server: how they reach it and as
// whom, and the shapes of a command that shows one document, a list, or a wait.
//
// Which server and as whom, the environment says: ALBS_URL and ALBS_TOKEN, or a token
// file that nobody else may read.
package ask

import (
	"encoding/json"
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

// App is one run of the command line: what its commands ask and print through.
type App struct {
	*watch.Watch
	Retry time.Duration // before a question is asked again that the server didn't answer
}

// New returns a run on t.
func New(t *terminal.Terminal) *App {
	return &App{Watch: watch.New(t), Retry: client.DefaultPatience.Pause}
}

// Answers adds --json to a command whose result is the server's answer.
func Answers(c *urfave.Command) *urfave.Command {
	c.ArgsUsage = strings.TrimLeft(c.ArgsUsage+" [--json]", " ")
	c.Flags = append(c.Flags, terminal.JSONFlag())
	return c
}

// Listed has a command, or all of a group, name the command that lists what there is
// beside the error of something that there isn't.
func Listed(by string, c *urfave.Command) *urfave.Command {
	for _, sub := range c.Subcommands {
		Listed(by, sub)
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

// Asks is the action of a command with from least to most arguments (see
// terminal.Action) that does something at the server.
func (a *App) Asks(least, most int, do func(*urfave.Context, *client.Client) error) urfave.ActionFunc {
	return terminal.Action(least, most, func(c *urfave.Context) error {
		cl, err := a.Connect()
		if err != nil {
			return err
		}
		return do(c, cl)
	})
}

// Numbered is Asks for a thing, a what, whose number is the first argument.
func Numbered[N ~int64](a *App, what string, most int, do func(*urfave.Context, *client.Client, N) error) urfave.ActionFunc {
	return terminal.Action(1, most, func(c *urfave.Context) error {
		n, err := terminal.Number(c, what, c.Args().First())
		if err != nil {
			return err
		}
		cl, err := a.Connect()
		if err != nil {
			return err
		}
		return do(c, cl, N(n))
	})
}

// Shows is the action of a command that asks for one document and shows it: as it
// came with --json, else by show.
func Shows[T any](a *App, arguments int, ask func(*urfave.Context, *client.Client) (client.Doc[T], error), show func(T) error) urfave.ActionFunc {
	return a.Asks(arguments, arguments, func(c *urfave.Context, cl *client.Client) error {
		doc, err := ask(c, cl)
		if err != nil || c.Bool("json") {
			return a.JSONOr(doc.JSON, err)
		}
		return show(doc.Value)
	})
}

const perPage = 10 // of the API's lists

// PageFlag is --page of a command that Pages lists.
func PageFlag() urfave.Flag {
	return &urfave.IntFlag{Name: "page", Usage: "the `N`th page, from 1", Value: 1}
}

// Pages is the action of a command that lists one page of many: list returns a table
// of it and how many rows all pages have, none is said of an empty one.
func Pages[T any](a *App, ask func(c *urfave.Context, cl *client.Client, page int) (client.Doc[T], error), list func(T) (*terminal.Table, int), none string) urfave.ActionFunc {
	return terminal.Action(0, 0, func(c *urfave.Context) error {
		page := c.Int("page")
		if page < 1 {
			return terminal.Misused(c, "--page %d: pages are counted from 1", page)
		}
		cl, err := a.Connect()
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

// Download saves what get asks the server for in the file that --output names.
func (a *App) Download(c *urfave.Context, get func() ([]byte, error)) (int, error) {
	b, err := get()
	if err != nil {
		return 0, err
	}
	return len(b), a.SaveFile(c.String("output"), strings.NewReader(string(b)))
}

// OutputFlag is --output of a command that downloads a file.
func OutputFlag() urfave.Flag {
	return &urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write, - for stdout"}
}

// Outcome ends a command that has waited: with --json it prints the last answer, of
// what failed too; else the sentence, unless there is an error.
func (a *App) Outcome(c *urfave.Context, json []byte, err error, format string, args ...any) error {
	if c.Bool("json") {
		return errors.Join(a.PrintJSON(json), err)
	}
	if err != nil {
		return err
	}
	return a.Say(format, args...)
}

// PrintLast prints the outcome of the last run out of a document that tells of runs.
func (a *App) PrintLast(doc []byte) error {
	var runs struct {
		Last json.RawMessage `json:"last"`
	}
	if err := json.Unmarshal(doc, &runs); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return a.PrintJSON(runs.Last)
}

// Because is a reason behind what happened, if there is one.
func Because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// Shorten keeps a list's line readable.
func Shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// Words are the items of a list with a space between.
func Words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, " ")
}

// Named are the names in a list, with a space between.
func Named(list []client.Named) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = n.Name
	}
	return strings.Join(out, " ")
}

// Numbers are the items of a list as digits, with a space between.
func Numbers[T ~int64](list []T) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = fmt.Sprint(int64(n))
	}
	return strings.Join(out, " ")
}

// Arches reads --arch.
func Arches(c *urfave.Context) ([]albs.Arch, error) {
	var out []albs.Arch
	for _, s := range c.StringSlice("arch") {
		arch, err := albs.ParseArch(s)
		if err != nil {
			return nil, terminal.Misused(c, "--arch: %v", err)
		}
		out = append(out, arch)
	}
	return out, nil
}

// About puts the file's name before an error that is about its content.
func About(file string, err error) error {
	if k := albs.KindOf(err); k == albs.Invalid || k == albs.TooLarge {
		return fmt.Errorf("%s: %w", file, err)
	}
	return err
}
