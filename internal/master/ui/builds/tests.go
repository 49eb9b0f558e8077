package builds

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/report"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// How much of tests a page shows at once.
const (
	perGrid   = 50  // packages of the picture of stages
	perChecks = 100 // rows of the table
	maxWorst  = 10  // packages on a build's own page
)

// testsView is what a page tells of tests: a picture of packages and stages, and single
// checks as a table.
type testsView struct {
	Build     albs.BuildID
	Base      string // the page's own address
	Whole     bool   // it is of a build, not of one run
	Count     report.Count
	Filter    report.Filter
	List      bool // the table is asked for and not the picture; a run's page has both
	Revision  int  // up to which results count; 0 for the latest
	Revisions int
	Platforms []string // to choose from
	Arches    []albs.Arch
	Stages    []albs.TestStage
	Grid      []gridRow
	Checks    []checkRow
	Chosen    int // checks that the filter chooses
	Pager     page.Pager
	Actions   []page.Action
}

// Statuses are those to choose from.
func (v testsView) Statuses() []albs.TestStatus { return report.Statuses }

// Numbers are the revisions to choose from.
func (v testsView) Numbers() []int {
	out := make([]int, v.Revisions)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// gridRow is a package in the picture, with a cell for each of the view's stages.
type gridRow struct {
	report.Result
	URL   string // of the task that tested it
	Cells []gridCell
}

// gridCell is one stage of a package. Status is "" if it doesn't have that.
type gridCell struct {
	Status albs.TestStatus
	Flaky  bool // it, or a case of it
	Title  string
	URL    string // of its checks
}

// checkRow is a line of the table.
type checkRow struct {
	report.Check
	URL string // of the task that found it out
}

// History is where it is told what the check came to over time; "" where that can't be found.
func (c checkRow) History() string {
	if c.Result.Name == "" || c.Stage == "" {
		return ""
	}
	return historyURL(c.Result.PointOf(c.Stage, c.Case))
}

// testFilter reads how a page of tests is filtered.
func testFilter(r *http.Request) (report.Filter, error) {
	q, err := page.Filters(r, "status", "stage", "package", "platform", "arch", "text", "flaky")
	if err != nil {
		return report.Filter{}, err
	}
	f := report.Filter{Status: albs.TestStatus(q[0]), Stage: albs.TestStage(q[1]), Package: q[2], Platform: q[3], Arch: albs.Arch(q[4]), Text: q[5], Flaky: q[6] != ""}
	return f, f.Check()
}

// addGrid lays out the picture of the results.
func (v *testsView) addGrid(results []report.Result) {
	for _, r := range results {
		row := gridRow{Result: r, URL: taskURL(r), Cells: make([]gridCell, len(v.Stages))}
		for i, s := range v.Stages {
			st, ok := r.Has(s)
			if !ok {
				continue
			}
			q := url.Values{"view": {"checks"}, "package": {r.NEVRA}, "platform": {r.Run.Platform}, "arch": {string(r.Run.Arch)}, "stage": {string(s)}}
			if v.Revision > 0 {
				q.Set("revision", strconv.Itoa(v.Revision))
			}
			flaky := slices.ContainsFunc(report.ChecksOf(&r), func(c report.Check) bool { return c.Stage == s && c.Flaky })
			row.Cells[i] = gridCell{Status: st.Status, Flaky: flaky, Title: cellTitle(r, st), URL: v.Base + "?" + q.Encode() + "#checks"}
		}
		v.Grid = append(v.Grid, row)
	}
}

// cellTitle says what a stage came to, for who rests on its cell.
func cellTitle(r report.Result, s testrun.Stage) string {
	title := fmt.Sprintf("%s: %s", s.Stage, words.LookOf(s.Status).Word)
	if took := words.Took(s.Started, s.Ended()); took != "" {
		title += ", " + took
	}
	bad := 0
	cases := r.CasesOf(s.Stage)
	for _, c := range cases {
		if c.Status.Bad() {
			bad++
		}
	}
	if bad > 0 {
		title += fmt.Sprintf(", %d of %s bad", bad, words.Plural(len(cases), "case"))
	}
	if s.Reason != "" {
		title += "; " + s.Reason
	}
	return title
}

func taskURL(r report.Result) string {
	return fmt.Sprintf("/build/%d/task/%d", r.Run.Build, r.Run.Task.ID)
}

// addChecks lists the checks that the filter chooses, a page of them.
func (v *testsView) addChecks(r *http.Request, results []report.Result) error {
	all := v.Filter.Checks(results)
	some, pager, err := page.Paged(r, all, perChecks)
	v.Chosen, v.Pager = len(all), pager
	for _, c := range some {
		v.Checks = append(v.Checks, checkRow{c, taskURL(*c.Result)})
	}
	return err
}

// runView tells of one run.
func runView(r *http.Request, id albs.BuildID, run testrun.Run, flaky map[testrun.Point]bool) (*testsView, error) {
	f, err := testFilter(r)
	if err != nil {
		return nil, err
	}
	results := report.Mark(report.Of(run), flaky)
	v := &testsView{Build: id, Base: fmt.Sprintf("/build/%d/task/%d", id, run.Task.ID), Count: report.CountOf(results), Filter: f, List: true, Stages: report.Stages(results)}
	v.addGrid(report.FailedFirst(results))
	return v, v.addChecks(r, results)
}

// testsPage tells of all tests of a build.
func (u *Pages) testsPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx, id := r.Context(), albs.BuildID(n)
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Tests of build %d", id), Section: "builds"}, followBuild(id))
	if err != nil {
		return err
	}
	b, err := u.Builds.Get(ctx, id)
	if err != nil {
		return err
	}
	runs, err := u.Tests.Of(ctx, id)
	if err != nil {
		return err
	}
	v := testsView{Build: id, Base: fmt.Sprintf("/build/%d/tests", id), Whole: true, List: r.URL.Query().Get("view") == "checks"}
	if v.Filter, err = testFilter(r); err != nil {
		return err
	}
	runs = report.Current(b, runs)
	v.Revisions = report.Revisions(runs)
	if v.Revision, err = revisionOf(r, "revision", v.Revisions); err != nil {
		return err
	}
	flaky, err := u.Tests.Flaky(ctx, id)
	if err != nil {
		return err
	}
	results := report.Mark(report.Latest(runs, v.Revision), flaky)
	v.Count, v.Stages = report.CountOf(results), report.Stages(results)
	for _, x := range results {
		if !slices.Contains(v.Platforms, x.Run.Platform) {
			v.Platforms = append(v.Platforms, x.Run.Platform)
		}
		if !slices.Contains(v.Arches, x.Run.Arch) {
			v.Arches = append(v.Arches, x.Run.Arch)
		}
	}
	if v.List {
		if err := v.addChecks(r, results); err != nil {
			return err
		}
	} else {
		some, pager, err := page.Paged(r, report.FailedFirst(v.Filter.Results(results)), perGrid)
		if err != nil {
			return err
		}
		v.Pager = pager
		v.addGrid(some)
	}
	v.Actions = testActions(r, b, results)
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/tests", p)
}

