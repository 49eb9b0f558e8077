package tmt

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// planned returns what plans, which are sorted by name, have to be run out of tests.
func planned(plans []*node, tests []Test, root string) ([]Test, error) {
	type ordered struct {
		order int
		tests []Test
	}
	var each []ordered
	for _, n := range plans {
		r := &reader{of: n.name, data: n.data}
		order := r.number("order", usualOrder)
		chosen, err := plan(r, tests, root)
		if err != nil {
			return nil, err
		}
		each = append(each, ordered{order, chosen})
	}
	slices.SortStableFunc(each, func(a, b ordered) int { return cmp.Compare(a.order, b.order) })
	var all []Test
	for _, p := range each {
		if all = append(all, p.tests...); len(all) > MaxTests {
			return nil, albs.Errorf(albs.Invalid, "the plans have more than %d tests to run", MaxTests)
		}
	}
	return all, nil
}

// plan reads one plan.
func plan(r *reader, tests []Test, root string) ([]Test, error) {
	enabled, environment := r.truth("enabled", true), r.variables("environment")
	r.list("tag")
	r.list("tier")
	if !enabled {
		return []Test{{Name: r.of, Plan: r.of, Skip: "the plan isn't enabled"}}, r.err
	}
	var chosen []Test
	for _, step := range r.steps("discover") {
		more, err := discover(step, tests, root)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, more...)
	}
	scripts, err := execute(r.steps("execute"), root)
	if err != nil {
		return nil, err
	}
	switch {
	case len(scripts) > 0 && r.data["discover"] != nil:
		r.refuse("execute", "it has a script, and the plan selects tests beside it")
	case len(scripts) > 0:
		chosen = scripts
	case r.data["discover"] == nil:
		r.refuse("execute", "it has no script, and the plan selects no tests")
	case len(chosen) == 0:
		r.refuse("discover", "it selects no test of the folder")
	}
	setup, packages, err := prepare(r.steps("prepare"), root)
	if err != nil {
		return nil, err
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	all := append(setup, chosen...)
	for i := range all {
		t := &all[i]
		t.Plan = r.of
		t.Name = r.of + " > " + t.Name
		if t.Skip == "" {
			t.Require = slices.Concat(packages, t.Require)
		}
		merged := maps.Clone(t.Environment)
		if merged == nil {
			merged = map[string]string{}
		}
		maps.Copy(merged, environment) // the plan knows better than a test what it is run for
		t.Environment = merged
	}
	return all, nil
}

// steps returns the phases of a plan's step, of which one needs no list.
func (r *reader) steps(key string) []*reader {
	v := r.value(key)
	phases, many := v.([]any)
	if !many && v != nil {
		phases = []any{v}
	}
	var all []*reader
	for i, p := range phases {
		data, ok := p.(map[string]any)
		if !ok {
			r.refuse(key, "it is no step")
			return nil
		}
		of := r.of + ": " + key
		if many {
			of = fmt.Sprintf("%s %d", of, i+1)
		}
		step := &reader{of: of, data: data}
		step.text("name")
		all = append(all, step)
	}
	return all
}

// how returns which of its ways a step takes.
func (r *reader) how(ways ...string) string {
	how := cmp.Or(r.text("how"), ways[0])
	if !slices.Contains(ways, how) {
		r.refuse("how", "%.40q isn't supported, only %s", how, strings.Join(ways, " and "))
	}
	return how
}

