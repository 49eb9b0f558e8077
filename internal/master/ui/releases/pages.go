// Package releases has the pages of what becomes public: the list of releases, how one
// is begun, and its plan, with what speaks against it, what people decide and approve,
// and how far its publication has come.
package releases

import (
	"html/template"

	"github.com/go-chi/chi/v5"

	"albs/internal/master/build"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/ui/logs"
	"albs/internal/master/ui/page"
)

// FollowAll is the topic of what happens to any release; one's is release.Topic's.
const FollowAll = "releases"

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Queue    *queue.Queue
	Products *product.Products
	Builds   *build.Builds
	Signs    *sign.Signing
	Releases *release.Releases
}

// Pages answers for releases. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
	logs *logs.Logs
}

// New returns the pages of releases. It does no I/O.
func New(s *page.Server, p Parts) *Pages {
	return &Pages{Server: s, Parts: p, logs: logs.New(p.Queue)}
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "releases", Functions: template.FuncMap{"trust": trustOf}}
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/releases", u.releasesPage)
	u.Get(r, "/release/create", u.createPage)
	u.PostSlow(r, "/release/create", u.create)
	u.Get(r, "/release/copy", u.copyPage)
	u.PostSlow(r, "/release/copy", u.copy)
	u.Get(r, "/release/{release}", u.releasePage)
	u.Get(r, "/release/{release}/decide", u.decidePage)
	u.PostSlow(r, "/release/{release}/decide", u.decide)
	u.PostSlow(r, "/release/{release}/undecide", u.undecide)
	u.Post(r, "/release/{release}/approve", u.approve)
	u.PostSlow(r, "/release/{release}/publish", u.act(u.Releases.Publish))
	u.PostSlow(r, "/release/{release}/replan", u.act(u.Releases.Replan))
	u.Post(r, "/release/{release}/cancel", u.act(u.Releases.Cancel))
}
