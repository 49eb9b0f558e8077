// Package match says which packages answer what an advisory wants, and why: pure rules.
//
// A notice names packages as its author built them. Those of the platform are others: with
// what the platform appends to releases, built for modules of its own, now and then noarch
// where the notice has an arch. They are compared by what their headers say and in rpm's
// own order, never by names of files or as text. What is released comes first, for it
// answers already; then builds, of which one that has more of a source comes before one
// that has less. Every answer has its reason, and so has every package without one.
package match

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// Package is one that may answer: of a build, and perhaps released by now.
type Package struct {
	rpm.NEVRA
	// Module is the label of its module, name:stream:version:context; "" if it has none.
	Module string
	// Source is the file name of its SRPM; "" of one itself.
	Source   string
	Build    albs.BuildID
	Unsigned albs.Digest // as it was built
	// Released says that a signed copy is in a repository for the platform.
	Released bool
}

// source returns the name of the source package.
func (p Package) source() string {
	return advisory.Package{NEVRA: p.NEVRA, Source: p.Source}.SourceName()
}

// Strength is how well a package answers another one.
type Strength int

// The strengths, weakest first. What is Newer or better has what was wanted.
const (
	Source Strength = 1 // of the source that the notice names, but of another version: a person has to look
	Newer  Strength = 2 // of a higher version in the same line
	Equal  Strength = 3 // the same but for what tells who built it
	Exact  Strength = 4 // of the same name and version
)

// String returns the word for a strength; 0 is of what no rule found but a person chose.
func (s Strength) String() string {
	switch s {
	case 0:
		return "by hand"
	case Source:
		return "source"
	case Newer:
		return "newer"
	case Equal:
		return "equal"
	case Exact:
		return "exact"
	}
	return fmt.Sprintf("strength %d", int(s))
}

// Answer is a package that answers one that was wanted.
type Answer struct {
	Wanted int // its place among those that were
	Package
	Strength Strength
	Reason   string // why, in one sentence
	// Pick tells of what is proposed; the others are there to be chosen instead. Where
	// noarch was wanted and a build has a package for each arch, it is proposed with all.
	Pick bool
}

// Missing is a wanted package without an answer.
type Missing struct {
	Wanted int // its place among those that were
	Reason string
}

// Result is what there is for an advisory, in the order of what it wants, the best first.
type Result struct {
	Answers []Answer
	Missing []Missing
}

// maxBuilds is how many builds are told of for one package.
const maxBuilds = 10

// Index holds the packages of one platform by name. It may be used concurrently.
type Index struct {
	platform string
	suffixes []string
	names    map[string]*shelf
}

// shelf is all that is built under one name. Versions are compared once, not once for
// each that wants them: rpm's order costs more than all else here.
type shelf struct {
	candidates []candidate
	raw, clean []rpm.EVR // in order, each once
}

// candidate is a package with what is asked of it again and again.
type candidate struct {
	Package
	module     string // name:stream
	raw, clean view
}

// view is a package's version and its source, as they are or clean.
type view struct {
	evr    rpm.EVR
	rank   int       // of the version among those of the shelf
	source rpm.NEVRA // zero if it isn't known
}

func viewOf(n rpm.NEVRA, source string, clean func(rpm.EVR) rpm.EVR) view {
	v := view{evr: clean(n.EVR())}
	if s, err := rpm.ParseNEVRA(strings.TrimSuffix(source, ".rpm")); err == nil {
		s.Release = clean(s.EVR()).Release
		v.source = s
	}
	return v
}

func (x *Index) clean(e rpm.EVR) rpm.EVR { return Clean(e, x.suffixes) }

func asIs(e rpm.EVR) rpm.EVR { return e }

// New returns an index of the packages of a platform. suffixes are what the platform
// appends to releases, as ".alma".
func New(platform string, suffixes []string, packages []Package) *Index {
	x := &Index{platform: platform, suffixes: suffixes, names: make(map[string]*shelf)}
	for _, p := range packages {
		s := x.names[p.Name]
		if s == nil {
			s = &shelf{}
			x.names[p.Name] = s
		}
		c := candidate{Package: p, module: stream(p.Module), raw: viewOf(p.NEVRA, p.Source, asIs), clean: viewOf(p.NEVRA, p.Source, x.clean)}
		s.candidates = append(s.candidates, c)
		s.raw, s.clean = append(s.raw, c.raw.evr), append(s.clean, c.clean.evr)
	}
	for _, s := range x.names {
		s.raw, s.clean = ordered(s.raw), ordered(s.clean)
		for i := range s.candidates {
			c := &s.candidates[i]
			c.raw.rank, _ = slices.BinarySearchFunc(s.raw, c.raw.evr, rpm.Compare)
			c.clean.rank, _ = slices.BinarySearchFunc(s.clean, c.clean.evr, rpm.Compare)
		}
	}
	return x
}

