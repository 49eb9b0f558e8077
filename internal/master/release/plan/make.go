package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
	"albs/internal/rpm"
)

// Candidate is one package of a build that is to be released.
type Candidate struct {
	Build     albs.BuildID
	Platform  string
	Arch      albs.Arch // of the build repository that holds it; src for an SRPM
	NEVRA     rpm.NEVRA
	File      string
	Unsigned  albs.Digest
	Signed    albs.Digest // by the product's key; "" if it isn't
	Size      int64       // of the signed package
	Notarized bool        // both are in the ledger, by proof
	// Unverified is why its source isn't verified, where the product wants it to be.
	Unverified string
	Module     string // the label of its module, name:stream:version:context; "" for none

	// What follows is of a package that is copied from another product.

	From     string      // the path of the repository that has it there
	Place    string      // and its place
	Shown    albs.Digest // the signed copy there
	SignedBy string      // and the fingerprint of its key
	Tests    testrun.Verdict
	Revoked  string // the name of a revoked key that signed it, if no other one did
	// Untested says that the product requires the signed copy to be tested, and nobody has.
	Untested bool
}

// Source reports whether the package is a source package.
func (c Candidate) Source() bool { return c.Arch == albs.Src }

// Shown is a repository as the product shows it now.
type Shown struct {
	Snapshot albs.Digest
	Count    int
	Entries  []repodata.Entry // where packages are to be added; else they aren't needed
	Records  []repodata.Record
	Streams  []record.Stream // of its modules record
	// Metadata is how it is compressed; empty is gzip.
	Metadata repodata.Compression
}

// Facts are all that a plan is made of.
type Facts struct {
	Product product.Product
	Key     string
	Serial  int64
	Expires time.Time
	// Arches are the arches of each platform, in the platform's order.
	Arches map[string][]albs.Arch
	// Metadata is each platform's word for how metadata is compressed.
	Metadata map[string]repodata.Compression
	// Compatible are the platforms whose packages may go into repositories of a platform of
	// the product, by that platform's name.
	Compatible map[string][]string
	// Packages are those of the builds to be released.
	Packages []Candidate
	// Shown are the repositories that are shown now, by path.
	Shown map[string]Shown
	// Records are those that each repository is to have, by its path.
	Records map[string][]repodata.Record
	// Streams are those of the modules record that each repository is to have, by its path.
	Streams map[string][]record.Stream
	// Released is the digest of everything that was ever released, also what was
	// rolled back since, by Released's key.
	Released map[ReleasedFile]albs.Digest
	// Problems are reasons against the plan that were found while gathering.
	Problems []Refusal
	// Copy is where the packages come from, if that isn't from builds; Left are those that
	// were left out for what they are there.
	Copy *Copy
	Left []Left
	// Wanted is what is to be made public beside packages; Shares are what the parts make of
	// that, and have shown before.
	Wanted []Wanted
	Shares []Share
	// Tree is what the product shows now.
	Tree repodata.Tree
	// Decisions are people's on packages of the plan.
	Decisions []place.Decision
	// Places is what references list of the packages for which there is a choice.
	Places *place.Index
	// Strong is the arch that a weak one follows, by platform.
	Strong map[string]map[albs.Arch]albs.Arch
	// Unread are sentences about references that were never read.
	Unread []string
	// Notes are what people should know of what was gathered.
	Notes []string
}

// ReleasedFile names a package that was released into a repository of the product.
type ReleasedFile struct {
	Path string // of the repository
	File string
}

// Make returns the plan that the facts come to. It is pure: equal facts give equal
// plans.
func Make(f Facts) Plan {
	m := maker{facts: f, plan: Plan{
		Product: f.Product.Name, Revision: f.Product.Revision, Key: f.Key, Gate: f.Product.Gate.Tests,
		Serial: f.Serial, Expires: f.Expires, Wanted: f.Wanted, Decisions: f.Decisions, Refusals: slices.Clone(f.Problems), Notes: slices.Concat(f.Notes, f.Unread),
	}, byPath: map[string]*Repository{}, places: map[string]string{}}
	m.repositories()
	for _, c := range m.chosen() {
		m.place(c)
	}
	m.waived()
	m.undecided()
	m.missing()
	m.compatible()
	m.copied()
	added := m.parts()
	for i := range m.plan.Repositories {
		r := &m.plan.Repositories[i]
		r.Records = DiffRecords(m.facts.Shown[r.Path].Records, m.records(r.Path))
		added += len(r.Records)
		is := m.facts.Shown[r.Path].Metadata.Or(repodata.Gzip)
		if by := m.facts.Product.Metadata.Or(m.facts.Metadata[r.Platform]); by != is {
			r.Metadata = by
			if !r.New {
				added++
			}
		}
		slices.SortFunc(r.Packages, func(a, b Change) int { return strings.Compare(a.File, b.File) })
		m.modules(r)
		r.After = r.Before
		for _, c := range r.Packages {
			if c.Action == Add {
				r.After++
				r.Bytes += c.Size
				added++
			}
		}
	}
	if added == 0 && len(m.plan.Refusals) == 0 {
		m.refuse(Refusal{Reason: "there is nothing to release: the product's repositories hold all of it already"})
	}
	return m.plan
}

