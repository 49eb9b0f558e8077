package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/telemetry/telemetrytest"
)

func TestProblem(t *testing.T) {
	t.Parallel()
	log := &telemetrytest.Log{}
	s := New(nil, nil, Config{}, zerolog.Nop())
	ctx := context.WithValue(zerolog.New(log).WithContext(t.Context()), requestKey{}, "id1")
	secret := errors.New("password 1234")
	for _, test := range []struct {
		err    error
		status int
		kind   albs.Kind
		detail string
		header string
		logged bool
	}{
		{fmt.Errorf("find it: %w", albs.Errorf(albs.NotFound, "build 7")), 404, albs.NotFound, "find it: build 7", "", false},
		{albs.Errorf(albs.Unauthenticated, "log in"), 401, albs.Unauthenticated, "log in", "WWW-Authenticate", false},
		{albs.Errorf(albs.Unavailable, "away"), 503, albs.Unavailable, "away", "Retry-After", false},
		{context.DeadlineExceeded, 503, albs.Unavailable, "that took too long; try again", "Retry-After", false},
		{context.Canceled, 500, albs.Internal, "an internal error happened; the server's log has it", "", false},
		{secret, 500, albs.Internal, "an internal error happened; the server's log has it", "", true},
		{&http.MaxBytesError{Limit: 3}, 413, albs.TooLarge, "the body is larger than this route takes", "", false},
	} {
		before := len(log.String())
		p := s.problem(ctx, test.err)
		if p.Status != test.status || p.Kind != test.kind || p.Detail != test.detail || p.Request != "id1" {
			t.Errorf("problem(%v) = %+v", test.err, p)
		}
		if test.header != "" && p.GetHeaders().Get(test.header) == "" {
			t.Errorf("problem(%v) has no header %s", test.err, test.header)
		}
		if logged := strings.Contains(log.String()[before:], test.err.Error()); logged != test.logged {
			t.Errorf("problem(%v): logged = %t", test.err, logged)
		}
	}
}
