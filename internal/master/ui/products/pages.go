// Package products has the pages of products and of what they show: a product with its
// repositories, policy and history, a repository's packages at any serial, what changed
// between two of them, and how to go back.
package products

import (
	"html/template"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/master/product"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
)

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Products *product.Products
	Repos    *repo.Repos
	History  *history.History
	Records  *record.Records
	Signs    *sign.Signing
	Releases *release.Releases
	// URL is how people reach the master, for what they copy from a page; "" stands for
	// the address by which they asked.
	URL string
}

// Pages answers for products. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "products", Functions: template.FuncMap{"diff": diffURL, "shownat": repoURL}}
}

// FollowAll is the topic of what any product shows.
const FollowAll = "products"

// Follow returns the topic of what happens to a product, and to its releases.
func Follow(name string) string { return "product:" + name }

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/products", u.productsPage)
	u.Get(r, "/products/new", u.newPage)
	u.Post(r, "/products/new", u.apply)
	u.Get(r, "/product/{product}", u.productPage)
	u.Get(r, "/product/{product}/edit", u.editPage)
	u.Post(r, "/product/{product}/edit", u.apply)
	u.Get(r, "/product/{product}/diff", u.changesPage)
	u.Get(r, "/product/{product}/rollback", u.rollbackPage)
	u.PostSlow(r, "/product/{product}/rollback", u.rollback)
	u.Get(r, "/product/{product}/repo/{file}", u.repoFile)
	u.Get(r, "/repo/{product}/*", u.repositoryPage)
	u.PostSlow(r, "/product/{product}/records/give", u.giveRecord)
	u.Post(r, "/product/{product}/records/take", u.takeRecord)
	u.Get(r, "/diff", u.diffPage)
}

// base is the address of the master.
func (u *Pages) base(r *http.Request) string {
	if u.URL != "" {
		return strings.TrimSuffix(u.URL, "/")
	}
	if u.HTTPS {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
