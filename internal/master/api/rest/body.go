package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
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

// Uploaded finds the file in a request: the body with its name in ?name=, or the first
// file of a multipart form. It reads no more than what stands before it. The error is
// Invalid.
func Uploaded(r *http.Request) (name string, file io.Reader, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return "", nil, albs.Errorf(albs.Invalid, "the Content-Type is malformed: %w", err)
	}
	if kind != "multipart/form-data" {
		if name = r.URL.Query().Get("name"); name == "" {
			return "", nil, albs.Errorf(albs.Invalid, "give the file's name as ?name=")
		}
		return name, r.Body, nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, albs.Errorf(albs.Invalid, "the form is malformed: %w", err)
	}
	for range 10 {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", nil, albs.Errorf(albs.Invalid, "the form is malformed: %w", err)
		}
		if part.FileName() != "" {
			return part.FileName(), part, nil
		}
	}
	return "", nil, albs.Errorf(albs.Invalid, "the form has no file")
}
