package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Platform is a platform as the API shows it.
type Platform struct {
	Name     string      `json:"name"`
	Version  string      `json:"distr_version"`
	Arches   []albs.Arch `json:"arch_list"`
	Revision int64       `json:"revision"`
	Digest   albs.Digest `json:"digest"`
	Actor    string      `json:"applied_by"`
	At       time.Time   `json:"applied_at"`
	Spec     struct {
		Dist         string       `json:"dist"`
		Network      bool         `json:"network"`
		Repositories []Repository `json:"repositories"`
	} `json:"spec"`
}

// Repository is one of packages from outside that a platform or a flavour brings.
type Repository struct {
	ID   string    `json:"id"`
	Arch albs.Arch `json:"arch"` // "" for all
	URL  string    `json:"url"`
}

// Platforms lists all platforms by name.
func (c *Client) Platforms(ctx context.Context) (Doc[[]Platform], error) {
	return get[[]Platform](ctx, c, "/platforms/")
}

// Platform returns one platform, or NotFound.
func (c *Client) Platform(ctx context.Context, name string) (Doc[Platform], error) {
	return get[Platform](ctx, c, "/platforms/"+url.PathEscape(name)+"/")
}

// ApplyPlatform makes or changes the platform that a YAML document describes.
func (c *Client) ApplyPlatform(ctx context.Context, yaml []byte) (Doc[Platform], error) {
	return apply[Platform](ctx, c, "/platforms/", yaml)
}

// Reference is a repository by which a platform's packages find their place, and how
// well it is known.
type Reference struct {
	Place    string      `json:"place"`
	Arch     albs.Arch   `json:"arch"`
	URL      string      `json:"url"`
	Repomd   albs.Digest `json:"repomd"` // of what is listed; "" before the first time
	Packages int         `json:"packages"`
	Listed   time.Time   `json:"listed_at"`
	Failure  string      `json:"failure"` // why the last look came to nothing
}

// References returns the references of a platform, or NotFound.
func (c *Client) References(ctx context.Context, platform string) (Doc[[]Reference], error) {
	return get[[]Reference](ctx, c, "/platforms/"+url.PathEscape(platform)+"/references/")
}

// RefreshReferences has the server read the references of a platform anew.
func (c *Client) RefreshReferences(ctx context.Context, platform string) (Doc[[]Reference], error) {
	return send[[]Reference](ctx, c, http.MethodPost, "/platforms/"+url.PathEscape(platform)+"/references/refresh", nil)
}

// Flavour is a flavour as the API shows it.
type Flavour struct {
	Name     string      `json:"name"`
	Revision int64       `json:"revision"`
	Digest   albs.Digest `json:"digest"`
	Actor    string      `json:"applied_by"`
	At       time.Time   `json:"applied_at"`
	Spec     struct {
		Platforms    []string          `json:"platforms"`
		Macros       map[string]string `json:"macros"`
		Packages     []string          `json:"packages"`
		Repositories []Repository      `json:"repositories"`
	} `json:"spec"`
}

// Flavours lists all flavours by name.
func (c *Client) Flavours(ctx context.Context) (Doc[[]Flavour], error) {
	return get[[]Flavour](ctx, c, "/platform_flavors/")
}

// Flavour returns one flavour, or NotFound.
func (c *Client) Flavour(ctx context.Context, name string) (Doc[Flavour], error) {
	return get[Flavour](ctx, c, "/platform_flavors/"+url.PathEscape(name)+"/")
}

// ApplyFlavour makes or changes the flavour that a YAML document describes.
func (c *Client) ApplyFlavour(ctx context.Context, yaml []byte) (Doc[Flavour], error) {
	return apply[Flavour](ctx, c, "/platform_flavors/", yaml)
}

// Product is a product as the API shows it.
type Product struct {
	Name      string      `json:"name"`
	Title     string      `json:"title"`
	Team      Named       `json:"team"`
	Platforms []Named     `json:"platforms"`
	Revision  int64       `json:"revision"`
	Digest    albs.Digest `json:"digest"`
	Actor     string      `json:"applied_by"`
	At        time.Time   `json:"applied_at"`
	Spec      struct {
		Key          string `json:"key"`
		Repositories []struct {
			Path     string    `json:"path"`
			Platform string    `json:"platform"`
			Arch     albs.Arch `json:"arch"`
			Kind     string    `json:"kind"`
		} `json:"repositories"`
		Gate struct {
			Tests  string                    `json:"tests"`
			Stages map[albs.TestStage]string `json:"stages"`
		} `json:"gate"`
		Approvals struct {
			Count    int  `json:"count"`
			Distinct bool `json:"distinct"`
			Signed   bool `json:"signed"`
			Requests bool `json:"requests"`
		} `json:"approvals"`
		Closure   string `json:"closure"` // "" is advisory
		Sources   string `json:"sources"` // "" is any
		Retention struct {
			Trees    int    `json:"trees"` // 0 is any number
			Days     int    `json:"days"`  // 0 is any time
			Packages string `json:"packages"`
		} `json:"retention"`
	} `json:"spec"`
}

// ProductPage is a page of products by name.
type ProductPage struct {
	Products []Product `json:"products"`
	Total    int       `json:"total_products"`
	Page     int       `json:"current_page"`
}

// Products lists a page of products, from page 1.
func (c *Client) Products(ctx context.Context, page int) (Doc[ProductPage], error) {
	return get[ProductPage](ctx, c, "/products/?pageNumber="+strconv.Itoa(max(page, 1)))
}

// Product returns one product by name, or NotFound.
func (c *Client) Product(ctx context.Context, name string) (Doc[Product], error) {
	return get[Product](ctx, c, "/products/"+url.PathEscape(name)+"/")
}

// ApplyProduct makes or changes the product that a YAML document describes.
func (c *Client) ApplyProduct(ctx context.Context, yaml []byte) (Doc[Product], error) {
	return apply[Product](ctx, c, "/products/", yaml)
}

// apply posts YAML. Doing it twice is doing it once, so it is repeated while the
// server is Unavailable.
func apply[T any](ctx context.Context, c *Client, path string, yaml []byte) (Doc[T], error) {
	var out Doc[T]
	a := call{method: http.MethodPost, path: path, media: "application/yaml", body: yaml}
	err := c.again(ctx, func() error { return c.exchange(ctx, a, &out) })
	return out, err
}

func get[T any](ctx context.Context, c *Client, path string) (Doc[T], error) {
	var out Doc[T]
	err := c.Get(ctx, path, &out)
	return out, err
}

func send[T any](ctx context.Context, c *Client, method, path string, in any) (Doc[T], error) {
	var out Doc[T]
	err := c.Send(ctx, method, path, in, &out)
	return out, err
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}
