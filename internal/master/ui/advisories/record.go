package advisories

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/advisory/cvss"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/publish"
	"albs/internal/master/platform"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
	"albs/internal/rpm"
)

// How much of an advisory its page shows.
const (
	perAnswers = 40  // wanted packages at once
	maxChanges = 5   // of its history, the newest
	maxAtHand  = 200 // CVEs, references, differences: more are told of by their number
)

type recordView struct {
	errata.Record
	Path     string
	Standing matching.Standing
	Steps    []page.Step
	Actions  []page.Action
	// Withdraw and Restore ask for a reason; one of them is shown.
	Withdraw, Restore page.Action
	Cannot            string // why the person can't decide on matches; "" if they can be decided on
	Builds            []group
	Answers           []answer
	Pager             page.Pager
	Filter            answerFilter
	Added             []matching.Match
	Edited            []errata.Difference // since it came in
	CVEs              []cveView
	MoreCVEs          int
	References        []advisory.Reference
	MoreReferences    int
	VEX               vexView
	Addresses         []publish.Address
	Issues            []errata.Issue
	Public            map[rpm.NEVRA][]string // repositories of the packages that the public version names
	Changes           []errata.Change
	Earlier           bool // there are more changes
}

// group is what one build has of one source for the advisory.
type group struct {
	Build    albs.BuildID
	Source   string
	Released bool
	Counts   []stateCount
	All      int
}

type stateCount struct {
	Status matching.Status
	Count  int
}

// answer is a wanted package with what answers it.
type answer struct {
	matching.Wanted
	State  string           // for words.LookOf
	First  []matching.Match // what was chosen or, where nothing was, what is there to choose from
	Others []matching.Match // what was passed over
}

// answerFilter is which wanted packages a page lists.
type answerFilter struct{ Search, Show string }

// shows are the choices of answerFilter.Show with what they are called.
var shows = []struct{ Name, Word string }{
	{"", "all"}, {"lacking", "without an answer"}, {"open", "to be decided"}, {"settled", "answered"}, {"excluded", "excluded"},
}

// Shows are the choices for a page.
func (answerFilter) Shows() []struct{ Name, Word string } { return shows }

// Filled reports whether the filter chooses.
func (f answerFilter) Filled() bool { return f != answerFilter{} }

func answerFilterOf(r *http.Request) (answerFilter, error) {
	q, err := page.Filters(r, "q", "show")
	if err != nil {
		return answerFilter{}, err
	}
	f := answerFilter{q[0], q[1]}
	if !slices.ContainsFunc(shows, func(s struct{ Name, Word string }) bool { return s.Name == f.Show }) {
		return f, albs.Errorf(albs.Invalid, "%s is nothing to show of an advisory", words.Inert(words.Cut(f.Show, 20)))
	}
	return f, nil
}

func (f answerFilter) has(a answer) bool {
	return (f.Show == "" || f.Show == a.State) && strings.Contains(strings.ToLower(a.NEVRA.String()), strings.ToLower(f.Search))
}

// answersOf lays out what an advisory wants: what has no answer first, then what is to be
// decided, then the rest.
func answersOf(is matching.Answers) (wanted []answer, added []matching.Match) {
	of := map[rpm.NEVRA][]matching.Match{}
	for _, m := range is.Matches {
		if m.Wanted == (rpm.NEVRA{}) {
			added = append(added, m)
		}
		of[m.Wanted] = append(of[m.Wanted], m)
	}
	for _, w := range is.Wanted {
		a := answer{Wanted: w, State: "lacking"}
		var chosen, open, passed []matching.Match
		for _, m := range of[w.NEVRA] {
			switch m.Status {
			case matching.Approved, matching.Released:
				chosen = append(chosen, m)
			case matching.Proposal:
				open = append(open, m)
			default:
				passed = append(passed, m)
			}
		}
		switch {
		case w.Excluded:
			a.State = "excluded"
		case len(chosen) > 0:
			a.State, a.First, a.Others = "settled", chosen, append(open, passed...)
		case len(open) > 0:
			a.State, a.First, a.Others = "open", open, passed
		default:
			a.Others = passed
			if len(passed) > 0 && a.Lack == "" {
				a.Lack = "all that was found for it was skipped"
			}
		}
		wanted = append(wanted, a)
	}
	rank := map[string]int{"lacking": 0, "open": 1, "settled": 2, "excluded": 3}
	slices.SortStableFunc(wanted, func(x, y answer) int { return cmp.Compare(rank[x.State], rank[y.State]) })
	return wanted, added
}

