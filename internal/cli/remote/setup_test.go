package remote

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/cli/remote/ask"
	"albs/internal/cli/terminal"
)

// now is the clock of every test.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func init() { time.Local = time.UTC } // tables show local time

// answer is what the fake server says to one request.
type answer struct {
	status int // 200 if 0
	media  string
	body   string
}

// fake is an API with canned answers, by "METHOD /path?query" below /api/v1. A
// request that has several is given one after the other, the last one for ever.
// What it has no answer for is 404.
type fake struct {
	mu      sync.Mutex
	answers map[string][]answer
	saw     []string // "METHOD /path body" of each unsafe request, in order
	tokens  []string // of every request
	served  map[string]int
	before  func(*http.Request) // called under mu, if set
}

func newFake(t *testing.T, answers map[string][]answer) (*fake, string) {
	t.Helper()
	f := &fake{answers: answers, served: map[string]int{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, srv.URL
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + strings.TrimPrefix(r.URL.RequestURI(), "/api/v1")
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.tokens = append(f.tokens, r.Header.Get("Authorization"))
	if r.Method != http.MethodGet {
		f.saw = append(f.saw, strings.TrimSpace(key+" "+string(body)))
	}
	list := f.answers[key]
	n := f.served[key]
	f.served[key]++
	if f.before != nil {
		f.before(r)
	}
	f.mu.Unlock()
	if strings.HasPrefix(key, "GET /events?") { // wakes at once, as if much happened
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "id: 1\ndata: {}\n\n")
		return
	}
	if len(list) == 0 {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"title":"Not Found","status":404,"detail":"the fake has no `+strings.ReplaceAll(key, `"`, `'`)+`","kind":"not_found"}`)
		return
	}
	a := list[min(n, len(list)-1)]
	if a.media == "" {
		a.media = "application/json"
		if a.status >= 400 {
			a.media = "application/problem+json"
		}
	}
	w.Header().Set("Content-Type", a.media)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// seen returns the unsafe requests that came so far.
func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.saw)
}

// given returns what the requests gave as authorization.
func (f *fake) given() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tokens)
}

// ok are answers of success with these bodies.
func ok(bodies ...string) []answer {
	var out []answer
	for _, b := range bodies {
		out = append(out, answer{body: b})
	}
	return out
}

// problem is a refusal as the API spells it.
func problem(status int, kind, detail string) []answer {
	return []answer{{status: status, body: `{"type":"about:blank","title":"x","status":400,"detail":"` + detail + `","kind":"` + kind + `"}`}}
}

var parsing sync.Mutex

type result struct {
	code           int
	stdout, stderr string
}

// command runs a command line against the server at url with a token.
func command(t *testing.T, url string, args ...string) result {
	t.Helper()
	return commandWith(t, t.Context(), map[string]string{"ALBS_URL": url, "ALBS_TOKEN": "albs_test"}, "", args...)
}

func commandWith(t *testing.T, ctx context.Context, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := ask.New(&terminal.Terminal{
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Getenv: func(k string) string { return env[k] }, Now: func() time.Time { return now },
	})
	a.Poll, a.Gap, a.Retry, a.Outage = time.Millisecond, 0, 0, time.Minute
	parsing.Lock() // urfave's --help is one variable for all
	defer parsing.Unlock()
	code := a.Run(ctx, &urfave.App{Name: "albs", Commands: Commands(a)}, append([]string{"albs"}, args...), a.Explain)
	return result{code, stdout.String(), stderr.String()}
}
