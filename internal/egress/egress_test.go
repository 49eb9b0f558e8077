package egress

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
)

// setup returns an Egress that resolves names by names (each call of a name takes
// its next list) and counts dials instead of making those that leave loopback.
func setup(t *testing.T, p Policy, names map[string][]string) (*Egress, *atomic.Int64) {
	t.Helper()
	e, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]int)
	e.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		lists := names[host]
		if len(lists) == 0 {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		n := min(calls[host], len(lists)-1)
		calls[host]++
		var ips []netip.Addr
		for s := range strings.FieldsSeq(lists[n]) {
			ips = append(ips, netip.MustParseAddr(s))
		}
		return ips, nil
	}
	dials := new(atomic.Int64)
	real := e.connect
	e.connect = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		dials.Add(1)
		if !a.Addr().IsLoopback() {
			return nil, errors.New("tests don't leave the machine")
		}
		return real(ctx, a)
	}
	return e, dials
}

// listen returns a listener that counts the connections it got.
func listen(t *testing.T) (net.Listener, *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln, n
}

func TestPublicAddress(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "2606:4700:4700::1111": true, "2a01:4f8::1": true, "64:ff9b::808:808": true,
		"::ffff:8.8.8.8": true,
		"127.0.0.1":      false, "127.8.8.8": false, "::1": false, "0.0.0.0": false, "::": false, "10.1.2.3": false,
		"172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "169.254.169.254": false, "fe80::1": false,
		"fc00::1": false, "fd12::1": false, "100.64.0.1": false, "224.0.0.1": false, "ff02::1": false,
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false, "192.0.2.1": false, "2001:db8::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false,
		"64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "::127.0.0.1": false, "fec0::1": false,
		"100::1": false, "fe80::1%eth0": false,
	} {
		if got := publicAddress(netip.MustParseAddr(ip)); got != want {
			t.Errorf("publicAddress(%s) = %v, want %v", ip, got, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	e, err := New(Policy{Allow: []string{
		"git.lan", "Repo.Lan:8443", "10.1.0.0/16", "[::1]:9", "https://wiki.lan:444/mirror/", "file:///srv/repo", "192.168.7.7",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url  string
		want albs.Kind
	}{
		{"https://example.org/x", ""},
		{"http://example.org/x?y=%20", ""},
		{"https://example.org:443", ""},
		{"https://[2606:4700::1]/", ""},
		{"http://git.lan:3000/a", ""},
		{"https://GIT.lan./a", ""},
		{"https://repo.lan:8443/a", ""},
		{"https://10.1.2.3:9999/", ""},
		{"http://[::1]:9/", ""},
		{"http://192.168.7.7:1/", ""},
		{"https://wiki.lan:444/mirror/a/b", ""},
		{"file:///srv/repo/x.rpm", ""},

		{"https://127.0.0.1/", albs.Forbidden},
		{"http://[::1]/", albs.Forbidden},
		{"http://[::ffff:127.0.0.1]/", albs.Forbidden},
		{"http://169.254.169.254/latest/meta-data", albs.Forbidden},
		{"https://10.2.0.1/", albs.Forbidden},
		{"https://192.168.7.8/", albs.Forbidden},
		{"https://wiki.lan:444/mirror", ""},
		{"file:///srv/repo", ""},
		{"file:///srv", albs.Forbidden},
		{"file:///srv/repo/../../etc/passwd", albs.Forbidden},
		{"file:///srv/repository/x", albs.Forbidden},
		{"file:///etc/passwd", albs.Forbidden},

		{"file://host/srv/repo/x", albs.Invalid},
		{"https://user@example.org/", albs.Invalid},
		{"https://user:pw@example.org/", albs.Invalid},
		{"https://example.org/a b", albs.Invalid},
		{"https://example.org/a\n", albs.Invalid},
		{"https://example.org/%0a", albs.Invalid},
		{"https://example.org\\@127.0.0.1/", albs.Invalid},
		{"https://exämple.org/", albs.Invalid},
		{"ftp://example.org/", albs.Invalid},
		{"gopher://example.org/", albs.Invalid},
		{"ext::sh -c id", albs.Invalid},
		{"ssh://git@example.org/x", albs.Invalid},
		{"--upload-pack=x", albs.Invalid},
		{"https:example.org", albs.Invalid},
		{"https:///x", albs.Invalid},
		{"https://-x.org/", albs.Invalid},
		{"https://[fe80::1%25eth0]/", albs.Invalid},
		{"https://example.org:0/", albs.Invalid},
		{"https://example.org:99999/", albs.Invalid},
		{"https://" + strings.Repeat("a", maxURL), albs.Invalid},
		{"", albs.Invalid},
	} {
		if got := albs.KindOf(e.CheckURL(c.url)); got != c.want {
			t.Errorf("CheckURL(%q) = %q, want %q", c.url, got, c.want)
		}
	}

	strict, err := New(Policy{Allow: []string{"https://wiki.lan:444/mirror/"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"https://wiki.lan:444/", "https://wiki.lan:444/mirror/../x", "https://wiki.lan:444/mirror/%2e%2e/x",
		"https://wiki.lan:444/mirror/..%2fx", "https://wiki.lan:444/mirror/..;/x", "https://wiki.lan:444/mirror/.;a=b/x", "https://wiki.lan:444/mirror/%252e%252e/x", "https://wiki.lan:444/mirrors", "https://other.lan:8080/"} {
		if err := strict.CheckURL(u); !errors.Is(err, albs.Forbidden) {
			t.Errorf("CheckURL(%q) = %v, want Forbidden", u, err)
		}
	}
}

func TestNewRefusesBadPolicy(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Policy{
		"host": {Allow: []string{"a b"}}, "scheme": {Allow: []string{"ssh://x/"}}, "port": {Allow: []string{"x:y"}},
		"empty": {Allow: []string{""}}, "CA": {CAFiles: []string{empty}}, "no CA": {CAFiles: []string{empty + "x"}},
	} {
		if _, err := New(p); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: New = %v, want Invalid", name, err)
		}
	}
}

// Nothing is dialled, by name or address, where an address isn't open (T53).
func TestRefusedBeforeDial(t *testing.T) {
	t.Parallel()
	ln, accepted := listen(t)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for name, c := range map[string]struct {
		allow []string
		url   string
		names map[string][]string
	}{
		"loopback":        {url: "http://127.0.0.1:" + port + "/"},
		"name":            {url: "http://evil.example/", names: map[string][]string{"evil.example": {"127.0.0.1"}}},
		"mapped":          {url: "http://evil.example/", names: map[string][]string{"evil.example": {"::ffff:127.0.0.1"}}},
		"nat64":           {url: "http://evil.example/", names: map[string][]string{"evil.example": {"64:ff9b::7f00:1"}}},
		"metadata":        {url: "http://evil.example/", names: map[string][]string{"evil.example": {"169.254.169.254"}}},
		"all private":     {url: "http://evil.example/", names: map[string][]string{"evil.example": {"10.0.0.1 fc00::1 100.64.1.1"}}},
		"port":            {url: "http://evil.example:" + port + "/", names: map[string][]string{"evil.example": {"127.0.0.1"}}},
		"range elsewhere": {allow: []string{"10.0.0.0/8"}, url: "http://evil.example:" + port + "/", names: map[string][]string{"evil.example": {"127.0.0.1"}}},
		"prefix's host, other path": {allow: []string{"http://evil.example/ok/"}, url: "http://evil.example/",
			names: map[string][]string{"evil.example": {"127.0.0.1"}}},
	} {
		e, dials := setup(t, Policy{Allow: c.allow}, c.names)
		_, _, err := e.Get(t.Context(), c.url, 0)
		if !errors.Is(err, albs.Forbidden) {
			t.Errorf("%s: Get = %v, want Forbidden", name, err)
		}
		if dials.Load() != 0 || accepted.Load() != 0 {
			t.Errorf("%s: %d dials, %d connections, want none", name, dials.Load(), accepted.Load())
		}
	}
}

// A name that resolves to a public address when it is checked and to a private
// one later gains nothing: each dial resolves once and dials what it checked.
func TestRebinding(t *testing.T) {
	t.Parallel()
	e, dials := setup(t, Policy{}, map[string][]string{"rebind.example": {"8.8.8.8", "127.0.0.1"}})
	var dialled []string
	connect := e.connect
	e.connect = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
		dialled = append(dialled, a.String())
		return connect(ctx, a)
	}
	if _, _, err := e.Get(t.Context(), "http://rebind.example/", 0); !errors.Is(err, albs.Unavailable) {
		t.Errorf("first Get = %v, want Unavailable (the test's connector refuses)", err)
	}
	if _, _, err := e.Get(t.Context(), "http://rebind.example/", 0); !errors.Is(err, albs.Forbidden) {
		t.Errorf("second Get = %v, want Forbidden", err)
	}
	if dials.Load() != 1 || dialled[0] != "8.8.8.8:80" {
		t.Errorf("dialled %v, want only 8.8.8.8:80", dialled)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	_, accepted := listen(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") })
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = io.WriteString(w, "0123456789")
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/private", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://10.0.0.1/x", http.StatusFound)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("/name", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://inside.example/x", http.StatusFound)
	})
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/busy", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	mux.HandleFunc("/denied", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("local"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil { // opening it would wait for a writer
		t.Fatal(err)
	}
	host := strings.TrimPrefix(srv.URL, "https://")
	e, _ := setup(t, Policy{Allow: []string{host, "file://" + dir}, CAFiles: []string{ca}},
		map[string][]string{"inside.example": {"127.0.0.1"}})
	for _, c := range []struct {
		url   string
		limit int64
		want  string
		kind  albs.Kind
	}{
		{srv.URL + "/ok", 0, "content", ""},
		{srv.URL + "/ok", 7, "content", ""},
		{srv.URL + "/ok", 6, "", albs.TooLarge},
		{srv.URL + "/once", 0, "content", ""},
		{srv.URL + "/chunked", 100, strings.Repeat("0123456789", 10), ""},
		{srv.URL + "/chunked", 99, "", albs.TooLarge},
		{srv.URL + "/none", 0, "", albs.NotFound},
		{srv.URL + "/busy", 0, "", albs.Unavailable},
		{srv.URL + "/denied", 0, "", albs.Invalid},
		{srv.URL + "/private", 0, "", albs.Forbidden},
		{srv.URL + "/name", 0, "", albs.Forbidden},
		{srv.URL + "/file", 0, "", albs.Forbidden},
		{srv.URL + "/loop", 0, "", albs.Forbidden},
		{"http://nowhere.example/", 0, "", albs.Unavailable},
		{"file://" + dir + "/a.txt", 0, "local", ""},
		{"file://" + dir + "/a.txt", 4, "", albs.TooLarge},
		{"file://" + dir + "/b.txt", 0, "", albs.NotFound},
		{"file://" + dir, 0, "", albs.NotFound},
		{"file://" + dir + "/out", 0, "", albs.Forbidden},
		{"file://" + dir + "/pipe", 0, "", albs.NotFound},
	} {
		body, _, err := e.Get(t.Context(), c.url, c.limit)
		var b []byte
		if err == nil {
			b, err = io.ReadAll(body)
			_ = body.Close()
		}
		if albs.KindOf(err) != c.kind || (err == nil && string(b) != c.want) {
			t.Errorf("Get(%s, %d) = %q, %v; want %q, kind %q", c.url, c.limit, b, err, c.want, c.kind)
		}
		if size, err := e.Size(t.Context(), c.url); c.kind != albs.TooLarge && (albs.KindOf(err) != c.kind || err == nil && size != int64(len(c.want)) && !strings.HasSuffix(c.url, "/chunked")) {
			t.Errorf("Size(%s) = %d, %v; want %d, kind %q", c.url, size, err, len(c.want), c.kind)
		}
		status, isStatus := errors.AsType[*StatusError](err)
		if strings.HasSuffix(c.url, "/denied") && (!isStatus || status.Code != 403) {
			t.Errorf("Get(%s) = %v, want a StatusError of 403", c.url, err)
		}
	}
	if accepted.Load() != 0 {
		t.Error("a refused place was dialled")
	}
	untrusting, _ := setup(t, Policy{Allow: []string{host}}, nil)
	if _, _, err := untrusting.Get(t.Context(), srv.URL+"/ok", 0); !errors.Is(err, albs.Forbidden) {
		t.Errorf("Get with an unknown authority = %v, want Forbidden", err)
	}
	if b, err := untrusting.CABundle(); b != nil || err != nil {
		t.Errorf("CABundle without CA files = %d bytes, %v; want none", len(b), err)
	}
	if b, err := e.CABundle(); err != nil || !strings.Contains(string(b), "BEGIN CERTIFICATE") {
		t.Errorf("CABundle = %.60q, %v", b, err)
	}
}

func TestTimeCap(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	e, _ := setup(t, Policy{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}, Timeout: 50 * time.Millisecond}, nil)
	if _, _, err := e.Get(t.Context(), srv.URL, 0); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Get of a silent server = %v, want Unavailable", err)
	}
}

// connect asks the proxy at proxyURL for a tunnel and returns the answer.
func connect(t *testing.T, proxyURL, method, target string, secret bool) (net.Conn, *http.Response) {
	t.Helper()
	u, err := url.Parse(proxyURL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	req := &http.Request{Method: method, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if secret {
		pw, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), pw)
		req.Header.Set("Proxy-Authorization", req.Header.Get("Authorization"))
		req.Header.Del("Authorization")
	}
	if err := req.Write(c); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		t.Fatal(err)
	}
	return c, resp
}

