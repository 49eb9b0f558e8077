package advisories

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/master/errata/matching"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
	"albs/internal/rpm"
)

// revisionOf is the revision that a form was filled in for.
func revisionOf(form url.Values) (int64, error) {
	n, err := strconv.ParseInt(form.Get("revision"), 10, 64)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "the form doesn't say for which revision it is: load the page again")
	}
	return n, nil
}

// readNEVRA reads a package of a form; "" is none.
func readNEVRA(s string) (rpm.NEVRA, error) {
	if s = strings.TrimSpace(s); s == "" {
		return rpm.NEVRA{}, nil
	}
	return rpm.ParseNEVRA(s)
}

// readBuild reads the number of a build; "" is none.
func readBuild(s string) (albs.BuildID, error) {
	if s = strings.TrimSpace(s); s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "%s is no build's number", words.Inert(words.Cut(s, 20)))
	}
	return albs.BuildID(n), nil
}

// decisionOf is what a form decides. A package that was chosen in a list is "BUILD NEVRA".
func decisionOf(form url.Values) (matching.Decision, error) {
	d := matching.Decision{Action: matching.Action(form.Get("action")), Source: form.Get("source"), Why: strings.TrimSpace(form.Get("reason"))}
	build, nevra := form.Get("build"), form.Get("package")
	if c := form.Get("choice"); c != "" {
		build, nevra, _ = strings.Cut(c, " ")
	} else if d.Action == matching.Replace || d.Action == matching.Add {
		return d, albs.Errorf(albs.Invalid, "choose a package of the list")
	}
	var err error
	if d.Wanted, err = readNEVRA(form.Get("wanted")); err != nil {
		return d, err
	}
	if d.NEVRA, err = readNEVRA(nevra); err != nil {
		return d, err
	}
	d.Build, err = readBuild(build)
	return d, err
}

// decide makes a person's decision on what answers an advisory.
func (u *Pages) decide(w http.ResponseWriter, r *http.Request) error {
	k, err := keyOf(r)
	if err != nil {
		return err
	}
	if err := page.Form(w, r); err != nil {
		return err
	}
	revision, err := revisionOf(r.PostForm)
	if err != nil {
		return err
	}
	d, err := decisionOf(r.PostForm)
	if err != nil {
		return err
	}
	if _, err := u.Matching.Decide(r.Context(), k, revision, []matching.Decision{d}); err != nil {
		return err
	}
	return page.Changed(w, r, path(k)+"#packages")
}

// chooseView asks which package answers one that is wanted, or is added.
type chooseView struct {
	errata.Key
	Path     string
	Revision int64
	Wanted   string // "" for one that is added
	Module   string
	Lack     string
	Name     string // that is looked for
	Build    string
	Packages []candidate
	More     bool   // there are more than are listed
	Why      string // why the person can't decide; "" if that can be done
}

// candidate is a package that may be chosen.
type candidate struct {
	match.Package
	Fits bool   // its arch is that which is wanted, or none
	Now  string // its status by now; "" if it isn't matched
}

// choosePage offers packages of builds in place of what was matched, or beside it.
func (u *Pages) choosePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rec, pf, err := u.recordOf(r)
	if err != nil {
		return err
	}
	q, err := page.Filters(r, "name", "build")
	if err != nil {
		return err
	}
	v := chooseView{Key: rec.Key, Path: path(rec.Key), Revision: rec.Revision, Name: strings.TrimSpace(q[0]), Build: q[1], Why: whyNotDecide(ctx, rec, pf)}
	wanted, err := readNEVRA(r.URL.Query().Get("wanted"))
	if err != nil {
		return err
	}
	is, err := u.Matching.Of(ctx, rec.Key)
	if err != nil {
		return err
	}
	title := "Add a package to " + rec.ID
	if wanted != (rpm.NEVRA{}) {
		i := slices.IndexFunc(is.Wanted, func(x matching.Wanted) bool { return x.NEVRA == wanted })
		if i < 0 {
			return albs.Errorf(albs.NotFound, "advisory %s doesn't want %s", rec.Key, wanted)
		}
		v.Wanted, v.Module, v.Lack = wanted.String(), is.Wanted[i].Module, is.Wanted[i].Lack
		title = "What answers " + v.Wanted
		if v.Name == "" && v.Build == "" {
			v.Name = wanted.Name
		}
	}
	id, err := readBuild(v.Build)
	if err != nil {
		return err
	}
	if v.Name != "" || id != 0 {
		var ps []match.Package
		if ps, v.More, err = u.Matching.Packages(ctx, matching.Wish{Platform: rec.Platform, Name: v.Name, Build: id}); err != nil {
			return err
		}
		v.Packages = candidatesOf(ps, wanted, is.Matches)
	}
	return u.Render(w, r, http.StatusOK, "advisories/choose", page.Page{Title: title, Section: section, Body: v})
}

// candidatesOf are packages to choose from: those that fit first, the newest builds first.
func candidatesOf(ps []match.Package, wanted rpm.NEVRA, ms []matching.Match) []candidate {
	var out []candidate
	for _, p := range ps {
		c := candidate{Package: p, Fits: wanted == (rpm.NEVRA{}) || p.Arch == wanted.Arch || p.Arch == string(albs.Noarch)}
		if i := slices.IndexFunc(ms, func(m matching.Match) bool {
			return m.Wanted == wanted && m.NEVRA == p.NEVRA && m.Build == p.Build
		}); i >= 0 {
			c.Now = string(ms[i].Status)
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		fits := func(c candidate) int { return map[bool]int{true: 0, false: 1}[c.Fits] }
		return cmp.Or(cmp.Compare(fits(a), fits(b)), cmp.Compare(b.Build, a.Build))
	})
	return out
}
