package auth

import (
	"context"
	"slices"
	"strings"

	"albs/internal/albs"
)

// ActorKind says what sort of identity an Actor is.
type ActorKind string

// The kinds of actor.
const (
	KindAnonymous ActorKind = "anonymous" // nobody in particular: may read what is public
	KindPerson    ActorKind = "person"    // an account
	KindWorker    ActorKind = "worker"    // an enrolled worker
	KindSystem    ActorKind = "system"    // a loop of the master itself, or its operator at the command line
)

// Actor is who acts. The zero Actor is anonymous.
type Actor struct {
	Kind   ActorKind
	User   albs.UserID   // of a person
	Worker albs.WorkerID // of a worker
	Name   string        // the account's or the worker's name; the reason for the system
	Role   albs.Role     // of a worker
	Labels []string      // of a worker: all that it may offer; see Allows
	Grants []Grant       // of a person: the roles held when the request began
}

// Anonymous is the actor of a request without credentials.
var Anonymous = Actor{Kind: KindAnonymous}

// String names the actor as events and logs do: "user:alice", "worker:node-1",
// "system:reason" or "anonymous".
func (a Actor) String() string {
	switch a.Kind {
	case KindPerson:
		return "user:" + a.Name
	case KindWorker:
		return "worker:" + a.Name
	case KindSystem:
		return "system:" + a.Name
	}
	return string(KindAnonymous)
}

// Allows reports whether a worker's identity covers the label. An identity label
// that ends in ":*" covers every label with that beginning.
func (a Actor) Allows(label string) bool {
	return slices.ContainsFunc(a.Labels, func(have string) bool {
		prefix, wild := strings.CutSuffix(have, "*")
		return have == label || wild && strings.HasSuffix(prefix, ":") && strings.HasPrefix(label, prefix) && len(label) > len(prefix)
	})
}

// has reports whether a person holds the role for the team, "" for a global role.
func (a Actor) has(role Role, team string) bool {
	return slices.Contains(a.Grants, Grant{Role: role, Team: team})
}

type actorKey struct{}

// With returns a context in which a acts.
func With(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// From returns who acts in ctx; Anonymous if nobody was put there.
func From(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Anonymous
}

// System returns a context in which the master itself acts, for the reason that
// events will show. It may do everything: no face may ever use it for a request.
func System(ctx context.Context, reason string) context.Context {
	return With(ctx, Actor{Kind: KindSystem, Name: reason})
}
