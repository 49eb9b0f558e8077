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
