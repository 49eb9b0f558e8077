package face

import (
	"io"
	"net/http"
	"time"
)

const (
	bodyTime   = time.Minute     // for a request's body to arrive
	idleTime   = time.Minute     // of silence after which a long body is broken off
	standstill = 2 * time.Minute // how long an answer waits for its reader to take some of it
)

// Timely returns r with a deadline for its body, read or not: net/http itself waits for
// what was announced, before it answers and behind the handler. The deadline ends with
// the body, or it would end a request that goes on. Who expects a long body
// takes LongBody.
func Timely(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.ContentLength == 0 {
		return r
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // not every server has deadlines
	r = r.WithContext(r.Context())                        // net/http keeps the body of its own request
	r.Body = &timely{r.Body, control}
	return r
}

type timely struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *timely) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// LongBody returns the body of a request that carries a file of at most max bytes; a
// read of more fails with http.MaxBytesError. Each read has its own deadline: an
// upload may take its time, a client that stands still may not.
func LongBody(w http.ResponseWriter, r *http.Request, max int64) io.ReadCloser {
	return http.MaxBytesReader(w, &steady{ReadCloser: r.Body, control: http.NewResponseController(w)}, max)
}

// steady gives each read of a body its own deadline.
type steady struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *steady) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(idleTime)) // not every server has deadlines
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

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
