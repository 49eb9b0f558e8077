package api

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/platform"
	"albs/internal/master/product"
)

const yamlType = "application/yaml"

// specInput is a platform or a product as people write it. Its reader refuses
// unknown keys with their line, in YAML and in JSON, which is a part of YAML.
type specInput struct {
	RawBody []byte `contentType:"application/yaml"`
}

type nameInput struct {
	Name string `path:"name" maxLength:"100"`
}

// takesSpec registers an operation whose body is a T in YAML or JSON.
func takesSpec[T, O any](s *Server, op huma.Operation, f func(ctx context.Context, in *specInput) (*O, error)) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf[T](s)}}}
	op.SkipValidateBody = true // the module's parser says more exactly what is wrong
	handle(s, op, f)
	op.RequestBody.Content[yamlType].Schema = schemaOf[T](s) // huma takes it for bytes
}

func (s *Server) routePlatforms() {
	handle(s, operation(get, "/api/v1/platforms/", "List platforms"), s.listPlatforms)
	takesSpec[platform.Spec](s, operation(post, "/api/v1/platforms/", "Make a platform, or change the one of that name"), s.applyPlatform)
	takesSpec[platform.Spec](s, operation(put, "/api/v1/platforms/", "The same as POST"), s.applyPlatform)
	handle(s, operation(get, "/api/v1/platforms/{name}/", "Show a platform"), s.getPlatform)
}

// platformView has ALBS's members and then the platform as it was applied.
type platformView struct {
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

func viewPlatform(p platform.Platform) platformView {
	return platformView{
		ID: p.ID, Name: p.Name, Type: "rpm", DistType: strings.TrimSuffix(p.Name, "-"+p.Releasever), Version: p.Releasever, Arches: p.Arches,
		Spec: p.Spec, Revision: p.Revision, Digest: p.Digest, Actor: p.Actor, At: p.At.Time,
	}
}

func (s *Server) listPlatforms(ctx context.Context, _ *struct{}) (*body[[]platformView], error) {
	out := []platformView{}
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
			return &body[[]platformView]{out}, nil
		}
	}
}

func (s *Server) getPlatform(ctx context.Context, in *nameInput) (*body[platformView], error) {
	p, err := s.Platforms.Get(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &body[platformView]{viewPlatform(p)}, nil
}

func (s *Server) applyPlatform(ctx context.Context, in *specInput) (*body[platformView], error) {
	spec, err := platform.Parse(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	p, err := s.Platforms.Apply(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &body[platformView]{viewPlatform(p)}, nil
}

func (s *Server) routeProducts() {
	handle(s, operation(get, "/api/v1/products/", "List products"), s.listProducts)
	takesSpec[product.Spec](s, operation(post, "/api/v1/products/", "Make a product, or change the one of that name"), s.applyProduct)
	handle(s, operation(get, "/api/v1/products/{name}/", "Show a product, by name or id"), s.getProduct)
}

// productView has ALBS's members and then the product as it was applied.
type productView struct {
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	Title       string     `json:"title"`
	IsCommunity bool       `json:"is_community"`
	Team        nameView   `json:"team"`
	Platforms   []nameView `json:"platforms"`

	Spec     product.Spec `json:"spec"`
	Revision int64        `json:"revision"`
	Digest   albs.Digest  `json:"digest"`
	Actor    string       `json:"applied_by"`
	At       time.Time    `json:"applied_at"`
}

func viewProduct(p product.Product) productView {
	out := productView{
		ID: p.ID, Name: p.Name, Title: p.Title, Team: nameView{p.Team}, Platforms: []nameView{},
		Spec: p.Spec, Revision: p.Revision, Digest: p.Digest, Actor: p.Actor, At: p.At.Time,
	}
	for _, name := range p.Platforms {
		out.Platforms = append(out.Platforms, nameView{name})
	}
	return out
}

type productsInput struct {
	Page   int    `query:"pageNumber" minimum:"1" default:"1" doc:"Ten products a page, by name"`
	Search string `query:"search_string" maxLength:"100" doc:"A part of the name"`
}

type productsView struct {
	Products      []productView `json:"products"`
	TotalProducts int           `json:"total_products"`
	CurrentPage   int           `json:"current_page"`
}

// products returns every product; there are dozens, not thousands.
func (s *Server) products(ctx context.Context) ([]product.Product, error) {
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

func (s *Server) listProducts(ctx context.Context, in *productsInput) (*body[productsView], error) {
	all, err := s.products(ctx)
	if err != nil {
		return nil, err
	}
	out := productsView{Products: []productView{}, CurrentPage: in.Page}
	for _, p := range all {
		if !strings.Contains(p.Name, in.Search) {
			continue
		}
		if out.TotalProducts/perPage == in.Page-1 {
			out.Products = append(out.Products, viewProduct(p))
		}
		out.TotalProducts++
	}
	return &body[productsView]{out}, nil
}

// productByID returns the product with ALBS's sort of id.
func (s *Server) productByID(ctx context.Context, id int64) (product.Product, error) {
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

func (s *Server) getProduct(ctx context.Context, in *nameInput) (*body[productView], error) {
	p, err := s.Products.Get(ctx, in.Name)
	if id, bad := strconv.ParseInt(in.Name, 10, 64); bad == nil && albs.KindOf(err) == albs.NotFound {
		p, err = s.productByID(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return &body[productView]{viewProduct(p)}, nil
}

func (s *Server) applyProduct(ctx context.Context, in *specInput) (*body[productView], error) {
	spec, err := product.Parse(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	p, err := s.Products.Apply(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &body[productView]{viewProduct(p)}, nil
}