// ordered sorts versions, which it takes over, and leaves one of those that rpm holds equal.
func ordered(es []rpm.EVR) []rpm.EVR {
	slices.SortFunc(es, rpm.Compare)
	return slices.CompactFunc(es, func(a, b rpm.EVR) bool { return rpm.Compare(a, b) == 0 })
}

// stream returns name:stream of a module's label.
func stream(label string) string {
	name, rest, ok := strings.Cut(label, ":")
	if !ok {
		return label
	}
	s, _, _ := strings.Cut(rest, ":")
	return name + ":" + s
}

// moduleForm is what the build of a module puts into releases, as .module+el8.3.0+10166+b07ac28e
// or .module_el8.6.0+2881+d7b5b5b3. The number of a change may follow, and stays.
var moduleForm = regexp.MustCompile(`\.module[+_][^+]*\+[^+]*\+[0-9A-Za-z]+`)

// Clean returns an EVR without what only tells who built it: a suffix of the platform with
// all that follows it, and the mark of a module's build.
func Clean(e rpm.EVR, suffixes []string) rpm.EVR {
	for _, s := range suffixes {
		if i := cut(e.Release, s); i > 0 {
			e.Release = e.Release[:i]
		}
	}
	if strings.Contains(e.Release, ".module") {
		e.Release = moduleForm.ReplaceAllString(e.Release, "")
	}
	return e
}

