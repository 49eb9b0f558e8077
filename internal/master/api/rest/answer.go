package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"albs/internal/albs"
)

// PerPage is how many things a numbered page has, as in ALBS.
const PerPage = 10

// Body is an answer that is JSON and nothing else.
type Body[T any] struct{ Body T }

// Answer returns v as an answer.
func Answer[T any](v T) *Body[T] { return &Body[T]{v} }

// NameView is how ALBS points to a thing that has a name.
type NameView struct {
	Name string `json:"name"`
}

// OwnerView is how ALBS points to a person.
type OwnerView struct {
	ID       albs.UserID `json:"id"`
	Username string      `json:"username"`
	Email    string      `json:"email" doc:"Always empty: accounts have no addresses"`
}

// TimeOf is a time for JSON, where the zero time is null.
func TimeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// WriteJSON is the answer of an operation that encodes by itself.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// NotSupported refuses a field of ALBS that albs cannot serve: what is asked for is
// done or refused, never dropped.
func NotSupported(field string) error {
	return albs.Errorf(albs.Invalid, "%s isn't supported yet; leave it out", field)
}

// Empty reports whether v, a field of ALBS that albs cannot serve, asks for nothing.
func Empty(v json.RawMessage) bool {
	switch strings.Join(strings.Fields(string(v)), "") {
	case "", "null", "false", "[]", "{}", `""`:
		return true
	}
	return false
}
