// Package ui is the master's face to people: pages that work without JavaScript
// and follow what happens where a browser has it.
//
// It owns no rule and no row: handlers ask the modules, lay what they say out for
// a template, and pass a person's wishes on. Here are the routes, signing in and what
// a page may follow; each group of pages is a package below, and what all have in
// common is page's. What holds:
//
//   - A page is one template; the block "live" of it, asked for alone, is the
//     fragment that the browser swaps in when an event wakes it. An event never
//     carries what is shown (docs/design/live-pages.md).
//   - Everything foreign (names, refs, reasons, log bytes) is escaped by
//     html/template, and what could mislead a reader's eye is spelled out by
//     words.Inert. Nothing is ever marked as safe HTML.
//   - What changes something is, but for signing in, a POST of a signed-in person
//     from a page of this origin; nothing of a body is read before that is known.
//     Whether the person may is the module's to say, and its reason stands beside a
//     disabled button.
package ui

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/event"
	"albs/internal/master/notice"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/rebuild"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/source/notary"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
	"albs/internal/master/ui/advisories"
	"albs/internal/master/ui/builds"
	"albs/internal/master/ui/farm"
	"albs/internal/master/ui/keys"
	"albs/internal/master/ui/notices"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/products"
	"albs/internal/master/ui/releases"
	"albs/internal/master/ui/tests"
	"albs/internal/master/ui/trust"
	"albs/internal/master/ui/words"
)

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Auth     *auth.Auth
	Notices  *notice.Notices
	Events   *event.Log
	Queue    *queue.Queue
	Builds   *build.Builds
	Tests    *testrun.Tests
	Suites   *suite.Suites
	Rebuilds *rebuild.Rebuilds
	Signs    *sign.Signing
	Releases *release.Releases
	Traces   *trace.Traces
	Notary   *notary.Notary
	// Provenance tells how far notarized commits can be believed.
	Provenance *provenance.Provenance
	// Logs tell which packages the public log proves to be released.
	Logs     *transparency.Transparency
	Products *product.Products
	Repos    *repo.Repos
	History  *history.History
	Records  *record.Records
	// Platforms and what follows are of advisories.
	Platforms *platform.Platforms
	Errata    *errata.Errata
	Drafts    *draft.Drafts
	Matching  *matching.Matching
	Monitor   *monitor.Monitor
	// URL is how people reach the pages, for what they copy from them; "" stands for the
	// address by which they asked.
	URL string
	// HTTPS says that people reach the pages by https only, be it through a proxy:
	// the session's cookie is then bound to it.
	HTTPS bool
	Log   zerolog.Logger
}

// UI serves the pages. It is an http.Handler for everything under / that other
// faces leave, and may be used concurrently.
type UI struct {
	*page.Server
	modules Parts
	router  chi.Router
}

// New parses the templates and returns the pages of a master. It does no I/O; an
// error is a mistake in a template, or a part that is missing.
func New(p Parts) (*UI, error) {
	if p.Queue == nil || p.Builds == nil || p.Tests == nil || p.Suites == nil || p.Rebuilds == nil || p.Signs == nil || p.Releases == nil ||
		p.Products == nil || p.Repos == nil || p.History == nil || p.Records == nil || p.Traces == nil || p.Notary == nil || p.Notices == nil || p.Provenance == nil || p.Logs == nil ||
		p.Platforms == nil || p.Errata == nil || p.Drafts == nil || p.Matching == nil || p.Monitor == nil {
		return nil, albs.Errorf(albs.Invalid, "the pages need all of their modules")
	}
	s, err := page.New(page.Parts{Auth: p.Auth, Events: p.Events, HTTPS: p.HTTPS, Log: p.Log}, groups()...)
	if err != nil {
		return nil, err
	}
	u := &UI{Server: s, modules: p, router: chi.NewRouter()}
	u.routes(u.router)
	return u, nil
}

func groups() []page.Group {
	return []page.Group{advisories.Group(), builds.Group(), farm.Group(), keys.Group(), notices.Group(), products.Group(), releases.Group(), tests.Group(), trust.Group()}
}

// CookieName returns the name of the session's cookie, as page.CookieName does.
func CookieName(https bool) string { return page.CookieName(https) }

// ServeHTTP implements http.Handler.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.router.ServeHTTP(w, r) }

// routes adds the pages to r, and the answer for paths that nobody has.
func (u *UI) routes(r chi.Router) {
	m := u.modules
	r.Group(func(r chi.Router) {
		r.Use(u.Front)
		// Streams are of a type that isn't named here, and stay as they are.
		r.Use(middleware.Compress(5, "text/html", "text/css", "text/javascript", "image/svg+xml", "application/json"))
		builds.New(u.Server, builds.Parts{Queue: m.Queue, Builds: m.Builds, Tests: m.Tests, Rebuilds: m.Rebuilds, Signs: m.Signs, Releases: m.Releases, Matching: m.Matching}).Routes(r)
		(&advisories.Pages{Server: u.Server, Parts: advisories.Parts{
			Errata: m.Errata, Drafts: m.Drafts, Matching: m.Matching, Monitor: m.Monitor, Platforms: m.Platforms, Products: m.Products, Releases: m.Releases,
		}}).Routes(r)
		(&farm.Pages{Server: u.Server, Queue: m.Queue}).Routes(r)
		(&trust.Pages{Server: u.Server, Traces: m.Traces, Rebuilds: m.Rebuilds, Notary: m.Notary, Provenance: m.Provenance, Logs: m.Logs, Builders: m.Builds.Builders()}).Routes(r)
		(&keys.Pages{Server: u.Server, Parts: keys.Parts{Queue: m.Queue, Products: m.Products, Builds: m.Builds, Signs: m.Signs}}).Routes(r)
		(&products.Pages{Server: u.Server, Parts: products.Parts{
			Products: m.Products, Repos: m.Repos, History: m.History, Records: m.Records, Signs: m.Signs, Releases: m.Releases, URL: m.URL,
		}}).Routes(r)
		releases.New(u.Server, releases.Parts{Queue: m.Queue, Products: m.Products, Builds: m.Builds, Signs: m.Signs, Releases: m.Releases}).Routes(r)
		(&tests.Pages{Server: u.Server, Parts: tests.Parts{Builds: m.Builds, Platforms: m.Platforms, Tests: m.Tests, Suites: m.Suites}}).Routes(r)
		(&notices.Pages{Server: u.Server, Notices: m.Notices}).Routes(r)
		u.Static(r)

		u.Get(r, "/login", u.loginPage)
		r.Post("/login", u.Serve(u.login))
		u.Post(r, "/logout", u.logout)
		r.Get("/events", u.ServeStream(u.events))
	})
	r.NotFound(u.Front(u.Serve(func(_ http.ResponseWriter, r *http.Request) error {
		return albs.Errorf(albs.NotFound, "there is no page %s", words.Inert(words.Cut(r.URL.Path, 200)))
	})).ServeHTTP)
	r.MethodNotAllowed(u.Front(u.Serve(func(_ http.ResponseWriter, r *http.Request) error {
		return albs.Errorf(albs.NotFound, "%s does not take %s", words.Inert(words.Cut(r.URL.Path, 200)), r.Method)
	})).ServeHTTP)
}
