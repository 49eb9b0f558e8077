package suite

import (
	"bytes"
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// MaxTests is how many files of one folder are run.
const MaxTests = 100

// Report is where, inside, a test of the form JUnit leaves its report.
const Report = "/var/tmp/package-tests.xml"

// Programs that run tests, beside those that these name themselves.
const (
	bats    = "/usr/bin/bats"
	pytest  = "/usr/bin/pytest"
	ansible = "/usr/bin/ansible-playbook"
)

// Test is one file to run.
type Test struct {
	Name string // of the file, in its folder
	// Setup is a file that makes ready what those behind it need.
	Setup bool
	// Argv runs it, in its folder.
	Argv []string
	// Program is the path of the program that has to be there, which is also what a
	// package is asked for that has it.
	Program string
	// Form is how it tells what it came to, beside its exit code.
	Form Form
}

// Form is how a test tells what it came to.
type Form int

// The forms.
const (
	Any   Form = iota // by TAP, if its output looks so
	TAP               // by TAP
	JUnit             // by a report in JUnit's form
	Play              // by Ansible's words
)

// Tests returns the tests of a folder of the tree, "" for its top, in the order in which
// they are run: 0_init and 0_install with any suffix first, the others by name. Files in
// folders below it are none. Which files are tests, and how they are run, their suffix
// says: .bats, .sh and .bash, .py, .yml and .yaml (an Ansible playbook); one without a
// suffix is one if it may be run and names its interpreter. A script whose first line
// names an interpreter is run by that; a .py that doesn't is pytest's. With only, those
// are run beside the setup; a name that is no test is Invalid. A folder that isn't there
// or has no tests is NotFound, too many are Invalid.
func (t Tree) Tests(dir string, only []string) ([]Test, error) {
	dir = path.Clean(cmp.Or(dir, "."))
	var tests []Test
	there := false
	for _, f := range t.Files {
		there = there || dir == "." || strings.HasPrefix(f.Name, dir+"/")
		if path.Dir(f.Name) != dir {
			continue
		}
		if test, ok := how(f); ok && (len(only) == 0 || test.Setup || slices.Contains(only, test.Name)) {
			tests = append(tests, test)
		}
	}
	for _, name := range only {
		if !slices.ContainsFunc(tests, func(t Test) bool { return t.Name == name }) {
			return nil, albs.Errorf(albs.Invalid, "the folder %s has no test %.200q", dir, name)
		}
	}
	switch {
	case !there:
		return nil, albs.Errorf(albs.NotFound, "there is no folder %s", dir)
	case len(tests) == 0:
		return nil, albs.Errorf(albs.NotFound, "the folder %s has no tests", dir)
	case len(tests) > MaxTests:
		return nil, albs.Errorf(albs.Invalid, "the folder %s has %d tests, at most %d are run", dir, len(tests), MaxTests)
	}
	slices.SortStableFunc(tests, func(a, b Test) int { return cmp.Compare(turn(a.Name), turn(b.Name)) })
	return tests, nil
}

// turn is the place of a test among the others.
func turn(name string) int {
	switch strings.TrimSuffix(name, path.Ext(name)) {
	case "0_init":
		return 0
	case "0_install":
		return 1
	}
	return 2
}

// how returns how a file is run; false if it is no test.
func how(f File) (Test, bool) {
	name := path.Base(f.Name)
	t := Test{Name: name, Setup: turn(name) < 2}
	file := "./" + name // whatever the name begins with
	by, named := interpreter(f.Data)
	script := func(usual string) {
		if !named {
			by = []string{usual}
		}
		t.Argv, t.Program = append(by, file), program(by)
	}
	switch path.Ext(name) {
	case ".bats":
		t.Argv, t.Program, t.Form = []string{bats, "--tap", file}, bats, TAP
	case ".sh":
		script("/bin/sh")
	case ".bash":
		script("/bin/bash")
	case ".py":
		switch {
		case name == "conftest.py" || name == "__init__.py":
			return Test{}, false
		case named:
			script("")
		default:
			t.Argv, t.Program, t.Form = []string{pytest, "-p", "no:cacheprovider", "--junit-xml=" + Report, file}, pytest, JUnit
		}
	case ".yml", ".yaml":
		t.Argv, t.Program, t.Form = []string{ansible, "-i", "localhost,", "-c", "local", file}, ansible, Play
	case "":
		if !f.Exec || !named {
			return Test{}, false
		}
		script("")
	default:
		return Test{}, false
	}
	return t, true
}

// interpreter returns the program, and its one argument, that the first line of a script
// names, as execve(2) reads it.
func interpreter(script []byte) ([]string, bool) {
	line, _, _ := bytes.Cut(script[:min(len(script), 256)], []byte("\n"))
	rest, ok := strings.CutPrefix(string(line), "#!")
	name, argument, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if !ok || !path.IsAbs(name) || strings.ContainsRune(rest, 0) {
		return nil, false
	}
	if argument = strings.TrimSpace(argument); argument != "" {
		return []string{name, argument}, true
	}
	return []string{name}, true
}

var plainProgram = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

// program returns the path of the program that an interpreter comes to: of env that which
// it looks for.
func program(by []string) string {
	if len(by) == 2 && path.Base(by[0]) == "env" && plainProgram.MatchString(by[1]) {
		return "/usr/bin/" + by[1]
	}
	return by[0]
}
