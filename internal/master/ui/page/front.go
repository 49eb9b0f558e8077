package page

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face"
	"albs/internal/master/ui/words"
)

const (
	pageTime = 30 * time.Second // for a page to be made
	slowTime = 10 * time.Minute // for what may take long
	maxForm  = 16 << 10         // bytes of a form
	maxQuery = 4 << 10          // bytes of a query
)

// policy lets a page load what this program serves, and nothing else: no script
// or style that stands in the page, no frame, no other host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Handler answers a request, or returns an error for Fail to show.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Front is what every request passes first: what browsers are told about safety, no
// change by a page of another site, and who asks.
func (s *Server) Front(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(s.Serve(func(http.ResponseWriter, *http.Request) error {
		return albs.Errorf(albs.Forbidden, "a page of another site may not change anything here; open the page of this site and do it there")
	}))
	next = cross.Handler(s.identify(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r = face.Patient(w), face.Timely(w, r)
		h := w.Header()
		// A page that is thereby not stored is not kept alive behind the next one either,
		// where its event stream would hold a connection.
		face.Secure(h, policy, "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if zerolog.Ctx(r.Context()).GetLevel() == zerolog.Disabled {
			r = r.WithContext(s.Log.WithContext(r.Context()))
		}
		next.ServeHTTP(w, r)
	})
}

const cookie = "albs_session"

// CookieName returns the name of the session's cookie. Where pages are served by
// https only, the name has the prefix that keeps other hosts of the domain, and
// plain http, from setting it (RFC 6265bis).
func CookieName(https bool) string {
	if https {
		return "__Host-" + cookie
	}
	return cookie
}

// identify finds out who asks. A session that has ended makes its person an
// anonymous reader.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > maxQuery {
			s.Fail(w, r, albs.Errorf(albs.TooLarge, "the query has more than %d bytes", maxQuery))
			return
		}
		c, err := r.Cookie(CookieName(s.HTTPS))
		if err != nil || c.Value == "" {
			next.ServeHTTP(w, r)
			return
		}
		actor, err := s.Auth.Session(r.Context(), c.Value)
		switch {
		case errors.Is(err, albs.Unauthenticated):
			actor = auth.Anonymous
			s.SetCookie(w, "")
		case err != nil:
			s.Fail(w, r, err)
			return
		}
		ctx := auth.With(r.Context(), actor)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// sessionTime is how long a browser keeps the cookie; the session itself may end
// before.
const sessionTime = 12 * time.Hour

// SetCookie has the browser keep a session, or forget the one that it has.
func (s *Server) SetCookie(w http.ResponseWriter, session string) {
	c := &http.Cookie{
		Name: CookieName(s.HTTPS), Value: session, Path: "/", MaxAge: int(sessionTime.Seconds()),
		HttpOnly: true, Secure: s.HTTPS, SameSite: http.SameSiteLaxMode,
	}
	if session == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// Serve gives h its time and shows its error.
func (s *Server) Serve(h Handler) http.HandlerFunc { return s.within(pageTime, h) }

func (s *Server) within(limit time.Duration, h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		r = r.WithContext(ctx)
		if err := h(w, r); err != nil {
			s.Fail(w, r, err)
		}
	}
}

// ServeStream is Serve for answers that go on.
func (s *Server) ServeStream(h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.Fail(w, r, err)
		}
	}
}

// AsPerson lets h run for a signed-in person only.
func AsPerson(h Handler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if auth.From(r.Context()).Kind != auth.KindPerson {
			return albs.Errorf(albs.Unauthenticated, "that needs you to be signed in")
		}
		return h(w, r)
	}
}

// ErrorView is what the page of an error shows.
type ErrorView struct {
	Status  int
	Message string
	Login   bool // signing in may help
}

// Fail shows err: as a page, or, to a request for a fragment, as the message that
// goes to the top of the page that is there.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) {
	kind, err := face.Shown(r.Context(), err)
	status := face.Status(kind)
	face.Later(w.Header(), status)
	f := ErrorView{Status: status, Message: words.Inert(albs.UserMessage(err)), Login: kind == albs.Unauthenticated}
	title := http.StatusText(status)
	if kind == albs.Unauthenticated {
		title = "Sign in first"
	}
	if err := s.Render(w, r, status, "error", Page{Title: title, Body: f}); err != nil {
		zerolog.Ctx(r.Context()).Error().Err(err).Msg("page failed")
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// Number returns an id out of the path; one that can be none is of nothing.
func Number(r *http.Request, name string) (int64, error) {
	v := chi.URLParam(r, name)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != v {
		return 0, albs.Errorf(albs.NotFound, "there is no %s %s", name, words.Inert(words.Cut(v, 40)))
	}
	return n, nil
}

// Form reads a small form, of a person that may send one.
func Form(w http.ResponseWriter, r *http.Request) error { return LongForm(w, r, maxForm) }

// LongForm is Form for one of up to limit bytes.
func LongForm(w http.ResponseWriter, r *http.Request, limit int64) error {
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if err := r.ParseForm(); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return albs.Errorf(albs.TooLarge, "the form has more than %d bytes", limit)
		}
		return albs.Errorf(albs.Invalid, "the form can't be read")
	}
	return nil
}
