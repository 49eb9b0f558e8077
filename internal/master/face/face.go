// Package face is what the faces of the master have in common: how an error becomes
// a status, what every answer says to a browser about safety, how long a body and an
// answer may take, and event streams.
//
// It owns no route and no wording: what an answer looks like is api's and ui's. It
// holds no state but the count of open streams.
package face

import (
	"context"
	"errors"
	"net/http"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// Status is the one place where a kind of error becomes a status of HTTP.
func Status(k albs.Kind) int {
	switch k {
	case albs.Invalid:
		return http.StatusBadRequest
	case albs.Unauthenticated:
		return http.StatusUnauthorized
	case albs.Forbidden:
		return http.StatusForbidden
	case albs.NotFound:
		return http.StatusNotFound
	case albs.Conflict, albs.StaleLease, albs.Stopped:
		return http.StatusConflict
	case albs.TooLarge:
		return http.StatusRequestEntityTooLarge
	case albs.NoSpace:
		return http.StatusInsufficientStorage
	case albs.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// Later tells the asker when to ask again, if the status says that this may help.
func Later(h http.Header, status int) {
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		h.Set("Retry-After", "5")
	}
}

// Shown returns err as the asker may be told of it, by albs.UserMessage, and its
// kind. An Internal error is logged with ctx's logger; one that is the request's own
// time running out is Unavailable.
func Shown(ctx context.Context, err error) (albs.Kind, error) {
	kind := albs.KindOf(err)
	switch {
	case kind != albs.Internal:
	case errors.Is(err, context.DeadlineExceeded):
		return albs.Unavailable, albs.Errorf(albs.Unavailable, "that took too long; try again")
	case errors.Is(err, context.Canceled): // nobody reads the answer
	default:
		zerolog.Ctx(ctx).Error().Err(err).Msg("request failed")
	}
	return kind, err
}

// Secure sets the headers that every answer has, whatever it is: what a page made of
// it may load (a Content-Security-Policy) and tell other sites (a Referrer-Policy),
// that its type is not to be guessed, that no other site may embed it, and that it
// is not stored, for answers hang on who asks.
func Secure(h http.Header, policy, referrer string) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", referrer)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
