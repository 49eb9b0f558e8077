package products

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/record"
	"albs/internal/master/repo/history"
	"albs/internal/master/ui/page"
	"albs/internal/repodata"
	recordfile "albs/internal/repodata/record"
)

// perTable is how many packages a page of a repository, or of what changed, lists.
const perTable = 100

// repositoryView is what a repository held at a moment.
type repositoryView struct {
	Product string
	Path    string
	At      string // the moment that was asked for; "" for now
	Search  string
	Shown   history.Shown // with serial 0 if the product has it and doesn't show it yet
	Current bool          // it is what readers see
	Bytes   int64
	Rows    []repodata.Entry
	Pager   page.Pager
	Line    []serial
	Older   string
	Wanted  *product.Repository // nil if the product has it no more
	Given   []record.Given
	Types   []string // of records that may be given
	Why     string   // why the person may not give records; "" if it can be done
	Ref     string   // of the repository at this serial, for the command line
}

// repoURL is the address of a repository's page at a serial, 0 for now.
func repoURL(name, path string, serial int64) string {
	u := url.URL{Path: "/repo/" + name + "/" + path}
	if serial > 0 {
		u.RawQuery = "at=" + strconv.FormatInt(serial, 10)
	}
	return u.String()
}

// refOf names a repository as history and the command line do.
func refOf(name, path, at string) string {
	if at != "" {
		at = "@" + at
	}
	return name + "/" + path + at
}

func (u *Pages) repositoryPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := page.Filters(r, "at", "q")
	if err != nil {
		return err
	}
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	v := repositoryView{Product: spec.Name, Path: strings.TrimSuffix(chi.URLParam(r, "*"), "/"), At: q[0], Search: q[1]}
	p := page.Page{Title: "Repository " + refOf(v.Product, v.Path, v.At), Section: "products"}
	if v.At == "" { // what was shown then changes no more
		if p, err = u.Follow(ctx, p, Follow(spec.Name)); err != nil {
			return err
		}
	}
	v.Shown, err = u.History.Show(ctx, refOf(v.Product, v.Path, v.At))
	wanted := slices.ContainsFunc(spec.Repositories, func(r product.Repository) bool { return r.Path == v.Path })
	if errors.Is(err, albs.NotFound) && v.At == "" && wanted {
		err = nil // it is to be, and may be given records
	}
	if err != nil {
		return err
	}
	v.Ref = refOf(v.Product, v.Path, strconv.FormatInt(v.Shown.Serial, 10))
	found := v.Shown.Packages
	want := strings.ToLower(v.Search)
	for _, e := range found {
		v.Bytes += e.Size
	}
	if want != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(e repodata.Entry) bool {
			return !strings.Contains(strings.ToLower(e.NEVRA.String()), want)
		})
	}
	slices.SortStableFunc(found, func(a, b repodata.Entry) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	if v.Rows, v.Pager, err = page.Paged(r, found, perTable); err != nil {
		return err
	}
	if v.Line, v.Older, err = u.momentsOf(r, spec, v.Path, before); err != nil {
		return err
	}
	for _, s := range v.Line {
		v.Current = v.Current || s.Current && s.Serial == v.Shown.Serial
	}
	if err := u.recordsOf(ctx, spec, &v); err != nil {
		return err
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "products/repository", p)
}

// momentsOf is the line of a repository's history: the product's serials, and which of
// them changed it.
func (u *Pages) momentsOf(r *http.Request, p product.Product, path string, before int64) (line []serial, older string, err error) {
	moments, err := u.History.Moments(r.Context(), p.Name, path, before, perLine+1)
	if err != nil {
		return nil, "", err
	}
	for i, m := range moments {
		s := serial{Tree: m.Tree, Changed: m.Changed}
		if i+1 < len(moments) {
			s.Before = moments[i+1].Serial
		}
		line = append(line, s)
	}
	if len(line) > perLine {
		line = line[:perLine]
		older = page.With(r.URL, "before", strconv.FormatInt(line[perLine-1].Serial, 10))
	}
	return line, older, nil
}

// recordsOf tells which metadata files the repository was given, and whether the person
// who asks may give it some.
func (u *Pages) recordsOf(ctx context.Context, p product.Product, v *repositoryView) error {
	i := slices.IndexFunc(p.Repositories, func(r product.Repository) bool { return r.Path == v.Path })
	if i < 0 {
		return nil
	}
	v.Wanted, v.Types = &p.Repositories[i], recordfile.Types()
	v.Why = page.WhyNot(auth.Can(ctx, auth.ReleasePlan, p.Object()))
	given, err := u.Records.Of(ctx, p.Name)
	if err != nil {
		return err
	}
	v.Given = slices.DeleteFunc(given, func(g record.Given) bool { return g.Path != v.Path })
	return nil
}
