// Package native is the engine of tests whose environments are overlays on a root of
// package sandbox: namespaces of this host's kernel, nothing to boot, nothing to pull.
package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
)

// New returns the engine that makes its roots with e.
func New(e *sandbox.Engine) engine.Engine { return With(albs.EngineNative, e, (*sandbox.Root).Run) }

// With returns an engine of another name whose environments are those of e too, but for
// how programs are run there, which is run, with the errors of sandbox.Root.Run.
func With(name string, e *sandbox.Engine, run func(*sandbox.Root, context.Context, sandbox.Cmd) (int, error)) engine.Engine {
	return native{name, e, run}
}

type native struct {
	name    string
	sandbox *sandbox.Engine
	run     func(*sandbox.Root, context.Context, sandbox.Cmd) (int, error)
}

// Name implements engine.Engine.
func (n native) Name() string { return n.name }

// Base implements engine.Engine.
func (n native) Base(ctx context.Context, root albs.Root, repos []sandbox.Repo, log io.Writer) (engine.Base, error) {
	b, err := n.sandbox.Base(ctx, root, repos, log)
	if err != nil {
		return nil, err
	}
	return &base{Base: b, engine: n, repos: slices.Clone(repos), log: log}, nil
}

type base struct {
	*sandbox.Base
	engine native
	repos  []sandbox.Repo
	log    io.Writer

	mu   sync.Mutex
	made int // environments
}

// Environment implements engine.Base.
func (b *base) Environment(ctx context.Context) (engine.Environment, error) {
	if err := b.warm(ctx); err != nil {
		return nil, err
	}
	r, err := b.Overlay(ctx)
	if err != nil {
		return nil, err
	}
	return environment{r, b.engine, b.repos}, nil
}

// warm has the metadata of the repositories read ahead, before the second environment is
// made: one alone would gain nothing. Where they can't be read, it is for those who install
// something to say so.
func (b *base) warm(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made++; b.made != 2 {
		return nil
	}
	err := b.Warm(ctx, b.repos, io.Discard)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintf(b.log, "each environment reads the metadata by itself: %v\n", err)
	}
	return nil
}

type environment struct {
	*sandbox.Root
	engine native
	repos  []sandbox.Repo
}

// Run implements engine.Environment.
func (e environment) Run(ctx context.Context, c sandbox.Cmd) (int, error) {
	return e.engine.run(e.Root, ctx, c)
}

// RootOf returns the root that an environment of this package's engines is, for those that
// have their roots so too, and something to run on them.
func RootOf(e engine.Environment) *sandbox.Root { return e.(environment).Root }

// blame makes an error Invalid that came when packages were at work.
func blame(err error) error {
	if errors.Is(err, sandbox.ErrTransaction) {
		return albs.Errorf(albs.Invalid, "%v", err)
	}
	return err
}

// Enable implements engine.Environment.
func (e environment) Enable(ctx context.Context, streams []string, log io.Writer) error {
	return blame(e.Root.Enable(ctx, streams, e.repos, log))
}

// Install implements engine.Environment.
func (e environment) Install(ctx context.Context, requirements []string, log io.Writer) error {
	return blame(e.Root.Install(ctx, requirements, e.repos, log))
}

// Remove implements engine.Environment.
func (e environment) Remove(ctx context.Context, names, protected []string, log io.Writer) error {
	return blame(e.Root.Remove(ctx, names, protected, e.repos, log))
}

// Reinstall implements engine.Environment.
func (e environment) Reinstall(ctx context.Context, names []string, log io.Writer) error {
	return blame(e.Root.Reinstall(ctx, names, preferred(e.repos), log))
}

// preferred returns the repositories that dnf would install from before those that come
// behind the ones of what is built. To install once more it takes any that has the package,
// and readers may have another file of that name.
func preferred(repos []sandbox.Repo) []sandbox.Repo {
	const usual = 99 // dnf's own
	most := usual
	for _, r := range repos {
		if r.Own {
			most = min(most, cmp.Or(r.Priority, usual))
		}
	}
	return slices.DeleteFunc(slices.Clone(repos), func(r sandbox.Repo) bool { return cmp.Or(r.Priority, usual) > most })
}

// Upgrade implements engine.Environment.
func (e environment) Upgrade(ctx context.Context, names []string, log io.Writer) error {
	return blame(e.Root.Upgrade(ctx, names, e.repos, log))
}

// Downgrade implements engine.Environment.
func (e environment) Downgrade(ctx context.Context, names []string, log io.Writer) error {
	return blame(e.Root.Downgrade(ctx, names, e.repos, log))
}

// Reboot implements engine.Environment.
func (e environment) Reboot(context.Context, io.Writer) error {
	return albs.Errorf(albs.NotFound, "an environment of the engine %s has no kernel of its own to boot", e.engine.name)
}
