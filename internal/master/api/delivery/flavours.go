package delivery

import (
	"bytes"
	"context"
	"errors"
	"strconv"
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

// flavours returns every flavour; there are dozens, not thousands.
func (s *Resources) flavours(ctx context.Context) ([]platform.Flavour, error) {
	var out []platform.Flavour
	for after := ""; ; {
		page, err := s.Platforms.Flavours.List(ctx, after, platform.MaxPage)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if len(page) < platform.MaxPage {
			return out, nil
		}
		after = page[len(page)-1].Name
	}
}

// FlavourByID returns the flavour with ALBS's sort of id.
func (s *Resources) FlavourByID(ctx context.Context, id int64) (platform.Flavour, error) {
	all, err := s.flavours(ctx)
	if err != nil {
		return platform.Flavour{}, err
	}
	for _, f := range all {
		if f.ID == id {
			return f, nil
		}
	}
	return platform.Flavour{}, albs.Errorf(albs.NotFound, "there is no flavour with id %d", id)
}

func (s *Resources) listFlavours(ctx context.Context, _ *struct{}) (*rest.Body[[]FlavourView], error) {
	all, err := s.flavours(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]FlavourView, len(all))
	for i, f := range all {
		out[i] = viewFlavour(f)
	}
	return rest.Answer(out), nil
}

func (s *Resources) getFlavour(ctx context.Context, in *nameInput) (*rest.Body[FlavourView], error) {
	f, err := s.Platforms.Flavours.Get(ctx, in.Name)
	if id, bad := strconv.ParseInt(in.Name, 10, 64); bad == nil && errors.Is(err, albs.NotFound) {
		f, err = s.FlavourByID(ctx, id)
	}
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
