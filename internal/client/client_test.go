package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// serve returns a Client, impatient, of a server that answers by h.
func serve(t *testing.T, token string, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, token, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	c.Patience.Pause = 0
	return c
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		base, token string
		ok          bool
	}{
		{"http://127.0.0.1:8080", "", true},
		{"https://albs.example.org/below/", "albs_abc", true},
		{"127.0.0.1:8080", "", false},
		{"ftp://example.org", "", false},
		{"https://user:pw@example.org", "", false},
		{"https://example.org/?a=b", "", false},
		{"", "", false},
		{"https://example.org", "two\nlines", false},
		{"https://example.org", "a b", false},
	} {
		_, err := New(tc.base, tc.token, nil)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("New(%q, %q) = %v, want ok %v", tc.base, tc.token, err, tc.ok)
		}
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c := serve(t, "albs_secret", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"saw": %q}`, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")+" "+string(body))
	})
	for _, tc := range []struct {
		name string
		do   func(out any) error
		want string
	}{
		{"get", func(out any) error { return c.Get(t.Context(), "/builds/?pageNumber=2", out) }, "GET /api/v1/builds/?pageNumber=2 Bearer albs_secret "},
		{"post", func(out any) error { return c.Send(t.Context(), "POST", "/builds/", map[string]int{"a": 1}, out) }, `POST /api/v1/builds/ Bearer albs_secret {"a":1}`},
		{"patch without a body", func(out any) error { return c.Send(t.Context(), "PATCH", "/builds/1/cancel", nil, out) }, `PATCH /api/v1/builds/1/cancel Bearer albs_secret {}`},
		{"upload", func(out any) error { return c.Upload(t.Context(), "/uploads/srpm", strings.NewReader("bytes"), 5, out) }, `POST /api/v1/uploads/srpm Bearer albs_secret bytes`},
	} {
		var out Doc[struct{ Saw string }]
		if err := tc.do(&out); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if out.Value.Saw != tc.want {
			t.Errorf("%s: the server saw %q, want %q", tc.name, out.Value.Saw, tc.want)
		}
		if !strings.HasPrefix(string(out.JSON), `{"saw":`) {
			t.Errorf("%s: JSON = %q, want the answer as it was", tc.name, out.JSON)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, media string
		status      int
		body        string
		kind        albs.Kind
		msg         string
	}{
		{"kind and detail", "application/problem+json", 409, `{"title":"Conflict","status":409,"detail":"build 1 is running","kind":"conflict"}`, albs.Conflict, "build 1 is running"},
		{"kind wins over status", "application/problem+json", 409, `{"detail":"x","kind":"stale_lease"}`, albs.StaleLease, "x"},
		{"status only", "application/problem+json", 403, `{"title":"Forbidden"}`, albs.Forbidden, "Forbidden"},
		{"unknown kind", "application/problem+json", 404, `{"detail":"gone","kind":"novel"}`, albs.NotFound, "gone"},
		{"huma's validation", "application/problem+json", 422, `{"detail":"validation failed","errors":[{"message":"expected string","location":"body.name"}]}`, albs.Invalid, "validation failed (body.name: expected string)"},
		{"a proxy's page", "text/html", 502, `<h1>Bad Gateway</h1>`, albs.Unavailable, "HOST answered 502 Bad Gateway, and not as albs does"},
		{"another server", "application/json", 404, `{"message":"x"}`, albs.NotFound, "HOST answered 404 Not Found, and not as albs does"},
		{"cut short", "application/problem+json", 500, `{"detail":"x`, albs.Internal, "HOST answered 500 Internal Server Error, and not as albs does"},
		{"redirect to nowhere", "text/plain", 304, ``, albs.Internal, "HOST answered 304 Not Modified, and not as albs does"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.media)
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			err := c.Send(t.Context(), "POST", "/x", nil, nil)
			if albs.KindOf(err) != tc.kind {
				t.Errorf("kind of %v = %s, want %s", err, albs.KindOf(err), tc.kind)
			}
			if want := strings.ReplaceAll(tc.msg, "HOST", strings.TrimPrefix(c.Base(), "http://")); err == nil || err.Error() != want {
				t.Errorf("error = %v, want %s", err, want)
			}
		})
	}
}

func TestGetAsksAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		method string
		status int
		want   int32 // requests
	}{
		{"get of what is away", "GET", 503, 4},
		{"get of what isn't there", "GET", 404, 1},
		{"unsafe request", "POST", 503, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.WriteHeader(tc.status)
			})
			err := c.Send(t.Context(), tc.method, "/x", nil, nil)
			if tc.method == "GET" {
				asked.Store(0)
				err = c.Get(t.Context(), "/x", nil)
			}
			if err == nil || asked.Load() != tc.want {
				t.Errorf("asked %d times with error %v, want %d times and an error", asked.Load(), err, tc.want)
			}
		})
	}
	t.Run("until it answers", func(t *testing.T) {
		t.Parallel()
		var asked atomic.Int32
		c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) < 3 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			_, _ = io.WriteString(w, `{"a":1}`)
		})
		var out map[string]int
		if err := c.Get(t.Context(), "/x", &out); err != nil || out["a"] != 1 {
			t.Errorf("Get = %v, %v, want a 1", out, err)
		}
	})
}

func TestUnreached(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := New(srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Patience.Pause = 0
	err = c.Get(t.Context(), "/x", nil)
	away, ok := errors.AsType[*Unreached](err)
	if !ok || away.URL != srv.URL || !errors.Is(err, albs.Unavailable) {
		t.Errorf("Get from a closed server = %v, want Unavailable and an Unreached of %s", err, srv.URL)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Get(ctx, "/x", nil); !errors.Is(err, context.Canceled) || errors.Is(err, albs.Unavailable) {
		t.Errorf("Get with an ended context = %v, want context.Canceled", err)
	}
}

// TestUnreachedWords: what went wrong on the way is said in words for people.
func TestUnreachedWords(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tc := range []struct{ base, want string }{
		{gone.URL, "connection refused"},
		{"https" + strings.TrimPrefix(plain.URL, "http"), "it speaks http, not https"},
		{"http://nowhere.invalid", "there is no host nowhere.invalid"},
	} {
		c, err := New(tc.base, "", &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasPrefix(addr, "nowhere.invalid:") { // the machine's resolver may be away
					return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true}}
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.Patience.Pause = 0
		if err := c.Get(t.Context(), "/x", nil); err == nil || err.Error() != "reach "+tc.base+": "+tc.want {
			t.Errorf("Get from %s = %v, want %q", tc.base, err, tc.want)
		}
	}
}

// TestRedirects: neither a token nor a change goes where another server points, nor
// to the same one in clear; a question may be led on within its own server.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var strayed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(other.Close)
	c := serve(t, "albs_secret", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case Prefix + "/away":
			http.Redirect(w, r, other.URL+"/x", http.StatusMovedPermanently)
		case Prefix + "/tls":
			http.Redirect(w, r, "https://"+r.Host+"/x", http.StatusPermanentRedirect)
		case Prefix + "/here":
			http.Redirect(w, r, Prefix+"/there", http.StatusFound)
		case Prefix + "/loop":
			http.Redirect(w, r, Prefix+"/loop", http.StatusFound)
		default:
			_, _ = io.WriteString(w, `{"a":1}`)
		}
	})
	var out map[string]int
	if err := c.Get(t.Context(), "/here", &out); err != nil || out["a"] != 1 {
		t.Errorf("Get of what lies elsewhere on the server = %v, %v", out, err)
	}
	for _, path := range []string{"/away", "/tls", "/loop"} {
		err := c.Get(t.Context(), path, nil)
		if _, ok := errors.AsType[*Stranger](err); !ok || !errors.Is(err, albs.Invalid) {
			t.Errorf("Get of %s = %v, want Invalid and a Stranger", path, err)
		}
	}
	if err := c.Send(t.Context(), http.MethodPost, "/here", nil, nil); !errors.Is(err, albs.Invalid) {
		t.Errorf("a change that is led on = %v, want Invalid: it would become a question", err)
	}
	if strayed.Load() != 0 {
		t.Errorf("%d requests went to another server", strayed.Load())
	}
}

// TestStranger: what isn't an answer of albs is never taken for one.
func TestStranger(t *testing.T) {
	t.Parallel()
	c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<h1>It works!</h1>")
	})
	var out any
	_, key := c.PublicKey(t.Context(), "demo")
	for name, err := range map[string]error{
		"JSON": c.Get(t.Context(), "/x", &out), "a document": key, "a stream": c.Events(t.Context(), "", func(Event) error { return nil }),
	} {
		if other, ok := errors.AsType[*Stranger](err); !ok || "http://"+other.Host != c.Base() {
			t.Errorf("%s = %v, want a Stranger at %s", name, err, c.Base())
		}
	}
}

func TestInClear(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]bool{
		"http://albs.lan": true, "http://10.0.0.1:8080": true, "http://localhost.example.org": true, "http://[2001:db8::1]": true,
		"https://albs.lan": false, "http://127.0.0.1:8080": false, "http://127.8.8.8": false, "http://[::1]:1": false, "http://[::ffff:127.0.0.1]": false,
		"http://localhost:8080": false, "": false, ":": false,
	} {
		if got := InClear(base); got != want {
			t.Errorf("InClear(%q) = %v, want %v", base, got, want)
		}
	}
}

