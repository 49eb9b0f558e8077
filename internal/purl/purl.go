// Package purl writes and reads package URLs: pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS
// (purl specification of package-url). It knows how they are spelt, and no type's rules.
package purl

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
)

// maxBytes bounds what Parse looks at.
const maxBytes = 4 << 10

// PURL is a package URL in its parts, none of them escaped.
type PURL struct {
	Type      string // "rpm"
	Namespace string // "almalinux"; segments are parted by slashes
	Name      string
	Version   string
	// Qualifiers are written in the order of their names, and those without a value not
	// at all.
	Qualifiers map[string]string
}

// String returns the package URL as the specification's "How to build purl string" has it.
func (p PURL) String() string {
	var b strings.Builder
	b.WriteString("pkg:" + p.Type + "/")
	for segment := range strings.SplitSeq(p.Namespace, "/") {
		if segment != "" {
			b.WriteString(Escape(segment) + "/")
		}
	}
	b.WriteString(Escape(p.Name))
	if p.Version != "" {
		b.WriteString("@" + Escape(p.Version))
	}
	var list []string
	for k, v := range p.Qualifiers {
		if v != "" {
			list = append(list, k+"="+Escape(v))
		}
	}
	if len(list) > 0 {
		slices.Sort(list)
		b.WriteString("?" + strings.Join(list, "&"))
	}
	return b.String()
}

// Escape writes all but what a purl leaves as it is in percent-encoding.
func Escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Parse reads a package URL, also one that leaves characters as they are which String
// would escape. A subpath is dropped. The error is Invalid.
func Parse(s string) (PURL, error) {
	bad := func(why string) (PURL, error) {
		return PURL{}, albs.Errorf(albs.Invalid, "%.100q is no package URL: %s", s, why)
	}
	if len(s) > maxBytes {
		return bad("it is too long")
	}
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok {
		return bad("it doesn't begin with pkg:")
	}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	typ, rest, ok := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if !ok || typ == "" {
		return bad("it has no type")
	}
	p := PURL{Type: strings.ToLower(typ)}
	// An @ of a namespace is escaped, or stands before a slash.
	if i := strings.LastIndexByte(rest, '@'); i > strings.LastIndexByte(rest, '/') {
		if p.Version, ok = unescape(rest[i+1:]); !ok {
			return bad("its version is escaped wrongly")
		}
		rest = rest[:i]
	}
	var segments []string
	for segment := range strings.SplitSeq(rest, "/") {
		plain, ok := unescape(segment)
		if !ok {
			return bad("a part is escaped wrongly")
		}
		if plain != "" {
			segments = append(segments, plain)
		}
	}
	if len(segments) == 0 {
		return bad("it has no name")
	}
	p.Name = segments[len(segments)-1]
	p.Namespace = strings.Join(segments[:len(segments)-1], "/")
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if v, ok = unescape(v); !ok {
			return bad("a qualifier is escaped wrongly")
		}
		if k == "" || v == "" {
			continue
		}
		if p.Qualifiers == nil {
			p.Qualifiers = map[string]string{}
		}
		p.Qualifiers[strings.ToLower(k)] = v
	}
	return p, nil
}

// unescape undoes percent-encoding; a plus is a plus.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		high, ok1 := digit(s[i+1])
		low, ok2 := digit(s[i+2])
		if !ok1 || !ok2 {
			return "", false
		}
		b.WriteByte(high<<4 | low)
		i += 2
	}
	return b.String(), true
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
