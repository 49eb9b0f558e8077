package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
)

// Patience says how long a Client waits and repeats.
type Patience struct {
	Call     time.Duration // one exchange of a short call (renew, log, stat); a claim has its Wait on top
	Complete time.Duration // one exchange of Complete: the master admits the result meanwhile
	Idle     time.Duration // silence within a transfer (get, put) after which it is broken off
	Repeat   time.Duration // a call that the master doesn't answer is repeated until this has passed
	Pause    time.Duration // before the first repetition; doubles, jittered, up to 32-fold
}

// DefaultPatience is NewClient's.
var DefaultPatience = Patience{
	Call:     15 * time.Second,
	Complete: 5 * time.Minute,
	Idle:     2 * time.Minute,
	Repeat:   30 * time.Second,
	Pause:    100 * time.Millisecond,
}

// Client is a worker's end of the wire: a Master over HTTP. It may be used
// concurrently.
//
// Renew, Complete, Log, Stat and Get repeat what the master doesn't answer, or
// answers with Unavailable, within Patience; what fails in the end is Unavailable.
// A Get that breaks in its middle goes on at that byte, and its bytes are hashed
// here too. Claim and Put are tried once: a claim that got lost expires, and only
// the caller of Put can read the bytes again, from where Stat says.
type Client struct {
	base     string
	token    string
	http     *http.Client
	Patience Patience // may be set before the first call
}

// NewClient returns a Client of the master at base ("https://albs.example.org").
// token is the worker's bearer token, "" where hc presents a client certificate.
// hc must have no Timeout, for long polls and transfers have their own; it should
// refuse redirects to other hosts as http.Client does with the token by itself.
func NewClient(base, token string, hc *http.Client) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), token: token, http: hc, Patience: DefaultPatience}
}

// Claim implements Master.
func (c *Client) Claim(ctx context.Context, offer Offer) (*Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Patience.Call+time.Duration(offer.Wait)*time.Second)
	defer cancel()
	body, err := json.Marshal(offer)
	if err != nil {
		return nil, fmt.Errorf("encode offer: %w", err)
	}
	var lease Lease
	some, _, err := c.exchange(ctx, call{http.MethodPost, "claim", jsonType, body}, &lease)
	if err != nil || !some {
		return nil, err
	}
	return &lease, nil
}

// Renew implements Master.
func (c *Client) Renew(ctx context.Context, t Token) (time.Time, error) {
	var r renewal
	_, err := c.repeat(ctx, c.Patience.Call, call{http.MethodPost, taskPath(t, "renew"), "", nil}, &r)
	return r.Until, err
}

// Complete implements Master.
func (c *Client) Complete(ctx context.Context, t Token, outcome albs.Outcome, result albs.Result) error {
	body, err := json.Marshal(completion{Outcome: outcome, Result: result})
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if len(body) > MaxResult {
		return albs.Errorf(albs.TooLarge, "a result may have %d bytes", MaxResult)
	}
	_, err = c.repeat(ctx, c.Patience.Complete, call{http.MethodPost, taskPath(t, "complete"), jsonType, body}, nil)
	return err
}

// Log implements Master.
func (c *Client) Log(ctx context.Context, t Token, stream string, offset int64, p []byte) (int64, error) {
	if len(p) > MaxLogChunk {
		return 0, albs.Errorf(albs.TooLarge, "a piece of log may have %d bytes", MaxLogChunk)
	}
	var h held
	path := taskPath(t, "log", url.PathEscape(stream)) + "?offset=" + strconv.FormatInt(offset, 10)
	length, err := c.repeat(ctx, c.Patience.Call, call{http.MethodPost, path, bytesType, p}, &h)
	if err != nil {
		return length, err
	}
	return h.Length, nil
}

// Stat implements Master.
func (c *Client) Stat(ctx context.Context, t Token, d albs.Digest) (int64, error) {
	var h held
	_, err := c.repeat(ctx, c.Patience.Call, call{http.MethodGet, taskPath(t, "upload", string(d)), "", nil}, &h)
	return h.Length, err
}