func TestAnswerTooLarge(t *testing.T) {
	t.Parallel()
	c := serve(t, "", func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	var out any
	if err := c.Get(t.Context(), "/x", &out); !errors.Is(err, albs.TooLarge) {
		t.Errorf("Get = %v, want TooLarge", err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first bytes")
		if strings.HasSuffix(r.URL.Path, "/hangs") {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	defer close(release)
	r, err := c.Open(t.Context(), "/whole")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "first bytes" {
		t.Errorf("read %q, %v, want first bytes", b, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	c.Patience.Idle = 50 * time.Millisecond
	r, err = c.Open(t.Context(), "/hangs")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if b, err := io.ReadAll(r); !errors.Is(err, albs.Unavailable) || string(b) != "first bytes" {
		t.Errorf("read of a transfer that hangs = %q, %v, want its beginning and Unavailable", b, err)
	}
}

func TestFollowResumes(t *testing.T) {
	t.Parallel()
	var connection atomic.Int32
	c := serve(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		switch n := connection.Add(1); n {
		case 1:
			_, _ = io.WriteString(w, ": hello\nid: 1\nevent: log\ndata: one\n\nid: 2\ndata: two\ndata: lines\n\nid: 3\ndata: cut sho")
		case 2:
			if got := r.Header.Get("Last-Event-ID"); got != "2" {
				t.Errorf("Last-Event-ID = %q, want 2", got)
			}
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			_, _ = io.WriteString(w, "id: 3\r\ndata: three\r\n\r\nevent: end\rdata\r\rdata: never read\n\n")
		default:
			t.Errorf("connection %d", n)
		}
	})
	var got []Event
	err := c.Follow(t.Context(), "/events", "", func(e Event) error {
		got = append(got, e)
		if e.Name == "end" {
			return io.EOF
		}
		return nil
	})
	if err != nil {
		t.Errorf("Follow = %v, want nil", err)
	}
	want := []Event{
		{ID: "1", Name: "log", Data: []byte("one")},
		{ID: "2", Name: "message", Data: []byte("two\nlines")},
		{ID: "3", Name: "message", Data: []byte("three")},
		{ID: "3", Name: "end", Data: []byte("")},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("the reader's own")
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		f    func(Event) error
		want func(error) bool
	}{
		{"nothing more", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, nil, func(err error) bool { return err == nil }},
		{"refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, nil, func(err error) bool { return errors.Is(err, albs.NotFound) }},
		{"away for good", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, nil, func(err error) bool { return errors.Is(err, albs.Unavailable) }},
		{"no stream", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, nil, func(err error) bool { return errors.Is(err, albs.Internal) }},
		{"reader fails", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: x\n\n")
		}, func(Event) error { return broken }, func(err error) bool { return err == broken }},
		{"an endless line", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: "+strings.Repeat("x", maxEvent+1))
		}, nil, func(err error) bool { return errors.Is(err, albs.TooLarge) }},
		{"an endless event", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 1100))
		}, nil, func(err error) bool { return errors.Is(err, albs.TooLarge) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := tc.f
			if f == nil {
				f = func(e Event) error { t.Errorf("event %+v", e); return nil }
			}
			if err := serve(t, "", tc.h).Follow(t.Context(), "/events", "", f); !tc.want(err) {
				t.Errorf("Follow = %v", err)
			}
		})
	}
}

// FuzzStream wants whatever a server sends to be read within bounds, and each
// event given at most once, with no line end in its name or id.
func FuzzStream(f *testing.F) {
	f.Add("id: 1\ndata: a\n\n")
	f.Add("\xef\xbb\xbfevent: x\r\ndata\r\n\r\nretry: 99999999999\n\n:\n")
	f.Add("data:\ndata:\n\nid: a\x00b\ndata: y\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		n := 0
		s := &stream{f: func(e Event) error {
			n++
			if strings.ContainsAny(e.ID+e.Name, "\r\n") || strings.Contains(e.ID, "\x00") {
				t.Errorf("event %+v", e)
			}
			return nil
		}}
		_ = s.parse(strings.NewReader(in), func() {}, func(err error) error { return err })
		if n != s.events || n > strings.Count(in, "\n")+strings.Count(in, "\r") {
			t.Errorf("%d events, counted %d, of %q", n, s.events, in)
		}
		if s.pause > maxPause {
			t.Errorf("pause %v", s.pause)
		}
	})
}
