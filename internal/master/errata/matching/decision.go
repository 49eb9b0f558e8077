package matching

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/rpm"
)

// Action is what a person decides.
type Action string

// The actions.
const (
	Approve Action = "approve" // matches: they answer, and no other build does for what they answer
	Skip    Action = "skip"    // matches: they don't answer
	Propose Action = "propose" // matches: nothing was decided
	Replace Action = "replace" // a wanted package: another package answers it
	Add     Action = "add"     // a package that the notice doesn't know
	Exclude Action = "exclude" // a wanted package: it needs none
	Include Action = "include" // it needs one again
)

// Actions are all actions.
func Actions() []Action { return []Action{Approve, Skip, Propose, Replace, Add, Exclude, Include} }

// Decision is what a person decides on the matches of an advisory.
type Decision struct {
	Action Action
	// Wanted, NEVRA, Build and Source say what it is about. Of matches, all those that have
	// each of them that isn't zero; without any, approve is about those that albs would take.
	Wanted rpm.NEVRA
	NEVRA  rpm.NEVRA
	Build  albs.BuildID
	Source string // name of the source package
	// Why is the reason; replace, add and exclude have to have one.
	Why string
}

// MaxDecisions bounds the decisions that are made at once.
const MaxDecisions = 1000

// check returns what is wrong with a decision by itself, as Invalid.
func (d Decision) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, string(d.Action)+": "+format, args...)
	}
	switch {
	case !slices.Contains(Actions(), d.Action):
		return albs.Errorf(albs.Invalid, "%.40q is no decision: %v", d.Action, Actions())
	case !advisory.Line(d.Why):
		return bad("the reason isn't one line of at most %d bytes", advisory.MaxLine)
	case d.Why == "" && slices.Contains([]Action{Replace, Add, Exclude}, d.Action):
		return bad("say why: readers of the advisory's history want to know")
	case d.Wanted != rpm.NEVRA{} && !d.Wanted.Valid() || d.NEVRA != rpm.NEVRA{} && !d.NEVRA.Valid():
		return bad("%.100q or %.100q is no package", d.Wanted, d.NEVRA)
	}
	none := rpm.NEVRA{}
	switch d.Action {
	case Skip, Propose:
		if d.Wanted == none && d.NEVRA == none && d.Build == 0 && d.Source == "" {
			return bad("name what: a wanted package, a package, a build or a source")
		}
	case Replace:
		if d.Wanted == none || d.NEVRA == none || d.Build == 0 || d.Source != "" {
			return bad("name the wanted package, the package that answers it, and its build")
		}
	case Add:
		if d.Wanted != none || d.NEVRA == none || d.Build == 0 || d.Source != "" {
			return bad("name a package and its build")
		}
	case Exclude, Include:
		if d.Wanted == none || d.NEVRA != none || d.Build != 0 || d.Source != "" {
			return bad("name the wanted package and nothing else")
		}
	}
	return nil
}

// person is who decides, and when.
type person struct {
	name string
	at   time.Time
}

// decide makes decisions one after another and returns what they change. Errors: Invalid;
// NotFound for what isn't wanted, matched or built; Conflict for a package that its build
// hasn't got any more.
func (s state) decide(by person, ds []Decision, in inputs) (state, error) {
	s = state{slices.Clone(s.Wanted), slices.Clone(s.Matches)}
	for _, d := range ds {
		if err := d.check(); err != nil {
			return s, err
		}
		f := s.judge
		switch d.Action {
		case Replace, Add:
			f = s.choose
		case Exclude, Include:
			f = s.exclude
		}
		if err := f(by, d, in); err != nil {
			return s, err
		}
		// Those that were added are there by decision alone.
		s.Matches = slices.DeleteFunc(s.Matches, func(m Match) bool { return m.Wanted == rpm.NEVRA{} && m.By == "" })
	}
	return s, nil
}

