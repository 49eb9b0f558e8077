package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/rpm"
)

// Target is where a package goes.
type Target struct {
	// Paths are of the product's repositories.
	Paths []string
	// Excluded says that it goes nowhere, because a person said so.
	Excluded bool
	// Found is where references have it, if they were asked and nobody moved it.
	Found place.Found
	// Refused are sentences about why it can't go where it should, or nobody knows where.
	Refused []string
}

// Target returns where c goes: into the repositories of the arch for which its build has
// it, a noarch package into those of every arch of its platform, a debug package into
// the debug repositories where the product has some for the arch. Of several it is those
// of its place, which references know or a person decides.
func (f Facts) Target(c Candidate) Target {
	var t Target
	var moved *place.Decision
	var added []place.Decision
	for _, d := range place.On(f.Decisions, c.NEVRA.String()) {
		switch d.Action {
		case place.Exclude:
			return Target{Excluded: true}
		case place.Move:
			moved = &d
		case place.Add:
			added = append(added, d)
		}
	}
	choices, err := f.choices(c)
	switch {
	case err != nil && moved == nil:
		t.Refused = append(t.Refused, err.Error())
	case moved != nil:
		f.send(&t, c, choices, moved.To)
	default:
		f.findPlace(&t, c, choices)
	}
	for _, d := range added {
		f.send(&t, c, choices, d.To)
	}
	slices.Sort(t.Paths)
	t.Paths = slices.Compact(t.Paths)
	return t
}

// choice are the repositories of one arch into which a package may go.
type choice struct {
	arch         albs.Arch
	repositories []product.Repository
}

// choices returns the repositories into which c may go, by arch, or NotFound if one of
// its arches has none.
func (f Facts) choices(c Candidate) ([]choice, error) {
	spec := f.Product.Spec
	if c.Source() {
		rs, err := spec.Targets(c.Platform, albs.Src, product.Source)
		return []choice{{albs.Src, rs}}, err
	}
	arches := []albs.Arch{c.Arch} // which need not be the package's: think of multilib
	if c.NEVRA.Arch == string(albs.Noarch) {
		arches = nil
		for _, r := range spec.Repositories {
			if r.Platform == c.Platform && r.Kind == product.RPM && !slices.Contains(arches, r.Arch) {
				arches = append(arches, r.Arch)
			}
		}
		if len(arches) == 0 {
			arches = []albs.Arch{c.Arch}
		}
	}
	var out []choice
	for _, a := range arches {
		if c.NEVRA.Debug() {
			if rs, err := spec.Targets(c.Platform, a, product.Debug); err == nil {
				out = append(out, choice{a, rs})
				continue
			}
		}
		rs, err := spec.Targets(c.Platform, a, product.RPM)
		if err != nil {
			return nil, err
		}
		out = append(out, choice{a, rs})
	}
	return out, nil
}

// findPlace sends c where references have it, and where there is no choice.
func (f Facts) findPlace(t *Target, c Candidate, choices []choice) {
	asked := false
	for _, ch := range choices {
		if len(ch.repositories) == 1 {
			t.Paths = append(t.Paths, ch.repositories[0].Path)
			continue
		}
		if !asked {
			asked = true
			if f.Places != nil {
				t.Found = f.Places.Find(place.Package{NEVRA: c.NEVRA, Arch: c.Arch, Strong: f.Strong[c.Platform][c.Arch]})
			}
			if len(t.Found.Places) == 0 {
				t.Refused = append(t.Refused, fmt.Sprintf("it has no place: no reference of platform %s lists it; decide where it goes, or exclude it", c.Platform))
			}
		}
		some := false
		for _, r := range ch.repositories {
			if slices.Contains(t.Found.Places, r.Place) {
				t.Paths, some = append(t.Paths, r.Path), true
			}
		}
		if len(t.Found.Places) > 0 && !some {
			t.Refused = append(t.Refused, fmt.Sprintf("references have %s in %v, and product %s has no such repository for %s; decide where it goes, or exclude it",
				t.Found.By, t.Found.Places, f.Product.Name, ch.arch))
		}
	}
}

