// Package client speaks albs's REST API for people, /api/v1, as commands and
// scripts use it: a base URL, a token, JSON in and out, files up and down, and
// server-sent events.
//
// It owns the transport: which errors a status stands for, how often a question
// is repeated, and how much an answer may hold. It keeps no state between calls
// and reads neither environment nor files. A Client never writes its token
// anywhere but into the Authorization header of requests to its own server.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"albs/internal/albs"
)

// Prefix is where the API begins below a server's base URL.
const Prefix = "/api/v1"

const (
	maxRedirects = 3

	maxAnswer  = 64 << 20 // bytes of a JSON answer; a mass rebuild's build is the largest
	maxProblem = 64 << 10
)

// Patience says how long a Client waits and repeats.
type Patience struct {
	Call  time.Duration // one exchange of JSON; a change may have the server resolve git refs
	Idle  time.Duration // silence within a transfer or a stream after which it is broken off
	Tries int           // how often a question is asked that the server doesn't answer
	Pause time.Duration // before the second try; doubles, jittered
}

// DefaultPatience is New's.
var DefaultPatience = Patience{Call: 12 * time.Minute, Idle: 90 * time.Second, Tries: 4, Pause: 200 * time.Millisecond}

// Client asks one server. It may be used concurrently.
type Client struct {
	base     *url.URL
	token    string
	http     *http.Client
	Patience Patience // may be set before the first call
}

// New returns a Client of the server at base ("https://albs.example.org"), or an
// Invalid error if that is no http or https URL. token is a person's bearer token,
// "" to ask as nobody. hc must have no Timeout, for transfers and streams have
// their own; nil is one made for this Client. It isn't led to other servers.
func New(base, token string, hc *http.Client) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, albs.Errorf(albs.Invalid, "%.200q is not a server's URL such as https://albs.example.org", base)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, albs.Errorf(albs.Invalid, "the token has characters that no token has")
	}
	if hc == nil {
		hc = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	own := *hc
	own.CheckRedirect = stay
	u.Path = strings.TrimRight(u.Path, "/")
	return &Client{base: u, token: token, http: &own, Patience: DefaultPatience}, nil
}

// stay refuses to be led to another server: http.Client would take the token along
// from https to http and to subdomains, and make a question of a change.
func stay(r *http.Request, via []*http.Request) error {
	first := via[0]
	if r.URL.Scheme == first.URL.Scheme && r.URL.Host == first.URL.Host && r.Method == first.Method && len(via) <= maxRedirects {
		return nil
	}
	return &Stranger{Host: first.URL.Host, Said: "that " + r.URL.Redacted() + " is the place to ask"}
}

// InClear reports whether who listens on the way to the server at base can read the
// token: it is another host, and spoken to by http.
func InClear(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.Unmap().IsLoopback())
}

// Base returns the server's URL.
func (c *Client) Base() string { return c.base.String() }

// Get asks for the JSON at path (below Prefix, with its query) and decodes it
// into out. It asks again while the server is Unavailable, within Patience.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.again(ctx, func() error { return c.exchange(ctx, call{method: http.MethodGet, path: path}, out) })
}

// Send does one unsafe request, once, with in as its JSON body (nil for none) and
// decodes the answer into out, unless that is nil or there is no answer.
func (c *Client) Send(ctx context.Context, method, path string, in, out any) error {
	body := []byte("{}")
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	return c.exchange(ctx, call{method: method, path: path, media: jsonType, body: body}, out)
}

const jsonType = "application/json"

// call is one exchange with its body in memory.
type call struct {
	method, path string
	media        string // of the body; "" for none
	body         []byte
	key          string // Idempotency-Key; "" for none
}

// again runs f until it doesn't fail as Unavailable, at most Patience.Tries times.
func (c *Client) again(ctx context.Context, f func() error) error {
	pause := c.Patience.Pause
	for try := 1; ; try++ {
		err := f()
		if try >= c.Patience.Tries || !errors.Is(err, albs.Unavailable) || !rest(ctx, pause) {
			return err
		}
		pause *= 2
	}
}

// rest waits for about d and reports whether ctx still goes on.
func rest(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		d = d/2 + rand.N(d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

func (c *Client) exchange(ctx context.Context, a call, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.Patience.Call)
	defer cancel()
	var r io.Reader
	if a.media != "" {
		r = bytes.NewReader(a.body)
	}
	req, err := c.request(ctx, a.method, a.path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", jsonType)
	if a.media != "" {
		req.Header.Set("Content-Type", a.media)
	}
	if a.key != "" {
		req.Header.Set("Idempotency-Key", a.key)
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer drain(resp)
	return readJSON(resp, out)
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+Prefix+path, body)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "ask for %.200q: %w", path, err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

// do sends a request and returns an answer of success, or the error that the
// answer, or the lack of one, stands for.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreached(req.Context(), c.Base(), err)
	}
	if resp.StatusCode/100 != 2 {
		defer drain(resp)
		return nil, readProblem(resp)
	}
	return resp, nil
}

// Unreached is the cause in an Unavailable error for a server that gave no answer.
type Unreached struct {
	URL string
	Err error
}

// Error names the server and what went wrong.
func (u *Unreached) Error() string { return "reach " + u.URL + ": " + u.Why() }

// Why is what went wrong, in words for people where Go's are for programmers.
func (u *Unreached) Why() string {
	if dns, ok := errors.AsType[*net.DNSError](u.Err); ok && dns.IsNotFound {
		return "there is no host " + dns.Name
	}
	if errors.Is(u.Err, http.ErrSchemeMismatch) {
		return "it speaks http, not https"
	}
	if sys, ok := errors.AsType[*os.SyscallError](u.Err); ok {
		return sys.Err.Error()
	}
	return u.Err.Error()
}

// Unwrap returns what went wrong.
func (u *Unreached) Unwrap() error { return u.Err }

// Stranger is the cause in the error for an answer that albs doesn't give: what is at
// the URL is another program, or a proxy that speaks for an albs that is away.
type Stranger struct {
	Host string
	Said string
}

// Error names the host and what it answered.
func (s *Stranger) Error() string { return s.Host + " answered " + s.Said + ", and not as albs does" }

func unreached(ctx context.Context, base string, err error) error {
	if other, ok := errors.AsType[*Stranger](err); ok {
		return albs.Errorf(albs.Invalid, "%w", other)
	}
	if cause := context.Cause(ctx); cause != nil {
		if errors.Is(cause, context.Canceled) {
			return fmt.Errorf("reach %s: %w", base, cause)
		}
		err = cause
	}
	// url.Error repeats the request's URL, which may be long.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return albs.Errorf(albs.Unavailable, "%w", &Unreached{URL: base, Err: err})
}

func readJSON(resp *http.Response, out any) error {
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return albs.Errorf(albs.Unavailable, "read the server's answer: %w", err)
	}
	if len(b) > maxAnswer {
		return albs.Errorf(albs.TooLarge, "the server's answer has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return albs.Errorf(albs.Internal, "%w", &Stranger{Host: resp.Request.URL.Host, Said: resp.Status + " and no such JSON"})
	}
	return nil
}

// drain reads what is left of a short answer, so that its connection can be used
// again, and closes it.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxProblem)
	_ = resp.Body.Close()
}