// mark writes a decision on a match.
func (m *Match) mark(by person, to Status, why string) {
	m.Status, m.By, m.Why, m.At = to, by.name, why, by.at
}

// judge approves, skips or proposes matches.
func (s *state) judge(by person, d Decision, _ inputs) error {
	none := rpm.NEVRA{}
	var at []int
	for i, m := range s.Matches {
		all := d.Wanted == none && d.NEVRA == none && d.Build == 0 && d.Source == ""
		switch {
		case all && !m.Pick, d.Wanted != none && d.Wanted != m.Wanted, d.NEVRA != none && d.NEVRA != m.NEVRA, d.Build != 0 && d.Build != m.Build, d.Source != "" && d.Source != m.Source:
		case all && (m.By != "" || m.Released): // it is decided on, or needs no decision
		default:
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return albs.Errorf(albs.NotFound, "%s: there is no such match%s", d.Action, d.words())
	}
	one := map[rpm.NEVRA]albs.BuildID{} // the build that is approved, by what is wanted
	for _, i := range at {
		m := &s.Matches[i]
		switch d.Action {
		case Skip:
			m.mark(by, Skipped, d.Why)
		case Propose:
			m.mark(person{}, Proposal, "")
		case Approve:
			if o, ok := one[m.Wanted]; ok && m.Wanted != none && o != m.Build {
				return albs.Errorf(albs.Invalid, "approve: builds %d and %d both answer %s: name one of them", o, m.Build, m.Wanted)
			}
			one[m.Wanted] = m.Build
			if m.Unsigned == "" {
				return albs.Errorf(albs.Conflict, "approve: build %d hasn't got %s any more", m.Build, m.NEVRA)
			}
			m.mark(by, Approved, d.Why)
		}
	}
	for i, m := range s.Matches {
		if b, ok := one[m.Wanted]; ok && m.Build != b {
			s.Matches[i].instead()
		}
	}
	return nil
}

// instead takes back that a match was approved, for another one is. Merging skips it then.
func (m *Match) instead() {
	if m.Wanted != (rpm.NEVRA{}) && m.Status == Approved {
		m.mark(person{}, Proposal, "")
	}
}

// choose has a package answer one that is wanted, or adds it.
func (s *state) choose(by person, d Decision, in inputs) error {
	m := Match{Wanted: d.Wanted, NEVRA: d.NEVRA, Build: d.Build, Reason: "chosen by hand"}
	if d.Action == Replace {
		i := slices.IndexFunc(s.Wanted, func(w Wanted) bool { return w.NEVRA == d.Wanted })
		if i < 0 {
			return albs.Errorf(albs.NotFound, "replace: the advisory doesn't want %s", d.Wanted)
		}
		if s.Wanted[i].Excluded {
			return albs.Errorf(albs.Conflict, "replace: %s is excluded: include it first", d.Wanted)
		}
		m.Module = s.Wanted[i].Module
	}
	p, ok := in.held[place{d.Build, d.NEVRA}]
	if !ok {
		return albs.Errorf(albs.NotFound, "%s: build %d has no package %s for %s", d.Action, d.Build, d.NEVRA, in.platform)
	}
	m.Unsigned, m.Released, m.Label, m.Source = p.Unsigned, p.Released, p.Module, advisory.Package{NEVRA: p.NEVRA, Source: p.Source}.SourceName()
	i := slices.IndexFunc(s.Matches, func(o Match) bool { return o.pair() == m.pair() })
	if i < 0 {
		i = len(s.Matches)
		s.Matches = append(s.Matches, m)
	}
	for j, o := range s.Matches {
		if o.Wanted == m.Wanted && o.pair() != m.pair() {
			s.Matches[j].instead()
		}
	}
	s.Matches[i].mark(by, Approved, d.Why)
	return nil
}

// exclude has a wanted package need no answer, or one again.
func (s *state) exclude(by person, d Decision, in inputs) error {
	i := slices.IndexFunc(s.Wanted, func(w Wanted) bool { return w.NEVRA == d.Wanted })
	if i < 0 {
		return albs.Errorf(albs.NotFound, "%s: the advisory doesn't want %s", d.Action, d.Wanted)
	}
	w := &s.Wanted[i]
	switch {
	case w.Excluded == (d.Action == Exclude):
		return nil
	case w.Excluded && in.foreign(w.NEVRA):
		return albs.Errorf(albs.Conflict, "include: %s isn't built for %s", in.platform, w.Arch)
	}
	w.Excluded, w.By, w.Why, w.At = d.Action == Exclude, by.name, d.Why, by.at
	if !w.Excluded {
		w.By, w.Why, w.At = "", "", time.Time{}
	}
	// Nothing answers what needs no answer; what was decided before is settled with it.
	s.Matches = slices.DeleteFunc(s.Matches, func(m Match) bool { return m.Wanted == w.NEVRA })
	return nil
}

// words names what a decision is about.
func (d Decision) words() string {
	var out []string
	if d.Wanted != (rpm.NEVRA{}) {
		out = append(out, "for "+d.Wanted.String())
	}
	if d.NEVRA != (rpm.NEVRA{}) {
		out = append(out, "by "+d.NEVRA.String())
	}
	if d.Source != "" {
		out = append(out, fmt.Sprintf("of the source %.100q", d.Source))
	}
	if d.Build != 0 {
		out = append(out, fmt.Sprintf("of build %d", d.Build))
	}
	if len(out) == 0 {
		return ", that isn't decided on and that albs would take"
	}
	return " " + strings.Join(out, " ")
}

// undone returns the state without what people decided.
func (s state) undone() state {
	var out state
	for _, w := range s.Wanted {
		w.Excluded, w.By, w.Why, w.At = false, "", "", time.Time{}
		out.Wanted = append(out.Wanted, w)
	}
	for _, m := range s.Matches {
		if m.By == "" {
			out.Matches = append(out.Matches, m)
		}
	}
	return out
}

// maxDifferences bounds what the history tells of one change.
const maxDifferences = 500

// differences returns what turns one state into another, for the history: what answers, and
// what is excluded.
func differences(was, is state) []errata.Difference {
	said := func(s state) map[string]string {
		out := map[string]string{}
		for _, w := range s.Wanted {
			if w.Excluded && w.By != "" {
				out["package "+w.NEVRA.String()] = because("excluded", w.Why)
			}
		}
		for _, m := range s.Matches {
			m = m.shown(errata.Key{})
			field := fmt.Sprintf("%s of build %d", m.NEVRA, m.Build)
			if m.Wanted != (rpm.NEVRA{}) && m.Wanted != m.NEVRA {
				field += " for " + m.Wanted.String()
			}
			out[field] = because(m.words(), m.Why)
		}
		return out
	}
	a, b := said(was), said(is)
	var out []errata.Difference
	for f, v := range a {
		if b[f] != v {
			out = append(out, errata.Difference{Field: f, Was: v, Is: b[f]})
		}
	}
	for f, v := range b {
		if _, ok := a[f]; !ok {
			out = append(out, errata.Difference{Field: f, Is: v})
		}
	}
	slices.SortFunc(out, func(x, y errata.Difference) int { return cmp.Compare(x.Field, y.Field) })
	if n := len(out) - maxDifferences; n > 0 {
		out = append(out[:maxDifferences], errata.Difference{Field: fmt.Sprintf("%d more", n)})
	}
	return out
}

// words are the match's status, as a person decided it or as it came about: they differ even
// where what readers see doesn't.
func (m Match) words() string {
	switch {
	case m.By != "" && m.Status == Released:
		return "approved and released"
	case m.By == "" && m.Status == Approved:
		return "approved by itself"
	}
	return string(m.Status)
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}
