package cli

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"albs/internal/attest"
	"albs/internal/cli/terminal"
	"albs/internal/master/mastertest"
)

// world is a server with a master's role in it and what a person could get wrong about
// it.
type world struct {
	t          *testing.T
	dir        string // of files that cases name
	data       string
	url, admin string
}

// newWorld starts a real server with a platform and a product.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), data: t.TempDir()}
	mirror := "file://" + mastertest.Mirror(t)
	w.url, w.admin = served(t, "--role", "master", "--data", w.data, "--config", w.file("serve.yaml", `master: {egress: {allow: ["`+mirror+`"]}}`, 0o600))
	seed, err := os.ReadFile("../../configs/platforms/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w.must("platform", "apply", w.file("seed.yaml", strings.ReplaceAll(string(seed), "file:///var/lib/albs/seed/repo", mirror), 0o644))
	w.must("worker", "add", "idler", "--role", "node", "--arch", "x86_64")
	w.must("user", "add", "bob")
	w.must("user", "grant", "bob", "contributor", "--team", "demo")
	w.must("product", "apply", w.file("product.yaml", `name: demo
title: A demo
team: demo
platforms: [seed]
repositories:
  - {path: seed/main/x86_64/os, platform: seed, arch: x86_64, kind: rpm}
gate: {tests: required}
approvals: {count: 1, distinct: true}
`, 0o644))
	return w
}

// file writes a file that a case names and returns its path.
func (w *world) file(name, content string, mode os.FileMode) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// as is the environment of whoever has a token.
func (w *world) as(token string) map[string]string {
	return map[string]string{"ALBS_URL": w.url, "ALBS_TOKEN": token}
}

// must runs a command as the admin, which has to succeed, and returns its stdout.
func (w *world) must(args ...string) string {
	w.t.Helper()
	r := command(w.t, w.t.Context(), w.as(w.admin), args...)
	if r.code != terminal.ExitOK {
		w.t.Fatalf("albs %q = %+v", args, r)
	}
	return r.stdout
}

// token makes a token of bob's and returns its secret and its number.
func (w *world) token() (secret, id string) {
	w.t.Helper()
	var made struct {
		ID     json.Number `json:"id"`
		Secret string      `json:"secret"`
	}
	if err := json.Unmarshal([]byte(w.must("token", "create", "--user", "bob", "--json")), &made); err != nil {
		w.t.Fatal(err)
	}
	return made.Secret, made.ID.String()
}

// expire lets a token's time be over: no clock of the server can be turned.
func (w *world) expire(id string) {
	w.t.Helper()
	d, err := sql.Open("sqlite", filepath.Join(w.data, "master", "albs.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := d.ExecContext(w.t.Context(), `UPDATE token SET expires_at = '2020-01-01T00:00:00.000000Z' WHERE id = $1`, id); err != nil {
		w.t.Fatal(err)
	}
}

// goisms are what only the program's makers understand.
var goisms = regexp.MustCompile(`%!|<nil>|goroutine |panic|\bdial tcp|strconv|unmarshal|\btype \w+\.\w+`)

// check wants a wrong use's answer to be short and clear.
func check(t *testing.T, r result, code int, says, next string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if r.stdout != "" {
		t.Errorf("stdout has %q", r.stdout)
	}
	// What a server logs is not said to the person who started it.
	lines := slices.DeleteFunc(slices.Collect(strings.Lines(r.stderr)), func(l string) bool { return strings.HasPrefix(l, `{"level":`) })
	msg := strings.Join(lines, "")
	if !strings.Contains(msg, says) {
		t.Errorf("stderr doesn't say %q:\n%s", says, msg)
	}
	if !strings.Contains(msg, next) {
		t.Errorf("stderr doesn't say what to do, %q:\n%s", next, msg)
	}
	if found := goisms.FindString(msg); found != "" {
		t.Errorf("stderr has %q:\n%s", found, msg)
	}
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "albs: ") }); i < 0 || i < len(lines)-2 {
		t.Errorf("stderr doesn't end with a message and at most one line of help:\n%s", msg)
	}
}

