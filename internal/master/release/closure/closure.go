// Package closure says which requirements of packages a release would leave without a
// provider: what `dnf repoclosure --newest` finds after it and not before.
//
// It is pure and knows no repository, only what packages provide and require. Like dnf it
// takes of each name and arch the newest in each repository, for that is what readers
// install; packages of modules all count, for readers choose their stream. It takes
// boolean dependencies at their word where libsolv is generous: `(a and b)` wants both.
package closure

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

// Capability is what a package provides or requires.
type Capability = depend.Capability

// Package is what the rule has to know of one package.
type Package struct {
	NEVRA rpm.NEVRA
	// Modular packages count beside newer ones of their name.
	Modular            bool
	Provides, Requires []Capability
	// Files are paths that can be required; of packages read from a repository's
	// primary metadata only those that it lists.
	Files []string
}

// Repository is one repository of a product and what a release adds to it.
type Repository struct {
	Path         string
	Shown, Added []Package
}

// World are repositories that readers have together: those of a product for a platform
// and an arch, and what lies beneath them.
type World struct {
	Repositories []Repository
	// Beneath is what is provided beneath them, of the names that Wanted returns.
	Beneath []Capability
}

// Broken is a package that lacks something after the release and doesn't now.
type Broken struct {
	Repository string   `json:"repository"`
	Package    string   `json:"package"` // NEVRA
	Needs      []string `json:"needs"`
	// Shown says that the package is shown now, and what it needs goes; else the release
	// adds it.
	Shown bool `json:"shown,omitempty"`
}

// requirement is one requirement of a package that has to be looked at.
type requirement struct {
	repository int
	of         *Package
	shown      bool
	what       Capability
}

// Wanted returns the names of the capabilities on which the answer of Check turns. It
// needs all of the packages that are added and of the shown ones that have their name and
// arch; of other shown packages only the boolean requirements.
func (w World) Wanted() map[string]bool {
	look, names := w.requirements()
	for _, r := range look {
		for _, c := range r.what.Parts() {
			names[c.Name] = true
		}
	}
	return names
}

// Keep drops what isn't among the names that Wanted returned: Check needs no more of a
// shown package.
func (p Package) Keep(names map[string]bool) Package {
	other := func(c Capability) bool { return !names[c.Name] }
	p.Provides = slices.DeleteFunc(p.Provides, other)
	p.Requires = slices.DeleteFunc(p.Requires, func(c Capability) bool { return other(c) && !c.Rich() })
	p.Files = slices.DeleteFunc(p.Files, func(f string) bool { return !names[f] })
	return p
}

// Rich drops all but the boolean requirements.
func (p Package) Rich() Package {
	p.Requires = slices.DeleteFunc(p.Requires, func(c Capability) bool { return !c.Rich() })
	p.Provides, p.Files = nil, nil
	return p
}

// requirements are all of the packages that are added, and those of the shown ones that
// something might meet that a newer package takes the place of; lost are the names of what
// that provides.
func (w World) requirements() (out []requirement, lost map[string]bool) {
	lost = map[string]bool{}
	after := make([]map[*Package]bool, len(w.Repositories))
	for i := range w.Repositories {
		r := &w.Repositories[i]
		var before map[*Package]bool
		before, after[i] = r.newest()
		for p := range before {
			if !after[i][p] {
				for _, c := range p.Provides {
					lost[c.Name] = true
				}
				for _, f := range p.Files {
					lost[f] = true
				}
			}
		}
	}
	for i := range w.Repositories {
		r := &w.Repositories[i]
		for j := range r.Added {
			if p := &r.Added[j]; after[i][p] {
				for _, c := range p.Requires {
					out = append(out, requirement{i, p, false, c})
				}
			}
		}
		if len(lost) == 0 {
			continue
		}
		for j := range r.Shown {
			p := &r.Shown[j]
			if !after[i][p] {
				continue
			}
			for _, c := range p.Requires {
				if lost[c.Name] || c.Rich() && slices.ContainsFunc(c.Parts(), func(part Capability) bool { return lost[part.Name] }) {
					out = append(out, requirement{i, p, true, c})
				}
			}
		}
	}
	return out, lost
}