func TestProxy(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	echo := make(chan struct{})
	go func() {
		defer close(echo)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, io.LimitReader(c, 5))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-echo
	})
	forbidden, accepted := listen(t)
	target := ln.Addr().String()
	e, dials := setup(t, Policy{Allow: []string{"https://" + target + "/git/"}}, map[string][]string{"evil.example": {"127.0.0.1"}})

	if _, err := e.Proxy(t.Context(), "https://"+target+"/other", 0); !errors.Is(err, albs.Forbidden) {
		t.Errorf("Proxy for a URL outside the prefix = %v, want Forbidden", err)
	}
	if _, err := e.Proxy(t.Context(), "http://example.org/", 0); !errors.Is(err, albs.Invalid) {
		t.Errorf("Proxy for http = %v, want Invalid", err)
	}
	p, err := e.Proxy(t.Context(), "https://"+target+"/git/x", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, resp := connect(t, p.URL(), http.MethodConnect, target, false); resp.StatusCode != 407 {
		t.Fatalf("CONNECT without the secret: %d, want 407", resp.StatusCode)
	}
	if _, resp := connect(t, p.URL(), http.MethodGet, "http://"+target+"/", true); resp.StatusCode != 405 {
		t.Errorf("GET: %d, want 405", resp.StatusCode)
	}
	if dials.Load() != 0 || p.Err() != nil {
		t.Errorf("%d dials, error %v; want none", dials.Load(), p.Err())
	}
	for _, bad := range []string{forbidden.Addr().String(), "evil.example:443", "169.254.169.254:80", "[::1]:443"} {
		if _, resp := connect(t, p.URL(), http.MethodConnect, bad, true); resp.StatusCode != 403 {
			t.Errorf("CONNECT %s: %d, want 403", bad, resp.StatusCode)
		}
	}
	if dials.Load() != 0 || accepted.Load() != 0 || !errors.Is(p.Err(), albs.Forbidden) {
		t.Errorf("%d dials, %d connections, error %v; want none and Forbidden", dials.Load(), accepted.Load(), p.Err())
	}
	c, resp := connect(t, p.URL(), http.MethodConnect, target, true)
	if resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %d, want 200", resp.StatusCode)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Errorf("through the tunnel: %q, %v", b, err)
	}
	p.Close()
	if _, err := c.Read(b); err == nil {
		t.Error("the tunnel outlived Close")
	}
}

