package tests

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/ui/page"
)

// perMapped is how many mappings a page lists.
const perMapped = 100

// maxLines is how many bytes the lists of mappings in a form may have.
const maxLines = 1 << 20

// repositoriesView lists the test repositories.
type repositoriesView struct {
	Name         string // by which they are filtered
	Repositories []suite.Repository
	Pager        page.Pager
	Teams        []string // for which one may be registered; "" is the installation's
}

// total returns where a page of a list stands that has so many entries.
func total(r *http.Request, n, per int) (page.Pager, error) {
	_, pager, err := page.Paged(r, make([]struct{}, n), per)
	return pager, err
}

func (u *Pages) repositoriesPage(w http.ResponseWriter, r *http.Request) error {
	q, err := page.Filters(r, "name")
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := repositoriesView{Name: strings.TrimSpace(q[0])}
	if v.Teams, err = u.teams(ctx); err != nil {
		return err
	}
	_, n, err := u.Suites.List(ctx, suite.Filter{Text: v.Name, Limit: 1})
	if err != nil {
		return err
	}
	if v.Pager, err = total(r, n, perPage); err != nil {
		return err
	}
	if v.Pager.From > 0 {
		if v.Repositories, _, err = u.Suites.List(ctx, suite.Filter{Text: v.Name, Limit: perPage, Skip: v.Pager.From - 1}); err != nil {
			return err
		}
	}
	return u.Render(w, r, http.StatusOK, "tests/repositories", page.Page{Title: "Test repositories", Section: section, Body: v})
}

// teams are those for which the person may keep test repositories.
func (u *Pages) teams(ctx context.Context) ([]string, error) {
	scope := auth.ScopeOf(ctx, auth.TestRepository)
	if !scope.All {
		return scope.Teams, nil
	}
	all, err := u.Auth.Teams(ctx)
	if err != nil {
		return nil, err
	}
	out := []string{""}
	for _, t := range all {
		out = append(out, t.Name)
	}
	return out, nil
}

func repositoryURL(id int64) string { return fmt.Sprintf("/tests/repository/%d", id) }

func (u *Pages) addRepository(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	field := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }
	made, err := u.Suites.Add(r.Context(), suite.NewRepository{
		Name: field("name"), URL: field("url"), Ref: field("ref"), Layout: suite.Layout{TestsDir: field("dir"), TestsPrefix: field("prefix")}, Team: field("team"),
	})
	if err != nil {
		return err
	}
	return page.Changed(w, r, repositoryURL(made.ID))
}

// repositoryView is a test repository with a page of what it maps.
type repositoryView struct {
	suite.Repository
	Search string
	Mapped []suite.Mapping
	Pager  page.Pager
	Scan   string // what the scan that was asked for came to
	Teams  []string
	Why    string // why the person can't change it
}

func (u *Pages) repositoryPage(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err != nil {
		return err
	}
	q, err := page.Filters(r, "search", "added", "removed")
	if err != nil {
		return err
	}
	ctx := r.Context()
	v := repositoryView{Search: strings.TrimSpace(q[0])}
	if v.Repository, err = u.Suites.Get(ctx, id); err != nil {
		return err
	}
	added, addedErr := strconv.Atoi(q[1])
	removed, removedErr := strconv.Atoi(q[2])
	if addedErr == nil && removedErr == nil {
		v.Scan = fmt.Sprintf("The scan found %d new and %d gone.", added, removed)
	}
	v.Why = page.WhyNot(auth.Can(ctx, auth.TestRepository, auth.Object{Team: v.Team}))
	if v.Teams, err = u.teams(ctx); err != nil {
		return err
	}
	_, n, err := u.Suites.Mapped(ctx, id, suite.Filter{Text: v.Search, Limit: 1})
	if err != nil {
		return err
	}
	if v.Pager, err = total(r, n, perMapped); err != nil {
		return err
	}
	if v.Pager.From > 0 {
		if v.Mapped, _, err = u.Suites.Mapped(ctx, id, suite.Filter{Text: v.Search, Limit: perMapped, Skip: v.Pager.From - 1}); err != nil {
			return err
		}
	}
	return u.Render(w, r, http.StatusOK, "tests/repository", page.Page{Title: "Test repository " + v.Name, Section: section, Body: v})
}

func (u *Pages) editRepository(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err == nil {
		err = page.Form(w, r)
	}
	if err != nil {
		return err
	}
	field := func(name string) *string {
		s := strings.TrimSpace(r.PostForm.Get(name))
		return &s
	}
	if _, err := u.Suites.Edit(r.Context(), id, suite.Change{
		Name: field("name"), URL: field("url"), Ref: field("ref"), TestsDir: field("dir"), TestsPrefix: field("prefix"), Team: field("team"),
	}); err != nil {
		return err
	}
	return page.Changed(w, r, repositoryURL(id))
}

func (u *Pages) scanRepository(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err != nil {
		return err
	}
	s, err := u.Suites.Scan(r.Context(), id)
	if err != nil {
		return err
	}
	if s.Failure != "" { // the page says so
		return page.Changed(w, r, repositoryURL(id))
	}
	http.Redirect(w, r, repositoryURL(id)+"?"+url.Values{"added": {strconv.Itoa(s.Added)}, "removed": {strconv.Itoa(s.Removed)}}.Encode(), http.StatusSeeOther)
	return nil
}

func (u *Pages) removeRepository(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err != nil {
		return err
	}
	if err := u.Suites.Remove(r.Context(), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/tests/repositories", http.StatusSeeOther)
	return nil
}

func (u *Pages) mapTests(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err == nil {
		err = page.LongForm(w, r, maxLines)
	}
	if err != nil {
		return err
	}
	all, err := mappings(r.PostForm.Get("mappings"))
	if err != nil {
		return err
	}
	if _, err := u.Suites.Map(r.Context(), id, all); err != nil {
		return err
	}
	return page.Changed(w, r, repositoryURL(id))
}

// mappings reads a line for each, of a package, or a pattern between slashes, and its
// folder. It is Invalid where a line has less or more, with the number of it.
func mappings(text string) ([]suite.Mapping, error) {
	var out []suite.Mapping
	n := 0
	for line := range strings.Lines(text) {
		n++
		f := strings.Fields(line)
		switch len(f) {
		case 0:
			continue
		case 2:
		default:
			return nil, albs.Errorf(albs.Invalid, "line %d: a package and its folder, with a space between, make a line", n)
		}
		m := suite.Mapping{Package: f[0], Folder: f[1]}
		if p := m.Package; len(p) > 2 && p[0] == '/' && p[len(p)-1] == '/' {
			m.Package, m.Pattern = p[1:len(p)-1], true
		}
		if err := m.Check(); err != nil {
			return nil, albs.Errorf(albs.Invalid, "line %d: %w", n, err)
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, albs.Errorf(albs.Invalid, "name packages and their folders, a line for each")
	}
	return out, nil
}

func (u *Pages) unmapTests(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "repository")
	if err == nil {
		err = page.LongForm(w, r, maxLines)
	}
	if err != nil {
		return err
	}
	var ids []int64
	for _, s := range r.PostForm["mapping"] {
		n, convErr := strconv.ParseInt(s, 10, 64)
		err = errors.Join(err, convErr)
		ids = append(ids, n)
	}
	if err != nil || len(ids) == 0 {
		return albs.Errorf(albs.Invalid, "choose the mappings to remove")
	}
	if _, err := u.Suites.Unmap(r.Context(), id, ids); err != nil {
		return err
	}
	return page.Changed(w, r, repositoryURL(id))
}
