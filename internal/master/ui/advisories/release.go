package advisories

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/publish"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/master/ui/page"
)

// maxLacking is how many packages without an answer are told of one by one.
const maxLacking = 10

// releaseView asks what of advisories becomes public, and together with which builds.
type releaseView struct {
	Advisories []released
	Products   []string
	Product    string
	Builds     []albs.BuildID // of packages that answer and aren't public
	Others     string         // builds beside those, as they were typed
	Optional   bool
	Why        string // why the person may not; "" if it can be done
	WhyForce   string // why the person may not leave something out
}

// released is an advisory that is to be released.
type released struct {
	errata.Record
	Standing matching.Standing
	Lacking  []matching.Wanted
	More     int // lacking ones that aren't listed
	Why      string
}

// releasePage asks for a release of the advisories that the query names.
func (u *Pages) releasePage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	keys, err := chosenOf(q["advisory"])
	if err != nil {
		return err
	}
	return u.offer(w, r, keys, q)
}

// offer asks for a release of advisories; q is what was said of it already.
func (u *Pages) offer(w http.ResponseWriter, r *http.Request, keys []errata.Key, q url.Values) error {
	ctx := r.Context()
	rs, err := u.records(ctx, keys)
	if err != nil {
		return err
	}
	if len(rs) == 0 {
		return albs.Errorf(albs.NotFound, "there is no advisory %s", keys[0])
	}
	v := releaseView{Product: q.Get("product"), Others: strings.Join(q["build"], " "), Optional: len(keys) > 1}
	var platforms []string
	for _, rec := range rs {
		x, builds, err := u.released(ctx, rec)
		if err != nil {
			return err
		}
		v.Advisories = append(v.Advisories, x)
		v.Builds = append(v.Builds, builds...)
		platforms = append(platforms, rec.Platform)
		pf, err := u.Platforms.Get(ctx, rec.Platform)
		if err != nil {
			return err
		}
		if v.Why == "" {
			v.Why = page.WhyNot(auth.Can(ctx, auth.ErrataRelease, on(pf)))
		}
		if v.WhyForce == "" {
			v.WhyForce = page.WhyNot(auth.Can(ctx, auth.ErrataForce, on(pf)))
		}
	}
	slices.Sort(v.Builds)
	v.Builds = slices.Compact(v.Builds)
	slices.Sort(platforms)
	platforms = slices.Compact(platforms)
	all, err := u.Parts.Products.All(ctx)
	if err != nil {
		return err
	}
	var may error
	v.Products = productsOf(all, platforms)
	for _, p := range all {
		if slices.Contains(v.Products, p.Name) {
			if may = auth.Can(ctx, auth.ReleasePlan, p.Object()); may == nil {
				break
			}
		}
	}
	if v.Why == "" {
		v.Why = page.WhyNot(may)
	}
	if v.Why == "" && len(v.Products) == 0 {
		v.Why = "no product has repositories for " + strings.Join(platforms, " and ") + ": choose advisories of one platform"
	}
	return u.Render(w, r, http.StatusOK, "advisories/release", page.Page{Title: "Release advisories", Section: section, Body: v})
}

// productsOf are the products that have all of the platforms.
func productsOf(all []product.Product, platforms []string) (out []string) {
	for _, p := range all {
		if !slices.ContainsFunc(platforms, func(name string) bool { return !slices.Contains(p.Platforms, name) }) {
			out = append(out, p.Name)
		}
	}
	return out
}

// released says what a release of an advisory would lack, and returns the builds that it
// needs.
func (u *Pages) released(ctx context.Context, rec errata.Record) (released, []albs.BuildID, error) {
	is, err := u.Matching.Of(ctx, rec.Key)
	if err != nil {
		return released{}, nil, err
	}
	x := released{Record: rec, Standing: is.Standing, Why: busy(rec)}
	if x.Why == "" && !rec.Pending {
		x.Why = "what is public is all that there is"
	}
	if rec.Advisory.Withdrawn != nil {
		return x, nil, nil
	}
	x.Lacking, x.More = head(is.Missing(), maxLacking)
	var builds []albs.BuildID
	for _, m := range is.Chosen() {
		if !m.Released && !slices.Contains(builds, m.Build) {
			builds = append(builds, m.Build)
		}
	}
	return x, builds, nil
}

// release plans a release of advisories and builds, and shows the plan.
func (u *Pages) release(w http.ResponseWriter, r *http.Request) error {
	if err := page.LongForm(w, r, maxSelection); err != nil {
		return err
	}
	keys, err := chosenOf(r.PostForm["advisory"])
	if err != nil {
		return err
	}
	builds, err := readBuilds(strings.Join(append(slices.Clone(r.PostForm["build"]), r.PostForm.Get("others")), " "))
	if err != nil {
		return err
	}
	force, optional := strings.TrimSpace(r.PostForm.Get("force")), r.PostForm.Get("optional") != ""
	var wanted []plan.Wanted
	for _, k := range keys {
		wanted = append(wanted, plan.Wanted{Part: publish.Name, Name: k.String(), Force: force, Optional: optional})
	}
	made, err := u.Releases.Plan(r.Context(), r.PostForm.Get("product"), builds, wanted...)
	if err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/release/%d", made.ID), http.StatusSeeOther)
	return nil
}
