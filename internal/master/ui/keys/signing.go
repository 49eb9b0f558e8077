package keys

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/product"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// perPage is how many requests, and packages of one, a page lists.
const perPage = 20

// requestsView is the list of requests to have builds signed.
type requestsView struct {
	Build    albs.BuildID // whose alone; 0 for all
	Requests []sign.Request
	Next     string // address of the next page; "" at the end
	First    string // address of the first page; "" on it
}

func (u *Pages) requestsPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	v := requestsView{}
	if s := r.URL.Query().Get("build"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return albs.Errorf(albs.Invalid, "%s is no build's number", words.Inert(words.Cut(s, 20)))
		}
		v.Build = albs.BuildID(n)
	}
	p, err := u.Follow(ctx, page.Page{Title: "Signing", Section: "keys"}, Follow)
	if err != nil {
		return err
	}
	var more bool
	if v.Requests, more, err = u.Signs.Requests(ctx, sign.Filter{Build: v.Build, Before: before, Limit: perPage}); err != nil {
		return err
	}
	if more {
		v.Next = page.With(r.URL, "before", strconv.FormatInt(v.Requests[len(v.Requests)-1].ID, 10))
	}
	if before > 0 {
		v.First = page.With(r.URL, "before", "")
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "keys/requests", p)
}

type requestView struct {
	sign.Request
	Approve string // why the person can't approve it; "" if that can be done
	Signed  int
	Rows    []sign.Package
	Pager   page.Pager
}

func (u *Pages) requestPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "request")
	if err != nil {
		return err
	}
	ctx := r.Context()
	q, err := u.Signs.Request(ctx, n)
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Signing of build %d", q.Build), Section: "keys"}, build.Topic(q.Build))
	if err != nil {
		return err
	}
	if q, err = u.Signs.Request(ctx, n); err != nil {
		return err
	}
	v := requestView{Request: q}
	for _, x := range q.Packages {
		if x.Signed != "" {
			v.Signed++
		}
	}
	if q.Approvals.Needed > 0 {
		p, err := u.Products.Get(ctx, q.Product)
		if err != nil {
			return err
		}
		v.Approve = whyNotApprove(ctx, q, p, time.Now())
	}
	if v.Rows, v.Pager, err = page.Paged(r, q.Packages, perPage); err != nil {
		return err
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "keys/request", p)
}

// whyNotApprove says why the person who asks can't approve a request now; "" if that person
// can. The module says it again to who does it nevertheless.
func whyNotApprove(ctx context.Context, q sign.Request, p product.Product, now time.Time) string {
	who := auth.From(ctx)
	if err := auth.Can(ctx, auth.ReleaseApprove, p.Object()); err != nil {
		return page.WhyNot(err)
	}
	switch a := q.Approvals; {
	case len(a.Given) >= a.Needed:
		return "it has the approvals that it needs"
	case !a.Expires.After(now):
		return "the time for it is over: ask for the signatures anew"
	case p.Approvals.Distinct && q.Requester == who.Name:
		return "you asked for it: another person's word is needed"
	case slices.ContainsFunc(a.Given, func(g auth.Approval) bool { return g.User == who.User }):
		return "you approved it already"
	case p.Approvals.Signed:
		return fmt.Sprintf("the product counts only what people sign with keys of their own: albs approve %s --key FILE", sign.RequestTopic(q.ID))
	}
	return ""
}

// approve records a person's word for exactly what a request comes to.
func (u *Pages) approve(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "request")
	if err != nil {
		return err
	}
	if err := page.Form(w, r); err != nil {
		return err
	}
	d, err := albs.ParseDigest(r.PostForm.Get("digest"))
	if err != nil {
		return albs.Errorf(albs.Invalid, "the form doesn't say what is approved: load the page again")
	}
	if _, err := u.Signs.ApproveRequest(r.Context(), n, d, auth.Word{Note: r.PostForm.Get("note")}); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/signing/%d", n))
}

// signView asks with which key a build is to be signed.
type signView struct {
	build.Build
	Packages int
	Keys     []keyChoice
	Why      string // why it can't be signed with any; "" if it can be
}

// keyChoice is a key, and why it can't be taken.
type keyChoice struct {
	sign.Key
	Product bool   // it is the one that the build's product names
	Why     string // "" if it can be taken
}

func (u *Pages) signPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx := r.Context()
	b, err := u.Builds.Get(ctx, albs.BuildID(n))
	if err != nil {
		return err
	}
	v := signView{Build: b, Why: page.WhyNot(auth.Can(ctx, auth.SignRequest, auth.Object{Team: b.Team, Owner: b.OwnerID}))}
	if v.Why == "" && b.Status.State != status.Succeeded {
		v.Why = fmt.Sprintf("build %d is %s: only a build that succeeded is signed", b.ID, b.Status.State)
	}
	seen := map[albs.Digest]bool{}
	for _, a := range b.Artifacts {
		if (a.Kind == "rpm" || a.Kind == "srpm") && !seen[a.Digest] {
			seen[a.Digest] = true
			v.Packages++
		}
	}
	keys, err := u.Signs.Keys(ctx)
	if err != nil {
		return err
	}
	wanted := ""
	if b.Product != "" {
		p, err := u.Products.Get(ctx, b.Product)
		if err != nil {
			return err
		}
		wanted = p.Key
	}
	for _, k := range keys {
		v.Keys = append(v.Keys, choiceOf(k, b.Product, wanted))
	}
	slices.SortStableFunc(v.Keys, func(a, b keyChoice) int {
		rank := func(k keyChoice) int {
			switch {
			case k.Product:
				return 0
			case k.Why == "":
				return 1
			}
			return 2
		}
		return rank(a) - rank(b)
	})
	p := page.Page{Title: fmt.Sprintf("Sign build %d", b.ID), Section: "builds", Body: v}
	return u.Render(w, r, http.StatusOK, "keys/sign", p)
}

// choiceOf says whether a key can be taken for a build of a product, which wants one.
func choiceOf(k sign.Key, product, wanted string) keyChoice {
	c := keyChoice{Key: k, Product: wanted != "" && (k.Name == wanted || k.Fingerprint == wanted)}
	switch {
	case !k.Active:
		c.Why = "it is not active"
	case len(k.Products) > 0 && !slices.Contains(k.Products, product):
		c.Why = "it was made for other products"
	}
	return c
}

// sign asks for the signatures and shows how far they are.
func (u *Pages) sign(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	if err := page.Form(w, r); err != nil {
		return err
	}
	q, err := u.Signs.SignBuild(r.Context(), albs.BuildID(n), r.PostForm.Get("key"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/signing/%d", q.ID), http.StatusSeeOther)
	return nil
}
