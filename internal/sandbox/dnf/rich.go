package dnf

import (
	"slices"
	"strings"
)

// Bounds of a rich requirement: those that it comes apart into, and what lies in what.
const (
	maxClauses = 64
	maxNested  = 16
)

// Apart returns the requirements as ones that "dnf install" takes at their word, in their
// order. Of a rich one it installs one package that any part of it names: that is what "or"
// means, but not "and", so that what "and" joins comes apart, below "or" as well. What
// can't be read, or comes apart into too many, stays as it is. A part is none of a caller's
// words: what bounds requirements is to be asked of what is returned.
func Apart(requirements []string) []string {
	var out []string
	for _, r := range requirements {
		all, rest, ok := parseRich(r, maxNested)
		if !ok || rest != "" {
			all = [][]string{{r}}
		}
		for _, any := range all {
			if len(any) > 1 {
				out = append(out, "("+strings.Join(any, " or ")+")")
			} else {
				out = append(out, any[0])
			}
		}
	}
	return out
}

// parseRich reads a requirement at the beginning of s and returns it as requirements that
// all hold, each by one of several, and what comes behind it; nested is how deep it may be.
func parseRich(s string, nested int) (all [][]string, rest string, ok bool) {
	if !strings.HasPrefix(s, "(") {
		text, rest := cutPlain(s)
		return [][]string{{text}}, rest, text != ""
	}
	if nested == 0 {
		return nil, "", false
	}
	var parts [][][]string
	var words []string
	for rest = s[1:]; ; {
		part, behind, ok := parseRich(rest, nested-1)
		if !ok {
			return nil, "", false
		}
		parts = append(parts, part)
		if behind, ok := strings.CutPrefix(behind, ")"); ok {
			rest = behind
			break
		}
		word, behind, ok := strings.Cut(strings.TrimLeft(behind, " "), " ")
		if !ok {
			return nil, "", false
		}
		words, rest = append(words, word), strings.TrimLeft(behind, " ")
	}
	one := slices.Compact(slices.Clone(words)) // rpm chains equal words alone, but if … else
	switch {
	case len(words) == 0:
		return nil, "", false
	case slices.Equal(one, []string{"and"}):
		all = slices.Concat(parts...)
	case slices.Equal(one, []string{"or"}):
		if all = either(parts); len(all) > maxClauses {
			return nil, "", false
		}
	default:
		all = [][]string{{s[:len(s)-len(rest)]}}
	}
	return all, rest, true
}

// either returns what holds when one of parts does: a or (b and c) is a or b, and a or c.
func either(parts [][][]string) [][]string {
	all := [][]string{nil}
	for _, part := range parts {
		var next [][]string
		for _, have := range all {
			for _, more := range part {
				next = append(next, slices.Concat(have, more))
			}
		}
		if all = next; len(all) > maxClauses {
			break
		}
	}
	return all
}

// cutPlain cuts a name, with its version if it has one, from the beginning of s. A name may
// have pairs of parentheses.
func cutPlain(s string) (text, rest string) {
	depth := 0
	end := strings.IndexFunc(s, func(c rune) bool {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		return c == ' ' || depth < 0
	})
	if end < 0 {
		return s, ""
	}
	words := strings.SplitN(s[end:], " ", 4) // "", comparison, version and what is behind
	if len(words) > 2 && words[0] == "" && slices.Contains([]string{"<", "<=", "=", ">=", ">"}, words[1]) {
		version, _, _ := strings.Cut(words[2], ")")
		end += len(" " + words[1] + " " + version)
	}
	return s[:end], s[end:]
}