// groupsOf tells which builds have what of which sources, the newest build first.
func groupsOf(ms []matching.Match) []group {
	type key struct {
		build  albs.BuildID
		source string
	}
	at := map[key]int{}
	var out []group
	for _, m := range ms {
		k := key{m.Build, m.Source}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(out), len(out)
			out = append(out, group{Build: m.Build, Source: m.Source})
		}
		g := &out[i]
		g.All++
		g.Released = g.Released || m.Released
		j := slices.IndexFunc(g.Counts, func(c stateCount) bool { return c.Status == m.Status })
		if j < 0 {
			j = len(g.Counts)
			g.Counts = append(g.Counts, stateCount{Status: m.Status})
		}
		g.Counts[j].Count++
	}
	for _, g := range out {
		slices.SortFunc(g.Counts, func(a, b stateCount) int { return cmp.Compare(a.Status, b.Status) })
	}
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Build, a.Build), cmp.Compare(a.Source, b.Source))
	})
	return out
}

// cveView is a CVE with what its vectors come to.
type cveView struct {
	advisory.CVE
	Scores []scoreView
}

type scoreView struct {
	advisory.Score
	Base string // "9.8 critical"; "" where that can't be said
}

func cvesOf(a advisory.Advisory) (out []cveView) {
	for _, id := range a.AllCVEs() {
		v := cveView{CVE: advisory.CVE{ID: id}}
		if i := slices.IndexFunc(a.CVEs, func(c advisory.CVE) bool { return c.ID == id }); i >= 0 {
			v.CVE = a.CVEs[i]
		}
		for _, s := range v.CVE.Scores {
			sv := scoreView{Score: s}
			if got, err := cvss.Parse(s.Vector); err == nil {
				sv.Base = strings.TrimSpace(fmt.Sprintf("%.1f %s", got.Base, strings.ToLower(got.Severity)))
			}
			v.Scores = append(v.Scores, sv)
		}
		out = append(out, v)
	}
	return out
}

// head returns the first n of a list and how many there are beside.
func head[T any](all []T, n int) ([]T, int) {
	if len(all) <= n {
		return all, 0
	}
	return all[:n], len(all) - n
}

func (u *Pages) recordPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	k, err := keyOf(r)
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: k.ID, Section: section}, errata.Topic(k))
	if err != nil {
		return err
	}
	rec, pf, err := u.recordOf(r)
	if err != nil {
		return err
	}
	is, err := u.Matching.Of(ctx, k)
	if err != nil {
		return err
	}
	v := recordView{Record: rec, Path: path(k), Standing: is.Standing, Builds: groupsOf(is.Matches), Edited: errata.Differences(rec.Original, rec.Advisory)}
	if v.Filter, err = answerFilterOf(r); err != nil {
		return err
	}
	var all []answer
	all, v.Added = answersOf(is)
	all = slices.DeleteFunc(all, func(a answer) bool { return !v.Filter.has(a) })
	if v.Answers, v.Pager, err = page.Paged(r, all, perAnswers); err != nil {
		return err
	}
	v.CVEs, v.MoreCVEs = head(cvesOf(rec.Advisory), maxAtHand)
	v.References, v.MoreReferences = head(rec.Advisory.AllReferences(), maxAtHand)
	if v.Issues, err = u.Errata.Issues(ctx, k); err != nil {
		return err
	}
	if v.Changes, err = u.Errata.History(ctx, k, 0); err != nil {
		return err
	}
	if len(v.Changes) > maxChanges {
		v.Changes, v.Earlier = v.Changes[:maxChanges], true
	}
	if v.Public, err = u.public(ctx, rec); err != nil {
		return err
	}
	if d, err := errata.Distribution(pf); err == nil && rec.Shown > 0 {
		v.Addresses = publish.Addresses(rec.Advisory, d)
	}
	v.Cannot = whyNotDecide(ctx, rec, pf)
	v.VEX = vexOf(ctx, rec, pf)
	v.Steps = stepsOf(v)
	u.offers(ctx, &v, pf)
	p.Body = &v
	return u.Render(w, r, http.StatusOK, "advisories/record", p)
}

