package egress

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"albs/internal/albs"
)

const maxURL = 8 << 10

// verdict says how far a URL or a host is open.
type verdict int

const (
	verdictPublic verdict = iota // its addresses must pass the check
	verdictOpen                  // the policy names it: any address, any port
	verdictFile                  // a local file under an allowed directory
)

// rules are the parsed Allow entries.
type rules struct {
	hosts    map[string]bool // "host" or "host:port", lower case
	ranges   []netip.Prefix
	prefixes []*url.URL // http and https
	dirs     []string   // clean absolute paths
}

func parseRules(entries []string) (rules, error) {
	rs := rules{hosts: make(map[string]bool)}
	for _, entry := range entries {
		if strings.Contains(entry, "://") {
			u, err := parseURL(entry)
			if err != nil {
				return rs, albs.Errorf(albs.Invalid, "egress.allow: %w", err)
			}
			if u.Scheme == "file" {
				rs.dirs = append(rs.dirs, path.Clean(u.Path))
			} else {
				rs.prefixes = append(rs.prefixes, u)
			}
			continue
		}
		if p, err := netip.ParsePrefix(entry); err == nil {
			rs.ranges = append(rs.ranges, p.Masked())
			continue
		}
		if ip, err := netip.ParseAddr(strings.Trim(entry, "[]")); err == nil && ip.Zone() == "" {
			ip = ip.Unmap()
			rs.ranges = append(rs.ranges, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		host, port := entry, ""
		if strings.Contains(entry, ":") {
			h, p, err := splitHostPort(entry)
			if err != nil {
				return rs, albs.Errorf(albs.Invalid, "egress.allow: %w", err)
			}
			host, port = h, strconv.Itoa(int(p))
		}
		name := canonicalHost(host)
		if _, err := netip.ParseAddr(name); err != nil && !validHost(name) {
			return rs, albs.Errorf(albs.Invalid, "egress.allow: %.80q is neither a host, host:port, address, range nor URL prefix", entry)
		}
		if port != "" {
			name = net.JoinHostPort(name, port)
		}
		rs.hosts[name] = true
	}
	return rs, nil
}

// CheckURL tells whether rawURL may be asked for, before anything is resolved or
// dialled: Invalid for a URL that is malformed, carries credentials or control
// characters or has another scheme than http, https and file; Forbidden for one
// that the policy doesn't open. That a name passes here says nothing of its
// addresses; those are checked when it is dialled.
func (e *Egress) CheckURL(rawURL string) error {
	_, err := e.judge(rawURL)
	return err
}

func (e *Egress) judge(rawURL string) (verdict, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return verdictPublic, err
	}
	if u.Scheme == "file" {
		if dir, _ := e.rules.dir(u.Path); dir == "" {
			return verdictPublic, albs.Errorf(albs.Forbidden, "%.200s lies under no file:// directory that egress.allow names", rawURL)
		}
		return verdictFile, nil
	}
	for _, p := range e.rules.prefixes {
		if covers(p, u) {
			return verdictOpen, nil
		}
	}
	port := portOf(u)
	if e.rules.host(u.Hostname(), port) == verdictOpen {
		return verdictOpen, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if !e.rules.address(ip.Unmap(), port) {
			return verdictPublic, albs.Errorf(albs.Forbidden, "%s, port %d, is not open: only public addresses on ports 80 and 443 are, "+
				"unless egress.allow names it", ip, port)
		}
		return verdictPublic, nil
	}
	// A name on another port may still lie in an allowed range, which only the
	// dialer can tell.
	if !publicPort(port) && len(e.rules.ranges) == 0 {
		return verdictPublic, albs.Errorf(albs.Forbidden, "port %d of %s is not open: only 80 and 443 are, unless egress.allow names the host", port, u.Hostname())
	}
	return verdictPublic, nil
}

// parseURL returns rawURL in the only form that is let through.
func parseURL(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, albs.Errorf(albs.Invalid, "a URL of %d bytes is too long", len(rawURL))
	}
	for _, c := range []byte(rawURL) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, albs.Errorf(albs.Invalid, "URL %.200q has a space, a control character, a backslash or a byte outside ASCII", rawURL)
		}
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%.200q is not a URL", rawURL)
	}
	switch {
	case u.User != nil:
		return nil, albs.Errorf(albs.Invalid, "a URL must not carry credentials (host %.80q)", u.Host)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		return nil, albs.Errorf(albs.Invalid, "URL %.200q must begin with https://, http:// or file://", rawURL)
	case u.Opaque != "":
		return nil, albs.Errorf(albs.Invalid, "%.200q is not a URL with a host", rawURL)
	case hasControl(u.Path):
		return nil, albs.Errorf(albs.Invalid, "URL %.200q hides a control character", rawURL)
	}
	if u.Scheme == "file" {
		if u.Host != "" || !path.IsAbs(u.Path) || u.RawQuery != "" {
			return nil, albs.Errorf(albs.Invalid, "%.200q must be file:/// and an absolute path", rawURL)
		}
		return u, nil
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); (err != nil && !validHost(canonicalHost(host))) || strings.Contains(host, "%") {
		return nil, albs.Errorf(albs.Invalid, "URL %.200q has no valid host", rawURL)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, albs.Errorf(albs.Invalid, "URL %.200q has no valid port", rawURL)
		}
	}
	return u, nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// covers reports whether u lies under the prefix p: same scheme, host and port,
