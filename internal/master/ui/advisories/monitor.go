package advisories

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/ui/page"
)

// maxTroubles is how many troubles of one product the page lists.
const maxTroubles = 200

type monitorView struct {
	Products []checkedView
	Search   string
}

// checkedView is what was found of one product.
type checkedView struct {
	Product string
	// Last is what the last check found; its Checked is zero if there was none.
	Last     monitor.Result
	Troubles []monitor.Trouble // those that the search leaves
	Sound    bool
	More     int // troubles that aren't listed
	Check    page.Action
}

// monitorPage tells in what the public sees something else of advisories than is shown.
func (u *Pages) monitorPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := page.Filters(r, "q")
	if err != nil {
		return err
	}
	p, err := u.Follow(ctx, page.Page{Title: "What the public sees of advisories", Section: section}, FollowChecks)
	if err != nil {
		return err
	}
	ps, err := u.advised(ctx)
	if err != nil {
		return err
	}
	on := names(ps)
	all, err := u.Parts.Products.All(ctx)
	if err != nil {
		return err
	}
	v := monitorView{Search: q[0]}
	for _, pr := range all {
		if !slices.ContainsFunc(pr.Platforms, func(name string) bool { return slices.Contains(on, name) }) {
			continue
		}
		c := checkedView{Product: pr.Name, Check: page.ActionOf("/errata/monitor", "Check now", auth.Can(ctx, auth.ErrataRelease, pr.Object()), true, "")}
		if c.Last, err = u.Monitor.Last(ctx, pr.Name); err != nil && !errors.Is(err, albs.NotFound) {
			return err
		}
		c.Sound = !c.Last.Checked.IsZero() && len(c.Last.Troubles) == 0 && len(c.Last.Unchecked) == 0
		for _, t := range c.Last.Troubles {
			if strings.Contains(strings.ToLower(t.String()), strings.ToLower(v.Search)) {
				c.Troubles = append(c.Troubles, t)
			}
		}
		c.More = c.Last.More
		if n := len(c.Troubles) - maxTroubles; n > 0 {
			c.Troubles, c.More = c.Troubles[:maxTroubles], c.More+n
		}
		v.Products = append(v.Products, c)
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "advisories/monitor", p)
}

// check has a product checked now.
func (u *Pages) check(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	if _, err := u.Monitor.Check(r.Context(), r.PostForm.Get("product")); err != nil {
		return err
	}
	return page.Changed(w, r, "/errata/monitor")
}
