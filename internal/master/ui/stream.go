package ui

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
)

const (
	pingEvery  = 25 * time.Second
	writeTime  = 10 * time.Second // a client that takes longer for one message is dropped
	streamTime = 30 * time.Minute // then the browser connects again
	lookEvery  = 5 * time.Second  // looks without being woken: a wake-up may be lost
	restTime   = 250 * time.Millisecond

	maxStreams          = 2000
	maxStreamsPerClient = 64
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
func (l *streams) begin(client string) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= l.max || l.perClient[client] >= l.maxClient {
		return nil, albs.Errorf(albs.Unavailable, "too many pages are followed at once; they are shown, but not kept up to date")
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
	}, nil
}

// holder names who holds a stream: the person, or without one the address.
func holder(r *http.Request) string {
	if a := auth.From(r.Context()); a.Kind != auth.KindAnonymous {
		return a.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// sse writes server-sent events, by the EventSource chapter of the HTML standard.
type sse struct {
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	ends    <-chan time.Time
	ping    *time.Ticker
	look    *time.Ticker
	leave   func()
}

// openStream begins the answer. close has to be called in the end.
func (u *UI) openStream(w http.ResponseWriter, r *http.Request) (*sse, error) {
	leave, err := u.streams.begin(holder(r))
	if err != nil {
		return nil, err
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	s := &sse{
		w: w, r: r, control: http.NewResponseController(w), leave: leave,
		ends: time.After(streamTime), ping: time.NewTicker(pingEvery), look: time.NewTicker(lookEvery),
	}
	w.WriteHeader(http.StatusOK)
	// The browser waits this long before it connects again.
	if err := s.write("retry: 3000\n: ready\n\n"); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sse) close() {
	s.ping.Stop()
	s.look.Stop()
	s.leave()
}

// send writes one message; data has no line break in it. An error says that the
// client is gone or too slow, and the stream is to end.
func (s *sse) send(id int64, event, data string) error {
	return s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", id, event, strings.ReplaceAll(data, "\n", " ")))
}

func (s *sse) write(p string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTime)) // not every server has deadlines
	if _, err := s.w.Write([]byte(p)); err != nil {
		return err
	}
	return s.control.Flush()
}

// wait returns once there may be something new, but not before rest has passed,
// for one change seldom comes alone. It pings the client meanwhile and returns
// false when the stream is to end.
func (s *sse) wait(rest time.Duration, first, second <-chan struct{}) bool {
	rested := time.After(rest)
	woken := false
	for {
		if woken && rested == nil {
			return true
		}
		select {
		case <-s.r.Context().Done():
			return false
		case <-s.ends:
			return false
		case <-rested:
			rested = nil
		case <-first:
			woken = true
		case <-second:
			woken = true
		case <-s.look.C:
			woken = true
		case <-s.ping.C:
			if s.write(": ping\n\n") != nil {
				return false
			}
		}
	}
}