// and a path under p's with no step up, in whatever spelling.
func covers(p, u *url.URL) bool {
	if p.Scheme != u.Scheme || canonicalHost(p.Hostname()) != canonicalHost(u.Hostname()) || portOf(p) != portOf(u) {
		return false
	}
	// Servers differ in how they read %2f, %25 (which some decode twice), and dot
	// segments, to which some count ones with parameters; none may lead out.
	raw := strings.ToLower(u.EscapedPath())
	if strings.Contains(raw, "%2f") || strings.Contains(raw, "%5c") || strings.Contains(raw, "%25") {
		return false
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part, _, _ = strings.Cut(part, ";"); part == ".." || part == "." {
			return false
		}
	}
	return under(p.Path, u.Path)
}

// under reports whether name is dir or lies in it.
func under(dir, name string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// dir returns the allowed directory that name is or lies in, and name's path within
// it; "" if there is none.
func (rs rules) dir(name string) (dir, rel string) {
	name = path.Clean(name)
	for _, d := range rs.dirs {
		if under(d, name) {
			return d, cmp.Or(strings.TrimPrefix(strings.TrimPrefix(name, d), "/"), ".")
		}
	}
	return "", ""
}

// host returns verdictOpen if an entry names the host, alone or with the port.
func (rs rules) host(host string, port uint16) verdict {
	h := canonicalHost(host)
	if rs.hosts[h] || rs.hosts[net.JoinHostPort(h, strconv.Itoa(int(port)))] {
		return verdictOpen
	}
	return verdictPublic
}

// address reports whether ip, already unmapped, may be dialled on port.
func (rs rules) address(ip netip.Addr, port uint16) bool {
	for _, p := range rs.ranges {
		if p.Contains(ip) {
			return true
		}
	}
	return publicPort(port) && publicAddress(ip)
}

func publicPort(port uint16) bool { return port == 80 || port == 443 }

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052

// notPublic are the special-purpose ranges of IANA's registries (RFC 6890 and
// its successors) that are no place on the public network.
var notPublic = func() (ps []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}()

var global6 = netip.MustParsePrefix("2000::/3")

// publicAddress reports whether ip is a globally routable unicast address. An
// address that wraps an IPv4 one is judged by what it wraps.
func publicAddress(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsValid() || ip.Zone() != "" {
		return false
	}
	if ip.Is6() {
		if nat64.Contains(ip) {
			b := ip.As16()
			return publicAddress(netip.AddrFrom4([4]byte(b[12:])))
		}
		if !global6.Contains(ip) {
			return false
		}
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

func canonicalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// validHost reports whether name has the form of a DNS name.
func validHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func portOf(u *url.URL) uint16 {
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return 0
		}
		return uint16(n)
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}

func splitHostPort(addr string) (string, uint16, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, albs.Errorf(albs.Invalid, "%.80q is not host:port", addr)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 {
		return "", 0, albs.Errorf(albs.Invalid, "%.80q has no valid port", addr)
	}
	return host, uint16(port), nil
}

// hostPort returns u's host and port in the form that canonicalHostPort gives.
func hostPort(u *url.URL) string {
	return net.JoinHostPort(canonicalHost(u.Hostname()), strconv.Itoa(int(portOf(u))))
}

func canonicalHostPort(addr string) string {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(canonicalHost(host), strconv.Itoa(int(port)))
}
