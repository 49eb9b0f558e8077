package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/terminal"
	"albs/internal/worker/signer"
)

// release is the version that make release gives the program by the linker.
var release string

// version is the program's: that of its release, the module's, or the commit that it was
// built from.
var version = func() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}()

// ledgers are the ledgers that the program can keep its statements in.
const ledgers = "embedded, immudb server"

// pkcs11 says whether a signer can have keys in a PKCS#11 token.
func pkcs11() string {
	if signer.PKCS11 {
		return "with"
	}
	return "without"
}

func (a *app) versionCommand() *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "print the program's version, for which system it is, which ledgers it has, and whether it knows PKCS#11",
		ArgsUsage:   "[--json]",
		Description: "It asks no server. A program of make release says the release's version, another the commit that it was built from.",
		Flags:       []urfave.Flag{terminal.JSONFlag()},
		Action: terminal.Action(0, 0, func(c *urfave.Context) error {
			if c.Bool("json") {
				b, err := json.Marshal(map[string]string{"version": version, "os": runtime.GOOS, "arch": runtime.GOARCH, "ledger": ledgers, "pkcs11": pkcs11()})
				if err != nil {
					return fmt.Errorf("print the version: %w", err)
				}
				return a.PrintJSON(b)
			}
			return a.Say("albs %s %s/%s, ledger: %s, PKCS#11: %s", version, runtime.GOOS, runtime.GOARCH, ledgers, pkcs11())
		}),
	}
}