// TestWrongUse wants each wrong use to end with the code of its sort, nothing on stdout,
// and what was wrong and what to do about it on stderr, against a real server.
func TestWrongUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bob, _ := w.token()
	revoked, id := w.token()
	w.must("token", "revoke", id)
	expired, id := w.token()
	w.expire(id)

	gone := httptest.NewServer(nil)
	gone.Close()
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, "<h1>It works!</h1>")
	}))
	t.Cleanup(page.Close)
	down := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(down.Close)
	moved := httptest.NewServer(http.RedirectHandler(w.url+"/api/v1/users/", http.StatusMovedPermanently))
	t.Cleanup(moved.Close)

	home := func(mode os.FileMode) map[string]string {
		dir := filepath.Join(t.TempDir(), "config")
		if err := os.MkdirAll(filepath.Join(dir, "albs"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "albs", "token"), []byte(w.admin+"\n"), mode); err != nil {
			t.Fatal(err)
		}
		return map[string]string{"ALBS_URL": w.url, "XDG_CONFIG_HOME": dir}
	}
	at := func(url string) map[string]string { return map[string]string{"ALBS_URL": url, "ALBS_TOKEN": w.admin} }
	admin := w.as(w.admin)
	sha := strings.Repeat("a", 64)
	trust := filepath.Join(w.dir, "trust.json")
	w.must("trust", "export", "--output", trust)
	config := func(name, text string) string { return w.file(name, text, 0o600) }
	token := w.file("worker.token", "albs_wx\n", 0o600)
	pkg := w.file("x.rpm", "x", 0o644)
	wrong := w.file("wrong.intoto.jsonl", "{}\n", 0o644)
	w.file("wrong.ledger-proof", "{}\n{}\n", 0o644)
	serve := func(args ...string) []string {
		return append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, args...)
	}

	for _, tc := range []struct {
		name       string
		env        map[string]string
		args       []string
		code       int
		says, next string
	}{
		// The command line.
		{"no command", nil, nil, 2, `"albs" needs a command`, "those above"},
		{"a group alone", nil, []string{"build"}, 2, `"albs build" needs a command`, "those above"},
		{"unknown command", nil, []string{"biuld"}, 2, `there is no command "albs biuld"`, "there are: serve, config, db, platform"},
		{"unknown command of a group", nil, []string{"build", "mak"}, 2, `there is no command "albs build mak"`, "there are: create, list"},
		{"unknown flag", nil, []string{"build", "list", "--colour"}, 2, "there is no flag --colour", "usage: albs build list [--owner NAME]"},
		{"argument missing", nil, []string{"build", "show"}, 2, "an argument is missing", "usage: albs build show BUILD"},
		{"argument too many", nil, []string{"build", "show", "1", "2", "3"}, 2, `"3" is one argument too many`, "usage: albs build show BUILD"},
		{"argument to what takes none", nil, []string{"serve", "now"}, 2, `"now" is one argument too many`, "usage: albs serve [--role ROLES]"},
		{"flag missing", nil, []string{"sign", "1"}, 2, "--key is missing", "usage: albs sign BUILD --key"},
		{"value missing", nil, []string{"sign", "1", "--key"}, 2, "--key needs a value", "usage: albs sign BUILD --key"},
		{"an approval without a key", nil, []string{"approve", "1"}, 2, "--key is missing", "usage: albs approve RELEASE|sign:REQUEST|file:TASK --key FILE"},
		{"an approval of nonsense", nil, []string{"approve", "x:1", "--key", "k"}, 2, `"x:1" names nothing to approve`, "usage: albs approve RELEASE"},
		{"a signature that goes nowhere", nil, []string{"sign", "file", "x", "--key", "demo"}, 2, "--output is missing", "usage: albs sign file FILE --key"},
		{"no digest to disallow", nil, []string{"sign", "disallow", "abc", "--product", "demo"}, 2, `"abc" is no sha256`, "usage: albs sign disallow SHA256"},
		{"a list of which product", nil, []string{"sign", "allowed"}, 2, "--product is missing", "usage: albs sign allowed --product P"},
		{"a group in a group alone", nil, []string{"user", "key"}, 2, `"albs user key" needs a command`, "those above"},
		{"not a number", nil, []string{"build", "show", "one"}, 2, `"one" is no build's number`, "usage: albs build show BUILD"},
		{"a number too large", nil, []string{"release", "show", "99999999999999999999"}, 2, "is no release's number", "usage: albs release show"},
		{"a flag's value no number", nil, []string{"release", "plan", "--product", "demo", "--build", "x"}, 2, `--build "x" is no number`, "usage: albs release plan"},
		{"copy into nothing", nil, []string{"release", "copy", "demo"}, 2, "an argument is missing", "usage: albs release copy FROM TO [--package P…] [--serial N]"},
		{"copy of no serial", nil, []string{"release", "copy", "a", "b", "--serial", "0"}, 2, "--serial 0 is no serial", "usage: albs release copy FROM TO"},
		{"value for a switch", nil, []string{"user", "list", "--json=maybe"}, 2, "--json takes no value", "usage: albs user list [--json]"},
		{"too many days", admin, []string{"token", "create", "--days", "999"}, 2, "--days 999 is not a number of days", "from 1 to 366"},
		{"a node without an arch", admin, []string{"worker", "add", "n", "--role", "node"}, 2, "a node and a tester need --arch", "usage: albs worker add"},
		{"an unknown state of workers", nil, []string{"worker", "list", "--state", "tired"}, 2, `--state "tired" is none of busy, idle`, "usage: albs worker list"},
		{"drain of nobody", nil, []string{"worker", "drain"}, 2, "an argument is missing", "usage: albs worker drain NAME [--reason TEXT]"},
		{"drain of two", nil, []string{"worker", "drain", "a", "b"}, 2, `"b" is one argument too many`, "usage: albs worker drain NAME"},
		{"exclude without patterns", nil, []string{"worker", "exclude", "a"}, 2, "not to get with --pattern, or --none", "usage: albs worker exclude NAME (--pattern P… | --none)"},
		{"exclude of none and some", nil, []string{"worker", "exclude", "a", "--pattern", "b", "--none"}, 2, "not to get with --pattern, or --none", "usage: albs worker exclude NAME"},
		{"why nothing waits", nil, []string{"queue", "why"}, 2, "an argument is missing", "usage: albs queue why TASK"},
		{"why no number waits", nil, []string{"queue", "why", "bash"}, 2, `"bash" is no task's number`, "usage: albs queue why TASK"},
		{"unknown role of a server", nil, serve("--role", "boss"), 2, `--role "boss"`, "choose all or some of"},

		// What there isn't.
		{"unknown platform", admin, []string{"platform", "show", "nope"}, 1, `there is no platform "nope"`, "albs platform list"},
		{"unknown product", admin, []string{"product", "show", "nope"}, 1, `there is no product "nope"`, "albs product list"},
		{"unknown build", admin, []string{"build", "show", "99"}, 1, "there is no build 99", "albs build list"},
		{"unknown build to watch", admin, []string{"build", "watch", "99"}, 1, "there is no build 99", "albs build list"},
		{"logs of an unknown build", admin, []string{"build", "logs", "99"}, 1, "there is no build 99", "albs build list"},
		{"build for an unknown platform", admin, []string{"build", "create", "--platform", "nope", "--git", "https://git.example.org/x.git#main"}, 1, `there is no platform "nope"`, "albs platform list"},
		{"build for an unknown product", admin, []string{"build", "create", "--platform", "seed", "--product", "nope", "--git", "https://git.example.org/x.git#main"}, 1, `there is no product "nope"`, "albs product list"},
		{"unknown key", admin, []string{"key", "export", "nope"}, 1, `there is no key "nope"`, "albs key list"},
		{"revocation without a reason", admin, []string{"key", "revoke", "nope"}, 2, "--reason is missing", "usage: albs key revoke NAME|FINGERPRINT --reason"},
		{"revocation for an odd reason", admin, []string{"key", "revoke", "nope", "--reason", "lost"}, 2, `--reason "lost" is none of compromised`, "usage: albs key revoke"},
		{"revocation of an unknown key", admin, []string{"key", "revoke", "nope", "--reason", "retired"}, 1, `there is no key "nope"`, "albs key list"},
		{"an unknown key to show", admin, []string{"key", "show", "nope"}, 1, `there is no key "nope"`, "albs key list"},
		{"a key's time that is none", admin, []string{"key", "generate", "k", "--user-id", "K", "--not-after", "soon"}, 2, `--not-after "soon" is neither a day`, "usage: albs key generate"},
		{"signing of an unknown build", admin, []string{"sign", "99", "--key", "nope"}, 1, "there is no build 99", "albs build list"},
		{"a signed approval of an unknown release", admin, []string{"approve", "99", "--key", token}, 1, "there is no release 99", "albs release list"},
		{"a signed approval of an unknown request", admin, []string{"approve", "sign:99", "--key", token}, 1, "there is no sign request 99", "albs sign list"},
		{"a file for an unknown key", admin, []string{"sign", "file", trust, "--key", "nope", "--output", filepath.Join(w.dir, "x")}, 1, `there is no key "nope"`, "albs key list"},
		{"a file for an unknown product's list", admin, []string{"sign", "allow", trust, "--product", "nope"}, 1, `there is no product "nope"`, "albs"},
		{"a key to remove that there isn't", admin, []string{"user", "key", "remove", "99"}, 1, "there is no key 99 of a person", "albs user key list"},
		{"unknown release", admin, []string{"release", "show", "99"}, 1, "there is no release 99", "albs release list"},
		{"approval of an unknown release", admin, []string{"release", "approve", "99"}, 1, "there is no release 99", "albs release list"},
		{"plan for an unknown product", admin, []string{"release", "plan", "--product", "nope", "--build", "1"}, 1, `there is no product "nope"`, "albs product list"},
		{"plan of an unknown build", admin, []string{"release", "plan", "--product", "demo", "--build", "99"}, 1, "build 99", "albs build list"},
		{"copy of an unknown product", admin, []string{"release", "copy", "nope", "demo"}, 1, `there is no product "nope"`, "albs product list"},
		{"copy into itself", admin, []string{"release", "copy", "demo", "demo"}, 1, "product demo can't be copied into itself", "itself"},
		{"rollback of what was never released", admin, []string{"release", "rollback", "demo"}, 1, `product "demo" has no public release`, "albs release list"},
		{"unknown worker", admin, []string{"worker", "disable", "nope"}, 1, `there is no worker "nope"`, "albs worker list"},
		{"unknown worker to show", admin, []string{"worker", "show", "nope"}, 1, `there is no worker "nope"`, "albs worker list"},
		{"unknown worker to drain", admin, []string{"worker", "drain", "nope"}, 1, `there is no worker "nope"`, "albs worker list"},
		{"drain of one that never came", admin, []string{"worker", "drain", "idler"}, 1, `there is no worker "idler" that has asked for work`, "albs worker list"},
		{"a pattern that is none", admin, []string{"worker", "exclude", "idler", "--pattern", "[a"}, 1, `"[a" is no pattern`, "use *, ? and [a-z]"},
		{"a reason too long", admin, []string{"worker", "drain", "idler", "--reason", strings.Repeat("x", 501)}, 1, "a reason of 501 bytes, at most 500 go", "at most 500"},
		{"unknown task in the queue", admin, []string{"queue", "why", "99"}, 1, "there is no task 99", "albs build show"},
		{"unknown user", admin, []string{"user", "disable", "nope"}, 1, `there is no user "nope"`, "albs user list"},
		{"token for an unknown user", admin, []string{"token", "create", "--user", "nope"}, 1, `there is no user "nope"`, "albs user list"},
		{"unknown token", admin, []string{"token", "revoke", "99"}, 1, "there is no token 99", "albs token list"},
		{"unknown role", admin, []string{"user", "grant", "bob", "emperor"}, 1, `role "emperor" is not one of`, "contributor product_maintainer"},
		{"a role without its team", admin, []string{"user", "grant", "bob", "contributor"}, 1, "held for a team", "name one"},
		{"a digest that is none", admin, []string{"artifact", "show", "abc"}, 1, `"abc" is no sha256 of 64 hex digits`, "albs build show"},
		{"a digest of nothing", admin, []string{"artifact", "show", sha}, 1, sha, "albs build show"},
		{"proofs of nothing", admin, []string{"artifact", "bundle", sha, "--output", filepath.Join(w.dir, "x")}, 1, sha, "albs build show"},

		// The server.
		{"server away", at(gone.URL), []string{"build", "list"}, 1, "no server answers at " + gone.URL + " (connection refused)", `"albs serve", or set ALBS_URL`},
		{"no such host", at("http://albs.invalid"), []string{"build", "list"}, 1, "no server answers at http://albs.invalid", "set ALBS_URL"},
		{"a token in clear", at("http://albs.invalid"), []string{"build", "list"}, 1, "warning: the token goes to http://albs.invalid in clear", "use https"},
		{"https where http is spoken", at("https" + strings.TrimPrefix(w.url, "http")), []string{"build", "list"}, 1, "it speaks http, not https", "set ALBS_URL"},
		{"not a URL", at("albs.example.org"), []string{"build", "list"}, 1, "is not a server's URL", "ALBS_URL and ALBS_TOKEN say where to go"},
		{"another path", at(w.url + "/albs"), []string{"build", "list"}, 1, "answered 404 Not Found, and not as albs does", "set ALBS_URL"},
		{"another program", at(page.URL), []string{"build", "list"}, 1, "and not as albs does", "set ALBS_URL to albs's address"},
		{"a key from another program", at(page.URL), []string{"key", "export", "demo"}, 1, "and not as albs does", "set ALBS_URL to albs's address"},
		{"a proxy whose albs is away", at(down.URL), []string{"build", "list"}, 1, "answered 502 Bad Gateway", "try again when albs is back"},
		{"another address", at(moved.URL), []string{"user", "add", "x"}, 1, w.url, "set ALBS_URL"},

		// Who asks.
		{"no token", map[string]string{"ALBS_URL": w.url}, []string{"user", "list"}, 1, "the server wants to know who you are", "set ALBS_TOKEN, or write a token to"},
		{"a token that is none", w.as("albs_nonsense"), []string{"user", "list"}, 1, "the server doesn't take the token", `"albs token create --user NAME"`},
		{"an expired token", w.as(expired), []string{"token", "list"}, 1, "expired", `"albs token create --user NAME"`},
		{"a revoked token", w.as(revoked), []string{"token", "list"}, 1, "revoked", `"albs token create --user NAME"`},
		{"a token of two words", w.as("a b"), []string{"token", "list"}, 1, "the token has characters that no token has", "ALBS_TOKEN"},
		{"a token file for all to read", home(0o644), []string{"user", "list"}, 1, "others may read the token in", "chmod 600"},
		{"no right to plan", w.as(bob), []string{"release", "plan", "--product", "demo", "--build", "1"}, 1, "bob may", "ask an admin"},
		{"no right to drain", w.as(bob), []string{"worker", "drain", "idler"}, 1, "bob may", "ask an admin"},
		{"no right to keep users", w.as(bob), []string{"user", "add", "x"}, 1, "bob may", "ask an admin"},

		// Files.
		{"a file that there isn't", admin, []string{"platform", "apply", filepath.Join(w.dir, "none")}, 1, "no such file or directory", "name a YAML file"},
		{"a folder for a file", admin, []string{"platform", "apply", w.dir}, 1, "is a directory", "name a YAML file"},
		{"an empty file", admin, []string{"platform", "apply", w.file("empty.yaml", "\n", 0o644)}, 1, "empty.yaml is empty", "it isn't a YAML file"},
		{"bad YAML of a platform", admin, []string{"platform", "apply", w.file("bad.yaml", "name: x\narches: [\n", 0o644)}, 1, "bad.yaml: yaml: line ", "line 2"},
		{"unknown key of a platform", admin, []string{"platform", "apply", w.file("key.yaml", "name: x\ndits: y\n", 0o644)}, 1, "key.yaml: line 2", "there is no key dits here"},
		{"bad YAML of a product", admin, []string{"product", "apply", w.file("badp.yaml", "name: x\nteam: [\n", 0o644)}, 1, "badp.yaml: yaml: line ", "line 2"},
		{"a value that doesn't fit", admin, []string{"product", "apply", w.file("value.yaml", "name: x\napprovals: two\n", 0o644)}, 1, "value.yaml: line 2", "is not what this key takes"},
		{"no file to sign", admin, []string{"sign", "file", filepath.Join(w.dir, "none"), "--key", "demo", "--output", filepath.Join(w.dir, "x")}, 1, "no such file or directory", "name the file to sign"},
		{"no public key", admin, []string{"user", "key", "add", token}, 1, "is no public key of Ed25519", "ssh-keygen -t ed25519"},
		{"no SRPM", admin, []string{"build", "create", "--platform", "seed", "--srpm", filepath.Join(w.dir, "none.src.rpm")}, 1, "no such file or directory", "an SRPM is named by a file here"},
		{"trust in no product", admin, []string{"trust", "export", "--product", "none", "--output", filepath.Join(w.dir, "x")}, 1, "there is no product \"none\"", "albs product list"},
		{"output into nothing", admin, []string{"trust", "export", "--output", filepath.Join(w.dir, "none", "x")}, 1, "no such file or directory", "choose another place with --output"},
		{"output to a full disk", admin, []string{"trust", "export", "--output", "/dev/full"}, 1, "no space left on device", "choose another place with --output"},

		// Proofs.
		{"verify without a bundle", nil, []string{"verify", pkg, "--trust", trust}, attest.LinkInput.ExitCode(), "there is no " + pkg + ".intoto.jsonl", "albs artifact bundle"},
		{"verify without its trust file", nil, []string{"verify", "x.rpm", "--bundle", trust, "--trust", filepath.Join(w.dir, "none")}, 1, "no such file", "albs trust export"},
		{"verify with a wrong bundle", nil, []string{"verify", pkg, "--bundle", wrong, "--trust", trust}, attest.LinkStatement.ExitCode(), "is NOT verified", "line 1 of the statements"},
		{"verify with a wrong trust file", nil, []string{"verify", "x.rpm", "--bundle", trust, "--trust", token}, attest.LinkInput.ExitCode(), "can't be used", "albs trust export"},

		{"a trace of what is no name", admin, []string{"trace", "hello"}, 1, "is neither the sha256 of a file", "nor the NEVRA of a package"},
		{"a trace of nobody's package", admin, []string{"trace", "hello-1-1.x86_64"}, 1, "there is no package hello-1-1.x86_64", "albs build show lists a build's files"},

		// A server's start.
		{"a configuration that there isn't", nil, serve("--config", filepath.Join(w.dir, "none.yaml")), 1, "no such file or directory", "configs/albs.yaml"},
		{"bad YAML of a configuration", nil, serve("--config", config("c1.yaml", "log_level: info\nmaster: [\n")), 1, "c1.yaml: yaml: line 2", "configs/albs.yaml explains every key"},
		{"unknown key of a configuration", nil, serve("--config", config("c2.yaml", "log_level: info\nmater: {}\n")), 1, "c2.yaml: line 2: there is no key mater here", "configs/albs.yaml explains every key"},
		{"a node with the database", nil, serve("--role", "node", "--config", config("c3.yaml", "master: {database: {dsn_file: /etc/albs/dsn}}\n")), 1, `has a part "master"`, "take it out"},
		{"a master with keys", nil, serve("--role", "master", "--config", config("c4.yaml", "signer: {dir: /srv/keys}\n")), 1, `has a part "signer"`, "take it out"},
		{"a role apart that knows no master", nil, serve("--role", "releaser"), 1, "runs without the master", "connect.master must name its URL"},
		{"a master that is no URL", nil, serve("--role", "releaser", "--config", config("c5.yaml", "connect: {master: albs, token_file: "+token+"}\n")), 1, "connect.master", "a server's URL such as https://"},
		{"a worker's token for all to read", nil, serve("--role", "releaser", "--config", config("c6.yaml", "connect: {master: https://albs.example.org, token_file: "+w.file("open.token", "x", 0o644)+"}\n")), 1, "can be read by others", "chmod 600"},
		{"a log level that there isn't", nil, serve("--config", config("c7.yaml", "log_level: loud\n")), 1, `log level "loud"`, "trace, debug, info"},
		{"a data directory in use", nil, []string{"serve", "--role", "master", "--listen", "127.0.0.1:0", "--data", w.data}, 1, "another albs runs on " + w.data, "end it first, or name another data directory"},
		{"a migration of what is in use", nil, []string{"db", "migrate", "--data", w.data}, 1, "another albs runs on " + w.data, "end it first, or name another data directory"},
		{"data below a file", nil, serve("--role", "master", "--data", filepath.Join(token, "data")), 1, "make the data directory", "--data names one that can be written"},
		{"an address that is none", nil, serve("--role", "master", "--listen", "here"), 1, "can't listen on here", "--listen names another ADDRESS:PORT"},
		{"an address in use", nil, serve("--role", "master", "--listen", strings.TrimPrefix(w.url, "http://")), 1, "address already in use", "--listen names another ADDRESS:PORT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := tc.env
			if env == nil {
				env = map[string]string{"ALBS_URL": "http://127.0.0.1:1"}
			}
			check(t, command(t, t.Context(), env, tc.args...), tc.code, tc.says, tc.next)
		})
	}
}