func TestProxyByteCap(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20))
	}))
	t.Cleanup(srv.Close)
	for name, c := range map[string]struct{ policy, limit int64 }{
		"of the policy": {64 << 10, 0}, "of the transfer": {0, 64 << 10}, "of the policy, which is lower": {64 << 10, 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := setup(t, Policy{Allow: []string{"127.0.0.1"}, MaxBytes: c.policy}, nil)
			p, err := e.Proxy(t.Context(), srv.URL, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			u, err := url.Parse(p.URL())
			if err != nil {
				t.Fatal(err)
			}
			tr := srv.Client().Transport.(*http.Transport).Clone()
			t.Cleanup(tr.CloseIdleConnections)
			tr.Proxy = http.ProxyURL(u)
			resp, err := (&http.Client{Transport: tr}).Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Errorf("%d bytes came through, want a broken tunnel", n)
			}
			if !errors.Is(p.Err(), albs.TooLarge) {
				t.Errorf("Err() = %v, want TooLarge", p.Err())
			}
		})
	}
}

// TestMappedAddress: an address in the IPv6 form of an IPv4 one is in the range that
// holds the latter, and that one is dialled.
func TestMappedAddress(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }))
	t.Cleanup(srv.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(srv.URL, "http://"))
	e, _ := setup(t, Policy{Allow: []string{"127.0.0.0/8"}}, map[string][]string{"mapped.example": {"::ffff:127.0.0.1"}})
	body, _, err := e.Get(t.Context(), "http://mapped.example:"+port+"/", 0)
	if err != nil {
		t.Fatalf("Get = %v", err)
	}
	_ = body.Close()
}

// TestManyAddresses: a name with no end of addresses is not tried without end.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprintf("8.8.8.%d", i))
	}
	e, dials := setup(t, Policy{}, map[string][]string{"many.example": {strings.Join(all, " ")}})
	if _, _, err := e.Get(t.Context(), "http://many.example/", 0); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Get = %v, want Unavailable", err)
	}
	if n := dials.Load(); n != maxAddresses {
		t.Errorf("%d addresses were dialled, want %d", n, maxAddresses)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://example.org/x", "http://127.0.0.1", "file:///srv/../x", "https://a@b", "https://[::1%25x]:1/"} {
		f.Add(s)
	}
	e, err := New(Policy{Allow: []string{"file:///srv/repo"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e.CheckURL(s) != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.User != nil {
			t.Fatalf("CheckURL(%q) passed: %v", s, err)
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !publicAddress(ip) {
			t.Fatalf("CheckURL(%q) passed %s", s, ip)
		}
		if u.Scheme == "file" && !strings.HasPrefix(filepath.Clean(u.Path)+"/", "/srv/repo/") {
			t.Fatalf("CheckURL(%q) passed a file outside", s)
		}
	})
}
