package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

func TestNewLogger(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"", "loud", "disabled", "panic", "-1", "7"} {
		if _, err := newLogger(io.Discard, false, level); !errors.Is(err, albs.Invalid) {
			t.Errorf("newLogger(%q) = %v, want an Invalid error", level, err)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := NewLogger(f, "warn")
	if err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("below the level")
	l.Warn().Str("k", "v").Msg("said")
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	var line struct{ Level, Message, K, Time string }
	if err := json.Unmarshal(b, &line); err != nil {
		t.Fatalf("a file got %q, want one JSON line: %v", b, err)
	}
	if line.Level != "warn" || line.Message != "said" || line.K != "v" || line.Time == "" {
		t.Errorf("logged %+v", line)
	}

	var console bytes.Buffer
	if l, err = newLogger(&console, true, "info"); err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("hello")
	if s := console.String(); json.Valid(console.Bytes()) || !strings.Contains(s, "hello") {
		t.Errorf("a terminal got %q, want text for people", s)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t"
	tests := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		aborts  bool
		logged  string
	}{
		{"silent", func(http.ResponseWriter, *http.Request) {}, 200, false, `"status":200`},
		{"body", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, 200, false, `"bytes":6`},
		{"teapot", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, 418, false, `"status":418`},
		{"early hints first", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, 404, false, `"status":404`},
		{"flushes", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				w.WriteHeader(500)
			}
		}, 200, false, `"status":200`},
		{"logger in the context", func(_ http.ResponseWriter, r *http.Request) { zerolog.Ctx(r.Context()).Info().Msg("inside") }, 200, false, `"path":"/x","message":"inside"`},
		{"panics before", func(http.ResponseWriter, *http.Request) { panic("boom") }, 500, false, `"panic":"boom"`},
		{"panics midway", func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("half"))
			http.NewResponseController(w).Flush()
			panic("boom")
		}, 200, true, `"panic":"boom"`},
		{"aborts", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, 0, true, `"message":"request"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			reg := NewRegistry()
			srv := httptest.NewUnstartedServer(Requests(zerolog.New(&log), reg)(tt.handler))
			srv.Start()
			req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/x?token="+secret, strings.NewReader(secret))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+secret)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				if resp.StatusCode != tt.status {
					t.Errorf("status = %d, want %d", resp.StatusCode, tt.status)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if (err != nil) != tt.aborts {
				t.Errorf("the client saw %v, want broken connection: %v", err, tt.aborts)
			}
			srv.Close() // waits for the handler, so the log is complete
			if s := log.String(); !strings.Contains(s, tt.logged) || strings.Contains(s, secret) {
				t.Errorf("log = %s\nwant it to have %s and no secret", s, tt.logged)
			}
			w := httptest.NewRecorder()
			Metrics(reg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if s := w.Body.String(); !strings.Contains(s, `albs_http_request_seconds_count{method="POST"`) || !strings.Contains(s, "go_goroutines") {
				t.Errorf("metrics lack the request or the runtime:\n%s", s)
			}
		})
	}
}

func TestMethodIsBounded(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"GET": "GET", "PATCH": "PATCH", "BREW": "other", "": "other"} {
		if got := method(in); got != want {
			t.Errorf("method(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := NewHealth("db", "ledger")
	step := func(name string, status int, want map[string]string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, nil)
		var got struct {
			OK    bool
			Parts map[string]string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if w.Code != status || got.OK != (status == 200) {
			t.Errorf("%s: status %d, ok %v; want %d", name, w.Code, got.OK, status)
		}
		for p, s := range want {
			if got.Parts[p] != s {
				t.Errorf("%s: part %s = %q, want %q", name, p, got.Parts[p], s)
			}
		}
	}
	step("at the start", 503, map[string]string{"db": "starting", "ledger": "starting"})
	h.Report("db", nil)
	h.Report("ledger", albs.Errorf(albs.Unavailable, "the ledger is away"))
	step("one away", 503, map[string]string{"db": "ok", "ledger": "the ledger is away"})
	h.Report("ledger", errors.New("open /secret/path: denied"))
	step("an inner error", 503, map[string]string{"ledger": albs.UserMessage(errors.New(""))})
	h.Report("ledger", nil)
	step("well", 200, map[string]string{"db": "ok", "ledger": "ok"})
}
