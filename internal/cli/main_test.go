package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/worker/node"
	"albs/internal/worker/tester"
)

func TestMain(m *testing.M) {
	node.MaybeInit() // a server under test plays roles that make sandboxes
	tester.MaybeInit()
	if os.Getenv(mainEnv) != "" {
		os.Exit(Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
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
	r := ask.New(&terminal.Terminal{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(k string) string { return env[k] }, Now: time.Now,
	})
	r.Retry = 0
	code := run(ctx, r, append([]string{"albs"}, args...))
	return result{code, stdout.String(), stderr.String()}
}

// TestUsage wants every command line that can't be meant to end with 2, one line
// that says why and one that helps.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, stderr string }{
		{"biuld list", "albs: there is no command \"albs biuld\"\nthere are: "},
		{"build", "NAME:\n   albs build - make packages"},
		{"build mak", "albs: there is no command \"albs build mak\"\nthere are: create, list, show, watch, logs, cancel, retry, graph, schedule, clone, delete\n"},
		{"--colour", "albs: there is no flag --colour\ntry: albs --help\n"},
		{"build --colour", "albs: there is no flag --colour\ntry: albs build --help\n"},
		{"build list --colour", "albs: there is no flag --colour\nusage: albs build list [--owner NAME]"},
		{"build list x", "albs: \"x\" is one argument too many\nusage: albs build list"},
		{"build list --page 0", "albs: --page 0: pages are counted from 1\n"},
		{"build list --page x", "albs: --page \"x\" is no number\n"},
		{"build show", "albs: an argument is missing\nusage: albs build show BUILD [TASK] [--json]\n"},
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
		{"artifact bundle", "albs: an argument is missing\nusage: albs artifact bundle FILE|SHA256 [--output DIR] [--current]\n"},
		{"trust export", "albs: --output is missing\n"},
		{"verify", "albs: an argument is missing\nusage: albs verify [FILE.rpm…|NAME…] [--installed] [--repo URL] [--trust TRUST]"},
		{"verify --repo . x.rpm", "albs: \"x.rpm\": --repo checks the packages that the repository lists"},
		{"verify --repo . --installed", "albs: --installed and --repo are two things"},
		{"verify --repo . --bundle .", "albs: --bundle: what lies beside the packages of a repository"},
		{"verify x.rpm --arch src", "albs: --arch and --name choose packages of a repository"},
		{"verify x.rpm --root /", "albs: --root is about installed packages"},
		{"verify --installed", "albs: --bundle is missing"},
		{"verify a.rpm b.rpm --bundle a.rpm.intoto.jsonl", "albs: --bundle a.rpm.intoto.jsonl is of one package"},
		{"verify x.rpm --jobs 0", "albs: --jobs is 1 to 64"},
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

// TestHelp walks all commands: the help of each has a sentence beside its name, names
// all that it takes, and shows an example that is no wrong use where the usage line
// alone leaves more than one thing to fill in.
func TestHelp(t *testing.T) {
	t.Parallel()
	leaves := 0
	var walk func(cs []*urfave.Command, path string)
	walk = func(cs []*urfave.Command, path string) {
		for _, c := range cs {
			name := path + " " + c.Name
			if len(c.Subcommands) > 0 {
				walk(c.Subcommands, name)
			} else {
				leaves++
			}
			t.Run(name, func(t *testing.T) { checkHelp(t, c, name) })
		}
	}
	top := root(ask.New(&terminal.Terminal{Getenv: func(string) string { return "" }}))
	walk(top.Commands, "albs")
	if leaves < 35 {
		t.Errorf("%d commands were looked at", leaves)
	}
	if got := command(t, t.Context(), nil, "--help"); got.code != terminal.ExitOK || got.stderr != "" || !strings.Contains(got.stdout, "ALBS_TOKEN") {
		t.Errorf("albs --help = %+v", got)
	}
}

// maxREFs is how many branches and tags a command takes.
const maxREFs = 200

// optional are the parts of a usage line that may be left out.
var optional = regexp.MustCompile(`\[[^\]]*\]`)

func checkHelp(t *testing.T, c *urfave.Command, name string) {
	words := strings.Fields(name)[1:]
	got := command(t, t.Context(), nil, append(words, "--help")...)
	if got.code != terminal.ExitOK || got.stderr != "" {
		t.Fatalf("--help = %+v", got)
	}
	about, _, _ := strings.Cut(c.Description, "\n")
	for _, want := range []string{name + " - " + c.Usage, "USAGE:", strings.TrimSpace(name + " " + c.ArgsUsage), "DESCRIPTION:", about} {
		if want == "" || !strings.Contains(got.stdout, want) {
			t.Errorf("the help doesn't have %q:\n%s", want, got.stdout)
		}
	}
	if c.Usage == "" || len(strings.Fields(about)) < 4 || !strings.ContainsAny(about[len(about)-1:], ".:") {
		t.Errorf("%q, %q are no name and sentence", c.Usage, c.Description)
	}
	if len(c.Subcommands) > 0 {
		return
	}
	for _, f := range c.Flags {
		if _, usage, _ := strings.Cut(f.String(), "\t"); strings.TrimSpace(usage) == "" {
			t.Errorf("nothing explains --%s", f.Names()[0])
		}
		if !slices.ContainsFunc(f.Names(), func(n string) bool {
			return strings.Contains(c.ArgsUsage, "--"+n) || len(n) == 1 && strings.Contains(c.ArgsUsage, "[-"+n+"]")
		}) {
			t.Errorf("the usage line %q doesn't name --%s", c.ArgsUsage, f.Names()[0])
		}
	}
	// What has to be given: arguments, and flags with their values.
	must := strings.Fields(optional.ReplaceAllString(c.ArgsUsage, ""))
	arguments := slices.IndexFunc(must, func(w string) bool { return strings.HasPrefix(strings.Trim(w, "("), "--") })
	if arguments < 0 {
		arguments = len(must)
	}
	if arguments > 0 {
		if got := command(t, t.Context(), nil, append(words, slices.Repeat([]string{"1"}, arguments-1)...)...); got.code != terminal.ExitUsage || !strings.Contains(got.stderr, "an argument is missing") {
			t.Errorf("with an argument too few: %+v", got)
		}
	}
	named := arguments + strings.Count(c.ArgsUsage, "[TASK]") + strings.Count(c.ArgsUsage, "[NAME]") + strings.Count(c.ArgsUsage, "[URL]") + strings.Count(c.ArgsUsage, "[FILE]")
	if strings.Contains(c.ArgsUsage, "[REF…]") || strings.Contains(c.ArgsUsage, "[ID…]") || strings.Contains(c.ArgsUsage, "[PACKAGE…]") { // any number, within reason
		named += maxREFs
	}
	endless := strings.HasPrefix(c.ArgsUsage, "[FILE.rpm…")
	if got := command(t, t.Context(), nil, append(words, slices.Repeat([]string{"1"}, named+1)...)...); !endless && (got.code != terminal.ExitUsage || !strings.Contains(got.stderr, "one argument too many")) {
		t.Errorf("with an argument too many: %+v", got)
	}
	_, example, shown := strings.Cut(c.Description, "For example: ")
	if len(must) > 1 && !shown {
		t.Errorf("%q leaves much to fill in, and there is no example", c.ArgsUsage)
	}
	if !shown {
		return
	}
	example, _, _ = strings.Cut(example, "\n")
	if _, example, shown = strings.Cut(example, "albs "); !shown {
		t.Fatalf("the example shows no command of albs: %s", c.Description)
	}
	if example, _, _ = strings.Cut(example, " > "); !strings.HasPrefix("albs "+example, name) {
		t.Errorf("the example is of another command: %s", example)
	}
	var args []string
	for i, part := range strings.Split(example, `"`) {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	if got := command(t, t.Context(), map[string]string{"ALBS_URL": "http://127.0.0.1:1"}, args...); got.code == terminal.ExitUsage || got.code == terminal.ExitOK {
		t.Errorf("the example is no command line that only lacks a server: %+v", got)
	}
}

// TestVersion: the program says what it is, to people and to programs.
func TestVersion(t *testing.T) {
	t.Parallel()
	got := command(t, t.Context(), nil, "version")
	if want := "albs " + version + " " + runtime.GOOS + "/" + runtime.GOARCH + ", ledger: embedded, immudb server, PKCS#11: " + pkcs11() + "\n"; got.code != 0 || got.stdout != want {
		t.Errorf("albs version = %+v, want %q", got, want)
	}
	var v map[string]string
	got = command(t, t.Context(), nil, "version", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || got.code != 0 || v["version"] != version || v["arch"] != runtime.GOARCH || v["ledger"] != "embedded, immudb server" {
		t.Errorf("albs version --json = %+v, %v", got, err)
	}
}
