package releases

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// perChoice is how many of a product's newest builds are offered.
const perChoice = 30

// createView asks what is to be released into which product.
type createView struct {
	Products []string
	Product  string // that was chosen; "" for none yet
	Builds   []choice
	More     bool   // there are older builds of the product
	Others   string // builds beside those that are listed, as they were typed
	Why      string // why the person may not; "" if it can be done
}

// choice is a build that may be released.
type choice struct {
	build.Summary
	Chosen   bool
	Released []release.Release // that have it, the newest first
}

// createPage asks for a release. A product that the query doesn't name is that of the
// builds which it does.
func (u *Pages) createPage(w http.ResponseWriter, r *http.Request) error {
	ctx, query := r.Context(), r.URL.Query()
	chosen, err := buildsOf(query["build"], query.Get("builds"))
	if err != nil {
		return err
	}
	all, err := u.Products.All(ctx)
	if err != nil {
		return err
	}
	v := createView{Product: query.Get("product")}
	for _, p := range all {
		v.Products = append(v.Products, p.Name)
	}
	if v.Product == "" && len(chosen) > 0 {
		b, err := u.Builds.Get(ctx, chosen[0])
		if err != nil {
			return err
		}
		v.Product = b.Product
	}
	if v.Product != "" {
		p, err := u.Products.Get(ctx, v.Product)
		if err != nil {
			return err
		}
		if err := u.offer(ctx, &v, p, chosen); err != nil {
			return err
		}
	}
	return u.Render(w, r, http.StatusOK, "releases/create", page.Page{Title: "New release", Section: "releases", Body: v})
}

// offer fills in the newest builds of a product.
func (u *Pages) offer(ctx context.Context, v *createView, p product.Product, chosen []albs.BuildID) error {
	v.Why = page.WhyNot(auth.Can(ctx, auth.ReleasePlan, p.Object()))
	builds, more, err := u.Builds.List(ctx, build.Filter{Product: p.Name, Limit: perChoice})
	if err != nil {
		return err
	}
	v.More = more
	for _, b := range builds {
		c := choice{Summary: b, Chosen: slices.Contains(chosen, b.ID)}
		if c.Released, _, err = u.Releases.List(ctx, release.Filter{Build: b.ID, Limit: 1}); err != nil {
			return err
		}
		v.Builds = append(v.Builds, c)
	}
	var others []string
	for _, id := range chosen {
		if !slices.ContainsFunc(builds, func(b build.Summary) bool { return b.ID == id }) {
			others = append(others, id.String())
		}
	}
	v.Others = strings.Join(others, " ")
	return nil
}

// create plans a release and shows its plan.
func (u *Pages) create(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	builds, err := buildsOf(r.PostForm["build"], r.PostForm.Get("others"))
	if err != nil {
		return err
	}
	made, err := u.Releases.Plan(r.Context(), r.PostForm.Get("product"), builds)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/release/"+made.ID.String(), http.StatusSeeOther)
	return nil
}

// buildsOf are the builds that were ticked and those that were typed, each once: a number,
// or the address of a build's page.
func buildsOf(ticked []string, typed string) ([]albs.BuildID, error) {
	var out []albs.BuildID
	for _, s := range append(slices.Clone(ticked), strings.FieldsFunc(typed, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\r' || r == '\t' })...) {
		word := s
		if u, err := url.Parse(s); err == nil {
			if _, id, ok := strings.Cut(u.Path, "/build/"); ok {
				word = strings.TrimSuffix(id, "/")
			}
		}
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 1 {
			return nil, albs.Errorf(albs.Invalid, "%s is no build: give numbers of builds, or the addresses of their pages", words.Inert(words.Cut(s, 100)))
		}
		if id := albs.BuildID(n); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// copyView asks which packages of one product another is to have, without building them
// again.
type copyView struct {
	From, Into string
	Products   []string
	Why        string // why the person may not; "" if it can be done, or Into isn't chosen
}

func (u *Pages) copyPage(w http.ResponseWriter, r *http.Request) error {
	ctx, query := r.Context(), r.URL.Query()
	all, err := u.Products.All(ctx)
	if err != nil {
		return err
	}
	v := copyView{From: query.Get("from"), Into: query.Get("into")}
	for _, p := range all {
		v.Products = append(v.Products, p.Name)
		if p.Name == v.Into {
			v.Why = page.WhyNot(auth.Can(ctx, auth.ReleasePlan, p.Object()))
		}
	}
	if v.Into == "" && auth.From(ctx).Kind != auth.KindPerson {
		v.Why = page.WhyNot(auth.Can(ctx, auth.ReleasePlan, auth.Object{}))
	}
	return u.Render(w, r, http.StatusOK, "releases/copy", page.Page{Title: "Copy between products", Section: "releases", Body: v})
}

// copy plans the release of another product's packages and shows its plan.
func (u *Pages) copy(w http.ResponseWriter, r *http.Request) error {
	if err := page.LongForm(w, r, maxDecision); err != nil {
		return err
	}
	c := plan.Copy{Product: r.PostForm.Get("from"), Packages: strings.Fields(r.PostForm.Get("packages"))}
	made, err := u.Releases.Copy(r.Context(), r.PostForm.Get("into"), c)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/release/"+made.ID.String(), http.StatusSeeOther)
	return nil
}
