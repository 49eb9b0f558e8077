package ui

import (
	"errors"
	"net/http"
	"strings"

	"albs/internal/albs"
)

type loginView struct {
	Next    string
	Message string
}

func (u *UI) loginPage(w http.ResponseWriter, r *http.Request) error {
	v := loginView{Next: local(r.URL.Query().Get("next"))}
	return u.render(w, r, http.StatusOK, "login", page{Title: "Sign in", Body: v})
}

// login takes a person's token for a session. The token itself is not kept, by
// the browser neither.
func (u *UI) login(w http.ResponseWriter, r *http.Request) error {
	if err := form(w, r); err != nil {
		return err
	}
	next := local(r.PostForm.Get("next"))
	session, err := u.Auth.Login(r.Context(), strings.TrimSpace(r.PostForm.Get("token")))
	if errors.Is(err, albs.Unauthenticated) {
		v := loginView{Next: next, Message: albs.UserMessage(err)}
		return u.render(w, r, http.StatusUnauthorized, "login", page{Title: "Sign in", Body: v})
	}
	if err != nil {
		return err
	}
	u.setCookie(w, session)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (u *UI) logout(w http.ResponseWriter, r *http.Request) error {
	c, err := r.Cookie(CookieName(u.HTTPS))
	if err == nil {
		if err := u.Auth.Logout(r.Context(), c.Value); err != nil {
			return err
		}
	}
	u.setCookie(w, "")
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
