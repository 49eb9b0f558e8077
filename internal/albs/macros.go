package albs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MacroFile returns macros as a file that rpm reads, sorted by name. A name or body
// that would be read as anything but this one macro is an Invalid error. The digest of
// the file is the name of the macros, for roots, records and statements.
func MacroFile(macros map[string]string) ([]byte, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(macros)) {
		body := macros[name]
		if body == "" {
			body = "%{nil}" // rpm has no empty bodies
		}
		if err := CheckMacro(name, body); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%%%s %s\n", name, body)
	}
	return []byte(b.String()), nil
}
