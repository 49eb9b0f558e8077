package suites

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
)

// Configuration is what a build, or a package of one, asks for of tests, in ALBS's form.
type Configuration struct {
	Tests []albs.AskedSuite `json:"tests,omitempty" doc:"Folders of tests, beside those that test repositories map; git_ref may be absent, and is HEAD then"`
	Env   Environment       `json:"test_env,omitzero"`
}

// Environment is what is around the tests.
type Environment struct {
	Variables []string `json:"extra_env_vars,omitempty" doc:"NAME=VALUE each"`
}

// Parse reads a test_configuration that lies at a path of the body. As other members it
// does what it says, or is refused: of ALBS's test_env that is all but extra_env_vars and
// pytest_is_needed, which needs nobody to say it.
func Parse(text json.RawMessage, at string) (build.Tests, error) {
	var out build.Tests
	if rest.Empty(text) {
		return out, nil
	}
	var in struct {
		Tests []albs.AskedSuite          `json:"tests"`
		Env   map[string]json.RawMessage `json:"test_env"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return out, albs.Errorf(albs.Invalid, "%s has to be an object of tests (a list of url, git_ref, test_dir, tests_to_run and packages) and test_env: %v", at, err)
	}
	for i := range in.Tests {
		if in.Tests[i].Ref == "" {
			in.Tests[i].Ref = "HEAD"
		}
	}
	out.Suites = in.Tests
	for _, name := range slices.Sorted(maps.Keys(in.Env)) {
		v := in.Env[name]
		var lines []string
		switch {
		case rest.Empty(v) || name == "pytest_is_needed":
		case name != "extra_env_vars":
			return out, rest.NotSupported(at + ".test_env." + name)
		case json.Unmarshal(v, &lines) != nil:
			return out, albs.Errorf(albs.Invalid, "%s.test_env.extra_env_vars has to be a list of NAME=VALUE", at)
		}
		for _, line := range lines {
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				return out, albs.Errorf(albs.Invalid, "%s.test_env.extra_env_vars: %.80q has no =", at, line)
			}
			if out.Env == nil {
				out.Env = map[string]string{}
			}
			out.Env[name] = value
		}
	}
	return out, nil
}

// Show returns t in ALBS's form, nil if it asks for nothing.
func Show(t build.Tests) *Configuration {
	if t.IsZero() {
		return nil
	}
	out := &Configuration{Tests: t.Suites}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		out.Env.Variables = append(out.Env.Variables, fmt.Sprintf("%s=%s", name, t.Env[name]))
	}
	return out
}
