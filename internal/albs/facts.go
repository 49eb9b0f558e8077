package albs

import (
	"slices"
	"strings"
)

// SpecFacts is what a spec file says of itself for one arch, as the rpm of a root
// told it: data from a package, to be bounded by whoever takes it in.
type SpecFacts struct {
	Arch Arch `json:"arch"` // the --target that was asked for
	// Unknown says why the rest is empty; "" where rpm answered.
	Unknown  string        `json:"unknown,omitempty"`
	Packages []SpecPackage `json:"packages,omitempty"` // the binary packages that a rebuild would make
	Requires []string      `json:"requires,omitempty"` // BuildRequires, as dnf takes them
	// Dynamic: a rebuild finds out more requirements by %generate_buildrequires.
	Dynamic   bool     `json:"dynamic,omitempty"`
	Exclusive []string `json:"exclusive,omitempty"` // ExclusiveArch
	Exclude   []string `json:"exclude,omitempty"`   // ExcludeArch
}

// SpecPackage is one binary package of a spec file.
type SpecPackage struct {
	Name   string `json:"name"`
	Noarch bool   `json:"noarch,omitempty"`
	// Provides are names beside Name, without versions: those that the spec gives and
	// those that follow from the files it lists literally. What rpm finds in the files
	// themselves is known after the build only.
	Provides []string `json:"provides,omitempty"`
}

// Bounds of facts; what goes beyond is no fact.
const (
	MaxSpecNames = 20_000  // names of packages, provides and requirements of one arch together
	MaxSpecName  = 1_000   // bytes of each
	MaxSpecBytes = 2 << 20 // bytes of all names for all arches
)

// Excluded says why the package isn't for the arch by its tags, naming the tag; ""
// if it is.
func (f SpecFacts) Excluded() string { return ExcludedArch(f.Exclusive, f.Exclude, f.Arch) }

// ExcludedArch says why a package with those tags isn't built for arch, naming the
// tag; "" if it is.
func ExcludedArch(exclusive, exclude []string, arch Arch) string {
	a := string(arch)
	switch {
	case slices.Contains(exclude, a):
		return "ExcludeArch names " + a
	case len(exclusive) > 0 && !slices.Contains(exclusive, a) && !slices.Contains(exclusive, string(Noarch)):
		return "ExclusiveArch names " + strings.Join(exclusive, " ") + ", not " + a
	}
	return ""
}

// CheckSpecFacts returns Invalid if the facts are not of the arches asked for, each
// once at most, or pass a bound.
func CheckSpecFacts(facts []SpecFacts, asked []Arch) error {
	bytes := 0
	for i, f := range facts {
		if !slices.Contains(asked, f.Arch) || slices.ContainsFunc(facts[:i], func(o SpecFacts) bool { return o.Arch == f.Arch }) {
			return Errorf(Invalid, "facts of arch %.40q, which was not asked for or is there twice", f.Arch)
		}
		names := slices.Concat(f.Requires, f.Exclusive, f.Exclude, []string{f.Unknown})
		for _, p := range f.Packages {
			names = append(append(names, p.Name), p.Provides...)
		}
		if len(names) > MaxSpecNames {
			return Errorf(TooLarge, "the spec has %d names for %s, at most %d are taken", len(names), f.Arch, MaxSpecNames)
		}
		for _, n := range names {
			if len(n) > MaxSpecName || strings.ContainsFunc(n, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
				return Errorf(Invalid, "%.60q of the spec's facts for %s is no name", n, f.Arch)
			}
			bytes += len(n)
		}
		if bytes > MaxSpecBytes {
			return Errorf(TooLarge, "the spec's names have more than %d bytes", MaxSpecBytes)
		}
	}
	return nil
}
