package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/face"
)

const problemType = "application/problem+json"

// maxFaults bounds how many faults of one request a problem lists.
const maxFaults = 20

// Problem is the body of every error, by RFC 9457. ALBS's clients read detail.
type Problem struct {
	Type    string    `json:"type" example:"about:blank"`
	Title   string    `json:"title" doc:"The status in words"`
	Status  int       `json:"status"`
	Detail  string    `json:"detail" doc:"What happened and what to do, for people"`
	Kind    albs.Kind `json:"kind" doc:"The sort of error, for programs"`
	Request string    `json:"request_id,omitempty" doc:"Names the request in the server's log"`
	Errors  []Fault   `json:"errors,omitempty" doc:"The parts of the request that are wrong"`
}

// Fault is one wrong part of a request.
type Fault struct {
	Location string `json:"location,omitempty" doc:"Where, as body.tasks[0].url"`
	Message  string `json:"message"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	face.Later(h, p.Status)
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="albs"`)
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

func (p *Problem) write(w http.ResponseWriter) {
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{}`) // it has nothing that could fail
	}
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", problemType)
	w.Header().Del("Content-Length")
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the client is gone
}

// problem returns err as the client may see it. Only an Internal one is logged.
func (s *Server) problem(ctx context.Context, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = albs.Errorf(albs.TooLarge, "the body is larger than this route takes")
	}
	kind, err := face.Shown(ctx, err)
	status := face.Status(kind)
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: albs.UserMessage(err), Kind: kind, Request: requestID(ctx),
	}
}

// Fail answers with err as a problem.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) {
	s.problem(r.Context(), err).write(w)
}

// faults turns huma's own errors, which are of requests that don't fit the
// OpenAPI document, into problems.
func faults(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{Type: "about:blank", Title: http.StatusText(m.Status), Status: m.Status, Detail: m.Detail, Kind: albs.Invalid, Request: requestID(ctx.Context())}
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		p.Kind = albs.TooLarge
	case m.Status >= 500:
		p.Kind = albs.Internal
	}
	var first []string
	for _, e := range m.Errors[:min(len(m.Errors), maxFaults)] {
		if e == nil {
			continue
		}
		p.Errors = append(p.Errors, Fault{Location: e.Location, Message: e.Message}) // never e.Value: it may be a secret
		if len(first) < 3 {
			first = append(first, strings.TrimSpace(e.Location+" "+e.Message))
		}
	}
	if len(first) > 0 {
		p.Detail += ": " + strings.Join(first, "; ")
	}
	return p, nil
}
