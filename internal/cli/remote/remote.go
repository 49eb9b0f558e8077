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
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// DefaultURL is the server where the environment names none: albs serve's own
// default.
const DefaultURL = "http://127.0.0.1:8080"

// App has the commands of one run of the command line.
type App struct {
	*terminal.Terminal
	poll   time.Duration // between two looks at what is waited for, when no event says that it moved
	gap    time.Duration // at least this between two looks
	retry  time.Duration // before a question is asked again that the server didn't answer
	outage time.Duration // how long waiting outlasts a server that doesn't answer
}

// New returns the commands for t.
func New(t *terminal.Terminal) *App {
	return &App{Terminal: t, poll: 2 * time.Second, gap: 200 * time.Millisecond, retry: client.DefaultPatience.Pause, outage: 5 * time.Minute}
}

// Commands returns the commands in the order of their use.
func (a *App) Commands() []*urfave.Command {
	return []*urfave.Command{
		a.platformCommand(), a.productCommand(),
		a.buildCommand(), a.keyCommand(), a.signCommand(), a.releaseCommand(),
		a.artifactCommand(), a.trustCommand(),
		a.userCommand(), a.tokenCommand(), a.workerCommand(),
	}
}

// Explain puts err into words that say what to do next.
func (a *App) Explain(err error) string {
	if away, ok := errors.AsType[*client.Unreached](err); ok && errors.Is(err, albs.Unavailable) {
		return "no server answers at " + away.URL + " (" + away.Err.Error() + "); start one with \"albs serve\", or set ALBS_URL to its address"
	}
	if albs.KindOf(err) == albs.Unauthenticated {
		if token, _ := a.token(); token == "" {
			return "the server wants to know who you are: set ALBS_TOKEN, or write a token to ~/.config/albs/token (mode 0600); " +
				"\"albs serve\" prints an admin's at its first start, \"albs token create\" makes others"
		}
		return "the server doesn't take the token (" + err.Error() + "); an admin makes a new one with \"albs token create --user NAME\""
	}
	return err.Error()
}

// jsonOr prints json, unless there is an error.
func (a *App) jsonOr(json []byte, err error) error {
	if err != nil {
		return err
	}
	return a.PrintJSON(json)
}
