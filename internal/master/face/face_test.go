package face

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face/facetest"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	for kind, want := range map[albs.Kind]int{
		albs.Invalid: 400, albs.Unauthenticated: 401, albs.Forbidden: 403, albs.NotFound: 404, albs.Conflict: 409, albs.StaleLease: 409,
		albs.Stopped: 409, albs.TooLarge: 413, albs.NoSpace: 507, albs.Unavailable: 503, albs.Internal: 500, "": 500, "new": 500,
	} {
		if got := Status(kind); got != want {
			t.Errorf("Status(%q) = %d, want %d", kind, got, want)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		kind   albs.Kind
		says   string
		logged bool
	}{
		{fmt.Errorf("find it: %w", albs.Errorf(albs.NotFound, "build 7")), albs.NotFound, "build 7", false},
		{&albs.Error{Kind: albs.Unavailable, Msg: "the database is away, try again soon", Err: errors.New("dial 1234")},
			albs.Unavailable, "try again soon", false}, // the database logged the cause
		{errors.New("password 1234"), albs.Internal, "", true},
		{fmt.Errorf("query: %w", context.DeadlineExceeded), albs.Unavailable, "try again", false},
		{fmt.Errorf("query: %w", context.Canceled), albs.Internal, "", false},
	}
	for _, tt := range tests {
		var log bytes.Buffer
		kind, err := Shown(zerolog.New(&log).WithContext(t.Context()), tt.err)
		if says := albs.UserMessage(err); kind != tt.kind || !strings.Contains(says, tt.says) || strings.Contains(says, "1234") {
			t.Errorf("Shown(%v) = %q, %q; want %q with %q", tt.err, kind, says, tt.kind, tt.says)
		}
		if (log.Len() > 0) != tt.logged {
			t.Errorf("Shown(%v) logs %q", tt.err, &log)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	l := NewStreams(3, 2, 0)
	var leave []func()
	for _, c := range []string{"a", "a", "b"} {
		f, ok := l.begin(c)
		if !ok {
			t.Fatalf("no place for %s", c)
		}
		leave = append(leave, f)
	}
	if _, ok := l.begin("c"); ok {
		t.Error("a place too many")
	}
	leave[2]()
	if _, ok := l.begin("a"); ok {
		t.Error("a place too many for one client")
	}
	leave[0]()
	leave[1]()
	if l.total != 0 || len(l.perClient) != 0 {
		t.Errorf("after all left: %+v", l)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	l := NewStreams(1, 1, 3*time.Second)
	open := func(w http.ResponseWriter, method string) (*Stream, bool) {
		return l.Open(w, httptest.NewRequestWithContext(t.Context(), method, "/", nil))
	}
	w := httptest.NewRecorder()
	if s, ok := open(w, http.MethodHead); s != nil || !ok || w.Header().Get("Content-Type") != "text/event-stream" || w.Body.Len() != 0 {
		t.Errorf("HEAD = %v, %t, %v", s, ok, w)
	}
	if s, ok := open(deaf{httptest.NewRecorder()}, http.MethodGet); s != nil || !ok {
		t.Errorf("Open for a client that is gone = %v, %t", s, ok)
	}
	w = httptest.NewRecorder()
	s, ok := open(w, http.MethodGet) // in the place that the two before have left
	if s == nil || !ok {
		t.Fatalf("Open = %v, %t", s, ok)
	}
	full := httptest.NewRecorder()
	if s, ok := open(full, http.MethodGet); s != nil || ok || len(full.Header()) != 0 {
		t.Errorf("Open without a free place = %v, %t, headers %v", s, ok, full.Header())
	}
	for _, err := range []error{s.Send(7, "change", []byte("{}")), s.Send(8, "", []byte("x"))} {
		if err != nil {
			t.Error(err)
		}
	}
	s.Close()
	want := "retry: 3000\n: ready\n\nid: 7\nevent: change\ndata: {}\n\nid: 8\ndata: x\n\n"
	if got := w.Body.String(); got != want || !w.Flushed {
		t.Errorf("the stream is %q, flushed %t; want %q", got, w.Flushed, want)
	}
}

// deaf is a client that takes nothing.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("the connection is full") }

func TestWait(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := NewStreams(1, 1, 0).Open(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	defer s.Close()
	wake, more := make(chan struct{}, 1), make(chan struct{}, 1)
	for name, c := range map[string]chan struct{}{"the first": wake, "the second": more} {
		c <- struct{}{}
		if !s.Wait(0, wake, more) {
			t.Errorf("Wait = false after %s wake-up", name)
		}
	}
	const rest = 50 * time.Millisecond
	wake <- struct{}{}
	if start := time.Now(); !s.Wait(rest, wake, nil) || time.Since(start) < rest {
		t.Errorf("Wait returned after %s, want a rest of %s", time.Since(start), rest)
	}
	cancel()
	if s.Wait(0, nil, nil) {
		t.Error("Wait = true though the client is gone")
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.7:4711"
	if got := client(r); got != "192.0.2.7" {
		t.Errorf("client of an anonymous request = %q", got)
	}
	if got := client(r.WithContext(auth.With(r.Context(), auth.Actor{}))); got != "192.0.2.7" {
		t.Errorf("client of a request whose session has ended = %q", got)
	}
	alice := auth.Actor{Kind: auth.KindPerson, User: 1, Name: "alice"}
	if got := client(r.WithContext(auth.With(r.Context(), alice))); got != alice.String() {
		t.Errorf("client of alice's request = %q", got)
	}
}

func TestPatient(t *testing.T) {
	t.Parallel()
	rec := &facetest.Timed{ResponseRecorder: httptest.NewRecorder()}
	w := Patient(rec)
	for range 2 {
		start := time.Now()
		if _, err := w.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if last := rec.Deadlines[len(rec.Deadlines)-1]; last.Before(start.Add(standstill)) || last.After(time.Now().Add(standstill)) {
			t.Errorf("a write may take until %s, want %s from %s on", last, standstill, start)
		}
	}
	if len(rec.Deadlines) != 2 {
		t.Errorf("two writes set %d deadlines", len(rec.Deadlines))
	}
	control, own := http.NewResponseController(w), time.Now().Add(time.Second)
	if err := control.SetWriteDeadline(own); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("x"))
	if err := control.Flush(); err != nil || !rec.Flushed {
		t.Errorf("Flush = %v, flushed %t", err, rec.Flushed)
	}
	if len(rec.Deadlines) != 3 || !rec.Deadlines[2].Equal(own) {
		t.Errorf("the deadline that a handler has set is not the last one of %v", rec.Deadlines)
	}
}

func TestTimely(t *testing.T) {
	t.Parallel()
	w := &facetest.Timed{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
	if got := Timely(w, r); got != r || len(w.Reads) > 0 {
		t.Errorf("a request without a body has the deadlines %v", w.Reads)
	}
	r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("a body"))
	body := r.Body
	start := time.Now()
	got := Timely(w, r)
	if len(w.Reads) != 1 || w.Reads[0].Before(start.Add(bodyTime)) || w.Reads[0].After(time.Now().Add(bodyTime)) {
		t.Errorf("a body that nobody reads has the deadlines %v, want one in %s", w.Reads, bodyTime)
	}
	if r.Body != body {
		t.Error("net/http's own request has another body")
	}
	if b, err := io.ReadAll(got.Body); string(b) != "a body" || err != nil {
		t.Errorf("the body is %q, %v", b, err)
	}
	if len(w.Reads) != 2 || !w.Reads[1].IsZero() {
		t.Errorf("after the body the deadlines are %v, want none in force", w.Reads)
	}
}
