package suite

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

const (
	maxVariables = 100
	maxValue     = 4096
)

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,99}$`)

// Variables returns variables of tests as NAME=VALUE, by name. Too many, names that a
// shell doesn't have, and values that are long or no text are Invalid.
func Variables(env map[string]string) ([]string, error) {
	if len(env) > maxVariables {
		return nil, albs.Errorf(albs.Invalid, "%d variables of tests are more than %d", len(env), maxVariables)
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !variable.MatchString(name) {
			return nil, albs.Errorf(albs.Invalid, "%.120q is no name of a variable", name)
		}
		if len(env[name]) > maxValue || strings.ContainsRune(env[name], 0) {
			return nil, albs.Errorf(albs.Invalid, "the variable %s has a value that is no text of at most %d bytes", name, maxValue)
		}
		all = append(all, name+"="+env[name])
	}
	return all, nil
}