// spawned is a command line in a process of its own, run by the shell script that
// prepares for it (it ends with exec "$@").
func spawned(t *testing.T, as *syscall.SysProcAttr, script string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", script, "sh", os.Args[0]}, args...)...)
	cmd.Env = []string{mainEnv + "=1", "PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.Dir = &stdout, &stderr, as, "/"
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// TestNoRoom: a data directory on a full disk, one that can't be written, and an output
// that can't be written end with what to do.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts processes; make test runs it")
	}
	t.Run("full disk", func(t *testing.T) {
		t.Parallel()
		mount := t.TempDir()
		if out, err := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount).CombinedOutput(); err != nil {
			t.Skipf("no tmpfs can be mounted in a user namespace: %v: %s", err, out)
		}
		script := `exec unshare --user --map-root-user --mount /bin/sh -c 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"' ` + mount + ` "$@"`
		r := spawned(t, nil, script, "serve", "--role", "master", "--listen", "127.0.0.1:0", "--data", filepath.Join(mount, "data"))
		check(t, r, terminal.ExitFailed, "full", "--data")
	})
	t.Run("no permission", func(t *testing.T) {
		t.Parallel()
		// Root may write everywhere, so that root becomes nobody for this.
		var as *syscall.SysProcAttr
		if os.Geteuid() == 0 {
			as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		dir := filepath.Join("/", "tmp", "albs-"+rand.Text()) // nobody can't enter t.TempDir
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		self, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(dir, "albs")
		if err := os.WriteFile(program, self, 0o755); err != nil {
			t.Fatal(err)
		}
		closed := filepath.Join(dir, "closed")
		if err := os.Mkdir(closed, 0o500); err != nil {
			t.Fatal(err)
		}
		script := `shift; exec ` + program + ` "$@"`
		r := spawned(t, as, script, "serve", "--role", "master", "--listen", "127.0.0.1:0", "--data", filepath.Join(closed, "data"))
		check(t, r, terminal.ExitFailed, "permission denied", "--data names one that can be written")
		url, admin := served(t, "--role", "master", "--data", t.TempDir())
		script = `shift; ALBS_URL=` + url + ` ALBS_TOKEN=` + admin + ` exec ` + program + ` "$@"`
		r = spawned(t, as, script, "trust", "export", "--output", filepath.Join(closed, "trust.json"))
		check(t, r, terminal.ExitFailed, "permission denied", "choose another place with --output")
	})
}

// mainEnv makes a process of the test be the program.
const mainEnv = "ALBS_TEST_MAIN"

// served starts albs serve for the time of a test and returns where it answers and its
// admin's token.
func served(t *testing.T, args ...string) (url, admin string) {
	t.Helper()
	stdout, stop := serving(t, args...)
	t.Cleanup(func() {
		if code := stop(); code != terminal.ExitOK {
			t.Errorf("serve ended with %d", code)
		}
	})
	for line := range strings.Lines(stdout()) {
		if _, v, ok := strings.Cut(line, "pages and API: "); ok {
			url = strings.TrimSpace(v)
		}
		if _, v, ok := strings.Cut(line, "admin token: "); ok {
			admin = strings.TrimSpace(v)
		}
	}
	if url == "" || admin == "" {
		t.Fatalf("serve said no address or token: %s", stdout())
	}
	return url, admin
}
