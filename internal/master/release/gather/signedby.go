package gather

import (
	"context"
	"fmt"

	"albs/internal/repodata"
)

// SignedBy is what one repository of a product shows of a key's packages.
type SignedBy struct {
	Key      string // name
	Product  string
	Path     string // of the repository
	Packages []repodata.Entry
}

// ShownBy returns the packages signed with a key, given by name or fingerprint, that
// products show now, by product and repository. Errors: NotFound for an unknown key.
func (g *Gatherer) ShownBy(ctx context.Context, key string) ([]SignedBy, error) {
	k, err := g.Signs.Key(ctx, key)
	if err != nil {
		return nil, err
	}
	products, err := g.Products.All(ctx)
	if err != nil {
		return nil, err
	}
	var out []SignedBy
	for _, p := range products {
		_, tree, err := g.Current(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		found, err := g.signedIn(ctx, tree, k.Fingerprint)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			f.Key, f.Product = k.Name, p.Name
			out = append(out, f)
		}
	}
	return out, nil
}

// shownByRevoked returns what a tree shows of revoked keys.
func (g *Gatherer) shownByRevoked(ctx context.Context, tree repodata.Tree) ([]SignedBy, error) {
	keys, err := g.Signs.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var out []SignedBy
	for _, k := range keys {
		if k.RevokedAt.IsZero() {
			continue
		}
		found, err := g.signedIn(ctx, tree, k.Fingerprint)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			f.Key, f.Product = k.Name, tree.Product
			out = append(out, f)
		}
	}
	return out, nil
}

// signedIn returns the repositories of a tree that show packages signed with a key.
func (g *Gatherer) signedIn(ctx context.Context, tree repodata.Tree, fingerprint string) ([]SignedBy, error) {
	signed, err := g.Signs.SignedBy(ctx, fingerprint)
	if err != nil || len(signed) == 0 {
		return nil, err
	}
	var out []SignedBy
	for _, t := range tree.Repositories {
		s, err := g.Repos.Open(ctx, t.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("repository %s as shown: %w", t.Path, err)
		}
		entries, err := g.Entries(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("repository %s as shown: %w", t.Path, err)
		}
		found := SignedBy{Path: t.Path}
		for _, e := range entries {
			if signed[e.Digest] {
				found.Packages = append(found.Packages, e)
			}
		}
		if len(found.Packages) > 0 {
			out = append(out, found)
		}
	}
	return out, nil
}
