package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/worker"
)

// message is one server-sent event.
type message struct{ id, event, data string }

// listen opens a stream and returns a function that gives its next message, ok
// being false at its end.
func (f *fixture) listen(t *testing.T, who, path, last string) func() (m message, ok bool) {
	t.Helper()
	req := f.request(t, who, get, path, nil)
	ctx, cancel := context.WithTimeout(req.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	req = req.WithContext(ctx)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Accel-Buffering") != "no" {
		t.Fatalf("%s = %s %v", path, resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() (m message, ok bool) {
		for lines.Scan() {
			line := lines.Text()
			switch name, value, _ := strings.Cut(line, ": "); {
			case line == "" && m != message{}:
				return m, true
			case name == "id":
				m.id = value
			case name == "event":
				m.event = value
			case name == "data":
				m.data = value
			}
		}
		return m, false
	}
}

// leased is a build whose task a node holds.
func (f *fixture) leased(t *testing.T) (buildView, *worker.Client, *worker.Lease) {
	t.Helper()
	f.catalog(t)
	b := f.build(t, f.upload(t))
	node := worker.NewClient(f.url, f.tokens["node"], http.DefaultClient)
	lease, err := node.Claim(t.Context(), worker.Offer{Version: "1", Labels: []string{"kind:build", "arch:x86_64"}, Wait: 10})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	return b, node, lease
}

func TestLogs(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	b, node, lease := f.leased(t)
	logs := logsOf(b.ID, b.Tasks[0].ID)
	write := func(at int64, text string) {
		t.Helper()
		if _, err := node.Log(t.Context(), lease.Token, "build", at, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}

	next := f.listen(t, "anon", logs+"build/events", "") // before there is such a log
	const euro = "€"                                     // three bytes, which arrive apart
	first := "line one\nprice: " + euro[:2]
	write(0, first)
	var got []string
	take := func(next func() (message, bool)) message {
		t.Helper()
		m, ok := next()
		if !ok {
			t.Fatal("the stream ended")
		}
		var l logMessage
		if err := json.Unmarshal([]byte(m.data), &l); err != nil {
			t.Fatal(err)
		}
		if m.id != strconv.FormatInt(l.Offset+int64(len(l.Text)), 10) {
			t.Errorf("message %q at %d has id %s", l.Text, l.Offset, m.id)
		}
		got = append(got, m.event+" "+l.Text)
		return m
	}
	resume := take(next)
	rest := euro[2:] + "\nline two\n"
	write(int64(len(first)), rest)
	take(next)
	again := f.listen(t, "anon", logs+"build/events", resume.id)
	take(again)
	want := []string{"log line one\nprice: ", "log " + euro + "\nline two\n", "log " + euro + "\nline two\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages: %s", diff)
	}

	text := first + rest
	a := f.call(t, "anon", get, logs+"build", nil, http.StatusOK)
	if string(a.body) != text || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || a.Header.Get("X-Albs-Final") != "false" {
		t.Errorf("log = %q %v", a.body, a.Header)
	}
	for _, test := range []struct {
		header, value string
		status        int
		body          string
	}{
		{"Range", "bytes=5-7", 206, "one"},
		{"Range", "bytes=-9", 206, "line two\n"},
		{"Range", "bytes=100-", 416, ""},
		{"If-None-Match", a.Header.Get("ETag"), 304, ""},
	} {
		req := f.request(t, "anon", get, logs+"build", nil)
		req.Header.Set(test.header, test.value)
		if r := do(t, req); r.StatusCode != test.status || test.body != "" && string(r.body) != test.body {
			t.Errorf("%s: %s = %s %q", test.header, test.value, r.Status, r.body)
		}
	}
	head := f.call(t, "anon", http.MethodHead, logs+"build", nil, http.StatusOK)
	if len(head.body) != 0 || head.ContentLength != int64(len(text)) {
		t.Errorf("HEAD = %d bytes of %d", len(head.body), head.ContentLength)
	}
	f.call(t, "anon", get, logs+"other", nil, http.StatusNotFound).problem(t)
	f.call(t, "anon", get, logs+"..%2f..%2fbuild", nil, http.StatusNotFound).problem(t)
	f.call(t, "anon", get, logs+"..", nil, http.StatusBadRequest).problem(t)
	f.call(t, "anon", get, logs+"build?attempt=2", nil, http.StatusNotFound).problem(t)
	f.call(t, "anon", get, logsOf(b.ID+1, b.Tasks[0].ID)+"build", nil, http.StatusNotFound).problem(t)

	err := node.Complete(t.Context(), lease.Token, albs.OutcomeFailed, albs.Result{Reason: "the compiler said no"})
	if err != nil {
		t.Fatal(err)
	}
	for _, next := range []func() (message, bool){next, again} {
		m, ok := next()
		var end logEnd
		if err := json.Unmarshal([]byte(m.data), &end); err != nil || !ok || m.event != "end" {
			t.Fatalf("message %+v, %v, want the end", m, err)
		}
		if diff := cmp.Diff(logEnd{Attempt: 1, Size: int64(len(text)), State: albs.TaskFailed, Reason: "the compiler said no"}, end); diff != "" {
			t.Error(diff)
		}
		if m, ok := next(); ok {
			t.Errorf("after the end came %+v", m)
		}
	}
	var list []logView
	f.call(t, "anon", get, logs, nil, http.StatusOK).into(t, &list)
	if len(list) != 1 || list[0].Stream != "build" || list[0].Size != int64(len(text)) || !list[0].Final || list[0].Attempt != 1 {
		t.Errorf("logs = %+v", list)
	}
	if a := f.call(t, "anon", get, list[0].Href, nil, http.StatusOK); string(a.body) != text || a.Header.Get("X-Albs-Final") != "true" {
		t.Errorf("final log = %q %v", a.body, a.Header)
	}
	f.call(t, "anon", get, logs+"never/events", nil, http.StatusNotFound).problem(t)
	done := f.listen(t, "anon", logs+"build/events?offset="+strconv.Itoa(len(text)), "")
	if m, ok := done(); !ok || m.event != "end" {
		t.Errorf("behind the end came %+v", m)
	}

	var v buildView
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/", b.ID), nil, http.StatusOK).into(t, &v)
	task := v.Tasks[0]
	if task.Status != taskFailed || task.Error == nil || !strings.Contains(*task.Error, "compiler") || task.Attempts != 1 || task.Worker != "node-1" || task.FinishedAt == nil {
		t.Errorf("task = %+v", task)
	}
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/tasks/%d", b.ID, task.ID), nil, http.StatusOK).into(t, &task)
	if len(task.AttemptList) != 1 || task.AttemptList[0].Outcome != albs.OutcomeFailed || task.AttemptList[0].Spec.Build == nil {
		t.Errorf("attempts = %+v", task.AttemptList)
	}
}

func TestWholeCharacters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "a": "a", "a€": "a€", "a\xe2\x82": "a", "a\xe2": "a", "\xf0\x9f\x98": "", "a\xff": "a\xff", "a\x82\x82\x82\x82": "a\x82\x82\x82\x82",
	} {
		if got := string(whole([]byte(in), false)); got != want {
			t.Errorf("whole(%q) = %q, want %q", in, got, want)
		}
		if got := string(whole([]byte(in), true)); got != in {
			t.Errorf("whole(%q) at the end = %q", in, got)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	live := f.listen(t, "anon", "/api/v1/events", "")
	f.catalog(t)
	var ids []string
	for _, want := range []string{"platform.applied", "product.applied"} {
		m, ok := live()
		var e eventView
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || !ok || e.Kind != want || m.id != strconv.FormatInt(e.ID, 10) || m.event != "" {
			t.Fatalf("event %+v, %v; want %s", m, err, want)
		}
		ids = append(ids, m.id)
	}
	resumed := f.listen(t, "anon", "/api/v1/events", ids[0])
	if m, _ := resumed(); m.id != ids[1] {
		t.Errorf("behind %s came %s, want %s", ids[0], m.id, ids[1])
	}
	topic := f.listen(t, "anon", "/api/v1/events?topic=platform:el&after=0", "")
	if m, _ := topic(); m.id != ids[0] {
		t.Errorf("the topic's event is %s, want %s", m.id, ids[0])
	}
	// What is about people comes to nobody but them and to those who keep the farm.
	f.call(t, "anon", get, "/api/v1/events?topic=user:admin", nil, http.StatusUnauthorized).problem(t)
	f.call(t, "contributor", get, "/api/v1/events?topic=user:admin", nil, http.StatusForbidden).problem(t)
	f.call(t, "anon", get, "/api/v1/events?after=x", nil, http.StatusBadRequest).problem(t)
	own := f.listen(t, "contributor", "/api/v1/events?topic=user:contributor&after=0", "")
	if m, _ := own(); !strings.Contains(m.data, "user:contributor") {
		t.Errorf("one's own event is %+v", m)
	}
	all := f.listen(t, "anon", "/api/v1/events?after=0", "")
	if m, _ := all(); m.id != ids[0] {
		t.Errorf("the first event for everybody is %+v, want %s", m, ids[0])
	}
	root := f.listen(t, "admin", "/api/v1/events?after=0", "")
	if m, _ := root(); !strings.Contains(m.data, `"user.created"`) {
		t.Errorf("the first event for an admin is %+v", m)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{Streams: 3, StreamsPerClient: 2})
	for range 2 {
		f.listen(t, "anon", "/api/v1/events", "")
	}
	a := f.call(t, "anon", get, "/api/v1/events", nil, http.StatusTooManyRequests)
	a.problem(t)
	if a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	f.listen(t, "admin", "/api/v1/events", "")
	f.call(t, "operator", get, "/api/v1/events", nil, http.StatusTooManyRequests).problem(t)
}

// deaf is a client that takes nothing.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("the connection is full") }

func TestSlowClientIsDropped(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{Streams: 1})
	r := httptest.NewRequest(get, "/api/v1/events", nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.ServeHTTP(deaf{httptest.NewRecorder()}, r)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the stream goes on for a client that takes nothing")
	}
	f.listen(t, "anon", "/api/v1/events", "") // in the place that it had
}

func TestCanFollow(t *testing.T) {
	t.Parallel()
	alice := auth.Actor{Kind: auth.KindPerson, User: 1, Name: "alice"}
	operator := auth.Actor{Kind: auth.KindPerson, User: 2, Name: "op", Grants: []auth.Grant{{Role: auth.Operator}}}
	for _, test := range []struct {
		actor auth.Actor
		topic string
		want  albs.Kind
	}{
		{auth.Anonymous, "build:1", ""},
		{auth.Anonymous, "user:alice", albs.Unauthenticated},
		{auth.Anonymous, "worker:node", albs.Unauthenticated},
		{auth.Anonymous, "builder", albs.Unauthenticated},
		{alice, "user:alice", ""},
		{alice, "user:alice2", albs.Forbidden},
		{operator, "user:alice", ""},
		{auth.Actor{Kind: auth.KindWorker, Name: "alice"}, "user:alice", albs.Forbidden},
	} {
		r := httptest.NewRequest(get, "/", nil)
		if err := canFollow(r.WithContext(auth.With(r.Context(), test.actor)), test.topic); albs.KindOf(err) != test.want {
			t.Errorf("canFollow(%s, %s) = %v, want %q", test.actor, test.topic, err, test.want)
		}
	}
}
