package client

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"

	"albs/internal/albs"
)

// problem is an RFC 9457 body as the API writes it: huma's members and "kind".
type problem struct {
	Title  string    `json:"title"`
	Detail string    `json:"detail"`
	Kind   albs.Kind `json:"kind"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// statusKind is the kind of an answer that doesn't tell one.
var statusKind = map[int]albs.Kind{
	http.StatusBadRequest:            albs.Invalid,
	http.StatusUnauthorized:          albs.Unauthenticated,
	http.StatusForbidden:             albs.Forbidden,
	http.StatusNotFound:              albs.NotFound,
	http.StatusMethodNotAllowed:      albs.Invalid,
	http.StatusConflict:              albs.Conflict,
	http.StatusRequestEntityTooLarge: albs.TooLarge,
	http.StatusUnsupportedMediaType:  albs.Invalid,
	http.StatusUnprocessableEntity:   albs.Invalid,
	http.StatusInsufficientStorage:   albs.NoSpace,
	http.StatusTooManyRequests:       albs.Unavailable,
	http.StatusBadGateway:            albs.Unavailable,
	http.StatusServiceUnavailable:    albs.Unavailable,
	http.StatusGatewayTimeout:        albs.Unavailable,
}

// readProblem returns the error that a status other than success stands for, with
// the server's words where it gave some.
func readProblem(resp *http.Response) error {
	var p problem
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "application/problem+json" || media == "application/json" {
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
		if err != nil {
			return albs.Errorf(albs.Unavailable, "read the server's answer: %w", err)
		}
		if err := json.Unmarshal(b, &p); err != nil {
			p = problem{}
		}
	}
	if p.Detail == "" && p.Title == "" {
		kind, ok := statusKind[resp.StatusCode]
		if !ok {
			kind = albs.Internal
		}
		return albs.Errorf(kind, "%w", &Stranger{Host: resp.Request.URL.Host, Said: resp.Status})
	}
	if !known(p.Kind) {
		p.Kind = statusKind[resp.StatusCode]
	}
	if p.Kind == "" {
		p.Kind = albs.Internal
	}
	msg := p.Detail
	if msg == "" {
		msg = p.Title
	}
	var more []string
	for _, e := range p.Errors {
		if e.Message == "" || strings.Contains(msg, e.Message) {
			continue
		}
		if e.Location != "" {
			e.Message = e.Location + ": " + e.Message
		}
		more = append(more, e.Message)
	}
	if len(more) > 0 {
		msg += " (" + strings.Join(more, "; ") + ")"
	}
	return albs.Errorf(p.Kind, "%s", msg)
}

func known(k albs.Kind) bool {
	switch k {
	case albs.Invalid, albs.NotFound, albs.Conflict, albs.StaleLease, albs.Stopped, albs.Unauthenticated, albs.Forbidden,
		albs.TooLarge, albs.NoSpace, albs.Unavailable, albs.Internal:
		return true
	}
	return false
}
