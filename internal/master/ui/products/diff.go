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

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/product"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// diffURL is the address of what changed in a repository between two serials.
func diffURL(name, path string, from, to int64) string {
	q := url.Values{"from": {refOf(name, path, strconv.FormatInt(from, 10))}, "to": {refOf(name, path, strconv.FormatInt(to, 10))}}
	return "/diff?" + q.Encode()
}

// count is how many packages one thing became of.
type count struct {
	What  string
	Count int
}

func countsOf(all []history.Change) []count {
	n := map[string]int{}
	for _, c := range all {
		n[c.What]++
	}
	var out []count
	for _, what := range []string{history.Added, history.Removed, history.Upgraded, history.Downgraded, history.Replaced} {
		if n[what] > 0 {
			out = append(out, count{what, n[what]})
		}
	}
	return out
}

// diffView is what changed from one repository to another, or from one moment to another
// of one.
type diffView struct {
	From, To string // as they were asked for
	Search   string
	What     string // which changes alone; "" for all
	Diff     history.Diff
	Counts   []count
	All      int
	Rows     []history.Change
	Pager    page.Pager
}

// FilterURL is the page with only what one thing became of.
func (v diffView) FilterURL(what string) string {
	q := url.Values{"from": {v.From}, "to": {v.To}}
	if what != "" {
		q.Set("what", what)
	}
	return "/diff?" + q.Encode()
}

func (u *Pages) diffPage(w http.ResponseWriter, r *http.Request) error {
	v := diffView{From: r.URL.Query().Get("from"), To: r.URL.Query().Get("to")}
	q, err := page.Filters(r, "q", "what")
	if err != nil {
		return err
	}
	v.Search, v.What = q[0], q[1]
	if v.Diff, err = u.History.Diff(r.Context(), v.From, v.To); err != nil {
		return err
	}
	v.Counts, v.All = countsOf(v.Diff.Packages), len(v.Diff.Packages)
	want := strings.ToLower(v.Search)
	found := slices.DeleteFunc(slices.Clone(v.Diff.Packages), func(c history.Change) bool {
		return v.What != "" && c.What != v.What || !strings.Contains(strings.ToLower(c.Name), want)
	})
	if v.Rows, v.Pager, err = page.Paged(r, found, perTable); err != nil {
		return err
	}
	return u.Render(w, r, http.StatusOK, "products/diff", page.Page{Title: "What changed", Section: "products", Body: v})
}

// changesView is what changed in a whole product from one serial to another.
type changesView struct {
	Product      string
	From, To     repo.Tree // From has serial 0 for nothing
	Repositories []changed
	Same         int // repositories that did not change
}

// changed is a repository that is another in one tree than in another.
type changed struct {
	Path          string
	Before, After *history.Held // nil where it isn't there
	Counts        []count       // where it is in both
	Records       int           // metadata files that changed
}

func (u *Pages) changesPage(w http.ResponseWriter, r *http.Request) error {
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	to, err := serialOf(r, "to")
	if err != nil {
		return err
	}
	from, err := serialOf(r, "from")
	if err != nil {
		return err
	}
	v, err := u.changes(r.Context(), spec, from, to)
	if err != nil {
		return err
	}
	p := page.Page{Title: "What changed in " + spec.Name, Section: "products", Body: v}
	return u.Render(w, r, http.StatusOK, "products/changes", p)
}

// serialOf is a serial that a query names.
func serialOf(r *http.Request, name string) (int64, error) {
	s := r.URL.Query().Get(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, albs.Errorf(albs.Invalid, "%s=%s is no serial of a product: they begin with 1", name, words.Inert(words.Cut(s, 20)))
	}
	return n, nil
}

// changes compares two serials of a product. Of repositories whose snapshot is the same
// nothing is read.
func (u *Pages) changes(ctx context.Context, p product.Product, from, to int64) (changesView, error) {
	v := changesView{Product: p.Name}
	var was, is []history.Held
	var err error
	if v.To, is, err = u.History.Holdings(ctx, p.Name, to); err != nil {
		return v, err
	}
	if v.From, was, err = u.History.Holdings(ctx, p.Name, from); err != nil {
		return v, err
	}
	pairs := map[string]*changed{}
	of := func(path string) *changed {
		if pairs[path] == nil {
			pairs[path] = &changed{Path: path}
		}
		return pairs[path]
	}
	for i := range was {
		of(was[i].Path).Before = &was[i]
	}
	for i := range is {
		of(is[i].Path).After = &is[i]
	}
	for path, c := range pairs {
		if c.Before != nil && c.After != nil {
			if c.Before.Snapshot == c.After.Snapshot {
				v.Same++
				continue
			}
			d, err := u.History.Diff(ctx, refOf(p.Name, path, strconv.FormatInt(from, 10)), refOf(p.Name, path, strconv.FormatInt(to, 10)))
			if err != nil {
				return v, err
			}
			c.Counts, c.Records = countsOf(d.Packages), len(d.Records)
		}
		v.Repositories = append(v.Repositories, *c)
	}
	slices.SortFunc(v.Repositories, func(a, b changed) int { return cmp.Compare(a.Path, b.Path) })
	return v, nil
}

// rollbackView asks whether a product is to show an earlier serial again.
type rollbackView struct {
	changesView
	Reverted []serial // that would go with it
	More     bool     // and more than those
	Why      string   // why not; "" if it can be done
}

func (u *Pages) rollbackPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	to, err := serialOf(r, "to")
	if err != nil {
		return err
	}
	now, err := u.shown(ctx, spec.Name)
	if err != nil {
		return err
	}
	if to >= now.Serial {
		return albs.Errorf(albs.Conflict, "product %s shows serial %d: only an earlier one can be gone back to", spec.Name, now.Serial)
	}
	c, err := u.changes(ctx, spec, now.Serial, to)
	if err != nil {
		return err
	}
	v := rollbackView{changesView: c, Why: page.WhyNot(auth.Can(ctx, auth.ReleaseRollback, spec.Object()))}
	line, _, err := u.line(ctx, spec, 0)
	if err != nil {
		return err
	}
	for _, s := range line {
		if s.Serial > to {
			v.Reverted = append(v.Reverted, s)
		}
	}
	v.More = len(line) > 0 && line[len(line)-1].Serial > to
	return u.Render(w, r, http.StatusOK, "products/rollback", page.Page{Title: "Roll back " + spec.Name, Section: "products", Body: v})
}

// rollback has a product show an earlier serial again, and shows the release that does.
func (u *Pages) rollback(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	from, err := strconv.ParseInt(r.PostForm.Get("from"), 10, 64)
	to, bad := strconv.ParseInt(r.PostForm.Get("to"), 10, 64)
	if err = errors.Join(err, bad); err != nil {
		return albs.Errorf(albs.Invalid, "the form names the serial that is shown, and the one to go back to")
	}
	spec, err := u.productOf(r)
	if err != nil {
		return err
	}
	back, err := u.Releases.Rollback(r.Context(), spec.Name, from, to, strings.TrimSpace(r.PostForm.Get("reason")))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/release/"+back.ID.String(), http.StatusSeeOther)
	return nil
}
