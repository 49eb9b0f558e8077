package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"albs/internal/albs"
)

// MacroFile returns macros as a file that rpm reads, sorted by name. A name or body
// that would be read as anything but this one macro is an Invalid error.
func MacroFile(macros map[string]string) ([]byte, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(macros)) {
		body := macros[name]
		if body == "" {
			body = "%{nil}" // rpm has no empty bodies
		}
		if err := albs.CheckMacro(name, body); err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%%%s %s\n", name, body)
	}
	return []byte(b.String()), nil
}
