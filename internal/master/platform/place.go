package platform

import (
	"slices"

	"albs/internal/albs"
)

// Reference is an outside repository that says of packages which place they have in a
// distribution. Nothing is installed from it.
type Reference struct {
	// Place is what products call the part of the distribution, as "BaseOS".
	Place string `yaml:"place" json:"place"`
	// Arch is the one arch that has the repository, src for sources; empty stands for
	// all of the platform's, of which sources are none.
	Arch albs.Arch `yaml:"arch" json:"arch,omitempty"`
	// URL is the folder that holds repodata/; $arch in it stands for the arch.
	URL string `yaml:"url" json:"url"`
	// Priority decides between references that know a package equally well: lower wins.
	Priority int `yaml:"priority" json:"priority,omitempty"`
}

const maxReferences = 256 // as places and arches multiply

func (r Reference) at(arch albs.Arch) string { return Repository{URL: r.URL}.at(arch) }

// ReferencesByArch returns the platform's references with each arch's own URL.
func (s Spec) ReferencesByArch() []Reference {
	var out []Reference
	for _, r := range s.References {
		arches := s.Arches
		if r.Arch != "" {
			arches = []albs.Arch{r.Arch}
		}
		for _, a := range arches {
			out = append(out, Reference{Place: r.Place, Arch: a, URL: r.at(a), Priority: r.Priority})
		}
	}
	return out
}

// Beneath returns the repositories that lie beneath packages for arch: those from which
// their roots are filled, and the platform's references of the arch, each once.
func (s Spec) Beneath(arch albs.Arch) []Reference {
	root := s.Root(arch)
	var out []Reference
	seen := map[string]bool{}
	add := func(r Reference) {
		if !seen[r.URL] {
			seen[r.URL] = true
			out = append(out, r)
		}
	}
	for _, r := range s.ReferencesByArch() {
		if r.Arch == arch || r.Arch == root {
			add(r)
		}
	}
	for _, r := range forArch(s.Repositories, root) {
		add(Reference{Place: r.ID, Arch: root, URL: r.at(root)})
	}
	return out
}

// Strong returns the arch that a weak one follows, and "" for others.
func (s Spec) Strong(arch albs.Arch) albs.Arch {
	for _, w := range s.WeakArches {
		if w.Name == arch {
			return w.DependsOn
		}
	}
	return ""
}

// CheckPlace returns an Invalid error for what can't be the name of a place.
func CheckPlace(place string) error {
	if !repoIDForm.MatchString(place) {
		return albs.Errorf(albs.Invalid, "place %.80q: a place has up to 64 letters, digits, dots, hyphens and underscores, and begins with a letter or digit", place)
	}
	return nil
}

const maxCompatible = 16

func (s Spec) checkCompatible(bad refuse) error {
	if len(s.Compatible) > maxCompatible {
		return bad("compatible: more than %d platforms", maxCompatible)
	}
	for i, name := range s.Compatible {
		switch {
		case !nameForm.MatchString(name):
			return bad("compatible: %.80q is not a platform's name", name)
		case name == s.Name:
			return bad("compatible names %s itself", name)
		case slices.Contains(s.Compatible[:i], name):
			return bad("compatible names %s twice", name)
		}
	}
	return nil
}

func (s Spec) checkReferences(bad refuse) error {
	for _, r := range s.References {
		if err := CheckPlace(r.Place); err != nil {
			return bad("references: %w", err)
		}
		switch {
		case r.Priority < 0 || r.Priority > 99:
			return bad("reference %s: priority %d is not between 0 and 99", r.Place, r.Priority)
		case r.Arch != "" && r.Arch != albs.Src && !slices.Contains(s.Arches, r.Arch):
			return bad("reference %s: arch %.20q is neither %s nor among arches", r.Place, r.Arch, albs.Src)
		}
		if err := checkURL(r.at(albs.X8664)); err != nil {
			return bad("reference %s: %w", r.Place, err)
		}
	}
	type one struct {
		arch albs.Arch
		url  string
	}
	seen := map[one]string{}
	for i, r := range s.ReferencesByArch() {
		if i == maxReferences {
			return bad("more than %d references, each arch of one counted", maxReferences)
		}
		if place, ok := seen[one{r.Arch, r.URL}]; ok {
			return bad("the references %s and %s are both %s for %s: a repository is one place", place, r.Place, r.URL, r.Arch)
		}
		seen[one{r.Arch, r.URL}] = r.Place
	}
	return nil
}
