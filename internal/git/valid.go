package git

import (
	"net/netip"
	"net/url"
	"strings"

	"albs/internal/albs"
)

const (
	maxURL = 2048
	maxRef = 255
)

// ValidURL returns an Invalid error unless s is an https URL of a repository in a
// plain spelling: a host, an optional port, a path of letters, digits and
// ._~-+/@ without empty or dot segments; no credentials, query or fragment.
func ValidURL(s string) error {
	bad := func(why string) error { return albs.Errorf(albs.Invalid, "git URL %.200q %s", s, why) }
	if len(s) > maxURL {
		return albs.Errorf(albs.Invalid, "git URL has more than %d bytes", maxURL)
	}
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return bad("must begin with https://")
	}
	host, path, ok := strings.Cut(rest, "/")
	if !ok || path == "" {
		return bad("names no repository")
	}
	if strings.Contains(host, "@") {
		return albs.Errorf(albs.Invalid, "a git URL must not carry credentials")
	}
	u, err := url.Parse(s)
	if err != nil || u.Host != host || !validHost(u.Hostname()) {
		return bad("has no valid host")
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if part == "" || part == "." || part == ".." || part[0] == '-' {
			return bad("has an empty segment, a dot segment or one that begins with a dash")
		}
		for _, c := range []byte(part) {
			if !isAlnum(c) && !strings.ContainsRune("._~-+@", rune(c)) {
				return bad("has a character other than letters, digits and ._~-+@ in its path")
			}
		}
	}
	return nil
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return !strings.Contains(host, "%")
	}
	if host == "" || host[0] == '-' || host[0] == '.' {
		return false
	}
	for _, c := range []byte(host) {
		if !isAlnum(c) && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// ValidRef returns an Invalid error unless s may be a branch, a tag or a commit
// id: the rules of git-check-ref-format, and beyond them only ASCII letters,
// digits and ._-/+@=,# so that nothing in a ref can mean anything to any
// program it passes through.
func ValidRef(s string) error {
	bad := func(why string) error { return albs.Errorf(albs.Invalid, "git ref %.80q %s", s, why) }
	switch {
	case s == "":
		return albs.Errorf(albs.Invalid, "the git ref is empty; give a branch, a tag or a full commit id")
	case len(s) > maxRef:
		return bad("is too long")
	case s[0] == '-':
		return bad("begins with a dash")
	case s == "@" || strings.Contains(s, "@{") || strings.Contains(s, "..") || s[len(s)-1] == '.':
		return bad("is not a name that git allows")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return bad("is not a name that git allows")
		}
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && !strings.ContainsRune("._-/+@=,#", rune(c)) {
			return bad("has a character other than letters, digits and ._-/+@=,#")
		}
	}
	return nil
}

// validCommit reports whether s is a full id of git's sha1 object format.
func validCommit(s string) bool {
	if len(s) != 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
