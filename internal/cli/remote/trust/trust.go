// Package trust has the commands about what is known of a file, and whom a verifier has to trust.
package trust

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{
		ask.Listed("albs build show lists a build's files", a.artifactCommand()),
		a.traceCommand(),
		a.rebuildCommand(),
		ask.Listed("albs product list shows all products", a.trustCommand()),
		a.transparencyCommand(),
		a.sourceCommand(),
		a.ledgerCommand(),
	}
}
