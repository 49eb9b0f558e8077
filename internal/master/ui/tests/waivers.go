package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// waiversView is the list of waivers.
type waiversView struct {
	State, Package, Build string // by which it is filtered
	States                []testrun.WaiverState
	Rows                  []waiverRow
	Next, First           string // addresses of pages; "" for none
}

// Filtered reports whether only some waivers are asked for.
func (v waiversView) Filtered() bool { return v.State+v.Package+v.Build != "" }

// waiverRow is a waiver, how it stands, and why the person who asks can't take it back.
type waiverRow struct {
	testrun.Waiver
	Standing string
	Why      string // "" if it can be taken back, or has ended
}

func (u *Pages) waiversPage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "state", "package", "build")
	if err != nil {
		return err
	}
	f := testrun.WaiverFilter{State: testrun.WaiverState(q[0]), Package: strings.TrimSpace(q[1]), Limit: perPage}
	if q[2] != "" {
		if f.Build, err = buildOf(q[2]); err != nil {
			return err
		}
	}
	if f.Before, err = page.Before(r); err != nil {
		return err
	}
	ctx := r.Context()
	p, err := u.Follow(ctx, page.Page{Title: "Waivers", Section: section}, FollowWaivers)
	if err != nil {
		return err
	}
	found, more, err := u.Tests.Waivers(ctx, f)
	if err != nil {
		return err
	}
	v := waiversView{State: q[0], Package: f.Package, Build: q[2], States: testrun.WaiverStates}
	if v.Rows, err = u.rows(ctx, found, time.Now()); err != nil {
		return err
	}
	if more {
		v.Next = page.With(r.URL, "before", strconv.FormatInt(found[len(found)-1].ID, 10))
	}
	if f.Before > 0 {
		v.First = page.With(r.URL, "before", "")
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "tests/waivers", p)
}

func buildOf(s string) (albs.BuildID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "%s is no build's number", words.Inert(words.Cut(s, 20)))
	}
	return albs.BuildID(n), nil
}

// rows says how each waiver stands, and who may take it back.
func (u *Pages) rows(ctx context.Context, all []testrun.Waiver, now time.Time) ([]waiverRow, error) {
	why := map[albs.BuildID]string{}
	out := make([]waiverRow, len(all))
	for i, x := range all {
		out[i] = waiverRow{Waiver: x, Standing: standing(x, now)}
		if !x.InForce(now) {
			continue
		}
		said, asked := why[x.Build]
		if !asked {
			b, err := u.Builds.Brief(ctx, x.Build)
			switch {
			case albs.KindOf(err) == albs.NotFound:
				said = fmt.Sprintf("build %d was deleted", x.Build)
			case err != nil:
				return nil, err
			default:
				said = page.WhyNot(auth.Can(ctx, auth.TestWaive, auth.Object{Team: b.Team}))
			}
			why[x.Build] = said
		}
		out[i].Why = said
	}
	return out, nil
}

// standing is how a waiver stands, for words.LookOf.
func standing(x testrun.Waiver, now time.Time) string {
	if x.InForce(now) && x.Waived().Soon(now) {
		return "expires soon"
	}
	return string(x.State(now))
}

// waiveView asks what of a build's packages is to be waived.
type waiveView struct {
	Build   albs.BuildID
	Product string
	Gate    product.Gate
	Barred  []testrun.Standing
	Chosen  *testrun.Standing // the package that is asked about; nil for none
	Days    int
	MaxDays int
	Why     string // why the person can't waive anything of it
}

// usualDays is for how long a waiver is to hold unless somebody says otherwise.
const usualDays = 14

// waivePage lists what the gate has against packages of a build, and asks about one of them.
func (u *Pages) waivePage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "build", "package")
	if err != nil {
		return err
	}
	v := waiveView{Days: usualDays, MaxDays: testrun.MaxWaiverDays}
	if v.Build, err = buildOf(q[0]); err != nil {
		return err
	}
	ctx := r.Context()
	b, err := u.Builds.Brief(ctx, v.Build)
	if err != nil {
		return err
	}
	v.Product = b.Product
	v.Why = page.WhyNot(auth.Can(ctx, auth.TestWaive, auth.Object{Team: b.Team}))
	if v.Barred, v.Gate, err = u.Tests.Barred(ctx, v.Build); err != nil {
		return err
	}
	if q[1] != "" {
		i := slices.IndexFunc(v.Barred, func(s testrun.Standing) bool { return string(s.Digest) == q[1] || s.NEVRA == q[1] })
		if i < 0 {
			return albs.Errorf(albs.NotFound, "build %d has no package %s that tests speak against", v.Build, words.Inert(words.Cut(q[1], 100)))
		}
		v.Chosen = &v.Barred[i]
	}
	return u.Render(w, r, http.StatusOK, "tests/waive", page.Page{Title: fmt.Sprintf("Waive tests of build %d", v.Build), Section: "builds", Body: v})
}

// untested is what a form says of a waiver that holds also where nobody knows how tests end.
const untested = "untested"

func (u *Pages) waive(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	f := r.PostForm
	n := testrun.NewWaiver{Package: f.Get("package"), Reason: strings.TrimSpace(f.Get("reason"))}
	var err error
	if n.Build, err = buildOf(f.Get("build")); err != nil {
		return err
	}
	if n.Days, err = strconv.Atoi(f.Get("days")); err != nil {
		return albs.Errorf(albs.Invalid, "%s is no number of days", words.Inert(words.Cut(f.Get("days"), 20)))
	}
	if what := f.Get("what"); what == untested {
		n.Untested = true
	} else {
		n.Stage = albs.TestStage(what)
	}
	if _, err := u.Tests.Waive(r.Context(), n); err != nil {
		return err
	}
	http.Redirect(w, r, "/tests/waivers?"+url.Values{"build": {n.Build.String()}}.Encode(), http.StatusSeeOther)
	return nil
}

func (u *Pages) endWaiver(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "waiver")
	if err != nil {
		return err
	}
	if err := page.Form(w, r); err != nil {
		return err
	}
	if err := u.Tests.EndWaiver(r.Context(), id, strings.TrimSpace(r.PostForm.Get("reason"))); err != nil {
		return err
	}
	return page.Changed(w, r, "/tests/waivers")
}
