package delivery

import (
	"bytes"
	"context"
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

func (s *Resources) routePlatforms() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platforms/", "List platforms"), s.listPlatforms)
	rest.HandleSpec[platform.Spec](s.Server, rest.Operation(rest.Post, "/api/v1/platforms/", "Make a platform, or change the one of that name"), s.applyPlatform)
	rest.HandleSpec[platform.Spec](s.Server, rest.Operation(rest.Put, "/api/v1/platforms/", "The same as POST"), s.applyPlatform)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/platforms/{name}/", "Show a platform"), s.getPlatform)
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
	out := []PlatformView{}
	for after := ""; ; {
		page, err := s.Platforms.List(ctx, after, platform.MaxPage)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			out = append(out, viewPlatform(p))
			after = p.Name
		}
		if len(page) < platform.MaxPage {
			return rest.Answer(out), nil
		}
	}
}

func (s *Resources) getPlatform(ctx context.Context, in *nameInput) (*rest.Body[PlatformView], error) {
	p, err := s.Platforms.Get(ctx, in.Name)
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

// products returns every product; there are dozens, not thousands.
func (s *Resources) products(ctx context.Context) ([]product.Product, error) {
	var out []product.Product
	for after := ""; ; {
		page, err := s.Products.List(ctx, after, platform.MaxPage)
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

func (s *Resources) listProducts(ctx context.Context, in *productsInput) (*rest.Body[ProductsView], error) {
	all, err := s.products(ctx)
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

// ProductByID returns the product with ALBS's sort of id.
func (s *Resources) ProductByID(ctx context.Context, id int64) (product.Product, error) {
	all, err := s.products(ctx)
	if err != nil {
		return product.Product{}, err
	}
	for _, p := range all {
		if p.ID == id {
			return p, nil
		}
	}
	return product.Product{}, albs.Errorf(albs.NotFound, "there is no product with id %d", id)
}

func (s *Resources) getProduct(ctx context.Context, in *nameInput) (*rest.Body[ProductView], error) {
	p, err := s.Products.Get(ctx, in.Name)
	if id, bad := strconv.ParseInt(in.Name, 10, 64); bad == nil && albs.KindOf(err) == albs.NotFound {
		p, err = s.ProductByID(ctx, id)
	}
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
