package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/ui/page"
)

type loginView struct {
	Next    string
	Message string
}

func (u *UI) loginPage(w http.ResponseWriter, r *http.Request) error {
	v := loginView{Next: local(r.URL.Query().Get("next"))}
	return u.Render(w, r, http.StatusOK, "login", page.Page{Title: "Sign in", Body: v})
}

// login takes a person's token for a session. The token itself is not kept, by
// the browser neither.
func (u *UI) login(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	next := local(r.PostForm.Get("next"))
	session, err := u.Auth.Login(r.Context(), strings.TrimSpace(r.PostForm.Get("token")))
	if errors.Is(err, albs.Unauthenticated) {
		v := loginView{Next: next, Message: albs.UserMessage(err)}
		return u.Render(w, r, http.StatusUnauthorized, "login", page.Page{Title: "Sign in", Body: v})
	}
	if err != nil {
		return err
	}
	u.SetCookie(w, session)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (u *UI) logout(w http.ResponseWriter, r *http.Request) error {
	c, err := r.Cookie(page.CookieName(u.HTTPS))
	if err == nil {
		if err := u.Auth.Logout(r.Context(), c.Value); err != nil {
			return err
		}
	}
	u.SetCookie(w, "")
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// local returns where to go next after signing in: a path of this site, or the
// first page.
func local(s string) string {
	v, err := url.Parse(s)
	if err != nil || v.IsAbs() || v.Host != "" || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
		return "/"
	}
	return s
}
