// Package rest is the machinery of the interface for programs: it finds out who asks,
// bounds and decodes what is asked, and spells answers, problems, pages, streams and
// the OpenAPI document. What the resources are is for the packages above it to say:
// they register operations with Handle, and with Raw what reads and writes by itself.
//
// It owns no resource and knows no module but auth. What holds:
//
//   - An operation without a policy cannot be registered, nor can one stay out of the
//     document, and a policy without an operation keeps the server from starting.
//   - Nothing of a body is read before the request's actor may use the route.
//   - An error's kind decides its status in face.Status and nowhere else; bodies of
//     errors are RFC 9457 problems, and an Internal error's text stays in the log.
//   - Every answer and every body has its time; only a stream and a download may take
//     longer, as long as the other side moves.
package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face"
)

// Config holds what an operator may set.
type Config struct {
	// Streams is how many event streams are open at once; 2000 if 0.
	Streams int `yaml:"streams"`
	// StreamsPerClient is the same for one person, worker or address; 32 if 0.
	StreamsPerClient int `yaml:"streams_per_client"`
	// Cookie is the name of the cookie that holds a session of the pages; with an
	// empty one no cookie counts.
	Cookie string `yaml:"-"`
	// Version is the program's, for the OpenAPI document.
	Version string `yaml:"-"`
}

// Server answers the operations that are registered with it, and every other path
// with a problem. It is an http.Handler and expects whole paths.
type Server struct {
	auth     *auth.Auth
	log      zerolog.Logger
	config   Config
	policies []Policy
	router   *chi.Mux
	huma     huma.API
	used     map[string]bool // routes that were registered, by Policy.Key
	doc      []byte          // the OpenAPI document
	streams  *face.Streams
	handler  http.Handler
}

// New returns a server for the operations that policies admit, without any yet. It
// does no I/O. Seal has to be called once all are registered.
func New(a *auth.Auth, policies []Policy, c Config, log zerolog.Logger) *Server {
	if c.Streams <= 0 {
		c.Streams = 2000
	}
	if c.StreamsPerClient <= 0 {
		c.StreamsPerClient = 32
	}
	s := &Server{
		auth: a, log: log, config: c, policies: policies, router: chi.NewRouter(), used: make(map[string]bool),
		streams: face.NewStreams(c.Streams, c.StreamsPerClient, 0),
	}
	s.huma = huma.NewAPI(documentConfig(c.Version), adapter{s})
	s.router.NotFound(s.missing)
	s.router.MethodNotAllowed(s.missing)
	s.handler = s.front(http.HandlerFunc(s.dispatch))
	return s
}

// Seal registers the OpenAPI document of all that was registered before it. It panics
// if a policy has no operation.
func (s *Server) Seal() {
	s.routeDocument()
	for _, p := range s.policies {
		if !s.used[p.Key()] {
			panic("rest: no operation has the policy of " + p.Key())
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// dispatch finds the route. ALBS's clients write some paths with and some without
// the slash at the end, so either is taken; and HEAD is GET without the body.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	rctx := chi.NewRouteContext() // also if a router above has left one
	rctx.RouteMethod = r.Method
	if r.Method == http.MethodHead {
		rctx.RouteMethod = http.MethodGet
	}
	path := r.URL.Path
	if !s.router.Match(chi.NewRouteContext(), rctx.RouteMethod, path) {
		other := path + "/"
		if strings.HasSuffix(path, "/") {
			other = strings.TrimRight(path, "/")
		}
		if s.router.Match(chi.NewRouteContext(), rctx.RouteMethod, other) {
			path = other
		}
	}
	rctx.RoutePath = path
	r = r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, rctx))
	u := *r.URL
	u.RawPath = "" // or huma would decode parameters once more
	r.URL = &u
	s.router.ServeHTTP(w, r)
}

// missing answers for paths and methods that have no route.
func (s *Server) missing(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if s.router.Match(chi.NewRouteContext(), m, r.URL.Path) {
			allow = append(allow, m)
		}
	}
	p := s.problem(r.Context(), albs.Errorf(albs.NotFound, "there is no %s %.200s; %s lists all there is", r.Method, r.URL.Path, DocumentPath))
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	}
	p.write(w)
}

// route registers h under the policy of its method and path; there has to be one.
func (s *Server) route(method, path string, h http.HandlerFunc) {
	p, ok := s.policyOf(method, path)
	if !ok || s.used[p.Key()] {
		panic(fmt.Sprintf("rest: %s %s has no policy, or is registered twice", method, path))
	}
	if p.Need == Open && method != http.MethodGet {
		panic(fmt.Sprintf("rest: %s %s changes something and is open to all", method, path))
	}
	s.used[p.Key()] = true
	s.router.MethodFunc(method, path, s.guard(p, h))
}

// Handle registers an operation whose request and answer huma decodes, encodes,
// validates and documents. in is what the types say; an error of any kind is
// answered as a problem. It panics if the operation has no policy or is registered
// already, as every mistake of a program's own routes does.
func Handle[I, O any](s *Server, op huma.Operation, f func(ctx context.Context, in *I) (*O, error)) {
	s.describe(&op)
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// Raw registers an operation that reads and writes by itself; op documents it. Like
// Handle, it panics if the operation has no policy.
func (s *Server) Raw(op huma.Operation, h http.HandlerFunc) {
	s.describe(&op)
	s.huma.OpenAPI().AddOperation(&op)
	s.route(op.Method, op.Path, h)
}
