// Package tmt reads tests and plans as the Test Management Tool keeps them in git: its
// metadata, files of the suffix .fmf, says which shell commands are tests, where and for
// how long they run, and what they need. It runs nothing and touches no file.
//
// The formats are those of the fmf documentation (fmf.readthedocs.io: hierarchy,
// inheritance, merging) and of the tmt specification (tmt.readthedocs.io: tests, level 1,
// and plans, level 2), in their basic parts. What isn't supported of them is an error that
// names the key: a test must not be left out, or run otherwise than its author said,
// without a word.
//
// The files are hostile: they are read within bounds, which also hold what inheritance
// makes of them.
package tmt

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
)

// Suffix is that of files with metadata.
const Suffix = ".fmf"

// Version is the file, in the folder of a tree's root, that makes it one.
const Version = ".fmf/version"

// MaxTests is how many tests one folder may have, counted once for each plan.
const MaxTests = 100

// Test is one command to run.
type Test struct {
	// Name is the test's, /smoke/basic, behind that of its plan, if it is run by one.
	Name string
	// Plan is the name of its plan, "" for none.
	Plan string
	// Setup is a part of the plan's step prepare, for the tests of that plan.
	Setup bool
	// Script is for bash, under its options errexit and pipefail.
	Script string
	// Dir is where it runs, in the tree of files; "." is its top.
	Dir string
	// Require are packages that have to be installed for it, Recommend those that are
	// installed if they can be had.
	Require, Recommend []string
	// Environment has its variables.
	Environment map[string]string
	// Duration is how long it may take.
	Duration time.Duration
	// Fails tells that it is expected to fail.
	Fails bool
	// Skip is why it isn't to be run, "" if it is.
	Skip string

	order int
	tags  map[string][]string // what filters look at
	err   error               // why it can't be run as it stands, if it has to be
}

// Find returns the tests that the folder dir holds, in the order in which they are run:
// those that its plans select or, if it has none, all. files are the tree's files with
// metadata by name, root is the folder below which they form one hierarchy, both as
// path.Clean gives names, with "." for the top. What can't be read or isn't supported is
// Invalid and says which file, or which test and key; NotFound if dir has no test.
func Find(files map[string][]byte, root, dir string) ([]Test, error) {
	top, err := read(files, root, dir)
	if err != nil {
		return nil, err
	}
	var tests []Test
	var plans []*node
	within := nameOf(root, dir)
	for _, n := range top.leaves() {
		if !below(within, n.name) {
			continue
		}
		if n.data["execute"] != nil {
			plans = append(plans, n)
			continue
		}
		if n.data["test"] == nil {
			continue // a story, or what other tools read
		}
		tests = append(tests, test(n, root))
	}
	inOrder(tests)
	if len(plans) > 0 {
		if tests, err = planned(plans, tests, root); err != nil {
			return nil, err
		}
	}
	for _, t := range tests {
		if t.err != nil {
			return nil, t.err
		}
	}
	switch {
	case len(tests) == 0:
		return nil, albs.Errorf(albs.NotFound, "the metadata of the folder %s has no tests", dir)
	case len(tests) > MaxTests:
		return nil, albs.Errorf(albs.Invalid, "the metadata of the folder %s has %d tests, at most %d are run", dir, len(tests), MaxTests)
	}
	return tests, nil
}

// inOrder sorts tests as they are run.
func inOrder(tests []Test) {
	slices.SortStableFunc(tests, func(a, b Test) int {
		return cmp.Or(cmp.Compare(a.order, b.order), strings.Compare(a.Name, b.Name))
	})
}

// Bounds of one test.
const (
	maxScript   = 64 << 10 // bytes, less than what one argument of a program may have
	maxRequired = 200
	maxDuration = 7 * 24 * time.Hour
)

// The usual values of keys.
const (
	usualDuration = 5 * time.Minute
	scriptLasts   = time.Hour // of a script that stands in a plan
	usualOrder    = 50
)

// people are keys that only people read.
var people = []string{"summary", "description", "contact", "author", "component", "id", "link"}

// test reads a test. Of one that isn't to be run, no more is asked than why.
func test(n *node, root string) Test {
	r := reader{of: n.name, data: n.data}
	t := Test{
		Name:        n.name,
		Script:      r.text("test"),
		Dir:         n.dir,
		Require:     r.list("require"),
		Recommend:   r.list("recommend"),
		Environment: r.variables("environment"),
		Duration:    r.duration("duration", usualDuration),
		order:       r.number("order", usualOrder),
		tags:        map[string][]string{"tag": r.list("tag"), "tier": r.list("tier"), "name": {n.name}},
	}
	if p := r.text("path"); p != "" {
		t.Dir = path.Join(root, strings.TrimLeft(path.Clean("/"+p), "/"))
	}
	switch f := r.text("framework"); f {
	case "", "shell":
	default:
		r.refuse("framework", "%.40q isn't supported, only shell is", f)
	}
	switch result := r.text("result"); result {
	case "", "respect":
	case "xfail":
		t.Fails = true
	default:
		r.refuse("result", "%.40q isn't supported, only respect and xfail are", result)
	}
	r.script("test", t.Script)
	r.packages("require", t.Require)
	r.packages("recommend", t.Recommend)
	manual, enabled := r.truth("manual", false), r.truth("enabled", true)
	switch t.err = r.end(); {
	case manual:
		return Test{Name: n.name, Skip: "it is a test for people", order: t.order, tags: t.tags}
	case !enabled:
		return Test{Name: n.name, Skip: "it isn't enabled", order: t.order, tags: t.tags}
	}
	return t
}

