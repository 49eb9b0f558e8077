// Package page is what all pages have in common: templates and how they are answered
// with, whole or as the fragment that keeps a page up to date, who asks and what a page
// of another site may not do, errors, and what a person may do on a page and why not.
//
// It knows no page and no route. A group of pages is a package of its own beside this
// one that embeds the Server.
package page

import (
	"errors"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/event"
	"albs/internal/master/face"
)

// Parts are what the common part of the pages rests on. The modules are required.
type Parts struct {
	Auth   *auth.Auth
	Events *event.Log
	// HTTPS says that people reach the pages by https only, be it through a proxy:
	// the session's cookie is then bound to it.
	HTTPS bool
	Log   zerolog.Logger
}

// Server makes pages. It may be used concurrently.
type Server struct {
	Parts
	templates templates
	assets    *assets
	streams   *face.Streams
}

// Group is the templates of a group of pages.
type Group struct {
	// Folder is below web/templates.
	Folder string
	// Functions are what the group's templates call beside those that all have, by name.
	Functions template.FuncMap
}

// New parses the templates of the groups and those above all of them. It does no I/O; an
// error is a mistake in a template, or a part that is missing.
func New(p Parts, groups ...Group) (*Server, error) {
	if p.Auth == nil || p.Events == nil {
		return nil, albs.Errorf(albs.Invalid, "the pages need all of their modules")
	}
	a, err := newAssets()
	if err != nil {
		return nil, err
	}
	t := make(templates)
	for _, g := range append(groups, Group{Folder: "."}) {
		if err := t.parse(g, functions(a)); err != nil {
			return nil, err
		}
	}
	return &Server{Parts: p, templates: t, assets: a, streams: face.NewStreams(maxStreams, maxStreamsPerClient, retryAfter)}, nil
}

// Get has h answer what asks for a path.
func (s *Server) Get(r chi.Router, path string, h Handler) {
	r.Get(path, s.Serve(h))
	r.Head(path, s.Serve(h))
}

// Post has h answer the forms that signed-in people send to a path.
func (s *Server) Post(r chi.Router, path string, h Handler) { r.Post(path, s.Serve(AsPerson(h))) }

// PostSlow is Post for what may take long: the proofs of every package of a release are
// checked, or a file comes from far away.
func (s *Server) PostSlow(r chi.Router, path string, h Handler) {
	r.Post(path, s.within(slowTime, AsPerson(h)))
}

// Static has the static files answered with.
func (s *Server) Static(r chi.Router) {
	r.Get("/static/{hash}/{name}", s.assets.serve)
	r.Head("/static/{hash}/{name}", s.assets.serve)
}

// Step is one station of the way of what a page shows.
type Step struct {
	Name  string
	State string // for words.LookOf
	Note  string // "2 of 3", or why there is nothing
	URL   string // where to look; "" for nowhere
}

// Action is something that a person may want to do, and why it can't be done.
type Action struct {
	URL   string
	Label string
	Why   string // why not; "" if it can be done
	Sure  string // what it will do, where that should be asked first
	// Leads says that another page follows: one that asks first or, where it is Sure,
	// the one to which its end leads.
	Leads bool
}

// ActionOf returns an action that is open if may is nil and there is something to
// do, which nothing says if not.
func ActionOf(url, label string, may error, todo bool, nothing string) Action {
	a := Action{URL: url, Label: label}
	switch {
	case may != nil:
		a.Why = WhyNot(may)
	case !todo:
		a.Why = nothing
	}
	return a
}

// WhyNot says why a person may not do something, in words for that person; "" if
// nothing is against it.
func WhyNot(may error) string {
	switch {
	case may == nil:
		return ""
	case errors.Is(may, albs.Unauthenticated):
		return "sign in first"
	}
	return albs.UserMessage(may)
}

// AdvisoryURL returns the address of the page of an advisory, which plans and events call
// ID/PLATFORM.
func AdvisoryURL(name string) string {
	id, platform, _ := strings.Cut(name, "/")
	return "/errata/" + url.PathEscape(platform) + "/" + url.PathEscape(id)
}

// WaiveURL returns the address of the form that waives tests of a build's package, or where
// its packages are listed with "".
func WaiveURL(build albs.BuildID, pkg albs.Digest) string {
	q := url.Values{"build": {build.String()}}
	if pkg != "" {
		q.Set("package", string(pkg))
	}
	return "/tests/waive?" + q.Encode()
}

const (
	// RestTime is the least time between two looks of a stream.
	RestTime = 250 * time.Millisecond

	retryAfter = 3 * time.Second // a browser waits before it connects again

	maxStreams          = 2000
	maxStreamsPerClient = 64
)
