// Package ui is the master's face to people: pages that work without JavaScript
// and follow what happens where a browser has it.
//
// It owns no rule and no row: handlers ask the modules, lay what they say out for
// a template, and pass a person's wishes on. What holds:
//
//   - A page is one template; the block "live" of it, asked for alone, is the
//     fragment that the browser swaps in when an event wakes it. An event never
//     carries what is shown (docs/design/live-pages.md).
//   - Everything foreign (names, refs, reasons, log bytes) is escaped by
//     html/template, and what could mislead a reader's eye is spelled out by
//     inert. Nothing is ever marked as safe HTML.
//   - What changes something is, but for signing in, a POST of a signed-in person
//     from a page of this origin; nothing of a body is read before that is known.
//     Whether the person may is the module's to say, and its reason stands beside a
//     disabled button.
package ui

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/event"
	"albs/internal/master/face"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
)

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Auth     *auth.Auth
	Events   *event.Log
	Queue    *queue.Queue
	Builds   *build.Builds
	Tests    *testrun.Tests
	Signs    *sign.Signing
	Releases *release.Releases
	// HTTPS says that people reach the pages by https only, be it through a proxy:
	// the session's cookie is then bound to it.
	HTTPS bool
	Log   zerolog.Logger
}

// UI serves the pages. It is an http.Handler for everything under / that other
// faces leave, and may be used concurrently.
type UI struct {
	Parts
	templates templates
	assets    *assets
	logs      *logs
	streams   *face.Streams
	router    chi.Router
}

// New parses the templates and returns the pages of a master. It does no I/O; an
// error is a mistake in a template, or a part that is missing.
func New(p Parts) (*UI, error) {
	if p.Auth == nil || p.Events == nil || p.Queue == nil || p.Builds == nil || p.Tests == nil || p.Signs == nil || p.Releases == nil {
		return nil, albs.Errorf(albs.Invalid, "the pages need all of their modules")
	}
	a, err := newAssets()
	if err != nil {
		return nil, err
	}
	t, err := parse(a)
	if err != nil {
		return nil, err
	}
	u := &UI{Parts: p, templates: t, assets: a, logs: newLogs(p.Queue), streams: face.NewStreams(maxStreams, maxStreamsPerClient, retryAfter)}
	u.router = chi.NewRouter()
	u.routes(u.router)
	return u, nil
}

// ServeHTTP implements http.Handler.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) { u.router.ServeHTTP(w, r) }

// routes adds the pages to r, and the answer for paths that nobody has.
func (u *UI) routes(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(u.front)
		// Streams are of a type that isn't named here, and stay as they are.
		r.Use(middleware.Compress(5, "text/html", "text/css", "text/javascript", "image/svg+xml", "application/json"))
		u.get(r, "/", u.buildsPage)
		u.get(r, "/builds", u.buildsPage)
		u.get(r, "/build/{build}", u.buildPage)
		u.get(r, "/build/{build}/files", u.filesPage)
		u.get(r, "/build/{build}/graph", u.graphPage)
		u.get(r, "/build/{build}/clone", u.clonePage)
		u.get(r, "/build/{build}/task/{task}", u.taskPage)
		u.get(r, "/build/{build}/task/{task}/log/{stream}", u.logPage)
		u.get(r, "/build/{build}/task/{task}/log/{stream}/lines", u.logLines)
		u.get(r, "/build/{build}/task/{task}/log/{stream}/find", u.logFind)
		u.get(r, "/queue", u.queuePage)
		u.get(r, "/nodes", u.nodesPage)
		u.get(r, "/login", u.loginPage)
		r.Get("/static/{hash}/{name}", u.assets.serve)
		r.Head("/static/{hash}/{name}", u.assets.serve)

		u.post(r, "/build/{build}/cancel", u.cancelBuild)
		u.post(r, "/build/{build}/retry", u.retryBuild)
		u.post(r, "/build/{build}/restart-tests", u.restartTests)
		u.post(r, "/build/{build}/clone", u.cloneBuild)
		u.post(r, "/build/{build}/delete", u.deleteBuild)
		u.post(r, "/build/{build}/item/{item}/fresh", u.freshItem)
		u.post(r, "/build/{build}/task/{task}/retry", u.retryTask)
		u.post(r, "/nodes/{worker}/drain", u.drainNode)
		u.post(r, "/nodes/{worker}/undrain", u.undrainNode)
		u.post(r, "/nodes/{worker}/lift", u.liftNode)
		u.post(r, "/nodes/{worker}/exclude", u.excludeFromNode)
		u.post(r, "/logout", u.logout)
		r.Post("/login", u.serve(u.login))

		r.Get("/events", u.serveStream(u.events))
		r.Get("/build/{build}/task/{task}/log/{stream}/tail", u.serveStream(u.tail))
	})
	r.NotFound(u.front(u.serve(func(_ http.ResponseWriter, r *http.Request) error {
		return albs.Errorf(albs.NotFound, "there is no page %s", inert(cut(r.URL.Path, 200)))
	})).ServeHTTP)
	r.MethodNotAllowed(u.front(u.serve(func(_ http.ResponseWriter, r *http.Request) error {
		return albs.Errorf(albs.NotFound, "%s does not take %s", inert(cut(r.URL.Path, 200)), r.Method)
	})).ServeHTTP)
}

func (u *UI) get(r chi.Router, path string, h handler) {
	r.Get(path, u.serve(h))
	r.Head(path, u.serve(h))
}

func (u *UI) post(r chi.Router, path string, h handler) { r.Post(path, u.serve(asPerson(h))) }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
