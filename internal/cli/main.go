// Package cli is the command line of the one binary: its tree of commands, what starts
// the server's roles, and what checks files without a server.
//
// What a person sees of any command is cli/terminal's; what asks a server is in
// cli/remote.
//
// Exit codes: 0 done; 1 failed, refused or broken off; 2 the command line is wrong.
// verify alone has 3 and up, one for each link of the chain that may be broken
// (attest.Link).
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/cli/verify"
	"albs/internal/worker/node"
	"albs/internal/worker/tester"
)

// Main runs one command line (args[0] is the program) until it is done, or told to
// end by SIGINT or SIGTERM, and returns the process's exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	node.MaybeInit()   // the process may be a sandbox's helper: then this is its end
	tester.MaybeInit() // or what runs in a machine
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, ask.New(&terminal.Terminal{
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Getenv: os.Getenv, Now: time.Now, Width: terminal.Width,
	}), args)
}

func run(ctx context.Context, r *ask.App, args []string) int {
	return r.Run(ctx, root(r), args, r.Explain)
}

// app has the commands of one run that need no server, or don't always.
type app struct {
	*terminal.Terminal
	server *ask.App
}

// root is the command tree.
func root(r *ask.App) *urfave.App {
	a := &app{r.Terminal, r}
	commands := []*urfave.Command{a.serveCommand(), a.configCommand(), a.dbCommand()}
	commands = append(commands, remote.Commands(r)...)
	return &urfave.App{
		Name:        "albs",
		Usage:       "builds, tests, signs and releases RPM packages",
		UsageText:   "albs COMMAND …   (albs COMMAND --help tells more)",
		Description: "The server is ALBS_URL, " + ask.DefaultURL + " if unset. A token comes from ALBS_TOKEN or from the file ~/.config/albs/token (mode 0600).",
		Commands:    append(commands, verify.Command(r.Terminal), a.sbomCommand(), a.versionCommand()),
	}
}
