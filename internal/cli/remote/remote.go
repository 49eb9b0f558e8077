// Package remote has the commands that ask a server: what people do with packages,
// and what admins keep.
//
// They go through internal/client alone and know no more than the API tells. Every
// command that reads has --json, which prints the API's own answer. What the commands
// have in common is in ask.
package remote

import (
	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/approval"
	"albs/internal/cli/remote/ask"
	"albs/internal/cli/remote/builds"
	"albs/internal/cli/remote/catalog"
	"albs/internal/cli/remote/errata"
	"albs/internal/cli/remote/farm"
	"albs/internal/cli/remote/notice"
	"albs/internal/cli/remote/releases"
	"albs/internal/cli/remote/tests"
	"albs/internal/cli/remote/trust"
)

// Commands returns the commands in the order of their use.
func Commands(a *ask.App) []*urfave.Command {
	var all []*urfave.Command
	for _, group := range []func(*ask.App) []*urfave.Command{
		catalog.Commands, builds.Commands, tests.Commands, releases.Commands, advisories, notice.Commands, approval.Commands, trust.Commands, farm.Commands,
	} {
		all = append(all, group(a)...)
	}
	return all
}

func advisories(a *ask.App) []*urfave.Command { return errata.Commands(a, releases.Errata(a)...) }
