// Package place says into which repositories of a product packages go: by what
// references list, and by what people decide. It is pure, and it knows no release.
//
// Where a product has one repository for an arch and a kind, packages of both go there,
// and nobody is asked. Where it has several, each is for a place, and a package goes
// where references have it. One that no reference has goes nowhere by itself: a person
// says where.
package place

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/platform/reference"
	"albs/internal/rpm"
)

// Match says how well what a reference lists fits a package; the lower the better.
type Match int

// The matches, with ALBS's trust colours: green, yellow, and for the last two orange.
// They are told by their names, for colours say nothing to programs.
const (
	Unknown     Match = iota
	Exact             // the same epoch, version and release
	Closest           // the same but for what distributions put behind a release's first part
	NameVersion       // the same epoch and version
	Name              // another version
)

var matchNames = []string{"", "exact", "closest", "name and version", "name"}

// String returns the match as plans tell it; Unknown is "".
func (m Match) String() string { return matchNames[m] }

// MatchOf tells how well listed fits the version that is asked for.
func MatchOf(asked, listed rpm.EVR) Match {
	first := func(release string) string { part, _, _ := strings.Cut(release, "."); return part }
	switch {
	case rpm.Compare(asked, listed) == 0:
		return Exact
	case asked.Epoch != listed.Epoch || asked.Version != listed.Version:
		return Name
	case first(asked.Release) == first(listed.Release):
		return Closest
	}
	return NameVersion
}

// Package is a package whose place is sought.
type Package struct {
	NEVRA rpm.NEVRA
	// Arch is that of the repositories into which it is to go; src for a source package.
	Arch albs.Arch
	// Strong is the arch that Arch follows, if it is a weak one.
	Strong albs.Arch
}

// Found is where references have a package.
type Found struct {
	// Places are none if no reference has it, and several if it is in several.
	Places []string
	Match  Match
	// By is the package that was found, which may be of another version or arch.
	By rpm.NEVRA
}

// Names returns the names by which a reference may know a package: its own, and that
// of the package whose debug data it holds.
func Names(n rpm.NEVRA) []string {
	if !n.Debug() {
		return []string{n.Name}
	}
	for _, word := range []string{"-debuginfo", "-debugsource"} {
		if before, after, ok := strings.Cut(n.Name, word); ok {
			return []string{n.Name, before + after}
		}
	}
	return []string{n.Name}
}

// Index is what references list, by name.
type Index struct {
	named   map[string][]reference.Listing // binary packages
	sources map[string][]reference.Listing // source packages
	of      map[string][]reference.Listing // binary packages, by their source package
}

// NewIndex returns an index of the listings.
func NewIndex(all []reference.Listing) *Index {
	x := &Index{map[string][]reference.Listing{}, map[string][]reference.Listing{}, map[string][]reference.Listing{}}
	for _, l := range all {
		if l.NEVRA.Arch == string(albs.Src) || l.NEVRA.Arch == "nosrc" {
			x.sources[l.NEVRA.Name] = append(x.sources[l.NEVRA.Name], l)
			continue
		}
		x.named[l.NEVRA.Name] = append(x.named[l.NEVRA.Name], l)
		if l.Source != "" {
			x.of[l.Source] = append(x.of[l.Source], l)
		}
	}
	return x
}

// Find returns where the references have a package. A better match comes first, then a
// lower priority, then the package's own arch before the one that it follows before
// others, then the newest version; whatever is equal in all of that counts. Debug data
// that no reference has goes where its package is, and so does a source package.
func (x *Index) Find(p Package) Found {
	var tries [][]reference.Listing
	names := Names(p.NEVRA)
	if p.Arch == albs.Src {
		tries = append(tries, x.sources[p.NEVRA.Name], x.of[p.NEVRA.Name])
	} else {
		for _, name := range names {
			tries = append(tries, x.named[name])
		}
		if len(names) > 1 {
			tries = append(tries, x.of[names[1]])
		}
	}
	for _, listings := range tries {
		if len(listings) > 0 {
			return p.best(listings)
		}
	}
	return Found{}
}

func (p Package) best(listings []reference.Listing) Found {
	worse := func(a, b reference.Listing) int {
		return cmp.Or(
			cmp.Compare(MatchOf(p.NEVRA.EVR(), a.NEVRA.EVR()), MatchOf(p.NEVRA.EVR(), b.NEVRA.EVR())),
			cmp.Compare(a.Reference.Priority, b.Reference.Priority),
			cmp.Compare(p.distance(a), p.distance(b)),
			rpm.Compare(b.NEVRA.EVR(), a.NEVRA.EVR()),
		)
	}
	first := listings[0]
	for _, l := range listings[1:] {
		if cmp.Or(worse(l, first), strings.Compare(l.NEVRA.String(), first.NEVRA.String())) < 0 {
			first = l
		}
	}
	f := Found{Match: MatchOf(p.NEVRA.EVR(), first.NEVRA.EVR()), By: first.NEVRA}
	for _, l := range listings {
		if worse(l, first) == 0 {
			f.Places = append(f.Places, l.Reference.Place)
		}
	}
	slices.Sort(f.Places)
	f.Places = slices.Compact(f.Places)
	return f
}

// distance is how far the repository and the arch of a listing are from the package's.
func (p Package) distance(l reference.Listing) int {
	switch {
	case l.Reference.Arch == p.Arch && l.NEVRA.Arch == p.NEVRA.Arch:
		return 0
	case l.Reference.Arch == p.Arch:
		return 1
	case l.Reference.Arch == p.Strong:
		return 2
	}
	return 3
}
