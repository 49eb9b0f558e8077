package albs

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// What is here is the grammar of words that a person writes and rpm or dnf reads in a
// root, so that the master refuses what a worker would refuse.

// macroName is rpm's own grammar: three characters at least, options in parentheses.
var macroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,99}(\([A-Za-z:-]*\))?$`)

const maxMacroBody = 4096

// CheckMacro returns an Invalid error unless rpm reads name and body as this one macro
// and nothing more: it goes on with the next line as long as a brace is open or a line
// ends in a backslash. An empty body is none of rpm's; callers put %{nil} for it.
func CheckMacro(name, body string) error {
	if !macroName.MatchString(name) {
		return Errorf(Invalid, "macro name %.60q is not one that rpm takes", name)
	}
	if why := bodyFault(body); why != "" {
		return Errorf(Invalid, "macro %%%s: its body %s", name, why)
	}
	return nil
}

// bodyFault counts braces as rdcl() of rpm's rpmio/macro.c does.
func bodyFault(body string) string {
	switch {
	case len(body) > maxMacroBody:
		return "is longer than 4096 bytes"
	case !utf8.ValidString(body) || strings.ContainsFunc(body, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return "is not one line of text"
	case strings.TrimSpace(body) != body:
		return "begins or ends with a blank, which rpm would drop"
	case strings.HasSuffix(body, `\`):
		return "ends in a backslash"
	}
	const opening, closing = "{([", "})]"
	var open [3]int
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\':
			i++
		case c == '%' && i+1 < len(body):
			if k := strings.IndexByte(opening, body[i+1]); k >= 0 {
				open[k]++
				i++
			} else if body[i+1] == '%' {
				i++
			}
		default:
			if k := strings.IndexByte(opening, c); k >= 0 && open[k] > 0 {
				open[k]++
			}
			if k := strings.IndexByte(closing, c); k >= 0 && open[k] > 0 {
				open[k]--
			}
		}
	}
	if open != [3]int{} {
		return "has a brace or parenthesis that is never closed"
	}
	return ""
}

var (
	// A bracket, which dnf takes for a set of characters, is left out: nobody needs it.
	excludeForm = regexp.MustCompile(`^[A-Za-z0-9_*?][A-Za-z0-9_.+*?~^:-]{0,99}$`)
	streamForm  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$`)
)

// CheckExclude returns an Invalid error unless s can only be one of dnf's patterns of
// packages that it may not take: a name, a NEVRA or either with * and ?.
func CheckExclude(s string) error {
	if !excludeForm.MatchString(s) {
		return Errorf(Invalid, "exclude %.60q is not the name of a package or a pattern of such with * and ?", s)
	}
	return nil
}

// CheckModule returns an Invalid error unless s is a module with its stream, name:stream.
func CheckModule(s string) error {
	if !streamForm.MatchString(s) {
		return Errorf(Invalid, "module %.60q is not of the form name:stream", s)
	}
	return nil
}
