package gather

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

const (
	readers     = 8       // headers that are read at once
	maxLabels   = 200_000 // packages whose label is remembered: some 20 MB
	maxModules  = 32      // records of modules that are remembered
	typeModules = "modules"
)

// labels gives each package the label of the module that it belongs to, which its header
// says. What a digest names doesn't change, so what was read is remembered.
func (g *Gatherer) labels(ctx context.Context, cs []plan.Candidate) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(readers)
	for i := range cs {
		c := &cs[i]
		d := cmp.Or(c.Unsigned, c.Shown)
		g.mu.Lock()
		label, ok := g.label[d]
		g.mu.Unlock()
		if c.Module = label; ok {
			continue
		}
		all.Go(func() error {
			h, err := g.Artifacts.Package(ctx, d)
			if err != nil {
				return fmt.Errorf("header of %s: %w", c.NEVRA, err)
			}
			c.Module = h.Modularity
			g.mu.Lock()
			defer g.mu.Unlock()
			if len(g.label) >= maxLabels {
				clear(g.label)
			}
			g.label[d] = c.Module
			return nil
		})
	}
	return all.Wait()
}

// streams returns what the modules record among records has, nil if there is none.
func (g *Gatherer) streams(ctx context.Context, records []repodata.Record) ([]record.Stream, error) {
	i := slices.IndexFunc(records, func(r repodata.Record) bool { return r.Type == typeModules })
	if i < 0 {
		return nil, nil
	}
	d := records[i].Digest
	g.mu.Lock()
	out, ok := g.modules[d]
	g.mu.Unlock()
	if ok {
		return out, nil
	}
	body, err := g.Repos.Blobs().Open(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("open modules: %w", err)
	}
	defer body.Close()
	if out, err = record.Streams(body); err != nil {
		return nil, fmt.Errorf("read modules: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.modules) >= maxModules {
		clear(g.modules)
	}
	g.modules[d] = out
	return out, nil
}

// streamsOf finds the streams that each repository is to have, and shows now.
func (g *Gatherer) streamsOf(ctx context.Context, f *plan.Facts) error {
	for path, records := range f.Records {
		streams, err := g.streams(ctx, records)
		if err != nil {
			return fmt.Errorf("repository %s: %w", path, err)
		}
		f.Streams[path] = streams
	}
	for path, shown := range f.Shown {
		streams, err := g.streams(ctx, shown.Records)
		if err != nil {
			return fmt.Errorf("repository %s as shown: %w", path, err)
		}
		shown.Streams = streams
		f.Shown[path] = shown
	}
	return nil
}
