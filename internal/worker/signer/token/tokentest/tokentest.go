// Package tokentest gives tests a PKCS#11 token of SoftHSM2.
package tokentest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"albs/internal/worker/signer/token"
)

// PIN is that of every token.
const PIN = "pin-canary-4711"

// modules are where distributions have the library.
var modules = []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"}

// New makes a token in a folder of its own, which it returns too, for tests to have the
// token vanish. The library has one environment in a process: the test can't be parallel
// with others. Where SoftHSM2 isn't installed it skips.
func New(t *testing.T) (token.Config, string) {
	t.Helper()
	if !token.Built {
		t.Skip("this test was built without PKCS#11 (-tags pkcs11)")
	}
	var module string
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			module = m
		}
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil || module == "" {
		t.Skip("SoftHSM2 is not installed: testdata/setup.sh does it")
	}
	dir := t.TempDir()
	tokens, conf := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nlog.level = ERROR\n", tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	c := token.Config{Module: module, Label: "albs test"}
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", c.Label, "--pin", PIN, "--so-pin", "so-"+PIN).CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util: %v\n%s", err, out)
	}
	return c, tokens
}