// public returns the repositories of the packages that the public version of an advisory
// names.
func (u *Pages) public(ctx context.Context, r errata.Record) (map[rpm.NEVRA][]string, error) {
	if r.Shown == 0 {
		return nil, nil
	}
	i, err := u.Errata.Issue(ctx, r.Key, r.Shown)
	if err != nil {
		return nil, err
	}
	a, err := advisory.Parse(i.Document)
	if err != nil {
		return nil, fmt.Errorf("version %d of advisory %s: %w", r.Shown, r.Key, err)
	}
	out := map[rpm.NEVRA][]string{}
	for _, p := range a.Packages {
		out[p.NEVRA] = append(out[p.NEVRA], p.Repository)
	}
	return out, nil
}

// busy says why an advisory can't be changed now; "" if it can be.
func busy(r errata.Record) string {
	if r.State == errata.InProgress {
		return fmt.Sprintf("release %d has it: wait for its end", r.Release)
	}
	return ""
}

func whyNotDecide(ctx context.Context, r errata.Record, p platform.Platform) string {
	if err := auth.Can(ctx, auth.ErrataApprove, on(p)); err != nil {
		return page.WhyNot(err)
	}
	return busy(r)
}

// offers says what the person who asks may do with an advisory.
func (u *Pages) offers(ctx context.Context, v *recordView, pf platform.Platform) {
	create, approve, rel := auth.Can(ctx, auth.ErrataCreate, on(pf)), auth.Can(ctx, auth.ErrataApprove, on(pf)), auth.Can(ctx, auth.ErrataRelease, on(pf))
	wait := busy(v.Record)
	edit := page.ActionOf(v.Path+"/edit", "Edit…", create, wait == "", wait)
	edit.Leads = true
	nothing := wait
	switch {
	case nothing != "":
	case v.Advisory.Withdrawn != nil && v.Shown == 0:
		nothing = "it was withdrawn before it was public"
	case !v.Pending:
		nothing = "what is public is all that there is"
	}
	out := page.ActionOf("/errata/release?"+url.Values{"advisory": {v.Key.String()}}.Encode(), "Release…", rel, nothing == "", nothing)
	out.Leads = true
	reset := page.ActionOf(v.Path+"/reset", "Match anew", approve, wait == "", wait)
	reset.Sure = "All that people decided on its packages is taken back, and what answers them is looked for again. The history keeps what was decided."
	freeze := page.ActionOf(v.Path+"/freeze", "Freeze", create, wait == "", wait)
	if v.Frozen {
		freeze.URL, freeze.Label = v.Path+"/thaw", "Thaw"
	}
	v.Actions = []page.Action{out, edit, reset, freeze}
	if v.Advisory.Withdrawn == nil {
		v.Withdraw = page.ActionOf(v.Path+"/withdraw", "Withdraw", rel, wait == "", wait)
	} else {
		v.Restore = page.ActionOf(v.Path+"/restore", "Restore", rel, wait == "", wait)
	}
}

// stepsOf lays out how far an advisory has come.
func stepsOf(v recordView) []page.Step {
	told := page.Step{Name: "tell", State: "succeeded", Note: words.Plural(len(v.Advisory.Packages), "package") + " wanted"}
	build := page.Step{Name: "build", State: "succeeded", Note: fmt.Sprintf("%d of %d", v.Standing.Wanted-v.Standing.Lacking, v.Standing.Wanted), URL: v.Path + "?show=lacking#packages"}
	decide := page.Step{Name: "match", State: "succeeded", Note: fmt.Sprintf("%d of %d", v.Standing.Settled, v.Standing.Wanted), URL: v.Path + "#packages"}
	if v.Standing.Lacking > 0 {
		build.State = "part"
	}
	if v.Standing.Stage != matching.Ready {
		decide.State = "pending"
	}
	rel := page.Step{Name: "release", State: "none"}
	if v.Release != 0 {
		rel.URL, rel.Note = "/release/"+v.Release.String(), "release "+v.Release.String()
	}
	switch v.State {
	case errata.InProgress:
		rel.State = "running"
	case errata.Failed:
		rel.State = "failed"
	case errata.Released, errata.Withdrawn:
		if v.Shown > 0 {
			rel.State = "succeeded"
		}
	}
	read := page.Step{Name: "read", State: "none"}
	switch {
	case v.Shown > 0 && v.Pending:
		read.State, read.Note = "pending", fmt.Sprintf("version %d; a newer one waits", v.Shown)
	case v.Shown > 0:
		read.State, read.Note = "succeeded", fmt.Sprintf("version %d", v.Shown)
	}
	return []page.Step{told, build, decide, rel, read}
}

