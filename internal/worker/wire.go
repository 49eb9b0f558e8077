package worker

import (
	"errors"
	"net/http"
	"regexp"
	"time"

	"albs/internal/albs"
)

// The wire, version 1. A token stands in the path, so that everything but the
// body is known before the body is read; {fence} and {task} are decimal.
//
//	POST /worker/v1/claim                                   Offer → 200 Lease | 204
//	POST /worker/v1/task/{task}/{fence}/renew               → 200 {"until"}
//	POST /worker/v1/task/{task}/{fence}/complete            {"outcome","result"} → 204
//	POST /worker/v1/task/{task}/{fence}/log/{stream}?offset=  bytes → 200 {"length"}
//	GET  /worker/v1/task/{task}/{fence}/blob/{digest}?offset=&length=  → 200 bytes
//	GET  /worker/v1/task/{task}/{fence}/upload/{digest}     → 200 {"length"}
//	PUT  /worker/v1/task/{task}/{fence}/upload/{digest}?offset=  bytes → 200 {"length"}
//
// JSON bodies are application/json, others application/octet-stream. An error is
// application/problem+json (RFC 9457) with the member "kind", an albs.Kind, and,
// from log and upload, "length". A blob that turns out bad while it is sent ends
// in a broken connection, never in a regular end.
const wirePrefix = "/worker/v1/"

const (
	jsonType  = "application/json"
	bytesType = "application/octet-stream"
)

const (
	maxOffer   = 64 << 10 // bytes of a claim's body
	maxAnswer  = 32 << 20 // bytes of a JSON answer; a lease carries evidence
	maxProblem = 64 << 10
)

type completion struct {
	Outcome albs.Outcome `json:"outcome"`
	Result  albs.Result  `json:"result"`
}

type renewal struct {
	Until time.Time `json:"until"`
}

type held struct {
	Length int64 `json:"length"`
}

type problem struct {
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Kind   albs.Kind `json:"kind"`
	Length *int64    `json:"length,omitempty"`
}

var kindStatus = map[albs.Kind]int{
	albs.Invalid:         http.StatusUnprocessableEntity,
	albs.NotFound:        http.StatusNotFound,
	albs.Conflict:        http.StatusConflict,
	albs.StaleLease:      http.StatusConflict,
	albs.Stopped:         http.StatusConflict,
	albs.Unauthenticated: http.StatusUnauthorized,
	albs.Forbidden:       http.StatusForbidden,
	albs.TooLarge:        http.StatusRequestEntityTooLarge,
	albs.NoSpace:         http.StatusInsufficientStorage,
	albs.Unavailable:     http.StatusServiceUnavailable,
	albs.Internal:        http.StatusInternalServerError,
}

var streamForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// ValidStream returns an Invalid error unless s may name a log stream: a lower-case
// letter or digit and up to 63 of these and ._- after it.
func ValidStream(s string) error {
	if !streamForm.MatchString(s) {
		return albs.Errorf(albs.Invalid, "%.80q is not a name for a log stream (lower-case letters, digits and ._-)", s)
	}
	return nil
}

var outcomes = map[albs.Outcome]bool{
	albs.OutcomeOK: true, albs.OutcomeFailed: true, albs.OutcomeExcluded: true, albs.OutcomeInfra: true, albs.OutcomeLost: true, albs.OutcomeStopped: true,
}

// kindOfBody returns the kind of an error that reading a bounded body gave.
func kindOfBody(err error) error {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return albs.Errorf(albs.TooLarge, "the body has more than the %d bytes that are taken", tooLong.Limit)
	}
	return err
}
