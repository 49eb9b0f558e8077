package face

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"albs/internal/master/auth"
)

const (
	pingEvery  = 20 * time.Second
	writeTime  = 10 * time.Second // a client that takes longer for one message is dropped
	streamTime = 30 * time.Minute // then the client connects again, and its rights are asked anew
	lookEvery  = 5 * time.Second  // looks without being woken: a wake-up may be lost
)

// Streams gives out the places for event streams, so many in all and so many for
// each client: a person or worker, or without one the address.
type Streams struct {
	mu        sync.Mutex
	total     int
	perClient map[string]int
	max       int
	maxClient int
	hello     string // the first of each stream
}

// NewStreams returns Streams with places for total streams, perClient of them for
// the same client. Clients are told to wait for retry before they connect again; with
// 0 that is left to them.
func NewStreams(total, perClient int, retry time.Duration) *Streams {
	l := &Streams{perClient: make(map[string]int), max: total, maxClient: perClient, hello: ": ready\n\n"}
	if retry > 0 {
		l.hello = fmt.Sprintf("retry: %d\n%s", retry.Milliseconds(), l.hello)
	}
	return l
}

// begin takes a place for a client, which leave gives back.
func (l *Streams) begin(client string) (leave func(), ok bool) {
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

// client names who holds a stream.
func client(r *http.Request) string {
	if a := auth.From(r.Context()); a.Kind == auth.KindPerson || a.Kind == auth.KindWorker {
		return a.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Stream writes server-sent events, by the EventSource chapter of the HTML standard.
// It is one goroutine's.
type Stream struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	ends    <-chan time.Time
	ping    *time.Ticker
	look    *time.Ticker
	leave   func()
}

// Open begins an answer that is a stream of events; Close has to be called in the
// end. Without a free place it writes nothing and ok is false. The stream is nil if
// there is nobody to write to: a HEAD asked for headers only, or the client is gone.
func (l *Streams) Open(w http.ResponseWriter, r *http.Request) (s *Stream, ok bool) {
	leave, ok := l.begin(client(r))
	if !ok {
		return nil, false
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.Method == http.MethodHead {
		leave()
		return nil, true
	}
	s = &Stream{
		w: w, r: r, control: http.NewResponseController(w), leave: leave,
		ends: time.After(streamTime), ping: time.NewTicker(pingEvery), look: time.NewTicker(lookEvery),
	}
	w.WriteHeader(http.StatusOK)
	if s.write(l.hello) != nil {
		s.Close()
		return nil, true
	}
	return s, true
}

// Close gives the stream's place back.
func (s *Stream) Close() {
	s.ping.Stop()
	s.look.Stop()
	s.leave()
}

// Send writes one message; with an empty event it is one that EventSource gives to
// onmessage. Event and data have no line breaks; JSON has none. An error says that
// the client is gone or too slow, and the stream is to end.
func (s *Stream) Send(id int64, event string, data []byte) error {
	if event != "" {
		event = "event: " + event + "\n"
	}
	return s.write(fmt.Sprintf("id: %d\n%sdata: %s\n\n", id, event, data))
}

func (s *Stream) write(p string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime)) // not every server has deadlines
	if _, err := s.w.Write([]byte(p)); err != nil {
		return err
	}
	return s.control.Flush()
}

// Wait returns once there may be something new, told by a wake or by the time since
// the last look, but not before rest has passed, for one change seldom comes alone.
// It pings the client meanwhile and returns false when the stream is to end. More
// may be nil.
func (s *Stream) Wait(rest time.Duration, wake, more <-chan struct{}) bool {
	rested := time.After(rest)
	woken := false
	for !woken || rested != nil {
		select {
		case <-s.r.Context().Done():
			return false
		case <-s.ends:
			return false
		case <-rested:
			rested = nil
		case <-wake:
			woken = true
		case <-more:
			woken = true
		case <-s.look.C:
			woken = true
		case <-s.ping.C:
			if s.write(": ping\n\n") != nil {
				return false
			}
		}
	}
	return true
}
