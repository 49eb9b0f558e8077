package option

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Tests are what a build, or one package of it, asks for of the tests that maintainers
// wrote.
type Tests struct {
	Suites []albs.AskedSuite `json:"tests,omitempty"`
	// Env are variables of all tests of the packages' own.
	Env map[string]string `json:"env,omitempty"`
}

// Bounds of Tests.
const (
	maxSuites = 20
	maxFiles  = 100 // of a suite, and packages
	maxName   = 255 // bytes
)

// IsZero reports whether t asks for nothing.
func (t Tests) IsZero() bool { return len(t.Suites) == 0 && len(t.Env) == 0 }

// and returns t with what p adds: p's folders first, for of two that are one folder the
// first counts, and p's word on a variable.
func (t Tests) and(p Tests) Tests {
	out := Tests{Suites: slices.Concat(p.Suites, t.Suites)}
	if len(t.Env)+len(p.Env) > 0 {
		out.Env = map[string]string{}
		maps.Copy(out.Env, t.Env)
		maps.Copy(out.Env, p.Env)
	}
	return out
}

var packageForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$`)

// check returns an Invalid error that says what of t can't be done anywhere; whether its
// URLs and refs can be, source knows.
func (t Tests) check() error {
	if len(t.Suites) > maxSuites {
		return albs.Errorf(albs.Invalid, "%d folders of tests are more than %d", len(t.Suites), maxSuites)
	}
	for _, s := range t.Suites {
		if len(s.Files) > maxFiles || len(s.Packages) > maxFiles {
			return albs.Errorf(albs.Invalid, "the tests of %.200q name more than %d files or packages", s.URL, maxFiles)
		}
		if s.Dir != "" && (!fs.ValidPath(strings.TrimSuffix(s.Dir, "/")) || len(s.Dir) > maxName || s.Dir[0] == '-' || !plain(s.Dir)) {
			return albs.Errorf(albs.Invalid, "test_dir %.80q is no path of a folder in a repository", s.Dir)
		}
		for _, f := range s.Files {
			if !fs.ValidPath(f) || f == "." || strings.Contains(f, "/") || len(f) > maxName || !plain(f) {
				return albs.Errorf(albs.Invalid, "tests_to_run: %.80q is no name of a file in the folder", f)
			}
		}
		for _, p := range s.Packages {
			if !packageForm.MatchString(p) {
				return albs.Errorf(albs.Invalid, "package %.80q: give the name of a package, without its version", p)
			}
		}
	}
	return albs.CheckVariables(t.Env)
}

// plain reports whether s is text of one line.
func plain(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
