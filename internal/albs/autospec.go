package albs

import (
	"bytes"
	"regexp"
)

// autoMacro finds what only rpmautospec can fill in, from the history of the git
// repository.
var autoMacro = regexp.MustCompile(`(?:^|[^%])%\{?(\?)?(autorelease|autochangelog)\b`)

// autoDefined finds where a spec defines them itself, as rpmautospec leaves it.
var autoDefined = regexp.MustCompile(`^\s*%(?:define|global)\s+(autorelease|autochangelog)\b`)

// Autospec returns which of rpmautospec's macros, autorelease and autochangelog, the
// text of a spec file uses that neither it nor macros define; "" for none. One without
// which it can't be built goes first, and must is true then: a spec that asks
// %{?autorelease} can do without. The text is looked at and nothing in it evaluated, so
// that a use which is put together by other macros isn't seen.
func Autospec(spec []byte, macros ...map[string]string) (macro string, must bool) {
	defined := map[string]bool{}
	for _, m := range macros {
		for name := range m {
			defined[name] = true
		}
	}
	for line := range bytes.Lines(spec) {
		line = bytes.TrimSpace(line)
		if m := autoDefined.FindSubmatch(line); m != nil {
			defined[string(m[1])] = true
			continue
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		for _, m := range autoMacro.FindAllSubmatch(line, -1) {
			name, optional := string(m[2]), len(m[1]) > 0
			switch {
			case defined[name]:
			case !optional:
				return name, true
			case macro == "":
				macro = name
			}
		}
	}
	return macro, false
}