// vexView is what people state of packages and CVEs.
type vexView struct {
	Stated         []advisory.VEX
	CVEs           []string
	Packages       []string // names of sources
	Statuses       []advisory.VEXStatus
	Justifications []string
	Revision       int64
	Why            string // why the person can't state; "" if that can be done
}

func vexOf(ctx context.Context, r errata.Record, p platform.Platform) vexView {
	v := vexView{Stated: r.Advisory.VEX, CVEs: r.Advisory.AllCVEs(), Statuses: advisory.VEXStatuses(), Justifications: advisory.Justifications(), Revision: r.Revision}
	for _, q := range r.Advisory.Packages {
		v.Packages = append(v.Packages, q.SourceName())
	}
	slices.Sort(v.Packages)
	v.Packages = slices.Compact(v.Packages)
	if v.Why = page.WhyNot(auth.Can(ctx, auth.ErrataCreate, on(p))); v.Why == "" {
		v.Why = busy(r)
	}
	return v
}

// vex states how a package is touched by a CVE, or takes back what was stated.
func (u *Pages) vex(ctx context.Context, k errata.Key, form url.Values) error {
	revision, err := revisionOf(form)
	if err != nil {
		return err
	}
	s := advisory.VEX{
		CVE: strings.TrimSpace(form.Get("cve")), Package: strings.TrimSpace(form.Get("package")), Stream: strings.TrimSpace(form.Get("stream")), Status: advisory.VEXStatus(form.Get("status")),
		Detail: strings.TrimSpace(newlines(form.Get("detail"))),
	}
	if s.Status == advisory.NotAffected { // the list stands in the form whatever is chosen
		s.Justification = form.Get("justification")
	}
	_, err = u.Errata.SetVEX(ctx, k, revision, s, strings.TrimSpace(form.Get("reason")))
	return err
}

// newlines returns a text of a form, whose lines browsers end with a carriage return too.
func newlines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

type historyView struct {
	errata.Key
	Path    string
	Changes []errata.Change
	Older   string
	Newest  string
}

// historyPage tells what was changed of an advisory, by whom and why.
func (u *Pages) historyPage(w http.ResponseWriter, r *http.Request) error {
	k, err := keyOf(r)
	if err != nil {
		return err
	}
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	v := historyView{Key: k, Path: path(k)}
	if v.Changes, err = u.Errata.History(r.Context(), k, before); err != nil {
		return err
	}
	if n := len(v.Changes); n == errata.MaxPage && v.Changes[n-1].Revision > 1 {
		v.Older = page.With(r.URL, "before", fmt.Sprint(v.Changes[n-1].Revision))
	}
	if before > 0 {
		v.Newest = page.With(r.URL, "before", "")
	}
	return u.Render(w, r, http.StatusOK, "advisories/history", page.Page{Title: "History of " + k.ID, Section: section, Body: v})
}

// functions are what the templates call.
var functions = map[string]any{
	"strength": func(s match.Strength) words.Look { return words.LookOf(s) },
	"kind":     func(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "errata."), "_", " ") },
	"spaced":   func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
	"stage":    stageWords,
	"nevra": func(n rpm.NEVRA) string {
		if n == (rpm.NEVRA{}) {
			return ""
		}
		return n.String()
	},
	"entry":    func(v *recordView, m matching.Match) entry { return entry{v, m, v.Public[m.NEVRA]} },
	"mark":     func(of ...any) string { return mark(fmt.Sprint(of...)) },
	"who":      func(actor string) string { return words.Inert(strings.TrimPrefix(actor, "user:")) },
	"severity": severityOf,
	"few": func(all []errata.Difference) few {
		some, more := head(all, maxAtHand)
		return few{some, more}
	},
}

// entry is a match as a page shows it, with the page around it.
type entry struct {
	Page *recordView
	matching.Match
	Where []string // repositories in which the advisory says it is
}

// few are the first of the differences that a change made.
type few struct {
	Differences []errata.Difference
	More        int
}

// severityOf is how a severity is shown; what has none has no word.
func severityOf(s advisory.Severity) words.Look {
	if s == advisory.None {
		return words.Look{}
	}
	return words.LookOf(s)
}
