package builds

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/ui/page"
)

// cloneView asks how a build is to be made once more.
type cloneView struct {
	build.Build
	Key string // by which the form, sent twice, makes one build
	Why string // why not; "" if it can be done
}

// mayClone says whether the person who asks may have the build made once more.
func mayClone(ctx context.Context, b build.Build) error {
	object := auth.Object{Team: b.Team}
	if err := auth.Can(ctx, auth.BuildCreate, object); err != nil || !b.SecureBoot {
		return err
	}
	return auth.Can(ctx, auth.BuildSecureBoot, object)
}

func (u *Pages) clonePage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	b, err := u.Builds.Get(r.Context(), albs.BuildID(n))
	if err != nil {
		return err
	}
	v := cloneView{Build: b, Key: rand.Text(), Why: page.ActionOf("", "", mayClone(r.Context(), b), true, "").Why}
	return u.Render(w, r, http.StatusOK, "builds/clone", page.Page{Title: fmt.Sprintf("Clone build %d", n), Section: "builds", Body: v})
}

// cloneBuild makes a build of what another was asked for and shows it.
func (u *Pages) cloneBuild(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	if err := page.Form(w, r); err != nil {
		return err
	}
	of := r.PostForm.Get("of")
	if of != "commits" && of != "refs" {
		return albs.Errorf(albs.Invalid, "%.40q is nothing to clone of: say commits or refs", of)
	}
	b, err := u.Builds.Clone(r.Context(), albs.BuildID(n), of == "refs", r.PostForm.Get("key"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, fmt.Sprintf("/build/%d", b.ID), http.StatusSeeOther)
	return nil
}