// waived tells of the waivers by which packages go, once for each file. With the first of
// them that expires the plan does.
func (m *maker) waived() {
	told := map[albs.Digest]bool{}
	for _, r := range m.plan.Repositories {
		for _, c := range r.Packages {
			if c.Action != Add || told[c.Digest] {
				continue
			}
			told[c.Digest] = true
			for _, w := range c.Waivers {
				m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%s: %s", c.NEVRA, w))
				if w.Expires.Before(m.plan.Expires) {
					m.plan.Expires = w.Expires
				}
			}
		}
	}
}

type maker struct {
	facts  Facts
	plan   Plan
	byPath map[string]*Repository
	places map[string]string // of the repositories, by path
}

func (m *maker) refuse(r Refusal) { m.plan.refuse(r) }

// refuse adds a refusal, once.
func (p *Plan) refuse(r Refusal) {
	if !slices.Contains(p.Refusals, r) {
		p.Refusals = append(p.Refusals, r)
	}
}

// repositories lists what the product has and what it has no more.
func (m *maker) repositories() {
	for _, r := range m.facts.Product.Repositories {
		m.places[r.Path] = r.Place
		shown, there := m.facts.Shown[r.Path]
		m.plan.Repositories = append(m.plan.Repositories, Repository{
			Path: r.Path, Platform: r.Platform, Arch: r.Arch, Kind: r.Kind, New: !there, Before: shown.Count,
		})
	}
	slices.SortFunc(m.plan.Repositories, func(a, b Repository) int { return strings.Compare(a.Path, b.Path) })
	for i := range m.plan.Repositories {
		m.byPath[m.plan.Repositories[i].Path] = &m.plan.Repositories[i]
	}
	for path := range m.facts.Shown {
		if m.byPath[path] == nil {
			m.plan.Dropped = append(m.plan.Dropped, path)
		}
	}
	slices.Sort(m.plan.Dropped)
}

// chosen returns the candidates in a fixed order, of each noarch package of a
// build one copy: every rebuild makes its own, and all repositories must hold the
// same bytes. The copy of the platform's first arch is taken.
func (m *maker) chosen() []Candidate {
	all := slices.Clone(m.facts.Packages)
	rank := func(c Candidate) int {
		arches := m.facts.Arches[c.Platform]
		if i := slices.Index(arches, c.Arch); i >= 0 {
			return i
		}
		return len(arches)
	}
	slices.SortStableFunc(all, func(a, b Candidate) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Build, b.Build), strings.Compare(a.Platform, b.Platform), cmp.Compare(rank(a), rank(b)))
	})
	type copyOf struct {
		build    albs.BuildID
		platform string
		nevra    rpm.NEVRA
	}
	taken := map[copyOf]Candidate{}
	var out []Candidate
	for _, c := range all {
		if c.NEVRA.Arch != string(albs.Noarch) {
			out = append(out, c)
			continue
		}
		k := copyOf{c.Build, c.Platform, c.NEVRA}
		if first, ok := taken[k]; ok {
			if first.Unsigned != c.Unsigned {
				m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%s was built for %s and for %s with different content; the copy of %s is taken for all arches",
					c.NEVRA, first.Arch, c.Arch, first.Arch))
			}
			continue
		}
		taken[k] = c
		out = append(out, c)
	}
	return out
}

// place puts one package into the repositories where it belongs, or says why it
// can't be.
func (m *maker) place(c Candidate) {
	refuse := func(format string, args ...any) {
		m.refuse(Refusal{Package: c.NEVRA.String(), Build: c.Build, Reason: fmt.Sprintf(format, args...)})
	}
	to := m.facts.Target(c)
	if to.Excluded {
		m.plan.Excluded = append(m.plan.Excluded, c.NEVRA.String())
		return
	}
	for _, why := range to.Refused {
		if c.From != "" {
			m.leave(c, why)
		} else {
			refuse("%s", why)
		}
	}
	if len(to.Paths) == 0 {
		return
	}
	if held, ok := m.held(c, to.Paths); ok {
		m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%s is released already, as %s: that copy stays and goes where there is none, in place of build %d's",
			c.NEVRA, held.Signed.Short(), c.Build))
		for _, path := range to.Paths {
			m.put(held, path, to, refuse)
		}
		return
	}
	gate := m.facts.Product.Gate
	if c.Signed == "" { // which is told
		gate = gate.Unsigned()
	}
	if gate.Requires() && !c.Source() && !c.Tests.Passes() {
		m.refuse(Refusal{
			Package: c.NEVRA.String(), Build: c.Build, Pending: c.Tests.State == testrun.Pending,
			Reason: fmt.Sprintf("product %s requires passed tests, and its tests are %s: %s; %s", m.plan.Product, c.Tests.State, c.Tests.Reason, c.Tests.Remedy(c.Build, c.NEVRA.String())),
		})
	}
	if c.Unverified != "" {
		refuse("product %s takes packages of verified sources only, and %s", m.plan.Product, c.Unverified)
	}
	if c.Signed == "" {
		switch {
		case c.Revoked != "":
			refuse("it is signed with key %s alone, which is revoked: have build %d signed with the product's key", c.Revoked, c.Build)
		case m.facts.Key != "": // without a key nothing can be signed, which is said once
			refuse("%s", m.unsigned(c))
		}
		return
	}
	if !c.Notarized {
		refuse("the ledger doesn't prove yet what is stated of it: try again soon, or ask the operator whether the ledger is away")
	}
	for _, path := range to.Paths {
		m.put(c, path, to, refuse)
	}
}

