package advisories

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/platform"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

const perPage = 30

// filter is what a list is asked for, as it was typed.
type filter struct {
	ID, Title, Platform, CVE, State, Type, Severity, Since, Until string
	Pending                                                       bool
}

// Filled reports whether the filter chooses.
func (f filter) Filled() bool { return f != filter{} }

// none is how a form asks for what has no severity.
const none = "none"

// filterOf is what a query chooses.
func filterOf(r *http.Request) (filter, errata.Query, error) {
	q, err := page.Filters(r, "id", "title", "platform", "cve", "state", "type", "severity", "since", "until", "pending")
	if err != nil {
		return filter{}, errata.Query{}, err
	}
	f := filter{q[0], q[1], q[2], strings.ToUpper(strings.TrimSpace(q[3])), q[4], q[5], q[6], q[7], q[8], q[9] != ""}
	out := errata.Query{
		IDs: strings.FieldsFunc(f.ID, func(r rune) bool { return r == ' ' || r == ',' }), Title: f.Title, Platform: f.Platform, CVE: f.CVE, Type: advisory.Type(f.Type), Pending: f.Pending, Limit: perPage,
	}
	if f.State != "" {
		if out.State, err = errata.ParseState(f.State); err != nil {
			return f, out, err
		}
	}
	if f.Severity != "" {
		s, err := advisory.ParseSeverity(f.Severity)
		if err != nil {
			return f, out, err
		}
		out.Severity = &s
	}
	for _, t := range []struct {
		text string
		into *time.Time
	}{{f.Since, &out.Since}, {f.Until, &out.Until}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = time.Parse(time.DateOnly, t.text); err != nil {
			return f, out, albs.Errorf(albs.Invalid, "%s is no day: write YYYY-MM-DD", words.Inert(words.Cut(t.text, 40)))
		}
	}
	if !out.Until.IsZero() {
		out.Until = out.Until.AddDate(0, 0, 1) // the day itself is among them
	}
	out.Before, err = placeOf(r.URL.Query().Get("before"))
	return f, out, err
}

// placeOf reads where a list goes on, as spell writes it; "" is its beginning.
func placeOf(s string) (errata.Place, error) {
	if s == "" {
		return errata.Place{}, nil
	}
	issued, id, _ := strings.Cut(s, ".")
	at, err1 := strconv.ParseInt(issued, 10, 64)
	n, err2 := strconv.ParseInt(id, 10, 64)
	if err1 != nil || err2 != nil || n <= 0 {
		return errata.Place{}, albs.Errorf(albs.Invalid, "%s is no place in the list", words.Inert(words.Cut(s, 40)))
	}
	return errata.Place{Issued: time.UnixMicro(at).UTC(), ID: n}, nil
}

func spell(p errata.Place) string { return fmt.Sprintf("%d.%d", p.Issued.UnixMicro(), p.ID) }

// row is an advisory in a list.
type row struct {
	errata.Record
	Standing matching.Standing // its Stage is 0 where nothing was matched yet
	Chosen   bool
}

// stageCount is how many advisories wait for something.
type stageCount struct {
	Stage matching.Stage
	Count int
	URL   string
}

type listView struct {
	Filter     filter
	Platforms  []string
	States     []errata.State
	Types      []advisory.Type
	Severities []string
	Waiting    []stageCount
	Rows       []row
	All        int // advisories that the filter leaves
	Next       string
	First      string
	ChooseAll  string
	Actions    []page.Action
}

// listPage lists advisories, those issued last first.
func (u *Pages) listPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, q, err := filterOf(r)
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: "Advisories", Section: section}, FollowAll)
	if err != nil {
		return err
	}
	ps, err := u.advised(ctx)
	if err != nil {
		return err
	}
	v := listView{Filter: f, Platforms: names(ps), States: errata.States(), Types: advisory.Types(), ChooseAll: page.With(r.URL, "choose", "all"), Actions: makers(ctx, ps)}
	for _, s := range advisory.Severities() {
		v.Severities = append(v.Severities, string(s))
	}
	v.Severities = append(v.Severities, none)
	if v.Waiting, err = u.waiting(ctx, f.Platform); err != nil {
		return err
	}
	got, err := u.Errata.List(ctx, q)
	if err != nil {
		return err
	}
	if v.All, err = u.Errata.Count(ctx, q); err != nil {
		return err
	}
	if v.Rows, err = u.rows(ctx, got.Records, r.URL.Query().Get("choose") == "all"); err != nil {
		return err
	}
	if got.Next != (errata.Place{}) {
		v.Next = page.With(r.URL, "before", spell(got.Next))
	}
	if q.Before != (errata.Place{}) {
		v.First = page.With(r.URL, "before", "")
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "advisories/list", p)
}

func names(ps []platform.Platform) (out []string) {
	for _, p := range ps {
		out = append(out, p.Name)
	}
	return out
}

// makers are the ways in which advisories come to be.
func makers(ctx context.Context, ps []platform.Platform) []page.Action {
	may := anywhere(ctx, auth.ErrataCreate, ps)
	create, take := page.ActionOf("/errata/create", "New advisory…", may, true, ""), page.ActionOf("/errata/import", "Import…", may, true, "")
	create.Leads, take.Leads = true, true
	return []page.Action{create, take}
}

