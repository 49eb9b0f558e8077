package gather

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"albs/internal/master/product"
	"albs/internal/master/release/closure"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Closure returns what the plan that was made of f would leave unresolved. It reads the
// headers of what the plan adds and the metadata of the repositories that this goes into,
// and asks what is known of the repositories beneath; it goes out to nobody.
func (g *Gatherer) Closure(ctx context.Context, f plan.Facts, p plan.Plan) (plan.Closure, error) {
	out := plan.Closure{Policy: f.Product.ClosurePolicy()}
	if out.Policy == product.Unchecked {
		return out, nil
	}
	g.closing.Lock() // one at a time, for it takes memory
	defer g.closing.Unlock()
	for _, in := range p.Worlds() {
		w, err := g.added(ctx, p, in)
		if err != nil {
			return out, err
		}
		for _, r := range w.Repositories {
			out.Repositories = append(out.Repositories, r.Path)
		}
		unread, err := g.surround(ctx, f, in, &w)
		if err != nil {
			return out, err
		}
		if len(unread) > 0 {
			out.Unread = append(out.Unread, unread...)
			continue
		}
		broken, unknown := w.Check()
		out.Broken, out.Unknown = append(out.Broken, broken...), append(out.Unknown, unknown...)
	}
	return out, nil
}

// added returns a world with what the plan adds to it.
func (g *Gatherer) added(ctx context.Context, p plan.Plan, in plan.World) (closure.World, error) {
	var w closure.World
	all, reading := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	for _, r := range p.Repositories {
		if !in.Holds(r) {
			continue
		}
		var add []plan.Change
		for _, c := range r.Packages {
			if c.Action == plan.Add {
				add = append(add, c)
			}
		}
		packages := make([]closure.Package, len(add))
		for i, c := range add {
			all.Go(func() error {
				h, err := g.Artifacts.Package(reading, c.Digest)
				if err != nil {
					return fmt.Errorf("header of %s: %w", c.NEVRA, err)
				}
				packages[i] = closure.FromHeader(h)
				return nil
			})
		}
		w.Repositories = append(w.Repositories, closure.Repository{Path: r.Path, Added: packages})
	}
	return w, all.Wait()
}

// surround fills in what is shown in a world and provided beneath it, as far as it is
// wanted. It returns sentences about repositories beneath that were never read; then
// nothing can be told.
func (g *Gatherer) surround(ctx context.Context, f plan.Facts, in plan.World, w *closure.World) (unread []string, err error) {
	pf, err := g.Platforms.Get(ctx, in.Platform)
	if err != nil {
		return nil, err
	}
	type key struct{ name, arch string }
	for i := range w.Repositories {
		r := &w.Repositories[i]
		replaced := map[key]bool{}
		for _, p := range r.Added {
			replaced[key{p.NEVRA.Name, p.NEVRA.Arch}] = true
		}
		r.Shown, err = g.listed(ctx, f.Shown[r.Path], func(p closure.Package) closure.Package {
			if replaced[key{p.NEVRA.Name, p.NEVRA.Arch}] {
				return p
			}
			return p.Rich()
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s as shown: %w", r.Path, err)
		}
	}
	names := w.Wanted()
	states, err := g.References.Provided(ctx, pf, in.Arch, names, func(c repodata.Capability) { w.Beneath = append(w.Beneath, c.Depend()) })
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		unread = append(unread, neverRead(fmt.Sprintf("the repository %s of platform %s for %s", s.URL, in.Platform, s.Arch), s.Failure))
	}
	if len(unread) > 0 {
		return unread, nil
	}
	for i := range w.Repositories {
		r := &w.Repositories[i]
		r.Shown, err = g.listed(ctx, f.Shown[r.Path], func(p closure.Package) closure.Package { return p.Keep(names) })
		if err != nil {
			return nil, fmt.Errorf("repository %s as shown: %w", r.Path, err)
		}
	}
	return nil, nil
}

func neverRead(what, why string) string {
	if why == "" {
		return what + " was never read"
	}
	return what + " was never read: " + why
}

// listed returns the packages of a repository as they are shown, of each what keep leaves.
func (g *Gatherer) listed(ctx context.Context, shown plan.Shown, keep func(closure.Package) closure.Package) ([]closure.Package, error) {
	if shown.Snapshot == "" {
		return nil, nil
	}
	s, err := g.Repos.Open(ctx, shown.Snapshot)
	if err != nil {
		return nil, err
	}
	modular := map[rpm.NEVRA]bool{}
	streams, err := g.streams(ctx, shown.Records)
	if err != nil {
		return nil, err
	}
	for _, st := range streams {
		for _, n := range st.Packages {
			modular[n] = true
		}
	}
	out := make([]closure.Package, 0, s.Len())
	for _, part := range s.Parts() {
		err := s.Listed(ctx, g.Repos.Blobs(), part, func(l repodata.Listed) error {
			p := closure.Package{NEVRA: l.NEVRA, Modular: modular[l.NEVRA], Files: l.Files}
			for _, c := range l.Provides {
				p.Provides = append(p.Provides, c.Depend())
			}
			for _, c := range l.Requires {
				p.Requires = append(p.Requires, c.Depend())
			}
			p = keep(p)
			// What was dropped of the lists is not to be held on to.
			p.Provides, p.Requires, p.Files = slices.Clip(slices.Clone(p.Provides)), slices.Clip(slices.Clone(p.Requires)), slices.Clip(slices.Clone(p.Files))
			out = append(out, p)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
