// Package depend says which provides of packages meet which requirements, boolean ones
// too, as rpm and libsolv have it. It is pure; whose the packages are is the caller's.
package depend

import (
	"slices"
	"strings"

	"albs/internal/rpm"
)

// Capability is what a package provides or requires.
type Capability struct {
	// Name may be a path, and of a requirement a boolean dependency in parentheses.
	Name string
	// Op has rpm.Less, rpm.Equal and rpm.Greater; 0 stands for any version.
	Op uint8
	rpm.EVR
}

// String returns the capability as a spec file has it.
func (c Capability) String() string {
	return rpm.Dependency{Name: c.Name, Flags: uint32(c.Op), EVR: c.EVR}.String()
}

const comparisons = rpm.Less | rpm.Equal | rpm.Greater

// Of returns a dependency of a header as a Capability.
func Of(d rpm.Dependency) Capability {
	return Capability{d.Name, uint8(d.Flags & comparisons), d.EVR}
}

// Meets reports whether the two overlap, as rpm has it: without a version on either side
// they do, and a release counts only if both have one.
func (c Capability) Meets(o Capability) bool {
	if c.Name != o.Name {
		return false
	}
	if c.Op == 0 || o.Op == 0 {
		return true
	}
	a, b := c.EVR, o.EVR
	if a.Release == "" || b.Release == "" {
		a.Release, b.Release = "", ""
	}
	switch sense := rpm.Compare(a, b); {
	case sense < 0:
		return c.Op&rpm.Greater != 0 || o.Op&rpm.Less != 0
	case sense > 0:
		return c.Op&rpm.Less != 0 || o.Op&rpm.Greater != 0
	}
	return c.Op&o.Op != 0
}

// Requires returns what a package's header requires, in its order. What may be missing,
// and what rpm itself provides, is left out.
func Requires(h *rpm.Package) []Capability {
	var out []Capability
	for _, d := range h.Requires {
		if d.Flags&missingOK == 0 && !strings.HasPrefix(d.Name, "rpmlib(") {
			out = append(out, Of(d))
		}
	}
	return out
}

// missingOK is rpm's flag of a requirement that may be missing (rpmds.h), which metadata
// lists among the recommended.
const missingOK = 1 << 19

// Provides returns what a package's header provides, in its order; its files are provided
// too.
func Provides(h *rpm.Package) []Capability {
	out := make([]Capability, 0, len(h.Provides))
	for _, d := range h.Provides {
		out = append(out, Of(d))
	}
	return out
}

// Providers are capabilities by name, each with the package that has it. The zero P stands
// for packages that aren't known apart from each other.
type Providers[P comparable] map[string][]Provided[P]

// Provided is a capability of a package.
type Provided[P comparable] struct {
	Capability
	By P
}

// Add adds what a package provides.
func (ps Providers[P]) Add(c Capability, by P) {
	ps[c.Name] = append(ps[c.Name], Provided[P]{c, by})
}

// Meet reports whether a requirement is met. One that can't be read is: rpm refuses it,
// and it isn't ours to judge.
func (ps Providers[P]) Meet(c Capability) bool {
	if !c.Rich() {
		return slices.ContainsFunc(ps[c.Name], func(p Provided[P]) bool { return p.Meets(c) })
	}
	e, err := parse(c.Name)
	return err != nil || ps.eval(e).met
}

// Meeting returns by which packages a requirement is met: of each of the sets, one does.
// A plain requirement has one set, and a boolean one as many as it takes: none, if its
// condition doesn't hold. met is false, and there are none, if nothing meets it or it can't
// be read.
func (ps Providers[P]) Meeting(c Capability) (sets [][]P, met bool) {
	e := &expression{leaf: c}
	if c.Rich() {
		var err error
		if e, err = parse(c.Name); err != nil {
			return nil, false
		}
	}
	if !ps.eval(e).met {
		return nil, false
	}
	return ps.choose(e, nil), true
}

// choose adds to sets what meets an expression that is met.
func (ps Providers[P]) choose(e *expression, sets [][]P) [][]P {
	one := func() [][]P {
		var by []P
		for p := range ps.eval(e).by {
			by = append(by, p)
		}
		return append(sets, by)
	}
	condition, otherwise := e.condition()
	switch e.op {
	case "and":
		return ps.choose(e.right, ps.choose(e.left, sets))
	case "or":
		if ps.eval(e.left).met {
			return ps.choose(e.left, sets)
		}
		return ps.choose(e.right, sets)
	case "if", "unless":
		switch {
		case ps.eval(condition).met == (e.op == "if"):
			return ps.choose(e.left, sets)
		case otherwise != nil:
			return ps.choose(otherwise, sets)
		}
		return sets
	}
	return one()
}

// condition returns what an if or unless turns on, and what is wanted otherwise, if
// anything. Of an else, the left is the condition and the right what is wanted without it.
func (e *expression) condition() (condition, otherwise *expression) {
	if e.right != nil && e.right.op == "else" {
		return e.right.left, e.right.right
	}
	return e.right, nil
}

// outcome is whether an expression is met, and by which packages, for with and without,
// which are about one package.
type outcome[P comparable] struct {
	met bool
	by  map[P]bool
}

func (ps Providers[P]) eval(e *expression) outcome[P] {
	if e.op == "" {
		o := outcome[P]{by: map[P]bool{}}
		for _, p := range ps[e.leaf.Name] {
			if p.Meets(e.leaf) {
				o.met, o.by[p.By] = true, true
			}
		}
		return o
	}
	condition, otherwise := e.condition()
	a := ps.eval(e.left)
	switch e.op {
	case "and":
		return outcome[P]{met: a.met && ps.eval(e.right).met}
	case "or":
		b := ps.eval(e.right)
		for p := range b.by {
			a.by[p] = true
		}
		return outcome[P]{a.met || b.met, a.by}
	case "if", "unless":
		// What isn't in any repository is installed nowhere.
		if holds := ps.eval(condition).met; holds == (e.op == "if") {
			return a
		}
		if otherwise != nil {
			return ps.eval(otherwise)
		}
		return outcome[P]{met: true, by: map[P]bool{}}
	case "with", "without":
		b := ps.eval(e.right)
		o := outcome[P]{by: map[P]bool{}}
		for p := range a.by {
			var unknown P
			// Of packages that aren't known apart it isn't known which is which: there any will do.
			if p == unknown || b.by[p] == (e.op == "with") {
				o.met, o.by[p] = true, true
			}
		}
		return o
	}
	return a
}
