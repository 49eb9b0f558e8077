package delivery

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/trace"
)

func (s *Resources) routeTrace() {
	rest.Handle(s.Server, rest.Slow(rest.Operation(rest.Get, "/api/v1/trace", "Follow a package, SRPM or commit through all that was said of it, each link with its standing")), s.trace)
}

type traceInput struct {
	Of string `query:"of" required:"true" maxLength:"400" doc:"The sha256 of a file, a git commit, or the NEVRA of a package"`
}

func (s *Resources) trace(ctx context.Context, in *traceInput) (*rest.Body[trace.Trace], error) {
	t, err := s.Traces.Of(ctx, in.Of)
	if err != nil {
		return nil, err
	}
	return rest.Answer(t), nil
}
