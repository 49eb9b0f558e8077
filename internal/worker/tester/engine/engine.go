// Package engine is what the tester asks of those that make the roots in which packages
// are tested, whether of namespaces, of containers or of machines of their own. It owns
// the interfaces and no engine: each has a package below.
package engine

import (
	"context"
	"io"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/examine"
)

// Engine makes bases. Its methods may be called concurrently.
type Engine interface {
	// Name is the word for the engine in specs and labels, as albs.EngineNative.
	Name() string
	// Base returns what the roots of one kind start from: the packages that root names,
	// installed out of repos, which are root.Repos under the addresses where they are
	// served; dnf's words go to log. A root that can't be is Invalid; trouble with the
	// repositories or with this host is Unavailable.
	Base(ctx context.Context, root albs.Root, repos []sandbox.Repo, log io.Writer) (Base, error)
}

// Base is a filled root that environments are made of. It must be closed.
type Base interface {
	// Packages returns what is installed in it.
	Packages() []sandbox.Package
	// Environment returns a fresh copy of it, which must be closed.
	Environment(ctx context.Context) (Environment, error)
	Close()
}

// Environment is a system that one piece of work may change as it likes; nothing that it
// does reaches the host or another environment. Its methods run one after the other. When
// one returns, also because ctx ended, what ran for it is dead.
//
// Errors tell whose fault a failure is. Invalid is the packages' or the work's own: what
// can't be resolved, a scriptlet that refuses, hangs or kills dnf, a passed limit. A
// deadline of ctx has a cause that is Invalid where passing it is the work's own fault.
// Everything else is the engine's, the repositories' or the host's, and what was at work
// may be tried again elsewhere.
type Environment interface {
	// Enable enables streams of modules, name:stream, for what is installed later.
	Enable(ctx context.Context, streams []string, log io.Writer) error
	// Install installs what meets the requirements, with what that needs.
	Install(ctx context.Context, requirements []string, log io.Writer) error
	// Remove removes packages and what needs them. If a package of a protected name would
	// go too, nothing goes, and the error is a Conflict that says which.
	Remove(ctx context.Context, names, protected []string, log io.Writer) error
	// Reinstall installs once more what is installed.
	Reinstall(ctx context.Context, names []string, log io.Writer) error
	// Upgrade and Downgrade install packages, given with their versions, in the place of
	// earlier and of later ones.
	Upgrade(ctx context.Context, names []string, log io.Writer) error
	Downgrade(ctx context.Context, names []string, log io.Writer) error

	// Run runs a program inside and returns its exit code, 128 and the signal's number if a
	// signal ended it. A program that isn't there is NotFound.
	Run(ctx context.Context, c sandbox.Cmd) (int, error)
	// CopyIn writes files, as their users' own. A path that leads through a link is Invalid.
	CopyIn(ctx context.Context, files ...sandbox.Copy) error
	// ReadFile returns a regular file of at most limit bytes; what is none is Invalid.
	ReadFile(ctx context.Context, name string, limit int64) ([]byte, error)
	// Installed returns the installed packages, sorted, with the digests of the files that
	// they came from. After foreign code ran as root inside, it is what that code left.
	Installed(ctx context.Context) ([]sandbox.Package, error)
	// Examine says what lies at paths, and answers each of asks in its place. It follows no
	// link out of the environment. Where nothing lies the answer's Kind is Absent.
	Examine(ctx context.Context, asks []examine.Ask) ([]examine.Entry, error)
	// Reboot shuts the system down and starts it again; NotFound from an engine whose
	// environments have no kernel of their own.
	Reboot(ctx context.Context, log io.Writer) error
	// Close ends it and removes all that it holds. It may be called twice.
	Close() error
}
