// Package catalog has the commands about what packages are built for and where they go: platforms,
// flavours, products and their repositories.
package catalog

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
)

type app struct{ *ask.App }

// Commands returns the commands in the order of their use.
func Commands(on *ask.App) []*urfave.Command {
	a := app{on}
	return []*urfave.Command{
		ask.Listed("albs platform list shows all", a.platformCommand()),
		ask.Listed("albs flavour list shows all", a.flavourCommand()),
		ask.Listed("albs product list and albs platform list show what there is", a.productCommand()),
		ask.Listed("albs product list and albs product show tell what there is", a.repoCommand()),
	}
}