// held returns the copy of a noarch or multilib package that is shown in one of the
// repositories into which c is to go: another arch's build has made it again, and a
// released package never changes. It passed everything when it was released.
func (m *maker) held(c Candidate, paths []string) (Candidate, bool) {
	if c.Source() || c.NEVRA.Arch == string(c.Arch) {
		return c, false
	}
	var copies []repodata.Entry
	for _, path := range paths {
		for _, e := range m.facts.Shown[path].Entries {
			if e.NEVRA == c.NEVRA && (len(copies) == 0 || e.Digest != copies[0].Digest) {
				copies = append(copies, e)
			}
		}
	}
	if len(copies) != 1 || copies[0].Digest == c.Signed {
		return c, false
	}
	return Candidate{Platform: c.Platform, Arch: c.Arch, NEVRA: c.NEVRA, File: c.File, Signed: copies[0].Digest, Size: copies[0].Size, Module: c.Module}, true
}

// put decides about one package in one repository.
func (m *maker) put(c Candidate, path string, to Target, refuse func(string, ...any)) {
	r := m.byPath[path]
	change := Change{
		Action: Add, NEVRA: c.NEVRA.String(), File: c.File, Digest: c.Signed, Size: c.Size, Unsigned: c.Unsigned, Build: c.Build,
	}
	if c.Platform != r.Platform {
		change.BuiltFor = c.Platform
	}
	// Repositories of debug data and of sources needn't have modules.
	if change.Module = c.Module; c.Module != "" && r.Kind == product.RPM {
		if why := m.facts.modular(c, path); why != "" {
			refuse("%s", why)
		}
	}
	if at := m.places[path]; slices.Contains(to.Found.Places, at) {
		change.Place, change.Match = at, to.Found.Match.String()
	}
	if !c.Source() {
		change.Tests, change.Reason, change.Waivers = c.Tests.State, c.Tests.Reason, c.Tests.Waivers
	}
	for _, other := range r.Packages {
		if other.File != c.File {
			continue
		}
		if other.Digest != c.Signed && c.From != "" {
			refuse("product %s has it twice, with different content: exclude it", m.facts.Copy.Product)
		} else if other.Digest != c.Signed {
			refuse("builds %d and %d both bring it, with different content: release one of them", other.Build, c.Build)
		}
		return
	}
	if d, ok := m.facts.Released[ReleasedFile{path, c.File}]; ok && d != c.Signed {
		refuse("it was released into %s as %s, this one is %s: a released package never changes, build it with a higher release", path, d.Short(), c.Signed.Short())
		return
	}
	var updates rpm.NEVRA
	for _, e := range m.facts.Shown[path].Entries {
		if e.Name != c.NEVRA.Name {
			continue
		}
		switch {
		case e.NEVRA == c.NEVRA && e.Digest == c.Signed:
			change.Action = Keep
		case e.NEVRA == c.NEVRA:
			refuse("%s holds it with other content (%s): a released package never changes, build it with a higher release", path, e.Digest.Short())
			return
		case sameArch(e.Arch, c.NEVRA.Arch) && rpm.Compare(e.EVR(), c.NEVRA.EVR()) > 0:
			if c.From != "" {
				m.leave(c, fmt.Sprintf("%s has the newer %s", path, e.NEVRA))
			} else {
				refuse("%s has the newer %s: to go back, roll the release back or build with a higher epoch", path, e.NEVRA)
			}
			return
		case sameArch(e.Arch, c.NEVRA.Arch) && (updates.Name == "" || rpm.Compare(e.EVR(), updates.EVR()) > 0):
			updates = e.NEVRA
		}
	}
	if change.Action == Add && updates.Name != "" {
		change.Updates = updates.String()
	}
	r.Packages = append(r.Packages, change)
}

// sameArch reports whether packages of one name and these arches take each other's
// place in an update.
func sameArch(a, b string) bool {
	return a == b || a == string(albs.Noarch) || b == string(albs.Noarch)
}
