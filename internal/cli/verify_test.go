package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/attest"
	"albs/internal/cli/terminal"
)

// TestVerifyFails wants verification to fail without a server, with the code of
// the link that is broken. What Verify itself finds is attest's to test.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad, large := write("bad", "{}\n"), write("large", strings.Repeat("x", attest.MaxTrust+1))
	input := attest.LinkInput.ExitCode()
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"no trust file", []string{"x.rpm", "--bundle", bad, "--trust", filepath.Join(dir, "none")}, terminal.ExitFailed, "albs: read "},
		{"a trust file that is none", []string{"x.rpm", "--bundle", bad, "--trust", bad}, input, "albs: " + bad + " is NOT verified: "},
		{"a trust file without end", []string{"x.rpm", "--bundle", bad, "--trust", large}, input, "albs: " + large + fmt.Sprintf(" has more than %d bytes", attest.MaxTrust) + ": it isn't a trust file, as albs trust export saves it\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := command(t, t.Context(), nil, append([]string{"verify"}, tc.args...)...)
			if got.code != tc.code || !strings.HasPrefix(got.stderr, tc.stderr) || got.stdout != "" {
				t.Errorf("got %+v, want code %d and %q", got, tc.code, tc.stderr)
			}
		})
	}
}

// TestExitCodes wants each link to have a code of its own that no other failure
// has, and the help to list it.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	help := command(t, t.Context(), nil, "verify", "--help").stdout
	seen := map[int]attest.Link{}
	for _, l := range links {
		code := l.ExitCode()
		if other, taken := seen[code]; taken || code <= terminal.ExitUsage || code > 125 {
			t.Errorf("link %s has code %d, as %q", l, code, other)
		}
		seen[code] = l
		if !strings.Contains(help, string(l)) {
			t.Errorf("the help doesn't list %s:\n%s", l, help)
		}
	}
}
