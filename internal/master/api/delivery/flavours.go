package delivery

import (
	"bytes"
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/platform"
)

func (s *Resources) routeFlavours() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platform_flavors/", "List flavours"), s.listFlavours)
	rest.HandleSpec[platform.FlavourSpec](s.Server, rest.Operation(rest.Post, "/api/v1/platform_flavors/", "Make a flavour, or change the one of that name"), s.applyFlavour)
	rest.HandleSpec[platform.FlavourSpec](s.Server, rest.Operation(rest.Patch, "/api/v1/platform_flavors/", "The same as POST"), s.applyFlavour)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platform_flavors/{name}/", "Show a flavour, by name or id"), s.getFlavour)
}

// FlavourView has ALBS's members and then the flavour as it was applied.
type FlavourView struct {
	ID           int64                 `json:"id"`
	Name         string                `json:"name"`
	Repositories []platform.Repository `json:"repositories"`

	Spec     platform.FlavourSpec `json:"spec"`
	Revision int64                `json:"revision"`
	Digest   albs.Digest          `json:"digest"`
	Actor    string               `json:"applied_by"`
	At       time.Time            `json:"applied_at"`
}

func viewFlavour(f platform.Flavour) FlavourView {
	return FlavourView{
		ID: f.ID, Name: f.Name, Repositories: append([]platform.Repository{}, f.Repositories...),
		Spec: f.FlavourSpec, Revision: f.Revision, Digest: f.Digest, Actor: f.Actor, At: f.At.Time,
	}
}

func (s *Resources) listFlavours(ctx context.Context, _ *struct{}) (*rest.Body[[]FlavourView], error) {
	all, err := s.Platforms.Flavours.All(ctx)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewed(all, viewFlavour)), nil
}

func (s *Resources) getFlavour(ctx context.Context, in *nameInput) (*rest.Body[FlavourView], error) {
	f, err := named(ctx, s.Platforms.Flavours, in.Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewFlavour(f)), nil
}

func (s *Resources) applyFlavour(ctx context.Context, in *rest.SpecInput) (*rest.Body[FlavourView], error) {
	spec, err := platform.ParseFlavour(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	f, err := s.Platforms.Flavours.Apply(ctx, spec)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewFlavour(f)), nil
}
