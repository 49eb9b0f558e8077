package worker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// lossy delivers requests but drops the answers to the first n that match.
type lossy struct {
	http.RoundTripper
	match string
	n     atomic.Int64
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && strings.Contains(r.URL.Path, l.match) && l.n.Add(-1) >= 0 {
		_ = resp.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return resp, err
}

func patience(repeat time.Duration) worker.Patience {
	return worker.Patience{Call: 5 * time.Second, Complete: 5 * time.Second, Idle: 5 * time.Second, Repeat: repeat, Pause: time.Millisecond}
}

// serve returns a client of m whose transport is wrapped.
func serve(t *testing.T, f *workertest.Fake, m worker.Master, wrap func(http.RoundTripper) http.RoundTripper) *worker.Client {
	t.Helper()
	srv := httptest.NewServer(worker.NewHandler(m, func(r *http.Request) (context.Context, error) {
		return f.Identify(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}, zerolog.Nop()))
	t.Cleanup(srv.Close)
	hc := srv.Client()
	if wrap != nil {
		hc.Transport = wrap(hc.Transport)
	}
	c := worker.NewClient(srv.URL+"/", f.AddWorker("kind:build"), hc)
	c.Patience = patience(5 * time.Second)
	return c
}

// A completion whose answer is lost is repeated and has one effect (T03).
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	l := &lossy{match: "/complete"}
	l.n.Store(5)
	c := serve(t, f.Fake, f.Fake, func(rt http.RoundTripper) http.RoundTripper {
		l.RoundTripper = rt
		return l
	})
	lease, err := c.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	if err := c.Complete(t.Context(), lease.Token, albs.OutcomeInfra, albs.Result{Reason: "x"}); err != nil {
		t.Errorf("Complete = %v", err)
	}
	if s := f.StateOf(id); s != albs.TaskQueued || l.n.Load() > 0 {
		t.Errorf("state %s, want queued once; %d answers not lost", s, l.n.Load())
	}
}

// A whole loop over a wire that loses every kind of answer now and then.
func TestLoopOverLossyWire(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	l := f.loop(produce(t))
	l.Master = serve(t, f.Fake, f.Fake, func(rt http.RoundTripper) http.RoundTripper {
		for _, match := range []string{"/log/", "/upload/", "/blob/", "/complete"} {
			one := &lossy{RoundTripper: rt, match: match}
			one.n.Store(3)
			rt = one
		}
		return rt
	})
	f.run(l)
	f.ended(id, albs.TaskSucceeded)
	if got := f.LogOf(id, 1, "build"); string(got) != "begun\nread srpm\n" {
		t.Errorf("log %q", got)
	}
}

// brittle breaks each blob after some bytes, a number of times.
type brittle struct {
	worker.Master
	breaks atomic.Int64
	spoil  bool
}

func (b *brittle) Get(ctx context.Context, t worker.Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	r, err := b.Master.Get(ctx, t, d, offset, length)
	if err != nil {
		return nil, err
	}
	if b.spoil {
		return io.NopCloser(strings.NewReader("spoilt")), nil
	}
	if b.breaks.Add(-1) >= 0 {
		return io.NopCloser(io.MultiReader(io.LimitReader(r, 40_000), iotest.ErrReader(errors.New("disk error")))), nil
	}
	return r, nil
}

func TestGetGoesOn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	f.task.Spec.Build.SRPM.Digest = f.AddBlob(content)
	f.Add(f.task, nil)
	b := &brittle{Master: f.Fake}
	b.breaks.Store(5)
	c := serve(t, f.Fake, b, nil)
	lease, err := c.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	get := func() ([]byte, error) {
		r, err := c.Get(t.Context(), lease.Token, lease.Spec.Build.SRPM.Digest, 0, -1)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	if got, err := get(); err != nil || !bytes.Equal(got, content) {
		t.Errorf("Get over breaks = %d bytes, %v; want %d", len(got), err, len(content))
	}
	if b.breaks.Load() > 0 {
		t.Errorf("%d breaks were not met", b.breaks.Load())
	}
	b.spoil = true
	if _, err := get(); err == nil {
		t.Error("Get of other bytes = nil, want an error at the end")
	}
	b.spoil = false
	b.breaks.Store(1 << 30)
	c.Patience = patience(50 * time.Millisecond)
	f.SetAway(true)
	if _, err := get(); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Get while away = %v, want Unavailable", err)
	}
}