// reader reads the keys of a test, a plan or a step, and keeps the first error.
type reader struct {
	of   string // whose they are
	data map[string]any
	read []string
	err  error
}

// refuse notes that a key can't be what it is.
func (r *reader) refuse(key, format string, args ...any) {
	if r.err == nil {
		r.err = albs.Errorf(albs.Invalid, "%s: the key %s: %s", r.of, key, fmt.Sprintf(format, args...))
	}
}

// end returns the first error, which may be that of a key that isn't known.
func (r *reader) end() error {
	for _, key := range slices.Sorted(maps.Keys(r.data)) {
		if r.err == nil && !slices.Contains(r.read, key) && !slices.Contains(people, key) && !strings.HasPrefix(key, "extra-") {
			r.err = albs.Errorf(albs.Invalid, "%s: the key %.100s isn't supported", r.of, key)
		}
	}
	return r.err
}

// value returns a key's value, nil if it has none.
func (r *reader) value(key string) any {
	r.read = append(r.read, key)
	return r.data[key]
}

// text returns a key's text, "" if it has none.
func (r *reader) text(key string) string {
	switch v := r.value(key).(type) {
	case nil:
		return ""
	case scalar:
		return v.text
	}
	r.refuse(key, "it is no text")
	return ""
}

// list returns a key's texts, of which one needs no list.
func (r *reader) list(key string) []string {
	switch v := r.value(key).(type) {
	case nil:
		return nil
	case scalar:
		return []string{v.text}
	case []any:
		var list []string
		for _, item := range v {
			s, ok := item.(scalar)
			if !ok {
				r.refuse(key, "it has an item that is no text")
				return nil
			}
			list = append(list, s.text)
		}
		return list
	}
	r.refuse(key, "it is neither a text nor a list")
	return nil
}

// truth returns a key's boolean.
func (r *reader) truth(key string, usual bool) bool {
	switch v := r.value(key).(type) {
	case nil:
		return usual
	case scalar:
		if v.tag == "!!bool" {
			return strings.EqualFold(v.text, "true")
		}
	}
	r.refuse(key, "it is neither true nor false")
	return usual
}

// number returns a key's number.
func (r *reader) number(key string, usual int) int {
	switch v := r.value(key).(type) {
	case nil:
		return usual
	case scalar:
		if n, err := strconv.Atoi(v.text); err == nil {
			return n
		}
	}
	r.refuse(key, "it is no whole number")
	return usual
}

// variables returns a key's names and values.
func (r *reader) variables(key string) map[string]string {
	switch v := r.value(key).(type) {
	case nil:
		return nil
	case map[string]any:
		all := map[string]string{}
		for name, value := range v {
			s, ok := value.(scalar)
			if !ok {
				r.refuse(key, "%.100s is no text", name)
				return nil
			}
			all[name] = s.text
		}
		return all
	}
	r.refuse(key, "it has no names with values")
	return nil
}

var (
	span = regexp.MustCompile(`^(\d{1,7})([smhd]?)$`)
	unit = map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
)

// duration returns a key's time: 90, 5m, 1h 30m.
func (r *reader) duration(key string, usual time.Duration) time.Duration {
	text := r.text(key)
	if text == "" {
		return usual
	}
	var sum time.Duration
	for word := range strings.FieldsSeq(text) {
		m := span.FindStringSubmatch(word)
		if m == nil {
			r.refuse(key, "%.40q is no time as 90, 5m or 1h 30m", text)
			return usual
		}
		n, _ := strconv.Atoi(m[1]) // of at most seven digits
		// No more than one step beyond the bound, lest it wraps around.
		if sum += min(time.Duration(n), maxDuration/unit[m[2]]+1) * unit[m[2]]; sum > maxDuration {
			break
		}
	}
	if sum <= 0 || sum > maxDuration {
		r.refuse(key, "%.40q isn't between a second and %d days", text, maxDuration/(24*time.Hour))
		return usual
	}
	return sum
}

// script refuses what can't be run.
func (r *reader) script(key, text string) {
	if strings.TrimSpace(text) == "" || len(text) > maxScript || strings.ContainsRune(text, 0) {
		r.refuse(key, "it is no command of at most %d bytes", maxScript)
	}
}

// packages refuses what can't be names of packages. dnf's words are its own to refuse.
func (r *reader) packages(key string, names []string) {
	if len(names) > maxRequired || slices.Contains(names, "") {
		r.refuse(key, "it isn't a list of at most %d names", maxRequired)
	}
}
