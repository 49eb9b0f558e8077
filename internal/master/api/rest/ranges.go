package rest

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// ServeRanges answers with size bytes that open leads to, or with the ranges of
// them that the request asks for. The answer's headers are set before.
func ServeRanges(w http.ResponseWriter, r *http.Request, size int64, open func(offset, length int64) (io.ReadCloser, error)) {
	f := &ranged{size: size, open: open}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f)
	if f.err != nil && r.Context().Err() == nil {
		zerolog.Ctx(r.Context()).Error().Err(f.err).Msg("an answer broke off")
		// The status is out: only a broken connection still tells the client.
		panic(http.ErrAbortHandler)
	}
}

// ranged is an io.ReadSeeker over something that can be opened at any offset.
type ranged struct {
	size, at int64
	open     func(offset, length int64) (io.ReadCloser, error)
	rc       io.ReadCloser
	err      error
}

// Seek implements io.Seeker.
func (f *ranged) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset != f.at {
		f.Close()
	}
	f.at = offset
	return offset, nil
}

// Read implements io.Reader.
func (f *ranged) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.at >= f.size {
		return 0, io.EOF
	}
	if f.rc == nil {
		if f.rc, f.err = f.open(f.at, f.size-f.at); f.err != nil {
			return 0, f.err
		}
	}
	n, err := f.rc.Read(p)
	f.at += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// Close ends the present reading.
func (f *ranged) Close() {
	if f.rc != nil {
		f.rc.Close()
		f.rc = nil
	}
}