// send sends c where a person says: into the repository of that path, or into those of
// that place, one of each arch.
func (f Facts) send(t *Target, c Candidate, choices []choice, to string) {
	for _, r := range f.Product.Repositories {
		if r.Path != to {
			continue
		}
		switch {
		case r.Platform != c.Platform:
			t.Refused = append(t.Refused, fmt.Sprintf("it was built on platform %s, and %s is a repository of %s", c.Platform, to, r.Platform))
		case c.Source() != (r.Kind == product.Source):
			t.Refused = append(t.Refused, fmt.Sprintf("%s is a repository of kind %s, and no place for a package of arch %s", to, r.Kind, c.NEVRA.Arch))
		case !c.Source() && c.NEVRA.Arch != string(albs.Noarch) && r.Arch != c.Arch && !albs.Arch(c.NEVRA.Arch).Within(r.Arch):
			t.Refused = append(t.Refused, fmt.Sprintf("%s is a repository for %s, and no place for a package of arch %s", to, r.Arch, c.NEVRA.Arch))
		default:
			t.Paths = append(t.Paths, to)
		}
		return
	}
	var paths, only []string // those of the place, and those beside which there is no other
	for _, ch := range choices {
		for _, r := range ch.repositories {
			if r.Place == to {
				paths = append(paths, r.Path)
			} else if len(ch.repositories) == 1 && r.Place == "" {
				only = append(only, r.Path)
			}
		}
	}
	if len(paths) > 0 {
		t.Paths = append(append(t.Paths, paths...), only...)
	} else {
		t.Refused = append(t.Refused, fmt.Sprintf("it was decided to go to %s, and product %s has neither a repository of that path nor one of that place for it", to, f.Product.Name))
	}
}

// undecided refuses decisions about what isn't there: a build may have lost it since, or
// the person meant something else.
func (m *maker) undecided() {
	for _, d := range m.facts.Decisions {
		if !slices.ContainsFunc(m.facts.Packages, func(c Candidate) bool { return c.NEVRA.String() == d.Package }) {
			m.refuse(Refusal{Package: d.Package, Reason: fmt.Sprintf("it was decided to %s it, and none of the builds has it: take that back", d.Action)})
		}
	}
	slices.Sort(m.plan.Excluded)
	m.plan.Excluded = slices.Compact(m.plan.Excluded)
}

// missing finds the arches for which the product has repositories and a build has
// nothing, though it isn't of noarch packages alone.
func (m *maker) missing() {
	type one struct {
		build    albs.BuildID
		platform string
	}
	built := map[one]map[albs.Arch]bool{}
	var order []one
	for _, c := range m.facts.Packages {
		if c.Source() || c.NEVRA.Arch == string(albs.Noarch) {
			continue
		}
		k := one{c.Build, c.Platform}
		if built[k] == nil {
			built[k] = map[albs.Arch]bool{}
			order = append(order, k)
		}
		built[k][c.Arch] = true
	}
	slices.SortFunc(order, func(a, b one) int {
		return cmp.Or(cmp.Compare(a.build, b.build), strings.Compare(a.platform, b.platform))
	})
	for _, k := range order {
		var lacking []albs.Arch
		for _, r := range m.facts.Product.Repositories {
			if r.Platform == k.platform && r.Kind == product.RPM && !built[k][r.Arch] && !slices.Contains(lacking, r.Arch) {
				lacking = append(lacking, r.Arch)
			}
		}
		if len(lacking) > 0 {
			m.plan.Missing = append(m.plan.Missing, Missing{k.build, k.platform, lacking})
		}
	}
}

// Names returns the names by which references are asked for the packages that have a
// choice, by platform.
func (f Facts) Names() map[string][]string {
	out := map[string][]string{}
	for _, c := range f.Packages {
		choices, _ := f.choices(c) // Make says what is wrong
		if slices.ContainsFunc(choices, func(ch choice) bool { return len(ch.repositories) > 1 }) {
			out[c.Platform] = append(out[c.Platform], place.Names(rpm.NEVRA{Name: c.NEVRA.Name})...)
		}
	}
	for platform, names := range out {
		slices.Sort(names)
		out[platform] = slices.Compact(names)
	}
	return out
}
