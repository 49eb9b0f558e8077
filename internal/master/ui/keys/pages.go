// Package keys has the pages of signing: the keys, as far as they are public, how one is
// made, and the requests to have builds signed, with what became of them.
package keys

import (
	"html/template"

	"github.com/go-chi/chi/v5"

	"albs/internal/master/build"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
)

// Follow is the topic of what happens to any key, and to any request.
const Follow = "keys"

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Queue    *queue.Queue
	Products *product.Products
	Builds   *build.Builds
	Signs    *sign.Signing
}

// Pages answers for keys and requests. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "keys", Functions: template.FuncMap{
		"keystate": func(k sign.Key) string {
			switch {
			case !k.RevokedAt.IsZero():
				return "revoked"
			case k.Active:
				return "active"
			}
			return "inactive"
		},
		"keyid": func(fingerprint string) string { return fingerprint[max(len(fingerprint)-16, 0):] },
	}}
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/keys", u.keysPage)
	u.Post(r, "/keys/generate", u.generate)
	u.Get(r, "/key/{key}", u.keyPage)
	u.Post(r, "/key/{key}/deactivate", u.deactivate)
	u.Get(r, "/signing", u.requestsPage)
	u.Get(r, "/signing/{request}", u.requestPage)
	u.Post(r, "/signing/{request}/approve", u.approve)
	u.Get(r, "/build/{build}/sign", u.signPage)
	u.PostSlow(r, "/build/{build}/sign", u.sign)
}
