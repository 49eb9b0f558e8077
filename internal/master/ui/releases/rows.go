package releases

import (
	"net/http"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// row is one package of a plan, with all repositories that it is of.
type row struct {
	Package  string // NEVRA
	File     string
	Digest   albs.Digest
	Unsigned albs.Digest
	Size     int64
	Build    albs.BuildID
	Tests    string
	Reason   string        // of the verdict
	Waivers  []albs.Waived // by which it goes
	Updates  string
	Module   string // its label; "" for none
	Places   []placement
	Adds     bool // somewhere
	Removed  bool // somewhere
	Refused  bool // something speaks against it
	Decided  []place.Decision
}

// placement is a package in one repository.
type placement struct {
	Path   string
	Action string
	Place  string
	Match  string
	// BuiltFor is the platform that it was built for, where that isn't the repository's.
	BuiltFor string
}

// rowsOf are the packages of a plan by NEVRA, each once with its repositories, those that
// people excluded from it, and those that go nowhere because something speaks against it.
func rowsOf(p plan.Plan) []row {
	type key struct {
		nevra  string
		digest albs.Digest
	}
	byKey := make(map[key]int)
	var out []row
	for _, r := range p.Repositories {
		for _, c := range r.Packages {
			k := key{c.NEVRA, c.Digest}
			i, ok := byKey[k]
			if !ok {
				i = len(out)
				byKey[k] = i
				out = append(out, row{
					Package: c.NEVRA, File: c.File, Digest: c.Digest, Unsigned: c.Unsigned, Size: c.Size, Build: c.Build,
					Tests: string(c.Tests), Reason: c.Reason, Waivers: c.Waivers, Updates: c.Updates, Module: c.Module, Decided: place.On(p.Decisions, c.NEVRA),
				})
			}
			x := &out[i]
			x.Places = append(x.Places, placement{r.Path, string(c.Action), c.Place, c.Match, c.BuiltFor})
			x.Adds = x.Adds || c.Action == plan.Add
			x.Removed = x.Removed || c.Action == plan.Remove
			if x.Updates == "" {
				x.Updates = c.Updates
			}
		}
	}
	for _, nevra := range p.Excluded {
		out = append(out, row{Package: nevra, Decided: place.On(p.Decisions, nevra)})
	}
	known := make(map[string][]int, len(out))
	for i, r := range out {
		known[r.Package] = append(known[r.Package], i)
	}
	for _, r := range p.Refusals {
		if r.Package == "" {
			continue
		}
		if known[r.Package] == nil {
			known[r.Package] = []int{len(out)}
			out = append(out, row{Package: r.Package, Build: r.Build, Decided: place.On(p.Decisions, r.Package)})
		}
		for _, i := range known[r.Package] {
			out[i].Refused = true
		}
	}
	slices.SortStableFunc(out, func(a, b row) int { return strings.Compare(a.Package, b.Package) })
	return out
}

// rowFilter is which packages of a plan a page lists.
type rowFilter struct {
	Search     string
	Repository string
	Show       string // add, keep, remove, excluded, refused or doubtful; "" for all
}

// shows are the choices of rowFilter.Show with what they are called.
var shows = []struct{ Name, Word string }{
	{"", "all"}, {"add", "added"}, {"keep", "there already"}, {"remove", "removed"}, {"excluded", "excluded"}, {"refused", "refused"}, {"doubtful", "placed by a weak match"},
}

// Shows are the choices for a page.
func (rowFilter) Shows() []struct{ Name, Word string } { return shows }

// Filled reports whether the filter chooses.
func (f rowFilter) Filled() bool { return f != rowFilter{} }

func rowFilterOf(r *http.Request) (rowFilter, error) {
	q, err := page.Filters(r, "q", "repository", "show")
	if err != nil {
		return rowFilter{}, err
	}
	f := rowFilter{Search: q[0], Repository: q[1], Show: q[2]}
	if !slices.ContainsFunc(shows, func(s struct{ Name, Word string }) bool { return s.Name == f.Show }) {
		return f, albs.Errorf(albs.Invalid, "%s is nothing to show of a plan", words.Inert(words.Cut(f.Show, 20)))
	}
	return f, nil
}

// of returns the rows that the filter leaves.
func (f rowFilter) of(rows []row) []row {
	want := strings.ToLower(f.Search)
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !f.has(r, want) })
}

func (f rowFilter) has(r row, want string) bool {
	in := func(ok func(placement) bool) bool { return slices.ContainsFunc(r.Places, ok) }
	if !strings.Contains(strings.ToLower(r.Package), want) {
		return false
	}
	if f.Repository != "" && !in(func(p placement) bool { return p.Path == f.Repository }) {
		return false
	}
	switch f.Show {
	case "excluded":
		return len(r.Places) == 0 && !r.Refused
	case "refused":
		return r.Refused
	case "doubtful":
		return in(func(p placement) bool { return p.Match != "" && p.Match != place.Exact.String() })
	case "":
		return true
	}
	return in(func(p placement) bool { return p.Action == f.Show })
}

// trustOf is how much a match is worth, with ALBS's colours as classes: green, yellow
// and orange.
func trustOf(match string) words.Look {
	switch match {
	case place.Exact.String():
		return words.Look{Word: match, Icon: "ok", Class: "ok"}
	case place.Closest.String():
		return words.Look{Word: match, Icon: "clock", Class: "wait"}
	case "":
		return words.Look{}
	}
	return words.Look{Word: match, Icon: "bad", Class: "weak"}
}
