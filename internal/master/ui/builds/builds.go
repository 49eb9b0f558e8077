package builds

import (
	"net/http"
	"net/url"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// buildsView is the list of builds.
type buildsView struct {
	Filter build.Filter
	Filled bool // the filter chooses
	Builds []build.Summary
	Next   string // address of the next page; "" at the end
	First  string // address of the first page; "" on it
}

const perPage = 30

// buildsPage lists builds, newest first. Everything that chooses is in the
// address, so that a list can be kept and passed on.
func (u *Pages) buildsPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := build.Filter{Limit: perPage, Owner: q.Get("owner"), Product: q.Get("product"), Package: q.Get("package"), Platform: q.Get("platform")}
	for _, s := range []string{f.Owner, f.Product, f.Package, f.Platform} {
		if len(s) > 200 {
			return albs.Errorf(albs.Invalid, "a filter has more than 200 bytes")
		}
	}
	v := buildsView{Filter: f, Filled: f.Owner+f.Product+f.Package+f.Platform != ""}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 {
			return albs.Errorf(albs.Invalid, "%s is no build's number", words.Inert(words.Cut(s, 40)))
		}
		f.Before = albs.BuildID(n)
		v.First = listURL(f, 0)
	}
	p, err := u.Follow(r.Context(), page.Page{Title: "Builds", Section: "builds", Query: f.Package}, FollowAll)
	if err != nil {
		return err
	}
	var more bool
	if v.Builds, more, err = u.Builds.List(r.Context(), f); err != nil {
		return err
	}
	if more {
		v.Next = listURL(f, v.Builds[len(v.Builds)-1].ID)
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/builds", p)
}

// listURL is the address of the list of the builds that f chooses, before one.
func listURL(f build.Filter, before albs.BuildID) string {
	q := make(url.Values)
	for _, p := range []struct{ key, value string }{
		{"owner", f.Owner}, {"product", f.Product}, {"package", f.Package}, {"platform", f.Platform},
	} {
		if p.value != "" {
			q.Set(p.key, p.value)
		}
	}
	if before > 0 {
		q.Set("before", before.String())
	}
	if len(q) == 0 {
		return "/builds"
	}
	return "/builds?" + q.Encode()
}
