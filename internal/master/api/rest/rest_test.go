package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face"
	"albs/internal/master/face/facetest"
)

var some = []Policy{
	{Get, "/api/v1/things/", Open},
	{Post, "/api/v1/things/", auth.BuildCreate},
	{Get, "/api/v1/things/{thing}/raw", Open},
	{Get, DocumentPath, Open},
}

func nothing(context.Context, *struct{}) (*Body[string], error) { return Answer("a thing"), nil }

// things returns a server with an operation for each policy but the document's.
func things(policies []Policy) *Server {
	s := New(nil, policies, Config{}, zerolog.Nop())
	Handle(s, Operation(Get, "/api/v1/things/", "List"), nothing)
	Handle(s, Operation(Post, "/api/v1/things/", "Make"), nothing)
	op := Operation(Get, "/api/v1/things/{thing}/raw", "Read")
	op.Parameters = PathParams(op.Path)
	op.Responses = Answers(http.StatusOK, "It", "text/plain")
	s.Raw(op, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("raw")) })
	return s
}

// TestRoutes holds the router, the policies and the document against each other.
func TestRoutes(t *testing.T) {
	t.Parallel()
	s := things(some)
	s.Seal()
	var routed, tabled, documented []string
	err := chi.Walk(s.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range some {
		tabled = append(tabled, p.Key())
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(Get, DocumentPath, nil))
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, ops := range doc.Paths {
		for method := range ops {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, l := range [][]string{routed, tabled, documented} {
		slices.Sort(l)
	}
	if diff := cmp.Diff(tabled, routed); diff != "" {
		t.Errorf("policies and router differ:\n%s", diff)
	}
	if diff := cmp.Diff(tabled, documented); diff != "" {
		t.Errorf("policies and document differ:\n%s", diff)
	}
}

// TestPanics: what the table of policies doesn't have, or has in vain, cannot start.
func TestPanics(t *testing.T) {
	t.Parallel()
	raw := func(method, path string) func(*Server) {
		return func(s *Server) { s.Raw(Operation(method, path, ""), nil) }
	}
	for _, tt := range []struct {
		name     string
		policies []Policy
		do       func(s *Server)
	}{
		{"raw without a policy", some, raw(Get, "/api/v1/secret")},
		{"raw twice", some, raw(Get, "/api/v1/things/{thing}/raw")},
		{"another method", some, raw(Post, "/api/v1/things/{thing}/raw")},
		{"without a policy", some, func(s *Server) { Handle(s, Operation(Get, "/api/v1/secret", ""), nothing) }},
		{"twice", some, func(s *Server) { Handle(s, Operation(Get, "/api/v1/things/", ""), nothing) }},
		{"open though it changes", append(some[:4:4], Policy{Post, "/api/v1/open", Open}), raw(Post, "/api/v1/open")},
		{"a policy of nothing", append(some[:4:4], Policy{Get, "/api/v1/none", Open}), (*Server).Seal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := things(tt.policies)
			defer func() {
				if recover() == nil {
					t.Error("it was taken")
				}
			}()
			tt.do(s)
		})
	}
}

// TestTimes: what asks others may take longer than the rest, and nothing for ever.
func TestTimes(t *testing.T) {
	t.Parallel()
	got := make(map[string]time.Duration)
	s := New(nil, []Policy{{Get, "/api/v1/quick", Open}, {Get, "/api/v1/slow", Open}}, Config{}, zerolog.Nop())
	for path, op := range map[string]huma.Operation{
		"/api/v1/quick": Operation(Get, "/api/v1/quick", ""), "/api/v1/slow": Slow(Operation(Get, "/api/v1/slow", "")),
	} {
		Handle(s, op, func(ctx context.Context, _ *struct{}) (*Body[string], error) {
			end, ok := ctx.Deadline()
			if !ok {
				t.Errorf("%s has for ever", path)
			}
			got[path] = time.Until(end)
			return Answer("x"), nil
		})
		w := &facetest.Timed{ResponseRecorder: httptest.NewRecorder()}
		s.ServeHTTP(w, httptest.NewRequest(Get, path, nil))
		if w.Code != http.StatusOK || len(w.Deadlines) == 0 {
			t.Errorf("%s = %d, with the deadlines %v for its reader", path, w.Code, w.Deadlines)
		}
	}
	for path, want := range map[string]time.Duration{"/api/v1/quick": patience, "/api/v1/slow": slow} {
		if d := got[path]; d > want || d < want-10*time.Second {
			t.Errorf("%s has %s, want %s", path, d, want)
		}
	}
}

// TestBodyBounds: a body of the bound's size is taken, one byte more is TooLarge.
func TestBodyBounds(t *testing.T) {
	t.Parallel()
	send := func(size int) (*httptest.ResponseRecorder, *http.Request) {
		return httptest.NewRecorder(), httptest.NewRequest(Post, "/", strings.NewReader(strings.Repeat("x", size)))
	}
	for size, want := range map[int]albs.Kind{maxBody: "", maxBody + 1: albs.TooLarge} {
		w, r := send(size)
		if err := readBody(w, r); albs.KindOf(err) != want {
			t.Errorf("readBody of %d bytes = %v, want %q", size, err, want)
		} else if b, err := io.ReadAll(r.Body); want == "" && (err != nil || len(b) != size) {
			t.Errorf("the body has %d bytes then, %v; want %d", len(b), err, size)
		}
		w, r = send(size)
		b, err := io.ReadAll(face.LongBody(w, r, maxBody))
		if _, large := errors.AsType[*http.MaxBytesError](err); large != (want != "") || len(b) > maxBody {
			t.Errorf("LongBody of %d bytes gives %d and %v", size, len(b), err)
		}
	}
}
