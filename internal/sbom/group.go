package sbom

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

// Member is a package of a Group, with what it says to have bundled.
type Member struct {
	Component
	Bundled []Component
	part    Part
	system  string // Ref of its distribution, "" if that isn't known
}

// Group are packages that are told of together: those of a build, a release or an image.
type Group struct {
	members map[string]*Member
	systems map[string]Component
	// named are source packages of which only the file name is known, and packages that
	// are needed and not told of.
	named map[string]Component
	// sources are source packages of which no header was read, by their files.
	sources map[string]Component
}

// NewGroup returns an empty group.
func NewGroup() *Group {
	return &Group{members: map[string]*Member{}, systems: map[string]Component{}, named: map[string]Component{}, sources: map[string]Component{}}
}

// Add adds a package by its headers and returns it, for the caller to add what else it
// knows of it. A package that is there already stays as it is.
func (g *Group) Add(p *rpm.Package, f File, d Distribution) *Member {
	if m := g.members[RefOf(f.SHA256)]; m != nil {
		return m
	}
	c, bundled := OfPackage(p, f, d)
	m := &Member{Component: c, Bundled: bundled, part: PartOf(p, c.Ref), system: g.system(d)}
	g.members[c.Ref] = m
	return m
}

func (g *Group) system(d Distribution) string {
	if d.ID == "" {
		return ""
	}
	g.systems[d.Ref()] = d.Component()
	return d.Ref()
}

// Has reports whether the package of that digest is one of them.
func (g *Group) Has(d albs.Digest) bool { return g.members[RefOf(d)] != nil }

// Source tells of a source package from which members may be built and that isn't one
// itself.
func (g *Group) Source(n rpm.NEVRA, sum albs.Digest, d Distribution) {
	c := g.Slim(Part{Ref: RefOf(sum), NEVRA: n}, d)
	c.Type = Source
	g.sources[c.File] = c
}

// World are packages that are installed from together, of one arch of one system.
type World struct {
	Distribution Distribution
	// Members are the packages of the group, by their digests.
	Members []albs.Digest
	// Others are packages that are not in the group and may be needed by those that are;
	// their Refs are RefOf their digests.
	Others []Part
	// Beneath are what the distribution's own repositories provide, of the names that
	// Wanted returns.
	Beneath []depend.Capability
}

// Wanted returns the names of what the members of a world require.
func (g *Group) Wanted(members []albs.Digest) map[string]bool { return Wanted(g.parts(members)) }

func (g *Group) parts(members []albs.Digest) []Part {
	var out []Part
	for _, d := range members {
		if m := g.members[RefOf(d)]; m != nil {
			out = append(out, m.part)
		}
	}
	return out
}

// Resolve finds what the members need in each of the worlds, and which source packages
// they were built from, which are those of the group that the headers name, unless the
// caller has said From. To be called once, when all are added.
func (g *Group) Resolve(worlds []World) {
	needed := map[string]Needed{}
	for _, w := range worlds {
		parts := g.parts(w.Members)
		own := len(parts)
		parts = append(parts, w.Others...)
		for i, o := range w.Others {
			if c := g.Slim(o, w.Distribution); g.members[c.Ref] == nil {
				g.named[c.Ref] = c
			}
			parts[own+i].Requires = nil // it is not asked what those need
		}
		found := Resolve(parts, w.Beneath, g.system(w.Distribution))
		for _, p := range parts[:own] {
			n, ok := found[p.Ref]
			if before, twice := needed[p.Ref]; ok && twice {
				n = n.And(before)
			}
			if ok {
				needed[p.Ref] = n
			}
		}
	}
	sources := map[string]string{}
	for _, m := range g.sorted() {
		if m.Type == Source {
			sources[m.File] = m.Ref
		}
	}
	for _, m := range g.sorted() { // of a source that several name counts what the last one tells
		if n, ok := needed[m.Ref]; ok {
			m.Needs, m.Resolved = n.Refs, n.All
		}
		if m.part.SourceRPM == "" || m.From != "" {
			continue
		}
		if m.From = sources[m.part.SourceRPM]; m.From == "" {
			c, ok := g.sources[m.part.SourceRPM]
			if !ok {
				c = sourceNamed(m.part.SourceRPM, m.Name, g.distribution(m))
			}
			g.named[c.Ref], m.From = c, c.Ref
		}
	}
}

