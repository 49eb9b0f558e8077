package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
)

// macroName is rpm's own grammar: three characters at least, options in parentheses.
var macroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,99}(\([A-Za-z:-]*\))?$`)

// MacroFile returns macros as a file that rpm reads, sorted by name. A name or body
// that would be read as anything but this one macro is an Invalid error: rpm goes on
// with the next line as long as a brace is open or a line ends in a backslash.
func MacroFile(macros map[string]string) ([]byte, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(macros)) {
		body := macros[name]
		if !macroName.MatchString(name) {
			return nil, albs.Errorf(albs.Invalid, "macro name %.60q is not one that rpm takes", name)
		}
		if body == "" {
			body = "%{nil}" // rpm has no empty bodies
		}
		if err := checkBody(body); err != nil {
			return nil, albs.Errorf(albs.Invalid, "macro %%%s: %v", name, err)
		}
		fmt.Fprintf(&b, "%%%s %s\n", name, body)
	}
	return []byte(b.String()), nil
}

// checkBody counts as rdcl() of rpm's rpmio/macro.c does.
func checkBody(body string) error {
	switch {
	case len(body) > 4096:
		return fmt.Errorf("its body is longer than 4096 bytes")
	case !utf8.ValidString(body) || strings.ContainsFunc(body, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
		return fmt.Errorf("its body is not one line of text")
	case strings.TrimSpace(body) != body:
		return fmt.Errorf("its body begins or ends with a blank, which rpm would drop")
	case strings.HasSuffix(body, `\`):
		return fmt.Errorf("its body ends in a backslash")
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
		return fmt.Errorf("a brace or parenthesis of its body is never closed")
	}
	return nil
}
