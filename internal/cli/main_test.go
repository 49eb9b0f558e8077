package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/cli/terminal"
	"albs/internal/worker/node"
)

func TestMain(m *testing.M) {
	node.MaybeInit() // a server under test plays roles that make sandboxes
	os.Exit(m.Run())
}

var parsing sync.Mutex

type result struct {
	code           int
	stdout, stderr string
}

// command runs a command line in an environment.
func command(t *testing.T, ctx context.Context, env map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	parsing.Lock() // urfave's --help is one variable for all
	defer parsing.Unlock()
	code := run(ctx, &terminal.Terminal{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(k string) string { return env[k] }, Now: time.Now,
	}, append([]string{"albs"}, args...))
	return result{code, stdout.String(), stderr.String()}
}

// TestUsage wants every command line that can't be meant to end with 2, one line
// that says why and one that helps.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, stderr string }{
		{"biuld list", "albs: there is no command \"albs biuld\"\nthere are: "},
		{"build", "NAME:\n   albs build - make packages"},
		{"build mak", "albs: there is no command \"albs build mak\"\nthere are: create, list, show, watch, logs, cancel, retry\n"},
		{"--colour", "albs: there is no flag --colour\ntry: albs --help\n"},
		{"build --colour", "albs: there is no flag --colour\ntry: albs build --help\n"},
		{"build list --colour", "albs: there is no flag --colour\nusage: albs build list [--owner NAME]"},
		{"build list x", "albs: \"x\" is one argument too many\nusage: albs build list"},
		{"build list --page 0", "albs: --page 0: pages are counted from 1\n"},
		{"build list --page x", "albs: --page \"x\" is no number\n"},
		{"build show", "albs: an argument is missing\nusage: albs build show BUILD [--json]\n"},
		{"build show x", "albs: \"x\" is no build's number\n"},
		{"build show 0", "albs: \"0\" is no build's number\n"},
		{"build create", "albs: --platform is missing\nusage: albs build create --platform P"},
		{"build create --platform", "albs: --platform needs a value\nusage: albs build create"},
		{"build create --platform p", "albs: there is nothing to build: name packages with --git or --srpm\n"},
		{"build create --platform p --git https://x/y", "albs: --git \"https://x/y\": it has to be URL#REF with a branch, tag or commit for REF\nusage: albs build create"},
		{"build create --platform p --git #main", "albs: --git \"#main\": it has to be URL#REF"},
		{"build create --platform p --srpm x.rpm", "albs: --srpm \"x.rpm\": the name of an SRPM ends in .src.rpm\n"},
		{"build create --platform p --arch z80 --git u#r", "albs: --arch: arch \"z80\" is not one of "},
		{"build retry 1 x", "albs: \"x\" is no task's number\n"},
		{"build logs 1 --stream build", "albs: --stream and --attempt need a TASK\n"},
		{"user grant alice", "albs: an argument is missing\nusage: albs user grant NAME ROLE [--team TEAM] [--json]\n"},
		{"token create --days 0", "albs: --days 0 is not a number of days from 1 to 366\n"},
		{"token revoke x", "albs: \"x\" is no token's number\n"},
		{"worker add n", "albs: --role is missing\n"},
		{"worker add n --role master", "albs: --role \"master\" is none of node, tester, signer and releaser\n"},
		{"artifact bundle x", "albs: --output is missing\n"},
		{"trust export", "albs: --output is missing\n"},
		{"verify x.rpm", "albs: --bundle is missing\nusage: albs verify FILE.rpm --bundle BUNDLE --trust TRUST [--json]\n"},
		{"verify x.rpm --bundle b", "albs: --trust is missing\n"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			got := command(t, t.Context(), nil, strings.Fields(tc.args)...)
			if got.code != terminal.ExitUsage {
				t.Errorf("exit code %d, want %d", got.code, terminal.ExitUsage)
			}
			if !strings.HasPrefix(got.stderr, tc.stderr) {
				t.Errorf("stderr:\n%s\nwant it to begin with:\n%s", got.stderr, tc.stderr)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, want string }{
		{"--help", "ALBS_TOKEN"},
		{"build --help", "create"},
		{"build create --help", "albs build create --platform P"},
		{"build create --help", "--srpm FILE"},
		{"verify --help", "3"},
	} {
		got := command(t, t.Context(), nil, strings.Fields(tc.args)...)
		if got.code != terminal.ExitOK || !strings.Contains(got.stdout, tc.want) || got.stderr != "" {
			t.Errorf("albs %s = %+v, want 0 and %q on stdout", tc.args, got, tc.want)
		}
	}
}
