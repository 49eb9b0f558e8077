package publish

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
)

func keysOf(items []plan.Item) ([]errata.Key, error) {
	var out []errata.Key
	for _, i := range items {
		k, err := keyOf(i.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// Start implements release.Part. Making the release took time: it is a Conflict if somebody
// changed an advisory meanwhile, which would be taken for published as it is then.
func (p *Publisher) Start(ctx context.Context, tx db.Tx, t release.Turn) error {
	keys, err := keysOf(t.Items)
	if err != nil {
		return err
	}
	for n, k := range keys {
		is, err := p.Errata.Look(ctx, tx, k)
		if err != nil {
			return err
		}
		if is.Content != t.Items[n].Content {
			return albs.Errorf(albs.Conflict, "advisory %s was changed while it was made ready: publish the release again", k)
		}
	}
	return p.Errata.Begin(ctx, tx, keys, t.Release)
}

// Fail implements release.Part.
func (p *Publisher) Fail(ctx context.Context, tx db.Tx, t release.Turn, reason string) error {
	keys, err := keysOf(t.Items)
	if err != nil {
		return err
	}
	return p.Errata.Fail(ctx, tx, keys, reason)
}

// Released implements release.Part: the advisories of the release are kept as the versions
// that are public, and stated.
func (p *Publisher) Released(ctx context.Context, t release.Turn) (func(context.Context, db.Tx) error, error) {
	var as []advisory.Advisory
	for _, i := range t.Items {
		a, err := p.read(ctx, i.Digest)
		if err != nil {
			return nil, fmt.Errorf("read advisory %s: %w", i.Name, err)
		}
		as = append(as, a)
	}
	// Those of a platform that the product has given up are shown no more.
	gone, err := p.gone(ctx, Published(t.From), Published(t.To))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		if err := p.Errata.Publish(ctx, tx, as, t.Product, t.Release); err != nil {
			return err
		}
		return p.Errata.Revert(ctx, tx, t.Product, gone)
	}, nil
}

// gone returns the advisories that one tree shows and another doesn't, as versions that are
// none.
func (p *Publisher) gone(ctx context.Context, from, to map[string]albs.Digest) ([]errata.Version, error) {
	var out []errata.Version
	for file, d := range from {
		if _, stays := to[file]; stays {
			continue
		}
		a, err := p.read(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		out = append(out, errata.Version{Key: errata.Key{ID: a.ID, Platform: a.Platform}})
	}
	slices.SortFunc(out, byKey)
	return out, nil
}

func byKey(x, y errata.Version) int { return strings.Compare(x.Key.String(), y.Key.String()) }

// Reverted implements release.Part: those versions are public that the tree shows.
func (p *Publisher) Reverted(ctx context.Context, t release.Turn) (func(context.Context, db.Tx) error, error) {
	from, to := Published(t.From), Published(t.To)
	back, err := p.gone(ctx, from, to)
	if err != nil {
		return nil, err
	}
	for file, d := range to {
		if from[file] == d {
			continue
		}
		a, err := p.read(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		back = append(back, errata.Version{Key: errata.Key{ID: a.ID, Platform: a.Platform}, Version: a.Version})
	}
	slices.SortFunc(back, byKey)
	return func(ctx context.Context, tx db.Tx) error { return p.Errata.Revert(ctx, tx, t.Product, back) }, nil
}

// Published returns the digests of the advisories that a tree shows, by path: that is
// errata/PLATFORM/advisories/FILE.
func Published(t repodata.Tree) map[string]albs.Digest {
	out := map[string]albs.Digest{}
	for _, f := range t.Files {
		parts := strings.Split(f.Path, "/")
		if len(parts) == 4 && parts[0] == root && parts[2] == advisories {
			out[f.Path] = f.Digest
		}
	}
	return out
}