// waiting counts the advisories of a platform ("" is all) that wait, by stage.
func (u *Pages) waiting(ctx context.Context, platform string) ([]stageCount, error) {
	counts, err := u.Matching.Counts(ctx, platform)
	if err != nil {
		return nil, err
	}
	var out []stageCount
	for _, s := range matching.Stages() {
		q := url.Values{"stage": {s.String()}}
		if platform != "" {
			q.Set("platform", platform)
		}
		out = append(out, stageCount{s, counts[s], "/errata/queue?" + q.Encode()})
	}
	return out, nil
}

// rows adds to advisories how far their matching has come.
func (u *Pages) rows(ctx context.Context, rs []errata.Record, chosen bool) ([]row, error) {
	keys := make([]errata.Key, len(rs))
	for i, r := range rs {
		keys[i] = r.Key
	}
	standings, err := u.Matching.Standings(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := make([]row, len(rs))
	for i, r := range rs {
		out[i] = row{r, standings[r.Key], chosen}
	}
	return out, nil
}

// records returns advisories by their keys, those that are there, in the order of the keys.
func (u *Pages) records(ctx context.Context, keys []errata.Key) ([]errata.Record, error) {
	of := map[string][]string{}
	for _, k := range keys {
		of[k.Platform] = append(of[k.Platform], k.ID)
	}
	found := map[errata.Key]errata.Record{}
	for on, ids := range of {
		for some := range slices.Chunk(ids, errata.MaxPage) {
			p, err := u.Errata.List(ctx, errata.Query{Platform: on, IDs: some})
			if err != nil {
				return nil, err
			}
			for _, r := range p.Records {
				found[r.Key] = r
			}
		}
	}
	var out []errata.Record
	for _, k := range keys {
		if r, ok := found[k]; ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// maxBulk is how many advisories are changed at once.
const maxBulk = 200

// chosenOf are the advisories that were ticked, each once.
func chosenOf(ticked []string) ([]errata.Key, error) {
	var out []errata.Key
	for _, s := range ticked {
		k, err := readKey(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	switch {
	case len(out) == 0:
		return nil, albs.Errorf(albs.Invalid, "choose the advisories in the list first")
	case len(out) > maxBulk:
		return nil, albs.Errorf(albs.TooLarge, "%d advisories, choose at most %d at once", len(out), maxBulk)
	}
	return out, nil
}

// outcome is what became of one advisory among several.
type outcome struct {
	errata.Key
	OK  bool
	Say string
}

type resultsView struct {
	What     string
	Outcomes []outcome
	Done     int
}

// bulk does one thing to several advisories, and tells what became of each.
func (u *Pages) bulk(w http.ResponseWriter, r *http.Request) error {
	if err := page.LongForm(w, r, maxSelection); err != nil {
		return err
	}
	keys, err := chosenOf(r.PostForm["advisory"])
	if err != nil {
		return err
	}
	ctx, why := r.Context(), strings.TrimSpace(r.PostForm.Get("reason"))
	v := resultsView{}
	add := func(k errata.Key, err error, done string) {
		o := outcome{Key: k, OK: err == nil, Say: done}
		if err != nil {
			o.Say = albs.UserMessage(err)
		} else {
			v.Done++
		}
		v.Outcomes = append(v.Outcomes, o)
	}
	switch r.PostForm.Get("do") {
	case "release":
		return u.offer(w, r, keys, nil)
	case "approve":
		v.What = "Approved what albs would take"
		var rs []matching.Request
		for _, k := range keys {
			rs = append(rs, matching.Request{Key: k, Decisions: []matching.Decision{{Action: matching.Approve, Why: why}}})
		}
		results, err := u.Matching.DecideEach(ctx, rs)
		if err != nil {
			return err
		}
		stands, err := u.Matching.Standings(ctx, keys)
		if err != nil {
			return err
		}
		for _, res := range results {
			add(res.Key, res.Err, "approved; it is "+cmp.Or(stageWords(stands[res.Key]), "done"))
		}
	case "reset":
		v.What = "Matched anew"
		for _, k := range keys {
			_, err := u.Matching.Reset(ctx, k)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			add(k, err, "what was decided is taken back, and it was matched anew")
		}
	default:
		return albs.Errorf(albs.Invalid, "%s is nothing that can be done to advisories", words.Inert(words.Cut(r.PostForm.Get("do"), 40)))
	}
	return u.Render(w, r, http.StatusOK, "advisories/results", page.Page{Title: v.What, Section: section, Body: v})
}

// maxSelection is how many bytes a form about many advisories or packages may have.
const maxSelection = 256 << 10

// stageWords says what an advisory waits for.
func stageWords(s matching.Standing) string {
	switch s.Stage {
	case matching.NeedsBuild:
		return fmt.Sprintf("short of a build for %d of %s", s.Lacking, words.Plural(s.Wanted, "package"))
	case matching.NeedsMatch:
		return fmt.Sprintf("in need of a choice for %d of %s", s.Open, words.Plural(s.Wanted, "package"))
	case matching.Ready:
		return "ready"
	}
	return ""
}
