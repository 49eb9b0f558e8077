package releases

import (
	"net/http"
	"net/url"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/release"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

const perPage = 30

// statuses are those that a list may be filtered by, as they are chosen.
var statuses = []release.Status{release.Scheduled, release.InProgress, release.Completed, release.Failed, release.Reverted}

// releasesView is the list of releases.
type releasesView struct {
	Filter   release.Filter
	Statuses []release.Status
	Filled   bool // the filter chooses
	Releases []release.Release
	Next     string // address of the next page; "" at the end
	First    string // address of the first page; "" on it
	Make     page.Action
}

// releasesPage lists releases, newest first.
func (u *Pages) releasesPage(w http.ResponseWriter, r *http.Request) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	p, err := u.Follow(r.Context(), page.Page{Title: "Releases", Section: "releases"}, FollowAll)
	if err != nil {
		return err
	}
	v := releasesView{Filter: f, Statuses: statuses, Filled: f.Product != "" || f.Status != 0 || f.Build != 0}
	var more bool
	if v.Releases, more, err = u.Releases.List(r.Context(), f); err != nil {
		return err
	}
	if more {
		v.Next = page.With(r.URL, "before", v.Releases[len(v.Releases)-1].ID.String())
	}
	if f.Before > 0 {
		v.First = page.With(r.URL, "before", "")
	}
	v.Make = page.Action{URL: "/release/create", Label: "New release…", Leads: true}
	if f.Product != "" {
		v.Make.URL += "?" + url.Values{"product": {f.Product}}.Encode()
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "releases/releases", p)
}

// filterOf is what a query chooses.
func filterOf(r *http.Request) (release.Filter, error) {
	q, err := page.Filters(r, "product", "status", "build")
	if err != nil {
		return release.Filter{}, err
	}
	f := release.Filter{Product: q[0], Limit: perPage}
	if q[1] != "" {
		n, err := strconv.Atoi(q[1])
		if err != nil || n < int(release.Scheduled) || n > int(release.Reverted) {
			return f, albs.Errorf(albs.Invalid, "%s is no status of a release", words.Inert(words.Cut(q[1], 20)))
		}
		f.Status = release.Status(n)
	}
	if q[2] != "" {
		n, err := strconv.ParseInt(q[2], 10, 64)
		if err != nil || n < 1 {
			return f, albs.Errorf(albs.Invalid, "%s is no build's number", words.Inert(words.Cut(q[2], 20)))
		}
		f.Build = albs.BuildID(n)
	}
	before, err := page.Before(r)
	f.Before = albs.ReleaseID(before)
	return f, err
}
