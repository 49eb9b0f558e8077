// Package api is the master's face to programs: /api/v1 for people's clients,
// with ALBS's paths, fields and numeric statuses where ALBS has the resource, and
// /worker/v1 for workers.
//
// It owns no rule and no row: it authenticates, bounds and decodes requests, asks
// the modules and spells their answers. What holds:
//
//   - Every route stands in the table of policy.go and in the OpenAPI document;
//     one that doesn't cannot be registered.
//   - Nothing of a body is read before the request's actor may use the route. The
//     modules ask again, about the very object.
//   - An error's kind decides its status in face.Status and nowhere else; bodies of
//     errors are RFC 9457 problems, and an Internal error's text stays in the log.
//   - What a request asks for and albs cannot do is refused, never dropped.
package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/event"
	"albs/internal/master/face"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/worker"
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

// Parts are the modules that the interface speaks for. All are required.
type Parts struct {
	Auth       *auth.Auth
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	Products   *product.Products
	Builds     *build.Builds
	Tests      *testrun.Tests
	Signs      *sign.Signing
	Releases   *release.Releases
	// Trust returns the trust document as JSON (attest.Trust): what a stranger
	// needs to verify this master's packages.
	Trust func(ctx context.Context) ([]byte, error)
	Log   zerolog.Logger
}

// Server answers everything under /api/v1/ and /worker/v1/. It is an
// http.Handler and expects whole paths.
type Server struct {
	Parts
	config  Config
	router  *chi.Mux
	huma    huma.API
	used    map[string]bool // routes that were registered, by policy.key
	doc     []byte          // the OpenAPI document
	streams *face.Streams
	handler http.Handler
}

// New returns the interface of a master. It does no I/O. It panics if its own
// routes and their policies don't agree, which a test rules out.
func New(p Parts, c Config) *Server {
	if c.Streams <= 0 {
		c.Streams = 2000
	}
	if c.StreamsPerClient <= 0 {
		c.StreamsPerClient = 32
	}
	s := &Server{
		Parts: p, config: c, router: chi.NewRouter(), used: make(map[string]bool),
		streams: face.NewStreams(c.Streams, c.StreamsPerClient, 0),
	}
	s.huma = huma.NewAPI(documentConfig(c.Version), adapter{s})
	s.routeBuilds()
	s.routeTasks()
	s.routeLogs()
	s.routeTests()
	s.routeUploads()
	s.routePlatforms()
	s.routeProducts()
	s.routeKeys()
	s.routeSignTasks()
	s.routeReleases()
	s.routeArtifacts()
	s.routeUsers()
	s.routeTokens()
	s.routeWorkers()
	s.routeEvents()
	s.routeWire(worker.NewHandler(p.Queue, wireActor, p.Log))
	s.routeDocument()
	for _, p := range policies {
		if !s.used[p.key()] {
			panic("api: no route has the policy of " + p.key())
		}
	}
	s.router.NotFound(s.missing)
	s.router.MethodNotAllowed(s.missing)
	s.handler = s.front(http.HandlerFunc(s.dispatch))
	return s
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
	p := s.problem(r.Context(), albs.Errorf(albs.NotFound, "there is no %s %.200s; %s lists all there is", r.Method, r.URL.Path, documentPath))
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
	}
	p.write(w)
}

// route registers h under the policy of its method and path; there has to be one.
func (s *Server) route(method, path string, h http.HandlerFunc) {
	p, ok := policyOf(method, path)
	if !ok || s.used[p.key()] {
		panic(fmt.Sprintf("api: %s %s has no policy, or is registered twice", method, path))
	}
	if p.need == open && method != http.MethodGet {
		panic(fmt.Sprintf("api: %s %s changes something and is open to all", method, path))
	}
	s.used[p.key()] = true
	s.router.MethodFunc(method, path, s.guard(p, h))
}

// handle registers an operation whose request and answer huma decodes, encodes,
// validates and documents. in is what the types say; an error of any kind is
// answered as a problem.
func handle[I, O any](s *Server, op huma.Operation, f func(ctx context.Context, in *I) (*O, error)) {
	s.describe(&op)
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// raw registers an operation that reads and writes by itself; op documents it.
func (s *Server) raw(op huma.Operation, h http.HandlerFunc) {
	s.describe(&op)
	s.huma.OpenAPI().AddOperation(&op)
	s.route(op.Method, op.Path, h)
}

// patience bounds a request that neither streams nor uploads.
const patience = time.Minute

// slow is the patience of operations that ask outside servers.
const slow = 10 * time.Minute
