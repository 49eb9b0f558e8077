package api

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/gc"
)

func (s *Server) routeCollection() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/gc/", "Show what the collection of garbage does and what the last one did"), s.getCollection)
	rest.Handle(s.Server, rest.Operation(post, "/api/v1/gc/", "Begin a collection; the answer's runs grows once it has ended"), s.beginCollection)
}

func (s *Server) getCollection(ctx context.Context, _ *struct{}) (*rest.Body[gc.State], error) {
	state, err := s.Collector.State(ctx)
	return &rest.Body[gc.State]{Body: state}, err
}

type collectionInput struct {
	DryRun bool `query:"dry_run" doc:"Change nothing and count what would be removed"`
}

type collectionView struct {
	Runs int `json:"runs" doc:"How many collections have ended before this one"`
}

func (s *Server) beginCollection(ctx context.Context, in *collectionInput) (*rest.Body[collectionView], error) {
	runs, err := s.Collector.Ask(ctx, in.DryRun)
	return &rest.Body[collectionView]{Body: collectionView{runs}}, err
}
