package face

import (
	"net/http"
	"time"
)

// standstill is how long an answer waits for its reader to take some of it.
const standstill = 2 * time.Minute

// Patient returns w with a deadline for each write of its own: a download may take its
// time, a client that stands still may not, and would otherwise hold what the answer
// is read from for ever. Who sets a deadline of their own on it, as streams do, has
// that one instead.
func Patient(w http.ResponseWriter) http.ResponseWriter {
	return &patient{ResponseWriter: w, control: http.NewResponseController(w)}
}

type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	own     bool // the handler sets its deadlines itself
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	if !p.own {
		_ = p.control.SetWriteDeadline(time.Now().Add(standstill)) // not every server has deadlines
	}
	return p.ResponseWriter.Write(b)
}

// SetWriteDeadline is for http.ResponseController.
func (p *patient) SetWriteDeadline(t time.Time) error {
	p.own = true
	return p.control.SetWriteDeadline(t)
}

// Flush implements http.Flusher.
func (p *patient) Flush() { _ = p.control.Flush() } // the next write tells of the error

// FlushError is for http.ResponseController.
func (p *patient) FlushError() error { return p.control.Flush() }

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