// What isn't an albs master's own answer never says anything of a task.
func TestForeignAnswers(t *testing.T) {
	t.Parallel()
	for _, answer := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"something_else"}`)
		},
		func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		t.Cleanup(srv.Close)
		c := worker.NewClient(srv.URL, "", srv.Client())
		c.Patience = patience(20 * time.Millisecond)
		k := worker.Token{Task: 1, Fence: 1}
		_, renew := c.Renew(t.Context(), k)
		_, claim := c.Claim(t.Context(), worker.Offer{})
		_, put := c.Put(t.Context(), k, albs.DigestOf(nil), 0, strings.NewReader("x"))
		_, get := c.Get(t.Context(), k, albs.DigestOf(nil), 0, -1)
		for call, err := range map[string]error{"Renew": renew, "Claim": claim, "Put": put, "Get": get} {
			if !errors.Is(err, albs.Unavailable) {
				t.Errorf("%s = %v, want Unavailable", call, err)
			}
		}
	}
}

// A silent server costs no more than Patience.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	c := worker.NewClient(srv.URL, "", srv.Client())
	c.Patience = worker.Patience{Call: 20 * time.Millisecond, Complete: 20 * time.Millisecond, Idle: 20 * time.Millisecond, Repeat: 60 * time.Millisecond, Pause: time.Millisecond}
	k := worker.Token{Task: 1, Fence: 1}
	began := time.Now()
	_, renew := c.Renew(t.Context(), k)
	_, get := c.Get(t.Context(), k, albs.DigestOf(nil), 0, -1)
	_, put := c.Put(t.Context(), k, albs.DigestOf(nil), 0, strings.NewReader("x"))
	if err := errors.Join(renew, get, put); !errors.Is(renew, albs.Unavailable) || !errors.Is(get, albs.Unavailable) || !errors.Is(put, albs.Unavailable) {
		t.Errorf("%v, want Unavailable each", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// unread fails the test when a body is read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := f.Add(f.task, nil)
	me := f.AddWorker("kind:build")
	lease, err := f.As(me).Claim(t.Context(), worker.Offer{Labels: []string{"kind:build"}})
	if err != nil || lease == nil || lease.Token.Task != id {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	h := worker.NewHandler(f.Fake, func(r *http.Request) (context.Context, error) {
		return f.Identify(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}, zerolog.Nop())
	const base = "/worker/v1/task/1/1/"
	d := string(albs.DigestOf([]byte("x")))
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/worker/v1/claim", `{`, 422},
		{"POST", "/worker/v1/claim", `{"wait":31}`, 422},
		{"POST", "/worker/v1/claim", `{"labels":"x"}`, 422},
		{"POST", "/worker/v1/claim", `{"version":"` + strings.Repeat("x", 70<<10) + `"}`, 413},
		{"POST", "/worker/v1/claim", `{"labels":["kind:sign"]}`, 403},
		{"GET", "/worker/v1/claim", ``, 404},
		{"GET", "/worker/v1/nothing", ``, 404},
		{"POST", "/worker/v1/task/x/1/renew", ``, 422},
		{"POST", "/worker/v1/task/1/0/renew", ``, 422},
		{"POST", "/worker/v1/task/-1/1/renew", ``, 422},
		{"POST", "/worker/v1/task/99/1/renew", ``, 404},
		{"POST", "/worker/v1/task/1/99/renew", ``, 409},
		{"POST", base + "complete", `{"outcome":"fine"}`, 422},
		{"POST", base + "complete", `{"outcome":"ok","result":{"logs":[{"digest":"xyz"}]}}`, 422},
		{"POST", base + "complete", `{"outcome":"` + strings.Repeat("x", worker.MaxResult) + `"}`, 413},
		{"POST", base + "log/build", `x`, 422},
		{"POST", base + "log/build?offset=-1", `x`, 422},
		{"POST", base + "log/build?offset=9", `x`, 409},
		{"POST", base + "log/Build?offset=0", `x`, 422},
		{"POST", base + "log/..%2fx?offset=0", `x`, 422},
		{"POST", base + "log/build?offset=0", strings.Repeat("x", worker.MaxLogChunk+1), 413},
		{"GET", base + "blob/xyz?offset=0", ``, 422},
		{"GET", base + "blob/" + d, ``, 422},
		{"GET", base + "blob/" + d + "?offset=0&length=-1", ``, 422},
		{"GET", base + "blob/" + d + "?offset=0", ``, 403},
		{"GET", base + "upload/xyz", ``, 422},
		{"PUT", base + "upload/" + strings.ToUpper(d) + "?offset=0", ``, 422},
		{"PUT", base + "upload/" + d + "?offset=1", `x`, 409},
		{"PUT", base + "upload/" + d + "?offset=9223372036854775807", `x`, 413},
		{"PUT", base + "upload/" + d + "?offset=8589934592", `x`, 413},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Authorization", "Bearer "+me)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.60s %.40q = %d %s, want %d and a problem", c.method, c.path, c.body, w.Code, w.Body, c.status)
		}
		r = httptest.NewRequest(c.method, c.path, unread{t})
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 401 {
			t.Errorf("%s %.60s without identity = %d, want 401", c.method, c.path, w.Code)
		}
	}
}

type brokenMaster struct{ worker.Master }

func (brokenMaster) Renew(context.Context, worker.Token) (time.Time, error) {
	return time.Time{}, errors.New("pq: password for albs is hunter2")
}

func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c := serve(t, f.Fake, brokenMaster{f.Fake}, nil)
	_, err := c.Renew(t.Context(), worker.Token{Task: 1, Fence: 1})
	if !errors.Is(err, albs.Internal) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Renew = %v, want an Internal error without its cause", err)
	}
}

// fullMaster has no space for what it began to read.
type fullMaster struct{ worker.Master }

func (fullMaster) Put(_ context.Context, _ worker.Token, _ albs.Digest, offset int64, r io.Reader) (int64, error) {
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		return offset, err
	}
	return offset, albs.Errorf(albs.NoSpace, "the disk is full")
}

// A worker whose upload is refused in its middle learns why: the connection that it is
// still sending on is not reset under it.
func TestRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c := serve(t, f.Fake, fullMaster{f.Fake}, nil)
	var reused []bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = append(reused, i.Reused) },
	})
	for range 2 {
		body := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
		if _, err := c.Put(ctx, worker.Token{Task: 1, Fence: 1}, albs.DigestOf(body), 0, bytes.NewReader(body)); !errors.Is(err, albs.NoSpace) {
			t.Errorf("Put = %v, want no space", err)
		}
	}
	if want := []bool{false, true}; !slices.Equal(reused, want) {
		t.Errorf("connections were reused %v, want %v: one was closed while its worker sent", reused, want)
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("POST", "/worker/v1/claim", []byte(`{"wait":0}`))
	f.Add("POST", "/worker/v1/task/1/1/complete", []byte(`{"outcome":"ok","result":{}}`))
	f.Add("PUT", "/worker/v1/task/1/1/upload/"+string(albs.DigestOf(nil))+"?offset=0", []byte("x"))
	f.Add("GET", "/worker/v1/task/1/1/blob/"+string(albs.DigestOf(nil))+"?offset=0&length=9", []byte(nil))
	fake := workertest.NewFake()
	me := fake.AddWorker("kind:build")
	h := worker.NewHandler(fake, func(r *http.Request) (context.Context, error) { return fake.Identify(r.Context(), me) }, zerolog.Nop())
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		if len(path) == 0 || path[0] != '/' || bytes.Contains(body, []byte(`"wait"`)) {
			t.Skip("not a path, or a long poll")
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://host"+path, bytes.NewReader(body))
		if err != nil {
			t.Skip("not a request")
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}

// waiting is a master that answers a claim when it ends itself.
type waiting struct{ worker.Master }

func (waiting) Claim(ctx context.Context, _ worker.Offer) (*worker.Lease, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A master that stops while a worker waits is away, not broken.
func TestMasterStops(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	srv := httptest.NewServer(worker.NewHandler(waiting{}, func(*http.Request) (context.Context, error) { return ctx, nil }, zerolog.Nop()))
	t.Cleanup(srv.Close)
	c := worker.NewClient(srv.URL, "", srv.Client())
	c.Patience = patience(0)
	time.AfterFunc(10*time.Millisecond, stop)
	if _, err := c.Claim(t.Context(), worker.Offer{Wait: 5}); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Claim of a master that stops = %v, want unavailable", err)
	}
}
