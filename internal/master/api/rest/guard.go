package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face"
)

const maxQuery = 8 << 10 // bytes of a query

type requestKey struct{}

// requestID returns the id under which the log has the request; "" outside one.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// front is what every request passes first, whatever its path.
func (s *Server) front(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Fail(w, r, albs.Errorf(albs.Forbidden, "a page of another origin may not change anything here"))
	}))
	next = cross.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r = face.Patient(w), face.Timely(w, r)
		h := w.Header()
		face.Secure(h, "default-src 'none'; frame-ancestors 'none'; sandbox", "no-referrer")

		var b [8]byte
		rand.Read(b[:]) // never fails
		id := hex.EncodeToString(b[:])
		h.Set("X-Request-Id", id)
		log := s.log.With().Str("request_id", id).Str("method", r.Method).Str("path", r.URL.Path).Logger()
		r = r.WithContext(log.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
		if len(r.URL.RawQuery) > maxQuery {
			s.Fail(w, r, albs.Errorf(albs.TooLarge, "the query has more than %d bytes", maxQuery))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets a request through to h once its actor is known and may use the
// route. Until then nothing of the body is read.
func (s *Server) guard(p Policy, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		actor, err := s.authenticate(r)
		if err != nil {
			s.turnAway(w, r, err)
			return
		}
		ctx := auth.With(r.Context(), actor)
		zerolog.Ctx(ctx).UpdateContext(func(c zerolog.Context) zerolog.Context { return c.Stringer("actor", actor) })
		r = r.WithContext(ctx)
		if err := p.admit(ctx); err != nil {
			s.turnAway(w, r, err)
			return
		}
		h(w, r)
	}
}

// turnAway refuses a request whose body is still to come. net/http would wait for
// that before it answers, unless the connection is to be closed.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	s.Fail(w, r, err)
}

// authenticate returns whose token the request bears. A page's cookie counts for
// reading only, and only if the page is of this origin; nothing can thus be
// changed by a request that another page makes the browser send.
func (s *Server) authenticate(r *http.Request) (auth.Actor, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
			return auth.Actor{}, albs.Errorf(albs.Unauthenticated, "the Authorization header has to be \"Bearer\" and a token")
		}
		return s.auth.Authenticate(r.Context(), strings.TrimSpace(token))
	}
	if s.config.Cookie == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return auth.Anonymous, nil
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return auth.Anonymous, nil
	}
	c, err := r.Cookie(s.config.Cookie)
	if err != nil || c.Value == "" {
		return auth.Anonymous, nil
	}
	actor, err := s.auth.Session(r.Context(), c.Value)
	if albs.KindOf(err) == albs.Unauthenticated {
		return auth.Anonymous, nil // an ended session reads what everybody may
	}
	return actor, err
}
