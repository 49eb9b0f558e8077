package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"os"
	"syscall"

	"albs/internal/albs"
)

// StatusError is in the chain of Get's error when the server answered, but not
// with 200.
type StatusError struct {
	URL  string
	Code int
}

// Error returns the status in words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.URL, e.Code, http.StatusText(e.Code))
}

// Get opens rawURL and returns its body and size (-1 where the server doesn't
// tell), not more than limit bytes; limit ≤ 0 is the policy's MaxBytes. The time
// cap runs until the body is read to its end or closed.
//
// It fails with Invalid or Forbidden as CheckURL does; Forbidden if an address
// is not open or the server's certificate is not trusted; NotFound on 404 and
// 410 or a missing file; TooLarge, at once where the size is known, else from the
// read that passes the limit; Unavailable when the place cannot be reached or
// answers 408, 429 or 5xx; Invalid on any other status. A *StatusError in the
// chain tells the status.
func (e *Egress) Get(ctx context.Context, rawURL string, limit int64) (body io.ReadCloser, size int64, err error) {
	if limit <= 0 || limit > e.maxBytes {
		limit = e.maxBytes
	}
	v, err := e.judge(rawURL)
	if err != nil {
		return nil, 0, err
	}
	if v == verdictFile {
		return e.openFile(rawURL, limit)
	}
	resp, err := e.ask(ctx, http.MethodGet, rawURL)
	if err != nil {
		return nil, 0, err
	}
	if resp.ContentLength > limit {
		_ = resp.Body.Close()
		return nil, 0, tooLarge(rawURL, limit)
	}
	return &fetchedBody{cappedBody{ReadCloser: resp.Body, left: limit, limit: limit, url: rawURL}}, resp.ContentLength, nil
}

// Size returns how many bytes lie at rawURL, -1 where the server doesn't tell, without
// fetching them: whatever the policy allows of one body. It fails as Get does.
func (e *Egress) Size(ctx context.Context, rawURL string) (int64, error) {
	v, err := e.judge(rawURL)
	if err != nil {
		return 0, err
	}
	if v == verdictFile {
		f, size, err := e.openFile(rawURL, math.MaxInt64)
		if err != nil {
			return 0, err
		}
		return size, f.Close()
	}
	resp, err := e.ask(ctx, http.MethodHead, rawURL)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close() // an answer to HEAD has none
	return resp.ContentLength, nil
}

// ask returns a server's answer of 200.
func (e *Egress) ask(ctx context.Context, method, rawURL string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, rawURL, nil)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "ask for %s: %w", rawURL, err)
	}
	req.Header.Set("User-Agent", "albs")
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, fetchError(rawURL, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // nothing of it is used
		return nil, statusError(rawURL, resp.StatusCode)
	}
	return resp, nil
}

// fetchedBody gives read errors of the network their kind.
type fetchedBody struct{ cappedBody }

// Read implements io.Reader.
func (b *fetchedBody) Read(p []byte) (int, error) {
	n, err := b.cappedBody.Read(p)
	if err != nil && err != io.EOF {
		err = fetchError(b.url, err)
	}
	return n, err
}

func fetchError(rawURL string, err error) error {
	if k := albs.KindOf(err); k != albs.Internal {
		return albs.Errorf(k, "fetch %s: %w", rawURL, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return albs.Errorf(albs.Forbidden, "fetch %s: its certificate is not trusted (egress.ca_files adds an authority): %w", rawURL, err)
	}
	return albs.Errorf(albs.Unavailable, "fetch %s: %w", rawURL, err)
}

func statusError(rawURL string, code int) error {
	kind := albs.Invalid
	switch {
	case code == http.StatusNotFound, code == http.StatusGone:
		kind = albs.NotFound
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		kind = albs.Unavailable
	}
	return albs.Errorf(kind, "%w", &StatusError{URL: rawURL, Code: code})
}

// openFile opens a file:// URL. os.Root keeps links from leading out of the
// directory that the policy names.
func (e *Egress) openFile(rawURL string, limit int64) (io.ReadCloser, int64, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, 0, err
	}
	dir, rel := e.rules.dir(u.Path)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, fileError(rawURL, err)
	}
	defer root.Close()
	// A device or a pipe must not be opened at all: opening may block or act.
	info, err := root.Stat(rel)
	if err != nil {
		return nil, 0, fileError(rawURL, err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, albs.Errorf(albs.NotFound, "%s is not a regular file", rawURL)
	}
	if info.Size() > limit {
		return nil, 0, tooLarge(rawURL, limit)
	}
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fileError(rawURL, err)
	}
	// What was looked at may have been replaced since.
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		return nil, 0, errors.Join(albs.Errorf(albs.Unavailable, "open %s: it was replaced meanwhile", rawURL), err, f.Close())
	}
	return &cappedBody{ReadCloser: f, left: limit, limit: limit, url: rawURL}, info.Size(), nil
}

func fileError(rawURL string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return albs.Errorf(albs.NotFound, "open %s: %w", rawURL, err)
	}
	return albs.Errorf(albs.Forbidden, "open %s: %w", rawURL, err)
}
