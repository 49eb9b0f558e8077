package cli

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
	"albs/internal/telemetry/telemetrytest"
	"albs/internal/worker"
)

// serving starts albs serve and returns once it says where its pages are: what it
// printed, and stop, which ends it as SIGTERM does and returns its exit code.
func serving(t *testing.T, args ...string) (said func() string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // stop may be called in a clean-up
	var stdout, stderr telemetrytest.Log
	term := &terminal.Terminal{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }, Now: time.Now}
	parsing.Lock() // until it serves, it may be parsing
	defer parsing.Unlock()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, ask.New(term), append([]string{"albs", "serve", "--listen", "127.0.0.1:0"}, args...))
	}()
	for !strings.Contains(stdout.String(), "pages and API") {
		select {
		case c := <-code:
			t.Fatalf("serve ended with %d: %s", c, stderr.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return stdout.String, sync.OnceValue(func() int {
		cancel()
		return <-code
	})
}

// TestServeTwice: a second server on a data directory says so and changes nothing
// there, and so does a migration; the first one's SIGTERM is a good end, after which
// both go.
func TestServeTwice(t *testing.T) {
	data := t.TempDir()
	_, stop := serving(t, "--role", "master", "--data", data)
	defer stop()
	for _, args := range [][]string{
		{"serve", "--role", "master", "--data", data, "--listen", "127.0.0.1:0"},
		{"db", "migrate", "--data", data},
	} {
		r := command(t, t.Context(), nil, args...)
		if r.code != terminal.ExitFailed || !strings.Contains(r.stderr, "another albs runs on "+data) {
			t.Errorf("%v = %+v", args, r)
		}
	}
	if code := stop(); code != terminal.ExitOK {
		t.Errorf("serve ended with %d", code)
	}
	if r := command(t, t.Context(), nil, "db", "migrate", "--data", data); r.code != terminal.ExitOK {
		t.Errorf("db migrate afterwards = %+v", r)
	}
}

// TestServeCannot: what keeps a server from starting is one sentence, and code 1.
func TestServeCannot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no configuration":        {[]string{"--role", "master", "--config", filepath.Join(dir, "none.yaml")}, "read configuration"},
		"an unknown key":          {[]string{"--role", "master", "--config", file("key.yaml", "mater: {}\n", 0o600)}, "mater"},
		"the data is a file":      {[]string{"--role", "master", "--data", file("data", "", 0o600)}, "make the data directory"},
		"a releaser's no token":   {[]string{"--role", "releaser"}, "connect.token_file"},
		"a role that can't start": {[]string{"--role", "master,releaser", "--config", file("public.yaml", "releaser: {public: /proc/none}\n", 0o600)}, "releaser: make public directory"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, c.args...)
			r := command(t, t.Context(), nil, args...)
			if r.code != terminal.ExitFailed || !strings.Contains(r.stderr, c.want) {
				t.Errorf("serve = %+v, want %q", r, c.want)
			}
		})
	}
}

// TestConfigCheck: what a role apart would not start by is said before it is
// started.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	token, public := write("token", "albs_x\n", 0o600), write("public", "albs_x\n", 0o644)
	connect := "connect: {master: https://albs.example, token_file: "
	for name, c := range map[string]struct {
		role, config string
		code         int
		want         string
	}{
		"all":                     {"all", "", terminal.ExitOK, "warning: signer.passphrase_file"},
		"no token":                {"releaser", "log_level: info\n", terminal.ExitFailed, "connect.token_file"},
		"a token for all to see":  {"releaser", connect + public + "}\n", terminal.ExitFailed, "can be read by others"},
		"a releaser":              {"releaser", connect + token + "}\n", terminal.ExitOK, "is good"},
		"a master that is no URL": {"releaser", "connect: {master: albs.example, token_file: " + token + "}\n", terminal.ExitFailed, "connect.master: "},
		"a token in clear":        {"releaser", "connect: {master: http://albs.example, token_file: " + token + "}\n", terminal.ExitOK, "warning: connect.master http://albs.example is another host"},
		"a bad way out":           {"all", "master: {egress: {allow: [a b]}}\n", terminal.ExitFailed, "egress.allow"},
		"a bad log level":         {"all", "log_level: loud\n", terminal.ExitFailed, "log_level"},
		"a signer without trust":  {"signer", connect + token + "}\n", terminal.ExitFailed, "signer.trust_file"},
		"a signer's bad trust":    {"signer", connect + token + "}\nsigner: {trust_file: " + token + "}\n", terminal.ExitFailed, "trust_file"},
	} {
		r := command(t, t.Context(), nil, "config", "check", "--role", c.role, "--data", t.TempDir(), "--config", write(name+".yaml", c.config, 0o600))
		if r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) {
			t.Errorf("%s: config check = %+v, want %d, %q", name, r, c.code, c.want)
		}
	}
}

// TestWireStays: a worker's token doesn't go where what it takes for its master points.
func TestWireStays(t *testing.T) {
	t.Parallel()
	var strayed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	hc, err := httpClient("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := worker.NewClient(srv.URL, "albs_wsecret", hc).Claim(t.Context(), worker.Offer{}); err == nil || !strings.Contains(err.Error(), "connect.master") {
		t.Errorf("Claim from what redirects = %v, want an error that names connect.master", err)
	}
	if strayed.Load() != 0 {
		t.Error("the request went on to another server")
	}
}
