// Immudb is an immudb server for tests: on loopback, with nothing else of immudb's on.
// It prints its address once it serves, and ends by a signal.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/codenotary/immudb/embedded/logger"
	"github.com/codenotary/immudb/pkg/server"
)

func main() {
	dir := flag.String("dir", "", "where the server keeps its data")
	port := flag.Int("port", 0, "the port on loopback; a free one if 0")
	key := flag.String("signing-key", "", "a file with an ECDSA key to sign states with")
	password := flag.String("password-file", "", "a file with the password that the user immudb gets")
	flag.Parse()
	if err := run(*dir, *port, *key, *password); err != nil {
		fmt.Fprintln(os.Stderr, "immudb:", err)
		os.Exit(1)
	}
}

func run(dir string, port int, key, passwordFile string) error {
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	o := server.DefaultOptions().
		WithDir(dir).WithAddress("127.0.0.1").WithPort(port).WithAdminPassword(strings.TrimSpace(string(password))).WithSigningKey(key).
		WithLogFormat("json"). // or it prints a picture
		WithMetricsServer(false).WithWebServer(false).WithPgsqlServer(false).WithPProf(false).
		WithGRPCReflectionServerEnabled(false).WithSwaggerUIEnabled(false)
	log, err := logger.NewLogger(&logger.Options{Name: "immudb", LogFormat: logger.LogFormatJSON, Level: logger.LogWarn})
	if err != nil {
		return err
	}
	s := server.DefaultServer().WithOptions(o).WithLogger(log)
	if err := s.Initialize(); err != nil {
		return err
	}
	fmt.Println("albs-test-immudb", s.(*server.ImmuServer).Listener.Addr())
	return s.Start() // ends by SIGINT and SIGTERM, too
}
