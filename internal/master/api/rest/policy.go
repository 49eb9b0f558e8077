package rest

import (
	"context"
	"net/http"

	"albs/internal/albs"
	"albs/internal/master/auth"
)

// Needs beside the verbs of auth.
const (
	Open auth.Verb = "open"   // everyone, also without credentials; never for what changes something
	Self auth.Verb = "self"   // any person; what is whose is for the module to say
	Wire auth.Verb = "worker" // enrolled workers alone
)

// Policy says who may use a route at all. A verb admits persons who may do it to
// something; whether to this very thing is for the module to say, once the request
// is read.
type Policy struct {
	Method, Path string
	Need         auth.Verb
}

// Key names the route: no two have the same.
func (p Policy) Key() string { return p.Method + " " + p.Path }

// The methods of routes.
const (
	Get    = http.MethodGet
	Post   = http.MethodPost
	Put    = http.MethodPut
	Patch  = http.MethodPatch
	Delete = http.MethodDelete
)

func (s *Server) policyOf(method, path string) (Policy, bool) {
	for _, p := range s.policies {
		if p.Method == method && p.Path == path {
			return p, true
		}
	}
	return Policy{}, false
}

// admit returns nil if the actor of ctx may use the route at all.
func (p Policy) admit(ctx context.Context) error {
	a := auth.From(ctx)
	switch {
	case p.Need == Open:
		return nil
	case a.Kind != auth.KindPerson && a.Kind != auth.KindWorker:
		return albs.Errorf(albs.Unauthenticated, "%s needs a token: pass one made with albs token create as \"Authorization: Bearer …\"", p.Path)
	case p.Need == Wire && a.Kind != auth.KindWorker:
		return albs.Errorf(albs.Forbidden, "%s is for workers: use the token that albs worker add gave", p.Path)
	case p.Need == Wire:
		return nil
	case a.Kind != auth.KindPerson:
		return albs.Errorf(albs.Forbidden, "%s is a worker: %s is for people, use a person's token", a.Name, p.Path)
	case p.Need == Self:
		return nil
	}
	if s := auth.ScopeOf(ctx, p.Need); !s.All && len(s.Teams) == 0 && s.Owner == 0 {
		return albs.Errorf(albs.Forbidden, "%s may do %s nowhere: ask an admin for a role that may (albs user grant %s …)", a.Name, p.Need, a.Name)
	}
	return nil
}
