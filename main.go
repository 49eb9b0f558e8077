// Command albs builds, tests, signs and releases RPM packages: the server in every
// role, and the client.
package main

import (
	"os"

	"albs/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