// distribution returns the member's, as far as a purl needs it.
func (g *Group) distribution(m *Member) Distribution {
	c := g.systems[m.system]
	return Distribution{ID: c.Name, Version: c.Version}
}

// Slim returns the component of a package of which no header was read.
func (g *Group) Slim(p Part, d Distribution) Component {
	return slim(p, d)
}

// sourceNamed is a source package of which only the name of its file is known; name is
// that of a package made from it.
func sourceNamed(file, name string, d Distribution) Component {
	c := Component{Ref: "source-" + file, Type: Source, Name: name, File: file}
	if n, err := rpm.ParseNEVRA(strings.TrimSuffix(file, ".rpm")); err == nil {
		n.Epoch = 0
		c.Name, c.Version, c.PURL = n.Name, n.EVR().String(), PURL(n, d, "")
	}
	return c
}

func (g *Group) sorted() []*Member {
	return slices.SortedFunc(maps.Values(g.members), func(a, b *Member) int { return strings.Compare(a.Ref, b.Ref) })
}

// Of returns the bill of one package of the group: the package with what it has bundled,
// was built from and needs, and its distribution. b has what is said of every bill.
func (g *Group) Of(d albs.Digest, b Bill) (Bill, error) {
	m := g.members[RefOf(d)]
	if m == nil {
		return Bill{}, albs.Errorf(albs.Internal, "package %s isn't in the group", d.Short())
	}
	b.Kind, b.Root, b.Others = Package, m.Component, slices.Clone(m.Bundled)
	if m.system != "" {
		b.Root.Needs = sorted(append(slices.Clone(m.Needs), m.system))
	}
	b.Supplier.Name = cmp.Or(b.Supplier.Name, m.Supplier)
	for _, ref := range sorted(append(slices.Clone(b.Root.Needs), m.From)) {
		if ref == "" {
			continue
		}
		c, err := g.neighbour(ref)
		if err != nil {
			return Bill{}, err
		}
		b.Others = append(b.Others, c)
	}
	return b, nil
}

// neighbour returns what another component names: without what it rests on itself.
func (g *Group) neighbour(ref string) (Component, error) {
	if c, ok := g.systems[ref]; ok {
		return c, nil
	}
	if c, ok := g.named[ref]; ok {
		return c, nil
	}
	m := g.members[ref]
	if m == nil {
		return Component{}, albs.Errorf(albs.Internal, "%.200q isn't in the group", ref)
	}
	c := m.Component
	c.Description, c.Properties, c.From, c.Needs, c.Resolved, c.Contains = "", nil, "", nil, false, nil
	return c, nil
}

// Whole returns the bill of the group, of which b has the root. What the packages need
// beside is there too, and not within root.
func (g *Group) Whole(b Bill) (Bill, error) {
	told, near := map[string]bool{}, map[string]bool{}
	for _, m := range g.sorted() {
		told[m.Ref] = true
		b.Root.Contains = append(b.Root.Contains, m.Ref)
		b.Others = append(append(b.Others, m.Component), m.Bundled...)
		for _, ref := range append(slices.Clone(m.Needs), m.From, m.system) {
			near[ref] = true
		}
		if m.system != "" {
			b.Root.Needs = append(b.Root.Needs, m.system)
		}
	}
	delete(near, "")
	for _, ref := range slices.Sorted(maps.Keys(near)) {
		if told[ref] {
			continue
		}
		c, err := g.neighbour(ref)
		if err != nil {
			return Bill{}, err
		}
		b.Others = append(b.Others, c)
	}
	b.Root.Needs = sorted(b.Root.Needs)
	return b, nil
}

// Newest returns when the newest of the packages was built, 1970 if none says so.
func (g *Group) Newest() time.Time {
	out := time.Unix(0, 0).UTC()
	for _, m := range g.members {
		if m.Built.After(out) {
			out = m.Built
		}
	}
	return out
}
