package matching

import (
	"fmt"
	"slices"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/rpm"
)

// Status is where a match stands, in ALBS's words.
type Status string

// The statuses.
const (
	Proposal Status = "proposal" // nobody has decided
	Approved Status = "approved"
	Skipped  Status = "skipped"
	Released Status = "released" // the package is in a repository of a product, and nobody skipped it
)

// ParseStatus returns a status; Invalid for any other word.
func ParseStatus(s string) (Status, error) {
	if st := Status(s); slices.Contains([]Status{Proposal, Approved, Skipped, Released}, st) {
		return st, nil
	}
	return "", albs.Errorf(albs.Invalid, "%.40q is no status of a match: proposal, approved, skipped or released", s)
}

// Match is a package that answers one that an advisory wants, or that was added to it.
type Match struct {
	errata.Key `json:"-"`
	// Wanted is the package of the notice; zero for one that was added.
	Wanted rpm.NEVRA `json:"wanted,omitzero"`
	Module string    `json:"module,omitempty"` // name:stream of the module that is wanted
	// NEVRA is the package that answers, and Build the one that made it. They name it, so
	// that a match stays one when the package is built again or signed anew.
	NEVRA rpm.NEVRA    `json:"nevra"`
	Build albs.BuildID `json:"build"`
	// Unsigned is the package as it was built last; empty while the build hasn't got it.
	Unsigned albs.Digest `json:"unsigned,omitempty"`
	// Source is the name of the source package, and Label that of its module.
	Source   string `json:"source,omitempty"`
	Label    string `json:"label,omitempty"`
	Released bool   `json:"released,omitempty"` // a signed copy is in a repository for the platform
	Status   Status `json:"status"`
	// Strength and Reason are why albs thinks that it answers.
	Strength match.Strength `json:"strength"`
	Reason   string         `json:"reason"`
	Pick     bool           `json:"pick,omitempty"` // of several it is the one that albs would take
	// By, Why and At are of a person's decision; By is empty without one.
	By  string    `json:"by,omitempty"`
	Why string    `json:"why,omitempty"`
	At  time.Time `json:"at,omitzero"`
}

// settled reports whether the match is the answer.
func (m Match) settled() bool { return m.Status == Approved || m.Status == Released }