// testActions are what may be done with the tests of a build.
func testActions(r *http.Request, b build.Build, results []report.Result) []page.Action {
	n := report.CountOf(results)
	ctx, object, base := r.Context(), auth.Object{Team: b.Team, Owner: b.OwnerID}, "/build/"+b.ID.String()
	cancel := page.ActionOf(base+"/cancel-tests", "Cancel tests", auth.Can(ctx, auth.BuildCancel, object), n.Pending > 0, "none is under way")
	cancel.Sure = fmt.Sprintf("This ends the tests of %s. They can be restarted; until they have passed nothing of it can be signed where tests are required.", words.Plural(n.Pending, "package"))
	return []page.Action{
		page.ActionOf(base+"/restart-tests", "Restart tests", auth.Can(ctx, auth.BuildRetry, object), n.Failed+n.Missing > 0, "every package passed, or its tests are under way"), cancel,
	}
}

func (u *Pages) cancelTests(w http.ResponseWriter, r *http.Request) error {
	return u.change(w, r, u.Tests.Cancel)
}

// revisionOf reads a revision out of a query: 0 if none is given.
func revisionOf(r *http.Request, name string, most int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, albs.Errorf(albs.NotFound, "there is no revision %s of the tests", words.Inert(words.Cut(s, 20)))
	}
	return n, nil
}