// newest returns the packages that count in the repository before and after the release.
func (r *Repository) newest() (before, after map[*Package]bool) {
	type key struct{ name, arch string }
	first := make(map[key]*Package, len(r.Shown))
	before, after = make(map[*Package]bool, len(r.Shown)), make(map[*Package]bool, len(r.Shown)+len(r.Added))
	pick := func(ps []Package, all map[*Package]bool) {
		for i := range ps {
			p := &ps[i]
			if p.Modular {
				all[p] = true
				continue
			}
			k := key{p.NEVRA.Name, p.NEVRA.Arch}
			if held := first[k]; held == nil || rpm.Compare(held.NEVRA.EVR(), p.NEVRA.EVR()) < 0 {
				delete(all, held)
				all[p], first[k] = true, p
			}
		}
	}
	pick(r.Shown, before)
	for p := range before {
		after[p] = true
	}
	pick(r.Added, after)
	return before, after
}

// Check returns what lacks something after the release that it doesn't lack now, by
// repository and package. A path that no package is known to have, and that the metadata
// of a repository needn't list, isn't known to be missing: those are returned apart.
func (w World) Check() (broken, unknown []Broken) {
	look, _ := w.requirements()
	names := map[string]bool{}
	for _, r := range look {
		for _, c := range r.what.Parts() {
			names[c.Name] = true
		}
	}
	before, after := providers{}, providers{}
	for _, c := range w.Beneath {
		if names[c.Name] {
			before.Add(c, nil)
			after.Add(c, nil)
		}
	}
	for i := range w.Repositories {
		r := &w.Repositories[i]
		was, is := r.newest()
		for _, side := range []struct {
			of   map[*Package]bool
			into providers
		}{{was, before}, {is, after}} {
			for p := range side.of {
				for _, c := range p.Provides {
					if names[c.Name] {
						side.into.Add(c, p)
					}
				}
				for _, f := range p.Files {
					if names[f] {
						side.into.Add(Capability{Name: f}, p)
					}
				}
			}
		}
	}
	type at struct {
		repository int
		of         *Package
	}
	found, vague := map[at]*Broken{}, map[at]*Broken{}
	for _, r := range look {
		if after.Meet(r.what) {
			continue
		}
		if (r.shown || w.required(r)) && !before.Meet(r.what) {
			continue // it lacks that today
		}
		into := found
		if isVague(after, r.what) {
			into = vague
		}
		k := at{r.repository, r.of}
		if into[k] == nil {
			into[k] = &Broken{Repository: w.Repositories[r.repository].Path, Package: r.of.NEVRA.String(), Shown: r.shown}
		}
		if need := r.what.String(); !slices.Contains(into[k].Needs, need) {
			into[k].Needs = append(into[k].Needs, need)
		}
	}
	return sorted(found), sorted(vague)
}

// required reports whether what takes the place of an added package's requirement is
// there already: a shown package of its name and arch requires the same.
func (w World) required(r requirement) bool {
	return slices.ContainsFunc(w.Repositories[r.repository].Shown, func(p Package) bool {
		return p.NEVRA.Name == r.of.NEVRA.Name && p.NEVRA.Arch == r.of.NEVRA.Arch && slices.Contains(p.Requires, r.what)
	})
}

func sorted[K comparable](m map[K]*Broken) []Broken {
	out := make([]Broken, 0, len(m))
	for _, b := range m {
		slices.Sort(b.Needs)
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b Broken) int {
		return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(a.Package, b.Package))
	})
	return out
}

// providers are capabilities by name, each with the package that has it, nil for one that
// lies beneath.
type providers = depend.Providers[*Package]

// primaryFile reports whether primary metadata lists a path: a rule that dates from yum.
func primaryFile(path string) bool {
	return strings.HasPrefix(path, "/etc/") || path == "/usr/lib/sendmail" || strings.Contains(path, "bin/")
}

// isVague reports whether a requirement that isn't met turns on a path that may be there
// though no metadata lists it.
func isVague(ps providers, c Capability) bool {
	return slices.ContainsFunc(c.Parts(), func(part Capability) bool {
		return strings.HasPrefix(part.Name, "/") && !primaryFile(part.Name) && len(ps[part.Name]) == 0
	})
}

// FromHeader returns what a header says. What rpm itself provides is left out.
func FromHeader(h *rpm.Package) Package {
	p := Package{NEVRA: h.NEVRA, Modular: h.Modularity != "", Provides: depend.Provides(h), Requires: depend.Requires(h)}
	for _, f := range h.Files {
		p.Files = append(p.Files, f.Path)
	}
	return p
}
