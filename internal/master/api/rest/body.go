package rest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"albs/internal/albs"
)

const (
	maxBody  = 1 << 20          // bytes of a JSON or YAML body
	bodyTime = 15 * time.Second // for such a body to arrive
	idleTime = time.Minute      // of silence after which a long one is broken off
)

// readBody takes the whole of a small body into memory, so that a client that
// sends slowly is cut off and one that hangs up later is still noticed.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // not every server has deadlines
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return albs.Errorf(albs.TooLarge, "the body has more than %d bytes", maxBody)
		}
		return albs.Errorf(albs.Invalid, "the body broke off: %w", err)
	}
	_ = control.SetReadDeadline(time.Time{})
	r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
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