// Wanted is a package that an advisory wants.
type Wanted struct {
	rpm.NEVRA
	Module string `json:"module,omitempty"` // name:stream
	// Lack says why albs finds no answer; empty if there is one.
	Lack string `json:"lack,omitempty"`
	// Excluded tells that it needs none: a person decided so or, without By, the platform
	// isn't built for its arch.
	Excluded bool      `json:"excluded,omitempty"`
	By       string    `json:"by,omitempty"`
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// Stage is what an advisory waits for.
type Stage int

// The stages.
const (
	NeedsBuild Stage = 1 // something that it wants has no answer
	NeedsMatch Stage = 2 // all has, and a person has to choose
	Ready      Stage = 3 // all is chosen
)

// Stages are all stages.
func Stages() []Stage { return []Stage{NeedsBuild, NeedsMatch, Ready} }

// String returns the words for a stage.
func (s Stage) String() string {
	switch s {
	case NeedsBuild:
		return "needs build"
	case NeedsMatch:
		return "needs match"
	case Ready:
		return "ready"
	}
	return fmt.Sprintf("stage %d", int(s))
}

// ParseStage returns the stage of a word of String's; Invalid if there is none.
func ParseStage(s string) (Stage, error) {
	for _, st := range Stages() {
		if s == st.String() {
			return st, nil
		}
	}
	return 0, albs.Errorf(albs.Invalid, "%.40q is no stage: %v", s, Stages())
}

// state is all that is kept of what answers an advisory.
type state struct {
	Wanted  []Wanted `json:"wanted"`
	Matches []Match  `json:"matches"` // by what is wanted, the best first; then those that were added
}

// shown returns a match with the status that readers see: what is released answers, unless
// a person, or another choice, has it otherwise.
func (m Match) shown(k errata.Key) Match {
	m.Key = k
	if m.Released && m.Status != Skipped {
		m.Status = Released
	}
	return m
}

// pair names a match within an advisory.
type pair struct {
	wanted, nevra rpm.NEVRA
	build         albs.BuildID
}

func (m Match) pair() pair { return pair{m.Wanted, m.NEVRA, m.Build} }

// place names a package of a build.
type place struct {
	build albs.BuildID
	nevra rpm.NEVRA
}

// wants returns the packages that an advisory wants, each once whatever the repositories
// that its notice knows it in.
func wants(a advisory.Advisory) []advisory.Package {
	seen := map[rpm.NEVRA]bool{}
	var out []advisory.Package
	for _, p := range a.Packages {
		if !seen[p.NEVRA] {
			seen[p.NEVRA] = true
			out = append(out, p)
		}
	}
	return out
}

// inputs are what matching rests on.
type inputs struct {
	want     []advisory.Package
	own      bool
	frozen   bool
	result   match.Result
	platform string
	arches   []albs.Arch // of the platform
	// held are the packages of builds with names that are wanted or were chosen.
	held map[place]match.Package
}

const (
	lackFrozen = "the advisory is frozen: nothing is matched by itself"
	lackUnseen = "it wasn't looked for yet"
)

// merge returns what is to be kept: what was found anew, with what people have decided
// before, which stays whatever is found.
func (s state) merge(in inputs) state {
	decided := map[rpm.NEVRA]Wanted{}
	for _, w := range s.Wanted {
		decided[w.NEVRA] = w
	}
	was := map[rpm.NEVRA][]Match{}
	for _, m := range s.Matches {
		was[m.Wanted] = append(was[m.Wanted], m)
	}
	found := make([][]Match, len(in.want))
	for _, a := range in.result.Answers {
		found[a.Wanted] = append(found[a.Wanted], Match{
			NEVRA: a.NEVRA, Build: a.Build, Status: Proposal, Strength: a.Strength, Reason: a.Reason, Pick: a.Pick,
		})
	}
	lack := make([]string, len(in.want))
	for _, m := range in.result.Missing {
		lack[m.Wanted] = m.Reason
	}
	next := state{Wanted: []Wanted{}, Matches: []Match{}}
	for i, p := range in.want {
		w, known := decided[p.NEVRA]
		if in.frozen {
			found[i], lack[i] = undecided(was[p.NEVRA]), lackFrozen
			if known {
				lack[i] = w.Lack
			}
		}
		w.NEVRA, w.Module, w.Lack = p.NEVRA, moduleOf(p), lack[i]
		if w.By == "" {
			w.Excluded, w.Why = false, ""
			if in.foreign(w.NEVRA) {
				w.Excluded, w.Why = true, fmt.Sprintf("%s isn't built for %s", in.platform, w.Arch)
			}
		}
		next.Wanted = append(next.Wanted, w)
		if w.Excluded {
			found[i] = nil
		}
		next.Matches = append(next.Matches, in.answers(w, found[i], was[p.NEVRA])...)
	}
	for _, m := range was[rpm.NEVRA{}] {
		next.Matches = append(next.Matches, in.now(m))
	}
	return next
}

// foreign reports whether a package is of an arch for which the platform isn't built: its
// notice is of a distribution that has more of them.
func (in inputs) foreign(n rpm.NEVRA) bool {
	a := albs.Arch(n.Arch)
	return a != albs.Noarch && a != albs.Src && !slices.ContainsFunc(in.arches, a.Within)
}

func moduleOf(p advisory.Package) string {
	if p.Module == nil {
		return ""
	}
	return p.Module.Name + ":" + p.Module.Stream
}

func undecided(ms []Match) []Match {
	return slices.DeleteFunc(slices.Clone(ms), func(m Match) bool { return m.By != "" })
}

// answers returns the matches of one package: those that were found, as people decided, and
// those on which people decided though they aren't found.
func (in inputs) answers(w Wanted, found, was []Match) []Match {
	var out []Match
	for _, m := range found {
		m.Wanted = w.NEVRA
		if i := slices.IndexFunc(was, func(o Match) bool { return o.By != "" && o.NEVRA == m.NEVRA && o.Build == m.Build }); i >= 0 {
			m.Status, m.By, m.Why, m.At = was[i].Status, was[i].By, was[i].Why, was[i].At
		}
		out = append(out, m)
	}
	for _, m := range was {
		if m.By != "" && !slices.ContainsFunc(out, func(o Match) bool { return o.pair() == m.pair() }) {
			m.Pick = false
			out = append(out, m)
		}
	}
	// One choice is all: a person's, or that for an advisory that names what was built.
	chosen := slices.IndexFunc(out, func(m Match) bool { return m.By != "" && m.Status == Approved })
	atOnce := func(m Match) bool { return in.own && chosen < 0 && m.By == "" && m.Pick && m.Strength == match.Exact }
	first := max(chosen, slices.IndexFunc(out, atOnce))
	for i, m := range out {
		switch {
		case m.By != "":
		case first < 0:
			m.Status, m.Why = Proposal, ""
		case atOnce(m):
			m.Status, m.Why = Approved, ""
		default:
			m.Status, m.Why = Skipped, fmt.Sprintf("%s of build %d was chosen", out[first].NEVRA, out[first].Build)
		}
		m.Module = w.Module
		out[i] = in.now(m)
	}
	return out
}

// now returns a match with what is known of its package at present.
func (in inputs) now(m Match) Match {
	p, ok := in.held[place{m.Build, m.NEVRA}]
	m.Unsigned, m.Released = p.Unsigned, p.Released
	if ok {
		m.Source, m.Label = advisory.Package{NEVRA: p.NEVRA, Source: p.Source}.SourceName(), p.Module
	}
	return m
}

// Standing is how far the matching of an advisory has come, in packages that it wants and
// that aren't excluded, with those that were added.
type Standing struct {
	errata.Key
	Stage   Stage
	Wanted  int // all of them
	Lacking int // of which nothing answers
	Open    int // for which a person has to choose
	Settled int
}

// standing counts, for an advisory. One that was withdrawn waits for nothing: it is shown
// with the packages that it was shown with.
func (s state) standing(rec errata.Record) Standing {
	k := rec.Key
	out := Standing{Key: k, Stage: Ready}
	type answers struct{ open, settled bool }
	of := map[rpm.NEVRA]answers{}
	for _, m := range s.Matches {
		m = m.shown(k)
		a := of[m.Wanted]
		a.open, a.settled = a.open || m.Status == Proposal, a.settled || m.settled()
		of[m.Wanted] = a
		if m.Wanted == (rpm.NEVRA{}) && m.settled() {
			out.Wanted++
			out.Settled++
		}
	}
	for _, w := range s.Wanted {
		if w.Excluded {
			continue
		}
		out.Wanted++
		switch a := of[w.NEVRA]; {
		case a.settled:
			out.Settled++
		case a.open:
			out.Open++
		default:
			out.Lacking++
		}
	}
	switch {
	case rec.Advisory.Withdrawn != nil:
	case out.Lacking > 0:
		out.Stage = NeedsBuild
	case out.Open > 0 || out.Settled == 0: // without any package a person has to add one
		out.Stage = NeedsMatch
	}
	return out
}

// names returns the names of packages that matter to the advisory: those that it wants, and
// those that were chosen for it.
func (s state) names(want []advisory.Package) []string {
	var out []string
	for _, p := range want {
		out = append(out, p.Name)
	}
	for _, m := range s.Matches {
		if m.By != "" {
			out = append(out, m.NEVRA.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// builds returns the builds of which packages answer, or could.
func (s state) builds() []albs.BuildID {
	var out []albs.BuildID
	for _, m := range s.Matches {
		out = append(out, m.Build)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
