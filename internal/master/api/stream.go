package api

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
)

const (
	pingEvery  = 20 * time.Second
	writeTime  = 10 * time.Second // a client that takes longer for one message is dropped
	streamTime = 30 * time.Minute // then the client connects again, and its rights are asked anew
	lookEvery  = 5 * time.Second  // looks without being woken: a wake-up may be lost
)

// streams counts the event streams that are open, in all and for each client.
type streams struct {
	mu        sync.Mutex
	total     int
	perClient map[string]int
	max       int
	maxClient int
}

func newStreams(total, perClient int) *streams {
	return &streams{perClient: make(map[string]int), max: total, maxClient: perClient}
}

// begin takes a place for a client, which leave gives back.
func (l *streams) begin(client string) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.max || l.perClient[client] >= l.maxClient {
		return nil, false
	}
	l.total++
	l.perClient[client]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total--
		if l.perClient[client]--; l.perClient[client] == 0 {
			delete(l.perClient, client)
		}
	}, true
}

// client names who holds a stream: the actor, or without one the address.
func client(r *http.Request) string {
	if a := auth.From(r.Context()); a.Kind != auth.KindAnonymous {
		return a.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// sse writes server-sent events (the EventSource format of the HTML standard).
type sse struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ends    <-chan time.Time
	ping    *time.Ticker
	look    *time.Ticker
}

// openSSE begins the answer of an event stream, or answers with an error and
// returns nil. finish has to be called in the end.
func (s *Server) openSSE(w http.ResponseWriter, r *http.Request) (stream *sse, finish func()) {
	leave, ok := s.streams.begin(client(r))
	if !ok {
		p := s.problem(r.Context(), albs.Errorf(albs.Unavailable, "too many event streams are open; close some, or try later"))
		p.Status, p.Title = http.StatusTooManyRequests, http.StatusText(http.StatusTooManyRequests)
		p.write(w)
		return nil, nil
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := &sse{w: w, control: http.NewResponseController(w), ends: time.After(streamTime), ping: time.NewTicker(pingEvery), look: time.NewTicker(lookEvery)}
	finish = func() {
		out.ping.Stop()
		out.look.Stop()
		leave()
	}
	if r.Method == http.MethodHead {
		finish()
		return nil, nil
	}
	w.WriteHeader(http.StatusOK)
	return out, finish
}

// send writes one message; with an empty event it is one that EventSource gives
// to onmessage. data has no line breaks; JSON has none. An error says that the
// client is gone or too slow, and the stream is to end.
func (s *sse) send(id, event string, data []byte) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s\n", id)
	if event != "" {
		fmt.Fprintf(&b, "event: %s\n", event)
	}
	fmt.Fprintf(&b, "data: %s\n\n", data)
	return s.write(b.Bytes())
}

func (s *sse) write(p []byte) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime)) // not every server has deadlines
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return s.control.Flush()
}

// wait returns once there may be something new. It pings the client meanwhile and
// returns false when the stream is to end.
func (s *sse) wait(r *http.Request, wakes ...<-chan struct{}) bool {
	first, second := wakes[0], (<-chan struct{})(nil)
	if len(wakes) > 1 {
		second = wakes[1]
	}
	for {
		select {
		case <-r.Context().Done():
			return false
		case <-s.ends:
			return false
		case <-first:
			return true
		case <-second:
			return true
		case <-s.look.C:
			return true
		case <-s.ping.C:
			if s.write([]byte(": ping\n\n")) != nil {
				return false
			}
		}
	}
}
