// Package egress is the one way out: every connection that albs opens to a
// place which a user or a document named goes through its dialer. It owns the
// allow-list, the check of addresses, the caps on time and size, and a loopback
// CONNECT proxy that puts git behind the same dialer.
//
// Without configuration only globally routable unicast addresses can be reached,
// by http and https on ports 80 and 443. A name is resolved once, its addresses
// are checked, and exactly a checked address is dialled, so that a name which
// resolves differently the next time gains nothing. Redirects are new requests
// and pass the same checks. Proxies of the environment are never used.
//
// The package doesn't know what is fetched or why; digests are its callers'.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Defaults of a Policy's zero fields.
const (
	DefaultMaxBytes = 4 << 30
	DefaultTimeout  = 30 * time.Minute
)

const (
	maxRedirects   = 5
	connectTimeout = 10 * time.Second // for one address
	maxAddresses   = 8                // of a name that are tried
	maxCAFile      = 4 << 20
)

// Policy says what may be reached and how much of it.
type Policy struct {
	// Allow opens places beyond the public ones. An entry is a host ("git.lan"),
	// a host with a port ("git.lan:8443"), an address or a range ("10.1.0.0/16"),
	// each for http and https on any port or on the one given, or a URL prefix
	// ("https://git.lan/mirror/", "file:///srv/repo"), which opens only what lies
	// under it.
	Allow []string `yaml:"allow"`
	// CAFiles are PEM files of authorities trusted beside the system's.
	CAFiles []string `yaml:"ca_files"`
	// MaxBytes bounds one response body, and one git transfer; 0 is DefaultMaxBytes.
	MaxBytes int64 `yaml:"max_bytes"`
	// Timeout bounds one request with its body, and one git transfer; 0 is DefaultTimeout.
	Timeout time.Duration `yaml:"timeout"`
}

// Egress dials, fetches and proxies under one Policy. It may be used
// concurrently.
type Egress struct {
	rules    rules
	maxBytes int64
	timeout  time.Duration
	extraCAs []byte
	client   *http.Client

	// Tests put their own resolver and connector here.
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	connect func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// New returns the Egress of p. It reads the CA files and fails with Invalid if
// one holds no certificate or an Allow entry cannot be understood.
func New(p Policy) (*Egress, error) {
	rs, err := parseRules(p.Allow)
	if err != nil {
		return nil, err
	}
	e := &Egress{rules: rs, maxBytes: p.MaxBytes, timeout: p.Timeout}
	if e.maxBytes <= 0 {
		e.maxBytes = DefaultMaxBytes
	}
	if e.timeout <= 0 {
		e.timeout = DefaultTimeout
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, name := range p.CAFiles {
		pem, err := disk.ReadFile(name, maxCAFile)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "read CA file: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, albs.Errorf(albs.Invalid, "CA file %s holds no PEM certificate", name)
		}
		e.extraCAs = append(append(e.extraCAs, pem...), '\n')
	}
	resolver := &net.Resolver{}
	e.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return resolver.LookupNetIP(ctx, "ip", host)
	}
	dialer := &net.Dialer{Timeout: connectTimeout}
	e.connect = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", addr.String())
	}
	e.client = &http.Client{
		// Connections opened for a URL prefix must not serve requests that it
		// doesn't cover, hence a pool for each verdict.
		Transport:     &transport{e: e, public: e.newTransport(pool, verdictPublic), open: e.newTransport(pool, verdictOpen)},
		CheckRedirect: e.checkRedirect,
		Timeout:       e.timeout,
	}
	return e, nil
}

func (e *Egress) newTransport(roots *x509.CertPool, v verdict) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return e.dial(ctx, addr, v)
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  time.Minute,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 64 << 10,
		// Bodies are checked by digest as they lie on the server, and nothing here
		// may unfold beyond the cap.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
}

// Client returns an HTTP client whose every request, redirects included, is
// checked by URL before and by address at the dial. Refusals are errors of kind
// Forbidden in the chain of the client's *url.Error; a body that passes MaxBytes
// fails with TooLarge.
func (e *Egress) Client() *http.Client { return e.client }

// CABundle returns the system's certificates and those of Policy.CAFiles as PEM,
// for a program that takes one file; it returns nil when no CA file is
// configured, for then the program's own default is right.
func (e *Egress) CABundle() ([]byte, error) {
	if e.extraCAs == nil {
		return nil, nil
	}
	for _, name := range systemBundles {
		pem, err := disk.ReadFile(name, maxCAFile)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read system CA bundle: %w", err)
		}
		return append(append(pem, '\n'), e.extraCAs...), nil
	}
	return e.extraCAs, nil
}

// systemBundles are the places where distributions keep their roots in one file.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
}

// transport checks each request's URL and picks the pool of its verdict.
type transport struct {
	e            *Egress
	public, open *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	v, err := t.e.judge(r.URL.String())
	if err == nil && v == verdictFile {
		err = albs.Errorf(albs.Forbidden, "%s is not reached by HTTP", r.URL)
	}
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // the contract of RoundTrip
		}
		return nil, err
	}
	pool := t.public
	if v == verdictOpen {
		pool = t.open
	}
	resp, err := pool.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > t.e.maxBytes {
		_ = resp.Body.Close()
		return nil, tooLarge(r.URL.String(), t.e.maxBytes)
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, left: t.e.maxBytes, limit: t.e.maxBytes, url: r.URL.String()}
	return resp, nil
}

func (e *Egress) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return albs.Errorf(albs.Forbidden, "%s redirects more than %d times", via[0].URL, maxRedirects)
	}
	_, err := e.judge(r.URL.String())
	return err
}

// dial connects to addr ("host:port") after resolving it once. verdictOpen lifts
// the check of addresses and ports; otherwise each address must be public or in
// an allowed range.
func (e *Egress) dial(ctx context.Context, addr string, v verdict) (net.Conn, error) {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if v != verdictOpen {
		v = e.rules.host(host, port)
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = e.lookup(ctx, host); err != nil {
		return nil, albs.Errorf(albs.Unavailable, "resolve %s: %w", host, err)
	}
	var refused netip.Addr
	var last error
	tried := 0
	for _, ip := range addrs {
		// The resolver may give IPv4 addresses in their IPv6 form.
		ip = ip.Unmap()
		if v != verdictOpen && !e.rules.address(ip, port) {
			refused = ip
			continue
		}
		conn, err := e.connect(ctx, netip.AddrPortFrom(ip, port))
		if err == nil {
			return conn, nil
		}
		last = err
		if tried++; tried == maxAddresses || ctx.Err() != nil {
			break
		}
	}
	switch {
	case last != nil:
		return nil, albs.Errorf(albs.Unavailable, "connect to %s: %w", addr, last)
	case refused.IsValid():
		return nil, albs.Errorf(albs.Forbidden, "%s is at %s, port %d, which is not open: only public addresses on ports 80 and 443 are, "+
			"unless egress.allow names the host or its range", host, refused, port)
	}
	return nil, albs.Errorf(albs.Unavailable, "%s has no address", host)
}

// cappedBody fails with TooLarge when more than limit bytes come.
type cappedBody struct {
	io.ReadCloser
	left, limit int64
	url         string
}

// Read implements io.Reader.
func (b *cappedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.left = 0
		return n, tooLarge(b.url, b.limit)
	}
	b.left -= int64(n)
	return n, err
}

func tooLarge(url string, limit int64) error {
	return albs.Errorf(albs.TooLarge, "%s has more than the %d bytes that are taken", url, limit)
}
