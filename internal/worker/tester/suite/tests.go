package suite

import (
	"bytes"
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// MaxTests is how many files of one folder are run.
const MaxTests = 100

// Folder is where, inside, the tree of a commit lies while its tests run.
const Folder = "/var/tmp/package-tests"

// Report is where, inside, a test of the form JUnit leaves its report.
const Report = "/var/tmp/package-tests.xml"

// Programs that run tests, beside those that these name themselves.
const (
	bats    = "/usr/bin/bats"
	pytest  = "/usr/bin/pytest"
	ansible = "/usr/bin/ansible-playbook"
	bash    = "/bin/bash" // of tmt's commands
)

// Test is one file to run, or one command of tmt's metadata.
type Test struct {
	Name string // of the file, in its folder, or of the test in its metadata
	// Setup is one that makes ready what those behind it need, of the same Part.
	Setup bool
	Part  string
	// Argv runs it, in the folder Dir of the tree.
	Argv []string
	Dir  string
	// Needs has to be installed: packages and, by their paths, programs; Wants is what
	// may be.
	Needs, Wants []string
	// Env has variables that it gets unless others of these names are set.
	Env map[string]string
	// Time is how long it may take; 0 leaves that open.
	Time time.Duration
	// Form is how it tells what it came to, beside its exit code.
	Form Form
	// Fails tells that it is known to fail.
	Fails bool
	// Skip is why it isn't to be run, "" if it is.
	Skip string
}

// Form is how a test tells what it came to.
type Form int

// The forms.
const (
	Any   Form = iota // by TAP, if its output looks so
	TAP               // by TAP
	JUnit             // by a report in JUnit's form
	Play              // by Ansible's words
	Code              // by nothing else: 1 is a failure, and every other an error
)

// Tests returns the tests of a folder of the tree, "" for its top, in the order in which
// they are run: 0_init and 0_install with any suffix first, the others by name. Files in
// folders below it are none. Which files are tests, and how they are run, their suffix
// says: .bats, .sh and .bash, .py, .yml and .yaml (an Ansible playbook); one without a
// suffix is one if it may be run and names its interpreter. A script whose first line
// names an interpreter is run by that; a .py that doesn't is pytest's. Where the folder, or
// one below it, has metadata of tmt, that says which commands are tests, and which files
// are not. With only, those are run beside the setup; a name that is no test is Invalid, and
// so is metadata that can't be read or asks for what isn't supported. A folder that isn't
// there or has no tests is NotFound, too many are Invalid.
func (t Tree) Tests(dir string, only []string) ([]Test, error) {
	dir = path.Clean(cmp.Or(dir, "."))
	if !t.has(dir) {
		return nil, albs.Errorf(albs.NotFound, "there is no folder %s", dir)
	}
	tests, err := t.described(dir)
	if err != nil {
		return nil, err
	}
	if tests == nil {
		tests = t.files(dir)
	}
	if len(only) > 0 {
		wanted := func(x Test) bool { return !x.Setup && slices.Contains(only, x.Name) }
		tests = slices.DeleteFunc(tests, func(x Test) bool {
			if x.Setup {
				return x.Part != "" && !slices.ContainsFunc(tests, func(y Test) bool { return y.Part == x.Part && wanted(y) })
			}
			return !wanted(x)
		})
	}
	for _, name := range only {
		if !slices.ContainsFunc(tests, func(t Test) bool { return t.Name == name }) {
			return nil, albs.Errorf(albs.Invalid, "the folder %s has no test %.200q", dir, name)
		}
	}
	switch {
	case len(tests) == 0:
		return nil, albs.Errorf(albs.NotFound, "the folder %s has no tests", dir)
	case len(tests) > MaxTests:
		return nil, albs.Errorf(albs.Invalid, "the folder %s has %d tests, at most %d are run", dir, len(tests), MaxTests)
	}
	return tests, nil
}

// has reports whether the tree has files in a folder or below it.
func (t Tree) has(dir string) bool {
	return dir == "." || slices.ContainsFunc(t.Files, func(f File) bool { return strings.HasPrefix(f.Name, dir+"/") })
}

// files returns the files of a folder that are tests, in their order.
func (t Tree) files(dir string) []Test {
	var tests []Test
	for _, f := range t.Files {
		if path.Dir(f.Name) != dir {
			continue
		}
		if test, ok := how(f); ok {
			test.Dir = dir
			tests = append(tests, test)
		}
	}
	slices.SortStableFunc(tests, func(a, b Test) int { return cmp.Compare(turn(a.Name), turn(b.Name)) })
	return tests
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
		t.Argv, t.Needs = append(by, file), []string{program(by)}
	}
	switch path.Ext(name) {
	case ".bats":
		t.Argv, t.Needs, t.Form = []string{bats, "--tap", file}, []string{bats}, TAP
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
			t.Argv, t.Needs, t.Form = []string{pytest, "-p", "no:cacheprovider", "--junit-xml=" + Report, file}, []string{pytest}, JUnit
		}
	case ".yml", ".yaml":
		t.Argv, t.Needs, t.Form = []string{ansible, "-i", "localhost,", "-c", "local", file}, []string{ansible}, Play
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
