// Package notices has the pages of who is told what happens: subscriptions, how one is
// made and changed, and what became of what was sent.
package notices

import (
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/master/auth"
	"albs/internal/master/notice"
	"albs/internal/master/ui/page"
)

// Pages answers for subscriptions. It may be used concurrently.
type Pages struct {
	*page.Server
	Notices *notice.Notices
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "notices", Functions: template.FuncMap{
		"standing": func(s notice.Subscription) string {
			switch {
			case s.Stopped != "":
				return "stopped"
			case !s.Paused.IsZero():
				return "paused"
			}
			return "active"
		},
		"kinds":    func(kinds []notice.Kind) string { return spaced(kinds) },
		"has":      func(kinds []notice.Kind, k notice.Kind) bool { return slices.Contains(kinds, k) },
		"allKinds": notice.Kinds,
	}}
}

func spaced[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, " ")
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/notices", u.list)
	u.Post(r, "/notices/add", u.add)
	u.Get(r, "/notice/{id}", u.show)
	u.Post(r, "/notice/{id}/edit", u.edit)
	u.Post(r, "/notice/{id}/start", u.turn(true))
	u.Post(r, "/notice/{id}/stop", u.turn(false))
	u.Post(r, "/notice/{id}/test", u.test)
	u.Post(r, "/notice/{id}/remove", u.remove)
	u.Post(r, "/notice/{id}/retry/{delivery}", u.retry)
}

type listView struct {
	Subscriptions []notice.Subscription
	Teams         []string // for which one may be made; "" is the installation's
	Severities    []string
}

// severities are those from which one may want to be told, the worst first.
var severities = []string{"critical", "important", "moderate", "low"}

func (u *Pages) list(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	all, err := u.Notices.List(ctx)
	if err != nil {
		return err
	}
	v := listView{Subscriptions: all, Severities: severities}
	scope := auth.ScopeOf(ctx, auth.NoticeManage)
	if v.Teams = scope.Teams; scope.All {
		teams, err := u.Auth.Teams(ctx)
		if err != nil {
			return err
		}
		v.Teams = []string{""}
		for _, t := range teams {
			v.Teams = append(v.Teams, t.Name)
		}
	}
	return u.Render(w, r, http.StatusOK, "notices/notices", page.Page{Title: "Notices", Section: "notices", Body: v})
}

// filterOf reads what a form wants to be told of. Names have commas or spaces between.
func filterOf(r *http.Request) notice.Filter {
	f := notice.Filter{Severity: r.PostForm.Get("severity")}
	for _, k := range r.PostForm["kind"] {
		f.Kinds = append(f.Kinds, notice.Kind(k))
	}
	names := func(field string) []string {
		return strings.FieldsFunc(r.PostForm.Get(field), func(c rune) bool { return c == ',' || c == ' ' })
	}
	f.Platforms, f.Products = names("platforms"), names("products")
	return f
}

type madeView struct {
	notice.Subscription
	Key string
}

// add makes a subscription. A webhook's key stands on the page that answers, and on no
// other.
func (u *Pages) add(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	f := r.PostForm
	s, key, err := u.Notices.Subscribe(r.Context(), notice.NewSubscription{
		Team: f.Get("team"), Channel: notice.Channel(f.Get("channel")), Target: strings.TrimSpace(f.Get("target")), Note: strings.TrimSpace(f.Get("note")), Filter: filterOf(r),
	})
	if err != nil {
		return err
	}
	if key == "" {
		return page.Changed(w, r, fmt.Sprintf("/notice/%d", s.ID))
	}
	return u.Render(w, r, http.StatusOK, "notices/made", page.Page{Title: "The key of a webhook", Section: "notices", Body: madeView{s, key}})
}

type showView struct {
	notice.Subscription
	Deliveries  []notice.Delivery
	Severities  []string
	Next, First string // pages of the list
}

func (u *Pages) show(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "id")
	if err != nil {
		return err
	}
	before, err := page.Before(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	s, err := u.Notices.Get(ctx, id)
	if err != nil {
		return err
	}
	v := showView{Subscription: s, Severities: severities}
	if v.Deliveries, err = u.Notices.Deliveries(ctx, id, before); err != nil {
		return err
	}
	if n := len(v.Deliveries); n == notice.MaxPage {
		v.Next = fmt.Sprintf("/notice/%d?before=%d", id, v.Deliveries[n-1].ID)
	}
	if before != 0 {
		v.First = fmt.Sprintf("/notice/%d", id)
	}
	return u.Render(w, r, http.StatusOK, "notices/notice", page.Page{Title: fmt.Sprintf("Subscription %d", id), Section: "notices", Body: v})
}

// change edits a subscription and shows it again.
func (u *Pages) change(w http.ResponseWriter, r *http.Request, c notice.Change) error {
	id, err := page.Number(r, "id")
	if err != nil {
		return err
	}
	if _, err := u.Notices.Edit(r.Context(), id, c); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/notice/%d", id))
}

func (u *Pages) edit(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	f, note, target := filterOf(r), strings.TrimSpace(r.PostForm.Get("note")), strings.TrimSpace(r.PostForm.Get("target"))
	return u.change(w, r, notice.Change{Filter: &f, Note: &note, Target: &target})
}

func (u *Pages) turn(on bool) page.Handler {
	return func(w http.ResponseWriter, r *http.Request) error { return u.change(w, r, notice.Change{Active: &on}) }
}

func (u *Pages) test(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "id")
	if err != nil {
		return err
	}
	if _, err := u.Notices.Test(r.Context(), id); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/notice/%d", id))
}

func (u *Pages) remove(w http.ResponseWriter, r *http.Request) error {
	id, err := page.Number(r, "id")
	if err != nil {
		return err
	}
	if err := u.Notices.Remove(r.Context(), id); err != nil {
		return err
	}
	return page.Changed(w, r, "/notices")
}

func (u *Pages) retry(w http.ResponseWriter, r *http.Request) error {
	delivery, err := page.Number(r, "delivery")
	if err != nil {
		return err
	}
	d, err := u.Notices.Retry(r.Context(), delivery)
	if err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/notice/%d", d.Subscription))
}