// Put implements Master.
func (c *Client) Put(ctx context.Context, t Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	ctx, watch := watchIdle(ctx, c.Patience.Idle)
	defer watch.stop()
	path := taskPath(t, "upload", string(d)) + "?offset=" + strconv.FormatInt(offset, 10)
	req, err := c.request(ctx, http.MethodPut, path, &watchedReader{r: r, watch: watch})
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", bytesType)
	// A refusal should come before the bytes go out.
	req.Header.Set("Expect", "100-continue")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, unreached(ctx, err)
	}
	defer drain(resp)
	var h held
	_, length, err := readAnswer(resp, &h)
	if err != nil {
		return length, err
	}
	return h.Length, nil
}

// Get implements Master.
func (c *Client) Get(ctx context.Context, t Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	b := &blobReader{c: c, ctx: ctx, token: t, digest: d, at: offset, left: length}
	if offset == 0 && length < 0 {
		b.hash = sha256.New()
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

func taskPath(t Token, parts ...string) string {
	return fmt.Sprintf("task/%d/%d/%s", t.Task, t.Fence, strings.Join(parts, "/"))
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+wirePrefix+path, body)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "ask the master: %w", err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// call is one call with its body in memory.
type call struct {
	method, path, contentType string
	body                      []byte
}

// exchange makes one call once. some is false for an answer
// without content; length is that of a problem that tells one.
func (c *Client) exchange(ctx context.Context, a call, into any) (some bool, length int64, err error) {
	req, err := c.request(ctx, a.method, a.path, bytes.NewReader(a.body))
	if err != nil {
		return false, 0, err
	}
	if a.contentType != "" {
		req.Header.Set("Content-Type", a.contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false, 0, unreached(ctx, err)
	}
	defer drain(resp)
	return readAnswer(resp, into)
}

// repeat is exchange until the master answers or Patience or ctx ends.
func (c *Client) repeat(ctx context.Context, limit time.Duration, a call, into any) (length int64, err error) {
	tries := c.tries()
	for {
		once, cancel := context.WithTimeout(ctx, limit)
		_, length, err = c.exchange(once, a, into)
		cancel()
		if !errors.Is(err, albs.Unavailable) || !tries.again(ctx) {
			return length, err
		}
	}
}

// unreached names a failure of transport.
func unreached(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return albs.Errorf(albs.Unavailable, "reach the master: %w", err)
}

// readAnswer decodes an answer's JSON or maps its problem back to an error.
func readAnswer(resp *http.Response, into any) (some bool, length int64, err error) {
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return false, 0, nil
	case resp.StatusCode != http.StatusOK:
		length, err := readProblem(resp)
		return false, length, err
	case into == nil:
		return true, 0, nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return false, 0, albs.Errorf(albs.Unavailable, "read the master's answer: %w", err)
	}
	if len(b) > maxAnswer {
		return false, 0, albs.Errorf(albs.TooLarge, "the master's answer has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, 0, fmt.Errorf("read the master's answer: %w", err)
	}
	return true, 0, nil
}

// readProblem returns the error that a status other than success stands for. An
// answer that isn't the master's own (a proxy's page, another server) never counts
// as its word on a task.
func readProblem(resp *http.Response) (length int64, err error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p problem
	if kind == "application/problem+json" {
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
		if err != nil {
			return 0, albs.Errorf(albs.Unavailable, "read the master's answer: %w", err)
		}
		if err := json.Unmarshal(b, &p); err != nil {
			p = problem{}
		}
	}
	if _, known := kindStatus[p.Kind]; !known {
		return 0, albs.Errorf(albs.Unavailable, "%s answered %s, and not as an albs master does", resp.Request.URL.Host, resp.Status)
	}
	if p.Length != nil {
		length = *p.Length
	}
	return length, albs.Errorf(p.Kind, "%s", p.Detail)
}

// drain lets the connection be used again where little is left.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxProblem)
	_ = resp.Body.Close()
}

// tries counts the repetitions of one call.
type tries struct {
	end   time.Time
	pause time.Duration
	most  time.Duration
}

func (c *Client) tries() *tries {
	return &tries{end: time.Now().Add(c.Patience.Repeat), pause: c.Patience.Pause, most: 32 * c.Patience.Pause}
}

// again waits before the next try; false says that there is none.
func (t *tries) again(ctx context.Context) bool {
	wait := jitter(t.pause)
	if time.Now().Add(wait).After(t.end) || !sleep(ctx, wait) {
		return false
	}
	t.pause = min(2*t.pause, t.most)
	return true
}

// jitter returns a time between half of d and d.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}

// sleep waits for d; false says that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// idleWatch cancels a transfer in which nothing moves.
type idleWatch struct {
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

var errIdle = errors.New("nothing moved for too long")

func watchIdle(ctx context.Context, limit time.Duration) (context.Context, *idleWatch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &idleWatch{limit: limit, cancel: cancel}
	w.timer = time.AfterFunc(limit, func() { cancel(errIdle) })
	return ctx, w
}

func (w *idleWatch) moved() { w.timer.Reset(w.limit) }

func (w *idleWatch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

type watchedReader struct {
	r     io.Reader
	watch *idleWatch
}

// Read implements io.Reader.
func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.watch.moved()
	return n, err
}

// blobReader reads a blob and goes on where a broken connection left it.
type blobReader struct {
	c      *Client
	ctx    context.Context // of the Get, for later connections
	token  Token
	digest albs.Digest
	at     int64
	left   int64 // < 0: to the end
	hash   hash.Hash
	body   io.ReadCloser
	watch  *idleWatch
	tries  *tries
	err    error
}

// open connects at b.at, repeating what the master doesn't answer.
func (b *blobReader) open() error {
	path := taskPath(b.token, "blob", string(b.digest)) + "?offset=" + strconv.FormatInt(b.at, 10)
	if b.left >= 0 {
		path += "&length=" + strconv.FormatInt(b.left, 10)
	}
	if b.tries == nil {
		b.tries = b.c.tries()
	}
	for {
		err := b.connect(path)
		if !errors.Is(err, albs.Unavailable) || !b.tries.again(b.ctx) {
			return err
		}
	}
}

func (b *blobReader) connect(path string) error {
	ctx, watch := watchIdle(b.ctx, b.c.Patience.Idle)
	req, err := b.c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		watch.stop()
		return err
	}
	resp, err := b.c.http.Do(req)
	if err != nil {
		err = unreached(ctx, err)
		watch.stop()
		return err
	}
	if resp.StatusCode != http.StatusOK {
		_, err := readProblem(resp)
		drain(resp)
		watch.stop()
		return err
	}
	b.body, b.watch = resp.Body, watch
	return nil
}

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.body.Read(p)
		b.watch.moved()
		if n > 0 {
			b.at += int64(n)
			if b.left > 0 {
				b.left = max(0, b.left-int64(n))
			}
			if b.hash != nil {
				b.hash.Write(p[:n])
			}
			b.tries = nil // it moves: patience starts anew
		}
		switch {
		case err == io.EOF:
			b.err = b.end()
		case err != nil:
			b.resume(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, b.err
}

func (b *blobReader) end() error {
	if b.hash != nil && albs.DigestFrom(b.hash) != b.digest {
		return albs.Errorf(albs.Internal, "the %d bytes that came for %s have another sha256", b.at, b.digest)
	}
	return io.EOF
}

// resume opens the rest, or keeps cause if that cannot be had.
func (b *blobReader) resume(cause error) {
	_ = b.body.Close() // it is broken
	b.watch.stop()
	b.body = http.NoBody
	if b.tries == nil {
		b.tries = b.c.tries()
	}
	if !b.tries.again(b.ctx) {
		b.err = unreached(b.ctx, cause)
		return
	}
	if err := b.open(); err != nil {
		b.err = err
		if errors.Is(err, albs.Invalid) { // the blob ended where the connection broke
			b.err = unreached(b.ctx, cause)
		}
	}
}

// Close implements io.Closer.
func (b *blobReader) Close() error {
	err := b.body.Close()
	b.watch.stop()
	return err
}
