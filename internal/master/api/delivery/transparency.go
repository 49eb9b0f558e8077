package delivery

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/transparency"
)

func (s *Resources) routeTransparency() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/transparency/", "Show the public logs of releases, and what is on its way there"), s.getTransparency)
	rest.Handle(s.Server, rest.Slow(rest.Operation(rest.Post, "/api/v1/transparency/check", "Read the public logs and hold them to all that was released")), s.checkTransparency)
}

func (s *Resources) getTransparency(ctx context.Context, _ *struct{}) (*rest.Body[transparency.State], error) {
	state, err := s.Logs.State(ctx)
	return &rest.Body[transparency.State]{Body: state}, err
}

func (s *Resources) checkTransparency(ctx context.Context, _ *struct{}) (*rest.Body[transparency.Report], error) {
	report, err := s.Logs.Check(ctx)
	return &rest.Body[transparency.Report]{Body: report}, err
}
