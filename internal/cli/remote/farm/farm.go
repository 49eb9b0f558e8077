// Package farm has the commands of those who run the farm: people and their tokens, workers, the
// queue, and what is removed.
package farm

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	users := ask.Listed("albs user list shows all", a.userCommand())
	users.Subcommands = append(users.Subcommands, a.userKeyCommand()) // which has a list of its own
	return []*urfave.Command{
		users,
		a.tokenCommand(),
		ask.Listed("albs worker list shows all", a.workerCommand()),
		a.queueCommand(),
		a.gcCommand(),
	}
}
