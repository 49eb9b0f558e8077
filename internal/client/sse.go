package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"albs/internal/albs"
)

const (
	maxEvent = 1 << 20 // bytes of one event
	maxPause = 30 * time.Second
)

// Event is one server-sent event.
type Event struct {
	ID   string // the stream's last id as of this event
	Name string // "message" if the server gave none
	Data []byte // lines joined by \n
}

// Follow reads the server-sent events at path (below Prefix) from after the event
// with id last ("" for the stream's own beginning) and gives each to f, one at a
// time. A stream that breaks is resumed after the last event that f has had, for
// as long as the server can be reached again within Patience's tries; events in
// order, none twice. It returns nil when f returns io.EOF or the server says that
// there is nothing more (204), f's error, ctx's end, or the server's refusal.
func (c *Client) Follow(ctx context.Context, path, last string, f func(Event) error) error {
	s := &stream{c: c, path: path, last: last, pause: c.Patience.Pause, f: f}
	failed := 0
	for {
		heard := s.events
		err := s.read(ctx)
		switch { // s.ended first: the last event may cancel ctx
		case s.ended:
			return s.final
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, albs.Unavailable):
			return err
		}
		if failed++; s.events > heard {
			failed = 0
		}
		if err != nil && failed >= c.Patience.Tries {
			return err
		}
		if !rest(ctx, min(s.pause<<min(failed, 8), maxPause)) {
			return ctx.Err()
		}
	}
}

type stream struct {
	c      *Client
	path   string
	last   string
	pause  time.Duration
	f      func(Event) error
	events int
	ended  bool  // f or the server wants no more
	final  error // then what Follow returns
}

// read is one connection: nil when the server or s.ended ended it.
func (s *stream) read(ctx context.Context) error {
	ctx, dog := watch(ctx, s.c.Patience.Idle)
	defer dog.stop()
	req, err := s.c.request(ctx, http.MethodGet, s.path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		req.Header.Set("Last-Event-ID", s.last)
	}
	resp, err := s.c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNoContent {
		s.ended = true
		return nil
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "text/event-stream" {
		return albs.Errorf(albs.Internal, "%w", &Stranger{Host: req.URL.Host, Said: fmt.Sprintf("%.80q for a stream of events", media)})
	}
	return s.parse(resp.Body, func() { dog.moved() }, func(err error) error { return unreached(ctx, s.c.Base(), err) })
}

// parse reads the format of the WHATWG HTML standard §9.2.6. An event that its
// connection's end cut short is dropped.
func (s *stream) parse(r io.Reader, moved func(), broken func(error) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	lines.Split(scanLines)
	ev := Event{ID: s.last}
	var data []byte
	some := false
	for first := true; lines.Scan(); first = false {
		moved()
		line := lines.Bytes()
		if first {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 {
			s.last = ev.ID
			if some {
				if ev.Name == "" {
					ev.Name = "message"
				}
				ev.Data = bytes.TrimSuffix(data, []byte("\n"))
				s.events++
				if err := s.f(ev); err != nil {
					s.ended = true
					if err != io.EOF {
						s.final = err
					}
					return nil
				}
			}
			ev, data, some = Event{ID: s.last}, nil, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			ev.Name = string(value)
		case "data":
			if len(data)+len(value) >= maxEvent {
				return albs.Errorf(albs.TooLarge, "the server sent an event of more than %d bytes", maxEvent)
			}
			data, some = append(append(data, value...), '\n'), true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.ID = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				s.pause = min(time.Duration(ms)*time.Millisecond, maxPause)
			}
		}
	}
	switch err := lines.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, bufio.ErrTooLong):
		return albs.Errorf(albs.TooLarge, "the server sent an event of more than %d bytes", maxEvent)
	default:
		return broken(err)
	}
}

// scanLines splits at \n, \r\n and a lone \r, as the standard has it, and drops a
// last line without an end.
func scanLines(data []byte, atEOF bool) (int, []byte, error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF:
		return len(data), nil, nil
	case i < 0:
		return 0, nil, nil
	case data[i] == '\n':
		return i + 1, data[:i], nil
	case i+1 < len(data):
		if data[i+1] == '\n' {
			return i + 2, data[:i], nil
		}
		return i + 1, data[:i], nil
	case atEOF:
		return i + 1, data[:i], nil
	default:
		return 0, nil, nil // \r: its \n may be still to come
	}
}
