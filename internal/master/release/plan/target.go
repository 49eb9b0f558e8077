package plan

import (
	"cmp"
	"fmt"
	"maps"
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

// takes reports whether packages built for a platform may go into the repositories of
// another, or the same.
func (f Facts) takes(platform, built string) bool {
	return platform == built || slices.Contains(f.Compatible[platform], built)
}

// Home returns the platform into whose repositories a package goes by itself: the one that
// it was built for or, if the product hasn't that, the one that names it as compatible. It
// is NotFound, with a sentence for the plan, if there is none, and Conflict if there are
// several: then a person decides.
func (f Facts) Home(c Candidate) (string, error) {
	if slices.Contains(f.Product.Platforms, c.Platform) {
		return c.Platform, nil
	}
	var homes []string
	for _, name := range f.Product.Platforms {
		if f.takes(name, c.Platform) {
			homes = append(homes, name)
		}
	}
	switch len(homes) {
	case 0:
		return "", albs.Errorf(albs.NotFound, "it was built for platform %s, which product %s hasn't, and none of the product's platforms names that one as compatible",
			c.Platform, f.Product.Name)
	case 1:
		return homes[0], nil
	}
	return "", albs.Errorf(albs.Conflict, "it was built for platform %s, which product %s hasn't, and %v all name that one as compatible; decide where it goes, or exclude it",
		c.Platform, f.Product.Name, homes)
}

// choices returns the repositories into which c may go, by arch, or NotFound if one of
// its arches has none, or Conflict if it isn't known of which platform.
func (f Facts) choices(c Candidate) ([]choice, error) {
	home, err := f.Home(c)
	if err != nil {
		return nil, err
	}
	spec := f.Product.Spec
	if c.Source() {
		rs, err := spec.Targets(home, albs.Src, product.Source)
		return []choice{{albs.Src, rs}}, err
	}
	arches := []albs.Arch{c.Arch} // which need not be the package's: think of multilib
	if c.NEVRA.Arch == string(albs.Noarch) {
		arches = nil
		for _, r := range spec.Repositories {
			if r.Platform == home && r.Kind == product.RPM && !slices.Contains(arches, r.Arch) {
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
			if rs, err := spec.Targets(home, a, product.Debug); err == nil {
				out = append(out, choice{a, rs})
				continue
			}
		}
		rs, err := spec.Targets(home, a, product.RPM)
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
			home := ch.repositories[0].Platform
			if slices.ContainsFunc(ch.repositories, func(r product.Repository) bool { return c.Place != "" && r.Place == c.Place }) {
				t.Found = place.Found{Places: []string{c.Place}} // as it is in the product copied from
			} else if f.Places != nil {
				t.Found = f.Places.Find(place.Package{NEVRA: c.NEVRA, Arch: c.Arch, Strong: f.Strong[home][c.Arch]})
			}
			if len(t.Found.Places) == 0 {
				t.Refused = append(t.Refused, fmt.Sprintf("it has no place: no reference of platform %s lists it; decide where it goes, or exclude it", home))
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
		case !f.takes(r.Platform, c.Platform):
			t.Refused = append(t.Refused, fmt.Sprintf("it was built on platform %s, and %s is a repository of %s, which doesn't name that as compatible", c.Platform, to, r.Platform))
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
			m.refuse(Refusal{Package: d.Package, Reason: fmt.Sprintf("it was decided to %s it, and it isn't among what is to be released: take that back", d.Action)})
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
		if c.Source() || c.NEVRA.Arch == string(albs.Noarch) || c.From != "" {
			continue
		}
		home, err := m.facts.Home(c)
		if err != nil {
			continue // it is refused
		}
		k := one{c.Build, home}
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

// compatible tells which packages go into repositories of another platform than they were
// built for.
func (m *maker) compatible() {
	type move struct {
		build    albs.BuildID
		from, to string
	}
	moved := map[move]map[string]bool{}
	for _, r := range m.plan.Repositories {
		for _, c := range r.Packages {
			if c.BuiltFor == "" {
				continue
			}
			k := move{c.Build, c.BuiltFor, r.Platform}
			if moved[k] == nil {
				moved[k] = map[string]bool{}
			}
			moved[k][c.NEVRA] = true
		}
	}
	order := slices.SortedFunc(maps.Keys(moved), func(a, b move) int {
		return cmp.Or(cmp.Compare(a.build, b.build), strings.Compare(a.from, b.from), strings.Compare(a.to, b.to))
	})
	for _, k := range order {
		m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%d packages of build %d were built for platform %s and go into repositories of %s, which names it as compatible",
			len(moved[k]), k.build, k.from, k.to))
	}
}

// Names returns the names by which references are asked for the packages that have a
// choice, by platform.
func (f Facts) Names() map[string][]string {
	out := map[string][]string{}
	for _, c := range f.Packages {
		choices, _ := f.choices(c) // Make says what is wrong
		if slices.ContainsFunc(choices, func(ch choice) bool { return len(ch.repositories) > 1 }) {
			home := choices[0].repositories[0].Platform
			out[home] = append(out[home], place.Names(rpm.NEVRA{Name: c.NEVRA.Name})...)
		}
	}
	for platform, names := range out {
		slices.Sort(names)
		out[platform] = slices.Compact(names)
	}
	return out
}
