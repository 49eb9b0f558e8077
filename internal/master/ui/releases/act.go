package releases

import (
	"context"
	"net/http"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/place"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// act does something to a release for a person and shows it again.
func (u *Pages) act(do func(ctx context.Context, id albs.ReleaseID) (release.Release, error)) page.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		n, err := page.Number(r, "release")
		if err != nil {
			return err
		}
		if _, err := do(r.Context(), albs.ReleaseID(n)); err != nil {
			return err
		}
		return page.Changed(w, r, "/release/"+albs.ReleaseID(n).String())
	}
}

// digestOf is the digest of the plan that a form was filled in for.
func digestOf(r *http.Request) (albs.Digest, error) {
	d, err := albs.ParseDigest(r.PostForm.Get("digest"))
	if err != nil {
		return "", albs.Errorf(albs.Invalid, "the form doesn't say for which plan it is: load the page again")
	}
	return d, nil
}

func (u *Pages) approve(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	d, err := digestOf(r)
	if err != nil {
		return err
	}
	return u.act(func(ctx context.Context, id albs.ReleaseID) (release.Release, error) {
		return u.Releases.Approve(ctx, id, d, r.PostForm.Get("note"))
	})(w, r)
}

// decideView asks where packages of a plan are to go.
type decideView struct {
	release.Release
	Packages     []row
	Unknown      []string // that were asked about and aren't in the plan
	Places       []string
	Repositories []product.Repository
	Why          string // why the person may not; "" if it can be done
}

func (u *Pages) decidePage(w http.ResponseWriter, r *http.Request) error {
	rel, err := u.releaseOf(r)
	if err != nil {
		return err
	}
	prod, err := u.Products.Get(r.Context(), rel.Product)
	if err != nil {
		return err
	}
	v := decideView{Release: rel, Repositories: prod.Repositories, Why: page.WhyNot(auth.Can(r.Context(), auth.ReleasePlan, objectOf(rel)))}
	if v.Why == "" {
		v.Why = closed(rel)
	}
	for _, p := range prod.Repositories {
		if p.Place != "" && !slices.Contains(v.Places, p.Place) {
			v.Places = append(v.Places, p.Place)
		}
	}
	rows := rowsOf(rel.Plan)
	for _, nevra := range r.URL.Query()["package"] {
		i := slices.IndexFunc(rows, func(x row) bool { return x.Package == nevra })
		if i < 0 {
			v.Unknown = append(v.Unknown, nevra)
		} else {
			v.Packages = append(v.Packages, rows[i])
		}
	}
	if len(v.Packages) == 0 {
		return albs.Errorf(albs.Invalid, "choose the packages to decide about, on the page of the release")
	}
	p := page.Page{Title: "Decide about packages of release " + rel.ID.String(), Section: "releases", Body: v}
	return u.Render(w, r, http.StatusOK, "releases/decide", p)
}

// decide adds a decision on each of the form's packages to those that the release has.
func (u *Pages) decide(w http.ResponseWriter, r *http.Request) error {
	if err := page.LongForm(w, r, maxDecision); err != nil {
		return err
	}
	action, to := place.Action(r.PostForm.Get("action")), r.PostForm.Get("to")
	if action == place.Exclude {
		to = "" // the list stands in the form whatever is chosen
	}
	packages := r.PostForm["package"]
	if len(packages) == 0 {
		return albs.Errorf(albs.Invalid, "choose the packages to decide about")
	}
	return u.redecide(w, r, func(held []place.Decision) ([]place.Decision, error) {
		for _, p := range packages {
			d := place.Decision{Action: action, Package: p, To: to, Reason: r.PostForm.Get("reason")}
			// Another word on the package that can't stand beside this one gives way.
			if action != place.Add {
				held = slices.DeleteFunc(held, func(h place.Decision) bool { return h.Package == p })
			}
			held = append(held, d)
		}
		return held, nil
	})
}

// maxDecision is how many bytes a form with a decision on many packages may have.
const maxDecision = 256 << 10

// undecide takes one decision back.
func (u *Pages) undecide(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	is := func(d place.Decision) bool {
		return d.Package == r.PostForm.Get("package") && string(d.Action) == r.PostForm.Get("action") && d.To == r.PostForm.Get("to")
	}
	return u.redecide(w, r, func(held []place.Decision) ([]place.Decision, error) {
		if !slices.ContainsFunc(held, is) {
			return nil, albs.Errorf(albs.NotFound, "that was not decided of %s", words.Inert(words.Cut(r.PostForm.Get("package"), 200)))
		}
		return slices.DeleteFunc(held, is), nil
	})
}

// redecide gives a release the decisions that change makes of those that it has.
func (u *Pages) redecide(w http.ResponseWriter, r *http.Request, change func([]place.Decision) ([]place.Decision, error)) error {
	d, err := digestOf(r)
	if err != nil {
		return err
	}
	return u.act(func(ctx context.Context, id albs.ReleaseID) (release.Release, error) {
		rel, err := u.Releases.Get(ctx, id)
		if err != nil {
			return rel, err
		}
		held, err := change(slices.Clone(rel.Plan.Decisions))
		if err != nil {
			return rel, err
		}
		return u.Releases.Decide(ctx, id, d, held)
	})(w, r)
}