// comparedView is how two revisions of a build's tests differ.
type comparedView struct {
	Build    albs.BuildID
	From, To int
	Numbers  []int
	Kinds    []kindCount
	Same     int
	Changes  []changeRow
	Pager    page.Pager
}

type kindCount struct {
	Kind  string
	Count int
}

type changeRow struct {
	report.Change
	URL string
}

// comparePage tells what changed between two revisions of a build's tests: the last two
// unless the query says which.
func (u *Pages) comparePage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx, id := r.Context(), albs.BuildID(n)
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Tests of build %d compared", id), Section: "builds"}, followBuild(id))
	if err != nil {
		return err
	}
	b, err := u.Builds.Get(ctx, id)
	if err != nil {
		return err
	}
	runs, err := u.Tests.Of(ctx, id)
	if err != nil {
		return err
	}
	runs = report.Current(b, runs)
	most := report.Revisions(runs)
	v := comparedView{Build: id, Numbers: testsView{Revisions: most}.Numbers()}
	if v.From, err = revisionOf(r, "from", most); err != nil {
		return err
	}
	if v.To, err = revisionOf(r, "to", most); err != nil {
		return err
	}
	if v.To == 0 {
		v.To = most
	}
	if v.From == 0 {
		v.From = max(v.To-1, 1)
	}
	if most > 0 {
		c := report.Compare(report.Latest(runs, v.From), report.Latest(runs, v.To))
		for _, k := range report.Kinds {
			if n := c.CountOf(k); n > 0 {
				v.Kinds = append(v.Kinds, kindCount{k, n})
			}
		}
		v.Same = c.Same
		some, pager, err := page.Paged(r, c.Changes, perChecks)
		if err != nil {
			return err
		}
		v.Pager = pager
		for _, x := range some {
			v.Changes = append(v.Changes, changeRow{x, taskURL(*x.Result)})
		}
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/compare", p)
}

// testSummary is what a build's own page says of its tests.
type testSummary struct {
	report.Count
	Worst []gridRow // what a person has to look at first
	More  int       // of those that aren't listed
}

func summaryOf(f facts) testSummary {
	results := report.Latest(report.Current(f.build, f.runs), 0)
	s := testSummary{Count: report.CountOf(results)}
	for _, r := range report.FailedFirst(results) {
		switch {
		case !r.Bad():
		case len(s.Worst) == maxWorst:
			s.More++
		default:
			s.Worst = append(s.Worst, gridRow{Result: r, URL: taskURL(r)})
		}
	}
	return s
}

// historyView is what a point of a package's tests came to over time.
type historyView struct {
	testrun.Point
	Seen  []seenRow
	Flaky int    // points on this page that changed their answer on the same inputs
	Older string // address of the page behind this one; "" at the end
	Top   string // address of the first page; "" on it
}

type seenRow struct {
	testrun.Observation
	Flaky bool
}

// historyURL is where it is told what a point came to over time.
func historyURL(p testrun.Point) string {
	q := url.Values{}
	for _, x := range []struct{ key, value string }{{"package", p.Package}, {"platform", p.Platform}, {"arch", string(p.Arch)}, {"stage", string(p.Stage)}, {"case", p.Case}} {
		if x.value != "" {
			q.Set(x.key, x.value)
		}
	}
	return "/tests/history?" + q.Encode()
}

// historyPage tells what a stage or a case of a package's tests came to over time.
func (u *Pages) historyPage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "package", "platform", "arch", "stage", "case")
	if err != nil {
		return err
	}
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	v := historyView{Point: testrun.Point{Package: q[0], Platform: q[1], Arch: albs.Arch(q[2]), Stage: albs.TestStage(q[3]), Case: q[4]}}
	if v.Package != "" {
		seen, next, err := u.Tests.History(r.Context(), v.Point, before)
		if err != nil {
			return err
		}
		flaky := testrun.Flaky(seen)
		v.Flaky = len(flaky)
		for _, o := range seen {
			v.Seen = append(v.Seen, seenRow{o, flaky[o.Point]})
		}
		if next != 0 {
			v.Older = page.With(r.URL, "before", strconv.FormatInt(next, 10))
		}
		if before != 0 {
			v.Top = page.With(r.URL, "before", "")
		}
	}
	return u.Render(w, r, http.StatusOK, "builds/history", page.Page{Title: "History of tests", Section: "builds", Body: v})
}
