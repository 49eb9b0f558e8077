package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/testrun"
)

func (s *Server) routeSkips() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/skips/", "List the stages of tests that are skipped for packages"), s.listSkips)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/tests/skips/", "Skip a stage of the tests of a package")), s.addSkip)
	rest.Handle(s.Server, rest.Operation(remove, "/api/v1/tests/skips/{skip_id}/", "Skip a stage no more"), s.removeSkip)
}

type skipView struct {
	ID       int64          `json:"id"`
	Platform string         `json:"platform"`
	Package  string         `json:"package" doc:"The package's name, exactly so"`
	Stage    albs.TestStage `json:"stage"`
	Reason   string         `json:"reason"`
	Actor    string         `json:"added_by"`
	At       time.Time      `json:"added_at"`
}

func viewSkip(s testrun.Skip) skipView {
	return skipView{s.ID, s.Platform, s.Package, s.Stage, s.Reason, s.Actor, s.At.Time}
}

type skipsInput struct {
	Platform string `query:"platform" maxLength:"64" doc:"Only those of this one"`
}

func (s *Server) listSkips(ctx context.Context, in *skipsInput) (*rest.Body[[]skipView], error) {
	skips, err := s.Tests.Skips(ctx, in.Platform)
	if err != nil {
		return nil, err
	}
	out := make([]skipView, len(skips))
	for i, x := range skips {
		out[i] = viewSkip(x)
	}
	return rest.Answer(out), nil
}

type newSkipInput struct {
	Body struct {
		Platform string         `json:"platform" maxLength:"64"`
		Package  string         `json:"package" maxLength:"200" doc:"A name, without version; no pattern"`
		Stage    albs.TestStage `json:"stage" maxLength:"40"`
		Reason   string         `json:"reason" maxLength:"500" doc:"One line: it is shown with each package that it holds for"`
	}
}

func (s *Server) addSkip(ctx context.Context, in *newSkipInput) (*rest.Body[skipView], error) {
	x, err := s.Tests.AddSkip(ctx, testrun.Skip{Platform: in.Body.Platform, Package: in.Body.Package, Stage: in.Body.Stage, Reason: in.Body.Reason})
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewSkip(x)), nil
}

type skipInput struct {
	ID int64 `path:"skip_id" minimum:"1"`
}

func (s *Server) removeSkip(ctx context.Context, in *skipInput) (*struct{}, error) {
	return nil, s.Tests.RemoveSkip(ctx, in.ID)
}
