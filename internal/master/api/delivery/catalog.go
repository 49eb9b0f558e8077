package delivery

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/platform"
	"albs/internal/master/product"
)

type nameInput struct {
	Name string `path:"name" maxLength:"100"`
}

// store is what a catalog's store says of one thing; revision.Store is one.
type store[T any] interface {
	Get(ctx context.Context, name string) (T, error)
	ByID(ctx context.Context, id int64) (T, error)
}

// named returns what has the name or else, for who has only that, the number, as ALBS's
// scripts do.
func named[T any](ctx context.Context, s store[T], name string) (T, error) {
	v, err := s.Get(ctx, name)
	if id, bad := strconv.ParseInt(name, 10, 64); bad == nil && errors.Is(err, albs.NotFound) {
		return s.ByID(ctx, id)
	}
	return v, err
}

// viewed returns the views of a list, which is [] and not null where there is nothing.
func viewed[T, V any](list []T, view func(T) V) []V {
	out := make([]V, len(list))
	for i, v := range list {
		out[i] = view(v)
	}
	return out
}

func (s *Resources) routePlatforms() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platforms/", "List platforms"), s.listPlatforms)
	rest.HandleSpec[platform.Spec](s.Server, rest.Operation(rest.Post, "/api/v1/platforms/", "Make a platform, or change the one of that name"), s.applyPlatform)
	rest.HandleSpec[platform.Spec](s.Server, rest.Operation(rest.Put, "/api/v1/platforms/", "The same as POST"), s.applyPlatform)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platforms/{name}/", "Show a platform, by name or id"), s.getPlatform)
}

// PlatformView has ALBS's members and then the platform as it was applied.
type PlatformView struct {
	ID       int64       `json:"id"`
	Name     string      `json:"name"`
	Type     string      `json:"type" doc:"Always rpm"`
	DistType string      `json:"distr_type" doc:"The name without the release"`
	Version  string      `json:"distr_version"`
	Arches   []albs.Arch `json:"arch_list"`

	Spec     platform.Spec `json:"spec"`
	Revision int64         `json:"revision"`
	Digest   albs.Digest   `json:"digest"`
	Actor    string        `json:"applied_by"`
	At       time.Time     `json:"applied_at"`
}

func viewPlatform(p platform.Platform) PlatformView {
	return PlatformView{
		ID: p.ID, Name: p.Name, Type: "rpm", DistType: strings.TrimSuffix(p.Name, "-"+p.Releasever), Version: p.Releasever, Arches: p.Arches,
		Spec: p.Spec, Revision: p.Revision, Digest: p.Digest, Actor: p.Actor, At: p.At.Time,
	}
}

func (s *Resources) listPlatforms(ctx context.Context, _ *struct{}) (*rest.Body[[]PlatformView], error) {
	all, err := s.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewed(all, viewPlatform)), nil
}

func (s *Resources) getPlatform(ctx context.Context, in *nameInput) (*rest.Body[PlatformView], error) {
	p, err := named(ctx, s.Platforms, in.Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewPlatform(p)), nil
}

func (s *Resources) applyPlatform(ctx context.Context, in *rest.SpecInput) (*rest.Body[PlatformView], error) {
	spec, err := platform.Parse(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	p, err := s.Platforms.Apply(ctx, spec)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewPlatform(p)), nil
}

func (s *Resources) routeProducts() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/products/", "List products"), s.listProducts)
	rest.HandleSpec[product.Spec](s.Server, rest.Operation(rest.Post, "/api/v1/products/", "Make a product, or change the one of that name"), s.applyProduct)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/products/{name}/", "Show a product, by name or id"), s.getProduct)
}

// ProductView has ALBS's members and then the product as it was applied.
type ProductView struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	IsCommunity bool            `json:"is_community"`
	Team        rest.NameView   `json:"team"`
	Platforms   []rest.NameView `json:"platforms"`

	Spec     product.Spec `json:"spec"`
	Revision int64        `json:"revision"`
	Digest   albs.Digest  `json:"digest"`
	Actor    string       `json:"applied_by"`
	At       time.Time    `json:"applied_at"`
}

func viewProduct(p product.Product) ProductView {
	out := ProductView{
		ID: p.ID, Name: p.Name, Title: p.Title, Team: rest.NameView{Name: p.Team}, Platforms: []rest.NameView{},
		Spec: p.Spec, Revision: p.Revision, Digest: p.Digest, Actor: p.Actor, At: p.At.Time,
	}
	for _, name := range p.Platforms {
		out.Platforms = append(out.Platforms, rest.NameView{Name: name})
	}
	return out
}

type productsInput struct {
	Page   int    `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"Ten products a page, by name"`
	Search string `query:"search_string" maxLength:"100" doc:"A part of the name"`
}

// ProductsView is a page of products.
type ProductsView struct {
	Products      []ProductView `json:"products"`
	TotalProducts int           `json:"total_products"`
	CurrentPage   int           `json:"current_page"`
}

func (s *Resources) listProducts(ctx context.Context, in *productsInput) (*rest.Body[ProductsView], error) {
	all, err := s.Products.All(ctx)
	if err != nil {
		return nil, err
	}
	out := ProductsView{Products: []ProductView{}, CurrentPage: in.Page}
	for _, p := range all {
		if !strings.Contains(p.Name, in.Search) {
			continue
		}
		if out.TotalProducts/rest.PerPage == in.Page-1 {
			out.Products = append(out.Products, viewProduct(p))
		}
		out.TotalProducts++
	}
	return rest.Answer(out), nil
}

func (s *Resources) getProduct(ctx context.Context, in *nameInput) (*rest.Body[ProductView], error) {
	p, err := named(ctx, s.Products, in.Name)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewProduct(p)), nil
}

func (s *Resources) applyProduct(ctx context.Context, in *rest.SpecInput) (*rest.Body[ProductView], error) {
	spec, err := product.Parse(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	p, err := s.Products.Apply(ctx, spec)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewProduct(p)), nil
}
