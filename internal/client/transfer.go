package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

var errIdle = errors.New("nothing was heard for too long")

// watchdog cancels a context when nothing has moved for a while.
type watchdog struct {
	timer  *time.Timer
	idle   time.Duration
	cancel context.CancelCauseFunc
}

func watch(ctx context.Context, idle time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{timer: time.AfterFunc(idle, func() { cancel(errIdle) }), idle: idle, cancel: cancel}
}

func (w *watchdog) moved() { w.timer.Reset(w.idle) }

func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Open downloads what lies at path (below Prefix). The caller closes the reader,
// which breaks off with an Unavailable error when nothing arrives for
// Patience.Idle. Until the first byte it is asked for again as Get does.
func (c *Client) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	var body *download
	err := c.again(ctx, func() error {
		ctx, dog := watch(ctx, c.Patience.Idle)
		req, err := c.request(ctx, http.MethodGet, path, nil)
		if err != nil {
			dog.stop()
			return err
		}
		resp, err := c.do(req)
		if err != nil {
			dog.stop()
			return err
		}
		body = &download{ctx: ctx, base: c.Base(), body: resp.Body, dog: dog}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}

type download struct {
	ctx  context.Context // the request's own, for the reason of its end
	base string
	body io.ReadCloser
	dog  *watchdog
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	if n > 0 {
		d.dog.moved()
	}
	if err != nil && err != io.EOF {
		err = unreached(d.ctx, d.base, err)
	}
	return n, err
}

func (d *download) Close() error {
	defer d.dog.stop()
	return d.body.Close()
}

// Upload posts size bytes of r to path (below Prefix) as they are, once, and
// decodes the answer into out.
func (c *Client) Upload(ctx context.Context, path string, r io.Reader, size int64, out any) error {
	ctx, dog := watch(ctx, c.Patience.Idle)
	defer dog.stop()
	req, err := c.request(ctx, http.MethodPost, path, &upload{r: r, dog: dog})
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Accept", "application/json")
	// A refusal should come before the bytes go out.
	req.Header.Set("Expect", "100-continue")
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	return readJSON(resp, out)
}

type upload struct {
	r   io.Reader
	dog *watchdog
}

func (u *upload) Read(p []byte) (int, error) {
	u.dog.moved()
	return u.r.Read(p)
}

// Doc is an answer in both of its forms: decoded, and as the server wrote it.
type Doc[T any] struct {
	Value T
	JSON  []byte
}

// UnmarshalJSON keeps b and decodes it.
func (d *Doc[T]) UnmarshalJSON(b []byte) error {
	d.JSON = append([]byte(nil), b...)
	return json.Unmarshal(b, &d.Value)
}