// execute returns the scripts that stand in the step itself.
func execute(steps []*reader, root string) ([]Test, error) {
	var all []Test
	for _, r := range steps {
		r.how("tmt", "shell")
		duration := r.duration("duration", scriptLasts)
		for i, script := range r.list("script") {
			r.script("script", script)
			all = append(all, Test{Name: fmt.Sprintf("/script-%02d", i), Script: script, Dir: root, Duration: duration})
		}
		if err := r.end(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// prepare returns what has to be run, and to be installed, before the tests of a plan.
func prepare(steps []*reader, root string) (setup []Test, packages []string, err error) {
	for i, r := range steps {
		switch r.how("shell", "install") {
		case "install":
			names := r.list("package")
			r.packages("package", names)
			packages = append(packages, names...)
		case "shell":
			for j, script := range r.list("script") {
				r.script("script", script)
				setup = append(setup, Test{Name: fmt.Sprintf("prepare-%d-%d", i+1, j+1), Setup: true, Script: script, Dir: root, Duration: scriptLasts})
			}
		}
		if err := r.end(); err != nil {
			return nil, nil, err
		}
	}
	return setup, packages, nil
}

// discover returns the tests that one phase of a plan's step selects, or has itself.
func discover(r *reader, tests []Test, root string) ([]Test, error) {
	var chosen []Test
	if r.how("shell", "fmf") == "shell" {
		list, ok := r.value("tests").([]any)
		if !ok {
			r.refuse("tests", "it is no list of tests")
		}
		for i, item := range list {
			data, ok := item.(map[string]any)
			if !ok {
				r.refuse("tests", "its item %d is no test", i+1)
				break
			}
			own := &reader{data: data}
			name := own.text("name")
			if own.err != nil || name == "" {
				r.refuse("tests", "its item %d has no name", i+1)
				break
			}
			rest := maps.Clone(data)
			delete(rest, "name")
			chosen = append(chosen, test(&node{name: "/" + strings.TrimLeft(name, "/"), dir: root, data: rest}, root))
		}
		inOrder(chosen)
		return chosen, r.end()
	}
	names, without := r.patterns("test"), r.patterns("exclude")
	filters := r.filters("filter")
	if err := r.end(); err != nil {
		return nil, err
	}
	for _, t := range tests {
		matches := func(e *regexp.Regexp) bool { return e.MatchString(t.Name) }
		if len(names) > 0 && !slices.ContainsFunc(names, matches) || slices.ContainsFunc(without, matches) ||
			slices.ContainsFunc(filters, func(f filter) bool { return !f.takes(t) }) {
			continue
		}
		chosen = append(chosen, t)
	}
	return chosen, nil
}

// patterns returns a key's regular expressions. Those of Python that RE2 doesn't have are
// refused.
func (r *reader) patterns(key string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, text := range r.list(key) {
		e, err := regexp.Compile(text)
		if err != nil || len(text) > 1000 {
			r.refuse(key, "%.100q is no regular expression that is supported", text)
			continue
		}
		all = append(all, e)
	}
	return all
}

// filter is a choice by values: any of its parts takes a test that meets all of that
// part's conditions.
type filter [][]condition

// condition is about one key of a test.
type condition struct {
	key, value string
	not        bool // it must not have the value
}

// filters returns a key's filters, of the form tag: one, -two & tier: 1 | tag: three.
func (r *reader) filters(key string) []filter {
	var all []filter
	for _, text := range r.list(key) {
		var f filter
		for part := range strings.SplitSeq(text, "|") {
			var conditions []condition
			for words := range strings.SplitSeq(part, "&") {
				name, value, ok := strings.Cut(words, ":")
				name, value = strings.TrimSpace(name), strings.TrimSpace(value)
				value, not := strings.CutPrefix(value, "-")
				if !ok || value == "" || name != "tag" && name != "tier" || strings.ContainsAny(value, ",") {
					r.refuse(key, "%.100q isn't supported, only tag: and tier: with one value each, -value, & and |", text)
					return nil
				}
				conditions = append(conditions, condition{name, value, not})
			}
			f = append(f, conditions)
		}
		all = append(all, f)
	}
	return all
}

// takes reports whether the filter selects a test.
func (f filter) takes(t Test) bool {
	return slices.ContainsFunc(f, func(part []condition) bool {
		return !slices.ContainsFunc(part, func(c condition) bool { return slices.Contains(t.tags[c.key], c.value) == c.not })
	})
}
