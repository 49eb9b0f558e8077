package suite

import (
	"maps"
	"slices"

	"albs/internal/albs"
)

// Variables returns variables of tests as NAME=VALUE, by name; Invalid as of
// albs.CheckVariables.
func Variables(env map[string]string) ([]string, error) {
	if err := albs.CheckVariables(env); err != nil {
		return nil, err
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, name+"="+env[name])
	}
	return all, nil
}
