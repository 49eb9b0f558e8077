package egress

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"albs/internal/albs"
)

// Proxy is a CONNECT proxy on loopback that puts another program, git, behind
// the dialer for the time of one transfer.
type Proxy struct {
	e      *Egress
	url    string
	auth   string // the value of Proxy-Authorization that is let in
	target string // host:port of the URL it was opened for
	open   bool   // that URL is open whatever its addresses
	limit  int64  // bytes
	ctx    context.Context
	cancel context.CancelFunc
	server *http.Server
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	err    error
	bytes  int64 // still allowed from outside
}

// Proxy starts a proxy for a transfer from rawURL, an https URL. It tunnels to
// that URL's host as the policy judges the URL, to other hosts (redirects) as it
// judges the host, and does nothing but CONNECT. It listens on 127.0.0.1 only
// and its URL holds a random secret without which it answers 407, so that other
// users of the machine cannot go out by it. All its traffic together is bound by
// the policy's Timeout and by limit bytes from outside; limit ≤ 0 is the policy's
// MaxBytes. Close must be called; the end of ctx breaks the tunnels too.
func (e *Egress) Proxy(ctx context.Context, rawURL string, limit int64) (*Proxy, error) {
	if limit <= 0 || limit > e.maxBytes {
		limit = e.maxBytes
	}
	v, err := e.judge(rawURL)
	if err != nil {
		return nil, err
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" {
		return nil, albs.Errorf(albs.Invalid, "%s must begin with https://", rawURL)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "listen for the git proxy: %w", err)
	}
	secret := rand.Text()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	p := &Proxy{
		e:      e,
		url:    (&url.URL{Scheme: "http", User: url.UserPassword("albs", secret), Host: ln.Addr().String()}).String(),
		auth:   "Basic " + base64.StdEncoding.EncodeToString([]byte("albs:"+secret)),
		target: hostPort(u),
		open:   v == verdictOpen,
		ctx:    ctx,
		cancel: cancel,
		limit:  limit,
		bytes:  limit,
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	p.wg.Go(func() {
		_ = p.server.Serve(ln) // always ends with ErrServerClosed, by Close
	})
	return p, nil
}

// URL returns the proxy's address with its secret. It must not be logged or put
// on a command line, which every user can read.
func (p *Proxy) URL() string { return p.url }

// Err returns why the proxy first failed to open or carry a tunnel: Forbidden,
// Unavailable or TooLarge; nil if it never failed.
func (p *Proxy) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close breaks all tunnels and waits until they have ended.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	_ = p.server.Close() // its connections carry nothing that could be lost
	p.wg.Wait()
}

// enter counts a request that Close must wait for; the server itself doesn't
// wait, and forgets a connection that was taken over.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Add(1)
	return true
}

func (p *Proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		return
	}
	defer p.wg.Done()
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Proxy-Authorization")), []byte(p.auth)) != 1 {
		w.Header().Set("Proxy-Authenticate", `Basic realm="albs"`)
		http.Error(w, "the proxy's secret is missing", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	v := verdictPublic
	if p.open && canonicalHostPort(r.Host) == p.target {
		v = verdictOpen
	}
	out, err := p.e.dial(p.ctx, r.Host, v)
	if err != nil {
		p.fail(err)
		code := http.StatusBadGateway
		if errors.Is(err, albs.Forbidden) {
			code = http.StatusForbidden
		}
		http.Error(w, albs.UserMessage(err), code)
		return
	}
	defer out.Close()
	in, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.fail(albs.Errorf(albs.Internal, "take over the proxy's connection: %w", err))
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return // git is gone
	}
	p.carry(in, buf, out)
}

// carry copies both ways until one side ends, the byte cap is passed or the
// proxy is closed.
func (p *Proxy) carry(in net.Conn, fromIn io.Reader, out net.Conn) {
	stop := context.AfterFunc(p.ctx, func() {
		_ = in.Close()
		_ = out.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(out, fromIn) // either side's end is the tunnel's end, not a fault
		_ = out.Close()
	})
	_, err := io.Copy(in, &meteredReader{p: p, r: out})
	if errors.Is(err, albs.TooLarge) {
		p.fail(err)
	}
	_ = in.Close()
	wg.Wait()
}

// meteredReader counts against the proxy's shared byte cap.
type meteredReader struct {
	p *Proxy
	r io.Reader
}

// Read implements io.Reader.
func (m *meteredReader) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.p.mu.Lock()
	m.p.bytes -= int64(n)
	over := m.p.bytes < 0
	m.p.mu.Unlock()
	if over {
		return 0, albs.Errorf(albs.TooLarge, "the transfer from %s has more than the %d bytes that are taken", m.p.target, m.p.limit)
	}
	return n, err
}