// cut returns where a release has a suffix, 0 if it hasn't: .alma is in 1.alma, 1.alma2 and
// 1.alma.1, but not in 1.almanac.
func cut(release, suffix string) int {
	for from := 1; suffix != "" && from < len(release); from++ {
		i := strings.Index(release[from:], suffix)
		if i < 0 {
			return 0
		}
		from += i
		end := from + len(suffix)
		if end == len(release) || !letter(release[end]) {
			return from
		}
	}
	return 0
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// wanted is a package that an advisory wants, with what is asked of it again and again.
type wanted struct {
	advisory.Package
	own    bool
	module string // name:stream
	view          // its rank is where it is, or would be
	there  bool   // whether the shelf has its version
	shelf  []candidate
}

// found is a candidate that answers.
type found struct {
	candidate
	strength Strength
	pick     bool
}

// part is what a build has of a source, and coverage how much of an advisory that is.
type part struct {
	build  albs.BuildID
	source string
}

type coverage struct{ packages, strength int }

// Match returns what answers the packages that an advisory wants. One that the distribution
// issued itself (own) names what it built, with what the platform appends.
func (x *Index) Match(want []advisory.Package, own bool) Result {
	ws := make([]wanted, len(want))
	all := make([][]found, len(want))
	covered := map[part]coverage{}
	for i, p := range want {
		ws[i] = x.wanted(p, own)
		if i > 0 && p.Name == want[i-1].Name && p.EVR() == want[i-1].EVR() { // of another arch
			ws[i].rank, ws[i].there = ws[i-1].rank, ws[i-1].there
		} else {
			x.place(&ws[i])
		}
		best := map[part]Strength{}
		for _, c := range ws[i].shelf {
			if s := ws[i].answeredBy(c); s != 0 {
				all[i] = append(all[i], found{candidate: c, strength: s})
				of := part{c.Build, c.source()}
				best[of] = max(best[of], s)
			}
		}
		for of, s := range best {
			c := covered[of]
			c.strength += int(s)
			if s >= Newer {
				c.packages++
			}
			covered[of] = c
		}
	}
	var r Result
	for i, w := range ws {
		if len(all[i]) == 0 {
			r.Missing = append(r.Missing, Missing{i, x.lack(w)})
		}
		for _, f := range w.choose(all[i], covered) {
			r.Answers = append(r.Answers, Answer{i, f.Package, f.strength, x.reason(w, f), f.pick})
		}
	}
	return r
}

func (x *Index) wanted(p advisory.Package, own bool) wanted {
	clean := x.clean
	if own {
		clean = asIs
	}
	w := wanted{Package: p, own: own, view: viewOf(p.NEVRA, p.Source, clean)}
	if p.Module != nil {
		w.module = p.Module.Name + ":" + p.Module.Stream
	}
	if s := x.names[p.Name]; s != nil {
		w.shelf = s.candidates
	}
	return w
}

// place finds where the version that is wanted stands among those that there are.
func (x *Index) place(w *wanted) {
	s := x.names[w.Name]
	switch {
	case s == nil:
	case w.own:
		w.rank, w.there = slices.BinarySearchFunc(s.raw, w.evr, rpm.Compare)
	default:
		w.rank, w.there = slices.BinarySearchFunc(s.clean, w.evr, rpm.Compare)
	}
}

// order is rpm's of a candidate's version against the one that is wanted.
func (w wanted) order(v view) int {
	if v.rank == w.rank && !w.there {
		return 1
	}
	return cmp.Compare(v.rank, w.rank)
}

// seen is how a candidate is compared with what is wanted.
func (w wanted) seen(c candidate) view {
	if w.own {
		return c.raw
	}
	return c.clean
}

// answeredBy returns how well a package of the same name answers, 0 if it doesn't.
func (w wanted) answeredBy(c candidate) Strength {
	if !archAnswers(w.Arch, c.Arch) || !moduleAnswers(w.module, c.module) {
		return 0
	}
	v := w.seen(c)
	order := w.order(v)
	switch {
	case w.EVR() == c.EVR():
		return Exact
	case order == 0:
		return Equal
	case order > 0 && sameLine(v.evr, w.evr):
		return Newer
	case w.source.Name != "" && v.source.Name == w.source.Name && rpm.Compare(v.source.EVR(), w.source.EVR()) == 0:
		return Source
	}
	return 0
}

// archAnswers reports whether a package of one arch may answer one of another: what is for
// all arches here may have been for one there, and the other way round.
func archAnswers(want, have string) bool {
	src := string(albs.Src)
	return want == have || want != src && have != src && (want == noarch || have == noarch)
}

const noarch = "noarch"

// moduleAnswers reports whether a package of one stream, name:stream or "" for none, may
// answer one of another: what a module keeps from its users is in one beside it, whose
// name ends in -devel.
func moduleAnswers(want, have string) bool {
	if want == have {
		return true
	}
	w, wantStream, _ := strings.Cut(want, ":")
	h, haveStream, _ := strings.Cut(have, ":")
	return want != "" && have != "" && h == w+"-devel" && wantStream == haveStream
}

// sameLine reports whether two versions are of one line: of the same epoch, and alike up to
// the first dot. A version without one, as a date, goes on in the same line.
func sameLine(a, b rpm.EVR) bool {
	if a.Epoch != b.Epoch {
		return false
	}
	x, _, dotted := strings.Cut(a.Version, ".")
	y, _, too := strings.Cut(b.Version, ".")
	return x == y || !dotted && !too
}

// choose returns which of those that answer are told of, the best first: nothing beside
// one that is released and has what was wanted, else the best of each build.
func (w wanted) choose(all []found, covered map[part]coverage) []found {
	builds := map[albs.BuildID][]found{}
	for _, f := range all {
		builds[f.Build] = append(builds[f.Build], f)
	}
	var groups [][]found
	for _, fs := range builds {
		groups = append(groups, w.of(fs))
	}
	answers := func(g []found) bool {
		return !slices.ContainsFunc(g, func(f found) bool { return !f.Released || f.strength < Newer })
	}
	slices.SortFunc(groups, func(a, b []found) int {
		x, y := a[0], b[0]
		if answers(a) != answers(b) {
			if answers(a) {
				return -1
			}
			return 1
		}
		var more, stronger int
		if !answers(a) { // of what isn't released yet, one build shall answer for a source
			m, n := covered[part{x.Build, x.source()}], covered[part{y.Build, y.source()}]
			more, stronger = cmp.Compare(n.packages, m.packages), cmp.Compare(n.strength, m.strength)
		}
		return cmp.Or(more, stronger, cmp.Compare(y.strength, x.strength), cmp.Compare(w.seen(x.candidate).rank, w.seen(y.candidate).rank), cmp.Compare(y.Build, x.Build))
	})
	var out []found
	for i, g := range groups {
		if i == maxBuilds || i > 0 && answers(groups[0]) {
			break
		}
		for _, f := range g {
			f.pick = i == 0 && f.strength >= Newer
			out = append(out, f)
		}
	}
	return out
}

// of returns the best of one build: one package of the arch that is wanted or noarch; or,
// where noarch is wanted and there is none, one for each arch.
func (w wanted) of(fs []found) []found {
	slices.SortFunc(fs, func(a, b found) int {
		return cmp.Or(
			cmp.Compare(b.strength, a.strength),
			cmp.Compare(fit(b.Arch, w.Arch), fit(a.Arch, w.Arch)),
			cmp.Compare(w.seen(a.candidate).rank, w.seen(b.candidate).rank),
			strings.Compare(a.Arch, b.Arch),
			strings.Compare(a.NEVRA.String(), b.NEVRA.String()),
		)
	})
	if w.Arch != noarch || fs[0].Arch == noarch {
		return fs[:1]
	}
	var out []found
	for _, f := range fs {
		if f.Arch != noarch && !slices.ContainsFunc(out, func(o found) bool { return o.Arch == f.Arch }) {
			out = append(out, f)
		}
	}
	return out
}

// fit is 1 for the arch that is wanted, else 0.
func fit(have, want string) int {
	if have == want {
		return 1
	}
	return 0
}
