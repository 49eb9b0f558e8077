// Package cli is the command line: every command of the one binary, how it is
// parsed, what it prints and its exit code.
//
// A command that asks a server goes through internal/client alone and knows no
// more than the API tells; results go to stdout, progress and errors to stderr.
// Every command that reads has --json, which prints the API's own answer. What
// the server sends is printed with its control characters removed wherever a
// terminal would obey them.
//
// Exit codes: 0 done; 1 failed, refused or broken off; 2 the command line is
// wrong. verify alone has 3 and up, one for each link of the chain that may be
// broken (attest.Link).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/client"
	"albs/internal/worker/node"
)

// Exit codes. Those of verify are attest.Link's.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is one run of the command line, with all that it takes from its process.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	terminal       func(w any) (width int, ok bool)
	now            func() time.Time
	poll           time.Duration // between two looks at what is waited for, when no event says that it moved
	gap            time.Duration // at least this between two looks
	retry          time.Duration // before a question is asked again that the server didn't answer
	outage         time.Duration // how long waiting outlasts a server that doesn't answer
}

// Main runs one command line (args[0] is the program) until it is done, or told to
// end by SIGINT or SIGTERM, and returns the process's exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	node.MaybeInit() // the process may be a sandbox's helper: then this is its end
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{
		stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, terminal: terminal, now: time.Now,
		poll: 2 * time.Second, gap: 200 * time.Millisecond, retry: client.DefaultPatience.Pause, outage: 5 * time.Minute,
	}
	return a.run(ctx, args)
}

// run parses and does args and puts an error into words.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	if len(args) == 0 {
		args = []string{root.Name}
	}
	err := root.RunContext(ctx, flagsFirst(root, args))
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(a.stderr, "albs: "+printable(a.message(ctx, err)))
	if u, ok := errors.AsType[*usageError](err); ok && u.hint != "" {
		_, _ = fmt.Fprintln(a.stderr, u.hint)
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// root is the command tree.
func (a *app) root() *urfave.App {
	root := &urfave.App{
		Name:                      "albs",
		Usage:                     "builds, tests, signs and releases RPM packages",
		UsageText:                 "albs COMMAND …   (albs COMMAND --help tells more)",
		Description:               "The server is ALBS_URL, " + defaultURL + " if unset. A token comes from ALBS_TOKEN or from the file ~/.config/albs/token (mode 0600).",
		HideHelpCommand:           true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // a URL may hold a comma
		Reader:                    a.stdin,
		Writer:                    a.stdout,
		ErrWriter:                 a.stderr,
		ExitErrHandler:            func(*urfave.Context, error) {}, // run decides
		OnUsageError:              onUsage,
		Action:                    group,
		Commands: []*urfave.Command{
			a.serveCommand(), a.configCommand(), a.dbCommand(),
			a.platformCommand(), a.productCommand(),
			a.buildCommand(), a.keyCommand(), a.signCommand(), a.releaseCommand(),
			a.artifactCommand(), a.verifyCommand(), a.trustCommand(),
			a.userCommand(), a.tokenCommand(), a.workerCommand(),
		},
	}
	prepare(root.Commands, "albs")
	return root
}

// prepare completes every command of the tree: groups explain themselves, and a
// usage error never prints a page of help.
func prepare(cs []*urfave.Command, path string) {
	for _, c := range cs {
		c.HideHelpCommand = true
		c.OnUsageError = onUsage
		for _, f := range c.Flags {
			if b, ok := f.(*urfave.BoolFlag); ok {
				b.DisableDefaultText = true // "(default: false)" is no news
			}
		}
		name := path + " " + c.Name
		if len(c.Subcommands) > 0 {
			c.Action = group
			prepare(c.Subcommands, name)
			continue
		}
		c.UsageText = name
		switch {
		case c.ArgsUsage != "":
			c.UsageText += " " + c.ArgsUsage
		case len(c.Flags) > 0:
			c.UsageText += " [options]"
		}
		// It stands in UsageText; urfave would put it there a second time.
		c.ArgsUsage = " "
	}
}
